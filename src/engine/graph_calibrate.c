/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calibration: how far a search must look past its k-th hit to keep the recall that is
 * promised. The space itself is asked: rows that the graph does not have yet are the
 * queries. They are distributed as its data are, and strangers to it: a row that is in
 * the graph finds itself, and what it is linked to, too easily. Exact search over what
 * the graph has tells the truth, and the narrowest stop rule that reaches the target is
 * taken.
 */
#include <math.h>
#include "graph_i.h"

#define K 10u
#define TARGET 0.98

struct trial {
	struct graph *g;
	struct vex_rows rows; /* live: what the graph has */
	const struct vex_view *v;
	const uint64_t *strangers;
	size_t n;
	float *queries;
	struct vex_hit *truth; /* n x K */
	size_t found[STRANGERS_MAX];
};

static int any(void *arg, uint64_t slot, uint64_t *file)
{
	(void)arg;
	*file = slot;
	return 1;
}

static void take_queries(struct trial *t)
{
	for (size_t i = 0; i < t->n; i++)
		memcpy(t->queries + i * t->v->dim, vex_view_row(t->v, t->strangers[i]),
		       t->v->dim * sizeof(float));
}

static vex_err find_truth(struct trial *t)
{
	struct vex_topk *topk[STRANGERS_MAX] = { 0 };
	struct vex_scan_stats st;
	vex_err err = 0;

	for (size_t i = 0; i < t->n && !err; i++)
		err = vex_topk_new(K, 0, INFINITY, &topk[i]);
	if (!err)
		err = vex_flat_search(&t->rows, t->queries, t->n, topk, any, NULL, NULL,
				      &st);
	for (size_t i = 0; i < t->n; i++) {
		const struct vex_hit *h;

		if (!err) {
			h = vex_topk_sorted(topk[i], &t->found[i]);
			if (t->found[i])
				memcpy(t->truth + i * K, h, t->found[i] * sizeof(*h));
		}
		vex_topk_free(topk[i]);
	}
	return err;
}

/* Hits at least as near as the true k-th. */
static vex_err count(struct trial *t, size_t i, const struct vex_hnsw_query *p,
		     size_t *hits)
{
	struct vex_scan_stats st = { 0 };
	const struct vex_hit *h;
	struct vex_topk *topk;
	size_t n;
	vex_err err = vex_topk_new(K, 0, INFINITY, &topk);

	if (err)
		return err;
	err = vex_hnsw_search(t->g->h, &t->rows, t->queries + i * t->rows.dim, p, topk,
			      any, NULL, &st);
	h = vex_topk_sorted(topk, &n);
	for (size_t j = 0; j < n && !err; j++)
		*hits += h[j].distance <= t->truth[i * K + t->found[i] - 1].distance;
	vex_topk_free(topk);
	return err;
}

static vex_err try_step(struct trial *t, float widen, size_t *hits)
{
	struct vex_hnsw_query p = { .k = K, .ef = 4096, .widen = widen, .rerank = 30 };

	*hits = 0;
	for (size_t i = 0; i < t->n; i++) {
		vex_err err = t->found[i] ? count(t, i, &p, hits) : 0;

		if (err)
			return err;
	}
	return 0;
}

static vex_err choose(struct trial *t)
{
	static const float steps[] = { 0.02f, 0.05f, 0.08f, 0.1f,  0.12f, 0.14f,
				       0.16f, 0.18f, 0.2f,  0.23f, 0.26f, 0.3f,
				       0.35f, 0.4f,  0.5f,  0.7f,  1.0f,  2.0f };
	size_t all = 0, s = 0;

	for (size_t i = 0; i < t->n; i++)
		all += t->found[i];
	for (; s < ARRAY_SIZE(steps) - 1; s++) {
		size_t hits;
		vex_err err = try_step(t, steps[s], &hits);

		if (err)
			return err;
		if ((double)hits >= TARGET * (double)all)
			break;
	}
	/* Once, at the end: searches go on meanwhile. */
	vex_hnsw_set_widen(t->g->h, steps[s]);
	return 0;
}

/* What the view and the graph both have. */
static uint64_t *in_both(struct graph *g, const struct vex_view *v)
{
	uint64_t words = (v->slots + 63) / 64;
	uint64_t *bits = malloc((words + 1) * sizeof(*bits));

	if (!bits)
		return NULL;
	graph_pending(g, v, bits);
	for (uint64_t i = 0; i < words; i++)
		bits[i] = v->live[i] & ~bits[i];
	return bits;
}

vex_err graph_calibrate(struct graph *g, const struct vex_view *v,
			const uint64_t *strangers, size_t n)
{
	AUTO_FREE float *queries = malloc(n * v->dim * sizeof(*queries));
	AUTO_FREE struct vex_hit *truth = malloc(n * K * sizeof(*truth));
	AUTO_FREE struct trial *t = calloc(1, sizeof(*t));
	AUTO_FREE uint64_t *live = in_both(g, v);
	vex_err err;

	if (!queries || !truth || !t || !live)
		return -ENOMEM;
	t->g = g;
	t->v = v;
	t->rows = graph_rows(v);
	t->rows.live = live;
	t->strangers = strangers;
	t->n = n;
	t->queries = queries;
	t->truth = truth;
	take_queries(t);
	err = find_truth(t);
	if (!err)
		err = choose(t);
	if (!err)
		g->uncalibrated = 0;
	return err;
}
