/* SPDX-License-Identifier: Apache-2.0 */
/* The exact scan against a sort of every distance, over segments, dead rows, groups of
 * rows by file, refusals, batches and ties. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <vexfs/index.h>

TestSuite(index, .timeout = 120, .init = vex_kernel_init);

#define SHIFT 6u
#define SEGS 40u
#define SLOTS (SEGS << SHIFT)

struct set {
	uint32_t dim;
	uint8_t type;
	double scale;
	enum vex_metric metric;
	float *v;
	uint8_t *rows; /* of a type that is not f32 */
	float norms[SLOTS];
	const uint8_t *segs[SEGS];
	const float *nsegs[SEGS];
	uint64_t live[SLOTS / 64 + 1];
	uint64_t file[SLOTS];
	bool refused[SLOTS]; /* by file */
};

static struct set *make(enum vex_metric metric, uint32_t dim, unsigned *seed)
{
	struct set *s = calloc(1, sizeof(*s));

	s->dim = dim;
	s->metric = metric;
	s->v = malloc(sizeof(float) * dim * SLOTS);
	for (size_t i = 0; i < (size_t)dim * SLOTS; i++)
		/* few different values: ties happen */
		s->v[i] = (float)(rand_r(seed) % 9) - 4 + (dim > 4 ? 0.125f : 0.5f);
	for (unsigned i = 0; i < SLOTS; i++) {
		s->norms[i] = (float)vex_norm(s->v + (size_t)i * dim, dim);
		s->file[i] = (unsigned)rand_r(seed) % (SLOTS / 3) + 1;
		if (rand_r(seed) % 4)
			s->live[i / 64] |= 1ull << (i % 64);
	}
	/* a stretch with nothing alive */
	memset(s->live + 10, 0, 5 * sizeof(uint64_t));
	for (unsigned i = 0; i < SLOTS; i++)
		s->refused[i] = rand_r(seed) % 3 == 0;
	for (unsigned i = 0; i < SEGS; i++) {
		s->segs[i] = (const uint8_t *)(s->v + ((size_t)i << SHIFT) * dim);
		s->nsegs[i] = s->norms + (i << SHIFT);
	}
	return s;
}

/* The same rows as another type. */
static void retype(struct set *s, uint8_t type, double scale)
{
	struct vex_layout l = { .dim = s->dim, .type = type, .scale = scale };
	size_t stride = vex_row_bytes(type, s->dim);

	s->type = type;
	s->scale = scale;
	s->rows = malloc(stride * SLOTS);
	for (size_t i = 0; i < SLOTS; i++) {
		float *v = s->v + i * s->dim;

		for (uint32_t j = 0; j < s->dim; j++)
			v[j] = scale > 0 || type == VEX_F16 ? v[j] : floorf(v[j]);
		if (!vex_norm(v, s->dim))
			v[0] = 1;
		cr_assert(vex_row_encode(&l, v, s->rows + i * stride));
		s->norms[i] = (float)vex_row_norm(&l, s->rows + i * stride);
	}
	for (size_t i = 0; i < SEGS; i++)
		s->segs[i] = s->rows + (i << SHIFT) * stride;
}

static void drop(struct set *s)
{
	free(s->v);
	free(s->rows);
	free(s);
}

static int accept(void *arg, uint64_t slot, uint64_t *file)
{
	struct set *s = arg;

	*file = s->file[slot];
	return !s->refused[*file];
}

static int by_rank(const void *a, const void *b)
{
	const struct vex_hit *x = a, *y = b;

	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* All distances, sorted, the best per_file of each file kept, cut at k. */
static size_t oracle(struct set *s, const float *q, uint32_t k, uint32_t per_file,
		     float max, struct vex_hit *out)
{
	struct vex_hit *all = malloc(SLOTS * sizeof(*all));
	uint32_t *seen = calloc(SLOTS + 1, sizeof(*seen));
	size_t n = 0, kept = 0;

	for (uint64_t i = 0; i < SLOTS; i++) {
		struct vex_layout l = { s->dim, s->type, s->scale };
		const void *v = s->segs[i >> SHIFT] + (i & ((1u << SHIFT) - 1)) *
							  vex_row_bytes(s->type, s->dim);

		if (!(s->live[i / 64] >> (i % 64) & 1) || s->refused[s->file[i]])
			continue;
		all[n++] = (struct vex_hit){
			.distance =
			    vex_row_distance(&l, s->metric, q, v, vex_square(q, s->dim)),
			.slot = i,
			.file = s->file[i],
		};
	}
	qsort(all, n, sizeof(*all), by_rank);
	for (size_t i = 0; i < n && kept < k; i++)
		if (all[i].distance <= max &&
		    (!per_file || seen[all[i].file]++ < per_file))
			out[kept++] = all[i];
	free(all);
	free(seen);
	return kept;
}

static struct vex_rows rows_of(const struct set *s)
{
	return (struct vex_rows){ .dim = s->dim,
				  .type = s->type,
				  .scale = s->scale,
				  .metric = s->metric,
				  .seg_shift = SHIFT,
				  .slots = SLOTS - 5,
				  .rows = s->segs,
				  .norms = s->nsegs,
				  .live = s->live };
}

static void check(struct set *s, const float *qs, size_t nq, uint32_t k,
		  uint32_t per_file, float max)
{
	struct vex_rows rows = rows_of(s);
	struct vex_topk *t[80];
	struct vex_scan_stats stats;
	static struct vex_hit want[SLOTS];

	for (unsigned i = SLOTS - 5; i < SLOTS; i++)
		s->live[i / 64] &= ~(1ull << (i % 64));
	for (size_t j = 0; j < nq; j++)
		cr_assert_eq(vex_topk_new(k, per_file, max, &t[j]), 0);
	cr_assert_eq(vex_flat_search(&rows, qs, nq, t, accept, s, NULL, &stats), 0);
	for (size_t j = 0; j < nq; j++) {
		size_t n, m = oracle(s, qs + j * s->dim, k, per_file, max, want);
		const struct vex_hit *got = vex_topk_sorted(t[j], &n);

		cr_assert_eq(n, m, "query %zu: %zu hits, want %zu", j, n, m);
		for (size_t i = 0; i < n; i++) {
			cr_assert_eq(got[i].slot, want[i].slot, "query %zu hit %zu", j,
				     i);
			cr_assert_eq(got[i].distance, want[i].distance);
			cr_assert_eq(got[i].file, want[i].file);
		}
		vex_topk_free(t[j]);
	}
	cr_assert_gt(stats.distances, 0);
}

Test(index, flat_equals_sort)
{
	static const uint32_t dims[] = { 1, 3, 17, 100 };
	static const uint32_t ks[] = { 1, 10, 500, 100000 };
	unsigned seed = 11;

	for (int m = 0; m < 3; m++)
		for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
			struct set *s = make((enum vex_metric)m, dims[d], &seed);
			float *q = malloc(sizeof(float) * dims[d] * 70);

			for (size_t i = 0; i < dims[d] * 70; i++)
				q[i] = (float)(rand_r(&seed) % 9) - 4 + 0.3f;
			for (size_t k = 0; k < ARRAY_SIZE(ks); k++)
				for (uint32_t per = 0; per < 4; per++)
					check(s, q, 1, ks[k], per, INFINITY);
			check(s, q, 70, 10, 1, INFINITY);
			check(s, q, 70, 10, 0, 1.0f);
			check(s, q, 1, 100000, 1, m == VEX_IP ? -2.0f : 0.7f);
			free(q);
			drop(s);
		}
}

/* Every type and metric; bits give long runs of equal distances. */
Test(index, flat_of_other_types_equals_sort)
{
	static const uint32_t dims[] = { 3, 17, 100 };
	static const uint32_t ks[] = { 1, 10, 100000 };
	unsigned seed = 12;

	for (uint8_t type = VEX_F32; type <= VEX_BIT; type++)
		for (int m = 0; m <= VEX_JACCARD; m++)
			for (size_t d = 0; d < ARRAY_SIZE(dims); d++) {
				struct set *s;
				float q[10 * 100];

				if (!vex_metric_fits((uint8_t)m, type))
					continue;
				s = make((enum vex_metric)m, dims[d], &seed);
				retype(s, type, type == VEX_I16 ? 0.25 : 0);
				for (size_t i = 0; i < dims[d] * 10; i++)
					q[i] = (float)(rand_r(&seed) % 9) - 4 + 0.3f;
				for (size_t k = 0; k < ARRAY_SIZE(ks); k++)
					check(s, q, 1, ks[k], (uint32_t)k, INFINITY);
				check(s, q, 10, 10, 1, INFINITY);
				check(s, q, 10, 10, 0, 2.0f);
				drop(s);
			}
}

Test(index, topk_keeps_the_nearer_of_equal_slots)
{
	struct vex_topk *t;
	const struct vex_hit *h;
	size_t n;

	cr_assert_eq(vex_topk_new(3, 0, INFINITY, &t), 0);
	cr_assert_eq(vex_topk_add(t, 5, 1, 9), 0);
	cr_assert_eq(vex_topk_add(t, 3, 1, 9), 0);
	cr_assert_eq(vex_topk_add(t, 4, 1, 9), 0);
	cr_assert_eq(vex_topk_add(t, 4, 2, 9), 0);
	h = vex_topk_sorted(t, &n);
	cr_assert_eq(n, 2);
	cr_assert_eq(h[0].slot, 1);
	cr_assert_eq(h[0].distance, 3);
	cr_assert_eq(h[1].slot, 2);
	vex_topk_free(t);
}

Test(index, topk_refuses_nonsense)
{
	struct vex_topk *t;

	cr_assert_eq(vex_topk_new(0, 1, INFINITY, &t), -EINVAL);
	cr_assert_eq(vex_topk_new(1, 1, NAN, &t), -EINVAL);
}

Test(index, topk_model)
{
	unsigned seed = 99;

	for (int round = 0; round < 300; round++) {
		uint32_t k = (uint32_t)rand_r(&seed) % 20 + 1,
			 per = (uint32_t)rand_r(&seed) % 3;
		struct vex_hit in[200];
		uint32_t count[20] = { 0 };
		struct vex_topk *t;
		size_t n, kept = 0;
		const struct vex_hit *got;

		cr_assert_eq(vex_topk_new(k, per, INFINITY, &t), 0);
		for (size_t i = 0; i < 200; i++) {
			in[i] = (struct vex_hit){ (float)(rand_r(&seed) % 50), i,
						  (unsigned)rand_r(&seed) % 20 };
			cr_assert_eq(vex_topk_add(t, in[i].distance, i, in[i].file), 0);
		}
		qsort(in, 200, sizeof(*in), by_rank);
		got = vex_topk_sorted(t, &n);
		for (size_t i = 0; i < 200 && kept < k; i++)
			if (!per || count[in[i].file]++ < per) {
				cr_assert_lt(kept, n);
				cr_assert_eq(got[kept].slot, in[i].slot,
					     "seed 99 round %d", round);
				kept++;
			}
		cr_assert_eq(kept, n);
		vex_topk_free(t);
	}
}

/* Taken at once, in order, or one by one, or both, in every kind of set: the same. */
Test(index, topk_filled)
{
	unsigned seed = 17;

	for (int round = 0; round < 400; round++) {
		uint32_t k = (uint32_t)rand_r(&seed) % 30 + 1, per = round % 3;
		float most = round % 5 ? INFINITY : 20, d[40];
		uint32_t slot[40], n = (uint32_t)rand_r(&seed) % 40;
		const struct vex_hit *x, *y;
		struct vex_topk *a, *b;
		size_t na, nb;

		cr_assert_eq(vex_topk_new(k, per, most, &a), 0);
		cr_assert_eq(vex_topk_new(k, per, most, &b), 0);
		for (uint32_t i = 0; i < n; i++) {
			d[i] = (i ? d[i - 1] : 0) + (float)(rand_r(&seed) % 3);
			slot[i] = (i * 7 + 3) % 40;
			cr_assert_eq(vex_topk_add(b, d[i], slot[i], slot[i]), 0);
		}
		cr_assert_eq(vex_topk_fill(a, d, slot, n), 0);
		cr_assert_eq(vex_topk_limit(a), vex_topk_limit(b));
		for (int i = round % 2 ? 25 : 0; i; i--) {
			float e = (float)(rand_r(&seed) % 40);
			uint32_t s = (uint32_t)rand_r(&seed) % 60;

			cr_assert_eq(vex_topk_fits(a, e, s), vex_topk_fits(b, e, s));
			cr_assert_eq(vex_topk_add(a, e, s, s), 0);
			cr_assert_eq(vex_topk_add(b, e, s, s), 0);
		}
		x = vex_topk_sorted(a, &na);
		y = vex_topk_sorted(b, &nb);
		cr_assert_eq(na, nb, "round %d", round);
		for (size_t i = 0; i < na; i++)
			cr_assert(x[i].slot == y[i].slot &&
				      x[i].distance == y[i].distance,
				  "round %d, hit %zu", round, i);
		vex_topk_free(a);
		vex_topk_free(b);
	}
}

Test(index, flat_stops_when_told)
{
	unsigned seed = 5;
	struct set *s = make(VEX_L2, 3, &seed);
	struct vex_rows rows = { .dim = 3,
				 .metric = VEX_L2,
				 .seg_shift = SHIFT,
				 .slots = SLOTS,
				 .rows = s->segs,
				 .norms = s->nsegs,
				 .live = s->live };
	struct vex_bound late = { .deadline = 1 }, few = { .most = 100 };
	struct vex_scan_stats st;
	float q[3] = { 1, 2, 3 };
	struct vex_topk *t;

	cr_assert_eq(vex_topk_new(3, 0, INFINITY, &t), 0);
	cr_assert_eq(vex_flat_search(&rows, q, 1, &t, accept, s, &late, NULL),
		     -ETIMEDOUT);
	cr_expect(late.met && !late.seen);
	cr_expect_eq(vex_topk_count(t), 0);
	cr_assert_eq(vex_flat_search(&rows, q, 1, &t, accept, s, &few, &st), -ETIMEDOUT);
	cr_expect(few.met);
	cr_expect_eq(few.seen, 100);
	cr_expect_eq(st.distances, 100);
	cr_expect_eq(vex_topk_count(t), 3, "what was seen stands");
	few = (struct vex_bound){ .deadline = UINT64_MAX, .most = SLOTS };
	cr_assert_eq(vex_flat_search(&rows, q, 1, &t, accept, s, &few, &st), 0);
	cr_expect(!few.met);
	vex_topk_free(t);
	drop(s);
}

/* Between two searches something small is allocated that stays: a search must be able to
 * use again what the one before gave back. (With aligned_alloc it was not, in glibc 2.36:
 * some of the searches left 16 KB behind, 5 MB here.) Sanitizers count nothing. */
Test(index, heap_is_used_again)
{
	enum { ROUNDS = 2000, ROOM = 2 << 20 };
	unsigned seed = 7;
	struct set *s = make(VEX_L2, 8, &seed);
	struct vex_rows rows = rows_of(s);
	void **small = calloc(ROUNDS, sizeof(*small));
	size_t before = mallinfo2().arena, after;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct vex_topk *t;

		cr_assert_eq(vex_topk_new(5, 0, INFINITY, &t), 0);
		cr_assert_eq(vex_flat_search(&rows, s->v, 1, &t, accept, s, NULL, NULL),
			     0);
		vex_topk_free(t);
		small[i] = malloc(20 + (unsigned)rand_r(&seed) % 101);
	}
	after = mallinfo2().arena;
	cr_expect_lt(after, before + ROOM, "heap: %zu, then %zu bytes", before, after);
	for (unsigned i = 0; i < ROUNDS; i++)
		free(small[i]);
	free(small);
	drop(s);
}
