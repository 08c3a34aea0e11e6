/* SPDX-License-Identifier: Apache-2.0 */
/* options: the command line of vexfs, for main. */
#ifndef VEXFS_OPTIONS_H
#define VEXFS_OPTIONS_H

#include <vexfs/fs.h>

struct options {
	bool foreground, debug, single;
	bool mount_helper, fake, sloppy; /* called by mount(8) */
	char *store, *mountpoint;        /* absolute */
	struct vex_engine_opts engine;
	struct vex_settings settings; /* defaults, vexfs.conf, the command line */
	unsigned given;               /* bits of settings that are no knobs */
	struct vex_buf kernel;        /* "allow_other,ro": for the mount itself */
	struct vex_buf shown;         /* ours that were given, for status */
};

/* -1: go on; else the exit code: what there was to say has been said. Points into
 * argv. */
int options_parse(struct options *o, int argc, char **argv);

/* One line to stderr; returns `code`. */
int vexfs_fail(int code, const char *fmt, ...) VEX_PRINTF(2, 3);

#endif
