/* SPDX-License-Identifier: Apache-2.0 */
/* Calls about vectors that are not for the content there: stale, reattach, scan. */
#include "control_i.h"

struct packing {
	uint8_t *at;
	size_t left;
	uint32_t count;
};

static int pack(void *arg, const struct vex_stale *s)
{
	struct packing *p = arg;
	size_t len = strlen(s->path);
	size_t size = pad8(sizeof(struct vexfs_stale_item) + len + 1);
	struct vexfs_stale_item item = {
		.size = (uint32_t)size,
		.path_len = (uint32_t)len,
		.since_ns = s->since_ns,
		.why = s->why,
	};

	if (size > p->left)
		return 1;
	memset(p->at + size - 8, 0, 8);
	memcpy(p->at, &item, sizeof(item));
	memcpy(p->at + sizeof(item), s->path, len + 1);
	p->at += size;
	p->left -= size;
	p->count++;
	return 0;
}

vex_err ioc_stale(struct call *c)
{
	struct vexfs_stale *h = c->head;
	struct packing p = { .at = c->reply, .left = c->room };
	bool more = false;
	vex_err err;

	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved);
	if (!err)
		err = call_name(c, h->space, offsetof(struct vexfs_stale, space));
	if (!err && c->room < VEXFS_STALE_ROOM)
		return session_fail(c->s, -EINVAL, "less than %d bytes for paths",
				    VEXFS_STALE_ROOM);
	if (!err)
		err = vex_engine_stale(c->engine, c->cred, h->space, &h->after, &more,
				       pack, &p);
	if (err == -ENODEV)
		return session_fail(c->s, err, "no space %s", h->space);
	if (err)
		return err;
	h->count = p.count;
	h->more = more;
	c->used = c->room - p.left;
	return 0;
}

vex_err ioc_reattach(struct call *c)
{
	struct vexfs_reattach *h = c->head;
	const char *path;
	size_t at = 0;
	vex_err err;

	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved);
	if (!err)
		err = call_string(c, &at, h->path_len, &path);
	if (!err)
		err = vex_engine_reattach(c->engine, c->cred, path, &h->attachments);
	if (err == -ENODATA)
		return session_fail(c->s, err, "%s: nothing is kept for it", path);
	return err;
}

vex_err ioc_scan(struct call *c)
{
	struct vexfs_scan *h = c->head;
	struct vex_scan n = { .cursor = h->cursor, .stage = h->stage };
	vex_err err;

	_Static_assert((int)VEXFS_SCAN_DONE == (int)VEX_SCAN_DONE, "one numbering");
	if (h->flags & ~(uint32_t)VEXFS_SCAN_QUICK)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	if (h->stage >= VEXFS_SCAN_DONE)
		return session_fail(c->s, -EINVAL, "no such stage");
	n.quick = h->flags & VEXFS_SCAN_QUICK;
	err = call_reserved(c, h->reserved);
	if (!err)
		err = vex_engine_scan(c->engine, &n);
	if (err)
		return err;
	h->cursor = n.cursor;
	h->stage = n.stage;
	h->files = n.files;
	h->missing = n.missing;
	h->rows = n.rows;
	h->bad = n.bad;
	h->returned = n.returned;
	h->purged = n.purged;
	h->errors = n.errors;
	return 0;
}
