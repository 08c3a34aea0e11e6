/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A search among candidates: of the rows it is known which may be hits (cands.c). Few are
 * compared one by one, which is exact and costs less than any traversal; many are so
 * large a share of the space that a traversal meets enough of them on its way: it is told
 * to look as much further as they are rarer, and takes only them. Between the two the
 * estimate decides, and where a traversal met too few (they lie far from the query), they
 * are compared one by one after all. So k hits come back whenever k files match.
 *
 * What is found is judged when the answer is built: nearest first, by the truth.
 */
#include "search_i.h"

/* Nanoseconds: estimates, to be checked by `make bench-search`; only
 * their ratios matter. */
#define ROW_NS 25.0          /* fetched from anywhere */
#define NUMBER_NS 0.25       /* of a row, in double */
#define DENSE_NUMBER_NS 0.05 /* one after the other, through BLAS */
#define GRAPH_NS 30000.0     /* a traversal for one */
#define WIDER_NS 900.0       /* each row more that it looks for, at 100 dimensions */
#define WIDER_MAX 2048u
#define SPARE 1.3
#define SHORT_WALK ((uint64_t)512 << 10) /* floats */

uint32_t among_wider(const struct search *s)
{
	double rare = (double)s->view.live_rows / (double)(s->nonly ? s->nonly : 1);
	double k =
	    (double)s->cap * (rare > 1.1 ? rare * SPARE : 1) + (rare > 1.1 ? 8 : 0);

	return k < WIDER_MAX ? (uint32_t)k : WIDER_MAX;
}

static bool graph_pays(const struct search *s)
{
	double dim = s->spec.dim, rows = (double)s->nonly;
	double few = rows * (ROW_NS + dim * NUMBER_NS);
	double dense = (double)s->view.live_rows * dim * DENSE_NUMBER_NS;
	uint32_t wider = among_wider(s);

	if (wider == WIDER_MAX || s->q->mmr)
		return false;
	return GRAPH_NS + wider * WIDER_NS * sqrt(dim / 100) <
	       (few < dense ? few : dense);
}

static bool all_in(const struct search *s, uint32_t cap)
{
	for (size_t i = 0; i < s->ntopk; i++)
		if (vex_topk_count(s->topk[i]) >= cap)
			return false;
	return true;
}

/* One by one it takes no longer than to wake another thread. */
static bool short_walk(const struct search *s)
{
	return s->nq == 1 && s->nonly * s->spec.dim <= SHORT_WALK;
}

/* Some more than wanted are kept, for a few to fall away; more where one file's rows may
 * crowd the front. */
static uint32_t kept(const struct search *s)
{
	if (!s->q->k)
		return s->cap;
	return s->view.live_rows > s->view.attachments ? 2 * s->cap + 32
						       : s->cap + s->cap / 2 + 8;
}

/* Each candidate compared. */
static vex_err one_by_one(struct search *s)
{
	struct vex_scan_stats stats = { 0 };
	struct vex_rows rows = search_rows(s);
	uint32_t cap = kept(s);
	vex_err err;

	if (!s->deep && !short_walk(s))
		return -EAGAIN;

	s->plan = "exact-among";
	s->scans = true;
	search_topks_free(s);
	s->wide = true;
	err = search_topks(s, cap, 0);
	if (!err)
		err = vex_flat_search(&rows, s->vectors, s->nq, s->topk, verdict_any, s,
				      &s->bound, &stats);
	s->stats.distances += stats.distances;
	err = search_stopped(s, err);
	if (err)
		return err;
	s->whole = all_in(s, cap);
	return hits_build(s);
}

vex_err among_find(struct search *s)
{
	bool done = false;
	vex_err err = 0;

	s->whole = false;
	if (s->q->mmr)
		return search_scan(s);
	if (graph_pays(s)) {
		s->plan = "graph-among";
		s->scans = false;
		s->wider = true;
		err = graph_search(s, &done);
		if (!err && done)
			err = hits_build(s);
		if (err != -ENODATA && (err || done))
			return err;
	}
	err = one_by_one(s);
	if (err != -ENODATA)
		return err;
	s->whole = false;
	return search_scan(s);
}
