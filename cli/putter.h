/* SPDX-License-Identifier: Apache-2.0 */
/*
 * putter: a thread that sends batches of puts while the import makes the files of the
 * next one. A batch is all or nothing with the daemon; where one item of it is wrong,
 * those before it still go in.
 */
#ifndef VEXCTL_PUTTER_H
#define VEXCTL_PUTTER_H

#include <pthread.h>

#include "items.h"

#define BATCH_ITEMS 512
#define BATCH_BYTES ((size_t)2 << 20)

struct batch {
	struct items items;
	size_t at[BATCH_ITEMS];       /* where each begins in the bytes */
	uint64_t number[BATCH_ITEMS]; /* its record in the file */
};

struct putter {
	struct session session; /* of the thread */
	bool skip_bad;
	struct batch *filling; /* of the caller */
	struct batch *sending; /* of the thread while `busy` */
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* guarded by lock: */
	bool busy, stop;
	bool failed;      /* an error was printed; nothing more is sent */
	uint64_t in, bad; /* items put, items refused */
};

#define PUTTER_INIT                                                                      \
	{                                                                                \
		.session = SESSION_INIT, .lock = PTHREAD_MUTEX_INITIALIZER,              \
		.changed = PTHREAD_COND_INITIALIZER                                      \
	}
int putter_start(struct putter *p, const struct mount *m, bool skip_bad);
/* Adds one item; sends the batch when it is full. CLI_ERROR once something failed. */
int putter_add(struct putter *p, uint64_t number, uint32_t flags, const char *path,
	       const char *attr, const void *value, size_t len);
/* Returns when all that was added is in. */
int putter_flush(struct putter *p);
uint64_t putter_in(struct putter *p);
void putter_free(struct putter *p);
#define AUTO_PUTTER __attribute__((cleanup(putter_free)))

#endif
