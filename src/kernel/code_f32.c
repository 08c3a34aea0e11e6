/* SPDX-License-Identifier: Apache-2.0 */
/*
 * none: the vector itself, in float32, divided by a power of two so that no product
 * overflows. A record: dim floats, padding, mul, add (struct tail): mul is the power (for
 * cosine 1 / norm of what is stored), add the squared norm under l2.
 */
#include <math.h>
#include "code_i.h"

static size_t stride(uint32_t dim)
{
	return code_lines(dim * sizeof(float) + sizeof(struct tail));
}

static size_t room_for(uint32_t dim)
{
	return code_lines(dim * sizeof(float));
}

static uint32_t tail_at(uint32_t dim)
{
	return (uint32_t)(stride(dim) - sizeof(struct tail));
}

/* v / scale to out; mul and add. */
static struct tail store(enum vex_metric metric, const float *v, uint32_t dim, float *out)
{
	float scale = code_scale(v, dim);
	struct tail t = { scale, 0 };
	double norm;

	for (uint32_t i = 0; i < dim; i++)
		out[i] = v[i] / scale;
	norm = vex_norm(out, dim);
	if (metric == VEX_COSINE)
		t.mul = norm > 0 ? (float)(1 / norm) : 0;
	else if (metric == VEX_L2)
		t.add = (float)(norm * (double)scale * norm * (double)scale);
	return t;
}

static void encode(enum vex_metric metric, const float *v, uint32_t dim, uint8_t *rec)
{
	struct tail t;

	memset(rec, 0, stride(dim));
	t = store(metric, v, dim, (float *)(void *)rec);
	memcpy(rec + tail_at(dim), &t, sizeof(t));
}

static void finish_query(enum vex_metric metric, uint32_t dim, const void *codes,
			 struct tail t, struct vex_code_query *q)
{
	*q = (struct vex_code_query){
		.codes = codes,
		.dim = dim,
		.tail = tail_at(dim),
		.mul = metric == VEX_L2 ? 2 * t.mul : t.mul,
		.base = metric == VEX_COSINE ? 1 : t.add,
	};
}

static void query(enum vex_metric metric, const float *v, uint32_t dim, void *room,
		  struct vex_code_query *q)
{
	finish_query(metric, dim, room, store(metric, v, dim, room), q);
}

static void query_rec(enum vex_metric metric, const uint8_t *rec, uint32_t dim,
		      void *room, struct vex_code_query *q)
{
	struct tail t;

	memcpy(&t, rec + tail_at(dim), sizeof(t));
	memcpy(room, rec, dim * sizeof(float));
	finish_query(metric, dim, room, t, q);
}

static inline float finish(const struct vex_code_query *q, const uint8_t *rec, float dot)
{
	struct tail t;

	memcpy(&t, rec + q->tail, sizeof(t));
	return code_finite(q->base + t.add - dot * q->mul * t.mul);
}

static void distances_scalar(const struct vex_code_query *q, const uint8_t *base,
			     size_t step, const uint32_t *ids, size_t n, float *out)
{
	const float *codes = q->codes;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		const float *v = (const float *)(const void *)rec;
		float dot = 0;

		for (uint32_t j = 0; j < q->dim; j++)
			dot += v[j] * codes[j];
		out[i] = finish(q, rec, dot);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static void
distances_avx512(const struct vex_code_query *q, const uint8_t *base, size_t step,
		 const uint32_t *ids, size_t n, float *out)
{
	const float *codes = q->codes;
	uint32_t whole = q->dim & ~15u;
	__mmask16 rest = (__mmask16)((1u << (q->dim & 15)) - 1);

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		const float *v = (const float *)(const void *)rec;
		__m512 a = _mm512_setzero_ps(), b = a;
		uint32_t j = 0;

		for (; j + 32 <= whole; j += 32) {
			a = _mm512_fmadd_ps(_mm512_load_ps(v + j),
					    _mm512_load_ps(codes + j), a);
			b = _mm512_fmadd_ps(_mm512_load_ps(v + j + 16),
					    _mm512_load_ps(codes + j + 16), b);
		}
		if (j < whole)
			a = _mm512_fmadd_ps(_mm512_load_ps(v + j),
					    _mm512_load_ps(codes + j), a);
		b = _mm512_fmadd_ps(_mm512_maskz_load_ps(rest, v + whole),
				    _mm512_maskz_load_ps(rest, codes + whole), b);
		out[i] = finish(q, rec, _mm512_reduce_add_ps(_mm512_add_ps(a, b)));
	}
}

__attribute__((target("avx2,fma"))) static void
distances_avx2(const struct vex_code_query *q, const uint8_t *base, size_t step,
	       const uint32_t *ids, size_t n, float *out)
{
	const float *codes = q->codes;
	uint32_t whole = q->dim & ~7u;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * step;
		const float *v = (const float *)(const void *)rec;
		__m256 a = _mm256_setzero_ps();
		float part[8], dot = 0;

		for (uint32_t j = 0; j < whole; j += 8)
			a = _mm256_fmadd_ps(_mm256_load_ps(v + j),
					    _mm256_load_ps(codes + j), a);
		_mm256_storeu_ps(part, a);
		for (uint32_t j = 0; j < 8; j++)
			dot += part[j];
		for (uint32_t j = whole; j < q->dim; j++)
			dot += v[j] * codes[j];
		out[i] = finish(q, rec, dot);
	}
}
#endif

const struct code_form code_f32 = {
	.stride = stride,
	.room = room_for,
	.encode = encode,
	.query = query,
	.query_rec = query_rec,
	.scalar = distances_scalar,
#if defined(__x86_64__)
	.avx2 = distances_avx2,
	.avx512 = distances_avx512,
#endif
};
