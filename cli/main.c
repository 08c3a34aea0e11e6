/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vexctl: the command line of VexFS. It knows a mount by what anyone can use: xattrs,
 * the ioctls of <vexfs/vexfs.h> and the files in MOUNT/.vexfs/. Here: the table of
 * commands; each lives in the file of its name.
 */
#include "commands.h"

static const struct command {
	const char *name;
	int (*run)(struct invocation *in);
} commands[] = {
	/* clang-format off: a line each, by name */
	{ "attach", cmd_attach },
	{ "backup", cmd_backup },
	{ "checkpoint", cmd_checkpoint },
	{ "compact", cmd_compact },
	{ "config", cmd_config },
	{ "detach", cmd_detach },
	{ "events", cmd_events },
	{ "export", cmd_export },
	{ "fsck", cmd_fsck },
	{ "get", cmd_get },
	{ "health", cmd_health },
	{ "import", cmd_import },
	{ "reattach", cmd_reattach },
	{ "rebuild", cmd_rebuild },
	{ "recall", cmd_recall },
	{ "restore", cmd_restore },
	{ "scan", cmd_scan },
	{ "search", cmd_search },
	{ "space", cmd_space },
	{ "stale", cmd_stale },
	{ "stats", cmd_stats },
	{ "status", cmd_status },
	{ "sync", cmd_sync },
	{ "top", cmd_top },
	{ "txn", cmd_txn },
	{ "umount", cmd_umount },
	/* clang-format on */
};

static const char help[] =
    "usage: vexctl [-m MOUNT] COMMAND ...\n"
    "\n"
    "  search   find the files nearest to a vector or to a file\n"
    "  attach   attach a vector to a file\n"
    "  get      print what is attached\n"
    "  detach   remove what is attached\n"
    "  import   attach many vectors from a file (.fvecs .bvecs .npy .jsonl .csv)\n"
    "  export   write the vectors of a space to a file\n"
    "  space    create, list, show, set, drop: the sets of vectors\n"
    "  txn      apply many puts and deletes in one step, or none\n"
    "  recall   measure what share of the true hits an index finds\n"
    "  rebuild  make an index anew\n"
    "  stale    files whose vectors are for other content, or were taken away\n"
    "  reattach bring back what a replacement took away\n"
    "  status   what the mount says of itself\n"
    "  config   read and set what may change while mounted\n"
    "  events   what happened to files with vectors: once, or following\n"
    "  health   well, warning or ill\n"
    "  top      what it is doing, again each second\n"
    "  stats    what it did: times, errors, stack, slow operations\n"
    "  sync     make every change so far durable\n"
    "  checkpoint  the same, and empty the write-ahead log\n"
    "  compact  give the room of removed vectors back\n"
    "  scan     check the files and vectors of a store in use\n"
    "  backup   copy the store while it is in use; again: what has changed\n"
    "  restore  make a store of a backup\n"
    "  fsck     check a store that is not mounted, and repair it\n"
    "  umount   unmount, and wait until the daemon is gone\n"
    "\n"
    "'vexctl COMMAND --help' says more; so does vexctl(1).\n"
    "The mount is -m MOUNT, else $VEXFS_MOUNT, else the one that holds the first PATH\n"
    "argument or the current directory.\n"
    "Exit: 0 done or found, 1 nothing found, 2 error; fsck as fsck(8).\n";

int main(int argc, char **argv)
{
	struct invocation in = { .argc = argc - 1, .argv = argv + 1 };
	int code = options_lead(&in, help);

	if (argc < 1 || code >= 0)
		return code < 0 ? CLI_ERROR : code;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(in.argv[0], commands[i].name))
			continue;
		cli_set_command(commands[i].name);
		in.argc--;
		in.argv++;
		code = cli_finish(commands[i].run(&in));
		free(in.args);
		return code;
	}
	return cli_error("unknown command '%s'; 'vexctl --help' lists them", in.argv[0]);
}
