/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every callback, counted: how often, how long, how it ended, how deep its stack went.
 * libfuse calls these; each calls the one of fs.c. A request is gone once it was
 * answered, so what is noted of it is taken before; how it was answered is left behind
 * by reply_err in this thread.
 */
#include "fs_i.h"

static _Thread_local vex_err answered;

void count_error(vex_err err)
{
	answered = err;
}

struct counted {
	struct vex_span span;
	uint32_t uid;
};

static void begin(fuse_req_t req, struct counted *c)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	c->uid = ctx ? ctx->uid : 0;
	answered = 0;
	vex_stack_small(true);
}

static void end(struct counted *c, enum vex_op op, bool slow)
{
	if (slow)
		vex_slow_plain(op, vex_now_mono() - c->span.start, answered, c->uid);
	vex_stack_small(false);
}

/* X(field of the table, VEX_OP, parameters, arguments) */
#define CALLBACKS(X)                                                                     \
	X(lookup, LOOKUP, (fuse_req_t req, fuse_ino_t parent, const char *name),         \
	  (req, parent, name))                                                           \
	X(forget, FORGET, (fuse_req_t req, fuse_ino_t ino, uint64_t n), (req, ino, n))   \
	X(forget_multi, FORGET,                                                          \
	  (fuse_req_t req, size_t count, struct fuse_forget_data * f), (req, count, f))  \
	X(getattr, GETATTR, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * f), \
	  (req, ino, f))                                                                 \
	X(setattr, SETATTR,                                                              \
	  (fuse_req_t req, fuse_ino_t ino, struct stat * st, int valid,                  \
	   struct fuse_file_info *f),                                                    \
	  (req, ino, st, valid, f))                                                      \
	X(readlink, READLINK, (fuse_req_t req, fuse_ino_t ino), (req, ino))              \
	X(mknod, MKNOD,                                                                  \
	  (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev), \
	  (req, parent, name, mode, dev))                                                \
	X(mkdir, MKDIR,                                                                  \
	  (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode),            \
	  (req, parent, name, mode))                                                     \
	X(unlink, UNLINK, (fuse_req_t req, fuse_ino_t parent, const char *name),         \
	  (req, parent, name))                                                           \
	X(rmdir, RMDIR, (fuse_req_t req, fuse_ino_t parent, const char *name),           \
	  (req, parent, name))                                                           \
	X(symlink, SYMLINK,                                                              \
	  (fuse_req_t req, const char *to, fuse_ino_t parent, const char *name),         \
	  (req, to, parent, name))                                                       \
	X(rename, RENAME,                                                                \
	  (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,    \
	   const char *newname, unsigned flags),                                         \
	  (req, parent, name, newparent, newname, flags))                                \
	X(link, LINK,                                                                    \
	  (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name),         \
	  (req, ino, parent, name))                                                      \
	X(create, CREATE,                                                                \
	  (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,             \
	   struct fuse_file_info *f),                                                    \
	  (req, parent, name, mode, f))                                                  \
	X(open, OPEN, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * f),       \
	  (req, ino, f))                                                                 \
	X(read, READ,                                                                    \
	  (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,                       \
	   struct fuse_file_info * f),                                                   \
	  (req, ino, size, off, f))                                                      \
	X(write_buf, WRITE,                                                              \
	  (fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec * in, off_t off,           \
	   struct fuse_file_info * f),                                                   \
	  (req, ino, in, off, f))                                                        \
	X(flush, FLUSH, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * f),     \
	  (req, ino, f))                                                                 \
	X(release, RELEASE, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * f), \
	  (req, ino, f))                                                                 \
	X(fsync, FSYNC,                                                                  \
	  (fuse_req_t req, fuse_ino_t ino, int data, struct fuse_file_info *f),          \
	  (req, ino, data, f))                                                           \
	X(opendir, OPENDIR, (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * f), \
	  (req, ino, f))                                                                 \
	X(readdir, READDIR,                                                              \
	  (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,                       \
	   struct fuse_file_info * f),                                                   \
	  (req, ino, size, off, f))                                                      \
	X(readdirplus, READDIRPLUS,                                                      \
	  (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,                       \
	   struct fuse_file_info * f),                                                   \
	  (req, ino, size, off, f))                                                      \
	X(releasedir, RELEASEDIR,                                                        \
	  (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * f), (req, ino, f))    \
	X(fsyncdir, FSYNCDIR,                                                            \
	  (fuse_req_t req, fuse_ino_t ino, int data, struct fuse_file_info *f),          \
	  (req, ino, data, f))                                                           \
	X(statfs, STATFS, (fuse_req_t req, fuse_ino_t ino), (req, ino))                  \
	X(setxattr, SETXATTR,                                                            \
	  (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,          \
	   size_t size, int flags),                                                      \
	  (req, ino, name, value, size, flags))                                          \
	X(getxattr, GETXATTR,                                                            \
	  (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size),               \
	  (req, ino, name, size))                                                        \
	X(listxattr, LISTXATTR, (fuse_req_t req, fuse_ino_t ino, size_t size),           \
	  (req, ino, size))                                                              \
	X(removexattr, REMOVEXATTR, (fuse_req_t req, fuse_ino_t ino, const char *name),  \
	  (req, ino, name))                                                              \
	X(fallocate, FALLOCATE,                                                          \
	  (fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,               \
	   struct fuse_file_info *f),                                                    \
	  (req, ino, mode, off, len, f))                                                 \
	X(lseek, LSEEK,                                                                  \
	  (fuse_req_t req, fuse_ino_t ino, off_t off, int whence,                        \
	   struct fuse_file_info *f),                                                    \
	  (req, ino, off, whence, f))                                                    \
	X(copy_file_range, COPY,                                                         \
	  (fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info * f_in,    \
	   fuse_ino_t out, off_t off_out, struct fuse_file_info * f_out, size_t len,     \
	   int flags),                                                                   \
	  (req, in, off_in, f_in, out, off_out, f_out, len, flags))                      \
	X(ioctl, IOCTL,                                                                  \
	  (fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,                      \
	   struct fuse_file_info *f, unsigned flags, const void *in, size_t in_size,     \
	   size_t out_size),                                                             \
	  (req, ino, cmd, arg, f, flags, in, in_size, out_size))                         \
	X(poll, POLL,                                                                    \
	  (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * f,                    \
	   struct fuse_pollhandle * ph),                                                 \
	  (req, ino, f, ph))

#define X(field, OP, params, args)                                                       \
	static void counted_##field params                                               \
	{                                                                                \
		struct counted c;                                                        \
                                                                                         \
		begin(req, &c);                                                          \
		vex_span_begin(&c.span);                                                 \
		fs_ops.field args;                                                       \
		end(&c, VEX_OP_##OP, vex_span_end(&c.span, VEX_OP_##OP, answered));      \
	}
CALLBACKS(X)
#undef X

/* What fs.c has and this file does not know stays as it is, uncounted. */
void count_ops(struct fuse_lowlevel_ops *out)
{
	*out = fs_ops;
#define X(field, OP, params, args)                                                       \
	if (out->field)                                                                  \
		out->field = counted_##field;
	CALLBACKS(X)
#undef X
}
