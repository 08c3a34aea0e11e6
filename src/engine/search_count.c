/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a search tells metrics when it is over: its time under its mode and plan, what it
 * computed, and, where it was slow, the sentence the slow log keeps.
 */
#include "search_i.h"

/* In the order of metrics' table: exact, graph, other. */
static unsigned plan_index(const char *plan)
{
	return !plan || strcmp(plan, "exact") == 0 ? 0
	       : strcmp(plan, "graph") == 0        ? 1
						   : 2;
}

static enum vex_op op_of(const struct search *s)
{
	const struct vex_query *q = s->q;
	enum vex_op first = q->mmr                    ? VEX_OP_MMR_EXACT
			    : q->like || s->like_node ? VEX_OP_LIKE_EXACT
			    : q->k                    ? VEX_OP_KNN_EXACT
						      : VEX_OP_RANGE_EXACT;

	return first + plan_index(s->plan);
}

static const char *given(const char *text, const char *if_so)
{
	return text && *text ? if_so : "";
}

struct slow {
	const struct search *s;
	uint64_t ns;
	vex_err err;
	enum vex_op op;
};

static vex_err keep_slow(void *arg)
{
	const struct slow *w = arg;
	const struct search *s = w->s;
	const struct vex_query *q = s->q;
	const struct vex_result *r = w->err ? NULL : s->res;

	vex_slow_add(w->op, w->ns, w->err, q->cred ? q->cred->uid : 0,
		     "space %s, plan %s, %zu queries, k %u, ef %u, %llu rows, %llu "
		     "distances, %zu hits%s%s%s",
		     s->space ? s->spec.name : "?", s->plan ? s->plan : "none", s->nq,
		     q->k, q->ef, r ? (unsigned long long)r->rows : 0,
		     (unsigned long long)s->stats.distances, r ? r->n : 0,
		     given(q->where, ", where"), given(q->under, ", under"),
		     q->fresh ? ", fresh" : "");
	return 0;
}

void search_count(const struct search *s, uint64_t ns, vex_err err)
{
	const struct vex_query *q = s->q;
	enum vex_op op = err ? VEX_OP_SEARCH_FAILED : op_of(s);
	const struct vex_result *r = err ? NULL : s->res;

	vex_audit(s->e, q->cred, "search", err, "space %s, %zu queries, k %u, %zu hits",
		  s->space ? s->spec.name : "?", s->nq, q->k, r ? r->n : 0);
	vex_count(VEX_COUNT_SEARCH_QUERIES, s->nq);
	vex_count(VEX_COUNT_SEARCH_DISTANCES, s->stats.distances);
	vex_count(VEX_COUNT_SEARCH_HITS, r ? r->n : 0);
	vex_count(VEX_COUNT_ANSWERS_HIT, r && r->cached);
	vex_count(VEX_COUNT_ANSWERS_MISS, s->keep && !(r && r->cached));
	if (vex_op_done(op, ns, err))
		(void)!vex_pool_call(
		    s->e->words, keep_slow,
		    &(struct slow){ .s = s, .ns = ns, .err = err, .op = op });
}
