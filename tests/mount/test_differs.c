/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What docs/POSIX.md says differs from the filesystem below, held to its word: a
 * difference that goes away, or one that changes, should be read there.
 */
#include "mount/compare.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/statfs.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

static struct vmount m;

static void up(void)
{
	if (geteuid())
		cr_skip_test("needs root");
	vm_new(&m);
	vm_up(&m, NULL);
}

static void down(void)
{
	if (!geteuid())
		vm_free(&m);
}

#define DIFFERS(name) Test(differs, name, .init = up, .fini = down, .timeout = 60)
#define FAILS(call, err)                                                                 \
	do {                                                                             \
		errno = 0;                                                               \
		cr_expect((long)(call) < 0 && errno == (err), "%s: %s", #call,           \
			  strerrorname_np(errno));                                       \
	} while (0)

DIFFERS(what_fuse_does_not_carry)
{
	struct {
		struct fiemap f;
		struct fiemap_extent e[4];
	} map = { .f = { .fm_length = ~0ull, .fm_extent_count = 4 } };
	struct dqblk q;

	int fd = open(vm_at(&m, "f"), O_CREAT | O_RDWR, 0644);
	int two = open(vm_at(&m, "g"), O_CREAT | O_RDWR, 0644);
	cr_assert(fd >= 0 && two >= 0);
	FAILS(ioctl(fd, FS_IOC_FIEMAP, &map), EOPNOTSUPP);
	FAILS(ioctl(two, FICLONE, fd), EOPNOTSUPP);
	FAILS(renameat2(AT_FDCWD, vm_at(&m, "f"), AT_FDCWD, vm_at(&m, "h"),
			RENAME_WHITEOUT),
	      EINVAL);
	FAILS(syscall(SYS_quotactl_fd, fd, QCMD((unsigned)Q_GETQUOTA, USRQUOTA), 0, &q),
	      ENOSYS);
	cr_expect(syncfs(fd) == 0);
	cr_expect(lseek(fd, 1ll << 50, SEEK_SET) == 1ll << 50);
	FAILS(write(fd, "x", 1), EFBIG);
	close(fd);
	close(two);
}

DIFFERS(what_the_mount_says_of_itself)
{
	struct stat root, below, st;
	struct statfs fs;

	cr_assert(stat(m.mnt, &root) == 0 && stat(m.store, &below) == 0);
	cr_expect_eq(root.st_nlink + 1, below.st_nlink);
	cr_expect_neq(root.st_dev, below.st_dev);
	cr_expect_eq(root.st_ino, below.st_ino);
	cr_assert(statfs(m.mnt, &fs) == 0);
	cr_expect_eq(fs.f_type, 0x65735546);
	vm_puts(vm_at(&m, "f"), "x");
	cr_assert(stat(vm_at(&m, "f"), &st) == 0 && stat(vm_store(&m, "f"), &below) == 0);
	cr_expect_eq(st.st_ino, below.st_ino);
	cr_assert(mknod(vm_at(&m, "null"), S_IFCHR | 0666, 0x103) == 0);
	FAILS(open(vm_at(&m, "null"), O_RDWR), EACCES); /* nodev */
}

static int set_flags(int fd, int add)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -1;
	flags = (flags & ~(FS_IMMUTABLE_FL | FS_APPEND_FL)) | add;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

/* Flags are set below, and hold above. */
DIFFERS(flags_hold)
{
	vm_puts(vm_at(&m, "f"), "x");
	vm_puts(vm_at(&m, "log"), "x");
	int fd = open(vm_store(&m, "f"), O_RDONLY),
	    log = open(vm_store(&m, "log"), O_RDONLY);
	if (set_flags(fd, FS_IMMUTABLE_FL) || set_flags(log, FS_APPEND_FL))
		cr_skip_test("no flags below");
	FAILS(open(vm_at(&m, "f"), O_RDWR), EPERM);
	FAILS(truncate(vm_at(&m, "f"), 0), EPERM);
	FAILS(chmod(vm_at(&m, "f"), 0600), EPERM);
	FAILS(unlink(vm_at(&m, "f")), EPERM);
	FAILS(rename(vm_at(&m, "f"), vm_at(&m, "g")), EPERM);
	FAILS(link(vm_at(&m, "f"), vm_at(&m, "g")), EPERM);
	FAILS(utimensat(AT_FDCWD, vm_at(&m, "f"), (struct timespec[2]){ { 0 } }, 0),
	      EPERM);
	cr_expect_str_eq(vm_read(vm_at(&m, "f"), NULL), "x");
	FAILS(truncate(vm_at(&m, "log"), 0), EPERM);
	FAILS(unlink(vm_at(&m, "log")), EPERM);
	cr_expect(set_flags(fd, 0) == 0);
	cr_expect(set_flags(log, 0) == 0);
	close(fd);
	close(log);
	cr_expect(unlink(vm_at(&m, "f")) == 0);
}

/* A file replaced below while it is open above: the one that is open stays, the next open
 * is the new file, without the old one's attachments. */
DIFFERS(replaced_below_while_open)
{
	char buf[16] = "";

	vm_puts(vm_at(&m, "f"), "old content");
	cr_assert(setxattr(vm_at(&m, "f"), "user.vexfs.s", "1,2", 3, 0) == 0);
	int fd = open(vm_at(&m, "f"), O_RDWR);
	cr_assert_eq(pread(fd, buf, 3, 0), 3);
	vm_puts(vm_store(&m, "new"), "new");
	cr_assert(rename(vm_store(&m, "new"), vm_store(&m, "f")) == 0);
	cr_assert_eq(pread(fd, buf, 11, 0), 11);
	cr_assert(!memcmp(buf, "old content", 11));
	cr_assert_eq(pwrite(fd, "OLD", 3, 0), 3);
	sleep(2);
	cr_expect_str_eq(vm_read(vm_at(&m, "f"), NULL), "new");
	FAILS(getxattr(vm_at(&m, "f"), "user.vexfs.s", buf, sizeof(buf)), ENODATA);
	cr_assert_eq(pread(fd, buf, 11, 0), 11);
	cr_assert(!memcmp(buf, "OLD content", 11));
	struct stat st;
	cr_assert(fstat(fd, &st) == 0 && st.st_nlink == 0);
	close(fd);
	char *out;
	cr_assert_eq(
	    vm_sh_out(&m, 20, &out,
		      "$B/vexctl -m $M search --space s --exact -l --vector 1,2; true"),
	    0);
	cr_expect_str_eq(out, "");
}

/* Moved and linked below: attachments stay with the file, at each of its names. */
DIFFERS(moved_and_linked_below)
{
	char buf[16];

	cr_assert(mkdir(vm_at(&m, "d"), 0755) == 0);
	vm_puts(vm_at(&m, "f"), "x");
	cr_assert(setxattr(vm_at(&m, "f"), "user.vexfs.s", "1,2", 3, 0) == 0);
	cr_assert(rename(vm_store(&m, "f"), vm_store(&m, "d/g")) == 0);
	cr_assert(link(vm_store(&m, "d/g"), vm_store(&m, "h")) == 0);
	sleep(2);
	FAILS(access(vm_at(&m, "f"), F_OK), ENOENT);
	cr_expect_eq(getxattr(vm_at(&m, "d/g"), "user.vexfs.s", buf, sizeof(buf)), 3);
	cr_expect_eq(getxattr(vm_at(&m, "h"), "user.vexfs.s", buf, sizeof(buf)), 3);
	char *out;
	cr_assert_eq(
	    vm_sh_out(&m, 20, &out,
		      "$B/vexctl -m $M search --space s --exact -l --vector 1,2"),
	    0);
	cr_expect(!strcmp(out, "d/g\n") || !strcmp(out, "h\n"), "%s", out);
}

/* ---- leases: as below
 * -------------------------------------------------------------------- */

static void leases(struct notes *n)
{
	close(open("f", O_CREAT | O_RDWR, 0644));
	int fd = open("f", O_RDONLY);
	CALL(n, fcntl(fd, F_SETLEASE, F_RDLCK));
	NOTE(n, "%d", fcntl(fd, F_GETLEASE));
	CALL(n, open("f", O_RDWR | O_NONBLOCK));
	NOTE(n, "%d", fcntl(fd, F_GETLEASE));
	CALL(n, fcntl(fd, F_SETLEASE, F_UNLCK));
	CALL(n, close(open("f", O_RDWR | O_NONBLOCK)));
	CALL(n, fcntl(fd, F_SETLEASE, F_WRLCK));
	close(fd);
	fd = open("f", O_RDWR);
	CALL(n, fcntl(fd, F_SETLEASE, F_WRLCK));
	CALL(n, open("f", O_RDONLY | O_NONBLOCK));
	CALL(n, fcntl(fd, F_SETLEASE, F_UNLCK));
	close(fd);
	fd = open(".", O_RDONLY);
	CALL(n, fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
	close(fd);
}
DIFFERS(leases)
{
	signal(SIGIO, SIG_IGN);
	compare(&m, leases);
}
