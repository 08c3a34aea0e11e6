/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact scan: every live row against every query, in blocks, through BLAS where the
 * rows are float32 and inner products will do, else through vex_scores.
 *
 * A block never crosses a segment. The float number only rules rows out: what the cut
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
#define TILE 65536u     /* bytes of rows that several queries visit in turn */
#define ALIGN ((uintptr_t)64)

struct scan {
	const struct vex_rows *rows;
	struct vex_layout layout;
	size_t stride;
	bool blas;
	vex_accept_fn accept;
	void *arg;
	struct vex_scan_stats stats;
	float *dots; /* QUERIES_MAX x BLOCK */
	/* Of the queries under way: */
	double *squares; /* <q, q> */
	struct vex_score_query *sq;
	uint8_t *room; /* theirs */
};

static const void *row_at(const struct scan *s, uint64_t slot)
{
	const struct vex_rows *r = s->rows;
	uint64_t in = slot & ((1ull << r->seg_shift) - 1);

	return r->rows[slot >> r->seg_shift] + in * s->stride;
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
	float d = vex_row_distance(&s->layout, r->metric, q, row_at(s, slot), qq);
	uint64_t file;
	int rc;

	s->stats.exact++;
	/* Of equal distances, which bits have many, later slots come too late. */
	if (!vex_topk_fits(t, d, slot))
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

/* The block's scores for one query against its answer so far, 64 at a time; the cut
 * follows the answer as it gets better. */
static vex_err sift(struct scan *s, struct vex_topk *t, size_t query, uint64_t first,
		    size_t n)
{
	const struct vex_rows *r = s->rows;
	const struct vex_score_query *sq = &s->sq[query];
	const float *dots = s->dots + query * n;
	float limit = vex_topk_limit(t);
	struct vex_cut cut = vex_score_cut(sq, limit);

	for (size_t i = 0; i < n; i += 64) {
		unsigned m = n - i < 64 ? (unsigned)(n - i) : 64;
		uint64_t mask = vex_cut_mask(&cut, dots + i, norms_at(r, first + i), m);

		mask &= live_bits(r, first + i, m);
		for (; mask; mask &= mask - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(mask);
			vex_err err =
			    consider(s, t, sq->q, s->squares[query], first + i + bit);

			if (err)
				return err;
		}
		if (vex_topk_limit(t) < limit) {
			limit = vex_topk_limit(t);
			cut = vex_score_cut(sq, limit);
		}
	}
	return 0;
}

/* All queries over a tile of rows while it is in the cache. */
static void score_block(struct scan *s, size_t nq, uint64_t first, size_t n)
{
	size_t tile = nq > 1 ? TILE / s->stride + 1 : n;

	for (size_t i = 0; i < n; i += tile)
		for (size_t j = 0; j < nq; j++)
			vex_scores(&s->sq[j], row_at(s, first + i),
				   n - i < tile ? n - i : tile, s->dots + j * n + i);
}

/* So few of a run's rows are live that they are cheaper one by one. */
#define SPARSE 16u

static bool sparse(const struct vex_rows *r, uint64_t first, size_t n)
{
	uint64_t live = 0;

	for (size_t i = 0; i < n; i += 64) {
		unsigned m = n - i < 64 ? (unsigned)(n - i) : 64;

		live += (unsigned)__builtin_popcountll(live_bits(r, first + i, m));
	}
	return live * SPARSE < n;
}

static void prefetch(const struct scan *s, uint64_t slot)
{
	const char *row = row_at(s, slot);

	for (size_t i = 0; i < s->stride && i < 1024; i += 64)
		__builtin_prefetch(row + i);
	__builtin_prefetch(norms_at(s->rows, slot));
}

/* Two batches are under way: one is computed while the other is fetched. */
#define FEW 16u

/* Up to FEW live slots of first .. end - 1, their rows on the way. */
static unsigned next_few(struct scan *s, uint64_t *first, uint64_t end, uint64_t *slots)
{
	unsigned n = 0;
	uint64_t slot = next_live(s->rows, *first);

	for (; n < FEW && slot < end; slot = next_live(s->rows, slot + 1)) {
		prefetch(s, slot);
		slots[n++] = slot;
	}
	*first = slot;
	return n;
}

static vex_err sift_few(struct scan *s, struct vex_topk *t, size_t query,
			const uint64_t *slots, unsigned n)
{
	const struct vex_score_query *sq = &s->sq[query];
	struct vex_cut cut = vex_score_cut(sq, vex_topk_limit(t));
	float score[FEW], norm[FEW];

	for (unsigned i = 0; i < n; i++) {
		vex_scores(sq, row_at(s, slots[i]), 1, &score[i]);
		norm[i] = *norms_at(s->rows, slots[i]);
	}
	for (uint64_t m = vex_cut_mask(&cut, score, norm, n); m; m &= m - 1) {
		uint64_t slot = slots[__builtin_ctzll(m)];
		vex_err err = consider(s, t, sq->q, s->squares[query], slot);

		if (err)
			return err;
	}
	return 0;
}

static vex_err __attribute__((noinline))
scan_few(struct scan *s, size_t nq, struct vex_topk **t, uint64_t first, size_t len)
{
	uint64_t slots[2][FEW], end = first + len;
	unsigned n[2], now = 0;

	for (n[0] = next_few(s, &first, end, slots[0]); n[now]; now = !now) {
		n[!now] = next_few(s, &first, end, slots[!now]);
		s->stats.distances += n[now] * nq;
		for (size_t j = 0; j < nq; j++) {
			vex_err err = sift_few(s, t[j], j, slots[now], n[now]);

			if (err)
				return err;
		}
	}
	return 0;
}

static vex_err scan_block(struct scan *s, size_t nq, struct vex_topk **t, uint64_t first,
			  size_t n)
{
	const struct vex_rows *r = s->rows;
	const float *qs = s->sq[0].q;

	if (sparse(r, first, n))
		return scan_few(s, nq, t, first, n);
	if (!s->blas)
		score_block(s, nq, first, n);
	else if (nq == 1)
		vex_dots(qs, row_at(s, first), n, r->dim, s->dots);
	else
		vex_dots_batch(qs, nq, row_at(s, first), n, r->dim, s->dots);
	s->stats.distances += n * nq;
	for (size_t j = 0; j < nq; j++) {
		vex_err err = sift(s, t[j], j, first, n);

		if (err)
			return err;
	}
	return 0;
}

/* How many of n rows the bound leaves. */
static size_t within(struct vex_bound *b, size_t n, size_t nq)
{
	size_t rows = vex_bound_late(b) ? 0 : vex_min64(n, vex_bound_left(b) / nq);

	if (b && !rows)
		b->met = true;
	return rows;
}

static vex_err scan_all(struct scan *s, const float *qs, size_t nq, struct vex_topk **t,
			struct vex_bound *bound)
{
	uint64_t slot = next_live(s->rows, 0);

	for (size_t j = 0; j < nq; j++) {
		const float *q = qs + j * s->rows->dim;

		s->squares[j] = vex_square(q, s->rows->dim);
		vex_score_query(&s->layout, s->rows->metric, q,
				s->room + j * vex_score_room(&s->layout), &s->sq[j]);
	}
	while (slot < s->rows->slots) {
		uint64_t before = s->stats.distances;
		size_t n = within(bound, run_at(s->rows, slot), nq);
		vex_err err;

		if (!n)
			return -ETIMEDOUT;
		err = scan_block(s, nq, t, slot, n);
		if (bound)
			bound->seen += s->stats.distances - before;
		if (err)
			return err;
		slot = next_live(s->rows, slot + n);
	}
	return 0;
}

/* What one call needs for `group` queries, whose own room comes first. */
static size_t scratch_size(size_t room, size_t group)
{
	size_t each = room + sizeof(double) + sizeof(struct vex_score_query) +
		      BLOCK * sizeof(float);

	return each * group;
}

vex_err vex_flat_search(const struct vex_rows *rows, const float *queries, size_t nq,
			struct vex_topk **topk, vex_accept_fn accept, void *arg,
			struct vex_bound *bound, struct vex_scan_stats *stats)
{
	struct scan s = { .rows = rows,
			  .layout = vex_rows_layout(rows),
			  .accept = accept,
			  .arg = arg };
	size_t group = nq < QUERIES_MAX ? nq : QUERIES_MAX;
	size_t room = vex_score_room(&s.layout);
	vex_err err = 0;

	/* Not aligned_alloc: once freed, its blocks are too short for the next call
	 * (glibc 2.36), and under load each search left 16 KB of heap behind. */
	AUTO_FREE uint8_t *block = malloc(scratch_size(room, group) + ALIGN - 1);
	if (!block)
		return -ENOMEM;
	uint8_t *scratch = block + (-(uintptr_t)block & (ALIGN - 1));
	s.stride = vex_row_bytes(rows->type, rows->dim);
	/* Its sgemv takes 14 KB of stack (tests/unit/fs/test_stack_bounds.c). */
	s.blas = !vex_stack_is_small() && vex_score_by_blas(&s.layout, rows->metric);
	s.room = scratch;
	s.squares = (double *)(void *)(scratch + room * group);
	s.sq = (struct vex_score_query *)(void *)(s.squares + group);
	s.dots = (float *)(void *)(s.sq + group);
	for (size_t j = 0; j < nq && !err; j += group) {
		size_t n = nq - j < group ? nq - j : group;

		err = scan_all(&s, queries + j * rows->dim, n, topk + j, bound);
	}
	if (stats)
		*stats = s.stats;
	return err;
}
