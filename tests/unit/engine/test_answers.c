/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.c: a search that may be answered by an earlier one says what it says when it
 * may not, whatever happened in between, through the engine or behind its back: at
 * random, and for each kind of change that could let a file in that was none of the hits.
 */
#include <math.h>
#include <vexfs/metrics.h>
#include "answers_i.h"
#include "names_fixture.h"

#define N 160u

static void up(void)
{
	nf_up();
	cr_assert_eq(chmod(af_dir, 0755), 0);
}

static void down(void)
{
	nf_down();
	af_opts.attrs_rows_min = 0;
	af_opts.graph_floats_min = 0;
}

TestSuite(answers, .init = up, .fini = down, .timeout = 240);

static void again(uint64_t attrs_min, uint64_t graph_min)
{
	nf_down();
	af_opts.attrs_rows_min = attrs_min;
	af_opts.graph_floats_min = graph_min;
	up();
}

/* ---- asking --------------------------------------------------------------------------
 */

/* What it says, or its error; *cached: by an earlier one. */
static char *ask(struct vex_query q, bool no_cache, bool *cached)
{
	struct vex_buf out = { 0 };
	struct vex_result *r = NULL;
	vex_err err;

	q.space = "s";
	q.no_cache = no_cache;
	err = vex_engine_search(eng, &q, &r, NULL);
	*cached = r && r->cached;
	vex_buf_fmt(&out, "%d:", err);
	for (size_t i = 0; r && i < r->n; i++)
		vex_buf_fmt(&out, " %u %g %s.%s.%u%s%s", r->hits[i].query,
			    (double)r->hits[i].distance, r->hits[i].path, r->hits[i].key,
			    r->hits[i].row, r->hits[i].stale ? " stale" : "",
			    r->truncated ? " more" : "");
	vex_buf_add(&out, "", 1);
	vex_result_free(r);
	return out.data;
}

static bool same(const struct vex_query *q, unsigned *hits)
{
	bool cached, no;
	AUTO_FREE char *with = ask(*q, false, &cached);
	AUTO_FREE char *without = ask(*q, true, &no);
	bool yes = !strcmp(with, without);

	cr_expect(!no);
	*hits += cached;
	cr_expect(yes,
		  "k %u offset %u per file %u where %s under %s like %s uid %u fresh %d "
		  "mmr %d cached %d:\n%s\nnot\n%s",
		  q->k, q->offset, q->per_file, q->where, q->under, q->like, q->cred->uid,
		  q->fresh, q->mmr, cached, with, without);
	return yes;
}

/* ---- at random -----------------------------------------------------------------------
 */

static const char *const dirs[] = { "", "a/", "a/b/", "c/" };

static char *name_of(uint64_t i)
{
	static char name[64];

	snprintf(name, sizeof(name), "%sf%03u", dirs[i % 4], (unsigned)i);
	return name;
}

static bool there(const char *name)
{
	return !access(nf_path(name), F_OK);
}

static void attach(uint64_t *x, const char *name)
{
	float v[4] = { (float)(af_next(x) % 1000) / 10, 0,
		       (float)(af_next(x) % 1000) / 10, 1 };
	const char *attr = af_next(x) % 4 ? "s" : "s.other";

	if (!there(name))
		af_write(name, "text");
	nf_told(name);
	(void)!af_set(name, attr, v, af_next(x) % 3 ? 8 : 16, 0);
}

static void fill(uint64_t *x)
{
	nf_dir("a");
	nf_dir("a/b");
	nf_dir("c");
	for (uint64_t i = 0; i < N; i++) {
		nf_file(name_of(i), "text", (float)(af_next(x) % 1000) / 10);
		attach(x, name_of(i));
		setxattr(nf_path(name_of(i)), "user.lang", i % 2 ? "en" : "de", 2, 0);
		nf_told(name_of(i));
	}
}

static void touch(uint64_t *x, const char *name, bool told)
{
	struct stat before, after;
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
				 { .tv_sec = 1000000000 + (long)(af_next(x) % 9) } };
	AUTO_OBJ struct af_obj o;

	af_open(name, &o);
	cr_assert_eq(stat(nf_path(name), &before), 0);
	cr_assert_eq(utimensat(AT_FDCWD, nf_path(name), t, 0), 0);
	cr_assert_eq(stat(nf_path(name), &after), 0);
	if (!told)
		return;
	vex_engine_times_set(eng, &o.o, &before, &after);
	vex_engine_attrs_changed(eng, &o.o);
}

static void append(uint64_t *x, const char *name, bool told)
{
	AUTO_CLOSE int fd = open(nf_path(name), O_WRONLY | O_APPEND);

	cr_assert(write(fd, "more", 1 + af_next(x) % 4) > 0);
	if (told)
		cr_assert_eq(af_written(name), 0);
}

/* Of a file that is there. `told`: not behind our back. */
static void change(uint64_t *x, const char *name, bool told)
{
	char to[64];

	switch (af_next(x) % 8) {
	case 0:
		chmod(nf_path(name), af_next(x) % 2 ? 0600 : 0644);
		break;
	case 1:
		setxattr(nf_path(name), "user.lang", af_next(x) % 2 ? "en" : "fr", 2, 0);
		break;
	case 2:
		touch(x, name, told);
		return;
	case 3:
		append(x, name, told);
		return;
	case 4:
		if (told)
			cr_assert_eq(nf_unlink(name, false), 0);
		return;
	case 5:
		snprintf(to, sizeof(to), "%s", name_of(af_next(x) % N));
		if (told && strcmp(name, to) && there(name))
			cr_assert_eq(nf_rename(name, to, 0, false), 0);
		return;
	case 6:
		(void)!af_remove(name, af_next(x) % 2 ? "s" : "s.other");
		return;
	default:
		snprintf(to, sizeof(to), "%s", dirs[1 + af_next(x) % 3]);
		chmod(nf_path(to), af_next(x) % 3 ? 0755 : 0700);
		if (told)
			nf_told(to);
		return;
	}
	if (told)
		nf_told(name);
}

static void step(uint64_t *x, bool behind)
{
	char name[64];

	snprintf(name, sizeof(name), "%s", name_of(af_next(x) % N));
	if (!there(name) || !(af_next(x) % 8))
		attach(x, name);
	else
		change(x, name, !behind || af_next(x) % 4);
}

/* Of few questions, so that they come again. */
static void question(uint64_t *x, float *v, struct vex_query *q)
{
	static const char *const where[] = { "xattr.lang = 'en'", "size > 4",
					     "size >= 0" };
	static const char *const under[] = { "a", "a/b", "c" };
	uint64_t which = af_next(x) % 48, y = 1 + which;

	for (int i = 0; i < 4; i++)
		v[i] = i % 2 ? 0 : (float)(af_next(&y) % 100);
	*q = (struct vex_query){ .vectors = v,
				 .dim = 2,
				 .nq = which % 7 ? 1 : 2,
				 .k = (uint32_t)(which % 12),
				 .per_file = (uint32_t)(af_next(&y) % 3),
				 .max_distance = which % 12 ? INFINITY : 5,
				 .cred = af_next(&y) % 2 ? &af_uid0 : &af_nobody,
				 .exact = true,
				 .fresh = af_next(&y) % 5 == 0 };
	if (af_next(&y) % 4 == 0)
		q->where = where[af_next(&y) % 3];
	if (af_next(&y) % 4 == 0)
		q->under = under[af_next(&y) % 3];
	if (af_next(&y) % 4 == 0 && q->k)
		q->offset = (uint32_t)(af_next(&y) % 5);
	if (af_next(&y) % 6 == 0 && q->k) {
		q->mmr = true;
		q->lambda = 0.5f;
	}
	if (af_next(&y) % 6 == 0) {
		q->like = name_of(af_next(&y) % 8);
		q->vectors = NULL;
		q->dim = q->nq = 0;
	}
}

static void at_random(bool behind)
{
	uint64_t x = af_seed();
	unsigned hits = 0;
	float v[4];

	fill(&x);
	for (int i = 0; i < 250; i++) {
		struct vex_query q;
		bool right = true;

		for (unsigned n = (unsigned)(af_next(&x) % 3); n; n--)
			step(&x, behind);
		for (int j = 0; j < 6; j++) {
			question(&x, v, &q);
			right = same(&q, &hits) && right;
		}
		if (!right)
			cr_assert_fail("after %d steps", i);
	}
	cr_expect(hits > 100, "%u of 1500 by an earlier one", hits);
}

Test(answers, at_random_by_scans)
{
	NEEDS_ROOT();
	at_random(true);
}

Test(answers, at_random_among_candidates)
{
	NEEDS_ROOT();
	again(1, 0);
	at_random(false);
}

Test(answers, at_random_by_graph)
{
	NEEDS_ROOT();
	again(0, 1);
	at_random(true);
}

/* ---- one by one
 * ------------------------------------------------------------------------ */

static struct vex_query nearest(const float *v, uint32_t k, const struct vex_cred *cred)
{
	return (struct vex_query){ .vectors = v,
				   .dim = 2,
				   .nq = 1,
				   .k = k,
				   .per_file = 1,
				   .max_distance = INFINITY,
				   .cred = cred };
}

static void says(const struct vex_query *q, bool by_earlier, const char *want)
{
	bool cached;
	AUTO_FREE char *got = ask(*q, false, &cached);

	cr_expect_str_eq(got, want);
	cr_expect_eq(cached, by_earlier, "%s", want);
}

#define TWO "0: 0 1 a..0 0 2 b..0"

static void three(void)
{
	nf_file("a", "text", 1);
	nf_file("b", "text", 2);
	nf_file("c", "text", 3);
}

Test(answers, the_second_time)
{
	float v[2] = { 0 };
	struct vex_query q = nearest(v, 2, &af_uid0);
	uint64_t hits = vex_count_read(VEX_COUNT_ANSWERS_HIT);
	uint64_t distances;

	three();
	says(&q, false, TWO);
	distances = vex_count_read(VEX_COUNT_SEARCH_DISTANCES);
	says(&q, true, TWO);
	says(&q, true, TWO);
	cr_expect_eq(vex_count_read(VEX_COUNT_ANSWERS_HIT), hits + 2);
	cr_expect_eq(vex_count_read(VEX_COUNT_SEARCH_DISTANCES), distances);
	q.k = 1;
	says(&q, false, "0: 0 1 a..0");
}

Test(answers, a_new_row)
{
	float v[2] = { 0 };
	struct vex_query q = nearest(v, 2, &af_uid0);

	three();
	says(&q, false, TWO);
	nf_file("d", "text", 1.5);
	says(&q, false, "0: 0 1 a..0 0 1.5 d..0");
	cr_assert_eq(nf_unlink("d", false), 0);
	says(&q, false, TWO);
}

Test(answers, may_be_read_now)
{
	float v[2] = { 0 };
	struct vex_query q = nearest(v, 2, &af_nobody);

	NEEDS_ROOT();
	three();
	nf_sh("chmod 600 a");
	says(&q, false, "0: 0 2 b..0 0 3 c..0");
	nf_sh("chmod 644 a");
	says(&q, true, TWO);
	nf_sh("chmod 600 b");
	says(&q, true, "0: 0 1 a..0 0 3 c..0");
}

Test(answers, fresh_again)
{
	float v[2] = { 0 };
	struct vex_query q = nearest(v, 1, &af_uid0);

	q.fresh = true;
	three();
	nf_sh("touch -r a old; echo x >>a");
	says(&q, false, "0: 0 2 b..0");
	nf_sh("printf text >a; touch -r old a");
	says(&q, true, "0: 0 1 a..0");
}

Test(answers, off)
{
	float v[2] = { 0 };
	struct vex_query q = nearest(v, 2, &af_uid0);

	three();
	says(&q, false, TWO);
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_CACHE, 0, false), 0);
	says(&q, false, TWO);
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_CACHE, 1 << 20, false), 0);
	says(&q, false, TWO);
	says(&q, true, TWO);
	q.no_cache = true;
	q.max_visited = 1000;
	says(&q, false, TWO);
}

/* Another caller, or one of other groups, is not answered by this one's. */
Test(answers, another_caller)
{
	static const uint32_t groups[] = { 7, 8 };
	struct vex_cred c = {
		.uid = 1, .gid = 1, .groups = groups, .groups_known = true
	};
	float v[2] = { 0 };
	struct vex_query q = nearest(v, 2, &c);

	three();
	says(&q, false, TWO);
	says(&q, true, TWO);
	c.ngroups = 1;
	says(&q, false, TWO);
	c.ngroups = 2;
	says(&q, false, TWO);
	c.gid = 7;
	says(&q, false, TWO);
	c.groups_known = false;
	says(&q, false, TWO);
	c.uid = 2;
	says(&q, false, TWO);
}

/* However many are asked, they take what they may. */
Test(answers, bounded)
{
	uint64_t hits;

	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_CACHE, 64 << 10, false), 0);
	three();
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 2000; i++) {
			float v[2] = { (float)i, 1 };
			struct vex_query q = nearest(v, 2, &af_uid0);
			bool cached;

			free(ask(q, false, &cached));
			cr_assert(!cached, "%d", i);
		}
	hits = vex_count_read(VEX_COUNT_ANSWERS_HIT);
	for (int i = 1999; i > 1980; i--) {
		float v[2] = { (float)i, 1 };
		struct vex_query q = nearest(v, 2, &af_uid0);
		bool cached;

		free(ask(q, false, &cached));
	}
	cr_expect_eq(vex_count_read(VEX_COUNT_ANSWERS_HIT), hits + 19);
}
