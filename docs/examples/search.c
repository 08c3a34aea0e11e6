/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search MOUNT SPACE K < raw-f32: the K nearest files, as DISTANCE TAB PATH lines.
 * Exit 0 found, 1 nothing found, 2 error. To attach a vector first, as text or float32:
 *	setxattr("MOUNT/a.txt", "user.vexfs.SPACE", "1,2,3", 5, 0);
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vexfs/vexfs.h>

int main(int argc, char **argv)
{
	static struct vexfs_search s = { .flags = VEXFS_SEARCH_STAGED };
	static char buf[1 << 20] __attribute__((aligned(8)));
	ssize_t n, at;
	int fd, found = 0;

	if (argc != 4)
		errx(2, "search MOUNT SPACE K < raw-f32");
	if (chdir(argv[1]) || (fd = open(VEXFS_CONTROL, O_RDWR)) < 0)
		err(2, "%s/%s", argv[1], VEXFS_CONTROL);
	n = (ssize_t)fread(buf, 1, sizeof(buf), stdin);
	s.dim = (uint32_t)((size_t)n / sizeof(float));
	s.k = (uint32_t)strtoul(argv[3], NULL, 10);
	strncpy(s.space, argv[2], sizeof(s.space) - 1);
	/* Stage the query; pass the head of the struct alone: all hits come by read. */
	if (write(fd, buf, (size_t)n) != n ||
	    ioctl(fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD), &s) < 0)
		err(2, "search in %s", argv[2]);
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		const struct vexfs_hit *hit;

		for (at = 0, found = 1; at < n; at += hit->size) {
			hit = (const struct vexfs_hit *)(buf + at);
			printf("%.9g\t%s\n", (double)hit->distance, vexfs_hit_path(hit));
		}
	}
	if (n < 0)
		err(2, "read");
	return !found;
}
