/* SPDX-License-Identifier: Apache-2.0 */
/* where.c: filters inside the search, on real files. */
#include <math.h>
#include "names_fixture.h"

TestSuite(where, .init = nf_up, .fini = nf_down, .timeout = 120);

static vex_err ask(const char *expr, uint32_t k, const struct vex_cred *cred,
		   struct vex_problem *p, struct vex_buf *out)
{
	static const float zero[2];
	struct vex_query q = { .vectors = zero,
			       .dim = 2,
			       .nq = 1,
			       .k = k,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .where = expr,
			       .cred = cred };
	struct vex_result *res = NULL;
	vex_err err = vex_engine_search(eng, &q, &res, p);

	if (err)
		return err;
	for (size_t i = 0; i < res->n; i++)
		vex_buf_fmt(out, "%s%s", i ? " " : "", res->hits[i].path);
	vex_buf_add(out, "", 1);
	vex_result_free(res);
	return 0;
}

static void finds_as(const struct vex_cred *cred, const char *expr, uint32_t k,
		     const char *want)
{
	AUTO_BUF struct vex_buf got = { 0 };
	struct vex_problem p;
	vex_err err = ask(expr, k, cred, &p, &got);

	cr_assert_eq(err, 0, "%s: %s", expr, p.text);
	cr_expect_str_eq(got.data, want, "%s: \"%s\", not \"%s\"", expr, got.data, want);
}

static void finds(const char *expr, uint32_t k, const char *want)
{
	finds_as(&af_uid0, expr, k, want);
}

static void tag(const char *name, const char *attr, const char *value)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", af_dir, name);
	cr_assert_eq(setxattr(path, attr, value, strlen(value), 0), 0, "%s",
		     strerror(errno));
}

static void times(const char *name, time_t sec, long nsec)
{
	struct timespec t[2] = { { .tv_sec = sec, .tv_nsec = nsec },
				 { .tv_sec = sec, .tv_nsec = nsec } };

	cr_assert_eq(utimensat(af_root, name, t, 0), 0);
}

static void some(void)
{
	nf_dir("d");
	nf_dir("d/e");
	nf_file("a.txt", "12345", 1);
	nf_file("b.md", "1234567890", 2);
	nf_file("d/a.txt", "", 3);
	nf_file("d/e/c.txt", "123", 4);
	nf_attach("d", 5);
	tag("a.txt", "user.lang", "en");
	tag("b.md", "user.lang", "de");
	tag("d/a.txt", "user.lang", "en");
	tag("d/a.txt", "user.year", "1999");
	tag("b.md", "user.year", "20011");
	times("a.txt", 1000000000, 0);
	times("b.md", 1500000000, 500000000);
	times("d/a.txt", -5, 0);
	cr_assert_eq(fchmodat(af_root, "b.md", 0600, 0), 0);
	cr_assert_eq(fchmodat(af_root, "a.txt", 0644, 0), 0);
}

Test(where, every_attribute)
{
	char expr[64];

	some();
	finds("name = 'a.txt'", 10, "a.txt d/a.txt");
	finds("name GLOB '*.txt'", 10, "a.txt d/a.txt d/e/c.txt");
	finds("path LIKE 'd/%'", 10, "d/a.txt d/e/c.txt");
	finds("path = 'd' OR name = 'b.md'", 10, "b.md d");
	finds("size >= 5 AND size < 11", 10, "a.txt b.md");
	finds("size = 0", 10, "d/a.txt");
	finds("mtime = 1000000000", 10, "a.txt");
	finds("mtime = 1500000000.5", 10, "b.md");
	finds("mtime < 0", 10, "d/a.txt");
	finds("mode = 0600", 10, "b.md");
	snprintf(expr, sizeof(expr), "uid = %u AND gid = %u AND size = 5", geteuid(),
		 getegid());
	finds(expr, 10, "a.txt");
	finds("uid = 4294967294", 10, "");
	finds("xattr.lang = 'en'", 10, "a.txt d/a.txt");
	finds("xattr.lang IN ('en', 'de') AND size > 0", 10, "a.txt b.md");
	finds("xattr.lang IS NULL", 10, "d/e/c.txt d");
	finds("xattr.year > 2000", 10, "b.md");
	finds("xattr.year < 2000", 10, "d/a.txt");
}

Test(where, root_directory)
{
	AUTO_OBJ struct af_obj x;

	some();
	af_open(".", &x);
	x.o.dirfd = -1;
	x.o.name = NULL;
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "s", "0,0", 3, 0), 0);
	finds("path = '.'", 10, ".");
	finds("name = '.' AND size >= 0", 10, ".");
	tag("", "user.lang", "fr");
	finds("xattr.lang = 'fr' OR size = 3", 10, ". d/e/c.txt");
}

Test(where, k_hits_whenever_k_files_match)
{
	for (int i = 1; i <= 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%03d", i);
		nf_file(name, i % 50 ? "x" : "match", (float)i);
	}
	finds("size = 5", 3, "f050 f100 f150");
	finds("size = 5", 10, "f050 f100 f150 f200");
	finds("name GLOB 'f1[79]?' AND size = 1", 2, "f170 f171");
}

Test(where, follows_what_changes)
{
	some();
	finds("xattr.lang = 'en'", 10, "a.txt d/a.txt");
	tag("a.txt", "user.lang", "fr");
	tag("d/e/c.txt", "user.lang", "en");
	finds("xattr.lang = 'en'", 10, "d/a.txt d/e/c.txt");
	cr_assert_eq(nf_rename("a.txt", "d/z.txt", 0, false), 0);
	finds("path = 'a.txt'", 10, "");
	finds("name = 'z.txt'", 10, "d/z.txt");
	af_write("b.md", "longer than it was before");
	finds("size > 20 AND name = 'b.md'", 10, "b.md");
}

/* A hit that falls away makes a second pass, with the same filter. */
Test(where, second_pass)
{
	some();
	nf_sh("rm a.txt");
	finds("xattr.lang = 'en' OR size = 3", 2, "d/a.txt d/e/c.txt");
}

Test(where, tells_nothing_of_files_one_may_not_read)
{
	NEEDS_ROOT();
	some();
	cr_assert_eq(fchmodat(af_root, "d/e", 0700, 0), 0);
	cr_assert_eq(fchmodat(af_root, ".", 0755, 0), 0);
	finds_as(&af_nobody, "size > 4", 10, "a.txt d");
	finds_as(&af_nobody, "name = 'b.md' OR name = 'c.txt'", 10, "");
	finds_as(&af_nobody, "NOT name = 'x'", 10, "a.txt d/a.txt d");
	finds("name = 'b.md' OR name = 'c.txt'", 10, "b.md d/e/c.txt");
}

Test(where, beside_under_and_range)
{
	static const float zero[2];
	struct vex_query q = { .vectors = zero,
			       .dim = 2,
			       .nq = 1,
			       .per_file = 1,
			       .max_distance = 3.5f,
			       .where = "name = 'a.txt'",
			       .under = "d",
			       .cred = &af_uid0 };
	struct vex_result *res = NULL;

	some();
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_assert_eq(res->n, 1);
	cr_expect_str_eq(res->hits[0].path, "d/a.txt");
	vex_result_free(res);
	q.where = "name = 'c.txt'";
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_expect_eq(res->n, 0, "too far");
	vex_result_free(res);
}

Test(where, a_bad_expression_says_where)
{
	AUTO_BUF struct vex_buf none = { 0 };
	struct vex_problem p;

	cr_expect_eq(ask("size > 5 AND nope = 1", 10, &af_uid0, &p, &none), -EINVAL);
	cr_expect(strstr(p.text, "at offset 13") && strstr(p.text, "nope"), "%s", p.text);
	cr_expect_eq(ask("", 10, &af_uid0, &p, &none), -EINVAL);
	cr_expect(strstr(p.text, "at offset 0"), "%s", p.text);
}

/* Random files, random expressions over them, against their own arithmetic. */
Test(where, random_against_brute_force)
{
	uint64_t x = af_seed();
	int size[60], year[60];

	for (int i = 0; i < 60; i++) {
		char name[32], text[40] = "", y[16];

		size[i] = (int)(af_next(&x) % 30);
		year[i] = (int)(af_next(&x) % 4) * 5 - 5; /* -5: none */
		snprintf(name, sizeof(name), "f%02d", i);
		memset(text, 'x', (size_t)size[i]);
		nf_file(name, text, (float)(i + 1));
		snprintf(y, sizeof(y), "%d", year[i]);
		if (year[i] >= 0)
			tag(name, "user.y", y);
	}
	for (int round = 0; round < 100; round++) {
		AUTO_BUF struct vex_buf want = { 0 };
		int a = (int)(af_next(&x) % 30), b = (int)(af_next(&x) % 3) * 5;
		uint32_t k = 1 + (uint32_t)(af_next(&x) % 20), n = 0;
		bool and = af_next(&x) % 2, not = af_next(&x) % 2;
		char expr[128];

		snprintf(expr, sizeof(expr), "size %s %d %s xattr.y = %d",
			 not ? ">=" : "<", a, and? "AND" : "OR", b);
		for (int i = 0; i < 60 && n < k; i++) {
			bool one = not ? size[i] >= a : size[i] < a, two = year[i] == b;

			if (and? one && two : one || two)
				vex_buf_fmt(&want, "%sf%02d", n++ ? " " : "", i);
		}
		vex_buf_add(&want, "", 1);
		finds(expr, k, want.data);
	}
}

/* Evaluated, and compiled, on a thread with a MiB of stack. */
Test(where, the_longest_expressions)
{
	AUTO_BUF struct vex_buf and = { 0 }, or = { 0 };

	some();
	while (and.len < VEX_FILTER_MAX - 16)
		vex_buf_str(&and, "size>1 AND ");
	vex_buf_str(&and, "uid>=0");
	vex_buf_add(&and, "", 1);
	finds(and.data, 2, "a.txt b.md");
	while (or.len < VEX_FILTER_MAX - 20)
		vex_buf_str(& or, "1=2 OR ");
	vex_buf_str(& or, "size=3");
	vex_buf_add(& or, "", 1);
	finds(or.data, 2, "d/e/c.txt");
}

/* ---- beside a graph -------------------------------------------------------------- */

#define GDIM 8u
#define GFILES 40u
#define GROWS 64u /* a file */

static void graph_up(void)
{
	af_opts.graph_floats_min = 1000 * GDIM;
	af_up();
}

TestSuite(where_graph, .init = graph_up, .fini = af_down, .timeout = 240);

static void graph_fill(uint64_t *x)
{
	struct vex_space_spec spec = {
		.name = "g", .dim = GDIM, .metric = VEX_L2, .index = VEX_HNSW, .m = 12
	};
	static float v[GROWS * GDIM];

	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &spec), 0);
	for (unsigned i = 0; i < GFILES; i++) {
		char name[16], value[16];

		snprintf(name, sizeof(name), "f%u", i);
		snprintf(value, sizeof(value), "%u", i);
		af_write(name, "x");
		for (unsigned j = 0; j < GROWS * GDIM; j++)
			v[j] = (float)(af_next(x) % 2001) / 1000 - 1;
		cr_assert_eq(af_set(name, "g", v, sizeof(v), 0), 0);
		tag(name, "user.n", value);
	}
}

static void graph_wait(void)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_index_info i = { 0 };

	cr_assert_eq(vex_space_find(vex_engine_store(eng), "g", &sp), 0);
	for (int tries = 0; tries < 12000; tries++) {
		vex_engine_index_info(eng, sp, &i);
		if (i.state == VEX_INDEX_READY && i.nodes == GFILES * GROWS)
			return;
		usleep(5000);
	}
	cr_assert_fail("no graph: state %d, %llu nodes", i.state,
		       (unsigned long long)i.nodes);
}

/* Every share of files that match, also one that the traversal cannot fill k from. */
Test(where_graph, k_hits_that_match_at_every_selectivity)
{
	static const struct {
		const char *expr;
		unsigned below; /* matches files n < below */
	} all[] = { { "xattr.n >= 0", 40 },
		    { "xattr.n < 20", 20 },
		    { "xattr.n < 4", 4 },
		    { "xattr.n = 0", 1 },
		    { "xattr.n > 50", 0 } };
	uint64_t x = af_seed();
	bool graph = false;
	size_t right[5] = { 0 }, of[5] = { 0 };

	graph_fill(&x);
	graph_wait();
	for (unsigned i = 0; i < 300; i++) {
		float q[GDIM];
		struct vex_query query = { .space = "g",
					   .vectors = q,
					   .dim = GDIM,
					   .nq = 1,
					   .k = 10,
					   .max_distance = INFINITY,
					   .where = all[i % 5].expr,
					   .cred = &af_uid0 };
		struct vex_result *got = NULL, *want = NULL;

		for (unsigned j = 0; j < GDIM; j++)
			q[j] = (float)(af_next(&x) % 2001) / 1000 - 1;
		cr_assert_eq(vex_engine_search(eng, &query, &got, NULL), 0);
		query.exact = true;
		cr_assert_eq(vex_engine_search(eng, &query, &want, NULL), 0);
		cr_assert_eq(want->n, all[i % 5].below ? 10 : 0);
		cr_assert_eq(got->n, want->n, "%s", query.where);
		for (size_t h = 0; h < got->n; h++) {
			cr_assert_lt((unsigned)atoi(got->hits[h].path + 1),
				     all[i % 5].below);
			right[i % 5] +=
			    got->hits[h].distance <= want->hits[want->n - 1].distance;
		}
		of[i % 5] += want->n;
		graph |= !strcmp(got->plan, "graph");
		vex_result_free(got);
		vex_result_free(want);
	}
	for (unsigned i = 0; i < 5; i++) {
		printf("%s: %zu of %zu\n", all[i].expr, right[i], of[i]);
		cr_expect_geq(right[i] * 10, of[i] * 9, "%s", all[i].expr);
	}
	cr_expect(graph, "the graph was used");
}
