/* SPDX-License-Identifier: Apache-2.0 */
/* life.c: the last name, the last descriptor, new links. */
#include "names_fixture.h"

TestSuite(life, .init = nf_up, .fini = nf_down, .timeout = 60);

Test(life, unlink_of_the_last_name_drops)
{
	struct vex_node n;
	uint64_t id;

	nf_file("a", "x", 1);
	id = nf_node("a");
	cr_assert_eq(nf_unlink("a", false), 0);
	nf_finds(0, 9, "");
	cr_expect_not(nf_row(id, &n));
	cr_expect_eq(nf_attachments(), 0);
}

Test(life, unlinked_but_open_it_is_out_of_searches_and_lives_on)
{
	AUTO_OBJ struct af_obj x;
	AUTO_BUF struct vex_buf b = { 0 };
	struct vex_node n;
	uint64_t id;

	nf_file("a", "x", 1);
	id = nf_node("a");
	af_open("a", &x);
	atomic_store(&x.node, id);
	cr_assert_eq(nf_unlink("a", true), 0);
	nf_finds(0, 9, "");
	cr_assert(nf_row(id, &n));
	cr_expect_eq(n.state, VEX_GOING);
	cr_expect_eq(vex_engine_xattr_get(eng, &x.o, &af_uid0, "s", &b), 0);
	cr_expect_eq(vex_engine_xattr_set(eng, &x.o, "s", "2,0", 3, 0), 0);
	nf_finds(0, 9, "");
	vex_engine_released(eng, id);
	cr_expect_not(nf_row(id, &n));
	cr_expect_eq(nf_attachments(), 0);
}

Test(life, unlink_of_one_of_two_names)
{
	nf_file("a", "x", 1);
	cr_assert_eq(nf_link("a", "b"), 0);
	cr_assert_eq(nf_unlink("a", false), 0);
	nf_finds(0, 9, "b");
	cr_expect_eq(nf_names(nf_node("b")), 1);
	cr_assert_eq(nf_unlink("b", false), 0);
	cr_expect_eq(nf_attachments(), 0);
}

Test(life, links_made_behind_us_keep_it)
{
	NEEDS_HANDLES();
	nf_file("a", "x", 1);
	nf_sh("ln a b");
	cr_assert_eq(nf_unlink("a", false), 0);
	cr_expect_eq(nf_attachments(), 1);
	nf_finds(0, 9, "b");
	af_is_text("b", "s", "1,0");
}

Test(life, two_names_removed_at_the_same_time)
{
	struct vex_removal a, b;

	nf_file("a", "x", 1);
	cr_assert_eq(nf_link("a", "b"), 0);
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &a), 0);
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "b", &b), 0);
	cr_expect_not(a.last || b.last);
	nf_sh("rm a b");
	vex_engine_unlink_end(eng, &a, 0, false);
	vex_engine_unlink_end(eng, &b, 0, false);
	cr_expect_eq(nf_attachments(), 0);
	cr_expect_eq(nf_nodes(), 1);
}

Test(life, a_failed_unlink_takes_the_intent_back)
{
	struct vex_removal r;
	struct vex_node n;

	nf_file("a", "x", 1);
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &r), 0);
	cr_expect(r.last);
	cr_assert(nf_row(r.node, &n));
	cr_expect_eq(n.state, VEX_GOING);
	vex_engine_unlink_end(eng, &r, -EPERM, false);
	nf_finds(0, 9, "a");
}

Test(life, a_link_during_unlink_saves_it)
{
	struct vex_removal r;

	nf_file("a", "x", 1);
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &r), 0);
	cr_assert_eq(nf_link("a", "b"), 0);
	nf_sh("rm a");
	vex_engine_unlink_end(eng, &r, 0, false);
	nf_finds(0, 9, "b");
}

Test(life, ordinary_files_never_reach_the_catalog)
{
	struct vex_store_status before, after;
	struct vex_removal r;

	nf_file("other", "x", 1);
	af_write("a", "x");
	nf_sh("mkdir d");
	/* Nothing is left that a later commit, or the timer, would do meanwhile. */
	nf_settle();
	cr_assert_eq(vex_store_sync(eng->store, false), 0);
	vex_store_status(eng->store, &before);
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &r), 0);
	cr_expect_eq(r.node, 0);
	vex_engine_unlink_end(eng, &r, 0, false);
	cr_assert_eq(nf_rmdir("d"), 0);
	cr_assert_eq(nf_unlink("none", false), -ENOENT);
	cr_assert_eq(nf_rename("a", "b", 0, false), 0);
	vex_store_status(eng->store, &after);
	cr_expect_eq(before.commits, after.commits);
}

Test(life, directories)
{
	uint64_t nodes = nf_nodes();

	nf_sh("mkdir d");
	nf_file("d/f", "x", 1);
	nf_attach("d", 2);
	cr_assert_eq(nf_rmdir("d"), -ENOTEMPTY);
	nf_finds(0, 9, "d/f d");
	cr_assert_eq(nf_unlink("d/f", false), 0);
	cr_assert_eq(nf_rmdir("d"), 0);
	nf_finds(0, 9, "");
	cr_expect_eq(nf_nodes(), nodes);
	nf_sh("mkdir d");
	nf_file("d/f", "x", 3);
	nf_finds(0, 9, "d/f");
}

Test(life, failed_link_adds_no_name)
{
	uint64_t id;

	nf_file("a", "x", 1);
	af_write("b", "y");
	id = nf_node("a");
	cr_assert_eq(nf_link("a", "b"), -EEXIST);
	cr_expect_eq(nf_names(id), 1);
	cr_assert_eq(nf_link("a", "c"), 0);
	cr_assert_eq(nf_link("a", "c"), -EEXIST);
	cr_expect_eq(nf_names(id), 2, "a link that was there before stays");
}
