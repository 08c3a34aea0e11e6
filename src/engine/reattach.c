/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives a file the attachments that a file before it had at its path (kept.c): those it
 * has none of itself, of the one that went last. The rows are copied, for the record of
 * each says whose it is; they are stale, being made for other content. All of it is one
 * commit. The caller must be allowed to write the file, and to have read the one before.
 */
#include "attach_i.h"
#include "kept_i.h"

struct giving {
	struct vex_engine *e;
	const struct vex_cred *cred;
	const char *path;
	struct vex_reader *r;
	struct vex_obj o;
	uint64_t own; /* node of the file; 0: none */
	uint64_t n;   /* out */
};

/* Whether it can be had from that node: its file is not there, the caller may know. */
static bool candidate(struct giving *g, uint64_t node, struct vex_kept *k)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_node n;

	return node != g->own && !vex_read_node(g->r, node, &n) && !n.is_dir &&
	       n.state == VEX_LIVE && place_of(g->e, g->r, &n, &p) == -ENOENT &&
	       !kept_read(g->r, node, k) &&
	       kept_may_tell(g->e, g->cred, k, g->o.dirfd, g->o.name);
}

static vex_err choose(struct giving *g, struct idlist *ids, uint64_t *from)
{
	struct vex_kept best = { .since_ns = -1 }, k;
	uint64_t parent;
	vex_err err = node_of_dir(g->e, g->o.dirfd, &parent);

	if (!err && parent)
		err = idlist_at(g->r, parent, g->o.name, ids);
	for (size_t i = 0; !err && i < ids->n; i++)
		if (candidate(g, ids->v[i], &k) && k.since_ns >= best.since_ns &&
		    kept_has(g->e, ids->v[i]))
			best = k;
	*from = best.node;
	return err ? err : best.node ? 0 : -ENODATA;
}

static vex_err give_locked(struct giving *g)
{
	AUTO_CHANGES struct changes l = { 0 };
	AUTO_IDS struct idlist ids = { 0 };
	uint64_t from, to;
	vex_err err = node_identify(g->e, &g->o, &g->own);

	if (!err)
		err = choose(g, &ids, &from);
	if (!err)
		err = node_ensure(g->e, &g->o, &l, &to);
	if (!err)
		err = node_take_over(g->e, g->r, from, &g->o, to, &l, &g->n);
	return err ? err : g->n ? 0 : -ENODATA;
}

static vex_err give_deep(void *arg)
{
	struct giving *g = arg;
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_RESOLVED struct resolved at = RESOLVED_INIT;
	struct vex_fh fh;
	struct stat st;
	vex_err err = resolve(g->e, g->cred, g->path, W_OK, &at);

	if (!err && (!S_ISREG(at.st.st_mode) || at.dirfd < 0))
		err = -EINVAL;
	if (!err)
		err = vex_reader_get(g->e->store, &r);
	if (err)
		return err;
	g->r = r;
	resolved_obj(&at, &g->o);
	err = obj_complete(&g->o, &fh, &st);
	if (err)
		return err;
	g->o.fh = fh;
	AUTO_NODE_LOCK pthread_mutex_t *lock = node_lock(g->e, &fh, st.st_ino);
	return give_locked(g);
}

vex_err vex_engine_reattach(struct vex_engine *e, const struct vex_cred *cred,
			    const char *path, uint64_t *n)
{
	struct giving g = { .e = e, .cred = cred, .path = path };
	vex_err err = engine_deep(e, give_deep, &g);

	*n = g.n;
	return err;
}
