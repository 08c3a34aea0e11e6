/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of inodes, bounded: the kernel may remember 200,000 files while we may
 * open 1,024. A descriptor is O_PATH. While a request uses it, it is counted; unused
 * ones wait in a list, newest first, and the oldest are closed when there are more
 * than `cap`. inode_reopen brings one back.
 *
 * Pinned: an inode that could not be found again (its last name is gone, or the name
 * we knew where handles do not help). Its descriptor stays until the kernel forgets
 * the inode or it is named again. Pinned ones are outside the bound: each stands for
 * a file some client holds open, or an instant before the kernel's forget.
 *
 * One lock for all: it is held for a few instructions, never over a system call.
 */
#include "fs_i.h"

#define RELIEF 32u

/* ---- the list of unused ones ---------------------------------------------------- */

static void idle_remove_locked(struct fdcache *c, struct inode *i)
{
	*(i->lru_prev ? &i->lru_prev->lru_next : &c->newest) = i->lru_next;
	*(i->lru_next ? &i->lru_next->lru_prev : &c->oldest) = i->lru_prev;
	i->lru_prev = i->lru_next = NULL;
}

static void idle_add_locked(struct fdcache *c, struct inode *i)
{
	i->lru_prev = NULL;
	i->lru_next = c->newest;
	*(c->newest ? &c->newest->lru_prev : &c->oldest) = i;
	c->newest = i;
}

/* A descriptor, with what was kept of it. */
struct taken {
	int fd; /* -1: none */
	uint32_t backing;
};

static struct taken take_locked(struct inode *i)
{
	struct taken t = { take_fd(&i->fd), i->kept };

	i->kept = 0;
	return t;
}

static void taken_close(struct vex_fs *fs, struct taken t)
{
	if (t.backing && fs->session)
		wire_backing_close(fs, t.backing);
	if (t.fd >= 0)
		close(t.fd);
}

/* Takes the descriptor of the oldest unused inode. */
static struct taken evict_locked(struct fdcache *c)
{
	struct inode *i = c->oldest;

	if (!i)
		return (struct taken){ .fd = -1 };
	idle_remove_locked(c, i);
	c->count--;
	return take_locked(i);
}

static void trim(struct vex_fs *fs)
{
	struct fdcache *c = &fs->fds;

	for (;;) {
		struct taken t = { .fd = -1 };

		pthread_mutex_lock(&c->lock);
		if (c->count > c->cap)
			t = evict_locked(c);
		pthread_mutex_unlock(&c->lock);
		if (t.fd < 0)
			return;
		taken_close(fs, t);
	}
}

bool fd_relieve(struct vex_fs *fs)
{
	struct fdcache *c = &fs->fds;
	unsigned closed = 0;

	for (; closed < RELIEF; closed++) {
		pthread_mutex_lock(&c->lock);
		struct taken t = evict_locked(c);
		pthread_mutex_unlock(&c->lock);
		if (t.fd < 0)
			break;
		taken_close(fs, t);
	}
	return closed > 0;
}

static bool close_some(void *arg)
{
	return fd_relieve(arg);
}

void fdcache_init(struct vex_fs *fs, unsigned cap)
{
	pthread_mutex_init(&fs->fds.lock, NULL);
	fs->fds.cap = cap;
	fs->fds.relief = (struct vex_relief){ .close_some = close_some, .arg = fs };
	vex_relief_add(&fs->fds.relief);
}

void fdcache_destroy(struct vex_fs *fs)
{
	vex_relief_remove(&fs->fds.relief);
	pthread_mutex_destroy(&fs->fds.lock);
}

/* ---- using one ------------------------------------------------------------------ */

/* The reference keeps the inode for fd_put: once a request is answered, the kernel may
 * forget it before we have cleaned up. */
static void use_locked(struct vex_fs *fs, struct inode *i, struct fdref *out)
{
	if (!i->fd_users++ && !i->pinned)
		idle_remove_locked(&fs->fds, i);
	inode_ref(i);
	*out = (struct fdref){ .fs = fs, .inode = i, .fd = i->fd };
}

uint64_t fd_clock(struct vex_fs *fs)
{
	return atomic_load(&fs->fds.opened);
}

bool fd_open_since(struct vex_fs *fs, const struct inode *i, uint64_t since)
{
	SCOPED_LOCK(&fs->fds.lock);
	return i->fd >= 0 && i->fd_since <= since;
}

bool fd_try(struct vex_fs *fs, struct inode *i, struct fdref *out)
{
	struct fdcache *c = &fs->fds;

	SCOPED_LOCK(&c->lock);
	if (i->fd < 0)
		return false;
	use_locked(fs, i, out);
	return true;
}

void fd_give(struct vex_fs *fs, struct inode *i, int fd, struct fdref *out)
{
	struct fdcache *c = &fs->fds;
	int spare = fd;

	pthread_mutex_lock(&c->lock);
	if (i->fd < 0) { /* else another thread was quicker */
		i->fd = take_fd(&spare);
		i->fd_since = atomic_fetch_add(&c->opened, 1) + 1;
		idle_add_locked(c, i);
		c->count++;
	}
	use_locked(fs, i, out);
	pthread_mutex_unlock(&c->lock);
	if (spare >= 0)
		close(spare);
	trim(fs);
}

vex_err fd_get(struct vex_fs *fs, struct inode *i, struct fdref *out)
{
	int fd;

	bool open = fd_try(fs, i, out);

	vex_count(open ? VEX_COUNT_FDS_HIT : VEX_COUNT_FDS_MISS, 1);
	if (open)
		return 0;
	vex_err err = inode_reopen(fs, i, &fd);
	if (err)
		return err;
	atomic_fetch_add_explicit(&fs->fds.reopened, 1, memory_order_relaxed);
	fd_give(fs, i, fd, out);
	return 0;
}

void fd_put(struct fdref *r)
{
	struct inode *i = r->inode;

	if (!i)
		return;
	struct fdcache *c = &r->fs->fds;
	pthread_mutex_lock(&c->lock);
	if (!--i->fd_users && !i->pinned)
		idle_add_locked(c, i);
	pthread_mutex_unlock(&c->lock);
	trim(r->fs);
	inode_unref(r->fs, i, 1);
	r->inode = NULL;
	r->fd = -1;
}

void fd_pin(struct fdref *r)
{
	struct fdcache *c = &r->fs->fds;

	SCOPED_LOCK(&c->lock);
	if (r->inode->pinned)
		return;
	r->inode->pinned = true;
	c->count--;
	c->pinned++;
}

void fd_unpin(struct vex_fs *fs, struct inode *i)
{
	struct fdcache *c = &fs->fds;

	SCOPED_LOCK(&c->lock);
	if (!i->pinned || i == fs->root)
		return;
	i->pinned = false;
	c->pinned--;
	c->count++;
	if (!i->fd_users)
		idle_add_locked(c, i);
}

void fd_drop(struct vex_fs *fs, struct inode *i)
{
	struct fdcache *c = &fs->fds;
	struct taken t = { .fd = -1 };

	pthread_mutex_lock(&c->lock);
	if (i->fd >= 0) {
		if (i->pinned) {
			c->pinned--;
		} else {
			idle_remove_locked(c, i);
			c->count--;
		}
		t = take_locked(i);
	}
	pthread_mutex_unlock(&c->lock);
	if (i != fs->root) /* the root's is borrowed */
		taken_close(fs, t);
}

/* ---- pass-through ids ----------------------------------------------------------- */

bool fd_keep_backing(struct vex_fs *fs, struct inode *i, uint32_t id, uid_t uid)
{
	SCOPED_LOCK(&fs->fds.lock);
	if (i->fd < 0 || i->kept || i->pinned)
		return false;
	i->kept = id;
	i->kept_uid = uid;
	return true;
}

uint32_t fd_take_backing(struct vex_fs *fs, struct inode *i, uid_t uid)
{
	pthread_mutex_lock(&fs->fds.lock);
	uint32_t id = i->kept;
	bool ours = i->kept_uid == uid;
	i->kept = 0;
	pthread_mutex_unlock(&fs->fds.lock);
	if (!id || ours)
		return id;
	wire_backing_close(fs, id);
	return 0;
}
