/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of every type: what numbers become, what is refused, and exact distances against
 * long double sums over an independent decoding. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vexfs/kernel.h>

#define L(t, n, s) (&(struct vex_layout){ .type = (t), .dim = (n), .scale = (s) })

static bool one_i8(float v, double scale, int8_t *out)
{
	return vex_row_encode(L(VEX_I8, 1, scale), &v, out);
}

static bool one_f16(float v, uint16_t *bits)
{
	return vex_row_encode(L(VEX_F16, 1, 0), &v, bits);
}

/* By arithmetic alone. */
static double half(uint16_t h)
{
	int e = h >> 10 & 31;
	double m = h & 1023, v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);

	return h & 0x8000 ? -v : v;
}

Test(row, sizes)
{
	cr_assert_eq(vex_row_bytes(VEX_F32, 3), 12);
	cr_assert_eq(vex_row_bytes(VEX_F16, 3), 6);
	cr_assert_eq(vex_row_bytes(VEX_I8, 3), 3);
	cr_assert_eq(vex_row_bytes(VEX_I16, 3), 6);
	cr_assert_eq(vex_row_bytes(VEX_BIT, 1), 1);
	cr_assert_eq(vex_row_bytes(VEX_BIT, 8), 1);
	cr_assert_eq(vex_row_bytes(VEX_BIT, 9), 2);
}

Test(row, which_metrics_go_with_which_types)
{
	for (uint8_t t = VEX_F32; t <= VEX_BIT; t++)
		for (uint8_t m = VEX_COSINE; m <= VEX_JACCARD; m++)
			cr_assert_eq(vex_metric_fits(m, t),
				     (t == VEX_BIT) == (m >= VEX_HAMMING), "%u %u", m, t);
	cr_assert_not(vex_metric_fits(VEX_JACCARD + 1, VEX_BIT));
	cr_assert_not(vex_metric_fits(VEX_L2, VEX_BIT + 1));
}

Test(row, whole_numbers_without_a_scale)
{
	int8_t v;

	cr_assert(one_i8(127, 0, &v));
	cr_assert_eq(v, 127);
	cr_assert(one_i8(-128, 0, &v));
	cr_assert_eq(v, -128);
	cr_assert(one_i8(-0.0f, 0, &v));
	cr_assert_eq(v, 0);
	cr_assert_not(one_i8(128, 0, &v));
	cr_assert_not(one_i8(-129, 0, &v));
	cr_assert_not(one_i8(1.5f, 0, &v));
	cr_assert_not(one_i8(FLT_MAX, 0, &v));
}

Test(row, a_scale_rounds_to_the_nearest_even)
{
	static const struct {
		float v;
		int want;
	} cases[] = { { 0.25f, 0 },     { 0.75f, 2 },    { -0.25f, 0 },  { -0.75f, -2 },
		      { 1.25f, 2 },     { 0.26f, 1 },    { 63.5f, 127 }, { 63.7f, 127 },
		      { -64.0f, -128 }, { -64.2f, -128 } };
	int8_t v;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cr_assert(one_i8(cases[i].v, 0.5, &v), "%g", cases[i].v);
		cr_assert_eq(v, cases[i].want, "%g: %d", cases[i].v, v);
	}
	/* 127.5 is a tie, and goes to 128. */
	cr_assert_not(one_i8(63.75f, 0.5, &v));
	cr_assert_not(one_i8(-64.3f, 0.5, &v));
}

Test(row, i16_bounds)
{
	float v[4] = { 32767, -32768, 12345, -1 }, back[4];
	int16_t row[4];

	cr_assert(vex_row_encode(L(VEX_I16, 4, 0), v, row));
	vex_row_decode(L(VEX_I16, 4, 0), row, 0, 4, back);
	cr_assert_eq(memcmp(v, back, sizeof(v)), 0);
	v[2] = 32768;
	cr_assert_not(vex_row_encode(L(VEX_I16, 4, 0), v, row));
	v[2] = -32769;
	cr_assert_not(vex_row_encode(L(VEX_I16, 4, 0), v, row));
}

/* What is exported can be imported: every integer survives the way over float32. */
Test(row, every_integer_comes_back)
{
	static const double scales[] = { 0, 1, 0.1, 1.0 / 3, 1e-30, 7e20, 0.0078125 };
	float v;
	int16_t row, again;

	for (size_t s = 0; s < sizeof(scales) / sizeof(*scales); s++)
		for (int i = INT16_MIN; i <= INT16_MAX; i++) {
			row = (int16_t)i;
			vex_row_decode(L(VEX_I16, 1, scales[s]), &row, 0, 1, &v);
			cr_assert(vex_row_encode(L(VEX_I16, 1, scales[s]), &v, &again));
			cr_assert_eq(row, again, "%d at scale %g", i, scales[s]);
		}
}

Test(row, every_half_comes_back)
{
	for (unsigned bits = 0; bits < 0x10000; bits++) {
		uint16_t row = (uint16_t)bits, again;
		bool finite = (bits & 0x7c00) != 0x7c00;
		float v;

		cr_assert_eq(vex_row_ok(L(VEX_F16, 1, 0), &row, true), finite);
		if (!finite)
			continue;
		vex_row_decode(L(VEX_F16, 1, 0), &row, 0, 1, &v);
		cr_assert_eq((double)v, half(row), "%04x", bits);
		cr_assert(one_f16(v, &again));
		cr_assert_eq(row, again);
	}
}

/* Between two neighbours: the nearer; half way: the even one. */
Test(row, half_rounds_to_the_nearest_even)
{
	for (unsigned bits = 0; bits < 0x7bff; bits++) {
		double lo = half((uint16_t)bits), hi = half((uint16_t)(bits + 1));
		float mid = (float)((lo + hi) / 2);
		uint16_t got;

		cr_assert(one_f16(mid, &got));
		cr_assert_eq(got, bits & 1 ? bits + 1 : bits, "%04x", bits);
		cr_assert(one_f16(nextafterf(mid, -1), &got));
		cr_assert_eq(got, bits);
		cr_assert(one_f16(nextafterf(mid, INFINITY), &got));
		cr_assert_eq(got, bits + 1);
	}
}

Test(row, half_overflows_are_refused)
{
	uint16_t got;

	cr_assert(one_f16(65504, &got));
	cr_assert_eq(got, 0x7bff);
	cr_assert(one_f16(65519.996f, &got));
	cr_assert_eq(got, 0x7bff);
	cr_assert_not(one_f16(65520, &got));
	cr_assert_not(one_f16(-FLT_MAX, &got));
}

Test(row, bits_are_counted_from_the_least_significant)
{
	float v[11] = { 1, 0, -3, 0.001f, 0, 0, 0, 7, 0, 0, 2 }, back[11];
	uint8_t row[2];

	cr_assert(vex_row_encode(L(VEX_BIT, 11, 0), v, row));
	cr_assert_eq(row[0], 0x89);
	cr_assert_eq(row[1], 0x04);
	vex_row_decode(L(VEX_BIT, 11, 0), row, 0, 11, back);
	for (int i = 0; i < 11; i++)
		cr_assert_eq(back[i], v[i] > 0);
	vex_row_decode(L(VEX_BIT, 11, 0), row, 7, 4, back);
	cr_assert_eq(back[0] + back[3], 2);
	cr_assert_eq(back[1] + back[2], 0);
}

Test(row, zero_and_non_finite_rows)
{
	float nan[2] = { 1, NAN }, zero[2] = { 0, -0.0f }, one[2] = { 0, 1e-40f };
	uint16_t h[2] = { 0x8000, 0 };
	int8_t i[2] = { 0, 0 };

	cr_assert_not(vex_row_ok(L(VEX_F32, 2, 0), nan, true));
	cr_assert(vex_row_ok(L(VEX_F32, 2, 0), zero, true));
	cr_assert_not(vex_row_ok(L(VEX_F32, 2, 0), zero, false));
	cr_assert(vex_row_ok(L(VEX_F32, 2, 0), one, false));
	cr_assert_not(vex_row_ok(L(VEX_F16, 2, 0), h, false));
	h[1] = 1;
	cr_assert(vex_row_ok(L(VEX_F16, 2, 0), h, false));
	cr_assert_not(vex_row_ok(L(VEX_I8, 2, 0), i, false));
	i[1] = -1;
	cr_assert(vex_row_ok(L(VEX_I8, 2, 0), i, false));
}

/* ---- distances ------------------------------------------------------------------- */

static long double element(const struct vex_layout *l, const uint8_t *row, uint32_t i)
{
	double scale = l->scale > 0 ? l->scale : 1;
	int16_t s;
	uint16_t h;
	float f;

	switch (l->type) {
	case VEX_F16:
		memcpy(&h, row + 2 * i, 2);
		return half(h);
	case VEX_I8:
		return (float)((int8_t)row[i] * scale); /* by definition */
	case VEX_I16:
		memcpy(&s, row + 2 * i, 2);
		return (float)(s * scale);
	case VEX_BIT:
		return row[i / 8] >> i % 8 & 1;
	default:
		memcpy(&f, row + 4 * i, 4);
		return f;
	}
}

static long double reference(const struct vex_layout *l, enum vex_metric m,
			     const float *q, const uint8_t *row)
{
	long double dot = 0, qq = 0, vv = 0, l1 = 0, l2 = 0;

	for (uint32_t i = 0; i < l->dim; i++) {
		long double x = l->type == VEX_BIT ? q[i] > 0 : (long double)q[i];
		long double y = element(l, row, i);

		dot += x * y;
		qq += x * x;
		vv += y * y;
		l1 += fabsl(x - y);
		l2 += (x - y) * (x - y);
	}
	switch (m) {
	case VEX_COSINE:
		return 1 - dot / sqrtl(qq * vv);
	case VEX_L2:
		return sqrtl(l2);
	case VEX_IP:
		return -dot;
	case VEX_JACCARD:
		return qq + vv - dot > 0 ? 1 - dot / (qq + vv - dot) : 0;
	default: /* of bits, l1 is hamming */
		return l1;
	}
}

static void random_row(const struct vex_layout *l, unsigned *seed, float *v, uint8_t *row)
{
	float max = l->type == VEX_I8 ? 100.0f : l->type == VEX_I16 ? 30000.0f : 4.0f;

	for (uint32_t i = 0; i < l->dim; i++) {
		v[i] = ((float)rand_r(seed) / (float)RAND_MAX - 0.5f) * 2 * max;
		if ((l->type == VEX_I8 || l->type == VEX_I16) && !(l->scale > 0))
			v[i] = rintf(v[i]);
		else if (l->scale > 0)
			v[i] *= (float)l->scale;
	}
	cr_assert(vex_row_encode(l, v, row));
}

static void compare(const struct vex_layout *l, enum vex_metric m, unsigned *seed)
{
	static float q[1100], v[1100];
	uint8_t row[4400];
	long double want;
	float got;

	random_row(l, seed, v, row);
	random_row(l, seed, q, row);
	want = reference(l, m, q, row);
	if (m == VEX_COSINE && want < 0)
		want = 0;
	got = vex_row_distance(l, m, q, row, vex_square(q, l->dim));
	cr_assert_leq(fabsl(got - want),
		      2e-7L * (fabsl(want) +
			       (m == VEX_IP ? vex_norm(q, l->dim) * vex_row_norm(l, row)
					    : m == VEX_COSINE)),
		      "type %u metric %d dim %u scale %g: %.9g, want %.9Lg", l->type, m,
		      l->dim, l->scale, got, want);
}

Test(row, distances_agree_with_long_double)
{
	unsigned seed = 20261120;

	cr_log_info("seed %u", seed);
	for (uint32_t dim = 1; dim <= 1100; dim += dim < 130 ? 1 : 97)
		for (uint8_t t = VEX_F32; t <= VEX_BIT; t++)
			for (int m = VEX_COSINE; m <= VEX_JACCARD; m++)
				if (vex_metric_fits((uint8_t)m, t)) {
					bool whole = t == VEX_I8 || t == VEX_I16;

					compare(L(t, dim, 0), m, &seed);
					if (whole)
						compare(L(t, dim, 0.0173), m, &seed);
				}
}

/* A row is at 0 from what it stands for, under every metric that can say so. */
Test(row, copies_are_at_zero)
{
	static const enum vex_metric metrics[] = { VEX_COSINE, VEX_L2, VEX_L1 };
	unsigned seed = 4;
	float v[700], q[700];
	uint8_t row[2800];

	for (uint32_t dim = 1; dim <= 700; dim += 3)
		for (uint8_t t = VEX_F32; t < VEX_BIT; t++) {
			const struct vex_layout *l = L(t, dim, t >= VEX_I8 ? 0.0173 : 0);

			random_row(l, &seed, v, row);
			vex_row_decode(l, row, 0, dim, q);
			for (int m = 0; m < 3; m++)
				if (vex_row_ok(l, row, false))
					cr_assert_eq(vex_row_distance(l, metrics[m], q,
								      row,
								      vex_square(q, dim)),
						     0, "type %u dim %u metric %d", t,
						     dim, metrics[m]);
		}
}

Test(row, jaccard_of_nothing_is_zero)
{
	float q[9] = { 0 };
	uint8_t row[2] = { 0, 0xfe }; /* bits past the last: nothing */

	cr_assert_eq(vex_row_distance(L(VEX_BIT, 9, 0), VEX_JACCARD, q, row, 0), 0);
	cr_assert_eq(vex_row_distance(L(VEX_BIT, 9, 0), VEX_HAMMING, q, row, 0), 0);
	q[8] = 1;
	cr_assert_eq(vex_row_distance(L(VEX_BIT, 9, 0), VEX_JACCARD, q, row, 0), 1);
	cr_assert_eq(vex_row_distance(L(VEX_BIT, 9, 0), VEX_HAMMING, q, row, 0), 1);
}
