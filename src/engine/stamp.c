/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stamps: for which content an attachment was made, told by size and mtime of the backing
 * file. They tell as long as every later change moves one of them.
 *
 * Linux 6.13 and later give a change a time of its own where somebody has asked for the
 * one before (multigrain timestamps: ext4, xfs, btrfs, tmpfs), and taking a stamp is
 * asking. Elsewhere times advance by the tick, and a change of the same size within it
 * shows nothing: there (times_probe) a stamp is taken only once the tick is over, so an
 * attachment to a file written this instant takes up to TICK_NS, and many at once no
 * longer than one. In place of a hash of the content: that would have to be kept, and
 * compared by reading the file, for as long as the file stays as it is. Where times are
 * coarser still (whole seconds: ext4 with inodes of 128 bytes) a change of the same size
 * within that second is missed.
 *
 * Stores through a mapping move the time once a page is written back and stored to
 * again: who serves the mount knows which files may be mapped, and writes them back
 * before a stamp is taken (vex_engine_on_stamp).
 */
#include <fcntl.h>
#include "engine_i.h"

#define TICK_NS 10000000ll /* of the slowest kernels (CONFIG_HZ=100) */
#define PROBES 64
#define TRIES 8

struct vex_stamp stamp_of(const struct stat *st)
{
	return (struct vex_stamp){
		.size = st->st_size,
		.mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec,
		.open = S_ISREG(st->st_mode) && !st->st_size,
	};
}

bool stamp_stale(const struct vex_stamp *s, const struct stat *st)
{
	struct vex_stamp now = stamp_of(st);

	/* What lies in a directory is not its content; an open stamp waits for some. */
	if (S_ISDIR(st->st_mode) || s->open)
		return false;
	return s->size != now.size || s->mtime_ns != now.mtime_ns;
}

/* ---- the clock of the filesystem --------------------------------------------------- */

static bool moved(int fd, int64_t *mtime)
{
	struct stat st;
	int64_t was = *mtime;

	if (pwrite(fd, "x", 1, 0) != 1 || fstat(fd, &st))
		return false;
	*mtime = stamp_of(&st).mtime_ns;
	return *mtime != was;
}

void stamp_probe(struct vex_engine *e)
{
	AUTO_CLOSE int fd =
	    openat(vex_store_dirfd(e->store), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int64_t mtime = 0;

	e->coarse = false;
	for (int i = 0; i < PROBES && !e->coarse; i++)
		e->coarse = fd < 0 || !moved(fd, &mtime);
	if (e->coarse)
		vex_debug("times advance by the tick here: attaching waits for it");
}

/* Whether a change at this moment could leave the file with that time. */
static int64_t wait_of(const struct stat *st)
{
	int64_t age = vex_now_real() - stamp_of(st).mtime_ns;

	return age < TICK_NS && age > -TICK_NS ? TICK_NS - age : 0;
}

void stamp_wait(const struct vex_engine *e, int fd, struct stat *st)
{
	struct stat now;

	for (int i = 0; i < TRIES && e->coarse && S_ISREG(st->st_mode); i++) {
		int64_t ns = wait_of(st);

		if (!ns)
			return;
		usleep((useconds_t)(ns / 1000 + 1));
		if (fd < 0 || fstat(fd, &now))
			return;
		*st = now;
	}
}

/* ---- stores through mappings ------------------------------------------------------- */

void vex_engine_on_stamp(struct vex_engine *e,
			 bool (*fn)(void *arg, const struct stat *st,
				    const struct vex_fh *fh),
			 void *arg)
{
	e->on_stamp_arg = arg;
	e->on_stamp = fn;
}

void stamp_ready(const struct vex_engine *e, int fd, const struct vex_fh *fh,
		 struct stat *st)
{
	struct stat now;

	if (S_ISREG(st->st_mode) && e->on_stamp && e->on_stamp(e->on_stamp_arg, st, fh) &&
	    !fstat(fd, &now))
		*st = now;
	stamp_wait(e, fd, st);
}
