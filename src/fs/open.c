/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles: OPEN, FLUSH, RELEASE, FSYNC.
 *
 * A handle has a descriptor of its own, opened as the client asked but for
 *  - O_APPEND: the kernel sends offsets, and pages written back through a mapping must
 *    not land at the end;
 *  - O_DIRECT: the kernel passes its own cache by; libfuse's buffers are not aligned.
 *
 * Pages the kernel kept from the last time stay valid if the ctime is still the same:
 * it moves with every change, also behind the mount. Meanwhile the kernel itself drops
 * pages when it sees a new size or mtime (AUTO_INVAL_DATA).
 *
 * FLUSH is a round trip of each close(2), asked for where it says something: *.vec files,
 * files with attachments, events of all files, filesystems that tell errors then. Else
 * RELEASE, which nobody waits for, does the same (`quiet`): an attachment set while the
 * file is open and empty is fresh until then, and takes its stamp there. Whoever opens
 * such a file to change it after that close comes after it (quiet_settle).
 *
 * `dirty` is set after content has changed and before the client is told, so whoever
 * flushes later finds it set.
 *
 * Pass-through: through.c.
 */
#include "fs_i.h"

/* ---- handles -------------------------------------------------------------------- */

vex_err handle_new(struct vex_fs *fs, struct inode *i, int fd, struct handle **out)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	h->inode = i;
	h->ref = (struct fdref)FDREF_INIT;
	atomic_init(&h->fd, fd);
	inode_ref(i);
	inode_opened(fs, i);
	SCOPED_LOCK(&fs->handles_lock);
	h->next = fs->open;
	if (h->next)
		h->next->prev = h;
	fs->open = h;
	fs->nopen++;
	*out = h;
	return 0;
}

static void handle_unlink(struct vex_fs *fs, struct handle *h)
{
	SCOPED_LOCK(&fs->handles_lock);
	*(h->prev ? &h->prev->next : &fs->open) = h->next;
	if (h->next)
		h->next->prev = h->prev;
	fs->nopen--;
}

vex_err handle_written(struct vex_fs *fs, struct handle *h)
{
	AUTO_OBJ struct objref o = OBJREF_INIT;

	if (!atomic_exchange(&h->dirty, false) || !S_ISREG(h->inode->type))
		return 0;
	vex_err err = obj_get(fs, h->inode, h->fd, &o);
	return err ? err : vex_engine_written(fs->engine, &o.obj);
}

void handle_close(struct vex_fs *fs, struct handle *h)
{
	struct inode *i = h->inode;

	/* Written after the last flush, through a mapping that outlived the descriptor,
	 * or without one. Nobody is left to hear of an error; _info shows it. */
	if (h->rdwr || h->quiet)
		handle_look(fs, h);
	if (handle_written(fs, h))
		vex_debug("a file written to was not attached");
	if (h->quiet)
		atomic_fetch_sub(&i->nquiet, 1);
	handle_unlink(fs, h);
	handle_io_end(fs, h);
	atomic_fetch_sub(&i->nexec, h->exec);
	if (h->session) {
		vex_session_close(h->session);
		ctl_closed(h);
	}
	if (h->fd >= 0)
		close(h->fd);
	fd_put(&h->ref);
	dirbuf_free(h->dir);
	links_put(h->links);
	free(h);
	uint64_t node = atomic_load(&i->node);
	if (inode_closed(fs, i) && node && node != VEX_NODE_NONE)
		vex_engine_released(fs->engine, node);
	inode_unref(fs, i, 1);
}

void handles_close_all(struct vex_fs *fs)
{
	while (fs->open)
		handle_close(fs, fs->open);
}

/* ---- OPEN ----------------------------------------------------------------------- */

static int open_flags(int flags)
{
	return (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_DIRECT)) |
	       O_NOCTTY;
}

/* By handle: that takes half the time of a path through /proc. */
static int open_once(struct vex_fs *fs, struct inode *i, int pathfd, int flags)
{
	struct vex_fh fh;
	int fd;

	inode_fh(i, &fh);
	if (!fs->handles || !fh.len || i->dev != fs->root_dev || !S_ISREG(i->type))
		return vex_openat(AT_FDCWD, vex_procfd(pathfd).path, flags, 0);
	vex_err err = vex_fh_open(fs->rootfd, &fh, flags, &fd);
	if (err == -ESTALE) /* nameless: only the descriptor leads there */
		return vex_openat(AT_FDCWD, vex_procfd(pathfd).path, flags, 0);
	errno = -err;
	return err ? -1 : fd;
}

static vex_err open_backing(struct vex_fs *fs, struct inode *i, int pathfd, int flags,
			    int *out)
{
	bool appends = flags & O_APPEND;

	flags = open_flags(flags);
	*out = open_once(fs, i, pathfd, flags);
	if (*out < 0 && errno == EPERM && appends) /* chattr +a allows nothing else */
		*out = open_once(fs, i, pathfd, flags | O_APPEND);
	if (*out < 0 && errno == EPERM && flags & O_NOATIME)
		*out = open_once(fs, i, pathfd, flags & ~O_NOATIME);
	return *out < 0 ? -errno : 0;
}

vex_err handle_fd(struct vex_fs *fs, struct handle *h, int *out)
{
	int none = -1, fd = atomic_load(&h->fd);

	if (fd < 0 && h->ref.fd < 0)
		return -EBADF;
	if (fd < 0) {
		vex_err err = open_backing(fs, h->inode, h->ref.fd, O_RDONLY, &fd);
		if (err)
			return err;
		if (!atomic_compare_exchange_strong(&h->fd, &none, fd)) {
			close(fd);
			fd = none;
		}
	}
	*out = fd;
	return 0;
}

/* O_TRUNC takes setuid and setgid away as it would for the caller: the kernel leaves
 * that to us with atomic O_TRUNC. */
static vex_err open_truncating(fuse_req_t req, struct inode *i, int pathfd, int flags,
			       struct stat *st, int *out)
{
	struct acting as;

	vex_err err = acting_on_content(req, i, pathfd, &as);
	if (!err)
		err = open_backing(fs_of(req), i, pathfd, flags, out);
	acting_content_end(req, i, &as);
	if (!err && fstat(*out, st)) {
		err = -errno;
		close(*out);
	}
	return err;
}

/* The kernel's mark of a descriptor that a program runs from (FMODE_EXEC): execve(2)
 * opens with it, and the process keeps it to its end. */
#define OPEN_EXEC 0x20

/* With atomic O_TRUNC the kernel refuses to cut a running program (ETXTBSY) when OPEN is
 * done, and we would have cut it by then. Only where the open itself does not write: else
 * it asks before. */
static bool cuts_a_program(struct inode *i, int flags)
{
	return flags & O_TRUNC && (flags & O_ACCMODE) == O_RDONLY &&
	       atomic_load(&i->nexec);
}

/* st: as it is when open; ref: its O_PATH descriptor. *out stays -1 where none is wanted.
 */
static vex_err open_as(fuse_req_t req, struct inode *i, int flags, struct stat *st,
		       struct fdref *ref, int *out)
{
	struct vex_fs *fs = fs_of(req);
	vex_err err = fd_get(fs, i, ref);

	if (err)
		return err;
	if (flags & O_TRUNC && atomic_load(&i->node))
		quiet_settle(fs, i);
	if (fstatat(ref->fd, "", st, AT_EMPTY_PATH))
		return -errno;
	inode_seen(i, st);
	/* Removed behind the mount, and only our descriptor kept it: its name, if the
	 * kernel still believes in it, is another file's now. It will look again. */
	if (!st->st_nlink && inode_unused(fs, i))
		return -ESTALE;
	if (cuts_a_program(i, flags))
		return -ETXTBSY;
	if (flags & O_TRUNC)
		return open_truncating(req, i, ref->fd, flags, st, out);
	if (handle_needs_no_fd(fs, i, flags, st))
		return 0;
	return open_backing(fs, i, ref->fd, flags, out);
}

static bool may_be_quiet(struct vex_fs *fs, struct handle *h, bool made)
{
	AUTO_OBJ struct objref o = OBJREF_INIT;

	if (fs->close_tells || vex_engine_wants_all(fs->engine) ||
	    named_vec(fs, h->inode))
		return false;
	return made || !may_have_attachments(h->inode) ||
	       (!obj_get(fs, h->inode, h->fd, &o) && !vex_engine_has(fs->engine, &o.obj));
}

#define SETTLE_TRIES 100

void quiet_settle(struct vex_fs *fs, struct inode *i)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	if (fs->single_threaded) /* all that came before is done */
		return;
	for (int k = 0; k < SETTLE_TRIES && atomic_load(&i->nquiet); k++)
		nanosleep(&pause, NULL);
}

static void be_quiet(struct handle *h)
{
	h->quiet = true;
	atomic_fetch_add(&h->inode->nquiet, 1);
}

bool handle_made_quiet(struct vex_fs *fs, struct handle *h)
{
	if (may_be_quiet(fs, h, true))
		be_quiet(h);
	return h->quiet;
}

/* Whether close(2) of a handle just opened need not ask. */
static bool no_flush(struct vex_fs *fs, struct handle *h, int flags)
{
	if ((flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY) /* it has nothing to say */
		return true;
	if (may_be_quiet(fs, h, false))
		be_quiet(h);
	else
		quiet_settle(fs, h->inode);
	return h->quiet;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	struct vex_fs *fs = fs_of(req);
	struct inode *i = inode_of(req, ino);
	struct handle *h = NULL;
	struct stat st;
	int fd = -1;

	if (i->kind != I_BACKED) {
		ctl_open(req, i, fi);
		return;
	}
	vex_err err = open_as(req, i, fi->flags, &st, &ref, &fd);
	if (!err)
		err = handle_new(fs, i, fd, &h);
	if (err) {
		reply_err(req, err);
		return;
	}
	if (fd < 0) {
		h->ref = ref;
		ref = (struct fdref)FDREF_INIT;
	}
	atomic_store(&h->dirty, (fi->flags & O_TRUNC) != 0);
	h->exec = fi->flags & OPEN_EXEC;
	atomic_fetch_add(&i->nexec, h->exec);
	fi->noflush = no_flush(fs, h, fi->flags);
	fi->fh = (uintptr_t)h;
	if (handle_reply(req, h, NULL, fi, &st))
		handle_close(fs, h);
}

/* ---- FLUSH, RELEASE, FSYNC
 * --------------------------------------------------------------- */

/* The backing filesystem's own word on close(2): network filesystems have one. */
static vex_err flush_backing(struct vex_fs *fs, int fd)
{
	int copy;

	if (!fs->close_tells || vex_dup(fd, &copy)) /* nobody to ask, or no descriptor */
		return 0;
	return close(copy) && errno != EINTR ? -errno : 0;
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	vex_err err = 0;

	(void)ino;
	handle_look(fs_of(req), h);
	if (h->fd >= 0 && atomic_load(&h->dirty)) {
		err = flush_backing(fs_of(req), h->fd);
		vex_err said = handle_written(fs_of(req), h);
		err = err ? err : said;
	}
	reply_err(req, err);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_close(fs_of(req), handle_of(fi));
	reply_err(req, 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct vex_fs *fs = fs_of(req);
	struct inode *i = inode_of(req, ino);
	AUTO_OBJ struct objref o = OBJREF_INIT;
	int fd;

	vex_err err = handle_fd(fs, handle_of(fi), &fd);
	if (err) {
		reply_err(req, -EINVAL);
		return;
	}
	if (datasync ? fdatasync(fd) : fsync(fd))
		err = -errno;
	if (!err && may_have_attachments(i)) {
		err = obj_get(fs, i, fd, &o);
		if (!err)
			err = vex_engine_fsync(fs->engine, &o.obj);
	}
	reply_err(req, err);
}
