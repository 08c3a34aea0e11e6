/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reachability. The validator is in check.c.
 *
 * Choosing neighbours by nearness alone can leave a node that no other links to: no
 * search would find it however large ef is. After a sweep or a build every node is
 * visited from the entry along layer 0, breadth first with a queue on the heap, and
 * those not met are given a link from a node that was.
 */
#include "hnsw_i.h"

static void set(uint64_t *bits, uint32_t i)
{
	bits[i >> 6] |= 1ull << (i & 63);
}

static bool get(const uint64_t *bits, uint32_t i)
{
	return bits[i >> 6] >> (i & 63) & 1;
}

/* Everything that `from` leads to, itself included. queue: room for cap nodes. */
static void flood(const struct vex_hnsw *h, uint32_t from, uint64_t *bits,
		  uint32_t *queue)
{
	uint32_t head = 0, tail = 0;

	set(bits, from);
	queue[tail++] = from;
	while (head < tail) {
		uint32_t room;
		_Atomic uint32_t *row = links_of(h, queue[head++], 0, &room);

		for (uint32_t i = 0; i < room && row[i] != NONE; i++) {
			uint32_t id = row[i];

			if (id < h->cap && !get(bits, id)) {
				set(bits, id);
				queue[tail++] = id;
			}
		}
	}
}

vex_err reach_bits(const struct vex_hnsw *h, uint64_t **bits)
{
	AUTO_FREE uint32_t *queue = malloc(((size_t)h->cap + 1) * sizeof(*queue));
	uint64_t *b = calloc((size_t)h->cap / 64 + 1, sizeof(*b));
	uint32_t entry = (uint32_t)h->entry;

	if (!queue || !b) {
		free(b);
		return -ENOMEM;
	}
	if (entry != NONE)
		flood(h, entry, b, queue);
	*bits = b;
	return 0;
}

/* First free place of a row, or its last; or where the link already is. */
static _Atomic uint32_t *place_in(struct vex_hnsw *h, uint32_t node, uint32_t level,
				  uint32_t link)
{
	uint32_t room, n = 0;
	_Atomic uint32_t *row = links_of(h, node, level, &room);

	while (n < room - 1 && row[n] != NONE && row[n] != link)
		n++;
	return &row[n];
}

void link_splice(struct vex_hnsw *h, uint32_t from, uint32_t node, uint32_t level)
{
	_Atomic uint32_t *at;
	uint32_t displaced;

	pthread_spin_lock(lock_of(h, from));
	at = place_in(h, from, level, node);
	displaced = *at;
	atomic_store_explicit(at, node, memory_order_release);
	pthread_spin_unlock(lock_of(h, from));
	if (displaced == NONE || displaced == node)
		return;
	pthread_spin_lock(lock_of(h, node));
	at = place_in(h, node, level, displaced);
	atomic_store_explicit(at, displaced, memory_order_release);
	pthread_spin_unlock(lock_of(h, node));
}

/* Of what a search from `from` finds, the nearest that is reached. */
static uint32_t first_reached(struct vex_hnsw *h, struct context *c, uint32_t node,
			      uint32_t from, const uint64_t *bits)
{
	struct beam b = { .level = 0, .ef = h->ef_construction, .widen = -1 };

	context_forget(c);
	beam_search(h, c, from, &b);
	for (uint32_t i = 0; i < c->pool.n; i++) {
		uint32_t id = c->pool.id[i] & ~EXPANDED;

		if (id != node && is_node(h, id) && get(bits, id))
			return id;
	}
	return NONE;
}

/* The way down may end in a part that the entry does not lead to in layer 0; from the
 * entry itself there is always something. */
static uint32_t nearest_reached(struct vex_hnsw *h, struct context *c, uint32_t node,
				const uint64_t *bits)
{
	uint32_t entry = (uint32_t)h->entry, top = (uint32_t)(h->entry >> 32);
	uint32_t from = entry, found;

	vex_code_query_rec(h->quant, h->metric, codes_of(h, node), h->dim, c->query,
			   &c->q);
	if (top)
		from = beam_descend(h, c, entry, top, 1, 1);
	found = first_reached(h, c, node, from, bits);
	return found == NONE && from != entry ? first_reached(h, c, node, entry, bits)
					      : found;
}

vex_err reach_all(struct vex_hnsw *h, struct context *c, uint64_t *unreached)
{
	AUTO_FREE uint32_t *queue = malloc(((size_t)h->cap + 1) * sizeof(*queue));
	AUTO_FREE uint64_t *bits = NULL;
	vex_err err = queue ? reach_bits(h, &bits) : -ENOMEM;

	*unreached = 0;
	for (uint32_t i = 0; !err && i < h->cap; i++) {
		uint32_t from;

		if (!is_node(h, i) || get(bits, i))
			continue;
		++*unreached;
		from = nearest_reached(h, c, i, bits);
		if (from == NONE)
			continue;
		link_splice(h, from, i, 0);
		/* What it leads to is reached as well now. */
		flood(h, i, bits, queue);
	}
	return err;
}

vex_err vex_hnsw_connect(struct vex_hnsw *h)
{
	SCOPED_WRLOCK(&h->life);
	SCOPED_RDLOCK(&h->graph);
	struct context *c;
	uint64_t unreached;
	vex_err err;

	if (!h->cap)
		return 0;
	err = context_get(h, h->ef_construction, &c);
	if (err)
		return err;
	err = reach_all(h, c, &unreached);
	context_put(h, c);
	return err;
}
