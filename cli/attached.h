/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attached: what is attached to a file, as its extended attributes say.
 */
#ifndef VEXCTL_ATTACHED_H
#define VEXCTL_ATTACHED_H

#include "mount.h"

/* A file or directory of the mount, opened by argument. */
struct target {
	int fd;          /* O_PATH */
	char proc[40];   /* the path by which xattr calls reach it */
	const char *arg; /* borrowed */
};

#define TARGET_INIT                                                                      \
	{                                                                                \
		.fd = -1                                                                 \
	}
void target_close(struct target *t);
#define AUTO_TARGET __attribute__((cleanup(target_close)))
int target_open(const struct mount *m, const char *arg, struct target *out);

/* Which attachments: of `space` (NULL: of any) with `key` (NULL: the one without a
 * key if a space is named, else any). */
struct wanted {
	const char *space, *key;
};

/* "<space>[.<key>]", NUL-ended each, of those wanted. *n: how many. */
int attached_names(const struct target *t, const struct wanted *w, struct buf *out,
		   size_t *n);
/* The value of one, by its name. CLI_NONE (printed) where there is none. */
int attached_value(const struct target *t, const char *name, struct buf *out);

#endif
