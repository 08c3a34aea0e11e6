/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random lists of changes against a model in memory, with reopening, syncs, views held
 * for a while and lists that must be refused. VEX_SEED repeats a run.
 */
#include "fixture.h"
#include <sys/xattr.h>

#define NODES 24
#define KEYS 3
#define SPACES 3
#define STEPS 4000

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	f.opts.sync_interval_ms = 5;
	fix_open(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(model, .init = begin, .fini = end, .timeout = 120);

struct cell {
	uint64_t v;
	uint32_t rows; /* 0: none */
};

struct model {
	struct cell at[SPACES][NODES][KEYS];
};

static struct model now;
static uint64_t node[NODES];
static struct vex_space *space[SPACES];
static const uint32_t dims[SPACES] = { 1, 4, 100 };
static const char *const keys[KEYS] = { "", "k", "longer key" };

static struct {
	struct vex_view v;
	struct model then;
	int space; /* -1: not open */
} held;

static void open_spaces(bool make)
{
	char name[8];

	for (int i = 0; i < SPACES; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		space[i] = make ? new_space(&f, name, dims[i]) : get_space(&f, name);
	}
}

static void close_spaces(void)
{
	for (int i = 0; i < SPACES; i++)
		vex_space_unref(space[i]);
}

/* The view shows exactly the rows the model had when it was opened. */
static void check_view(struct vex_view *v, const struct model *m, int sp)
{
	uint64_t want = 0, live = 0;

	for (int n = 0; n < NODES; n++)
		for (int k = 0; k < KEYS; k++)
			want += m->at[sp][n][k].rows;
	for (uint64_t i = 0; i < v->slots; i++) {
		struct vex_slot s;
		float row[100];
		bool found = false;

		if (!vex_view_live(v, i))
			continue;
		live++;
		vex_view_slot(v, i, &s);
		for (int n = 0; n < NODES && !found; n++)
			for (int k = 0; k < KEYS && node[n] == s.node && !found; k++) {
				fill_row(row, dims[sp], m->at[sp][n][k].v, s.row);
				found = s.row < m->at[sp][n][k].rows &&
					!memcmp(row, vex_view_row(v, i), dims[sp] * 4);
			}
		cr_assert(found, "slot %lu of space %d holds what nobody put", i, sp);
	}
	cr_assert_eq(live, want);
	cr_assert_eq(v->live_rows, want);
}

static void hold_view(uint64_t r)
{
	if (held.space >= 0) {
		check_view(&held.v, &held.then, held.space);
		vex_view_close(&held.v);
		held.space = -1;
		return;
	}
	held.space = (int)(r % SPACES);
	cr_assert_eq(vex_view_open(space[held.space], &held.v), 0);
	held.then = now;
}

static void check_all(void)
{
	for (int s = 0; s < SPACES; s++) {
		struct vex_view v;

		for (int n = 0; n < NODES; n++)
			for (int k = 0; k < KEYS; k++) {
				struct cell *c = &now.at[s][n][k];
				vex_err err =
				    holds(&f, space[s], node[n], keys[k], c->v, c->rows);

				cr_assert_eq(err, c->rows ? 0 : -ENODATA, "%d %d %d: %d",
					     s, n, k, err);
			}
		cr_assert_eq(vex_view_open(space[s], &v), 0);
		check_view(&v, &now, s);
		vex_view_close(&v);
	}
}

static void drop_node(struct model *m, struct vex_change *c, uint64_t r)
{
	int n = (int)(r % NODES);

	*c = (struct vex_change){ .kind = VEX_NODE_DROP, .node = node[n] };
	for (int s = 0; s < SPACES; s++)
		memset(m->at[s][n], 0, sizeof(m->at[s][n]));
}

/* One random change to model and list; the error it must meet, or 0. */
static vex_err random_change(struct model *m, struct vex_change *c, uint64_t *r)
{
	int s = (int)(rnd(r) % SPACES), n = (int)(rnd(r) % NODES),
	    k = (int)(rnd(r) % KEYS);
	struct cell *cell = &m->at[s][n][k];
	uint64_t what = rnd(r) % 100;
	struct cell new = { rnd(r) % 100000, 1 + (uint32_t)(rnd(r) % 4) };
	bool had = cell->rows != 0;

	if (what < 30) {
		*c = (struct vex_change){ .kind = VEX_DELETE,
					  .node = node[n],
					  .space = space[s],
					  .key = keys[k],
					  .key_len = (uint32_t)strlen(keys[k]) };
		*cell = (struct cell){ 0 };
		return had ? 0 : -ENODATA;
	}
	cr_assert_eq(make_put(c, space[s], node[n], keys[k], new.v, new.rows), 0);
	c->flags = what < 35 ? XATTR_CREATE : what < 45 ? XATTR_REPLACE : 0;
	*cell = new;
	return c->flags == XATTR_CREATE && had     ? -EEXIST
	       : c->flags == XATTR_REPLACE && !had ? -ENODATA
						   : 0;
}

static void random_list(uint64_t *r)
{
	struct vex_change c[6];
	struct model then = now;
	size_t n = 1 + rnd(r) % ARRAY_SIZE(c), made = 0, bad = 99, want_bad = 99;
	vex_err want = 0, err;

	while (made < n && !want) {
		want = random_change(&then, &c[made], r);
		want_bad = made++;
	}
	err = vex_store_commit(f.s, c, made, &bad);
	cr_assert_eq(err, want);
	if (err)
		cr_assert_eq(bad, want_bad);
	else
		now = then;
}

static void node_goes(uint64_t r)
{
	struct vex_change c[2];
	struct vex_node n = { 0 };

	drop_node(&now, &c[0], r);
	n.id = vex_store_new_node(f.s);
	c[1] = (struct vex_change){ .kind = VEX_NODE_NEW, .node_in = &n };
	cr_assert_eq(vex_store_commit(f.s, c, 2, NULL), 0);
	node[r % NODES] = n.id;
}

static void reopen(void)
{
	close_spaces();
	fix_close(&f);
	fix_open(&f);
	cr_assert_str_eq(f.problem.text, "");
	open_spaces(false);
	check_all();
}

Test(model, random_changes)
{
	uint64_t r = seed_from_env();

	held.space = -1;
	for (int i = 0; i < NODES; i++)
		node[i] = new_file(&f);
	open_spaces(true);
	for (int i = 0; i < STEPS; i++) {
		uint64_t what = rnd(&r) % 1000;

		if (what < 10)
			cr_assert_eq(vex_store_sync(f.s, false), 0);
		else if (what < 30 && held.space < 0)
			node_goes(rnd(&r));
		else if (what < 70)
			hold_view(rnd(&r));
		else if (what < 73 && held.space < 0)
			reopen();
		else
			random_list(&r);
	}
	if (held.space >= 0)
		hold_view(0);
	check_all();
	reopen();
	close_spaces();
}
