/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sq8: encoding, and distances of one query to many records.
 *
 * Four records are taken together, so that the four sums are reduced in one go: at 100
 * dimensions the reduction costs more than the products. The kernel is chosen at run
 * time (AVX-512 VNNI, AVX2, plain C), or by VEXFS_KERNEL=avx512|avx2|scalar for tests
 * and benches; all give the same integers, so the same distances.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vexfs/kernel.h>

struct tail {
	float mul, add;
};

typedef uint32_t float_bits __attribute__((may_alias));

static size_t tail_at(uint32_t dim)
{
	return vex_sq8_stride(dim) - sizeof(struct tail);
}

size_t vex_sq8_stride(uint32_t dim)
{
	return (dim + sizeof(struct tail) + 63) & ~(size_t)63;
}

/* Compiled for several CPUs, as in distance.c. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

/* Compared as whole numbers, which order as the floats do: a loop of fabsf and > is not
 * made vector code without -ffast-math, nor is lrintf below. */
CLONES static float max_abs(const float *v, uint32_t dim)
{
	const float_bits *bits = (const float_bits *)(const void *)v;
	uint32_t m = 0;
	float f;

	for (uint32_t i = 0; i < dim; i++) {
		uint32_t b = bits[i] & 0x7fffffffu;

		m = b > m ? b : m;
	}
	memcpy(&f, &m, sizeof(f));
	return f;
}

/* Whole numbers nearest to v x inv, half to even; returns the sum of their squares, below
 * 2^28. Added to 1.5 x 2^23 a float keeps no fraction, and its low bits are the number.
 */
CLONES static int32_t round_all(const float *v, uint32_t dim, float inv, int8_t *out)
{
	int32_t squares = 0;

	for (uint32_t i = 0; i < dim; i++) {
		float x = v[i] * inv;
		union {
			float f;
			int32_t i;
		} u;
		int32_t c;

		u.f = x + 0x1.8p23f;
		c = u.i - 0x4b400000;
		c = c > 127 ? 127 : c < -127 ? -127 : c;
		out[i] = (int8_t)c;
		squares += c * c;
	}
	return squares;
}

/* v as whole numbers -127 .. 127 and their scale. Returns the sum of their squares. */
static int32_t quantize(const float *v, uint32_t dim, int8_t *out, float *scale)
{
	float m = max_abs(v, dim), inv = 0;

	*scale = m / 127.0f;
	if (m > 0)
		inv = 127.0f / m;
	/* A denormal maximum has no reciprocal in float. */
	if (!isfinite(inv))
		inv = *scale = 0;
	return round_all(v, dim, inv, out);
}

/* mul and add of a vector whose codes have that scale and sum of squares. */
static struct tail tail_of(enum vex_metric metric, float scale, int32_t squares)
{
	double norm = sqrt((double)squares) * (double)scale;
	struct tail t = { scale, 0 };

	if (metric == VEX_COSINE)
		t.mul = squares ? (float)(1.0 / sqrt((double)squares)) : 0;
	else if (metric == VEX_L2)
		t.add = (float)(norm * norm);
	return t;
}

void vex_sq8_encode(enum vex_metric metric, const float *v, uint32_t dim, uint8_t *rec)
{
	struct tail t;
	float scale;
	int32_t squares;

	memset(rec, 128, vex_sq8_stride(dim));
	squares = quantize(v, dim, (int8_t *)rec, &scale);
	for (uint32_t i = 0; i < dim; i++)
		rec[i] ^= 0x80;
	t = tail_of(metric, scale, squares);
	memcpy(rec + tail_at(dim), &t, sizeof(t));
}

static void query_finish(enum vex_metric metric, uint32_t dim, const int8_t *codes,
			 struct tail t, struct vex_sq8_query *q)
{
	int32_t sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += codes[i];
	*q = (struct vex_sq8_query){
		.codes = codes,
		.blocks = (dim + 63) / 64,
		.tail = (uint32_t)tail_at(dim),
		.bias = 128 * sum,
		.mul = metric == VEX_L2 ? 2 * t.mul : t.mul,
		.add = t.add,
		.base = metric == VEX_COSINE ? 1 : t.add,
	};
}

void vex_sq8_query(enum vex_metric metric, const float *v, uint32_t dim, int8_t *room,
		   struct vex_sq8_query *q)
{
	float scale;
	int32_t squares;

	memset(room, 0, vex_sq8_stride(dim));
	squares = quantize(v, dim, room, &scale);
	query_finish(metric, dim, room, tail_of(metric, scale, squares), q);
}

void vex_sq8_query_rec(enum vex_metric metric, const uint8_t *rec, uint32_t dim,
		       int8_t *room, struct vex_sq8_query *q)
{
	struct tail t;

	memcpy(&t, rec + tail_at(dim), sizeof(t));
	memset(room + dim, 0, vex_sq8_stride(dim) - dim);
	for (uint32_t i = 0; i < dim; i++)
		room[i] = (int8_t)(rec[i] ^ 0x80);
	query_finish(metric, dim, room, t, q);
}

static inline float finish(const struct vex_sq8_query *q, const uint8_t *rec, int32_t dot)
{
	struct tail t;

	memcpy(&t, rec + q->tail, sizeof(t));
	return q->base + t.add - (float)(dot - q->bias) * (q->mul * t.mul);
}

void vex_sq8_distances_scalar(const struct vex_sq8_query *q, const uint8_t *base,
			      size_t stride, const uint32_t *ids, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * stride;
		int32_t dot = 0;

		for (uint32_t j = 0; j < q->blocks * 64; j++)
			dot += (int32_t)rec[j] * q->codes[j];
		out[i] = finish(q, rec, dot);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Sums of four registers of sixteen int32 each, as four int32. */
__attribute__((target("avx512f,avx512vnni"))) static inline __m128i
reduce4(__m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab =
	    _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
	__m512i cd =
	    _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
	__m512i s = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd),
				     _mm512_unpackhi_epi64(ab, cd));
	__m256i h =
	    _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

__attribute__((target("avx512f,avx512vnni"))) static void
distances_avx512(const struct vex_sq8_query *q, const uint8_t *base, size_t stride,
		 const uint32_t *ids, size_t n, float *out)
{
	size_t i = 0;

	for (; i < n; i += 4) {
		/* The last group repeats its last record. */
		const uint8_t *r0 = base + ids[i] * stride;
		const uint8_t *r1 = base + ids[i + 1 < n ? i + 1 : n - 1] * stride;
		const uint8_t *r2 = base + ids[i + 2 < n ? i + 2 : n - 1] * stride;
		const uint8_t *r3 = base + ids[i + 3 < n ? i + 3 : n - 1] * stride;
		__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
		int32_t dots[4];

		for (uint32_t j = 0; j < q->blocks; j++) {
			__m512i v = _mm512_load_si512(q->codes + 64 * j);

			a = _mm512_dpbusd_epi32(a, _mm512_load_si512(r0 + 64 * j), v);
			b = _mm512_dpbusd_epi32(b, _mm512_load_si512(r1 + 64 * j), v);
			c = _mm512_dpbusd_epi32(c, _mm512_load_si512(r2 + 64 * j), v);
			d = _mm512_dpbusd_epi32(d, _mm512_load_si512(r3 + 64 * j), v);
		}
		_mm_storeu_si128((__m128i *)(void *)dots, reduce4(a, b, c, d));
		out[i] = finish(q, r0, dots[0]);
		if (i + 1 < n)
			out[i + 1] = finish(q, r1, dots[1]);
		if (i + 2 < n)
			out[i + 2] = finish(q, r2, dots[2]);
		if (i + 3 < n)
			out[i + 3] = finish(q, r3, dots[3]);
	}
}

/* 32 codes widened to 16 bits: VPMADDUBSW would saturate. */
__attribute__((target("avx2"))) static inline __m256i
madd32(__m256i sum, const uint8_t *r, const int8_t *c)
{
	__m256i u = _mm256_load_si256((const __m256i *)(const void *)r);
	__m256i s = _mm256_load_si256((const __m256i *)(const void *)c);
	__m256i ul = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(u));
	__m256i uh = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(u, 1));
	__m256i sl = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(s));
	__m256i sh = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(s, 1));

	sum = _mm256_add_epi32(sum, _mm256_madd_epi16(ul, sl));
	return _mm256_add_epi32(sum, _mm256_madd_epi16(uh, sh));
}

__attribute__((target("avx2"))) static void
distances_avx2(const struct vex_sq8_query *q, const uint8_t *base, size_t stride,
	       const uint32_t *ids, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *rec = base + ids[i] * stride;
		__m256i s = _mm256_setzero_si256();
		__m128i h;

		for (uint32_t j = 0; j < 2 * q->blocks; j++)
			s = madd32(s, rec + 32 * j, q->codes + 32 * j);
		h = _mm_add_epi32(_mm256_castsi256_si128(s),
				  _mm256_extracti128_si256(s, 1));
		h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
		h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1));
		out[i] = finish(q, rec, _mm_cvtsi128_si32(h));
	}
}
#endif

typedef void (*distances_fn)(const struct vex_sq8_query *, const uint8_t *, size_t,
			     const uint32_t *, size_t, float *);

static bool forced(const char *name)
{
	const char *want = getenv("VEXFS_KERNEL");

	return !want || !strcmp(want, name);
}

static distances_fn choose(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512vnni") && forced("avx512"))
		return distances_avx512;
	if (__builtin_cpu_supports("avx2") && forced("avx2"))
		return distances_avx2;
#endif
	return vex_sq8_distances_scalar;
}

void vex_sq8_distances(const struct vex_sq8_query *q, const uint8_t *base, size_t stride,
		       const uint32_t *ids, size_t n, float *out)
{
	static _Atomic(distances_fn) chosen;
	distances_fn fn = chosen;

	if (!fn)
		chosen = fn = choose();
	fn(q, base, stride, ids, n, out);
}
