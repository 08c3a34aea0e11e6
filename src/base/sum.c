/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums, random bytes and clocks: thin wrappers, so that one place decides. */
#include <sys/random.h>
#include <time.h>
#include <vexfs/base.h>
#include <xxhash.h>
#include "sum_i.h"

typedef uint64_t sum_fn(const void *data, size_t len, uint64_t seed);

static uint64_t sum64_library(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

static sum_fn *choose(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		return sum64_avx512;
	if (__builtin_cpu_supports("avx2"))
		return sum64_avx2;
#endif
	return sum64_library;
}

uint64_t vex_sum64(uint64_t seed, const void *data, size_t len)
{
	static sum_fn *_Atomic chosen;
	sum_fn *f = atomic_load_explicit(&chosen, memory_order_relaxed);

	if (!f) {
		f = choose();
		atomic_store_explicit(&chosen, f, memory_order_relaxed);
	}
	return f(data, len, seed);
}

vex_err vex_random(void *out, size_t len)
{
	uint8_t *p = out;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint64_t vex_now_mono(void)
{
	return (uint64_t)clock_ns(CLOCK_MONOTONIC);
}

int64_t vex_now_real(void)
{
	return clock_ns(CLOCK_REALTIME);
}
