/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernel: the forms of codes, and what they share. */
#ifndef VEXFS_CODE_I_H
#define VEXFS_CODE_I_H

#include <float.h>
#include <string.h>
#include <vexfs/kernel.h>

/* Compiled for several CPUs, as in distance.c. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CODE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CODE_CLONES
#endif

/* Of a record, at its end. distance = base + add - dot x mul of query x mul. */
struct tail {
	float mul, add;
};

/* One form of codes. Kernels are NULL where this build has none. */
struct code_form {
	size_t (*stride)(uint32_t dim);
	size_t (*room)(uint32_t dim);
	void (*encode)(enum vex_metric metric, const float *v, uint32_t dim,
		       uint8_t *rec);
	void (*query)(enum vex_metric metric, const float *v, uint32_t dim, void *room,
		      struct vex_code_query *q);
	void (*query_rec)(enum vex_metric metric, const uint8_t *rec, uint32_t dim,
			  void *room, struct vex_code_query *q);
	vex_code_fn scalar, avx2, avx512;
};

extern const struct code_form code_f32, code_f16, code_sq8, code_bit;

/* Whole cache lines. */
static inline size_t code_lines(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

/* The least power of two that no element's size exceeds; 1 for nothing but zeros. */
float code_scale(const float *v, uint32_t dim);
float code_max_abs(const float *v, uint32_t dim);
/* Whole numbers nearest to v x inv, at most 127 in size; the sum of their squares. */
int32_t code_round(const float *v, uint32_t dim, float inv, int8_t *out);

/* What overflowed is clamped; what is undefined is farthest. */
static inline float code_finite(float d)
{
	d = d < FLT_MAX ? d : FLT_MAX;
	return d > -FLT_MAX ? d : -FLT_MAX;
}

#endif
