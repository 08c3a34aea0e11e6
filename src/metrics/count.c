/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting. A thread adds to the shard it was given by turns when it first counted, with
 * relaxed atomics: shards are shared only where there are more threads than shards, so
 * an addition hardly ever waits for a cache line. What a search costs more by it is in
 * docs/PERFORMANCE.md.
 */
#include "metrics_i.h"

struct shard metrics_shards[SHARDS];
_Atomic uint64_t metrics_errors[VEX_OP_COUNT][ERRNOS];

static const struct {
	const char *name, *class, *meaning;
	enum vex_limit limit;
} ops[] = {
#define X(id, n, c, l, m) { n, c, m, VEX_LIMIT_##l },
	VEX_OPS(X)
#undef X
};

const char *vex_op_name(enum vex_op op)
{
	return ops[op].name;
}

const char *vex_op_class(enum vex_op op)
{
	return ops[op].class;
}

const char *vex_op_meaning(enum vex_op op)
{
	return ops[op].meaning;
}

enum vex_limit limit_of(enum vex_op op)
{
	return ops[op].limit;
}

/* ---- buckets --------------------------------------------------------------------- */

unsigned bucket_of(uint64_t ns)
{
	unsigned top, b;

	if (ns < 1u << BUCKET_SHIFT)
		return 0;
	top = 63u - (unsigned)__builtin_clzll(ns);
	b = (top - BUCKET_SHIFT) * 4 + (unsigned)(ns >> (top - 2) & 3) + 1;
	return b < BUCKETS ? b : BUCKETS - 1;
}

uint64_t bucket_top(unsigned b)
{
	unsigned shift;

	if (!b)
		return (1u << BUCKET_SHIFT) - 1;
	shift = (b - 1) / 4 + BUCKET_SHIFT;
	return (1ull << shift) + ((uint64_t)((b - 1) % 4 + 1) << (shift - 2)) - 1;
}

/* ---- adding ---------------------------------------------------------------------- */

static struct shard *mine(void)
{
	static _Atomic unsigned turn;
	static _Thread_local struct shard *own;

	if (!own)
		own = &metrics_shards[atomic_fetch_add(&turn, 1) % SHARDS];
	return own;
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *to, uint64_t n)
{
	uint64_t was = atomic_load_explicit(to, memory_order_relaxed);

	while (was < n && !atomic_compare_exchange_weak_explicit(
			      to, &was, n, memory_order_relaxed, memory_order_relaxed))
		;
}

void vex_count(enum vex_counter c, uint64_t n)
{
	add(&mine()->counters[c], n);
}

bool vex_op_done(enum vex_op op, uint64_t ns, vex_err err)
{
	struct hist *h = &mine()->ops[op];
	uint64_t limit = vex_limit_get(ops[op].limit);

	add(&h->bucket[bucket_of(ns)], 1);
	add(&h->total, ns);
	raise_to(&h->max, ns);
	raise_to(&h->inverse_min, ~ns);
	if (err < 0)
		add(&metrics_errors[op][-err < (int)ERRNOS ? -err : 0], 1);
	if (!limit || ns <= limit)
		return false;
	vex_limit_crossed(ops[op].limit, ns);
	return true;
}

/* ---- reading --------------------------------------------------------------------- */

uint64_t vex_count_read(enum vex_counter c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SHARDS; i++)
		n += atomic_load_explicit(&metrics_shards[i].counters[c],
					  memory_order_relaxed);
	return n;
}

static void hist_add(const struct hist *h, struct sums *s)
{
	uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
	uint64_t inverse = atomic_load_explicit(&h->inverse_min, memory_order_relaxed);

	for (unsigned b = 0; b < BUCKETS; b++) {
		uint64_t n = atomic_load_explicit(&h->bucket[b], memory_order_relaxed);

		s->bucket[b] += n;
		s->count += n;
	}
	s->total += atomic_load_explicit(&h->total, memory_order_relaxed);
	s->max = max > s->max ? max : s->max;
	if (inverse && ~inverse < s->min)
		s->min = ~inverse;
}

void hist_sum(enum vex_op op, struct sums *out)
{
	memset(out, 0, sizeof(*out));
	out->min = UINT64_MAX;
	for (unsigned i = 0; i < SHARDS; i++)
		hist_add(&metrics_shards[i].ops[op], out);
	if (!out->count)
		out->min = 0;
}

uint64_t errors_of(enum vex_op op)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < ERRNOS; i++)
		n += atomic_load_explicit(&metrics_errors[op][i], memory_order_relaxed);
	return n;
}

/* The latency that `share` of 1000 did not exceed. */
static uint64_t quantile(const struct sums *s, unsigned share)
{
	uint64_t want = (s->count * share + 999) / 1000, seen = 0, top;
	unsigned b = 0;

	if (!s->count)
		return 0;
	while (b < BUCKETS - 1 && (seen += s->bucket[b]) < want)
		b++;
	top = b == BUCKETS - 1 ? s->max : bucket_top(b);
	return top > s->max ? s->max : top < s->min ? s->min : top;
}

void vex_op_read(enum vex_op op, struct vex_op_stat *out)
{
	struct sums s;

	hist_sum(op, &s);
	*out = (struct vex_op_stat){
		.count = s.count,
		.errors = errors_of(op),
		.total_ns = s.total,
		.min_ns = s.min,
		.max_ns = s.max,
		.p50_ns = quantile(&s, 500),
		.p95_ns = quantile(&s, 950),
		.p99_ns = quantile(&s, 990),
		.stack = atomic_load_explicit(&metrics_stack[op], memory_order_relaxed),
	};
}
