/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free slots given back to the filesystem: what lies behind the last slot in use is cut
 * off the files, and long runs before it become holes.
 *
 * Free means that no commit, no view and no index needs them any more (slots.c), so
 * their bytes may go at any time. One thing more must hold before a file becomes
 * shorter: scans read whole blocks of slots, live or not, up to the end that their view
 * knew, and a page behind the end of a file is a fault that leaves zeros in the mapping
 * (fault.c). So the end that views get is lowered first, and the file is cut once
 * every pin of before that is gone. A hole reads as zeros and needs no such care.
 *
 * A run being punched is marked as used meanwhile: no lock is held over the call.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "store_i.h"

#define HOLE_MIN ((uint64_t)64 << 10) /* bytes of rows in a run that is punched */
#define HOLE_MAX ((uint64_t)64 << 20) /* at once */
#define CUT_MIN ((uint64_t)64 << 10)
#define WORTH ((uint64_t)1 << 20) /* bytes freed before the timer looks */
#define WORTH_SHARE 16u

static uint64_t blocks(struct vex_space *sp)
{
	struct stat rows, recs;

	if (fstat(sp->rows_fd, &rows) || fstat(sp->recs_fd, &recs))
		return 0;
	return ((uint64_t)rows.st_blocks + (uint64_t)recs.st_blocks) * 512;
}

/* ---- the end ------------------------------------------------------------- */

static uint64_t last_bit(const uint64_t *map, uint64_t end)
{
	for (; end; end = (end - 1) & ~(uint64_t)63) {
		uint64_t word = map[(end - 1) >> 6];

		word &= UINT64_MAX >> (63 - ((end - 1) & 63));
		if (word)
			return ((end - 1) & ~(uint64_t)63) + 64 -
			       (uint64_t)__builtin_clzll(word);
	}
	return 0;
}

/* No slot at or above `high` is used, hence none is live. */
static void lower_top(struct vex_space *sp, uint64_t high)
{
	pthread_rwlock_wrlock(&sp->store->pub);
	if (sp->top > high)
		sp->top = high;
	sp->cut_serial = pins_serial(sp->store);
	pthread_rwlock_unlock(&sp->store->pub);
}

static void lower_end_locked(struct vex_space *sp)
{
	uint64_t high = last_bit(sp->used, sp->high);

	if (high == sp->high)
		return;
	sp->free -= sp->high - high;
	sp->high = high;
	if (sp->hint > high)
		sp->hint = 0;
	lower_top(sp, high);
}

/* Alloc is held: nothing grows meanwhile, and each call ends soon. */
static void cut_locked(struct vex_space *sp)
{
	uint64_t cap = sp->high + CUT_MIN / sp->stride + 1;

	if (sp->cap <= cap || (sp->cap - cap) * sp->stride < CUT_MIN ||
	    pins_before(sp->store, sp->cut_serial))
		return;
	/* Where it fails the file is longer than it must be. */
	if (ftruncate(sp->rows_fd, (off_t)(FMT_HEAD + cap * sp->stride)) ||
	    ftruncate(sp->recs_fd, (off_t)(FMT_HEAD + cap * sizeof(struct fmt_rec))))
		return;
	sp->cap = cap;
}

/* ---- holes --------------------------------------------------------------- */

/* The first run of at least `min` free slots from *from on, at most `max` of it: taken.
 * *from moves behind it. */
static uint64_t take_run(struct vex_space *sp, uint64_t *from, uint64_t min, uint64_t max,
			 uint64_t *first)
{
	uint64_t at = *from, run = 0;

	SCOPED_LOCK(&sp->alloc);
	for (; at < sp->high && run < max; at++) {
		if (!(at & 63) && sp->used[at >> 6] == UINT64_MAX) {
			if (run >= min)
				break;
			run = 0;
			at |= 63;
		} else if (!bit_get(sp->used, at)) {
			run++;
		} else if (run >= min) {
			break;
		} else {
			run = 0;
		}
	}
	*from = at;
	if (run < min)
		return 0;
	*first = at - run;
	for (uint64_t i = *first; i < at; i++)
		bit_set(sp->used, i);
	sp->free -= run;
	return run;
}

static void give_run(struct vex_space *sp, uint64_t first, uint64_t run)
{
	SCOPED_LOCK(&sp->alloc);
	for (uint64_t i = first; i < first + run; i++)
		bit_clear(sp->used, i);
	sp->free += run;
	sp->no_run = 0;
}

/* Whole pages of the slots alone; false: the filesystem makes no holes. */
static bool punch_file(int fd, uint64_t first, uint64_t run, size_t stride)
{
	uint64_t from = (FMT_HEAD + first * stride + FMT_PAGE - 1) & ~(FMT_PAGE - 1ull);
	uint64_t to = (FMT_HEAD + (first + run) * stride) & ~(FMT_PAGE - 1ull);
	off_t data;

	if (from >= to)
		return true;
	data = lseek(fd, (off_t)from, SEEK_DATA);
	if (data < 0 || data >= (off_t)to)
		return true;
	return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
			  (off_t)(to - from));
}

static void punch(struct vex_space *sp)
{
	uint64_t min = HOLE_MIN / sp->stride + 1, max = HOLE_MAX / sp->stride + 1;
	uint64_t from = 0, first, run;
	bool can = true;

	if (max < min)
		max = min;
	while (can && (run = take_run(sp, &from, min, max, &first))) {
		can = punch_file(sp->rows_fd, first, run, sp->stride) &&
		      punch_file(sp->recs_fd, first, run, sizeof(struct fmt_rec));
		give_run(sp, first, run);
	}
}

/* ---- the door ------------------------------------------------------------ */

uint64_t vex_space_trim(struct vex_space *sp, uint64_t *held)
{
	uint64_t before, after;

	*held = 0;
	if (atomic_load(&sp->broken))
		return 0;
	before = blocks(sp);
	pthread_mutex_lock(&sp->alloc);
	slots_drain_locked(sp);
	lower_end_locked(sp);
	cut_locked(sp);
	sp->freed = 0;
	*held = sp->limbo_rows;
	if (sp->cap > sp->high + 2 * (CUT_MIN / sp->stride + 1))
		*held += 1; /* to be cut, when the views of before are gone */
	pthread_mutex_unlock(&sp->alloc);
	punch(sp);
	after = blocks(sp);
	return before > after ? before - after : 0;
}

static bool worth_it(struct vex_space *sp)
{
	SCOPED_LOCK(&sp->alloc);
	slots_drain_locked(sp);
	return sp->freed * sp->stride >= WORTH && sp->freed >= sp->high / WORTH_SHARE;
}

void trim_some(struct vex_store *s)
{
	uint32_t id = 0;

	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;
		uint64_t held;

		if (vex_space_next(s, id, &sp))
			return;
		if (!atomic_load(&sp->broken) && worth_it(sp))
			(void)vex_space_trim(sp, &held);
		id = sp->id;
	}
}
