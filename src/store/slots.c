/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which slots of a space are taken: a bitmap, a place to search on from, and limbo.
 *
 * A slot is used from vex_slots_write on. When the commit that frees it is published
 * it goes to limbo, and from there back to the free ones only once
 *  - that commit is durable: otherwise a power loss could bring back the old row,
 *    with a slot that by now holds another file's vector;
 *  - every open view was opened after it: older ones still read the slot; and
 *  - an index that stands on the slots has let go of it (vex_space_hold).
 * Limbo is emptied when slots are wanted; there is nothing to do at other times.
 *
 * Between vex_slots_write and the commit that names them slots are "pending", with the
 * checksums of the rows as the caller gave them: what is recorded in the end is what
 * was meant, not what could be read back. It also means that a put can only name
 * slots that were taken for it, and only once.
 */
#include <vexfs/kernel.h>
#include "store_i.h"

#define LIMBO_MIN 1024u
#define LIMBO_SHARE 16u

static void clear_locked(struct vex_space *sp, uint64_t first, uint32_t rows)
{
	for (uint32_t i = 0; i < rows; i++)
		bit_clear(sp->used, first + i);
	sp->free += rows;
	sp->freed += rows;
	sp->no_run = 0;
}

void slots_drain_locked(struct vex_space *sp)
{
	struct vex_store *s = sp->store;
	uint64_t limit = vex_min64(atomic_load(&s->durable_lsn), pins_min(s));

	limit = vex_min64(limit, atomic_load(&sp->hold));
	while (sp->limbo_n && sp->limbo[sp->limbo_head].lsn <= limit) {
		struct limbo *l = &sp->limbo[sp->limbo_head];

		clear_locked(sp, l->slot, l->rows);
		sp->limbo_rows -= l->rows;
		sp->limbo_head = (sp->limbo_head + 1) & (sp->limbo_size - 1);
		sp->limbo_n--;
	}
}

static vex_err limbo_grow(struct vex_space *sp)
{
	size_t size = sp->limbo_size ? sp->limbo_size * 2 : 64;
	struct limbo *l = malloc(size * sizeof(*l));

	if (!l)
		return -ENOMEM;
	for (size_t i = 0; i < sp->limbo_n; i++)
		l[i] = sp->limbo[(sp->limbo_head + i) & (sp->limbo_size - 1)];
	free(sp->limbo);
	sp->limbo = l;
	sp->limbo_head = 0;
	sp->limbo_size = size;
	return 0;
}

/* Without memory the slots stay used until the store is opened again. */
void slots_limbo(struct vex_space *sp, uint64_t lsn, uint64_t first, uint32_t rows)
{
	SCOPED_LOCK(&sp->alloc);
	if (sp->limbo_n == sp->limbo_size && limbo_grow(sp))
		return;
	sp->limbo[(sp->limbo_head + sp->limbo_n++) & (sp->limbo_size - 1)] =
	    (struct limbo){ .lsn = lsn, .slot = first, .rows = rows };
	sp->limbo_rows += rows;
}

void vex_space_hold(struct vex_space *sp, uint64_t lsn)
{
	atomic_store(&sp->hold, lsn);
}

/* First run of `rows` clear bits within [from, to). */
static bool find_run(const uint64_t *map, uint64_t from, uint64_t to, uint32_t rows,
		     uint64_t *out)
{
	uint64_t run = 0;

	for (uint64_t i = from; i < to; i++) {
		uint64_t clear = ~map[i >> 6] >> (i & 63);

		if (!clear) {
			run = 0;
			i |= 63;
			continue;
		}
		if (!(clear & 1)) {
			run = 0;
			i += (uint64_t)__builtin_ctzll(clear) - 1;
			continue;
		}
		if (++run == rows) {
			*out = i + 1 - rows;
			return true;
		}
	}
	return false;
}

static bool take_free_locked(struct vex_space *sp, uint32_t rows, uint64_t *first)
{
	uint64_t end = vex_min64(sp->hint + rows, sp->high);

	if (sp->free < rows || (sp->no_run && rows >= sp->no_run))
		return false;
	if (find_run(sp->used, sp->hint, sp->high, rows, first) ||
	    find_run(sp->used, 0, end, rows, first)) {
		sp->free -= rows;
		sp->hint = *first + rows;
		return true;
	}
	sp->no_run = rows;
	return false;
}

static vex_err take_locked(struct vex_space *sp, uint32_t rows, uint64_t *first)
{
	vex_err err;

	slots_drain_locked(sp);
	if (!take_free_locked(sp, rows, first)) {
		/* Much of it waits for a sync to be free: rather that than to grow. */
		if (sp->limbo_rows > LIMBO_MIN && sp->limbo_rows > sp->high / LIMBO_SHARE)
			sync_poke(sp->store);
		err = segs_grow_locked(sp, sp->high + rows);
		if (err)
			return err;
		*first = sp->high;
		sp->high += rows;
	}
	for (uint32_t i = 0; i < rows; i++)
		bit_set(sp->used, *first + i);
	return 0;
}

/* ---- slots on their way to a commit -------------------------------------- */

bool slots_name(struct vex_space *sp, uint64_t first, uint32_t rows)
{
	SCOPED_LOCK(&sp->alloc);
	if (!rows || first + rows < first || first + rows > sp->high)
		return false;
	for (uint64_t i = first; i < first + rows; i++)
		if (!bit_get(sp->pending, i))
			return false;
	for (uint64_t i = first; i < first + rows; i++)
		bit_clear(sp->pending, i);
	return true;
}

void slots_unname(struct vex_space *sp, uint64_t first, uint32_t rows)
{
	SCOPED_LOCK(&sp->alloc);
	for (uint64_t i = first; i < first + rows; i++)
		bit_set(sp->pending, i);
}

static vex_err take(struct vex_space *sp, uint32_t rows, uint64_t *first)
{
	vex_err err;

	SCOPED_LOCK(&sp->alloc);
	err = take_locked(sp, rows, first);
	for (uint32_t i = 0; i < rows && !err; i++)
		bit_set(sp->pending, *first + i);
	return err;
}

vex_err slots_take_low(struct vex_space *sp, uint64_t from, uint64_t to, uint32_t rows,
		       uint64_t *first)
{
	SCOPED_LOCK(&sp->alloc);
	slots_drain_locked(sp);
	if (!find_run(sp->used, from, vex_min64(to, sp->high), rows, first))
		return -ENOSPC;
	for (uint32_t i = 0; i < rows; i++) {
		bit_set(sp->used, *first + i);
		bit_set(sp->pending, *first + i);
	}
	sp->free -= rows;
	return 0;
}

vex_err vex_slots_write(struct vex_space *sp, const void *data, uint32_t rows,
			uint64_t *first)
{
	const char *row = data;
	uint64_t slot;
	vex_err err;

	if (!rows || rows > WRITE_BYTES_MAX / sp->stride)
		return -EINVAL;
	if (atomic_load(&sp->broken))
		return -EIO;
	err = take(sp, rows, &slot);
	if (err)
		return err;
	for (uint32_t i = 0; i < rows; i++, row += sp->stride) {
		*slot_norm(sp, slot + i) = (float)vex_row_norm(&sp->layout, row);
		*slot_sum(sp, slot + i) = rec_row_sum(sp, row);
	}
	uint64_t start = vex_now_mono();
	err = slotfile_write_rows(sp, slot, rows, data);
	vex_op_done(VEX_OP_SLOTS, vex_now_mono() - start, err);
	vex_count(VEX_COUNT_ROWS_PUT, err ? 0 : rows);
	if (err) {
		vex_slots_return(sp, slot, rows);
		return err;
	}
	*first = slot;
	return 0;
}

/* What is not pending was never taken, is given back already, or is committed. */
void vex_slots_return(struct vex_space *sp, uint64_t first, uint32_t rows)
{
	SCOPED_LOCK(&sp->alloc);
	for (uint64_t i = first; i < first + rows && i < sp->high; i++)
		if (bit_get(sp->pending, i)) {
			bit_clear(sp->pending, i);
			clear_locked(sp, i, 1);
		}
}
