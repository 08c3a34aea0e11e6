/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel: distances between vectors.
 *
 * Two kinds of numbers. "Scan" numbers come from OpenBLAS in blocks (sgemv,
 * sgemm): raw inner products in float32, fast, with a known error bound. "Exact"
 * numbers come one pair at a time, summed in double: they are what a user sees
 * and what decides an order. A scan keeps every row whose scan number could still
 * belong to the answer (vex_cut), and lets the exact number decide.
 *
 * All functions are thread-safe and allocate nothing.
 */
#ifndef VEXFS_KERNEL_H
#define VEXFS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vex_metric {
	VEX_COSINE = 0,
	VEX_L2 = 1,
	VEX_IP = 2,
	VEX_L1 = 3,      /* sum of |a - b| */
	VEX_HAMMING = 4, /* bit alone: how many differ */
	VEX_JACCARD = 5, /* bit alone: 1 - both / either; 0 where both are all zeros */
};

#define VEX_DIM_MAX 16384u

/* ---- rows of any element type ---------------------------------------------------- */

enum vex_elem { VEX_F32 = 0, VEX_F16 = 1, VEX_I8 = 2, VEX_I16 = 3, VEX_BIT = 4 };

/*
 * What the bytes of a row mean. Every row stands for `dim` float32 numbers, its decoded
 * form, and all distances are those of the decoded numbers: of f16 the same values; of
 * i8 and i16 (float)(value x scale); of bit 0 and 1, dimension i being bit i % 8 (the
 * least significant is 0) of byte i / 8. Bits past the last dimension mean nothing.
 */
struct vex_layout {
	uint32_t dim;
	uint8_t type; /* enum vex_elem */
	double
	    scale; /* of i8 and i16; 0: the numbers are whole, and stand for themselves */
};
/* Bytes of a row. */
size_t vex_row_bytes(uint8_t type, uint32_t dim);
/* Elements first .. first + n - 1 of a row, decoded. */
void vex_row_decode(const struct vex_layout *l, const void *row, uint32_t first,
		    uint32_t n, float *out);
/*
 * Numbers (finite ones) to a row: f16 to the nearest, ties to even; i8 and i16: value /
 * scale to the nearest, ties to even, or without a scale whole numbers alone; bit: 1
 * where above 0. False: out of range, or not whole.
 */
bool vex_row_encode(const struct vex_layout *l, const float *v, void *row);
/* No NaN, no Inf; all zeros only if zero_ok. */
bool vex_row_ok(const struct vex_layout *l, const void *row, bool zero_ok);
/* Square root of the sum of squares of the decoded row. */
double vex_row_norm(const struct vex_layout *l, const void *row);
/* As vex_distance, between numbers and a row. Under hamming and jaccard the numbers
 * count as bits, as vex_row_encode makes them. */
float vex_row_distance(const struct vex_layout *l, enum vex_metric metric, const float *q,
		       const void *row, double qq);
/* Which metrics go with a type: hamming and jaccard with bit, and bit with them alone. */
bool vex_metric_fits(uint8_t metric, uint8_t type);

/*
 * A scan of rows where they lie. A score is greater for nearer rows: the inner product
 * of cosine, l2 and ip, else the negated distance. Scores are sums of floats; a row
 * whose vex_row_distance is within `limit` always passes vex_score_cut(q, limit), by
 * vex_cut_mask over scores and norms. AVX-512, AVX2 or plain C, chosen at run time, or
 * by VEXFS_KERNEL=avx512|avx2|scalar.
 */
struct vex_score_query {
	struct vex_layout layout;
	enum vex_metric metric;
	const float *q;
	const uint64_t *bits; /* of bit: q as a row, zeros behind it */
	uint32_t ones;        /* in it */
	double size;          /* norm of q; of l1 its sum of |q| */
};
/* Bytes of `room`, a multiple of 64; 0 for most. 64-aligned. */
size_t vex_score_room(const struct vex_layout *l);
/* q and room (kept by the caller) are borrowed. */
void vex_score_query(const struct vex_layout *l, enum vex_metric metric, const float *q,
		     void *room, struct vex_score_query *out);
void vex_scores(const struct vex_score_query *q, const void *rows, size_t n, float *out);
/* By plain C, which the others are tested against. */
void vex_scores_scalar(const struct vex_score_query *q, const void *rows, size_t n,
		       float *out);
/* Whether OpenBLAS does it instead (vex_dots): float32 rows, inner products. */
static inline bool vex_score_by_blas(const struct vex_layout *l, enum vex_metric metric)
{
	return l->type == VEX_F32 && metric <= VEX_IP;
}

/*
 * Prepares OpenBLAS: its own threads off. Returns true where the process should
 * set OPENBLAS_CORETYPE (out) and re-exec itself to get the better core: OpenBLAS
 * 0.3.21 takes its AVX2 kernels on AVX-512 AMD CPUs, and reads the variable only
 * when it is loaded. VEXFS_BLAS_CORE in the environment names another.
 */
bool vex_kernel_wants_reexec(const char **coretype);
void vex_kernel_init(void);
/* Name of the OpenBLAS core in force, as "SkylakeX". */
const char *vex_kernel_core(void);

/* The sum of squares, in double, and its square root. */
double vex_square(const float *v, uint32_t dim);
double vex_norm(const float *v, uint32_t dim);

/* Exact distance of one pair: `metric` as SPEC section 3, clamped to the finite
 * float range; none but ip below 0, and 0 for equal vectors. qq: vex_square(q). Not for
 * hamming and jaccard: these are vex_row_distance's.
 */
float vex_distance(enum vex_metric metric, const float *q, const float *v, uint32_t dim,
		   double qq);

/* dots[i] = <q, rows[i]>, i < n; rows contiguous, n x dim (cblas_sgemv). */
void vex_dots(const float *q, const float *rows, size_t n, uint32_t dim, float *dots);

/* dots[j * n + i] = <qs[j], rows[i]>, j < nq (cblas_sgemm). */
void vex_dots_batch(const float *qs, size_t nq, const float *rows, size_t n, uint32_t dim,
		    float *dots);

/*
 * The cut of a scan: which inner products may belong to hits within `limit`. Rows pass
 * where dot >= a + b x norm + c x norm^2; the constants leave room for the rounding of
 * the inner product and of themselves, so no row whose vex_distance is <= limit is ever
 * cut off. Overflown or undefined products pass: the exact number decides.
 */
struct vex_cut {
	float a, b, c;
};
struct vex_cut vex_cut_make(enum vex_metric metric, float limit, uint32_t dim, double nq);
/* For scores of any metric. */
struct vex_cut vex_score_cut(const struct vex_score_query *q, float limit);
/* Bit i: row i passes; n <= 64. */
uint64_t vex_cut_mask(const struct vex_cut *cut, const float *dots, const float *norms,
		      unsigned n);
/* The same by plain C, which the others are tested against. */
uint64_t vex_cut_mask_scalar(const struct vex_cut *cut, const float *dots,
			     const float *norms, unsigned n);

/* ---- sq8: one byte a dimension ------------------------------------------------- */

/*
 * What a graph traversal reads: a vector as one byte a dimension with a scale of its
 * own, so that nothing need be trained and vectors of any length are welcome. A record:
 *   dim bytes    round(v[i] / scale) + 128, scale = max|v| / 127
 *   padding
 *   float mul    cosine: scale / norm; else scale
 *   float add    l2: the squared norm of what the codes stand for; else 0
 * and is a multiple of 64 bytes, to be aligned as such. Distances from codes ("sq8
 * distances") are monotone in the metric's own: cosine 1 - cos, ip -dot, l2 squared.
 * Bytes are unsigned because VPDPBUSD multiplies unsigned by signed: the query is the
 * signed side, and 128 times its sum is taken off again.
 */
size_t vex_sq8_stride(uint32_t dim);
void vex_sq8_encode(enum vex_metric metric, const float *v, uint32_t dim, uint8_t *rec);

struct vex_sq8_query {
	const int8_t *codes; /* padded with zeros to a multiple of 64, 64-aligned */
	uint32_t blocks;     /* of 64 codes */
	uint32_t tail;       /* offset of mul and add in a record */
	int32_t bias;        /* 128 x sum of codes */
	float mul, add;      /* distance = base + add of record - dot x mul x mul' */
	float base;
};
/* `room`: vex_sq8_stride(dim) bytes, 64-aligned, for the codes; kept by the caller. */
void vex_sq8_query(enum vex_metric metric, const float *v, uint32_t dim, int8_t *room,
		   struct vex_sq8_query *q);
/* The same from a record: what vector it stands for. */
void vex_sq8_query_rec(enum vex_metric metric, const uint8_t *rec, uint32_t dim,
		       int8_t *room, struct vex_sq8_query *q);
/* out[i] = distance to the record base + ids[i] * stride. */
void vex_sq8_distances(const struct vex_sq8_query *q, const uint8_t *base, size_t stride,
		       const uint32_t *ids, size_t n, float *out);
void vex_sq8_distances_scalar(const struct vex_sq8_query *q, const uint8_t *base,
			      size_t stride, const uint32_t *ids, size_t n, float *out);

#endif
