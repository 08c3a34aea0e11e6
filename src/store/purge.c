/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropped spaces: their rows go in small steps while the writer has nothing else to
 * do, then their files. A step is one transaction over some 2,000 attachments of any
 * space, in the order of their numbers; there is no index by space to keep up for it.
 *
 * Files go only once the drop itself is durable: else a power loss could bring back a
 * space without its vectors. A crash in between is taken up at the next open.
 */
#include "store_i.h"

#define IDS_MAX 64u

static vex_err purge_rows(struct writer *w, uint64_t to)
{
	vex_err err = sql_do(&w->q, SQL_BEGIN, "");

	if (!err)
		err = sql_do(&w->q, SQL_ATTACH_PURGE, "ii", w->purge_at, to);
	if (!err)
		err = writer_commit(w);
	if (err) {
		writer_rollback(w);
		return err;
	}
	atomic_fetch_add(&w->s->changed, 1);
	w->purge_at = to;
	return 0;
}

static vex_err list_dropped(struct writer *w, uint32_t ids[IDS_MAX], unsigned *n)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&w->q, SQL_SPACE_ALL, &st, "");
	int more = 0;

	*n = 0;
	if (err)
		return err;
	while (*n < IDS_MAX && (more = sql_next(st)) == 1)
		if (sqlite3_column_int(st, 10))
			ids[(*n)++] = sql_u32(st, 0);
	sql_end(&w->q, SQL_SPACE_ALL, st);
	return more < 0 ? more : 0;
}

/* No rows are left: the spaces themselves go. */
static vex_err purge_spaces(struct writer *w, unsigned *n)
{
	uint32_t ids[IDS_MAX];
	vex_err err = writer_durable(w, false);

	if (!err)
		err = list_dropped(w, ids, n);
	if (!err)
		err = sql_do(&w->q, SQL_BEGIN, "");
	for (unsigned i = 0; !err && i < *n; i++)
		err = sql_do(&w->q, SQL_SPACE_GONE, "i", (int64_t)ids[i]);
	if (!err)
		err = writer_commit(w);
	if (err) {
		writer_rollback(w);
		return err;
	}
	for (unsigned i = 0; i < *n; i++)
		slotfile_unlink(w->s, ids[i]);
	atomic_fetch_add(&w->s->changed, 1);
	return 0;
}

bool purge_step(struct writer *w)
{
	unsigned n = 0;
	int64_t to = 0;
	vex_err err;

	if (atomic_load(&w->s->failed))
		return false;
	err = sql_int(&w->q, SQL_ATTACH_HIGH, &to, "i", w->purge_at);
	if (!err && to)
		err = purge_rows(w, (uint64_t)to);
	else if (!err)
		err = purge_spaces(w, &n);
	w->purge_again = err;
	if (err)
		vex_warn("%s: dropped spaces are not purged yet: %s", w->s->path,
			 strerror(-err));
	return !err && (to || n == IDS_MAX);
}
