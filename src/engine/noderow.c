/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of nodes and names, as changes: what node.c, place.c, life.c and rename.c
 * write down. What is only learned (a new handle, a new name) goes into a commit that
 * nobody waits for: losing it costs finding it out again.
 */
#include "names_i.h"

struct vex_change *change_name(struct changes *l, enum vex_change_kind kind,
			       uint64_t node, uint64_t parent, const char *name)
{
	size_t len = strlen(name);
	struct vex_change *c = changes_add(l, kind);

	if (!c)
		return NULL;
	c->node = node;
	c->parent = parent;
	c->name = changes_dup(l, name, len);
	c->name_len = (uint32_t)len;
	return c->name ? c : NULL;
}

struct vex_change *change_state(struct changes *l, uint64_t node,
				enum vex_node_state state)
{
	struct vex_change *c = changes_add(l, VEX_NODE_STATE);

	if (!c)
		return NULL;
	c->node = node;
	c->state = (uint8_t)state;
	return c;
}

struct vex_change *change_node(struct changes *l, enum vex_change_kind kind,
			       const struct vex_node *n)
{
	struct vex_change *c = changes_add(l, kind);

	if (!c)
		return NULL;
	c->node = n->id;
	c->node_in = changes_dup(l, n, sizeof(*n));
	return c->node_in ? c : NULL;
}

vex_err changes_commit(struct vex_engine *e, struct changes *l)
{
	if (l->err)
		return l->err;
	return l->n ? vex_store_commit(e->store, l->c, l->n, NULL) : 0;
}

static void changes_later(struct vex_engine *e, struct changes *l)
{
	if (!l->err && l->n)
		vex_store_commit_later(e->store, l->c, l->n);
}

/* What w shows, into the row of a node. */
void node_row_from(struct vex_node *n, const struct who *w)
{
	n->fh = w->fh;
	n->fh_old = false;
	n->ino = w->st.st_ino;
	n->size = w->st.st_size;
	n->mtime_ns = mtime_ns(&w->st);
	n->is_dir = S_ISDIR(w->st.st_mode);
}

void node_relink(struct vex_engine *e, struct vex_node *n, const struct who *w)
{
	AUTO_CHANGES struct changes l = { 0 };

	struct vex_change *c;

	node_row_from(n, w);
	change_node(&l, VEX_NODE_SET, n);
	c = changes_add(&l, VEX_UNKEEP);
	if (c)
		c->node = n->id;
	changes_later(e, &l);
	if (n->is_dir && !l.err)
		nodeset_add(e->dirset, &n->fh, n->id);
}

void node_note_name(struct vex_engine *e, struct vex_reader *r, uint64_t node, int dirfd,
		    const char *name)
{
	AUTO_CHANGES struct changes l = { 0 };
	AUTO_NAMES struct namelist names = { 0 };
	uint64_t parent;

	if (node == ROOT_NODE || node_ensure_dir(e, dirfd, &parent))
		return;
	/* Walking is all there is: then the names above have to be true as well. */
	if (!e->handles)
		dirs_note_names(e, r, dirfd);
	if (namelist_read(r, node, &names) || namelist_has(&names, parent, name))
		return;
	change_name(&l, VEX_NAME_ADD, node, parent, name);
	changes_later(e, &l);
}
