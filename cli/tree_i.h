/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tree.c and tree_file.c. */
#ifndef VEXCTL_TREE_I_H
#define VEXCTL_TREE_I_H

#include "tree.h"

/* Where the first name of a file with several was put. Open addressing; ino 0: free. */
struct links {
	struct link {
		uint64_t dev, ino;
		char *path;
	} * v;
	size_t n, room;
};
void links_free(struct links *l);

struct walk {
	struct tree *t;
	const char *dir; /* the one at hand, "" is the top */
	int from, to;    /* it, open */
	char **list;     /* directories met */
	size_t n, room;
	struct links links;
};

/* A line for `name` of the directory at hand. unread: counted, 0. broken: CLI_ERROR. */
int tree_unread(struct walk *w, const char *name);
int tree_broken(struct walk *w, const char *name);
/* Whatever lies under that name in `to`. */
int tree_remove(struct walk *w, const char *name);
/* A file of any kind but a directory. */
int tree_file(struct walk *w, const char *name, const struct stat *st);
/* Owner, mode, xattrs, times. */
int tree_attributes(struct walk *w, const char *name, int from, int to,
		    const struct stat *st);

#endif
