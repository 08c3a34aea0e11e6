/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sq8: one byte a dimension with a scale of the vector's own. A record:
 *   dim bytes    round(v[i] / scale) + 128, scale = max|v| / 127
 *   padding
 *   float mul    cosine: scale / norm; else scale
 *   float add    l2: the squared norm of what the codes stand for; else 0
 * Bytes are unsigned because VPDPBUSD multiplies unsigned by signed: the query is the
 * signed side, and 128 times its sum is taken off again.
 *
 * Four records are taken together, so that the four sums are reduced in one go: at 100
 * dimensions the reduction costs more than the products. All kernels give the same
 * integers, so the same distances.
 */
#include <math.h>
#include "code_i.h"

static size_t stride(uint32_t dim)
{
	return code_lines(dim + sizeof(struct tail));
}

static size_t room_for(uint32_t dim)
{
	return stride(dim);
}

static size_t tail_at(uint32_t dim)
{
	return stride(dim) - sizeof(struct tail);
}

/* v as whole numbers -127 .. 127 and their scale. Returns the sum of their squares. */
static int32_t quantize(const float *v, uint32_t dim, int8_t *out, float *scale)
{
	float m = code_max_abs(v, dim), inv = 0;

	*scale = m / 127.0f;
	if (m > 0)
		inv = 127.0f / m;
	/* A denormal maximum has no reciprocal in float. */
	if (!isfinite(inv))
		inv = *scale = 0;
	return code_round(v, dim, inv, out);
}

/* mul and add of a vector whose codes have that scale and sum of squares. */
static struct tail tail_of(enum vex_metric metric, float scale, int32_t squares)
{
	double norm = sqrt((double)squares) * (double)scale;
	struct tail t = { scale, 0 };

	if (metric == VEX_COSINE)
		t.mul = squares ? (float)(1.0 / sqrt((double)squares)) : 0;
	else if (metric == VEX_L2)
		t.add = (float)(norm * norm);
	return t;
}

static void encode(enum vex_metric metric, const float *v, uint32_t dim, uint8_t *rec)
{
	struct tail t;
	float scale;
	int32_t squares;

	memset(rec, 128, stride(dim));
	squares = quantize(v, dim, (int8_t *)rec, &scale);
	for (uint32_t i = 0; i < dim; i++)
		rec[i] ^= 0x80;
	t = tail_of(metric, scale, squares);
	memcpy(rec + tail_at(dim), &t, sizeof(t));
}

static void query_finish(enum vex_metric metric, uint32_t dim, const int8_t *codes,
			 struct tail t, struct vex_code_query *q)
{
	int32_t sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += codes[i];
	*q = (struct vex_code_query){
		.codes = codes,
		.blocks = (dim + 63) / 64,
		.tail = (uint32_t)tail_at(dim),
		.bias = 128 * sum,
		.mul = metric == VEX_L2 ? 2 * t.mul : t.mul,
		.base = metric == VEX_COSINE ? 1 : t.add,
	};
}

static void query(enum vex_metric metric, const float *v, uint32_t dim, void *room,
		  struct vex_code_query *q)
{
	float scale;
	int32_t squares;

	memset(room, 0, stride(dim));
	squares = quantize(v, dim, room, &scale);
	query_finish(metric, dim, room, tail_of(metric, scale, squares), q);
}

static void query_rec(enum vex_metric metric, const uint8_t *rec, uint32_t dim,
		      void *room, struct vex_code_query *q)
{
	int8_t *codes = room;
	struct tail t;

	memcpy(&t, rec + tail_at(dim), sizeof(t));
	memset(codes + dim, 0, stride(dim) - dim);
	for (uint32_t i = 0; i < dim; i++)
		codes[i] = (int8_t)(rec[i] ^ 0x80);
	query_finish(metric, dim, codes, t, q);
}

static inline float finish(const struct vex_code_query *q, const uint8_t *rec,
			   int32_t dot)
{
	struct tail t;

	memcpy(&t, rec + q->tail, sizeof(t));
	return code_finite(q->base + t.add - (float)(dot - q->bias) * (q->mul * t.mul));
}

static void distances_scalar(const struct vex_code_query *q, const uint8_t *base,
			     size_t step, const uint32_t *ids, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		const int8_t *codes = q->codes;
		int32_t dot = 0;

		for (uint32_t j = 0; j < q->blocks * 64; j++)
			dot += (int32_t)rec[j] * codes[j];
		out[i] = finish(q, rec, dot);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Sums of four registers of sixteen int32 each, as four int32. */
__attribute__((target("avx512f,avx512vnni"))) static inline __m128i
reduce4(__m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab =
	    _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
	__m512i cd =
	    _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
	__m512i s = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd),
				     _mm512_unpackhi_epi64(ab, cd));
	__m256i h =
	    _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

__attribute__((target("avx512f,avx512vnni"))) static void
distances_avx512(const struct vex_code_query *q, const uint8_t *base, size_t step,
		 const uint32_t *ids, size_t n, float *out)
{
	const int8_t *codes = q->codes;
	size_t i = 0;

	for (; i < n; i += 4) {
		/* The last group repeats its last record. */
		const uint8_t *r0 = base + ids[i] * step;
		const uint8_t *r1 = base + ids[i + 1 < n ? i + 1 : n - 1] * step;
		const uint8_t *r2 = base + ids[i + 2 < n ? i + 2 : n - 1] * step;
		const uint8_t *r3 = base + ids[i + 3 < n ? i + 3 : n - 1] * step;
		__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
		int32_t dots[4];

		for (uint32_t j = 0; j < q->blocks; j++) {
			__m512i v = _mm512_load_si512(codes + 64 * j);

			a = _mm512_dpbusd_epi32(a, _mm512_load_si512(r0 + 64 * j), v);
			b = _mm512_dpbusd_epi32(b, _mm512_load_si512(r1 + 64 * j), v);
			c = _mm512_dpbusd_epi32(c, _mm512_load_si512(r2 + 64 * j), v);
			d = _mm512_dpbusd_epi32(d, _mm512_load_si512(r3 + 64 * j), v);
		}
		_mm_storeu_si128((__m128i *)(void *)dots, reduce4(a, b, c, d));
		out[i] = finish(q, r0, dots[0]);
		if (i + 1 < n)
			out[i + 1] = finish(q, r1, dots[1]);
		if (i + 2 < n)
			out[i + 2] = finish(q, r2, dots[2]);
		if (i + 3 < n)
			out[i + 3] = finish(q, r3, dots[3]);
	}
}

/* 32 codes widened to 16 bits: VPMADDUBSW would saturate. */
__attribute__((target("avx2"))) static inline __m256i
madd32(__m256i sum, const uint8_t *r, const int8_t *c)
{
	__m256i u = _mm256_load_si256((const __m256i *)(const void *)r);
	__m256i s = _mm256_load_si256((const __m256i *)(const void *)c);
	__m256i ul = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(u));
	__m256i uh = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(u, 1));
	__m256i sl = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(s));
	__m256i sh = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(s, 1));

	sum = _mm256_add_epi32(sum, _mm256_madd_epi16(ul, sl));
	return _mm256_add_epi32(sum, _mm256_madd_epi16(uh, sh));
}

__attribute__((target("avx2"))) static void
distances_avx2(const struct vex_code_query *q, const uint8_t *base, size_t step,
	       const uint32_t *ids, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		__m256i s = _mm256_setzero_si256();
		__m128i h;

		for (uint32_t j = 0; j < 2 * q->blocks; j++)
			s = madd32(s, rec + 32 * j, (const int8_t *)q->codes + 32 * j);
		h = _mm_add_epi32(_mm256_castsi256_si128(s),
				  _mm256_extracti128_si256(s, 1));
		h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
		h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1));
		out[i] = finish(q, rec, _mm_cvtsi128_si32(h));
	}
}
#endif

const struct code_form code_sq8 = {
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
