/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are hits again and again are watched by inotify, so that a search need not
 * ask the filesystem for each of them: one question, whether anything has happened at
 * all, stands for all. Whatever a stat would show is told by an event, queued
 * before the call that made the change returns:
 *  - attributes, links, names, truncation, removal: their own;
 *  - content: it takes a descriptor open for writing, and IN_OPEN tells of each that is
 *    opened. Stores through a mapping have no event, but a mapping keeps its file open
 *    for writing; that nobody had it so when the watch was set, a read lease told, which
 *    is given to nobody while somebody has (and given back at once).
 * The path holds while its last name does and none of its directories is moved: these are
 * watched as well.
 *
 * A watch ends with its first event (IN_ONESHOT): however busy a file is, it costs two
 * events. It is set anew only once the file was a hit OFTEN times, none longer than
 * LATELY_NS after the last, and one a search at most: setting one costs as much as ten
 * stats, and most files are never seen again. For what no event tells of (a filesystem
 * mounted over a directory), nothing is believed for longer than BELIEVED_NS; then one
 * stat renews it. Other filesystems than the local ones below may change with no event:
 * there nothing is watched.
 *
 * A change between a stat and the note of it must not be lost. The count of events of a
 * file (seq), and of those that concern any file (epoch), are read before the stat; what
 * was seen is only noted where they still hold. Its own event, if not taken in yet, will
 * be before anyone's next vigil_get, for that comes after a vigil_look.
 *
 * Locks: `lock` is held while watches are set and events taken in: so no event is met
 * whose watch is not in the table yet. Below it the shards: a ward belongs to that of its
 * set. vigil_look takes `lock` only where something has happened, or is being taken in.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "vigil_ward_i.h"

#define BELIEVED_NS 10000000000ull
#define LATELY_NS 10000000000ull
#define OFTEN 4u
#define AGAIN_NS 1000000000ull /* after a watch that did not come about */
#define SHARE 4u               /* of the watches one user may have */

struct ward *ward_find(struct vigil *v, uint32_t set, uint64_t node)
{
	struct ward *w = v->wards + (size_t)set * WAYS;

	for (unsigned i = 0; i < WAYS; i++)
		if (w[i].node == node)
			return &w[i];
	return NULL;
}

/* ---- events ----------------------------------------------------------------------- */

void ward_dismiss(struct vigil *v, uint32_t index, int32_t wd)
{
	struct ward *w = &v->wards[index];

	SCOPED_LOCK(shard_of(v, index / WAYS));
	if (w->wd != wd)
		return;
	w->wd = 0;
	w->since = 0;
	w->seq++;
	atomic_fetch_sub(&v->watched, 1);
}

static void dismiss_all(struct vigil *v)
{
	for (uint32_t i = 0; i < v->sets * WAYS; i++) {
		SCOPED_LOCK(shard_of(v, i / WAYS));
		v->wards[i].wd = 0;
		v->wards[i].since = 0;
		v->wards[i].seq++;
	}
	memset(v->by_wd, 0, BY_WD * sizeof(*v->by_wd));
	v->dirs = 0;
	atomic_store(&v->watched, 0);
}

/* Events were lost. Of what is watched, nobody knows what still is: from the beginning,
 * under the same number, for others may be asking of it. */
static void begin_anew(struct vigil *v)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	atomic_fetch_add(&v->epoch, 1);
	dismiss_all(v);
	if (fd < 0 || dup3(fd, v->fd, O_CLOEXEC) < 0)
		v->over = true;
	vex_cleanup_fd(&fd);
}

static void take(struct vigil *v, const struct inotify_event *ev)
{
	struct by_wd *b = &v->by_wd[(uint32_t)ev->wd % BY_WD];

	if (ev->wd <= 0 || b->wd != ev->wd)
		return;
	if (b->ward == DIR_WARD) {
		atomic_fetch_add(&v->epoch, 1);
		v->dirs--;
	} else {
		ward_dismiss(v, b->ward, ev->wd);
	}
	b->wd = 0;
}

/* Those in buf; false: some are missing. */
static bool take_some(struct vigil *v, size_t n)
{
	for (size_t at = 0; at < n;) {
		const struct inotify_event *ev = (const void *)(v->buf + at);

		if (ev->mask & IN_Q_OVERFLOW)
			return false;
		take(v, ev);
		at += sizeof(*ev) + ev->len;
	}
	return true;
}

void vigil_take(struct vigil *v)
{
	ssize_t n;

	atomic_store(&v->busy, true);
	while ((n = read(v->fd, v->buf, sizeof(v->buf))) > 0) {
		if (!take_some(v, (size_t)n))
			begin_anew(v);
	}
	atomic_store(&v->busy, false);
}

/* Whoever takes events out of the queue has said so (busy) before: so a queue found
 * empty, and nobody busy after that, means that all is taken in. */
void vigil_look(struct vigil *v)
{
	int bytes = 0;

	if (!v || !atomic_load(&v->watched))
		return;
	if (!ioctl(v->fd, FIONREAD, &bytes) && !bytes && !atomic_load(&v->busy))
		return;
	SCOPED_LOCK(&v->lock);
	vigil_take(v);
}

/* ---- what was seen ---------------------------------------------------------------- */

static void keep(struct ward *w, const struct stat *st)
{
	w->ino = st->st_ino;
	w->size = (uint64_t)st->st_size;
	w->mtime_s = st->st_mtim.tv_sec;
	w->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	w->ctime_s = st->st_ctim.tv_sec;
	w->ctime_ns = (uint32_t)st->st_ctim.tv_nsec;
	w->mode = st->st_mode;
	w->nlink = (uint32_t)st->st_nlink;
	w->uid = st->st_uid;
	w->gid = st->st_gid;
}

void ward_note(struct vigil *v, struct ward *w, const char *path, size_t len,
	       const struct vigil_mark *m, const struct stat *st, uint64_t now)
{
	if (!w->wd || w->seq != m->seq || atomic_load(&v->epoch) != m->epoch)
		return;
	keep(w, st);
	w->place = vex_sum64(0, path, len);
	w->epoch = m->epoch;
	w->since = now;
}

static void tell(const struct vigil *v, const struct ward *w, struct stat *st)
{
	*st = (struct stat){
		.st_dev = v->dev,
		.st_ino = w->ino,
		.st_mode = w->mode,
		.st_nlink = w->nlink,
		.st_uid = w->uid,
		.st_gid = w->gid,
		.st_size = (off_t)w->size,
		.st_mtim = { w->mtime_s, w->mtime_ns },
		.st_ctim = { w->ctime_s, w->ctime_ns },
	};
}

bool vigil_get(struct vigil *v, uint64_t node, const char *path, size_t len, uint64_t now,
	       struct stat *st)
{
	const struct ward *w;
	uint32_t set;
	bool yes;

	if (!v)
		return false;
	set = set_of(v, node);
	SCOPED_LOCK(shard_of(v, set));
	w = ward_find(v, set, node);
	yes = w && w->wd && w->since && now - w->since < BELIEVED_NS &&
	      w->epoch == atomic_load(&v->epoch) && w->place == vex_sum64(0, path, len);
	if (yes) {
		tell(v, w, st);
		atomic_fetch_add_explicit(&v->vouched, 1, memory_order_relaxed);
	}
	return yes;
}

void vigil_expect(struct vigil *v, uint64_t node)
{
	const struct ward *w;

	if (!v)
		return;
	w = v->wards + (size_t)set_of(v, node) * WAYS;
	/* Most sets have their one at the front. */
	for (const char *at = (const char *)w; at < (const char *)(w + 1); at += 64)
		__builtin_prefetch(at);
}

struct vigil_mark vigil_mark(struct vigil *v, uint64_t node)
{
	struct vigil_mark m = { 0 };
	const struct ward *w;
	uint32_t set;

	if (!v)
		return m;
	set = set_of(v, node);
	SCOPED_LOCK(shard_of(v, set));
	w = ward_find(v, set, node);
	m.epoch = atomic_load(&v->epoch);
	m.seq = w ? w->seq : 0;
	return m;
}

/* Under the shard's lock: the node's, or one that is free, or was not seen for longest
 * and is not in use. */
static struct ward *room_for(struct vigil *v, uint32_t set, uint64_t node, uint64_t now)
{
	struct ward *w = ward_find(v, set, node), *old;

	if (w)
		return w;
	old = w = v->wards + (size_t)set * WAYS;
	for (unsigned i = 0; i < WAYS; i++)
		if (!w[i].wd && (old->wd || w[i].since < old->since))
			old = &w[i];
	for (unsigned i = 0; i < WAYS && old->wd; i++)
		if (now - w[i].since > LATELY_NS)
			old = &w[i];
	if (old->wd) {
		if (now - old->since <= LATELY_NS)
			return NULL;
		inotify_rm_watch(v->fd, old->wd);
		atomic_fetch_sub(&v->watched, 1);
	}
	/* Not from 0: a mark of the one before must not fit. */
	*old = (struct ward){ .node = node, .seq = old->seq + 1 };
	return old;
}

/* Whether the file was seen often enough lately to be watched. */
static bool often(struct ward *w, const struct stat *st, uint64_t now)
{
	w->times = w->since && now - w->since < LATELY_NS ? w->times + 1 : 1;
	w->since = now;
	return S_ISREG(st->st_mode) && w->times >= OFTEN && now >= w->rest;
}

bool vigil_seen(struct vigil *v, uint64_t node, char *path, size_t len,
		const struct vigil_mark *m, const struct stat *st, uint64_t now, bool may)
{
	bool fresh = false, lost = false;
	struct ward *w;
	uint32_t set;

	if (!v)
		return false;
	set = set_of(v, node);
	pthread_mutex_lock(shard_of(v, set));
	w = room_for(v, set, node, now);
	if (w && !w->wd) {
		fresh = often(w, st, now) && may;
		/* Should it not come to a watch, it is not tried at each hit. */
		w->rest = fresh ? now + AGAIN_NS : w->rest;
	} else if (w && w->since &&
		   (w->epoch != m->epoch || w->place != vex_sum64(0, path, len))) {
		lost = true;
	} else if (w && w->since) {
		/* One of which it is not known yet that nobody has it open is not
		 * noted. */
		ward_note(v, w, path, len, m, st, now);
	}
	pthread_mutex_unlock(shard_of(v, set));
	if (fresh)
		ward_watch(v, node, path, len, st, now);
	else if (lost)
		ward_watch_way(v, node, path, len, st, now);
	return fresh;
}

/* ---- life ------------------------------------------------------------------------- */

uint64_t vigil_watched(const struct vigil *v)
{
	return v ? atomic_load(&v->watched) : 0;
}

uint64_t vigil_vouched(const struct vigil *v)
{
	return v ? atomic_load(&v->vouched) : 0;
}

/* Where each change to a file is made by this kernel, and told of. */
static bool local(int rootfd)
{
	static const unsigned long kinds[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
					       BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
					       F2FS_SUPER_MAGIC };
	struct statfs fs;

	if (fstatfs(rootfd, &fs))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if ((unsigned long)fs.f_type == kinds[i])
			return true;
	return false;
}

/* A power of two, of our share of what this user may watch in all. */
static uint32_t sets_allowed(void)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
	unsigned long most = 0;
	uint32_t sets = SETS_MOST;

	if (!f || fscanf(f, "%lu", &most) != 1)
		most = 0;
	if (f)
		fclose(f);
	while (sets > 1 && (uint64_t)sets * WAYS > most / SHARE)
		sets /= 2;
	return sets;
}

void vigil_free(struct vigil *v)
{
	if (!v)
		return;
	vex_cleanup_fd(&v->fd);
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&v->shards[i].lock);
	pthread_mutex_destroy(&v->lock);
	free(v->by_wd);
	free(v->wards);
	free(v);
}

static vex_err make(int rootfd, const struct stat *st, struct vigil **out)
{
	struct vigil *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->rootfd = rootfd;
	v->dev = st->st_dev;
	v->sets = sets_allowed();
	pthread_mutex_init(&v->lock, NULL);
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&v->shards[i].lock, NULL);
	v->by_wd = calloc(BY_WD, sizeof(*v->by_wd));
	v->wards = calloc((size_t)v->sets * WAYS, sizeof(*v->wards));
	v->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (v->fd < 0 || !v->by_wd || !v->wards) {
		vex_err err = v->fd < 0 ? 0 : -ENOMEM;

		vigil_free(v);
		return err;
	}
	*out = v;
	return 0;
}

vex_err vigil_new(int rootfd, struct vigil **out)
{
	struct stat st;

	*out = NULL;
	if (!local(rootfd) || fstat(rootfd, &st))
		return 0;
	return make(rootfd, &st, out);
}
