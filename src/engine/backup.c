/* SPDX-License-Identifier: Apache-2.0 */
/* Backups (store), on threads with stacks that are deep enough. */
#include "engine_i.h"

struct job {
	struct vex_engine *e;
	uint64_t since;
	struct vex_backup *b;
	void *buf;
	size_t room;
	struct vex_piece *piece;
};

static vex_err do_open(void *arg)
{
	struct job *j = arg;

	return vex_backup_open(j->e->store, j->since, &j->b);
}

static vex_err do_next(void *arg)
{
	struct job *j = arg;

	return vex_backup_next(j->b, j->buf, j->room, j->piece);
}

static vex_err do_close(void *arg)
{
	struct job *j = arg;

	vex_backup_close(j->b);
	return 0;
}

vex_err vex_engine_backup(struct vex_engine *e, uint64_t since, struct vex_backup **out)
{
	struct job j = { .e = e, .since = since };
	vex_err err = vex_pool_call(e->scans, do_open, &j);

	if (!err)
		*out = j.b;
	return err;
}

vex_err vex_engine_backup_next(struct vex_engine *e, struct vex_backup *b, void *buf,
			       size_t room, struct vex_piece *p)
{
	struct job j = { .e = e, .b = b, .buf = buf, .room = room, .piece = p };

	return vex_pool_call(e->scans, do_next, &j);
}

void vex_engine_backup_end(struct vex_engine *e, struct vex_backup *b)
{
	struct job j = { .e = e, .b = b };

	if (b && vex_pool_call(e->scans, do_close, &j))
		vex_error("a backup stays open: no memory to end it");
}
