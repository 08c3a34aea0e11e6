/* SPDX-License-Identifier: Apache-2.0 */
/* fsck: vexfs --fsck, for main. */
#ifndef VEXFS_FSCK_H
#define VEXFS_FSCK_H

#include "options.h"

/* Whether the command line asks for it, before any "--". */
bool fsck_wanted(int argc, char **argv);
/* The exit code of the program. */
int fsck_main(int argc, char **argv);

#endif
