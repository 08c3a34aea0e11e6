/* SPDX-License-Identifier: Apache-2.0 */
/* Private to export.c and export_all.c. */
#ifndef VEXCTL_EXPORT_I_H
#define VEXCTL_EXPORT_I_H

#include "export.h"
#include "mount.h"
#include "progress.h"
#include "session.h"

struct target {
	const char *name; /* as asked for; "-" is stdout */
	char *temp;       /* written now; NULL: straight to name */
	FILE *f;
};

struct export
{
	const char *space, *paths_file, *format;
	bool quiet, all;
	struct mount mount;
	struct session session;
	struct target out, paths;
	struct writer writer;
	size_t row_bytes; /* as stored */
	struct progress progress;
	char value[65536 + 1]; /* of one xattr */
};

/* Writes what the session's export has. */
int export_copy(struct export *e, struct session *s);
/* export_all.c: all spaces, and the end of the file. */
int export_all(struct export *e);

#endif
