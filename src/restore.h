/* SPDX-License-Identifier: Apache-2.0 */
/* restore: vexfs --restore, for main. */
#ifndef VEXFS_RESTORE_H
#define VEXFS_RESTORE_H

#include "options.h"

/* Whether the command line asks for it, before any "--". */
bool restore_wanted(int argc, char **argv);
/* The exit code of the program. */
int restore_main(int argc, char **argv);

#endif
