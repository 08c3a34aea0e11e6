/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a replaced file (kept.c) is of no more use once the file in its place
 * has all of it anew: `stale` does not list it, `reattach` has nothing to give. It goes
 * then, not after 30 days, or files that are made and attached again and again would fill
 * the store with what they were.
 *
 * Looked for when a file gets its first attachment; files with more to come are
 * remembered, a bounded number, until all of it is there. What is forgotten here stays
 * until keep_days are over, no harm done. Where nothing is kept this costs one load.
 *
 * One mutex, innermost.
 */
#include "attach_i.h"
#include "names_i.h"
#include "kept_i.h"

struct covering {
	struct vex_attach *v;
	size_t n, cap;
};

static vex_err take(void *arg, const struct vex_attach *a)
{
	struct covering *c = arg;

	return attach_add(&c->v, &c->n, &c->cap, a);
}

/* Whether `node` has an attachment of each space and key of `kept`. */
static bool has_all(struct vex_reader *r, uint64_t node, uint64_t kept)
{
	struct covering c = { 0 };
	vex_err err = vex_read_attaches(r, kept, take, &c);

	for (size_t i = 0; !err && i < c.n; i++) {
		struct vex_attach own;

		err = vex_read_attach(r, node, c.v[i].space, c.v[i].key, c.v[i].key_len,
				      false, &own);
	}
	free(c.v);
	return !err;
}

/* *more: something is kept at that name still. */
static vex_err look_at(struct vex_reader *r, uint64_t node, const struct name_at *at,
		       struct changes *l, bool *more)
{
	AUTO_IDS struct idlist ids = { 0 };
	vex_err err = idlist_at(r, at->parent, at->name, &ids);

	for (size_t i = 0; !err && i < ids.n; i++) {
		struct vex_change *c;
		struct vex_kept k;

		if (ids.v[i] == node || vex_read_kept(r, ids.v[i], &k) ||
		    k.why != VEX_KEPT_REPLACED)
			continue;
		if (!has_all(r, node, ids.v[i])) {
			*more = true;
			continue;
		}
		c = changes_add(l, VEX_NODE_DROP);
		if (!c)
			return l->err;
		c->node = ids.v[i];
		c->quiet = true;
	}
	return err;
}

static vex_err look(struct vex_engine *e, uint64_t node, bool *more)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_NAMES struct namelist names = { 0 };
	AUTO_CHANGES struct changes l = { 0 };
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = namelist_read(r, node, &names);
	for (size_t i = 0; !err && i < names.n; i++)
		err = look_at(r, node, &names.v[i], &l, more);
	if (!err && l.n)
		vex_store_commit_later(e->store, l.c, l.n);
	return err;
}

/* ---- files with more to come ---------------------------------------------------------
 */

static void remember(struct vex_engine *e, uint64_t node, bool more)
{
	SCOPED_LOCK(&e->covers_lock);
	unsigned n = 0, at = e->covers_at % COVERS_MAX;

	for (unsigned i = 0; i < COVERS_MAX; i++) {
		if (e->covers[i] == node)
			at = i;
		n += e->covers[i] != 0;
	}
	if (more && e->covers[at] != node) {
		n += !e->covers[at];
		e->covers[at] = node;
		e->covers_at++;
	} else if (!more && e->covers[at] == node) {
		e->covers[at] = 0;
		n--;
	}
	atomic_store(&e->ncovers, n);
}

bool covered_awaits(struct vex_engine *e, uint64_t node)
{
	if (!atomic_load(&e->ncovers))
		return false;
	SCOPED_LOCK(&e->covers_lock);
	for (unsigned i = 0; i < COVERS_MAX; i++)
		if (e->covers[i] == node)
			return true;
	return false;
}

void covered_look(struct vex_engine *e, uint64_t node, bool fresh)
{
	bool awaits = covered_awaits(e, node), more = false;

	if (!awaits && !(fresh && atomic_load(&e->kept_any)))
		return;
	if (look(e, node, &more))
		vex_debug("node %llu: what is kept at its place stays for now",
			  (unsigned long long)node);
	else if (more || awaits)
		remember(e, node, more);
}
