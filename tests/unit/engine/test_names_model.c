/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names as a whole against a model: a seeded run of what people and programs do to
 * files, through the engine and behind its back, with reopenings in between. After
 * every few steps a search has to find exactly the files of the model, each under one
 * of its names, and every name has to give its file's value.
 */
#include <linux/fs.h>
#include <math.h>
#include "names_fixture.h"

TestSuite(names_model, .init = nf_up, .fini = nf_down, .timeout = 240);

#define PATHS 40 /* names that may exist: 8 in each of 5 directories */
#define DIRS 5

static uint64_t seed;
static int file_at[PATHS];     /* id of the file there; 0: none */
static float value_of[100000]; /* by file id; the vector is (value, 0) */
static int next_id;
static char dir_name[DIRS][32];
static int dirs_named;

static unsigned rnd(unsigned n)
{
	return (unsigned)(af_next(&seed) % n);
}

static const char *path(int at, char *buf)
{
	snprintf(buf, 64, "%.31s/f%d", dir_name[at / 8], at % 8);
	return buf;
}

static void new_value(int at)
{
	static float v;
	char p[64];

	value_of[file_at[at]] = v += 1;
	nf_attach(path(at, p), v);
}

/* ---- what is done ---------------------------------------------------------------- */

static void make(int at)
{
	char p[64];

	if (file_at[at])
		return new_value(at);
	file_at[at] = ++next_id;
	af_write(path(at, p), "content");
	new_value(at);
}

static void drop(int at, bool behind)
{
	char p[64];

	if (!file_at[at])
		return;
	if (behind)
		nf_sh("rm '%s'", path(at, p));
	else
		cr_assert_eq(nf_unlink(path(at, p), false), 0);
	file_at[at] = 0;
}

static void move(int a, int b, bool behind)
{
	char p[64], q[64];

	/* Of two names of one file: rename(2) does nothing, mv complains. */
	if (!file_at[a] || a == b || (behind && file_at[a] == file_at[b]))
		return;
	path(a, p);
	path(b, q);
	if (behind)
		nf_sh("mv -f '%s' '%s'", p, q);
	else
		cr_assert_eq(nf_rename(p, q, 0, false), 0);
	if (file_at[a] == file_at[b])
		return;
	file_at[b] = file_at[a];
	file_at[a] = 0;
}

static void swap(int a, int b)
{
	char p[64], q[64];
	int id = file_at[a];

	if (!file_at[a] || !file_at[b] || a == b)
		return;
	cr_assert_eq(nf_rename(path(a, p), path(b, q), RENAME_EXCHANGE, false), 0);
	file_at[a] = file_at[b];
	file_at[b] = id;
}

static void copy(int a, int b)
{
	char p[64], q[64];

	if (!file_at[a] || file_at[b])
		return;
	nf_sh("cp -a '%s' '%s'", path(a, p), path(b, q));
	file_at[b] = ++next_id;
	value_of[file_at[b]] = value_of[file_at[a]];
	/* A copy is found once it has been looked at. */
	cr_assert_neq(nf_node(q), 0);
}

static void hard(int a, int b, bool behind)
{
	char p[64], q[64];

	if (!file_at[a] || file_at[b])
		return;
	if (behind)
		nf_sh("ln '%s' '%s'", path(a, p), path(b, q));
	else
		cr_assert_eq(nf_link(path(a, p), path(b, q)), 0);
	/* Seen once, so that it is known when the other name goes behind us. */
	cr_assert_neq(nf_node(path(b, q)), 0);
	file_at[b] = file_at[a];
}

static void move_dir(int d, bool behind)
{
	char name[32];
	unsigned into = rnd(DIRS);

	/* Below another directory, or to the top. */
	if (into != (unsigned)d && !strchr(dir_name[into], '/') &&
	    !strchr(dir_name[d], '/')) {
		for (int i = 0; i < DIRS; i++)
			if (!strncmp(dir_name[i], dir_name[d], strlen(dir_name[d])) &&
			    dir_name[i][strlen(dir_name[d])] == '/')
				return;
		snprintf(name, sizeof(name), "%.12s/n%d", dir_name[into], ++dirs_named);
	} else {
		for (int i = 0; i < DIRS; i++)
			if (!strncmp(dir_name[i], dir_name[d], strlen(dir_name[d])) &&
			    dir_name[i][strlen(dir_name[d])] == '/')
				return;
		snprintf(name, sizeof(name), "n%d", ++dirs_named);
	}
	if (behind)
		nf_sh("mv '%s' '%s'", dir_name[d], name);
	else
		cr_assert_eq(nf_rename(dir_name[d], name, 0, false), 0);
	strcpy(dir_name[d], name);
}

/* ---- what has to be
 * -------------------------------------------------------------------- */

static int path_index(const char *p)
{
	char q[64];

	for (int i = 0; i < PATHS; i++)
		if (file_at[i] && !strcmp(path(i, q), p))
			return i;
	return -1;
}

static int files(void)
{
	int n = 0;

	for (int i = 0; i < PATHS; i++) {
		bool first = file_at[i] != 0;

		for (int j = 0; j < i && first; j++)
			first = file_at[j] != file_at[i];
		n += first;
	}
	return n;
}

static void check(int step)
{
	float v[2] = { 0, 0 };
	struct vex_query q = { .space = "s",
			       .vectors = v,
			       .dim = 2,
			       .nq = 1,
			       .k = 1000,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .cred = &af_uid0 };
	struct vex_result *res;
	bool seen[PATHS] = { false };
	char p[64], text[32];

	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	for (size_t i = 0; i < res->n; i++) {
		int at = path_index(res->hits[i].path);

		cr_assert_geq(at, 0, "step %d: found %s, which is not", step,
			      res->hits[i].path);
		cr_assert_eq(res->hits[i].distance, value_of[file_at[at]],
			     "step %d: %s has %g", step, res->hits[i].path,
			     (double)res->hits[i].distance);
		for (int j = 0; j < PATHS; j++) {
			cr_assert(!(seen[j] && file_at[j] == file_at[at]),
				  "step %d: %s twice", step, res->hits[i].path);
		}
		seen[at] = true;
	}
	cr_assert_eq((int)res->n, files(), "step %d: %zu of %d files", step, res->n,
		     files());
	vex_result_free(res);
	for (int i = 0; i < PATHS; i++) {
		if (!file_at[i])
			continue;
		snprintf(text, sizeof(text), "%.9g,0", (double)value_of[file_at[i]]);
		af_is_text(path(i, p), "s", text);
	}
}

static void step(void)
{
	int a = (int)rnd(PATHS), b = (int)rnd(PATHS);

	switch (rnd(14)) {
	case 0:
	case 1:
	case 2:
		return make(a);
	case 3:
		return drop(a, false);
	case 4:
		return drop(a, true);
	case 5:
	case 6:
		return move(a, b, false);
	case 7:
		return move(a, b, true);
	case 8:
		return swap(a, b);
	case 9:
		return copy(a, b);
	case 10:
		return hard(a, b, false);
	case 11:
		return hard(a, b, true);
	case 12:
		return move_dir((int)rnd(DIRS), false);
	default:
		return move_dir((int)rnd(DIRS), true);
	}
}

static void run(int steps)
{
	seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : af_seed();
	cr_log_info("seed %llu", (unsigned long long)seed);
	fprintf(stderr, "names_model: SEED=%llu\n", (unsigned long long)seed);
	for (int i = 0; i < DIRS; i++) {
		snprintf(dir_name[i], sizeof(dir_name[i]), "d%d", i);
		nf_dir(dir_name[i]);
	}
	make(0);
	for (int i = 1; i <= steps; i++) {
		step();
		if (i % 5 == 0)
			check(i);
		if (i % 60 == 0) {
			af_again();
			check(i);
		}
	}
}

Test(names_model, random_walk)
{
	NEEDS_HANDLES();
	run(600);
}
