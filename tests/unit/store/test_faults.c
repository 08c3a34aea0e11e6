/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every write, flush, open and mapping of a store's life fails in turn: the n-th of its
 * kind for n = 1, 2 ... until a life has none left to fail. A life is made of opening (a
 * new store, and one that a crash left), making a space, puts, replacements, removals,
 * small syncs, a whole one, a checkpoint, closing. The oracle: what was acknowledged is
 * there with the value acknowledged, in this life where it is still open and in the next;
 * what failed has changed nothing; a store that does not open says which file.
 *
 * FAULT_STRIDE: every how manieth n is tried, from a random one on (8 of writes, 3 of
 * flushes and opens; 1 is all).
 */
#include "fixture.h"
#include "inject.h"

static struct fix f;

static void begin(void)
{
	enum vex_sync_mode sync = f.opts.sync;

	fix_begin(&f);
	f.opts.sync_interval_ms = 3600 * 1000;
	f.opts.sync = sync;
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(faults, .init = begin, .fini = end, .timeout = 600);

#define FILES 5

/* What is known of each file: the value acknowledged, or none. `open`: a change failed
 * when its commit could not be synced; it may have happened. */
struct life {
	uint64_t node[FILES], v[FILES], maybe[FILES];
	bool space;
};

/* A space whose files could not be opened is out of service, and that was told. */
static bool value_is(struct vex_space *sp, uint64_t node, uint64_t v)
{
	vex_err err = holds(&f, sp, node, "k", v, 1 + v % 2);

	return err == (v ? 0 : -ENODATA) ||
	       (err == -EIO && strstr(f.problem.text, "out of service"));
}

static void check_life(struct life *l, const char *when, int n)
{
	struct vex_space *sp;

	if (vex_space_find(f.s, "s", &sp)) {
		cr_expect(!l->space, "%s, %d: the space is gone", when, n);
		return;
	}
	for (int i = 0; i < FILES; i++) {
		if (!l->node[i])
			continue;
		cr_expect(value_is(sp, l->node[i], l->v[i]) ||
			      value_is(sp, l->node[i], l->maybe[i]),
			  "%s, n %d: file %d, value %lu", when, n, i,
			  (unsigned long)l->v[i]);
	}
	vex_space_unref(sp);
}

static vex_err make_space(struct life *l, struct vex_space **out)
{
	struct vex_space_spec spec = { .metric = VEX_L2, .dim = DIM, .name = "s" };
	struct vex_change c = { .kind = VEX_SPACE_NEW, .spec = &spec };
	vex_err err;

	if (!vex_space_find(f.s, "s", out))
		return 0;
	err = vex_store_commit(f.s, &c, 1, NULL);
	*out = c.space;
	l->space |= !err;
	return err;
}

static vex_err make_node(uint64_t *out)
{
	struct vex_node n = { .id = vex_store_new_node(f.s), .has_mark = true };
	struct vex_change c = { .kind = VEX_NODE_NEW, .node_in = &n };
	vex_err err = vex_store_commit(f.s, &c, 1, NULL);

	*out = err ? 0 : n.id;
	return err;
}

/* One operation on a file; what it says is what the oracle believes. */
static void one_op(struct life *l, struct vex_space *sp, int i, uint64_t v)
{
	vex_err err = 0;

	if (!l->node[i])
		err = make_node(&l->node[i]);
	if (err || !l->node[i])
		return;
	err = v ? put(&f, sp, l->node[i], "k", v, 1 + v % 2)
		: delete (&f, sp, l->node[i], "k");
	cr_expect(err != -ENODATA || !l->v[i] || !l->maybe[i], "it was there");
	if (!err)
		l->v[i] = l->maybe[i] = v;
	else if (f.opts.sync == VEX_SYNC_ALWAYS && err == -EIO)
		l->maybe[i] = v;
}

/* A life with an error somewhere; false where the store did not open. */
static bool live(struct life *l, _Atomic int *at, int n, uint64_t base)
{
	struct vex_space *sp = NULL;
	uint64_t frames;
	vex_err err = fix_try(&f);

	if (err) {
		cr_expect(f.problem.text[0], "%d: a store that does not open says why",
			  n);
		cr_expect_null(f.s);
		return false;
	}
	if (!make_space(l, &sp)) {
		for (int i = 0; i < 14; i++) {
			one_op(l, sp, (i * 3) % FILES,
			       i % 4 == 3 ? 0 : base + (uint64_t)i);
			if (i % 3 == 2)
				(void)!vex_store_sync(f.s, i == 8);
		}
		(void)!vex_store_checkpoint(f.s, &frames);
		one_op(l, sp, 1, base + 40);
		vex_space_unref(sp);
	}
	int left = atomic_exchange(at, 0);

	check_life(l, "while open", n);
	*at = left;
	fix_close(&f);
	return true;
}

static vex_err count(void *arg, const struct vex_finding *x)
{
	fprintf(stderr, "found: %s\n", x->text);
	++*(unsigned *)arg;
	return 0;
}

static void look(int n)
{
	struct vex_check_counts counts;
	struct vex_check *c;
	struct vex_problem p;
	unsigned findings = 0;

	cr_assert_eq(vex_check_open(f.rootfd, &c, &p), 0, "%d: %s", n, p.text);
	cr_expect_eq(vex_check_run(c, count, &findings, &counts), 0);
	vex_check_close(c);
	cr_expect_eq(findings, 0u, "n %d", n);
}

/* The n-th call fails, and all is as it was promised. False: there were not so many. */
static bool try_one(_Atomic int *at, int n)
{
	struct life l = { .space = false };
	bool hit;

	*at = n;
	live(&l, at, n, 1);
	hit = atomic_exchange(at, 0) <= 0;
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	check_life(&l, "afterwards", n);
	fix_close(&f);
	look(n);
	/* And once more in a store that has a past. */
	*at = n;
	live(&l, at, n, 100);
	*at = 0;
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	check_life(&l, "in the second life", n);
	fix_close(&f);
	look(n);
	return hit;
}

static void try_all(const char *what, _Atomic int *at, _Atomic int *with, int error,
		    int usual)
{
	const char *s = getenv("FAULT_STRIDE");
	int stride = s && atoi(s) > 0 ? atoi(s) : usual, n, tried = 0;
	uint64_t seed = seed_from_env();

	*with = error;
	for (n = 1 + (int)(rnd(&seed) % (unsigned)stride);; n += stride) {
		bool hit = try_one(at, n);

		tried++;
		fix_end(&f);
		begin();
		if (!hit)
			break;
		cr_assert_lt(n, 5000);
	}
	fprintf(stderr, "%s, %s: %d lives, the last with n %d\n", what, strerror(error),
		tried, n);
	cr_expect_gt(n, 2, "%s are seen", what);
}

Test(faults, every_write_full)
{
	try_all("writes", &inject_write_at, &inject_write_errno, ENOSPC, 8);
}

Test(faults, every_write_fails)
{
	try_all("writes", &inject_write_at, &inject_write_errno, EIO, 8);
}

Test(faults, every_flush_fails)
{
	try_all("flushes", &inject_sync_at, &inject_sync_errno, EIO, 3);
}

Test(faults, every_flush_full)
{
	try_all("flushes", &inject_sync_at, &inject_sync_errno, ENOSPC, 3);
}

Test(faults, every_flush_fails_always)
{
	f.opts.sync = VEX_SYNC_ALWAYS;
	try_all("flushes, sync=always", &inject_sync_at, &inject_sync_errno, EIO, 3);
}

Test(faults, every_open_fails)
{
	try_all("opens", &inject_open_at, &inject_open_errno, EIO, 3);
}

Test(faults, every_open_without_room)
{
	try_all("opens", &inject_open_at, &inject_open_errno, ENOSPC, 3);
}

Test(faults, every_mapping_fails)
{
	try_all("mappings", &inject_map_at, &inject_map_errno, ENOMEM, 1);
}

Test(faults, every_mapping_cannot_be_had)
{
	try_all("mappings", &inject_map_at, &inject_map_errno, EIO, 1);
}
