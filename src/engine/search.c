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
 * What the graph finds is verified row by row before it is taken, so there is no second
 * pass after it.
 *
 * Runs on the engine's scan threads: a long search delays searches, not changes. A short
 * one begins where it was asked, and goes to them when it needs the catalog or a scan.
 */
#include "answers_i.h"
#include "graph_i.h"

#define QUICK_QUERIES 4u
#define QUICK_K 100u
#define SHORT_FLOATS GRAPH_FLOATS_MIN
/* Candidates of a scan beyond the hits wanted. */
#define WIDE_MIN 20u
#define WIDE_MAX 1024u

void search_topks_free(struct search *s)
{
	for (size_t i = 0; i < s->ntopk; i++)
		vex_topk_free(s->topk[i]);
	free(s->topk);
	s->topk = NULL;
	s->ntopk = 0;
}

static void pass_free(struct search *s)
{
	search_topks_free(s);
	if (s->viewed)
		vex_view_close(&s->view);
	s->viewed = false;
	free(take_ptr(&s->only));
	answer_put(take_ptr(&s->cached));
	s->whole = false;
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
	vex_buf_free(&s->under_path);
	memo_free(&s->nodes);
	memo_free(&s->dirs_open);
	memo_free(&s->dirs_under);
	memo_free(&s->parents);
}

vex_err search_topks(struct search *s, uint32_t cap, uint32_t per_file)
{
	size_t n = s->one ? 1 : s->nq;

	s->topk = calloc(s->nq, sizeof(struct vex_topk *));
	if (!s->topk)
		return -ENOMEM;
	for (; s->ntopk < n; s->ntopk++) {
		vex_err err =
		    vex_topk_new(cap, per_file, s->q->max_distance, &s->topk[s->ntopk]);

		if (err)
			return err;
	}
	for (size_t i = n; i < s->nq; i++)
		s->topk[i] = s->topk[0];
	return 0;
}

bool search_filtered(const struct search *s)
{
	const struct vex_query *q = s->q;

	return (q->where && *q->where) || s->under || q->fresh || !q->cred ||
	       q->cred->uid;
}

struct vex_rows search_rows(const struct search *s)
{
	struct vex_rows rows = graph_rows(&s->view);

	if (s->only)
		rows.live = s->only;
	return rows;
}

vex_err search_stopped(const struct search *s, vex_err err)
{
	return err == -ETIMEDOUT && s->bound.met ? 0 : err;
}

static vex_err scan(struct search *s, uint32_t cap, uint32_t per_file)
{
	struct vex_scan_stats stats = { 0 };
	struct vex_rows rows = search_rows(s);
	vex_err err;

	search_topks_free(s);
	s->plan = "exact";
	err = search_topks(s, cap, per_file);
	if (!err)
		err = vex_flat_search(&rows, s->vectors, s->nq, s->topk,
				      s->wide ? verdict_any : verdict_accept, s,
				      &s->bound, &stats);
	s->stats.distances += stats.distances;
	s->stats.refused += stats.refused;
	err = search_stopped(s, err);
	return err ? err : hits_build(s);
}

/* Most often the nearest rows are hits, or nearly all of them: then a few more than k are
 * collected unseen, and judged in order. Not where many rows are one file's, or a filter
 * may refuse most. */
static bool few_refused(const struct search *s)
{
	const struct vex_query *q = s->q;

	return q->k && s->cap <= WIDE_MAX && !q->mmr && !q->where && !s->under &&
	       !s->narrow && !s->eager &&
	       (!q->per_file || s->view.live_rows <= s->view.attachments);
}

/* As long as the detour to another thread, or little longer. */
static bool short_scan(const struct search *s)
{
	return s->nq == 1 && s->view.slots * s->spec.dim <= SHORT_FLOATS;
}

vex_err search_scan(struct search *s)
{
	uint32_t slack = s->cap > WIDE_MIN ? s->cap : WIDE_MIN;
	vex_err err = -ENODATA;

	if (!s->deep && !short_scan(s))
		return -EAGAIN;
	s->wide = few_refused(s);
	if (s->wide)
		err = scan(s, s->cap + slack * (search_filtered(s) ? 4 : 1), 0);
	if (err != -ENODATA)
		return err;
	s->wide = false;
	s->narrow = true;
	return s->deep ? scan(s, s->cap, s->q->per_file) : -EAGAIN;
}

static vex_err by_graph(struct search *s, bool *done)
{
	vex_err err = graph_search(s, done);

	if (!err && *done)
		err = hits_build(s);
	graph_release(s);
	return err;
}

/* By the graph where there is one and it can fill the answer, else by a scan, for which
 * a small stack may be none. Of callers who are not root most may read most files: so it
 * is tried first as if none were refused. */
static vex_err find(struct search *s)
{
	bool done = false;
	vex_err err;

	s->plan = "graph";
	s->wider = search_filtered(s) && (s->q->where || s->under || s->q->mmr);
	err = by_graph(s, &done);
	if (err == -ENODATA && !s->wider && search_filtered(s)) {
		search_topks_free(s);
		s->wider = true;
		err = by_graph(s, &done);
	}
	if (err != -ENODATA && (err || done))
		return err;
	s->scans = true;
	return search_scan(s);
}

/* By an earlier answer: *done false where there is none, or no longer. */
static vex_err by_answer(struct search *s, bool *done)
{
	vex_err err;

	*done = false;
	s->keep = answers_wanted(s);
	if (!s->keep)
		return 0;
	s->cached = answers_find(s);
	if (!s->cached)
		return 0;
	s->wide = true;
	s->plan = s->cached->plan;
	s->only_seq = s->cached->only_seq;
	err = hits_build(s);
	*done = !err;
	if (!err)
		return 0;
	s->wide = false;
	s->only_seq = 0;
	answer_put(take_ptr(&s->cached));
	return err == -ENODATA ? 0 : err;
}

static vex_err pass(struct search *s)
{
	bool done;
	vex_err err;

	s->changes = vex_engine_changes(s->e);
	err = vex_view_open(s->space, &s->view);
	if (err)
		return err;
	s->viewed = true;
	err = by_answer(s, &done);
	if (err || done)
		return err;
	err = cands_prepare(s);
	if (err)
		return err;
	return s->only ? among_find(s) : find(s);
}

static void finish(struct search *s, uint64_t start)
{
	struct vex_result *res = s->res;

	memcpy(res->space, s->spec.name, sizeof(res->space));
	res->metric = s->spec.metric;
	res->dim = s->spec.dim;
	res->lsn = s->view.lsn;
	res->rows = s->view.live_rows;
	res->candidates = s->only ? s->nonly : s->view.live_rows;
	res->distances = s->stats.distances;
	if (s->cached) {
		res->candidates = s->cached->candidates;
		res->distances = s->cached->distances;
		res->cached = true;
	}
	res->nanoseconds = vex_now_mono() - start;
	res->plan = s->plan;
	res->space_id = vex_space_id(s->space);
	res->partial = s->bound.met;
}

static void pass_again(struct search *s)
{
	pass_free(s);
	s->missed = false;
	/* Verdicts of the pass before may be what has changed. */
	memo_free(&s->nodes);
}

#define PASSES 5u

/* Files that are renamed all the time may be gone from where they just were; while that
 * goes on, a hit that fell away is looked for once more. */
static vex_err passes(struct search *s)
{
	vex_err err = 0;

	for (unsigned i = 0; i < PASSES && !err; i++) {
		uint64_t flights = flight_count(s->e);

		if (i)
			pass_again(s);
		err = pass(s);
		if (err || !s->missed || flight_count(s->e) == flights)
			return err;
	}
	return err;
}

vex_err search_run(struct search *s, struct vex_result **out)
{
	uint64_t start = vex_now_mono();
	vex_err err;

	s->deep = true;
	s->moment = vex_store_moment(s->e->store);
	err = vex_reader_get(s->e->store, &s->r);
	if (!err)
		err = query_prepare(s);
	if (!err)
		err = passes(s);
	if (!err && s->missed) {
		pass_again(s);
		s->eager = true;
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

/* ---- where it was asked -------------------------------------------------------------
 */

/* Few queries, by the graph, by a short scan or among candidates that are known: nothing
 * in that needs a deep stack, but the hits that were none before, and it takes less time
 * than waking another thread would, twice. */
static bool quick(const struct vex_query *q)
{
	return q->nq <= QUICK_QUERIES && q->vectors && q->k && q->k <= QUICK_K &&
	       q->space && *q->space && !q->like && !q->unlike && !q->mmr &&
	       !(q->under && *q->under) && !(q->where && !*q->where);
}

/* -EAGAIN: on a scan thread after all. */
static vex_err run_quick(struct search *s, struct vex_result **out)
{
	uint64_t start = vex_now_mono();
	vex_err err = query_prepare(s);

	if (!err)
		err = pass(s);
	if (!err && s->missed)
		err = -EAGAIN;
	if (!err) {
		finish(s, start);
		*out = s->res;
	}
	if (err != -EAGAIN)
		search_count(s, vex_now_mono() - start, err);
	search_free(s);
	return err;
}

/* From when it was asked: waiting for a thread counts. What was found is looked up for
 * as long again, at most. */
static void bound_set(struct search *s)
{
	const struct vex_query *q = s->q;

	s->bound.most = q->max_visited;
	if (!q->max_ns)
		return;
	s->bound.deadline = vex_now_mono() + q->max_ns;
	s->build_until = s->bound.deadline + q->max_ns;
}

vex_err vex_engine_search(struct vex_engine *e, const struct vex_query *q,
			  struct vex_result **out, struct vex_problem *problem)
{
	struct search_job j = { .s = { .e = e, .q = q, .problem = problem } };
	vex_err err = -EAGAIN;

	bound_set(&j.s);

	if (problem)
		problem->text[0] = '\0';
	/* With a bound on how many run at once all go through the queue, for their order.
	 */
	if (quick(q) && !vex_engine_knob(e, VEX_KNOB_CONCURRENT))
		err = run_quick(&j.s, &j.res);
	if (err == -EAGAIN) {
		j.s = (struct search){ .e = e,
				       .q = q,
				       .problem = problem,
				       .bound.deadline = j.s.bound.deadline,
				       .bound.most = j.s.bound.most,
				       .build_until = j.s.build_until,
				       .scans = j.s.scans,
				       .narrow = j.s.narrow };
		err = vex_pool_call(e->scans, run, &j);
	}
	if (err && problem && !problem->text[0])
		search_say(&j.s, "%s", strerror(-err));
	if (!err)
		*out = j.res;
	return err;
}
