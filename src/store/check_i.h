/* SPDX-License-Identifier: Apache-2.0 */
/* Private to check.c and check_slots.c: a store opened to be looked at. */
#ifndef VEX_STORE_CHECK_I_H
#define VEX_STORE_CHECK_I_H

#include "store_i.h"

struct vex_check {
	struct vex_store *s; /* its descriptors, path and uuid alone; no threads */
	struct sql q;
	bool wal;   /* the catalog has one that holds something */
	bool old;   /* of an earlier version: the catalog is a copy in memory */
	bool moved; /* handles recorded are of another place */
	uint64_t fh_gen;
	vex_finding_fn fn; /* during vex_check_run */
	void *arg;
};

/* A check that has the store's places and lock, and no catalog yet. */
vex_err check_begin(int rootfd, struct vex_check **out,
		    struct vex_problem *problem) VEX_CHECKED;
/* The catalog, as it is, and nothing read of it; and closed again. */
vex_err check_open_db(struct vex_check *c) VEX_CHECKED;
void vex_check_close_db(struct vex_check *c);

/* Hands a finding over. */
vex_err check_say(struct vex_check *c, const struct vex_finding *where, const char *fmt,
		  ...) VEX_PRINTF(3, 4) VEX_CHECKED;
/* Each row of a query without parameters; fn gets the statement. */
vex_err check_each(struct vex_check *c, const char *text,
		   vex_err (*fn)(struct vex_check *c, sqlite3_stmt *st, void *arg),
		   void *arg) VEX_CHECKED;

/* check_slots.c: the files of all spaces, and every row an attachment names. */
vex_err check_slots(struct vex_check *c, struct vex_check_counts *counts) VEX_CHECKED;

#endif
