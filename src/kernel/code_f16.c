/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f16: binary16 of v / scale, the scale a power of two above max|v|, so that nothing
 * overflows whatever the vector. A record: dim halves, padding, mul, add (struct tail),
 * as with none; the norms are those of what the halves stand for. The query stays
 * float32.
 */
#include <math.h>
#include "code_i.h"

static size_t stride(uint32_t dim)
{
	return code_lines(dim * sizeof(uint16_t) + sizeof(struct tail));
}

static size_t room_for(uint32_t dim)
{
	return code_lines(dim * sizeof(float));
}

static uint32_t tail_at(uint32_t dim)
{
	return (uint32_t)(stride(dim) - sizeof(struct tail));
}

/* Of at most 2 in size, to nearest, half to even; below 2^-14 the steps are 2^-24. */
static uint16_t half_of(float f)
{
	uint32_t bits, sign;
	float size = fabsf(f);

	memcpy(&bits, &f, sizeof(bits));
	sign = bits >> 16 & 0x8000u;
	if (size < 0x1p-14f)
		return (uint16_t)(sign | (uint32_t)lrintf(size * 0x1p24f));
	bits &= 0x7fffffffu;
	bits += 0xfffu + (bits >> 13 & 1); /* a carry into the exponent is right */
	return (uint16_t)(sign | ((bits >> 13) - (112u << 10)));
}

static float float_of(uint16_t h)
{
	uint32_t size = h & 0x7fffu, bits = (size << 13) + (112u << 23);
	float f;

	if (size < 0x400) {
		f = (float)size * 0x1p-24f;
		memcpy(&bits, &f, sizeof(bits));
	}
	bits |= (h & 0x8000u) << 16;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* mul and add of a vector whose elements are `scale` times these. */
static struct tail tail_of(enum vex_metric metric, const float *v, uint32_t dim,
			   float scale)
{
	double norm = vex_norm(v, dim);
	struct tail t = { scale, 0 };

	if (metric == VEX_COSINE)
		t.mul = norm > 0 ? (float)(1 / norm) : 0;
	else if (metric == VEX_L2)
		t.add = (float)(norm * (double)scale * norm * (double)scale);
	return t;
}

static void encode(enum vex_metric metric, const float *v, uint32_t dim, uint8_t *rec)
{
	uint16_t *h = (uint16_t *)(void *)rec;
	float scale = code_scale(v, dim);
	struct tail t = { scale, 0 };
	double squares = 0;

	memset(rec, 0, stride(dim));
	for (uint32_t i = 0; i < dim; i++) {
		h[i] = half_of(v[i] / scale);
		squares += (double)float_of(h[i]) * (double)float_of(h[i]);
	}
	if (metric == VEX_COSINE)
		t.mul = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
	else if (metric == VEX_L2)
		t.add = (float)(squares * (double)scale * (double)scale);
	memcpy(rec + tail_at(dim), &t, sizeof(t));
}

static void finish_query(enum vex_metric metric, uint32_t dim, const void *codes,
			 struct tail t, struct vex_code_query *q)
{
	*q = (struct vex_code_query){
		.codes = codes,
		.dim = dim,
		.tail = tail_at(dim),
		.mul = metric == VEX_L2 ? 2 * t.mul : t.mul,
		.base = metric == VEX_COSINE ? 1 : t.add,
	};
}

static void query(enum vex_metric metric, const float *v, uint32_t dim, void *room,
		  struct vex_code_query *q)
{
	float scale = code_scale(v, dim), *codes = room;

	for (uint32_t i = 0; i < dim; i++)
		codes[i] = v[i] / scale;
	finish_query(metric, dim, codes, tail_of(metric, codes, dim, scale), q);
}

static void query_rec(enum vex_metric metric, const uint8_t *rec, uint32_t dim,
		      void *room, struct vex_code_query *q)
{
	const uint16_t *h = (const uint16_t *)(const void *)rec;
	float *codes = room;
	struct tail t;

	memcpy(&t, rec + tail_at(dim), sizeof(t));
	for (uint32_t i = 0; i < dim; i++)
		codes[i] = float_of(h[i]);
	finish_query(metric, dim, codes, t, q);
}

static inline float finish(const struct vex_code_query *q, const uint8_t *rec, float dot)
{
	struct tail t;

	memcpy(&t, rec + q->tail, sizeof(t));
	return code_finite(q->base + t.add - dot * q->mul * t.mul);
}

static void distances_scalar(const struct vex_code_query *q, const uint8_t *base,
			     size_t step, const uint32_t *ids, size_t n, float *out)
{
	const float *codes = q->codes;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		const uint16_t *h = (const uint16_t *)(const void *)rec;
		float dot = 0;

		for (uint32_t j = 0; j < q->dim; j++)
			dot += float_of(h[j]) * codes[j];
		out[i] = finish(q, rec, dot);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vl"))) static void
distances_avx512(const struct vex_code_query *q, const uint8_t *base, size_t step,
		 const uint32_t *ids, size_t n, float *out)
{
	const float *codes = q->codes;
	uint32_t whole = q->dim & ~15u;
	__mmask16 rest = (__mmask16)((1u << (q->dim & 15)) - 1);

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		const uint16_t *h = (const uint16_t *)(const void *)rec;
		__m512 a = _mm512_setzero_ps();
		__m256i last = _mm256_maskz_loadu_epi16(rest, h + whole);

		for (uint32_t j = 0; j < whole; j += 16) {
			__m256i x =
			    _mm256_load_si256((const __m256i *)(const void *)(h + j));

			a = _mm512_fmadd_ps(_mm512_cvtph_ps(x), _mm512_load_ps(codes + j),
					    a);
		}
		a = _mm512_fmadd_ps(_mm512_cvtph_ps(last),
				    _mm512_maskz_load_ps(rest, codes + whole), a);
		out[i] = finish(q, rec, _mm512_reduce_add_ps(a));
	}
}

__attribute__((target("avx2,fma,f16c"))) static void
distances_avx2(const struct vex_code_query *q, const uint8_t *base, size_t step,
	       const uint32_t *ids, size_t n, float *out)
{
	const float *codes = q->codes;
	uint32_t whole = q->dim & ~7u;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		const uint16_t *h = (const uint16_t *)(const void *)rec;
		__m256 a = _mm256_setzero_ps();
		float part[8], dot = 0;

		for (uint32_t j = 0; j < whole; j += 8) {
			__m128i x =
			    _mm_load_si128((const __m128i *)(const void *)(h + j));

			a = _mm256_fmadd_ps(_mm256_cvtph_ps(x), _mm256_load_ps(codes + j),
					    a);
		}
		_mm256_storeu_ps(part, a);
		for (uint32_t j = 0; j < 8; j++)
			dot += part[j];
		for (uint32_t j = whole; j < q->dim; j++)
			dot += float_of(h[j]) * codes[j];
		out[i] = finish(q, rec, dot);
	}
}
#endif

const struct code_form code_f16 = {
	.stride = stride,
	.room = room_for,
	.encode = encode,
	.query = query,
	.query_rec = query_rec,
	.scalar = distances_scalar,
#if defined(__x86_64__)
	.avx2 = distances_avx2,
	.avx512 = distances_avx512,
#endif
};
