/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check of a store in use, in bounded steps, each of which says where the next one
 * goes on: every file with attachments is looked for (which links what moved or came
 * back, and notes since when one is missing), every vector compared with its checksum;
 * then what has been missing for keep_days is purged (kept.c), where its disk is there.
 * One damaged file or row is counted and passed over.
 */
#include "attach_i.h"
#include "names_i.h"
#include "kept_i.h"

#define NODES_A_STEP 64u

struct step {
	struct vex_engine *e;
	struct vex_scan *n;
	struct vex_reader *r;
};

static vex_err take_id(void *arg, uint64_t node)
{
	return idlist_add(arg, node);
}

/* ---- vectors ----------------------------------------------------------------------- */

struct rows_of {
	struct vex_attach *v;
	size_t n, cap;
};

static vex_err collect(void *arg, const struct vex_attach *a)
{
	struct rows_of *s = arg;

	return attach_add(&s->v, &s->n, &s->cap, a);
}

static vex_err check_rows(struct step *s, const struct vex_attach *a)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	AUTO_FREE void *rows = NULL;
	vex_err err = vex_space_find_id(s->e->store, a->space, &sp);

	if (err)
		return err == -ENODEV ? 0 : err;
	rows = malloc(a->rows * vex_space_stride(sp));
	if (!rows)
		return -ENOMEM;
	err = vex_read_rows(s->e->store, a, rows);
	s->n->rows += a->rows;
	s->n->bad += err == -EIO;
	return err == -EIO || err == -ENODATA ? 0 : err;
}

static vex_err check_vectors(struct step *s, uint64_t node)
{
	struct rows_of of = { 0 };
	vex_err err = vex_read_attaches(s->r, node, collect, &of);

	for (size_t i = 0; !err && i < of.n; i++)
		err = check_rows(s, &of.v[i]);
	free(of.v);
	return err;
}

/* ---- files ------------------------------------------------------------------------- */

/* was: it is kept already. */
static vex_err keep(struct step *s, uint64_t node, bool was, bool there)
{
	AUTO_CHANGES struct changes l = { 0 };
	struct vex_change *c;

	if (was != there)
		return 0;
	c = changes_add(&l, there ? VEX_UNKEEP : VEX_KEEP);
	if (!c)
		return l.err;
	c->node = node;
	c->kept.why = VEX_KEPT_VANISHED;
	s->n->returned += there;
	return changes_commit(s->e, &l);
}

static vex_err look_at(struct step *s, uint64_t node)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_node n;
	struct vex_kept k;
	bool was = !vex_read_kept(s->r, node, &k);
	vex_err err = vex_read_node(s->r, node, &n);

	if (err || n.state != VEX_LIVE)
		return err == -ENOENT ? 0 : err;
	s->n->files++;
	err = place_of(s->e, s->r, &n, &p);
	if (err && err != -ENOENT) {
		s->n->errors++;
		return err == -ENOMEM ? err : 0;
	}
	s->n->missing += err != 0;
	err = keep(s, node, was, !err);
	return err || s->n->quick ? err : check_vectors(s, node);
}

static vex_err step_files(struct step *s)
{
	AUTO_IDS struct idlist ids = { 0 };

	if (!s->n->cursor) {
		dircache_clear(s->e->dircache);
		/* What was changed behind the mount is read again by the next filter. */
		attrs_reset(s->e);
		engine_changed(s->e);
	}
	vex_err err = vex_read_attached(s->r, s->n->cursor, NODES_A_STEP, take_id, &ids);

	for (size_t i = 0; !err && i < ids.n; i++) {
		err = look_at(s, ids.v[i]);
		s->n->cursor = ids.v[i];
	}
	if (!err && ids.n < NODES_A_STEP) {
		s->n->stage = VEX_SCAN_KEPT;
		s->n->cursor = 0;
	}
	return err;
}

/* ---- what was kept long enough ------------------------------------------------------
 */

static vex_err take_kept(void *arg, const struct vex_kept *k)
{
	return idlist_add(arg, k->node);
}

static vex_err step_kept(struct step *s)
{
	AUTO_IDS struct idlist ids = { 0 };
	vex_err err =
	    vex_read_kept_after(s->r, s->n->cursor, NODES_A_STEP, take_kept, &ids);

	for (size_t i = 0; !err && i < ids.n; i++) {
		struct vex_kept k;
		enum kept_end end = KEPT_STAYS;

		err = vex_read_kept(s->r, ids.v[i], &k);
		if (!err)
			err = kept_settle(s->e, s->r, &k, &end);
		if (err == -ENOENT)
			err = 0;
		s->n->returned += end == KEPT_RETURNED;
		s->n->purged += end == KEPT_PURGED;
		s->n->cursor = ids.v[i];
	}
	if (!err && ids.n < NODES_A_STEP)
		s->n->stage = VEX_SCAN_DONE;
	return err;
}

static vex_err step_deep(void *arg)
{
	struct step *s = arg;
	AUTO_READER struct vex_reader *r = NULL;
	vex_err err = vex_reader_get(s->e->store, &r);

	if (err)
		return err;
	s->r = r;
	switch (s->n->stage) {
	case VEX_SCAN_FILES:
		return step_files(s);
	case VEX_SCAN_KEPT:
		return step_kept(s);
	default:
		return 0;
	}
}

vex_err vex_engine_scan(struct vex_engine *e, struct vex_scan *n)
{
	struct step s = { .e = e, .n = n };

	return engine_deep(e, step_deep, &s);
}
