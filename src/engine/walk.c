/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the directory of a node, wherever it is now. By handle where that works:
 * one system call, true after any rename. Else by walking: from the node up through
 * the recorded names to an ancestor that opens, then down by openat(2), each step
 * verified. A node may have several candidate names (a rename under way, or cut short
 * by a crash), so the walk tries them in turn: a depth-first search with its own
 * stack, bounded in steps, since a catalog restored from elsewhere may hold anything.
 */
#include "names_i.h"

#define DEPTH_MAX 16384u
#define STEPS_MAX 65536u

/* A node on the way up, with the names still to try. */
struct level {
	uint64_t node;
	struct namelist names;
	size_t next; /* names[next - 1] is being tried */
};

struct walk {
	struct vex_engine *e;
	struct vex_reader *r;
	struct level *v;
	size_t n, cap;
	uint64_t moves;
};

static void walk_free(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		namelist_free(&w->v[i].names);
	free(w->v);
}

static vex_err push(struct walk *w, uint64_t node)
{
	if (w->n >= DEPTH_MAX)
		return -ENOENT;
	if (w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 8;
		struct level *v = reallocarray(w->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		w->v = v;
		w->cap = cap;
	}
	w->v[w->n++] = (struct level){ .node = node };
	return namelist_read(w->r, node, &w->v[w->n - 1].names);
}

static void pop(struct walk *w)
{
	namelist_free(&w->v[--w->n].names);
}

static vex_err by_handle(struct vex_engine *e, const struct vex_node *n, int *out)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	vex_err err;

	if (!e->handles || !n->fh.len || n->fh_old)
		return -ENOENT;
	err = vex_fh_open(e->rootfd, &n->fh, O_PATH | O_DIRECTORY | O_CLOEXEC, &fd);
	if (err)
		return err == -ESTALE || err == -EPERM || err == -ENOTDIR ? -ENOENT : err;
	if (fstat(fd, &st) || !st.st_nlink || !climb_below(e, fd))
		return -ENOENT;
	*out = take_fd(&fd);
	return 0;
}

/* Opened by handle: see that the recorded name is the present one. A directory moved
 * behind us keeps its node; without this, a copy of the store would not find it. */
static void check_name(struct vex_engine *e, struct vex_reader *r, uint64_t node, int fd)
{
	AUTO_CLOSE int dirfd = -1;
	AUTO_FREE char *name = NULL;
	struct stat st;

	if (!fstat(fd, &st) && !climb_where(e, fd, &st, &dirfd, &name))
		node_note_name(e, r, node, dirfd, name);
}

/* Without walking: the root, the cache, the handle. */
static vex_err open_now(struct walk *w, uint64_t node, int *fd)
{
	struct vex_engine *e = w->e;
	struct vex_node n;
	vex_err err;

	if (node == ROOT_NODE)
		return vex_dup(e->rootfd, fd);
	err = dircache_get(e->dircache, node, w->moves, fd);
	if (err != -ENOENT)
		return err;
	err = vex_read_node(w->r, node, &n);
	if (!err)
		err = n.is_dir ? by_handle(e, &n, fd) : -ENOENT;
	if (err)
		return err;
	dircache_put(e->dircache, node, w->moves, *fd);
	check_name(e, w->r, node, *fd);
	return 0;
}

/* Opens the node of the level below `dir`, by the name being tried. */
static vex_err step_down(struct walk *w, struct level *l, int dir, int *out)
{
	const char *name = l->names.v[l->next - 1].name;
	AUTO_CLOSE int fd = -1;
	struct vex_node n;
	struct stat st, now;
	vex_err err = vex_read_node(w->r, l->node, &n);

	if (err)
		return err;
	if (!n.is_dir || !node_holds(w->e, w->r, &n, dir, name, &st))
		return -ENOENT;
	fd = vex_openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
	if (fstat(fd, &now) || !same_inode(&st, &now))
		return -ENOENT;
	dircache_put(w->e->dircache, l->node, w->moves, fd);
	*out = take_fd(&fd);
	return 0;
}

/* The top level is open as *fd: go down as far as names hold. Level 0 reached: 0. */
static vex_err descend(struct walk *w, int *fd)
{
	while (w->n > 1) {
		AUTO_CLOSE int dir = take_fd(fd);
		vex_err err;

		pop(w);
		err = step_down(w, &w->v[w->n - 1], dir, fd);
		if (err)
			return err;
	}
	return 0;
}

static vex_err search(struct walk *w, int *fd)
{
	for (unsigned steps = 0; w->n && steps < STEPS_MAX; steps++) {
		struct level *top = &w->v[w->n - 1];
		vex_err err = top->next ? -ENOENT : open_now(w, top->node, fd);

		if (!err)
			err = descend(w, fd);
		if (err != -ENOENT)
			return err;
		top = &w->v[w->n - 1];
		if (top->next < top->names.n)
			err = push(w, top->names.v[top->next++].parent);
		else
			pop(w);
		if (err && err != -ENOENT)
			return err;
	}
	return -ENOENT;
}

vex_err dir_open(struct vex_engine *e, struct vex_reader *r, uint64_t node, int *fd)
{
	struct walk w = { .e = e, .r = r, .moves = atomic_load(&e->moves) };
	int out = -1;
	vex_err err = open_now(&w, node, &out);

	if (err == -ENOENT) {
		err = push(&w, node);
		if (!err)
			err = search(&w, &out);
		walk_free(&w);
	}
	if (!err)
		*fd = out;
	return err;
}
