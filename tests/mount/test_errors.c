/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fails, and how: the errors of each call for each kind of object, too long, too
 * deep, looping, busy, forbidden by kind; as on the filesystem below.
 */
#include "mount/compare.h"

#include <sys/resource.h>
#include <sys/statfs.h>
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

#define ETEST(name) Test(errors, name, .init = up, .fini = down, .timeout = 120)

/* ---- every call on every kind --------------------------------------------------- */

static const char *const kinds[] = { "file",      "dir",    "full",  "sym",    "dangling",
				     "loop",      "symdir", "fifo",  "none",   "file/x",
				     "none/x",    "loop/x", "sym/x", "dir/",   "file/",
				     "symdir/",   "none/",  "dir/.", "dir/..", "symdir/x",
				     "dangling/", "" };
#define NKINDS (sizeof(kinds) / sizeof(*kinds))

static void make_kinds(void)
{
	close(open("file", O_CREAT | O_RDWR, 0644));
	sure(mkdir("dir", 0755));
	sure(mkdir("full", 0755));
	close(open("full/x", O_CREAT | O_RDWR, 0644));
	sure(symlink("file", "sym"));
	sure(symlink("nowhere", "dangling"));
	sure(symlink("loop", "loop"));
	sure(symlink("dir", "symdir"));
	sure(mkfifo("fifo", 0644));
}

static void renew_kinds(void)
{
	shell("rm -rf file dir full sym dangling loop symdir fifo none nowhere");
	make_kinds();
}

static void open_each(struct notes *n, const char *path)
{
	static const int flags[] = { O_RDONLY,
				     O_WRONLY,
				     O_RDWR,
				     O_RDONLY | O_DIRECTORY,
				     O_RDONLY | O_NOFOLLOW,
				     O_PATH,
				     O_PATH | O_NOFOLLOW,
				     O_RDWR | O_CREAT | O_EXCL,
				     O_RDONLY | O_CREAT | O_DIRECTORY,
				     O_WRONLY | O_DIRECTORY };

	for (size_t k = 0; k < sizeof(flags) / sizeof(*flags); k++) {
		int fd = open(path, flags[k] | O_NONBLOCK, 0644);

		NOTE(n, "%s %x: %s", path, flags[k], why(fd));
		if (fd >= 0)
			close(fd);
		if (flags[k] & O_CREAT && fd >= 0)
			unlink(path);
	}
}

static void one_path(struct notes *n)
{
	struct timespec t[2] = { { 1, 2 }, { 3, 4 } };
	char buf[300];
	struct stat st;
	struct statfs sf;

	make_kinds();
	for (size_t k = 0; k < NKINDS; k++) {
		const char *p = kinds[k];

		NOTE(n, "%s", p);
		CALL(n, stat(p, &st));
		CALL(n, lstat(p, &st));
		CALL(n, access(p, X_OK));
		CALL(n, faccessat(AT_FDCWD, p, W_OK, AT_EACCESS));
		CALL(n, readlink(p, buf, sizeof(buf)));
		CALL(n, chmod(p, 0755));
		CALL(n, lchown(p, -1, -1));
		CALL(n, chown(p, 0, 0));
		CALL(n, utimensat(AT_FDCWD, p, t, 0));
		CALL(n, truncate(p, 0));
		CALL(n, getxattr(p, "user.a", buf, 10));
		CALL(n, lgetxattr(p, "user.a", buf, 10));
		CALL(n, lsetxattr(p, "user.a", "x", 1, XATTR_REPLACE));
		CALL(n, lsetxattr(p, "security.a", "x", 1, XATTR_REPLACE));
		CALL(n, llistxattr(p, buf, sizeof(buf)));
		CALL(n, lremovexattr(p, "trusted.none"));
		CALL(n, statfs(p, &sf));
		CALL(n, mkdir(p, 0755));
		CALL(n, mknod(p, S_IFIFO | 0644, 0));
		CALL(n, symlink("x", p));
		if (strcmp(p, "none")) {
			CALL(n, rmdir(*p ? p : "nothing"));
			CALL(n, unlink(p));
		}
		open_each(n, p);
		renew_kinds();
	}
}
ETEST(each_call_on_each_kind)
{
	compare(&m, one_path);
}

static void two_paths(struct notes *n)
{
	make_kinds();
	for (size_t a = 0; a < NKINDS; a++) {
		for (size_t b = 0; b < NKINDS; b++) {
			long r[5];

			for (int how = 0; how < 5; how++) {
				r[how] = how < 3 ? renameat2(AT_FDCWD, kinds[a], AT_FDCWD,
							     kinds[b], (unsigned)how)
					 : how == 3 ? link(kinds[a], kinds[b])
						    : linkat(AT_FDCWD, kinds[a], AT_FDCWD,
							     kinds[b], AT_SYMLINK_FOLLOW);
				NOTE(n, "%s %s %d: %s", kinds[a], kinds[b], how,
				     why(r[how]));
				if (!r[how])
					renew_kinds();
			}
		}
	}
}
ETEST(rename_and_link_of_each_kind_to_each)
{
	compare(&m, two_paths);
}

/* ---- lengths -------------------------------------------------------------------- */

static void of_name(struct notes *n, size_t len)
{
	char name[400], buf[10];
	struct stat st;

	memset(name, 'x', sizeof(name));
	name[len] = 0;
	NOTE(n, "%zu", len);
	CALL(n, close(open(name, O_CREAT | O_EXCL | O_RDWR, 0644)));
	CALL(n, truncate(name, 1));
	CALL(n, chmod(name, 0600));
	CALL(n, link(name, "l"));
	CALL(n, rename("l", name));
	CALL(n, rename(name, "r"));
	CALL(n, rename("r", name));
	CALL(n, unlink(name));
	unlink("r");
	unlink("l");
	CALL(n, mkdir(name, 0755));
	CALL(n, rmdir(name));
	CALL(n, mkfifo(name, 0600));
	CALL(n, unlink(name));
	CALL(n, symlink("x", name));
	CALL(n, readlink(name, buf, sizeof(buf)));
	CALL(n, lstat(name, &st));
	CALL(n, unlink(name));
	CALL(n, lstat(name, &st));
}

static void of_path(struct notes *n, size_t len)
{
	char *path = malloc(len + 1);

	for (size_t k = 0; k < len; k++)
		path[k] = k % 2 ? '/' : '.';
	path[len - 1] = 'f';
	path[len] = 0;
	NOTE(n, "%zu", len);
	CALL(n, close(open(path, O_CREAT | O_RDWR, 0644)));
	CALL(n, rename(path, "g"));
	CALL(n, rename("g", path));
	CALL(n, unlink(path));
	CALL(n, mkdir(path, 0755));
	CALL(n, rmdir(path));
	CALL(n, symlink(path, "s"));
	note_stat(n, "s");
	CALL(n, open("s", O_RDONLY));
	CALL(n, unlink("s"));
	free(path);
}

static void lengths(struct notes *n)
{
	for (size_t k = 253; k < 258; k++)
		of_name(n, k);
	for (size_t k = 4091; k < 4099; k++)
		of_path(n, k);
}
ETEST(names_and_paths_too_long)
{
	compare(&m, lengths);
}

static void symlinks(struct notes *n)
{
	char a[16], b[16], buf[4200], *target = calloc(1, 5000);
	struct stat st;

	close(open("s0", O_CREAT | O_RDWR, 0644));
	for (int k = 1; k < 45; k++) { /* 40 may be followed */
		snprintf(a, sizeof(a), "s%d", k - 1);
		snprintf(b, sizeof(b), "s%d", k);
		sure(symlink(a, b));
		NOTE(n, "%d: %s", k, why(stat(b, &st)));
	}
	sure(symlink("two", "one"));
	sure(symlink("one", "two"));
	CALL(n, open("one", O_RDONLY));
	CALL(n, open("one", O_CREAT | O_RDWR, 0600));
	CALL(n, mkdir("one", 0600));
	CALL(n, open("one", O_RDONLY | O_NOFOLLOW));
	CALL(n, open("s1", O_RDWR | O_NOFOLLOW));
	CALL(n, symlink("", "empty"));
	for (size_t len = 1; len < 4100; len = len < 50 ? len + 9 : len * 3) {
		memset(target, 't', len);
		target[len] = 0;
		unlink("long");
		NOTE(n, "%zu: %s", len, why(symlink(target, "long")));
		NOTE(n, "%zd", readlink("long", buf, sizeof(buf)));
		NOTE(n, "%zd", readlink("long", buf, 5));
		lstat("long", &st);
		NOTE(n, "%lld", (long long)st.st_size);
	}
	/* Through a dangling link a file is made where it points. */
	sure(symlink("made", "dangling"));
	CALL(n, close(open("dangling", O_CREAT | O_RDWR, 0600)));
	note_stat(n, "made");
	CALL(n, open("dangling", O_CREAT | O_EXCL | O_RDWR, 0600));
	CALL(n, chmod("dangling", 0640));
	note_stat(n, "made");
	free(target);
}
ETEST(symlinks_and_loops)
{
	compare(&m, symlinks);
}

/* ---- limits --------------------------------------------------------------------- */

static void sizes(struct notes *n)
{
	static const off_t sizes[] = { 1ll << 32, (1ll << 40) + 3, (1ll << 44) - 4096,
				       1ll << 44, 999999999999999, 0x7fffffffffffffff };
	struct rlimit r = { 10000, 10000 };
	char buf[100];

	signal(SIGXFSZ, SIG_IGN);
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		NOTE(n, "%llx", (long long)sizes[k]);
		CALL(n, ftruncate(fd, sizes[k]));
		note_stat(n, "f");
		CALL(n, truncate("f", sizes[k]));
		CALL(n, pwrite(fd, "x", 1, sizes[k] - 1));
		CALL(n, pread(fd, buf, 10, sizes[k] - 5));
		CALL(n, fallocate(fd, 1, sizes[k], 4096));
		CALL(n, lseek(fd, sizes[k] / 2, SEEK_HOLE));
		CALL(n, ftruncate(fd, 0));
	}
	CALL(n, lseek(fd, -1, SEEK_SET));
	CALL(n, pread(fd, buf, 1, -1));
	CALL(n, pwrite(fd, buf, 1, -1));
	setrlimit(RLIMIT_FSIZE, &r);
	CALL(n, ftruncate(fd, 10000));
	CALL(n, ftruncate(fd, 10001));
	CALL(n, truncate("f", 10001));
	CALL(n, pwrite(fd, buf, 100, 9950));
	CALL(n, pwrite(fd, buf, 100, 10000));
	CALL(n, fallocate(fd, 0, 9000, 2000));
	CALL(n, posix_fallocate(fd, 0, 20000));
	note_stat(n, "f");
	close(fd);
}
ETEST(of_sizes)
{
	compare(&m, sizes);
}

static void many_links(struct notes *n)
{
	char name[16];
	struct stat st;
	int k, last = 0;

	close(open("f", O_CREAT | O_RDWR, 0644));
	for (k = 0; k < 66000; k++) {
		snprintf(name, sizeof(name), "l%d", k);
		if (link("f", name)) {
			last = errno;
			break;
		}
	}
	stat("f", &st);
	NOTE(n, "%d: %s, %u", k, strerrorname_np(last), (unsigned)st.st_nlink);
	shell("rm -rf l*");
	note_stat(n, "f");
}
ETEST(links_run_out)
{
	compare(&m, many_links);
}

/* ---- busy ----------------------------------------------------------------------- */

static void running(struct notes *n)
{
	int p[2];

	shell("cp /bin/sleep ./prog; cp prog other");
	if (pipe(p))
		abort();
	pid_t pid = fork();
	if (!pid) {
		fcntl(p[1], F_SETFD, FD_CLOEXEC);
		close(p[0]);
		execl("./prog", "prog", "60", NULL);
		_exit(1);
	}
	close(p[1]);
	CALL(n, read(p[0], &(char){ 0 }, 1)); /* it runs */
	CALL(n, open("prog", O_WRONLY));
	CALL(n, open("prog", O_RDWR));
	CALL(n, open("prog", O_WRONLY | O_TRUNC));
	CALL(n, open("prog", O_RDONLY | O_TRUNC));
	CALL(n, truncate("prog", 10));
	note_stat(n, "prog"); /* none of these cut what runs */
	CALL(n, close(open("prog", O_RDONLY)));
	CALL(n, rename("prog", "prog2"));
	CALL(n, rename("other", "prog2"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	int fd = open("prog2", O_WRONLY);
	CALL(n, execl("./prog2", "prog2", "--version", NULL));
	close(fd);
	note_stat(n, "prog2");
}
ETEST(text_busy)
{
	compare(&m, running);
}

static void fifos(struct notes *n)
{
	char buf[4];

	CALL(n, mkfifo("p", 0644));
	CALL(n, open("p", O_WRONLY | O_NONBLOCK));
	int r = (int)CALL(n, open("p", O_RDONLY | O_NONBLOCK));
	int w = (int)CALL(n, open("p", O_WRONLY | O_NONBLOCK));
	CALL(n, write(w, "abc", 3));
	NOTE(n, "%zd", read(r, buf, 4));
	CALL(n, lseek(r, 0, SEEK_SET));
	CALL(n, ftruncate(w, 0));
	CALL(n, unlink("p"));
	CALL(n, write(w, "abc", 3));
	NOTE(n, "%zd", read(r, buf, 4));
	CALL(n, mknod("c", S_IFCHR | 0644, 0x103)); /* 1:3 is null */
	CALL(n, mknod("b", S_IFBLK | 0644, 0x700));
	CALL(n, mknod("d", S_IFDIR | 0644, 0));
	CALL(n, mknod("l", S_IFLNK | 0644, 0));
	CALL(n, mknod("z", 0644, 0));
	note_stat(n, "z");
	struct stat st;
	stat("c", &st);
	NOTE(n, "%o %lx", st.st_mode, (unsigned long)st.st_rdev);
	stat("b", &st);
	NOTE(n, "%o %lx", st.st_mode, (unsigned long)st.st_rdev);
	close(r);
	close(w);
}
ETEST(special_files)
{
	compare(&m, fifos);
}

/* Numbers of devices beyond 8 bits come back as they went. */
static void devices(struct notes *n)
{
	static const unsigned devs[][2] = { { 1, 3 },          { 255, 255 },
					    { 256, 255 },      { 10, 65536 },
					    { 4095, 1048575 }, { 0, 0 } };
	char name[16];
	struct stat st;

	for (size_t k = 0; k < sizeof(devs) / sizeof(*devs); k++) {
		snprintf(name, sizeof(name), "d%zu", k);
		dev_t d = ((dev_t)(devs[k][1] & 0xffffff00) << 12) |
			  ((dev_t)devs[k][0] << 8) | (devs[k][1] & 0xff);
		CALL(n, mknod(name, S_IFCHR | 0600, d));
		if (!stat(name, &st))
			NOTE(n, "%lx", (unsigned long)st.st_rdev);
	}
}
ETEST(device_numbers)
{
	compare(&m, devices);
}
