/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename(2) and renameat2(2): results as below, and afterwards everything is found
 * under its new name, open files and current directories included.
 */
#include "mount/compare.h"

#include <linux/fs.h>

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

#define RTEST(name) Test(rename, name, .init = up, .fini = down, .timeout = 60)

static void put(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	if (write(fd, text, strlen(text)) < 0 || close(fd))
		abort();
}

static void show(struct notes *n, const char *path)
{
	char buf[64] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0) {
		NOTE(n, "%s: %s", path, strerrorname_np(errno));
		return;
	}
	NOTE(n, "%s: %zd %s", path, read(fd, buf, sizeof(buf) - 1), buf);
	close(fd);
}

static long at2(const char *from, const char *to, unsigned flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void renames(struct notes *n)
{
	put("a", "a");
	put("b", "b");
	mkdir("d", 0755);
	mkdir("d/e", 0755);
	put("d/e/f", "f");
	mkdir("full", 0755);
	put("full/x", "x");
	mkdir("empty", 0755);
	CALL(n, rename("a", "a"));
	CALL(n, rename("nope", "a"));
	CALL(n, rename("a", "nodir/x"));
	CALL(n, rename("a", "d"));
	CALL(n, rename("d", "a"));
	CALL(n, rename("d", "full"));
	CALL(n, rename("d", "d/e/g"));
	CALL(n, rename("d/e", "empty"));
	show(n, "empty/f");
	show(n, "d/e/f");
	CALL(n, rename("a", "b"));
	show(n, "a");
	show(n, "b");
	CALL(n, at2("b", "full/x", RENAME_NOREPLACE));
	CALL(n, at2("b", "c", RENAME_NOREPLACE));
	CALL(n, at2("c", "empty/f", RENAME_EXCHANGE));
	show(n, "c");
	show(n, "empty/f");
	CALL(n, at2("c", "full", RENAME_EXCHANGE));
	show(n, "full");
	show(n, "c/x");
	CALL(n, at2("c", "missing", RENAME_EXCHANGE));
	CALL(n, at2("c", "full", RENAME_EXCHANGE | RENAME_NOREPLACE));
	CALL(n, at2("c", "full", 1u << 7));
	CALL(n, link("full", "same"));
	CALL(n, rename("full", "same"));
	show(n, "full");
	show(n, "same");
	note_stat(n, "same");
	CALL(n, at2("full", "same", RENAME_EXCHANGE));
	note_stat(n, "full");
	CALL(n, rename("c", "empty/moved"));
	show(n, "empty/moved/x");
	CALL(n, rename("empty/moved/x", "x"));
	show(n, "x");
}
RTEST(results_and_errors)
{
	compare(&m, renames);
}

RTEST(whiteout_is_refused)
{
	vm_puts(vm_at(&m, "a"), "a");
	errno = 0;
	cr_assert(renameat2(AT_FDCWD, vm_at(&m, "a"), AT_FDCWD, vm_at(&m, "b"),
			    RENAME_WHITEOUT) != 0);
	cr_assert_eq(errno, EINVAL);
	cr_assert(access(vm_at(&m, "a"), F_OK) == 0);
}

static void in_use(struct notes *n)
{
	char buf[16] = "";

	mkdir("top", 0755);
	mkdir("top/mid", 0755);
	put("top/mid/f", "before");
	int fd = open("top/mid/f", O_RDWR);
	int dir = open("top/mid", O_RDONLY | O_DIRECTORY);
	CALL(n, chdir("top/mid"));
	CALL(n, rename("../../top", "../../new"));
	NOTE(n, "%zd %s", pread(fd, buf, 10, 0), buf);
	show(n, "f");
	put("g", "made after");
	show(n, "../../new/mid/g");
	CALL(n, openat(dir, "g", O_RDONLY));
	CALL(n, rename("f", "../f2"));
	NOTE(n, "%zd", pwrite(fd, "AFTER!", 6, 0));
	show(n, "../f2");
	/* Replacing an open file leaves the old one to those who have it. */
	put("r1", "old");
	put("r2", "new");
	int old = open("r1", O_RDWR);
	CALL(n, rename("r2", "r1"));
	memset(buf, 0, sizeof(buf));
	NOTE(n, "%zd %s", pread(old, buf, 10, 0), buf);
	NOTE(n, "%zd", pwrite(old, "OLD", 3, 0));
	CALL(n, fchmod(old, 0600));
	struct stat st;
	CALL(n, fstat(old, &st));
	NOTE(n, "%u %o", (unsigned)st.st_nlink, st.st_mode);
	show(n, "r1");
}
RTEST(while_in_use)
{
	compare(&m, in_use);
}

/* Between the backing filesystem's rename and our record of it, the file replaced can be
 * opened by who holds it, as ever. */
RTEST(replaced_file_opens_meanwhile)
{
	char again[64];

	vm_down(&m);
	cr_assert(vm_start_under(&m,
				 "env ASAN_OPTIONS=detect_leaks=0 strace -f -o /dev/null "
				 "-e trace=renameat,renameat2 "
				 "-e inject=renameat,renameat2:delay_exit=400000 --",
				 NULL) == 0,
		  "%s", vm_log(&m));
	vm_puts(vm_at(&m, "f"), "old");
	vm_puts(vm_at(&m, "g"), "new");
	int held = open(vm_at(&m, "f"), O_PATH);
	cr_assert(held >= 0);
	snprintf(again, sizeof(again), "/proc/self/fd/%d", held);
	pid_t pid = fork();
	if (!pid)
		_exit(rename(vm_at(&m, "g"), vm_at(&m, "f")) != 0);
	int status = -1, opened = 0;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		int fd = open(again, O_RDONLY);

		cr_assert(fd >= 0, "after %d: %s", opened, strerrorname_np(errno));
		close(fd);
		opened++;
		usleep(20000); /* its RELEASE is through */
	}
	cr_assert_eq(status, 0);
	cr_assert(opened > 0);
	close(held);
}

/* As editors and git do it, while others read: always one of the two, whole. */
RTEST(replacing_is_atomic_for_readers)
{
	char path[600], tmp[600], text[20001];

	snprintf(path, sizeof(path), "%s", vm_at(&m, "f"));
	snprintf(tmp, sizeof(tmp), "%s", vm_at(&m, "f.tmp"));
	memset(text, '0', 20000);
	text[20000] = 0;
	vm_puts(path, text);
	pid_t pid = fork();
	if (!pid) {
		for (int k = 1; k <= 300; k++) {
			memset(text, '0' + k % 10, 20000);
			vm_puts(tmp, text);
			if (rename(tmp, path))
				_exit(1);
		}
		_exit(0);
	}
	int status = 0, reads = 0;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		size_t len;
		char *got = vm_read(path, &len);

		cr_assert(got, "%s", strerrorname_np(errno));
		cr_assert_eq(len, 20000u, "%zu", len);
		for (size_t k = 1; k < len; k++)
			cr_assert(got[k] == got[0], "torn at %zu", k);
		free(got);
		reads++;
	}
	cr_assert_eq(status, 0);
	cr_assert(reads > 5);
}

/* Moved behind the mount: inodes follow by handle, names are found afresh. */
RTEST(moved_behind_the_mount)
{
	cr_assert(mkdir(vm_at(&m, "d"), 0755) == 0);
	vm_puts(vm_at(&m, "d/f"), "text");
	int fd = open(vm_at(&m, "d/f"), O_RDWR);
	int dir = open(vm_at(&m, "d"), O_RDONLY | O_DIRECTORY);
	cr_assert(rename(vm_store(&m, "d"), vm_store(&m, "moved")) == 0);
	cr_assert_eq(write(fd, "TEXT", 4), 4);
	cr_assert(faccessat(dir, "f", R_OK, 0) == 0);
	cr_assert_str_eq(vm_read(vm_at(&m, "moved/f"), NULL), "TEXT");
	sleep(2);
	cr_assert(access(vm_at(&m, "d"), F_OK) && errno == ENOENT);
	close(dir);
	cr_assert(close(fd) == 0);
}
