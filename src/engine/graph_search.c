/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A search by graph: the rows it has not taken in yet are scanned, the rest is found by
 * traversal, both into the same candidates. They are more than the hits wanted, and are
 * judged when the answer is built (hits.c), nearest first, so only k of them cost more
 * than a distance. Where that does not fill k, because one file's rows crowd the front,
 * or where most rows were refused, the answer is thrown away and the space scanned: k
 * hits come back whenever k files deserve it, and a filter costs no recall.
 *
 * A diverse search chooses among accepted rows, so it judges while it collects.
 */
#include "graph_i.h"
#include "search_i.h"

/* A scan of this share of the rows costs less than the detour. */
#define PENDING_SHARE 4u
#define K_SHARE 16u
#define EF_MAX 4096u
/* Some rows may be refused: the traversal has to look further than k, for it does not
 * know which. With this many times k, k accepted ones are found as surely as without a
 * filter while at least a third is accepted; where it was less, the space is scanned. */
#define FILTERED 4u
#define REFUSED_MAX 2u /* a hit */

static bool worth_it(const struct search *s)
{
	const struct vex_query *q = s->q;

	return s->e->graphs && (!s->scans || s->only) && !q->exact && q->k &&
	       s->spec.index == VEX_HNSW && s->view.live_rows / K_SHARE > s->cap &&
	       s->cap <= EF_MAX / (2 * FILTERED);
}

struct vex_hnsw_query graph_query(uint32_t k)
{
	return (struct vex_hnsw_query){
		.k = k,
		.ef = EF_MAX,
		.rerank = k + (k > 20 ? k : 20),
	};
}

static float widen_for(struct graph *g, float recall)
{
	SCOPED_RDLOCK(&g->lock);

	return curve_widen(&g->curve, recall);
}

/* The space's ef_search, where somebody has set it; its recall goes before. */
static uint32_t own_ef(const struct search *s)
{
	return s->spec.recall > 0 || s->spec.ef_search == VEX_EF_SEARCH_DEFAULT
		   ? 0
		   : s->spec.ef_search;
}

/* Rows that are never hits, and stand among the nearest: of the file to be like. */
static uint32_t own_rows(const struct search *s)
{
	uint64_t n = s->like_node ? s->nq : 0;

	n += s->q->skip_node != 0;
	return (uint32_t)vex_min64(n, s->cap + 16);
}

/* false: no search of the graph keeps what is asked for. */
static bool params(const struct search *s, struct graph *g, struct vex_hnsw_query *p)
{
	uint32_t ef;

	*p = graph_query(s->cap);
	p->widen = vex_hnsw_widen(g->h);
	if (s->only) {
		p->k = among_wider(s);
		p->rerank = p->k + (s->cap > 20 ? s->cap : 20);
	} else if (s->wider) {
		p->k *= FILTERED;
		p->rerank *= FILTERED;
	}
	p->k += own_rows(s);
	p->rerank += own_rows(s);
	if (s->q->recall > 0) {
		p->widen = widen_for(g, s->q->recall);
		return p->widen >= 0;
	}
	ef = s->q->ef ? s->q->ef : own_ef(s);
	if (ef) {
		p->ef = ef < EF_MAX ? ef : EF_MAX;
		p->widen = -1;
		return true;
	}
	return s->spec.recall <= RECALL_TOP;
}

static vex_accept_fn judge(const struct search *s)
{
	return s->wide ? verdict_any : verdict_accept;
}

/* Needs a deep stack, for BLAS. */
static vex_err scan_pending(struct search *s, uint64_t *bits)
{
	struct vex_rows rows = search_rows(s);
	struct vex_scan_stats stats = { 0 };
	vex_err err;

	if (!s->deep)
		return -EAGAIN;
	for (uint64_t w = 0; s->only && w < (s->view.slots + 63) / 64; w++)
		bits[w] &= s->only[w];
	rows.live = bits;
	err = vex_flat_search(&rows, s->vectors, s->nq, s->topk, judge(s), s, &s->bound,
			      &stats);
	s->stats.distances += stats.distances;
	return search_stopped(s, err);
}

static vex_err traverse_one(struct search *s, struct graph *g,
			    const struct vex_hnsw_query *p, size_t i)
{
	struct vex_rows rows = search_rows(s);

	return vex_hnsw_search(g->h, &rows, s->vectors + i * rows.dim, p, s->topk[i],
			       s->wide ? NULL : verdict_accept, s, &s->stats);
}

static vex_err traverse(struct search *s, struct graph *g, const struct vex_hnsw_query *p)
{
	for (size_t i = 0; i < s->nq; i++) {
		vex_err err = traverse_one(s, g, p, i);

		if (err || s->bound.met)
			return search_stopped(s, err);
	}
	return 0;
}

/*
 * Of many queries each is searched for when its hits are to be built, so that these find
 * in the cache what the traversal has just had: the rows, above all. The graph is kept
 * until then.
 */
static bool one_by_one(const struct search *s)
{
	return s->wide && s->deep && s->nq > 1 && !s->one;
}

vex_err graph_later(struct search *s, size_t query)
{
	vex_err err;

	if (!s->later || s->bound.met)
		return 0;
	err = search_stopped(s, traverse_one(s, s->later, &s->later_query, query));
	if (!err && !s->bound.met && vex_topk_count(s->topk[query]) < s->cap)
		err = -ENODATA;
	return err;
}

void graph_release(struct search *s)
{
	if (s->later)
		graphs_put(s->e->graphs, take_ptr(&s->later));
}

static bool all_full(const struct search *s)
{
	for (size_t i = 0; i < s->ntopk; i++)
		if (vex_topk_count(s->topk[i]) < s->cap)
			return false;
	return true;
}

/* What the graph lacks is scanned; *enough false where that is most of the space. */
static vex_err add_pending(struct search *s, struct graph *g, uint64_t *pending,
			   bool *enough)
{
	uint64_t words = (s->view.slots + 63) / 64;

	*enough = true;
	*pending = 0;
	/* It stands where the view does, or later: it lacks nothing. */
	if (atomic_load(&g->lsn) >= s->view.changed)
		return 0;
	AUTO_FREE uint64_t *bits = malloc((words ? words : 1) * sizeof(*bits));
	if (!bits)
		return -ENOMEM;
	*pending = graph_pending(g, &s->view, bits);
	*enough = *pending <= s->view.live_rows / PENDING_SHARE;
	return *enough && *pending ? scan_pending(s, bits) : 0;
}

/* Nodes of rows that are gone lead on until they are swept out, and stand among the
 * nearest: as when a file's vector is replaced by one much like it. */
static uint32_t gone_near(const struct search *s, const struct graph *g, uint64_t pending)
{
	uint64_t nodes = vex_hnsw_nodes(g->h) + vex_hnsw_removed(g->h);
	uint64_t live = s->view.live_rows - pending;

	return (uint32_t)(nodes > live ? vex_min64(nodes - live, s->cap / 2 + 4) : 0);
}

/* Candidates are counted when they are judged. */
static bool accepted_enough(const struct search *s)
{
	if (s->wide)
		return true;
	return s->stats.refused <= (uint64_t)REFUSED_MAX * s->cap * s->nq;
}

static vex_err by_graph(struct search *s, struct graph *g, bool *done)
{
	struct vex_hnsw_query p;
	uint64_t pending;
	bool enough;
	vex_err err;

	if (!params(s, g, &p))
		return 0;
	s->wide = !s->q->mmr;
	err = s->wide ? search_topks(s, p.rerank, 0)
		      : search_topks(s, s->cap, s->q->per_file);
	if (!err)
		err = add_pending(s, g, &pending, &enough);
	if (err || !enough)
		return err;
	p.k += gone_near(s, g, pending);
	p.bound = &s->bound;
	if (one_by_one(s)) {
		s->later = g;
		s->later_query = p;
		*done = true;
		return 0;
	}
	if (!s->bound.met)
		err = traverse(s, g, &p);
	*done = !err && (s->bound.met || (all_full(s) && accepted_enough(s)));
	return err;
}

vex_err graph_search(struct search *s, bool *done)
{
	struct graph *g;
	vex_err err;

	*done = false;
	if (!worth_it(s))
		return 0;
	g = graphs_find(s->e->graphs, vex_space_id(s->space));
	if (!g)
		return 0;
	err = by_graph(s, g, done);
	if (!s->later)
		graphs_put(s->e->graphs, g);
	return err;
}
