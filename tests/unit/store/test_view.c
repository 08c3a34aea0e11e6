/* SPDX-License-Identifier: Apache-2.0 */
/* Views share one copy of the bitmap until it changes; what a commit has touched. */
#include "fixture.h"

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	fix_open(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(view, .init = begin, .fini = end, .timeout = 60);

Test(view, copy_is_shared_until_rows_change)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	AUTO_SPACE struct vex_space *other = new_space(&f, "other", DIM);
	uint64_t a = new_file(&f), b = new_file(&f);
	struct vex_view first, same, later;

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	cr_assert_eq(vex_view_open(sp, &first), 0);
	cr_assert_eq(put(&f, other, a, "", 1, 1), 0);
	cr_assert_eq(vex_view_open(sp, &same), 0);
	cr_expect_eq(same.live, first.live, "another space's change is none of ours");
	cr_expect_gt(same.lsn, first.lsn);
	cr_expect_eq(same.changed, first.changed);
	cr_assert_eq(put(&f, sp, b, "", 2, 1), 0);
	cr_assert_eq(vex_view_open(sp, &later), 0);
	cr_expect_neq(later.live, first.live);
	cr_expect_eq(later.changed, later.lsn);
	cr_expect_eq(later.live_rows, 2u);
	cr_expect_eq(first.live_rows, 1u);
	vex_view_close(&first);
	vex_view_close(&same);
	vex_view_close(&later);
}

Test(view, older_view_keeps_its_bits)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f), slot;
	AUTO_ATTACH struct vex_attach at = { 0 };
	struct vex_view old, young;

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	cr_assert_eq(get(&f, sp, a, "", &at), 0);
	slot = at.slot;
	cr_assert_eq(vex_view_open(sp, &old), 0);
	cr_assert_eq(delete (&f, sp, a, ""), 0);
	cr_assert_eq(vex_view_open(sp, &young), 0);
	cr_expect(vex_view_live(&old, slot));
	cr_expect(!vex_view_live(&young, slot));
	vex_view_close(&old);
	vex_view_close(&young);
}

Test(view, changed_is_known_after_a_reopen)
{
	uint64_t a = new_file(&f), made;
	struct vex_view v;

	{
		AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);

		cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
		cr_assert_eq(vex_view_open(sp, &v), 0);
		made = v.changed;
		vex_view_close(&v);
	}
	fix_close(&f);
	fix_open(&f);
	AUTO_SPACE struct vex_space *sp = NULL;
	cr_assert_eq(vex_space_find(f.s, "words", &sp), 0);
	cr_assert_eq(vex_view_open(sp, &v), 0);
	cr_expect_eq(v.changed, made);
	cr_expect_gt(v.changed, 0u);
	vex_view_close(&v);
}

/* Whether the change touches the node. */
static bool touches(uint64_t node, struct vex_change *c)
{
	uint64_t moment = vex_store_moment(f.s);

	cr_assert(!vex_store_touched(f.s, node, moment));
	cr_assert_eq(vex_store_commit(f.s, c, 1, NULL), 0);
	return vex_store_touched(f.s, node, moment);
}

Test(view, every_kind_of_change_touches_its_node)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f), other = new_file(&f), moment = vex_store_moment(f.s);
	struct vex_node n = { .id = a, .size = 7 };
	struct vex_change c;

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	cr_expect(vex_store_touched(f.s, a, moment));
	cr_expect(!vex_store_touched(f.s, other, moment));
	c = (struct vex_change){ .kind = VEX_NODE_SET, .node_in = &n };
	cr_expect(touches(a, &c));
	c = (struct vex_change){
		.kind = VEX_NAME_ADD, .node = a, .parent = 1, .name = "n", .name_len = 1
	};
	cr_expect(touches(a, &c));
	c.kind = VEX_NAME_DEL;
	cr_expect(touches(a, &c));
	c = (struct vex_change){ .kind = VEX_STAMP, .node = a, .stamp = { .size = 3 } };
	cr_expect(touches(a, &c));
	c = (struct vex_change){ .kind = VEX_NODE_STATE, .node = a, .state = VEX_GOING };
	cr_expect(touches(a, &c));
	c = (struct vex_change){ .kind = VEX_NODE_DROP, .node = a };
	cr_expect(touches(a, &c));
}
