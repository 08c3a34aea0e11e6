/* SPDX-License-Identifier: Apache-2.0 */
/* Private to fsck_tree.c and fsck_judge.c: what the catalog knows and what was seen. */
#ifndef VEXFS_FSCK_TREE_I_H
#define VEXFS_FSCK_TREE_I_H

#include "fsck_i.h"

struct fact {
	struct vex_node n;
	uint64_t attached;
	uint32_t holds, seen; /* names that hold; inodes seen */
};

struct known_name {
	uint64_t parent, node;
	char *name;
	bool holds;
};

struct seen {
	uint64_t id;          /* of the mark, or of the node it was told to be */
	bool marked, at_name; /* a mark; a recorded name of the node */
	bool lost, guess; /* the mark it should have is missing; told by place alone */
	struct mark mark;
	struct vex_fh fh;
	uint64_t dev, ino;
	char *path;
};

struct folder {
	char *path;
	uint64_t parent; /* node of the directory above; 0: none */
	char *name;
};

struct tree {
	struct vex_check *c;
	struct fsck_list *l;
	int rootfd;
	dev_t dev;
	ino_t hidden;
	struct fact *fact; /* by id */
	size_t nfacts, capfacts;
	struct known_name *name; /* by parent, name, node */
	size_t nnames, capnames;
	struct fact **by_fh; /* directories whose handle counts */
	size_t nfh;
	struct seen *seen;
	size_t nseen, capseen;
	struct folder *stack;
	size_t nstack, capstack;
};

/* fsck_tree.c */
struct fact *fsck_fact(struct tree *t, uint64_t id);
bool fsck_handle_fits(const struct vex_node *n, const struct vex_fh *fh);

/* fsck_judge.c: what was seen, node by node, becomes findings. */
vex_err fsck_judge(struct tree *t) VEX_CHECKED;

#endif
