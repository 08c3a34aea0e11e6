/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The traversal in plain C, the way down the upper layers, and the choice of version:
 * by CPU, or by VEXFS_KERNEL (anything but "avx512" is plain).
 */
#include "beam_i.h"

bool beam_stopped(const struct beam *b, const struct context *c)
{
	if (c->distances >= vex_bound_left(b->bound))
		b->bound->met = true;
	return b->bound->met || vex_bound_late(b->bound);
}

static inline uint32_t ops_unseen(const uint64_t *seen, const uint32_t *row,
				  uint32_t room, uint32_t *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < room; i++) {
		/* Acquire: whoever wrote the link had written the record before it. (The
		 * AVX-512 version has that from x86's order of loads.) */
		uint32_t id = atomic_load_explicit((const _Atomic uint32_t *)&row[i],
						   memory_order_acquire);

		if (id == NONE)
			break;
		/* Branch-free: half of them are seen, at random. */
		out[n] = id;
		n += !(seen[id >> 6] >> (id & 63) & 1);
	}
	return n;
}

static inline uint32_t ops_near(const float *dist, uint32_t n, float far)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < n; i++)
		mask |= (uint32_t)(dist[i] <= far) << i;
	return mask;
}

/* First index whose distance is above d. */
static inline uint32_t place_for(const struct pool *p, float d)
{
	uint32_t lo = 0, n = p->n;

	while (n) {
		uint32_t half = n / 2;
		bool right = p->dist[lo + half] <= d;

		lo = right ? lo + half + 1 : lo;
		n = right ? n - half - 1 : half;
	}
	return lo;
}

static inline void ops_insert(struct pool *p, float d, uint32_t node)
{
	uint32_t at;

	if (p->n == p->cap) {
		if (d >= p->dist[p->n - 1])
			return;
		p->n--;
	}
	at = place_for(p, d);
	memmove(p->dist + at + 1, p->dist + at, (p->n - at) * sizeof(*p->dist));
	memmove(p->id + at + 1, p->id + at, (p->n - at) * sizeof(*p->id));
	p->dist[at] = d;
	p->id[at] = node;
	p->n++;
	if (at < p->next)
		p->next = at;
}

#define BEAM_SEARCH beam_search_plain
#define BEAM_DESCEND beam_descend_plain
#include "beam_body.h"

struct version {
	void (*search)(const struct vex_hnsw *, struct context *, uint32_t,
		       const struct beam *);
	uint32_t (*descend)(const struct vex_hnsw *, struct context *, uint32_t, uint32_t,
			    uint32_t, uint32_t);
};

static const struct version plain = { beam_search_plain, beam_descend_plain };
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
static const struct version avx512 = { beam_search_avx512, beam_descend_avx512 };
#endif

static const struct version *choose(void)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	const char *want = getenv("VEXFS_KERNEL");

	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512dq") && (!want || !strcmp(want, "avx512")))
		return &avx512;
#endif
	return &plain;
}

static const struct version *version(void)
{
	static const struct version *_Atomic chosen;
	const struct version *v = chosen;

	if (!v)
		chosen = v = choose();
	return v;
}

void beam_search(const struct vex_hnsw *h, struct context *c, uint32_t entry,
		 const struct beam *b)
{
	version()->search(h, c, entry, b);
}

uint32_t beam_descend(const struct vex_hnsw *h, struct context *c, uint32_t entry,
		      uint32_t from, uint32_t to, uint32_t keep)
{
	return version()->descend(h, c, entry, from, to, keep);
}
