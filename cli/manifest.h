/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest: what a backup says of itself, lines of "name value" in DEST/manifest. It is
 * replaced as a whole, so it is never half written; `state` is "running" from before
 * the first byte of a backup is written until after the last one is on the device.
 */
#ifndef VEXCTL_MANIFEST_H
#define VEXCTL_MANIFEST_H

#include "util.h"

#define MANIFEST "manifest"

enum backup_state {
	BACKUP_NONE,     /* no manifest */
	BACKUP_RUNNING,  /* or interrupted */
	BACKUP_COMPLETE, /* all of it */
	BACKUP_PARTIAL,  /* but for files that could not be read */
};

struct manifest {
	enum backup_state state;
	uint8_t uuid[16]; /* of the store; zero: unknown */
	uint64_t lsn;     /* of the last complete backup: slots up to it are there */
	int64_t time;     /* when that was begun, seconds since 1970 */
	uint64_t files, unread;
};

/* No manifest: BACKUP_NONE. CLI_ERROR: it is none of ours, or cannot be read. */
int manifest_read(int dir, const char *name, struct manifest *out);
/* Durable when it returns. */
int manifest_write(int dir, const char *name, const struct manifest *m);

#endif
