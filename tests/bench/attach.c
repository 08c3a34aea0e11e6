/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach DIR NAME FILES BYTES: sets the extended attribute NAME, BYTES long and
 * different on each, on FILES new files in DIR, one call after the other, and prints
 *
 *	<calls a second> <p50 us> <p99 us>
 *
 * Run on the mount (user.vexfs.SPACE) and on a bare directory of the same filesystem
 * (user.v), it is the same loop. The files are made before the clock starts.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "bench.h"

static uint64_t seed = 42;

static float next_float(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (float)(int32_t)(seed >> 32) / 2147483648.0f;
}

static void make_files(uint32_t files)
{
	char name[32];
	for (uint32_t i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "f%06u", i);
		int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0 || close(fd) < 0)
			fail(name);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: attach DIR NAME FILES BYTES\n");
		return 2;
	}
	uint32_t files = number(argv[3], "FILES"), bytes = number(argv[4], "BYTES");
	double *us = must_alloc(files, sizeof(*us)), total = 0;
	float *value = must_alloc(bytes / 4 + 1, sizeof(*value));
	char name[32];
	if (chdir(argv[1]) < 0)
		fail(argv[1]);
	make_files(files);
	for (uint32_t i = 0; i < files; i++) {
		for (uint32_t j = 0; j <= bytes / 4; j++)
			value[j] = next_float();
		snprintf(name, sizeof(name), "f%06u", i);
		double start = now_us();
		if (setxattr(name, argv[2], value, bytes, 0) < 0)
			fail(name);
		us[i] = now_us() - start;
		total += us[i];
	}
	printf("%.0f %.1f %.1f\n", files / total * 1e6, percentile(us, files, 0.5),
	       percentile(us, files, 0.99));
	free(us);
	free(value);
	return 0;
}
