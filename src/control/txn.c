/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions: what put and delete would apply is copied to the session instead, and
 * one call applies it all. So an open transaction holds no lock and no row, costs its
 * bytes (charged to the user), and dies with its session: there is nothing to undo.
 *
 * Items are checked when staged, with the rights of who stages, for a program wants to
 * hear of a mistake where it made it; and again at commit, with the rights of who
 * commits and the files and spaces of that time, which alone count.
 *
 * Must stay true: records holds `count` records that item_take has accepted, del a
 * byte for each. Lock: the session's.
 */
#include "control_i.h"

#define TXN_ITEMS VEX_BATCH_MAX

void txn_drop(struct vex_session *s)
{
	struct txn *t = &s->txn;

	account_release(s->control, s->account, t->bytes);
	vex_buf_free(&t->records);
	vex_buf_free(&t->del);
	*t = (struct txn){ .open = false };
}

static vex_err check_head(struct call *c, bool open)
{
	const struct vexfs_txn *h = c->head;
	vex_err err;

	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	err = call_reserved(c, h->reserved);
	if (err)
		return err;
	if (c->s->txn.open != open)
		return session_fail(c->s, -EINVAL,
				    open ? "no transaction is open"
					 : "a transaction is open already");
	return 0;
}

vex_err ioc_begin(struct call *c)
{
	struct vexfs_txn *h = c->head;
	vex_err err = check_head(c, false);

	if (err)
		return err;
	c->s->txn.open = true;
	c->s->txn.records.cap = STAGE_MAX;
	*h = (struct vexfs_txn){ .items = TXN_ITEMS, .bytes = STAGE_MAX };
	return 0;
}

/* ---- staging --------------------------------------------------------------------- */

static vex_err check_room(struct vex_session *s, uint32_t n, size_t bytes)
{
	if (n > TXN_ITEMS - s->txn.count)
		return session_fail(s, -ENOMEM, "more than %u items in a transaction",
				    TXN_ITEMS);
	if (bytes > STAGE_MAX - s->txn.records.len)
		return session_fail(s, -ENOMEM, "more than %zu bytes in a transaction",
				    STAGE_MAX);
	return 0;
}

/* All of them or, where there is no memory, none. */
static vex_err keep(struct txn *t, const struct region *r, uint32_t n, bool put)
{
	size_t was = t->records.len;
	void *del = vex_buf_room(&t->del, n);

	vex_buf_add(&t->records, r->p, r->left);
	if (del && !t->records.err) {
		memset(del, put ? 0 : 1, n);
		t->count += n;
		return 0;
	}
	t->records.len = was;
	t->del.len = t->count;
	t->records.err = t->del.err = 0;
	return -ENOMEM;
}

vex_err txn_stage(struct call *c, const struct vex_item *items, uint32_t n, bool put,
		  struct region r)
{
	struct vex_session *s = c->s;
	uint64_t bytes = r.left + n;
	size_t bad = n;
	vex_err err = check_room(s, n, r.left);

	if (err)
		return err;
	err = vex_engine_check_items(c->engine, c->cred, items, n, &bad);
	err = items_blame(s, err, items, n, bad);
	if (err)
		return err;
	err = account_charge(s->control, s->account, bytes);
	if (err)
		return session_fail(s, err, "too many bytes staged by this user");
	err = keep(&s->txn, &r, n, put);
	if (err)
		account_release(s->control, s->account, bytes);
	else
		s->txn.bytes += bytes;
	return err;
}

/* ---- the end --------------------------------------------------------------------- */

static vex_err unpack(struct vex_session *s, struct vex_item *items)
{
	const struct txn *t = &s->txn;
	struct region in = { (const uint8_t *)t->records.data, t->records.len };
	vex_err err = 0;

	for (uint32_t i = 0; i < t->count && !err; i++)
		err = item_take(s, &in, !t->del.data[i], &items[i]);
	return err;
}

static vex_err apply(struct call *c)
{
	struct vex_session *s = c->s;
	uint32_t n = s->txn.count;
	AUTO_FREE struct vex_item *items = NULL;
	size_t bad = n;
	vex_err err;

	if (!n)
		return 0;
	items = calloc(n, sizeof(*items));
	if (!items)
		return -ENOMEM;
	err = unpack(s, items);
	if (err)
		return err;
	err = vex_engine_apply_items(c->engine, c->cred, items, n, &bad);
	return items_blame(s, err, items, n, bad);
}

static void tell(struct call *c)
{
	*(struct vexfs_txn *)c->head = (struct vexfs_txn){
		.items = c->s->txn.count,
		.bytes = c->s->txn.records.len,
	};
}

vex_err ioc_commit(struct call *c)
{
	struct vexfs_txn *h = c->head;
	vex_err err = check_head(c, true);

	if (err)
		return err;
	err = apply(c);
	tell(c);
	if (!err)
		h->lsn = vex_store_lsn(vex_engine_store(c->engine));
	txn_drop(c->s);
	return err;
}

vex_err ioc_abort(struct call *c)
{
	vex_err err = check_head(c, true);

	if (err)
		return err;
	tell(c);
	txn_drop(c->s);
	return 0;
}
