/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A space in memory: its segments and bitmaps.
 *
 * Rows and records are read through mappings of fixed-size segments, so a view is plain
 * pointers, and stays one while the space grows: the arrays of segments have their full
 * length from the start (untouched pages cost nothing), an entry is set once, before
 * any slot in it is handed out, and mappings go with the last reference to the space.
 *
 * A segment is mapped whole, also past the file's end: nothing looks at slots the file
 * has no room for. Files grow sparsely, in steps.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include "store_i.h"

#define GROW_MAX ((uint64_t)16 << 20)
#define GROW_MIN ((uint64_t)64 << 10)

static void *top_array(void)
{
	void *p = mmap(NULL, SEGS_MAX * sizeof(void *), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void drop_array(void *p)
{
	if (p)
		munmap(p, SEGS_MAX * sizeof(void *));
}

static unsigned shift_for(size_t stride)
{
	unsigned shift = 0;

	while (shift < SEG_SHIFT_MAX && (stride << (shift + 1)) <= SEG_BYTES)
		shift++;
	return shift;
}

vex_err space_alloc(struct vex_store *s, uint32_t id, const struct vex_space_spec *spec,
		    struct vex_space **out)
{
	struct vex_space *sp = calloc(1, sizeof(*sp));

	if (!sp)
		return -ENOMEM;
	atomic_store(&sp->hold, UINT64_MAX);
	pthread_mutex_init(&sp->alloc, NULL);
	pthread_mutex_init(&sp->bits_lock, NULL);
	sp->store = s;
	sp->id = id;
	sp->dim = spec->dim;
	sp->metric = spec->metric;
	sp->type = spec->type;
	sp->layout = (struct vex_layout){ .dim = spec->dim,
					  .type = spec->type,
					  .scale = spec->scale };
	sp->stride = vex_row_bytes(spec->type, spec->dim);
	sp->seg_shift = shift_for(sp->stride);
	sp->spec = *spec;
	sp->rows_fd = sp->recs_fd = -1;
	atomic_store(&sp->refs, 1);
	sp->rows = top_array();
	sp->recs = top_array();
	sp->norms = top_array();
	sp->sums = top_array();
	if (!sp->rows || !sp->recs || !sp->norms || !sp->sums) {
		vex_space_unref(sp);
		return -ENOMEM;
	}
	*out = sp;
	return 0;
}

/* Where a segment's rows begin in the file, and how far a page boundary lies before. */
static uint64_t rows_off(const struct vex_space *sp, uint64_t seg, size_t *before)
{
	uint64_t off = FMT_HEAD + (seg << sp->seg_shift) * sp->stride;

	*before = off & (FMT_PAGE - 1);
	return off - *before;
}

static size_t rows_len(const struct vex_space *sp)
{
	return sp->stride << sp->seg_shift;
}

static size_t recs_len(const struct vex_space *sp)
{
	return sizeof(struct fmt_rec) << sp->seg_shift;
}

static vex_err map_segment(struct vex_space *sp, uint64_t seg)
{
	size_t before;
	uint64_t off = rows_off(sp, seg, &before);
	void *p;
	vex_err err = 0;

	if (!sp->norms[seg])
		sp->norms[seg] = calloc(seg_slots(sp), sizeof(float));
	if (sp->norms[seg] && !sp->sums[seg])
		sp->sums[seg] = calloc(seg_slots(sp), sizeof(uint64_t));
	if (!sp->sums[seg])
		return -ENOMEM;
	if (!sp->recs[seg]) {
		err = fault_map(sp->recs_fd, FMT_HEAD + seg * recs_len(sp), recs_len(sp),
				&p);
		if (!err)
			sp->recs[seg] = p;
	}
	if (!err && !sp->rows[seg]) {
		err = fault_map(sp->rows_fd, off, rows_len(sp) + before, &p);
		if (!err)
			sp->rows[seg] = (uint8_t *)p + before;
	}
	return err;
}

static void unmap_segments(struct vex_space *sp)
{
	for (uint64_t seg = 0; seg < SEGS_MAX && sp->norms[seg]; seg++) {
		size_t before;

		rows_off(sp, seg, &before);
		free(sp->norms[seg]);
		free(sp->sums[seg]);
		if (sp->recs[seg])
			fault_unmap(sp->recs[seg], recs_len(sp));
		if (sp->rows[seg])
			fault_unmap(sp->rows[seg] - before, rows_len(sp) + before);
	}
}

/* The last reference is gone. */
static void space_free(struct vex_space *sp)
{
	if (sp->norms && sp->rows && sp->recs && sp->sums)
		unmap_segments(sp);
	drop_array(sp->rows);
	drop_array(sp->recs);
	drop_array(sp->norms);
	drop_array(sp->sums);
	if (sp->rows_fd >= 0)
		close(sp->rows_fd);
	if (sp->recs_fd >= 0)
		close(sp->recs_fd);
	free(sp->used);
	free(sp->pending);
	free(sp->live);
	free(sp->bad);
	free(sp->limbo);
	bits_drop(sp->bits);
	pthread_mutex_destroy(&sp->alloc);
	pthread_mutex_destroy(&sp->bits_lock);
	free(sp);
}

struct vex_space *vex_space_ref(struct vex_space *sp)
{
	atomic_fetch_add(&sp->refs, 1);
	return sp;
}

void vex_space_unref(struct vex_space *sp)
{
	if (atomic_fetch_sub(&sp->refs, 1) == 1)
		space_free(sp);
}

/* ---- growing ------------------------------------------------------------- */

static vex_err extend(int fd, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < size && ftruncate(fd, (off_t)size))
		return -errno;
	return 0;
}

/* Puts a longer bitmap in the place of *map, and gives back the old one. */
static uint64_t *bitmap_swap(uint64_t **map, uint64_t *longer, uint64_t words)
{
	uint64_t *old = *map;

	if (old)
		memcpy(longer, old, words * sizeof(*longer));
	*map = longer;
	return old;
}

/* New bitmaps are made first; under the lock they are only filled and put in. */
static vex_err grow_bitmaps(struct vex_space *sp, uint64_t slots)
{
	uint64_t words = (slots + 63) / 64, had = sp->bitmap_slots / 64;
	AUTO_FREE uint64_t *used = calloc(words, sizeof(*used));
	AUTO_FREE uint64_t *pending = calloc(words, sizeof(*pending));
	AUTO_FREE uint64_t *live = calloc(words, sizeof(*live));
	AUTO_FREE uint64_t *bad = calloc(words, sizeof(*bad));

	if (words <= had)
		return 0;
	if (!used || !pending || !live || !bad)
		return -ENOMEM;
	used = bitmap_swap(&sp->used, used, had);
	pending = bitmap_swap(&sp->pending, pending, had);
	pthread_rwlock_wrlock(&sp->store->pub);
	live = bitmap_swap(&sp->live, live, had);
	bad = bitmap_swap(&sp->bad, bad, had);
	sp->bitmap_slots = words * 64;
	pthread_rwlock_unlock(&sp->store->pub);
	return 0;
}

static uint64_t grow_target(const struct vex_space *sp, uint64_t slots)
{
	uint64_t step = sp->cap * sp->stride;

	step = step < GROW_MIN ? GROW_MIN : vex_min64(step, GROW_MAX);
	if (slots > sp->cap + step / sp->stride)
		return slots;
	return vex_min64(sp->cap + step / sp->stride + 1, slots_max(sp));
}

vex_err segs_extend_locked(struct vex_space *sp, uint64_t slots)
{
	vex_err err;

	if (slots <= sp->cap)
		return 0;
	if (slots > slots_max(sp))
		return -ENOSPC;
	err = extend(sp->rows_fd, FMT_HEAD + slots * sp->stride);
	if (!err)
		err = extend(sp->recs_fd, FMT_HEAD + slots * sizeof(struct fmt_rec));
	for (uint64_t seg = sp->cap >> sp->seg_shift;
	     !err && seg << sp->seg_shift < slots; seg++)
		err = map_segment(sp, seg);
	if (!err)
		err = grow_bitmaps(sp, slots);
	if (err)
		return err;
	sp->cap = slots;
	atomic_store(&sp->dirty, true);
	return 0;
}

vex_err segs_grow_locked(struct vex_space *sp, uint64_t slots)
{
	if (slots <= sp->cap)
		return 0;
	return segs_extend_locked(sp, grow_target(sp, slots));
}
