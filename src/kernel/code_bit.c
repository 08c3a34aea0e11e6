/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bit: one bit a dimension, whether the element is above the vector's own mean, so that
 * vectors without negative elements have something to tell as well. With s = +-1 by bit,
 * u = v - mean and a query q = its mean + p,
 *
 *	<q, v> = mean x sum(q) + <p, u>,  and <p, u> is taken as mul x <p, s>,
 *
 * mul = |u|^2 / sum|u|, which makes it right for the vector itself and, on average over
 * directions, for others (as in RaBitQ, Gao and Long, 2024, without its rotation). The
 * query keeps eight bits an element, so only the record is coarse. A record: bits, by 64,
 * padding, then mul, add, mean and `even`, the multiple of s that is nearest to u.
 */
#include <math.h>
#include "code_i.h"

struct bits {
	float mul, add, mean, even;
};

static size_t stride(uint32_t dim)
{
	return code_lines((dim + 63) / 64 * 8 + sizeof(struct bits));
}

static size_t room_for(uint32_t dim)
{
	return code_lines(dim);
}

static uint32_t tail_at(uint32_t dim)
{
	return (uint32_t)(stride(dim) - sizeof(struct bits));
}

static double mean_of(const float *v, uint32_t dim)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (double)v[i];
	return sum / dim;
}

static void encode(enum vex_metric metric, const float *v, uint32_t dim, uint8_t *rec)
{
	double mean = mean_of(v, dim), sizes = 0, squares = 0, norm = vex_norm(v, dim);
	double per = metric == VEX_COSINE ? (norm > 0 ? 1 / norm : 0) : 1;
	struct bits t = { 0 };

	memset(rec, 0, stride(dim));
	for (uint32_t i = 0; i < dim; i++) {
		double u = (double)v[i] - mean;

		rec[i / 8] |= (uint8_t)((u > 0) << (i % 8));
		sizes += fabs(u);
		squares += u * u;
	}
	t.mul = sizes > 0 ? (float)(squares / sizes * per) : 0;
	t.mean = (float)(mean * per);
	t.even = (float)(sizes / dim * per);
	if (metric == VEX_L2)
		t.add = (float)(norm * norm);
	memcpy(rec + tail_at(dim), &t, sizeof(t));
}

/* p as codes x scale; sum and square: of the whole query. Codes beyond dim are zero. */
static void finish_query(enum vex_metric metric, uint32_t dim, int8_t *codes, float scale,
			 double sum, double square, struct vex_code_query *q)
{
	double per = metric == VEX_L2 ? 2 : 1;
	int32_t all = 0;

	if (metric == VEX_COSINE)
		per = square > 0 ? 1 / sqrt(square) : 0;
	memset(codes + dim, 0, room_for(dim) - dim);
	for (uint32_t i = 0; i < dim; i++)
		all += codes[i];
	*q = (struct vex_code_query){
		.codes = codes,
		.dim = dim,
		.blocks = (dim + 63) / 64,
		.tail = tail_at(dim),
		.bias = all,
		.mul = (float)((double)scale * per),
		.sum = (float)(sum * per),
		.base = metric == VEX_COSINE ? 1
			: metric == VEX_L2   ? (float)square
					     : 0,
	};
}

/* Elements less their mean, in eight bits. */
static void query(enum vex_metric metric, const float *v, uint32_t dim, void *room,
		  struct vex_code_query *q)
{
	double mean = mean_of(v, dim), most = 0;
	int8_t *codes = room;
	double inv;

	for (uint32_t i = 0; i < dim; i++) {
		double size = fabs((double)v[i] - mean);

		most = size > most ? size : most;
	}
	inv = most > 0 ? 127 / most : 0;
	if (!isfinite(inv))
		inv = most = 0;
	for (uint32_t i = 0; i < dim; i++)
		codes[i] = (int8_t)lrint(((double)v[i] - mean) * inv);
	finish_query(metric, dim, codes, (float)(most / 127), mean * dim,
		     vex_square(v, dim), q);
}

static void query_rec(enum vex_metric metric, const uint8_t *rec, uint32_t dim,
		      void *room, struct vex_code_query *q)
{
	int8_t *codes = room;
	struct bits t;
	double square;

	memcpy(&t, rec + tail_at(dim), sizeof(t));
	for (uint32_t i = 0; i < dim; i++)
		codes[i] = rec[i / 8] >> (i % 8) & 1 ? 1 : -1;
	/* |v|^2 = mean^2 dim + |u|^2; under cosine the record is of unit length. */
	square = metric == VEX_L2       ? (double)t.add
		 : metric == VEX_COSINE ? 1
					: (double)t.mean * (double)t.mean * dim +
					      (double)t.mul * (double)t.even * dim;
	finish_query(metric, dim, codes, t.even, (double)t.mean * dim, square, q);
}

/* set: the sum of the query's codes where the bit is 1. */
static inline float finish(const struct vex_code_query *q, const uint8_t *rec,
			   int32_t set)
{
	float dot = (float)(2 * set - q->bias) * q->mul;
	struct bits t;

	memcpy(&t, rec + q->tail, sizeof(t));
	return code_finite(q->base + t.add - (t.mean * q->sum + t.mul * dot));
}

static void distances_scalar(const struct vex_code_query *q, const uint8_t *base,
			     size_t step, const uint32_t *ids, size_t n, float *out)
{
	const int8_t *codes = q->codes;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		int32_t set = 0;

		for (uint32_t j = 0; j < q->dim; j++)
			set += rec[j / 8] >> (j % 8) & 1 ? codes[j] : 0;
		out[i] = finish(q, rec, set);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static void
distances_avx512(const struct vex_code_query *q, const uint8_t *base, size_t step,
		 const uint32_t *ids, size_t n, float *out)
{
	const __m512i one = _mm512_set1_epi8(1);
	const int8_t *codes = q->codes;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		__m512i s = _mm512_setzero_si512();

		for (uint32_t j = 0; j < q->blocks; j++) {
			uint64_t mask;

			memcpy(&mask, rec + 8 * (size_t)j, sizeof(mask));
			s = _mm512_dpbusd_epi32(s, _mm512_maskz_mov_epi8(mask, one),
						_mm512_load_si512(codes + 64 * j));
		}
		out[i] = finish(q, rec, _mm512_reduce_add_epi32(s));
	}
}

/* The codes of 32 dimensions whose bit is 1, added up in eights. */
__attribute__((target("avx2"))) static inline __m256i add32(__m256i sum, uint32_t bits,
							    const int8_t *codes)
{
	const __m256i spread =
	    _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2,
			     2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
	const __m256i pick = _mm256_set1_epi64x((long long)0x8040201008040201ull);
	__m256i b = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), spread);
	__m256i on = _mm256_cmpeq_epi8(_mm256_and_si256(b, pick), pick);
	__m256i c =
	    _mm256_and_si256(on, _mm256_load_si256((const __m256i *)(const void *)codes));

	c = _mm256_maddubs_epi16(_mm256_set1_epi8(1), c);
	return _mm256_add_epi32(sum, _mm256_madd_epi16(c, _mm256_set1_epi16(1)));
}

__attribute__((target("avx2"))) static void
distances_avx2(const struct vex_code_query *q, const uint8_t *base, size_t step,
	       const uint32_t *ids, size_t n, float *out)
{
	const int8_t *codes = q->codes;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		__m256i s = _mm256_setzero_si256();
		__m128i h;

		for (uint32_t j = 0; j < 2 * q->blocks; j++) {
			uint32_t bits;

			memcpy(&bits, rec + 4 * (size_t)j, sizeof(bits));
			s = add32(s, bits, codes + 32 * j);
		}
		h = _mm_add_epi32(_mm256_castsi256_si128(s),
				  _mm256_extracti128_si256(s, 1));
		h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
		h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1));
		out[i] = finish(q, rec, _mm_cvtsi128_si32(h));
	}
}
#endif

const struct code_form code_bit = {
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
