/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the element types: sizes, numbers to bytes and back.
 *
 * vex_row_decode is the one definition of what a row stands for; distances, norms,
 * exports and `like` queries all go through it, so they agree to the last bit. A decoded
 * i8 or i16 is rounded to float32 once: of what it is rounded from, encoding gives the
 * same integer again (an error of 2^-24 of at most 32768 is far from half of one).
 *
 * Little-endian throughout, as rows are in values and in slot files. Rows need no
 * alignment: elements are read by memcpy, which compilers turn into plain loads.
 */
#include <float.h>
#include <math.h>
#include <string.h>
#include <vexfs/kernel.h>

#define F32_EXP 0x7f800000u
#define F32_ABS 0x7fffffffu
#define F16_EXP 0x7c00u
#define F16_ABS 0x7fffu

size_t vex_row_bytes(uint8_t type, uint32_t dim)
{
	switch (type) {
	case VEX_F16:
	case VEX_I16:
		return (size_t)dim * 2;
	case VEX_I8:
		return dim;
	case VEX_BIT:
		return (dim + 7) / 8;
	default:
		return (size_t)dim * sizeof(float);
	}
}

bool vex_metric_fits(uint8_t metric, uint8_t type)
{
	if (metric > VEX_JACCARD || type > VEX_BIT)
		return false;
	return (metric == VEX_HAMMING || metric == VEX_JACCARD) == (type == VEX_BIT);
}

/* ---- to numbers -------------------------------------------------------------- */

static inline void halves_in(const uint8_t *row, uint32_t n, float *out)
{
	for (uint32_t i = 0; i < n; i++) {
		_Float16 h;

		memcpy(&h, row + 2 * (size_t)i, sizeof(h));
		out[i] = (float)h;
	}
}

static inline bool halves_out(const float *v, uint32_t n, uint8_t *row)
{
	bool ok = true;

	for (uint32_t i = 0; i < n; i++) {
		_Float16 h = (_Float16)v[i];

		ok &= isfinite((float)h) != 0;
		memcpy(row + 2 * (size_t)i, &h, sizeof(h));
	}
	return ok;
}

/* Without the instruction each conversion is a call. */
#if defined(__x86_64__)
#define F16C __attribute__((target("avx,f16c")))
F16C static void halves_in_f16c(const uint8_t *row, uint32_t n, float *out)
{
	halves_in(row, n, out);
}

F16C static bool halves_out_f16c(const float *v, uint32_t n, uint8_t *row)
{
	return halves_out(v, n, row);
}

static bool have_f16c(void)
{
	return __builtin_cpu_supports("f16c") && __builtin_cpu_supports("avx");
}
#else
#define halves_in_f16c halves_in
#define halves_out_f16c halves_out
static bool have_f16c(void)
{
	return false;
}
#endif

static void decode_f16(const uint8_t *row, uint32_t n, float *out)
{
	if (have_f16c())
		halves_in_f16c(row, n, out);
	else
		halves_in(row, n, out);
}

static void decode_i8(const uint8_t *row, uint32_t n, double scale, float *out)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = (float)((int8_t)row[i] * scale);
}

static void decode_i16(const uint8_t *row, uint32_t n, double scale, float *out)
{
	for (uint32_t i = 0; i < n; i++) {
		int16_t v;

		memcpy(&v, row + 2 * (size_t)i, sizeof(v));
		out[i] = (float)(v * scale);
	}
}

void vex_row_decode(const struct vex_layout *l, const void *row, uint32_t first,
		    uint32_t n, float *out)
{
	double scale = l->scale > 0 ? l->scale : 1;
	const uint8_t *p = row;

	switch (l->type) {
	case VEX_F16:
		decode_f16(p + 2 * (size_t)first, n, out);
		return;
	case VEX_I8:
		decode_i8(p + first, n, scale, out);
		return;
	case VEX_I16:
		decode_i16(p + 2 * (size_t)first, n, scale, out);
		return;
	case VEX_BIT:
		for (uint32_t i = first; i < first + n; i++)
			*out++ = (float)(p[i / 8] >> (i % 8) & 1);
		return;
	default:
		memcpy(out, p + sizeof(float) * (size_t)first, n * sizeof(float));
	}
}

/* ---- to bytes ---------------------------------------------------------------- */

static bool encode_f16(const float *v, uint32_t n, uint8_t *row)
{
	return have_f16c() ? halves_out_f16c(v, n, row) : halves_out(v, n, row);
}

/* The integer a number becomes, within +-max, or false. */
static bool whole(float v, double scale, int max, int *out)
{
	double x = scale > 0 ? (double)v / scale : (double)v, r = nearbyint(x);

	if (!(r >= -max - 1 && r <= max) || (!(scale > 0) && r != x))
		return false;
	*out = (int)r;
	return true;
}

static bool encode_i8(const float *v, uint32_t n, double scale, uint8_t *row)
{
	for (uint32_t i = 0; i < n; i++) {
		int x;

		if (!whole(v[i], scale, INT8_MAX, &x))
			return false;
		row[i] = (uint8_t)x;
	}
	return true;
}

static bool encode_i16(const float *v, uint32_t n, double scale, uint8_t *row)
{
	for (uint32_t i = 0; i < n; i++) {
		int16_t s;
		int x;

		if (!whole(v[i], scale, INT16_MAX, &x))
			return false;
		s = (int16_t)x;
		memcpy(row + 2 * (size_t)i, &s, sizeof(s));
	}
	return true;
}

bool vex_row_encode(const struct vex_layout *l, const float *v, void *row)
{
	uint8_t *p = row;

	switch (l->type) {
	case VEX_F16:
		return encode_f16(v, l->dim, p);
	case VEX_I8:
		return encode_i8(v, l->dim, l->scale, p);
	case VEX_I16:
		return encode_i16(v, l->dim, l->scale, p);
	case VEX_BIT:
		memset(p, 0, vex_row_bytes(VEX_BIT, l->dim));
		for (uint32_t i = 0; i < l->dim; i++)
			p[i / 8] |= (uint8_t)((v[i] > 0) << (i % 8));
		return true;
	default:
		memcpy(p, v, l->dim * sizeof(float));
		return true;
	}
}

/* ---- what is wrong with them ------------------------------------------------- */

/* Bits, not arithmetic: loops the compiler can vectorise, and no trap on NaNs. */
static bool ok_f32(const uint8_t *row, uint32_t n, bool zero_ok)
{
	uint32_t any = 0, bad = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, row + 4 * (size_t)i, sizeof(bits));
		any |= bits & F32_ABS;
		bad |= (bits & F32_EXP) == F32_EXP;
	}
	return !bad && (zero_ok || any);
}

static bool ok_f16(const uint8_t *row, uint32_t n, bool zero_ok)
{
	uint32_t any = 0, bad = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint16_t bits;

		memcpy(&bits, row + 2 * (size_t)i, sizeof(bits));
		any |= bits & F16_ABS;
		bad |= (bits & F16_EXP) == F16_EXP;
	}
	return !bad && (zero_ok || any);
}

bool vex_row_ok(const struct vex_layout *l, const void *row, bool zero_ok)
{
	const uint8_t *p = row;
	unsigned any = 0;

	if (l->type == VEX_F32)
		return ok_f32(p, l->dim, zero_ok);
	if (l->type == VEX_F16)
		return ok_f16(p, l->dim, zero_ok);
	for (size_t i = 0; i < vex_row_bytes(l->type, l->dim) && !zero_ok; i++)
		any |= p[i];
	return zero_ok || any;
}
