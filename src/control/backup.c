/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backup: the ioctl opens one moment of the store, read(2) on the session hands out the
 * pieces of its files. Whoever reads writes them, with his own rights: we need to know
 * nothing of where they go. One at a time in a session; it ends with the session, the
 * last piece, or the next search, export or backup.
 */
#include "control_i.h"

void backup_end(struct vex_session *s)
{
	vex_engine_backup_end(s->control->engine, s->backup);
	s->backup = NULL;
}

vex_err ioc_backup(struct call *c)
{
	struct vexfs_backup *h = c->head;
	struct vex_session *s = c->s;
	struct vex_backup_info info;
	uint8_t uuid[sizeof(h->uuid)];
	vex_err err;

	unread_drop(s);
	if (h->flags)
		return session_fail(s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved0);
	if (!err)
		err = call_reserved(c, h->reserved);
	if (err)
		return err;
	vex_store_uuid(vex_engine_store(c->engine), uuid);
	if (memcmp(uuid, h->uuid, sizeof(uuid)))
		h->since = 0;
	err = vex_engine_backup(c->engine, h->since, &s->backup);
	if (err == -ENOSPC)
		return session_fail(s, err,
				    "no room in the store for a copy of its catalog");
	if (err)
		return err;
	vex_backup_info(s->backup, &info);
	h->since = info.since;
	h->lsn = info.lsn;
	h->catalog_bytes = info.catalog_bytes;
	h->rows = info.rows;
	h->row_bytes = info.row_bytes;
	memcpy(h->uuid, info.uuid, sizeof(h->uuid));
	s->unread = true;
	return 0;
}

/* One piece with its header, at `buf`. */
static vex_err take_piece(struct vex_session *s, uint8_t *buf, size_t room, size_t *n)
{
	struct vex_piece p;
	struct vexfs_piece head;
	size_t size;
	vex_err err =
	    vex_engine_backup_next(s->control->engine, s->backup, buf + sizeof(head),
				   (room - sizeof(head)) & ~(size_t)7, &p);

	if (err)
		return err;
	size = sizeof(head) + pad8(p.len);
	head = (struct vexfs_piece){ .size = (uint32_t)size,
				     .file = p.file,
				     .space = p.space,
				     .len = (uint32_t)p.len,
				     .off = p.off };
	memcpy(buf, &head, sizeof(head));
	memset(buf + sizeof(head) + p.len, 0, size - sizeof(head) - p.len);
	*n += size;
	if (p.file == VEX_PIECE_END) {
		backup_end(s);
		s->unread = false;
	}
	return 0;
}

vex_err backup_read(struct vex_session *s, void *buf, size_t size, size_t *n)
{
	vex_err err = 0;

	_Static_assert((int)VEXFS_PIECE_RECS == (int)VEX_PIECE_RECS, "one numbering");
	if (size < sizeof(struct vexfs_piece) + VEX_PIECE_MIN)
		return session_fail(s, -EINVAL, "a piece needs %zu bytes",
				    sizeof(struct vexfs_piece) + VEX_PIECE_MIN);
	while (!err && s->backup &&
	       size - *n >= sizeof(struct vexfs_piece) + VEX_PIECE_MIN)
		err = take_piece(s, (uint8_t *)buf + *n, size - *n, n);
	if (!err)
		return 0;
	backup_end(s);
	s->unread = false;
	*n = 0;
	return session_fail(s, err, "the backup ended early: %s", strerrordesc_np(-err));
}
