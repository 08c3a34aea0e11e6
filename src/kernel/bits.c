/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of bits: two counts tell all, the ones of a row and those it shares with the
 * query:
 *
 *	hamming = |q| + |v| - 2 |q and v|
 *	jaccard = 1 - |q and v| / (|q| + |v| - |q and v|); 0 where both have no ones
 *
 * Counts are whole numbers, so a scan's score is the exact distance already. Bits of a
 * row past its last dimension may be anything, and are masked.
 */
#include <string.h>
#include "kernel_i.h"

static float from_counts(enum vex_metric metric, uint32_t ones, uint32_t row,
			 uint32_t both)
{
	uint32_t either = ones + row - both;

	if (metric == VEX_HAMMING)
		return (float)(either - both);
	return either ? (float)((double)(either - both) / either) : 0;
}

/* Up to 64 bits of a row from byte `at` on; those past `dim` are 0. */
static uint64_t word_at(const uint8_t *row, uint32_t dim, uint32_t word)
{
	uint32_t left = dim - word * 64;
	uint64_t bits = 0;

	if (left >= 64) {
		memcpy(&bits, row + (size_t)word * 8, 8);
		return bits;
	}
	memcpy(&bits, row + (size_t)word * 8, (left + 7) / 8);
	return bits & ((1ull << left) - 1);
}

uint32_t bits_ones(const uint8_t *row, uint32_t dim)
{
	uint32_t ones = 0;

	for (uint32_t w = 0; w * 64 < dim; w++)
		ones += (uint32_t)__builtin_popcountll(word_at(row, dim, w));
	return ones;
}

float bits_distance(enum vex_metric metric, const float *q, const uint8_t *row,
		    uint32_t dim)
{
	uint32_t ones = 0, of_row = 0, both = 0;

	for (uint32_t w = 0; w * 64 < dim; w++) {
		uint64_t v = word_at(row, dim, w), bits = 0;

		for (uint32_t i = 0; i < 64 && w * 64 + i < dim; i++)
			bits |= (uint64_t)(q[w * 64 + i] > 0) << i;
		ones += (uint32_t)__builtin_popcountll(bits);
		of_row += (uint32_t)__builtin_popcountll(v);
		both += (uint32_t)__builtin_popcountll(bits & v);
	}
	return from_counts(metric, ones, of_row, both);
}

static inline void scores_by_words(const struct vex_score_query *q, const uint8_t *rows,
				   size_t n, float *out)
{
	uint32_t dim = q->layout.dim;
	size_t stride = (dim + 7) / 8;

	for (size_t r = 0; r < n; r++) {
		const uint8_t *row = rows + r * stride;
		uint32_t of_row = 0, both = 0;

		for (uint32_t w = 0; w * 64 < dim; w++) {
			uint64_t v = word_at(row, dim, w);

			of_row += (uint32_t)__builtin_popcountll(v);
			both += (uint32_t)__builtin_popcountll(v & q->bits[w]);
		}
		out[r] = -from_counts(q->metric, q->ones, of_row, both);
	}
}

void bits_scores_scalar(const struct vex_score_query *q, const uint8_t *rows, size_t n,
			float *out)
{
	scores_by_words(q, rows, n, out);
}

#if defined(__x86_64__)
#include <immintrin.h>

/* The same code, with the POPCNT instruction: eight bytes a cycle. */
__attribute__((target("popcnt"))) static void
scores_popcnt(const struct vex_score_query *q, const uint8_t *rows, size_t n, float *out)
{
	scores_by_words(q, rows, n, out);
}

/* Which bits of the last block of 512 belong to the row. */
static void last_block(uint32_t dim, uint64_t mask[8])
{
	uint32_t bits = (dim - 1) % 512 + 1;

	for (uint32_t w = 0; w < 8; w++)
		mask[w] = bits >= (w + 1) * 64 ? ~0ull
			  : bits > w * 64      ? (1ull << (bits - w * 64)) - 1
					       : 0;
}

#define BITS512 "avx512f,avx512bw,avx512vpopcntdq"

__attribute__((target(BITS512))) static void
scores_avx512_bits(const struct vex_score_query *q, const uint8_t *rows, size_t n,
		   float *out)
{
	uint32_t dim = q->layout.dim, blocks = (dim + 511) / 512;
	size_t stride = (dim + 7) / 8, rest = stride - ((size_t)blocks - 1) * 64;
	__mmask64 bytes = rest == 64 ? ~0ull : (1ull << rest) - 1;
	uint64_t mask[8];
	__m512i keep;

	last_block(dim, mask);
	keep = _mm512_loadu_si512(mask);
	for (size_t r = 0; r < n; r++) {
		const uint8_t *row = rows + r * stride;
		__m512i of_row = _mm512_setzero_si512(), both = of_row, v;

		fetch_ahead(row, stride);
		for (uint32_t b = 0; b + 1 < blocks; b++) {
			v = _mm512_loadu_si512(row + 64 * (size_t)b);
			of_row = _mm512_add_epi64(of_row, _mm512_popcnt_epi64(v));
			v = _mm512_and_si512(v, _mm512_load_si512(q->bits + 8 * b));
			both = _mm512_add_epi64(both, _mm512_popcnt_epi64(v));
		}
		v = _mm512_maskz_loadu_epi8(bytes, row + 64 * ((size_t)blocks - 1));
		v = _mm512_and_si512(v, keep);
		of_row = _mm512_add_epi64(of_row, _mm512_popcnt_epi64(v));
		v = _mm512_and_si512(v, _mm512_load_si512(q->bits + 8 * (blocks - 1)));
		both = _mm512_add_epi64(both, _mm512_popcnt_epi64(v));
		out[r] = -from_counts(q->metric, q->ones,
				      (uint32_t)_mm512_reduce_add_epi64(of_row),
				      (uint32_t)_mm512_reduce_add_epi64(both));
	}
}
#endif

static scores_fn choose(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512vpopcntdq") &&
	    __builtin_cpu_supports("avx512bw") && kernel_allowed("avx512"))
		return scores_avx512_bits;
	if (__builtin_cpu_supports("popcnt") && kernel_allowed("avx2"))
		return scores_popcnt;
#endif
	return bits_scores_scalar;
}

void bits_scores(const struct vex_score_query *q, const uint8_t *rows, size_t n,
		 float *out)
{
	static _Atomic(scores_fn) chosen;
	scores_fn fn = chosen;

	if (!fn)
		chosen = fn = choose();
	fn(q, rows, n, out);
}
