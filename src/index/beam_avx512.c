/* SPDX-License-Identifier: Apache-2.0 */
/* The traversal's operations with AVX-512: sixteen links, distances or candidates at a
 * time. Compiled for it as a whole, so called only where the CPU has it (beam.c). */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#include <immintrin.h>
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi,bmi2,lzcnt")
#include "beam_i.h"

static inline uint32_t ops_unseen(const uint64_t *seen, const uint32_t *row,
				  uint32_t room, uint32_t *out)
{
	const __m512i none = _mm512_set1_epi32(-1), one = _mm512_set1_epi32(1),
		      low = _mm512_set1_epi32(31);
	uint32_t n = 0;

	for (uint32_t i = 0; i < room; i += 16) {
		__mmask16 in =
		    (__mmask16)(room - i >= 16 ? 0xffffu : (1u << (room - i)) - 1);
		__m512i id = _mm512_mask_loadu_epi32(none, in, row + i);
		__m512i word, bit;
		__mmask16 fresh;

		in = _mm512_cmpneq_epi32_mask(id, none);
		word = _mm512_mask_i32gather_epi32(none, in, _mm512_srli_epi32(id, 5),
						   seen, 4);
		bit = _mm512_sllv_epi32(one, _mm512_and_si512(id, low));
		fresh = _mm512_mask_testn_epi32_mask(in, word, bit);
		_mm512_storeu_si512(out + n, _mm512_maskz_compress_epi32(fresh, id));
		n += (uint32_t)_mm_popcnt_u32(fresh);
		if (in != 0xffff)
			break;
	}
	return n;
}

static inline uint32_t ops_near(const float *dist, uint32_t n, float far)
{
	__mmask16 in = (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1);

	return _mm512_mask_cmp_ps_mask(in, _mm512_maskz_loadu_ps(in, dist),
				       _mm512_set1_ps(far), _CMP_LE_OQ);
}

/* Entries at or before d, counted sixteen at a time; what lies behind the end of the
 * array is not counted. */
static inline uint32_t place_for(const struct pool *p, float d)
{
	const __m512 v = _mm512_set1_ps(d);
	uint32_t i = 0;

	for (; i < p->n; i += 16) {
		__mmask16 le =
		    _mm512_cmp_ps_mask(_mm512_loadu_ps(p->dist + i), v, _CMP_LE_OQ);

		if (le != 0xffff) {
			i += (uint32_t)__builtin_ctz(~(uint32_t)le);
			break;
		}
	}
	return i < p->n ? i : p->n;
}

static inline void ops_insert(struct pool *p, float d, uint32_t node)
{
	uint32_t at, end = p->n;

	if (end == p->cap) {
		if (d >= p->dist[end - 1])
			return;
		end = --p->n;
	}
	at = place_for(p, d);
	/* From the end, so that nothing is overwritten before it was read; the last block
	 * reaches below `at`, and is put right by mask. */
	while (end > at) {
		uint32_t from = end - at >= 16 ? end - 16 : at;
		__mmask16 m =
		    (__mmask16)(end - at >= 16 ? 0xffffu : (1u << (end - at)) - 1);
		__m512 dv = _mm512_maskz_loadu_ps(m, p->dist + from);
		__m512i iv = _mm512_maskz_loadu_epi32(m, p->id + from);

		_mm512_mask_storeu_ps(p->dist + from + 1, m, dv);
		_mm512_mask_storeu_epi32(p->id + from + 1, m, iv);
		end = from;
	}
	p->dist[at] = d;
	p->id[at] = node;
	p->n++;
	if (at < p->next)
		p->next = at;
}

#define BEAM_SEARCH beam_search_avx512
#define BEAM_DESCEND beam_descend_avx512
#include "beam_body.h"
#else
typedef int beam_avx512_unused;
#endif
