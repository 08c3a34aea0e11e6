/* SPDX-License-Identifier: Apache-2.0 */
/* Private to live.c (which queries, when) and live_say.c (what is said of them). */
#ifndef VEXFS_LIVE_I_H
#define VEXFS_LIVE_I_H

#include "query_i.h"

/* A hit as it was told. */
struct told {
	char *id; /* path, key, row */
	size_t id_len;
	uint64_t sum;
	float distance;
	bool stale, kept;
};

void told_free(struct told *t, size_t n);
/* The hits of r, to be remembered: r->n of them, heap. */
vex_err told_make(const struct vex_result *r, struct told **out) VEX_CHECKED;
/* Appends what has changed: from the nold hits told before (NULL: a beginning) to r, of
 * which t was made. -ENOMEM shows in b->err. */
void told_say(struct vex_buf *b, const struct vex_result *r, struct told *old,
	      size_t nold, struct told *t);

#endif
