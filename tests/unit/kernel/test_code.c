/* SPDX-License-Identifier: Apache-2.0 */
/* Codes: each kernel gives the scalar reference's numbers, in every dimension; and the
 * numbers are near the true distances, as near as the form can be. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vexfs/base.h>
#include <vexfs/kernel.h>

#define N 9

TestSuite(code, .timeout = 120);

static const uint32_t ids[N] = { 8, 1, 2, 0, 3, 7, 6, 5, 4 };

struct fixture {
	enum vex_quant quant;
	enum vex_metric metric;
	uint32_t dim;
	size_t stride;
	uint8_t *recs;
	void *room, *room2;
	float *q, *v;
};

static float element(unsigned *seed)
{
	return (float)rand_r(seed) / (float)RAND_MAX - 0.5f;
}

static struct fixture make(enum vex_quant quant, enum vex_metric metric, uint32_t dim,
			   unsigned *seed)
{
	struct fixture f = { quant, metric, dim, .stride = vex_code_stride(quant, dim) };

	cr_assert_eq(f.stride % 64, 0);
	f.recs = aligned_alloc(64, f.stride * N);
	f.room = aligned_alloc(64, vex_code_room(quant, dim));
	f.room2 = aligned_alloc(64, vex_code_room(quant, dim));
	f.q = malloc(dim * sizeof(float));
	f.v = malloc(dim * sizeof(float) * N);
	for (uint32_t i = 0; i < dim; i++)
		f.q[i] = element(seed);
	for (uint32_t i = 0; i < dim * N; i++)
		f.v[i] = element(seed) * (float)(1 + i / dim);
	for (uint32_t i = 0; i < N; i++)
		vex_code_encode(quant, metric, f.v + i * dim, dim, f.recs + i * f.stride);
	return f;
}

static void drop(struct fixture *f)
{
	free(f->recs);
	free(f->room);
	free(f->room2);
	free(f->q);
	free(f->v);
}

static void same(const struct fixture *f, const float *got, const float *want, size_t n,
		 const char *kernel)
{
	for (size_t i = 0; i < n; i++) {
		/* Whole numbers are the same in any order, sums of floats nearly. */
		float tol = f->quant == VEX_QUANT_SQ8 || f->quant == VEX_QUANT_BIT
				? 0
				: 1e-4f * (1 + fabsf(want[i]) + sqrtf((float)f->dim));

		cr_assert(fabsf(got[i] - want[i]) <= tol,
			  "%s, quant %d metric %d dim %u of %zu: %g, %g", kernel,
			  f->quant, f->metric, f->dim, n, (double)got[i],
			  (double)want[i]);
	}
}

static void kernels_agree(struct fixture *f)
{
	static const char *const names[] = { "avx2", "avx512" };
	struct vex_code_query q;
	float got[N], want[N];

	vex_code_query(f->quant, f->metric, f->q, f->dim, f->room, &q);
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		vex_code_fn fn = vex_code_kernel(f->quant, names[k]);

		for (size_t n = 0; fn && n <= N; n++) {
			vex_code_kernel(f->quant, "scalar")(&q, f->recs, f->stride, ids,
							    n, want);
			fn(&q, f->recs, f->stride, ids, n, got);
			same(f, got, want, n, names[k]);
		}
	}
}

/* How far a distance may be off, as a share of |q| |v|. */
static double slack(enum vex_quant quant, uint32_t dim)
{
	switch (quant) {
	case VEX_QUANT_NONE:
		return 1e-4;
	case VEX_QUANT_F16:
		return 2e-3;
	case VEX_QUANT_BIT:
		return 0.02 + 4 / sqrt(dim);
	default:
		return 0.02;
	}
}

static void near_the_truth(struct fixture *f)
{
	struct vex_code_query q;
	float got[N];

	vex_code_query(f->quant, f->metric, f->q, f->dim, f->room, &q);
	q.distances(&q, f->recs, f->stride, ids, N, got);
	for (size_t i = 0; i < N; i++) {
		const float *x = f->v + ids[i] * f->dim;
		double norms = vex_norm(f->q, f->dim) * vex_norm(x, f->dim);
		double d = (double)vex_distance(f->metric, f->q, x, f->dim,
						vex_square(f->q, f->dim));
		double tol = slack(f->quant, f->dim);

		tol *= f->metric == VEX_COSINE ? 2 : norms * 3 + 1;
		if (f->metric == VEX_L2)
			d *= d;
		cr_assert_float_eq((double)got[i], d, tol,
				   "quant %d metric %d dim %u: %g, true %g", f->quant,
				   f->metric, f->dim, (double)got[i], d);
	}
}

/* A record asked as a query stands for the vector it was made of. */
static void records_ask(struct fixture *f)
{
	double norm = vex_norm(f->v, f->dim);
	struct vex_code_query q, again;
	float got[N], want[N];

	vex_code_query_rec(f->quant, f->metric, f->recs, f->dim, f->room2, &q);
	vex_code_query(f->quant, f->metric, f->v, f->dim, f->room, &again);
	q.distances(&q, f->recs, f->stride, ids, N, got);
	again.distances(&again, f->recs, f->stride, ids, N, want);
	for (size_t i = 0; i < N; i++) {
		double other = vex_norm(f->v + ids[i] * f->dim, f->dim);
		double tol = slack(f->quant, f->dim) *
			     (f->metric == VEX_COSINE ? 2 : 3 * norm * other + 1);

		cr_assert_float_eq((double)got[i], (double)want[i], tol,
				   "quant %d metric %d dim %u: %g, %g", f->quant,
				   f->metric, f->dim, (double)got[i], (double)want[i]);
	}
}

static void every_dimension(enum vex_quant quant)
{
	unsigned seed = 8;

	for (int m = 0; m < 3; m++)
		for (uint32_t dim = 1; dim <= 1101; dim++) {
			struct fixture f = make(quant, (enum vex_metric)m,
						dim == 1101 ? VEX_DIM_MAX : dim, &seed);

			kernels_agree(&f);
			/* One or two bits say nothing. */
			if (quant != VEX_QUANT_BIT || dim > 16) {
				near_the_truth(&f);
				records_ask(&f);
			}
			drop(&f);
		}
}

Test(code, none_in_every_dimension)
{
	every_dimension(VEX_QUANT_NONE);
}

Test(code, f16_in_every_dimension)
{
	every_dimension(VEX_QUANT_F16);
}

Test(code, sq8_in_every_dimension)
{
	every_dimension(VEX_QUANT_SQ8);
}

Test(code, bit_in_every_dimension)
{
	every_dimension(VEX_QUANT_BIT);
}

Test(code, default_is_sq8)
{
	cr_assert_eq(vex_code_kernel(VEX_QUANT_DEFAULT, "scalar"),
		     vex_code_kernel(VEX_QUANT_SQ8, "scalar"));
	cr_assert_eq(vex_code_stride(VEX_QUANT_DEFAULT, 100), 128);
	cr_assert_eq(vex_code_kernel(VEX_QUANT_SQ8, "mmx"), NULL);
}

/* Read at the first call, and each test is a process of its own. */
static void forced(const char *name)
{
	setenv("VEXFS_KERNEL", name, 1);
	for (enum vex_quant q = VEX_QUANT_F16; q < VEX_QUANTS; q++)
		if (vex_code_kernel(q, name))
			cr_assert_eq(vex_code_kernel(q, NULL), vex_code_kernel(q, name));
}

Test(code, kernel_is_forced)
{
	forced("scalar");
	forced("avx2");
	forced("avx512");
}

/* All halves there are, by way of a record. */
Test(code, halves_are_rounded_to_nearest)
{
	unsigned seed = 10;

	for (int i = 0; i < 20000; i++) {
		float x = element(&seed) * 4, v[2] = { 1.75f, x }, unit[2] = { 0, 1 };
		_Alignas(64) uint8_t rec[64];
		_Alignas(64) float room[16];
		struct vex_code_query q;
		uint32_t id = 0;
		float d;

		vex_code_encode(VEX_QUANT_F16, VEX_IP, v, 2, rec);
		vex_code_query(VEX_QUANT_F16, VEX_IP, unit, 2, room, &q);
		q.distances(&q, rec, 64, &id, 1, &d);
		cr_assert(fabsf(-d - x) <= fabsf(x) * 0x1p-11f + 0x1p-24f,
			  "seed 10: %g, %g", (double)x, (double)-d);
	}
}

static void ordered(enum vex_quant quant, enum vex_metric metric, const float *a,
		    const float *b, const float *ask)
{
	size_t stride = vex_code_stride(quant, 70);
	uint8_t *recs = aligned_alloc(64, 2 * stride);
	void *room = aligned_alloc(64, vex_code_room(quant, 70));
	uint32_t two[2] = { 0, 1 };
	struct vex_code_query q;
	float d[2];

	vex_code_encode(quant, metric, a, 70, recs);
	vex_code_encode(quant, metric, b, 70, recs + stride);
	vex_code_query(quant, metric, ask, 70, room, &q);
	q.distances(&q, recs, stride, two, 2, d);
	cr_assert(!isnan(d[0]) && !isnan(d[1]) && !isinf(d[0]) && !isinf(d[1]),
		  "quant %d metric %d: %g %g", quant, metric, (double)d[0], (double)d[1]);
	free(recs);
	free(room);
}

/* Zeros, denormals, the greatest floats: numbers that can be ordered. */
Test(code, of_extremes)
{
	float zero[70] = { 0 }, tiny[70], v[70], huge[70];

	for (int i = 0; i < 70; i++) {
		tiny[i] = 1e-44f;
		v[i] = (float)i;
		huge[i] = i % 2 ? 3.4e38f : -3.4e38f;
	}
	for (enum vex_quant q = VEX_QUANT_F16; q < VEX_QUANTS; q++)
		for (int m = 0; m < 3; m++) {
			ordered(q, (enum vex_metric)m, zero, tiny, v);
			ordered(q, (enum vex_metric)m, zero, huge, v);
			ordered(q, (enum vex_metric)m, huge, tiny, huge);
			ordered(q, (enum vex_metric)m, v, huge, zero);
		}
}
