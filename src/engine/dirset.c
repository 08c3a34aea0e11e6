/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory nodes. Each directory above an attached file has a row (handle, parent,
 * name), so renaming a directory changes one row whatever lies below it.
 *
 * A directory is known by its handle. Where the handle is not known (a copied store,
 * another filesystem, none at all) the way is: climb to an ancestor that is known,
 * at last the root, noting names; then go down through the catalog by (parent, name),
 * linking what is found there to the inode seen. Making the missing rows takes one
 * commit, under e->dirs, so that each directory gets one node.
 */
#include "names_i.h"

struct step {
	char *name;
	struct vex_fh fh;
	struct stat st;
	uint64_t node; /* once known */
};

/* The way from a directory (step 0) up to, but without, the known one (top). */
struct trail {
	struct step *v;
	size_t n, cap;
	uint64_t top;
};

static void trail_free(struct trail *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].name);
	free(t->v);
}
#define AUTO_TRAIL __attribute__((cleanup(trail_free)))

static struct step *trail_push(struct trail *t)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 8;
		struct step *v = reallocarray(t->v, cap, sizeof(*v));

		if (!v)
			return NULL;
		t->v = v;
		t->cap = cap;
	}
	memset(&t->v[t->n], 0, sizeof(*t->v));
	return &t->v[t->n++];
}

bool node_maybe_dir(struct vex_engine *e, const struct vex_fh *fh)
{
	return !fh->len || nodeset_get(e->dirset, fh) || !nodeset_complete(e->dirset);
}

/* Node of a directory by its handle: 0 not known. */
static vex_err by_handle(struct vex_engine *e, struct vex_reader *r,
			 const struct vex_fh *fh, uint64_t *node)
{
	struct vex_node n;
	vex_err err;

	*node = fh->len ? nodeset_get(e->dirset, fh) : 0;
	if (*node || !fh->len || nodeset_complete(e->dirset))
		return 0;
	err = vex_read_node_fh(r, fh, &n);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (!n.is_dir)
		return 0;
	nodeset_add(e->dirset, fh, n.id);
	*node = n.id;
	return 0;
}

static vex_err dir_handle(struct vex_engine *e, int fd, const struct stat *st,
			  struct vex_fh *fh)
{
	memset(fh, 0, sizeof(*fh));
	return st->st_dev == e->root_dev ? vex_fh_get(fd, "", fh, NULL) : 0;
}

/* One step up, or *done with t->top set. Replaces *fd by the directory above. */
static vex_err climb_step(struct vex_engine *e, struct vex_reader *r, struct trail *t,
			  int *fd, struct stat *st, bool *done)
{
	AUTO_CLOSE int up = -1;
	struct stat up_st;
	struct vex_fh fh;
	struct step *s;
	vex_err err;

	*done = true;
	t->top = ROOT_NODE;
	if (is_root(e, st))
		return 0;
	err = dir_handle(e, *fd, st, &fh);
	if (!err)
		err = by_handle(e, r, &fh, &t->top);
	if (err || t->top)
		return err;
	*done = false;
	err = climb_up(*fd, st, &up, &up_st);
	if (err)
		return err;
	s = trail_push(t);
	if (!s)
		return -ENOMEM;
	s->fh = fh;
	s->st = *st;
	err = climb_name(up, *fd, st, &s->name);
	close(*fd);
	*fd = take_fd(&up);
	*st = up_st;
	return err;
}

static vex_err trail_climb(struct vex_engine *e, struct vex_reader *r, int dirfd,
			   struct trail *t)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	bool done = false;
	vex_err err = vex_dup(dirfd, &fd);

	if (err)
		return err;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	while (!err && !done)
		err = climb_step(e, r, t, &fd, &st, &done);
	return err;
}

/* Whether the directory node n, recorded where s is, is s: 1; may be linked to it: 2. */
static int matches(struct vex_engine *e, const struct vex_node *n, const struct step *s)
{
	if (!n->is_dir)
		return 0;
	if (!n->fh_old && n->fh.len && s->fh.len && vex_fh_equal(&n->fh, &s->fh))
		return 1;
	if (!n->fh_old && !n->fh.len && !s->fh.len && n->ino == s->st.st_ino)
		return 1;
	if (node_of_other_disk(n, &s->fh))
		return 0;
	return node_alive(e, n) ? 0 : 2;
}

static void row_of_step(struct vex_node *n, const struct step *s)
{
	n->fh = s->fh;
	n->fh_old = false;
	n->is_dir = true;
	n->ino = s->st.st_ino;
	n->size = s->st.st_size;
	n->mtime_ns = mtime_ns(&s->st);
}

/* The recorded node of a step below `parent`; s->node 0: there is none. */
static vex_err find_step(struct vex_engine *e, struct vex_reader *r, uint64_t parent,
			 struct step *s, struct changes *l)
{
	AUTO_IDS struct idlist ids = { 0 };
	vex_err err = idlist_at(r, parent, s->name, &ids);
	struct vex_node n;

	for (size_t i = 0; !err && i < ids.n; i++) {
		int match = vex_read_node(r, ids.v[i], &n) ? 0 : matches(e, &n, s);

		if (!match)
			continue;
		s->node = n.id;
		if (match == 1)
			return 0;
		row_of_step(&n, s);
		change_node(l, VEX_NODE_SET, &n);
		return l->err;
	}
	return err;
}

static vex_err make_step(struct vex_engine *e, uint64_t parent, struct step *s,
			 struct changes *l)
{
	struct vex_node n = { .id = vex_store_new_node(e->store) };

	row_of_step(&n, s);
	s->node = n.id;
	change_node(l, VEX_NODE_NEW, &n);
	change_name(l, VEX_NAME_ADD, n.id, parent, s->name);
	return l->err;
}

/* From the top down to step 0. *node 0: some step has none (and make is false). */
static vex_err trail_down(struct vex_engine *e, struct vex_reader *r, struct trail *t,
			  bool make, struct changes *l, uint64_t *node)
{
	uint64_t parent = t->top;
	bool fresh = false; /* below a new node the catalog knows nothing */

	for (size_t i = t->n; i; i--) {
		struct step *s = &t->v[i - 1];
		vex_err err = fresh ? 0 : find_step(e, r, parent, s, l);

		if (!err && !s->node && make) {
			err = make_step(e, parent, s, l);
			fresh = true;
		}
		if (err)
			return err;
		if (!s->node) {
			parent = 0;
			break;
		}
		parent = s->node;
	}
	*node = parent;
	return 0;
}

static void remember_steps(struct vex_engine *e, const struct trail *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].node)
			nodeset_add(e->dirset, &t->v[i].fh, t->v[i].node);
}

static vex_err look(struct vex_engine *e, int dirfd, bool make, uint64_t *node)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_CHANGES struct changes l = { 0 };
	AUTO_TRAIL struct trail t = { 0 };
	uint64_t id = 0;
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = trail_climb(e, r, dirfd, &t);
	if (!err)
		err = trail_down(e, r, &t, make, &l, &id);
	if (!err)
		err = changes_commit(e, &l);
	if (err)
		return err;
	remember_steps(e, &t);
	*node = id;
	return 0;
}

/* True where memory alone answers. */
static vex_err quick(struct vex_engine *e, int dirfd, uint64_t *node, bool *known)
{
	struct vex_fh fh;
	struct stat st;
	vex_err err;

	if (fstat(dirfd, &st))
		return -errno;
	*known = true;
	*node = ROOT_NODE;
	if (is_root(e, &st))
		return 0;
	err = dir_handle(e, dirfd, &st, &fh);
	if (err)
		return err;
	*node = fh.len ? nodeset_get(e->dirset, &fh) : 0;
	*known = *node || (fh.len && nodeset_complete(e->dirset));
	return 0;
}

vex_err node_of_dir(struct vex_engine *e, int dirfd, uint64_t *node)
{
	bool known;
	vex_err err = quick(e, dirfd, node, &known);

	if (err || known)
		return err;
	SCOPED_LOCK(&e->dirs);
	return look(e, dirfd, false, node);
}

static vex_err make(struct vex_engine *e, int dirfd, uint64_t *node)
{
	SCOPED_LOCK(&e->dirs);
	return look(e, dirfd, true, node);
}

vex_err node_ensure_dir(struct vex_engine *e, int dirfd, uint64_t *node)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_MAKING struct making m = { 0 };
	bool known;
	vex_err err = quick(e, dirfd, node, &known);

	if (err || *node)
		return err;
	making_begin(e, &m);
	err = make(e, dirfd, node);
	if (!err && making_overlapped(&m) && !vex_reader_get(e->store, &r))
		dirs_note_names(e, r, dirfd);
	return err;
}

/* The present name of one directory; *fd and *st become those of the one above. */
static vex_err note_step(struct vex_engine *e, struct vex_reader *r, int *fd,
			 struct stat *st, struct changes *l)
{
	AUTO_NAMES struct namelist names = { 0 };
	AUTO_FREE char *name = NULL;
	AUTO_CLOSE int up = -1;
	uint64_t node = 0, parent = 0;
	struct stat up_st;
	vex_err err = climb_up(*fd, st, &up, &up_st);

	if (!err)
		err = climb_name(up, *fd, st, &name);
	if (!err)
		err = node_of_dir(e, *fd, &node);
	if (!err)
		err = node_of_dir(e, up, &parent);
	if (!err && node)
		err = namelist_read(r, node, &names);
	if (!err && node && parent && !namelist_has(&names, parent, name))
		change_name(l, VEX_NAME_ADD, node, parent, name);
	if (err)
		return err;
	close(*fd);
	*fd = take_fd(&up);
	*st = up_st;
	return l->err;
}

void dirs_note_names(struct vex_engine *e, struct vex_reader *r, int dirfd)
{
	AUTO_CHANGES struct changes l = { 0 };
	AUTO_CLOSE int fd = -1;
	struct stat st;
	vex_err err = vex_dup(dirfd, &fd);

	if (err || fstat(fd, &st))
		return;
	while (!err && !is_root(e, &st))
		err = note_step(e, r, &fd, &st, &l);
	if (!err && l.n)
		vex_store_commit_later(e->store, l.c, l.n);
}
