/* SPDX-License-Identifier: Apache-2.0 */
/* What the measuring programs share: a clock, percentiles, and the end on errors. */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static inline int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The p-th part (0..1) of n samples; sorts them. */
static inline double percentile(double *samples, size_t n, double p)
{
	qsort(samples, n, sizeof(*samples), by_size);
	return samples[(size_t)((double)(n - 1) * p)];
}

static inline void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void *must_alloc(size_t n, size_t size)
{
	void *p = calloc(n, size);
	if (!p)
		fail("memory");
	return p;
}

static inline uint32_t number(const char *text, const char *what)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (!*text || *end || n == 0 || n > UINT32_MAX) {
		fprintf(stderr, "%s: bad number %s\n", what, text);
		exit(2);
	}
	return (uint32_t)n;
}

#endif
