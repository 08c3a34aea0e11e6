/* SPDX-License-Identifier: Apache-2.0 */
/* Values to rows: which form, which shape, which numbers. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include "attach_i.h"

TestSuite(value, .timeout = 60);

static vex_err decode(const void *v, size_t size, uint32_t dim, struct rows *r)
{
	/* An exact copy on the heap: a byte read past it is seen by ASan. */
	AUTO_FREE char *copy = malloc(size ? size : 1);

	struct vex_layout l = { .dim = dim, .type = VEX_F32 };

	memcpy(copy, v, size);
	return value_decode(copy, size, &l, r);
}

static vex_err check(const float *v, uint32_t n, uint32_t dim, uint8_t metric)
{
	struct vex_layout l = { .dim = dim, .type = VEX_F32 };

	return rows_check(v, n, &l, metric);
}

static void fails(const void *v, size_t size, uint32_t dim, vex_err want)
{
	AUTO_ROWS struct rows r = { 0 };

	cr_assert_eq(decode(v, size, dim, &r), want);
	cr_assert_null(r.v);
}

static void shape(const void *v, size_t size, uint32_t dim, uint32_t n, uint32_t cols,
		  uint8_t form)
{
	AUTO_ROWS struct rows r = { 0 };

	cr_assert_eq(decode(v, size, dim, &r), 0);
	cr_assert_eq(r.n, n);
	cr_assert_eq(r.dim, cols);
	cr_assert_eq(r.form, form);
	if (form == VEX_FORM_BINARY)
		cr_assert_eq(memcmp(r.v, v, size), 0);
}

Test(value, which_form)
{
	cr_assert(value_is_text("1,2", 3));
	cr_assert(value_is_text(" ~\t\r\n", 5));
	cr_assert_not(value_is_text("", 0));
	cr_assert_not(value_is_text("1\0", 2));
	cr_assert_not(value_is_text("1\x7f", 2));
	cr_assert_not(value_is_text("1\x80", 2));
	cr_assert_not(value_is_text("1\x1f", 2));
	cr_assert_not(value_is_text("1\v", 2));
}

Test(value, binary_shapes)
{
	float v[6] = { 1, 2, 3, 4, 5, 6 };

	shape(v, 24, 0, 1, 6, VEX_FORM_BINARY);
	shape(v, 24, 6, 1, 6, VEX_FORM_BINARY);
	shape(v, 24, 3, 2, 3, VEX_FORM_BINARY);
	shape(v, 24, 1, 6, 1, VEX_FORM_BINARY);
	fails(v, 24, 4, -EINVAL);
	fails(v, 24, 7, -EINVAL);
	fails(v, 23, 0, -EINVAL);
	fails(v, 23, 6, -EINVAL);
	fails(v, 2, 0, -EINVAL);
	fails(v, 0, 0, -EINVAL);
	fails(v, 0, 6, -EINVAL);
}

Test(value, text_shapes)
{
	shape("1,2,3", 5, 0, 1, 3, VEX_FORM_TEXT);
	shape("1,2,3", 5, 3, 1, 3, VEX_FORM_TEXT);
	shape("1\n2\n3", 5, 0, 3, 1, VEX_FORM_TEXT);
	fails("1,2,3", 5, 2, -EINVAL);
	fails("1\n2\n3", 5, 3, -EINVAL);
	/* Eight bytes that look like text and do not parse are never two floats. */
	fails("abcdefgh", 8, 2, -EINVAL);
	fails("\n\n\n\n", 4, 1, -EINVAL);
}

Test(value, limits)
{
	AUTO_FREE float *v = calloc(1, VEX_VALUE_MAX + 4);

	shape(v, VEX_VALUE_MAX, 0, 1, VEX_DIM_MAX, VEX_FORM_BINARY);
	shape(v, VEX_VALUE_MAX, 1, VEX_DIM_MAX, 1, VEX_FORM_BINARY);
	fails(v, VEX_VALUE_MAX + 4, 1, -E2BIG);
	memset(v, ' ', VEX_VALUE_MAX + 1);
	memcpy(v, "1,2", 3);
	shape(v, VEX_VALUE_MAX, 0, 1, 2, VEX_FORM_TEXT);
	fails(v, VEX_VALUE_MAX + 1, 2, -E2BIG);
}

Test(value, numbers_that_are_none)
{
	float v[3] = { 1, 2, 3 };
	static const float bad[] = { NAN, INFINITY, -INFINITY };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		v[i] = bad[i];
		fails(v, sizeof(v), 3, -EINVAL);
		cr_assert_eq(check(v, 1, 3, VEX_L2), -EINVAL);
		v[i] = 1;
	}
	shape(v, sizeof(v), 3, 1, 3, VEX_FORM_BINARY);
}

Test(value, zero_rows_by_metric)
{
	float v[4] = { 1, 2, 0, -0.0f };

	cr_assert_eq(check(v, 2, 2, VEX_COSINE), -EINVAL);
	cr_assert_eq(check(v, 2, 2, VEX_L2), 0);
	cr_assert_eq(check(v, 2, 2, VEX_IP), 0);
	v[3] = FLT_TRUE_MIN;
	cr_assert_eq(check(v, 2, 2, VEX_COSINE), 0);
	v[3] = FLT_MAX;
	cr_assert_eq(check(v, 2, 2, VEX_COSINE), 0);
}
