/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may be a hit. A file is one if it is live, still there under a name that
 * verifies, below DIR where one is given, the caller may read it and search each
 * directory above, and it matches the filter where there is one. A row is one if the
 * catalog still says so and its checksum holds.
 *
 * What costs a caller a place in the answer must be decided before a row is let in:
 * permission, DIR and filter, since a refused row must not displace a permitted one; so
 * they are decided in the callback of the scan, once a file and search. What only a
 * broken or vanished file would fail is left to the end in the first pass, where it is
 * asked of k rows alone; a second, eager pass asks everything first (search.c).
 *
 * A file that cannot be judged for want of memory or descriptors ends the search: an
 * answer without it would be wrong. Any other error withholds the file.
 */
#include "search_i.h"

static bool fatal(vex_err err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* ---- directories
 * ------------------------------------------------------------------------ */

/* Whether dirfd is DIR or lies below it. */
static bool dir_under(struct search *s, int dirfd)
{
	AUTO_CLOSE int fd = -1;
	struct stat st, first, up_st;
	bool yes = false;

	if (vex_dup(dirfd, &fd) || fstat(fd, &st))
		return false;
	first = st;
	for (;;) {
		int known = memo_get(&s->dirs_under, st.st_dev, st.st_ino), up;

		if (known >= 0)
			yes = known;
		if (known < 0 && same_inode(&st, &s->under_st))
			yes = true;
		if (known >= 0 || yes || is_root(s->e, &st))
			break;
		if (climb_up(fd, &st, &up, &up_st))
			break;
		close(fd);
		fd = up;
		st = up_st;
	}
	memo_put(&s->dirs_under, first.st_dev, first.st_ino, yes);
	return yes;
}

/* Whether a file in the directory of that node could be a hit at all. */
static bool parent_may(struct search *s, uint64_t parent)
{
	int known = memo_get(&s->parents, 0, parent);
	AUTO_CLOSE int dir = -1;

	if (known >= 0)
		return known;
	known = !dir_open(s->e, s->r, parent, &dir) && (!s->under || dir_under(s, dir)) &&
		!perm_search_memo(s->e, s->q->cred, dir, &s->dirs_open);
	memo_put(&s->parents, 0, parent, known);
	return known;
}

/* By the recorded names alone, which costs one lookup: far most files of a store may
 * lie elsewhere, or where the caller may not go. Directories open by node wherever
 * they are now. */
static int maybe(struct search *s, uint64_t node)
{
	AUTO_NAMES struct namelist names = { 0 };
	vex_err err;

	if (node == ROOT_NODE)
		return !s->under;
	err = namelist_read(s->r, node, &names);
	if (err)
		return fatal(err) ? err : 0;
	for (size_t i = 0; i < names.n; i++)
		if (parent_may(s, names.v[i].parent))
			return 1;
	return !names.n && !s->under;
}

/* ---- a file
 * ---------------------------------------------------------------------------- */

static int may_read(struct search *s, const struct place *p)
{
	const struct vex_cred *c = s->q->cred;
	vex_err err = 0;

	if (!c->uid)
		return 1;
	if (*p->name)
		err = perm_search_memo(s->e, c, p->dirfd, &s->dirs_open);
	if (!err)
		err = perm_check(c, p->dirfd, p->name, &p->st, R_OK);
	return !err;
}

static int decide(struct search *s, uint64_t node)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_node n;
	vex_err err = vex_read_node(s->r, node, &n);
	int yes;

	if (err)
		return fatal(err) ? err : 0;
	if (n.state != VEX_LIVE)
		return 0;
	if (s->under || s->q->cred->uid) {
		yes = maybe(s, node);
		if (yes <= 0)
			return yes;
	}
	err = place_of(s->e, s->r, &n, &p);
	if (err)
		return fatal(err) ? err : 0;
	if (s->under && !(*p.name && dir_under(s, p.dirfd)))
		return 0;
	yes = may_read(s, &p);
	/* The filter last: it must tell nothing of files the caller may not read. */
	return yes > 0 && s->q->where ? where_test(s, &p) : yes;
}

bool verdict_excluded(const struct search *s, uint64_t node)
{
	return !node || node == s->q->skip_node || node == s->like_node ||
	       node == s->unlike_node;
}

int verdict_node(struct search *s, uint64_t node)
{
	int yes;

	if (verdict_excluded(s, node))
		return 0;
	if (!s->eager && !s->under && !s->q->where && !s->q->cred->uid)
		return 1;
	yes = memo_get(&s->nodes, 0, node);
	if (yes < 0) {
		yes = decide(s, node);
		if (yes >= 0)
			memo_put(&s->nodes, 0, node, yes);
	}
	return yes;
}

/* ---- a row
 * ------------------------------------------------------------------------------- */

int verdict_row(struct search *s, uint64_t slot, const struct vex_slot *vs,
		const struct vex_attach *a)
{
	vex_err err;

	/* Not by slot: one that was moved since (vex_space_pack) is in the view still. */
	if (a->node != vs->node || a->space != vex_space_id(s->space) ||
	    vs->row >= a->rows)
		return 0;
	err = vex_view_verify(&s->view, slot, a);
	return err ? fatal(err) ? err : 0 : 1;
}

int verdict_slot(struct search *s, uint64_t slot, struct vex_attach *a)
{
	struct vex_slot vs;
	vex_err err;

	vex_view_slot(&s->view, slot, &vs);
	err = vex_read_attach_lsn(s->r, vs.lsn, a);
	if (err)
		return fatal(err) ? err : 0;
	return verdict_row(s, slot, &vs, a);
}

static int is_fresh(struct search *s, const struct vex_attach *a)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	vex_err err = place_find(s->e, s->r, a->node, &p);

	if (err)
		return fatal(err) ? err : 0;
	return !stamp_stale(&a->stamp, &p.st);
}

int verdict_any(void *arg, uint64_t slot, uint64_t *file)
{
	(void)arg;
	*file = slot;
	return 1;
}

int verdict_accept(void *arg, uint64_t slot, uint64_t *file)
{
	AUTO_ATTACH struct vex_attach a = { 0 };
	struct search *s = arg;
	struct vex_slot vs;
	int yes;

	vex_deep_only();
	/* Each may cost system calls, and a filter. */
	if (vex_bound_late(&s->bound))
		return -ETIMEDOUT;
	vex_view_slot(&s->view, slot, &vs);
	*file = vs.node;
	yes = verdict_node(s, vs.node);
	if (yes <= 0 || !(s->eager || s->q->fresh))
		return yes;
	yes = verdict_slot(s, slot, &a);
	return yes > 0 && s->q->fresh ? is_fresh(s, &a) : yes;
}
