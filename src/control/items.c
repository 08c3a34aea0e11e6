/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put and delete: a region of packed vexfs_item records, inline or staged, becomes an
 * array of struct vex_item that points into it.
 *
 * Nothing in the region is trusted: each record must lie within it, have exactly the
 * size its parts add up to, and its strings must end where they say. All of it is
 * checked before the engine is asked to change anything. While a transaction is open
 * in the session, the items join it instead (txn.c).
 */
#include <sys/xattr.h>
#include "control_i.h"

#define ITEM_FLAGS (VEXFS_ITEM_F32 | VEXFS_ITEM_CREATE | VEXFS_ITEM_REPLACE)

/* ---- one record ------------------------------------------------------------------ */

static vex_err check_item(struct vex_session *s, const struct vexfs_item *w, bool put)
{
	uint32_t both = VEXFS_ITEM_CREATE | VEXFS_ITEM_REPLACE;

	if (w->flags & ~(put ? (uint32_t)ITEM_FLAGS : 0))
		return session_fail(s, -EINVAL, "unknown flags %#x", w->flags);
	if ((w->flags & both) == both)
		return session_fail(s, -EINVAL, "CREATE and REPLACE exclude each other");
	if (w->reserved)
		return session_fail(s, -EINVAL, "a reserved field is not zero");
	if (!put && w->value_len)
		return session_fail(s, -EINVAL, "delete takes no value");
	return 0;
}

/* A string within a record: not NUL inside, NUL at its end. */
static bool string_ok(const uint8_t *p, size_t len)
{
	return !memchr(p, '\0', len) && p[len] == '\0';
}

vex_err item_take(struct vex_session *s, struct region *in, bool put,
		  struct vex_item *out)
{
	struct vexfs_item w;
	uint64_t value_at, size;
	vex_err err;

	if (in->left < sizeof(w))
		return session_fail(s, -EINVAL, "the records end before their count");
	memcpy(&w, in->p, sizeof(w));
	err = check_item(s, &w, put);
	if (err)
		return err;
	value_at = (sizeof(w) + (uint64_t)w.path_len + w.attr_len + 2 + 7) / 8 * 8;
	size = (value_at + w.value_len + 7) / 8 * 8;
	if (w.size != size || size > in->left)
		return session_fail(s, -EINVAL,
				    "a record's size is not that of its parts");
	out->path = (const char *)in->p + sizeof(w);
	out->attr = out->path + w.path_len + 1;
	if (!string_ok(in->p + sizeof(w), w.path_len) ||
	    !string_ok(in->p + sizeof(w) + w.path_len + 1, w.attr_len))
		return session_fail(s, -EINVAL, "a string does not end at its length");
	out->value = in->p + value_at;
	out->size = w.value_len;
	out->del = !put;
	out->f32 = (w.flags & VEXFS_ITEM_F32) != 0;
	out->flags = ((w.flags & VEXFS_ITEM_CREATE) ? XATTR_CREATE : 0) |
		     ((w.flags & VEXFS_ITEM_REPLACE) ? XATTR_REPLACE : 0);
	in->p += size;
	in->left -= (size_t)size;
	return 0;
}

/* ---- the call -------------------------------------------------------------------- */

static vex_err take_region(struct call *c, const struct vexfs_items *h, struct region *in)
{
	struct vex_session *s = c->s;
	vex_err err;

	if (h->flags & VEXFS_ITEMS_STAGED) {
		if (s->stage_bad)
			return session_fail(s, -EINVAL,
					    "the items were not staged whole");
		if (h->bytes)
			return session_fail(s, -EINVAL, "staged items: bytes must be 0");
		*in = (struct region){ (const uint8_t *)s->stage.data, s->stage.len };
		return 0;
	}
	if (h->bytes > c->data_len)
		return session_fail(s, -EINVAL, "%u bytes of items are not in the data",
				    h->bytes);
	err = call_align(c);
	*in = (struct region){ c->data, h->bytes };
	return err;
}

static vex_err check_head(struct call *c, const struct vexfs_items *h)
{
	struct vex_session *s = c->s;
	vex_err err;

	if (h->flags & ~(uint32_t)VEXFS_ITEMS_STAGED)
		return session_fail(s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved0);
	if (!err)
		err = call_reserved(c, h->reserved);
	if (err)
		return err;
	if (!h->count)
		return session_fail(s, -EINVAL, "no items");
	if (h->count > VEX_BATCH_MAX)
		return session_fail(s, -ENOMEM, "more than %u items", VEX_BATCH_MAX);
	return 0;
}

static vex_err take_items(struct call *c, const struct vexfs_items *h, bool put,
			  struct vex_item *items, struct region *all)
{
	struct region in = { NULL, 0 };
	vex_err err = take_region(c, h, &in);

	*all = in;
	for (uint32_t i = 0; !err && i < h->count; i++) {
		c->s->error.item = i;
		err = item_take(c->s, &in, put, &items[i]);
	}
	if (!err && in.left)
		return session_fail(c->s, -EINVAL, "%zu bytes behind the last item",
				    in.left);
	return err;
}

/* What a value would have had to be, where that is known. */
static bool say_shape(struct vex_session *s, vex_err err, const struct vex_item *item)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_space_spec spec;
	char name[VEX_SPACE_NAME_MAX + 1];
	size_t len = strcspn(item->attr, ".");

	if (err != -EINVAL || item->del || len >= sizeof(name))
		return false;
	memcpy(name, item->attr, len);
	name[len] = '\0';
	if (vex_space_find(vex_engine_store(s->control->engine), name, &sp))
		return false;
	vex_space_spec(sp, &spec);
	session_fail(
	    s, err, "%.200s: %.100s: Invalid argument: the space takes rows of %u %s%s%s",
	    item->path, item->attr, spec.dim, type_name(spec.type),
	    spec.type != VEX_I8 && spec.type != VEX_I16 ? ""
	    : spec.scale > 0                            ? " with a scale"
							: ", whole numbers",
	    spec.metric == VEX_COSINE ? ", none all zeros" : "");
	return true;
}

vex_err items_blame(struct vex_session *s, vex_err err, const struct vex_item *items,
		    size_t n, size_t bad)
{
	const char *why = err ? strerrordesc_np(-err) : NULL;

	s->error.item = 0;
	if (!err || bad >= n)
		return err;
	s->error.item = (uint32_t)bad;
	if (say_shape(s, err, &items[bad]))
		return err;
	return session_fail(s, err, "%.300s: %.120s: %s", items[bad].path,
			    items[bad].attr, why ? why : "unknown error");
}

static vex_err apply(struct call *c, const struct vex_item *items, size_t n, bool put)
{
	size_t bad = 0;
	vex_err err = put ? vex_engine_put_items(c->engine, c->cred, items, n, &bad)
			  : vex_engine_delete_items(c->engine, c->cred, items, n, &bad);

	return items_blame(c->s, err, items, n, bad);
}

static vex_err run(struct call *c, const struct vexfs_items *h, bool put)
{
	AUTO_FREE struct vex_item *items = NULL;
	struct region all;
	vex_err err = check_head(c, h);

	if (err)
		return err;
	items = calloc(h->count, sizeof(*items));
	if (!items)
		return -ENOMEM;
	err = take_items(c, h, put, items, &all);
	if (err)
		return err;
	return c->s->txn.open ? txn_stage(c, items, h->count, put, all)
			      : apply(c, items, h->count, put);
}

static vex_err change(struct call *c, bool put)
{
	const struct vexfs_items *h = c->head;
	vex_err err = run(c, h, put);

	if (h->flags & VEXFS_ITEMS_STAGED)
		stage_empty(c->s);
	return err;
}

vex_err ioc_put(struct call *c)
{
	return change(c, true);
}

vex_err ioc_delete(struct call *c)
{
	return change(c, false);
}
