/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index: finding the nearest rows. Here: the exact ("flat") scan. It knows rows,
 * norms and a liveness bitmap; what a row belongs to, and whether the caller may
 * see it, it learns from a callback. It never meets the store: engine hands it
 * the pointers.
 */
#ifndef VEXFS_INDEX_H
#define VEXFS_INDEX_H

#include <vexfs/base.h>
#include <vexfs/metrics.h>
#include <vexfs/kernel.h>

/* The rows to search: as struct vex_view, which engine copies from. */
struct vex_rows {
	uint32_t dim;
	uint8_t type; /* enum vex_elem */
	enum vex_metric metric;
	unsigned seg_shift;
	uint64_t slots;
	double scale; /* as struct vex_layout */
	const uint8_t *const *rows;
	const float *const *norms;
	const uint64_t *live;
};

static inline struct vex_layout vex_rows_layout(const struct vex_rows *r)
{
	return (struct vex_layout){ .dim = r->dim, .type = r->type, .scale = r->scale };
}

/*
 * Bounded set of the best hits of one query: at most `k`, at most `per_file` of one
 * file (0: any number), none farther than `max_distance`. Order: distance, then
 * slot, so equal distances come out the same way every time.
 */
struct vex_hit {
	float distance;
	uint64_t slot, file;
};

struct vex_topk;
vex_err vex_topk_new(uint32_t k, uint32_t per_file, float max_distance,
		     struct vex_topk **out) VEX_CHECKED;
void vex_topk_free(struct vex_topk *t);
/* Distance a new hit must not exceed: +inf while there is room. */
float vex_topk_limit(const struct vex_topk *t);
/* Whether a hit of a file that has none yet would be kept. */
bool vex_topk_fits(const struct vex_topk *t, float distance, uint64_t slot);
/* Whether (distance, file, slot) would be kept; cheap, changes nothing. */
bool vex_topk_wants(const struct vex_topk *t, float distance, uint64_t slot,
		    uint64_t file);
/* Hits kept so far. */
size_t vex_topk_count(const struct vex_topk *t);
/* -ENOMEM; 0 whether kept or not. */
vex_err vex_topk_add(struct vex_topk *t, float distance, uint64_t slot,
		     uint64_t file) VEX_CHECKED;
/* The same of many, nearest first, no slot twice, each a file of its own; quick where t
 * is new and keeps any number of a file's rows. */
vex_err vex_topk_fill(struct vex_topk *t, const float *distance, const uint32_t *slot,
		      size_t n) VEX_CHECKED;
/* Sorts in place, nearest first; the array stays owned by t. Ends adding. */
const struct vex_hit *vex_topk_sorted(struct vex_topk *t, size_t *n);

/*
 * Asked of rows that would enter the answer, nearest known so far: sets *file, and
 * returns 1 to take the row, 0 to pass it over (not permitted, not below DIR,
 * damaged ...), or a negative errno to end the search.
 */
typedef int (*vex_accept_fn)(void *arg, uint64_t slot, uint64_t *file);

struct vex_scan_stats {
	uint64_t distances; /* rows whose distance was computed */
	uint64_t exact;     /* of these, computed again in double */
	uint64_t refused;   /* by accept */
};

/* How far a search may go; one that may not go on has met it, and what it has found by
 * then stands. Of one thread at a time. */
struct vex_bound {
	uint64_t deadline; /* vex_now_mono; 0: none */
	uint64_t most;     /* distances; 0: any number */
	uint64_t seen;     /* of them, so far */
	bool met;
};
static inline uint64_t vex_bound_left(const struct vex_bound *b)
{
	return !b || !b->most ? UINT64_MAX : b->most > b->seen ? b->most - b->seen : 0;
}
/* Whether the time is over. */
static inline bool vex_bound_late(struct vex_bound *b)
{
	if (!b || !b->deadline || vex_now_mono() < b->deadline)
		return false;
	return b->met = true;
}

/*
 * Exact search of nq queries (nq x dim float32) into one topk each. Of float32 rows one
 * query goes through sgemv, several through sgemm; all else through vex_scores. `bound`
 * (may be NULL) is looked at between blocks: -ETIMEDOUT once it is met. Scratch is
 * allocated once a call.
 */
vex_err vex_flat_search(const struct vex_rows *rows, const float *queries, size_t nq,
			struct vex_topk **topk, vex_accept_fn accept, void *arg,
			struct vex_bound *bound,
			struct vex_scan_stats *stats) VEX_CHECKED;

/* ---- HNSW ------------------------------------------------------------------------ */

/*
 * The graph of Malkov and Yashunin ("Efficient and robust approximate nearest neighbor
 * search using Hierarchical Navigable Small World graphs", 2018), traversed on codes
 * and finished on the rows themselves. Inserts and searches run side by side.
 */
#define VEX_HNSW_LEVELS 16u

struct vex_hnsw;
struct vex_hnsw_opts {
	enum vex_metric metric;
	enum vex_quant quant; /* what it traverses */
	uint32_t dim, m, ef_construction;
	uint64_t seed; /* of the levels: the same seed and slots, the same levels */
};
vex_err vex_hnsw_new(const struct vex_hnsw_opts *o, struct vex_hnsw **out) VEX_CHECKED;
void vex_hnsw_free(struct vex_hnsw *h);
/* Slots are below 2^31. Inserting one that is there: -EEXIST. */
vex_err vex_hnsw_insert(struct vex_hnsw *h, uint32_t slot, const float *v) VEX_CHECKED;
/* The node still leads searches through, but is none of their hits' business any more
 * (the rows' live bits decide that), until the next sweep takes it out. -ENOENT. */
vex_err vex_hnsw_remove(struct vex_hnsw *h, uint32_t slot) VEX_CHECKED;
/* Takes removed nodes out of every link row and mends the rows, then links to what can't
 * be reached. `released` is told of each slot that may be used again. Inserts and removes
 * wait meanwhile, searches do not. -ENOMEM: done in part, call again. */
vex_err vex_hnsw_sweep(struct vex_hnsw *h, void (*released)(void *arg, uint32_t slot),
		       void *arg) VEX_CHECKED;
/* Links to what cannot be reached; a sweep ends with the same. For after a build. */
vex_err vex_hnsw_connect(struct vex_hnsw *h) VEX_CHECKED;
/* A number kept with the graph, also in its file: the stop rule its user found right. */
float vex_hnsw_widen(const struct vex_hnsw *h);
void vex_hnsw_set_widen(struct vex_hnsw *h, float w);
uint64_t vex_hnsw_nodes(const struct vex_hnsw *h);   /* live */
uint64_t vex_hnsw_removed(const struct vex_hnsw *h); /* waiting for a sweep */
/* What a graph of so many nodes takes. */
uint64_t vex_hnsw_estimate(const struct vex_hnsw_opts *o, uint64_t nodes);
uint64_t vex_hnsw_bytes(const struct vex_hnsw *h);

uint64_t vex_hnsw_slots(const struct vex_hnsw *h);          /* nodes are below this */
bool vex_hnsw_has(const struct vex_hnsw *h, uint32_t slot); /* live */

/* Writes the graph, which stands at change `lsn`, to fd; inserts wait, searches do not.
 * -EBUSY: removed nodes are to be swept first. */
vex_err vex_hnsw_save(struct vex_hnsw *h, int fd, uint32_t space,
		      uint64_t lsn) VEX_CHECKED;
/* Into a graph just made, with the same options. -EUCLEAN: not ours, or damaged; after an
 * error the graph is only good for vex_hnsw_free. */
vex_err vex_hnsw_load(struct vex_hnsw *h, int fd, uint32_t space,
		      uint64_t *lsn) VEX_CHECKED;

/* What the validator counts; all of them zero in a sound graph. */
struct vex_hnsw_flaws {
	uint64_t links; /* out of range, to itself, twice in a row, to no node, above its
			   level; rows of layers that are not there */
	uint64_t unreachable; /* live nodes that no path from the entry leads to */
	uint64_t entry;       /* the entry is missing or below the top */
};
vex_err vex_hnsw_check(struct vex_hnsw *h, struct vex_hnsw_flaws *f) VEX_CHECKED;

/* An index file with no store at hand, for fsck: takes as much memory as the graph.
 * -EUCLEAN: no index file, or its sums do not hold. 0: it was read; it is sound if all
 * flaws are zero too. Whether its nodes are the space's rows is for the mount to see,
 * which takes in the difference. */
struct vex_index_file {
	uint32_t space, dim;
	uint64_t lsn; /* the graph stands at this change */
	uint64_t nodes, slots;
	struct vex_hnsw_flaws flaws;
};
vex_err vex_index_check(int fd, struct vex_index_file *out) VEX_CHECKED;

struct vex_hnsw_query {
	uint32_t k, ef;
	float widen;     /* stop rule: candidates beyond (1 + widen) x the k-th end the
			  * search; negative: as far as the ef-th nearest is on average */
	uint32_t rerank; /* best by codes that are computed exactly; 0: ef */
	/* The node to search as if it were not there, + 1; 0: none. With a row of the
	 * graph as the query, the way a stranger would be searched for; the row itself
	 * is found all the same where it is the entry. */
	uint32_t absent;
	struct vex_bound *bound; /* NULL: none; met: the best of what was seen */
};
/* Exact distances of the best found, into topk, through accept; NULL: all of them, each
 * as a file of its own. */
vex_err vex_hnsw_search(struct vex_hnsw *h, const struct vex_rows *rows,
			const float *query, const struct vex_hnsw_query *p,
			struct vex_topk *topk, vex_accept_fn accept, void *arg,
			struct vex_scan_stats *stats) VEX_CHECKED;

#endif
