/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction and checkpoints, for the door. A compaction is many calls of bounded work,
 * each of which says what the next one is to do: so it can be ended between any two, by
 * nobody asking for the next, and one caller's patience is the only clock. Space by
 * space: rows are moved until none can be, then what is free is given back, which has to
 * wait for readers and graphs that still know the old slots; last the catalog's pages.
 */
#include "engine_i.h"

#define STEP_ROWS 8192u
#define TRIES 100u

struct job {
	struct vex_engine *e;
	struct vex_compaction *c;
};

static void next_space(struct vex_engine *e, struct vex_compaction *c)
{
	AUTO_SPACE struct vex_space *sp = NULL;

	c->tries = 0;
	c->left = UINT64_MAX;
	c->stage = VEX_COMPACT_CATALOG;
	if (vex_space_next(e->store, c->space, &sp))
		return;
	c->space = vex_space_id(sp);
	c->stage = VEX_COMPACT_MOVE;
}

/* What was removed last is free after a sync only: one goes before the first move. */
static vex_err move(struct vex_engine *e, struct vex_space *sp, struct vex_compaction *c)
{
	vex_err err = c->tries++ ? 0 : vex_store_sync(e->store, false);

	if (!err)
		err = vex_space_pack(sp, STEP_ROWS, &c->moved);
	if (err || c->moved)
		return err;
	c->tries = 0;
	c->stage = VEX_COMPACT_TRIM;
	return 0;
}

static vex_err trim(struct vex_engine *e, struct vex_space *sp, struct vex_compaction *c)
{
	vex_err err = vex_store_sync(e->store, false);

	if (err)
		return err;
	c->given = vex_space_trim(sp, &c->held);
	/* What is held longer goes with a later sync (the store's timer). */
	if (!c->held || ++c->tries >= TRIES)
		next_space(e, c);
	return 0;
}

static vex_err catalog(struct vex_engine *e, struct vex_compaction *c)
{
	uint64_t before = c->left, frames;
	vex_err err = vex_store_pack_catalog(e->store, &c->left);

	if (!err && c->left && c->left < before)
		return 0;
	c->stage = VEX_COMPACT_DONE;
	return err ? err : vex_store_checkpoint(e->store, &frames);
}

static vex_err step(void *arg)
{
	struct job *j = arg;
	struct vex_compaction *c = j->c;
	AUTO_SPACE struct vex_space *sp = NULL;

	c->moved = c->given = c->held = 0;
	if (!c->space)
		next_space(j->e, c);
	if (c->stage == VEX_COMPACT_CATALOG)
		return catalog(j->e, c);
	/* Dropped meanwhile. */
	if (vex_space_find_id(j->e->store, c->space, &sp)) {
		next_space(j->e, c);
		return 0;
	}
	return c->stage == VEX_COMPACT_MOVE ? move(j->e, sp, c) : trim(j->e, sp, c);
}

vex_err vex_engine_compact(struct vex_engine *e, struct vex_compaction *c)
{
	struct job j = { .e = e, .c = c };

	return vex_pool_call(e->scans, step, &j);
}

vex_err vex_engine_checkpoint(struct vex_engine *e, uint64_t *frames)
{
	return vex_store_checkpoint(e->store, frames);
}
