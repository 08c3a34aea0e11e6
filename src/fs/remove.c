/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that go: UNLINK, RMDIR.
 *
 * The object is opened before its name goes, so that afterwards one can tell whether it
 * was the last, and keep the descriptor for those who still use the file. engine hears
 * before (it commits an intent) and after.
 */
#include "fs_i.h"

static vex_err victim_find(struct vex_fs *fs, int dirfd, const char *name,
			   struct victim *v)
{
	uint64_t since = fd_clock(fs);
	struct vex_fh fh;

	v->fs = fs;
	/* As a rule it was just looked up, so it is here. */
	if (fstatat(dirfd, name, &v->st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	v->inode = inode_held(fs, &v->st, since);
	if (v->inode)
		return fd_get(fs, v->inode, &v->ref);
	AUTO_CLOSE int fd = vex_openat(dirfd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return -errno;
	vex_err err = identify(fd, &v->st, &fh);
	if (err)
		return err;
	if (is_hidden(fs, &v->st))
		return -EPERM;
	v->inode = inode_find(fs, &v->st, &fh);
	if (v->inode)
		fd_give(fs, v->inode, take_fd(&fd), &v->ref);
	return 0;
}

/* The object at (dir, name), held while its name goes. */
vex_err victim_open(struct vex_fs *fs, int dirfd, const char *name, struct victim *v)
{
	vex_err err = victim_find(fs, dirfd, name, v);

	if (v->inode)
		inode_leaving(fs, v->inode, true);
	return err;
}

void victim_put(struct victim *v)
{
	fd_put(&v->ref);
	if (v->inode) {
		inode_leaving(v->fs, v->inode, false);
		inode_unref(v->fs, v->inode, 1);
	}
	v->inode = NULL;
}

bool victim_gone(struct victim *v, struct inode *parent, const char *name, uint64_t node)
{
	struct stat st;

	if (!v->inode) /* not known to the kernel, so not open */
		return false;
	inode_unname(v->fs, v->inode, parent, name);
	if (fstatat(v->ref.fd, "", &st, AT_EMPTY_PATH))
		return false;
	/* A removed directory has no links, or on some filesystems one. */
	if (st.st_nlink && !S_ISDIR(st.st_mode)) {
		if (!v->fs->handles || !inode_has_fh(v->inode))
			fd_pin(&v->ref);
		return false;
	}
	fd_pin(&v->ref);
	if (node)
		atomic_store(&v->inode->node, node);
	return inode_nameless(v->fs, v->inode);
}

static vex_err remove_name(struct vex_fs *fs, struct inode *parent, const char *name,
			   int flags)
{
	AUTO_VICTIM struct victim v = VICTIM_INIT;
	AUTO_FD struct fdref dir = FDREF_INIT;
	struct vex_removal r;
	bool open = false;

	vex_err err = may_change(fs, parent, name);
	if (!err)
		err = fd_get(fs, parent, &dir);
	if (!err)
		err = victim_open(fs, dir.fd, name, &v);
	if (!err)
		err = vex_engine_unlink_begin(fs->engine, dir.fd, name, &r);
	if (err)
		return err;
	err = unlinkat(dir.fd, name, flags) ? -errno : 0;
	if (!err)
		open = victim_gone(&v, parent, name, r.last ? r.node : 0);
	if (!err && !r.node)
		vex_engine_file_event(fs->engine, VEX_NOTE_UNLINK, dir.fd, name);
	r.obj_fd = v.inode ? v.ref.fd : -1;
	uint64_t node = r.node;
	vex_engine_unlink_end(fs->engine, &r, err, open);
	/* Closed by now: that may have been too early to free anything. */
	if (open && node && inode_lost(fs, v.inode))
		vex_engine_released(fs->engine, node);
	return err;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_err(req, remove_name(fs_of(req), inode_of(req, parent), name, 0));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (inode_of(req, parent)->kind == I_VIRT) {
		virt_rmdir(req, inode_of(req, parent), name);
		return;
	}
	reply_err(req,
		  remove_name(fs_of(req), inode_of(req, parent), name, AT_REMOVEDIR));
}
