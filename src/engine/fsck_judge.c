/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the walk has seen, node by node:
 *
 *   seen nowhere               absent, which is not deleted: counted, no finding
 *   no recorded name holds     moved, or restored elsewhere, behind us
 *   some names hold, not all   the others are names no longer
 *   two inodes, one mark       the one that is not as recorded is a copy
 *   another inode, its mark    restored: to be linked again
 *   no mark, its place         the mark is lost; where handles do not tell, as engine
 *                              adopts, by size and mtime. With the node seen elsewhere
 *                              too that is a mere likeness: nothing
 */
#include "fsck_tree_i.h"

static int by_id(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return strcmp(x->path, y->path);
}

static bool same(const struct seen *a, const struct seen *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/* How sure it is that this is the recorded inode, not a copy of it. */
static int sureness(const struct fact *f, const struct seen *s)
{
	if (s->guess)
		return -1;
	if (fsck_handle_fits(&f->n, &s->fh))
		return 3;
	if (!f->n.fh_old && f->n.ino == s->ino && !(f->n.fh.len && s->fh.len))
		return 2;
	return s->at_name;
}

static vex_err foreign(struct tree *t, const struct seen *s)
{
	struct fsck_finding f = { .fix = FSCK_UNMARK, .path = s->path };

	return fsck_add(t->l, &f, "%s: carries the mark of node %llu, which no node has",
			s->path, (unsigned long long)s->id);
}

/* Everything seen of one node: [from, to), names of one inode next to each other. */
static vex_err judge(struct tree *t, struct fact *f, size_t from, size_t to)
{
	struct fsck_finding look = { .fix = FSCK_LOOK };
	size_t own = from;
	vex_err err = 0;

	for (size_t i = from; i < to; i++)
		if (sureness(f, &t->seen[i]) > sureness(f, &t->seen[own]))
			own = i;
	f->seen = 1;
	look.path = t->seen[own].path;
	if (!f->holds && f->n.id != ROOT_NODE)
		err = fsck_add(t->l, &look,
			       "%s: moved here behind VexFS (node %llu, %llu attached)",
			       look.path, (unsigned long long)f->n.id,
			       (unsigned long long)f->attached);
	else if (t->seen[own].lost)
		err = fsck_add(t->l, &look, "%s: its mark is missing (node %llu)",
			       look.path, (unsigned long long)f->n.id);
	else if (t->seen[own].marked && t->seen[own].fh.len && f->n.fh.len &&
		 !f->n.fh_old && !fsck_handle_fits(&f->n, &t->seen[own].fh))
		err = fsck_add(t->l, &look,
			       "%s: another inode than recorded, with its mark: restored "
			       "behind VexFS (node %llu)",
			       look.path, (unsigned long long)f->n.id);
	for (size_t i = from; i < to && !err; i++) {
		if (t->seen[i].guess || same(&t->seen[i], &t->seen[own]) ||
		    (i > from && same(&t->seen[i], &t->seen[i - 1])))
			continue;
		look.path = t->seen[i].path;
		err = fsck_add(t->l, &look,
			       "%s: has the mark of %s: copied behind VexFS (node %llu)",
			       look.path, t->seen[own].path, (unsigned long long)f->n.id);
	}
	return err;
}

static vex_err judge_seen(struct tree *t)
{
	vex_err err = 0;

	if (t->nseen)
		qsort(t->seen, t->nseen, sizeof(*t->seen), by_id);
	for (size_t i = 0, j; i < t->nseen && !err; i = j) {
		struct fact *f = fsck_fact(t, t->seen[i].id);
		size_t from = i;

		/* Foreign marks may bear the number of a node of ours. */
		for (j = i; j < t->nseen && t->seen[j].id == t->seen[i].id; j++) {
			struct seen *s = &t->seen[j], keep;

			if (!s->marked || (f && mark_is(&s->mark, &f->n)))
				continue;
			err = err ? err : foreign(t, s);
			keep = *s;
			memmove(&t->seen[from + 1], &t->seen[from],
				(j - from) * sizeof(keep));
			t->seen[from++] = keep;
		}
		if (!err && f && from < j && f->n.state == VEX_LIVE)
			err = judge(t, f, from, j);
	}
	return err;
}

/* Of nodes that are somewhere: names that do not hold. Beside one that does they are
 * candidates, as each rename leaves one until its drop is committed; a crash before that
 * is no damage. */
static vex_err judge_names(struct tree *t)
{
	vex_err err = 0;

	for (size_t i = 0; i < t->nnames && !err; i++) {
		struct known_name *k = &t->name[i];
		struct fact *f = fsck_fact(t, k->node);
		AUTO_BUF struct vex_buf dir = { 0 };
		struct fsck_finding go = {
			.fix = FSCK_NAME,
			.node = k->node,
			.parent = k->parent,
			.path = k->name,
		};

		if (k->holds || !f || !f->seen || f->holds || !fsck_fact(t, k->parent))
			continue;
		vex_check_path(t->c, k->parent, &dir);
		err = dir.err
			  ? dir.err
			  : fsck_add(t->l, &go, "%.*s/%s: no longer a name of node %llu",
				     (int)dir.len, dir.data, k->name,
				     (unsigned long long)k->node);
	}
	return err;
}

static void count_missing(struct tree *t)
{
	for (size_t i = 0; i < t->nfacts; i++) {
		const struct fact *f = &t->fact[i];

		if (f->attached && !f->seen && f->n.id != ROOT_NODE &&
		    f->n.state == VEX_LIVE)
			t->l->missing++;
	}
}

vex_err fsck_judge(struct tree *t)
{
	vex_err err = judge_seen(t);

	if (!err)
		err = judge_names(t);
	count_missing(t);
	return err;
}
