/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pass-through: file data that goes past us.
 *
 * Where we may, the kernel reads, writes and maps the backing file itself, by an id we
 * give with the reply to OPEN or CREATE. All open handles of a file have the same id, or
 * none: the first one decides (inode_io_*), the last one's end gives the id back.
 *
 * Not passed through:
 *  - files named *.vec: what is stored through a mapping after close(2) would not be
 *    noticed, and they are small;
 *  - files that have setuid or setgid when the first handle opens.
 *
 * Rights. The kernel does its writes with the rights of the thread that made the id:
 * they decide whether setuid goes, and quotas. So an id is made as the caller, root
 * keeping CAP_FSETID. A writer of the other sort (root or not) gets the id as well, since
 * the kernel wants that, but with direct I/O, which comes to us.
 *
 * Most files are opened again and again: an id is made of the O_PATH descriptor that we
 * have of the inode, where the kernel takes one, and is kept beside it (fdcache.c). So
 * opening one to read takes no system call but a look at it: a descriptor of the handle's
 * own is opened when something asks for it (handle_fd). Whoever writes has one from the
 * start: opening it has an errno to tell (ETXTBSY, EROFS).
 *
 * What is written past us still has to be noticed: a flush compares size and mtime with
 * those the last one saw. Whether attachments are stale is found by looking at the file,
 * whoever wrote it.
 */
#include "fs_i.h"

bool named_vec(struct vex_fs *fs, struct inode *i)
{
	char name[NAME_MAX + 1];
	struct inode *parent;

	if (!inode_place(fs, i, &parent, name))
		return false;
	inode_unref(fs, parent, 1);
	size_t len = strlen(name);
	return len > 4 && !strcmp(name + len - 4, ".vec");
}

static bool may_pass(struct vex_fs *fs, struct inode *i, const struct stat *st)
{
	return fs->passthrough && S_ISREG(st->st_mode) &&
	       !(st->st_mode & (S_ISUID | S_ISGID)) && !named_vec(fs, i);
}

bool handle_needs_no_fd(struct vex_fs *fs, struct inode *i, int flags,
			const struct stat *st)
{
	return (flags & (O_ACCMODE | O_TRUNC | O_DIRECT)) == O_RDONLY &&
	       !atomic_load(&fs->no_path_ids) && may_pass(fs, i, st);
}

/* With the rights of this thread. */
static vex_err id_make(struct vex_fs *fs, struct handle *h, uint32_t *id)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	int fd;

	vex_err err = fd_get(fs, h->inode, &ref);
	if (!err && !atomic_load(&fs->no_path_ids)) {
		err = wire_backing_open(fs, ref.fd, id);
		if (err != -EBADF)
			return err;
		atomic_store(&fs->no_path_ids, true);
	}
	err = handle_fd(fs, h, &fd);
	return err ? err : wire_backing_open(fs, fd, id);
}

/* An id, where this file may be passed through: the one kept, or a fresh one. */
static struct inode_io io_new(fuse_req_t req, struct handle *h, const struct stat *st)
{
	struct vex_fs *fs = fs_of(req);
	struct inode_io io = { .uid = fuse_req_ctx(req)->uid };
	AUTO_ACTING struct acting as = { 0 };

	if (!may_pass(fs, h->inode, st))
		return io;
	io.id = fd_take_backing(fs, h->inode, io.uid);
	if (io.id)
		return io;
	vex_err err = io.uid ? acting_begin(req, ACT_CHANGE, &as) : 0;
	if (!err)
		err = id_make(fs, h, &io.id);
	if (err)
		vex_debug("a file is not passed through: %s", strerror(-err));
	return io;
}

static struct inode_io io_of(fuse_req_t req, struct handle *h, const struct stat *st)
{
	struct vex_fs *fs = fs_of(req);
	struct inode_io io, mine;

	h->io = true;
	if (inode_io_join(fs, h->inode, h->rdwr, &io))
		return io;
	io = mine = io_new(req, h, st);
	inode_io_begin(fs, h->inode, h->rdwr, &io);
	if (mine.id && mine.id != io.id)
		wire_backing_close(fs, mine.id);
	return io;
}

static int64_t ns_of(const struct timespec *t)
{
	return t->tv_sec * 1000000000ll + t->tv_nsec;
}

/* Pages the kernel kept are those of this ctime. Behind pass-through they are not seen
 * to change. */
static bool pages_still_good(struct inode *i, const struct stat *st, bool through)
{
	int64_t now = through ? 0 : ns_of(&st->st_ctim);

	return atomic_exchange(&i->ctime_ns, now) == now && !through;
}

int handle_reply(fuse_req_t req, struct handle *h, struct fuse_entry_param *e,
		 struct fuse_file_info *fi, const struct stat *st)
{
	struct vex_fs *fs = fs_of(req);
	struct inode *i = h->inode;
	bool root = !fuse_req_ctx(req)->uid;
	bool writer = (fi->flags & O_ACCMODE) != O_RDONLY;
	int fd;

	if (!S_ISREG(i->type))
		return wire_reply_open(req, e, fi, 0);
	h->rdwr = (fi->flags & O_ACCMODE) == O_RDWR;
	struct inode_io io = io_of(req, h, st);
	vex_err err = io.id ? 0 : handle_fd(fs, h, &fd);
	if (err) {
		reply_err(req, err);
		return err;
	}
	h->through = io.id && writer;
	if (h->through)
		atomic_fetch_add(&i->nwrite, 1);
	if (io.id && h->rdwr)
		atomic_store(&i->mapped, true);
	atomic_store(&h->size, st->st_size);
	atomic_store(&h->mtime_ns, ns_of(&st->st_mtim));
	fi->direct_io = h->through && !io.uid != root;
	fi->keep_cache = pages_still_good(i, st, io.id != 0) && !e;
	if (e)
		e->attr_timeout = inode_attr_keep(fs, i, st, false);
	atomic_fetch_add_explicit(io.id ? &fs->through : &fs->plain, 1,
				  memory_order_relaxed);
	return wire_reply_open(req, e, fi, io.id);
}

/* A store through a mapping is the one thing the kernel's own attributes miss. */
void handle_look(struct vex_fs *fs, struct handle *h)
{
	struct stat st;

	if (!h->through || h->fd < 0 || fstat(h->fd, &st))
		return;
	bool moved = atomic_exchange(&h->size, st.st_size) != st.st_size;
	moved |= atomic_exchange(&h->mtime_ns, ns_of(&st.st_mtim)) != ns_of(&st.st_mtim);
	if (!moved)
		return;
	atomic_store(&h->dirty, true);
	if (h->rdwr && fs->session)
		fuse_lowlevel_notify_inval_inode(fs->session, h->inode->id, -1, 0);
}

/* Written back, pages are write-protected: the next store faults, and moves the time.
 * Mappings outlive handles, so once mapped is mapped. */
static void settle(struct vex_fs *fs, struct inode *i)
{
	AUTO_FD struct fdref ref = FDREF_INIT;

	if (fd_get(fs, i, &ref))
		return;
	AUTO_CLOSE int fd =
	    vex_openat(AT_FDCWD, vex_procfd(ref.fd).path, O_RDONLY | O_NOCTTY, 0);
	if (fd >= 0 &&
	    sync_file_range(fd, 0, 0,
			    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER))
		vex_debug("mapped pages were not written: %s", strerror(errno));
}

bool through_settle(void *arg, const struct stat *st, const struct vex_fh *fh)
{
	struct vex_fs *fs = arg;
	struct inode *i = inode_find(fs, st, fh);
	bool mapped = i && atomic_load(&i->mapped);

	if (mapped)
		settle(fs, i);
	if (i)
		inode_unref(fs, i, 1);
	return mapped;
}

void handle_io_end(struct vex_fs *fs, struct handle *h)
{
	struct inode_io io = { 0 };

	if (h->through && atomic_fetch_sub(&h->inode->nwrite, 1) == 1)
		watch_closed(fs, h->inode, h->fd);
	if (h->io)
		io = inode_io_end(fs, h->inode, h->rdwr);
	if (!io.id || !fs->session)
		return;
	/* One of a descriptor that can write would keep the file from being executed. */
	if (atomic_load(&fs->no_path_ids) ||
	    !fd_keep_backing(fs, h->inode, io.id, io.uid))
		wire_backing_close(fs, io.id);
}
