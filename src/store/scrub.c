/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows that were too many to be checked at open are checked in the background,
 * oldest change first. A row found damaged leaves the views there and then.
 */
#include <time.h>
#include "store_i.h"

#define BATCH 256u

struct batch {
	struct vex_attach a[BATCH];
	size_t n;
};

static vex_err collect(void *arg, const struct vex_attach *a)
{
	struct batch *b = arg;

	b->a[b->n++] = *a;
	return 0;
}

static vex_err next_batch(struct vex_store *s, uint64_t after, struct batch *b)
{
	AUTO_READER struct vex_reader *r = NULL;
	vex_err err = vex_reader_get(s, &r);

	b->n = 0;
	return err ? err : read_batch(r, after, collect, b);
}

static void check(struct vex_store *s, const struct vex_attach *a, void *rows)
{
	AUTO_SPACE struct vex_space *sp = NULL;

	if (!vex_space_find_id(s, a->space, &sp) &&
	    a->rows <= ROWS_BYTES_MAX / sp->stride && vex_read_rows(s, a, rows))
		vex_debug("scrub: change %llu does not hold", (unsigned long long)a->lsn);
}

static void *scrub(void *arg)
{
	struct vex_store *s = arg;
	struct timespec rest = { .tv_nsec = 1000000 };
	AUTO_FREE struct batch *b = malloc(sizeof(*b));
	AUTO_FREE void *rows = malloc(ROWS_BYTES_MAX);
	uint64_t after = 0;

	while (b && rows && !next_batch(s, after, b) && b->n) {
		for (size_t i = 0; i < b->n; i++) {
			if (atomic_load(&s->scrub_stop))
				return NULL;
			check(s, &b->a[i], rows);
		}
		after = b->a[b->n - 1].lsn;
		nanosleep(&rest, NULL);
	}
	return NULL;
}

vex_err scrub_start(struct vex_store *s)
{
	vex_err err = 0;

	if (s->scrub_wanted)
		err = vex_thread_start(&s->scrubber, "vex-scrub", WRITER_STACK, scrub, s);
	s->has_scrubber = s->scrub_wanted && !err;
	return err;
}

void scrub_stop(struct vex_store *s)
{
	atomic_store(&s->scrub_stop, true);
	if (s->has_scrubber)
		pthread_join(s->scrubber, NULL);
	s->has_scrubber = false;
}
