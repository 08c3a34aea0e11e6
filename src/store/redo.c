/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small syncs without flushing slot files. An fsync(2) of one file has some rows to make
 * last; flushing `.rows` and `.recs` of each space they are in, and then the WAL, is a
 * device flush each. So rows and records that came since the last flush of the slot files
 * go into the catalog as well, table `redo`, by the very commit that is synced: one
 * flush. What is too much for that is flushed as ever, and by then, or by the timer, the
 * slot files are, and the table is emptied in the commit after.
 *
 * What must stay true: what the catalog names and was once durable lies on the device in
 * its slot or in this table. A power loss may take the slot; at the next open each row of
 * the table is compared with its slot and put there where that does not hold. An entry
 * counts only while the catalog names that change in that slot: what was freed, moved or
 * replaced since means nothing. Checksums are those of the record.
 *
 * Everything here runs on the writer thread, or before it.
 */
#include "store_i.h"

#define PENDING_MAX ((uint64_t)1 << 20) /* bytes of one commit */
#define KEPT_MAX ((uint64_t)8 << 20)    /* bytes in the table before it is emptied */
#define ITEMS_MAX 16384u

struct redo_item {
	struct vex_space *sp; /* referenced */
	uint64_t slot;
	uint32_t rows;
};

/* ---- what came since the last sync ------------------------------------------- */

static void forget(struct redo *r)
{
	for (size_t i = 0; i < r->n; i++)
		vex_space_unref(r->v[i].sp);
	r->n = 0;
	r->pending = 0;
}

void redo_free(struct redo *r)
{
	forget(r);
	free(r->v);
	r->v = NULL;
	r->size = 0;
}

static bool room(struct redo *r)
{
	size_t size = r->size ? r->size * 2 : 64;
	struct redo_item *v;

	if (r->n < r->size)
		return true;
	if (size > ITEMS_MAX)
		return false;
	v = reallocarray(r->v, size, sizeof(*v));
	if (!v)
		return false;
	r->v = v;
	r->size = size;
	return true;
}

static uint64_t bytes_of(const struct vex_space *sp, uint32_t rows)
{
	return rows * (uint64_t)(sp->stride + sizeof(struct fmt_rec));
}

/* A move was flushed before its commit (compact.c). */
static bool wanted(const struct effect *f)
{
	return f->kind == FX_ADD && !f->moved;
}

void redo_note(struct writer *w, const struct effect *f)
{
	struct redo *r = &w->redo;

	if (!wanted(f) || r->over)
		return;
	r->pending += bytes_of(f->sp, f->rows);
	if (r->pending > PENDING_MAX || !room(r)) {
		r->over = true;
		forget(r);
		atomic_store(&w->s->sync_large, true);
		return;
	}
	r->v[r->n++] = (struct redo_item){ .sp = vex_space_ref(f->sp),
					   .slot = f->slot,
					   .rows = f->rows };
}

/* Of the group that is not committed yet (sync=always). */
static uint64_t group_bytes(const struct writer *w)
{
	uint64_t n = 0;

	for (size_t i = 0; i < w->nfx; i++)
		if (wanted(&w->fx[i]))
			n += bytes_of(w->fx[i].sp, w->fx[i].rows);
	return n;
}

bool redo_fits(const struct writer *w)
{
	uint64_t more = w->redo.pending + group_bytes(w);

	return !w->redo.over && more <= PENDING_MAX && w->redo.kept + more <= KEPT_MAX;
}

/* ---- into the table, and out of it -------------------------------------------- */

static vex_err add_rows(struct writer *w, struct vex_space *sp, uint64_t slot,
			uint32_t rows)
{
	vex_err err = 0;

	for (uint32_t i = 0; !err && i < rows; i++)
		err = sql_do(&w->q, SQL_REDO_ADD, "iibb", (int64_t)sp->id, slot + i,
			     slot_rec(sp, slot + i), (uint32_t)sizeof(struct fmt_rec),
			     slot_row(sp, slot + i), (uint32_t)sp->stride);
	return err;
}

vex_err redo_write(struct writer *w)
{
	vex_err err = 0;

	/* Live bits change on this thread alone. */
	for (size_t i = 0; !err && i < w->redo.n; i++) {
		struct redo_item *x = &w->redo.v[i];

		if (!x->sp->w_dropped && bit_get(x->sp->live, x->slot))
			err = add_rows(w, x->sp, x->slot, x->rows);
	}
	for (size_t i = 0; !err && i < w->nfx; i++)
		if (wanted(&w->fx[i]))
			err = add_rows(w, w->fx[i].sp, w->fx[i].slot, w->fx[i].rows);
	w->redo.adding = w->redo.pending + group_bytes(w);
	return err;
}

void redo_written(struct writer *w)
{
	w->redo.kept += w->redo.adding;
	w->redo.over = false;
	forget(&w->redo);
	atomic_store(&w->s->redo_kept, w->redo.kept);
	atomic_store(&w->s->sync_large, w->redo.kept > KEPT_MAX / 2);
}

vex_err redo_clear(struct writer *w)
{
	return w->redo.kept ? sql_do(&w->q, SQL_REDO_CLEAR, "") : 0;
}

void redo_cleared(struct writer *w)
{
	w->redo.kept = 0;
	w->redo.over = false;
	forget(&w->redo);
	atomic_store(&w->s->redo_kept, 0);
	atomic_store(&w->s->sync_large, false);
}

/* ---- at open ------------------------------------------------------------------ */

/* The attachment that the record names, where it names this slot. */
static int find_claim(struct sql *q, uint32_t space, uint64_t slot,
		      const struct fmt_rec *rec, struct claim *out)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(q, SQL_ATTACH_LSN, &st, "i", rec->lsn);
	int more;

	if (err)
		return err;
	more = sql_next(st);
	if (more == 1) {
		*out = (struct claim){
			.lsn = sql_u64(st, 0),
			.node = sql_u64(st, 1),
			.slot = sql_u64(st, 3),
			.rows = sql_u32(st, 4),
			.key = rec_key(sqlite3_column_blob(st, 9),
				       (uint32_t)sqlite3_column_bytes(st, 9)),
		};
		more = sql_u32(st, 2) == space && rec->row < out->rows &&
		       out->slot + rec->row == slot;
	}
	sql_end(q, SQL_ATTACH_LSN, st);
	return more;
}

struct replay {
	struct vex_store *s;
	struct sql *q;
	void *buf;
	uint64_t entries, put;
};

static vex_err replay_one(struct replay *p, sqlite3_stmt *st)
{
	struct vex_space *sp = spaces_by_id_locked(p->s, sql_u32(st, 0));
	const void *row = sqlite3_column_blob(st, 3);
	uint64_t slot = sql_u64(st, 1);
	struct fmt_rec rec;
	struct claim c;
	vex_err err;
	int named;

	p->entries++;
	if (!sp || atomic_load(&sp->broken) || slot >= slots_max(sp) ||
	    sqlite3_column_bytes(st, 2) != (int)sizeof(rec) ||
	    (size_t)sqlite3_column_bytes(st, 3) != sp->stride)
		return 0;
	memcpy(&rec, sqlite3_column_blob(st, 2), sizeof(rec));
	named = find_claim(p->q, sp->id, slot, &rec, &c);
	if (named <= 0)
		return named;
	if (!rec_holds(sp, &c, rec.row, &rec, row) ||
	    rec_holds_at(sp, &c, rec.row, p->buf))
		return 0;
	p->put++;
	err = slotfile_write_rows(sp, slot, 1, row);
	return err ? err : slotfile_write_recs(sp, slot, 1, &rec);
}

static vex_err flush_replayed(struct vex_store *s)
{
	vex_err err = 0;

	for (uint32_t i = 0; !err && i < s->nspaces; i++)
		err = slotfile_flush(s->by_id[i]);
	return err;
}

static vex_err replay(struct replay *p)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(p->q, SQL_REDO_ALL, &st, "");
	int more = 0;

	if (err)
		return err;
	while (!err && (more = sql_next(st)) == 1)
		err = replay_one(p, st);
	sql_end(p->q, SQL_REDO_ALL, st);
	if (!err)
		err = more;
	return err || !p->put ? err : flush_replayed(p->s);
}

vex_err redo_replay(struct vex_store *s, struct sql *q)
{
	struct replay p = { .s = s, .q = q };
	int64_t n = 0;
	vex_err err = sql_int(q, SQL_REDO_HAS, &n, "");

	if (err == -ENODATA)
		return 0;
	if (err)
		return err;
	AUTO_FREE void *buf = p.buf = malloc(ROWS_BYTES_MAX);
	err = buf ? load_list(s, q) : -ENOMEM;
	if (!err)
		err = replay(&p);
	load_clear(s);
	s->had_dropped = false;
	atomic_store(&s->redo_kept, p.entries);
	if (p.put)
		vex_info("%s: %llu rows had not reached their files: put there", s->path,
			 (unsigned long long)p.put);
	return err;
}
