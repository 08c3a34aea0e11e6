/* SPDX-License-Identifier: Apache-2.0 */
/* Attachments in spaces of every element type: what is text, what is binary, what is
 * converted, what is refused; and that what is returned can be set again. */
#include <math.h>
#include "attach_fixture.h"

static void space(const char *name, uint8_t type, uint8_t metric, uint32_t dim,
		  double scale)
{
	struct vex_space_spec s = {
		.type = type, .metric = metric, .dim = dim, .scale = scale
	};

	snprintf(s.name, sizeof(s.name), "%s", name);
	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &s), 0, "%s", name);
}

static void up(void)
{
	af_up();
	af_write("a", "x");
	space("h", VEX_F16, VEX_COSINE, 3, 0);
	space("i", VEX_I8, VEX_L2, 3, 0);
	space("s", VEX_I8, VEX_COSINE, 3, 0.5);
	space("w", VEX_I16, VEX_L1, 3, 0);
	space("b", VEX_BIT, VEX_HAMMING, 11, 0);
}

TestSuite(types, .timeout = 60, .init = up, .fini = af_down);

static vex_err put_f32(const char *attr, const float *v, size_t n)
{
	struct vex_item it = {
		.path = "a", .attr = attr, .value = v, .size = n * sizeof(*v), .f32 = true
	};
	size_t bad;

	return vex_engine_put_items(eng, &af_uid0, &it, 1, &bad);
}

/* Refused, and what was there stays. */
static void refused(const char *attr, const void *v, size_t n)
{
	AUTO_BUF struct vex_buf was = { 0 }, is = { 0 };
	vex_err had = af_get("a", attr, &was);

	cr_assert_eq(af_set("a", attr, v, n, 0), -EINVAL, "%s %.*s", attr, (int)n,
		     (const char *)v);
	cr_assert_eq(af_get("a", attr, &is), had);
	cr_assert_eq(is.len, was.len);
	cr_assert(!is.len || !memcmp(is.data, was.data, is.len));
}

static void refused_text(const char *attr, const char *text)
{
	refused(attr, text, strlen(text));
}

Test(types, binary_values_are_of_the_element_type)
{
	uint16_t h[6] = { 0x3c00, 0xc000, 0x7bff, 1, 0, 0x8000 };
	int8_t i[6] = { -128, 127, 0, 1, 2, 3 };
	int16_t w[3] = { -32768, 32767, 300 };
	uint8_t b[4] = { 0xff, 0xff, 0x01, 0 };

	cr_assert_eq(af_set("a", "h", h, sizeof(h), 0), 0);
	cr_assert_eq(af_set("a", "i", i, sizeof(i), 0), 0);
	cr_assert_eq(af_set("a", "w.k", w, sizeof(w), 0), 0);
	cr_assert_eq(af_set("a", "b", b, sizeof(b), 0), 0);
	for (int round = 0; round < 2; round++) {
		af_is("a", "h", h, sizeof(h));
		af_is("a", "i", i, sizeof(i));
		af_is("a", "w.k", w, sizeof(w));
		af_is("a", "b", b, sizeof(b));
		af_again();
	}
	refused("h", h, 5);
	refused("h", h, 8);
	refused("i", i, 4);
	refused("w.k", w, 3);
	refused("b", b, 3);
}

Test(types, text_begins_with_a_bracket_where_bytes_are_numbers)
{
	cr_assert_eq(af_set_text("a", "i", "[1,-2,3]"), 0);
	af_is_text("a", "i", "[1,-2,3]");
	cr_assert_eq(af_set("a", "i", "123", 3, 0), 0); /* the bytes 49 50 51 */
	af_is("a", "i", "123", 3);
	cr_assert_eq(af_set("a", "i", "1,2", 3, 0), 0); /* these too */
	refused_text("i", "1,2,3");                     /* five bytes are no rows of 3 */
	refused_text("i", "[a]");                       /* like text, and none */
	refused_text("i", "[1,2]");
	cr_assert_eq(af_set("a", "i", "[\x80]", 3, 0), 0); /* not like text */
	cr_assert_eq(af_set_text("a", "h", "1, 2, 3"), 0); /* as in f32 */
	refused_text("h", "abcdef");
	cr_assert_eq(af_set_text("a", "w", "[[1,2,3],[4,5,6]]"), 0);
	cr_assert_eq(af_set_text("a", "b", "[1,0,1,0,0,0,0,0,1,1,1]"), 0);
	af_is_text("a", "b", "[1,0,1,0,0,0,0,0,1,1,1]");
}

Test(types, text_is_converted_within_range)
{
	cr_assert_eq(af_set_text("a", "i", "[127,-128,1e2]"), 0);
	refused_text("i", "[128,0,0]");
	refused_text("i", "[0,-129,0]");
	refused_text("i", "[0,0.5,0]");
	cr_assert_eq(af_set_text("a", "s", "[63.5,-64,0.25]"), 0);
	refused_text("s", "[63.8,0,0]");
	refused_text("w", "[32768,0,0]");
	cr_assert_eq(af_set_text("a", "w", "[32767,-32768,0]"), 0);
	refused_text("h", "65520,1,1");
	cr_assert_eq(af_set_text("a", "h", "65519,1,1"), 0);
}

Test(types, zero_rows_and_not_finite_ones)
{
	uint16_t inf[3] = { 0x3c00, 0x7c00, 0 }, nan[3] = { 0x3c00, 0x7e01, 0 };
	uint16_t zero[6] = { 0x3c00, 0, 0, 0, 0x8000, 0 };
	int8_t none[3] = { 0, 0, 0 };

	refused("h", inf, 6);
	refused("h", nan, 6);
	refused("h", zero, 12);
	refused_text("h", "1e-9,0,0"); /* zeros once they are halves */
	refused("s", none, 3);
	refused_text("s", "[0.1,0.2,-0.25]"); /* zeros once they are rounded */
	cr_assert_eq(af_set("a", "i", none, 3, 0), 0);
	cr_assert_eq(af_set("a", "b", "\0\0", 2, 0), 0);
}

Test(types, numbers_are_converted)
{
	float v[3] = { 1.5f, -0.25f, 63.5f }, big[3] = { 1, 2, 300 };
	float bits[11] = { 1, -1, 0, 0.5f, 0, 0, 0, 9, 1, 0, 1 };
	float nan[3] = { 1, NAN, 1 };

	cr_assert_eq(put_f32("s", v, 3), 0);
	af_is("a", "s", (int8_t[]){ 3, 0, 127 }, 3); /* -0.5 goes to even */
	cr_assert_eq(put_f32("h", v, 3), 0);
	af_is("a", "h", (uint16_t[]){ 0x3e00, 0xb400, 0x53f0 }, 6);
	cr_assert_eq(put_f32("b", bits, 11), 0);
	af_is("a", "b", (uint8_t[]){ 0x89, 0x05 }, 2);
	cr_assert_eq(put_f32("i", v, 3), -EINVAL);
	cr_assert_eq(put_f32("i", big, 3), -EINVAL);
	cr_assert_eq(put_f32("w", big, 3), 0);
	cr_assert_eq(put_f32("w", nan, 3), -EINVAL);
	cr_assert_eq(put_f32("h", nan, 3), -EINVAL);
	cr_assert_eq(put_f32("b", nan, 3), -EINVAL);
	cr_assert_eq(put_f32("w", big, 2), -EINVAL);
	af_is("a", "w", (int16_t[]){ 1, 2, 300 }, 6);
}

/* Bytes that look like text are kept as a text that means the same: getxattr's answer
 * can be set again. */
Test(types, what_is_returned_can_be_set)
{
	float v[3] = { '[', '1', ']' };
	AUTO_BUF struct vex_buf got = { 0 };

	cr_assert_eq(put_f32("i", v, 3), 0);
	cr_assert_eq(af_get("a", "i", &got), 0);
	cr_assert_eq(got.data[0], '[');
	cr_assert_gt(got.len, 3);
	cr_assert_eq(af_set("a", "i", got.data, got.len, 0), 0);
	v[0] = '0';
	cr_assert_eq(put_f32("i", v, 3), 0);
	af_is("a", "i", "01]", 3);
}

/* The limit is that of what is stored. */
Test(types, as_many_numbers_as_can_be_stored)
{
	static float v[65536 * 8 + 64];

	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		v[i] = (float)(i % 5);
	space("i1", VEX_I8, VEX_L2, 16384, 0);
	space("b1", VEX_BIT, VEX_JACCARD, 16384, 0);
	cr_assert_eq(put_f32("i1", v, 65536), 0);
	cr_assert_eq(put_f32("i1", v, 65536 + 16384), -E2BIG);
	cr_assert_eq(put_f32("b1", v, 65536 * 8), 0);
	cr_assert_eq(put_f32("h", v, 3 * 10923), -E2BIG);
	af_again();
	{
		AUTO_BUF struct vex_buf got = { 0 };

		cr_assert_eq(af_get("a", "b1", &got), 0);
		cr_assert_eq(got.len, 65536);
		for (size_t i = 0; i < 65536 * 8; i++)
			cr_assert_eq(got.data[i / 8] >> i % 8 & 1, i % 5 != 0);
	}
}

/* Lines of a .vec file go into any space, and their attachment can be copied. */
Test(types, content_of_vec_files)
{
	af_opts.vec_space = "s";
	af_again();
	af_write("v.vec", "0.5 1 -1.5\n2,2,2\n");
	cr_assert_eq(af_written("v.vec"), 0);
	af_is("v.vec", "s", (int8_t[]){ 1, 2, -3, 4, 4, 4 }, 6);
	af_write("v.vec", "0.5 1 -64.5\n");
	cr_assert_eq(af_written("v.vec"), -EINVAL);
	cr_assert(!af_attachments("s"));
	af_write("v.vec", "45.5, 24.5, 46.5\n"); /* the bytes "[1]" */
	cr_assert_eq(af_written("v.vec"), 0);
	{
		AUTO_BUF struct vex_buf got = { 0 };

		cr_assert_eq(af_get("v.vec", "s", &got), 0);
		cr_assert_eq(af_set("a", "s", got.data, got.len, 0), 0);
	}
	af_opts.vec_space = "h";
	af_again();
	af_write("t.vec", "1,2,3\n");
	cr_assert_eq(af_written("t.vec"), 0);
	af_is_text("t.vec", "h", "1,2,3\n");
}

/* A space made anew with another type: what the value means is asked again. */
Test(types, spaces_made_anew)
{
	cr_assert_eq(af_set("a", "i", "123", 3, 0), 0);
	cr_assert_eq(vex_engine_space_drop(eng, &af_uid0, "i"), 0);
	space("i", VEX_F32, VEX_L2, 3, 0);
	cr_assert_eq(af_set("a", "i", "123", 3, 0), -EINVAL);
	cr_assert_eq(af_set_text("a", "i", "1,2,3"), 0);
	af_is_text("a", "i", "1,2,3");
}
