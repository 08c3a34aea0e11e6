/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File data that the kernel moves past the daemon, and the same by splice: contents and
 * attributes are those of the backing file, setuid goes as below, and what was written
 * is still noticed where attachments depend on it. Each test runs both ways.
 */
#include "mount/compare.h"

#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>

static struct vmount m;

static void down(void)
{
	vm_free(&m);
}

/* Up with pass-through or without: skips where this system has none. */
static void up(bool through)
{
	vm_new(&m);
	vm_up(&m, through
		      ? geteuid() ? "passthrough=auto" : "allow_other,passthrough=auto"
		  : geteuid() ? "passthrough=off"
			      : "allow_other,passthrough=off");
}

static bool passes(void)
{
	return !vm_sh(&m, 10, "grep -q '\"passthrough\": true' $M/.vexfs/status");
}

#define BOTH(name)                                                                       \
	static void name(void);                                                          \
	Test(through, name##_by_kernel, .fini = down, .timeout = 120)                    \
	{                                                                                \
		up(true);                                                                \
		if (!passes())                                                           \
			cr_skip_test("no pass-through here");                            \
		name();                                                                  \
	}                                                                                \
	Test(through, name##_by_splice, .fini = down, .timeout = 120)                    \
	{                                                                                \
		up(false);                                                               \
		cr_assert(!passes());                                                    \
		name();                                                                  \
	}                                                                                \
	static void name(void)

static void pause_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* ---- what others see ------------------------------------------------------------ */

static void sharing(struct notes *n)
{
	char buf[16] = "";
	int fd = (int)CALL(n, open("f", O_CREAT | O_RDWR, 0644));
	int more = (int)CALL(n, open("f", O_WRONLY | O_APPEND));

	CALL(n, ftruncate(fd, 8192));
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sure(map == MAP_FAILED ? -1 : 0);
	if (!fork()) { /* another process, another mapping, another descriptor */
		int own = open("f", O_RDWR);
		char *seen = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);

		close(own);
		while (*(volatile char *)seen != 'a')
			;
		seen[1] = 'b';
		sure(pread(fd, buf, 2, 0));
		_exit(buf[0] == 'a' && buf[1] == 'b' ? 0 : 1);
	}
	map[0] = 'a';
	int status;
	wait(&status);
	NOTE(n, "%x %c", status, map[1]);
	CALL(n, pwrite(fd, "written", 7, 4096));
	NOTE(n, "%.7s", map + 4096);
	CALL(n, write(more, "tail", 4));
	NOTE(n, "%lld", (long long)lseek(fd, 0, SEEK_END));
	CALL(n, pread(fd, buf, 4, 8192));
	NOTE(n, "%.4s", buf);
	CALL(n, ftruncate(fd, 4098));
	NOTE(n, "%.4s", map + 4096);
	note_stat(n, "f");
	CALL(n, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	NOTE(n, "%d", map[0]);
	NOTE(n, "%lld", (long long)lseek(fd, 0, SEEK_DATA));
	munmap(map, 8192);
	close(fd);
	close(more);
}
BOTH(mappings_writes_and_cuts_agree)
{
	compare(&m, sharing);
}

static void two_appenders(struct notes *n)
{
	for (int k = 0; k < 2; k++) {
		if (fork())
			continue;
		int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
		char line[16];

		for (int i = 0; i < 1000; i++) {
			snprintf(line, sizeof(line), "%d %05d\n", k, i);
			if (write(fd, line, 8) != 8 || lseek(fd, 0, SEEK_CUR) % 8)
				_exit(1);
		}
		_exit(0);
	}
	for (int k = 0, status; k < 2; k++) {
		wait(&status);
		NOTE(n, "%d", status);
	}
	note_stat(n, "log");
	shell("sort log | md5sum > sum");
	FILE *f = fopen("sum", "r");
	char sum[64] = "";
	NOTE(n, "%s", fgets(sum, sizeof(sum), f));
	fclose(f);
}
BOTH(appends_do_not_overlap)
{
	compare(&m, two_appenders);
}

static void copies(struct notes *n)
{
	static char data[1 << 20], back[1 << 20];
	int a = open("a", O_CREAT | O_RDWR, 0644), b = open("b", O_CREAT | O_RDWR, 0644);
	int p[2];
	loff_t zero = 0, at = 0;

	for (size_t k = 0; k < sizeof(data); k++)
		data[k] = (char)(k * 7 + k / 4096);
	sure(pwrite(a, data, sizeof(data), 0));
	NOTE(n, "%zd", copy_file_range(a, &zero, b, &at, 300000, 0));
	NOTE(n, "%zd", pread(b, back, sizeof(back), 0));
	NOTE(n, "%d", memcmp(back, data, 300000));
	sure(pipe(p));
	zero = 4096;
	NOTE(n, "%zd", splice(a, &zero, p[1], NULL, 65536, 0));
	at = 8192;
	NOTE(n, "%zd", splice(p[0], NULL, b, &at, 65536, 0));
	NOTE(n, "%zd", pread(b, back, 65536, 8192));
	NOTE(n, "%d", memcmp(back, data + 4096, 65536));
	int d = open("a", O_RDWR | O_DIRECT);
	char *page = aligned_alloc(4096, 8192);
	CALL(n, pread(d, page, 8192, 4096));
	NOTE(n, "%d", memcmp(page, data + 4096, 8192));
	memset(page, 'D', 8192);
	CALL(n, pwrite(d, page, 4096, 0));
	CALL(n, pread(a, back, 4096, 0));
	NOTE(n, "%d", memcmp(back, page, 4096));
	note_stat(n, "a");
	note_stat(n, "b");
	free(page);
	close(a);
	close(b);
	close(d);
}
BOTH(copies_splices_and_direct_io)
{
	compare(&m, copies);
}

/* ---- attributes ----------------------------------------------------------------- */

static void same_attributes(const char *name)
{
	struct statx a, b;
	unsigned all = STATX_BASIC_STATS | STATX_BTIME;

	cr_assert(!statx(AT_FDCWD, vm_at(&m, "%s", name), 0, all, &a));
	cr_assert(!statx(AT_FDCWD, vm_store(&m, "%s", name), 0, all, &b));
	cr_assert_eq(a.stx_size, b.stx_size);
	cr_assert_eq(a.stx_blocks, b.stx_blocks);
	cr_assert_eq(a.stx_mode, b.stx_mode);
	cr_assert_eq(a.stx_mtime.tv_sec, b.stx_mtime.tv_sec);
	cr_assert_eq(a.stx_mtime.tv_nsec, b.stx_mtime.tv_nsec);
	cr_assert_eq(a.stx_ctime.tv_nsec, b.stx_ctime.tv_nsec);
	if (a.stx_mask & STATX_BTIME) {
		cr_assert_eq(a.stx_btime.tv_sec, b.stx_btime.tv_sec);
		cr_assert_eq(a.stx_btime.tv_nsec, b.stx_btime.tv_nsec);
	} else {
		cr_assert(!passes() || !(b.stx_mask & STATX_BTIME), "no birth time");
	}
}

BOTH(attributes_follow_writes)
{
	int fd = open(vm_at(&m, "f"), O_CREAT | O_RDWR, 0644);
	static char block[70000];

	same_attributes("f");
	for (int k = 0; k < 5; k++) {
		pause_ms(12);
		cr_assert(write(fd, block, sizeof(block)) == sizeof(block));
		same_attributes("f");
	}
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pause_ms(12);
	map[0] = 1;
	cr_assert(!msync(map, 4096, MS_SYNC));
	same_attributes("f");
	cr_assert(!fsync(fd)); /* on ext4 only then does a mapped page move times again */
	pause_ms(12);
	map[0] = 2;
	munmap(map, 4096);
	close(fd);
	same_attributes("f");
}

/* ---- setuid --------------------------------------------------------------------- */

static int write_one(void *fd)
{
	return write(*(int *)fd, "x", 1) == 1 ? 0 : 1;
}

/* One file, open by root and by a user at once: whoever comes first. */
BOTH(setuid_goes_with_a_users_write_alone)
{
	if (geteuid())
		cr_skip_test("needs root");
	for (int user_first = 0; user_first < 2; user_first++) {
		int fd[2]; /* root's, the user's */
		struct stat st;
		const char *f = vm_at(&m, "f%d", user_first);

		vm_puts(f, "text");
		cr_assert(!chmod(f, 0777));
		for (int k = 0; k < 2; k++) {
			int who = user_first ? !k : k;

			cr_assert(!seteuid(who ? 12345 : 0));
			fd[who] = open(f, O_RDWR);
			cr_assert(!seteuid(0));
			cr_assert(fd[who] >= 0);
		}
		cr_assert(!chmod(f, 06777));
		cr_assert_eq(write_one(&fd[0]), 0);
		cr_assert(!stat(f, &st));
		cr_assert_eq(st.st_mode & 07777, 06777);
		cr_assert_eq(vm_as(12345, 12345, NULL, 0, write_one, &fd[1]), 0);
		cr_assert(!stat(f, &st));
		cr_assert_eq(st.st_mode & 07777, 0777);
		cr_assert(!stat(vm_store(&m, "f%d", user_first), &st));
		cr_assert_eq(st.st_mode & 07777, 0777);
		close(fd[0]);
		close(fd[1]);
		cr_assert_str_eq(vm_read(f, NULL), "xext");
	}
}

BOTH(file_capabilities_go_with_any_write)
{
	static const char cap[20] = { 1, 0, 0, 2, 0, 4 }; /* VFS_CAP_REVISION_2 */
	char out[64];

	if (geteuid())
		cr_skip_test("needs root");
	const char *f = vm_at(&m, "f");
	vm_puts(f, "text");
	int fd = open(f, O_WRONLY);
	cr_assert(!setxattr(f, "security.capability", cap, 20, 0));
	cr_assert_eq(getxattr(f, "security.capability", out, 64), 20);
	cr_assert_eq(write(fd, "x", 1), 1);
	cr_assert(getxattr(f, "security.capability", out, 64) < 0 && errno == ENODATA);
	cr_assert(!setxattr(f, "security.capability", cap, 20, 0));
	cr_assert(!truncate(f, 2));
	cr_assert(getxattr(f, "security.capability", out, 64) < 0 && errno == ENODATA);
	close(fd);
}

/* ---- what engine has to notice -------------------------------------------------- */

static bool stale(const char *name)
{
	char info[4096] = "";

	cr_assert(getxattr(vm_at(&m, "%s", name), "user.vexfs._info", info,
			   sizeof(info) - 1) > 0);
	char *p = strstr(info, "\"stale\":");
	cr_assert(p, "%s", info);
	p += strlen("\"stale\":");
	return strncmp(p + strspn(p, " "), "true", 4) == 0 || atoi(p) > 0;
}

BOTH(written_files_become_stale)
{
	vm_puts(vm_at(&m, "f"), "first");
	pause_ms(20);
	cr_assert(!setxattr(vm_at(&m, "f"), "user.vexfs.t", "1,2", 3, 0));
	cr_assert(!stale("f"));
	int fd = open(vm_at(&m, "f"), O_RDWR);
	pause_ms(20);
	cr_assert_eq(write(fd, "second", 6), 6);
	cr_assert(stale("f")); /* while it is open, too */
	close(fd);
	cr_assert(stale("f"));
}

/* The second store goes to a page that is dirty already. */
Test(through, stores_after_an_attachment_are_noticed, .fini = down, .timeout = 120)
{
	up(true);
	if (!passes())
		cr_skip_test("no pass-through here");
	vm_puts(vm_at(&m, "f"), "first");
	int fd = open(vm_at(&m, "f"), O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert(map != MAP_FAILED);
	close(fd);
	map[0] = 'F';
	pause_ms(20);
	cr_assert(!setxattr(vm_at(&m, "f"), "user.vexfs.t", "1,2", 3, 0));
	cr_assert(!stale("f"));
	pause_ms(20);
	map[1] = 'I';
	cr_assert(stale("f"));
	munmap(map, 4096);
}

BOTH(an_attachment_of_an_empty_file_is_stamped_at_close)
{
	int fd = open(vm_at(&m, "f"), O_CREAT | O_WRONLY, 0644);

	cr_assert(!fsetxattr(fd, "user.vexfs.t", "1,2", 3, 0));
	cr_assert_eq(write(fd, "content", 7), 7);
	close(fd);
	cr_assert(!stale("f"));
	pause_ms(20);
	vm_puts(vm_at(&m, "f"), "changed");
	cr_assert(stale("f"));
}

static double first_number(const char *name, const char *attr)
{
	char v[256] = "";

	if (getxattr(vm_at(&m, "%s", name), attr, v, sizeof(v) - 1) < 0)
		return -1;
	return atof(v);
}

BOTH(vec_files_are_taken_in_however_written)
{
	vm_puts(vm_at(&m, "a.vec"), "1,2,3\n");
	cr_assert_eq(first_number("a.vec", "user.vexfs.vec3"), 1);
	int fd = open(vm_at(&m, "a.vec"), O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	map[0] = '7';
	munmap(map, 4096);
	close(fd);
	cr_assert_eq(first_number("a.vec", "user.vexfs.vec3"), 7);
	/* Opened by another name, so passed through; then it becomes one. */
	fd = open(vm_at(&m, "b.txt"), O_CREAT | O_RDWR, 0644);
	cr_assert_eq(write(fd, "4,5\n", 4), 4);
	cr_assert(!rename(vm_at(&m, "b.txt"), vm_at(&m, "b.vec")));
	cr_assert_eq(first_number("b.vec", "user.vexfs.vec2"), 4);
	pause_ms(12);
	cr_assert_eq(pwrite(fd, "6", 1, 0), 1);
	close(fd); /* made under another name, so nothing waits for its RELEASE */
	for (int k = 0; k < 500 && first_number("b.vec", "user.vexfs.vec2") != 6; k++)
		pause_ms(10);
	cr_assert_eq(first_number("b.vec", "user.vexfs.vec2"), 6);
	/* A text that is no rows: the error comes from close. */
	fd = open(vm_at(&m, "c.vec"), O_CREAT | O_WRONLY, 0644);
	cr_assert_eq(write(fd, "words\n", 6), 6);
	cr_assert(close(fd) < 0 && errno == EINVAL);
}

/* ---- files without a name ------------------------------------------------------- */

static void unnamed(struct notes *n)
{
	char proc[64], buf[8] = "";
	struct stat st;
	int fd = (int)CALL(n, open(".", O_TMPFILE | O_RDWR, 0640));

	CALL(n, fstat(fd, &st));
	NOTE(n, "%o %u", st.st_mode, (unsigned)st.st_nlink);
	CALL(n, write(fd, "text", 4));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CALL(n, linkat(AT_FDCWD, proc, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	note_stat(n, "named");
	CALL(n, linkat(AT_FDCWD, proc, AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
	CALL(n, unlink("named"));
	CALL(n, close(fd));
	note_stat(n, "again");
	fd = (int)CALL(n, open("again", O_RDONLY));
	CALL(n, read(fd, buf, 4));
	NOTE(n, "%s", buf);
	close(fd);
	fd = (int)CALL(n, open(".", O_TMPFILE | O_WRONLY | O_EXCL, 0600));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CALL(n, linkat(AT_FDCWD, proc, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
	close(fd);
	CALL(n, open(".", O_TMPFILE | O_RDONLY, 0600));
	CALL(n, open("again", O_TMPFILE | O_RDWR, 0600));
}
Test(through, files_without_a_name, .fini = down, .timeout = 120)
{
	up(true);
	if (!passes())
		cr_skip_test("O_TMPFILE comes with pass-through");
	compare(&m, unnamed);
	if (!geteuid())
		compare_as(&m, 12345, 54321, 777, unnamed);
}

Test(through, a_file_without_a_name_keeps_its_attachment_when_named, .fini = down,
     .timeout = 120)
{
	char *text;
	char proc[64];

	up(true);
	if (!passes())
		cr_skip_test("O_TMPFILE comes with pass-through");
	vm_puts(vm_at(&m, "other"), "x");
	cr_assert(!setxattr(vm_at(&m, "other"), "user.vexfs.t", "0,1", 3, 0));
	int fd = open(m.mnt, O_TMPFILE | O_RDWR, 0644);
	int gone = open(m.mnt, O_TMPFILE | O_RDWR, 0644);
	cr_assert(fd >= 0 && gone >= 0);
	cr_assert(!fsetxattr(fd, "user.vexfs.t", "1,0", 3, 0));
	cr_assert(!fsetxattr(gone, "user.vexfs.t", "1,0", 3, 0));
	close(gone);
	const char *search = "$B/vexctl search -m $M --space t --vector 1,0 -l";
	cr_assert_eq(vm_sh_out(&m, 30, &text, "%s", search), 0);
	cr_assert_str_eq(text, "other\n"); /* found by no name before it has one */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	cr_assert(!linkat(AT_FDCWD, proc, AT_FDCWD, vm_at(&m, "new"), AT_SYMLINK_FOLLOW));
	close(fd);
	cr_assert_eq(vm_sh_out(&m, 30, &text, "%s", search), 0);
	cr_assert_str_eq(text, "new\nother\n");
	vm_remount(&m, NULL);
	cr_assert_eq(vm_sh_out(&m, 30, &text, "%s", search), 0);
	cr_assert_str_eq(text, "new\nother\n");
}

/* ---- many at once --------------------------------------------------------------- */

/* Opens of both sorts, by several processes, of few files: the kernel refuses (EIO) a
 * handle that does not fit to those there are. */
BOTH(opens_of_one_file_agree)
{
	uint64_t seed = vm_seed();
	pid_t pids[4];

	for (int k = 0; k < 4; k++) {
		pids[k] = fork();
		if (pids[k])
			continue;
		alarm(60);
		seed += (uint64_t)k;
		for (int i = 0; i < 1500; i++) {
			int flags[] = { O_RDONLY, O_WRONLY, O_RDWR,
					O_RDWR | O_CREAT | O_TRUNC };
			uint64_t r = vm_rand(&seed);
			const char *f =
			    vm_at(&m, r % 3 ? "f%d" : "f%d.vec", (int)(r >> 8 & 1));
			int fd = open(f, flags[r >> 16 & 3] | O_CREAT, 0644);

			if (fd < 0)
				_exit(errno);
			if (!(r >> 24 & 7) && fchmod(fd, r >> 32 & 1 ? 04755 : 0755))
				_exit(errno);
			close(fd);
			if (!(r >> 40 & 15) && unlink(f) && errno != ENOENT)
				_exit(errno);
		}
		_exit(0);
	}
	for (int k = 0; k < 4; k++) {
		int status;

		cr_assert_eq(waitpid(pids[k], &status, 0), pids[k]);
		cr_assert_eq(status, 0, "%s", strerror(WEXITSTATUS(status)));
	}
}
