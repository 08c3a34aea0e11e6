/* SPDX-License-Identifier: Apache-2.0 */
/* Which slots are handed out: never one that a crash or a view could still need. */
#include "fixture.h"

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	f.opts.sync_interval_ms = 3600 * 1000;
	fix_open(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(slots, .init = begin, .fini = end, .timeout = 60);

static uint64_t slot_of(struct vex_space *sp, uint64_t node)
{
	struct vex_attach a = { 0 };

	cr_assert_eq(get(&f, sp, node, "", &a), 0);
	return a.slot;
}

static uint64_t take(struct vex_space *sp, uint32_t rows)
{
	AUTO_FREE float *v = calloc(rows, DIM * sizeof(float));
	uint64_t slot = 0;

	cr_assert_eq(vex_slots_write(sp, v, rows, &slot), 0);
	return slot;
}

Test(slots, returned_slots_are_free_at_once)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = take(sp, 3), b = take(sp, 1);

	cr_expect_eq(b, a + 3);
	vex_slots_return(sp, a, 3);
	cr_expect_eq(take(sp, 4), b + 1);
	cr_expect_eq(take(sp, 2), a);
	cr_expect_eq(take(sp, 1), a + 2);
}

Test(slots, runs_across_words)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t first = take(sp, 300);

	vex_slots_return(sp, first + 60, 10);
	vex_slots_return(sp, first + 120, 70);
	cr_expect_eq(take(sp, 70), first + 120);
	cr_expect_eq(take(sp, 11), first + 300);
	cr_expect_eq(take(sp, 10), first + 60);
}

Test(slots, freed_slot_waits_for_sync)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f), slot;

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	slot = slot_of(sp, a);
	cr_assert_eq(delete (&f, sp, a, ""), 0);
	for (int i = 0; i < 100; i++)
		cr_assert_neq(take(sp, 1), slot);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	cr_expect_eq(take(sp, 1), slot);
}

Test(slots, freed_slot_waits_for_older_views)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f), slot;
	struct vex_view old, young;

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	slot = slot_of(sp, a);
	cr_assert_eq(vex_view_open(sp, &old), 0);
	cr_assert_eq(delete (&f, sp, a, ""), 0);
	cr_assert_eq(vex_view_open(sp, &young), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	for (int i = 0; i < 100; i++)
		cr_assert_neq(take(sp, 1), slot);
	vex_view_close(&old);
	cr_expect_eq(take(sp, 1), slot, "the younger view never saw it");
	vex_view_close(&young);
}

Test(slots, freed_slot_waits_for_the_index)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f), slot;
	struct vex_view v;

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	slot = slot_of(sp, a);
	cr_assert_eq(vex_view_open(sp, &v), 0);
	vex_space_hold(sp, v.lsn);
	vex_view_close(&v);
	cr_assert_eq(delete (&f, sp, a, ""), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	for (int i = 0; i < 100; i++)
		cr_assert_neq(take(sp, 1), slot);
	cr_assert_eq(vex_view_open(sp, &v), 0);
	vex_space_hold(sp, v.lsn);
	vex_view_close(&v);
	cr_expect_eq(take(sp, 1), slot);
}

Test(slots, a_refused_put_gives_its_slots_back)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	struct vex_change c;
	uint64_t slot;

	cr_assert_eq(make_put(&c, sp, 777777, "", 1, 5), 0);
	slot = c.slot;
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), -ENOENT);
	cr_expect_eq(take(sp, 6), slot + 5);
	cr_expect_eq(take(sp, 5), slot);
}

Test(slots, segments_are_contiguous_rows)
{
	/* Beyond one segment, and where a segment's rows do not begin on a page. */
	AUTO_SPACE struct vex_space *sp = new_space(&f, "wide", 16383);
	uint64_t node = new_file(&f);
	struct vex_view v;
	uint32_t n = 0;

	for (unsigned i = 0; i < 1100; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%u", i);
		cr_assert_eq(put(&f, sp, node, key, i, 1), 0);
	}
	cr_assert_eq(vex_view_open(sp, &v), 0);
	cr_expect_gt(v.slots >> v.seg_shift, 1u);
	for (uint64_t i = 0; i < v.slots; i++) {
		float want[3];

		if (!vex_view_live(&v, i))
			continue;
		fill_row(want, 3, i, 0);
		cr_expect_arr_eq(vex_view_row(&v, i), want, sizeof(want));
		n++;
	}
	cr_expect_eq(n, 1100u);
	vex_view_close(&v);
	cr_expect_eq(holds(&f, sp, node, "1099", 1099, 1), 0);
}

Test(slots, limits)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t slot;
	float v[DIM] = { 1 };

	cr_expect_eq(vex_slots_write(sp, v, 0, &slot), -EINVAL);
	cr_expect_eq(vex_slots_write(sp, v, UINT32_MAX, &slot), -EINVAL);
}
