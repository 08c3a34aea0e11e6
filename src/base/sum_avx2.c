/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XXH3 by AVX2: as sum_avx512.c.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2")
#define XXH_VECTOR 2 /* XXH_AVX2 */
#define XXH_INLINE_ALL
#include <immintrin.h>
#include <xxhash.h>
#include "sum_i.h"

uint64_t sum64_avx2(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}
#else
typedef int sum_avx2_unused;
#endif
