/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that are full, quotas that are used up, inodes that run out: the same small
 * ext4 image, once bare and once as STORE. How much fits differs by what the store
 * itself needs; which call fails, and how, does not. In a mount namespace of its own,
 * which ends with the test, and the images with it.
 */
#include "mount/compare.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define USER 12345
#define GROUP 54321

static struct vmount m;

/* As many inodes as said; a twentieth reserved for root. False without quotas. */
static bool image(const char *name, const char *at, int inodes, bool quota)
{
	const char *how = quota ? "-O quota -E quotatype=usrquota:grpquota" : "";
	const char *opts = quota ? ",usrquota,grpquota" : "";

	cr_assert_eq(vm_sh(&m, 60,
			   "truncate -s 48M %s/%s && mkfs.ext4 -q -m 5 -N %d %s %s/%s",
			   m.base, name, inodes, how, m.base, name),
		     0);
	if (vm_sh(&m, 60, "mount -o loop%s %s/%s %s 2>/dev/null && chmod 777 %s", opts,
		  m.base, name, at, at)) {
		cr_assert(quota, "cannot mount an image");
		return false;
	}
	return true;
}

static void up_with(int inodes, bool quota)
{
	if (geteuid() || access("/dev/loop-control", W_OK))
		cr_skip_test("needs root and loop devices");
	cr_assert(unshare(CLONE_NEWNS) == 0);
	cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	vm_new(&m);
	if (!image("a.img", m.plain, inodes, quota) ||
	    !image("b.img", m.store, inodes, quota))
		cr_skip_test("this kernel's ext4 has no quotas");
	vm_up(&m, "allow_other");
}

static void down(void)
{
	if (!m.base[0])
		return;
	int code = vm_stop(&m);
	for (int k = 0; k < 100 && (umount(m.store) && errno == EBUSY); k++)
		usleep(50000);
	umount(m.plain);
	vm_free(&m);
	cr_assert_eq(code, 0, "%s", vm_log(&m));
}

#define FULL(name) Test(full, name, .fini = down, .timeout = 120)

static char block[65536];

/* Until it fails: the error, if anything was written at all. */
static void fill(struct notes *n, const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0644);
	off_t done = 0;
	ssize_t got;

	sure(fd);
	while ((got = write(fd, block, sizeof(block))) > 0)
		done += got;
	NOTE(n, "%s: %s after %s", path, strerrorname_np(errno), done ? "some" : "none");
	close(fd);
}

/* ---- blocks --------------------------------------------------------------------------
 */

static void of_blocks(struct notes *n)
{
	char *big = malloc(4000);

	memset(big, 'x', 4000);
	close(open("before", O_CREAT | O_WRONLY, 0644));
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	CALL(n, fallocate(fd, 0, 0, 1ll << 30));
	NOTE(n, "%s", strerrorname_np(posix_fallocate(fd, 0, 1ll << 30)));
	sure(ftruncate(fd, 0));
	fill(n, "full");
	fill(n, "full2");
	CALL(n, pwrite(fd, block, sizeof(block), 0));
	CALL(n, fallocate(fd, 0, 0, 1 << 20));
	CALL(n, ftruncate(fd, 1ll << 33));                    /* a hole needs nothing */
	CALL(n, setxattr("before", "user.a", "small", 5, 0)); /* within the inode */
	CALL(n, setxattr("before", "user.big", big, 4000, 0));
	CALL(n, rename("before", "after"));
	CALL(n, chmod("after", 0600));
	CALL(n, link("after", "linked"));
	CALL(n, unlink("linked"));
	CALL(n, truncate("full", 1 << 20));
	CALL(n, pwrite(fd, block, sizeof(block), 0));
	CALL(n, fsync(fd));
	CALL(n, unlink("full"));
	CALL(n, unlink("full2"));
	usleep(50000);
	CALL(n, mkdir("d", 0755));
	close(fd);
	free(big);
}
FULL(of_blocks_for_root)
{
	up_with(2000, false);
	compare(&m, of_blocks);
}

/* A user leaves root's part alone, and root finds it there. */
static void reserved_for_root(const char *opts)
{
	struct statvfs a, b;

	up_with(2000, false);
	vm_remount(&m, opts);
	compare_as(&m, USER, GROUP, GROUP, of_blocks);
	for (int k = 0; k < 2; k++) {
		const char *dir = k ? m.mnt : m.plain;

		cr_assert_eq(
		    vm_sh(
			&m, 60,
			"cd %s && setpriv --reuid %d --clear-groups "
			"dd if=/dev/zero of=as-user/fill bs=64k 2>/dev/null; sync -f .; "
			"test $(stat -f -c %%f .) -gt 300 -a $(stat -f -c %%a .) -lt 64 "
			"&& "
			"dd if=/dev/zero of=by-root bs=64k count=8 2>/dev/null",
			k ? m.mnt : m.plain, USER),
		    0, "%s", dir);
	}
	cr_assert(statvfs(m.store, &a) == 0 && statvfs(m.mnt, &b) == 0);
	cr_assert(a.f_bfree == b.f_bfree && a.f_bavail == b.f_bavail);
	cr_assert(a.f_files == b.f_files && a.f_ffree == b.f_ffree);
	cr_assert(a.f_frsize == b.f_frsize && a.f_blocks == b.f_blocks);
}
FULL(of_blocks_for_a_user)
{
	reserved_for_root("allow_other");
}
FULL(of_blocks_for_a_user_by_splice)
{
	reserved_for_root("allow_other,passthrough=off");
}

/* A store through a mapping into a hole, on a full disk, does not get lost in silence. */
FULL(stores_through_mappings_are_told)
{
	up_with(2000, false);
	cr_assert_eq(vm_sh(&m, 60,
			   "dd if=/dev/zero of=$M/full bs=64k 2>/dev/null; sync -f $S; "
			   "dd if=/dev/zero of=$M/full2 bs=4k 2>/dev/null; sync -f $S"),
		     0);
	int fd = open(vm_at(&m, "f"), O_CREAT | O_RDWR, 0644);
	cr_assert(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
	int status;
	pid_t pid = fork();
	if (!pid) { /* it may also be told by a signal, which sanitizers would catch */
		signal(SIGBUS, SIG_DFL);
		char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		for (int k = 0; k < 1 << 20; k += 4096)
			p[k] = 1;
		int r = msync(p, 1 << 20, MS_SYNC) ? errno : 0;
		int c = fsync(fd) ? errno : 0;
		_exit(r ? r : c);
	}
	pid_t ended = waitpid(pid, &status, 0);
	close(fd); /* before any assertion: an open file keeps the mount busy */
	cr_assert(ended == pid);
	cr_assert(WIFSIGNALED(status)
		      ? WTERMSIG(status) == SIGBUS
		      : WEXITSTATUS(status) == ENOSPC || WEXITSTATUS(status) == EIO,
		  "%x", status);
}

/* ---- inodes --------------------------------------------------------------------------
 */

static void of_inodes(struct notes *n)
{
	char name[16];
	int k;

	close(open("here", O_CREAT | O_WRONLY, 0644));
	for (k = 0; k < 1000; k++) {
		snprintf(name, sizeof(name), "f%d", k);
		int fd = open(name, O_CREAT | O_WRONLY, 0644);
		if (fd < 0)
			break;
		close(fd);
	}
	NOTE(n, "%s after %s", strerrorname_np(errno), k > 10 ? "some" : "none");
	CALL(n, open("x", O_CREAT | O_WRONLY, 0644));
	CALL(n, mkdir("x", 0755));
	CALL(n, symlink("y", "x"));
	CALL(n, mkfifo("x", 0644));
	CALL(n, link("here", "x"));
	CALL(n, rename("x", "z"));
	CALL(n, unlink("f0"));
	usleep(50000); /* the kernel forgets it a moment later */
	CALL(n, mkdir("x", 0755));
	fill(n, "here");
	CALL(n, unlink("f1"));
	usleep(50000);
	CALL(n, mkdir("x", 0755));
}
FULL(of_inodes_for_root)
{
	up_with(256, false);
	compare(&m, of_inodes);
}
FULL(of_inodes_for_a_user)
{
	up_with(256, false);
	compare_as(&m, USER, GROUP, GROUP, of_inodes);
}

/* ---- quotas --------------------------------------------------------------------------
 */

static void limit(const char *at, int type, int id, uint64_t kib, uint64_t inodes)
{
	struct dqblk q = { .dqb_bhardlimit = kib,
			   .dqb_bsoftlimit = kib,
			   .dqb_ihardlimit = inodes,
			   .dqb_isoftlimit = inodes,
			   .dqb_valid = QIF_LIMITS };
	char *dev;

	cr_assert_eq(vm_sh_out(&m, 10, &dev, "findmnt -no SOURCE %s | tr -d '\\n'", at),
		     0);
	int cmd = (int)QCMD((unsigned)Q_SETQUOTA, type);
	cr_assert(quotactl(cmd, dev, id, (void *)&q) == 0, "%s: %s", dev,
		  strerror(errno));
}

static void of_quota(struct notes *n)
{
	char name[16];
	int k;

	fill(n, "f");
	CALL(n, mkdir("d", 0755));
	int fd = open("g", O_CREAT | O_RDWR, 0644);
	CALL(n, pwrite(fd, block, sizeof(block), 0));
	CALL(n, fallocate(fd, 0, 0, 1 << 20));
	CALL(n, ftruncate(fd, 1 << 20));
	NOTE(n, "%d",
	     copy_file_range(open("f", O_RDONLY), &(loff_t){ 0 }, fd, &(loff_t){ 0 },
			     1 << 18, 0) > 0);
	CALL(n, truncate("f", 4096));
	CALL(n, pwrite(fd, block, 4096, 0));
	close(fd);
	for (k = 0; k < 40; k++) {
		snprintf(name, sizeof(name), "i%d", k);
		if (mkdir(name, 0755))
			break;
	}
	NOTE(n, "%d: %s", k, strerrorname_np(errno));
	CALL(n, open("x", O_CREAT | O_WRONLY, 0644));
	CALL(n, symlink("y", "x"));
	CALL(n, mknod("x", S_IFREG | 0644, 0));
	CALL(n, link("g", "x"));
	CALL(n, unlink("x"));
	CALL(n, rmdir("i0"));
	usleep(50000);
	CALL(n, symlink("y", "x"));
}
FULL(of_a_users_quota)
{
	up_with(2000, true);
	limit(m.plain, USRQUOTA, USER, 1024, 30);
	limit(m.store, USRQUOTA, USER, 1024, 30);
	compare_as(&m, USER, GROUP, GROUP, of_quota);
}
FULL(of_a_groups_quota)
{
	up_with(2000, true);
	limit(m.plain, GRPQUOTA, GROUP, 1024, 30);
	limit(m.store, GRPQUOTA, GROUP, 1024, 30);
	compare_as(&m, USER, GROUP, GROUP, of_quota);
}
