/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctl MOUNT CALLS: the round trip of an ioctl that does nothing (VERSION), prints
 *
 *	<p50 us> <p99 us>
 */
#include <fcntl.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "bench.h"

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: ioctl MOUNT CALLS\n");
		return 2;
	}
	uint32_t calls = number(argv[2], "CALLS");
	double *us = must_alloc(calls, sizeof(*us));
	int fd = chdir(argv[1]) < 0 ? -1 : open(VEXFS_CONTROL, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(argv[1]);
	for (uint32_t i = 0; i < calls; i++) {
		struct vexfs_version v = { 0 };
		double start = now_us();
		if (ioctl(fd, VEXFS_IOC_VERSION, &v) < 0)
			fail("VERSION");
		us[i] = now_us() - start;
	}
	printf("%.2f %.2f\n", percentile(us, calls, 0.5), percentile(us, calls, 0.99));
	free(us);
	close(fd);
	return 0;
}
