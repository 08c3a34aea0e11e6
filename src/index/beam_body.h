/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The traversal: best-first search of one layer (the paper's algorithm 2), arranged for
 * memory, for a hop's cost is the fetching of records, not the arithmetic on them.
 * Included once for each instruction set, after the operations it is made of
 * (ops_unseen, ops_near, ops_insert), with BEAM_SEARCH and BEAM_DESCEND defined as the
 * functions' names.
 *
 *  - The candidates and the results are one sorted array of ef entries; the next to
 *    expand is the first that is not.
 *  - "One hop late": a hop's new neighbours are looked up and their records prefetched,
 *    then the distances of the hop before are computed, whose records have arrived
 *    meanwhile; and the node to expand next is chosen before that, so that its links
 *    are on the way. The order of expansion is a little staler for it.
 *  - The end: when the next candidate is farther than (1 + widen) times the k-th best
 *    (Al-Jazzazi et al., "Distance Adaptive Beam Search for Provably Accurate
 *    Graph-Based Nearest Neighbor Search", 2025). Easy queries end early, hard ones go
 *    on; with widen < 0 the array running dry is the only end, as in the paper.
 */
#include <math.h>

/* The unseen neighbours of a node, marked as seen, their records on the way. */
static uint32_t gather(const struct vex_hnsw *h, struct context *c, uint32_t node,
		       uint32_t level, uint32_t *out)
{
	size_t bytes = h->fetch;
	uint32_t room, n;
	const uint32_t *row =
	    (const uint32_t *)(const void *)links_of(h, node, level, &room);

	n = ops_unseen(c->seen, row, room, out);
	for (uint32_t i = 0; i < n; i++) {
		fetch(codes_of(h, out[i]), bytes);
		see(c, out[i]);
	}
	return n;
}

/* Candidates beyond this end the search, so they need not be kept. */
static inline float horizon(const struct pool *p, const struct beam *b)
{
	float kth;

	if (b->widen < 0 || p->n < b->k)
		return INFINITY;
	kth = p->dist[b->k - 1];
	return kth + b->widen * fabsf(kth);
}

static void absorb(const struct vex_hnsw *h, struct context *c, const struct beam *b,
		   const uint32_t *ids, uint32_t n)
{
	float far = horizon(&c->pool, b);

	c->q.distances(&c->q, h->codes.base, h->stride, ids, n, c->dist);
	c->distances += n;
	for (uint32_t i = 0; i < n; i += 16) {
		uint32_t near = ops_near(c->dist + i, n - i < 16 ? n - i : 16, far);

		for (; near; near &= near - 1) {
			uint32_t j = i + (uint32_t)__builtin_ctz(near);

			ops_insert(&c->pool, c->dist[j], ids[j]);
		}
	}
}

/* The next node to expand, or NONE where the search may end. */
static uint32_t pick(struct pool *p, const struct beam *b)
{
	while (p->next < p->n && (p->id[p->next] & EXPANDED))
		p->next++;
	if (p->next >= p->n || p->dist[p->next] > horizon(p, b))
		return NONE;
	p->id[p->next] |= EXPANDED;
	return p->id[p->next++] & ~EXPANDED;
}

void BEAM_SEARCH(const struct vex_hnsw *h, struct context *c, uint32_t entry,
		 const struct beam *b)
{
	uint32_t waiting = 0, fresh, turn = 0, node = NONE, ahead, room;

	c->pool.cap = b->ef;
	if (b->seeded) {
		c->pool.n = c->pool.n < b->ef ? c->pool.n : b->ef;
	} else {
		c->pool.n = c->pool.next = 0;
		c->fresh[0][0] = entry;
		see(c, entry);
		waiting = 1;
	}
	do {
		/* Its links go first, before this hop's records crowd the bus. */
		ahead = pick(&c->pool, b);
		if (ahead != NONE && !b->level)
			fetch(links_of(h, ahead, 0, &room), h->m0 * sizeof(uint32_t));
		fresh = node == NONE ? 0 : gather(h, c, node, b->level, c->fresh[!turn]);
		if (waiting)
			absorb(h, c, b, c->fresh[turn], waiting);
		node = ahead;
		waiting = fresh;
		turn = !turn;
		if (node == NONE && !waiting)
			node = pick(&c->pool, b);
	} while ((node != NONE || waiting) && !(b->bound && beam_stopped(b, c)));
}

/* The unseen neighbours of a node above layer 0, their records on the way. */
static uint32_t unseen_above(const struct vex_hnsw *h, struct context *c, uint32_t node,
			     uint32_t level)
{
	uint32_t room, n;
	const uint32_t *row =
	    (const uint32_t *)(const void *)links_of(h, node, level, &room);

	n = ops_unseen(c->seen, row, room, c->fresh[0]);
	for (uint32_t i = 0; i < n; i++) {
		fetch(codes_of(h, c->fresh[0][i]), h->fetch);
		see(c, c->fresh[0][i]);
	}
	return n;
}

/* Steps downhill in one layer. */
static uint32_t downhill(const struct vex_hnsw *h, struct context *c, uint32_t node,
			 uint32_t level, float *best)
{
	uint32_t at;

	do {
		uint32_t n = unseen_above(h, c, node, level);

		at = node;
		c->q.distances(&c->q, h->codes.base, h->stride, c->fresh[0], n, c->dist);
		c->distances += n;
		for (uint32_t i = 0; i < n; i++) {
			ops_insert(&c->pool, c->dist[i], c->fresh[0][i]);
			if (c->dist[i] < *best) {
				*best = c->dist[i];
				node = c->fresh[0][i];
			}
		}
	} while (node != at);
	return node;
}

uint32_t BEAM_DESCEND(const struct vex_hnsw *h, struct context *c, uint32_t entry,
		      uint32_t from, uint32_t to, uint32_t keep)
{
	float best;

	c->pool.n = c->pool.next = 0;
	c->pool.cap = keep < c->pool_room ? keep : c->pool_room;
	c->q.distances(&c->q, h->codes.base, h->stride, &entry, 1, &best);
	c->distances++;
	see(c, entry);
	ops_insert(&c->pool, best, entry);
	for (uint32_t level = from; level >= to; level--)
		entry = downhill(h, c, entry, level, &best);
	return entry;
}
