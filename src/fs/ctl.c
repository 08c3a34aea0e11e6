/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control directory MOUNT/.vexfs: inodes of our own, outside the inode table, which
 * live as long as the mount. Contents are control's business; here are names, attributes
 * and the passing of bytes.
 *
 * Its files are read and written past the page cache (direct_io): their contents are
 * made anew at each open. Files one may write to are conversations: not seekable.
 */
#include "fs_i.h"

#include <poll.h>
#include <sys/ioctl.h>

/* Far from what filesystems count up to. */
#define CTL_INO 0xfffffffffffe0000ull
#define IO_MAX ((size_t)1 << 20)

vex_err ctl_init(struct vex_fs *fs)
{
	struct vex_fh fh = { 0 };
	struct stat st = { .st_ino = CTL_INO, .st_mode = S_IFDIR };

	vex_control_files(&fs->nctlfiles);
	fs->ctldir = inode_new(fs, I_CTLDIR, &st, &fh);
	fs->ctlfiles = calloc(fs->nctlfiles, sizeof(struct inode *));
	if (!fs->ctldir || !fs->ctlfiles)
		return -ENOMEM;
	for (size_t k = 0; k < fs->nctlfiles; k++) {
		st = (struct stat){ .st_ino = CTL_INO + 1 + k, .st_mode = S_IFREG };
		fh.type = (int)k;
		fs->ctlfiles[k] = inode_new(fs, I_CTLFILE, &st, &fh);
		if (!fs->ctlfiles[k])
			return -ENOMEM;
	}
	return 0;
}

void ctl_destroy(struct vex_fs *fs)
{
	for (size_t k = 0; fs->ctlfiles && k < fs->nctlfiles; k++)
		free(fs->ctlfiles[k]);
	free(fs->ctlfiles);
	free(fs->ctldir);
}

static const struct vex_control_file *file_of(const struct inode *i)
{
	size_t n;

	return &vex_control_files(&n)[i->fh_type];
}

void ctl_stat(struct vex_fs *fs, const struct inode *i, struct stat *st)
{
	*st = (struct stat){ .st_ino = i->ino, .st_dev = fs->root_dev, .st_nlink = 1 };
	if (i->kind == I_CTLDIR) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
	} else {
		st->st_mode = S_IFREG | file_of(i)->mode;
	}
	st->st_uid = fs->uid;
	st->st_gid = fs->gid;
	st->st_blksize = 4096;
	st->st_atim.tv_sec = st->st_mtim.tv_sec = st->st_ctim.tv_sec = fs->started;
}

static struct inode *find(struct vex_fs *fs, const char *name)
{
	size_t n;
	const struct vex_control_file *f = vex_control_files(&n);

	if (!name)
		return fs->ctldir;
	for (size_t k = 0; k < n; k++) {
		if (!strcmp(f[k].name, name))
			return fs->ctlfiles[k];
	}
	return NULL;
}

vex_err ctl_lookup(struct vex_fs *fs, const char *name, struct fuse_entry_param *e)
{
	struct inode *i = find(fs, name);

	if (!i && virt_is_root(name))
		return virt_root(fs, name, e);
	if (!i)
		return -ENOENT;
	memset(e, 0, sizeof(*e));
	e->ino = i->id;
	e->generation = i->gen;
	ctl_stat(fs, i, &e->attr);
	e->attr_timeout = e->entry_timeout = KEEP_SECONDS;
	return 0;
}

/* Whoever polls is told to look again. */
static void ready(void *arg)
{
	struct handle *h = arg;

	pthread_mutex_lock(&h->fs->poll_lock);
	struct fuse_pollhandle *ph = take_ptr(&h->ph);
	pthread_mutex_unlock(&h->fs->poll_lock);
	if (!ph)
		return;
	fuse_lowlevel_notify_poll(ph);
	fuse_pollhandle_destroy(ph);
}

void ctl_closed(struct handle *h)
{
	if (h->ph)
		fuse_pollhandle_destroy(h->ph);
	h->ph = NULL;
}

void ctl_open(fuse_req_t req, struct inode *i, struct fuse_file_info *fi)
{
	struct vex_fs *fs = fs_of(req);
	struct handle *h = NULL;
	struct caller who;

	if (i->kind != I_CTLFILE) {
		reply_err(req, -EISDIR);
		return;
	}
	vex_err err = handle_new(fs, i, -1, &h);
	if (!err) {
		caller_get(req, &who);
		err = vex_session_open(fs->control, file_of(i)->id, fi->flags, &who.cred,
				       &h->session);
	}
	if (err) {
		if (h)
			handle_close(fs, h);
		reply_err(req, err);
		return;
	}
	h->fs = fs;
	vex_session_on_ready(h->session, ready, h);
	fi->fh = (uintptr_t)h;
	fi->direct_io = 1;
	fi->nonseekable = (file_of(i)->mode & 0222) != 0;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi))
		handle_close(fs, h);
}

void ctl_read(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	AUTO_FREE char *buf = malloc(size);
	struct caller who;
	size_t n = 0;

	caller_get(req, &who);
	vex_err err =
	    !buf ? -ENOMEM : vex_session_read(h->session, &who.cred, buf, size, off, &n);
	if (err)
		reply_err(req, err);
	else
		fuse_reply_buf(req, buf, n);
}

/* The bytes may still be in a pipe: they are taken into memory. */
static vex_err gather(struct fuse_bufvec *in, char **data, size_t *len)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(in));

	if (out.buf[0].size > IO_MAX)
		return -EINVAL;
	AUTO_FREE char *mem = malloc(out.buf[0].size + 1);
	if (!mem)
		return -ENOMEM;
	out.buf[0].mem = mem;
	ssize_t n = fuse_buf_copy(&out, in, 0);
	if (n < 0)
		return (vex_err)n;
	*data = take_ptr(&mem);
	*len = (size_t)n;
	return 0;
}

void ctl_write(fuse_req_t req, struct handle *h, struct fuse_bufvec *in)
{
	AUTO_FREE char *data = NULL;
	struct caller who;
	size_t len = 0, n = 0;

	vex_err err = gather(in, &data, &len);
	if (!err) {
		caller_get(req, &who);
		err = vex_session_write(h->session, &who.cred, data, len, &n);
	}
	if (err)
		reply_err(req, err);
	else
		fuse_reply_write(req, n);
}

/* ---- READDIR, IOCTL, POLL
 * ---------------------------------------------------------------- */

static size_t add_entry(fuse_req_t req, char *out, size_t room, const char *name,
			const struct fuse_entry_param *e, off_t next, bool plus)
{
	if (plus)
		return fuse_add_direntry_plus(req, out, room, name, e, next);
	return fuse_add_direntry(req, out, room, name, &e->attr, next);
}

/* ".", "..", the files, the query directories; offsets count them. */
void ctl_readdir(fuse_req_t req, size_t size, off_t off, bool plus)
{
	struct vex_fs *fs = fs_of(req);
	size_t n, used = 0;
	const struct vex_control_file *f = vex_control_files(&n);
	AUTO_FREE char *out = malloc(size);

	if (!out) {
		reply_err(req, -ENOMEM);
		return;
	}
	for (size_t k = (size_t)off; k < n + 4; k++) {
		const char *name = k == 0       ? "."
				   : k == 1     ? ".."
				   : k < n + 2  ? f[k - 2].name
				   : k == n + 2 ? "near"
						: "search";
		struct fuse_entry_param e = { .attr = { .st_mode = S_IFDIR,
							.st_ino = CTL_INO } };

		if (k >= 2 && k < n + 2 && ctl_lookup(fs, name, &e))
			break;
		size_t need =
		    add_entry(req, out + used, size - used, name, &e, (off_t)k + 1, plus);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, out, used);
}

/* Answers go out from one buffer a thread: ioctls are many and small. */
static char *answer_buf(void)
{
	static _Thread_local char buf[1 << _IOC_SIZEBITS];

	return buf;
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
	      struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
	      size_t out_size)
{
	struct handle *h = handle_of(fi);
	char *out = answer_buf();
	struct caller who;
	size_t n = 0;

	(void)ino;
	(void)arg;
	if (flags_op(req, h, cmd, in, in_size, out_size))
		return;
	if (flags & FUSE_IOCTL_DIR || !h->session) {
		reply_err(req, -ENOTTY);
		return;
	}
	if (out_size > 1 << _IOC_SIZEBITS)
		out_size = 1 << _IOC_SIZEBITS;
	caller_get(req, &who);
	vex_err err =
	    vex_session_ioctl(h->session, &who.cred, cmd, in, in_size, out, out_size, &n);
	if (err)
		reply_err(req, err);
	else
		fuse_reply_ioctl(req, 0, out, n);
}

/* Ordinary files are always ready, as select(2) has it. */
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	     struct fuse_pollhandle *ph)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	if (ph && h->session) {
		/* First the handle, then the look: what comes in between is told. */
		pthread_mutex_lock(&h->fs->poll_lock);
		struct fuse_pollhandle *old = h->ph;
		h->ph = ph;
		pthread_mutex_unlock(&h->fs->poll_lock);
		ph = old;
	}
	if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, h->session ? vex_session_poll(h->session)
					: POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}
