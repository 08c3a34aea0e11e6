/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A moved attachment, applied to the catalog (see apply.c, compact.c). Its number stays:
 * records carry it, readers know it by it. So a change number of its own says when the
 * old slots were freed, and space.moved tells an index that stands at an earlier one
 * that slots are no longer what they were.
 */
#include "apply.h"

/* 1: it is where it was thought to be. */
static int is_there(struct writer *w, const struct vex_change *c)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&w->q, SQL_ATTACH_LSN, &st, "i", c->from_lsn);
	int more;

	if (err)
		return err;
	more = sql_next(st);
	if (more == 1)
		more = sql_u32(st, 2) == c->space->id && sql_u64(st, 3) == c->from_slot &&
		       sql_u32(st, 4) == c->rows;
	sql_end(&w->q, SQL_ATTACH_LSN, st);
	return more;
}

vex_err apply_move(struct writer *w, struct vex_change *c)
{
	struct vex_space *sp = c->space;
	int there = sp->w_dropped ? 0 : is_there(w, c);
	struct effect *f;
	vex_err err;

	if (there <= 0)
		return there;
	err = apply_room(w, 2);
	if (err)
		return err;
	if (!slots_name(sp, c->slot, c->rows))
		return -EINVAL;
	f = apply_effect(w, FX_ADD, sp);
	f->slot = c->slot;
	f->rows = c->rows;
	f->moved = true;
	w->lsn++;
	c->lsn = f->lsn = w->lsn;
	f = apply_effect(w, FX_FREE, sp);
	f->slot = c->from_slot;
	f->rows = c->rows;
	err = sql_do(&w->q, SQL_ATTACH_MOVE, "ii", c->from_lsn, c->slot);
	return err ? err
		   : sql_do(&w->q, SQL_SPACE_MOVED_SET, "ii", (int64_t)sp->id, w->lsn);
}
