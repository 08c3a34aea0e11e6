/* SPDX-License-Identifier: Apache-2.0 */
/* progress: a bar on stderr. See progress.h. */
#include "progress.h"

#include <time.h>

#define REDRAW 0.15
#define BAR 30

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void progress_start(struct progress *p, double total)
{
	p->shown = isatty(STDERR_FILENO);
	p->start = p->last = now();
	p->total = total;
}

const char *progress_count(uint64_t n, char text[32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	char *out = text;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = 0;
	return text;
}

void progress_at(struct progress *p, uint64_t rows, double at)
{
	char bar[BAR + 1];
	char count[32];
	double t;
	int full;

	if (!p->shown)
		return;
	t = now();
	if (t - p->last < REDRAW)
		return;
	p->last = t;
	progress_count(rows, count);
	if (p->total <= 0) {
		fprintf(stderr, "\r%s rows, %.0f/s\033[K", count,
			(double)rows / (t - p->start));
		return;
	}
	full = (int)(at / p->total * BAR);
	full = full > BAR ? BAR : full;
	memset(bar, '.', BAR);
	memset(bar, '#', (size_t)full);
	bar[BAR] = 0;
	fprintf(stderr, "\r[%s] %3.0f%%  %s rows, %.0f/s\033[K", bar, at / p->total * 100,
		count, (double)rows / (t - p->start));
}

double progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	return now() - p->start;
}
