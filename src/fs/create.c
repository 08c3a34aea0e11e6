/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New names: MKNOD, MKDIR, SYMLINK, LINK, CREATE. What is made belongs to the caller
 * (cred.c).
 *
 * CREATE always makes (O_EXCL below): the kernel checked that the caller may make a
 * file here, not that it may open one that is there. A file that came into being
 * between its lookup and now, made by another or behind the mount, is -ESTALE; the
 * kernel then looks the name up afresh and asks for an OPEN, with the checks an open
 * needs.
 *
 * A CREATE with O_TMPFILE makes a file without a name (wire.c turns TMPFILE into it).
 */
#include "fs_i.h"

struct making {
	struct vex_fs *fs;
	struct inode *parent;
	const char *name;
	struct fdref dir;
	struct acting as;
};

static void making_end(struct making *m)
{
	acting_end(&m->as);
	fd_put(&m->dir);
}
#define AUTO_MAKING __attribute__((cleanup(making_end)))

/* From here to making_done this thread makes things as the caller. */
static vex_err making_begin(fuse_req_t req, fuse_ino_t parent, const char *name,
			    struct making *m)
{
	*m = (struct making){ .fs = fs_of(req), .name = name, .dir = FDREF_INIT };
	m->parent = inode_of(req, parent);
	vex_err err = may_change(m->fs, m->parent, name);
	if (err)
		return err;
	err = fd_get(m->fs, m->parent, &m->dir);
	if (err)
		return err;
	return acting_begin(req, ACT_CREATE, &m->as);
}

/* Ends acting; the entry of what was made, or the error of the system call. */
static vex_err making_done(struct making *m, int result, struct fuse_entry_param *e)
{
	vex_err err = result < 0 ? -errno : 0;

	acting_end(&m->as);
	if (!err)
		vex_engine_file_event(m->fs->engine, VEX_NOTE_CREATE, m->dir.fd, m->name);
	return err ? err : entry_lookup(m->fs, m->parent, m->name, e);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev)
{
	AUTO_MAKING struct making m;
	struct fuse_entry_param e;

	vex_err err = making_begin(req, parent, name, &m);
	if (!err)
		err = making_done(&m, mknodat(m.dir.fd, name, mode, rdev), &e);
	if (!err && S_ISREG(e.attr.st_mode))
		vex_engine_made(m.fs->engine, m.dir.fd, name);
	reply_entry(req, err, &e);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (inode_of(req, parent)->kind == I_VIRT) {
		virt_mkdir(req, inode_of(req, parent), name);
		return;
	}
	AUTO_MAKING struct making m;
	struct fuse_entry_param e;

	vex_err err = making_begin(req, parent, name, &m);
	if (!err)
		err = making_done(&m, mkdirat(m.dir.fd, name, mode), &e);
	reply_entry(req, err, &e);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	AUTO_MAKING struct making m;
	struct fuse_entry_param e;

	vex_err err = making_begin(req, parent, name, &m);
	if (!err)
		err = making_done(&m, symlinkat(target, m.dir.fd, name), &e);
	reply_entry(req, err, &e);
}

/* ---- LINK
 * ------------------------------------------------------------------------------ */

static vex_err link_as(struct vex_fs *fs, struct inode *i, struct inode *parent,
		       const char *name)
{
	AUTO_OBJ struct objref o = OBJREF_INIT;
	AUTO_FD struct fdref dir = FDREF_INIT;

	vex_err err = may_change(fs, parent, name);
	if (err || i->kind != I_BACKED)
		return -EPERM;
	err = fd_get(fs, parent, &dir);
	if (!err)
		err = obj_get(fs, i, -1, &o);
	if (!err)
		err = vex_engine_link_begin(fs->engine, &o.obj, dir.fd, name);
	if (err)
		return err;
	if (linkat(AT_FDCWD, vex_procfd(o.self.fd).path, dir.fd, name, AT_SYMLINK_FOLLOW))
		err = -errno;
	vex_engine_link_end(fs->engine, &o.obj, dir.fd, name, err);
	return err;
}

/* A link belongs to nobody new: no acting. */
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct vex_fs *fs = fs_of(req);
	struct fuse_entry_param e;

	vex_err err = link_as(fs, inode_of(req, ino), inode_of(req, parent), name);
	if (!err)
		err = entry_lookup(fs, inode_of(req, parent), name, &e);
	reply_entry(req, err, &e);
}

/* ---- CREATE
 * ------------------------------------------------------------------------------ */

static int create_flags(int flags)
{
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return (flags & (O_ACCMODE | O_TMPFILE | O_EXCL)) | O_NOCTTY;
	return (flags & ~(O_TRUNC | O_APPEND | O_DIRECT | O_NOATIME)) | O_CREAT | O_EXCL |
	       O_NOFOLLOW | O_NOCTTY;
}

/* The entry of the file just made, from its own descriptor. */
static vex_err entry_of_open(struct making *m, int fd, struct fuse_entry_param *e)
{
	/* Without handles this descriptor may be the only way back to it. */
	if (m->name && m->fs->handles)
		return entry_of_made(m->fs, m->parent, m->name, fd, e);
	int path = vex_openat(AT_FDCWD, vex_procfd(fd).path, O_PATH, 0);

	if (path < 0)
		return -errno;
	return entry_from_fd(m->fs, m->parent, m->name, path, false, e);
}

/* Where it is made, and by which name: a nameless one is made in the directory itself. */
static int create_open(struct making *m, int flags, mode_t mode)
{
	if ((flags & O_TMPFILE) != O_TMPFILE)
		return vex_openat(m->dir.fd, m->name, create_flags(flags), mode & 07777);
	m->name = NULL;
	return vex_openat(m->dir.fd, ".", create_flags(flags), mode & 07777);
}

static vex_err create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      int flags, struct fuse_entry_param *e, struct handle **h)
{
	AUTO_MAKING struct making m;

	vex_err err = making_begin(req, parent, name, &m);
	if (err)
		return err;
	AUTO_CLOSE int fd = create_open(&m, flags, mode);
	err = fd < 0 ? -errno : 0;
	acting_end(&m.as);
	if (err)
		return err == -EEXIST && !(flags & O_EXCL) ? -ESTALE : err;
	vex_engine_file_event(m.fs->engine, VEX_NOTE_CREATE, m.dir.fd, name);
	if (m.name)
		vex_engine_made(m.fs->engine, m.dir.fd, name);
	err = entry_of_open(&m, fd, e);
	if (err)
		return err;
	err = handle_new(m.fs, inode_of(req, e->ino), take_fd(&fd), h);
	if (err)
		inode_unref(m.fs, inode_of(req, e->ino), 1);
	return err;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct vex_fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct handle *h = NULL;

	vex_err err = create(req, parent, name, mode, fi->flags, &e, &h);
	if (err) {
		reply_err(req, err);
		return;
	}
	struct inode *i = inode_of(req, e.ino);
	fi->noflush = handle_made_quiet(fs, h);
	fi->fh = (uintptr_t)h;
	struct stat st = e.attr;
	if (handle_reply(req, h, &e, fi, &st)) { /* nobody will release it */
		handle_close(fs, h);
		inode_unref(fs, i, 1);
	}
}
