/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Word of changes: whatever may have changed what a search shows is counted, and a
 * listener told. The store's writer says so of commits, fs of attributes. What changes
 * behind the mount nobody says.
 *
 * The listener is called under watch_lock, so that it can be taken away for good; with
 * none a change costs two atomic operations.
 */
#include "names_i.h"

void engine_changed(void *arg)
{
	struct vex_engine *e = arg;

	atomic_fetch_add(&e->changes, 1);
	if (!atomic_load(&e->watched))
		return;
	SCOPED_LOCK(&e->watch_lock);
	for (unsigned i = 0; i < VEX_WATCHERS; i++)
		if (e->watch[i].fn)
			e->watch[i].fn(e->watch[i].arg);
}

void vex_engine_watch(struct vex_engine *e, enum vex_watcher who, void (*fn)(void *arg),
		      void *arg)
{
	bool any = false;

	SCOPED_LOCK(&e->watch_lock);
	e->watch[who].fn = fn;
	e->watch[who].arg = arg;
	for (unsigned i = 0; i < VEX_WATCHERS; i++)
		any |= e->watch[i].fn != NULL;
	atomic_store(&e->watched, any);
}

uint64_t vex_engine_changes(struct vex_engine *e)
{
	return atomic_load(&e->changes);
}

void vex_engine_attrs_changed(struct vex_engine *e, const struct vex_obj *o)
{
	uint64_t node;
	struct mark m;

	if (!node_known(e, o, &node))
		node = mark_read(o->fd, &m) ? 0 : m.id;
	if (node)
		attrs_touch(e, node);
	engine_changed(e);
}
