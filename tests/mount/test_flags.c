/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags of files and directories, as chattr(1) sets them, through the mount as below.
 */
#include "mount/compare.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

static struct vmount m;

static void up(void)
{
	if (geteuid())
		cr_skip_test("needs root");
	vm_new(&m);
	vm_up(&m, "allow_other");
}

static void down(void)
{
	if (geteuid())
		return;
	vm_sh(&m, 10, "chattr -R -i -a $S $P 2>/dev/null");
	vm_free(&m);
}

#define FTEST(name) Test(flags, name, .init = up, .fini = down, .timeout = 60)

/* With what the filesystem below says of itself left out (extents, inline data). */
#define SHOWN (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL)

static void note_flags(struct notes *n, const char *path)
{
	struct fsxattr x;
	int flags = 0;
	int fd = open(path, O_RDONLY);

	CALL(n, ioctl(fd, FS_IOC_GETFLAGS, &flags));
	NOTE(n, "%x", flags & SHOWN);
	memset(&x, 0, sizeof(x));
	CALL(n, ioctl(fd, FS_IOC_FSGETXATTR, &x));
	NOTE(n, "%x %u", x.fsx_xflags & (FS_XFLAG_IMMUTABLE | FS_XFLAG_NODUMP),
	     x.fsx_projid);
	close(fd);
}

static int set_flags(const char *path, int flags)
{
	int now, fd = open(path, O_RDONLY);
	int r = ioctl(fd, FS_IOC_GETFLAGS, &now);

	now = (now & ~SHOWN) | flags;
	if (!r)
		r = ioctl(fd, FS_IOC_SETFLAGS, &now);
	int err = errno;
	close(fd);
	errno = err;
	return r;
}

static void setting(struct notes *n)
{
	sure(close(open("f", O_CREAT | O_WRONLY, 0644)));
	sure(mkdir("d", 0755));
	note_flags(n, "f");
	note_flags(n, "d");
	CALL(n, set_flags("f", FS_NODUMP_FL | FS_NOATIME_FL));
	note_flags(n, "f");
	CALL(n, set_flags("d", FS_NODUMP_FL));
	note_flags(n, "d");
	CALL(n, set_flags("f", FS_IMMUTABLE_FL));
	note_flags(n, "f");
	CALL(n, open("f", O_WRONLY));
	CALL(n, unlink("f"));
	CALL(n, rename("f", "g"));
	CALL(n, chmod("f", 0600));
	CALL(n, set_flags("f", FS_APPEND_FL));
	CALL(n, open("f", O_WRONLY));
	CALL(n, truncate("f", 0));
	int fd = open("f", O_WRONLY | O_APPEND);
	CALL(n, write(fd, "one", 3));
	CALL(n, write(fd, "two", 3));
	close(fd);
	CALL(n, set_flags("f", 0));
	CALL(n, set_flags("d", FS_IMMUTABLE_FL));
	CALL(n, open("d/new", O_CREAT | O_WRONLY, 0644));
	CALL(n, set_flags("d", 0));
	note_flags(n, "f");
	note_flags(n, "d");
	CALL(n, unlink("f"));
	CALL(n, rmdir("d"));
}
FTEST(are_kept_and_act)
{
	compare(&m, setting);
}

static int as_stranger(void *arg)
{
	(void)arg;
	return set_flags(vm_at(&m, "f"), FS_NODUMP_FL) ? errno : 0;
}

static int as_owner(void *arg)
{
	(void)arg;
	return set_flags(vm_at(&m, "f"), FS_IMMUTABLE_FL) ? errno : 0;
}

static int as_owner_nodump(void *arg)
{
	(void)arg;
	return set_flags(vm_at(&m, "f"), FS_NODUMP_FL) ? errno : 0;
}

FTEST(are_for_those_who_may)
{
	vm_puts(vm_at(&m, "f"), "x");
	cr_assert(!chmod(m.mnt, 0755) && !chown(vm_at(&m, "f"), 1000, 1000));
	cr_expect_eq(vm_as(1001, 1001, NULL, 0, as_stranger, NULL), EPERM);
	cr_expect_eq(vm_as(1000, 1000, NULL, 0, as_owner, NULL), EPERM);
	cr_expect_eq(vm_as(1000, 1000, NULL, 0, as_owner_nodump, NULL), 0);
}

/* Other ioctls of the filesystem below are not passed on. */
FTEST(nothing_else_is_passed_on)
{
	int fd = open(vm_at(&m, "f"), O_CREAT | O_RDWR, 0644);
	long version;

	cr_assert(fd >= 0);
	cr_expect(ioctl(fd, FS_IOC_GETVERSION, &version) < 0 && errno == ENOTTY);
	close(fd);
}
