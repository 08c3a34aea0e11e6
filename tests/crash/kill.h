/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of `kill` share: the model (what each worker did and is about to do)
 * and a few helpers. kill.c says what it is all about.
 */
#ifndef TESTS_CRASH_KILL_H
#define TESTS_CRASH_KILL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { WORKERS = 4, DIRS = 2, NAMES = 10, FILES = DIRS * NAMES, KINDS = 4, DIM = 8 };
enum { ROWS_MAX = 3, ROW_BYTES = DIM * 4, PUTS = 3 };

/* Two spaces, in each one attachment with a key and one without (or with another). */
extern const char *const kinds[KINDS];

/* A name: what file it has. */
struct file {
	uint32_t id;           /* its content; 0: no such file */
	uint32_t value[KINDS]; /* what is attached; 0: nothing */
};

struct worker {
	struct file now[FILES];
	struct file next[FILES];
	uint32_t serial; /* source of ids and values, never used twice */
	uint64_t done;   /* acknowledged calls */
	bool making;     /* the call in flight creates a file: its content may be cut */
	char doing[192]; /* what it is, for the report */
	char failure[320];
};

/* In memory that workers and driver share. */
struct shared {
	volatile bool killing; /* from here on the daemon may be gone */
	struct worker worker[WORKERS];
};
extern struct shared *shared;

/* Kills the daemon and ends the driver. */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Of this process; a worker sets its own seed. */
extern uint64_t rng;
uint32_t rnd(uint32_t n);
void nap_ms(uint32_t ms);
/* The path of a name, relative to the mount. */
const char *path_of(char buf[static 64], uint32_t w, uint32_t f);
/* The rows of a value: no two values, nor two rows, are alike. Returns how many. */
uint32_t rows_of(uint32_t w, uint32_t value, float out[ROWS_MAX][DIM]);

/* kill_work.c: a worker, in a process of its own; ends when the daemon does. */
void work(const char *mnt, uint32_t w, uint64_t seed) __attribute__((noreturn));

/* kill_verify.c: compares the mount with the model, settles calls in flight. */
void verify(const char *mnt);
uint32_t rows_known(const char *space);

#endif
