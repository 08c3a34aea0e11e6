/* SPDX-License-Identifier: Apache-2.0 */
/* search.c, query.c, verdict.c, hits.c: against brute force, and who may see what. */
#include <math.h>
#include "names_fixture.h"

TestSuite(search, .init = nf_up, .fini = nf_down, .timeout = 120);

static struct vex_query base(const float *v)
{
	return (struct vex_query){ .vectors = v,
				   .dim = 2,
				   .nq = 1,
				   .k = 10,
				   .per_file = 1,
				   .max_distance = INFINITY,
				   .cred = &af_uid0 };
}

static vex_err ask(const struct vex_query *q, struct vex_problem *p)
{
	struct vex_result *res = NULL;
	vex_err err = vex_engine_search(eng, q, &res, p);

	cr_assert_eq(!err, res != NULL);
	vex_result_free(res);
	return err;
}

static char *paths(const struct vex_query *q)
{
	struct vex_result *res = NULL;
	struct vex_buf b = { 0 };
	struct vex_problem p;
	vex_err err = vex_engine_search(eng, q, &res, &p);

	cr_assert_eq(err, 0, "%s: %s", strerror(-err), p.text);
	for (size_t i = 0; i < res->n; i++)
		vex_buf_fmt(&b, "%s%s", i ? " " : "", res->hits[i].path);
	vex_buf_add(&b, "", 1);
	vex_result_free(res);
	return b.data;
}

static void gives(const struct vex_query *q, const char *want)
{
	AUTO_FREE char *got = paths(q);

	cr_assert_eq(strcmp(got, want), 0, "found \"%s\", not \"%s\"", got, want);
}

/* ---- right answers
 * ---------------------------------------------------------------------- */

#define N 300
#define DIM 19

static double dist(int metric, const float *a, const float *b)
{
	double dot = 0, aa = 0, bb = 0, d = 0;

	for (int i = 0; i < DIM; i++) {
		dot += (double)a[i] * b[i];
		aa += (double)a[i] * a[i];
		bb += (double)b[i] * b[i];
		d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
	}
	return metric == VEX_COSINE ? 1 - dot / sqrt(aa * bb)
	       : metric == VEX_L2   ? sqrt(d)
				    : -dot;
}

static void brute(int metric)
{
	static float v[N][DIM], q[DIM];
	uint64_t seed = af_seed();
	struct vex_space_spec spec = { .name = "w",
				       .dim = DIM,
				       .metric = (uint8_t)metric };
	struct vex_query query = base(q);
	struct vex_result *res = NULL;
	char name[32];

	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &spec), 0);
	for (int i = 0; i < N; i++) {
		for (int j = 0; j < DIM; j++)
			v[i][j] = (float)(af_next(&seed) % 2001) / 1000 - 1;
		snprintf(name, sizeof(name), "f%d", i);
		af_write(name, "x");
		cr_assert_eq(af_set(name, "w", v[i], sizeof(v[i]), 0), 0);
	}
	query.dim = DIM;
	query.space = "w";
	for (int round = 0; round < 20; round++) {
		double last = -INFINITY;

		for (int j = 0; j < DIM; j++)
			q[j] = (float)(af_next(&seed) % 2001) / 1000 - 1;
		query.k = 1 + (uint32_t)(af_next(&seed) % 50);
		cr_assert_eq(vex_engine_search(eng, &query, &res, NULL), 0);
		cr_assert_eq(res->n, query.k);
		for (size_t i = 0; i < res->n; i++) {
			int at = atoi(res->hits[i].path + 1), nearer = 0;
			double d = dist(metric, q, v[at]);

			cr_assert(fabs(d - (double)res->hits[i].distance) < 1e-5);
			cr_assert_geq(d, last - 1e-6);
			last = d;
			for (int j = 0; j < N; j++)
				nearer += dist(metric, q, v[j]) < d - 1e-6;
			cr_assert_leq(nearer, (int)i);
		}
		cr_expect_eq(res->rows, N);
		cr_expect_str_eq(res->plan, "exact");
		cr_expect_str_eq(res->space, "w");
		vex_result_free(res);
	}
}

Test(search, cosine_against_brute_force)
{
	brute(VEX_COSINE);
}

Test(search, l2_against_brute_force)
{
	brute(VEX_L2);
}

Test(search, ip_against_brute_force)
{
	brute(VEX_IP);
}

static void line(int n)
{
	char name[32];

	for (int i = 1; i <= n; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		nf_file(name, "x", (float)i);
	}
}

Test(search, k_offset_and_range)
{
	float v[2] = { 0, 0 };
	struct vex_query q = base(v);

	line(6);
	q.k = 2;
	gives(&q, "f1 f2");
	q.offset = 2;
	gives(&q, "f3 f4");
	q.offset = 5;
	gives(&q, "f6");
	q.offset = 50;
	gives(&q, "");
	q = base(v);
	q.k = 0;
	q.max_distance = 3;
	gives(&q, "f1 f2 f3");
	q.offset = 1;
	gives(&q, "f2 f3");
	q = base(v);
	q.max_distance = 2.5f;
	gives(&q, "f1 f2");
	q.max_distance = -1;
	gives(&q, "");
}

Test(search, batches_come_by_query)
{
	float v[6] = { 0, 0, 3, 0, 9, 0 };
	struct vex_query q = base(v);
	struct vex_result *res;

	line(4);
	q.nq = 3;
	q.k = 2;
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_assert_eq(res->n, 6);
	for (size_t i = 0; i < 6; i++)
		cr_expect_eq(res->hits[i].query, i / 2);
	cr_expect_str_eq(res->hits[2].path, "f3");
	cr_expect_str_eq(res->hits[4].path, "f4");
	vex_result_free(res);
}

Test(search, rows_keys_and_per_file)
{
	float v[2] = { 0, 0 }, m[6] = { 1, 0, 2, 0, 3, 0 };
	struct vex_query q = base(v);
	struct vex_result *res;

	nf_file("b", "x", 2.5f);
	af_write("a", "x");
	cr_assert_eq(af_set("a", "s.chunks", m, sizeof(m), 0), 0);
	gives(&q, "a b");
	q.per_file = 2;
	gives(&q, "a a b");
	q.per_file = 0;
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_assert_eq(res->n, 4);
	cr_expect_str_eq(res->hits[3].path, "a");
	cr_expect_str_eq(res->hits[3].key, "chunks");
	cr_expect_eq(res->hits[3].row, 2);
	cr_expect_str_eq(res->hits[2].key, "");
	cr_expect_eq(res->hits[2].ino, nf_ino("b"));
	vex_result_free(res);
}

Test(search, sees_what_was_acknowledged)
{
	line(1);
	nf_finds(0, 9, "f1");
	nf_attach("f1", 5);
	nf_file("g", "x", 1);
	nf_finds(0, 9, "g f1");
	cr_assert_eq(af_remove("g", "s"), 0);
	nf_finds(0, 9, "f1");
}

/* ---- like, under
 * -------------------------------------------------------------------------- */

Test(search, like)
{
	struct vex_query q = { .k = 10,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .cred = &af_uid0,
			       .like = "f2" };
	float m[4] = { 1, 0, 4, 0 };

	line(4);
	gives(&q, "f1 f3 f4");
	af_write("x:y", "x");
	cr_assert_eq(af_set("x:y", "s", m, sizeof(m), 0), 0);
	q.like = "x:y";
	gives(&q, "f1 f4 f2 f3");
	q.per_file = 0;
	gives(&q, "f1 f4 f2 f3");
	cr_assert_eq(af_set_text("f1", "s.far", "9,0"), 0);
	q.per_file = 1;
	q.like = "f1:far";
	gives(&q, "f4 x:y f3 f2");
	q.like = "f1:";
	gives(&q, "x:y f2 f3 f4");
}

Test(search, like_errors)
{
	struct vex_query q = { .k = 10,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .cred = &af_uid0,
			       .like = "none" };
	struct vex_problem p;

	line(2);
	cr_expect_eq(ask(&q, &p), -ENOENT);
	q.like = "f1:nokey";
	cr_expect_eq(ask(&q, &p), -ENODATA);
	af_write("plain", "x");
	q.like = "plain";
	cr_expect_eq(ask(&q, &p), -ENODATA);
	q.like = "f1";
	q.space = "nospace";
	cr_expect_eq(ask(&q, &p), -ENODEV);
	q.space = NULL;
	cr_assert_eq(af_set_text("f1", "other", "1,2,3"), 0);
	cr_expect_eq(ask(&q, &p), -EINVAL);
	cr_expect(strstr(p.text, "other") && strstr(p.text, "s"), "%s", p.text);
	q.space = "s";
	gives(&q, "f2");
	nf_sh("chmod 600 f2");
	q.like = "f2";
	q.cred = &af_nobody;
	cr_expect_eq(ask(&q, &p), -EACCES);
}

Test(search, under)
{
	float v[2] = { 0, 0 };
	struct vex_query q = base(v);
	struct vex_problem p;

	nf_sh("mkdir -p a/b c; ln -s a/b l");
	nf_file("1", "x", 1);
	nf_file("a/2", "x", 2);
	nf_file("a/b/3", "x", 3);
	nf_file("c/4", "x", 4);
	nf_attach("a", 5);
	nf_attach("a/b", 6);
	q.under = "a";
	gives(&q, "a/2 a/b/3 a/b");
	q.k = 1;
	gives(&q, "a/2");
	q.k = 10;
	q.under = "l";
	gives(&q, "a/b/3");
	q.under = "c";
	gives(&q, "c/4");
	q.under = "";
	gives(&q, "1 a/2 a/b/3 c/4 a a/b");
	q.under = "none";
	cr_expect_eq(ask(&q, &p), -ENOENT);
	q.under = "1";
	cr_expect_eq(ask(&q, &p), -ENOTDIR);
	q.under = ".vexfs";
	cr_expect_eq(ask(&q, &p), -ENOENT);
	cr_assert_eq(nf_rename("a/b", "c/b", 0, false), 0);
	q.under = "a";
	gives(&q, "a/2");
	q.under = "c";
	gives(&q, "c/b/3 c/4 c/b");
}

/* ---- who may see
 * ---------------------------------------------------------------------------- */

Test(search, k_is_filled_from_what_the_caller_may_read)
{
	char name[32];

	nf_sh("mkdir shut; chmod 755 .");
	for (int i = 1; i <= 60; i++) {
		snprintf(name, sizeof(name), i % 3 ? "f%d" : "shut/f%d", i);
		nf_file(name, "x", (float)i);
	}
	nf_sh("chmod 600 f*; chmod 700 shut; chmod 644 f40 f50 f59 shut/*");
	nf_finds_as(&af_nobody, 0, 3, "f40 f50 f59");
	nf_finds_as(&af_nobody, 0, 9, "f40 f50 f59");
	nf_finds(0, 3, "f1 f2 shut/f3");
	nf_sh("chmod 711 shut");
	nf_finds_as(&af_nobody, 0, 2, "shut/f3 shut/f6");
	nf_sh("chmod 700 .");
	nf_finds_as(&af_nobody, 0, 9, "");
}

Test(search, groups)
{
	uint32_t gs[] = { 4242 };
	struct vex_cred in = { .uid = 65534,
			       .gid = 65534,
			       .ngroups = 1,
			       .groups = gs,
			       .groups_known = true };
	struct vex_cred unsure = { .uid = 65534, .gid = 65534 };

	NEEDS_ROOT();
	line(3);
	nf_sh("chmod 755 .; chgrp 4242 f1 f2; chmod 640 f1; chmod 604 f2; chmod 644 f3");
	nf_finds_as(&in, 0, 9, "f1 f3");
	nf_finds_as(&af_nobody, 0, 9, "f2 f3");
	nf_finds_as(&unsure, 0, 9, "f3");
}

/* ---- freshness
 * -------------------------------------------------------------------------------- */

Test(search, stale_and_fresh)
{
	float v[2] = { 0, 0 };
	struct vex_query q = base(v);
	struct vex_result *res;

	line(3);
	nf_sh("echo longer >f1");
	q.k = 2;
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_assert_eq(res->n, 2);
	cr_expect(res->hits[0].stale);
	cr_expect_not(res->hits[1].stale);
	vex_result_free(res);
	q.fresh = true;
	gives(&q, "f2 f3");
}

/* ---- what falls away at the end
 * ----------------------------------------------------------------- */

Test(search, k_is_filled_past_files_that_vanished)
{
	line(30);
	nf_sh("rm f1 f2 f3 f5 f7 f8 f9");
	nf_finds(0, 4, "f4 f6 f10 f11");
}

Test(search, damaged_rows_are_passed_over)
{
	char path[160];
	float x = 0.5f;
	int fd;

	line(4);
	cr_assert_eq(vex_engine_sync(eng), 0);
	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.rows", af_dir);
	fd = open(path, O_RDWR);
	cr_assert_geq(fd, 0);
	/* Row 0 (f1), behind the header page, while it is mapped. */
	cr_assert_eq(pwrite(fd, &x, 4, 4096), 4);
	close(fd);
	nf_finds(0, 2, "f2 f3");
}

/* ---- what is refused
 * -------------------------------------------------------------------------------- */

Test(search, bad_queries)
{
	float v[2] = { 0, 0 }, nan[2] = { NAN, 0 }, inf[2] = { 0, INFINITY };
	struct vex_query q = base(v);
	struct vex_problem p;

	cr_expect_eq(ask(&q, &p), -ENODEV, "no space of that dimension");
	line(1);
	q.space = "nospace";
	cr_expect_eq(ask(&q, &p), -ENODEV);
	q.space = "s";
	q.dim = 3;
	cr_expect_eq(ask(&q, &p), -EINVAL);
	cr_expect(strstr(p.text, "dimension"), "%s", p.text);
	q = base(nan);
	cr_expect_eq(ask(&q, &p), -EINVAL);
	q = base(inf);
	cr_expect_eq(ask(&q, &p), -EINVAL);
	q = base(v);
	q.k = 4000000000u;
	cr_expect_eq(ask(&q, &p), -EINVAL);
	q.k = VEX_K_MAX;
	q.offset = 1;
	cr_expect_eq(ask(&q, &p), -EINVAL);
	q = base(v);
	q.k = 0;
	cr_expect_eq(ask(&q, &p), -EINVAL, "a range without a bound");
	q = base(v);
	q.max_distance = NAN;
	cr_expect_eq(ask(&q, &p), -EINVAL);
	q = base(v);
	q.nq = 0;
	cr_expect_eq(ask(&q, &p), -EINVAL);
	q = base(v);
	q.dim = 0;
	cr_expect_eq(ask(&q, &p), -EINVAL);
	q = base(v);
	q.like = "f1";
	cr_expect_eq(ask(&q, &p), -EINVAL, "vectors and like");
	q = base(NULL);
	cr_expect_eq(ask(&q, NULL), -EINVAL);
	gives(&(struct vex_query){ .vectors = v,
				   .dim = 2,
				   .nq = 1,
				   .k = VEX_K_MAX,
				   .max_distance = INFINITY,
				   .cred = &af_uid0 },
	      "f1");
}

Test(search, ambiguous_space_names_the_choices)
{
	float v[2] = { 1, 0 };
	struct vex_query q = base(v);
	struct vex_problem p;

	line(1);
	cr_assert_eq(af_set_text("f1", "zwei", "1,2"), 0);
	cr_expect_eq(ask(&q, &p), -EINVAL);
	cr_expect(strstr(p.text, "zwei") && strstr(p.text, "s,"), "%s", p.text);
}

Test(search, zero_query_under_cosine)
{
	float v[2] = { 0, 0 };
	struct vex_query q = base(v);
	struct vex_space_spec spec = { .name = "c", .dim = 2, .metric = VEX_COSINE };

	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &spec), 0);
	cr_expect_eq(ask(&q, NULL), -EINVAL);
	v[0] = 1;
	gives(&q, "");
}

Test(search, skip_node)
{
	float v[2] = { 0, 0 };
	struct vex_query q = base(v);

	line(3);
	q.skip_node = nf_node("f1");
	q.k = 2;
	gives(&q, "f2 f3");
}
