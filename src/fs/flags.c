/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags of files: chattr(1), lsattr(1), project ids (FS_IOC_GETFLAGS and its kin).
 *
 * The kernel turns such an ioctl of any file or directory into one of four, each with
 * its argument inline, on a descriptor it opens to read for that; it has checked that
 * the caller owns the file, and may set what is for administrators. They are passed on
 * to the backing filesystem, which keeps the flags and acts by them: what it then refuses
 * (EPERM) is refused through the mount. No other ioctl of the backing filesystem is
 * passed on: it would be done with the daemon's rights.
 */
#include "fs_i.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

static bool is_get(unsigned cmd)
{
	return cmd == FS_IOC_GETFLAGS || cmd == FS_IOC_FSGETXATTR;
}

/* Bytes of the argument, as the kernel sends it (flags: an int, whatever the number of
 * the ioctl says); 0: not one of these. */
static size_t arg_size(unsigned cmd)
{
	switch (cmd) {
	case FS_IOC_GETFLAGS:
	case FS_IOC_SETFLAGS:
		return sizeof(int);
	case FS_IOC_FSGETXATTR:
	case FS_IOC_FSSETXATTR:
		return sizeof(struct fsxattr);
	default:
		return 0;
	}
}

static vex_err flags_ioctl(struct vex_fs *fs, struct handle *h, unsigned cmd, void *arg)
{
	AUTO_CLOSE int own = -1;
	int fd = -1;
	vex_err err;

	if (S_ISDIR(h->inode->type)) {
		err = dir_to_list(fs, h->inode, &own);
		fd = own;
	} else {
		err = handle_fd(fs, h, &fd);
	}
	if (err)
		return err;
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

bool flags_op(fuse_req_t req, struct handle *h, unsigned cmd, const void *in,
	      size_t in_size, size_t out_size)
{
	struct vex_fs *fs = fs_of(req);
	size_t size = arg_size(cmd);
	union {
		int flags;
		struct fsxattr x;
	} arg = { 0 };

	if (!size || h->inode->kind != I_BACKED)
		return false;
	if (is_get(cmd) ? out_size < size : in_size < size) {
		reply_err(req, -EINVAL);
		return true;
	}
	if (!is_get(cmd))
		memcpy(&arg, in, size);
	vex_err err = flags_ioctl(fs, h, cmd, &arg);
	if (err) {
		reply_err(req, err);
		return true;
	}
	if (!is_get(cmd)) /* the ctime has moved */
		fuse_lowlevel_notify_inval_inode(fs->session, h->inode->id, -1, 0);
	fuse_reply_ioctl(req, 0, &arg, is_get(cmd) ? size : 0);
	return true;
}
