/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the three times each call moves, on the object and on its directory, and
 * that a call that fails moves none: as on the filesystem below. A difference is noted
 * as letters: a, m, c.
 */
#include "mount/compare.h"

#include <sys/mman.h>
#include <sys/xattr.h>

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

#define TIMES(name) Test(times, name, .init = up, .fini = down, .timeout = 120)

/* ---- what moved ----------------------------------------------------------------- */

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Filesystems may stamp by the tick: a change after this has another time. */
static void let_time_pass(void)
{
	usleep(12000);
}

static void moved(struct notes *n, const char *what, const char *path,
		  const struct stat *was)
{
	struct stat now;

	if (lstat(path, &now)) {
		NOTE(n, "%s: %s: %s", what, path, strerrorname_np(errno));
		return;
	}
	NOTE(n, "%s: %s: %s%s%s", what, path,
	     same_time(now.st_atim, was->st_atim) ? "" : "a",
	     same_time(now.st_mtim, was->st_mtim) ? "" : "m",
	     same_time(now.st_ctim, was->st_ctim) ? "" : "c");
}

/* Does `call`, notes its result and what moved on three paths. */
#define MOVES(n, x, y, z, call)                                                          \
	do {                                                                             \
		struct stat sx_ = { 0 }, sy_ = { 0 }, sz_ = { 0 };                       \
                                                                                         \
		lstat(x, &sx_);                                                          \
		lstat(y, &sy_);                                                          \
		lstat(z, &sz_);                                                          \
		let_time_pass();                                                         \
		CALL(n, call);                                                           \
		moved(n, #call, x, &sx_);                                                \
		moved(n, #call, y, &sy_);                                                \
		moved(n, #call, z, &sz_);                                                \
	} while (0)

/* ---- names ---------------------------------------------------------------------- */

static void of_names(struct notes *n)
{
	int fd;

	sure(mkdir("a", 0755));
	sure(mkdir("b", 0755));
	MOVES(n, "a", "b", "a/f", fd = open("a/f", O_CREAT | O_EXCL | O_RDWR, 0644));
	close(fd);
	MOVES(n, "a", "b", "a/f", open("a/f", O_CREAT | O_EXCL | O_RDWR, 0644));
	MOVES(n, "a", "b", "a/f", close(open("a/f", O_CREAT | O_RDWR, 0644)));
	MOVES(n, "a", "b", "a/d", mkdir("a/d", 0755));
	MOVES(n, "a", "b", "a/d", mkdir("a/d", 0755));
	MOVES(n, "a", "b", "a/p", mkfifo("a/p", 0644));
	MOVES(n, "a", "b", "a/p", mkfifo("a/p", 0644));
	MOVES(n, "a", "b", "a/s", symlink("f", "a/s"));
	MOVES(n, "a", "b", "a/s", symlink("f", "a/s"));
	MOVES(n, "a", "b", "a/f", link("a/f", "b/l"));
	MOVES(n, "a", "b", "b/l", link("a/f", "b/l"));
	MOVES(n, "a", "b", "a/f", unlink("b/l"));
	MOVES(n, "a", "b", "a/f", unlink("b/l"));
	MOVES(n, "a", "b", "a/d", rmdir("a"));
	MOVES(n, "a", "b", "a/d", rmdir("a/d"));
	MOVES(n, "a", "b", "b/g", rename("a/f", "b/g"));
	MOVES(n, "a", "b", "b/g", rename("b/g", "b/h"));
	MOVES(n, "a", "b", "b/h", rename("b/none", "b/h"));
	sure(mkdir("a/e", 0755));
	MOVES(n, "a", "b", "b/e", rename("a/e", "b/e"));
	MOVES(n, "a", "b/e", "b/h", rename("b/h", "b/e"));
	sure(link("b/h", "b/second"));
	MOVES(n, "b", "b/second", "b/h", rename("b/h", "b/second"));
	close(open("b/third", O_CREAT | O_RDWR, 0644));
	MOVES(n, "b", "b/second", "b/third", rename("b/third", "b/h"));
	MOVES(n, "b", "b/second", "b/h",
	      renameat2(AT_FDCWD, "b/h", AT_FDCWD, "b/second", 2));
	MOVES(n, "b", "b/second", "b/h",
	      renameat2(AT_FDCWD, "b/h", AT_FDCWD, "b/second", 1));
	MOVES(n, "a", "b", "b/e", renameat2(AT_FDCWD, "a/p", AT_FDCWD, "b/e", 2));
	MOVES(n, "a", "b", "b", unlink("a/s"));
}
TIMES(moved_by_names)
{
	compare(&m, of_names);
}

/* ---- attributes ----------------------------------------------------------------- */

static void of_attributes(struct notes *n)
{
	struct timespec past[2] = { { 100, 1 }, { 200, 2 } };
	struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	struct timespec only_a[2] = { { 300, 0 }, { 0, UTIME_OMIT } };
	struct timespec only_m[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };
	struct timespec bad[2] = { { 0, 1000000000 }, { 0, 0 } };

	int fd = open("f", O_CREAT | O_RDWR, 0644);
	sure(mkdir("d", 0755));
	sure(symlink("f", "s"));
	MOVES(n, ".", "f", "d", chmod("f", 0600));
	MOVES(n, ".", "f", "d", chmod("f", 0600));
	MOVES(n, ".", "f", "d", fchmod(fd, 0640));
	MOVES(n, ".", "f", "d", chmod("d", 0700));
	MOVES(n, ".", "f", "d", chown("f", 0, 0));
	MOVES(n, ".", "f", "d", chown("f", -1, -1));
	MOVES(n, ".", "s", "f", lchown("s", 5, 5));
	MOVES(n, ".", "f", "d", utimensat(AT_FDCWD, "f", past, 0));
	MOVES(n, ".", "f", "d", utimensat(AT_FDCWD, "f", omit, 0));
	MOVES(n, ".", "f", "d", utimensat(AT_FDCWD, "f", now, 0));
	MOVES(n, ".", "f", "d", utimensat(AT_FDCWD, "f", only_a, 0));
	MOVES(n, ".", "f", "d", utimensat(AT_FDCWD, "f", only_m, 0));
	MOVES(n, ".", "f", "d", utimensat(AT_FDCWD, "f", bad, 0));
	MOVES(n, ".", "f", "d", futimens(fd, past));
	MOVES(n, ".", "f", "s", utimensat(AT_FDCWD, "s", past, AT_SYMLINK_NOFOLLOW));
	MOVES(n, ".", "f", "d", setxattr("f", "user.a", "1", 1, 0));
	MOVES(n, ".", "f", "d", setxattr("f", "user.a", "2", 1, XATTR_CREATE));
	MOVES(n, ".", "f", "d", setxattr("f", "user.a", "1", 1, 0));
	MOVES(n, ".", "f", "d", fremovexattr(fd, "user.a"));
	MOVES(n, ".", "f", "d", fremovexattr(fd, "user.a"));
	MOVES(n, ".", "f", "d", getxattr("f", "user.a", NULL, 0));
	close(fd);
}
TIMES(moved_by_attributes)
{
	compare(&m, of_attributes);
}

/* ---- contents ------------------------------------------------------------------- */

static void of_contents(struct notes *n)
{
	char buf[8192] = "";
	int fd = open("f", O_CREAT | O_RDWR, 0644), two;

	MOVES(n, ".", "f", "f", write(fd, "hello", 5));
	MOVES(n, ".", "f", "f", write(fd, "", 0));
	MOVES(n, ".", "f", "f", pwrite(fd, buf, sizeof(buf), 0));
	MOVES(n, ".", "f", "f", ftruncate(fd, 100));
	MOVES(n, ".", "f", "f", ftruncate(fd, 100));
	MOVES(n, ".", "f", "f", truncate("f", 100));
	MOVES(n, ".", "f", "f", truncate("f", 5000));
	MOVES(n, ".", "f", "f", ftruncate(fd, -1));
	MOVES(n, ".", "f", "f", truncate("f", -1));
	MOVES(n, ".", "f", "f", truncate("none", 1));
	MOVES(n, ".", "f", "f", fallocate(fd, 0, 0, 10000));
	MOVES(n, ".", "f", "f", fallocate(fd, 1, 0, 1 << 20));
	MOVES(n, ".", "f", "f", fallocate(fd, 3, 0, 4096));
	MOVES(n, ".", "f", "f", fallocate(fd, 3, 1 << 30, 4096));
	MOVES(n, ".", "f", "f", fallocate(fd, 16, 0, 4096));
	MOVES(n, ".", "f", "f", fallocate(fd, 0, 0, 0));
	MOVES(n, ".", "f", "f", posix_fallocate(fd, 20000, 4096));
	MOVES(n, ".", "f", "f", close(open("f", O_WRONLY | O_TRUNC)));
	MOVES(n, ".", "f", "f", close(open("f", O_WRONLY | O_TRUNC)));
	MOVES(n, ".", "f", "f", close(open("f", O_WRONLY)));
	if (pwrite(fd, buf, 4096, 0) != 4096)
		NOTE(n, "short");
	two = open("g", O_CREAT | O_RDWR, 0644);
	/* The time of access of the source is seen when its attributes are asked anew. */
	MOVES(n, "g", ".", ".", copy_file_range(fd, &(loff_t){ 0 }, two, NULL, 4096, 0));
	MOVES(n, ".", "f", "f", fsync(fd));
	MOVES(n, "g", ".", "f", close(two));
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct stat was;
	fstat(fd, &was);
	let_time_pass();
	map[7] = 'x';
	msync(map, 4096, MS_SYNC);
	munmap(map, 4096);
	close(fd);
	moved(n, "map", "f", &was);
}
TIMES(moved_by_contents)
{
	compare(&m, of_contents);
}

/* ---- reading (relatime: moved by the first read after a change) -------------------- */

static void read_it(const char *path)
{
	char buf[64];
	int fd = open(path, O_RDONLY);

	if (read(fd, buf, sizeof(buf)) < 0)
		abort();
	close(fd);
}

static void quiet_read(const char *path)
{
	char buf[64];
	int fd = open(path, O_RDONLY | O_NOATIME);

	if (fd < 0 || read(fd, buf, sizeof(buf)) < 0)
		abort();
	close(fd);
}

static void list_it(const char *path)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "ls -U %s > /dev/null", path);
	if (system(cmd))
		abort();
}

#define READS(n, path, how)                                                              \
	do {                                                                             \
		struct stat was_;                                                        \
		lstat(path, &was_);                                                      \
		let_time_pass();                                                         \
		how;                                                                     \
		moved(n, #how, path, &was_);                                             \
	} while (0)

static void of_reads(struct notes *n)
{
	char buf[64];
	int fd = open("f", O_CREAT | O_RDWR, 0644);

	if (write(fd, "hello", 5) != 5)
		NOTE(n, "short");
	close(fd);
	sure(mkdir("d", 0755));
	close(open("d/x", O_CREAT | O_RDWR, 0644));
	sure(symlink("f", "s"));
	close(open("q", O_CREAT | O_RDWR, 0644));
	READS(n, "q", quiet_read("q"));
	READS(n, "f", read_it("f"));
	READS(n, "f", read_it("f"));
	READS(n, "d", list_it("d"));
	READS(n, "d", list_it("d"));
	READS(n, "s", (void)!readlink("s", buf, sizeof(buf)));
	sure(truncate("f", 3));
	READS(n, "f", read_it("f"));
	READS(n, "f", (void)!access("f", R_OK));
}
TIMES(moved_by_reading)
{
	compare(&m, of_reads);
}

/* ---- values --------------------------------------------------------------------- */

static void of_values(struct notes *n)
{
	static const time_t secs[] = { 0,           1,          -1,         -2147483648ll,
				       2147483647,  2147483648, 4294967296, 15032385535,
				       15032385536, 99999999999 };
	struct stat st;

	close(open("f", O_CREAT | O_RDWR, 0644));
	for (size_t k = 0; k < sizeof(secs) / sizeof(*secs); k++) {
		struct timespec t[2] = { { secs[k], 999999999 }, { secs[k], 1 } };

		CALL(n, utimensat(AT_FDCWD, "f", t, 0));
		stat("f", &st);
		NOTE(n, "%lld: %lld.%09ld %lld.%09ld", (long long)secs[k],
		     (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
		     (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	}
}
TIMES(of_all_ages)
{
	compare(&m, of_values);
}

/* Who may set them: the owner anything, a writer only "now". */
static void by_whom(struct notes *n)
{
	struct timespec past[2] = { { 100, 1 }, { 200, 2 } };
	struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	struct timespec half[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
	struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	static const char *const names[] = { "own", "writable", "readable" };

	close(open("own", O_CREAT | O_RDWR, 0400));
	for (int k = 0; k < 3; k++) {
		NOTE(n, "%s", names[k]);
		CALL(n, utimensat(AT_FDCWD, names[k], past, 0));
		CALL(n, utimensat(AT_FDCWD, names[k], now, 0));
		CALL(n, utimensat(AT_FDCWD, names[k], NULL, 0));
		CALL(n, utimensat(AT_FDCWD, names[k], half, 0));
		CALL(n, utimensat(AT_FDCWD, names[k], omit, 0));
	}
}
TIMES(by_whom)
{
	if (geteuid())
		cr_skip_test("needs root");
	for (int k = 0; k < 2; k++) {
		const char *d = k ? m.mnt : m.plain;

		cr_assert_eq(
		    vm_sh(&m, 10,
			  "cd %s && mkdir as-user && chmod 777 as-user && cd as-user && "
			  "touch writable readable && chmod 666 writable",
			  d),
		    0);
	}
	char *want = run_script(vm_plain(&m, "as-user"), 12345, 54321, 777, by_whom);
	char *got = run_script(vm_at(&m, "as-user"), 12345, 54321, 777, by_whom);
	cr_assert_str_eq(got, want);
}
