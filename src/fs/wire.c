/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire: what the kernel's side of FUSE can do and libfuse 3.14 has no words for.
 *
 * libfuse lets its reads and writes of /dev/fuse be done by us (fuse_session_custom_io).
 * So a request passes here before libfuse sees it, and a reply after libfuse made it:
 *  - INIT: the kernel's offer is read, our answer to it is added (FUSE_PASSTHROUGH,
 *    FUSE_HANDLE_KILLPRIV_V2);
 *  - OPEN and CREATE: a backing id is put into the reply (FOPEN_PASSTHROUGH);
 *  - TMPFILE has the form of CREATE: it becomes a CREATE with O_TMPFILE in its flags;
 *  - STATX begins as GETATTR does: it becomes one, remembered as STATX for the reply.
 *
 * A request is read, served and answered by one thread, so what is remembered between
 * is the thread's own; there are no locks.
 *
 * Where data goes by splice (no pass-through), small requests come through a pipe and
 * not by us: then TMPFILE and STATX get libfuse's ENOSYS, and the kernel does without.
 */
#include "fs_i.h"

#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

/* Newer than the headers of Debian 12; values as in Linux 6.9. */
#define W_TMPFILE 51u
#define W_STATX 52u
#define W_PASSTHROUGH ((uint64_t)1 << 37)
#define W_FOPEN_PASSTHROUGH (1u << 7)

struct w_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define W_BACKING_OPEN _IOW(FUSE_DEV_IOC_MAGIC, 1, struct w_backing_map)
#define W_BACKING_CLOSE _IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t)

struct w_time {
	int64_t sec;
	uint32_t nsec;
	int32_t zero;
};
struct w_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, zero;
	uint64_t ino, size, blocks, attributes_mask;
	struct w_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};
_Static_assert(sizeof(struct w_statx_out) == 32 + 256, "struct fuse_statx_out");

/* Of the request this thread serves. */
static _Thread_local struct {
	bool statx;
	uint32_t backing; /* to go into the reply */
} now;

/* ---- requests ------------------------------------------------------------------- */

static void see_init(struct vex_fs *fs, const struct fuse_in_header *in, size_t n)
{
	const struct fuse_init_in *arg = (const void *)(in + 1);

	if (n < sizeof(*in) + offsetof(struct fuse_init_in, unused))
		return;
	fs->offered = arg->flags;
	if (arg->flags & FUSE_INIT_EXT)
		fs->offered |= (uint64_t)arg->flags2 << 32;
	fs->init_unique = in->unique;
}

static void see(struct vex_fs *fs, struct fuse_in_header *in, size_t n)
{
	struct fuse_create_in *create = (void *)(in + 1);

	now.statx = false;
	switch (in->opcode) {
	case FUSE_INIT:
		see_init(fs, in, n);
		break;
	case W_STATX:
		now.statx = true;
		in->opcode = FUSE_GETATTR;
		break;
	case W_TMPFILE:
		create->flags |= O_TMPFILE;
		in->opcode = FUSE_CREATE;
		break;
	default:
		break;
	}
}

static ssize_t wire_read(int fd, void *buf, size_t len, void *data)
{
	ssize_t n = read(fd, buf, len);

	if (n >= (ssize_t)sizeof(struct fuse_in_header))
		see(data, buf, (size_t)n);
	return n;
}

/* ---- replies -------------------------------------------------------------------- */

static void answer_init(struct vex_fs *fs, struct fuse_init_out *out)
{
	if (fs->killpriv)
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
	if (fs->passthrough) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= (uint32_t)(W_PASSTHROUGH >> 32);
		/* max_stack_depth: STORE's filesystem itself, or on one it stands on. */
		out->unused[0] = fs->stacked ? 2 : 1;
	}
}

static void answer_open(struct fuse_open_out *out)
{
	out->open_flags |= W_FOPEN_PASSTHROUGH;
	out->padding = now.backing;
}

static ssize_t wire_writev(int fd, struct iovec *iov, int count, void *data)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	struct vex_fs *fs = data;
	char *end = count == 2 ? (char *)iov[1].iov_base + iov[1].iov_len : NULL;

	if (fs->init_unique && out->unique == fs->init_unique) {
		fs->init_unique = 0;
		if (end && iov[1].iov_len >= sizeof(struct fuse_init_out))
			answer_init(fs, iov[1].iov_base);
	} else if (now.backing && end && !out->error) {
		answer_open((void *)(end - sizeof(struct fuse_open_out)));
	}
	return writev(fd, iov, count);
}

static ssize_t wire_splice(int in, off_t *in_off, int out, off_t *out_off, size_t len,
			   unsigned flags, void *data)
{
	(void)data;
	return splice(in, in_off, out, out_off, len, flags);
}

vex_err wire_start(struct vex_fs *fs)
{
	static const struct fuse_custom_io io = {
		.writev = wire_writev,
		.read = wire_read,
		.splice_receive = wire_splice,
		.splice_send = wire_splice,
	};

	return fuse_session_custom_io(fs->session, &io, fuse_session_fd(fs->session));
}

void wire_decide(struct vex_fs *fs)
{
	fs->killpriv = fs->offered & FUSE_HANDLE_KILLPRIV_V2;
	fs->passthrough = fs->may_pass && fs->offered & W_PASSTHROUGH;
}

/* ---- pass-through --------------------------------------------------------------- */

vex_err wire_backing_open(struct vex_fs *fs, int fd, uint32_t *id)
{
	struct w_backing_map map = { .fd = fd };
	int r = ioctl(fuse_session_fd(fs->session), W_BACKING_OPEN, &map);

	if (r <= 0)
		return r ? -errno : -EIO;
	*id = (uint32_t)r;
	return 0;
}

void wire_backing_close(struct vex_fs *fs, uint32_t id)
{
	if (ioctl(fuse_session_fd(fs->session), W_BACKING_CLOSE, &id))
		vex_debug("backing id %u: %s", id, strerror(errno));
}

int wire_reply_open(fuse_req_t req, const struct fuse_entry_param *e,
		    const struct fuse_file_info *fi, uint32_t backing)
{
	now.backing = backing;
	int r = e ? fuse_reply_create(req, e, fi) : fuse_reply_open(req, fi);
	now.backing = 0;
	return r;
}

/* ---- STATX ---------------------------------------------------------------------- */

bool wire_is_statx(void)
{
	return now.statx;
}

static struct w_time time_of(const struct statx_timestamp *t)
{
	return (struct w_time){ .sec = t->tv_sec, .nsec = t->tv_nsec };
}

static struct w_time time_of_stat(const struct timespec *t)
{
	return (struct w_time){ .sec = t->tv_sec, .nsec = (uint32_t)t->tv_nsec };
}

void wire_reply_statx(fuse_req_t req, const struct stat *st,
		      const struct statx_timestamp *birth, double valid)
{
	struct w_statx_out out = {
		.attr_valid = (uint64_t)valid,
		.mask = STATX_BASIC_STATS | (birth ? STATX_BTIME : 0),
		.blksize = (uint32_t)st->st_blksize,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mode = (uint16_t)st->st_mode,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = time_of_stat(&st->st_atim),
		.ctime = time_of_stat(&st->st_ctim),
		.mtime = time_of_stat(&st->st_mtim),
		.rdev_major = major(st->st_rdev),
		.rdev_minor = minor(st->st_rdev),
	};

	out.attr_valid_nsec = (uint32_t)((valid - (double)out.attr_valid) * 1e9);
	if (birth)
		out.btime = time_of(birth);
	fuse_reply_buf(req, (const char *)&out, sizeof(out));
}
