/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many files with few descriptors: the kernel remembers them all, the daemon may open
 * 1,024 things. 20,000 files here; VEXFS_BIG=200000 for the size the issue names. Then
 * the same without file handles (no CAP_DAC_READ_SEARCH), where inodes are found again
 * by name.
 */
#include "mount/compare.h"

#include <sys/resource.h>
#include <sys/xattr.h>

static struct vmount m;

static void up(void)
{
	vm_new(&m);
}

static void down(void)
{
	vm_free(&m);
}

#define BTEST(name) Test(big, name, .init = up, .fini = down, .timeout = 900)

static int count_of_files(int fallback)
{
	const char *s = getenv("VEXFS_BIG");

	return s ? atoi(s) : fallback;
}

static void below(char *path, size_t size, const char *top, int k)
{
	snprintf(path, size, "%s/d%03d/e%d/file-%06d", top, k % 100, k % 7, k);
}

static void make_tree(int n)
{
	char path[700];

	for (int d = 0; d < 100; d++) {
		snprintf(path, sizeof(path), "%s/d%03d", m.store, d);
		cr_assert(mkdir(path, 0755) == 0);
		for (int e = 0; e < 7; e++) {
			snprintf(path, sizeof(path), "%s/d%03d/e%d", m.store, d, e);
			cr_assert(mkdir(path, 0755) == 0);
		}
	}
	for (int k = 0; k < n; k++) {
		below(path, sizeof(path), m.store, k);
		int fd = open(path, O_CREAT | O_WRONLY, 0644);
		cr_assert(fd >= 0 && write(fd, path + strlen(m.store), 20) == 20);
		close(fd);
	}
}

/* Has the kernel look at every file, then uses them in random order. */
static void use_tree(int n, uint64_t *seed)
{
	char path[700], buf[32];
	struct stat st;

	for (int k = 0; k < n; k++) {
		below(path, sizeof(path), m.mnt, k);
		cr_assert(stat(path, &st) == 0 && st.st_size == 20, "%s", path);
	}
	for (int k = 0; k < n; k++) {
		int which = (int)(vm_rand(seed) % (uint64_t)n);

		below(path, sizeof(path), m.mnt, which);
		int fd = open(path, O_RDWR);
		cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
		cr_assert_eq(pread(fd, buf, 20, 0), 20);
		cr_assert(!memcmp(buf, path + strlen(m.mnt), 20), "%s", path);
		if (k % 16 == 0)
			cr_assert_eq(pwrite(fd, buf, 20, 0), 20);
		cr_assert(close(fd) == 0);
	}
}

static void count_tree(int n)
{
	char *out;

	cr_assert_eq(vm_sh_out(&m, 300, &out, "find $M -type f | wc -l"), 0);
	cr_assert_eq(atoi(out), n);
}

static int descriptors(void)
{
	char *out;

	cr_assert_eq(vm_sh_out(&m, 10, &out, "ls /proc/%d/fd | wc -l", m.daemon), 0);
	return atoi(out);
}

BTEST(many_files_few_descriptors)
{
	uint64_t seed = vm_seed();
	int n = count_of_files(20000);

	make_tree(n);
	cr_assert_eq(vm_start_under(&m, "prlimit --nofile=1024:1024", NULL), 0);
	use_tree(n, &seed);
	count_tree(n);
	cr_assert(descriptors() < 700, "%d", descriptors());
	/* 300 open at once, still. */
	int fds[300];
	char path[700];
	for (int k = 0; k < 300; k++) {
		below(path, sizeof(path), m.mnt, k);
		fds[k] = open(path, O_RDONLY);
		cr_assert(fds[k] >= 0, "%d: %s", k, strerror(errno));
	}
	use_tree(n < 2000 ? n : 2000, &seed);
	for (int k = 0; k < 300; k++)
		close(fds[k]);
	cr_assert_eq(vm_sh(&m, 300, "rm -rf $M/d00*"), 0);
	vm_down(&m);
}

/* Found again by name: handles cannot be opened without the capability. */
BTEST(found_by_name_without_handles)
{
	uint64_t seed = vm_seed();
	int n = count_of_files(20000) / 10;
	char path[700], moved[700];

	if (geteuid())
		cr_skip_test("needs root");
	make_tree(n);
	cr_assert_eq(vm_start_under(&m,
				    "prlimit --nofile=400:400 setpriv "
				    "--bounding-set=-dac_read_search",
				    NULL),
		     0);
	cr_assert_eq(vm_sh(&m, 10, "grep -q 'file_handles.*false' $M/.vexfs/status"), 0);
	use_tree(n, &seed);
	count_tree(n);
	/* Moved, and a directory above it moved, while remembered but not open. */
	for (int k = 0; k < 20; k++) {
		below(path, sizeof(path), m.mnt, k);
		int held = open(path, O_PATH);

		cr_assert(held >= 0);
		snprintf(moved, sizeof(moved), "%s/moved-%d", m.mnt, k);
		cr_assert(rename(path, moved) == 0);
		*strrchr(path, '/') = 0;
		char *other = strdup(path);
		other[strlen(other) - 1] = 'x';
		cr_assert(rename(path, other) == 0);
		cr_assert_eq(vm_sh(&m, 60, "find $M > /dev/null"), 0);
		struct stat a, b;
		cr_assert(fstat(held, &a) == 0, "%s", strerror(errno));
		cr_assert(stat(moved, &b) == 0);
		cr_assert_eq(a.st_ino, b.st_ino);
		cr_assert(rename(other, path) == 0);
		close(held);
		free(other);
	}
	/* Removed while open: kept by a pinned descriptor. */
	below(path, sizeof(path), m.mnt, 50);
	int fd = open(path, O_RDWR);
	cr_assert(unlink(path) == 0);
	cr_assert_eq(vm_sh(&m, 60, "find $M > /dev/null"), 0);
	struct stat st;
	cr_assert(fstat(fd, &st) == 0 && st.st_nlink == 0);
	cr_assert(fchmod(fd, 0600) == 0);
	close(fd);
	/* One of two names removed: the other finds it. */
	below(path, sizeof(path), m.mnt, 51);
	snprintf(moved, sizeof(moved), "%s/second", m.mnt);
	cr_assert(link(path, moved) == 0);
	fd = open(path, O_PATH);
	cr_assert(unlink(moved) == 0);
	cr_assert_eq(vm_sh(&m, 60, "find $M > /dev/null"), 0);
	cr_assert(fstat(fd, &st) == 0 && st.st_nlink == 1);
	close(fd);
	vm_down(&m);
}

/* Far deeper than what can be named in one call. */
BTEST(deep_trees)
{
	char name[] = "a-directory-with-a-rather-long-name-as-such-trees-have";
	struct stat st;

	vm_up(&m, NULL);
	int dir = open(m.mnt, O_RDONLY | O_DIRECTORY);
	for (int k = 0; k < 400; k++) {
		cr_assert(mkdirat(dir, name, 0755) == 0, "%d: %s", k, strerror(errno));
		int next = openat(dir, name, O_RDONLY | O_DIRECTORY);
		close(dir);
		dir = next;
	}
	int fd = openat(dir, "f", O_CREAT | O_RDWR, 0644);
	cr_assert(fd >= 0 && write(fd, "x", 1) == 1);
	cr_assert(fstatat(dir, "f", &st, 0) == 0 && st.st_size == 1);
	close(fd);
	close(dir);
	cr_assert_eq(vm_sh(&m, 60, "rm -rf $M/a-*; test -z \"$(ls $M)\""), 0);
	vm_down(&m);
}

#define OPEN_FILES 899

/* Raises our own limit, which must be beyond the daemon's. */
static void may_open(rlim_t n)
{
	struct rlimit r;

	cr_assert(getrlimit(RLIMIT_NOFILE, &r) == 0);
	if (r.rlim_max < n)
		cr_skip_test("descriptors are limited");
	r.rlim_cur = r.rlim_max;
	cr_assert(setrlimit(RLIMIT_NOFILE, &r) == 0);
}

/* The caches hold what is left of 1,024 descriptors beside those of open files:
 * whoever needs one takes it from a cache. */
BTEST(descriptors_run_out)
{
	int fd[OPEN_FILES];

	may_open(2000);
	cr_assert_eq(vm_sh(&m, 60,
			   "mkdir $S/d{000..299} $S/open; touch $S/open/{0..999}; "
			   "for d in $S/d*; do : > $d/a; : > $d/b; done"),
		     0);
	cr_assert_eq(vm_start_under(&m, "prlimit --nofile=1024:1024", NULL), 0);
	for (int k = 0; k < OPEN_FILES; k++) {
		fd[k] = open(vm_at(&m, "open/%d", k), O_RDONLY | O_CLOEXEC);
		cr_assert(fd[k] >= 0, "%d: %s", k, strerror(errno));
	}
	for (int k = 0; k < 600; k++) {
		const char *path = vm_at(&m, "d%03d/%c", k % 300, k < 300 ? 'a' : 'b');

		cr_assert(setxattr(path, "user.vexfs.s", "1,2", 3, 0) == 0, "%d: %s", k,
			  strerror(errno));
		if (k % 100 == 0)
			cr_assert_eq(vm_sh(&m, 60, "ls -lR $M > /dev/null"), 0);
	}
	cr_assert_eq(vm_sh(&m, 60,
			   "cd $M; test $($B/vexctl search -k 1000 --vector 1,2 "
			   "| wc -l) = 600"),
		     0);
	for (int k = 0; k < OPEN_FILES; k++)
		close(fd[k]);
	vm_down(&m);
}
