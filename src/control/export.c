/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Export: the ioctl remembers a space and a change number, read(2) pulls the records
 * behind it, as many as fit its buffer, straight from the engine: nothing is held in
 * between but the number of the last one given, so an export of any size costs nothing
 * while its reader pauses, and sees attachments made meanwhile.
 *
 * A damaged attachment is an error of its own read, between the records before it and
 * those behind: the reader loses nothing else to it.
 */
#include "control_i.h"

void export_end(struct export *x)
{
	free((void *)(uintptr_t)x->cred.groups);
	*x = (struct export){ .on = false };
}

static vex_err keep_cred(struct export *x, const struct vex_cred *from)
{
	size_t bytes = from->ngroups * sizeof(*from->groups);
	uint32_t *groups = NULL;

	if (bytes) {
		groups = malloc(bytes);
		if (!groups)
			return -ENOMEM;
		memcpy(groups, from->groups, bytes);
	}
	x->cred = *from;
	x->cred.groups = groups;
	return 0;
}

static vex_err check(struct call *c, const struct vexfs_export *h)
{
	vex_err err;

	if (h->flags & ~(uint32_t)VEXFS_EXPORT_STORED)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved0);
	if (!err)
		err = call_reserved(c, h->reserved);
	if (!err)
		err = call_name(c, h->space, offsetof(struct vexfs_export, space));
	if (!err && !h->space[0])
		return session_fail(c->s, -EINVAL, "no name");
	return err;
}

vex_err ioc_export(struct call *c)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	const struct vexfs_export *h = c->head;
	struct vex_session *s = c->s;
	vex_err err;

	unread_drop(s);
	err = check(c, h);
	if (err)
		return err;
	err = vex_space_find(vex_engine_store(c->engine), h->space, &sp);
	if (err)
		return session_fail(s, err, "no space %s", h->space);
	err = keep_cred(&s->export, c->cred);
	if (err)
		return err;
	memcpy(s->export.space, h->space, sizeof(h->space));
	s->export.after = h->after;
	s->export.stored = h->flags & VEXFS_EXPORT_STORED;
	s->export.on = true;
	s->unread = true;
	return 0;
}

/* ---- reading --------------------------------------------------------------------- */

struct packing {
	uint8_t *at;
	size_t left;
	size_t wanted; /* size of the record that did not fit; 0: none */
	bool stored;
};

static int pack(void *arg, const struct vex_exported *e)
{
	struct packing *p = arg;
	size_t path_len = strlen(e->path), key_len = strlen(e->key);
	size_t bytes =
	    p->stored ? e->stored_len : (size_t)e->nrows * e->dim * sizeof(float);
	size_t value_at = pad8(sizeof(struct vexfs_record) + path_len + key_len + 2);
	size_t size = pad8(value_at + bytes);
	struct vexfs_record r = {
		.size = (uint32_t)size,
		.rows = e->nrows,
		.dim = e->dim,
		.path_len = (uint32_t)path_len,
		.key_len = (uint32_t)key_len,
	};

	if (size > p->left) {
		p->wanted = size;
		return 1;
	}
	memset(p->at + value_at - 8, 0, 8);
	memset(p->at + size - 8, 0, 8);
	memcpy(p->at, &r, sizeof(r));
	memcpy(p->at + sizeof(r), e->path, path_len + 1);
	memcpy(p->at + sizeof(r) + path_len + 1, e->key, key_len + 1);
	memcpy(p->at + value_at, p->stored ? e->stored : e->rows, bytes);
	p->at += size;
	p->left -= size;
	return 0;
}

vex_err export_read(struct vex_session *s, void *buf, size_t size, size_t *n)
{
	struct export *x = &s->export;
	struct packing p = { .at = buf, .left = size, .stored = x->stored };
	vex_err err = x->err;

	x->err = 0;
	if (!err)
		err = vex_engine_export(s->control->engine, &x->cred, x->space, &x->after,
					pack, &p);
	*n = size - p.left;
	if (err && *n) {
		x->err = err;
		return 0;
	}
	if (err == -EIO)
		session_fail(s, err, "an attachment cannot be read: the log names it");
	if (!err && p.wanted && !*n)
		return session_fail(s, -EINVAL, "the next record needs %zu bytes",
				    p.wanted);
	s->unread = err || p.wanted;
	return err;
}
