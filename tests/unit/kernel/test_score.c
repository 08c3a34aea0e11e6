/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of every type, metric and kernel: near the exact number, never cutting off a
 * row that belongs to the answer, and reading nothing past the last row. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kernel_i.h"

TestSuite(score, .timeout = 120);

#define ROWS 11u

struct set {
	struct vex_layout l;
	enum vex_metric metric;
	float *q;
	uint8_t *rows; /* exactly as long as the rows: ASan sees a read past them */
	void *room;
	struct vex_score_query sq;
	float exact[ROWS], norms[ROWS], scores[ROWS];
};

static float uniform(unsigned *seed)
{
	return (float)rand_r(seed) / (float)RAND_MAX * 2 - 1;
}

static void fill_row(const struct vex_layout *l, float spread, unsigned *seed, float *v,
		     uint8_t *row)
{
	for (uint32_t i = 0; i < l->dim; i++) {
		double unit = l->scale > 0 ? l->scale : 1;

		if (l->type == VEX_I8)
			v[i] = (float)(rintf(uniform(seed) * 127) * unit);
		else if (l->type == VEX_I16)
			v[i] = (float)(rintf(uniform(seed) * 32767) * unit);
		else
			v[i] = uniform(seed) * (l->type == VEX_F32 ? spread : 8);
	}
	cr_assert(vex_row_encode(l, v, row));
}

static struct set *make(struct vex_layout l, enum vex_metric m, float spread,
			unsigned *seed)
{
	struct set *s = calloc(1, sizeof(*s));
	size_t stride = vex_row_bytes(l.type, l.dim), room = vex_score_room(&l);
	float *v = malloc(l.dim * sizeof(float));

	s->l = l;
	s->metric = m;
	s->q = malloc(l.dim * sizeof(float));
	s->rows = malloc(stride * ROWS);
	s->room = room ? aligned_alloc(64, room) : NULL;
	for (unsigned i = 0; i < ROWS; i++) {
		fill_row(&l, spread, seed, v, s->rows + i * stride);
		if (i == 3) /* a near duplicate of the query */
			memcpy(s->q, v, l.dim * sizeof(float));
		if (i == 3)
			s->q[l.dim / 2] *= 1 + 3 * FLT_EPSILON;
	}
	if (l.type == VEX_BIT && l.dim % 8) /* bits that mean nothing */
		for (unsigned i = 0; i < ROWS; i += 2)
			s->rows[(i + 1) * stride - 1] |= (uint8_t)(0xff << l.dim % 8);
	for (unsigned i = 0; i < ROWS; i++) {
		const uint8_t *row = s->rows + i * stride;

		s->norms[i] = (float)vex_row_norm(&l, row);
		s->exact[i] = vex_row_distance(&l, m, s->q, row, vex_square(s->q, l.dim));
	}
	vex_score_query(&l, m, s->q, s->room, &s->sq);
	free(v);
	return s;
}

static void drop(struct set *s)
{
	free(s->q);
	free(s->rows);
	free(s->room);
	free(s);
}

static void never_loses(struct set *s, const char *kernel)
{
	for (unsigned j = 0; j < ROWS; j++) {
		struct vex_cut cut = vex_score_cut(&s->sq, s->exact[j]);
		uint64_t mask = vex_cut_mask(&cut, s->scores, s->norms, ROWS);

		for (unsigned i = 0; i < ROWS; i++)
			cr_assert(s->exact[i] > s->exact[j] || mask >> i & 1,
				  "%s: type %u metric %d dim %u scale %g: row %u at %.9g "
				  "(score %.9g) lost at %.9g",
				  kernel, s->l.type, s->metric, s->l.dim, s->l.scale, i,
				  s->exact[i], s->scores[i], s->exact[j]);
	}
}

/* So a cut that passes everything fools nobody. */
static void near(struct set *s, const char *kernel)
{
	for (unsigned i = 0; i < ROWS; i++) {
		double size = s->sq.size * (s->metric == VEX_L1 ? 1 : s->norms[i]);
		double want =
		    s->metric == VEX_L1 || s->l.type == VEX_BIT
			? -(double)s->exact[i]
			: row_dot(&s->l, s->q,
				  s->rows + i * vex_row_bytes(s->l.type, s->l.dim));

		if (!isfinite(s->scores[i])) /* passes every cut */
			continue;
		cr_assert_leq(fabs(s->scores[i] - want),
			      1e-6 * (size + fabs(want)) + FLT_MIN,
			      "%s: type %u metric %d dim %u: score %.9g, want %.9g",
			      kernel, s->l.type, s->metric, s->l.dim, s->scores[i], want);
	}
}

static void run(struct set *s, scores_fn fn, const char *kernel, unsigned n)
{
	for (unsigned i = 0; i < ROWS; i++)
		s->scores[i] = NAN;
	fn(&s->sq, s->rows, n, s->scores);
	for (unsigned i = n; i < ROWS; i++)
		cr_assert(isnan(s->scores[i]), "%s wrote past %u rows", kernel, n);
	if (n < ROWS)
		return;
	near(s, kernel);
	never_loses(s, kernel);
}

static void plain(const struct vex_score_query *q, const uint8_t *rows, size_t n,
		  float *out)
{
	vex_scores_scalar(q, rows, n, out);
}

static void chosen(const struct vex_score_query *q, const uint8_t *rows, size_t n,
		   float *out)
{
	vex_scores(q, rows, n, out);
}

static void all_kernels(struct vex_layout l, enum vex_metric m, float spread,
			unsigned *seed)
{
	struct set *s = make(l, m, spread, seed);
	unsigned n = (unsigned)rand_r(seed) % ROWS;

	run(s, plain, "scalar", ROWS);
	run(s, chosen, "chosen", ROWS);
	run(s, chosen, "chosen", n);
	if (l.type != VEX_BIT && scores_avx2(l.type, m)) {
		run(s, scores_avx2(l.type, m), "avx2", ROWS);
		run(s, scores_avx2(l.type, m), "avx2", n);
	}
	if (l.type != VEX_BIT && scores_avx512(l.type, m)) {
		run(s, scores_avx512(l.type, m), "avx512", ROWS);
		run(s, scores_avx512(l.type, m), "avx512", n);
	}
	drop(s);
}

static void every_metric(struct vex_layout l, float spread, unsigned *seed)
{
	for (int m = VEX_COSINE; m <= VEX_JACCARD; m++)
		if (vex_metric_fits((uint8_t)m, l.type))
			all_kernels(l, (enum vex_metric)m, spread, seed);
}

Test(score, never_loses_a_row_at_any_dimension)
{
	unsigned seed = 20261120;

	cr_log_info("seed %u", seed);
	for (uint32_t dim = 1; dim <= 1100; dim++)
		for (uint8_t t = VEX_F32; t <= VEX_BIT; t++) {
			struct vex_layout l = { .dim = dim, .type = t };

			every_metric(l, 1, &seed);
			if (t != VEX_I8 && t != VEX_I16)
				continue;
			l.scale = 0.0173;
			every_metric(l, 1, &seed);
		}
}

Test(score, never_loses_a_row_at_any_magnitude)
{
	static const float spreads[] = { 1e-22f, 1e-12f, 1e6f, 1e18f, 1e30f };
	static const double scales[] = { 1e-30, 1e-9, 1e9, 1e30 };
	unsigned seed = 5;

	for (uint32_t dim = 1; dim <= 16384; dim = dim * 5 + 1) {
		for (size_t i = 0; i < sizeof(spreads) / sizeof(*spreads); i++)
			every_metric((struct vex_layout){ .dim = dim, .type = VEX_F32 },
				     spreads[i], &seed);
		for (size_t i = 0; i < sizeof(scales) / sizeof(*scales); i++)
			every_metric((struct vex_layout){ .dim = dim,
							  .type = VEX_I16,
							  .scale = scales[i] },
				     1, &seed);
	}
}

Test(score, the_chosen_kernel_can_be_named)
{
	setenv("VEXFS_KERNEL", "scalar", 1);
	cr_assert_null(scores_avx512(VEX_F16, VEX_L2));
	cr_assert_null(scores_avx2(VEX_F16, VEX_L2));
	setenv("VEXFS_KERNEL", "avx2", 1);
	cr_assert_null(scores_avx512(VEX_F16, VEX_L2));
}
