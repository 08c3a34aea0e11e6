/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding an object again whose descriptor was closed.
 *
 * By handle where we may: one system call, and it follows the file wherever it was
 * moved. Else by name, from the nearest directory above that is open, each step
 * verified against what we remember: a name may have been given to another file behind
 * the mount. What cannot be found is -ESTALE; the kernel then looks names up afresh.
 *
 * Handles are opened through rootfd, so they hold on STORE's own filesystem only;
 * what is mounted below STORE is found by name.
 */
#include "fs_i.h"

/* Deeper than any path a client can build without help; a bound against cycles in
 * what we remember of trees that were moved behind the mount. */
#define DEPTH_MAX 65536u

vex_err identify(int fd, struct stat *st, struct vex_fh *fh)
{
	if (fstatat(fd, "", st, AT_EMPTY_PATH))
		return -errno;
	vex_err err = vex_fh_get(fd, "", fh, NULL);
	if (err == -EPERM || err == -ENOSYS) { /* forbidden by a container */
		memset(fh, 0, sizeof(*fh));
		return 0;
	}
	return err;
}

static vex_err verify(const struct inode *i, int fd)
{
	struct stat st;
	struct vex_fh fh, known;
	vex_err err = identify(fd, &st, &fh);

	if (err)
		return err;
	inode_fh(i, &known);
	if (st.st_dev != i->dev || st.st_ino != i->ino ||
	    (st.st_mode & S_IFMT) != i->type || fh.len != known.len ||
	    (fh.len && !vex_fh_equal(&fh, &known)))
		return -ESTALE;
	return 0;
}

static vex_err by_handle(struct vex_fs *fs, struct inode *i, int *fd)
{
	struct vex_fh fh;

	inode_fh(i, &fh);
	return vex_fh_open(fs->rootfd, &fh, O_PATH | O_NOFOLLOW, fd);
}

/* ---- by name -------------------------------------------------------------------- */

struct step {
	struct inode *inode; /* counted */
	char name[NAME_MAX + 1];
};

struct walk {
	struct vex_fs *fs;
	struct step *step; /* step[0]: the one to find; above it, its directories */
	size_t n, cap;
};

static void walk_free(struct walk *w)
{
	for (size_t k = 0; k < w->n; k++)
		inode_unref(w->fs, w->step[k].inode, 1);
	free(w->step);
}

static vex_err walk_room(struct walk *w)
{
	if (w->n < w->cap)
		return 0;
	if (w->n >= DEPTH_MAX)
		return -ESTALE;
	size_t cap = w->cap ? w->cap * 2 : 8;
	struct step *step = realloc(w->step, cap * sizeof(*step));
	if (!step)
		return -ENOMEM;
	w->step = step;
	w->cap = cap;
	return 0;
}

static vex_err walk_add(struct walk *w, struct inode *i)
{
	vex_err err = walk_room(w);

	if (err)
		inode_unref(w->fs, i, 1);
	else
		w->step[w->n++].inode = i;
	return err;
}

/* Climbs what we remember up to an open directory, the last step. */
static vex_err walk_up(struct walk *w, struct inode *i, struct fdref *base)
{
	inode_ref(i);
	vex_err err = walk_add(w, i);
	while (!err) {
		struct inode *parent;

		if (!inode_place(w->fs, i, &parent, w->step[w->n - 1].name))
			return -ESTALE;
		err = walk_add(w, parent);
		if (!err && fd_try(w->fs, parent, base))
			return 0;
		i = parent;
	}
	return err;
}

static vex_err step_open(int dirfd, const struct step *s, int *fd)
{
	AUTO_CLOSE int got = vex_openat(dirfd, s->name, O_PATH | O_NOFOLLOW, 0);

	if (got < 0)
		return errno == ENOENT || errno == ENOTDIR ? -ESTALE : -errno;
	vex_err err = verify(s->inode, got);
	if (err)
		return err;
	*fd = take_fd(&got);
	return 0;
}

static vex_err by_name(struct vex_fs *fs, struct inode *i, int *out)
{
	__attribute__((cleanup(walk_free))) struct walk w = { .fs = fs };
	AUTO_FD struct fdref dir = FDREF_INIT;
	int fd;

	vex_err err = walk_up(&w, i, &dir);
	if (err)
		return err;
	for (size_t k = w.n - 2; k; k--) {
		struct fdref below;

		err = step_open(dir.fd, &w.step[k], &fd);
		if (err)
			return err;
		fd_give(fs, w.step[k].inode, fd, &below);
		fd_put(&dir);
		dir = below;
	}
	return step_open(dir.fd, &w.step[0], out);
}

vex_err inode_reopen(struct vex_fs *fs, struct inode *i, int *fd)
{
	if (i->kind != I_BACKED)
		return -EBADF;
	if (fs->handles && inode_has_fh(i) && i->dev == fs->root_dev)
		return by_handle(fs, i, fd);
	return by_name(fs, i, fd);
}
