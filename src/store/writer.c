/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer: the one thread that changes the catalog.
 *
 * It takes all lists that wait (at most GROUP_MAX) into one transaction. A list that
 * is refused must leave no trace, and the others go on:
 *  1. the group runs without savepoints, which cost a copy of each page they touch; a
 *     list refused before it wrote anything is just left out;
 *  2. where one is refused after it wrote something, the group is rolled back and run
 *     again, this time each list of several changes within a savepoint;
 *  3. where SQLite or a slot file fails, the group is rolled back and each list is run
 *     in a transaction of its own, so only the one that fails is lost; one that only
 *     removes, and fails for want of room, once more with the reserve (reserve.c).
 * Memory changes after the commit only (publish.c), so running again costs time only.
 *
 * Numbers (lsn) are given out in the order of commits. The writer thread owns all of
 * struct writer.
 */
#include "store_i.h"

#define NODE_STEP ((uint64_t)1 << 20) /* ids reserved at once */
#define NODE_SPARE ((uint64_t)1 << 16)
#define TRIM_STEP 2000u

/* ---- transactions -------------------------------------------------------- */

void writer_rollback(struct writer *w)
{
	if (!sqlite3_get_autocommit(w->q.db) && sql_do(&w->q, SQL_ROLLBACK, ""))
		vex_warn("%s: rollback: %s", w->s->path, sqlite3_errmsg(w->q.db));
}

vex_err writer_reserve_nodes(struct writer *w)
{
	uint64_t next = atomic_load(&w->s->next_node);

	if (next + NODE_SPARE < w->node_high)
		return 0;
	w->node_high = next + NODE_STEP;
	return meta_set_int(&w->q, "node_high", w->node_high);
}

static vex_err trim_log(struct writer *w)
{
	uint64_t end;

	if (w->lsn < LOG_KEEP || w->log_min >= w->lsn - LOG_KEEP)
		return 0;
	end = vex_min64(w->lsn - LOG_KEEP, w->log_min + TRIM_STEP);
	w->log_min = end;
	return sql_do(&w->q, SQL_LOG_TRIM, "i", end);
}

/* ---- one group ----------------------------------------------------------- */

/* What a list changes outside the transaction. */
struct mark {
	size_t nfx;
	uint64_t lsn;
	int64_t nodes;
};

static struct mark mark_now(const struct writer *w)
{
	return (struct mark){ .nfx = w->nfx, .lsn = w->lsn, .nodes = w->nodes };
}

static void back_to(struct writer *w, const struct mark *m)
{
	apply_undo(w, m->nfx);
	w->lsn = m->lsn;
	w->nodes = m->nodes;
}

static vex_err run_list(struct writer *w, struct request *r)
{
	for (size_t i = 0; i < r->n; i++) {
		vex_err err = apply_change(w, &r->c[i]);

		if (err) {
			r->bad = i;
			return err;
		}
	}
	return 0;
}

/* Errors of the list itself; all others are the catalog's or a file's. */
static bool refused(vex_err err)
{
	return err == -EEXIST || err == -ENODATA || err == -ENODEV || err == -ENOENT ||
	       err == -EINVAL;
}

/* -EAGAIN: the group must be run again, with savepoints. */
static vex_err add_list(struct writer *w, struct request *r, bool save)
{
	struct mark m = mark_now(w);
	int before = sqlite3_total_changes(w->q.db);
	bool saved = save && r->n > 1;
	vex_err err = saved ? sql_do(&w->q, SQL_SAVE, "") : 0;

	if (err)
		return err;
	r->err = run_list(w, r);
	if (r->err && !refused(r->err))
		return r->err;
	if (r->err) {
		back_to(w, &m);
		if (!saved)
			return sqlite3_total_changes(w->q.db) == before ? 0 : -EAGAIN;
		err = sql_do(&w->q, SQL_UNSAVE, "");
	}
	if (!err && saved)
		err = sql_do(&w->q, SQL_RELEASE, "");
	return err;
}

static vex_err end_group(struct writer *w, bool durable, bool small)
{
	vex_err err = writer_reserve_nodes(w);

	if (!err)
		err = trim_log(w);
	if (!err)
		err = writer_flush_fresh(w);
	if (!err && durable)
		err = writer_make_last(w, small);
	if (!err)
		err = writer_commit(w);
	return err;
}

/* On error nothing of the group is left, and no request is answered. */
static vex_err try_group(struct writer *w, struct request **r, size_t n, bool save)
{
	struct vex_store *s = w->s;
	struct mark m = mark_now(w);
	vex_err err = atomic_load(&s->failed) ? -EROFS : writer_mode(w);
	bool durable = w->full, small = false;

	if (!err)
		err = sql_do(&w->q, SQL_BEGIN, "");

	for (size_t i = 0; i < n && !err; i++)
		err = add_list(w, r[i], save);
	small = redo_fits(w);
	if (!err)
		err = end_group(w, durable, small);
	if (err) {
		writer_rollback(w);
		back_to(w, &m);
		return err;
	}
	touch_nodes(s, r, n);
	publish(w);
	if (durable)
		writer_lasts(w, small, atomic_load(&s->changed));
	atomic_fetch_add(&s->groups, 1);
	return 0;
}

static void answer(struct writer *w, struct request *r, vex_err err)
{
	if (!err)
		err = r->err;
	for (size_t i = 0; i < r->n; i++) {
		struct vex_change *c = &r->c[i];

		if (c->kind == VEX_SPACE_NEW)
			c->space = err ? NULL : vex_space_ref(c->space);
		if (err)
			c->lsn = 0;
	}
	atomic_fetch_add(&w->s->commits, !err);
	queue_done(r, err);
}

/* A removal, or a move, for which there was no room. */
static vex_err run_reserved(struct writer *w, struct request *r)
{
	if (!reserve_is_for(r->c, r->n) || !reserve_give(w->s))
		return -ENOSPC;
	w->squeezed = true;
	return try_group(w, &r, 1, true);
}

static void run_group(struct writer *w, struct request **r, size_t n)
{
	uint64_t start = vex_now_mono();
	vex_err err;

	w->now = vex_now_real();
	err = try_group(w, r, n, false);
	if (err == -EAGAIN)
		err = try_group(w, r, n, true);
	vex_op_done(VEX_OP_COMMIT, vex_now_mono() - start, err);
	vex_count(VEX_COUNT_COMMITTED, err ? 0 : n);
	for (size_t i = 0; i < n; i++) {
		vex_err one = err;

		if (err && n > 1 && !atomic_load(&w->s->failed))
			one = try_group(w, &r[i], 1, true);
		if (one == -ENOSPC)
			one = run_reserved(w, r[i]);
		answer(w, r[i], one);
	}
}

/* ---- the thread ---------------------------------------------------------- */

static void serve(struct writer *w, struct request *first)
{
	struct request *lists[GROUP_MAX / 2], *syncs = NULL;
	bool had = w->s->has_reserve, small = true;
	size_t n = 0;
	vex_err err;

	while (first) {
		struct request *r = first;

		first = r->next;
		if (!r->c) {
			r->next = syncs;
			syncs = r;
			small &= r->small;
			continue;
		}
		lists[n++] = r;
		if (n == ARRAY_SIZE(lists)) {
			run_group(w, lists, n);
			n = 0;
		}
	}
	if (n)
		run_group(w, lists, n);
	if (!syncs && w->frames < WAL_FULL && had == w->s->has_reserve)
		return;
	err = writer_durable(w, small && syncs);
	while (syncs) {
		struct request *r = syncs;
		vex_err own = err;

		syncs = r->next;
		if (!own && r->also == ALSO_CHECKPOINT)
			r->left = writer_checkpoint(w);
		else if (!own && r->also == ALSO_VACUUM)
			own = writer_vacuum(w, &r->left);
		queue_done(r, own);
	}
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	bool end = false;

	while (!end) {
		struct request *first = queue_take(&w->s->queue, w->purging, &end);

		if (first)
			serve(w, first);
		else if (w->purging && !end)
			w->purging = purge_step(w);
	}
	return NULL;
}

/* ---- start and stop ------------------------------------------------------ */

vex_err writer_start(struct vex_store *s, struct sql *q)
{
	struct writer *w = calloc(1, sizeof(*w));
	vex_err err;

	if (!w)
		return -ENOMEM;
	s->w = w;
	w->s = s;
	w->q = *q;
	memset(q, 0, sizeof(*q));
	w->purging = s->had_dropped;
	w->redo.kept = atomic_load(&s->redo_kept);
	err = writer_prepare(w);
	if (!err)
		err = vex_thread_start(&s->writer, "vex-writer", WRITER_STACK,
				       writer_main, w);
	s->has_writer = !err;
	return err;
}

void writer_stop(struct vex_store *s)
{
	struct writer *w = s->w;

	if (!w)
		return;
	queue_stop(&s->queue);
	if (s->has_writer) {
		pthread_join(s->writer, NULL);
		if (!atomic_load(&s->failed))
			writer_finish(w);
	}
	sql_close(&w->q);
	apply_undo(w, 0);
	redo_free(&w->redo);
	free(w->fx);
	free(w);
	s->w = NULL;
}
