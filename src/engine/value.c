/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xattr values to rows. Which form a value has is decided by its bytes and the type of
 * the space: all printable ASCII, tab, CR, LF (and, of i8, i16 and bit, "[" in front):
 * text, and then it must parse; anything else is the rows themselves, little-endian.
 * Text is read as float32 and converted. No lock, no state.
 */
#include "engine_i.h"
#include "attach_i.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "rows are little-endian in values and in slot files");

void rows_free(struct rows *r)
{
	free(r->v);
	r->v = NULL;
}

static bool is_text_byte(uint8_t b)
{
	return (b >= 0x20 && b < 0x7f) || b == '\t' || b == '\r' || b == '\n';
}

bool value_is_text(const void *value, size_t size)
{
	const uint8_t *b = value;

	for (size_t i = 0; i < size; i++)
		if (!is_text_byte(b[i]))
			return false;
	return size > 0;
}

bool value_is_text_of(uint8_t type, const void *value, size_t size)
{
	const uint8_t *b = value;

	if (type != VEX_F32 && type != VEX_F16 && size && *b != '[')
		return false;
	return value_is_text(value, size);
}

vex_err rows_check(const void *rows, uint32_t n, const struct vex_layout *l,
		   uint8_t metric)
{
	size_t stride = vex_row_bytes(l->type, l->dim);
	const uint8_t *row = rows;

	for (uint32_t i = 0; i < n; i++, row += stride)
		if (!vex_row_ok(l, row, metric != VEX_COSINE))
			return -EINVAL;
	return 0;
}

vex_err rows_shape(size_t size, const struct vex_layout *l, uint32_t *n, uint32_t *cols)
{
	size_t row = l->dim ? vex_row_bytes(l->type, l->dim) : size;

	if (!size || size % row)
		return -EINVAL;
	if (!l->dim && (row % sizeof(float) || row / sizeof(float) > VEX_DIM_MAX))
		return -EINVAL;
	*n = (uint32_t)(size / row);
	*cols = l->dim ? l->dim : (uint32_t)(row / sizeof(float));
	return 0;
}

vex_err rows_convert(struct rows *r, const struct vex_layout *l)
{
	size_t stride = vex_row_bytes(l->type, r->dim);
	struct vex_layout to = *l;
	uint8_t *data;

	if (l->type == r->type)
		return 0;
	data = malloc(r->n * stride);
	if (!data)
		return -ENOMEM;
	to.dim = r->dim;
	for (uint32_t i = 0; i < r->n; i++) {
		if (vex_row_encode(&to, r->v + (size_t)i * r->dim, data + i * stride))
			continue;
		free(data);
		return -EINVAL;
	}
	free(r->v);
	r->data = data;
	r->type = l->type;
	return 0;
}

vex_err rows_read(struct vex_engine *e, struct vex_space *sp, const struct vex_attach *a,
		  float *out)
{
	const struct vex_layout *l = vex_space_layout(sp);
	size_t stride = vex_space_stride(sp);
	AUTO_FREE uint8_t *data = NULL;
	vex_err err;

	if (l->type == VEX_F32)
		return vex_read_rows(e->store, a, out);
	data = malloc(a->rows * stride);
	if (!data)
		return -ENOMEM;
	err = vex_read_rows(e->store, a, data);
	for (uint32_t i = 0; i < a->rows && !err; i++)
		vex_row_decode(l, data + i * stride, 0, l->dim, out + (size_t)i * l->dim);
	return err;
}

vex_err rows_as_text(const struct vex_layout *l, const void *rows, uint32_t n,
		     struct vex_buf *out)
{
	size_t stride = vex_row_bytes(l->type, l->dim), start = out->len;
	AUTO_FREE float *v = NULL;

	if (!value_is_text_of(l->type, rows, n * stride))
		return 0;
	v = malloc(l->dim * sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		vex_row_decode(l, (const uint8_t *)rows + i * stride, 0, l->dim, v);
		/* "%.9g" is exact. */
		for (uint32_t j = 0; j < l->dim; j++)
			vex_buf_fmt(out, "%c%.9g", j ? ',' : '[', (double)v[j]);
		vex_buf_str(out, "]\n");
	}
	if (out->len - start > VEX_VALUE_MAX)
		out->len = start;
	return out->err;
}

static vex_err decode_binary(const void *value, size_t size, const struct vex_layout *l,
			     struct rows *out)
{
	struct rows r = { .form = VEX_FORM_BINARY, .type = l->type };
	vex_err err = rows_shape(size, l, &r.n, &r.dim);

	if (err)
		return err;
	r.data = malloc(size);
	if (!r.data)
		return -ENOMEM;
	memcpy(r.data, value, size);
	*out = r;
	return 0;
}

static vex_err decode_text(const void *value, size_t size, const struct vex_layout *l,
			   struct rows *out)
{
	vex_err err = text_decode(value, size, out);

	return err ? err : rows_convert(out, l);
}

vex_err value_decode(const void *value, size_t size, const struct vex_layout *l,
		     struct rows *out)
{
	AUTO_ROWS struct rows r = { .n = 0 };
	struct vex_layout got = *l;
	vex_err err;

	if (size > VEX_VALUE_MAX)
		return -E2BIG;
	if (!size)
		return -EINVAL;
	if (value_is_text_of(l->type, value, size))
		err = decode_text(value, size, l, &r);
	else
		err = decode_binary(value, size, l, &r);
	if (err)
		return err;
	if (l->dim && r.dim != l->dim)
		return -EINVAL;
	got.dim = r.dim;
	/* Any metric that allows zeros: the space may not exist yet. */
	err = rows_check(r.data, r.n, &got, VEX_IP);
	if (err)
		return err;
	*out = r;
	r.data = NULL;
	return 0;
}
