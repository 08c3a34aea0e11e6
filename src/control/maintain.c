/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that keep a store in shape while it is mounted: checkpoint, compact.
 */
#include "control_i.h"

vex_err ioc_checkpoint(struct call *c)
{
	struct vexfs_checkpoint *h = c->head;
	struct vex_store_status st;
	vex_err err = 0;

	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved0);
	if (!err)
		err = call_reserved(c, h->reserved);
	if (!err)
		err = vex_engine_checkpoint(c->engine, &h->frames);
	if (err)
		return err;
	vex_store_status(vex_engine_store(c->engine), &st);
	h->lsn = st.durable_lsn;
	return 0;
}

vex_err ioc_compact(struct call *c)
{
	struct vexfs_compact *h = c->head;
	struct vex_compaction n = {
		.space = h->space, .stage = h->stage, .tries = h->tries, .left = h->left
	};
	vex_err err;

	_Static_assert((int)VEXFS_COMPACT_DONE == (int)VEX_COMPACT_DONE, "one numbering");
	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	if (h->stage > VEXFS_COMPACT_CATALOG)
		return session_fail(c->s, -EINVAL, "no such stage");
	err = call_reserved(c, h->reserved);
	if (!err)
		err = vex_engine_compact(c->engine, &n);
	if (err)
		return err;
	h->space = n.space;
	h->stage = n.stage;
	h->tries = n.tries;
	h->moved = n.moved;
	h->given = n.given;
	h->held = n.held;
	h->left = n.left;
	return 0;
}
