/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernel: what its files offer each other. */
#ifndef VEXFS_KERNEL_I_H
#define VEXFS_KERNEL_I_H

#include <vexfs/kernel.h>

/* distance.c: <q, row>, in double. */
double row_dot(const struct vex_layout *l, const float *q, const void *row);

/* bits.c: hamming or jaccard of numbers (above 0: 1) and a row of bits. */
float bits_distance(enum vex_metric metric, const float *q, const uint8_t *row,
		    uint32_t dim);
uint32_t bits_ones(const uint8_t *row, uint32_t dim);
/* The distance for many rows and a query that is bits already, negated: scores. */
void bits_scores(const struct vex_score_query *q, const uint8_t *rows, size_t n,
		 float *out);
void bits_scores_scalar(const struct vex_score_query *q, const uint8_t *rows, size_t n,
			float *out);

/*
 * Rows come one behind the other, but a hardware prefetcher that sees several rows read
 * side by side follows none of them: so what lies this far ahead is asked for by hand.
 * Past the end it asks for nothing that would fault.
 */
#ifndef FETCH_AHEAD
#define FETCH_AHEAD 8192u
#endif
static inline void fetch_ahead(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch((const void *)((uintptr_t)p + FETCH_AHEAD + i));
}

/* VEXFS_KERNEL does not ask for another one. */
bool kernel_allowed(const char *name);

/* score_avx512.c, score_avx2.c: of every type but bit; NULL where the CPU cannot. */
typedef void (*scores_fn)(const struct vex_score_query *q, const uint8_t *rows, size_t n,
			  float *out);
scores_fn scores_avx512(uint8_t type, enum vex_metric metric);
scores_fn scores_avx2(uint8_t type, enum vex_metric metric);

#endif
