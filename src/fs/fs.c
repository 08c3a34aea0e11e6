/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filesystem as a whole: what it is made of, what it asks of the kernel, what it
 * says of itself. Mounting and serving: serve.c.
 *
 * Not asked for: the writeback cache. It would send appends to offsets that are no
 * longer the end, and move times and sizes from the backing file, which is the truth,
 * to the kernel's guess of it; and the kernel does not have it beside pass-through.
 *
 * Asked for in our own words (wire.c): pass-through, where we have the right
 * (CAP_SYS_ADMIN), nobody said passthrough=off, and the kernel offers it; else data goes
 * by splice. HANDLE_KILLPRIV_V2: without it the kernel asks for security.capability
 * before each write; with it setuid and setgid are ours to clear (cred.c).
 */
#include "fs_i.h"

#include <linux/magic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/vfs.h>

/* A request with its header must fit into a pipe (1 MiB for most users), else libfuse
 * copies every write through our memory: 1.8 times the CPU time of large writes. The
 * price of splice is 0.8 us a request. */
#define WRITE_MAX (1u << 20)
#define WRITE_MAX_SPLICE ((1u << 20) - 4096)
#define FDS_MIN 64u
#define FDS_MAX 16384u

/* ThreadSanitizer sees the order of requests in read(2) and writev(2) on /dev/fuse, but
 * not in splice(2): without it, it takes a RELEASE for a race with the last READ. */
#ifdef __SANITIZE_THREAD__
#define SPLICE 0u
#else
#define SPLICE (FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE)
#endif

static void op_init(void *data, struct fuse_conn_info *conn)
{
	static const unsigned wanted =
	    FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC |
	    FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_DONT_MASK | SPLICE | FUSE_CAP_IOCTL_DIR |
	    FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
	    FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS;
	struct vex_fs *fs = data;

	wire_decide(fs);
	conn->want = wanted & conn->capable;
	/* Then requests are small, and come faster without a pipe. */
	if (fs->passthrough)
		conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE);
	/* Handles that outlive the kernel's memory are opened by nodeid.c. */
	if (fs->packing != PACK_NONE)
		conn->want |= FUSE_CAP_EXPORT_SUPPORT & conn->capable;
	conn->max_write =
	    conn->want & FUSE_CAP_SPLICE_READ ? WRITE_MAX_SPLICE : WRITE_MAX;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	if (!(conn->want & FUSE_CAP_POSIX_ACL))
		vex_warn("this kernel cannot check ACLs of FUSE mounts");
	if (!(conn->want & FUSE_CAP_ATOMIC_O_TRUNC))
		vex_debug("O_TRUNC comes as a truncate of its own");
	fs->started = time(NULL);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write_buf = op_write_buf,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.ioctl = op_ioctl,
	.poll = op_poll,
};

/* ---- making one ----------------------------------------------------------------- */

/* Half of what we may open: open files of clients, SQLite, slot files and
 * engine's directories live on the rest. */
static unsigned fds_cap(const struct vex_fs_opts *o)
{
	struct rlimit r;

	if (o->max_fds)
		return o->max_fds;
	if (getrlimit(RLIMIT_NOFILE, &r))
		return FDS_MIN;
	rlim_t n = r.rlim_cur / 2;
	return n < FDS_MIN ? FDS_MIN : n > FDS_MAX ? FDS_MAX : (unsigned)n;
}

static bool handles_work(struct vex_fs *fs)
{
	struct vex_fh fh;
	int fd;

	if (vex_fh_get(fs->rootfd, "", &fh, NULL) || !fh.len)
		return false;
	if (vex_fh_open(fs->rootfd, &fh, O_PATH, &fd))
		return false;
	close(fd);
	return true;
}

static vex_err root_init(struct vex_fs *fs)
{
	struct fdref ref;
	struct stat st;
	struct vex_fh fh;

	vex_err err = identify(fs->rootfd, &st, &fh);
	if (err)
		return err;
	fs->root_dev = st.st_dev;
	err = inode_get(fs, &st, &fh, &fs->root);
	if (err)
		return err;
	fd_give(fs, fs->root, fs->rootfd, &ref);
	fd_pin(&ref);
	fd_put(&ref);
	if (fstat(vex_store_dirfd(vex_engine_store(fs->engine)), &st))
		return -errno;
	fs->hidden_dev = st.st_dev;
	fs->hidden_ino = st.st_ino;
	nodeid_init(fs);
	return 0;
}

/* What STORE stands on decides how its files can be reached. */
static vex_err backing_init(struct vex_fs *fs, const struct vex_fs_opts *o)
{
	struct statfs st;

	if (fstatfs(fs->rootfd, &st))
		return -errno;
	fs->stacked =
	    st.f_type == OVERLAYFS_SUPER_MAGIC || st.f_type == ECRYPTFS_SUPER_MAGIC;
	/* Those on disks and in memory have nothing to say at close(2). */
	fs->close_tells = st.f_type != EXT4_SUPER_MAGIC && st.f_type != XFS_SUPER_MAGIC &&
			  st.f_type != BTRFS_SUPER_MAGIC && st.f_type != TMPFS_MAGIC;
	fs->may_pass = !o->no_passthrough && cred_may_pass(fs);
	return 0;
}

static vex_err strings_init(struct vex_fs *fs, const struct vex_fs_opts *o)
{
	fs->mountpoint = strdup(o->mountpoint);
	fs->source = strdup(o->store);
	fs->mount_opts = strdup(o->mount_opts ? o->mount_opts : "");
	return fs->mountpoint && fs->source && fs->mount_opts ? 0 : -ENOMEM;
}

vex_err vex_fs_new(const struct vex_fs_opts *o, struct vex_fs **out)
{
	struct vex_fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return -ENOMEM;
	fs->rootfd = o->rootfd;
	fs->engine = o->engine;
	fs->control = o->control;
	fs->debug = o->debug;
	fs->single_threaded = o->single_threaded;
	fs->started = time(NULL);
	atomic_store(&fs->generation, 1);
	fs->stop_fd = eventfd(0, EFD_CLOEXEC);
	vex_engine_on_stamp(fs->engine, through_settle, fs);
	pthread_mutex_init(&fs->devs_lock, NULL);
	pthread_mutex_init(&fs->handles_lock, NULL);
	pthread_mutex_init(&fs->poll_lock, NULL);
	fdcache_init(fs, fds_cap(o));
	fs->handles = handles_work(fs);
	vex_err err = fs->stop_fd < 0 ? -errno : itable_init(fs);
	if (!err)
		err = strings_init(fs, o);
	if (!err)
		err = cred_init(fs);
	if (!err)
		err = backing_init(fs, o);
	if (!err)
		err = root_init(fs);
	if (!err)
		err = ctl_init(fs);
	if (!err)
		err = linkcache_new(&fs->links);
	if (err) {
		vex_fs_free(fs);
		return err;
	}
	*out = fs;
	return 0;
}

void vex_fs_set_control(struct vex_fs *f, struct vex_control *c)
{
	f->control = c;
}

void vex_fs_free(struct vex_fs *f)
{
	if (!f)
		return;
	vex_engine_on_stamp(f->engine, NULL, NULL);
	handles_close_all(f);
	itable_destroy(f);
	ctl_destroy(f);
	linkcache_free(f->links);
	pthread_mutex_destroy(&f->devs_lock);
	pthread_mutex_destroy(&f->handles_lock);
	pthread_mutex_destroy(&f->poll_lock);
	fdcache_destroy(f);
	vex_cleanup_fd(&f->stop_fd);
	free(f->mountpoint);
	free(f->source);
	free(f->mount_opts);
	free(f);
}

void vex_fs_status(struct vex_fs *f, struct vex_buf *out)
{
	unsigned fds, pinned;
	uint64_t open;

	pthread_mutex_lock(&f->fds.lock);
	fds = f->fds.count;
	pinned = f->fds.pinned;
	pthread_mutex_unlock(&f->fds.lock);
	pthread_mutex_lock(&f->handles_lock);
	open = f->nopen;
	pthread_mutex_unlock(&f->handles_lock);
	vex_buf_fmt(out, "\"inodes\": %llu,\n",
		    (unsigned long long)atomic_load(&f->inodes));
	vex_buf_fmt(out, "\"open_handles\": %llu,\n", (unsigned long long)open);
	vex_buf_fmt(out, "\"cached_descriptors\": %u,\n", fds);
	vex_buf_fmt(out, "\"cached_descriptors_max\": %u,\n", f->fds.cap);
	vex_buf_fmt(out, "\"pinned_descriptors\": %u,\n", pinned);
	vex_buf_fmt(out, "\"watched_directories\": %u,\n", watch_marks(f));
	vex_buf_fmt(out, "\"reopened\": %llu,\n",
		    (unsigned long long)atomic_load(&f->fds.reopened));
	vex_buf_fmt(out, "\"file_handles\": %s,\n", f->handles ? "true" : "false");
	vex_buf_fmt(out, "\"acts_as_callers\": %s,\n", f->privileged ? "true" : "false");
	vex_buf_fmt(out, "\"passthrough\": %s,\n", f->passthrough ? "true" : "false");
	vex_buf_fmt(out, "\"data\": \"%s\",\n",
		    f->passthrough ? "kernel pass-through" : "splice");
	vex_buf_fmt(out, "\"opens_passed_through\": %llu,\n",
		    (unsigned long long)atomic_load(&f->through));
	vex_buf_fmt(out, "\"opens_not_passed_through\": %llu\n",
		    (unsigned long long)atomic_load(&f->plain));
}
