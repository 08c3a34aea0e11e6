/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setxattr: a value becomes rows, rows go to free slots, one commit names them.
 *
 * All that can be wrong with the call is found out before anything is written: form,
 * dimension, finiteness, metric, room in the name list. After that only the disk can
 * fail, and then the commit gives the slots back; a space made for this very put goes
 * again too (spaces_lock). Readers see the old attachment until the commit, the new one
 * after it.
 *
 * Two ways in. The short one serves binary values for files whose node the caller knows
 * already: no reading of the catalog, so it runs on the request thread. All else goes to
 * the pool: number parsing and SQLite want a deep stack.
 *
 * Locks: the node lock of the file, then spaces_lock, over the commit.
 */
#include <sys/xattr.h>
#include "engine_i.h"
#include "attach_i.h"
#include "names_i.h"

vex_err attach_kind_ok(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) ? 0 : -EPERM;
}

bool changes_make_node(const struct changes *l, size_t from, uint64_t node)
{
	for (size_t i = from; i < l->n; i++)
		if (l->c[i].kind == VEX_NODE_NEW && l->c[i].node_in->id == node)
			return true;
	return false;
}

struct vex_change *changes_attach(struct changes *l, enum vex_change_kind kind,
				  uint64_t node, struct vex_space *sp, const void *key,
				  uint32_t key_len)
{
	void *copy = changes_dup(l, key, key_len);
	struct vex_change *c = copy ? changes_add(l, kind) : NULL;

	if (!c)
		return NULL;
	c->node = node;
	c->space = sp;
	c->key = copy;
	c->key_len = key_len;
	return c;
}

/* ---- rows to slots, slots to a commit ---------------------------------------- */

/* spaces_lock is held: the space stays until the commit is through. */
static vex_err put_commit(struct put *p, struct changes *l, uint64_t node,
			  struct vex_space *sp)
{
	struct vex_change *c;
	uint64_t slot;
	vex_err err;

	if (!layout_same(vex_space_layout(sp), &p->layout))
		return -EINVAL;
	err = rows_check(p->rows, p->n, &p->layout, vex_space_metric(sp));
	if (err)
		return err;
	err = vex_slots_write(sp, p->rows, p->n, &slot);
	if (err)
		return err;
	c = changes_attach(l, VEX_PUT, node, sp, p->a.key, p->a.key_len);
	if (!c) {
		vex_slots_return(sp, slot, p->n);
		return l->err;
	}
	c->slot = slot;
	c->rows = p->n;
	c->form = p->form;
	c->text = p->text;
	c->text_len = (uint32_t)p->text_len;
	c->stamp = p->stamp;
	c->flags = p->flags;
	err = vex_store_commit(p->e->store, l->c, l->n, NULL);
	p->lsn = c->lsn;
	return err;
}

/* The space did not exist a moment ago. */
static vex_err put_first(struct put *p, struct changes *l, uint64_t node)
{
	SCOPED_WRLOCK(&spaces_lock);
	AUTO_SPACE struct vex_space *sp = NULL;
	bool made;
	vex_err err = rows_check(p->rows, p->n, &p->layout,
				 (uint8_t)vex_engine_knob(p->e, VEX_KNOB_METRIC));

	if (p->flags & XATTR_REPLACE)
		return -ENODATA;
	if (err)
		return err;
	err = space_for_locked(p->e, p->a.space, p->layout.dim, &sp, &made);
	if (err)
		return err;
	err = put_commit(p, l, node, sp);
	if (err && made)
		space_unmake_locked(p->e, sp);
	return err;
}

/* -EAGAIN: there is no such space. */
static vex_err put_known(struct put *p, struct changes *l, uint64_t node)
{
	SCOPED_RDLOCK(&spaces_lock);
	AUTO_SPACE struct vex_space *sp = NULL;
	vex_err err = vex_space_find(p->e->store, p->a.space, &sp);

	if (err)
		return err == -ENODEV ? -EAGAIN : err;
	return put_commit(p, l, node, sp);
}

/* A file without a node gets a mark before the rows are looked at: so for such a file
 * they are looked at here, and a call that must fail leaves none. */
static vex_err put_precheck(struct put *p)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	bool strict = vex_engine_knob(p->e, VEX_KNOB_STRICT) != 0;
	uint64_t node;
	vex_err err = node_identify(p->e, p->o, &node);

	if (err || node)
		return err;
	SCOPED_RDLOCK(&spaces_lock);
	err = vex_space_find(p->e->store, p->a.space, &sp);
	if (err == -ENODEV && !strict)
		err = rows_check(p->rows, p->n, &p->layout,
				 (uint8_t)vex_engine_knob(p->e, VEX_KNOB_METRIC));
	else if (!err && !layout_same(vex_space_layout(sp), &p->layout))
		err = -EINVAL;
	else if (!err)
		err = rows_check(p->rows, p->n, &p->layout, vex_space_metric(sp));
	return err ? err : p->flags & XATTR_REPLACE ? -ENODATA : 0;
}

vex_err put_locked(struct put *p, struct changes *l)
{
	AUTO_MAKING struct making m = { 0 };
	bool fresh = false;
	uint64_t node;

	making_begin(p->e, &m);
	vex_err err = put_precheck(p);

	if (!err)
		err = node_ensure(p->e, p->o, l, &node);
	if (!err)
		fresh = changes_make_node(l, 0, node);
	if (!err && !(p->flags & XATTR_REPLACE))
		err = names_room(p->e, p->o, node, &p->a, fresh, 0);
	if (!err)
		err = put_known(p, l, node);
	if (err == -EAGAIN)
		err = vex_engine_knob(p->e, VEX_KNOB_STRICT) ? -ENODEV
							     : put_first(p, l, node);
	if (err)
		return err;
	node_made(p->o, node);
	if (fresh && making_overlapped(&m))
		made_look(p->e, node, true);
	covered_look(p->e, node, fresh);
	return 0;
}

/* From the stamp to the commit. */
static vex_err put_file(struct put *p)
{
	AUTO_CHANGES struct changes l = { 0 };
	struct vex_obj o = *p->o;
	struct stat st;
	vex_err err = obj_complete(p->o, &o.fh, &st);

	if (!err)
		err = attach_kind_ok(&st);
	if (err)
		return err;
	stamp_ready(p->e, o.fd, &o.fh, &st);
	AUTO_NODE_LOCK pthread_mutex_t *lock = node_lock(p->e, &o.fh, st.st_ino);
	p->o = &o;
	p->stamp = stamp_of(&st);
	return put_locked(p, &l);
}

static void put_take_rows(struct put *p, const struct rows *r, const struct vex_layout *l)
{
	p->rows = r->data;
	p->n = r->n;
	p->layout = *l;
	p->layout.dim = r->dim;
	p->form = r->form;
}

/* ---- the call ---------------------------------------------------------------- */

struct set_call {
	struct vex_engine *e;
	const struct vex_obj *o;
	struct attr_name a;
	const void *value;
	size_t size;
	int flags;
	uint64_t lsn; /* out */
};

static vex_err set_with(struct set_call *c, const struct vex_layout *l)
{
	AUTO_ROWS struct rows rows = { .n = 0 };
	struct put p = { .e = c->e, .o = c->o, .a = c->a, .flags = c->flags };
	vex_err err;

	if (!l->dim && vex_engine_knob(c->e, VEX_KNOB_STRICT))
		return -ENODEV;
	err = value_decode(c->value, c->size, l, &rows);
	if (err)
		return err;
	put_take_rows(&p, &rows, l);
	if (p.form & VEX_FORM_TEXT) {
		p.text = c->value;
		p.text_len = c->size;
	}
	err = put_file(&p);
	c->lsn = p.lsn;
	return err;
}

static vex_err set_deep(void *arg)
{
	struct set_call *c = arg;
	struct vex_layout l = layout_of(c->e, c->a.space);
	vex_err err = set_with(c, &l);

	/* Somebody may have made the space just now, with another dimension or type: that
	 * is what decides how a value reads, as if we had come after them. */
	if (err == -EINVAL && !l.dim) {
		l = layout_of(c->e, c->a.space);
		if (l.dim)
			err = set_with(c, &l);
	}
	return err;
}

/* Everything known without looking anything up: -EAGAIN where it is not. */
static vex_err set_quick(struct set_call *c)
{
	AUTO_CHANGES struct changes list = { 0 };
	AUTO_ROWS struct rows rows = { .n = 0 };
	struct put p = { .e = c->e, .a = c->a, .flags = c->flags };
	struct vex_obj o = *c->o;
	struct vex_layout l;
	struct stat st;
	uint64_t node;
	vex_err err;

	if (!node_known(c->e, &o, &node) || !node ||
	    dircache_lost(c->e->dircache, node) || node_may_lack_mark(o.fd) ||
	    covered_awaits(c->e, node))
		return -EAGAIN;
	l = layout_of(c->e, c->a.space);
	if (!l.dim || value_is_text_of(l.type, c->value, c->size))
		return -EAGAIN;
	err = value_decode(c->value, c->size, &l, &rows);
	if (!err)
		err = obj_complete(c->o, &o.fh, &st);
	if (!err)
		err = attach_kind_ok(&st);
	if (err)
		return err;
	stamp_ready(c->e, o.fd, &o.fh, &st);
	AUTO_NODE_LOCK pthread_mutex_t *lock = node_lock(c->e, &o.fh, st.st_ino);
	if (!(c->flags & XATTR_REPLACE) && !names_room_quick(c->e, &o, node, &c->a))
		return -EAGAIN;
	p.o = &o;
	put_take_rows(&p, &rows, &l);
	p.stamp = stamp_of(&st);
	err = put_known(&p, &list, node);
	c->lsn = p.lsn;
	return err;
}

static vex_err set_attr(struct vex_engine *e, const struct vex_obj *o, const char *attr,
			const void *value, size_t size, int flags)
{
	struct set_call c = {
		.e = e, .o = o, .value = value, .size = size, .flags = flags
	};
	enum attr_kind kind = attr_kind(attr);
	vex_err err;

	if (kind != ATTR_PLAIN)
		return kind == ATTR_RESERVED ? -EINVAL : -EPERM;
	err = attr_parse(attr, &c.a);
	if (err)
		return err;
	if (size > VEX_VALUE_MAX)
		return -E2BIG;
	if (!size || flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	err = set_quick(&c);
	if (err == -EAGAIN)
		err = engine_deep(e, set_deep, &c);
	if (!err)
		graph_await(e, c.a.space, c.lsn);
	return err;
}

vex_err vex_engine_xattr_set(struct vex_engine *e, const struct vex_obj *o,
			     const char *attr, const void *value, size_t size, int flags)
{
	uint64_t start = vex_now_mono();
	vex_err err = set_attr(e, o, attr, value, size, flags);

	uint64_t node = 0;

	vex_op_done(VEX_OP_PUT, vex_now_mono() - start, err);
	if (!err && node_known(e, o, &node) && node)
		note_fresh(e, node);
	return err;
}
