/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scores of rows of any type, read where they lie: what a scan rules rows out by.
 *
 * Rows are widened to float32 in registers and multiplied with the float32 query: at the
 * speed of memory for rows of one or two bytes a dimension, with the error bound of any
 * float32 sum (cut.c), and no rounding of the query. The kernel is chosen once a type.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kernel_i.h"

bool kernel_allowed(const char *name)
{
	const char *want = getenv("VEXFS_KERNEL");

	return !want || !strcmp(want, name);
}

size_t vex_score_room(const struct vex_layout *l)
{
	if (l->type != VEX_BIT)
		return 0;
	return (vex_row_bytes(VEX_BIT, l->dim) + 63) & ~(size_t)63;
}

static double sum_abs(const float *v, uint32_t dim)
{
	double s = 0;

	for (uint32_t i = 0; i < dim; i++)
		s += fabs((double)v[i]);
	return s;
}

void vex_score_query(const struct vex_layout *l, enum vex_metric metric, const float *q,
		     void *room, struct vex_score_query *out)
{
	*out = (struct vex_score_query){ .layout = *l, .metric = metric, .q = q };
	if (l->type != VEX_BIT) {
		out->size = metric == VEX_L1 ? sum_abs(q, l->dim) : vex_norm(q, l->dim);
		return;
	}
	memset(room, 0, vex_score_room(l));
	vex_row_encode(l, q, room);
	out->bits = room;
	for (uint32_t w = 0; w * 64 < l->dim; w++)
		out->ones += (uint32_t)__builtin_popcountll(out->bits[w]);
}

void vex_scores_scalar(const struct vex_score_query *q, const void *rows, size_t n,
		       float *out)
{
	size_t stride = vex_row_bytes(q->layout.type, q->layout.dim);
	const uint8_t *row = rows;

	if (q->layout.type == VEX_BIT) {
		bits_scores_scalar(q, rows, n, out);
		return;
	}
	for (size_t i = 0; i < n; i++, row += stride)
		out[i] = q->metric == VEX_L1
			     ? -vex_row_distance(&q->layout, VEX_L1, q->q, row, 0)
			     : (float)row_dot(&q->layout, q->q, row);
}

static void by_plain_c(const struct vex_score_query *q, const uint8_t *rows, size_t n,
		       float *out)
{
	vex_scores_scalar(q, rows, n, out);
}

static scores_fn choose(uint8_t type, enum vex_metric metric)
{
	scores_fn fn = scores_avx512(type, metric);

	if (!fn)
		fn = scores_avx2(type, metric);
	return fn ? fn : by_plain_c;
}

void vex_scores(const struct vex_score_query *q, const void *rows, size_t n, float *out)
{
	/* Several threads may choose at once: they choose the same. */
	static _Atomic(scores_fn) chosen[VEX_BIT][2];
	uint8_t type = q->layout.type;
	scores_fn fn;

	if (type == VEX_BIT) {
		bits_scores(q, rows, n, out);
		return;
	}
	fn = chosen[type][q->metric == VEX_L1];
	if (!fn)
		chosen[type][q->metric == VEX_L1] = fn = choose(type, q->metric);
	fn(q, rows, n, out);
}
