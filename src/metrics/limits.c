/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thresholds, and what crossed them. Crossings less than a minute apart are one episode:
 * it is told once, however many operations were slow in it, and its flag stays up until
 * a minute after the last. The slow operations themselves are kept in a ring.
 *
 * Locks: `lock` guards the ring alone, and is taken for slow operations only.
 */
#include "metrics_i.h"

#define EPISODE_NS UINT64_C(60000000000)

static const struct {
	const char *name, *unit;
} names[] = {
#define X(id, n, u) { n, u },
	VEX_LIMITS(X)
#undef X
};

static struct {
	_Atomic uint64_t limit, count, episode, last, last_mono;
	_Atomic int64_t first;
} limits[VEX_LIMIT_COUNT];

static void (*_Atomic hook)(void *arg, enum vex_limit l, uint64_t value);
static void *_Atomic hook_arg;

void vex_limit_set(enum vex_limit l, uint64_t value)
{
	atomic_store(&limits[l].limit, value);
}

uint64_t vex_limit_get(enum vex_limit l)
{
	return atomic_load_explicit(&limits[l].limit, memory_order_relaxed);
}

const char *vex_limit_name(enum vex_limit l)
{
	return names[l].name;
}

const char *vex_limit_unit(enum vex_limit l)
{
	return names[l].unit;
}

void vex_crossing_hook(void (*fn)(void *arg, enum vex_limit l, uint64_t value), void *arg)
{
	atomic_store(&hook, NULL);
	atomic_store(&hook_arg, arg);
	atomic_store(&hook, fn);
}

void vex_limit_crossed(enum vex_limit l, uint64_t value)
{
	uint64_t now = vex_now_mono();
	uint64_t was = atomic_exchange(&limits[l].last_mono, now);
	bool again = was && now - was < EPISODE_NS;
	void (*fn)(void *, enum vex_limit, uint64_t) = atomic_load(&hook);

	if (!again)
		atomic_store(&limits[l].episode, 0);
	atomic_fetch_add(&limits[l].episode, 1);
	atomic_fetch_add(&limits[l].count, 1);
	atomic_store(&limits[l].last, value);
	if (again)
		return;
	atomic_store(&limits[l].first, vex_now_real());
	if (fn)
		fn(atomic_load(&hook_arg), l, value);
}

void vex_crossing_read(enum vex_limit l, struct vex_crossing *out)
{
	uint64_t last = atomic_load(&limits[l].last_mono);

	*out = (struct vex_crossing){
		.count = atomic_load(&limits[l].count),
		.episode = atomic_load(&limits[l].episode),
		.last = atomic_load(&limits[l].last),
		.first_ns = atomic_load(&limits[l].first),
		.now = last && vex_now_mono() - last < EPISODE_NS,
	};
}

/* ---- errors that tell of trouble ------------------------------------------------- */

static bool trouble(int e)
{
	return e == EIO || e == ENOMEM || e == EROFS || e == ENOSPC || e == EUCLEAN ||
	       e == EMFILE || e == ENFILE || e == EDQUOT;
}

static void totals(uint64_t *all, uint64_t *bad)
{
	*all = *bad = 0;
	for (enum vex_op op = 0; op < VEX_OP_COUNT; op++) {
		struct vex_op_stat s;

		vex_op_read(op, &s);
		*all += s.count;
		for (int e = 0; e < (int)ERRNOS; e++)
			if (trouble(e))
				*bad += atomic_load(&metrics_errors[op][e]);
	}
}

uint32_t vex_error_rate(void)
{
	static pthread_mutex_t window = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t since, all0, bad0;
	uint64_t now = vex_now_mono(), all, bad;
	uint32_t rate;

	SCOPED_LOCK(&window);
	totals(&all, &bad);
	rate = all > all0 ? (uint32_t)((bad - bad0) * 1000 / (all - all0)) : 0;
	if (now - since >= EPISODE_NS) {
		since = now;
		all0 = all;
		bad0 = bad;
	}
	return rate;
}

/* ---- the ring ---------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vex_slow ring[VEX_SLOW_KEPT];
static uint64_t nslow; /* ever; guarded by lock, as the ring */

struct slow_words {
	struct vex_slow *s;
	const char *fmt;
	va_list ap;
};

static VEX_APART vex_err put_words(void *arg)
{
	struct slow_words *w = arg;

	vex_deep_only();
	vsnprintf(w->s->words, sizeof(w->s->words), w->fmt, w->ap);
	return 0;
}

static void keep(struct vex_slow *s)
{
	SCOPED_LOCK(&lock);
	s->serial = ++nslow;
	ring[(nslow - 1) % VEX_SLOW_KEPT] = *s;
}

void vex_slow_plain(enum vex_op op, uint64_t ns, vex_err err, uint32_t uid)
{
	struct vex_slow s = {
		.time_ns = vex_now_real(), .ns = ns, .op = op, .err = err, .uid = uid
	};

	keep(&s);
}

void vex_slow_add(enum vex_op op, uint64_t ns, vex_err err, uint32_t uid, const char *fmt,
		  ...)
{
	struct vex_slow s = {
		.time_ns = vex_now_real(), .ns = ns, .op = op, .err = err, .uid = uid
	};
	struct slow_words w = { .s = &s, .fmt = fmt };

	va_start(w.ap, fmt);
	(void)!vex_deep_call(put_words, &w);
	va_end(w.ap);
	keep(&s);
}

size_t vex_slow_read(struct vex_slow *out, size_t n)
{
	size_t have;

	SCOPED_LOCK(&lock);
	have = nslow < VEX_SLOW_KEPT ? nslow : VEX_SLOW_KEPT;
	if (n > have)
		n = have;
	for (size_t i = 0; i < n; i++)
		out[i] = ring[(nslow - 1 - i) % VEX_SLOW_KEPT];
	return n;
}
