/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an administrator asks of indexes: to measure one, to build one anew. Measuring
 * runs on a scan thread, as searches do, and asks as they do; so what it tells is what
 * they get. Numbers tell of the whole space, hence admins only.
 */
#include "graph_i.h"

struct job {
	struct vex_engine *e;
	struct vex_space *sp;
	struct vex_recall *r;
};

/* The way a search with these wishes would go. */
static bool query_for(struct graph *g, const struct vex_recall *r,
		      struct vex_hnsw_query *p)
{
	SCOPED_RDLOCK(&g->lock);

	*p = graph_query(RECALL_K);
	p->widen = vex_hnsw_widen(g->h);
	if (r->recall > 0)
		p->widen = curve_widen(&g->curve, r->recall);
	else if (r->ef) {
		p->ef = r->ef;
		p->widen = -1;
		return true;
	}
	return p->widen >= 0 && (r->recall > 0 || r->aim <= RECALL_TOP);
}

static vex_err measure(struct job *j, struct graph *g)
{
	struct vex_hnsw_query p;
	struct vex_view v;
	vex_err err;

	if (!query_for(g, j->r, &p))
		return 0;
	err = vex_view_open(j->sp, &v);
	if (err)
		return err;
	j->r->graph = true;
	err = graph_measure(g, &v, &p, j->r->sample, j->r->from, &j->r->recall,
			    &j->r->queries);
	vex_view_close(&v);
	return err;
}

/* [deep] */
static vex_err run(void *arg)
{
	struct job *j = arg;
	struct graph *g = graphs_find(j->e->graphs, vex_space_id(j->sp));
	vex_err err = g ? measure(j, g) : 0;

	if (g)
		graphs_put(j->e->graphs, g);
	if (!err && !j->r->graph)
		j->r->recall = 1;
	return err;
}

vex_err vex_engine_recall(struct vex_engine *e, const struct vex_cred *cred,
			  const char *name, struct vex_recall *r)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct job j = { .e = e, .r = r };
	vex_err err;

	if (!vex_cred_is_admin(e, cred))
		return -EPERM;
	if (!r->sample || r->sample > VEX_RECALL_SAMPLE_MAX ||
	    !(r->recall >= 0 && r->recall <= 1))
		return -EINVAL;
	err = vex_space_find(e->store, name, &sp);
	if (err)
		return err;
	r->graph = false;
	r->queries = 0;
	r->aim = graph_aim_of(sp);
	j.sp = sp;
	return vex_pool_call(e->scans, run, &j);
}

vex_err vex_engine_rebuild(struct vex_engine *e, const struct vex_cred *cred,
			   const char *name, struct vex_rebuild *out)
{
	uint32_t after = 0;

	*out = (struct vex_rebuild){ .timed = true };
	if (!vex_cred_is_admin(e, cred))
		return -EPERM;
	if (*name) {
		AUTO_SPACE struct vex_space *sp = NULL;
		vex_err err = vex_space_find(e->store, name, &sp);

		if (!err)
			graphs_rebuild(e->graphs, sp, out);
		return err;
	}
	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;

		if (vex_space_next(e->store, after, &sp))
			return 0;
		after = vex_space_id(sp);
		graphs_rebuild(e->graphs, sp, out);
	}
}
