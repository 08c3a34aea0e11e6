/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ioctl table: number -> sizes, what the caller must be, handler. What every call
 * has in common is settled here, once: the type, the size of the struct, flags of the
 * descriptor, privilege; a handler sees a whole, zero-filled head and bounded data.
 *
 * The direction and size bits of a command choose nothing: a program built against an
 * older or newer header encodes another size for the same call. A struct that is
 * shorter than ours is filled with zeros, a longer one must be zero beyond ours: then
 * it says nothing we would not understand.
 *
 * Data is not copied: queries are searched, and hits packed, where fs holds them.
 */
#include "control_i.h"

enum {
	NEEDS_WRITE = 1, /* a descriptor open for writing */
	NEEDS_ADMIN = 2, /* root or the owner of the mount */
};

struct entry {
	uint16_t head, size; /* without data, whole */
	uint32_t needs;
	vex_err (*handler)(struct call *c);
};

#define WHOLE(type) sizeof(struct type), sizeof(struct type)
#define UP_TO(type, field) offsetof(struct type, field), sizeof(struct type)
#define AT(cmd) [_IOC_NR(cmd)]

static const struct entry table[] = {
	AT(VEXFS_IOC_VERSION) = { WHOLE(vexfs_version), 0, ioc_version },
	AT(VEXFS_IOC_SEARCH) = { UP_TO(vexfs_search, data), 0, ioc_search },
	AT(VEXFS_IOC_NEXT) = { UP_TO(vexfs_page, data), 0, ioc_next },
	AT(VEXFS_IOC_SPACE_CREATE) = { WHOLE(vexfs_space), NEEDS_WRITE | NEEDS_ADMIN,
				       ioc_space_create },
	AT(VEXFS_IOC_SPACE_GET) = { WHOLE(vexfs_space), 0, ioc_space_get },
	AT(VEXFS_IOC_SPACE_LIST) = { UP_TO(vexfs_space_list, spaces), 0, ioc_space_list },
	AT(VEXFS_IOC_SPACE_DROP) = { WHOLE(vexfs_space), NEEDS_WRITE | NEEDS_ADMIN,
				     ioc_space_drop },
	AT(VEXFS_IOC_SPACE_SET) = { WHOLE(vexfs_space), NEEDS_WRITE | NEEDS_ADMIN,
				    ioc_space_set },
	AT(VEXFS_IOC_PUT) = { UP_TO(vexfs_items, data), NEEDS_WRITE, ioc_put },
	AT(VEXFS_IOC_DELETE) = { UP_TO(vexfs_items, data), NEEDS_WRITE, ioc_delete },
	AT(VEXFS_IOC_BEGIN) = { WHOLE(vexfs_txn), NEEDS_WRITE, ioc_begin },
	AT(VEXFS_IOC_COMMIT) = { WHOLE(vexfs_txn), NEEDS_WRITE, ioc_commit },
	AT(VEXFS_IOC_ABORT) = { WHOLE(vexfs_txn), NEEDS_WRITE, ioc_abort },
	AT(VEXFS_IOC_SYNC) = { WHOLE(vexfs_sync), 0, ioc_sync },
	AT(VEXFS_IOC_CHECKPOINT) = { WHOLE(vexfs_checkpoint), NEEDS_WRITE | NEEDS_ADMIN,
				     ioc_checkpoint },
	AT(VEXFS_IOC_REBUILD) = { WHOLE(vexfs_rebuild), NEEDS_WRITE | NEEDS_ADMIN,
				  ioc_rebuild },
	AT(VEXFS_IOC_STATUS) = { WHOLE(vexfs_status), NEEDS_ADMIN, ioc_status },
	AT(VEXFS_IOC_STATS) = { UP_TO(vexfs_stats, ops), NEEDS_ADMIN, ioc_stats },
	AT(VEXFS_IOC_CONFIG) = { WHOLE(vexfs_config), 0, ioc_config },
	AT(VEXFS_IOC_EXPORT) = { WHOLE(vexfs_export), 0, ioc_export },
	AT(VEXFS_IOC_LAST_ERROR) = { WHOLE(vexfs_last_error), 0, ioc_last_error },
	AT(VEXFS_IOC_BACKUP) = { WHOLE(vexfs_backup), NEEDS_ADMIN, ioc_backup },
	AT(VEXFS_IOC_COMPACT) = { WHOLE(vexfs_compact), NEEDS_WRITE | NEEDS_ADMIN,
				  ioc_compact },
	AT(VEXFS_IOC_RECALL) = { WHOLE(vexfs_recall), NEEDS_ADMIN, ioc_recall },
	AT(VEXFS_IOC_STALE) = { UP_TO(vexfs_stale, data), 0, ioc_stale },
	AT(VEXFS_IOC_REATTACH) = { UP_TO(vexfs_reattach, data), NEEDS_WRITE,
				   ioc_reattach },
	AT(VEXFS_IOC_SCAN) = { WHOLE(vexfs_scan), NEEDS_WRITE | NEEDS_ADMIN, ioc_scan },
};

/* ---- what handlers ask of a call ------------------------------------------------- */

static bool is_zero(const uint8_t *p, size_t len)
{
	/* Every byte equals the next, and the first is 0. */
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

vex_err call_zero(struct call *c, const void *p, size_t len, const char *what)
{
	if (is_zero(p, len))
		return 0;
	return session_fail(c->s, -EINVAL, "%s is not zero", what);
}

vex_err call_name(struct call *c, const char *name, size_t offset)
{
	size_t given = c->in_size > offset ? c->in_size - offset : 0;
	size_t len;

	/* A name cut off by a short struct is another name: refused, not completed. */
	if (given > VEXFS_NAME_LEN)
		given = VEXFS_NAME_LEN;
	len = strnlen(name, given);
	if (given && len == given)
		return session_fail(c->s, -EINVAL, "a name does not end");
	if (len > VEX_SPACE_NAME_MAX)
		return session_fail(c->s, -EINVAL, "name longer than %u bytes",
				    VEX_SPACE_NAME_MAX);
	return 0;
}

vex_err call_string(struct call *c, size_t *at, uint32_t len, const char **out)
{
	const char *s = (const char *)c->data + *at;

	if (*at > c->data_len || len >= c->data_len - *at)
		return session_fail(c->s, -EINVAL, "a string does not fit the data");
	if (s[len] != '\0' || memchr(s, '\0', len))
		return session_fail(c->s, -EINVAL, "a string does not end at its length");
	*at += (size_t)len + 1;
	*out = s;
	return 0;
}

vex_err call_align(struct call *c)
{
	if ((uintptr_t)c->data % 8 == 0)
		return 0;
	c->copy = malloc(c->data_len);
	if (!c->copy)
		return -ENOMEM;
	memcpy(c->copy, c->data, c->data_len);
	c->data = c->copy;
	return 0;
}

/* ---- in and out ------------------------------------------------------------------ */

static vex_err take_in(struct call *c, const struct entry *e)
{
	size_t given = vex_min64(c->in_size, e->size);
	size_t head = vex_min64(given, e->head);

	if (head)
		memcpy(c->head, c->in, head);
	memset((uint8_t *)c->head + head, 0, e->head - head);
	if (given > e->head) {
		c->data = c->in + e->head;
		c->data_len = given - e->head;
	}
	if (c->in_size > e->size)
		return call_zero(c, c->in + e->size, c->in_size - e->size,
				 "a field this version does not know");
	return 0;
}

static void take_room(struct call *c, const struct entry *e)
{
	size_t room = vex_min64(c->out_size, e->size);

	if (room > e->head) {
		c->reply = c->out + e->head;
		c->room = room - e->head;
	}
}

static vex_err allowed(struct call *c, const struct entry *e)
{
	if ((e->needs & NEEDS_WRITE) && !c->s->writable)
		return session_fail(c->s, -EBADF, "not open for writing");
	if ((e->needs & NEEDS_ADMIN) && !vex_cred_is_admin(c->engine, c->cred))
		return session_fail(c->s, -EPERM, "only root and the owner of the mount");
	return 0;
}

vex_err dispatch(struct call *c, uint32_t cmd, size_t *n)
{
	uint32_t nr = _IOC_NR(cmd);
	const struct entry *e = nr < ARRAY_SIZE(table) ? &table[nr] : NULL;
	vex_err err;

	if (_IOC_TYPE(cmd) != VEXFS_IOC_TYPE || !e || !e->handler)
		return -ENOTTY;
	err = allowed(c, e);
	if (!err)
		err = take_in(c, e);
	take_room(c, e);
	if (!err)
		err = e->handler(c);
	if (err)
		return err;
	*n = vex_min64(c->out_size, e->head);
	if (*n)
		memcpy(c->out, c->head, *n);
	*n += c->used;
	return 0;
}
