/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file made where another has just gone (vacant.c): what that one had attached becomes
 * what a replacement by rename leaves (kept.c), a node without a file, at that place,
 * with its rows, why REPLACED. It is a new node with copies of the rows, for the removal
 * has freed the old one: that took them out of searches and counts as it must, at once.
 *
 * Attachments that the content of a *.vec file gave are not held: the content of the new
 * file will give its own.
 *
 * What takes the place with attachments of its own (a rename, a link) is no such
 * replacement: then what was there is gone, as in a rename over it.
 */
#include "attach_i.h"
#include "names_i.h"
#include "vacant_i.h"

/* A file written within this time of the old one's last change may get its mtime. */
#define SAME_TICK_NS 2000000000ll

/* ---- before it goes ---------------------------------------------------------------- */

struct taking {
	struct vex_engine *e;
	struct vex_reader *r;
	struct vacant *v;
};

static size_t bytes_of(const struct vacant_attach *a)
{
	return sizeof(*a) + a->size + a->key_len + a->text_len;
}

/* -ENODATA: not to be held. */
static vex_err take_rows(struct taking *t, const struct vex_attach *a,
			 struct vacant_attach **out)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vacant_attach *c, n;
	vex_err err = vex_space_find_id(t->e->store, a->space, &sp);

	if (err)
		return err;
	n = (struct vacant_attach){ .space = a->space,
				    .rows = a->rows,
				    .key_len = a->key_len,
				    .text_len = a->text ? a->text_len : 0,
				    .form = a->form,
				    .stamp = a->stamp,
				    .size = a->rows * vex_space_stride(sp) };
	c = malloc(bytes_of(&n));
	if (!c)
		return -ENOMEM;
	memcpy(c, &n, sizeof(n));
	err = vex_read_rows(t->e->store, a, c->data);
	if (err) {
		free(c);
		return err;
	}
	memcpy(c->data + n.size, a->key, n.key_len);
	if (n.text_len)
		memcpy(c->data + n.size + n.key_len, a->text, n.text_len);
	*out = c;
	return 0;
}

struct keys {
	struct vex_attach *v;
	size_t n, cap;
};

static vex_err take_key(void *arg, const struct vex_attach *a)
{
	struct keys *k = arg;

	if (a->form & VEX_FORM_CONTENT)
		return 0;
	return attach_add(&k->v, &k->n, &k->cap, a);
}

/* All that node has, into v. What cannot be read is left out. */
static vex_err take_all(struct taking *t, uint64_t node)
{
	struct keys k = { 0 };
	vex_err err = vex_read_attaches(t->r, node, take_key, &k);

	for (size_t i = 0; !err && i < k.n; i++) {
		AUTO_ATTACH struct vex_attach a = { 0 };
		struct vacant_attach *c;

		if (vex_read_attach(t->r, node, k.v[i].space, k.v[i].key, k.v[i].key_len,
				    true, &a) ||
		    take_rows(t, &a, &c))
			continue;
		c->next = t->v->attaches;
		t->v->attaches = c;
		t->v->bytes += bytes_of(c);
	}
	free(k.v);
	return err;
}

/* What `node` has, as of a file that was at (parent, name): *list grows. */
static void hold(struct vex_engine *e, struct vex_reader *r, uint64_t node,
		 const struct vex_kept *k, uint64_t parent, const char *name,
		 struct vacant **list)
{
	struct taking t = { .e = e, .r = r, .v = vacant_new(parent, name) };

	if (!t.v)
		return;
	t.v->kept = *k;
	if (vex_read_node(r, node, &t.v->node) || take_all(&t, node) || !t.v->attaches) {
		vacant_free(t.v);
		return;
	}
	t.v->next = *list;
	*list = t.v;
}

static bool is_place(const struct left *l, uint64_t parent, const char *name)
{
	return l->parent == parent && !strcmp(l->name, name);
}

/* ---- afterwards -------------------------------------------------------------------- */

struct making_kept {
	struct vex_engine *e;
	struct changes l;
	struct vex_node n;
	struct vex_space **spaces; /* one reference a put */
	size_t nspaces;
};

static void release(struct making_kept *m)
{
	for (size_t i = 0; i < m->nspaces; i++)
		vex_space_unref(m->spaces[i]);
	free(m->spaces);
	changes_free(&m->l);
}

static vex_err put_one(struct making_kept *m, const struct vacant_attach *a, bool stale)
{
	struct vex_space *sp;
	struct vex_change *p;
	uint64_t slot;
	vex_err err = vex_space_find_id(m->e->store, a->space, &sp);

	if (err)
		return err == -ENODEV ? 0 : err;
	m->spaces[m->nspaces++] = sp;
	if (a->size != a->rows * vex_space_stride(sp))
		return 0;
	err = vex_slots_write(sp, a->data, a->rows, &slot);
	if (err)
		return err;
	p = changes_attach(&m->l, VEX_PUT, m->n.id, sp, a->data + a->size, a->key_len);
	if (!p) {
		vex_slots_return(sp, slot, a->rows);
		return m->l.err;
	}
	p->quiet = true;
	p->slot = slot;
	p->rows = a->rows;
	p->form = a->form;
	p->stamp = a->stamp;
	if (stale)
		p->stamp = (struct vex_stamp){ .size = a->stamp.size, .mtime_ns = -1 };
	p->text = a->text_len ? a->data + a->size + a->key_len : NULL;
	p->text_len = a->text_len;
	return 0;
}

static vex_err put_all(struct making_kept *m, const struct vacant *v, bool stale)
{
	size_t n = 0;
	vex_err err = 0;

	for (const struct vacant_attach *a = v->attaches; a; a = a->next)
		n++;
	m->spaces = calloc(n + 1, sizeof(struct vex_space *));
	if (!m->spaces)
		return -ENOMEM;
	for (const struct vacant_attach *a = v->attaches; a && !err; a = a->next)
		err = put_one(m, a, stale);
	return err;
}

static void give_back(struct changes *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->c[i].kind == VEX_PUT)
			vex_slots_return(l->c[i].space, l->c[i].slot, l->c[i].rows);
}

/* A node that no file is, but one restored may be: by place, size and time. Its handle
 * says that it was on STORE's own filesystem (kept.c); no other inode has it. */
static vex_err kept_row(struct making_kept *m, const struct vacant *v, bool stale)
{
	m->n = (struct vex_node){ .id = vex_store_new_node(m->e->store),
				  .state = VEX_LIVE,
				  .has_mark = true,
				  .size = v->node.size,
				  .mtime_ns = stale ? -1 : v->node.mtime_ns };
	if (!v->node.fh_old)
		m->n.fh = v->node.fh;
	return vex_random(m->n.mark, sizeof(m->n.mark));
}

static vex_err keep_one(struct vex_engine *e, const struct vacant *v)
{
	bool stale = (int64_t)vex_now_real() - v->node.mtime_ns < SAME_TICK_NS;
	__attribute__((cleanup(release))) struct making_kept m = { .e = e };
	struct vex_change *c;
	vex_err err = kept_row(&m, v, stale);

	if (err)
		return err;
	change_node(&m.l, VEX_NODE_NEW, &m.n);
	change_name(&m.l, VEX_NAME_ADD, m.n.id, v->parent, v->name);
	err = m.l.err ? m.l.err : put_all(&m, v, stale);
	c = err || !m.nspaces ? NULL : changes_add(&m.l, VEX_KEEP);
	if (!c) {
		give_back(&m.l);
		return err ? err : m.l.err;
	}
	c->node = m.n.id;
	c->kept = v->kept;
	c->kept.since_ns = 0;
	atomic_store(&e->kept_any, true);
	return changes_commit(e, &m.l);
}

/* They were held for nothing, if this fails: then the file was removed, no more. */
static void keep_all(struct vex_engine *e, const struct vacant *v)
{
	for (; v; v = v->next) {
		vex_err err = keep_one(e, v);

		if (err)
			vex_info("%s: what it had attached is not kept: %s", v->name,
				 strerror(-err));
	}
}

/* ---- removals ---------------------------------------------------------------------- */

/* Whether a file is at the place now: it was filled, and is not empty again. */
static bool is_filled(struct vex_engine *e, struct vex_reader *r, const struct left *l)
{
	AUTO_CLOSE int dir = -1;
	struct stat st;

	return l->filled && !dir_open(e, r, l->parent, &dir) &&
	       !fstatat(dir, l->name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode);
}

/* The places it moved away from are its own as well: vim's. */
static void hold_left(struct vex_engine *e, struct vex_reader *r,
		      const struct vex_removal *rm, const struct vex_kept *k,
		      struct vacant **held, struct vacant **now)
{
	struct left l;

	for (unsigned i = 0; left_nth(e, rm->node, i, &l); i++)
		if (!is_place(&l, rm->parent, rm->name))
			hold(e, r, rm->node, k, l.parent, l.name,
			     is_filled(e, r, &l) ? now : held);
}

struct vacant *vacant_hold(struct vex_engine *e, const struct vex_removal *rm,
			   const struct stat *st)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_VACANT struct vacant *now = NULL;
	AUTO_IDS struct idlist ids = { 0 };
	struct vacant *held = NULL;
	struct vex_kept k;

	if (!rm->parent || vex_reader_get(e->store, &r))
		return NULL;
	kept_who(rm, st, &k);
	hold(e, r, rm->node, &k, rm->parent, rm->name, &held);
	hold_left(e, r, rm, &k, &held, &now);
	/* What it had replaced goes with it (kept_forget). */
	if (!idlist_at(r, rm->parent, rm->name, &ids))
		for (size_t i = 0; i < ids.n; i++)
			if (ids.v[i] != rm->node && !vex_read_kept(r, ids.v[i], &k) &&
			    k.why == VEX_KEPT_REPLACED)
				hold(e, r, ids.v[i], &k, rm->parent, rm->name, &held);
	keep_all(e, now);
	return held;
}

/* ---- files that are made ----------------------------------------------------------- */

struct made_job {
	struct vex_engine *e;
	int dirfd;
	const char *name;
	bool bare;
};

static vex_err made_deep(void *arg)
{
	struct made_job *j = arg;
	AUTO_VACANT struct vacant *v = NULL;
	uint64_t parent;
	vex_err err = node_of_dir(j->e, j->dirfd, &parent);

	if (err || !parent)
		return err;
	v = vacants_take(j->e, parent, j->name);
	if (j->bare)
		keep_all(j->e, v);
	return 0;
}

/* Quick: false where the directory is no node, so that nothing with attachments can have
 * been in it. */
static bool dir_concerns(struct vex_engine *e, int dirfd)
{
	struct vex_fh fh = { 0 };
	struct stat st;

	if (fstat(dirfd, &st) || st.st_dev != e->root_dev || is_root(e, &st) ||
	    vex_fh_get(dirfd, "", &fh, NULL))
		return true;
	return node_maybe_dir(e, &fh);
}

void place_filled(struct vex_engine *e, int dirfd, const char *name, bool bare)
{
	struct made_job j = { .e = e, .dirfd = dirfd, .name = name, .bare = bare };

	if (vacants_any(e) && dir_concerns(e, dirfd) && engine_deep(e, made_deep, &j))
		vex_debug("%s: what was there is not kept", name);
}

void vex_engine_made(struct vex_engine *e, int dirfd, const char *name)
{
	place_filled(e, dirfd, name, true);
}
