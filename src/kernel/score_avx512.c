/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scores by AVX-512 (F, BW, VL): sixteen numbers at a time, four rows side by side, so
 * that the query is loaded once for them and their four sums are reduced in one go.
 * Masks end a row; nothing past it is read.
 */
#include "kernel_i.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

AVX512 static inline __m512 load_f32(const uint8_t *row, uint32_t i, __mmask16 m)
{
	return _mm512_maskz_loadu_ps(m, row + 4 * (size_t)i);
}

AVX512 static inline __m512 load_f16(const uint8_t *row, uint32_t i, __mmask16 m)
{
	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, row + 2 * (size_t)i));
}

AVX512 static inline __m512 load_i8(const uint8_t *row, uint32_t i, __mmask16 m)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(m, row + i)));
}

AVX512 static inline __m512 load_i16(const uint8_t *row, uint32_t i, __mmask16 m)
{
	return _mm512_cvtepi32_ps(
	    _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(m, row + 2 * (size_t)i)));
}

/* sum + q x v */
AVX512 static inline __m512 step_dot(__m512 sum, __m512 q, __m512 v, __m512 scale)
{
	(void)scale;
	return _mm512_fmadd_ps(q, v, sum);
}

/* sum + |q - v x scale| */
AVX512 static inline __m512 step_l1(__m512 sum, __m512 q, __m512 v, __m512 scale)
{
	return _mm512_add_ps(sum, _mm512_abs_ps(_mm512_fnmadd_ps(v, scale, q)));
}

/* Sums of four registers of sixteen floats each, as four floats. */
AVX512 static inline __m128 reduce4(__m512 a, __m512 b, __m512 c, __m512 d)
{
	__m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	__m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
	__m512d lo = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
	__m512d hi = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
	__m512 s = _mm512_add_ps(_mm512_castpd_ps(lo), _mm512_castpd_ps(hi));
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));

	return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

#define SCORES(NAME, BYTES, LOAD, STEP, FACTOR)                                          \
	AVX512 static void NAME(const struct vex_score_query *q, const uint8_t *rows,    \
				size_t n, float *out)                                    \
	{                                                                                \
		uint32_t dim = q->layout.dim;                                            \
		size_t stride = (size_t)dim * (BYTES);                                   \
		float scale = q->layout.scale > 0 ? (float)q->layout.scale : 1;          \
		__m512 sc = _mm512_set1_ps(scale);                                       \
                                                                                         \
		for (size_t r = 0; r < n; r += 4) {                                      \
			/* The last group repeats its last row. */                       \
			size_t last = n - 1 - r;                                         \
			const uint8_t *r0 = rows + r * stride;                           \
			const uint8_t *r1 = r0 + (last < 1 ? last : 1) * stride;         \
			const uint8_t *r2 = r0 + (last < 2 ? last : 2) * stride;         \
			const uint8_t *r3 = r0 + (last < 3 ? last : 3) * stride;         \
			__m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;             \
			__mmask8 outs = (__mmask8)(last < 3 ? (2u << last) - 1 : 15);    \
                                                                                         \
			fetch_ahead(r0, 4 * stride);                                     \
			for (uint32_t i = 0; i < dim; i += 16) {                         \
				uint32_t left = dim - i;                                 \
				__mmask16 m =                                            \
				    (__mmask16)(left >= 16 ? 0xffffu                     \
							   : (1u << left) - 1);          \
				__m512 v = _mm512_maskz_loadu_ps(m, q->q + i);           \
                                                                                         \
				a = STEP(a, v, LOAD(r0, i, m), sc);                      \
				b = STEP(b, v, LOAD(r1, i, m), sc);                      \
				c = STEP(c, v, LOAD(r2, i, m), sc);                      \
				d = STEP(d, v, LOAD(r3, i, m), sc);                      \
			}                                                                \
			_mm_mask_storeu_ps(                                              \
			    out + r, outs,                                               \
			    _mm_mul_ps(reduce4(a, b, c, d), _mm_set1_ps(FACTOR)));       \
		}                                                                        \
	}

SCORES(dot_f32, 4, load_f32, step_dot, 1)
SCORES(dot_f16, 2, load_f16, step_dot, 1)
SCORES(dot_i8, 1, load_i8, step_dot, scale)
SCORES(dot_i16, 2, load_i16, step_dot, scale)
SCORES(l1_f32, 4, load_f32, step_l1, -1)
SCORES(l1_f16, 2, load_f16, step_l1, -1)
SCORES(l1_i8, 1, load_i8, step_l1, -1)
SCORES(l1_i16, 2, load_i16, step_l1, -1)

scores_fn scores_avx512(uint8_t type, enum vex_metric metric)
{
	static const scores_fn table[][2] = {
		[VEX_F32] = { dot_f32, l1_f32 },
		[VEX_F16] = { dot_f16, l1_f16 },
		[VEX_I8] = { dot_i8, l1_i8 },
		[VEX_I16] = { dot_i16, l1_i16 },
	};

	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512dq") || !kernel_allowed("avx512"))
		return NULL;
	return table[type][metric == VEX_L1];
}
#else
scores_fn scores_avx512(uint8_t type, enum vex_metric metric)
{
	(void)type;
	(void)metric;
	return NULL;
}
#endif
