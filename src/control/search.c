/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search call: the wire struct becomes a struct vex_query, the result hits in the
 * reply and unread ones in the session. JSON requests come as that struct too (query.c).
 *
 * Everything in the struct is checked before the engine hears of it; the engine checks
 * what needs the space (dimension, metric) and the numbers of the queries.
 *
 * MIN_SIMILARITY s is max_distance 1 - s, which holds for cosine alone. Which space it
 * will be may be the engine's choice, so the metric is looked at in the result: it
 * cannot have changed in between.
 *
 * Must stay true: a search, also one that fails, leaves the stage empty and no hits of
 * an earlier one, which a client that overlooks the error would take for its answer.
 */
#include <math.h>
#include "control_i.h"

#define HITS_MAX ((uint64_t)4 * VEX_K_MAX) /* of one call */
#define BETA 0.5f
#define MS_MAX 86400000u
#define MS_NS 1000000ull

static bool has(const struct vexfs_search *h, uint32_t flag)
{
	return (h->flags & flag) != 0;
}

/* ---- the struct alone ------------------------------------------------------------ */

static vex_err check_limits(struct call *c, const struct vexfs_search *h)
{
	bool given = h->max_visited || h->max_ms;

	if (has(h, VEXFS_SEARCH_LIMITS) != given)
		return session_fail(c->s, -EINVAL,
				    "LIMITS goes with max_visited or max_ms");
	if (h->max_ms > MS_MAX)
		return session_fail(c->s, -EINVAL, "max_ms %llu is above %u",
				    (unsigned long long)h->max_ms, MS_MAX);
	return 0;
}

static vex_err check_flags(struct call *c, const struct vexfs_search *h)
{
	struct vex_session *s = c->s;
	bool bound = has(h, VEXFS_SEARCH_MAX_DISTANCE | VEXFS_SEARCH_MIN_SIMILARITY);
	vex_err err;

	if (h->flags & ~VEXFS_SEARCH_FLAGS)
		return session_fail(s, -EINVAL, "unknown flags %#x",
				    h->flags & ~VEXFS_SEARCH_FLAGS);
	err = call_reserved(c, h->reserved1);
	if (!err)
		err = check_limits(c, h);
	if (!err)
		err = call_reserved(c, h->reserved3);
	if (err)
		return err;
	if (has(h, VEXFS_SEARCH_RECALL) && !(h->recall > 0 && h->recall <= 1))
		return session_fail(s, -EINVAL, "recall is above 0 and at most 1");
	if (has(h, VEXFS_SEARCH_RECALL) && h->ef)
		return session_fail(s, -EINVAL, "a search has an ef or a recall");
	if (has(h, VEXFS_SEARCH_STAGED) && has(h, VEXFS_SEARCH_LIKE))
		return session_fail(s, -EINVAL, "a search is staged or like a file");
	if (has(h, VEXFS_SEARCH_MAX_DISTANCE) && has(h, VEXFS_SEARCH_MIN_SIMILARITY))
		return session_fail(s, -EINVAL, "a bound is a distance or a similarity");
	if (has(h, VEXFS_SEARCH_RANGE) && !bound)
		return session_fail(s, -EINVAL, "a range search needs a bound");
	if (bound && !isfinite(h->max_distance))
		return session_fail(s, -EINVAL, "the bound is not a finite number");
	if (has(h, VEXFS_SEARCH_RANGE) && has(h, VEXFS_SEARCH_MMR))
		return session_fail(s, -EINVAL, "a range search is not diverse");
	if (has(h, VEXFS_SEARCH_ALL_ROWS) && h->per_file)
		return session_fail(s, -EINVAL,
				    "per_file and ALL_ROWS exclude each other");
	return 0;
}

static vex_err check_counts(struct call *c, const struct vexfs_search *h)
{
	struct vex_session *s = c->s;

	if (has(h, VEXFS_SEARCH_RANGE)) {
		if (h->k)
			return session_fail(s, -EINVAL, "a range search has no k");
	} else if (!h->k || h->k > VEX_K_MAX || h->offset > VEX_K_MAX - h->k) {
		return session_fail(s, -EINVAL, "k %u at offset %u is not within 1 .. %u",
				    h->k, h->offset, VEX_K_MAX);
	}
	if (has(h, VEXFS_SEARCH_LIKE)) {
		if (h->dim || h->queries > 1)
			return session_fail(s, -EINVAL,
					    "like a file: no dim, no queries");
	} else if (!h->dim || h->dim > VEX_DIM_MAX) {
		return session_fail(s, -EINVAL, "dimension %u is not within 1 .. %u",
				    h->dim, VEX_DIM_MAX);
	}
	if (has(h, VEXFS_SEARCH_LIKE) != (h->like_len > 0))
		return session_fail(s, -EINVAL, "like and LIKE go together");
	if (has(h, VEXFS_SEARCH_UNLIKE) != (h->unlike_len > 0))
		return session_fail(s, -EINVAL, "unlike and UNLIKE go together");
	return 0;
}

/* ---- queries and strings --------------------------------------------------------- */

static vex_err staged_queries(struct call *c, const struct vexfs_search *h,
			      struct vex_query *q)
{
	struct vex_session *s = c->s;
	size_t row = (size_t)h->dim * sizeof(float);
	size_t n = s->stage.len / row;

	if (s->stage_bad)
		return session_fail(s, -EINVAL, "the query was not staged whole");
	if (!n || s->stage.len % row)
		return session_fail(s, -EINVAL,
				    "%zu staged bytes are no whole queries of %u floats",
				    s->stage.len, h->dim);
	if (h->queries && h->queries != n)
		return session_fail(s, -EINVAL, "%u queries announced, %zu staged",
				    h->queries, n);
	if (n > VEX_BATCH_MAX)
		return session_fail(s, -ENOMEM, "more than %u queries", VEX_BATCH_MAX);
	q->vectors = (const float *)(const void *)s->stage.data;
	q->nq = (uint32_t)n;
	return 0;
}

static vex_err inline_queries(struct call *c, const struct vexfs_search *h,
			      struct vex_query *q, size_t *at)
{
	uint64_t n = h->queries ? h->queries : 1;
	uint64_t bytes = n * h->dim * sizeof(float);
	vex_err err;

	if (bytes > c->data_len)
		return session_fail(c->s, -EINVAL,
				    "%llu queries of %u floats are not in the data",
				    (unsigned long long)n, h->dim);
	err = call_align(c);
	if (err)
		return err;
	q->vectors = (const float *)(const void *)c->data;
	q->nq = (uint32_t)n;
	*at = (size_t)bytes;
	return 0;
}

static vex_err take_query(struct call *c, const struct vexfs_search *h,
			  struct vex_query *q)
{
	size_t at = 0;
	vex_err err = 0;

	if (has(h, VEXFS_SEARCH_STAGED))
		err = staged_queries(c, h, q);
	else if (!has(h, VEXFS_SEARCH_LIKE))
		err = inline_queries(c, h, q, &at);
	if (!err && h->like_len)
		err = call_string(c, &at, h->like_len, &q->like);
	if (!err && h->under_len)
		err = call_string(c, &at, h->under_len, &q->under);
	if (!err && h->where_len)
		err = call_string(c, &at, h->where_len, &q->where);
	if (!err && h->unlike_len)
		err = call_string(c, &at, h->unlike_len, &q->unlike);
	return err;
}

static void take_bounds(const struct vexfs_search *h, struct vex_query *q)
{
	q->max_distance = INFINITY;
	if (has(h, VEXFS_SEARCH_MAX_DISTANCE))
		q->max_distance = h->max_distance;
	else if (has(h, VEXFS_SEARCH_MIN_SIMILARITY))
		q->max_distance = (float)(1.0 - (double)h->max_distance);
	if (!has(h, VEXFS_SEARCH_ALL_ROWS))
		q->per_file = h->per_file ? h->per_file : 1;
}

static vex_err prepare(struct call *c, const struct vexfs_search *h, struct vex_query *q)
{
	uint64_t each = h->k ? h->k : VEX_K_MAX;
	vex_err err = check_flags(c, h);

	if (!err)
		err = check_counts(c, h);
	if (!err)
		err = call_name(c, h->space, offsetof(struct vexfs_search, space));
	if (!err)
		err = take_query(c, h, q);
	if (err)
		return err;
	if (q->nq * each > HITS_MAX)
		return session_fail(c->s, -ENOMEM,
				    "%u queries may have more than %llu hits", q->nq,
				    (unsigned long long)HITS_MAX);
	take_bounds(h, q);
	return 0;
}

/* ---- the answer ------------------------------------------------------------------ */

static void describe(struct call *c, struct vexfs_search *h, const struct vex_result *r)
{
	bool totals = vex_cred_is_admin(c->engine, c->cred);

	memset(h->space, 0, sizeof(h->space));
	memcpy(h->space, r->space, strnlen(r->space, VEX_SPACE_NAME_MAX));
	h->dim = r->dim;
	h->out_flags = r->truncated ? VEXFS_RESULT_TRUNCATED : 0;
	h->out_flags |= r->cached ? VEXFS_RESULT_CACHED : 0;
	h->metric = r->metric;
	h->total = r->n;
	h->lsn = r->lsn;
	h->rows = totals ? r->rows : 0;
	h->candidates = totals ? r->candidates : 0;
	h->distances = totals ? r->distances : 0;
	h->nanoseconds = r->nanoseconds;
	memset(h->plan, 0, sizeof(h->plan));
	memcpy(h->plan, r->plan ? r->plan : "",
	       strnlen(r->plan ? r->plan : "", sizeof(h->plan) - 1));
}

static vex_err answer(struct call *c, struct vexfs_search *h, struct vex_result *r)
{
	vex_err err;

	describe(c, h, r);
	err = unread_take(c->s, r);
	if (err)
		return err;
	c->used = hits_pack(c->s, c->reply, c->room, &h->hits);
	h->bytes = (uint32_t)c->used;
	return 0;
}

/* What can only be told once the space is known. */
static vex_err check_result(struct call *c, const struct vexfs_search *h,
			    const struct vex_result *r)
{
	if (!has(h, VEXFS_SEARCH_MIN_SIMILARITY) || r->metric == VEX_COSINE)
		return 0;
	return session_fail(c->s, -EINVAL, "similarity is for cosine: space %s is %s",
			    r->space, metric_name(r->metric));
}

vex_err search_find(struct call *c, const struct vexfs_search *h, struct vex_result **out)
{
	struct vex_problem problem = { .text = "" };
	struct vex_result *r = NULL;
	struct vex_query q = {
		.space = h->space,
		.dim = h->dim,
		.nq = 1,
		.k = h->k,
		.offset = h->offset,
		.ef = h->ef,
		.recall = has(h, VEXFS_SEARCH_RECALL) ? h->recall : 0,
		.max_visited = h->max_visited,
		.max_ns = h->max_ms * MS_NS,
		.cred = c->cred,
		.exact = has(h, VEXFS_SEARCH_EXACT),
		.fresh = has(h, VEXFS_SEARCH_FRESH),
		.no_cache = has(h, VEXFS_SEARCH_NO_CACHE),
		.mmr = has(h, VEXFS_SEARCH_MMR),
		.lambda = h->mmr,
		.beta = h->beta == 0 ? BETA : h->beta,
	};
	vex_err err = prepare(c, h, &q);

	if (err)
		return err;
	err = vex_engine_search(c->engine, &q, &r, &problem);
	if (err && problem.text[0])
		session_fail(c->s, err, "%s", problem.text);
	if (!err)
		err = check_result(c, h, r);
	if (err)
		vex_result_free(r);
	else
		*out = r;
	return err;
}

/* An error has no reply: what was found waits in the session. */
static vex_err leave_partial(struct call *c, struct vex_result *r)
{
	size_t n = r->n;
	vex_err err = unread_take(c->s, r);

	if (err)
		return err;
	return session_fail(
	    c->s, -ETIMEDOUT,
	    "the search met its limit; %zu hits of what it has seen are to "
	    "be read",
	    n);
}

vex_err ioc_search(struct call *c)
{
	struct vex_result *r = NULL;
	vex_err err;

	unread_drop(c->s);
	err = search_find(c, c->head, &r);
	if (!err)
		err = r->partial ? leave_partial(c, r) : answer(c, c->head, r);
	stage_empty(c->s);
	return err;
}
