/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One change, applied to the catalog inside the writer's open transaction.
 *
 * Each function checks before it writes, so a change that is refused has done nothing;
 * a list refused in its middle is undone by the writer. What a change does to memory
 * is only noted here (w->fx) and done when the commit is published.
 */
#include <sys/xattr.h>
#include "apply.h"

/* ---- effects ------------------------------------------------------------- */

vex_err apply_room(struct writer *w, size_t n)
{
	size_t size = w->fxsize ? w->fxsize : 64;
	struct effect *fx;

	while (size < w->nfx + n)
		size *= 2;
	if (size == w->fxsize)
		return 0;
	fx = realloc(w->fx, size * sizeof(*fx));
	if (!fx)
		return -ENOMEM;
	w->fx = fx;
	w->fxsize = size;
	return 0;
}

/* Room was made. */
struct effect *apply_effect(struct writer *w, enum effect_kind kind, struct vex_space *sp)
{
	struct effect *f = &w->fx[w->nfx++];

	*f = (struct effect){ .kind = kind, .sp = sp, .lsn = w->lsn };
	return f;
}

void apply_undo(struct writer *w, size_t from)
{
	while (w->nfx > from) {
		struct effect *f = &w->fx[--w->nfx];

		if (f->kind == FX_SPACE_NEW) {
			slotfile_unlink(w->s, f->sp->id);
			vex_space_unref(f->sp);
		} else if (f->kind == FX_SPACE_DROP) {
			f->sp->w_dropped = false;
		} else if (f->kind == FX_ADD) {
			slots_unname(f->sp, f->slot, f->rows);
		}
		free(f->spec);
	}
}

/* ---- the log ------------------------------------------------------------- */

vex_err apply_log(struct writer *w, enum fmt_log_kind kind, uint64_t node, uint32_t space,
		  const void *key, uint32_t key_len, uint64_t old_slot, uint64_t new_slot,
		  const char *path)
{
	return sql_do(&w->q, SQL_LOG_ADD, "iiiiibiin", w->lsn, w->now, (int64_t)kind,
		      node, (int64_t)space, key, key_len, old_slot, new_slot, path,
		      path ? (uint32_t)strlen(path) : 0u);
}

/* ---- attachments --------------------------------------------------------- */

struct old {
	bool there;
	uint64_t lsn, slot;
	uint32_t rows;
};

static vex_err find_old(struct writer *w, const struct vex_change *c, struct old *out)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&w->q, SQL_ATTACH_FIND, &st, "iib", c->node,
				(int64_t)c->space->id, c->key, c->key_len);
	int more;

	if (err)
		return err;
	more = sql_next(st);
	*out = (struct old){ .there = more == 1 };
	if (more == 1) {
		out->lsn = sql_u64(st, 0);
		out->slot = sql_u64(st, 1);
		out->rows = sql_u32(st, 2);
	}
	sql_end(&w->q, SQL_ATTACH_FIND, st);
	return more < 0 ? more : 0;
}

/* The row goes, its slots are freed by the change w->lsn. */
static vex_err drop_old(struct writer *w, struct vex_space *sp, const struct old *old)
{
	struct effect *f = apply_effect(w, FX_FREE, sp);

	f->slot = old->slot;
	f->rows = old->rows;
	return sql_do(&w->q, SQL_ATTACH_DEL, "i", old->lsn);
}

/* The records of a put, into their slots: nothing names these yet. */
static vex_err write_recs(struct writer *w, const struct vex_change *c)
{
	struct vex_space *sp = c->space;
	struct claim claim = {
		.lsn = w->lsn + 1,
		.node = c->node,
		.slot = c->slot,
		.rows = c->rows,
		.key = rec_key(c->key, c->key_len),
	};
	vex_err err = 0;

	for (uint32_t at = 0; !err && at < c->rows;) {
		uint32_t n = c->rows - at < RECS_MAX ? c->rows - at : RECS_MAX;

		for (uint32_t i = 0; i < n; i++)
			rec_fill(sp, &claim, at + i, *slot_sum(sp, c->slot + at + i),
				 *slot_norm(sp, c->slot + at + i), &w->recs[i]);
		err = slotfile_write_recs(sp, c->slot + at, n, w->recs);
		at += n;
	}
	return err;
}

static vex_err check_put(struct writer *w, const struct vex_change *c, struct old *old)
{
	struct vex_space *sp = c->space;
	int64_t one;
	vex_err err;

	if (c->key_len > VEX_KEY_MAX)
		return -EINVAL;
	if (sp->w_dropped)
		return -ENODEV;
	err = find_old(w, c, old);
	if (err)
		return err;
	if (old->there)
		return c->flags & XATTR_CREATE ? -EEXIST : 0;
	if (c->flags & XATTR_REPLACE)
		return -ENODATA;
	err = sql_int(&w->q, SQL_NODE_HAS, &one, "i", c->node);
	return err == -ENODATA ? -ENOENT : err;
}

static vex_err put_row(struct writer *w, const struct vex_change *c,
		       const struct old *old)
{
	vex_err err = sql_do(
	    &w->q, SQL_ATTACH_ADD, "iiiiiiiiibn", w->lsn, c->node, (int64_t)c->space->id,
	    c->slot, (int64_t)c->rows, (int64_t)c->form, c->stamp.size, c->stamp.mtime_ns,
	    (int64_t)c->stamp.open, c->key, c->key_len, c->text, c->text_len);

	return err || c->quiet
		   ? err
		   : apply_log(w, FMT_LOG_PUT, c->node, c->space->id, c->key, c->key_len,
			       old->there ? old->slot : NO_SLOT, c->slot, c->path);
}

static vex_err put(struct writer *w, struct vex_change *c)
{
	struct effect *f;
	struct old old;
	vex_err err = check_put(w, c, &old);

	if (!err)
		err = apply_room(w, 2);
	if (err)
		return err;
	if (!slots_name(c->space, c->slot, c->rows))
		return -EINVAL;
	f = apply_effect(w, FX_ADD, c->space);
	f->slot = c->slot;
	f->rows = c->rows;
	err = write_recs(w, c);
	if (err)
		return err;
	w->lsn++;
	c->lsn = f->lsn = w->lsn;
	if (old.there)
		err = drop_old(w, c->space, &old);
	return err ? err : put_row(w, c, &old);
}

static vex_err delete (struct writer *w, struct vex_change *c)
{
	struct old old;
	vex_err err;

	if (c->space->w_dropped)
		return -ENODATA;
	err = find_old(w, c, &old);
	if (!err && !old.there)
		err = -ENODATA;
	if (!err)
		err = apply_room(w, 1);
	if (err)
		return err;
	w->lsn++;
	c->lsn = w->lsn;
	err = drop_old(w, c->space, &old);
	return err ? err
		   : apply_log(w, FMT_LOG_DELETE, c->node, c->space->id, c->key,
			       c->key_len, old.slot, NO_SLOT, c->path);
}

static vex_err stamp(struct writer *w, const struct vex_change *c)
{
	if (c->was.open)
		return sql_do(&w->q, SQL_STAMP_OPEN, "iii", c->node, c->stamp.size,
			      c->stamp.mtime_ns);
	return sql_do(&w->q, SQL_STAMP_WAS, "iiiii", c->node, c->stamp.size,
		      c->stamp.mtime_ns, c->was.size, c->was.mtime_ns);
}

static vex_err stamp_one(struct writer *w, const struct vex_change *c)
{
	struct old old;
	vex_err err = find_old(w, c, &old);

	if (!err && !old.there)
		err = -ENODATA;
	return err ? err
		   : sql_do(&w->q, SQL_STAMP_ONE, "iiii", old.lsn, c->stamp.size,
			    c->stamp.mtime_ns, (int64_t)c->stamp.open);
}

/* ---- a node with all it has ---------------------------------------------- */

/* One attachment of a node that goes; the statement that lists them stands on it. */
static vex_err drop_attach(struct writer *w, struct vex_change *c, sqlite3_stmt *st)
{
	struct old old = {
		.lsn = sql_u64(st, 0),
		.slot = sql_u64(st, 3),
		.rows = sql_u32(st, 4),
	};
	struct vex_space *sp = spaces_by_id_locked(w->s, sql_u32(st, 2));
	vex_err err;

	if (!sp || sp->w_dropped)
		return sql_do(&w->q, SQL_ATTACH_DEL, "i", old.lsn);
	err = apply_room(w, 1);
	if (err)
		return err;
	w->lsn++;
	c->lsn = w->lsn;
	err = drop_old(w, sp, &old);
	return err || c->quiet ? err
			       : apply_log(w, FMT_LOG_DELETE, c->node, sp->id,
					   sqlite3_column_blob(st, 9),
					   (uint32_t)sqlite3_column_bytes(st, 9),
					   old.slot, NO_SLOT, c->path);
}

/* The list is read anew after each deletion: SQLite does not promise what a running
 * SELECT sees of them. */
static vex_err drop_attaches(struct writer *w, struct vex_change *c)
{
	for (;;) {
		sqlite3_stmt *st;
		vex_err err = sql_start(&w->q, SQL_ATTACH_NODE, &st, "i", c->node);
		int more;

		if (err)
			return err;
		more = sql_next(st);
		err = more == 1 ? drop_attach(w, c, st) : more;
		sql_end(&w->q, SQL_ATTACH_NODE, st);
		if (err || !more)
			return err;
	}
}

static vex_err node_drop(struct writer *w, struct vex_change *c)
{
	vex_err err = drop_attaches(w, c);

	if (!err)
		err = sql_do(&w->q, SQL_NAME_DROP, "i", c->node);
	if (!err)
		err = sql_do(&w->q, SQL_KEPT_DEL, "i", c->node);
	if (!err)
		err = sql_do(&w->q, SQL_NODE_DEL, "i", c->node);
	if (!err)
		w->nodes -= sqlite3_changes(w->q.db);
	return err;
}

static vex_err keep(struct writer *w, const struct vex_change *c)
{
	const struct vex_kept *k = &c->kept;

	return sql_do(&w->q, SQL_KEPT_SET, "iiiiii", c->node,
		      k->since_ns ? k->since_ns : (int64_t)w->now, (int64_t)k->why,
		      (int64_t)k->uid, (int64_t)k->gid, (int64_t)k->mode);
}

static vex_err note(struct writer *w, struct vex_change *c)
{
	w->lsn++;
	c->lsn = w->lsn;
	return apply_log(w, (enum fmt_log_kind)(FMT_LOG_NOTE + c->form), c->node, 0,
			 c->key, c->key_len, NO_SLOT, NO_SLOT, c->path);
}

vex_err apply_change(struct writer *w, struct vex_change *c)
{
	switch (c->kind) {
	case VEX_SPACE_NEW:
		return apply_space_new(w, c);
	case VEX_SPACE_DROP:
		return apply_space_drop(w, c);
	case VEX_SPACE_SET:
		return apply_space_set(w, c);
	case VEX_PUT:
		return put(w, c);
	case VEX_DELETE:
		return delete (w, c);
	case VEX_NODE_NEW:
		return apply_node_new(w, c);
	case VEX_NODE_SET:
		return apply_node_set(w, c);
	case VEX_NODE_STATE:
		return apply_node_state(w, c);
	case VEX_NODE_DROP:
		return node_drop(w, c);
	case VEX_NAME_ADD:
		return apply_name_add(w, c);
	case VEX_NAME_DEL:
		return sql_do(&w->q, SQL_NAME_DEL, "ibi", c->parent, c->name, c->name_len,
			      c->node);
	case VEX_STAMP:
		return stamp(w, c);
	case VEX_NOTE:
		return note(w, c);
	case VEX_KEEP:
		return keep(w, c);
	case VEX_UNKEEP:
		return sql_do(&w->q, SQL_KEPT_DEL, "i", c->node);
	case VEX_STAMP_ONE:
		return stamp_one(w, c);
	case VEX_MOVE:
		return apply_move(w, c);
	}
	return -EINVAL;
}
