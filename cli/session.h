/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: an open of MOUNT/.vexfs/control. One thread uses it at a time.
 */
#ifndef VEXCTL_SESSION_H
#define VEXCTL_SESSION_H

#include "mount.h"

struct session {
	int fd;
	bool read_only; /* the mount is: nothing can be staged */
};

#define SESSION_INIT                                                                     \
	{                                                                                \
		.fd = -1                                                                 \
	}
void session_close(struct session *s);
#define AUTO_SESSION __attribute__((cleanup(session_close)))

int session_open(const struct mount *m, struct session *out);
/* 0 or a negative errno; nothing printed. */
int session_version(const struct mount *m, struct vexfs_version *out);
int session_call(struct session *s, unsigned long cmd, void *arg);
/* Prints why the last call failed, in the daemon's words where it has some, else as
 * "WHAT: strerror". Returns CLI_ERROR. */
int session_error(struct session *s, int err, const char *what);
/* The same as text; *item: which one of a batch was at fault. */
void session_reason(struct session *s, int err, struct buf *out, uint32_t *item);
/* Writes all of it to the session. 0 or a negative errno. */
int session_stage(struct session *s, const void *data, size_t n);
/* Reads whole records, as many as fit; 0 at their end. CLI_ERROR is printed. */
int session_read(struct session *s, void *buf, size_t size, size_t *n);

/* A space by its name; -ENODEV where there is none. */
int session_space(struct session *s, const char *name, struct vexfs_space *out);
/* Names of the spaces of `dim`, separated by blanks; returns how many. -errno. */
int session_space_by_id(struct session *s, uint32_t id, struct vexfs_space *out);
int session_spaces_of(struct session *s, uint32_t dim, struct buf *names);

#endif
