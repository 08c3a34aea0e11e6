/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight processes at once do everything to the same few names: make, link, rename,
 * exchange, remove, write, map, cut, list, attach, search. Any result is fine but those a
 * filesystem must never give; afterwards the mount shows what lies below, and the daemon
 * ends well. Built with ASan or TSan, this is where the daemon's threads meet.
 *
 * STRESS=N: N seconds (5 by default). VEXFS_SEED: the choice of operations; their order
 * is the machine's.
 */
#include "mount/compare.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>

#define PROCS 8

static struct vmount m;

static void down(void)
{
	if (m.base[0])
		vm_free(&m);
}

static uint64_t seed;
static unsigned long done;

static size_t rnd(size_t n)
{
	return vm_rand(&seed) % n;
}

/* ---- names ----------------------------------------------------------------------------
 */

/* One of some 150 paths, at most three deep; most are there at any time. */
static const char *name(void)
{
	static char ring[4][64];
	static int at;
	char *p = ring[at = (at + 1) % 4];

	switch (rnd(4)) {
	case 0:
		snprintf(p, 64, "n%zu", rnd(12));
		break;
	case 1:
		snprintf(p, 64, "d%zu", rnd(4));
		break;
	case 2:
		snprintf(p, 64, "d%zu/n%zu", rnd(4), rnd(12));
		break;
	default:
		snprintf(p, 64, "d%zu/d%zu/n%zu", rnd(4), rnd(3), rnd(8));
	}
	return p;
}

/* Errors that no order of these calls explains. */
static void never(const char *what, long r)
{
	static const int bad[] = { EIO,    ENOTCONN, ENOSYS,       EFAULT, EBADF, ENOMEM,
				   ESTALE, EPROTO,   ECONNABORTED, ENFILE, EMFILE };

	done++;
	if (r >= 0)
		return;
	for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
		if (errno == bad[k]) {
			fprintf(stderr, "%s: %s\n", what, strerror(errno));
			_exit(1);
		}
	}
}
#define DO(call) never(#call, (errno = 0, (long)(call)))

/* ---- what they do
 * ---------------------------------------------------------------------- */

static void file_ops(void)
{
	static const int flags[] = { O_RDWR | O_CREAT,  O_RDWR | O_CREAT | O_EXCL,
				     O_RDONLY,          O_WRONLY | O_TRUNC,
				     O_RDWR | O_APPEND, O_RDWR | O_CREAT | O_TRUNC };
	char buf[8192];
	int fd = open(name(), flags[rnd(6)] | O_NONBLOCK | O_NOFOLLOW, 0644);
	struct stat st;

	never("open", fd);
	if (fd < 0)
		return;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return;
	}
	bool may_write = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	for (size_t k = rnd(6); k; k--) {
		size_t n = 1 + rnd(sizeof(buf)), off = rnd(1 << 16);

		memset(buf, (int)k, n);
		switch (rnd(may_write ? 8 : 2)) {
		case 0:
			if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY)
				DO(pread(fd, buf, n, (off_t)off));
			break;
		case 1:
			DO(fstat(fd, &st));
			break;
		case 2:
			DO(ftruncate(fd, (off_t)off));
			break;
		case 3:
			DO(fallocate(fd, (int)rnd(4), (off_t)off, (off_t)n));
			break;
		case 4:
			DO(rnd(2) ? fsync(fd) : fdatasync(fd));
			break;
		case 5:
			DO(flock(fd, LOCK_EX | LOCK_NB));
			break;
		default:
			DO(pwrite(fd, buf, n, (off_t)off));
		}
	}
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && rnd(3) == 0) {
		char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		/* Others cut the file meanwhile: only look at whether it is mapped. */
		if (p != MAP_FAILED) {
			DO(msync(p, 4096, MS_ASYNC));
			munmap(p, 4096);
		}
	}
	DO(close(fd));
}

static void name_ops(void)
{
	const char *a = name(), *b = name();

	switch (rnd(12)) {
	case 0:
		DO(mkdir(a, 0755));
		break;
	case 1:
		DO(rmdir(a));
		break;
	case 2:
	case 3:
		DO(unlink(a));
		break;
	case 4:
	case 5:
		DO(rename(a, b));
		break;
	case 6:
		DO(renameat2(AT_FDCWD, a, AT_FDCWD, b, 1 + (unsigned)rnd(2)));
		break;
	case 7:
	case 8:
		DO(link(a, b));
		break;
	case 9:
		DO(symlink(b, a));
		break;
	case 10:
		DO(mknod(a, S_IFIFO | 0644, 0));
		break;
	default:
		close(open(a, O_CREAT | O_EXCL | O_WRONLY, 0644));
	}
}

static void list(const char *path)
{
	DIR *d = opendir(path);

	never("opendir", d ? 0 : -1);
	if (!d)
		return;
	errno = 0;
	for (int k = 0; readdir(d) && k < 1000; k++)
		;
	never("readdir", errno ? -1 : 0);
	closedir(d);
}

static void attr_ops(void)
{
	const char *a = name();
	struct timespec t[2] = { { 5, 6 }, { (time_t)rnd(1000), 8 } };
	struct statvfs vfs;
	char buf[4096];
	struct stat st;

	switch (rnd(12)) {
	case 0:
		DO(chmod(a, 0600 | (mode_t)rnd(64)));
		break;
	case 1:
		DO(truncate(a, (off_t)rnd(10000)));
		break;
	case 2:
		DO(utimensat(AT_FDCWD, a, rnd(2) ? t : NULL, AT_SYMLINK_NOFOLLOW));
		break;
	case 3:
		DO(lchown(a, (uid_t)rnd(3), (gid_t)rnd(3)));
		break;
	case 4:
		DO(readlink(a, buf, sizeof(buf)));
		break;
	case 5:
		DO(statvfs(a, &vfs));
		break;
	case 6:
		list(rnd(3) ? a : ".");
		break;
	case 7:
		DO(access(a, R_OK | W_OK));
		break;
	default:
		DO(rnd(2) ? stat(a, &st) : lstat(a, &st));
	}
}

static void vector_ops(void)
{
	const char *a = name();
	char text[64], buf[8192];

	snprintf(text, sizeof(text), "%zu,%zu,%zu", 1 + rnd(9), rnd(9), rnd(9));
	switch (rnd(10)) {
	case 0:
	case 1:
	case 2:
		DO(setxattr(a, "user.vexfs.s", text, strlen(text), (int)rnd(3)));
		break;
	case 3:
		DO(removexattr(a, "user.vexfs.s"));
		break;
	case 4:
		DO(getxattr(a, "user.vexfs.s", buf, sizeof(buf)));
		break;
	case 5:
		DO(getxattr(a, "user.vexfs._near.s.5", buf, sizeof(buf)));
		break;
	case 6:
		DO(getxattr(a, "user.vexfs._info", buf, sizeof(buf)));
		break;
	case 7:
		DO(setxattr(a, "user.plain", text, strlen(text), 0));
		break;
	case 8:
		free(vm_read(vm_at(&m, ".vexfs/status"), NULL));
		break;
	default:
		DO(listxattr(a, buf, sizeof(buf)));
	}
}

static void work(int who, unsigned seconds)
{
	time_t end = time(NULL) + (time_t)seconds;

	seed += (uint64_t)who * 77777;
	if (chdir(m.mnt))
		_exit(2);
	while (time(NULL) < end) {
		for (int k = 0; k < 50; k++) {
			size_t which = rnd(10);

			if (which < 3)
				file_ops();
			else if (which < 6)
				name_ops();
			else if (which < 8)
				attr_ops();
			else
				vector_ops();
		}
	}
	fprintf(stderr, "process %d: %lu calls\n", who, done);
	_exit(done < 50);
}

/* ---- afterwards
 * ------------------------------------------------------------------------- */

static void stress(const char *opts)
{
	const char *s = getenv("STRESS");
	unsigned seconds = s ? (unsigned)atoi(s) : 5;
	int status;

	vm_new(&m);
	vm_up(&m, opts);
	seed = vm_seed();
	for (int k = 0; k < PROCS; k++) {
		if (!fork())
			work(k, seconds);
	}
	for (int k = 0; k < PROCS; k++) {
		cr_assert(wait(&status) > 0);
		cr_expect_eq(status, 0);
	}
	sleep(2); /* what the kernel believes for a second */
	cr_assert_eq(
	    vm_sh(
		&m, 60,
		"what='%%y %%m %%U %%G %%n %%l %%p\\n'; "
		"(cd $M && find . -mindepth 1 -printf \"$what\" | sort) > $P/mount; "
		"(cd $S && find . -mindepth 1 -path ./.vexfs -prune -o -printf \"$what\" "
		"| sort) > $P/store; test -s $P/mount && diff $P/mount $P/store >&2"),
	    0);
	cr_assert_eq(vm_sh(&m, 60, "cd $M && find . -type f -exec cmp {} $S/{} \\;"), 0);
	/* Every file that has an attachment is found, by one of its names, and no other.
	 */
	cr_assert_eq(
	    vm_sh(&m, 60,
		  "cd $M; find . -type f -o -type d | while read -r f; do "
		  "getfattr --only-values -n user.vexfs.s \"$f\" >/dev/null 2>&1 && "
		  "stat -c %%i \"$f\"; done | sort -u > $P/have; "
		  "$B/vexctl search --space s --exact -l -k 10000 --vector 1,1,1 | "
		  "while read -r f; do stat -c %%i \"$f\"; done | sort > $P/found; "
		  "wc -l $P/have $P/found >&2; diff $P/have $P/found >&2"),
	    0);
	/* Names that raced are set right by repairs (a directory's can bring up those
	 * below it), and nothing else is wrong. */
	vm_down(&m);
	cr_assert_eq(
	    vm_sh(&m, 120,
		  "for k in 1 2 3 4; do $B/vexfs --fsck --repair $S >&2 && break; done; "
		  "true"),
	    0);
	cr_assert_eq(vm_sh(&m, 60, "$B/vexfs --fsck $S >&2"), 0);
}

Test(stress, eight_processes, .fini = down, .timeout = 7200)
{
	stress(geteuid() ? NULL : "allow_other");
}
Test(stress, eight_processes_by_splice, .fini = down, .timeout = 7200)
{
	stress("passthrough=off");
}
