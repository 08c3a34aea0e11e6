/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of nodes and names, applied to the catalog (see apply.c). */
#include "apply.h"

static uint32_t fh_bytes(const struct vex_fh *fh, uint8_t out[4 + VEX_FH_MAX])
{
	memcpy(out, &fh->type, 4);
	memcpy(out + 4, fh->bytes, fh->len);
	return fh->len ? 4u + fh->len : 0;
}

vex_err apply_node_new(struct writer *w, const struct vex_change *c)
{
	const struct vex_node *n = c->node_in;
	uint8_t fh[4 + VEX_FH_MAX];
	uint32_t fh_len;
	int64_t one;
	vex_err err;

	if (!n || !n->id || n->fh.len > VEX_FH_MAX)
		return -EINVAL;
	err = sql_int(&w->q, SQL_NODE_HAS, &one, "i", n->id);
	if (err != -ENODATA)
		return err ? err : -EEXIST;
	fh_len = fh_bytes(&n->fh, fh);
	w->nodes++;
	return sql_do(&w->q, SQL_NODE_ADD, "iiinniiii", n->id, (int64_t)n->state,
		      (int64_t)n->is_dir, n->has_mark ? n->mark : NULL, VEX_MARK_LEN,
		      fh_len ? fh : NULL, fh_len, w->s->fh_gen, n->ino, n->size,
		      n->mtime_ns);
}

vex_err apply_node_set(struct writer *w, const struct vex_change *c)
{
	const struct vex_node *n = c->node_in;
	uint8_t fh[4 + VEX_FH_MAX];
	uint32_t fh_len;
	vex_err err;

	if (!n || n->fh.len > VEX_FH_MAX)
		return -EINVAL;
	fh_len = fh_bytes(&n->fh, fh);
	err = sql_do(&w->q, SQL_NODE_SET, "inniiii", n->id, n->has_mark ? n->mark : NULL,
		     VEX_MARK_LEN, fh_len ? fh : NULL, fh_len, w->s->fh_gen, n->ino,
		     n->size, n->mtime_ns);
	return err ? err : sqlite3_changes(w->q.db) ? 0 : -ENOENT;
}

vex_err apply_node_state(struct writer *w, const struct vex_change *c)
{
	vex_err err = sql_do(&w->q, SQL_NODE_STATE, "ii", c->node, (int64_t)c->state);

	return err ? err : sqlite3_changes(w->q.db) ? 0 : -ENOENT;
}

vex_err apply_name_add(struct writer *w, const struct vex_change *c)
{
	int64_t one;
	vex_err err = sql_int(&w->q, SQL_NODE_HAS, &one, "i", c->node);

	if (err)
		return err == -ENODATA ? -ENOENT : err;
	return sql_do(&w->q, SQL_NAME_ADD, "ibi", c->parent, c->name, c->name_len,
		      c->node);
}
