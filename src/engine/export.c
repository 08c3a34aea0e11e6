/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Export: the attachments of a space, oldest change first, that the caller may read. The
 * catalog is read in batches and not while `fn` runs, so a slow receiver holds nothing.
 * What is replaced meanwhile has a higher number and comes later.
 *
 * A damaged attachment ends the call with -EIO, but counts as taken: the caller learns of
 * it and can go on behind it.
 */
#include "engine_i.h"
#include "attach_i.h"

#define BATCH 128u

struct export
{
	struct vex_engine *e;
	const struct vex_cred *cred;
	const char *space;
	uint64_t *after;
	int (*fn)(void *, const struct vex_exported *);
	void *arg;
	struct vex_reader *r;
	struct vex_space *sp;
	struct vex_attach *batch; /* BATCH of them */
	size_t n;
	bool stop;
};

static vex_err collect(void *arg, const struct vex_attach *a)
{
	struct export *x = arg;

	x->batch[x->n++] = *a;
	return x->n == BATCH;
}

/* Unsure is no. */
static bool may_read(struct export *x, const struct place *p)
{
	return !perm_search(x->e, x->cred, p->dirfd) &&
	       !perm_check(x->cred, p->dirfd, p->name, &p->st, R_OK);
}

static vex_err give(struct export *x, const struct vex_attach *a, const char *path)
{
	const struct vex_layout *l = vex_space_layout(x->sp);
	size_t stride = vex_space_stride(x->sp);
	AUTO_FREE float *rows = malloc((size_t)a->rows * l->dim * sizeof(*rows));
	AUTO_FREE uint8_t *stored = malloc(a->rows * stride);
	struct vex_exported out = {
		.path = path,
		.key = a->key,
		.rows = rows,
		.nrows = a->rows,
		.dim = l->dim,
		.stored = stored,
		.stored_len = a->rows * stride,
	};
	vex_err err;

	if (!rows || !stored)
		return -ENOMEM;
	err = vex_read_rows(x->e->store, a, stored);
	for (uint32_t i = 0; i < a->rows && !err; i++)
		vex_row_decode(l, stored + i * stride, 0, l->dim,
			       rows + (size_t)i * l->dim);
	if (err == -ENODATA)
		return 0;
	if (err == -EIO) {
		vex_warn("export of %s: rows of %s are damaged", x->space, path);
		*x->after = a->lsn;
	}
	if (!err)
		x->stop = x->fn(x->arg, &out) != 0;
	return err;
}

static vex_err export_one(struct export *x, const struct vex_attach *a)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	AUTO_BUF struct vex_buf path = { 0 };
	vex_err err = place_find(x->e, x->r, a->node, &p);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (!may_read(x, &p))
		return 0;
	err = place_path(x->e, p.dirfd, p.name, &path);
	vex_buf_add(&path, "", 1);
	if (err || path.err)
		return err == -ENOENT ? 0 : err ? err : path.err;
	return give(x, a, path.data);
}

static vex_err export_batch(struct export *x)
{
	vex_err err;

	x->n = 0;
	err = vex_read_space(x->r, vex_space_id(x->sp), *x->after, collect, x);
	if (err < 0)
		return err;
	for (size_t i = 0; i < x->n; i++) {
		err = export_one(x, &x->batch[i]);
		if (err || x->stop)
			return err;
		*x->after = x->batch[i].lsn;
	}
	return 0;
}

static vex_err export_deep(void *arg)
{
	struct export *x = arg;
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_SPACE struct vex_space *sp = NULL;
	AUTO_FREE struct vex_attach *batch = calloc(BATCH, sizeof(*batch));
	vex_err err = batch ? vex_space_find(x->e->store, x->space, &sp) : -ENOMEM;

	if (!err)
		err = vex_reader_get(x->e->store, &r);
	if (err)
		return err;
	x->batch = batch;
	x->sp = sp;
	x->r = r;
	do
		err = export_batch(x);
	while (!err && !x->stop && x->n == BATCH);
	return err;
}

vex_err vex_engine_export(struct vex_engine *e, const struct vex_cred *cred,
			  const char *space, uint64_t *after,
			  int (*fn)(void *, const struct vex_exported *), void *arg)
{
	struct export x = {
		.e = e, .cred = cred, .space = space, .after = after, .fn = fn, .arg = arg
	};

	return engine_deep(e, export_deep, &x);
}
