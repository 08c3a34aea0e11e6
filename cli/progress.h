/* SPDX-License-Identifier: Apache-2.0 */
/* progress: a bar on stderr, where that is a terminal. */
#ifndef VEXCTL_PROGRESS_H
#define VEXCTL_PROGRESS_H

#include "util.h"

struct progress {
	bool shown;         /* stderr is a terminal */
	double start, last; /* seconds */
	double total;       /* of the unit of `at`; 0: not known */
};

void progress_start(struct progress *p, double total);
/* rows: done so far; at: of the total. Draws a few times a second at most. */
void progress_at(struct progress *p, uint64_t rows, double at);
/* Wipes the bar; seconds since the start. */
double progress_end(struct progress *p);
/* "12,345" into text. */
const char *progress_count(uint64_t n, char text[32]);

#endif
