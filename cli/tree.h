/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree: makes one directory tree like another, copying only what differs. For backup
 * (mount to DEST) and restore (DEST to STORE).
 */
#ifndef VEXCTL_TREE_H
#define VEXCTL_TREE_H

#include <sys/stat.h>

#include "util.h"

struct progress;

struct tree {
	int from, to;              /* directories; borrowed */
	const char *to_name;       /* for messages */
	const struct stat *not_in; /* a directory with such a "manifest" is left out */
	struct progress *progress; /* may be NULL */
	/* out: */
	uint64_t files, copied, bytes; /* files there are; made anew; their bytes */
	uint64_t failed;               /* could not be read, each with a line */
};

/* Everything below `from` but .vexfs at its top, with modes, times, owners (of root),
 * links and xattrs (those of VexFS stay behind); what `to` has beyond it goes. What
 * cannot be read is told, counted and passed over; trouble with `to` is CLI_ERROR. */
int tree_copy(struct tree *t);

#endif
