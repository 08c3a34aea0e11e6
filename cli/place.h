/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place: files of the mount by path, made where they are missing, and never outside:
 * no link is followed out of the mount.
 */
#ifndef VEXCTL_PLACE_H
#define VEXCTL_PLACE_H

#include "mount.h"

struct place {
	int root;       /* of the mount; borrowed */
	int dirfd;      /* of the directory used last; -1: none */
	struct buf dir; /* its path */
};

#define PLACE_INIT                                                                       \
	{                                                                                \
		.dirfd = -1                                                              \
	}
void place_free(struct place *p);
#define AUTO_PLACE __attribute__((cleanup(place_free)))

/* Is this a path below a directory: no empty name, no "." or "..", not absolute? "" is
 * (the directory itself). */
bool place_path_ok(const char *path);
/* Makes the empty file `path`, and the directories above it. 0 or a negative errno;
 * *existed: there was something already. */
int place_file(struct place *p, const char *path, bool *existed);
/* Makes the directory, and those above it. 0 or a negative errno. */
int place_dir(struct place *p, const char *path);
bool place_exists(struct place *p, const char *path);
/* The value of `attr` of the file last given to place_file, if it has one of at most
 * `most` bytes. */
bool place_value(const struct place *p, const char *path, const char *attr, size_t most,
		 struct buf *out);

#endif
