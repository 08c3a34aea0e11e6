/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file, thousands of random operations on its content by several descriptors and a
 * lasting mapping, each result compared with a copy in memory: what reads, mappings,
 * other processes and the file below show must be that copy after every step.
 *
 * VEXFS_SEED repeats a run; EXERCISE=N does N steps a test (3,000 by default).
 */
#include "mount/compare.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#define MAX ((size_t)300000)
#define PAGE ((size_t)4096)

static struct vmount m;

static void down(void)
{
	if (m.base[0])
		vm_free(&m);
}

#define XTEST(name) Test(exerciser, name, .fini = down, .timeout = 3600)

/* ---- the file and its copy -----------------------------------------------------------
 */

static struct {
	char path[600], below[600];
	int fd[4]; /* 0: read and write; 1: append; 2: direct; 3: as the test opened it */
	char *map; /* MAX bytes; those past the end of the file must not be touched */
	char *model; /* MAX bytes, zero past len */
	size_t len;
	char *buf, *direct;
	uint64_t seed;
	unsigned step;
	const char *did;
	size_t off, n;
} x;

static size_t rnd(size_t n)
{
	return n ? vm_rand(&x.seed) % n : 0;
}

#define SAME(cond)                                                                       \
	cr_assert(cond, "step %u, %s of %zu at %zu, length %zu: " #cond " (%s)", x.step, \
		  x.did, x.n, x.off, x.len, strerror(errno))

static void range(size_t most)
{
	x.off = rnd(8) ? rnd(MAX) : x.len;
	x.n = 1 + rnd(rnd(2) ? most : 600);
	if (x.off >= MAX)
		x.off = MAX - 1;
	if (x.off + x.n > MAX)
		x.n = MAX - x.off;
}

static void pattern(void)
{
	for (size_t k = 0; k < x.n; k++)
		x.buf[k] = (char)(1 + (x.step * 7 + k) % 255);
}

static void wrote(size_t off, size_t n)
{
	memcpy(x.model + off, x.buf, n);
	if (off + n > x.len)
		x.len = off + n;
}

/* ---- steps
 * ------------------------------------------------------------------------------ */

static void do_write(void)
{
	x.did = "write";
	range(60000);
	pattern();
	SAME(pwrite(x.fd[rnd(2) ? 0 : 3], x.buf, x.n, (off_t)x.off) == (ssize_t)x.n);
	wrote(x.off, x.n);
}

static void do_append(void)
{
	x.did = "append";
	range(3000);
	x.off = x.len;
	if (x.off + x.n > MAX)
		return;
	pattern();
	SAME(write(x.fd[1], x.buf, x.n) == (ssize_t)x.n);
	wrote(x.off, x.n);
}

static void do_direct(void)
{
	if (x.fd[2] < 0)
		return;
	x.did = "direct";
	range(60000);
	x.off -= x.off % PAGE;
	x.n = (x.n + PAGE - 1) / PAGE * PAGE;
	if (x.off + x.n > MAX)
		return;
	if (rnd(2)) {
		ssize_t want = x.off >= x.len        ? 0
			       : x.off + x.n > x.len ? (ssize_t)(x.len - x.off)
						     : (ssize_t)x.n;
		SAME(pread(x.fd[2], x.direct, x.n, (off_t)x.off) == want);
		SAME(!memcmp(x.direct, x.model + x.off, (size_t)want));
		return;
	}
	pattern();
	memcpy(x.direct, x.buf, x.n);
	SAME(pwrite(x.fd[2], x.direct, x.n, (off_t)x.off) == (ssize_t)x.n);
	wrote(x.off, x.n);
}

static void do_read(void)
{
	x.did = "read";
	range(80000);
	ssize_t want = x.off >= x.len        ? 0
		       : x.off + x.n > x.len ? (ssize_t)(x.len - x.off)
					     : (ssize_t)x.n;
	SAME(pread(x.fd[rnd(2) ? 0 : 3], x.buf, x.n, (off_t)x.off) == want);
	SAME(!memcmp(x.buf, x.model + x.off, (size_t)want));
}

static void cut(size_t to)
{
	if (to < x.len)
		memset(x.model + to, 0, x.len - to);
	x.len = to;
}

static void do_truncate(void)
{
	x.did = "truncate";
	x.off = rnd(MAX + 1);
	x.n = 0;
	if (rnd(2))
		SAME(truncate(x.path, (off_t)x.off) == 0);
	else
		SAME(ftruncate(x.fd[0], (off_t)x.off) == 0);
	cut(x.off);
}

static void do_fallocate(void)
{
	static const int modes[] = { 0,
				     FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[rnd(6)];

	x.did = mode & FALLOC_FL_PUNCH_HOLE   ? "punch"
		: mode & FALLOC_FL_ZERO_RANGE ? "zero"
					      : "allocate";
	range(60000);
	if (fallocate(x.fd[0], mode, (off_t)x.off, (off_t)x.n)) {
		SAME(errno == EOPNOTSUPP);
		return;
	}
	if (!(mode & FALLOC_FL_KEEP_SIZE) && x.off + x.n > x.len)
		x.len = x.off + x.n;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(x.model + x.off, 0, x.n);
}

static void do_map_write(void)
{
	x.did = "store";
	range(20000);
	if (x.off >= x.len)
		return;
	if (x.off + x.n > x.len)
		x.n = x.len - x.off;
	pattern();
	memcpy(x.map + x.off, x.buf, x.n);
	wrote(x.off, x.n);
	if (rnd(3) == 0)
		SAME(msync(x.map, MAX, MS_SYNC) == 0);
}

static void do_map_read(void)
{
	x.did = "load";
	SAME(!memcmp(x.map, x.model, x.len));
	/* The rest of the last page is zero for those who map it. */
	for (size_t k = x.len; x.len && k % PAGE; k++)
		SAME(!x.map[k]);
}

static void do_copy(void)
{
	loff_t from, to;

	x.did = "copy";
	range(30000);
	from = (loff_t)rnd(MAX);
	to = (loff_t)x.off;
	if ((size_t)from >= x.len ||
	    ((size_t)from + x.n > x.off && x.off + x.n > (size_t)from))
		return;
	size_t want = (size_t)from + x.n > x.len ? x.len - (size_t)from : x.n;
	memcpy(x.buf, x.model + from, want);
	for (size_t done = 0; done < want;) {
		ssize_t got =
		    copy_file_range(x.fd[0], &from, x.fd[3], &to, want - done, 0);
		SAME(got > 0);
		done += (size_t)got;
	}
	wrote(x.off, want);
}

static void open_all(void)
{
	static const int extra[] = { 0, O_SYNC, O_DSYNC, O_NOATIME, O_NOFOLLOW };

	x.fd[0] = open(x.path, O_RDWR);
	x.fd[1] = open(x.path, O_WRONLY | O_APPEND);
	x.fd[2] = open(x.path, O_RDWR | O_DIRECT);
	x.fd[3] = open(x.path, O_RDWR | extra[rnd(5)]);
	SAME(x.fd[0] >= 0 && x.fd[1] >= 0 && x.fd[3] >= 0);
	x.map = mmap(NULL, MAX, PROT_READ | PROT_WRITE, MAP_SHARED, x.fd[0], 0);
	SAME(x.map != MAP_FAILED);
}

static void close_all(void)
{
	bool first = rnd(2);

	if (first)
		munmap(x.map, MAX);
	for (int k = 0; k < 4; k++) {
		if (x.fd[k] >= 0)
			SAME(close(x.fd[k]) == 0);
	}
	if (!first)
		munmap(x.map, MAX);
}

static void do_reopen(void)
{
	x.did = "reopen";
	close_all();
	if (rnd(4) == 0) {
		int fd = open(x.path, O_WRONLY | O_TRUNC);

		SAME(fd >= 0 && close(fd) == 0);
		cut(0);
	}
	open_all();
}

/* Another process, with a descriptor of its own, sees the same. */
static void do_elsewhere(void)
{
	int status;

	x.did = "elsewhere";
	pid_t pid = fork();
	if (!pid) {
		int fd = open(x.path, O_RDWR);
		char *all = malloc(MAX);

		if (fd < 0 || pread(fd, all, MAX, 0) != (ssize_t)x.len)
			_exit(1);
		if (memcmp(all, x.model, x.len))
			_exit(2);
		if (pwrite(fd, "elsewhere", 9, 77) != 9)
			_exit(3);
		_exit(0);
	}
	SAME(waitpid(pid, &status, 0) == pid && status == 0);
	memcpy(x.buf, "elsewhere", 9);
	wrote(77, 9);
}

/* After a sync the file below is the copy, too. */
static void do_below(void)
{
	static char all[MAX];
	struct stat st;

	x.did = "below";
	SAME(msync(x.map, MAX, MS_SYNC) == 0 && fsync(x.fd[0]) == 0);
	int fd = open(x.below, O_RDONLY);
	SAME(fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size == x.len);
	SAME(pread(fd, all, MAX, 0) == (ssize_t)x.len);
	SAME(!memcmp(all, x.model, x.len));
	close(fd);
}

static void do_stat(void)
{
	struct stat st;

	x.did = "stat";
	SAME(fstat(x.fd[rnd(2)], &st) == 0 && (size_t)st.st_size == x.len);
	SAME(lseek(x.fd[0], 0, SEEK_END) == (off_t)x.len);
	/* What SEEK_HOLE calls a hole reads as zeroes. Of stores that only this kernel's
	 * cache has, the daemon does not know (docs/POSIX.md). */
	SAME(msync(x.map, MAX, MS_SYNC) == 0);
	off_t hole = x.len ? lseek(x.fd[0], (off_t)rnd(x.len), SEEK_HOLE) : 0;
	off_t data =
	    hole >= 0 && (size_t)hole < x.len ? lseek(x.fd[0], hole, SEEK_DATA) : -1;
	size_t end = data < 0 ? x.len : (size_t)data;
	for (size_t k = (size_t)hole; k < end; k++)
		SAME(!x.model[k]);
}

static void do_drop(void)
{
	x.did = "drop";
	if (rnd(2))
		SAME(fsync(x.fd[0]) == 0);
	SAME(posix_fadvise(x.fd[0], 0, 0, POSIX_FADV_DONTNEED) == 0);
}

static void (*const steps[])(void) = {
	do_write,     do_write,     do_write,    do_append,   do_direct,    do_direct,
	do_read,      do_read,      do_read,     do_truncate, do_fallocate, do_fallocate,
	do_map_write, do_map_write, do_map_read, do_map_read, do_copy,      do_reopen,
	do_elsewhere, do_below,     do_stat,     do_drop,
};

/* ---- the tests
 * --------------------------------------------------------------------------- */

static void exercise(const char *opts, mode_t mode)
{
	const char *more = getenv("EXERCISE");
	unsigned count = more ? (unsigned)atoi(more) : 3000;

	vm_new(&m);
	vm_up(&m, opts);
	x.seed = vm_seed();
	snprintf(x.path, sizeof(x.path), "%s", vm_at(&m, "f"));
	snprintf(x.below, sizeof(x.below), "%s", vm_store(&m, "f"));
	x.model = calloc(1, MAX + PAGE);
	x.buf = malloc(MAX);
	x.direct = aligned_alloc(PAGE, (MAX / PAGE + 2) * PAGE);
	int fd = open(x.path, O_CREAT | O_RDWR, 0644);
	cr_assert(fd >= 0 && fchmod(fd, mode) == 0);
	close(fd);
	x.did = "open";
	open_all();
	for (x.step = 0; x.step < count; x.step++)
		steps[rnd(sizeof(steps) / sizeof(*steps))]();
	do_map_read();
	do_below();
	close_all();
	vm_remount(&m, opts);
	size_t len;
	char *all = vm_read(x.path, &len);
	cr_assert(all && len == x.len && !memcmp(all, x.model, len));
}

XTEST(passed_through)
{
	exercise("allow_other", 0644);
}
XTEST(by_splice)
{
	exercise(geteuid() ? NULL : "allow_other,passthrough=off", 0644);
}
/* Such files are not passed through. */
XTEST(setgid)
{
	exercise("allow_other", 02755);
}
