/* SPDX-License-Identifier: Apache-2.0 */
/* near.c: a search in an xattr. */
#include "names_fixture.h"

TestSuite(near, .init = nf_up, .fini = nf_down, .timeout = 60);

static char *near_as(const struct vex_cred *c, const char *name, const char *attr)
{
	AUTO_OBJ struct af_obj x;
	struct vex_buf b = { 0 };

	af_open(name, &x);
	cr_assert_eq(vex_engine_xattr_get(eng, &x.o, c, attr, &b), 0, "%s", attr);
	vex_buf_add(&b, "", 1);
	return b.data;
}

static vex_err near_err(const char *name, const char *attr)
{
	AUTO_BUF struct vex_buf b = { 0 };

	return af_get(name, attr, &b);
}

static void line(int n)
{
	char name[32];

	for (int i = 1; i <= n; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		nf_file(name, "x", (float)i);
	}
}

Test(near, lines_without_itself)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *two = NULL;

	line(4);
	text = near_as(&af_uid0, "f1", "_near.s");
	cr_expect_str_eq(text, "1\tf2\n2\tf3\n3\tf4\n");
	two = near_as(&af_uid0, "f2", "_near.s.2");
	cr_expect_str_eq(two, "1\tf1\n1\tf3\n");
}

Test(near, default_is_ten)
{
	AUTO_FREE char *text = NULL;
	int lines = 0;

	line(15);
	text = near_as(&af_uid0, "f1", "_near.s");
	for (char *p = text; *p; p++)
		lines += *p == '\n';
	cr_expect_eq(lines, 10);
}

Test(near, all_rows_and_keys_ask)
{
	AUTO_FREE char *text = NULL;

	line(3);
	cr_assert_eq(af_set_text("f1", "s.far", "3.25,0"), 0);
	text = near_as(&af_uid0, "f1", "_near.s");
	cr_expect_str_eq(text, "0.25\tf3\n1\tf2\n");
}

Test(near, only_what_the_caller_may_read)
{
	AUTO_FREE char *text = NULL;

	line(3);
	nf_sh("chmod 755 .; chmod 600 f2");
	text = near_as(&af_nobody, "f1", "_near.s");
	cr_expect_str_eq(text, "2\tf3\n");
}

Test(near, errors)
{
	line(1);
	af_write("plain", "x");
	cr_expect_eq(near_err("plain", "_near.s"), -ENODATA);
	cr_expect_eq(near_err("f1", "_near.none"), -ENODATA);
	cr_expect_eq(near_err("f1", "_near"), -ENODATA);
	cr_expect_eq(near_err("f1", "_near."), -ENODATA);
	cr_expect_eq(near_err("f1", "_near.s.0"), -ENODATA);
	cr_expect_eq(near_err("f1", "_near.s.1001"), -ENODATA);
	cr_expect_eq(near_err("f1", "_near.s.x"), -ENODATA);
	cr_expect_eq(near_err("f1", "_near.s."), -ENODATA);
	cr_expect_eq(near_err("f1", "_near.S"), -ENODATA);
	cr_expect_eq(near_err("f1", "_near.s.1000"), 0);
	cr_expect_eq(af_set_text("f1", "_near.s", "1,0"), -EPERM);
}

Test(near, whole_lines_within_the_limit)
{
	AUTO_FREE char *text = NULL;
	char name[256];
	size_t len;

	for (int i = 0; i < 400; i++) {
		memset(name, 'n', 240);
		snprintf(name + 230, 20, "%d", i);
		nf_file(name, "", (float)i);
	}
	line(1);
	text = near_as(&af_uid0, "f1", "_near.s.1000");
	len = strlen(text);
	cr_expect_leq(len, 65536);
	cr_expect_gt(len, 65000);
	cr_expect_eq(text[len - 1], '\n');
}
