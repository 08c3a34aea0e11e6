/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a node for what is attached to the first time: the mark goes onto the backing
 * file at once, the rows into the caller's change list. If that commit fails, or never
 * comes, the mark names an id the catalog does not know and counts as none.
 */
#include "names_i.h"

static void new_row(struct vex_engine *e, const struct who *w, struct vex_node *n)
{
	memset(n, 0, sizeof(*n));
	n->id = vex_store_new_node(e->store);
	node_row_from(n, w);
	/* Without a name (O_TMPFILE, unlinked but open) it is as one that is going:
	 * a crash then leaves nothing behind. A link makes it live. */
	n->state = w->st.st_nlink ? VEX_LIVE : VEX_GOING;
}

static vex_err give_mark(int fd, struct vex_node *n)
{
	vex_err err = vex_random(n->mark, sizeof(n->mark));

	n->has_mark = true;
	return err ? err : node_write_mark(fd, n);
}

/* Where the object is: as the caller says, else as its descriptor's path says. */
static vex_err where(struct vex_engine *e, const struct vex_obj *o, const struct stat *st,
		     int *dirfd, char **name)
{
	vex_err err;

	if (!node_name_true(o, st))
		return climb_where(e, o->fd, st, dirfd, name);
	err = vex_dup(o->dirfd, dirfd);
	if (err)
		return err;
	*name = strdup(o->name);
	return *name ? 0 : -ENOMEM;
}

static vex_err make_file(struct vex_engine *e, const struct vex_obj *o,
			 const struct who *w, struct changes *l, uint64_t *node)
{
	AUTO_CLOSE int dirfd = -1;
	AUTO_FREE char *name = NULL;
	uint64_t parent = 0;
	struct vex_node n;
	vex_err err = -ENOENT;

	if (w->st.st_nlink)
		err = where(e, o, &w->st, &dirfd, &name);
	if (!err)
		err = node_ensure_dir(e, dirfd, &parent);
	/* Named, but the name is not to be had: place_find goes by the handle. */
	if (err && err != -ENOENT)
		return err;
	new_row(e, w, &n);
	err = give_mark(o->fd, &n);
	if (err)
		return err;
	change_node(l, VEX_NODE_NEW, &n);
	if (parent)
		change_name(l, VEX_NAME_ADD, n.id, parent, name);
	*node = n.id;
	return l->err;
}

/* A directory above attached files has a node without a mark. */
static vex_err make_dir(struct vex_engine *e, struct vex_reader *r,
			const struct vex_obj *o, struct changes *l, uint64_t *node)
{
	struct vex_node n = { 0 };
	vex_err err = node_ensure_dir(e, o->fd, node);

	if (!err)
		err = vex_read_node(r, *node, &n);
	if (err || n.has_mark || n.id == ROOT_NODE)
		return err;
	err = give_mark(o->fd, &n);
	if (!err)
		change_node(l, VEX_NODE_SET, &n);
	return err ? err : l->err;
}

/* The list may hold the node already: two puts to one new file in one commit. */
static uint64_t pending(const struct changes *l, const struct who *w)
{
	for (size_t i = w->marked ? l->n : 0; i; i--) {
		const struct vex_change *c = &l->c[i - 1];

		if ((c->kind == VEX_NODE_NEW || c->kind == VEX_NODE_SET) &&
		    mark_is(&w->mark, c->node_in))
			return c->node_in->id;
	}
	return 0;
}

/* An existing node about to be attached to: its row and names brought up to date. */
static vex_err refresh(struct vex_engine *e, struct vex_reader *r,
		       const struct vex_obj *o, const struct who *w, struct vex_node *n,
		       struct changes *l)
{
	vex_err err = 0;

	node_found(e, r, o, w, n->id);
	if (n->id == ROOT_NODE)
		return 0;
	if (!n->has_mark)
		err = give_mark(o->fd, n);
	else if (n->size == w->st.st_size && n->mtime_ns == mtime_ns(&w->st))
		return 0;
	if (err)
		return err;
	node_row_from(n, w);
	change_node(l, VEX_NODE_SET, n);
	return l->err;
}

/* A directory may be known for what lies below it, and have no mark yet: then a copy of
 * the store would not know it again. */
bool node_may_lack_mark(int fd)
{
	struct mark m;
	struct stat st;

	return !fstat(fd, &st) && S_ISDIR(st.st_mode) && mark_read(fd, &m) == -ENODATA;
}

vex_err node_ensure(struct vex_engine *e, const struct vex_obj *o, struct changes *l,
		    uint64_t *node)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_node n;
	struct who w;
	vex_err err;

	*node = node_remembered(o);
	if (*node && !dircache_lost(e->dircache, *node) && !node_may_lack_mark(o->fd))
		return 0;
	err = who_read(e, o, &w);
	if (err)
		return err;
	*node = pending(l, &w);
	if (*node)
		return 0;
	err = vex_reader_get(e->store, &r);
	if (err)
		return err;
	err = node_identify_who(e, r, o, &w, &n);
	if (!err) {
		*node = n.id;
		return refresh(e, r, o, &w, &n, l);
	}
	if (err != -ENOENT)
		return err;
	if (S_ISDIR(w.st.st_mode))
		return make_dir(e, r, o, l, node);
	return make_file(e, o, &w, l, node);
}
