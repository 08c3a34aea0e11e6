/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing neighbours (algorithm 4 of the paper): nearest first, a candidate is taken
 * unless it lies nearer to one already taken than to the node itself: links then point
 * in different directions. Distances between candidates are taken from their records.
 */
#include "hnsw_i.h"

/* Whether a taken neighbour is nearer to the candidate than the node is. */
static bool shadowed(const struct vex_hnsw *h, struct context *c, uint32_t candidate,
		     float dist, uint32_t ntaken)
{
	struct vex_code_query q;

	if (!ntaken)
		return false;
	vex_code_query_rec(h->quant, h->metric, codes_of(h, candidate), h->dim, c->query2,
			   &q);
	for (uint32_t i = 0; i < ntaken; i += 8) {
		uint32_t n = ntaken - i < 8 ? ntaken - i : 8;

		q.distances(&q, h->codes.base, h->stride, c->chosen + i, n, c->dist);
		c->distances += n;
		for (uint32_t j = 0; j < n; j++)
			if (c->dist[j] < dist)
				return true;
	}
	return false;
}

uint32_t select_neighbours(const struct vex_hnsw *h, struct context *c,
			   const uint32_t *id, const float *dist, uint32_t n,
			   uint32_t want)
{
	uint32_t taken = 0, equal = 0;

	for (uint32_t i = 0; i < n && taken < want; i++) {
		uint32_t node = id[i] & ~EXPANDED;
		bool same = i == 0 || dist[i] <= dist[0];

		/* Among many equal vectors half the row is for the others: else they
		 * would link to nobody but each other. */
		if (same && equal >= want / 2)
			continue;
		if (shadowed(h, c, node, dist[i], taken))
			continue;
		c->chosen[taken++] = node;
		equal += same;
	}
	return taken;
}
