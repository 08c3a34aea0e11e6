/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RENAME, with NOREPLACE and EXCHANGE. WHITEOUT is refused: it makes device nodes for
 * union filesystems, which want an upper directory we do not offer to be.
 *
 * Both objects are opened before, as in remove.c: the one that moves to learn its new
 * place, the one that is replaced because its name goes.
 */
#include "fs_i.h"

#include <linux/fs.h>

struct moving {
	struct vex_fs *fs;
	struct inode *olddir, *newdir;
	const char *oldname, *newname;
	unsigned flags;
	struct fdref from, to;
	struct victim src, dst;
};

static void moving_end(struct moving *m)
{
	victim_put(&m->src);
	victim_put(&m->dst);
	fd_put(&m->from);
	fd_put(&m->to);
}

static vex_err moving_check(const struct moving *m)
{
	if (m->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	vex_err err = may_change(m->fs, m->olddir, m->oldname);
	return err ? err : may_change(m->fs, m->newdir, m->newname);
}

static vex_err moving_open(struct moving *m)
{
	vex_err err = fd_get(m->fs, m->olddir, &m->from);

	if (!err)
		err = fd_get(m->fs, m->newdir, &m->to);
	if (!err)
		err = victim_open(m->fs, m->from.fd, m->oldname, &m->src);
	if (err)
		return err;
	err = victim_open(m->fs, m->to.fd, m->newname, &m->dst);
	return err == -ENOENT ? 0 : err;
}

static bool same_object(const struct moving *m)
{
	return m->dst.st.st_nlink && m->src.st.st_ino == m->dst.st.st_ino &&
	       m->src.st.st_dev == m->dst.st.st_dev;
}

/* True where the replaced file is still open. */
static bool moved(struct moving *m, const struct vex_rename *r)
{
	bool open = false;

	/* Two names of one file: rename(2) does nothing. */
	if (same_object(m))
		return false;
	if (m->flags & RENAME_EXCHANGE) {
		if (m->dst.inode)
			inode_name(m->fs, m->dst.inode, m->olddir, m->oldname);
	} else if (m->dst.st.st_nlink) {
		open = victim_gone(&m->dst, m->newdir, m->newname,
				   r->victim.last ? r->victim.node : 0);
	}
	if (m->src.inode)
		inode_name(m->fs, m->src.inode, m->newdir, m->newname);
	return open;
}

static vex_err rename_as(struct moving *m)
{
	struct vex_rename r;
	bool open = false;

	vex_err err = moving_check(m);
	if (!err)
		err = moving_open(m);
	if (!err)
		err = vex_engine_rename_begin(m->fs->engine, m->from.fd, m->oldname,
					      m->to.fd, m->newname, m->flags, &r);
	if (err)
		return err;
	if (renameat2(m->from.fd, m->oldname, m->to.fd, m->newname, m->flags))
		err = -errno;
	else
		open = moved(m, &r);
	if (!err && !r.src)
		vex_engine_rename_event(m->fs->engine, &r);
	r.victim.obj_fd = m->dst.inode ? m->dst.ref.fd : -1;
	uint64_t node = r.victim.node;
	vex_engine_rename_end(m->fs->engine, &r, err, open);
	/* As in remove_name. */
	if (open && node && inode_lost(m->fs, m->dst.inode))
		vex_engine_released(m->fs->engine, node);
	return err;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned flags)
{
	__attribute__((cleanup(moving_end))) struct moving m = {
		.fs = fs_of(req),
		.olddir = inode_of(req, parent),
		.newdir = inode_of(req, newparent),
		.oldname = name,
		.newname = newname,
		.flags = flags,
		.from = FDREF_INIT,
		.to = FDREF_INIT,
		.src = VICTIM_INIT,
		.dst = VICTIM_INIT,
	};

	reply_err(req, rename_as(&m));
}
