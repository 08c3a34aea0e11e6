/* SPDX-License-Identifier: Apache-2.0 */
/* Private to filter.c (evaluation) and filter_parse.c (what an expression may say). */
#ifndef VEX_STORE_FILTER_I_H
#define VEX_STORE_FILTER_I_H

#include <sqlite3.h>
#include <vexfs/store.h>

#define FILTER_COLS_MAX 64u

struct vex_filter {
	sqlite3 *db;
	sqlite3_stmt *st;
	struct vex_filter_col cols[FILTER_COLS_MAX];
	size_t ncols;
	uint64_t deadline; /* CLOCK_MONOTONIC */

	/* While a file is tested: */
	vex_filter_get get;
	void *arg;
	vex_err err; /* of get, or the deadline's */
};

/* How the function vexcol(column, form) shows a value. */
enum {
	FORM_AS_IS = 0,
	FORM_EQUAL = 1, /* a number where the text is one, else the text */
	FORM_ORDER = 2, /* a number where the text is one, else NULL */
};

/* Checks an expression and writes the SQL for it; fills f->cols. -EINVAL with the
 * place of what is wrong in `problem`. */
vex_err filter_parse(struct vex_filter *f, const char *expr, struct vex_buf *sql,
		     struct vex_problem *problem) VEX_CHECKED;

#endif
