/* SPDX-License-Identifier: Apache-2.0 */
/* Attribute names: what SPEC section 2 allows, to the byte. */
#include <criterion/criterion.h>
#include "attach_i.h"

TestSuite(name, .timeout = 60);

static void is_ok(const char *attr, const char *space, const char *key)
{
	struct attr_name a;

	cr_assert_eq(attr_parse(attr, &a), 0, "%s", attr);
	cr_assert_str_eq(a.space, space);
	cr_assert_eq(a.key_len, strlen(key));
	cr_assert_eq(memcmp(a.key, key, a.key_len), 0);
}

static void is_bad(const char *attr)
{
	struct attr_name a;

	cr_assert_eq(attr_parse(attr, &a), -EINVAL, "%s", attr);
}

Test(name, spaces)
{
	is_ok("words", "words", "");
	is_ok("0", "0", "");
	is_ok("a-b_c9-", "a-b_c9-", "");
	is_bad("");
	is_bad("-a");
	is_bad("_a");
	is_bad("Words");
	is_bad("wo rds");
	is_bad("w\xc3\xb6rter");
	is_bad("a/b");
}

Test(name, keys)
{
	is_ok("w.k", "w", "k");
	is_ok("w.a.b", "w", "a.b");
	is_ok("w..", "w", ".");
	is_ok("w. \xff\n~", "w", " \xff\n~");
	is_bad("w.");
	is_bad("w.a/b");
	is_bad(".k");
}

Test(name, lengths)
{
	char s[400], want[400];

	memset(s, 'a', 48);
	s[48] = '\0';
	is_ok(s, s, "");
	strcpy(s + 48, "a");
	is_bad(s);

	strcpy(s, "w.");
	memset(s + 2, 'k', 128);
	s[130] = '\0';
	strcpy(want, s + 2);
	is_ok(s, "w", want);
	strcpy(s + 130, "k");
	is_bad(s);
}

Test(name, kinds)
{
	cr_assert_eq(attr_kind("words"), ATTR_PLAIN);
	cr_assert_eq(attr_kind(""), ATTR_PLAIN);
	cr_assert_eq(attr_kind("_info"), ATTR_INFO);
	cr_assert_eq(attr_kind("_info.x"), ATTR_RESERVED);
	cr_assert_eq(attr_kind("_near"), ATTR_NEAR);
	cr_assert_eq(attr_kind("_near.words.5"), ATTR_NEAR);
	cr_assert_eq(attr_kind("_nearby"), ATTR_RESERVED);
	cr_assert_eq(attr_kind("_id"), ATTR_MARK);
	cr_assert_eq(attr_kind("_"), ATTR_RESERVED);
}
