/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes: GETATTR, SETATTR, READLINK, STATFS.
 *
 * setuid and setgid: what a truncation or a change of owner takes away is the backing
 * filesystem's work, done with what the caller may keep (acting_on_content). Kernels
 * without HANDLE_KILLPRIV_V2 work it out themselves and send the new mode along. So the
 * owner is changed first and the mode last.
 */
#include "fs_i.h"

#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* ---- what is remembered of them --------------------------------------------------- */

void inode_seen(struct inode *i, const struct stat *st)
{
	bool sxid = st->st_mode & (S_ISUID | S_ISGID) && S_ISREG(st->st_mode);

	if (atomic_load_explicit(&i->sxid, memory_order_relaxed) != sxid)
		atomic_store(&i->sxid, sxid);
}

/* ---- file capabilities ---------------------------------------------------------- */

uint32_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)(t.tv_sec * 1000 + t.tv_nsec / 1000000) | 1;
}

void inode_capless(struct inode *i)
{
	atomic_store_explicit(&i->capless, clock_ms(), memory_order_relaxed);
}

void inode_maybe_capable(struct inode *i)
{
	atomic_store_explicit(&i->capless, 0, memory_order_relaxed);
}

bool inode_is_capless(const struct inode *i)
{
	uint32_t at = atomic_load_explicit(&i->capless, memory_order_relaxed);

	return at && clock_ms() - at < (uint32_t)(KEEP_SECONDS * 1000);
}

/*
 * What passes us by, the attributes the kernel remembers of ours do not follow: setuid
 * that a write takes away on the backing file, times moved by a store through a mapping.
 * (Its own write(2) the kernel takes into account.)
 */
double inode_attr_keep(struct vex_fs *fs, struct inode *i, const struct stat *st,
		       bool told)
{
	bool seen; /* is each change of it seen? */

	if (atomic_load_explicit(&i->backing, memory_order_relaxed) &&
	    (atomic_load(&i->sxid) || atomic_load(&i->nrdwr)))
		return 0;
	if (!fs->watch || !i->packing || st->st_dev != fs->root_dev)
		seen = false;
	else if (S_ISDIR(i->type))
		seen = watched_long(fs, i);
	else
		seen = told && st->st_nlink == 1 && !atomic_load(&i->mapped) &&
		       !atomic_load(&i->ignored);
	return seen ? WATCHED_SECONDS : KEEP_SECONDS;
}

/* ---- GETATTR -------------------------------------------------------------------- */

vex_err inode_stat(struct vex_fs *fs, struct inode *i, struct stat *st)
{
	AUTO_FD struct fdref ref = FDREF_INIT;

	if (i->kind == I_VIRT) {
		virt_stat(fs, i, st);
		return 0;
	}
	if (i->kind != I_BACKED) {
		ctl_stat(fs, i, st);
		return 0;
	}
	vex_err err = fd_get(fs, i, &ref);
	if (err)
		return err;
	return fstatat(ref.fd, "", st, AT_EMPTY_PATH) ? -errno : 0;
}

static void reply_attr(fuse_req_t req, struct inode *i, vex_err err, struct stat *st,
		       bool told)
{
	if (err) {
		reply_err(req, err);
		return;
	}
	double keep = inode_attr_keep(fs_of(req), i, st, told);
	inode_seen(i, st);
	stat_show(fs_of(req), st);
	fuse_reply_attr(req, st, keep);
}

/* When the file was made: false where the backing filesystem does not know. */
static bool birth_of(struct vex_fs *fs, struct inode *i, struct statx_timestamp *out)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	struct statx x;

	if (i->kind != I_BACKED || fd_get(fs, i, &ref) ||
	    statx(ref.fd, "", AT_EMPTY_PATH, STATX_BTIME, &x) ||
	    !(x.stx_mask & STATX_BTIME))
		return false;
	*out = x.stx_btime;
	return true;
}

static void reply_statx(fuse_req_t req, struct inode *i, struct stat *st, bool told)
{
	struct statx_timestamp birth;
	bool known = birth_of(fs_of(req), i, &birth);
	double keep = inode_attr_keep(fs_of(req), i, st, told);

	inode_seen(i, st);
	stat_show(fs_of(req), st);
	wire_reply_statx(req, st, known ? &birth : NULL, keep);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct inode *i = inode_of(req, ino);
	bool told = inode_in_watched(fs_of(req), i);
	struct stat st;
	vex_err err;

	if (fi && handle_of(fi)->fd >= 0)
		err = fstat(handle_of(fi)->fd, &st) ? -errno : 0;
	else
		err = inode_stat(fs_of(req), i, &st);
	if (!err && wire_is_statx())
		reply_statx(req, i, &st, told);
	else
		reply_attr(req, i, err, &st, told);
}

/* ---- SETATTR -------------------------------------------------------------------- */

static vex_err set_size(int fd, struct handle *h, off_t size)
{
	if (h)
		return ftruncate(h->fd, size) ? -errno : 0;
	return truncate(vex_procfd(fd).path, size) ? -errno : 0;
}

static vex_err set_owner(int fd, const struct stat *attr, int valid)
{
	uid_t uid = valid & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = valid & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) ? -errno : 0;
}

static struct timespec time_arg(int valid, int set, int now, struct timespec t)
{
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (valid & set)
		return t;
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static vex_err set_times(int fd, const struct stat *attr, int valid)
{
	struct timespec t[2] = {
		time_arg(valid, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW,
			 attr->st_atim),
		time_arg(valid, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW,
			 attr->st_mtim),
	};

	/* Linux before 5.8 wants a path. */
	if (!utimensat(fd, "", t, AT_EMPTY_PATH))
		return 0;
	if (errno != EINVAL && errno != ENOENT)
		return -errno;
	return utimensat(AT_FDCWD, vex_procfd(fd).path, t, 0) ? -errno : 0;
}

/*
 * A SETATTR of nothing is one of two. chown(-1, -1), which anyone may do to a file, but
 * not if it takes setuid or setgid away: that is the owner's (EPERM). Or, since
 * HANDLE_KILLPRIV_V2, the announcement of a write that will take them away, by anyone who
 * may write. They look the same, so where the first would be refused nothing is done: the
 * write that may follow does what it should, and the chown only looks as if it had
 * worked.
 */
static bool may_change_nothing(fuse_req_t req, const struct stat *st)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return !uid || uid == st->st_uid || !S_ISREG(st->st_mode) ||
	       !(st->st_mode & (S_ISUID | S_ISGID));
}

static vex_err set_size_or_owner(fuse_req_t req, struct inode *i, int fd,
				 struct handle *h, const struct stat *attr, int valid)
{
	AUTO_ACTING struct acting as = { 0 };
	vex_err err = acting_on_content(req, i, fd, &as);

	if (!err && valid & FUSE_SET_ATTR_SIZE)
		err = set_size(fd, h, attr->st_size);
	/* Nothing at all: chown(-1, -1), which moves the ctime. */
	if (!err && (!valid || valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		err = set_owner(fd, attr, valid);
	return err;
}

/* fchmodat2(2) (Linux 6.6) does without a walk through /proc. */
static vex_err set_mode(int fd, mode_t mode)
{
	static _Atomic bool missing;

	if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
		if (!syscall(SYS_fchmodat2, fd, "", mode & 07777, AT_EMPTY_PATH))
			return 0;
		if (errno != ENOSYS && errno != EPERM)
			return -errno;
		atomic_store(&missing, errno == ENOSYS);
	}
	return chmod(vex_procfd(fd).path, mode & 07777) ? -errno : 0;
}

/* In the order in which one may undo the other: chown takes setuid away. */
static vex_err set_attrs(fuse_req_t req, struct inode *i, int fd, struct handle *h,
			 const struct stat *attr, int valid)
{
	const int content = FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
	vex_err err = 0;

	if (!valid || valid & content)
		err = set_size_or_owner(req, i, fd, h, attr, valid);
	if (!err && valid & FUSE_SET_ATTR_MODE)
		err = set_mode(fd, attr->st_mode);
	if (!err && valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))
		err = set_times(fd, attr, valid);
	return err;
}

/* What it means for attachments: times that were set move stamps along; content cut
 * by path counts as written now, by descriptor at its next flush. The file is cut
 * whatever its attachment says: that error shows in _info. */
static void tell_engine(struct vex_fs *fs, struct inode *i, struct handle *h, int valid,
			const struct stat *before, const struct stat *after)
{
	AUTO_OBJ struct objref o = OBJREF_INIT;

	if (valid & FUSE_SET_ATTR_SIZE && h) {
		atomic_store(&h->dirty, true);
		valid &= ~FUSE_SET_ATTR_SIZE;
	}
	if (!S_ISREG(i->type) || !(valid & (FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME)))
		return;
	if (obj_get(fs, i, -1, &o))
		return;
	if (valid & FUSE_SET_ATTR_SIZE) {
		if (vex_engine_written(fs->engine, &o.obj))
			vex_debug("truncated %s: not attached", o.name);
	} else if (may_have_attachments(i)) {
		vex_engine_times_set(fs->engine, &o.obj, before, after);
	}
}

void attrs_changed(struct vex_fs *fs, struct inode *i)
{
	AUTO_OBJ struct objref o = OBJREF_INIT;

	if (may_have_attachments(i) && !obj_get(fs, i, -1, &o))
		vex_engine_attrs_changed(fs->engine, &o.obj);
}

static vex_err setattr(fuse_req_t req, struct inode *i, struct handle *h,
		       const struct stat *attr, int valid, struct stat *after)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_FD struct fdref ref = FDREF_INIT;
	struct stat before;

	if (i->kind != I_BACKED)
		return -EPERM;
	vex_err err = h ? 0 : fd_get(fs, i, &ref);
	if (err)
		return err;
	int fd = h ? h->fd : ref.fd;
	if (valid & FUSE_SET_ATTR_SIZE && !h && atomic_load(&i->node))
		quiet_settle(fs, i);
	if (fstatat(fd, "", &before, AT_EMPTY_PATH))
		return -errno;
	if (valid || may_change_nothing(req, &before))
		err = set_attrs(req, i, fd, h, attr, valid);
	if (fstatat(fd, "", after, AT_EMPTY_PATH))
		return -errno;
	/* Also after a failure half way: the size may have been set. */
	tell_engine(fs, i, h, valid, &before, after);
	attrs_changed(fs, i);
	return err;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
		struct fuse_file_info *fi)
{
	struct handle *h = fi && handle_of(fi)->fd >= 0 ? handle_of(fi) : NULL;
	struct inode *i = inode_of(req, ino);
	bool told = inode_in_watched(fs_of(req), i);
	struct stat after;
	vex_err err = setattr(req, i, h, attr, valid, &after);

	reply_attr(req, i, err, &after, told);
}

/* ---- READLINK, STATFS
 * ------------------------------------------------------------------- */

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_FD struct fdref ref = FDREF_INIT;

	if (inode_of(req, ino)->kind == I_VIRT) {
		virt_readlink(req, inode_of(req, ino));
		return;
	}
	AUTO_FREE char *target = malloc(PATH_MAX + 1);

	vex_err err = target ? fd_get(fs, inode_of(req, ino), &ref) : -ENOMEM;
	if (err) {
		reply_err(req, err);
		return;
	}
	ssize_t n = readlinkat(ref.fd, "", target, PATH_MAX);
	if (n < 0) {
		reply_err(req, -errno);
		return;
	}
	target[n] = 0;
	fuse_reply_readlink(req, target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct vex_fs *fs = fs_of(req);
	struct inode *i = inode_of(req, ino);
	AUTO_FD struct fdref ref = FDREF_INIT;
	struct statvfs st;

	vex_err err = fd_get(fs, i->kind == I_BACKED ? i : fs->root, &ref);
	if (!err && fstatvfs(ref.fd, &st))
		err = -errno;
	if (err)
		reply_err(req, err);
	else
		fuse_reply_statfs(req, &st);
}
