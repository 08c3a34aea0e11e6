/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to index: the graph in memory and what its files offer each other.
 *
 * Layout. A node is a slot of the space: no table between them. Three flat arrays are
 * addressed by node, each in a reserved stretch of addresses that is made readable as
 * the graph grows (region.c): records of codes, link rows of layer 0 (m0 numbers, NONE
 * where free, filled from the front), and one word a node for its place above. Layers
 * above have one row of m numbers a layer, in a pool.
 *
 * Concurrency. `graph` is held for reading by searches and inserts, for writing only
 * while the arrays move. `life` is held for reading by inserts and removes, for writing
 * by a sweep; it comes before graph. Link rows are changed under the node's stripe of
 * `locks`, one stripe at a time, and read without: a reader may see a row half changed,
 * that is, a mix of old and new neighbours, each of which is or was a node. Records are
 * written before the first link to their node is (release), and not changed while it is
 * linked.
 */
#ifndef VEXFS_HNSW_I_H
#define VEXFS_HNSW_I_H

#include <vexfs/index.h>

#define NONE UINT32_MAX
#define LEVELS VEX_HNSW_LEVELS
#define LOCKS 4096u

/* A growing array at an address that only vex_hnsw's write lock may change. */
struct region {
	uint8_t *base;
	_Atomic size_t used; /* bytes; read for statistics without the lock */
	size_t reserved;
};
vex_err region_grow(struct region *r, size_t bytes) VEX_CHECKED;
/* The bytes of a file at `offset`, in an empty region: read, or mapped copy-on-write. */
vex_err region_take(struct region *r, int fd, uint64_t offset, uint64_t bytes,
		    bool map) VEX_CHECKED;
void region_free(struct region *r);

struct context;

struct spare {
	uint32_t at;
	struct spare *next;
};

/* levels[node]: 0 no node; else its level + 1, and GONE once it was removed. */
#define GONE 0x80u

struct vex_hnsw {
	enum vex_metric metric; /* fixed */
	enum vex_quant quant;
	uint32_t dim, m, m0, ef_construction;
	size_t stride, fetch; /* of a record; what is prefetched of it */
	double level_scale;
	uint64_t seed;

	pthread_rwlock_t life;
	pthread_rwlock_t graph;
	/* moved under graph: */
	struct region codes, links0, places, levels, upper;
	uint32_t cap; /* nodes there is room for */

	pthread_spinlock_t locks[LOCKS];

	pthread_mutex_t entry_lock; /* raising the entry */
	_Atomic uint64_t entry;     /* level << 32 | node; NONE node: empty */

	_Atomic uint32_t upper_used; /* rows handed out */
	_Atomic uint64_t nodes, removed;
	/* Bits of floats, also in the file: a number kept for the user; spread.c's. */
	_Atomic uint32_t widen, spread;

	/* rows of upper layers that are free again, by number of layers; under
	 * entry_lock: */
	struct spare *spare[LEVELS];

	pthread_mutex_t contexts_lock;
	struct context *contexts; /* idle ones */
};

static inline uint8_t *codes_of(const struct vex_hnsw *h, uint32_t node)
{
	return h->codes.base + (size_t)node * h->stride;
}

/* Row of links of a node; *n: its room. */
static inline _Atomic uint32_t *links_of(const struct vex_hnsw *h, uint32_t node,
					 uint32_t level, uint32_t *n)
{
	const uint32_t *place = (const uint32_t *)(const void *)h->places.base;

	if (!level) {
		*n = h->m0;
		return (_Atomic uint32_t *)(void *)h->links0.base + (size_t)node * h->m0;
	}
	*n = h->m;
	return (_Atomic uint32_t *)(void *)h->upper.base +
	       ((size_t)place[node] + level - 1) * h->m;
}

static inline _Atomic uint8_t *level_of(const struct vex_hnsw *h, uint32_t node)
{
	return (_Atomic uint8_t *)(void *)h->levels.base + node;
}

static inline bool is_node(const struct vex_hnsw *h, uint32_t node)
{
	uint8_t l = atomic_load_explicit(level_of(h, node), memory_order_relaxed);

	return l && !(l & GONE);
}

static inline pthread_spinlock_t *lock_of(struct vex_hnsw *h, uint32_t node)
{
	return &h->locks[node % LOCKS];
}

/*
 * Asks for the cache lines of `bytes` at p. The empty asm is not for
 * show: a function that does nothing but prefetch is pure to GCC 12, which then drops the
 * calls (seen with objdump: the traversal ran with no prefetch of rows and links).
 */
static inline void fetch(const void *p, size_t bytes)
{
	const char *at = p, *end = at + bytes;

	__asm__ volatile("" : : "r"(at));
	for (; at < end; at += 64)
		__builtin_prefetch(at);
}

/* ---- context.c: what a traversal needs, pooled ------------------------------------ */

/* Sorted nearest first; the top bit of an id says "expanded". */
struct pool {
	float *dist;
	uint32_t *id;
	uint32_t n, cap, next; /* next: first that may be unexpanded */
};
#define EXPANDED 0x80000000u

struct context {
	struct context *idle;
	uint64_t *seen; /* bitset by node */
	uint32_t seen_nodes;
	uint32_t *touched; /* nodes set in seen, the first captouched of them */
	uint32_t ntouched, captouched;
	struct pool pool;
	uint32_t pool_room;
	uint32_t *fresh[2]; /* neighbours not seen before, of this hop and the last */
	float *dist;
	void *query, *query2; /* code room */
	struct vex_code_query q;
	uint32_t *chosen; /* select: the neighbours taken */
	uint64_t distances;
};
/* A context with room for `ef` in its pool, nothing seen. */
vex_err context_get(struct vex_hnsw *h, uint32_t ef, struct context **out) VEX_CHECKED;
static inline void see(struct context *c, uint32_t node)
{
	c->seen[node >> 6] |= 1ull << (node & 63);
	if (c->ntouched < c->captouched)
		c->touched[c->ntouched] = node;
	c->ntouched++;
}
void context_put(struct vex_hnsw *h, struct context *c);
void context_forget(struct context *c); /* nothing seen any more */
void contexts_free(struct vex_hnsw *h);

/* ---- beam.c --------------------------------------------------------------------------
 */

struct beam {
	uint32_t level, ef;
	uint32_t k;  /* with `widen`: hits that matter */
	float widen; /* stop at candidates beyond (1 + widen) x the k-th; <0: ef alone */
	struct vex_bound *bound; /* NULL: none */
	bool seeded; /* from what beam_descend has left in c->pool, not from `entry` */
};
/* Nearest nodes to c->q from `entry`, into c->pool. Graph held for reading. */
void beam_search(const struct vex_hnsw *h, struct context *c, uint32_t entry,
		 const struct beam *b);
/* One nearest, by steps downhill, from level `from` down to `to` (inclusive, 1 or more).
 * What was met on the way is seen, and the `keep` nearest of it are in c->pool: no
 * distance is computed twice, and a search of layer 0 begins at several places. */
uint32_t beam_descend(const struct vex_hnsw *h, struct context *c, uint32_t entry,
		      uint32_t from, uint32_t to, uint32_t keep);

/* ---- select.c
 * ----------------------------------------------------------------------------- */

/* Chooses at most `want` of n candidates (nearest first, with their distances to the
 * node) by the heuristic of the paper, algorithm 4: one nearer to a chosen one than to
 * the node is left out. Result in c->chosen; returns how many. */
uint32_t select_neighbours(const struct vex_hnsw *h, struct context *c,
			   const uint32_t *id, const float *dist, uint32_t n,
			   uint32_t want);

/* ---- spread.c
 * ----------------------------------------------------------------------------- */

/* Learns from what an insert has found of its neighbours, nearest first. */
void spread_learn(struct vex_hnsw *h, const struct pool *p);
/* How much farther than the k-th the ef-th nearest is, as a share of it, on average;
 * below 0: not known. */
float spread_widen(const struct vex_hnsw *h, uint32_t k, uint32_t ef);

/* ---- hnsw.c
 * ----------------------------------------------------------------------------------- */

void set_links(struct vex_hnsw *h, uint32_t node, uint32_t level, const uint32_t *ids,
	       uint32_t n);
void sort_by_distance(uint32_t *id, float *dist, uint32_t n);

/* ---- reach.c
 * ------------------------------------------------------------------------------------ */

/*
 * Makes `from` link to `node`, whatever its row holds: the neighbour that has to give way
 * is linked to by the node itself, so whoever was reached that way still is.
 */
void link_splice(struct vex_hnsw *h, uint32_t from, uint32_t node, uint32_t level);
/* Links every live node that the entry does not lead to. life held for writing. */
vex_err reach_all(struct vex_hnsw *h, struct context *c, uint64_t *unreached) VEX_CHECKED;
/* Bits of the nodes the entry leads to in layer 0; heap, cap / 64 + 1 words. */
vex_err reach_bits(const struct vex_hnsw *h, uint64_t **bits) VEX_CHECKED;

#endif
