/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount: which mount a command is about, and the paths of it that arguments name.
 */
#ifndef VEXCTL_MOUNT_H
#define VEXCTL_MOUNT_H

#include <sys/types.h>
#include <vexfs/vexfs.h>

#include "options.h"
#include "util.h"

struct mount {
	int root; /* O_PATH of its root directory; -1: none */
	dev_t dev;
	ino_t ino;
	char *path;      /* of the root, absolute */
	bool cwd_inside; /* the current directory lies in it */
	struct vexfs_version version;
};

#define MOUNT_INIT                                                                       \
	{                                                                                \
		.root = -1                                                               \
	}
void mount_free(struct mount *m);
#define AUTO_MOUNT __attribute__((cleanup(mount_free)))

/* By -m, else $VEXFS_MOUNT, else what holds `path` (NULL: no such argument), else what
 * holds the current directory. */
int mount_find(const struct invocation *in, const char *path, struct mount *out);

/* By `path` alone. */
int mount_holding(const char *path, struct mount *out);

/*
 * The path below the mount's root that `arg` names ("": the root), whether it exists
 * or not. A last symlink stays one. `arg` is absolute; or relative to the current
 * directory where that lies in the mount; else it may lead into the mount from the
 * current directory; else it is relative to the mount's root.
 */
int path_resolve(const struct mount *m, const char *arg, struct buf *out);

/* Opens `arg`'s longest part that is a directory (O_PATH), relative to base. *rest:
 * what of `arg` was left over. -1 with errno where not even the start of it opens. */
int path_open_dir(int base, const char *arg, const char **rest);
/* What of MOUNT/.vexfs/status is about slow operations, printed (status.c). */
int status_slow(const struct mount *m);
/* The directory above all others of the filesystem that dirfd is on (O_PATH). */
int path_climb(int dirfd);

#endif
