/* SPDX-License-Identifier: Apache-2.0 */
/* sq8: every kernel gives the scalar reference's numbers, on every dimension; and the
 * numbers are near the true distances. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vexfs/kernel.h>

#define N 9

static void check_dim(enum vex_metric metric, uint32_t dim, unsigned *seed)
{
	size_t stride = vex_sq8_stride(dim);
	uint8_t *recs = aligned_alloc(64, stride * N);
	int8_t *room = aligned_alloc(64, stride), *room2 = aligned_alloc(64, stride);
	float *q = malloc(dim * sizeof(float)), *v = malloc(dim * sizeof(float) * N);
	uint32_t ids[N] = { 8, 1, 2, 0, 3, 7, 6, 5, 4 };
	struct vex_sq8_query query, again;
	float got[N], want[N];

	for (uint32_t i = 0; i < dim; i++)
		q[i] = (float)rand_r(seed) / (float)RAND_MAX - 0.5f;
	for (uint32_t i = 0; i < dim * N; i++)
		v[i] =
		    ((float)rand_r(seed) / (float)RAND_MAX - 0.5f) * (float)(1 + i / dim);
	for (uint32_t i = 0; i < N; i++)
		vex_sq8_encode(metric, v + i * dim, dim, recs + i * stride);
	vex_sq8_query(metric, q, dim, room, &query);
	for (size_t n = 0; n <= N; n++) {
		memset(got, 0, sizeof(got));
		memset(want, 0, sizeof(want));
		vex_sq8_distances(&query, recs, stride, ids, n, got);
		vex_sq8_distances_scalar(&query, recs, stride, ids, n, want);
		cr_assert_arr_eq(got, want, sizeof(got), "metric %d dim %u n %zu", metric,
				 dim, n);
	}
	for (size_t i = 0; i < N; i++) {
		const float *x = v + ids[i] * dim;
		double d = (double)vex_distance(metric, q, x, dim, vex_square(q, dim));
		double tol = 0.02 * vex_norm(q, dim) * vex_norm(x, dim) + 0.02;

		if (metric == VEX_L2) {
			d *= d;
			tol *= 3;
		}
		cr_assert_float_eq((double)got[i], d, tol,
				   "metric %d dim %u: %g, true %g", metric, dim,
				   (double)got[i], d);
	}
	/* A record asked as a query stands for the same vector. */
	vex_sq8_query_rec(metric, recs, dim, room2, &query);
	vex_sq8_query(metric, v, dim, room, &again);
	vex_sq8_distances(&query, recs, stride, ids, N, got);
	vex_sq8_distances(&again, recs, stride, ids, N, want);
	for (size_t i = 0; i < N; i++)
		cr_assert_float_eq(got[i], want[i], 1e-4f * (1 + fabsf(want[i])));
	free(recs);
	free(room);
	free(room2);
	free(q);
	free(v);
}

Test(kernel, sq8_every_dimension)
{
	unsigned seed = 8;

	for (int m = 0; m < 3; m++)
		for (uint32_t dim = 1; dim <= 1100; dim++)
			check_dim((enum vex_metric)m, dim, &seed);
	check_dim(VEX_COSINE, VEX_DIM_MAX, &seed);
}

static void sq8_forced(const char *kernel)
{
	unsigned seed = 9;

	/* chosen at the first call, and each test is a process of its own */
	setenv("VEXFS_KERNEL", kernel, 1);
	for (uint32_t dim = 1; dim <= 300; dim++)
		check_dim(VEX_L2, dim, &seed);
}

Test(kernel, sq8_avx2)
{
	sq8_forced("avx2");
}

Test(kernel, sq8_scalar)
{
	sq8_forced("scalar");
}

Test(kernel, sq8_of_nothing)
{
	float zero[70] = { 0 }, tiny[70], v[70];
	uint8_t *recs = aligned_alloc(64, 2 * vex_sq8_stride(70));
	int8_t *room = aligned_alloc(64, vex_sq8_stride(70));
	uint32_t ids[2] = { 0, 1 };
	struct vex_sq8_query q;
	float d[2];

	for (int i = 0; i < 70; i++) {
		tiny[i] = 1e-44f;
		v[i] = (float)i;
	}
	for (int m = 0; m < 3; m++) {
		vex_sq8_encode((enum vex_metric)m, zero, 70, recs);
		vex_sq8_encode((enum vex_metric)m, tiny, 70, recs + vex_sq8_stride(70));
		vex_sq8_query((enum vex_metric)m, v, 70, room, &q);
		vex_sq8_distances(&q, recs, vex_sq8_stride(70), ids, 2, d);
		cr_assert(isfinite(d[0]) && isfinite(d[1]));
	}
	free(recs);
	free(room);
}
