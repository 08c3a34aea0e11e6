/* SPDX-License-Identifier: Apache-2.0 */
/* backup: what backup, restore and fsck share. */
#ifndef VEXCTL_BACKUP_H
#define VEXCTL_BACKUP_H

#include "util.h"

bool dir_is_empty(int dir);
/* The daemon's program: the one beside us, else the one in $PATH. `path` is room for its
 * name, PATH_MAX + 8 bytes. */
const char *find_vexfs(char *path);

#endif
