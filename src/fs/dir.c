/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.
 *
 * Offsets are the backing filesystem's own (d_off), so that a reader may come back to
 * any of them, also after entries went. Entries are read ahead by getdents64 into the
 * handle; a jump to another offset throws them away. One reader at a time for each
 * handle (its lock is held over getdents and lookups); other handles go on.
 *
 * The kernel keeps listings (FOPEN_CACHE_DIR) and drops one when the directory's mtime,
 * asked for at most a second ago, is another, or something was made or removed through
 * the mount. A listing it keeps tells it nothing new of the entries, one it asks for does
 * (READDIRPLUS): so it may use the one it has (FOPEN_KEEP_CACHE) for half the time that
 * entries are believed, and asks for a fresh one then. Most directories are opened and
 * never read here: the descriptor is opened by the first READDIR, where opening cannot
 * fail for want of rights.
 *
 * The root does not list the control directory, nor what STORE has under that name.
 */
#include "fs_i.h"

#include <dirent.h>
#include <sys/syscall.h>

struct entry { /* as getdents64(2) gives it */
	uint64_t ino;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

vex_err dir_to_list(struct vex_fs *fs, struct inode *i, int *fd)
{
	AUTO_FD struct fdref ref = FDREF_INIT;

	vex_err err = fd_get(fs, i, &ref);
	if (err)
		return err;
	*fd = vex_openat(AT_FDCWD, vex_procfd(ref.fd).path, O_RDONLY | O_DIRECTORY, 0);
	return *fd < 0 ? -errno : 0;
}

static struct dirbuf *dirbuf_of(struct handle *h)
{
	static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

	SCOPED_LOCK(&making);
	if (h->dir)
		return h->dir;
	h->dir = calloc(1, sizeof(*h->dir));
	if (h->dir) {
		h->dir->fd = -1;
		pthread_mutex_init(&h->dir->lock, NULL);
	}
	return h->dir;
}

void dirbuf_free(struct dirbuf *d)
{
	if (!d)
		return;
	vex_cleanup_fd(&d->fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* Where opening may be refused, it is done now. */
static vex_err open_now(struct vex_fs *fs, struct handle *h)
{
	if (fs->privileged || h->inode->kind != I_BACKED)
		return 0;
	return dirbuf_of(h) ? dir_to_list(fs, h->inode, &h->dir->fd) : -ENOMEM;
}

static bool listed_lately(const struct vex_fs *fs, const struct inode *i)
{
	double keep = watched(fs, i) ? WATCHED_SECONDS : KEEP_SECONDS;
	uint32_t at = atomic_load_explicit(&i->listed, memory_order_relaxed);

	return at && clock_ms() - at < (uint32_t)(keep * 1000 / 2);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vex_fs *fs = fs_of(req);
	struct inode *i = inode_of(req, ino);
	struct handle *h = NULL;

	if (i->kind == I_VIRT) {
		virt_opendir(req, i, fi);
		return;
	}
	vex_err err = handle_new(fs, i, -1, &h);
	if (!err) {
		err = open_now(fs, h);
		if (err)
			handle_close(fs, h);
	}
	if (err) {
		reply_err(req, err);
		return;
	}
	watch_dir(fs, i);
	fi->cache_readdir = i->kind == I_BACKED;
	fi->keep_cache = i->kind == I_BACKED && listed_lately(fs, i);
	fi->fh = (uintptr_t)h;
	if (fuse_reply_open(req, fi))
		handle_close(fs, h);
}

/* ---- reading -------------------------------------------------------------------- */

struct listing {
	fuse_req_t req;
	struct vex_fs *fs;
	struct handle *h;
	bool plus;
	char *out;
	size_t size, used;
};

/* Entries from `off` on: 1, 0 at the end. */
static int fill_locked(struct vex_fs *fs, struct handle *h, off_t off)
{
	struct dirbuf *d = h->dir;

	if (d->next == off && d->pos < d->len)
		return 1;
	if (d->fd < 0) {
		vex_err err = dir_to_list(fs, h->inode, &d->fd);

		if (err)
			return err;
	}
	/* Also at the end of the buffer: a client that rewinds expects news. */
	if (lseek(d->fd, off, SEEK_SET) < 0)
		return -errno;
	d->pos = d->len = 0;
	d->next = off;
	long n = syscall(SYS_getdents64, d->fd, d->data, sizeof(d->data));
	if (n < 0)
		return -errno;
	d->len = (size_t)n;
	return n > 0;
}

/* False where it does not fit any more. */
static bool list_plain(struct listing *l, const struct entry *e)
{
	struct stat st = { .st_ino = e->ino, .st_mode = DTTOIF((mode_t)e->type) };
	size_t room = l->size - l->used;
	size_t n =
	    fuse_add_direntry(l->req, l->out + l->used, room, e->name, &st, e->next);

	if (n > room)
		return false;
	l->used += n;
	return true;
}

/* The lookup counts only once the entry is in. One that went meanwhile, or cannot be
 * looked at, is listed by its name alone. */
static bool list_plus(struct listing *l, const struct entry *e)
{
	struct fuse_entry_param p;
	size_t room = l->size - l->used;

	if (fuse_add_direntry_plus(l->req, NULL, 0, e->name, NULL, 0) > room)
		return false;
	if (is_dots(e->name) || entry_listed(l->fs, l->h->inode, e->name, &p)) {
		memset(&p, 0, sizeof(p));
		p.attr.st_ino = e->ino;
		p.attr.st_mode = DTTOIF((mode_t)e->type);
	}
	l->used +=
	    fuse_add_direntry_plus(l->req, l->out + l->used, room, e->name, &p, e->next);
	return true;
}

/* All of it, from the start: what the kernel knows now is as old as that start. */
static void listed(struct handle *h)
{
	atomic_store_explicit(&h->inode->listed, h->dir->started, memory_order_relaxed);
	h->dir->started = 0;
}

static vex_err list_locked(struct listing *l, off_t off)
{
	struct dirbuf *d = l->h->dir;
	int more;

	if (!off)
		d->started = clock_ms();

	while ((more = fill_locked(l->fs, l->h, off)) > 0) {
		const struct entry *e = (const void *)(d->data + d->pos);

		if (!is_control_name(l->fs, l->h->inode, e->name) &&
		    !(l->plus ? list_plus(l, e) : list_plain(l, e)))
			return 0;
		d->pos += e->size;
		d->next = off = e->next;
	}
	if (!more && !l->used)
		listed(l->h);
	/* What is listed already comes first; the error comes again. */
	return l->used ? 0 : more;
}

static void list(fuse_req_t req, struct handle *h, size_t size, off_t off, bool plus)
{
	struct listing l = { .req = req, .fs = fs_of(req), .h = h, .plus = plus };
	AUTO_FREE char *out = NULL;

	if (h->inode->kind == I_VIRT) {
		virt_readdir(req, h, size, off, plus);
		return;
	}
	if (h->inode->kind != I_BACKED) {
		ctl_readdir(req, size, off, plus);
		return;
	}
	l.out = out = malloc(size);
	l.size = size;
	if (!out || !dirbuf_of(h)) {
		reply_err(req, -ENOMEM);
		return;
	}
	pthread_mutex_lock(&h->dir->lock);
	vex_err err = list_locked(&l, off);
	pthread_mutex_unlock(&h->dir->lock);
	if (err)
		reply_err(req, err);
	else
		fuse_reply_buf(req, out, l.used);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	(void)ino;
	list(req, handle_of(fi), size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)ino;
	list(req, handle_of(fi), size, off, true);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	op_release(req, ino, fi);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct vex_fs *fs = fs_of(req);
	struct inode *i = inode_of(req, ino);
	AUTO_OBJ struct objref o = OBJREF_INIT;
	AUTO_CLOSE int fd = -1;
	vex_err err = 0;

	(void)fi;
	if (i->kind != I_BACKED) {
		reply_err(req, 0);
		return;
	}
	err = dir_to_list(fs, i, &fd);
	if (!err && (datasync ? fdatasync(fd) : fsync(fd)))
		err = -errno;
	if (!err && may_have_attachments(i)) {
		err = obj_get(fs, i, fd, &o);
		if (!err)
			err = vex_engine_fsync(fs->engine, &o.obj);
	}
	reply_err(req, err);
}
