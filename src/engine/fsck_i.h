/* SPDX-License-Identifier: Apache-2.0 */
/* Private to fsck.c, fsck_tree.c, fsck_judge.c, fsck_index.c, fsck_repair.c: findings,
 * and what makes them good. */
#ifndef VEXFS_FSCK_I_H
#define VEXFS_FSCK_I_H

#include "names_i.h"

enum fsck_fix {
	FSCK_LEFT,   /* nothing does */
	FSCK_OPEN,   /* opening the store */
	FSCK_NAME,   /* the name (parent, path, node) goes */
	FSCK_REPUT,  /* attachment `lsn`: its text becomes rows again */
	FSCK_LOOK,   /* the object at path is identified as if it were met in the mount */
	FSCK_UNMARK, /* the mark at path goes */
	FSCK_INDEX,  /* the file `path` of .vexfs/index goes */
};

struct fsck_finding {
	char *text; /* NULL: goes with the one before, nothing to say */
	enum fsck_fix fix;
	uint64_t node, parent, lsn;
	char *path; /* below the root; FSCK_NAME: one component */
};

struct fsck_list {
	struct fsck_finding *v;
	size_t n, cap;
	unsigned lines;  /* that have a text */
	bool no_catalog; /* nothing else could be looked at, nor may it be opened */
	uint64_t missing;
	struct vex_check_counts counts;
	const _Atomic bool *stop;
};
void fsck_list_free(struct fsck_list *l);
/* A copy of `like` with a text of its own (fmt NULL: none) and a copy of its path. */
vex_err fsck_add(struct fsck_list *l, const struct fsck_finding *like, const char *fmt,
		 ...) VEX_PRINTF(3, 4) VEX_CHECKED;

/* fsck_tree.c: the backing tree against nodes and names. */
vex_err fsck_tree(struct vex_check *c, int rootfd, struct fsck_list *l) VEX_CHECKED;

/* fsck_index.c: the files of graphs; the bad ones are removed, store closed. */
vex_err fsck_index(struct vex_check *c, int rootfd, struct fsck_list *l) VEX_CHECKED;
void fsck_index_repair(int rootfd, const struct fsck_list *l);

/* fsck_salvage.c: a catalog that cannot be read becomes one of what can be; `what` is
 * what was found of it. Nothing is left as it was where this succeeds. */
vex_err fsck_salvage(int rootfd, const char *what, struct vex_fsck *f,
		     struct vex_problem *problem) VEX_CHECKED;

/* fsck_repair.c: [deep] on an engine that is open for it; what fails stays as it is. */
void fsck_repair(struct vex_engine *e, const struct fsck_list *l);

#endif
