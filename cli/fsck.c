/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsck: a store that is not mounted is vexfs's to check: this runs `vexfs --fsck`, the
 * one beside this program, else the one in $PATH. Its lines and its exit code are ours.
 */
#include <limits.h>

#include "backup.h"
#include "commands.h"

enum { FSCK_FAILED = 8, FSCK_USAGE = 16 };

static const char help[] =
    "usage: vexctl fsck [--repair] STORE\n"
    "\n"
    "Checks what VexFS keeps in STORE, which must not be mounted: the catalog, every\n"
    "vector's checksum, and whether the files are where it knows them. Changes nothing\n"
    "without --repair; with it, what can be made good without losing anything is.\n"
    "\n"
    "Exit code as fsck(8), a sum: 0 clean, 1 repaired, 4 something is left, 8 it could\n"
    "not be checked, 16 usage, 32 cancelled.\n";

/* Beside us where there is one. */
const char *find_vexfs(char *path)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 8);
	char *slash;

	if (n <= 0)
		return "vexfs";
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return "vexfs";
	strcpy(slash + 1, "vexfs");
	return access(path, X_OK) ? "vexfs" : path;
}

int cmd_fsck(struct invocation *in)
{
	AUTO_FREE char *path = cli_alloc(1, PATH_MAX + 8);
	const char *argv[6] = { "vexfs", "--fsck" };
	bool repair = false;
	const struct opt opts[] = {
		{ "repair", 0, OPT_FLAG, &repair, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);
	int n = 2;

	if (code >= 0)
		return code ? FSCK_USAGE : 0;
	if (in->nargs != 1) {
		cli_error("needs one STORE");
		return FSCK_USAGE;
	}
	if (repair)
		argv[n++] = "--repair";
	argv[n++] = "--";
	argv[n] = in->args[0];
	execvp(find_vexfs(path), (char *const *)(uintptr_t)argv);
	cli_error("vexfs: %s", strerror(errno));
	return FSCK_FAILED;
}
