/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STORE and MOUNTPOINT before there is a mount: may the one be shown at the other?
 *
 * A mountpoint inside STORE would show the mount within itself: refused. (Compared by
 * climbing from it and looking at inodes: paths can lie.) MOUNTPOINT may be STORE:
 * we work below the mount, by descriptor. It may also lie above STORE: that hides
 * STORE's path, which hurts nobody who is here, and its owner asked for it.
 *
 * A STORE that shows a vexfs mount is served already, if it was mounted over itself;
 * or it is a mount of another store, whose control directory stands where ours
 * belongs. Both are refused; a daemon that was just told to end gets an instant.
 */
#include "fs_i.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#define COVERED_TRIES 20

static vex_err say(struct vex_problem *p, vex_err err, const char *path, const char *why)
{
	snprintf(p->text, sizeof(p->text), "%.400s: %s", path, why);
	return err;
}

static vex_err say_errno(struct vex_problem *p, const char *path)
{
	int err = errno;

	if (err == ENOTCONN)
		return say(p, -err, path,
			   "a mount whose daemon is dead (fusermount3 -uz it first)");
	return say(p, -err, path, strerrordesc_np(err));
}

static bool shows_vexfs(int fd)
{
	struct statfs fs;
	struct stat st;

	return !fstatfs(fd, &fs) && fs.f_type == FUSE_SUPER_MAGIC &&
	       !fstatat(fd, HIDDEN_NAME "/control", &st, 0) && S_ISREG(st.st_mode);
}

static vex_err open_store(const char *store, int *out, struct vex_problem *p)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	for (int k = 0; k < COVERED_TRIES; k++) {
		AUTO_CLOSE int fd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			return say_errno(p, store);
		if (!shows_vexfs(fd)) {
			*out = take_fd(&fd);
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	return say(p, -EBUSY, store, "is a mounted vexfs already");
}

/* 1 if a directory above `fd` is `st`. */
static int lies_in(int fd, const struct stat *st)
{
	AUTO_CLOSE int at = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat below, here;

	if (at < 0 || fstat(fd, &below) || fstat(at, &here))
		return -errno;
	while (here.st_ino != below.st_ino || here.st_dev != below.st_dev) {
		if (here.st_ino == st->st_ino && here.st_dev == st->st_dev)
			return 1;
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (up < 0)
			return -errno;
		close(at);
		at = up;
		below = here;
		if (fstat(at, &here))
			return -errno;
	}
	return 0;
}

static vex_err check_mountpoint(int rootfd, const char *mountpoint, struct vex_problem *p)
{
	AUTO_CLOSE int fd = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat root, here;
	struct statfs fs;

	/* statfs: of a mount whose daemon died, the kernel may remember the rest. */
	if (fd < 0 || fstatfs(fd, &fs) || fstat(fd, &here) || fstat(rootfd, &root))
		return say_errno(p, mountpoint);
	if (here.st_ino == root.st_ino && here.st_dev == root.st_dev)
		return 0;
	int in = lies_in(fd, &root);
	if (in < 0) {
		errno = -in;
		return say_errno(p, mountpoint);
	}
	if (in)
		return say(p, -EINVAL, mountpoint,
			   "lies inside the store, and the mount would lie in itself");
	return 0;
}

vex_err vex_fs_open_store(const char *store, const char *mountpoint, int *rootfd,
			  struct vex_problem *problem)
{
	AUTO_CLOSE int fd = -1;

	vex_err err = open_store(store, &fd, problem);
	if (!err)
		err = check_mountpoint(fd, mountpoint, problem);
	if (!err)
		*rootfd = take_fd(&fd);
	return err;
}
