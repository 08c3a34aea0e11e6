/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XXH3 by AVX-512, for CPUs that have it: the library as distributed is built for SSE2,
 * and each hit of a search has its row summed. The header holds the whole algorithm;
 * its kernel is chosen as it is compiled. The sums are the same (tests/unit/base).
 */
#if defined(__x86_64__)
#pragma GCC target("avx512f")
#define XXH_VECTOR 3 /* XXH_AVX512 */
#define XXH_INLINE_ALL
#include <immintrin.h>
#include <xxhash.h>
#include "sum_i.h"

uint64_t sum64_avx512(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}
#else
typedef int sum_avx512_unused;
#endif
