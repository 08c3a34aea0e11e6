/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in flight. Between begin and end of a rename or link a node has a candidate
 * name that may not exist yet, or an old one that may exist no more. Whoever tidies up
 * names that failed to verify must not touch these: it would look, the rename would
 * happen, end would take the old name away, and then the new one would be forgotten
 * for what was true before. So tidying is valid only for names read, looked at and
 * given up within a time without flights; its commit is queued under the lock, so that
 * a begin that follows adds its candidate after it.
 */
#include "names_i.h"

void flight_begin(struct vex_engine *e)
{
	SCOPED_LOCK(&e->flights);
	e->flying++;
	e->flown++;
}

void flight_end(struct vex_engine *e)
{
	SCOPED_LOCK(&e->flights);
	e->flying--;
	e->flown++;
}

uint64_t flight_count(struct vex_engine *e)
{
	SCOPED_LOCK(&e->flights);
	return e->flown;
}

uint64_t flight_moment(struct vex_engine *e)
{
	SCOPED_LOCK(&e->flights);
	return e->flying ? 0 : e->flown + 1;
}

void flight_forget(struct vex_engine *e, uint64_t moment, const struct changes *l)
{
	SCOPED_LOCK(&e->flights);
	if (moment && !e->flying && e->flown + 1 == moment && l->n && !l->err)
		vex_store_commit_later(e->store, l->c, l->n);
}
