/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file copied behind our back with its xattrs (cp -a within STORE) carries the
 * mark of its original. It gets a node of its own, with copies of all attachments,
 * in one commit; then its own mark. A crash between the two leaves the original's
 * mark on a file whose handle the catalog knows: identify_other() sets it right.
 * Where there are no handles the mark goes first: a crash then loses the copies of
 * the attachments, never the original's.
 *
 * Under e->dirs, so that two callers who see the same copy make one node.
 */
#include "attach_i.h"
#include "names_i.h"
#include "kept_i.h"

struct copier {
	struct vex_engine *e;
	struct vex_reader *r;
	uint64_t from, to;
	struct changes *l;
	struct vex_attach *v; /* without text */
	size_t n, cap;
	struct vex_space **spaces; /* one reference a put */
	size_t nspaces;
	/* Taken over: what the other has not, stale. NULL: a copy as it is. */
	const struct vex_obj *taker;
	bool fresh;    /* the other's node is made by the same list */
	size_t coming; /* bytes of names that are added */
};

static void copier_free(struct copier *c)
{
	for (size_t i = 0; i < c->nspaces; i++)
		vex_space_unref(c->spaces[i]);
	free(c->spaces);
	free(c->v);
}

static vex_err take_attach(void *arg, const struct vex_attach *a)
{
	struct copier *c = arg;

	vex_err err = attach_add(&c->v, &c->n, &c->cap, a);
	if (!err)
		c->v[c->n - 1].text = NULL;
	return err;
}

/* Copies the rows of one attachment to new slots. */
static vex_err copy_rows(struct copier *c, const struct vex_attach *a,
			 struct vex_space *sp, uint64_t *slot)
{
	AUTO_FREE void *data = malloc(a->rows * vex_space_stride(sp));
	vex_err err;

	if (!data)
		return -ENOMEM;
	err = vex_read_rows(c->e->store, a, data);
	return err ? err : vex_slots_write(sp, data, a->rows, slot);
}

static vex_err add_put(struct copier *c, const struct vex_attach *a, struct vex_space *sp,
		       uint64_t slot)
{
	struct vex_change *p = changes_add(c->l, VEX_PUT);

	if (!p) {
		vex_slots_return(sp, slot, a->rows);
		return -ENOMEM;
	}
	p->node = c->to;
	p->space = sp;
	p->slot = slot;
	p->rows = a->rows;
	p->form = a->form;
	p->stamp = a->stamp;
	if (c->taker)
		p->stamp = (struct vex_stamp){ .size = a->stamp.size, .mtime_ns = -1 };
	p->key = changes_dup(c->l, a->key, a->key_len);
	p->key_len = a->key_len;
	if (a->text)
		p->text = changes_dup(c->l, a->text, a->text_len);
	p->text_len = a->text ? a->text_len : 0;
	return c->l->err;
}

/* A damaged attachment, or one replaced meanwhile, is left behind. */
static bool passable(vex_err err)
{
	return err == -EIO || err == -ENODATA || err == -ENODEV;
}

/* -ENODATA: not wanted. -ENOSPC: one name too many. */
static vex_err taker_wants(struct copier *c, const struct vex_attach *a,
			   struct vex_space *sp)
{
	struct attr_name name = { .key = a->key, .key_len = a->key_len };
	struct vex_space_spec spec;
	struct vex_attach own;
	vex_err err =
	    vex_read_attach(c->r, c->to, a->space, a->key, a->key_len, false, &own);

	if (err != -ENODATA)
		return err ? err : -ENODATA;
	vex_space_spec(sp, &spec);
	memcpy(name.space, spec.name, sizeof(name.space));
	err = names_room(c->e, c->taker, c->to, &name, c->fresh, c->coming);
	c->coming += names_bytes(&name);
	return err;
}

static vex_err copy_one(struct copier *c, const struct vex_attach *a)
{
	AUTO_ATTACH struct vex_attach full = { 0 };
	AUTO_SPACE struct vex_space *sp = NULL;
	uint64_t slot;
	vex_err err = vex_space_find_id(c->e->store, a->space, &sp);

	if (!err)
		err = vex_read_attach(c->r, c->from, a->space, a->key, a->key_len, true,
				      &full);
	if (!err && c->taker)
		err = taker_wants(c, &full, sp);
	if (!err)
		err = copy_rows(c, &full, sp, &slot);
	if (err)
		return passable(err) ? 0 : err;
	c->spaces[c->nspaces++] = vex_space_ref(sp);
	return add_put(c, &full, sp, slot);
}

static void give_back(struct changes *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->c[i].kind == VEX_PUT)
			vex_slots_return(l->c[i].space, l->c[i].slot, l->c[i].rows);
}

/* The puts of all attachments, on the list; none on failure. */
static vex_err copy_all(struct copier *c)
{
	vex_err err = vex_read_attaches(c->r, c->from, take_attach, c);

	if (err)
		return err;
	c->spaces = calloc(c->n + 1, sizeof(struct vex_space *));
	if (!c->spaces)
		return -ENOMEM;
	for (size_t i = 0; !err && i < c->n; i++)
		err = copy_one(c, &c->v[i]);
	if (err)
		give_back(c->l);
	return err;
}

vex_err node_take_over(struct vex_engine *e, struct vex_reader *r, uint64_t from,
		       const struct vex_obj *o, uint64_t to, struct changes *l,
		       uint64_t *n)
{
	struct copier c = { .e = e,
			    .r = r,
			    .from = from,
			    .to = to,
			    .l = l,
			    .taker = o,
			    .fresh = changes_make_node(l, 0, to) };
	struct vex_change *drop;
	vex_err err = copy_all(&c);

	*n = c.nspaces;
	if (!err && c.nspaces) {
		drop = changes_add(l, VEX_NODE_DROP);
		if (drop)
			drop->node = from;
		else
			give_back(l);
		err = changes_commit(e, l);
	}
	if (!err && c.nspaces)
		node_made(o, to);
	copier_free(&c);
	return err;
}

static vex_err commit_copy(struct vex_engine *e, struct vex_reader *r, uint64_t from,
			   const struct vex_node *n, uint64_t parent, const char *name)
{
	AUTO_CHANGES struct changes l = { 0 };
	struct copier c = { .e = e, .r = r, .from = from, .to = n->id, .l = &l };
	vex_err err;

	change_node(&l, VEX_NODE_NEW, n);
	if (parent)
		change_name(&l, VEX_NAME_ADD, n->id, parent, name);
	err = l.err ? l.err : copy_all(&c);
	if (!err)
		err = changes_commit(e, &l);
	copier_free(&c);
	return err;
}

static vex_err copy_locked(struct vex_engine *e, struct vex_reader *r,
			   const struct vex_obj *o, const struct who *w, uint64_t parent,
			   struct vex_node *n)
{
	struct vex_node own = { .id = vex_store_new_node(e->store),
				.has_mark = true,
				.is_dir = S_ISDIR(w->st.st_mode),
				.state = w->st.st_nlink ? VEX_LIVE : VEX_GOING,
				.fh = w->fh,
				.ino = w->st.st_ino,
				.size = w->st.st_size,
				.mtime_ns = mtime_ns(&w->st) };
	vex_err err = vex_random(own.mark, sizeof(own.mark));
	struct mark m;

	if (err)
		return err;
	mark_from(&own, &m);
	if (!w->fh.len)
		err = mark_write(o->fd, &m);
	if (!err)
		err = commit_copy(e, r, n->id, &own, parent, o->name);
	if (!err && w->fh.len)
		err = mark_write(o->fd, &m);
	if (err)
		return err;
	if (own.is_dir)
		nodeset_add(e->dirset, &own.fh, own.id);
	*n = own;
	return 0;
}

/* The mark of o now: another caller may have been quicker. */
static bool already(struct vex_reader *r, const struct vex_obj *o, const struct who *w,
		    struct vex_node *n)
{
	struct vex_node now;
	struct mark m;

	if (mark_read(o->fd, &m) || m.id == w->mark.id)
		return false;
	if (vex_read_node(r, m.id, &now) || !mark_is(&m, &now))
		return false;
	*n = now;
	return true;
}

vex_err node_copy(struct vex_engine *e, struct vex_reader *r, const struct vex_obj *o,
		  struct who *w, struct vex_node *n)
{
	uint64_t parent = 0;
	vex_err err = 0;

	if (o->dirfd >= 0 && o->name)
		err = node_ensure_dir(e, o->dirfd, &parent);
	if (err)
		return err;
	SCOPED_LOCK(&e->dirs);
	if (already(r, o, w, n))
		return 0;
	return copy_locked(e, r, o, w, parent, n);
}
