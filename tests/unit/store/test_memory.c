/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th allocation fails, for each n: the call fails cleanly or does its work, and
 * what the store holds is what was acknowledged.
 */
#include "fixture.h"
#include "inject.h"

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	f.opts.sync_interval_ms = 3600 * 1000;
}

static void end(void)
{
	inject_alloc_at = 0;
	fix_end(&f);
}

TestSuite(memory, .init = begin, .fini = end, .timeout = 120);

#if INJECT_ALLOC

/* Logging allocates too, outside the store: it must not matter which one fails. */
static bool out_of_memory(vex_err err)
{
	return err == -ENOMEM;
}

Test(memory, open)
{
	struct vex_space *sp;
	uint64_t node, seed = seed_from_env();
	int left = 0;

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	node = new_file(&f);
	cr_assert_eq(put(&f, sp, node, "", 1, 2), 0);
	vex_space_unref(sp);
	fix_close(&f);
	for (int at = 1; !left; at += 1 + (int)(rnd(&seed) % 5)) {
		vex_err err;

		inject_alloc_at = at;
		err = fix_try(&f);
		left = atomic_exchange(&inject_alloc_at, 0);
		cr_assert(!err || out_of_memory(err), "allocation %d: %d %s", at, err,
			  f.problem.text);
		if (err)
			continue;
		cr_expect_str_eq(f.problem.text, "");
		sp = get_space(&f, "words");
		cr_expect_eq(holds(&f, sp, node, "", 1, 2), 0, "allocation %d", at);
		vex_space_unref(sp);
		fix_close(&f);
	}
}

Test(memory, changes)
{
	struct vex_space *sp;
	uint64_t node, v = 1;
	int left = 0;

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	node = new_file(&f);
	cr_assert_eq(put(&f, sp, node, "", v, 2), 0);
	for (int at = 1; !left; at++) {
		struct vex_change c;
		struct vex_view view;
		vex_err err, seen, synced;

		inject_alloc_at = at;
		err = make_put(&c, sp, node, "", v + 1, 2);
		if (!err)
			err = vex_store_commit(f.s, &c, 1, NULL);
		synced = vex_store_sync(f.s, false);
		seen = vex_view_open(sp, &view);
		left = atomic_exchange(&inject_alloc_at, 0);
		cr_assert(!err || out_of_memory(err), "allocation %d: %d", at, err);
		cr_assert(!seen || out_of_memory(seen), "allocation %d: %d", at, seen);
		cr_assert(!synced || out_of_memory(synced), "allocation %d: %d", at,
			  synced);
		v += !err;
		cr_assert_eq(holds(&f, sp, node, "", v, 2), 0, "allocation %d", at);
		if (!seen) {
			cr_expect_eq(view.live_rows, 2u);
			vex_view_close(&view);
		}
	}
	cr_expect_gt(v, 1u);
	vex_space_unref(sp);
	fix_close(&f);
	fix_open(&f);
	sp = get_space(&f, "words");
	cr_expect_eq(holds(&f, sp, node, "", v, 2), 0);
	vex_space_unref(sp);
}

Test(memory, spaces)
{
	struct vex_space_spec spec = { .dim = DIM };
	struct vex_change c = { .kind = VEX_SPACE_NEW, .spec = &spec };
	unsigned made = 0;
	int left = 0;
	struct vex_store_status st;

	fix_open(&f);
	for (int at = 1; !left; at++) {
		vex_err err;

		snprintf(spec.name, sizeof(spec.name), "s%d", at);
		inject_alloc_at = at;
		err = vex_store_commit(f.s, &c, 1, NULL);
		left = atomic_exchange(&inject_alloc_at, 0);
		cr_assert(!err || out_of_memory(err), "allocation %d: %d", at, err);
		made += !err;
		if (!err)
			vex_space_unref(c.space);
	}
	vex_store_status(f.s, &st);
	cr_expect_eq(st.spaces, made);
	fix_close(&f);
	fix_open(&f);
	vex_store_status(f.s, &st);
	cr_expect_eq(st.spaces, made);
}

#endif
