/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact half: one pair at a time, products of floats summed in double (each product
 * of two floats is exact in double). This is the reference every scan is held against,
 * and the number users see. Rows of other types are decoded a piece at a time.
 */
#include <float.h>
#include <math.h>
#include <string.h>
#include <vexfs/kernel.h>
#include "kernel_i.h"

#define LANES 8u
#define PIECE 128u /* numbers decoded at once, on the stack */

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

/*
 * Sixteen sums side by side, as two vectors of doubles: the error is that of a shorter
 * chain. Vector types, for the loops over arrays of sums that stood here were compiled to
 * scalar code (GCC 12, objdump); a type wider than the CPU's registers becomes several.
 */
typedef double v8d __attribute__((vector_size(64)));
typedef float v8f __attribute__((vector_size(32), aligned(4), may_alias));

#define WIDE(p) __builtin_convertvector(*(const v8f *)(const void *)(p), v8d)

static inline __attribute__((always_inline)) double total(const v8d *s)
{
	double t = 0;

	for (unsigned j = 0; j < 4; j++)
		t += ((*s)[j] + (*s)[j + 4]);
	return t;
}

CLONES static double dot(const float *a, const float *b, uint32_t n)
{
	v8d s = { 0 }, t = { 0 };
	double rest = 0;
	uint32_t i = 0;

	for (; i + 2 * LANES <= n; i += 2 * LANES) {
		s += WIDE(a + i) * WIDE(b + i);
		t += WIDE(a + i + LANES) * WIDE(b + i + LANES);
	}
	for (; i < n; i++)
		rest += (double)a[i] * (double)b[i];
	s += t;
	return total(&s) + rest;
}

/* <a, b> and, beside it, <b, b>: one pass over b. */
CLONES static double dot_and_square(const float *a, const float *b, uint32_t n,
				    double *bb)
{
	v8d s = { 0 }, t = { 0 }, s2 = { 0 }, t2 = { 0 };
	double rest = 0, rest2 = 0;
	uint32_t i = 0;

	for (; i + 2 * LANES <= n; i += 2 * LANES) {
		v8d x = WIDE(b + i), y = WIDE(b + i + LANES);

		s += WIDE(a + i) * x;
		t += WIDE(a + i + LANES) * y;
		s2 += x * x;
		t2 += y * y;
	}
	for (; i < n; i++) {
		rest += (double)a[i] * (double)b[i];
		rest2 += (double)b[i] * (double)b[i];
	}
	s += t;
	s2 += t2;
	*bb = total(&s2) + rest2;
	return total(&s) + rest;
}

CLONES static double square_distance(const float *a, const float *b, uint32_t n)
{
	v8d s = { 0 }, t = { 0 };
	double rest = 0;
	uint32_t i = 0;

	for (; i + 2 * LANES <= n; i += 2 * LANES) {
		v8d x = WIDE(a + i) - WIDE(b + i);
		v8d y = WIDE(a + i + LANES) - WIDE(b + i + LANES);

		s += x * x;
		t += y * y;
	}
	for (; i < n; i++) {
		double d = (double)a[i] - (double)b[i];

		rest += d * d;
	}
	s += t;
	return total(&s) + rest;
}

CLONES static double sum_distance(const float *a, const float *b, uint32_t n)
{
	double s[LANES] = { 0 };
	uint32_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (uint32_t j = 0; j < LANES; j++)
			s[j] += fabs((double)a[i + j] - (double)b[i + j]);
	for (; i < n; i++)
		s[0] += fabs((double)a[i] - (double)b[i]);
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

/* One root of the product: of equal vectors it is the product itself. Rounding can leave
 * the range of a cosine by an ulp. */
static float cosine(double qv, double qq, double vv)
{
	double d = 1.0 - qv / sqrt(qq * vv);

	return (float)(d < 0 ? 0 : d > 2 ? 2 : d);
}

float vex_distance(enum vex_metric metric, const float *q, const float *v, uint32_t dim,
		   double qq)
{
	double d, vv;

	switch (metric) {
	case VEX_COSINE:
		d = dot_and_square(q, v, dim, &vv);
		return cosine(d, qq, vv);
	case VEX_L2:
		return (float)clamp_finite(sqrt(square_distance(q, v, dim)));
	case VEX_IP:
		return (float)clamp_finite(-dot(q, v, dim));
	case VEX_L1:
		return (float)clamp_finite(sum_distance(q, v, dim));
	case VEX_HAMMING:
	case VEX_JACCARD:
		break;
	}
	return NAN;
}

/* ---- rows of any type -------------------------------------------------------- */

double vex_row_norm(const struct vex_layout *l, const void *row)
{
	double sum = 0;
	float v[PIECE];

	if (l->type == VEX_BIT)
		return sqrt(bits_ones(row, l->dim));
	for (uint32_t i = 0; i < l->dim; i += PIECE) {
		uint32_t n = l->dim - i < PIECE ? l->dim - i : PIECE;

		vex_row_decode(l, row, i, n, v);
		sum += dot(v, v, n);
	}
	return sqrt(sum);
}

/* Sums over the pieces; qq is summed in the same way as vv, or copies of a vector would
 * not be at 0. */
static float piecewise(const struct vex_layout *l, enum vex_metric metric, const float *q,
		       const void *row)
{
	double d = 0, vv = 0, qq = 0, piece_vv = 0;
	float v[PIECE];

	for (uint32_t i = 0; i < l->dim; i += PIECE) {
		uint32_t n = l->dim - i < PIECE ? l->dim - i : PIECE;

		vex_row_decode(l, row, i, n, v);
		if (metric == VEX_L2) {
			d += square_distance(q + i, v, n);
		} else if (metric == VEX_L1) {
			d += sum_distance(q + i, v, n);
		} else {
			d += dot_and_square(q + i, v, n, &piece_vv);
			vv += piece_vv;
			qq += dot(q + i, q + i, n);
		}
	}
	if (metric == VEX_COSINE)
		return cosine(d, qq, vv);
	return (float)clamp_finite(metric == VEX_L2   ? sqrt(d)
				   : metric == VEX_IP ? -d
						      : d);
}

float vex_row_distance(const struct vex_layout *l, enum vex_metric metric, const float *q,
		       const void *row, double qq)
{
	if (l->type == VEX_BIT)
		return bits_distance(metric, q, row, l->dim);
	if (l->type != VEX_F32)
		return piecewise(l, metric, q, row);
	return vex_distance(metric, q, row, l->dim, qq);
}

double row_dot(const struct vex_layout *l, const float *q, const void *row)
{
	double sum = 0;
	float v[PIECE];

	for (uint32_t i = 0; i < l->dim; i += PIECE) {
		uint32_t n = l->dim - i < PIECE ? l->dim - i : PIECE;

		vex_row_decode(l, row, i, n, v);
		sum += dot(q + i, v, n);
	}
	return sum;
}
