/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xattr values to rows of float32. Which form a value has is decided by its bytes alone:
 * all printable ASCII, tab, CR, LF: text, and then it must parse; anything else is the
 * rows themselves, little-endian. No lock, no state.
 */
#include "engine_i.h"
#include "attach_i.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "rows are little-endian in values and in slot files");

#define F32_EXP 0x7f800000u
#define F32_ABS 0x7fffffffu

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

/* Finite, and the row not all zero. Bits, not arithmetic: loops the compiler can
 * vectorise, and no trap on signalling NaNs. */
static bool row_ok(const float *v, uint32_t dim, bool zero_ok)
{
	uint32_t any = 0, bad = 0;

	for (uint32_t i = 0; i < dim; i++) {
		uint32_t bits;

		memcpy(&bits, &v[i], sizeof(bits));
		any |= bits & F32_ABS;
		bad |= (bits & F32_EXP) == F32_EXP;
	}
	return !bad && (zero_ok || any);
}

vex_err rows_check(const float *v, uint32_t n, uint32_t dim, uint8_t metric)
{
	for (uint32_t i = 0; i < n; i++)
		if (!row_ok(v + (size_t)i * dim, dim, metric != VEX_COSINE))
			return -EINVAL;
	return 0;
}

vex_err rows_shape(size_t size, uint32_t dim, uint32_t *n, uint32_t *cols)
{
	size_t row = dim ? (size_t)dim * sizeof(float) : size;

	if (!size || size % row || row % sizeof(float) ||
	    row / sizeof(float) > VEX_DIM_MAX)
		return -EINVAL;
	*n = (uint32_t)(size / row);
	*cols = (uint32_t)(row / sizeof(float));
	return 0;
}

static vex_err decode_binary(const void *value, size_t size, uint32_t dim,
			     struct rows *out)
{
	struct rows r = { .form = VEX_FORM_BINARY };
	vex_err err = rows_shape(size, dim, &r.n, &r.dim);

	if (err)
		return err;
	r.v = malloc(size);
	if (!r.v)
		return -ENOMEM;
	memcpy(r.v, value, size);
	*out = r;
	return 0;
}

vex_err value_decode(const void *value, size_t size, uint32_t dim, struct rows *out)
{
	AUTO_ROWS struct rows r = { 0 };
	vex_err err;

	if (size > VEX_VALUE_MAX)
		return -E2BIG;
	if (!size)
		return -EINVAL;
	if (value_is_text(value, size))
		err = text_decode(value, size, &r);
	else
		err = decode_binary(value, size, dim, &r);
	if (err)
		return err;
	if (dim && r.dim != dim)
		return -EINVAL;
	/* Any metric that allows zeros: the space may not exist yet. */
	err = rows_check(r.v, r.n, r.dim, VEX_IP);
	if (err)
		return err;
	*out = r;
	r.v = NULL;
	return 0;
}
