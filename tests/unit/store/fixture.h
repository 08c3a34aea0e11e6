/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's tests share: a store in a temporary directory, short forms of the
 * changes, and ways to hurt the files.
 */
#ifndef VEX_TEST_STORE_FIXTURE_H
#define VEX_TEST_STORE_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <vexfs/kernel.h>
#include <vexfs/store.h>

#define DIM 4u

struct fix {
	char dir[64];
	int rootfd;
	struct vex_store *s;
	struct vex_problem problem;
	struct vex_store_opts opts;
};

/* A directory; no store in it yet. Removed by fix_end, or at exit. */
void fix_begin(struct fix *f);
void fix_open(struct fix *f); /* must succeed */
vex_err fix_try(struct fix *f);
void fix_close(struct fix *f);
void fix_end(struct fix *f);

struct vex_space *new_space(struct fix *f, const char *name, uint32_t dim);
struct vex_space *get_space(struct fix *f, const char *name);
uint64_t new_file(struct fix *f); /* a node with a name */

/* Row i of value v: reproducible numbers. */
void fill_row(float *row, uint32_t dim, uint64_t v, uint32_t i);
/* Prepares a put of `rows` rows of value v; rows are written. */
vex_err make_put(struct vex_change *c, struct vex_space *sp, uint64_t node,
		 const char *key, uint64_t v, uint32_t rows);
vex_err put(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
	    uint64_t v, uint32_t rows);
vex_err put_flags(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
		  uint64_t v, uint32_t rows, int flags);
vex_err delete (struct fix *f, struct vex_space *sp, uint64_t node, const char *key);
vex_err get(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
	    struct vex_attach *a);
/* 0: it is there with exactly the rows of value v; else what get or read_rows said,
 * or -EILSEQ where the numbers are others. */
vex_err holds(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
	      uint64_t v, uint32_t rows);

/* Flips a bit of a byte of STORE/.vexfs/<name>; off < 0 counts from the end. */
void flip(struct fix *f, const char *name, long off);
void cut(struct fix *f, const char *name, long size);
void swap_files(struct fix *f, const char *a, const char *b);
long file_size(struct fix *f, const char *name);

uint64_t seed_from_env(void); /* printed */
uint64_t rnd(uint64_t *state);

#endif
