/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content: READ, WRITE, FALLOCATE, LSEEK, COPY_FILE_RANGE.
 *
 * Data moves between the backing file and /dev/fuse by splice where libfuse can, and
 * does not pass through our memory. Pages are not moved (SPLICE_MOVE): they would be
 * taken out of the backing filesystem's cache, where other readers want them.
 */
#include "fs_i.h"

/* One COPY_FILE_RANGE holds a thread no longer than this takes; short copies are
 * allowed, and the reply's field has 32 bits. */
#define COPY_MAX ((size_t)256 << 20)

static struct fuse_bufvec file_buf(int fd, size_t size, off_t off)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(size);

	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = fd;
	v.buf[0].pos = off;
	return v;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	int fd;

	(void)ino;
	if (h->session) {
		ctl_read(req, h, size, off);
		return;
	}
	vex_err err = handle_fd(fs_of(req), h, &fd);
	if (err) {
		reply_err(req, err);
		return;
	}
	struct fuse_bufvec v = file_buf(fd, size, off);
	fuse_reply_data(req, &v, 0);
}

static vex_err begin_change(fuse_req_t req, struct handle *h, struct acting *as)
{
	vex_err err = acting_on_content(req, h->inode, h->fd, as);

	if (!err)
		acting_pays(req, as);
	return err;
}

void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		  struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	struct acting as;

	(void)ino;
	if (h->session) {
		ctl_write(req, h, in);
		return;
	}
	struct fuse_bufvec out = file_buf(h->fd, fuse_buf_size(in), off);
	ssize_t n = begin_change(req, h, &as);
	if (!n)
		n = fuse_buf_copy(&out, in, 0);
	acting_content_end(req, h->inode, &as);
	if (n < 0) {
		reply_err(req, (vex_err)n);
		return;
	}
	atomic_store(&h->dirty, true);
	fuse_reply_write(req, (size_t)n);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	struct acting as;

	(void)ino;
	if (h->fd < 0) {
		reply_err(req, -EOPNOTSUPP);
		return;
	}
	vex_err err = begin_change(req, h, &as);
	if (!err && fallocate(h->fd, mode, off, len))
		err = -errno;
	acting_content_end(req, h->inode, &as);
	if (!err)
		atomic_store(&h->dirty, true);
	reply_err(req, err);
}

/* SEEK_DATA and SEEK_HOLE; the kernel does the others itself. */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	      struct fuse_file_info *fi)
{
	int fd;

	(void)ino;
	vex_err err = handle_fd(fs_of(req), handle_of(fi), &fd);
	off_t at = err ? -1 : lseek(fd, off, whence);
	if (at < 0)
		reply_err(req, err ? -ESPIPE : -errno);
	else
		fuse_reply_lseek(req, at);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct handle *in = handle_of(fi_in), *out = handle_of(fi_out);
	struct acting as;
	int from;

	(void)ino_in;
	(void)ino_out;
	if (handle_fd(fs_of(req), in, &from) || out->fd < 0) {
		reply_err(req, -EINVAL);
		return;
	}
	len = len < COPY_MAX ? len : COPY_MAX;
	ssize_t n = begin_change(req, out, &as);
	if (!n)
		n = copy_file_range(from, &off_in, out->fd, &off_out, len,
				    (unsigned)flags);
	vex_err err = n < 0 ? -errno : 0;
	acting_content_end(req, out->inode, &as);
	if (n < 0) {
		reply_err(req, err);
		return;
	}
	if (n)
		atomic_store(&out->dirty, true);
	/* Its time of access has moved, and the kernel knows nothing of that. */
	if (inode_in_watched(fs_of(req), in->inode))
		fuse_lowlevel_notify_inval_inode(fs_of(req)->session, in->inode->id, -1,
						 0);
	fuse_reply_write(req, (size_t)n);
}
