/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put and delete by path: many items, one commit, all or none. This is also the way of
 * bulk imports, hundreds of items a call, and of transactions, whose puts and deletes
 * are applied in the order they were staged.
 *
 *   1. decode (items_decode.c): every value to rows, gathered by space: what is wrong
 *	with the items themselves is found before anything is touched;
 *   2. files: each path is resolved with the caller's rights, its node made or found;
 *   3. spaces: looked up again, or made, under spaces_lock;
 *   4. slots: long runs of them, each with one write; then the commit.
 *
 * Locks: node locks are taken by stripe, in order of index, before the first node is
 * looked at. Up to FILES_HELD items are resolved before, so that only their stripes are
 * taken; more would need a descriptor each, so a larger call takes all stripes and opens
 * its files one at a time.
 */
#include "engine_i.h"
#include "items_i.h"

#define FILES_HELD 256u
#define ITEMS_MAX (1u << 20)

/* ---- files ------------------------------------------------------------------- */

static struct item_file *file_at(struct batch *b, size_t i)
{
	return &b->file[b->work[i].file];
}

/* The place of a file in the table: its index + 1, or 0 where it may go. */
static uint32_t *file_slot(struct batch *b, const struct stat *st)
{
	uint64_t key[2] = { st->st_dev, st->st_ino };
	size_t i = vex_sum64(0, key, sizeof(key)) & (b->table_size - 1);

	for (; b->table[i]; i = (i + 1) & (b->table_size - 1)) {
		const struct item_file *f = &b->file[b->table[i] - 1];

		if (f->r.st.st_ino == st->st_ino && f->r.st.st_dev == st->st_dev)
			break;
	}
	return &b->table[i];
}

/* user.* xattrs of a sticky directory are its owner's alone, says the kernel. */
static vex_err may_attach(const struct batch *b, const struct stat *st)
{
	if (S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) && b->cred->uid &&
	    b->cred->uid != st->st_uid)
		return -EPERM;
	return attach_kind_ok(st);
}

/* Moves the open file into the table, or into its entry there. */
static vex_err file_keep(struct batch *b, size_t i, struct resolved *r)
{
	uint32_t *slot = file_slot(b, &r->st);
	struct item_file *f;
	vex_err err;

	if (!*slot) {
		f = &b->file[b->nfiles];
		*f = (struct item_file){ .r = RESOLVED_INIT };
		err = vex_fh_get(r->fd, "", &f->fh, NULL);
		if (err)
			return err;
		*slot = (uint32_t)++b->nfiles;
	}
	b->work[i].file = *slot - 1;
	f = file_at(b, i);
	if (f->r.fd >= 0)
		return 0;
	if (item_is_put(b, i))
		stamp_ready(b->e, r->fd, &f->fh, &r->st);
	resolved_free(&f->r);
	f->r = *r;
	*r = (struct resolved)RESOLVED_INIT;
	return 0;
}

static vex_err file_open(struct batch *b, size_t i)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;
	vex_err err;

	if (i && !strcmp(b->items[i].path, b->items[i - 1].path) &&
	    file_at(b, i - 1)->r.fd >= 0) {
		b->work[i].file = b->work[i - 1].file;
		return 0;
	}
	err = resolve(b->e, b->cred, b->items[i].path, W_OK, &r);
	if (!err)
		err = may_attach(b, &r.st);
	return err ? err : file_keep(b, i, &r);
}

/* The descriptors; what the table needs stays. */
static void file_close(struct item_file *f)
{
	struct stat st = f->r.st;

	resolved_free(&f->r);
	f->r = (struct resolved)RESOLVED_INIT;
	f->r.st = st;
}

static void file_obj(const struct item_file *f, struct vex_obj *o)
{
	resolved_obj(&f->r, o);
	o->fh = f->fh;
}

/* The node, and room for one more name. */
static vex_err file_put(struct batch *b, size_t i)
{
	struct item_file *f = file_at(b, i);
	const struct attr_name *a = &b->work[i].a;
	size_t from = b->l.n;
	struct vex_obj o;
	vex_err err;

	file_obj(f, &o);
	if (!f->node) {
		err = node_ensure(b->e, &o, &b->l, &f->node);
		if (err)
			return err;
		f->fresh = changes_make_node(&b->l, from, f->node);
	}
	if (b->items[i].flags & XATTR_REPLACE)
		return 0;
	err = names_room(b->e, &o, f->node, a, f->fresh, f->coming);
	f->coming += names_bytes(a);
	return err;
}

static vex_err file_find(struct batch *b, size_t i)
{
	struct item_file *f = file_at(b, i);
	struct vex_obj o;

	file_obj(f, &o);
	return f->node ? 0 : node_needed(b->e, &o, &f->node);
}

static vex_err file_ready(struct batch *b, size_t i)
{
	b->bad = i;
	return item_is_put(b, i) ? file_put(b, i) : file_find(b, i);
}

/* ---- node locks -------------------------------------------------------------- */

static void lock_stripe(struct batch *b, size_t s)
{
	pthread_mutex_lock(&b->e->node_lock[s]);
	b->locked[s] = true;
}

static void unlock_stripes(struct batch *b)
{
	for (size_t s = 0; s < NODE_LOCKS; s++)
		if (b->locked[s])
			pthread_mutex_unlock(&b->e->node_lock[s]);
	memset(b->locked, 0, sizeof(b->locked));
}

/* Which stripe a file has is node.c's to know: taken for a moment, it tells. */
static size_t stripe_of(struct batch *b, const struct item_file *f)
{
	pthread_mutex_t *m = node_lock(b->e, &f->fh, f->r.st.st_ino);

	pthread_mutex_unlock(m);
	return (size_t)(m - b->e->node_lock);
}

static void lock_files(struct batch *b)
{
	bool want[NODE_LOCKS] = { false };

	for (size_t i = 0; i < b->nfiles; i++)
		want[stripe_of(b, &b->file[i])] = true;
	for (size_t s = 0; s < NODE_LOCKS; s++)
		if (want[s])
			lock_stripe(b, s);
}

/* All files open, then their locks. */
static vex_err files_few(struct batch *b)
{
	vex_err err = 0;

	for (b->bad = 0; b->bad < b->n; b->bad++) {
		err = file_open(b, b->bad);
		if (err)
			return err;
	}
	lock_files(b);
	for (size_t i = 0; i < b->n && !err; i++)
		err = file_ready(b, i);
	return err;
}

/* All locks, then one file after another. */
static vex_err files_many(struct batch *b)
{
	vex_err err = 0;

	for (size_t s = 0; s < NODE_LOCKS; s++)
		lock_stripe(b, s);
	for (size_t i = 0; i < b->n && !err; i++) {
		b->bad = i;
		err = file_open(b, i);
		if (!err)
			err = file_ready(b, i);
		if (i && b->work[i].file != b->work[i - 1].file)
			file_close(file_at(b, i - 1));
	}
	return err;
}

static vex_err files(struct batch *b)
{
	return b->n <= FILES_HELD ? files_few(b) : files_many(b);
}

/* ---- the commit -------------------------------------------------------------- */

static vex_err add_change(struct batch *b, size_t i)
{
	struct item_work *w = &b->work[i];
	struct item_space *s = &b->space[w->space];
	const struct item_file *f = file_at(b, i);
	bool put = item_is_put(b, i);
	struct vex_change *c = changes_attach(&b->l, put ? VEX_PUT : VEX_DELETE, f->node,
					      s->sp, w->a.key, w->a.key_len);

	if (!c)
		return b->l.err;
	w->change = b->l.n - 1;
	if (!put)
		return 0;
	c->slot = s->run[w->run].slot + (w->first - s->run[w->run].first);
	c->rows = w->rows;
	c->form = w->form;
	c->text = w->text;
	c->text_len = (uint32_t)w->text_len;
	c->flags = b->items[i].flags;
	c->stamp = stamp_of(&f->r.st);
	return 0;
}

static vex_err add_changes(struct batch *b)
{
	vex_err err = 0;

	for (size_t i = 0; i < b->n && !err; i++)
		err = add_change(b, i);
	return err ? err : b->l.err;
}

/* The item of the change that failed; errors of the disk are nobody's. */
static void blame(struct batch *b, vex_err err, size_t change)
{
	bool refused = err == -EEXIST || err == -ENODATA || err == -ENODEV ||
		       err == -EINVAL || err == -ENOENT;

	for (size_t i = 0; i < b->n && refused; i++)
		if (b->work[i].change == change)
			b->bad = i;
}

static vex_err commit(struct batch *b)
{
	size_t change = 0;
	vex_err err = vex_store_commit(b->e->store, b->l.c, b->l.n, &change);

	b->bad = b->n;
	if (err)
		blame(b, err, change);
	return err;
}

static vex_err slots_write(struct item_space *s)
{
	for (size_t i = 0; i < s->nruns; i++) {
		struct item_run *run = &s->run[i];
		vex_err err =
		    vex_slots_write(s->sp, s->rows + run->first * item_stride(s),
				    (uint32_t)run->n, &run->slot);

		if (err)
			return err;
		run->written = true;
	}
	return 0;
}

static void slots_return(struct item_space *s)
{
	for (size_t i = 0; i < s->nruns; i++)
		if (s->run[i].written)
			vex_slots_return(s->sp, s->run[i].slot, (uint32_t)s->run[i].n);
}

static vex_err put_commit(struct batch *b)
{
	vex_err err = 0;

	b->bad = b->n;
	for (size_t i = 0; i < b->nspaces && !err; i++)
		err = slots_write(&b->space[i]);
	if (!err)
		err = add_changes(b);
	if (!err)
		return commit(b);
	for (size_t i = 0; i < b->nspaces; i++)
		slots_return(&b->space[i]);
	return err;
}

/* -EAGAIN: there is no such space, and it may not be made here. */
static vex_err space_look(struct batch *b, struct item_space *s, bool make)
{
	vex_err err;

	if (s->sp)
		vex_space_unref(take_ptr(&s->sp));
	if (make)
		err = space_for_locked(b->e, s->name, s->layout.dim, &s->sp, &s->made);
	else
		err = vex_space_find(b->e->store, s->name, &s->sp);
	if (err)
		return err == -ENODEV && !make ? -EAGAIN : err;
	/* Deletes of a space alone leave it unknown, and need not know. */
	if (s->n && !layout_same(vex_space_layout(s->sp), &s->layout))
		return -EINVAL;
	return rows_check(s->rows, (uint32_t)s->n, &s->layout, vex_space_metric(s->sp));
}

static vex_err spaces_look(struct batch *b, bool make)
{
	vex_err err = 0;

	for (size_t i = 0; i < b->nspaces && !err; i++) {
		b->bad = b->space[i].item;
		err = space_look(b, &b->space[i], make);
	}
	return err;
}

static vex_err put_known(struct batch *b)
{
	SCOPED_RDLOCK(&spaces_lock);
	vex_err err = spaces_look(b, false);

	return err ? err : put_commit(b);
}

static vex_err put_first(struct batch *b)
{
	SCOPED_WRLOCK(&spaces_lock);
	vex_err err = spaces_look(b, true);

	if (!err)
		err = put_commit(b);
	for (size_t i = 0; i < b->nspaces; i++)
		if (err && b->space[i].made)
			space_unmake_locked(b->e, b->space[i].sp);
	return err;
}

/* ---- the calls --------------------------------------------------------------- */

static void batch_free(struct batch *b)
{
	for (size_t i = 0; i < b->nfiles; i++)
		resolved_free(&b->file[i].r);
	for (size_t i = 0; i < b->nspaces; i++) {
		free(b->space[i].rows);
		free(b->space[i].run);
		if (b->space[i].sp)
			vex_space_unref(b->space[i].sp);
	}
	for (size_t i = 0; i < b->n && b->work; i++)
		free(b->work[i].made_text);
	free(b->space);
	free(b->file);
	free(b->work);
	free(b->table);
	changes_free(&b->l);
}

static vex_err batch_alloc(struct batch *b)
{
	if (b->n > ITEMS_MAX)
		return -ENOMEM;
	for (b->table_size = 16; b->table_size < b->n * 2;)
		b->table_size *= 2;
	b->work = calloc(b->n, sizeof(*b->work));
	b->file = calloc(b->n, sizeof(*b->file));
	b->table = calloc(b->table_size, sizeof(*b->table));
	return b->work && b->file && b->table ? 0 : -ENOMEM;
}

static vex_err put_all(struct batch *b)
{
	AUTO_MAKING struct making m = { 0 };
	vex_err err = items_decode(b);

	making_begin(b->e, &m);
	if (!err)
		err = files(b);
	if (err)
		return err;
	err = put_known(b);
	if (err == -EAGAIN)
		err = vex_engine_knob(b->e, VEX_KNOB_STRICT) ? -ENODEV : put_first(b);
	for (size_t i = 0; i < b->nfiles && !err; i++) {
		if (b->file[i].fresh && making_overlapped(&m))
			made_look(b->e, b->file[i].node, false);
		covered_look(b->e, b->file[i].node, b->file[i].fresh);
	}
	return err;
}

static vex_err delete_all(struct batch *b)
{
	vex_err err = items_name(b);

	if (!err)
		err = files(b);
	if (!err)
		err = add_changes(b);
	return err ? err : commit(b);
}

/* Nothing is locked, so nothing of this need hold when it is done. */
static vex_err check_all(struct batch *b)
{
	vex_err err = items_decode(b);

	for (size_t i = 0; i < b->n && !err; i++) {
		AUTO_RESOLVED struct resolved r = RESOLVED_INIT;

		b->bad = i;
		err = resolve(b->e, b->cred, b->items[i].path, W_OK, &r);
		if (!err)
			err = may_attach(b, &r.st);
	}
	return err;
}

static vex_err batch_deep(void *arg)
{
	struct batch *b = arg;
	vex_err err = batch_alloc(b);

	if (!err)
		err = b->check ? check_all(b) : b->put ? put_all(b) : delete_all(b);
	unlock_stripes(b);
	batch_free(b);
	return err;
}

static vex_err batch_run(struct batch *b, size_t *bad)
{
	uint64_t start = vex_now_mono();
	vex_err err;

	b->bad = b->n;
	err = b->n ? engine_deep(b->e, batch_deep, b) : 0;
	vex_op_done(VEX_OP_BATCH, vex_now_mono() - start, err);
	if (!b->check)
		vex_audit(b->e, b->cred, b->put ? "attach" : "detach", err,
			  "%zu items, the first on %s", b->n,
			  b->n ? b->items[0].path : "none");

	if (err && bad)
		*bad = b->bad;
	if (!err && b->put && !b->check)
		graph_await_all(b->e);
	return err;
}

vex_err vex_engine_put_items(struct vex_engine *e, const struct vex_cred *cred,
			     const struct vex_item *items, size_t n, size_t *bad)
{
	struct batch b = { .e = e, .cred = cred, .items = items, .n = n, .put = true };

	return batch_run(&b, bad);
}

vex_err vex_engine_delete_items(struct vex_engine *e, const struct vex_cred *cred,
				const struct vex_item *items, size_t n, size_t *bad)
{
	struct batch b = { .e = e, .cred = cred, .items = items, .n = n };

	return batch_run(&b, bad);
}

static bool any_put(const struct vex_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!items[i].del)
			return true;
	return false;
}

vex_err vex_engine_apply_items(struct vex_engine *e, const struct vex_cred *cred,
			       const struct vex_item *items, size_t n, size_t *bad)
{
	struct batch b = { .e = e, .cred = cred, .items = items, .n = n, .mixed = true };

	b.put = any_put(items, n);
	return batch_run(&b, bad);
}

vex_err vex_engine_check_items(struct vex_engine *e, const struct vex_cred *cred,
			       const struct vex_item *items, size_t n, size_t *bad)
{
	struct batch b = {
		.e = e, .cred = cred, .items = items, .n = n, .mixed = true, .check = true
	};

	b.put = any_put(items, n);
	return batch_run(&b, bad);
}
