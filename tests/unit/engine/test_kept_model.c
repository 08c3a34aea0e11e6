/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of attachments against a model: files made, written, attached, renamed,
 * renamed over each other, removed, made again, and their attachments brought back, with
 * reopenings in between. After each step the search, `stale` and what a reattach gives
 * are what the model says.
 */
#include <math.h>
#include "names_fixture.h"

TestSuite(kept_model, .init = nf_up, .fini = nf_down, .timeout = 240);

#define NAMES 6
#define MANY 512

/* A pile of values, the last one on top. */
struct pile {
	int v[MANY];
	int n;
};

/* Names a file was moved away from; filled: another file is there since. */
struct away {
	int name;
	bool filled;
};

struct file {
	int value; /* attached; 0: nothing */
	bool stale;
	struct away away[MANY];
	int naway;
};

static uint64_t seed;
static struct file file[4096];
static int nfiles, serial;
static int at[NAMES];             /* file; 0: none */
static struct pile kept[NAMES];   /* what stale and reattach know of */
static struct pile vacant[NAMES]; /* what a file made there would have kept */

static unsigned rnd(unsigned n)
{
	return (unsigned)(af_next(&seed) % n);
}

static const char *name(int i)
{
	static const char *const v[NAMES] = { "a", "b", "c", "d", "e", "f" };

	return v[i];
}

static void push(struct pile *p, int value)
{
	cr_assert_lt(p->n, MANY);
	p->v[p->n++] = value;
}

/* All of one pile onto another. */
static void pour(struct pile *from, struct pile *to)
{
	for (int i = 0; i < from->n; i++)
		push(to, from->v[i]);
	from->n = 0;
}

/* ---- what is done ------------------------------------------------------------------ */

/* Each content has a length of its own, so none passes for another. */
static void content(int i)
{
	char text[4096];

	serial++;
	memset(text, 'x', sizeof(text));
	text[serial % 4095 + 1] = 0;
	af_write(name(i), text);
}

/* A file is at the name now, with attachments or without. */
static void filled(int i, bool bare)
{
	if (bare)
		pour(&vacant[i], &kept[i]);
	vacant[i].n = 0;
	for (int f = 1; f <= nfiles; f++)
		for (int k = 0; k < file[f].naway; k++)
			if (file[f].away[k].name == i)
				file[f].away[k].filled = true;
}

static void make(int i)
{
	if (at[i])
		return;
	content(i);
	vex_engine_made(eng, af_root, name(i));
	at[i] = ++nfiles;
	cr_assert_lt(nfiles, 4096);
	filled(i, true);
}

static void write_to(int i)
{
	if (!at[i])
		return;
	content(i);
	file[at[i]].stale = true;
}

static void attach(int i)
{
	struct file *f = &file[at[i]];

	if (!at[i])
		return;
	if (!f->value)
		kept[i].n = 0; /* it has all of it anew */
	f->value = ++serial;
	f->stale = false;
	nf_attach(name(i), (float)f->value);
}

static void move(int i, int j)
{
	struct file *f = &file[at[i]], *over = &file[at[j]];

	if (!at[i] || i == j)
		return;
	cr_assert_eq(nf_rename(name(i), name(j), 0, false), 0);
	if (at[j] && over->value && !f->value)
		push(&kept[j], over->value);
	at[j] = at[i];
	at[i] = 0;
	if (f->value) {
		cr_assert_lt(f->naway, MANY);
		f->away[f->naway++] = (struct away){ .name = i };
	}
	filled(j, !f->value);
}

static void drop(int i)
{
	struct file *f = &file[at[i]];

	if (!at[i])
		return;
	cr_assert_eq(nf_unlink(name(i), false), 0);
	at[i] = 0;
	if (!f->value)
		return;
	for (int k = 0; k < f->naway; k++) {
		int j = f->away[k].name;

		if (j == i)
			continue;
		push(f->away[k].filled && at[j] ? &kept[j] : &vacant[j], f->value);
	}
	/* What it had replaced goes with it, and may come back with it. */
	pour(&kept[i], &vacant[i]);
	push(&vacant[i], f->value);
}

static void bring_back(int i)
{
	struct file *f = &file[at[i]];
	uint64_t n = 0;
	vex_err err;

	if (!at[i])
		return;
	err = vex_engine_reattach(eng, &af_uid0, name(i), &n);
	if (f->value || !kept[i].n) {
		cr_assert_eq(err, -ENODATA, "%s: %s", name(i), strerror(-err));
		return;
	}
	cr_assert_eq(err, 0, "%s: %s", name(i), strerror(-err));
	cr_assert_eq(n, 1);
	AUTO_OBJ struct af_obj x;
	AUTO_BUF struct vex_buf b = { 0 };
	bool known = false;

	/* Several that were kept in one moment: any of them. */
	af_open(name(i), &x);
	cr_assert_eq(vex_engine_xattr_get(eng, &x.o, &af_uid0, "s", &b), 0);
	vex_buf_add(&b, "", 1);
	f->value = atoi(b.data);
	f->stale = true;
	for (int k = kept[i].n; k-- && !known;) {
		known = kept[i].v[k] == f->value;
		if (known)
			kept[i].v[k] = kept[i].v[--kept[i].n];
	}
	cr_assert(known, "%s: %d was not kept", name(i), f->value);
}

static void reopen(void)
{
	af_again();
	for (int i = 0; i < NAMES; i++)
		vacant[i].n = 0;
	for (int f = 1; f <= nfiles; f++)
		file[f].naway = 0;
}

/* ---- what must be ------------------------------------------------------------------ */

static int add_listed(void *arg, const struct vex_stale *s)
{
	int *listed = arg;

	for (int i = 0; i < NAMES; i++)
		if (!strcmp(name(i), s->path))
			listed[i] |= s->why ? 2 : 1;
	return 0;
}

static void check_stale(int step)
{
	int listed[NAMES] = { 0 };
	uint64_t after = 0;
	bool more = true;

	while (more)
		cr_assert_eq(vex_engine_stale(eng, &af_uid0, "", &after, &more,
					      add_listed, listed),
			     0);
	for (int i = 0; i < NAMES; i++) {
		const struct file *f = &file[at[i]];
		bool has = at[i] && f->value;
		int wanted = has ? f->stale : kept[i].n ? 2 : 0;

		cr_assert_eq(listed[i], wanted, "step %d: %s is listed as %d, not %d",
			     step, name(i), listed[i], wanted);
	}
}

static void check_search(int step)
{
	AUTO_FREE char *got = nf_near(0, 99, &af_uid0);
	unsigned want = 0, have = 0;

	for (char *save = NULL, *p = strtok_r(got, " ", &save); p;
	     p = strtok_r(NULL, " ", &save))
		have |= 1u << (p[0] - 'a');
	for (int i = 0; i < NAMES; i++)
		want |= at[i] && file[at[i]].value ? 1u << i : 0;
	cr_assert_eq(have, want, "step %d: %#x found, not %#x", step, have, want);
	for (int i = 0; i < NAMES; i++) {
		char value[32];

		if (!(want & 1u << i))
			continue;
		snprintf(value, sizeof(value), "%d,0", file[at[i]].value);
		af_is_text(name(i), "s", value);
	}
}

Test(kept_model, a_thousand_steps)
{
	const char *given = getenv("VEXFS_SEED"), *steps = getenv("KEPT_STEPS");
	int n = steps ? atoi(steps) : 1000;

	seed = given ? strtoull(given, NULL, 0) : vex_now_mono();
	fprintf(stderr, "VEXFS_SEED=%llu\n", (unsigned long long)seed);
	/* However slow the machine is: what was removed is held throughout. */
	make(0);
	attach(0);
	for (int step = 0; step < n; step++) {
		int i = (int)rnd(NAMES), j = (int)rnd(NAMES);
		unsigned dice = rnd(100);

		vacants_hold(eng->vacants, UINT64_MAX);
		if (dice < 22)
			make(i);
		else if (dice < 44)
			attach(i);
		else if (dice < 54)
			write_to(i);
		else if (dice < 74)
			move(i, j);
		else if (dice < 90)
			drop(i);
		else if (dice < 98)
			bring_back(i);
		else
			reopen();
		check_stale(step);
		check_search(step);
	}
}
