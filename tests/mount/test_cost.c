/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mount costs, in requests: what the kernel need not ask the daemon. Counted by
 * the daemon's own metrics. What depends on time (the kernel believes what it was told
 * for a second) is tried until it was quick enough once.
 */
#include "mount/compare.h"

#include <dirent.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>

static struct vmount m;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, NULL);
}

static void down(void)
{
	vm_free(&m);
}

#define COST(name) Test(cost, name, .init = up, .fini = down, .timeout = 60)

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Asked more often than that: a request is counted a moment after it was answered. */
static bool asked_more(const char *op, long than)
{
	for (int k = 0; k < 200; k++, pause_ms(50)) {
		if (vm_asked(&m, op) > than)
			return true;
	}
	return false;
}

/* The number of entries but "." and "..", each looked at. */
static int list(const char *path)
{
	struct dirent *e;
	struct stat st;
	int n = 0;
	DIR *d = opendir(path);

	cr_assert_not_null(d);
	while ((e = readdir(d))) {
		n -= fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		     errno != ENOENT;
		n += e->d_name[0] != '.';
	}
	closedir(d);
	return n;
}

/* Until it is so, 10 seconds long. */
static bool becomes(int want, const char *path)
{
	for (int k = 0; k < 200; k++, pause_ms(50)) {
		if (list(path) == want)
			return true;
	}
	return false;
}

COST(a_directory_is_listed_once)
{
	char dir[VM_PATH];
	bool once = false;

	snprintf(dir, sizeof(dir), "%s", vm_at(&m, "d"));
	cr_assert(mkdir(dir, 0755) == 0);
	for (int k = 0; k < 100; k++)
		vm_puts(vm_at(&m, "d/%d", k), "x");
	for (int k = 0; k < 20 && !once; k++) {
		cr_expect_eq(list(dir), 100);
		long lookups = vm_asked(&m, "lookup");
		long before = vm_asked(&m, "readdirplus") + vm_asked(&m, "readdir");

		cr_expect_eq(list(dir), 100);
		once = vm_asked(&m, "readdirplus") + vm_asked(&m, "readdir") == before &&
		       vm_asked(&m, "lookup") - lookups < 20;
	}
	cr_expect(once, "each time, what was just listed is asked for again");
}

/* A listing that is kept is none the worse. */
COST(a_kept_listing_follows_changes)
{
	char dir[VM_PATH];

	snprintf(dir, sizeof(dir), "%s", vm_at(&m, "d"));
	cr_assert(mkdir(dir, 0755) == 0);
	vm_puts(vm_at(&m, "d/a"), "x");
	for (int k = 0; k < 50; k++) {
		cr_expect_eq(list(dir), 1);
		vm_puts(vm_at(&m, "d/b"), "x");
		cr_expect_eq(list(dir), 2);
		cr_assert(rename(vm_at(&m, "d/b"), vm_at(&m, "c")) == 0);
		cr_expect_eq(list(dir), 1);
		cr_assert(rename(vm_at(&m, "c"), vm_at(&m, "d/b")) == 0);
		cr_expect_eq(list(dir), 2);
		cr_assert(unlink(vm_at(&m, "d/b")) == 0);
	}
	for (int k = 0; k < 3; k++) { /* behind the mount */
		list(dir);
		vm_puts(vm_store(&m, "d/b"), "x");
		cr_expect(becomes(2, dir));
		cr_assert(unlink(vm_store(&m, "d/b")) == 0);
		cr_expect(becomes(1, dir));
	}
}

/* ---- close ------------------------------------------------------------------------ */

static void make(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	cr_assert(fd >= 0);
	cr_expect_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	cr_expect_eq(close(fd), 0);
}

/* Until the daemon has heard of every close, 10 seconds long. */
static bool released(void)
{
	for (int k = 0; k < 200; k++, pause_ms(50)) {
		char *text = vm_read(vm_at(&m, ".vexfs/status"), NULL);
		bool done = text && strstr(text, "\"open_handles\": 1,"); /* this one */

		free(text);
		if (done)
			return true;
	}
	return false;
}

static bool stale(const char *path)
{
	char info[4096];
	ssize_t n = getxattr(path, "user.vexfs._info", info, sizeof(info) - 1);

	cr_assert(n > 0);
	info[n] = 0;
	return strstr(info, "\"stale\": true");
}

COST(close_asks_where_it_matters)
{
	long before = vm_asked(&m, "flush");

	make(vm_at(&m, "new"), "one");
	make(vm_at(&m, "new"), "two");
	cr_expect_eq(vm_asked(&m, "flush"), before, "of a file without attachments");
	make(vm_at(&m, "v.vec"), "1,2,3,4");
	cr_expect(asked_more("flush", before), "of a .vec file");
	cr_expect_gt(getxattr(vm_at(&m, "v.vec"), "user.vexfs.vec4", NULL, 0), 0);
	cr_assert_eq(setxattr(vm_at(&m, "new"), "user.vexfs.t", "1,2", 3, 0), 0);
	cr_assert(released());
	before = vm_asked(&m, "flush");
	make(vm_at(&m, "new"), "three");
	cr_expect(asked_more("flush", before), "of a file with attachments");
}

/* What was attached while the file was open and empty belongs to what was written then,
 * and to nothing else. */
COST(a_close_that_asks_nothing_is_noticed)
{
	int fd = open(vm_at(&m, "f"), O_CREAT | O_EXCL | O_WRONLY, 0644);

	cr_assert(fd >= 0);
	cr_assert_eq(fsetxattr(fd, "user.vexfs.t", "1,2", 3, 0), 0);
	cr_assert_eq(write(fd, "text", 4), 4);
	cr_expect_eq(close(fd), 0);
	cr_expect_eq(stale(vm_at(&m, "f")), 0);
	cr_assert(released());
	cr_expect_eq(stale(vm_at(&m, "f")), 0);
	vm_puts(vm_store(&m, "f"), "other text, behind the mount");
	cr_expect_eq(stale(vm_at(&m, "f")), 1);
}

/* ---- open ------------------------------------------------------------------------- */

/* Reading by pass-through takes no descriptor of the handle's own; all that works with
 * one works all the same, also when the file is gone. */
COST(a_file_open_to_read_can_do_all)
{
	struct stat st;
	char text[8];

	make(vm_at(&m, "f"), "content");
	for (int k = 0; k < 3; k++) {
		int fd = open(vm_at(&m, "f"), O_RDONLY);

		cr_assert(fd >= 0);
		if (k == 1)
			cr_assert_eq(unlink(vm_at(&m, "f")), 0);
		if (k == 2)
			cr_assert_eq(unlink(vm_store(&m, "f")), 0);
		cr_expect_eq(pread(fd, text, 7, 0), 7);
		cr_expect_eq(lseek(fd, 0, SEEK_HOLE), 7);
		cr_expect_eq(lseek(fd, 0, SEEK_SET), 0);
		cr_expect_eq(fsync(fd), 0);
		cr_expect(fstat(fd, &st) == 0 && st.st_size == 7);
		cr_expect_eq(fchmod(fd, 0600), 0);
		cr_expect_eq(futimens(fd, NULL), 0);
		int to = open(vm_at(&m, "to"), O_CREAT | O_TRUNC | O_WRONLY, 0644);
		cr_expect_eq(copy_file_range(fd, NULL, to, NULL, 7, 0), 7);
		close(to);
		close(fd);
		if (k)
			make(vm_at(&m, "f"), "content");
	}
}

/* Ids of pass-through that are kept do not keep what they were made of: a program can
 * be executed after it was written, and removed files give their space back. */
COST(what_is_kept_hinders_nobody)
{
	struct statvfs was, is;

	if (geteuid())
		cr_skip_test("needs root");
	cr_expect_eq(
	    vm_sh(&m, 20,
		  "for k in 1 2 3; do cp /bin/true $M/prog && "
		  "cat $M/prog >/dev/null && $M/prog && $S/prog || exit 1; done"),
	    0);
	cr_assert_eq(statvfs(m.store, &was), 0);
	cr_expect_eq(
	    vm_sh(&m, 20,
		  "head -c 64M /dev/zero >$M/big; cat $M/big >/dev/null; rm $M/big"),
	    0);
	for (int k = 0; k < 200; k++, pause_ms(50)) {
		cr_assert_eq(statvfs(m.store, &is), 0);
		if (is.f_bfree + 8192 > was.f_bfree)
			return;
	}
	cr_expect(0, "64 MB are still used");
}
