/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random system calls by three users on a dozen names, the same in a plain folder and
 * on the mount: every result and every attribute must be equal. What hand-written
 * scripts do not think of, this finds; the seed repeats it.
 */
#include "mount/compare.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static struct vmount m;
static uint64_t seed;
static unsigned steps = 1500;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, "allow_other");
}

static void down(void)
{
	vm_free(&m);
}

/* ---- what is acted on
 * ------------------------------------------------------------------ */

static uint64_t state;

static unsigned rnd(unsigned n)
{
	return (unsigned)(vm_rand(&state) % n);
}

static const char *name(void)
{
	static const char *const names[] = { "a",   "b",     "c",     "d", "d/a", "d/b",
					     "d/e", "d/e/a", "d/e/b", "x", "x/a", "x/y" };
	static char ring[4][32];
	static int at;

	at = (at + 1) % 4;
	snprintf(ring[at], sizeof(ring[at]), "%s", names[rnd(12)]);
	return ring[at];
}

/* No setgid without group execute (it means nothing on Linux): the kernel's FUSE keeps
 * it where a write or chown by a stranger to the group would clear it below. */
static const mode_t modes[] = { 0,     0400,  0600,  0644,  0666,  0755, 0777,
				01777, 02755, 02770, 04755, 06711, 0222, 0111 };

static mode_t mode(void)
{
	return modes[rnd(sizeof(modes) / sizeof(*modes))];
}

/* root; a member of groups 100 and 200; one of 200 alone. */
static void become(unsigned who)
{
	static const gid_t groups[3][2] = { { 0, 0 }, { 100, 200 }, { 200, 200 } };
	static const uid_t uids[3] = { 0, 11, 12 };

	if (setresuid(-1, 0, -1) || setgroups(2, groups[who]) ||
	    setresgid(-1, groups[who][0], -1) || setresuid(-1, uids[who], -1))
		abort();
}

/* ---- one step
 * --------------------------------------------------------------------------- */

static void all_of(struct notes *n, const char *path)
{
	char list[4096];
	struct stat st;

	if (lstat(path, &st)) {
		NOTE(n, "%s: %s", path, strerrorname_np(errno));
		return;
	}
	note_stat(n, path);
	ssize_t len = llistxattr(path, list, sizeof(list));
	NOTE(n, "xattrs %zd", len);
	for (ssize_t k = 0; k < len; k += (ssize_t)strlen(list + k) + 1)
		NOTE(n, "%s %zd", list + k, lgetxattr(path, list + k, NULL, 0));
	NOTE(n, "%d%d%d", !access(path, R_OK), !access(path, W_OK), !access(path, X_OK));
}

static int cmp_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listed(struct notes *n, const char *path)
{
	DIR *d = opendir(path);
	char *names[64];
	size_t k = 0;

	if (!d) {
		NOTE(n, "opendir %s: %s", path, strerrorname_np(errno));
		return;
	}
	for (struct dirent *e; (e = readdir(d)) && k < 64;)
		names[k++] = strdup(e->d_name);
	closedir(d);
	qsort(names, k, sizeof(*names), cmp_names);
	for (size_t j = 0; j < k; j++)
		fprintf(n->f, "%s ", names[j]);
	NOTE(n, "in %s", path);
}

static void content(struct notes *n, const char *path)
{
	char buf[512];
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;

	if (fd < 0) {
		NOTE(n, "open %s: %s", path, strerrorname_np(errno));
		return;
	}
	if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
		ssize_t got = read(fd, buf, sizeof(buf));
		unsigned sum = 0;

		for (ssize_t k = 0; k < got; k++)
			sum = sum * 31 + (unsigned char)buf[k];
		NOTE(n, "%s: %zd %u", path, got, sum);
	}
	close(fd);
}

/* What one does with a descriptor, of whatever kind, by whatever right. */
static void use_fd(struct notes *n, int fd)
{
	struct timespec t[2] = { { rnd(50), 0 }, { rnd(50), 0 } };
	loff_t in = rnd(20), out = rnd(60);
	char buf[64] = "";
	struct stat st;
	char *p;

	switch (rnd(11)) {
	case 0:
		CALL(n, fallocate(fd, (int)rnd(4), rnd(5000), 1 + rnd(5000)));
		break;
	case 1:
		CALL(n, fallocate(fd, 16 + (int)rnd(2), rnd(50), 1 + rnd(50)));
		break;
	case 2:
		NOTE(n, "%zd", pread(fd, buf, rnd(64), rnd(30)));
		break;
	case 3:
		NOTE(n, "%zd", pwrite(fd, "pwritten", rnd(9), rnd(5000)));
		break;
	case 4:
		NOTE(n, "%zd", copy_file_range(fd, &in, fd, &out, rnd(10), 0));
		break;
	case 5:
		CALL(n, futimens(fd, t));
		break;
	case 6:
		CALL(n, fsetxattr(fd, "user.f", "value", rnd(6), (int)rnd(3)));
		break;
	case 7:
		CALL(n, flock(fd, LOCK_EX | LOCK_NB));
		break;
	case 8:
		CALL(n, rnd(2) ? fsync(fd) : fdatasync(fd));
		break;
	case 9: /* Of a directory it means nothing, and each filesystem says another
		 * thing. Of more than a page, what was allocated and never written is
		 * data as far as it was read ahead: see docs/POSIX.md. */
		if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > 4096)
			break;
		NOTE(n, "%lld %lld", (long long)lseek(fd, rnd(100), SEEK_DATA),
		     (long long)lseek(fd, rnd(100), SEEK_HOLE));
		break;
	default:
		p = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		NOTE(n, "map %s", p == MAP_FAILED ? strerrorname_np(errno) : "ok");
		if (p == MAP_FAILED)
			break;
		if (!fstat(fd, &st) && st.st_size > 10) {
			p[10] = 'm';
			CALL(n, msync(p, 64, MS_SYNC));
		}
		munmap(p, 64);
	}
}

static void opened(struct notes *n)
{
	static const int kinds[] = { O_RDONLY,
				     O_WRONLY,
				     O_RDWR,
				     O_WRONLY | O_TRUNC,
				     O_RDWR | O_CREAT,
				     O_WRONLY | O_CREAT | O_EXCL,
				     O_RDWR | O_CREAT | O_TRUNC,
				     O_WRONLY | O_CREAT | O_APPEND,
				     O_RDWR | O_NOFOLLOW,
				     O_RDONLY | O_DIRECTORY };
	int how = kinds[rnd(10)];
	const char *path = name();
	int fd = (int)CALL(n, open(path, how | O_NONBLOCK, mode()));

	if (fd < 0)
		return;
	NOTE(n, "%x %s", how, path);
	if (rnd(2))
		CALL(n, write(fd, "0123456789", rnd(11)));
	if (rnd(4) == 0)
		CALL(n, ftruncate(fd, rnd(40)));
	if (rnd(4) == 0)
		CALL(n, fchmod(fd, mode()));
	if (rnd(8) == 0)
		CALL(n, fallocate(fd, 0, rnd(20), 1 + rnd(20)));
	if (rnd(8) == 0)
		CALL(n, fchown(fd, -1, 200));
	for (unsigned k = rnd(4); k; k--)
		use_fd(n, fd);
	close(fd);
}

/* Open and without a name: made so, or removed while open. */
static void nameless_step(struct notes *n)
{
	const char *a = name(), *b = name();
	char at[64];
	struct stat st;
	int fd;

	if (rnd(3) == 0)
		fd = (int)CALL(n, open(rnd(2) ? "." : a, O_TMPFILE | O_RDWR, mode()));
	else
		fd = (int)CALL(n, open(a, O_RDWR | O_CREAT | O_NONBLOCK, mode()));
	if (fd < 0)
		return;
	CALL(n, unlink(a));
	for (unsigned k = rnd(5); k; k--)
		use_fd(n, fd);
	snprintf(at, sizeof(at), "/proc/self/fd/%d", fd);
	if (rnd(2))
		NOTE(n, "link: %s",
		     why(linkat(AT_FDCWD, at, AT_FDCWD, b, AT_SYMLINK_FOLLOW)));
	int again = open(at, O_RDONLY | O_NONBLOCK);
	NOTE(n, "again: %s", again < 0 ? strerrorname_np(errno) : "ok");
	if (again >= 0)
		close(again);
	if (!fstat(fd, &st))
		NOTE(n, "%o %u %u:%u", st.st_mode, (unsigned)st.st_nlink, st.st_uid,
		     st.st_gid);
	close(fd);
	all_of(n, a);
	all_of(n, b);
}

static void attr_step(struct notes *n)
{
	static const uid_t ids[] = { (uid_t)-1, 0, 11, 12, 100, 200 };
	struct timespec t[2] = { { rnd(100), 5 },
				 { 0, rnd(2) ? UTIME_NOW : UTIME_OMIT } };
	const char *path = name();

	switch (rnd(6)) {
	case 0:
		CALL(n, chmod(path, mode()));
		break;
	case 1:
		CALL(n, lchown(path, ids[rnd(4)], ids[1 + rnd(5)]));
		break;
	case 2:
		CALL(n, truncate(path, rnd(50)));
		break;
	case 3:
		CALL(n,
		     utimensat(AT_FDCWD, path, rnd(4) ? t : NULL, AT_SYMLINK_NOFOLLOW));
		break;
	case 4:
		CALL(n, lsetxattr(path, rnd(4) ? "user.u" : "trusted.t", "value", rnd(6),
				  (int)rnd(3)));
		break;
	default:
		CALL(n, lremovexattr(path, rnd(4) ? "user.u" : "trusted.t"));
	}
	all_of(n, path);
}

static void name_step(struct notes *n)
{
	const char *a = name(), *b = name();

	switch (rnd(9)) {
	case 0:
	case 1:
		CALL(n, mkdir(a, mode()));
		break;
	case 2:
		CALL(n, rmdir(a));
		break;
	case 3:
		CALL(n, unlink(a));
		break;
	case 4:
		CALL(n, rename(a, b));
		break;
	case 5:
		CALL(n, renameat2(AT_FDCWD, a, AT_FDCWD, b, 1 + rnd(2)));
		break;
	case 6:
		CALL(n, link(a, b));
		break;
	case 7:
		CALL(n, symlink(b, a));
		break;
	default:
		CALL(n, mknod(a, (rnd(2) ? S_IFIFO : S_IFREG) | mode(), 0));
	}
	all_of(n, a);
	all_of(n, b);
}

static void acl_step(struct notes *n)
{
	/* Version 2; user::rwx user:12:rw- group::r-x mask::rwx other::r-- , as stored.
	 */
	unsigned char acl[44] = { 2,   0,   0,   0,   1,   0,   7,  0,   255, 255, 255,
				  255, 2,   0,   6,   0,   12,  0,  0,   0,   4,   0,
				  5,   0,   255, 255, 255, 255, 16, 0,   7,   0,   255,
				  255, 255, 255, 32,  0,   4,   0,  255, 255, 255, 255 };
	const char *path = name();

	acl[14] = (unsigned char)rnd(8);
	acl[30] = (unsigned char)(rnd(8) | 1);
	CALL(n, setxattr(path,
			 rnd(3) ? "system.posix_acl_access" : "system.posix_acl_default",
			 acl, 44, 0));
	all_of(n, path);
}

static void script(struct notes *n)
{
	static const mode_t masks[] = { 0, 022, 077, 027 };

	state = seed;
	for (unsigned k = 0; k < steps; k++) {
		unsigned who = rnd(3);

		become(who);
		umask(masks[rnd(4)]);
		fprintf(n->f, "%u by %u ", k, who);
		switch (rnd(9)) {
		case 0:
		case 1:
		case 2:
			name_step(n);
			break;
		case 8:
			nameless_step(n);
			break;
		case 3:
			attr_step(n);
			break;
		case 4:
			listed(n, rnd(2) ? "." : name());
			break;
		case 5:
			content(n, name());
			break;
		case 6:
			if (rnd(2)) {
				acl_step(n);
				break;
			}
			/* fallthrough */
		default:
			opened(n);
		}
	}
	become(0);
}

Test(random, system_calls_give_the_same, .init = up, .fini = down, .timeout = 300)
{
	const char *rounds = getenv("ROUNDS");

	if (geteuid())
		cr_skip_test("needs root");
	seed = vm_seed();
	for (int k = 0; k < (rounds ? atoi(rounds) : 8); k++, seed++) {
		compare(&m, script);
		cr_assert_eq(vm_sh(&m, 20, "rm -rf $M/as-root $P/as-root"), 0);
	}
}
