/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree: one directory after the other, from a list that grows as they are met; so depth
 * costs memory, not stack. A file whose size and time are those of its copy is taken for
 * unchanged; its owner, mode and xattrs are looked at all the same. A file is written
 * under another name and renamed when it is whole. What one file is made of, and its
 * attributes: tree_file.c.
 *
 * Directories get their times last, from the bottom up: making entries moves them.
 */
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "progress.h"
#include "tree_i.h"

static int open_dir(int root, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
}

int tree_unread(struct walk *w, const char *name)
{
	/* Gone since it was listed: then it need not be there. */
	if (errno == ENOENT)
		return 0;
	cli_note("%s%s%s: %s", w->dir, *w->dir && *name ? "/" : "", name,
		 strerror(errno));
	w->t->failed++;
	return 0;
}

int tree_broken(struct walk *w, const char *name)
{
	return cli_error("%s/%s%s%s: %s", w->t->to_name, w->dir, *w->dir ? "/" : "", name,
			 strerror(errno));
}

/* ---- what is too much ------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

int tree_remove(struct walk *w, const char *name)
{
	char path[64 + NAME_MAX];

	if (!unlinkat(w->to, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return tree_broken(w, name);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", w->to, name);
	return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) ? tree_broken(w, name)
								: 0;
}

static bool ours(const struct walk *w, const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..") ||
	       (!*w->dir && !strcmp(name, ".vexfs"));
}

static int remove_others(struct walk *w)
{
	int fd = openat(w->to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	int err = 0;

	if (!d)
		return tree_broken(w, "");
	while (!err && (e = readdir(d)))
		if (!ours(w, e->d_name) &&
		    fstatat(w->from, e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    errno == ENOENT)
			err = tree_remove(w, e->d_name);
	closedir(d);
	return err;
}

/* ---- one entry ------------------------------------------------------------------- */

static void push_dir(struct walk *w, const char *name)
{
	size_t size = strlen(w->dir) + strlen(name) + 2;
	char *path = cli_alloc(1, size);

	snprintf(path, size, "%s%s%s", w->dir, *w->dir ? "/" : "", name);
	if (w->n == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		char **list = cli_alloc(room, sizeof(*list));

		if (w->n)
			memcpy(list, w->list, w->n * sizeof(*list));
		free(w->list);
		w->list = list;
		w->room = room;
	}
	w->list[w->n++] = path;
}

static int make_dir(struct walk *w, const char *name)
{
	struct stat st;

	if (!fstatat(w->to, name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISDIR(st.st_mode) &&
	    tree_remove(w, name))
		return CLI_ERROR;
	if (mkdirat(w->to, name, 0700) && errno != EEXIST)
		return tree_broken(w, name);
	push_dir(w, name);
	return 0;
}

static int entry(struct walk *w, const char *name)
{
	struct stat st;

	if (fstatat(w->from, name, &st, AT_SYMLINK_NOFOLLOW))
		return tree_unread(w, name);
	if (S_ISDIR(st.st_mode))
		return make_dir(w, name);
	w->t->files++;
	if (w->t->progress)
		progress_at(w->t->progress, w->t->files, 0);
	return tree_file(w, name, &st);
}

/* The backup itself, where it lies in the tree. */
static bool is_backup(struct walk *w)
{
	const struct stat *not = w->t->not_in;
	struct stat st;

	return not &&!fstatat(w->from, "manifest", &st, AT_SYMLINK_NOFOLLOW) &&
	       st.st_ino == not ->st_ino && st.st_size == not ->st_size &&
	       st.st_mtim.tv_sec == not ->st_mtim.tv_sec &&
	       st.st_mtim.tv_nsec == not ->st_mtim.tv_nsec;
}

static int entries(struct walk *w)
{
	int fd = openat(w->from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return tree_unread(w, "");
	if (is_backup(w)) {
		cli_note("%s: the backup lies in the store: left out", w->dir);
	} else {
		while (!err && (errno = 0, e = readdir(d)))
			err = ours(w, e->d_name) ? 0 : entry(w, e->d_name);
		if (!err && errno)
			err = tree_unread(w, "");
	}
	closedir(d);
	return err ? err : remove_others(w);
}

static int one_dir(struct walk *w, const char *dir)
{
	AUTO_CLOSE int from = open_dir(w->t->from, dir);
	AUTO_CLOSE int to = open_dir(w->t->to, dir);

	w->dir = dir;
	w->from = from;
	w->to = to;
	if (from < 0)
		return tree_unread(w, "");
	if (to < 0)
		return tree_broken(w, "");
	return entries(w);
}

static int dir_attributes(struct walk *w, const char *dir)
{
	AUTO_CLOSE int from = open_dir(w->t->from, dir);
	AUTO_CLOSE int to = open_dir(w->t->to, dir);
	struct stat st;

	w->dir = dir;
	if (from < 0 || to < 0)
		return 0;
	if (fstat(from, &st))
		return tree_unread(w, "");
	return tree_attributes(w, "", from, to, &st);
}

int tree_copy(struct tree *t)
{
	struct walk w = { .t = t, .dir = "" };
	int err;

	push_dir(&w, "");
	err = 0;
	for (size_t i = 0; !err && i < w.n; i++)
		err = one_dir(&w, w.list[i]);
	for (size_t i = w.n; !err && i-- > 0;)
		err = dir_attributes(&w, w.list[i]);
	for (size_t i = 0; i < w.n; i++)
		free(w.list[i]);
	free(w.list);
	links_free(&w.links);
	return err;
}
