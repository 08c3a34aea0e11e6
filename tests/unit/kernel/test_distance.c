/* SPDX-License-Identifier: Apache-2.0 */
/* Distances against long double sums, and their edges. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <vexfs/kernel.h>

static long double reference(enum vex_metric m, const float *a, const float *b,
			     uint32_t n)
{
	long double dot = 0, aa = 0, bb = 0, l2 = 0;

	for (uint32_t i = 0; i < n; i++) {
		long double x = a[i], y = b[i];

		dot += x * y;
		aa += x * x;
		bb += y * y;
		l2 += (x - y) * (x - y);
	}
	if (m == VEX_IP)
		return -dot;
	return m == VEX_L2 ? sqrtl(l2) : 1 - dot / (sqrtl(aa) * sqrtl(bb));
}

Test(kernel, distances_agree_with_long_double)
{
	unsigned seed = 42;
	float a[1100], b[1100];

	for (uint32_t n = 1; n <= 1100; n++) {
		for (uint32_t i = 0; i < n; i++) {
			a[i] = (float)rand_r(&seed) / (float)RAND_MAX - 0.5f;
			b[i] = (float)rand_r(&seed) / (float)RAND_MAX - 0.5f;
		}
		for (int m = 0; m < 3; m++) {
			float got =
			    vex_distance((enum vex_metric)m, a, b, n, vex_square(a, n));
			long double want = reference((enum vex_metric)m, a, b, n);

			if (want < 0 && m == VEX_COSINE)
				want = 0;
			cr_assert_lt(fabsl(got - want), 1e-6L * (1 + fabsl(want)),
				     "metric %d dim %u: %g, want %Lg", m, n, got, want);
		}
	}
}

Test(kernel, equal_vectors_are_at_zero)
{
	float v[5] = { 0.1f, -0.7f, 3.3f, 1e-3f, 9 };
	double n = vex_square(v, 5);

	cr_assert_eq(vex_distance(VEX_COSINE, v, v, 5, n), 0);
	cr_assert_eq(vex_distance(VEX_L2, v, v, 5, n), 0);
}

/* Copies of a vector are at 0 whatever it is: duplicates are searched that way. */
Test(kernel, copies_are_at_zero)
{
	unsigned seed = 6;
	float v[700];

	for (uint32_t n = 1; n <= 700; n++) {
		for (uint32_t i = 0; i < n; i++)
			v[i] = ((float)rand_r(&seed) / (float)RAND_MAX - 0.5f) *
			       powf(10, (float)(rand_r(&seed) % 60) - 30);
		cr_assert_eq(vex_distance(VEX_COSINE, v, v, n, vex_square(v, n)), 0,
			     "dim %u", n);
	}
}

Test(kernel, huge_values_stay_finite)
{
	float a[2] = { 3e38f, 3e38f }, b[2] = { -3e38f, -3e38f };
	double na = vex_square(a, 2);

	cr_assert_eq(vex_distance(VEX_L2, a, b, 2, na), FLT_MAX);
	cr_assert_eq(vex_distance(VEX_IP, a, b, 2, na), FLT_MAX);
	cr_assert_eq(vex_distance(VEX_IP, a, a, 2, na), -FLT_MAX);
	cr_assert_float_eq(vex_distance(VEX_COSINE, a, b, 2, na), 2, 1e-6);
}

Test(kernel, batch_equals_single)
{
	unsigned seed = 3;
	float q[3 * 37], rows[11 * 37], one[11], all[33];

	for (size_t i = 0; i < sizeof(q) / sizeof(*q); i++)
		q[i] = (float)rand_r(&seed) / (float)RAND_MAX;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		rows[i] = (float)rand_r(&seed) / (float)RAND_MAX;
	vex_dots_batch(q, 3, rows, 11, 37, all);
	for (int j = 0; j < 3; j++) {
		vex_dots(q + j * 37, rows, 11, 37, one);
		for (int i = 0; i < 11; i++)
			cr_assert_float_eq(one[i], all[j * 11 + i], 1e-4);
	}
}
