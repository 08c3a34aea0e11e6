/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space: fallocate in its modes, holes, copies, files past 4 GiB; as on the filesystem
 * below. What a FUSE mount cannot do is named (docs/POSIX.md).
 */
#include "mount/compare.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

static struct vmount m;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, geteuid() ? NULL : "allow_other");
}

static void down(void)
{
	vm_free(&m);
}

#define SPACE(name) Test(space, name, .init = up, .fini = down, .timeout = 120)

/* Data and holes, as SEEK_DATA and SEEK_HOLE tell; size and blocks. */
static void note_map(struct notes *n, int fd)
{
	struct stat st;
	off_t at = 0;

	fstat(fd, &st);
	while (at < st.st_size) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0)
			break;
		at = lseek(fd, data, SEEK_HOLE);
		NOTE(n, "data %lld-%lld", (long long)data, (long long)at);
	}
	NOTE(n, "%lld bytes %lld blocks", (long long)st.st_size, (long long)st.st_blocks);
}

static void note_sum(struct notes *n, int fd)
{
	static char buf[1 << 16];
	uint64_t sum = 0;
	ssize_t got;

	for (off_t at = 0; (got = pread(fd, buf, sizeof(buf), at)) > 0; at += got) {
		for (ssize_t k = 0; k < got; k++)
			sum = sum * 31 + (unsigned char)buf[k];
	}
	NOTE(n, "%zd %llx", got, (unsigned long long)sum);
}

static void fill(int fd, off_t off, size_t len)
{
	char *buf = malloc(len);

	for (size_t k = 0; k < len; k++)
		buf[k] = (char)((off + (off_t)k) * 7 / 3 + 1);
	sure(pwrite(fd, buf, len, off) == (ssize_t)len ? 0 : -1);
	free(buf);
}

/* ---- fallocate -------------------------------------------------------------------- */

static void modes(struct notes *n)
{
	static const int known[] = { 0,
				     FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE };
	static const off_t ranges[][2] = { { 0, 4096 },      { 4096, 8192 },
					   { 100, 50 },      { 100, 9000 },
					   { 60000, 20000 }, { 200000, 4096 },
					   { -1, 10 },       { 0, 0 },
					   { 0, -5 },        { 1ll << 62, 1ll << 62 } };
	char name[32];

	for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++) {
		for (size_t r = 0; r < sizeof(ranges) / sizeof(*ranges); r++) {
			snprintf(name, sizeof(name), "f%zu-%zu", k, r);
			int fd = open(name, O_CREAT | O_RDWR, 0644);
			fill(fd, 0, 65536);
			sure(fsync(fd));
			NOTE(n, "%x %lld %lld", known[k], (long long)ranges[r][0],
			     (long long)ranges[r][1]);
			CALL(n, fallocate(fd, known[k], ranges[r][0], ranges[r][1]));
			note_map(n, fd);
			note_sum(n, fd);
			close(fd);
		}
	}
	int fd = open("f0-0", O_RDONLY);
	CALL(n, fallocate(fd, 0, 0, 100));
	close(fd);
	fd = open(".", O_RDONLY);
	CALL(n, fallocate(fd, 0, 0, 100));
	close(fd);
	fd = open("posix", O_CREAT | O_RDWR, 0644);
	NOTE(n, "%d", posix_fallocate(fd, 10, 100000));
	NOTE(n, "%d", posix_fallocate(fd, 0, 0));
	NOTE(n, "%d", posix_fallocate(fd, -1, 10));
	note_map(n, fd);
	close(fd);
}
SPACE(fallocate_in_its_modes)
{
	compare(&m, modes);
}

/* The kernel's FUSE knows no others. */
SPACE(modes_that_fuse_does_not_carry)
{
	static const int unknown[] = { FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE,
				       FALLOC_FL_UNSHARE_RANGE };
	int fd = open(vm_at(&m, "f"), O_CREAT | O_RDWR, 0644);

	fill(fd, 0, 65536);
	for (int k = 0; k < 3; k++) {
		errno = 0;
		cr_assert(fallocate(fd, unknown[k], 4096, 4096) < 0);
		cr_assert_eq(errno, EOPNOTSUPP);
	}
	struct stat st;
	cr_assert(fstat(fd, &st) == 0 && st.st_size == 65536);
	close(fd);
}

/* ---- holes ------------------------------------------------------------------------ */

static void holes(struct notes *n)
{
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	char buf[10];

	note_map(n, fd);
	CALL(n, lseek(fd, 0, SEEK_DATA));
	CALL(n, lseek(fd, 0, SEEK_HOLE));
	for (off_t at = 1 << 16; at < 1ll << 36; at *= 16) {
		fill(fd, at, 5000);
		note_map(n, fd);
	}
	NOTE(n, "%zd", pread(fd, buf, 10, 1ll << 33));
	CALL(n, ftruncate(fd, (5ll << 30) + 1));
	note_map(n, fd);
	CALL(n, lseek(fd, (5ll << 30) + 1, SEEK_DATA));
	CALL(n, lseek(fd, (5ll << 30), SEEK_DATA));
	CALL(n, lseek(fd, -1, SEEK_DATA));
	CALL(n, lseek(fd, 0, 77));
	/* Cut and grown again: zeroes. */
	CALL(n, ftruncate(fd, 65536 + 100));
	CALL(n, ftruncate(fd, 65536 + 4096));
	note_sum(n, fd);
	close(fd);
	fd = open("g", O_CREAT | O_RDWR, 0644);
	CALL(n, fallocate(fd, 0, 0, 1 << 20));
	note_map(n, fd);
	close(fd);
}
SPACE(holes_and_large_offsets)
{
	compare(&m, holes);
}

/* Stores past 4 GiB through a mapping, and reading them again. */
static void mapped_far(struct notes *n)
{
	int fd = open("f", O_CREAT | O_RDWR, 0644);

	sure(ftruncate(fd, (4ll << 30) + 65536));
	char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4ll << 30);
	for (int k = 0; k < 65536; k += 512)
		p[k] = (char)k;
	CALL(n, msync(p, 65536, MS_SYNC));
	munmap(p, 65536);
	close(fd);
	fd = open("f", O_RDONLY);
	CALL(n, lseek(fd, 4ll << 30, SEEK_SET));
	char buf[2048];
	NOTE(n, "%zd %d %d", read(fd, buf, sizeof(buf)), buf[512], buf[1536]);
	close(fd);
}
SPACE(mapped_past_4_gib)
{
	compare(&m, mapped_far);
}

/* ---- copies ----------------------------------------------------------------------- */

static void copies(struct notes *n)
{
	int a = open("a", O_CREAT | O_RDWR, 0644), b = open("b", O_CREAT | O_RDWR, 0644);
	int ro = open("a", O_RDONLY), app = open("b", O_WRONLY | O_APPEND);
	loff_t in, out;

	fill(a, 0, 200000);
#define COPY(from, to, i, o, len)                                                        \
	do {                                                                             \
		in = (i);                                                                \
		out = (o);                                                               \
		NOTE(n, "%zd", copy_file_range(from, &in, to, &out, len, 0));            \
		NOTE(n, "%lld %lld %s", (long long)in, (long long)out,                   \
		     strerrorname_np(errno));                                            \
		errno = 0;                                                               \
	} while (0)
	errno = 0;
	COPY(a, b, 0, 0, 100000);
	COPY(a, b, 1, 100003, 77);
	COPY(a, b, 150000, 10, 100000);
	COPY(a, b, 200000, 10, 100);
	COPY(a, b, 300000, 10, 100);
	COPY(a, b, 0, 5ll << 32, 100);
	COPY(a, b, 0, 0, 0);
	COPY(a, a, 0, 250000, 1000);
	COPY(a, a, 0, 500, 1000);
	COPY(b, ro, 0, 0, 100);
	COPY(a, app, 0, 0, 100);
	COPY(a, b, -1, 0, 100);
	NOTE(n, "%zd %s", copy_file_range(a, NULL, b, NULL, 100, 7),
	     strerrorname_np(errno));
	note_sum(n, a);
	sure(ftruncate(b, 200000));
	note_sum(n, b);
	/* Within the kernel's own copy. */
	NOTE(n, "%zd", sendfile(b, a, &(off_t){ 1000 }, 5000));
	note_sum(n, b);
	int dir = open(".", O_RDONLY);
	COPY(dir, b, 0, 0, 100);
	close(dir);
	close(a);
	close(b);
	close(ro);
	close(app);
}
SPACE(copies_within_the_mount)
{
	compare(&m, copies);
}

/* Between the mount and outside, both ways. */
SPACE(copies_across)
{
	int a = open(vm_at(&m, "a"), O_CREAT | O_RDWR, 0644);
	int b = open(vm_plain(&m, "b"), O_CREAT | O_RDWR, 0644);
	int c = open(vm_at(&m, "c"), O_CREAT | O_RDWR, 0644);

	fill(a, 0, 100000);
	for (size_t done = 0; done < 100000;) {
		ssize_t got = sendfile(b, a, NULL, 100000);
		cr_assert(got > 0);
		done += (size_t)got;
	}
	cr_assert(lseek(b, 0, SEEK_SET) == 0);
	for (size_t done = 0; done < 100000;) {
		ssize_t got = sendfile(c, b, NULL, 100000);
		cr_assert(got > 0);
		done += (size_t)got;
	}
	close(a);
	close(b);
	close(c);
	cr_assert_eq(vm_sh(&m, 10, "cmp $M/a $P/b && cmp $M/c $S/a"), 0);
}

/* Shared blocks where the filesystem has none of them either. */
static void clones(struct notes *n)
{
	int a = open("a", O_CREAT | O_RDWR, 0644), b = open("b", O_CREAT | O_RDWR, 0644);

	fill(a, 0, 8192);
	CALL(n, ioctl(b, FICLONE, a));
	note_sum(n, b);
	close(a);
	close(b);
	shell("cp --reflink=auto a c && cp --sparse=always a d && cmp a c && cmp a d");
}
SPACE(clones)
{
	compare(&m, clones);
}
