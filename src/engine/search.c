/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A search: prepare the query, scan a view of the space, build the answer.
 *
 * Two passes at most. The first asks of a row only what may refuse it in the normal
 * course of things: permission, the directory, freshness. Whether file and row are
 * really there is verified at the end, for the hits alone, so a search by root costs
 * a scan and k lookups. Where a hit falls away then (a file vanished behind the mount,
 * a damaged row), one more pass, on a new view, asks everything before a row is let
 * in, so k hits come back whenever k files deserve it. The first pass is nearly always
 * the only one.
 *
 * Runs on the engine's scan threads: a long search delays searches, not changes.
 */
#include "graph_i.h"
#include "search_i.h"

static void topks_free(struct search *s)
{
	for (size_t i = 0; i < s->ntopk; i++)
		vex_topk_free(s->topk[i]);
	free(s->topk);
	s->topk = NULL;
	s->ntopk = 0;
}

static void pass_free(struct search *s)
{
	topks_free(s);
	if (s->viewed)
		vex_view_close(&s->view);
	s->viewed = false;
}

static void search_free(struct search *s)
{
	pass_free(s);
	if (s->r)
		vex_reader_put(s->r);
	if (s->space)
		vex_space_unref(s->space);
	free(s->own_vectors);
	free(s->like_path);
	where_free(s);
	memo_free(&s->nodes);
	memo_free(&s->dirs_open);
	memo_free(&s->dirs_under);
	memo_free(&s->parents);
}

/* One set of hits a query; one for all where the queries are one. */
static vex_err topks_new(struct search *s)
{
	size_t n = s->one ? 1 : s->nq;

	s->topk = calloc(s->nq, sizeof(struct vex_topk *));
	if (!s->topk)
		return -ENOMEM;
	for (; s->ntopk < n; s->ntopk++) {
		vex_err err = vex_topk_new(s->cap, s->q->per_file, s->q->max_distance,
					   &s->topk[s->ntopk]);

		if (err)
			return err;
	}
	for (size_t i = n; i < s->nq; i++)
		s->topk[i] = s->topk[0];
	return 0;
}

static vex_err scan(struct search *s)
{
	struct vex_scan_stats stats = { 0 };
	struct vex_rows rows = graph_rows(&s->view);
	vex_err err = vex_flat_search(&rows, s->vectors, s->nq, s->topk, verdict_accept,
				      s, NULL, &stats);

	s->stats.distances += stats.distances;
	return err;
}

/* By the graph where there is one and it can fill the answer, else by a scan. */
static vex_err find(struct search *s)
{
	bool done = false;
	vex_err err = topks_new(s);

	if (!err)
		err = graph_search(s, &done);
	s->plan = "graph";
	if (err || done)
		return err;
	topks_free(s);
	s->plan = "exact";
	err = topks_new(s);
	return err ? err : scan(s);
}

static vex_err pass(struct search *s)
{
	vex_err err = vex_view_open(s->space, &s->view);

	if (err)
		return err;
	s->viewed = true;
	err = find(s);
	return err ? err : hits_build(s);
}

static void finish(struct search *s, uint64_t start)
{
	struct vex_result *res = s->res;

	memcpy(res->space, s->spec.name, sizeof(res->space));
	res->metric = s->spec.metric;
	res->dim = s->spec.dim;
	res->lsn = s->view.lsn;
	res->rows = s->view.live_rows;
	res->distances = s->stats.distances;
	res->nanoseconds = vex_now_mono() - start;
	res->plan = s->plan;
}

vex_err search_run(struct search *s, struct vex_result **out)
{
	uint64_t start = vex_now_mono();
	vex_err err = vex_reader_get(s->e->store, &s->r);

	if (!err)
		err = query_prepare(s);
	if (!err)
		err = pass(s);
	if (!err && s->missed) {
		pass_free(s);
		s->missed = false;
		s->eager = true;
		/* Verdicts of the first pass may be what has changed. */
		memo_free(&s->nodes);
		err = pass(s);
	}
	if (!err) {
		finish(s, start);
		*out = s->res;
	}
	search_count(s, vex_now_mono() - start, err);
	search_free(s);
	return err;
}

struct search_job {
	struct search s;
	struct vex_result *res;
};

static vex_err run(void *arg)
{
	struct search_job *j = arg;

	return search_run(&j->s, &j->res);
}

vex_err vex_engine_search(struct vex_engine *e, const struct vex_query *q,
			  struct vex_result **out, struct vex_problem *problem)
{
	struct search_job j = { .s = { .e = e, .q = q, .problem = problem } };
	vex_err err;

	if (problem)
		problem->text[0] = '\0';
	err = vex_pool_call(e->scans, run, &j);
	if (err && problem && !problem->text[0])
		search_say(&j.s, "%s", strerror(-err));
	if (!err)
		*out = j.res;
	return err;
}
