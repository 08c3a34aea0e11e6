/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of attributes: every search gives with it what it gives without, whatever
 * happened through the engine before; and what changed behind it is no hit.
 */
#include <math.h>
#include "names_fixture.h"
#include "attrs_i.h"

#define N 240u
#define WITHOUT UINT64_MAX

static void up(void)
{
	af_opts.attrs_rows_min = 1;
	nf_up();
}

static void down(void)
{
	nf_down();
	af_opts.attrs_rows_min = 0;
}

TestSuite(cands, .init = up, .fini = down, .timeout = 240);

static void tag_behind(const char *name, const char *value)
{
	cr_assert_eq(setxattr(nf_path(name), "user.lang", value, strlen(value), 0), 0);
}

static void tag(const char *name, const char *value)
{
	tag_behind(name, value);
	nf_told(name);
}

struct asked {
	const char *where, *under;
	const struct vex_cred *cred;
	uint32_t k;
	float x;
};

/* Paths of the hits, and the plan. */
static char *ask(const struct asked *a, const char **plan)
{
	float v[2] = { a->x, 0 };
	/* Of a named space, where it was asked, if the sets are there: on a small stack.
	 */
	struct vex_query q = { .space = a->k % 2 ? "s" : NULL,
			       .vectors = v,
			       .dim = 2,
			       .nq = 1,
			       .k = a->k,
			       .per_file = 1,
			       .max_distance = a->k ? INFINITY : 30,
			       .where = a->where,
			       .under = a->under,
			       .no_cache = true,
			       .cred = a->cred };
	struct vex_buf out = { 0 };
	struct vex_result *res = NULL;
	vex_err err = vex_engine_search(eng, &q, &res, NULL);

	*plan = "";
	/* DIR is not for this caller. */
	if (err == -EACCES && a->under)
		return strdup("refused");
	cr_assert_eq(err, 0, "%s %s: %s", a->where, a->under, strerror(-err));
	for (size_t i = 0; i < res->n; i++)
		vex_buf_fmt(&out, "%s ", res->hits[i].path);
	vex_buf_add(&out, "", 1);
	*plan = res->plan;
	vex_result_free(res);
	return out.data;
}

/* Until the index is there. */
static void ready(void)
{
	struct asked a = { .where = "size >= 0", .k = 1, .cred = &af_uid0 };
	const char *plan = "";

	for (int i = 0; i < 4000; i++) {
		free(ask(&a, &plan));
		if (strstr(plan, "among"))
			return;
		usleep(5000);
	}
	cr_assert_fail("no index of attributes: plan %s", plan);
}

static bool same(const struct asked *a)
{
	const char *plan, *other;
	AUTO_FREE char *with = ask(a, &plan);
	bool yes;

	eng->attrs_min = WITHOUT;
	AUTO_FREE char *without = ask(a, &other);
	eng->attrs_min = 1;
	yes = !strcmp(with, without);
	cr_expect(yes, "where %s under %s uid %u k %u x %g (%s, %s):\n%s\nnot\n%s",
		  a->where, a->under, a->cred->uid, a->k, (double)a->x, plan, other, with,
		  without);
	return yes;
}

static char *name_of(uint32_t i)
{
	static char name[64];
	static const char *const dirs[] = { "", "a/", "a/b/", "c/" };

	snprintf(name, sizeof(name), "%sf%03u", dirs[i % 4], i);
	return name;
}

static void fill(uint64_t *x)
{
	nf_dir("a");
	nf_dir("a/b");
	nf_dir("c");
	for (uint32_t i = 0; i < N; i++) {
		nf_file(name_of(i), "text", (float)(af_next(x) % 1000) / 10);
		if (i % 3)
			tag(name_of(i), i % 2 ? "en" : "de");
	}
}

static bool there(const char *name)
{
	return !access(nf_path(name), F_OK);
}

static void change(uint64_t *x)
{
	static const char *const langs[] = { "en", "de", "fr", "7" };
	static const char *const dirs[] = { "a", "a/b", "c" };
	uint32_t i = (uint32_t)(af_next(x) % N);
	const char *name = name_of(i);
	char to[64];

	switch (af_next(x) % 9) {
	case 0:
		nf_file(name, "anew", (float)(af_next(x) % 1000) / 10);
		nf_told(name);
		return;
	case 1:
	case 2:
		if (there(name))
			tag(name, langs[af_next(x) % 4]);
		return;
	case 3:
		if (there(name) && !removexattr(nf_path(name), "user.lang"))
			nf_told(name);
		return;
	case 4:
		if (there(name)) {
			chmod(nf_path(name), af_next(x) % 2 ? 0600 : 0644);
			nf_told(name);
		}
		return;
	case 5:
		if (there(name))
			cr_assert_eq(nf_unlink(name, false), 0);
		return;
	case 6:
		snprintf(to, sizeof(to), "%s", name_of((uint32_t)(af_next(x) % N)));
		name = name_of(i);
		if (there(name) && strcmp(name, to))
			cr_assert_eq(nf_rename(name, to, 0, false), 0);
		return;
	case 7:
		name = dirs[af_next(x) % 3];
		chmod(nf_path(name), af_next(x) % 3 ? 0755 : 0700);
		nf_told(name);
		return;
	default:
		if (there(name)) {
			AUTO_CLOSE int fd = open(nf_path(name), O_WRONLY | O_APPEND);

			cr_assert_eq(write(fd, "more", af_next(x) % 5) < 0, 0);
			nf_told(name);
		}
	}
}

static void question(uint64_t *x, struct asked *a)
{
	static const char *const where[] = {
		NULL,
		"xattr.lang = 'en'",
		"xattr.lang IS NULL AND size > 4",
		"xattr.lang = 7 OR mode = 384",
		"path GLOB 'a/*' AND xattr.lang != 'en'",
		"name LIKE 'f1%'",
		"uid = 0 AND gid = 0 AND mtime > 0",
		"xattr.lang = 'none'",
	};
	static const char *const under[] = { NULL, NULL, "a", "a/b", "c", "." };

	a->where = where[af_next(x) % ARRAY_SIZE(where)];
	a->under = under[af_next(x) % ARRAY_SIZE(under)];
	a->cred = af_next(x) % 3 ? &af_uid0 : &af_nobody;
	a->k = (uint32_t)(af_next(x) % 12);
	a->x = (float)(af_next(x) % 100);
}

Test(cands, as_without_whatever_happens)
{
	uint64_t x = af_seed();

	NEEDS_ROOT();
	chmod(af_dir, 0755);
	fill(&x);
	ready();
	for (int i = 0; i < 400; i++) {
		struct asked a;
		bool right = true;

		for (unsigned n = (unsigned)(af_next(&x) % 4); n; n--)
			change(&x);
		for (int j = 0; j < 4; j++) {
			question(&x, &a);
			right = same(&a) && right;
		}
		if (!right)
			cr_assert_fail("after %d steps", i);
	}
}

Test(cands, a_directory_moves)
{
	uint64_t x = af_seed();
	struct asked a = { .under = "d/b", .k = 5, .cred = &af_uid0 };
	struct asked b = { .where = "path GLOB 'd/b/*'", .k = 5, .cred = &af_uid0 };
	const char *plan;

	fill(&x);
	ready();
	cr_assert_eq(nf_rename("a", "d", 0, false), 0);
	cr_expect(same(&a) && same(&b));
	AUTO_FREE char *got = ask(&b, &plan);
	cr_expect(strstr(got, "d/b/f"), "%s", got);
}

/* What changed behind the mount: a file that no longer matches is no hit, and the place
 * goes to the next; one that matches now is found once all are looked at again. */
Test(cands, behind_the_mount)
{
	uint64_t x = af_seed();
	struct asked a = { .where = "xattr.lang = 'fr'", .k = 3, .cred = &af_uid0 };
	const char *plan;

	fill(&x);
	for (uint32_t i = 0; i < 8; i++) {
		nf_attach(name_of(i), (float)i / 100);
		tag(name_of(i), "fr");
	}
	ready();
	usleep(50000);
	attrs_reset(eng);
	ready();
	tag_behind(name_of(0), "it");
	AUTO_FREE char *got = ask(&a, &plan);
	cr_expect_str_eq(got, "a/f001 a/b/f002 c/f003 ");
	tag_behind(name_of(9), "fr");
	nf_attach(name_of(9), 0);
	for (struct vex_scan n = { .quick = true }; n.stage != VEX_SCAN_DONE;)
		cr_assert_eq(vex_engine_scan(eng, &n), 0);
	ready();
	AUTO_FREE char *then = ask(&a, &plan);
	cr_expect_str_eq(then, "a/f009 a/f001 a/b/f002 ");
	cr_expect(strstr(plan, "among"), "%s", plan);
}

Test(cands, an_xattr_too_long_to_keep)
{
	struct asked a = { .where = "xattr.lang LIKE '%end'", .k = 3, .cred = &af_uid0 };
	char big[2000];
	uint64_t x = af_seed();
	const char *plan;

	fill(&x);
	memset(big, 'x', sizeof(big));
	memcpy(big + sizeof(big) - 4, "end", 4);
	tag("f000", big);
	ready();
	AUTO_FREE char *got = ask(&a, &plan);
	cr_expect_str_eq(got, "f000 ");
}

/* The filter's set follows a change; a change of a directory makes it anew. */
Test(cands, files_made_later)
{
	uint64_t x = af_seed();
	struct asked a = { .where = "xattr.lang = 'new'", .k = 20, .cred = &af_uid0 };

	fill(&x);
	ready();
	for (uint32_t i = 0; i < 2500; i++) {
		char name[32];

		snprintf(name, sizeof(name), "c/n%04u", i);
		nf_file(name, "", (float)i);
		if (i % 250)
			continue;
		tag(name, "new");
		cr_assert(same(&a), "file %u", i);
	}
}
