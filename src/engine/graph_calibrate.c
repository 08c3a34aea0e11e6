/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calibration: how far a search must look past its k-th hit to keep the recall that is
 * promised. The space itself is asked: queries lie between two of its rows, nearer to
 * one (a row itself would be found too easily: the graph leads straight to it), exact
 * search tells the truth, and the narrowest stop rule that reaches the target is taken.
 */
#include <math.h>
#include "graph_i.h"

#define QUERIES 128u
#define K 10u
#define TARGET 0.98

struct trial {
	struct graph *g;
	struct vex_rows rows;
	float *queries;
	struct vex_hit *truth; /* QUERIES x K */
	size_t n[QUERIES];
};

static int any(void *arg, uint64_t slot, uint64_t *file)
{
	(void)arg;
	*file = slot;
	return 1;
}

/* A live slot, from a hash of i. */
static uint64_t pick(const struct vex_view *v, uint64_t i)
{
	uint64_t slot = vex_sum64(1, &i, sizeof(i)) % v->slots;

	for (uint64_t tries = 0; tries < v->slots; tries++, slot = (slot + 1) % v->slots)
		if (vex_view_live(v, slot))
			break;
	return slot;
}

static void make_queries(struct trial *t, const struct vex_view *v)
{
	for (uint32_t i = 0; i < QUERIES; i++) {
		uint64_t sa = pick(v, 2 * i), sb = pick(v, 2 * i + 1);
		const float *a = vex_view_row(v, sa), *b = vex_view_row(v, sb);
		float na = vex_view_norm(v, sa), nb = vex_view_norm(v, sb);
		float share = 0.5f;

		if (v->metric == VEX_COSINE && nb > 0)
			share *= na / nb;
		for (uint32_t d = 0; d < v->dim; d++)
			t->queries[(size_t)i * v->dim + d] = a[d] + share * (b[d] - (v->metric == VEX_L2 ? a[d] : 0));
	}
}

static vex_err find_truth(struct trial *t)
{
	struct vex_topk *topk[QUERIES] = { 0 };
	struct vex_scan_stats st;
	vex_err err = 0;

	for (uint32_t i = 0; i < QUERIES && !err; i++)
		err = vex_topk_new(K, 0, INFINITY, &topk[i]);
	if (!err)
		err = vex_flat_search(&t->rows, t->queries, QUERIES, topk, any, NULL, NULL, &st);
	for (uint32_t i = 0; i < QUERIES; i++) {
		const struct vex_hit *h;

		if (!err) {
			h = vex_topk_sorted(topk[i], &t->n[i]);
			memcpy(t->truth + (size_t)i * K, h, t->n[i] * sizeof(*h));
		}
		vex_topk_free(topk[i]);
	}
	return err;
}

/* Hits at least as near as the true k-th. */
static vex_err count(struct trial *t, uint32_t i, const struct vex_hnsw_query *p, size_t *hits)
{
	struct vex_scan_stats st = { 0 };
	const struct vex_hit *h;
	struct vex_topk *topk;
	size_t n;
	vex_err err = vex_topk_new(K, 0, INFINITY, &topk);

	if (err)
		return err;
	err = vex_hnsw_search(t->g->h, &t->rows, t->queries + (size_t)i * t->rows.dim, p, topk,
			      any, NULL, &st);
	h = vex_topk_sorted(topk, &n);
	for (size_t j = 0; j < n && !err; j++)
		*hits += h[j].distance <= t->truth[i * K + t->n[i] - 1].distance;
	vex_topk_free(topk);
	return err;
}

static vex_err choose(struct trial *t)
{
	static const float steps[] = { 0.02f, 0.05f, 0.08f, 0.1f,  0.12f, 0.14f, 0.16f, 0.18f, 0.2f,
				       0.23f, 0.26f, 0.3f,  0.35f, 0.4f,  0.5f,	 0.7f,	1.0f,  2.0f };
	size_t all = 0;

	for (uint32_t i = 0; i < QUERIES; i++)
		all += t->n[i];
	for (size_t s = 0; s < ARRAY_SIZE(steps); s++) {
		struct vex_hnsw_query p = { .k = K, .ef = 4096, .widen = steps[s], .rerank = 30 };
		size_t hits = 0;
		uint32_t bits;

		for (uint32_t i = 0; i < QUERIES; i++) {
			vex_err err = t->n[i] ? count(t, i, &p, &hits) : 0;

			if (err)
				return err;
		}
		memcpy(&bits, &steps[s], sizeof(bits));
		atomic_store(&t->g->widen, bits);
		if ((double)hits >= TARGET * (double)all)
			break;
	}
	return 0;
}

vex_err graph_calibrate(struct graph *g, struct vex_view *v)
{
	AUTO_FREE float *queries = malloc((size_t)QUERIES * v->dim * sizeof(*queries));
	AUTO_FREE struct vex_hit *truth = malloc(QUERIES * K * sizeof(*truth));
	AUTO_FREE struct trial *t = calloc(1, sizeof(*t));
	vex_err err;

	if (!queries || !truth || !t)
		return -ENOMEM;
	t->g = g;
	t->rows = graph_rows(v);
	t->queries = queries;
	t->truth = truth;
	if (!v->live_rows)
		return 0;
	make_queries(t, v);
	err = find_truth(t);
	if (!err)
		err = choose(t);
	if (!err)
		g->calibrated = vex_hnsw_nodes(g->h);
	return err;
}
