/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore: a store out of a backup. The files and what VexFS keeps are copied; then
 * `vexfs --restore` gives the files their marks again, for a mount shows none, and checks
 * the result. The catalog comes last: a restore cut short leaves a STORE that a mount
 * refuses, since it has slot files and no catalog.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>

#include "backup.h"
#include "commands.h"
#include "manifest.h"
#include "progress.h"
#include "tree.h"

static const char help[] = "usage: vexctl restore SRC STORE\n"
			   "\n"
			   "Makes a store of the backup SRC: STORE is made, or is an "
			   "empty directory. Mounted, it\n"
			   "answers as the one that was backed up did. What was restored "
			   "is checked (exit 2 where\n"
			   "something is wrong with it).\n";

bool dir_is_empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool empty = d != NULL;
	struct dirent *e;

	while (d && empty && (e = readdir(d)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
			!strcmp(e->d_name, "lost+found");
	if (d)
		closedir(d);
	return empty;
}

static int copy_tree(int from_at, const char *from_name, int to, const char *to_name,
		     struct progress *p)
{
	AUTO_CLOSE int from =
	    openat(from_at, from_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct tree t = { .from = from, .to = to, .to_name = to_name, .progress = p };

	if (from < 0)
		return cli_error("%s: %s", from_name, strerror(errno));
	if (tree_copy(&t))
		return CLI_ERROR;
	return t.failed ? cli_error("%llu files of the backup could not be read",
				    (unsigned long long)t.failed)
			: 0;
}

/* STORE/.vexfs but for the catalog's name. */
static int copy_store(int src, int store, const char *name, int *ours)
{
	struct progress none = { .shown = false };

	if (mkdirat(store, ".vexfs", 0700))
		return cli_error("%s/.vexfs: %s", name, strerror(errno));
	*ours = openat(store, ".vexfs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ours < 0)
		return cli_error("%s/.vexfs: %s", name, strerror(errno));
	if (copy_tree(src, "store", *ours, name, &none))
		return CLI_ERROR;
	if (renameat(*ours, "catalog.db", *ours, "catalog.restored"))
		return cli_error("%s/.vexfs/catalog.db: %s", name, strerror(errno));
	return 0;
}

static int copy_all(int src, int store, const char *name)
{
	AUTO_CLOSE int ours = -1;
	struct progress p;
	int err;

	progress_start(&p, 0);
	err = copy_store(src, store, name, &ours);
	if (!err)
		err = copy_tree(src, "tree", store, name, &p);
	progress_end(&p);
	if (err)
		return err;
	if (syncfs(store) || renameat(ours, "catalog.restored", ours, "catalog.db") ||
	    fsync(ours))
		return cli_error("%s: %s", name, strerror(errno));
	return 0;
}

static int check_source(int src, const char *name)
{
	struct manifest m;

	if (manifest_read(src, name, &m))
		return CLI_ERROR;
	if (m.state == BACKUP_NONE)
		return cli_error("%s: not a backup", name);
	if (m.state == BACKUP_RUNNING)
		return cli_error("%s: this backup was interrupted, or is being written: "
				 "run vexctl backup again",
				 name);
	if (m.state == BACKUP_PARTIAL)
		cli_note("%s: %llu files could not be read when it was made", name,
			 (unsigned long long)m.unread);
	return 0;
}

static int open_target(const char *name, int *out)
{
	if (mkdir(name, 0777) && errno != EEXIST)
		return cli_error("%s: %s", name, strerror(errno));
	*out = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*out < 0)
		return cli_error("%s: %s", name, strerror(errno));
	return dir_is_empty(*out) ? 0 : cli_error("%s: is not empty", name);
}

static int finish(const char *store)
{
	AUTO_FREE char *path = cli_alloc(1, PATH_MAX + 8);
	const char *argv[] = { "vexfs", "--restore", "--", store, NULL };

	execvp(find_vexfs(path), (char *const *)(uintptr_t)argv);
	return cli_error("vexfs: %s", strerror(errno));
}

int cmd_restore(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_CLOSE int src = -1, store = -1;
	int code = options_parse(in, none, help);

	if (code >= 0)
		return code;
	if (in->nargs != 2)
		return cli_error("needs SRC and STORE");
	src = open(in->args[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (src < 0)
		return cli_error("%s: %s", in->args[0], strerror(errno));
	code = check_source(src, in->args[0]);
	if (!code)
		code = open_target(in->args[1], &store);
	if (!code)
		code = copy_all(src, store, in->args[1]);
	return code ? code : finish(in->args[1]);
}
