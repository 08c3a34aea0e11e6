/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At open: settles the intents a crash left. A node whose last name was being removed
 * is live where its file still has a name (the system call had not happened, or had
 * failed), else it goes with its attachments. Files that were unlinked but open ended
 * with the daemon, so they go too.
 *
 * Where the answer cannot be had (an I/O error, a disk that is not mounted) the intent
 * stays: its attachments are in no search until a later open can tell.
 */
#include "life_i.h"

static vex_err collect(void *arg, uint64_t node)
{
	return idlist_add(arg, node);
}

vex_err recover_intents(struct vex_engine *e)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_IDS struct idlist ids = { 0 };
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_going(r, collect, &ids);
	for (size_t i = 0; !err && i < ids.n; i++)
		err = life_settle(e, r, ids.v[i]);
	if (!err)
		kept_expire(e, r);
	/* A full disk: they stay intents, in no search, until a later open. */
	if (err && late_may(e, err))
		return 0;
	if (!err && ids.n)
		vex_info("%zu removals that a crash cut short are settled", ids.n);
	return err;
}
