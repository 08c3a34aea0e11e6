/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diversity: maximal marginal relevance. Of the MMR_POOL nearest candidates the nearest
 * comes first; then, again and again, the one for which
 *
 *	(1 - lambda) x distance to the nearest one chosen - lambda x distance to the query
 *
 * is greatest (of equals, the nearer). lambda 1 is the order of distances. Under cosine
 * this is the usual formula with similarities. The pool does not depend on k, so the
 * order is one, and pages of it fit together.
 *
 * Rows are read from the view, which pins them.
 */
#include "search_i.h"

struct picker {
	const struct search *s;
	const struct vex_hit *pool;
	size_t n;
	float *apart; /* of each: distance to the nearest one chosen; NAN: chosen */
	float *row;   /* the one chosen last, decoded */
};

static const void *row_of(const struct picker *p, size_t i)
{
	return vex_view_row(&p->s->view, p->pool[i].slot);
}

static void choose(struct picker *p, size_t i)
{
	const struct vex_view *v = &p->s->view;
	double qq;

	vex_row_decode(v->layout, row_of(p, i), 0, v->dim, p->row);
	qq = vex_square(p->row, v->dim);
	p->apart[i] = NAN;
	for (size_t j = 0; j < p->n; j++) {
		float d;

		if (isnan(p->apart[j]))
			continue;
		d = vex_row_distance(v->layout, v->metric, p->row, row_of(p, j), qq);
		if (d < p->apart[j])
			p->apart[j] = d;
	}
}

static size_t best(const struct picker *p)
{
	double lambda = (double)p->s->q->lambda, top = -INFINITY;
	size_t at = p->n;

	for (size_t i = 0; i < p->n; i++) {
		double score;

		if (isnan(p->apart[i]))
			continue;
		score = (1 - lambda) * (double)p->apart[i] -
			lambda * (double)p->pool[i].distance;
		if (at == p->n || score > top) {
			at = i;
			top = score;
		}
	}
	return at;
}

vex_err mmr_order(const struct search *s, const struct vex_hit *pool, size_t *n,
		  struct vex_hit **out)
{
	size_t want = vex_min64(*n, (uint64_t)s->q->k + s->q->offset);
	struct vex_hit *hits = malloc((want + 1) * sizeof(*hits));
	struct picker p = { .s = s, .pool = pool, .n = *n };

	p.apart = malloc((*n + 1) * sizeof(*p.apart));
	p.row = malloc(s->view.dim * sizeof(*p.row));
	if (!hits || !p.apart || !p.row) {
		free(hits);
		free(p.apart);
		free(p.row);
		return -ENOMEM;
	}
	for (size_t i = 0; i < *n; i++)
		p.apart[i] = INFINITY;
	for (size_t i = 0; i < want; i++) {
		size_t at = i ? best(&p) : 0;

		hits[i] = pool[at];
		choose(&p, at);
	}
	free(p.apart);
	free(p.row);
	*n = want;
	*out = hits;
	return 0;
}
