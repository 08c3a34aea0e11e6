/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scores by AVX2, FMA and F16C: eight numbers at a time, two rows side by side. What is
 * left of a row behind the last eight is copied to a piece of its own, filled up with
 * zeros, as is what is left of the query: nothing past a row is read.
 */
#include <string.h>
#include "kernel_i.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))

AVX2 static inline __m256 load_f32(const uint8_t *p)
{
	return _mm256_loadu_ps((const float *)(const void *)p);
}

AVX2 static inline __m256 load_f16(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

AVX2 static inline __m256 load_i8(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(
	    _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

AVX2 static inline __m256 load_i16(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(
	    _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

AVX2 static inline __m256 step_dot(__m256 sum, __m256 q, __m256 v, __m256 scale)
{
	(void)scale;
	return _mm256_fmadd_ps(q, v, sum);
}

AVX2 static inline __m256 step_l1(__m256 sum, __m256 q, __m256 v, __m256 scale)
{
	__m256 d = _mm256_fnmadd_ps(v, scale, q);

	return _mm256_add_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), d));
}

AVX2 static inline float reduce(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

#define SCORES(NAME, BYTES, LOAD, STEP, FACTOR)                                          \
	AVX2 static void NAME(const struct vex_score_query *q, const uint8_t *rows,      \
			      size_t n, float *out)                                      \
	{                                                                                \
		uint32_t dim = q->layout.dim, whole = dim & ~7u, left = dim - whole;     \
		size_t stride = (size_t)dim * (BYTES), at = (size_t)whole * (BYTES);     \
		float scale = q->layout.scale > 0 ? (float)q->layout.scale : 1;          \
		__m256 sc = _mm256_set1_ps(scale);                                       \
		uint8_t end0[8 * (BYTES)] = { 0 }, end1[8 * (BYTES)] = { 0 };            \
		float tail[8] = { 0 };                                                   \
                                                                                         \
		memcpy(tail, q->q + whole, left * sizeof(float));                        \
		for (size_t r = 0; r < n; r += 2) {                                      \
			const uint8_t *r0 = rows + r * stride;                           \
			const uint8_t *r1 = r0 + (r + 1 < n ? stride : 0);               \
			__m256 a = _mm256_setzero_ps(), b = a;                           \
                                                                                         \
			fetch_ahead(r0, 2 * stride);                                     \
			for (uint32_t i = 0; i < whole; i += 8) {                        \
				__m256 v = _mm256_loadu_ps(q->q + i);                    \
                                                                                         \
				a = STEP(a, v, LOAD(r0 + (size_t)i * (BYTES)), sc);      \
				b = STEP(b, v, LOAD(r1 + (size_t)i * (BYTES)), sc);      \
			}                                                                \
			if (left) {                                                      \
				__m256 v = _mm256_loadu_ps(tail);                        \
                                                                                         \
				memcpy(end0, r0 + at, stride - at);                      \
				memcpy(end1, r1 + at, stride - at);                      \
				a = STEP(a, v, LOAD(end0), sc);                          \
				b = STEP(b, v, LOAD(end1), sc);                          \
			}                                                                \
			out[r] = reduce(a) * (FACTOR);                                   \
			if (r + 1 < n)                                                   \
				out[r + 1] = reduce(b) * (FACTOR);                       \
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

scores_fn scores_avx2(uint8_t type, enum vex_metric metric)
{
	static const scores_fn table[][2] = {
		[VEX_F32] = { dot_f32, l1_f32 },
		[VEX_F16] = { dot_f16, l1_f16 },
		[VEX_I8] = { dot_i8, l1_i8 },
		[VEX_I16] = { dot_i16, l1_i16 },
	};

	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
	    !__builtin_cpu_supports("f16c") || !kernel_allowed("avx2"))
		return NULL;
	return table[type][metric == VEX_L1];
}
#else
scores_fn scores_avx2(uint8_t type, enum vex_metric metric)
{
	(void)type;
	(void)metric;
	return NULL;
}
#endif
