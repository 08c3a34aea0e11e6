/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums: what is on disk was written by whatever the CPU had, so all versions give
 * the library's sums, at every length around the edges of its blocks and on any address.
 */
#include <criterion/criterion.h>
#include <xxhash.h>
#include <vexfs/base.h>
#include "sum_i.h"

enum { MOST = 70000, STRAY = 64 };

static uint8_t bytes[MOST + STRAY];

static void same(size_t len, size_t at, uint64_t seed)
{
	uint64_t want = XXH3_64bits_withSeed(bytes + at, len, seed);

	cr_assert_eq(vex_sum64(seed, bytes + at, len), want, "length %zu", len);
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f"))
		cr_assert_eq(sum64_avx512(bytes + at, len, seed), want, "length %zu",
			     len);
	if (__builtin_cpu_supports("avx2"))
		cr_assert_eq(sum64_avx2(bytes + at, len, seed), want, "length %zu", len);
#endif
}

Test(sum, versions_agree)
{
	uint64_t seed = 2026;

	for (size_t i = 0; i < 256; i++)
		bytes[i] = (uint8_t)(i * i ^ 0x5a);
	for (size_t i = 256; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(bytes[i - 256] * 31 + i);
	for (size_t len = 0; len < 2200; len++)
		same(len, len % STRAY, len % 3 ? seed + len : 0);
	for (size_t len = 2200; len < MOST; len += 977)
		same(len, len % STRAY, len % 2 ? seed + len : 0);
}

/* As written by the first version of the format: a file outlives the library. */
Test(sum, known_ones)
{
	cr_expect_eq(vex_sum64(0, "", 0), 0x2d06800538d394c2ull);
	cr_expect_eq(vex_sum64(0, "vexfs", 5), XXH3_64bits("vexfs", 5));
}
