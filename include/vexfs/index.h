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
#include <vexfs/kernel.h>

/* The rows to search: as struct vex_view, which engine copies from. */
struct vex_rows {
	uint32_t dim;
	enum vex_metric metric;
	unsigned seg_shift;
	uint64_t slots;
	const uint8_t *const *rows; /* float32, dim x 4 bytes a row */
	const float *const *norms;
	const uint64_t *live;
};

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
/* Whether (distance, file, slot) would be kept; cheap, changes nothing. */
bool vex_topk_wants(const struct vex_topk *t, float distance, uint64_t slot,
		    uint64_t file);
/* -ENOMEM; 0 whether kept or not. */
vex_err vex_topk_add(struct vex_topk *t, float distance, uint64_t slot,
		     uint64_t file) VEX_CHECKED;
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
	uint64_t exact;	    /* of these, computed again in double */
	uint64_t refused;   /* by accept */
};

/*
 * Exact search of nq queries (nq x dim float32) into one topk each. One query goes
 * through sgemv, several through sgemm. `cancel` (may be NULL) is looked at between
 * blocks: non-zero ends with -EINTR. Scratch is allocated once a call.
 */
vex_err vex_flat_search(const struct vex_rows *rows, const float *queries,
			size_t nq, struct vex_topk **topk, vex_accept_fn accept,
			void *arg, const _Atomic int *cancel,
			struct vex_scan_stats *stats) VEX_CHECKED;

#endif
