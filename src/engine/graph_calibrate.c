/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calibration: how far a search must look past its k-th hit to keep the recall that is
 * promised. The space itself is asked: rows drawn from it are the queries, for they are
 * distributed as its data are. Each is searched for as if its own node were not there: a
 * row that is in the graph would find itself, and what it is linked to, too easily. Where
 * that cuts the graph in parts, as on points along a line, the nodes are left in place.
 * Exact search over what the graph has tells the truth. What each stop rule reaches is
 * kept with the graph (its "curve"), and a search takes the narrowest that suffices.
 *
 * The same trials measure a graph in use (graph_measure).
 */
#include <math.h>
#include "graph_i.h"

#define K RECALL_K

static const float steps[CURVE_STEPS] = { 0.02f, 0.05f, 0.08f, 0.1f,  0.12f, 0.14f,
					  0.16f, 0.18f, 0.2f,  0.23f, 0.26f, 0.3f,
					  0.35f, 0.4f,  0.5f,  0.7f,  1.0f,  2.0f };

struct trial {
	struct graph *g;
	struct vex_rows rows; /* live: what the graph has */
	size_t n;
	bool in_place;
	const _Atomic bool *stop; /* NULL: none */
	uint32_t *slots;          /* of the queries */
	float *queries;
	struct vex_hit *truth; /* n x K */
	size_t *found;         /* of truth, a query */
	uint64_t *live;
};

static void trial_free(struct trial *t)
{
	free(t->slots);
	free(t->queries);
	free(t->truth);
	free(t->found);
	free(t->live);
}
#define AUTO_TRIAL __attribute__((cleanup(trial_free)))

/* What the view and the graph both have. */
static uint64_t *in_both(struct graph *g, const struct vex_view *v, uint64_t *n)
{
	uint64_t words = (v->slots + 63) / 64;
	uint64_t *bits = malloc((words + 1) * sizeof(*bits));

	if (!bits)
		return NULL;
	graph_pending(g, v, bits);
	*n = 0;
	for (uint64_t i = 0; i < words; i++) {
		bits[i] = v->live[i] & ~bits[i];
		*n += (uint64_t)__builtin_popcountll(bits[i]);
	}
	return bits;
}

/* Up to `want` rows, spread over all from the first after `from`. */
static void draw(struct trial *t, const struct vex_view *v, uint64_t all, size_t want,
		 uint64_t from)
{
	uint64_t step = all / want ? all / want : 1, at = 0, first = from % step;
	const float *row;
	float *to;

	for (uint64_t i = 0; i < (v->slots + 63) / 64; i++)
		for (uint64_t b = t->live[i]; b; b &= b - 1) {
			uint64_t slot = i * 64 + (unsigned)__builtin_ctzll(b);

			if (at++ % step != first || t->n == want || slot >> 31)
				continue;
			to = t->queries + t->n * v->dim;
			row = graph_row(v, slot, to);
			if (row != to)
				memcpy(to, row, v->dim * sizeof(float));
			t->slots[t->n++] = (uint32_t)slot;
		}
}

static vex_err trial_begin(struct trial *t, struct graph *g, const struct vex_view *v,
			   size_t want, uint64_t from)
{
	uint64_t all;

	t->g = g;
	t->live = in_both(g, v, &all);
	if (!t->live)
		return -ENOMEM;
	if (want > all)
		want = (size_t)all;
	t->rows = graph_rows(v);
	t->rows.live = t->live;
	t->slots = calloc(want + 1, sizeof(*t->slots));
	t->queries = calloc(want + 1, v->dim * sizeof(float));
	t->truth = calloc(want + 1, K * sizeof(*t->truth));
	t->found = calloc(want + 1, sizeof(*t->found));
	if (!t->slots || !t->queries || !t->truth || !t->found)
		return -ENOMEM;
	if (want)
		draw(t, v, all, want, from);
	return 0;
}

static int any(void *arg, uint64_t slot, uint64_t *file)
{
	(void)arg;
	*file = slot;
	return 1;
}

static int any_but(void *arg, uint64_t slot, uint64_t *file)
{
	*file = slot;
	return slot != *(const uint32_t *)arg;
}

/* The k nearest of each query and itself. */
static vex_err scan(struct trial *t, struct vex_topk **topk, size_t from, size_t n)
{
	struct vex_scan_stats st = { 0 };
	vex_err err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = vex_topk_new(K + 1, 0, INFINITY, &topk[i]);
	return err ? err
		   : vex_flat_search(&t->rows, t->queries + from * t->rows.dim, n, topk,
				     any, NULL, NULL, &st);
}

static void take_truth(struct trial *t, size_t i, struct vex_topk *topk)
{
	size_t n;
	const struct vex_hit *h = vex_topk_sorted(topk, &n);

	for (size_t j = 0; j < n && t->found[i] < K; j++)
		if (h[j].slot != t->slots[i])
			t->truth[i * K + t->found[i]++] = h[j];
}

#define AT_ONCE 32u

static vex_err find_truth(struct trial *t)
{
	vex_err err = 0;

	for (size_t from = 0; from < t->n && !err; from += AT_ONCE) {
		struct vex_topk *topk[AT_ONCE] = { 0 };
		size_t n = t->n - from < AT_ONCE ? t->n - from : AT_ONCE;

		err = t->stop && atomic_load(t->stop) ? -EINTR : 0;
		if (!err)
			err = scan(t, topk, from, n);
		for (size_t i = 0; i < n; i++) {
			if (!err)
				take_truth(t, from + i, topk[i]);
			vex_topk_free(topk[i]);
		}
	}
	return err;
}

/* Hits at least as near as the true k-th. */
static vex_err count(struct trial *t, size_t i, struct vex_hnsw_query *p, size_t *hits)
{
	struct vex_scan_stats st = { 0 };
	const struct vex_hit *h;
	struct vex_topk *topk;
	size_t n;
	vex_err err = vex_topk_new(K, 0, INFINITY, &topk);

	if (err)
		return err;
	p->absent = t->in_place ? 0 : t->slots[i] + 1;
	err = vex_hnsw_search(t->g->h, &t->rows, t->queries + i * t->rows.dim, p, topk,
			      any_but, &t->slots[i], &st);
	h = vex_topk_sorted(topk, &n);
	for (size_t j = 0; j < n && !err; j++)
		*hits += h[j].distance <= t->truth[i * K + t->found[i] - 1].distance;
	vex_topk_free(topk);
	return err;
}

/* The share of the true hits that searches like `p` find. */
static vex_err try_all(struct trial *t, const struct vex_hnsw_query *p, float *recall)
{
	struct vex_hnsw_query q = *p;
	size_t hits = 0, all = 0;

	for (size_t i = 0; i < t->n; i++) {
		vex_err err = t->found[i] ? count(t, i, &q, &hits) : 0;

		if (!err && t->stop && atomic_load(t->stop))
			err = -EINTR;
		if (err)
			return err;
		all += t->found[i];
	}
	*recall = all ? (float)((double)hits / (double)all) : 1;
	return 0;
}

/* From the narrowest rule on, until nothing is missed. */
static vex_err trace(struct trial *t, struct curve *c)
{
	struct vex_hnsw_query p = graph_query(K);

	for (c->n = 0; c->n < CURVE_STEPS; c->n++) {
		vex_err err;

		p.widen = steps[c->n];
		err = try_all(t, &p, &c->recall[c->n]);
		if (err)
			return err;
		if (c->recall[c->n] >= RECALL_TOP) {
			c->n++;
			break;
		}
	}
	return 0;
}

float curve_widen(const struct curve *c, float recall)
{
	if (recall > RECALL_TOP)
		return -1;
	for (uint32_t i = 0; i < c->n; i++)
		if (c->recall[i] >= recall)
			return steps[i];
	return -1;
}

float curve_best(const struct curve *c)
{
	float best = 0;

	for (uint32_t i = 0; i < c->n; i++)
		best = c->recall[i] > best ? c->recall[i] : best;
	return best;
}

float curve_reached(const struct curve *c, float widen)
{
	for (uint32_t i = 0; i < c->n; i++)
		if (steps[i] >= widen)
			return c->recall[i];
	return curve_best(c);
}

void graph_aim(struct graph *g, float recall)
{
	float widen = curve_widen(&g->curve, recall);

	/* Once, at the end: searches go on meanwhile. */
	vex_hnsw_set_widen(g->h, widen >= 0 ? widen : steps[CURVE_STEPS - 1]);
	g->aim = recall;
}

vex_err graph_calibrate(struct graph *g, const struct vex_view *v,
			const _Atomic bool *stop)
{
	AUTO_TRIAL struct trial t = { .stop = stop };
	struct curve c = { 0 };
	vex_err err = trial_begin(&t, g, v, CALIBRATE_QUERIES, 0);

	if (!err)
		err = find_truth(&t);
	if (!err)
		err = trace(&t, &c);
	if (!err && curve_best(&c) < RECALL_DEFAULT) {
		c.in_place = t.in_place = true;
		err = trace(&t, &c);
	}
	if (err)
		return err;
	pthread_rwlock_wrlock(&g->lock);
	g->curve = c;
	pthread_rwlock_unlock(&g->lock);
	return 0;
}

vex_err graph_measure(struct graph *g, const struct vex_view *v,
		      const struct vex_hnsw_query *p, uint32_t sample, uint64_t from,
		      float *recall, uint32_t *queries)
{
	AUTO_TRIAL struct trial t = { 0 };
	vex_err err = trial_begin(&t, g, v, sample, from);

	pthread_rwlock_rdlock(&g->lock);
	t.in_place = g->curve.in_place;
	pthread_rwlock_unlock(&g->lock);
	if (!err)
		err = find_truth(&t);
	if (!err)
		err = try_all(&t, p, recall);
	*queries = (uint32_t)t.n;
	return err;
}
