/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cut: deciding from float32 inner products, 64 rows at a time, which rows deserve
 * an exact look.
 *
 * A float32 inner product of dim terms, summed in lanes, is off by at most about (terms
 * a lane) x u x |q||v|, u = 2^-24 (Higham, Accuracy and Stability of Numerical
 * Algorithms, ch. 3). OpenBLAS kernels sum in four lanes or more; `slack` below counts
 * their chains, the reductions behind them, and the rounding of the cut's own three
 * constants and norms. FLT_MIN covers products that underflow.
 *
 * Solving distance <= limit for the inner product:
 *   cosine: dot >= |q||v| (1 - limit)
 *   l2:     dot >= (|q|^2 + |v|^2 - limit^2) / 2
 *   ip:     dot >= -limit
 * each less slack x u x |q||v|.
 *
 * Sums of |q - v| have no cancellation: each term is off by u of itself and, where rows
 * have a scale, by 2u of |v|, which is at most |q| + |q - v|. Counts of bits are exact.
 */
#include <float.h>
#include <math.h>
#include <vexfs/kernel.h>

#define U 0x1p-24

struct vex_cut vex_cut_make(enum vex_metric metric, float limit, uint32_t dim, double nq)
{
	double slack = (dim / 4.0 + 32.0) * U, l = (double)limit;
	double a = 0, b = -slack * nq, c = 0;

	switch (metric) {
	case VEX_COSINE:
		b += nq * (1.0 - l);
		break;
	case VEX_L2:
		a = 0.5 * (nq * nq * (1.0 - 16.0 * U) - l * l * (1.0 + 16.0 * U));
		c = 0.5 * (1.0 - 16.0 * U);
		break;
	case VEX_IP:
		a = -l - 4.0 * U * fabs(l);
		break;
	case VEX_L1:
	case VEX_HAMMING:
	case VEX_JACCARD:
		/* vex_score_cut's */
		return (struct vex_cut){ -INFINITY, 0, 0 };
	}
	return (struct vex_cut){ (float)(a - (double)FLT_MIN), (float)b, (float)c };
}

struct vex_cut vex_score_cut(const struct vex_score_query *q, float limit)
{
	double slack = (q->layout.dim / 4.0 + 32.0) * U, a = -(double)limit;

	if (q->metric <= VEX_IP)
		return vex_cut_make(q->metric, limit, q->layout.dim, q->size);
	if (q->metric == VEX_L1)
		a = a * (1.0 + slack) - 8.0 * U * q->size - (double)FLT_MIN;
	return (struct vex_cut){ (float)a, 0, 0 };
}

static bool passes(const struct vex_cut *cut, float dot, float norm)
{
	float least = cut->a + (cut->b + cut->c * norm) * norm;

	return !(dot < least) || !(fabsf(dot) <= FLT_MAX) || !(fabsf(least) <= FLT_MAX);
}

uint64_t vex_cut_mask_scalar(const struct vex_cut *cut, const float *dots,
			     const float *norms, unsigned n)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < n; i++)
		mask |= (uint64_t)passes(cut, dots[i], norms[i]) << i;
	return mask;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static uint64_t
mask_avx512(const struct vex_cut *cut, const float *dots, const float *norms, unsigned n)
{
	const __m512 a = _mm512_set1_ps(cut->a), b = _mm512_set1_ps(cut->b),
		     c = _mm512_set1_ps(cut->c), big = _mm512_set1_ps(FLT_MAX);
	uint64_t mask = 0;

	for (unsigned i = 0; i < n; i += 16) {
		unsigned left = n - i;
		__mmask16 in = (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1);
		__m512 v = _mm512_maskz_loadu_ps(in, norms + i);
		__m512 d = _mm512_maskz_loadu_ps(in, dots + i);
		__m512 least = _mm512_fmadd_ps(_mm512_fmadd_ps(c, v, b), v, a);
		__mmask16 cut_off = _mm512_cmp_ps_mask(d, least, _CMP_LT_OQ);

		cut_off &= _mm512_cmp_ps_mask(_mm512_abs_ps(d), big, _CMP_LE_OQ);
		cut_off &= _mm512_cmp_ps_mask(_mm512_abs_ps(least), big, _CMP_LE_OQ);
		mask |= (uint64_t)(uint16_t)(in & ~cut_off) << i;
	}
	return mask;
}

__attribute__((target("avx2,fma"))) static uint64_t
mask_avx2(const struct vex_cut *cut, const float *dots, const float *norms, unsigned n)
{
	const __m256 a = _mm256_set1_ps(cut->a), b = _mm256_set1_ps(cut->b),
		     c = _mm256_set1_ps(cut->c), big = _mm256_set1_ps(FLT_MAX),
		     sign = _mm256_set1_ps(-0.0f);
	unsigned whole = n & ~7u;
	uint64_t mask = 0;

	for (unsigned i = 0; i < whole; i += 8) {
		__m256 v = _mm256_loadu_ps(norms + i), d = _mm256_loadu_ps(dots + i);
		__m256 least = _mm256_fmadd_ps(_mm256_fmadd_ps(c, v, b), v, a);
		__m256 off = _mm256_cmp_ps(d, least, _CMP_LT_OQ);

		off = _mm256_and_ps(
		    off, _mm256_cmp_ps(_mm256_andnot_ps(sign, d), big, _CMP_LE_OQ));
		off = _mm256_and_ps(
		    off, _mm256_cmp_ps(_mm256_andnot_ps(sign, least), big, _CMP_LE_OQ));
		mask |= (uint64_t)(uint8_t)~_mm256_movemask_ps(off) << i;
	}
	if (whole < n)
		mask |= vex_cut_mask_scalar(cut, dots + whole, norms + whole, n - whole)
			<< whole;
	return mask;
}
#endif

typedef uint64_t (*mask_fn)(const struct vex_cut *, const float *, const float *,
			    unsigned);

static mask_fn choose(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		return mask_avx512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return mask_avx2;
#endif
	return vex_cut_mask_scalar;
}

uint64_t vex_cut_mask(const struct vex_cut *cut, const float *dots, const float *norms,
		      unsigned n)
{
	/* Several threads may choose at once: they choose the same. */
	static _Atomic(mask_fn) chosen;
	mask_fn fn = chosen;

	if (!fn)
		chosen = fn = choose();
	return fn(cut, dots, norms, n);
}
