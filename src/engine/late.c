/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removals and moves that the catalog could not take: a full disk (also for the store's
 * reserve), an I/O error, a store that takes no more changes after a failed sync. The
 * backing filesystem is the truth, and a user must be able to remove what fills the
 * disk, so the file operation goes on. What the catalog still has of such a file is
 * withheld from searches, since it no longer opens; the nodes are kept here and dropped
 * with the next removal that succeeds, at a sync, or at the unmount. If that cannot be
 * either, their rows stay as those of files removed behind the mount do.
 */
#include "life_i.h"

bool late_may(struct vex_engine *e, vex_err err)
{
	switch (err) {
	case -ENOSPC:
	case -EDQUOT:
	case -EIO:
	case -EROFS:
	case -EUCLEAN:
	case -EBUSY:
		break;
	default:
		return false;
	}
	if (!atomic_exchange(&e->late_told, true))
		vex_warn("the catalog takes no changes: files are removed and renamed "
			 "all the same, and settled later: %s",
			 strerror(-err));
	return true;
}

void late_add(struct vex_engine *e, uint64_t node)
{
	SCOPED_LOCK(&e->late_lock);
	if (e->nlate == e->late_cap) {
		size_t cap = e->late_cap ? e->late_cap * 2 : 64;
		uint64_t *v = reallocarray(e->late, cap, sizeof(*v));

		if (!v)
			return;
		e->late = v;
		e->late_cap = cap;
	}
	e->late[e->nlate] = node;
	atomic_store(&e->nlate, e->nlate + 1);
}

static uint64_t take_one(struct vex_engine *e)
{
	SCOPED_LOCK(&e->late_lock);
	if (!e->nlate)
		return 0;
	atomic_store(&e->nlate, e->nlate - 1);
	return e->late[e->nlate];
}

static vex_err settle_one(struct vex_engine *e, struct vex_reader *r, uint64_t node)
{
	AUTO_CHANGES struct changes l = { 0 };
	struct vex_change *c;
	struct vex_node n;
	vex_err err = vex_read_node(r, node, &n);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (n.state == VEX_GOING)
		return life_settle(e, r, node);
	if (life_linkage(e, r, &n) != LINK_NONE)
		return 0;
	c = changes_add(&l, VEX_NODE_DROP);
	if (c)
		c->node = node;
	return changes_commit(e, &l);
}

vex_err late_settle(void *arg)
{
	struct vex_engine *e = arg;
	AUTO_READER struct vex_reader *r = NULL;
	uint64_t node;
	vex_err err = atomic_load(&e->nlate) ? vex_reader_get(e->store, &r) : 0;

	while (!err && r && (node = take_one(e))) {
		err = settle_one(e, r, node);
		if (err)
			late_add(e, node);
	}
	return err;
}

void late_try(struct vex_engine *e)
{
	vex_err err = atomic_load(&e->nlate) ? engine_deep(e, late_settle, e) : 0;

	if (err)
		vex_debug("%zu removals are still to be settled: %s",
			  atomic_load(&e->nlate), strerror(-err));
}
