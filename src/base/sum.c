/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums, random bytes and clocks: thin wrappers, so that one place decides. */
#include <sys/random.h>
#include <time.h>
#include <vexfs/base.h>
#include <xxhash.h>

uint64_t vex_sum64(uint64_t seed, const void *data, size_t len)
{
	return XXH3_64bits_withSeed(data, len, seed);
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
