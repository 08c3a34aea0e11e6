/* SPDX-License-Identifier: Apache-2.0 */
/* commands: one function each; the table is in main.c. They return the exit code. */
#ifndef VEXCTL_COMMANDS_H
#define VEXCTL_COMMANDS_H

#include "options.h"

int cmd_rebuild(struct invocation *in);
int cmd_recall(struct invocation *in);
int cmd_search(struct invocation *in);
int cmd_attach(struct invocation *in);
int cmd_detach(struct invocation *in);
int cmd_get(struct invocation *in);
int cmd_import(struct invocation *in);
int cmd_export(struct invocation *in);
int cmd_space(struct invocation *in);
int cmd_txn(struct invocation *in);
int cmd_config(struct invocation *in);
int cmd_events(struct invocation *in);
int cmd_health(struct invocation *in);
int cmd_top(struct invocation *in);
int cmd_stats(struct invocation *in);
int cmd_status(struct invocation *in);
int cmd_sync(struct invocation *in);
int cmd_fsck(struct invocation *in);
int cmd_backup(struct invocation *in);
int cmd_reattach(struct invocation *in);
int cmd_restore(struct invocation *in);
int cmd_scan(struct invocation *in);
int cmd_stale(struct invocation *in);
int cmd_checkpoint(struct invocation *in);
int cmd_compact(struct invocation *in);
int cmd_umount(struct invocation *in);

#endif
