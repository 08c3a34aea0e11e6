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
/* An attachment of bits, as float32. */
#define F32_MAX (8u * sizeof(float) * VEX_VALUE_MAX)

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
	if (err && (err != -ENODEV || vex_engine_knob(b->e, VEX_KNOB_STRICT) ||
		    !(item_is_put(b, item) || b->check)))
		return err;
	if (s->sp)
		s->layout = *vex_space_layout(s->sp);
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
	size_t stride = item_stride(s);
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
	size_t cap = s->cap ? s->cap : 16, stride = item_stride(s);
	uint8_t *all = s->rows;
	vex_err err = run_append(s, w->rows, &w->run);

	if (err)
		return err;
	while (cap < s->n + w->rows)
		cap *= 2;
	if (cap != s->cap) {
		all = reallocarray(s->rows, cap, stride);
		if (!all)
			return -ENOMEM;
		s->rows = all;
		s->cap = cap;
	}
	memcpy(all + s->n * stride, rows, w->rows * stride);
	w->first = s->n;
	s->n += w->rows;
	return 0;
}

static vex_err decode_value(struct batch *b, size_t i)
{
	const struct vex_item *it = &b->items[i];
	struct item_work *w = &b->work[i];
	struct item_space *s = &b->space[w->space];
	AUTO_ROWS struct rows r = { .n = 0 };
	vex_err err = value_decode(it->value, it->size, &s->layout, &r);

	if (err)
		return err;
	w->rows = r.n;
	w->form = r.form;
	if (r.form == VEX_FORM_TEXT) {
		w->text = it->value;
		w->text_len = it->size;
	}
	s->layout.dim = r.dim;
	return rows_append(s, r.data, w);
}

static vex_err f32_finite(const float *v, size_t n)
{
	struct vex_layout l = { .dim = (uint32_t)n, .type = VEX_F32 };

	return vex_row_ok(&l, v, true) ? 0 : -EINVAL;
}

/* Numbers for a space of any type, at most as many as it could store in one value. */
static vex_err decode_f32(struct batch *b, size_t i)
{
	const struct vex_item *it = &b->items[i];
	struct item_work *w = &b->work[i];
	struct item_space *s = &b->space[w->space];
	struct vex_layout l = { .dim = s->layout.dim, .type = VEX_F32 };
	AUTO_ROWS struct rows r = { .form = VEX_FORM_BINARY };
	AUTO_BUF struct vex_buf text = { 0 };
	vex_err err = rows_shape(it->size, &l, &r.n, &r.dim);

	if (err)
		return err;
	s->layout.dim = r.dim;
	w->rows = r.n;
	w->form = VEX_FORM_BINARY;
	if (r.n * item_stride(s) > VEX_VALUE_MAX)
		return -E2BIG;
	err = f32_finite(it->value, it->size / sizeof(float));
	r.data = err ? NULL : malloc(it->size);
	if (!r.data)
		return err ? err : -ENOMEM;
	memcpy(r.data, it->value, it->size);
	err = rows_convert(&r, &s->layout);
	if (!err)
		err = rows_append(s, r.data, w);
	if (!err)
		err = rows_as_text(&s->layout, r.data, r.n, &text);
	if (err || !text.len)
		return err;
	w->text_len = text.len;
	w->text = w->made_text = take_ptr(&text.data);
	w->form = VEX_FORM_TEXT;
	return 0;
}

static vex_err decode_one(struct batch *b, size_t i)
{
	const struct vex_item *it = &b->items[i];
	struct item_work *w = &b->work[i];
	struct item_space *s;
	vex_err err = name_one(b, i);

	if (err || !item_is_put(b, i))
		return err;
	if (it->size > (it->f32 ? F32_MAX : VEX_VALUE_MAX))
		return -E2BIG;
	if (!it->size || it->flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	err = it->f32 ? decode_f32(b, i) : decode_value(b, i);
	if (err)
		return err;
	s = &b->space[w->space];
	return rows_check(s->rows + w->first * item_stride(s), w->rows, &s->layout,
			  s->sp ? vex_space_metric(s->sp)
				: (uint8_t)vex_engine_knob(b->e, VEX_KNOB_METRIC));
}

vex_err items_decode(struct batch *b)
{
	vex_err err = 0;

	for (size_t i = 0; i < b->n && !err; i++)
		err = decode_one(b, i);
	return err;
}
