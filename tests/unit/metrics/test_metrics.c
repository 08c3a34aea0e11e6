/* SPDX-License-Identifier: Apache-2.0 */
/* Counting, quantiles, thresholds told once, the slow ring, stacks, the text. */
#include <criterion/criterion.h>
#include "metrics_i.h"

TestSuite(metrics, .timeout = 60);

Test(metrics, buckets_hold_what_falls_into_them)
{
	uint64_t below = 0;

	for (uint64_t ns = 0; ns < 1000000; ns++) {
		unsigned b = bucket_of(ns);

		cr_assert_leq(ns, bucket_top(b));
		cr_assert(!b || ns > bucket_top(b - 1), "%llu", (unsigned long long)ns);
	}
	for (unsigned b = 0; b < BUCKETS - 1; b++) {
		cr_assert_gt(bucket_top(b), below);
		cr_assert(!b || bucket_top(b) <= below + below / 4 + 1);
		below = bucket_top(b);
	}
	cr_assert_eq(bucket_of(UINT64_MAX), BUCKETS - 1);
}

Test(metrics, an_operation_is_described)
{
	struct vex_op_stat s;

	for (uint64_t us = 1; us <= 100; us++)
		vex_op_done(VEX_OP_GET, us * 1000, us % 10 ? 0 : -EIO);
	vex_op_read(VEX_OP_GET, &s);
	cr_expect_eq(s.count, 100);
	cr_expect_eq(s.errors, 10);
	cr_expect_eq(s.total_ns, 5050000);
	cr_expect_eq(s.min_ns, 1000);
	cr_expect_eq(s.max_ns, 100000);
	cr_expect(s.p50_ns >= 50000 && s.p50_ns <= 63000, "%llu",
		  (unsigned long long)s.p50_ns);
	cr_expect(s.p95_ns >= 95000 && s.p95_ns <= 100000);
	cr_expect(s.p99_ns >= 99000 && s.p99_ns <= 100000);
	vex_op_read(VEX_OP_PUT, &s);
	cr_expect_eq(s.count, 0);
	cr_expect_eq(s.min_ns, 0);
	cr_expect_eq(s.p99_ns, 0);
}

#define THREADS 12
#define EACH 20000

static void *count_many(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < EACH; i++) {
		vex_count(VEX_COUNT_EVENTS, 2);
		vex_op_done(VEX_OP_POLL, i, i % 4 ? 0 : -EAGAIN);
	}
	return NULL;
}

Test(metrics, threads_lose_nothing)
{
	pthread_t t[THREADS];
	struct vex_op_stat s;

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, count_many, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	vex_op_read(VEX_OP_POLL, &s);
	cr_expect_eq(s.count, THREADS * EACH);
	cr_expect_eq(s.errors, THREADS * EACH / 4);
	cr_expect_eq(s.total_ns, (uint64_t)THREADS * EACH * (EACH - 1) / 2);
	cr_expect_eq(vex_count_read(VEX_COUNT_EVENTS), 2ull * THREADS * EACH);
}

/* ---- thresholds -------------------------------------------------------------------- */

static unsigned told;
static uint64_t told_value;

static void tell(void *arg, enum vex_limit l, uint64_t value)
{
	(void)arg;
	told += l == VEX_LIMIT_SYNC;
	told_value = value;
}

Test(metrics, a_threshold_is_told_once)
{
	struct vex_crossing c;

	vex_crossing_hook(tell, NULL);
	cr_expect_not(vex_op_done(VEX_OP_SYNC, 1000000, 0), "no threshold set");
	vex_limit_set(VEX_LIMIT_SYNC, 500);
	cr_expect_not(vex_op_done(VEX_OP_SYNC, 500, 0));
	vex_crossing_read(VEX_LIMIT_SYNC, &c);
	cr_expect(!c.now && !c.count);
	for (unsigned i = 0; i < 1000; i++)
		cr_expect(vex_op_done(VEX_OP_SYNC, 501 + i, 0));
	vex_crossing_read(VEX_LIMIT_SYNC, &c);
	cr_expect(c.now);
	cr_expect_eq(c.count, 1000);
	cr_expect_eq(c.last, 1500);
	cr_expect_gt(c.first_ns, 0);
	cr_expect_eq(told, 1);
	cr_expect_eq(told_value, 501);
}

Test(metrics, trouble_shows_in_the_error_rate)
{
	cr_expect_eq(vex_error_rate(), 0);
	for (unsigned i = 0; i < 1000; i++)
		vex_op_done(VEX_OP_LOOKUP, 1, -ENOENT);
	cr_expect_eq(vex_error_rate(), 0, "a name that is not there is no trouble");
	for (unsigned i = 0; i < 1000; i++)
		vex_op_done(VEX_OP_READ, 1, i % 4 ? 0 : -EIO);
	cr_expect(vex_error_rate() >= 125 && vex_error_rate() <= 250, "%u",
		  vex_error_rate());
}

Test(metrics, the_slow_ring_keeps_the_last)
{
	struct vex_slow s[VEX_SLOW_KEPT];

	cr_expect_eq(vex_slow_read(s, VEX_SLOW_KEPT), 0);
	for (unsigned i = 1; i <= VEX_SLOW_KEPT + 5; i++)
		vex_slow_add(VEX_OP_PUT, i, -EIO, i, "number %u", i);
	cr_assert_eq(vex_slow_read(s, VEX_SLOW_KEPT), VEX_SLOW_KEPT);
	cr_expect_eq(s[0].ns, VEX_SLOW_KEPT + 5);
	cr_expect_eq(s[VEX_SLOW_KEPT - 1].ns, 6);
	cr_expect_str_eq(s[VEX_SLOW_KEPT - 1].words, "number 6");
	cr_expect_eq(vex_slow_read(s, 3), 3);
	cr_expect_eq(s[2].uid, VEX_SLOW_KEPT + 3);
}

/* ---- stacks ------------------------------------------------------------------------ */

static __attribute__((noinline)) void deep(size_t bytes)
{
	volatile char room[6000];

	for (size_t i = 0; i < bytes; i++)
		room[sizeof(room) - 1 - i] = (char)i;
}

static void *measure(void *arg)
{
	struct vex_span s;

	vex_span_begin(&s);
	deep(*(size_t *)arg);
	vex_span_end(&s, VEX_OP_MKDIR, 0);
	return NULL;
}

static uint32_t measured(size_t bytes, size_t stack)
{
	struct vex_op_stat s;
	pthread_attr_t a;
	pthread_t t;

	atomic_store(&metrics_stack[VEX_OP_MKDIR], 0);
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, stack);
	cr_assert_eq(pthread_create(&t, &a, measure, &bytes), 0);
	pthread_join(t, NULL);
	pthread_attr_destroy(&a);
	vex_op_read(VEX_OP_MKDIR, &s);
	return s.stack;
}

Test(metrics, stacks_are_measured)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	/* Their thread-local storage alone takes more than 64 KB. */
	cr_expect_eq(measured(5000, 1 << 20), 0);
#else
	uint32_t shallow, far;

	/* First: glibc gives a later thread an earlier one's larger stack. */
	cr_expect_eq(measured(5600, 16384), 0, "no room to paint on so small a stack");
	shallow = measured(16, 65536);
	far = measured(5600, 65536);
	cr_expect(shallow < 1024, "%u", shallow);
	cr_expect(far >= 5600 && far < 6800, "%u", far);
	vex_stack_every(0);
	cr_expect_eq(measured(5600, 65536), 0);
#endif
}

Test(metrics, the_text_has_every_family_once)
{
	AUTO_BUF struct vex_buf b = { 0 };
	unsigned families = 0, types = 0;

	vex_op_done(VEX_OP_KNN_GRAPH, 2000, 0);
	vex_op_done(VEX_OP_OPEN, 2000, -ENOENT);
	vex_metrics_text(&b);
	vex_buf_add(&b, "", 1);
	cr_assert_eq(b.err, 0);
	for (char *line = b.data; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		families += !strncmp(line, "# HELP ", 7);
		types += !strncmp(line, "# TYPE ", 7);
	}
	cr_expect_eq(families, types);
	cr_expect_gt(families, 20);
	cr_expect(
	    strstr(b.data, "vexfs_searches_total{mode=\"knn\",plan=\"graph\"} 1\n"));
	cr_expect(strstr(b.data, "vexfs_operation_errors_total{op=\"open\",errno="
				 "\"ENOENT\"} 1\n"));
	cr_expect(strstr(b.data, "vexfs_search_duration_seconds_bucket{mode=\"knn\",plan="
				 "\"graph\",le=\"+Inf\"} 1\n"));
	cr_expect(strstr(b.data, "vexfs_memory_resident_bytes "));
}
