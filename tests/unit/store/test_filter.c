/* SPDX-License-Identifier: Apache-2.0 */
/* filter.c, filter_parse.c: what an expression says of one file, and what none may say.
 */
#include <criterion/criterion.h>
#include "filter_i.h"

TestSuite(filter, .timeout = 60);

/* One file: columns as they come; counts what is asked for. */
struct file {
	const char *xattr, *text; /* the one xattr it has */
	vex_err err;
	unsigned asked[VEX_FILTER_XATTR + 1];
};

static vex_err get(void *arg, const struct vex_filter_col *c, struct vex_filter_value *v)
{
	static const char *const texts[] = { "a.txt", "notes/a.txt" };
	static const int64_t ints[] = { [VEX_FILTER_SIZE] = 1500,
					[VEX_FILTER_UID] = 1000,
					[VEX_FILTER_GID] = 100,
					[VEX_FILTER_MODE] = 0644 };
	struct file *f = arg;

	f->asked[c->kind]++;
	if (f->err)
		return f->err;
	if (c->kind == VEX_FILTER_MTIME) {
		*v = (struct vex_filter_value){ .type = VEX_FILTER_REAL, .d = 1e9 + 0.5 };
	} else if (vex_filter_numeric(c->kind)) {
		*v = (struct vex_filter_value){ .type = VEX_FILTER_INT,
						.i = ints[c->kind] };
	} else {
		const char *t = c->xattr ? f->text : texts[c->kind];

		if (c->xattr && (!f->xattr || strcmp(c->xattr + 5, f->xattr)))
			return 0;
		*v = (struct vex_filter_value){ .type = VEX_FILTER_TEXT,
						.text = t,
						.len = strlen(t) };
	}
	return 0;
}

static int test_file(const char *expr, struct file *file)
{
	struct vex_problem p = { .text = "" };
	struct vex_filter *f = NULL;
	vex_err err = vex_filter_new(expr, &f, &p);
	int yes, again;

	cr_assert_eq(err, 0, "%s: %s", expr, p.text);
	yes = vex_filter_test(f, get, file);
	again = vex_filter_test(f, get, file);
	cr_expect_eq(yes, again, "%s: the same twice", expr);
	vex_filter_free(f);
	return yes;
}

static int with(const char *expr, const char *xattr, const char *text)
{
	struct file file = { .xattr = xattr, .text = text };

	return test_file(expr, &file);
}

#define YES(e) cr_expect_eq(with(e, "lang", "en"), 1, "%s", e)
#define NO(e) cr_expect_eq(with(e, "lang", "en"), 0, "%s", e)

Test(filter, comparisons)
{
	YES("size = 1500");
	YES("size == 1500");
	YES("size=1500");
	NO("size != 1500");
	NO("size <> 1500");
	YES("size > 1499");
	YES("size >= 1500");
	NO("size < 1500");
	YES("1500 <= size");
	YES("size > -1");
	YES("size > 1.4e3");
	YES("size = 0x5dc");
	YES("size = '1500'");
	YES("mtime > 1000000000");
	NO("mtime = 1000000000");
	YES("mtime = 1000000000.5");
	YES("uid = 1000 AND gid = 100");
	YES("mode = 0644");
	YES("mode = 420");
	YES("name = 'a.txt'");
	NO("name = 'A.TXT'");
	YES("NAME = 'a.txt'");
	YES("path = 'notes/a.txt'");
	YES("\"path\" = 'notes/a.txt'");
	YES("uid > gid");
	YES("path != name");
	YES("1 = 1");
	NO("'a' = 'b'");
}

Test(filter, logic)
{
	YES("uid = 1000 OR size = 1");
	NO("uid = 1000 AND size = 1");
	YES("NOT size = 1");
	YES("not (size = 1 or uid = 1)");
	NO("NOT NOT size = 1");
	YES("size = 1 AND uid = 1 OR gid = 100");
	NO("size = 1 AND (uid = 1 OR gid = 100)");
	YES("((uid = 1000))");
	YES("(uid = 1000) AND (NOT (gid = 1))");
	YES("\t uid\n=\r\n1000 ");
}

Test(filter, lists_patterns_null)
{
	YES("uid IN (1, 1000)");
	NO("uid NOT IN (1, 1000)");
	NO("uid in (1,2)");
	YES("name IN ('b', 'a.txt')");
	YES("name LIKE '%.TXT'");
	YES("name LIKE 'a_txt'");
	NO("name GLOB '*.TXT'");
	YES("name GLOB '*.t[wx]t'");
	NO("name NOT GLOB '*.txt'");
	YES("path NOT LIKE 'x%'");
	YES("name LIKE 'a!.txt' ESCAPE '!'");
	NO("name LIKE 'a!_txt' ESCAPE '!'");
	YES("size LIKE '15%'");
	YES("xattr.lang IS NOT NULL");
	NO("xattr.lang IS NULL");
	YES("xattr.other IS NULL");
	NO("xattr.other = 'en'");
	NO("xattr.other != 'en'");
	NO("NOT xattr.other = 'en'");
}

Test(filter, xattrs)
{
	YES("xattr.lang = 'en'");
	YES("XATTR.lang IN ('de', 'en')");
	NO("xattr.Lang = 'en'");
	YES("\"xattr.lang\" LIKE 'E%'");
	cr_expect_eq(with("xattr.my-tag.x = 'v'", "my-tag.x", "v"), 1);
	cr_expect_eq(with("xattr.a=-1", "a", "-1"), 1);
	cr_expect_eq(with("\"xattr.a \"\"b\" = 'v'", "a \"b", "v"), 1);
	cr_expect_eq(with("xattr.t = 'it''s'", "t", "it's"), 1);
	cr_expect_eq(with("xattr.t = ''", "t", ""), 1);
	cr_expect_eq(
	    with("xattr.sprache = 'gr\xc3\xbc\xc3\x9f'", "sprache", "gr\xc3\xbc\xc3\x9f"),
	    1);
	cr_expect_eq(with("xattr.\xc3\xbc = 'x'", "\xc3\xbc", "x"), 1);
}

Test(filter, xattrs_beside_numbers)
{
	static const struct {
		const char *expr, *value;
		int yes;
	} all[] = {
		{ "xattr.y > 300", "2000", 1 },
		{ "xattr.y > 300", "29", 0 },
		{ "300 < xattr.y", "2000", 1 },
		{ "xattr.y > '300'", "2000", 0 },
		{ "xattr.y = 2000", "2000", 1 },
		{ "xattr.y = 2000", "2000.0", 1 },
		{ "xattr.y = '2000'", "2000", 1 },
		{ "xattr.y = '2000'", "2000.0", 0 },
		{ "xattr.y != 2000", "abc", 1 },
		{ "xattr.y > 0", "abc", 0 },
		{ "xattr.y < 0", "abc", 0 },
		{ "xattr.y IN (7, 8)", "7", 1 },
		{ "xattr.y IN ('7', '8')", "7", 1 },
		{ "xattr.y IN ('07')", "7", 0 },
		{ "xattr.y LIKE '00%'", "007", 1 },
		{ "xattr.y = 7", "007", 1 },
		{ "xattr.y = size", "1500", 1 },
		{ "xattr.y < size", "999", 1 },
		{ "size > xattr.y", "abc", 0 },
		{ "xattr.y < -1.5", "-2e0", 1 },
		{ "xattr.y = 0", "", 0 },
		{ "xattr.y > 0", "inf", 0 },
		{ "xattr.y = 16", "0x10", 0 },
		{ "xattr.y > 1", " 2", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		cr_expect_eq(with(all[i].expr, "y", all[i].value), all[i].yes, "%s of %s",
			     all[i].expr, all[i].value);
}

Test(filter, asks_for_what_it_needs_alone)
{
	struct file f = { .xattr = "lang", .text = "en" };

	cr_expect_eq(test_file("uid = 0 AND xattr.lang = 'en'", &f), 0);
	cr_expect_gt(f.asked[VEX_FILTER_UID], 0);
	cr_expect_eq(f.asked[VEX_FILTER_XATTR], 0);
	cr_expect_eq(f.asked[VEX_FILTER_PATH], 0);
}

Test(filter, errors_of_values_and_time)
{
	struct file f = { .err = -EMFILE };
	struct vex_filter *x = NULL;

	cr_expect_eq(test_file("uid = 0", &f), -EMFILE);
	f.err = 0;
	cr_assert_eq(vex_filter_new("uid = 1000", &x, NULL), 0);
	cr_expect_eq(vex_filter_test(x, get, &f), 1);
	x->deadline = 1;
	cr_expect_eq(vex_filter_test(x, get, &f), -ETIMEDOUT);
	vex_filter_free(x);
}

/* ---- what is refused, and where -------------------------------------------------- */

static void bad(const char *expr, int at)
{
	struct vex_problem p = { .text = "" };
	struct vex_filter *f = NULL;
	char want[64];
	vex_err err = vex_filter_new(expr, &f, &p);

	cr_assert_eq(err, -EINVAL, "%s: %s", expr, strerror(-err));
	cr_expect_null(f);
	snprintf(want, sizeof(want), "at offset %d:", at);
	cr_expect(strstr(p.text, want) != NULL, "%s: %s, not %s", expr, p.text, want);
	cr_expect_null(strchr(p.text, '\n'));
	cr_expect_eq(vex_filter_new(expr, &f, NULL), -EINVAL);
}

Test(filter, bad_expressions_name_their_place)
{
	bad("", 0);
	bad("   ", 3);
	bad("size", 4);
	bad("size >", 6);
	bad("size > 5 AND", 12);
	bad("sise > 5", 0);
	bad("uid = 1 AND sise > 5", 12);
	bad("name = \"a.txt\"", 7);
	bad("name = 'a", 7);
	bad("size > 5 uid = 1", 9);
	bad("size > 5)", 8);
	bad("(size > 5", 9);
	bad("()", 1);
	bad("size = = 5", 7);
	bad("size = 5 = 5", 9);
	bad("(size) > 5", 5);
	bad("size > (5)", 7);
	bad("name = NULL", 7);
	bad("name IS 'x'", 8);
	bad("uid IN 5", 7);
	bad("uid IN ()", 8);
	bad("uid IN (1,)", 10);
	bad("uid IN (1, 'a')", 11);
	bad("uid IN (uid)", 8);
	bad("uid IN (1", 9);
	bad("name LIKE name", 10);
	bad("name LIKE 'a' ESCAPE 'bb'", 21);
	bad("name LIKE 'a' ESCAPE ''", 21);
	bad("name GLOB 'a' ESCAPE 'b'", 14);
	bad("name NOT = 'a'", 9);
	bad("AND", 0);
	bad("uid = 1 AND OR uid = 2", 12);
	bad("NOT", 3);
	bad("size > 5k", 7);
	bad("size > 09", 7);
	bad("size > 1.2.3", 7);
	bad("size > 0x", 7);
	bad("size > 0x1234567812345678", 7);
	bad("size > -", 7);
	bad("size > .", 7);
	bad("size > 07777777777777777777777777", 7);
	bad("xattr. = 'a'", 0);
	bad("xattr.vexfs._id IS NULL", 0);
	bad("\"xattr.vexfs.t\" IS NULL", 0);
	bad("xattr IS NULL", 0);
	bad("user.lang = 'en'", 0);
}

Test(filter, nothing_else_of_sql)
{
	bad("uid = 1; DROP TABLE x", 7);
	bad("uid = 1 -- x", 8);
	bad("uid = 1 /* x */", 8);
	bad("uid = (SELECT 1)", 6);
	bad("EXISTS (SELECT 1)", 0);
	bad("SELECT 1", 0);
	bad("uid = 1 UNION SELECT 1", 8);
	bad("uid = ?1", 6);
	bad("uid = :x", 6);
	bad("uid = @x", 6);
	bad("uid = $x", 6);
	bad("uid = [uid]", 6);
	bad("uid = `uid`", 6);
	bad("randomblob(1000000000) = 1", 0);
	bad("length(name) = 1", 0);
	bad("name(1) = 1", 4);
	bad("vexcol(0,0) = 1", 0);
	bad("load_extension('x') = 1", 0);
	bad("uid + 1 = 2", 4);
	bad("uid = 1 || 2", 8);
	bad("uid = x'00'", 6);
	bad("uid = CAST(1 AS TEXT)", 6);
	bad("name REGEXP 'a'", 5);
	bad("name MATCH 'a'", 5);
	bad("uid BETWEEN 1 AND 2", 4);
	bad("name COLLATE nocase = 'a'", 5);
	bad("uid = 1 ORDER BY 1", 8);
	bad("uid = 1 LIMIT 1", 8);
	bad("uid = 1\x01", 7);
	bad("sqlite_master IS NULL", 0);
	bad("rowid = 1", 0);
}

Test(filter, limits)
{
	char *s = calloc(1, 3 * VEX_FILTER_MAX);
	struct vex_filter *f = NULL;
	char pattern[600];

	memset(s, ' ', VEX_FILTER_MAX);
	memcpy(s, "uid=1000", 8);
	cr_expect_eq(with(s, NULL, NULL), 1);
	s[VEX_FILTER_MAX] = ' ';
	cr_expect_eq(vex_filter_new(s, &f, NULL), -EINVAL);
	/* As many terms as fit. */
	memset(s, 0, 3 * VEX_FILTER_MAX);
	while (strlen(s) < VEX_FILTER_MAX - 18)
		strcat(s, "uid=1000 AND ");
	strcat(s, "1=1");
	cr_expect_eq(with(s, NULL, NULL), 1);
	memset(s, 0, 3 * VEX_FILTER_MAX);
	while (strlen(s) < VEX_FILTER_MAX - 12)
		strcat(s, "1=2 OR ");
	strcat(s, "1=1");
	cr_expect_eq(with(s, NULL, NULL), 1);
	cr_expect_eq(with("NOT(NOT(NOT(NOT(NOT(NOT(uid = 1000))))))", NULL, NULL), 1);
	cr_expect_eq(
	    with("1=2 OR 1=1 AND (1=2 OR 1=1 AND (1=2 OR 1=1 AND (1=2 OR 1=1 AND ("
		 "1=2 OR 1=1 AND (1=2 OR 1=1 AND (1=2 OR 1=1 AND (1=2 OR 1=1 AND ("
		 "1=2 OR 1=1 AND (1=2 OR 1=1 AND (1=2 OR 1=1 AND (1=2 OR 1=1 AND ("
		 "uid IN (1000)))))))))))))",
		 NULL, NULL),
	    1, "depth 12");
	bad("(((((((((((((1=1)))))))))))))", 12);
	bad("NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT 1=1", 48);
	memset(pattern, 'a', sizeof(pattern));
	snprintf(s, VEX_FILTER_MAX, "name LIKE '%.512s'", pattern);
	cr_expect_eq(with(s, NULL, NULL), 0);
	snprintf(s, VEX_FILTER_MAX, "name LIKE '%.513s'", pattern);
	bad(s, 10);
	memset(s, 0, 3 * VEX_FILTER_MAX);
	for (int i = 0; i < 65; i++)
		sprintf(s + strlen(s), "xattr.a%d IS NULL %s", i, i < 64 ? "AND " : "");
	cr_expect_eq(vex_filter_new(s, &f, NULL), -EINVAL, "65 attributes");
	*strstr(s, "AND xattr.a64") = '\0';
	cr_expect_eq(with(s, NULL, NULL), 1, "64 are possible");
	snprintf(s, VEX_FILTER_MAX, "xattr.%.250s IS NULL", pattern);
	cr_expect_eq(with(s, NULL, NULL), 1);
	snprintf(s, VEX_FILTER_MAX, "xattr.%.251s IS NULL", pattern);
	bad(s, 0);
	free(s);
}

/* Bytes at random, and tokens at random: an answer or -EINVAL with a place. */
Test(filter, random_input)
{
	static const char *const tokens[] = {
		"uid", "size", "xattr.a", "'x'", "\"b\"", "(",  ")",    ",",
		"=",   "<",    "AND",     "OR",  "NOT",   "IN", "LIKE", "GLOB",
		"IS",  "NULL", "ESCAPE",  "1",   "-2.5",  ";",  "--",   "'"
	};
	uint64_t x = vex_now_mono() | 1;
	struct file file = { .xattr = "a", .text = "x" };
	unsigned good = 0;

	printf("seed %llu\n", (unsigned long long)x);
	for (int i = 0; i < 20000; i++) {
		struct vex_problem p = { .text = "" };
		struct vex_filter *f = NULL;
		char s[256] = "";

		for (int n = 0; n < 1 + i % 9; n++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			if (i % 4)
				sprintf(s + strlen(s), "%s ",
					tokens[x % ARRAY_SIZE(tokens)]);
			else
				sprintf(s + strlen(s), "%c", (int)(1 + x % 255));
		}
		if (vex_filter_new(s, &f, &p)) {
			cr_assert(strstr(p.text, "at offset ") != NULL, "%s", s);
			continue;
		}
		good++;
		cr_assert_geq(vex_filter_test(f, get, &file), 0, "%s", s);
		vex_filter_free(f);
	}
	cr_expect_gt(good, 0);
}
