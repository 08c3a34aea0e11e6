/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getxattr, listxattr, removexattr of attachments. What was stored as text is returned
 * as that text; what was stored as rows is put together again from its slots, each row
 * checked against its checksum: a damaged one is -EIO, never a guess.
 *
 * `ls -l` and `cp` ask these of every file: a file known to have no node is answered on
 * the request thread, from memory or by one look at its mark.
 */
#include "engine_i.h"
#include "attach_i.h"

/* A reader may see an attachment whose slots a writer replaces while they are copied;
 * then there is a newer one. How often to look again before calling it a fault. */
#define RETRIES 100

struct get_call {
	struct vex_engine *e;
	const struct vex_obj *o;
	const struct vex_cred *cred;
	const char *attr;
	enum attr_kind kind;
	struct attr_name a;
	struct vex_buf *out;
};

vex_err node_needed(struct vex_engine *e, const struct vex_obj *o, uint64_t *node)
{
	vex_err err = node_identify(e, o, node);

	if (err)
		return err;
	return *node ? 0 : -ENODATA;
}

static vex_err space_needed(struct vex_engine *e, const char *name,
			    struct vex_space **out)
{
	vex_err err = vex_space_find(e->store, name, out);

	return err == -ENODEV ? -ENODATA : err;
}

/* ---- get --------------------------------------------------------------------- */

static vex_err add_rows(struct vex_engine *e, const struct vex_attach *a,
			struct vex_space *sp, struct vex_buf *out)
{
	size_t len = out->len;
	void *room = vex_buf_room(out, a->rows * vex_space_stride(sp));
	vex_err err;

	if (!room)
		return out->err;
	err = vex_read_rows(e->store, a, room);
	if (err)
		out->len = len;
	return err;
}

static vex_err get_once(struct get_call *c, uint64_t node, struct vex_space *sp)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_ATTACH struct vex_attach a = { 0 };
	vex_err err = vex_reader_get(c->e->store, &r);

	if (!err)
		err = vex_read_attach(r, node, vex_space_id(sp), c->a.key, c->a.key_len,
				      true, &a);
	if (err)
		return err;
	if (!(a.form & VEX_FORM_TEXT)) {
		err = add_rows(c->e, &a, sp, c->out);
		return err == -ENODATA ? -EAGAIN : err;
	}
	vex_buf_add(c->out, a.text, a.text_len);
	return c->out->err;
}

static vex_err get_attached(struct get_call *c)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	uint64_t node;
	vex_err err = node_needed(c->e, c->o, &node);

	if (!err)
		err = space_needed(c->e, c->a.space, &sp);
	if (err)
		return err;
	err = -EAGAIN;
	for (int i = 0; i < RETRIES && err == -EAGAIN; i++)
		err = get_once(c, node, sp);
	return err == -EAGAIN ? -EIO : err;
}

static vex_err get_deep(void *arg)
{
	struct get_call *c = arg;

	switch (c->kind) {
	case ATTR_INFO:
		return info_text(c->e, c->o, c->out);
	case ATTR_NEAR:
		return near_text(c->e, c->o, c->cred, c->attr, c->out);
	default:
		return get_attached(c);
	}
}

vex_err vex_engine_xattr_get(struct vex_engine *e, const struct vex_obj *o,
			     const struct vex_cred *cred, const char *attr,
			     struct vex_buf *out)
{
	struct get_call c = { .e = e, .o = o, .cred = cred, .attr = attr, .out = out };
	uint64_t node;

	c.kind = attr_kind(attr);
	if (c.kind == ATTR_MARK || c.kind == ATTR_RESERVED)
		return -ENODATA;
	if (c.kind == ATTR_PLAIN && attr_parse(attr, &c.a))
		return -ENODATA;
	if (c.kind != ATTR_INFO && node_known(e, o, &node) && !node)
		return -ENODATA;
	uint64_t start = vex_now_mono();
	vex_err err = engine_deep(e, get_deep, &c);

	vex_op_done(VEX_OP_GET, vex_now_mono() - start, err);
	return err;
}

/* ---- list -------------------------------------------------------------------- */

struct list_call {
	struct vex_engine *e;
	const struct vex_obj *o;
	struct vex_buf *out;
	struct spaceset spaces;
};

static vex_err list_one(void *arg, const struct vex_attach *a)
{
	struct list_call *c = arg;
	struct vex_space_spec spec;
	struct vex_space *sp;
	vex_err err = spaceset_get(c->e, &c->spaces, a->space, &sp);

	if (err)
		return err == -ENODEV ? 0 : err;
	vex_space_spec(sp, &spec);
	names_add(c->out, spec.name, a->key, a->key_len);
	return c->out->err;
}

static vex_err list_deep(void *arg)
{
	struct list_call *c = arg;
	AUTO_READER struct vex_reader *r = NULL;
	uint64_t node;
	vex_err err = node_identify(c->e, c->o, &node);

	if (err || !node)
		return err;
	err = vex_reader_get(c->e->store, &r);
	if (!err)
		err = vex_read_attaches(r, node, list_one, c);
	spaceset_free(&c->spaces);
	return err;
}

vex_err vex_engine_xattr_list(struct vex_engine *e, const struct vex_obj *o,
			      struct vex_buf *out)
{
	struct list_call c = { .e = e, .o = o, .out = out };
	size_t len = out->len;
	uint64_t node;
	vex_err err;

	if (node_known(e, o, &node) && !node)
		return 0;
	err = engine_deep(e, list_deep, &c);
	if (err)
		out->len = len;
	return err;
}

/* ---- remove ------------------------------------------------------------------ */

static vex_err remove_deep(void *arg)
{
	struct get_call *c = arg;
	AUTO_SPACE struct vex_space *sp = NULL;
	AUTO_BUF struct vex_buf path = { 0 };
	struct vex_change ch = { .kind = VEX_DELETE,
				 .key = c->a.key,
				 .key_len = c->a.key_len };
	struct vex_fh fh;
	struct stat st;
	vex_err err = obj_complete(c->o, &fh, &st);

	if (err)
		return err;
	AUTO_NODE_LOCK pthread_mutex_t *lock = node_lock(c->e, &fh, st.st_ino);
	err = node_needed(c->e, c->o, &ch.node);
	if (!err)
		err = space_needed(c->e, c->a.space, &sp);
	if (err)
		return err;
	ch.space = sp;
	if (c->o->dirfd >= 0 && c->o->name &&
	    !place_path(c->e, c->o->dirfd, c->o->name, &path))
		vex_buf_add(&path, "", 1);
	ch.path = path.err ? NULL : path.data;
	err = vex_store_commit(c->e->store, &ch, 1, NULL);
	/* Dropped between the two: then there was nothing to remove. */
	return err == -ENODEV ? -ENODATA : err;
}

vex_err vex_engine_xattr_remove(struct vex_engine *e, const struct vex_obj *o,
				const char *attr)
{
	struct get_call c = { .e = e, .o = o, .attr = attr };
	uint64_t node;

	c.kind = attr_kind(attr);
	if (c.kind == ATTR_INFO || c.kind == ATTR_NEAR)
		return -EPERM;
	if (c.kind != ATTR_PLAIN || attr_parse(attr, &c.a))
		return -ENODATA;
	if (node_known(e, o, &node) && !node)
		return -ENODATA;
	uint64_t start = vex_now_mono();
	vex_err err = engine_deep(e, remove_deep, &c);

	vex_op_done(VEX_OP_DELETE, vex_now_mono() - start, err);
	return err;
}
