/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph: making it, room for nodes, inserting. Searching is in find.c, the traversal
 * in beam.c, the choice of neighbours in select.c; hnsw_i.h tells layout and locks.
 */
#include <math.h>
#include "hnsw_i.h"

/* Of a record, all of it: leaving the later lines to the hardware cost a fifth at 512
 * dimensions (tests/bench/index/hnsw, text512). Further on it has found the stream. */
#define FETCH_MOST ((size_t)2048)

vex_err vex_hnsw_new(const struct vex_hnsw_opts *o, struct vex_hnsw **out)
{
	struct vex_hnsw *h;

	if (!o->dim || o->dim > VEX_DIM_MAX || o->m < 2 || o->m > 256 ||
	    o->quant >= VEX_QUANTS)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->metric = o->metric;
	h->quant = o->quant ? o->quant : VEX_QUANT_SQ8;
	h->dim = o->dim;
	h->m = o->m;
	h->m0 = 2 * o->m;
	h->ef_construction = o->ef_construction > o->m ? o->ef_construction : o->m;
	h->stride = vex_code_stride(o->quant, o->dim);
	h->fetch = h->stride < FETCH_MOST ? h->stride : FETCH_MOST;
	h->level_scale = 1.0 / log(o->m);
	h->seed = o->seed;
	h->entry = NONE;
	pthread_rwlock_init(&h->life, NULL);
	pthread_rwlock_init(&h->graph, NULL);
	pthread_mutex_init(&h->entry_lock, NULL);
	pthread_mutex_init(&h->contexts_lock, NULL);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_spin_init(&h->locks[i], PTHREAD_PROCESS_PRIVATE);
	*out = h;
	return 0;
}

void vex_hnsw_free(struct vex_hnsw *h)
{
	if (!h)
		return;
	contexts_free(h);
	region_free(&h->codes);
	region_free(&h->links0);
	region_free(&h->places);
	region_free(&h->levels);
	region_free(&h->upper);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_spin_destroy(&h->locks[i]);
	for (size_t i = 0; i < LEVELS; i++)
		while (h->spare[i]) {
			struct spare *s = h->spare[i];

			h->spare[i] = s->next;
			free(s);
		}
	pthread_rwlock_destroy(&h->life);
	pthread_rwlock_destroy(&h->graph);
	pthread_mutex_destroy(&h->entry_lock);
	pthread_mutex_destroy(&h->contexts_lock);
	free(h);
}

uint64_t vex_hnsw_nodes(const struct vex_hnsw *h)
{
	return h->nodes;
}

uint64_t vex_hnsw_estimate(const struct vex_hnsw_opts *o, uint64_t nodes)
{
	uint64_t node = vex_code_stride(o->quant, o->dim) +
			2ull * o->m * sizeof(uint32_t) + sizeof(uint32_t) + 1;

	return nodes * node + (nodes * 2 / o->m + 4096) * o->m * sizeof(uint32_t);
}

uint64_t vex_hnsw_bytes(const struct vex_hnsw *h)
{
	return h->codes.used + h->links0.used + h->places.used + h->levels.used +
	       h->upper.used;
}

/* ---- room
 * ------------------------------------------------------------------------------ */

/* Geometric with base m, from a hash of seed and slot: the same each time. */
static uint32_t level_for(const struct vex_hnsw *h, uint32_t slot)
{
	uint64_t r = vex_sum64(h->seed, &slot, sizeof(slot));
	double u = ((double)(r >> 11) + 1.0) * 0x1p-53;
	double level = -log(u) * h->level_scale;

	return level >= LEVELS - 1 ? LEVELS - 1 : (uint32_t)level;
}

static vex_err grow_locked(struct vex_hnsw *h, uint32_t slot)
{
	uint64_t want = h->cap ? h->cap : 1024;
	size_t rows;
	vex_err err;

	if (slot < h->cap)
		return 0;
	while (want <= slot)
		want += want / 2;
	want = (want + 63) & ~63ull;
	/* Rows above layer 0: n / (m - 1) on average; twice that and some are plenty, and
	 * running out only means growing again. */
	rows = want * 2 / h->m + 4096;
	err = region_grow(&h->codes, want * h->stride);
	if (!err)
		err = region_grow(&h->links0, want * h->m0 * sizeof(uint32_t));
	if (!err)
		err = region_grow(&h->places, want * sizeof(uint32_t));
	if (!err)
		err = region_grow(&h->levels, want);
	if (!err)
		err = region_grow(&h->upper, rows * h->m * sizeof(uint32_t));
	if (err)
		return err;
	memset(h->links0.base + (size_t)h->cap * h->m0 * sizeof(uint32_t), 0xff,
	       (want - h->cap) * h->m0 * sizeof(uint32_t));
	h->cap = (uint32_t)want;
	return 0;
}

static vex_err make_room(struct vex_hnsw *h, uint32_t slot)
{
	vex_err err;

	pthread_rwlock_wrlock(&h->graph);
	err = grow_locked(h, slot);
	pthread_rwlock_unlock(&h->graph);
	return err;
}

static uint32_t take_spare(struct vex_hnsw *h, uint32_t level)
{
	SCOPED_LOCK(&h->entry_lock);
	struct spare *s = h->spare[level];
	uint32_t at = s ? s->at : NONE;

	if (s)
		h->spare[level] = s->next;
	free(s);
	return at;
}

/* Rows for layers 1 .. level, emptied. */
static vex_err upper_rows(struct vex_hnsw *h, uint32_t node, uint32_t level)
{
	uint32_t *place = (uint32_t *)(void *)h->places.base;
	uint32_t at;

	if (!level)
		return 0;
	at = take_spare(h, level);
	if (at == NONE)
		at = atomic_fetch_add(&h->upper_used, level);
	if (((size_t)at + level) * h->m * sizeof(uint32_t) > h->upper.used)
		return -ENOMEM;
	place[node] = at;
	memset(h->upper.base + (size_t)at * h->m * sizeof(uint32_t), 0xff,
	       (size_t)level * h->m * sizeof(uint32_t));
	return 0;
}

/* ---- inserting
 * ---------------------------------------------------------------------------- */

void set_links(struct vex_hnsw *h, uint32_t node, uint32_t level, const uint32_t *ids,
	       uint32_t n)
{
	uint32_t room;
	_Atomic uint32_t *row = links_of(h, node, level, &room);

	for (uint32_t i = 0; i < room; i++)
		atomic_store_explicit(&row[i], i < n ? ids[i] : NONE,
				      memory_order_release);
}

/* Sorts by distance; a link row is short, and nearly sorted when it was chosen. */
void sort_by_distance(uint32_t *id, float *dist, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		uint32_t v = id[i], j = i;
		float d = dist[i];

		for (; j && dist[j - 1] > d; j--) {
			dist[j] = dist[j - 1];
			id[j] = id[j - 1];
		}
		dist[j] = d;
		id[j] = v;
	}
}

/* A full row and one more: chosen anew. Under the node's lock. Whether it was taken. */
static bool reselect(struct vex_hnsw *h, struct context *c, uint32_t node, uint32_t level,
		     _Atomic uint32_t *row, uint32_t room, uint32_t more)
{
	uint32_t *id = c->fresh[0];
	float *dist = (float *)(void *)c->fresh[1];
	struct vex_code_query q;
	uint32_t n;

	for (uint32_t i = 0; i < room; i++)
		id[i] = row[i];
	id[room] = more;
	vex_code_query_rec(h->quant, h->metric, codes_of(h, node), h->dim, c->query2, &q);
	q.distances(&q, h->codes.base, h->stride, id, room + 1, dist);
	c->distances += room + 1;
	sort_by_distance(id, dist, room + 1);
	n = select_neighbours(h, c, id, dist, room + 1, room);
	set_links(h, node, level, c->chosen, n);
	for (uint32_t i = 0; i < n; i++)
		if (c->chosen[i] == more)
			return true;
	return false;
}

static bool link_back(struct vex_hnsw *h, struct context *c, uint32_t node,
		      uint32_t level, uint32_t more)
{
	uint32_t room, n = 0;
	bool linked = true;
	_Atomic uint32_t *row;

	pthread_spin_lock(lock_of(h, node));
	row = links_of(h, node, level, &room);
	while (n < room && row[n] != NONE)
		n++;
	if (n < room)
		atomic_store_explicit(&row[n], more, memory_order_release);
	else
		linked = reselect(h, c, node, level, row, room, more);
	pthread_spin_unlock(lock_of(h, node));
	return linked;
}

/* Removed nodes lead on, but nothing new links to them. */
static void drop_gone(const struct vex_hnsw *h, struct pool *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		uint32_t id = p->id[i] & ~EXPANDED;

		p->id[n] = id;
		p->dist[n] = p->dist[i];
		n += is_node(h, id);
	}
	p->n = n;
}

/* Returns the node nearest to it, where the next layer starts; *links grows by what it
 * was given. */
static uint32_t connect(struct vex_hnsw *h, struct context *c, uint32_t slot,
			uint32_t level, uint32_t entry, uint32_t *links)
{
	struct beam b = { .level = level, .ef = h->ef_construction, .widen = -1 };
	uint32_t n, ids[256], nearest, linked = 0;

	context_forget(c);
	/* Itself is not a candidate, though others may link to it already. */
	c->seen[slot >> 6] |= 1ull << (slot & 63);
	beam_search(h, c, entry, &b);
	c->seen[slot >> 6] &= ~(1ull << (slot & 63));
	nearest = c->pool.n ? c->pool.id[0] & ~EXPANDED : entry;
	if (!level)
		spread_learn(h, &c->pool);
	drop_gone(h, &c->pool);
	n = select_neighbours(h, c, c->pool.id, c->pool.dist, c->pool.n, h->m);
	memcpy(ids, c->chosen, n * sizeof(*ids));
	pthread_spin_lock(lock_of(h, slot));
	set_links(h, slot, level, ids, n);
	pthread_spin_unlock(lock_of(h, slot));
	for (uint32_t i = 0; i < n; i++)
		linked += link_back(h, c, ids[i], level, slot);
	if (n && !linked)
		link_splice(h, ids[0], slot, level);
	*links = n;
	return nearest;
}

static void raise_entry(struct vex_hnsw *h, uint32_t slot, uint32_t level)
{
	SCOPED_LOCK(&h->entry_lock);
	uint64_t e = h->entry;

	if ((uint32_t)e == NONE || (uint32_t)(e >> 32) < level)
		h->entry = (uint64_t)level << 32 | slot;
}

/* The first node has nothing to connect to; only one thread may find that. */
static bool first_node(struct vex_hnsw *h, uint32_t slot, uint32_t level)
{
	uint64_t empty = NONE;

	return atomic_compare_exchange_strong(&h->entry, &empty,
					      (uint64_t)level << 32 | slot);
}

static void link_in(struct vex_hnsw *h, struct context *c, uint32_t slot, uint32_t level,
		    const float *v)
{
	uint64_t e = h->entry;
	uint32_t was_top = (uint32_t)(e >> 32), top = was_top, node = (uint32_t)e,
		 links = 0;

	vex_code_query(h->quant, h->metric, v, h->dim, c->query, &c->q);
	if (top > level)
		node = beam_descend(h, c, node, top, level + 1, 1);
	if (top > level)
		top = level;
	for (uint32_t l = top + 1; l > 0; l--)
		node = connect(h, c, slot, l - 1, node, &links);
	/* Nothing leads away from a node without links: no place to start from. */
	if (level > was_top && links)
		raise_entry(h, slot, level);
}

static vex_err insert_locked(struct vex_hnsw *h, uint32_t slot, const float *v)
{
	uint32_t level = level_for(h, slot);
	struct context *c;
	vex_err err;

	if (*level_of(h, slot))
		return -EEXIST;
	err = context_get(h, h->ef_construction, &c);
	if (err)
		return err;
	err = upper_rows(h, slot, level);
	if (!err) {
		vex_code_encode(h->quant, h->metric, v, h->dim, codes_of(h, slot));
		/* A node before it is linked: what is inserted at the same time must be
		 * able to link to it. */
		*level_of(h, slot) = (uint8_t)(level + 1);
		if (!first_node(h, slot, level))
			link_in(h, c, slot, level, v);
		h->nodes++;
	}
	context_put(h, c);
	return err;
}

vex_err vex_hnsw_insert(struct vex_hnsw *h, uint32_t slot, const float *v)
{
	vex_err err;

	if (slot & EXPANDED)
		return -EFBIG;
	SCOPED_RDLOCK(&h->life);
	pthread_rwlock_rdlock(&h->graph);
	while (slot >= h->cap) {
		pthread_rwlock_unlock(&h->graph);
		err = make_room(h, slot);
		if (err)
			return err;
		pthread_rwlock_rdlock(&h->graph);
	}
	err = insert_locked(h, slot, v);
	pthread_rwlock_unlock(&h->graph);
	return err;
}

vex_err vex_hnsw_remove(struct vex_hnsw *h, uint32_t slot)
{
	SCOPED_RDLOCK(&h->life);
	SCOPED_RDLOCK(&h->graph);
	uint8_t l;

	if (slot >= h->cap)
		return -ENOENT;
	l = *level_of(h, slot);
	if (!l || l & GONE)
		return -ENOENT;
	*level_of(h, slot) = l | GONE;
	h->nodes--;
	h->removed++;
	return 0;
}

float vex_hnsw_widen(const struct vex_hnsw *h)
{
	uint32_t bits = atomic_load(&h->widen);
	float w;

	memcpy(&w, &bits, sizeof(w));
	return w;
}

void vex_hnsw_set_widen(struct vex_hnsw *h, float w)
{
	uint32_t bits;

	memcpy(&bits, &w, sizeof(bits));
	atomic_store(&h->widen, bits);
}

uint64_t vex_hnsw_removed(const struct vex_hnsw *h)
{
	return h->removed;
}
