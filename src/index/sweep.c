/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep: removed nodes leave the graph.
 *
 * Links are not kept in both directions, so who links to a node is found by passing over
 * all rows, which is one sequential read; a batch of removals shares it. A row that
 * names removed nodes is chosen anew from its other neighbours and the neighbours of the
 * removed ones (Singh et al., "FreshDiskANN", 2021, algorithm 4): the paths that led
 * through them are bridged. Searches go on meanwhile: a row changes in one place after
 * the other, each a node.
 */
#include "hnsw_i.h"

struct sweep {
	struct vex_hnsw *h;
	struct context *c;
	uint32_t *id; /* candidates for one row: m0 x (m0 + 1) at most */
	float *dist;
	uint32_t n;
};

static bool is_gone(const struct vex_hnsw *h, uint32_t node)
{
	return *level_of(h, node) & GONE;
}

static bool names_gone(const struct vex_hnsw *h, uint32_t node, uint32_t level)
{
	uint32_t room;
	_Atomic uint32_t *row = links_of(h, node, level, &room);

	for (uint32_t i = 0; i < room; i++) {
		uint32_t id = row[i];

		if (id == NONE)
			return false;
		if (is_gone(h, id))
			return true;
	}
	return false;
}

/* Adds the live neighbours of `of`, each once. */
static void add_from(struct sweep *s, uint32_t of, uint32_t level)
{
	struct vex_hnsw *h = s->h;
	uint32_t room;
	_Atomic uint32_t *row = links_of(h, of, level, &room);

	for (uint32_t i = 0; i < room; i++) {
		uint32_t id = row[i];

		if (id == NONE)
			break;
		if (is_gone(h, id) || s->c->seen[id >> 6] >> (id & 63) & 1)
			continue;
		s->c->seen[id >> 6] |= 1ull << (id & 63);
		s->id[s->n++] = id;
	}
}

static bool chosen(const struct sweep *s, uint32_t id, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (s->c->chosen[i] == id)
			return true;
	return false;
}

/* A row keeps as many links as it had: the nearest of those passed over. Without, rows
 * grow thinner with each sweep, for what is inserted later links to few of the old. */
static uint32_t fill_up(struct sweep *s, uint32_t n, uint32_t want)
{
	for (uint32_t i = 0; i < s->n && n < want; i++)
		if (!chosen(s, s->id[i], n))
			s->c->chosen[n++] = s->id[i];
	return n;
}

static void mend(struct sweep *s, uint32_t node, uint32_t level)
{
	struct vex_hnsw *h = s->h;
	struct vex_code_query q;
	uint32_t room, n, had = 0;
	_Atomic uint32_t *row = links_of(h, node, level, &room);

	s->n = 0;
	s->c->seen[node >> 6] |= 1ull << (node & 63);
	add_from(s, node, level);
	for (uint32_t i = 0; i < room && row[i] != NONE; i++, had++)
		if (is_gone(h, row[i]))
			add_from(s, row[i], level);
	s->c->seen[node >> 6] = 0;
	for (uint32_t i = 0; i < s->n; i++)
		s->c->seen[s->id[i] >> 6] = 0;
	vex_code_query_rec(h->quant, h->metric, codes_of(h, node), h->dim, s->c->query2,
			   &q);
	q.distances(&q, h->codes.base, h->stride, s->id, s->n, s->dist);
	sort_by_distance(s->id, s->dist, s->n);
	n = select_neighbours(h, s->c, s->id, s->dist, s->n, room);
	n = fill_up(s, n, had);
	pthread_spin_lock(lock_of(h, node));
	set_links(h, node, level, s->c->chosen, n);
	pthread_spin_unlock(lock_of(h, node));
}

static void mend_all(struct sweep *s)
{
	for (uint32_t i = 0; i < s->h->cap; i++) {
		uint32_t levels = is_node(s->h, i) ? *level_of(s->h, i) : 0;

		for (uint32_t level = 0; level < levels; level++)
			if (names_gone(s->h, i, level))
				mend(s, i, level);
	}
}

/* A live node of the highest level there is. */
static void new_entry(struct vex_hnsw *h)
{
	uint64_t best = NONE;
	uint32_t top = 0;

	if ((uint32_t)h->entry != NONE && !is_gone(h, (uint32_t)h->entry))
		return;
	for (uint32_t i = 0; i < h->cap; i++)
		if (is_node(h, i) && *level_of(h, i) > top) {
			top = *level_of(h, i);
			best = (uint64_t)(top - 1) << 32 | i;
		}
	h->entry = best;
}

static vex_err take_out(struct vex_hnsw *h, uint32_t node)
{
	const uint32_t *place = (const uint32_t *)(const void *)h->places.base;
	uint32_t level = (*level_of(h, node) & ~GONE) - 1u;
	struct spare *s = NULL;

	if (level) {
		s = malloc(sizeof(*s));
		if (!s)
			return -ENOMEM;
		s->at = place[node];
		s->next = h->spare[level];
		h->spare[level] = s;
	}
	set_links(h, node, 0, NULL, 0);
	*level_of(h, node) = 0;
	h->removed--;
	return 0;
}

static vex_err sweep(struct sweep *s, void (*released)(void *, uint32_t), void *arg)
{
	struct vex_hnsw *h = s->h;
	uint64_t unreached;
	vex_err err = 0;

	mend_all(s);
	new_entry(h);
	for (uint32_t i = 0; i < h->cap && !err; i++) {
		if (!is_gone(h, i))
			continue;
		err = take_out(h, i);
		if (!err && released)
			released(arg, i);
	}
	return err ? err : reach_all(h, s->c, &unreached);
}

vex_err vex_hnsw_sweep(struct vex_hnsw *h, void (*released)(void *, uint32_t), void *arg)
{
	SCOPED_WRLOCK(&h->life);
	SCOPED_RDLOCK(&h->graph);
	size_t room = (size_t)h->m0 * (h->m0 + 1);
	AUTO_FREE uint32_t *id = malloc(room * sizeof(*id));
	AUTO_FREE float *dist = malloc(room * sizeof(*dist));
	struct sweep s = { .h = h, .id = id, .dist = dist };
	vex_err err;

	if (!id || !dist)
		return -ENOMEM;
	if (!h->cap)
		return 0;
	err = context_get(h, h->ef_construction, &s.c);
	if (err)
		return err;
	err = sweep(&s, released, arg);
	context_put(h, s.c);
	return err;
}
