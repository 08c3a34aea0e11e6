/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes: the forms by name, and which kernel is in force: the best this CPU has, or what
 * VEXFS_KERNEL=avx512|avx2|scalar says, for tests and benches.
 */
#include <math.h>
#include <stdlib.h>
#include "code_i.h"

static const struct code_form *form(enum vex_quant quant)
{
	switch (quant) {
	case VEX_QUANT_NONE:
		return &code_f32;
	case VEX_QUANT_F16:
		return &code_f16;
	case VEX_QUANT_BIT:
		return &code_bit;
	case VEX_QUANT_DEFAULT:
	case VEX_QUANT_SQ8:
		break;
	}
	return &code_sq8;
}

enum level { SCALAR, AVX2, AVX512 };

static enum level cpu_level(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512vl"))
		return AVX512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	    __builtin_cpu_supports("f16c"))
		return AVX2;
#endif
	return SCALAR;
}

/* -1: no such name, or more than the CPU has. */
static int level_of(const char *name)
{
	static const char *const names[] = { "scalar", "avx2", "avx512" };

	for (int i = 0; i <= (int)cpu_level(); i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

static int level_in_force(void)
{
	const char *wish = getenv("VEXFS_KERNEL");
	int level = wish ? level_of(wish) : -1;

	return level < 0 ? (int)cpu_level() : level;
}

vex_code_fn vex_code_kernel(enum vex_quant quant, const char *name)
{
	const struct code_form *f = form(quant);
	int level = name ? level_of(name) : level_in_force();

	switch (level) {
	case AVX512:
		return f->avx512;
	case AVX2:
		return f->avx2;
	case SCALAR:
		return f->scalar;
	}
	return NULL;
}

/* Asked with each query: looked up once. Several threads find the same. */
static vex_code_fn in_force(enum vex_quant quant)
{
	static _Atomic(vex_code_fn) known[VEX_QUANTS];
	vex_code_fn fn = known[quant];

	if (!fn)
		known[quant] = fn = vex_code_kernel(quant, NULL);
	return fn;
}

size_t vex_code_stride(enum vex_quant quant, uint32_t dim)
{
	return form(quant)->stride(dim);
}

size_t vex_code_room(enum vex_quant quant, uint32_t dim)
{
	return form(quant)->room(dim);
}

void vex_code_encode(enum vex_quant quant, enum vex_metric metric, const float *v,
		     uint32_t dim, uint8_t *rec)
{
	form(quant)->encode(metric, v, dim, rec);
}

void vex_code_query(enum vex_quant quant, enum vex_metric metric, const float *v,
		    uint32_t dim, void *room, struct vex_code_query *q)
{
	form(quant)->query(metric, v, dim, room, q);
	q->distances = in_force(quant);
}

void vex_code_query_rec(enum vex_quant quant, enum vex_metric metric, const uint8_t *rec,
			uint32_t dim, void *room, struct vex_code_query *q)
{
	form(quant)->query_rec(metric, rec, dim, room, q);
	q->distances = in_force(quant);
}

/* ---- shared by the forms -------------------------------------------------------- */

typedef uint32_t float_bits __attribute__((may_alias));

/* Compared as whole numbers, which order as the floats do: a loop of fabsf and > is not
 * made vector code without -ffast-math, nor is lrintf below. */
CODE_CLONES float code_max_abs(const float *v, uint32_t dim)
{
	const float_bits *bits = (const float_bits *)(const void *)v;
	uint32_t m = 0;
	float f;

	for (uint32_t i = 0; i < dim; i++) {
		uint32_t b = bits[i] & 0x7fffffffu;

		m = b > m ? b : m;
	}
	memcpy(&f, &m, sizeof(f));
	return f;
}

/* Half to even. Added to 1.5 x 2^23 a float keeps no fraction, and its low bits are the
 * number. The sum stays below 2^28. */
CODE_CLONES int32_t code_round(const float *v, uint32_t dim, float inv, int8_t *out)
{
	int32_t squares = 0;

	for (uint32_t i = 0; i < dim; i++) {
		union {
			float f;
			int32_t i;
		} u;
		int32_t c;

		u.f = v[i] * inv + 0x1.8p23f;
		c = u.i - 0x4b400000;
		c = c > 127 ? 127 : c < -127 ? -127 : c;
		out[i] = (int8_t)c;
		squares += c * c;
	}
	return squares;
}

float code_scale(const float *v, uint32_t dim)
{
	float m = code_max_abs(v, dim);
	int e;

	if (!(m > 0))
		return 1;
	frexpf(m, &e);
	/* The greatest floats have no such power; a little over 1 does no harm. */
	return ldexpf(1, e > 127 ? 127 : e < -126 ? -126 : e);
}
