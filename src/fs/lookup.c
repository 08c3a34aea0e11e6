/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to inodes: LOOKUP and FORGET.
 *
 * A name is opened first (O_PATH) and everything is asked of the descriptor: asking
 * twice by name could describe two files. The descriptor then stays in the cache, for
 * what usually follows.
 */
#include "fs_i.h"

bool is_hidden(const struct vex_fs *fs, const struct stat *st)
{
	return st->st_ino == fs->hidden_ino && st->st_dev == fs->hidden_dev;
}

/* Which of the filesystems below STORE this is: 0 its own, else 1.. */
static unsigned dev_index(struct vex_fs *fs, uint64_t dev)
{
	unsigned k;

	if (dev == fs->root_dev)
		return 0;
	SCOPED_LOCK(&fs->devs_lock);
	for (k = 0; k < fs->ndevs; k++) {
		if (fs->devs[k] == dev)
			return k + 1;
	}
	if (fs->ndevs == ARRAY_SIZE(fs->devs))
		return (unsigned)fs->ndevs;
	fs->devs[fs->ndevs++] = dev;
	return fs->ndevs;
}

void stat_show(struct vex_fs *fs, struct stat *st)
{
	/* One directory fewer than STORE has: find(1) counts on it. */
	if (st->st_ino == fs->root->ino && st->st_dev == fs->root_dev && st->st_nlink > 2)
		st->st_nlink--;
	st->st_ino ^= (uint64_t)dev_index(fs, st->st_dev) << 56;
}

/* told: the directory it was found in was watched before it was looked at. */
static void entry_fill(struct vex_fs *fs, struct inode *i, const struct stat *st,
		       bool told, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = i == fs->root ? FUSE_ROOT_ID : i->id;
	e->generation = i == fs->root ? 0 : nodeid_generation(fs, i);
	e->attr = *st;
	stat_show(fs, &e->attr);
	inode_seen(i, st);
	e->attr_timeout = inode_attr_keep(fs, i, st, told);
	/* What is mounted there, or not any more, is no change in the directory. */
	e->entry_timeout =
	    told && st->st_dev == fs->root_dev ? WATCHED_SECONDS : KEEP_SECONDS;
}

vex_err entry_of_made(struct vex_fs *fs, struct inode *parent, const char *name, int fd,
		      struct fuse_entry_param *e)
{
	struct inode *i;
	struct stat st;
	struct vex_fh fh;

	vex_err err = identify(fd, &st, &fh);
	if (!err)
		err = inode_get(fs, &st, &fh, &i);
	if (err)
		return err;
	inode_name(fs, i, parent, name);
	inode_capless(i);
	entry_fill(fs, i, &st, false, e);
	return 0;
}

vex_err entry_from_fd(struct vex_fs *fs, struct inode *parent, const char *name, int fd,
		      bool told, struct fuse_entry_param *e)
{
	AUTO_CLOSE int own = fd;
	struct fdref ref;
	struct inode *i;
	struct stat st;
	struct vex_fh fh;

	vex_err err = identify(own, &st, &fh);
	if (err)
		return err;
	if (is_hidden(fs, &st))
		return -ENOENT;
	err = inode_get(fs, &st, &fh, &i);
	if (err)
		return err;
	fd_give(fs, i, take_fd(&own), &ref);
	if (parent && name) {
		inode_name(fs, i, parent, name);
	} else if (parent) { /* only this descriptor finds it */
		inode_unnamed(fs, i);
		fd_pin(&ref);
	}
	fd_put(&ref);
	entry_fill(fs, i, &st, told, e);
	return 0;
}

/* After so many misses it is tried at each HOPE_AGAIN-th lookup only. */
#define HOPE_MOST 32
#define HOPE_AGAIN 16
#define HOPE_LEAST (1 << 20) /* a count that comes round before it overflows */

/*
 * The entry of a name whose object we have a descriptor of: one system call instead of
 * four. 1: done; 0: it is not such a one. Where nothing is held (a tree seen the first
 * time, more files than descriptors) the look is wasted: then it is tried now and then.
 */
static int held_entry(struct vex_fs *fs, struct inode *parent, const char *name,
		      int dirfd, struct fuse_entry_param *e)
{
	int hope = atomic_load_explicit(&fs->hope, memory_order_relaxed);
	uint64_t since = fd_clock(fs);
	bool told = watched(fs, parent);
	struct stat st;

	if (hope < 0 && hope % HOPE_AGAIN) {
		atomic_store_explicit(&fs->hope, hope - 1, memory_order_relaxed);
		return 0;
	}
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	struct inode *i = inode_held(fs, &st, since);
	hope = i ? HOPE_MOST : hope > -HOPE_LEAST ? hope - 1 : -1;
	atomic_store_explicit(&fs->hope, hope, memory_order_relaxed);
	if (!i || i->kind != I_BACKED) {
		if (i)
			inode_unref(fs, i, 1);
		return 0;
	}
	inode_name(fs, i, parent, name);
	entry_fill(fs, i, &st, told, e);
	return 1;
}

vex_err entry_lookup(struct vex_fs *fs, struct inode *parent, const char *name,
		     struct fuse_entry_param *e)
{
	AUTO_FD struct fdref dir = FDREF_INIT;

	if (parent->kind != I_BACKED || is_control_name(fs, parent, name))
		return ctl_lookup(fs, parent->kind == I_BACKED ? NULL : name, e);
	vex_err err = fd_get(fs, parent, &dir);
	if (err)
		return err;
	int known = held_entry(fs, parent, name, dir.fd, e);
	if (known)
		return known < 0 ? known : 0;
	bool told = watched(fs, parent);
	int fd = vex_openat(dir.fd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return -errno;
	return entry_from_fd(fs, parent, name, fd, told, e);
}

/*
 * Trees are listed far more often than all their files are used: so the entries of a
 * listing are made without a descriptor, by name, handle first. Between the two calls
 * the name may have become another file's. One with another number is seen. One
 * with the same number: then the id is that of a file which is gone, as the first use
 * tells the kernel (ESTALE), and it looks again.
 */
vex_err entry_listed(struct vex_fs *fs, struct inode *parent, const char *name,
		     struct fuse_entry_param *e)
{
	AUTO_FD struct fdref dir = FDREF_INIT;
	bool told = watched(fs, parent);
	struct inode *i;
	struct stat st;
	struct vex_fh fh;
	uint64_t id;

	if (fs->packing == PACK_NONE)
		return entry_lookup(fs, parent, name, e);
	vex_err err = fd_get(fs, parent, &dir);
	if (!err)
		err = vex_fh_get(dir.fd, name, &fh, NULL);
	if (!err && fstatat(dir.fd, name, &st, AT_SYMLINK_NOFOLLOW))
		err = -errno;
	if (err)
		return err;
	if (nodeid_pack(fs, &st, &fh, &id) == PACK_NONE || is_hidden(fs, &st))
		return entry_lookup(fs, parent, name, e);
	err = inode_get(fs, &st, &fh, &i);
	if (err)
		return err;
	inode_name(fs, i, parent, name);
	entry_fill(fs, i, &st, told, e);
	return 0;
}

void reply_err(fuse_req_t req, vex_err err)
{
	count_error(err);
	fuse_reply_err(req, -err);
}

/* A reply that nobody takes (the connection ended) counts as no lookup. */
void reply_entry(fuse_req_t req, vex_err err, const struct fuse_entry_param *e)
{
	struct vex_fs *fs = fs_of(req);

	if (err) {
		reply_err(req, err);
		return;
	}
	struct inode *i = inode_of(req, e->ino);
	bool counted = i->kind == I_BACKED || i->kind == I_VIRT;
	if (fuse_reply_entry(req, e) && counted)
		inode_unref(fs, i, 1);
}

/* Not before the answer, which would then be believed for long: the change it may have
 * missed came before the watching. */
static void looked_up(struct vex_fs *fs, struct inode *dir)
{
	uint8_t n = atomic_load_explicit(&dir->lookups, memory_order_relaxed);

	if (n < LOOKUPS_WATCH)
		atomic_store_explicit(&dir->lookups, (uint8_t)(n + 1),
				      memory_order_relaxed);
	if (n == LOOKUPS_WATCH - 1)
		watch_dir(fs, dir);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct vex_fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct inode *dir;
	vex_err err;

	/* Paths are resolved by the kernel: these are asked for by handle, and the id
	 * may be one it has forgotten. */
	if (is_dots(name)) {
		err = nodeid_lookup(fs, parent, name[1], &e);
		reply_entry(req, err, &e);
		return;
	}
	dir = inode_of(req, parent);
	if (dir->kind == I_VIRT) {
		virt_lookup(req, dir, name);
		return;
	}
	err = entry_lookup(fs, dir, name, &e);
	if (!err)
		looked_up(fs, dir);
	reply_entry(req, err, &e);
}

static void forget(struct vex_fs *fs, struct inode *i, uint64_t n)
{
	if (i && (i->kind == I_VIRT || (i->kind == I_BACKED && i != fs->root)))
		inode_unref(fs, i, n);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget(fs_of(req), inode_of(req, ino), n);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	for (size_t k = 0; k < count; k++)
		forget(fs_of(req), inode_of(req, f[k].ino), f[k].nlookup);
	fuse_reply_none(req);
}
