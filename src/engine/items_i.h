/* SPDX-License-Identifier: Apache-2.0 */
/* Private to items.c and items_decode.c: a batch of puts or deletes under way. */
#ifndef VEXFS_ITEMS_I_H
#define VEXFS_ITEMS_I_H

#include <sys/xattr.h>
#include "attach_i.h"

/* Rows that are written with one call, into adjacent slots. */
struct item_run {
	size_t first; /* row within item_space.rows */
	size_t n;
	uint64_t slot;
	bool written;
};

struct item_space {
	char name[VEX_SPACE_NAME_MAX + 1];
	struct vex_space *sp;     /* NULL: does not exist yet */
	struct vex_layout layout; /* dim 0: not known yet */
	size_t item;              /* the first that names it: to blame */
	uint8_t *rows;            /* of all its items, one behind the other */
	size_t n, cap;            /* rows */
	struct item_run *run;
	size_t nruns;
	bool made;
};

struct item_file {
	struct resolved r; /* fd -1: closed; st stays */
	struct vex_fh fh;
	uint64_t node;
	bool fresh;    /* the batch makes the node */
	size_t coming; /* bytes of names the batch adds */
};

struct item_work {
	struct attr_name a;
	uint32_t file, space; /* indices */
	uint32_t rows, run;
	size_t first; /* row within item_space.rows */
	uint8_t form;
	const void *text;
	size_t text_len;
	char *made_text; /* owned */
	size_t change;   /* index in the change list */
};

struct batch {
	struct vex_engine *e;
	const struct vex_cred *cred;
	const struct vex_item *items;
	size_t n;
	bool put;   /* something is put: rows, slots, spaces */
	bool mixed; /* each item says what it is; else all are puts, or deletes */
	bool check; /* nothing is to be done: what is not there yet may still come */
	size_t bad;
	struct item_work *work; /* n of them */
	struct item_file *file; /* room for n */
	size_t nfiles;
	uint32_t *table; /* files by inode: index + 1 */
	size_t table_size;
	struct item_space *space;
	size_t nspaces;
	struct changes l;
	bool locked[NODE_LOCKS];
};

static inline size_t item_stride(const struct item_space *s)
{
	return vex_row_bytes(s->layout.type, s->layout.dim);
}

static inline bool item_is_put(const struct batch *b, size_t i)
{
	return b->mixed ? !b->items[i].del : b->put;
}

/* [deep] Names and values of all items into work and space; b->bad on error. */
vex_err items_decode(struct batch *b) VEX_CHECKED;
/* Names alone, for deletes: the spaces must exist. */
vex_err items_name(struct batch *b) VEX_CHECKED;

#endif
