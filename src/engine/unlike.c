/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Like this and unlike that, after Rocchio: of each query q
 *
 *	q - beta x u
 *
 * where u is the mean of the rows attached to the file to keep away from. A file to be
 * like is the mean of its rows here: moved apart, its rows would ask for different
 * things. Under cosine, where lengths mean nothing, rows are normalised before they are
 * averaged, and so are q and u before they are subtracted; so beta is a share of the
 * query whatever the lengths of the vectors.
 *
 * Neither file is a hit.
 */
#include "search_i.h"

#define BETA_MAX 100.0f

/* Mean of n rows into out, normalised where the metric has directions alone. */
static vex_err mean(const struct search *s, const float *v, size_t n, double *out)
{
	uint32_t dim = s->spec.dim;
	bool cosine = s->spec.metric == VEX_COSINE;
	double norm = 0;

	memset(out, 0, dim * sizeof(*out));
	for (size_t i = 0; i < n; i++) {
		double scale = cosine ? (double)vex_norm(v + i * dim, dim) : 1;

		for (uint32_t j = 0; j < dim; j++)
			out[j] += (double)v[i * dim + j] / (scale * (double)n);
	}
	for (uint32_t j = 0; j < dim; j++)
		norm += out[j] * out[j];
	if (!cosine)
		return 0;
	if (!(norm > 0))
		return -EINVAL;
	for (uint32_t j = 0; j < dim; j++)
		out[j] /= sqrt(norm);
	return 0;
}

/* The rows of the file, found as those of a file to be like. */
static vex_err rows_of(struct search *s, float **rows, size_t *n)
{
	struct vex_query q = *s->q;
	struct search t = { .e = s->e,
			    .q = &q,
			    .problem = s->problem,
			    .r = s->r,
			    .space = s->space,
			    .spec = s->spec };
	vex_err err;

	q.like = s->q->unlike;
	err = query_like_file(&t);
	if (!err)
		err = query_like_rows(&t);
	s->unlike_node = t.like_node;
	*rows = t.own_vectors;
	*n = t.nq;
	free(t.like_path);
	return err;
}

/* One query, the mean of `n` rows, away from u, into out. */
static vex_err move(struct search *s, const float *v, size_t n, const double *u,
		    double *room, float *out)
{
	double beta = (double)s->q->beta;
	double len = 0;

	if (mean(s, v, n, room))
		return -EINVAL;
	for (uint32_t j = 0; j < s->spec.dim; j++) {
		room[j] -= beta * u[j];
		len += room[j] * room[j];
	}
	/* What rounding leaves of a difference of equals has no direction. */
	if (s->spec.metric == VEX_COSINE && !(len > 1e-12))
		return -EINVAL;
	for (uint32_t j = 0; j < s->spec.dim; j++) {
		out[j] = (float)room[j];
		if (!isfinite(out[j]))
			return -EINVAL;
	}
	return 0;
}

static vex_err move_all(struct search *s, const double *u, double *room)
{
	size_t each = s->one ? s->nq : 1, n = s->nq / each;
	uint32_t dim = s->spec.dim;
	vex_err err = 0;

	AUTO_FREE float *out = malloc(n * dim * sizeof(*out));
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; !err && i < n; i++)
		err = move(s, s->vectors + i * each * dim, each, u, room, out + i * dim);
	if (err)
		return err;
	free(s->own_vectors);
	s->vectors = s->own_vectors = take_ptr(&out);
	s->nq = n;
	s->one = false;
	return 0;
}

vex_err query_unlike(struct search *s)
{
	AUTO_FREE float *rows = NULL;
	size_t n = 0;
	vex_err err;

	vex_deep_only();
	if (!(s->q->beta > 0 && s->q->beta <= BETA_MAX)) {
		search_say(s, "beta is not above 0 and at most %g", (double)BETA_MAX);
		return -EINVAL;
	}
	if (s->spec.metric > VEX_IP) {
		search_say(s, "unlike: not under the metric of space %s", s->spec.name);
		return -EINVAL;
	}
	err = rows_of(s, &rows, &n);
	if (err)
		return err;
	AUTO_FREE double *u = malloc(2 * (size_t)s->spec.dim * sizeof(*u));
	if (!u)
		return -ENOMEM;
	err = mean(s, rows, n, u);
	if (!err)
		err = move_all(s, u, u + s->spec.dim);
	if (err == -EINVAL)
		search_say(s, "like and unlike cancel each other out");
	return err;
}
