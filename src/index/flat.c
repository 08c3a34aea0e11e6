/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact scan: every live row against every query, through BLAS in blocks.
 *
 * A block never crosses a segment. The BLAS number only rules rows out: what the cut
 * for the worst hit kept (vex_cut) lets pass is computed again in double, and that number
 * decides. So the answer is exact, although float sums are not; and after the first few
 * hundred rows almost none is looked at twice.
 *
 * Dead rows inside a block are computed along with the others (BLAS wants whole runs)
 * and skipped by the bitmap; a block with no live row is not touched at all.
 */
#include <math.h>
#include <vexfs/index.h>

/* Rows handed to BLAS at once: smaller blocks cost sgemv some of its speed. */
#define BLOCK 4096u
#define QUERIES_MAX 64u /* taken through the rows at once */

struct scan {
	const struct vex_rows *rows;
	vex_accept_fn accept;
	void *arg;
	struct vex_scan_stats stats;
	float *dots;     /* QUERIES_MAX x BLOCK */
	double *squares; /* of the queries under way: <q, q> */
};

static const float *row_at(const struct vex_rows *r, uint64_t slot)
{
	uint64_t in = slot & ((1ull << r->seg_shift) - 1);

	return (const float *)(const void *)r->rows[slot >> r->seg_shift] + in * r->dim;
}

static const float *norms_at(const struct vex_rows *r, uint64_t slot)
{
	return r->norms[slot >> r->seg_shift] + (slot & ((1ull << r->seg_shift) - 1));
}

/* The bitmap word that holds `slot`, its bits below the slot cleared. */
static uint64_t live_from(const struct vex_rows *r, uint64_t slot)
{
	return r->live[slot >> 6] & (~0ull << (slot & 63));
}

/* First live slot at or after `slot`, or rows->slots. */
static uint64_t next_live(const struct vex_rows *r, uint64_t slot)
{
	while (slot < r->slots) {
		uint64_t word = live_from(r, slot);

		if (word) {
			slot = (slot & ~63ull) + (unsigned)__builtin_ctzll(word);
			return slot < r->slots ? slot : r->slots;
		}
		slot = (slot & ~63ull) + 64;
	}
	return r->slots;
}

/* Rows from `slot` on that fit one block: within the segment and the space. */
static size_t run_at(const struct vex_rows *r, uint64_t slot)
{
	uint64_t seg_end = ((slot >> r->seg_shift) + 1) << r->seg_shift;

	return (size_t)vex_min64(BLOCK, vex_min64(seg_end, r->slots) - slot);
}

/* One row that may belong to the answer: the exact number, the callback, the heap. */
static vex_err consider(struct scan *s, struct vex_topk *t, const float *q, double qq,
			uint64_t slot)
{
	const struct vex_rows *r = s->rows;
	float d = vex_distance(r->metric, q, row_at(r, slot), r->dim, qq);
	uint64_t file;
	int rc;

	s->stats.exact++;
	if (!(d <= vex_topk_limit(t)))
		return 0;
	rc = s->accept(s->arg, slot, &file);
	if (rc < 0)
		return rc;
	if (!rc) {
		s->stats.refused++;
		return 0;
	}
	return vex_topk_add(t, d, slot, file);
}

/* The live bits of slots first .. first + n - 1, n <= 64. */
static uint64_t live_bits(const struct vex_rows *r, uint64_t first, unsigned n)
{
	uint64_t word = r->live[first >> 6] >> (first & 63);

	if ((first & 63) + n > 64)
		word |= r->live[(first >> 6) + 1] << (64 - (first & 63));
	return n < 64 ? word & ((1ull << n) - 1) : word;
}

/* The block's inner products with one query against its answer so far, 64 at a time;
 * the cut follows the answer as it gets better. */
static vex_err sift(struct scan *s, struct vex_topk *t, const float *q, double qq,
		    uint64_t first, size_t n, const float *dots)
{
	const struct vex_rows *r = s->rows;
	float limit = vex_topk_limit(t);
	double nq = sqrt(qq);
	struct vex_cut cut = vex_cut_make(r->metric, limit, r->dim, nq);

	for (size_t i = 0; i < n; i += 64) {
		unsigned m = n - i < 64 ? (unsigned)(n - i) : 64;
		uint64_t mask = vex_cut_mask(&cut, dots + i, norms_at(r, first + i), m);

		mask &= live_bits(r, first + i, m);
		for (; mask; mask &= mask - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(mask);
			vex_err err = consider(s, t, q, qq, first + i + bit);

			if (err)
				return err;
		}
		if (vex_topk_limit(t) < limit) {
			limit = vex_topk_limit(t);
			cut = vex_cut_make(r->metric, limit, r->dim, nq);
		}
	}
	return 0;
}

static vex_err scan_block(struct scan *s, const float *qs, size_t nq, struct vex_topk **t,
			  uint64_t first, size_t n)
{
	const struct vex_rows *r = s->rows;

	if (nq == 1)
		vex_dots(qs, row_at(r, first), n, r->dim, s->dots);
	else
		vex_dots_batch(qs, nq, row_at(r, first), n, r->dim, s->dots);
	s->stats.distances += n * nq;
	for (size_t j = 0; j < nq; j++) {
		vex_err err = sift(s, t[j], qs + j * r->dim, s->squares[j], first, n,
				   s->dots + j * n);

		if (err)
			return err;
	}
	return 0;
}

static vex_err scan_all(struct scan *s, const float *qs, size_t nq, struct vex_topk **t,
			const _Atomic int *cancel)
{
	uint64_t slot = next_live(s->rows, 0);

	for (size_t j = 0; j < nq; j++)
		s->squares[j] = vex_square(qs + j * s->rows->dim, s->rows->dim);
	while (slot < s->rows->slots) {
		size_t n = run_at(s->rows, slot);
		vex_err err;

		if (cancel && *cancel)
			return -EINTR;
		err = scan_block(s, qs, nq, t, slot, n);
		if (err)
			return err;
		slot = next_live(s->rows, slot + n);
	}
	return 0;
}

vex_err vex_flat_search(const struct vex_rows *rows, const float *queries, size_t nq,
			struct vex_topk **topk, vex_accept_fn accept, void *arg,
			const _Atomic int *cancel, struct vex_scan_stats *stats)
{
	struct scan s = { .rows = rows, .accept = accept, .arg = arg };
	size_t group = nq < QUERIES_MAX ? nq : QUERIES_MAX;
	vex_err err = 0;

	AUTO_FREE float *dots = malloc((BLOCK * sizeof(float) + sizeof(double)) * group);
	if (!dots)
		return -ENOMEM;
	s.squares = (double *)(void *)dots;
	s.dots = dots + 2 * group;
	for (size_t j = 0; j < nq && !err; j += group) {
		size_t n = nq - j < group ? nq - j : group;

		err = scan_all(&s, queries + j * rows->dim, n, topk + j, cancel);
	}
	if (stats)
		*stats = s.stats;
	return err;
}
