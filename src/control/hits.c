/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hits as bytes: struct vexfs_hit records, packed into whatever buffer there is: the
 * rest of a search struct, a page, a read(2). A record is never split.
 *
 * The cursor is the session's: search, NEXT and read(2) go on where the last of them
 * stopped. A result that has been read to its end is freed at once.
 */
#include "control_i.h"

static size_t hit_size(const struct vex_found *f)
{
	return pad8(sizeof(struct vexfs_hit) + f->path_len + f->key_len + 2);
}

static void pack_one(const struct vex_found *f, uint8_t *at, size_t size)
{
	struct vexfs_hit h = {
		.size = (uint32_t)size,
		.query = f->query,
		.distance = f->distance,
		.row = f->row,
		.flags = f->stale ? VEXFS_HIT_STALE : 0,
		.path_len = f->path_len,
		.key_len = f->key_len,
		.ino = f->ino,
	};
	uint8_t *end = at + size;

	/* Padding and both NULs first: the last 8 bytes may be text, written over. */
	memset(end - 8, 0, 8);
	memcpy(at, &h, sizeof(h));
	at += sizeof(h);
	memcpy(at, f->path, f->path_len);
	at += f->path_len;
	*at++ = '\0';
	if (f->key_len)
		memcpy(at, f->key, f->key_len);
	at[f->key_len] = '\0';
}

size_t hits_pack(struct vex_session *s, void *buf, size_t room, uint32_t *hits)
{
	struct vex_result *r = s->result;
	size_t used = 0, size;

	*hits = 0;
	while (r && s->cursor < r->n) {
		size = hit_size(&r->hits[s->cursor]);
		if (size > room - used)
			break;
		pack_one(&r->hits[s->cursor], (uint8_t *)buf + used, size);
		used += size;
		s->cursor++;
		++*hits;
	}
	if (r && s->cursor == r->n)
		unread_drop(s);
	return used;
}

static uint64_t left(const struct vex_session *s)
{
	return s->result ? s->result->n - s->cursor : 0;
}

static vex_err too_small(struct vex_session *s)
{
	return session_fail(s, -EINVAL, "the next hit needs %zu bytes: read(2) takes any",
			    hit_size(&s->result->hits[s->cursor]));
}

vex_err hits_read(struct vex_session *s, void *buf, size_t size, size_t *n)
{
	uint32_t hits;

	*n = hits_pack(s, buf, size, &hits);
	return !hits && left(s) ? too_small(s) : 0;
}

/* Before they are packed: with the last hit the result goes. */
static void describe(struct vexfs_page *p, const struct vex_result *r)
{
	p->out_flags = r && r->partial ? VEXFS_RESULT_PARTIAL : 0;
	p->space = r ? r->space_id : 0;
	p->metric = r ? r->metric : 0;
}

vex_err ioc_next(struct call *c)
{
	struct vexfs_page *p = c->head;
	vex_err err;

	if (p->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", p->flags);
	err = call_reserved(c, p->reserved);
	if (err)
		return err;
	describe(p, c->s->result);
	c->used = hits_pack(c->s, c->reply, c->room, &p->hits);
	if (!p->hits && left(c->s))
		return too_small(c->s);
	p->bytes = (uint32_t)c->used;
	p->left = left(c->s);
	return 0;
}
