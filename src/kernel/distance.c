/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact half: one pair at a time, products of floats summed in double (each product
 * of two floats is exact in double). This is the reference every scan is held against,
 * and the number users see.
 */
#include <float.h>
#include <math.h>
#include <vexfs/kernel.h>

#define LANES 8u

/* One body, compiled for several CPUs and chosen by the loader. Not under sanitizers:
 * their runtime is not up yet when the loader chooses. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

static double clamp_finite(double d)
{
	if (d > (double)FLT_MAX)
		return (double)FLT_MAX;
	return d < -(double)FLT_MAX ? -(double)FLT_MAX : d;
}

/* Eight sums side by side: the compiler turns them into vector adds, and the error is
 * that of a shorter chain. */
CLONES static double dot(const float *a, const float *b, uint32_t n)
{
	double s[LANES] = { 0 };
	uint32_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (uint32_t j = 0; j < LANES; j++)
			s[j] += (double)a[i + j] * (double)b[i + j];
	for (; i < n; i++)
		s[0] += (double)a[i] * (double)b[i];
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/* <a, b> and, beside it, <b, b>: one pass over b. */
CLONES static double dot_and_square(const float *a, const float *b, uint32_t n,
				    double *bb)
{
	double s[LANES] = { 0 }, t[LANES] = { 0 };
	uint32_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (uint32_t j = 0; j < LANES; j++) {
			s[j] += (double)a[i + j] * (double)b[i + j];
			t[j] += (double)b[i + j] * (double)b[i + j];
		}
	for (; i < n; i++) {
		s[0] += (double)a[i] * (double)b[i];
		t[0] += (double)b[i] * (double)b[i];
	}
	*bb = ((t[0] + t[1]) + (t[2] + t[3])) + ((t[4] + t[5]) + (t[6] + t[7]));
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

CLONES static double square_distance(const float *a, const float *b, uint32_t n)
{
	double s[LANES] = { 0 };
	uint32_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (uint32_t j = 0; j < LANES; j++) {
			double d = (double)a[i + j] - (double)b[i + j];

			s[j] += d * d;
		}
	for (; i < n; i++) {
		double d = (double)a[i] - (double)b[i];

		s[0] += d * d;
	}
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

double vex_square(const float *v, uint32_t dim)
{
	return dot(v, v, dim);
}

double vex_norm(const float *v, uint32_t dim)
{
	return sqrt(dot(v, v, dim));
}

float vex_distance(enum vex_metric metric, const float *q, const float *v, uint32_t dim,
		   double qq)
{
	double d, vv;

	switch (metric) {
	case VEX_COSINE:
		d = dot_and_square(q, v, dim, &vv);
		/* One root of the product: of equal vectors it is the product itself. */
		d = 1.0 - d / sqrt(qq * vv);
		/* Rounding can leave the range of a cosine by an ulp. */
		return (float)(d < 0 ? 0 : d > 2 ? 2 : d);
	case VEX_L2:
		return (float)clamp_finite(sqrt(square_distance(q, v, dim)));
	case VEX_IP:
		return (float)clamp_finite(-dot(q, v, dim));
	}
	return NAN;
}
