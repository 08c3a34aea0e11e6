/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to vacant.c and replaced.c: what files had attached that are gone, and where
 * they were.
 */
#ifndef VEXFS_VACANT_I_H
#define VEXFS_VACANT_I_H

#include "kept_i.h"

/* One attachment, its rows as they were stored. */
struct vacant_attach {
	struct vacant_attach *next;
	uint32_t space, rows, key_len, text_len;
	uint8_t form;
	struct vex_stamp stamp;
	size_t size;    /* of the rows */
	uint8_t data[]; /* the rows, the key, the text */
};

/* A file that was removed: by its directory's node and its name. */
struct vacant {
	struct vacant *next;
	uint64_t parent, hash, since; /* since: by the monotonic clock */
	struct vex_node node;         /* as it was */
	struct vex_kept kept;
	struct vacant_attach *attaches;
	size_t bytes;
	char name[];
};
void vacant_free(struct vacant *v); /* and those that follow */
static inline void vacant_cleanup(struct vacant **v)
{
	vacant_free(*v);
}
#define AUTO_VACANT __attribute__((cleanup(vacant_cleanup)))
struct vacant *vacant_new(uint64_t parent, const char *name);

/* Takes them all over; the oldest are forgotten where there are too many. */
void vacants_add(struct vex_engine *e, struct vacant *v);
/* Those of that place, taken out; notes that a file is there again. */
struct vacant *vacants_take(struct vex_engine *e, uint64_t parent, const char *name);

/* A place that a node left by a rename. */
struct left {
	uint64_t parent, node, hash, since;
	bool filled; /* another file is there since */
	char name[NAME_MAX + 1];
};
/* The n-th place that the node left in the last moments; false: no more. */
bool left_nth(struct vex_engine *e, uint64_t node, unsigned n, struct left *out);

#endif
