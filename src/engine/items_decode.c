/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first step of a batch: names and values, checked before any file is looked at.
 * Rows of one space are gathered one behind the other, so that few writes do. A space
 * that does not exist yet takes its dimension from its first item.
 */
#include "engine_i.h"
#include "items_i.h"

/* As much as the longest value may need: 65,536 bytes of text hold 32,768 numbers. */
#define RUN_BYTES (2u * VEX_VALUE_MAX)

static vex_err space_add(struct batch *b, const char *name, size_t item, uint32_t *index)
{
	struct item_space *v = reallocarray(b->space, b->nspaces + 1, sizeof(*v)), *s;
	vex_err err;

	if (!v)
		return -ENOMEM;
	b->space = v;
	s = &v[b->nspaces];
	*s = (struct item_space){ .item = item };
	snprintf(s->name, sizeof(s->name), "%s", name);
	err = vex_space_find(b->e->store, name, &s->sp);
	if (err &&
	    (err != -ENODEV || vex_engine_knob(b->e, VEX_KNOB_STRICT) || !(item_is_put(b, item) || b->check)))
		return err;
	s->dim = s->sp ? vex_space_dim(s->sp) : 0;
	*index = (uint32_t)b->nspaces++;
	return 0;
}

/* Batches name few spaces, and mostly the one before. */
static vex_err space_of(struct batch *b, size_t i)
{
	struct item_work *w = &b->work[i];

	if (b->nspaces && i) {
		w->space = b->work[i - 1].space;
		if (!strcmp(b->space[w->space].name, w->a.space))
			return 0;
	}
	for (uint32_t s = 0; s < b->nspaces; s++) {
		if (!strcmp(b->space[s].name, w->a.space)) {
			w->space = s;
			return 0;
		}
	}
	return space_add(b, w->a.space, i, &w->space);
}

static vex_err name_one(struct batch *b, size_t i)
{
	vex_err err;

	b->bad = i;
	err = attr_parse(b->items[i].attr, &b->work[i].a);
	if (err)
		return attr_kind(b->items[i].attr) == ATTR_PLAIN ? err : -EPERM;
	return space_of(b, i);
}

vex_err items_name(struct batch *b)
{
	vex_err err = 0;

	for (size_t i = 0; i < b->n && !err; i++)
		err = name_one(b, i);
	return err;
}

/* ---- values ------------------------------------------------------------------ */

/* Rows join the last run, or begin one. */
static vex_err run_append(struct item_space *s, uint32_t n, uint32_t *index)
{
	size_t stride = (size_t)s->dim * sizeof(float);
	struct item_run *run = s->run;

	if (!s->nruns || (run[s->nruns - 1].n + n) * stride > RUN_BYTES) {
		run = reallocarray(s->run, s->nruns + 1, sizeof(*run));
		if (!run)
			return -ENOMEM;
		s->run = run;
		run[s->nruns++] = (struct item_run){ .first = s->n };
	}
	run[s->nruns - 1].n += n;
	*index = (uint32_t)(s->nruns - 1);
	return 0;
}

static vex_err rows_append(struct item_space *s, const void *rows, struct item_work *w)
{
	size_t cap = s->cap ? s->cap : 16, stride = (size_t)s->dim * sizeof(float);
	float *v = s->v;
	vex_err err = run_append(s, w->rows, &w->run);

	if (err)
		return err;
	while (cap < s->n + w->rows)
		cap *= 2;
	if (cap != s->cap) {
		v = reallocarray(s->v, cap, stride);
		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	memcpy((char *)v + s->n * stride, rows, w->rows * stride);
	w->first = s->n;
	s->n += w->rows;
	return 0;
}

static vex_err decode_value(struct batch *b, size_t i)
{
	const struct vex_item *it = &b->items[i];
	struct item_work *w = &b->work[i];
	struct item_space *s = &b->space[w->space];
	AUTO_ROWS struct rows r = { 0 };
	vex_err err = value_decode(it->value, it->size, s->dim, &r);

	if (err)
		return err;
	w->rows = r.n;
	w->form = r.form;
	if (r.form == VEX_FORM_TEXT) {
		w->text = it->value;
		w->text_len = it->size;
	}
	s->dim = r.dim;
	return rows_append(s, r.v, w);
}

/* Numbers whose bytes all look like text could not be set again with what getxattr
 * returns for them: `cp -a` would fail. As text they can. "%.9g" is exact. */
static vex_err rows_to_text(struct item_work *w, const float *v, uint32_t dim)
{
	AUTO_BUF struct vex_buf t = { 0 };

	for (size_t i = 0; i < (size_t)w->rows * dim; i++)
		vex_buf_fmt(&t, "%.9g%c", (double)v[i], (i + 1) % dim ? ',' : '\n');
	if (t.err)
		return t.err;
	if (t.len > VEX_VALUE_MAX)
		return 0;
	w->text_len = t.len;
	w->text = w->made_text = take_ptr(&t.data);
	w->form = VEX_FORM_TEXT;
	return 0;
}

static vex_err decode_f32(struct batch *b, size_t i)
{
	const struct vex_item *it = &b->items[i];
	struct item_work *w = &b->work[i];
	struct item_space *s = &b->space[w->space];
	uint32_t dim;
	vex_err err = rows_shape(it->size, s->dim, &w->rows, &dim);

	if (err)
		return err;
	s->dim = dim;
	w->form = VEX_FORM_BINARY;
	err = rows_append(s, it->value, w);
	if (err || !value_is_text(it->value, it->size))
		return err;
	return rows_to_text(w, s->v + w->first * dim, dim);
}

static vex_err decode_one(struct batch *b, size_t i)
{
	const struct vex_item *it = &b->items[i];
	struct item_work *w = &b->work[i];
	struct item_space *s;
	vex_err err = name_one(b, i);

	if (err || !item_is_put(b, i))
		return err;
	if (it->size > VEX_VALUE_MAX)
		return -E2BIG;
	if (!it->size || it->flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	err = it->f32 ? decode_f32(b, i) : decode_value(b, i);
	if (err)
		return err;
	s = &b->space[w->space];
	return rows_check(s->v + w->first * s->dim, w->rows, s->dim,
			  s->sp ? vex_space_metric(s->sp) : (uint8_t)vex_engine_knob(b->e, VEX_KNOB_METRIC));
}

vex_err items_decode(struct batch *b)
{
	vex_err err = 0;

	for (size_t i = 0; i < b->n && !err; i++)
		err = decode_one(b, i);
	return err;
}
