/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Setting a watch on a file and on the directories of its path. The order matters: first
 * the watch, then the question whether anybody has the file open for writing, then the
 * stat: whoever opens it later, or changes it after the stat, is an event.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/inotify.h>
#include "vigil_ward_i.h"

#define FILE_EVENTS                                                                      \
	(IN_OPEN | IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONESHOT)
#define DIR_EVENTS (IN_MOVE_SELF | IN_DELETE_SELF | IN_ONESHOT | IN_ONLYDIR)

/* Under lock: the watch is known by its number from now on; whoever else had that place
 * is not watched any more. */
static void enter(struct vigil *v, int32_t wd, uint32_t ward)
{
	struct by_wd *b = &v->by_wd[(uint32_t)wd % BY_WD];

	if (b->wd == wd && b->ward == ward)
		return;
	if (b->wd && b->ward == DIR_WARD) {
		atomic_fetch_add(&v->epoch, 1);
		v->dirs--;
	} else if (b->wd) {
		ward_dismiss(v, b->ward, b->wd);
	}
	if (b->wd && b->wd != wd)
		inotify_rm_watch(v->fd, b->wd);
	v->dirs += ward == DIR_WARD;
	*b = (struct by_wd){ .wd = wd, .ward = ward };
}

/* Under lock. The watch's number, or below 0. */
static int32_t add_watch(struct vigil *v, int fd, uint32_t events, uint32_t ward)
{
	int wd = inotify_add_watch(v->fd, vex_procfd(fd).path, events);

	if (wd > 0)
		enter(v, wd, ward);
	return wd;
}

/* Under lock: the directories of the path, each, are watched from before now on. */
static bool watch_dirs(struct vigil *v, char *path, size_t dir_len)
{
	uint64_t sum = vex_sum64(1, path, dir_len);
	uint32_t at = (uint32_t)(sum % DIRS);

	if (v->chain[at] == sum && v->chain_epoch[at] == atomic_load(&v->epoch))
		return true;
	v->chain_epoch[at] = atomic_load(&v->epoch);
	v->chain[at] = 0;
	for (size_t i = 1; i <= dir_len; i++) {
		AUTO_CLOSE int fd = -1;
		char was = path[i];
		vex_err err;

		if (was != '/')
			continue;
		path[i] = '\0';
		err = open_beneath(v->rootfd, path, O_PATH | O_DIRECTORY,
				   RESOLVE_NO_SYMLINKS, &fd);
		path[i] = was;
		if (err || v->dirs >= DIRS || add_watch(v, fd, DIR_EVENTS, DIR_WARD) < 0)
			return false;
	}
	v->chain[at] = sum;
	return true;
}

/* Nobody has it open for writing, or mapped so. */
static bool quiet(int fd)
{
	/* Should somebody want to write in between: this signal is ignored by default. */
	if (fcntl(fd, F_SETSIG, SIGURG) || fcntl(fd, F_SETLEASE, F_RDLCK))
		return false;
	return !fcntl(fd, F_SETLEASE, F_UNLCK);
}

/* Under lock: what was entered is undone. */
static void drop_watch(struct vigil *v, int32_t wd)
{
	struct by_wd *b = &v->by_wd[(uint32_t)wd % BY_WD];

	if (b->wd != wd)
		return;
	ward_dismiss(v, b->ward, wd);
	b->wd = 0;
	inotify_rm_watch(v->fd, wd);
}

/* The index of the node's ward, where it is not watched. */
static bool unwatched(struct vigil *v, uint64_t node, uint32_t *index)
{
	uint32_t set = set_of(v, node);
	const struct ward *w;

	SCOPED_LOCK(shard_of(v, set));
	w = ward_find(v, set, node);
	*index = w ? (uint32_t)(w - v->wards) : 0;
	return w && !w->wd;
}

/* The ward is watched by wd, and not seen since: false where it is another's by now. */
static bool begin_watch(struct vigil *v, uint64_t node, int32_t wd, uint32_t index,
			struct vigil_mark *m)
{
	struct ward *w = &v->wards[index];

	SCOPED_LOCK(shard_of(v, index / WAYS));
	if (w->node != node || w->wd)
		return false;
	w->wd = wd;
	w->since = 0;
	/* What was seen before does not count: nobody watched. */
	m->seq = ++w->seq;
	m->epoch = atomic_load(&v->epoch);
	atomic_fetch_add(&v->watched, 1);
	return true;
}

/* The file open as fd is watched from now on, and the directories of its path: the
 * watch's number, or below 0. */
static int32_t arm(struct vigil *v, uint64_t node, int fd, char *path, size_t len,
		   struct vigil_mark *m)
{
	uint32_t index;
	int32_t wd;

	SCOPED_LOCK(&v->lock);
	vigil_take(v); /* what has become of its directories */
	if (v->over || !unwatched(v, node, &index) || !watch_dirs(v, path, len))
		return -1;
	wd = add_watch(v, fd, FILE_EVENTS, index);
	if (wd > 0 && !begin_watch(v, node, wd, index, m)) {
		drop_watch(v, wd);
		wd = -1;
	}
	return wd;
}

static void disarm(struct vigil *v, int32_t wd)
{
	SCOPED_LOCK(&v->lock);
	drop_watch(v, wd);
}

static bool is_file(int fd, const struct stat *was)
{
	struct stat st;

	return !fstat(fd, &st) && same_inode(&st, was);
}

/* What is at the path now is noted, where that is the file. */
static bool look_again(struct vigil *v, uint64_t node, const char *path, size_t len,
		       const struct vigil_mark *m, const struct stat *was, uint64_t now)
{
	uint32_t set = set_of(v, node);
	struct stat st;
	struct ward *w;

	if (fstatat(v->rootfd, path, &st, AT_SYMLINK_NOFOLLOW) || !same_inode(&st, was))
		return false;
	SCOPED_LOCK(shard_of(v, set));
	w = ward_find(v, set, node);
	if (w)
		ward_note(v, w, path, len, m, &st, now);
	return true;
}

void ward_watch(struct vigil *v, uint64_t node, char *path, size_t len,
		const struct stat *was, uint64_t now)
{
	AUTO_CLOSE int fd = -1;
	struct vigil_mark m = { 0 };
	int32_t wd;

	if (open_beneath(v->rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY,
			 RESOLVE_NO_SYMLINKS, &fd))
		return;
	if (!is_file(fd, was))
		return;
	wd = arm(v, node, fd, path, len, &m);
	if (wd > 0 && (!quiet(fd) || !look_again(v, node, path, len, &m, was, now)))
		disarm(v, wd);
}

void ward_watch_way(struct vigil *v, uint64_t node, char *path, size_t len,
		    const struct stat *was, uint64_t now)
{
	struct vigil_mark m;
	bool yes;

	pthread_mutex_lock(&v->lock);
	vigil_take(v);
	yes = !v->over && watch_dirs(v, path, len);
	m = vigil_mark(v, node);
	pthread_mutex_unlock(&v->lock);
	if (yes)
		look_again(v, node, path, len, &m, was, now);
}
