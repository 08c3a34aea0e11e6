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

/* ---- codes: what a graph traversal reads ----------------------------------------- */

/*
 * A vector in a form that is shorter than its row, as a record of fixed size: what the
 * form says and, at its end, a few floats, so that nothing need be trained and vectors of
 * any length are welcome. Distances from codes are monotone in the metric's own: cosine
 * 1 - cos, ip -dot, l2 squared; what overflows is FLT_MAX.
 *
 *   none  float32, 4 bytes a dimension
 *   f16   binary16 of v / scale, 2 bytes
 *   sq8   1 byte; as good as f16 in all but very few sets, and faster in all tried
 *   bit   1 bit: whether v[i] is above the vector's mean; coarse, for long vectors
 */
enum vex_quant {
	VEX_QUANT_DEFAULT = 0, /* sq8 */
	VEX_QUANT_F16 = 1,
	VEX_QUANT_SQ8 = 2,
	VEX_QUANT_BIT = 3,
	VEX_QUANT_NONE = 4
};
#define VEX_QUANTS 5u

/* Bytes of a record, a multiple of 64; records are aligned as such. */
size_t vex_code_stride(enum vex_quant quant, uint32_t dim);
void vex_code_encode(enum vex_quant quant, enum vex_metric metric, const float *v,
		     uint32_t dim, uint8_t *rec);

struct vex_code_query;
/* out[i] = distance to the record base + ids[i] * stride. */
typedef void (*vex_code_fn)(const struct vex_code_query *q, const uint8_t *base,
			    size_t stride, const uint32_t *ids, size_t n, float *out);

struct vex_code_query {
	vex_code_fn distances;
	const void *codes;
	uint32_t dim, blocks; /* of 64 codes */
	uint32_t tail;        /* offset of the floats in a record */
	int32_t bias;
	float mul, base; /* distance = base + add of record - dot x mul x mul' */
	float sum;       /* bit: of the query's elements */
};
/* `room`: vex_code_room bytes, 64-aligned, for the query's codes; kept by the caller. */
size_t vex_code_room(enum vex_quant quant, uint32_t dim);
void vex_code_query(enum vex_quant quant, enum vex_metric metric, const float *v,
		    uint32_t dim, void *room, struct vex_code_query *q);
/* The same from a record: what vector it stands for. */
void vex_code_query_rec(enum vex_quant quant, enum vex_metric metric, const uint8_t *rec,
			uint32_t dim, void *room, struct vex_code_query *q);
/* A kernel by name, "scalar" (the reference), "avx2" or "avx512", NULL where this CPU has
 * no such; without a name the one in force. */
vex_code_fn vex_code_kernel(enum vex_quant quant, const char *name);

#endif
