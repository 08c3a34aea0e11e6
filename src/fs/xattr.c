/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. "user.vexfs.*" belongs to engine and never reaches the backing
 * file, in either direction: what a backing file has under such names (the hidden mark;
 * what a copy without us left) is neither listed nor read. All else goes to the backing
 * file through /proc/self/fd, which O_PATH descriptors need.
 *
 * The kernel has checked the caller's rights, the sizes (65,536 at most) and the flags.
 * Two things it leaves to us: "trusted.*" is listed for administrators alone, and an
 * ACL set by one who is not in the file's group clears setgid.
 */
#include "fs_i.h"

#include <sys/xattr.h>

#define SMALL 512u

/* What follows "user.vexfs." in a name of ours, else NULL. */
static const char *our_attr(const char *name)
{
	size_t n = strlen(VEX_XATTR_PREFIX);

	return strncmp(name, VEX_XATTR_PREFIX, n) ? NULL : name + n;
}

static bool may_carry(const struct inode *i)
{
	return i->kind == I_BACKED && (S_ISREG(i->type) || S_ISDIR(i->type));
}

/* ---- SETXATTR, REMOVEXATTR ------------------------------------------------------ */

/* An access ACL takes setgid away unless the caller is root or in the file's group. */
static vex_err acting_on_acl(fuse_req_t req, int fd, const char *name, struct acting *as)
{
	struct stat st;

	if (!fuse_req_ctx(req)->uid || strcmp(name, "system.posix_acl_access"))
		return 0;
	if (fstatat(fd, "", &st, AT_EMPTY_PATH))
		return -errno;
	if (!(st.st_mode & S_ISGID) || caller_in_group(req, st.st_gid))
		return 0;
	return acting_begin(req, ACT_CHANGE, as);
}

static vex_err set_backing(fuse_req_t req, struct inode *i, const char *name,
			   const char *value, size_t size, int flags)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	AUTO_ACTING struct acting as = { 0 };

	vex_err err = fd_get(fs_of(req), i, &ref);
	if (!err)
		err = acting_on_acl(req, ref.fd, name, &as);
	if (err)
		return err;
	if (setxattr(vex_procfd(ref.fd).path, name, value, size, flags))
		return -errno;
	inode_maybe_capable(i);
	attrs_changed(fs_of(req), i);
	return 0;
}

/* Not inline: its frame is for those who want it. */
static __attribute__((noinline)) void audit(fuse_req_t req, const struct objref *o,
					    const char *what, const char *attr,
					    vex_err err)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	const struct vex_cred who = { .uid = ctx->uid, .gid = ctx->gid };

	vex_audit(fs_of(req)->engine, &who, what, err, "%s on %s", attr,
		  o->obj.name ? o->obj.name : "?");
}

static vex_err set_ours(fuse_req_t req, struct inode *i, const char *attr,
			const char *value, size_t size, int flags)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_OBJ struct objref o = OBJREF_INIT;

	vex_err err = obj_get(fs, i, -1, &o);
	if (err)
		return err;
	err = vex_engine_xattr_set(fs->engine, &o.obj, attr, value, size, flags);
	/* Removed meanwhile, and nobody has it open whose close would free them. */
	if (!err && inode_lost(fs, i))
		vex_engine_released(fs->engine, atomic_load(&i->node));
	audit(req, &o, "attach", attr, err);
	return err;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		 size_t size, int flags)
{
	struct inode *i = inode_of(req, ino);
	const char *attr = our_attr(name);
	vex_err err;

	if (i->kind == I_VIRT)
		err = virt_xattr_set(req, i, name, value, size, flags);
	else if (i->kind != I_BACKED || (attr && !may_carry(i)))
		err = -EPERM;
	else if (attr)
		err = set_ours(req, i, attr, value, size, flags);
	else
		err = set_backing(req, i, name, value, size, flags);
	reply_err(req, err);
}

static vex_err remove_attr(fuse_req_t req, struct inode *i, const char *name)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_OBJ struct objref o = OBJREF_INIT;
	const char *attr = our_attr(name);

	if (i->kind != I_BACKED || (attr && !may_carry(i)))
		return -EPERM;
	vex_err err = obj_get(fs, i, -1, &o);
	if (err)
		return err;
	if (attr) {
		err = vex_engine_xattr_remove(fs->engine, &o.obj, attr);
		audit(req, &o, "detach", attr, err);
		return err;
	}
	if (removexattr(vex_procfd(o.obj.fd).path, name))
		return -errno;
	attrs_changed(fs, i);
	return 0;
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct inode *i = inode_of(req, ino);

	if (i->kind == I_VIRT)
		reply_err(req, virt_xattr_remove(req, i, name));
	else
		reply_err(req, remove_attr(req, i, name));
}

/* ---- GETXATTR
 * -------------------------------------------------------------------------- */

/* One reply for a value or a list: its size where that was asked, else the bytes. */
static void reply_bytes(fuse_req_t req, vex_err err, const void *data, size_t len,
			size_t size)
{
	if (err)
		reply_err(req, err);
	else if (!size)
		fuse_reply_xattr(req, len);
	else if (len > size)
		reply_err(req, -ERANGE);
	else
		fuse_reply_buf(req, data, len);
}

static bool is_capability(const char *name)
{
	return !strcmp(name, "security.capability");
}

static void get_backing(fuse_req_t req, struct inode *i, const char *name, size_t size)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	AUTO_FREE char *big = size > SMALL ? malloc(size) : NULL;
	char small[SMALL], *value = big ? big : small;
	ssize_t n = 0;

	vex_err err = size > SMALL && !big ? -ENOMEM : fd_get(fs_of(req), i, &ref);
	if (!err)
		n = vex_getxattr(ref.fd, name, value, size);
	if (!err && n < 0)
		err = -errno;
	if (err == -ENODATA && is_capability(name))
		inode_capless(i);
	reply_bytes(req, err, value, (size_t)n, size);
}

static void get_ours(fuse_req_t req, struct inode *i, const char *attr, size_t size)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_OBJ struct objref o = OBJREF_INIT;
	AUTO_BUF struct vex_buf value = { .cap = VEX_VALUE_MAX };
	struct caller who;

	if (atomic_load(&i->nquiet) && named_vec(fs, i))
		quiet_settle(fs, i); /* it got that name while it was open */
	vex_err err = obj_get(fs, i, -1, &o);
	if (!err) {
		/* Only what is computed looks at who asks. */
		if (*attr == '_')
			caller_get(req, &who);
		else
			who.cred = (struct vex_cred){ .uid = fuse_req_ctx(req)->uid };
		err = vex_engine_xattr_get(fs->engine, &o.obj, &who.cred, attr, &value);
	}
	reply_bytes(req, err, value.data ? value.data : "", value.len, size);
}

static void get_virt(fuse_req_t req, struct inode *i, const char *name, size_t size)
{
	AUTO_BUF struct vex_buf value = { 0 };
	vex_err err = virt_xattr_get(fs_of(req), i, name, &value);

	reply_bytes(req, err, value.data ? value.data : "", value.len, size);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct inode *i = inode_of(req, ino);
	const char *attr = our_attr(name);

	if (i->kind == I_VIRT)
		get_virt(req, i, name, size);
	else if (i->kind != I_BACKED || (attr && !may_carry(i)) ||
		 (is_capability(name) && inode_is_capless(i)))
		reply_err(req, -ENODATA);
	else if (attr)
		get_ours(req, i, attr, size);
	else
		get_backing(req, i, name, size);
}

/* ---- LISTXATTR
 * -------------------------------------------------------------------------- */

static bool shown(const char *name, bool admin)
{
	return !our_attr(name) && (admin || strncmp(name, "trusted.", 8));
}

/* The backing file's names, less those not for this caller. */
static vex_err list_backing(int fd, bool admin, struct vex_buf *out)
{
	struct vex_procfd at = vex_procfd(fd);
	AUTO_FREE char *names = NULL;
	ssize_t n = listxattr(at.path, NULL, 0);

	if (n > 0) {
		names = malloc(XATTR_LIST_MAX);
		if (!names)
			return -ENOMEM;
		n = listxattr(at.path, names, XATTR_LIST_MAX);
	}
	if (n < 0) /* no xattrs here: then ours alone */
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (ssize_t k = 0; k < n; k += (ssize_t)strlen(names + k) + 1) {
		if (shown(names + k, admin))
			vex_buf_add(out, names + k, strlen(names + k) + 1);
	}
	return out->err;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct vex_fs *fs = fs_of(req);
	struct inode *i = inode_of(req, ino);
	AUTO_OBJ struct objref o = OBJREF_INIT;
	AUTO_BUF struct vex_buf out = { 0 };
	vex_err err = 0;

	if (i->kind == I_VIRT) {
		err = virt_xattr_list(fs, i, &out);
	} else if (i->kind == I_BACKED) {
		err = obj_get(fs, i, -1, &o);
		if (!err)
			err = list_backing(o.obj.fd, !fuse_req_ctx(req)->uid, &out);
		if (!err && may_carry(i))
			err = vex_engine_xattr_list(fs->engine, &o.obj, &out);
		err = err ? err : out.err;
	}
	reply_bytes(req, err, out.data ? out.data : "", out.len, size);
}
