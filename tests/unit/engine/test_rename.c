/* SPDX-License-Identifier: Apache-2.0 */
/* rename.c */
#include <linux/fs.h>
#include "names_fixture.h"

TestSuite(rename, .init = nf_up, .fini = nf_down, .timeout = 60);

static bool is_stale(const char *name)
{
	AUTO_FREE char *info = af_info(name);

	return strstr(info, "\"stale\": true") || strstr(info, "\"stale\":true");
}

Test(rename, keeps_attachments)
{
	nf_file("a", "x", 1);
	nf_sh("mkdir d");
	cr_assert_eq(nf_rename("a", "d/b", 0, false), 0);
	nf_finds(0, 9, "d/b");
	af_is_text("d/b", "s", "1,0");
	cr_expect_eq(nf_names(nf_node("d/b")), 1);
	cr_expect_not(is_stale("d/b"));
}

Test(rename, of_a_directory_is_one_row)
{
	struct vex_store_status before, after;
	char name[32];

	nf_sh("mkdir -p d/e");
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "d/e/f%d", i);
		nf_file(name, "x", (float)i);
	}
	vex_store_status(eng->store, &before);
	cr_assert_eq(nf_rename("d", "g", 0, false), 0);
	nf_settle();
	vex_store_status(eng->store, &after);
	/* Not 50: the names, the event, and a sync of the timer may fall between. */
	cr_expect_leq(after.commits - before.commits, 10);
	nf_finds(7, 1, "g/e/f7");
	cr_expect_eq(nf_names(nf_node("g")), 1);
}

Test(rename, over_a_file_replaces_its_attachments)
{
	struct vex_node n;
	uint64_t victim;

	nf_file("a", "new", 1);
	nf_file("b", "old", 2);
	victim = nf_node("b");
	cr_assert_eq(nf_rename("a", "b", 0, false), 0);
	nf_finds(0, 9, "b");
	af_is_text("b", "s", "1,0");
	cr_expect_not(nf_row(victim, &n));
	cr_expect_eq(nf_attachments(), 1);
}

Test(rename, syncs_the_new_before_the_old_goes)
{
	struct vex_store_status st;
	uint64_t lsn;

	nf_file("b", "old", 2);
	nf_file("a", "new", 1);
	vex_store_status(eng->store, &st);
	lsn = st.lsn;
	cr_assert_eq(nf_rename("a", "b", 0, false), 0);
	vex_store_status(eng->store, &st);
	cr_expect_geq(st.durable_lsn, lsn);
}

Test(rename, over_an_open_file)
{
	struct vex_node n;
	uint64_t victim;

	nf_file("a", "new", 1);
	nf_file("b", "old", 2);
	victim = nf_node("b");
	AUTO_OBJ struct af_obj x;
	af_open("b", &x);
	cr_assert_eq(nf_rename("a", "b", 0, true), 0);
	nf_finds(0, 9, "b");
	cr_assert(nf_row(victim, &n));
	cr_expect_eq(n.state, VEX_GOING);
	vex_engine_released(eng, victim);
	cr_expect_not(nf_row(victim, &n));
}

Test(rename, over_one_of_two_links)
{
	nf_file("a", "new", 1);
	nf_file("b", "old", 2);
	cr_assert_eq(nf_link("b", "c"), 0);
	cr_assert_eq(nf_rename("a", "b", 0, false), 0);
	nf_finds(0, 9, "b c");
}

Test(rename, of_a_plain_file_over_one_with_attachments)
{
	af_write("a", "new");
	nf_file("b", "old", 2);
	cr_assert_eq(nf_rename("a", "b", 0, false), 0);
	nf_finds(0, 9, "");
	AUTO_FREE char *list = af_list("b");
	cr_expect_str_eq(list, "");
	cr_expect_eq(nf_attachments(), 1, "kept, for thirty days (test_kept.c)");
}

Test(rename, onto_a_link_of_itself_does_nothing)
{
	nf_file("a", "x", 1);
	cr_assert_eq(nf_link("a", "b"), 0);
	cr_assert_eq(nf_rename("a", "b", 0, false), 0);
	cr_assert_eq(nf_rename("a", "a", 0, false), 0);
	cr_expect_eq(nf_names(nf_node("a")), 2);
	cr_assert_eq(nf_unlink("a", false), 0);
	nf_finds(0, 9, "b");
}

Test(rename, noreplace)
{
	nf_file("a", "x", 1);
	nf_file("b", "y", 2);
	cr_assert_eq(nf_rename("a", "b", RENAME_NOREPLACE, false), -EEXIST);
	nf_finds(0, 9, "a b");
	cr_expect_eq(nf_names(nf_node("a")), 1);
	cr_assert_eq(nf_rename("a", "c", RENAME_NOREPLACE, false), 0);
	nf_finds(0, 9, "c b");
}

Test(rename, exchange)
{
	nf_sh("mkdir d");
	nf_file("a", "x", 1);
	nf_file("d/b", "y", 2);
	cr_assert_eq(nf_rename("a", "d/b", RENAME_EXCHANGE, false), 0);
	nf_finds(0, 9, "d/b a");
	af_is_text("a", "s", "2,0");
	cr_expect_eq(nf_names(nf_node("a")), 1);
	cr_expect_eq(nf_names(nf_node("d/b")), 1);
	cr_assert_eq(nf_rename("a", "d", RENAME_EXCHANGE, false), 0);
	nf_finds(0, 9, "a/b d");
	af_write("plain", "z");
	cr_assert_eq(nf_rename("plain", "d", RENAME_EXCHANGE, false), 0);
	nf_finds(0, 9, "a/b plain");
}

Test(rename, that_fails_is_taken_back)
{
	struct vex_node n;
	struct vex_rename r;

	nf_sh("mkdir -p d/x e/y");
	nf_file("d/f", "x", 1);
	nf_file("e/f", "y", 2);
	cr_assert_eq(nf_rename("d", "e", 0, false), -ENOTEMPTY);
	nf_finds(0, 9, "d/f e/f");
	cr_assert_eq(nf_rename("d", "d/x/z", 0, false), -EINVAL);
	nf_finds(0, 9, "d/f e/f");
	nf_file("a", "x", 3);
	nf_file("b", "y", 4);
	cr_assert_eq(vex_engine_rename_begin(eng, af_root, "a", af_root, "b", 0, &r), 0);
	vex_engine_rename_end(eng, &r, -EIO, false);
	cr_assert(nf_row(nf_node("b"), &n));
	cr_expect_eq(n.state, VEX_LIVE);
	cr_expect_eq(nf_names(nf_node("a")), 1);
	nf_finds(3, 1, "a");
	nf_finds(4, 1, "b");
	cr_assert_eq(nf_rename("none", "x", 0, false), -ENOENT);
}

Test(rename, between_begin_and_end_searches_find_it)
{
	struct vex_rename r;

	nf_file("a", "x", 1);
	cr_assert_eq(vex_engine_rename_begin(eng, af_root, "a", af_root, "b", 0, &r), 0);
	nf_finds(0, 9, "a");
	cr_expect_eq(nf_names(nf_node("a")), 2, "the candidate is not tidied away");
	nf_sh("mv a b");
	nf_finds(0, 9, "b");
	vex_engine_rename_end(eng, &r, 0, false);
	nf_finds(0, 9, "b");
}

Test(rename, directory_over_empty_directory)
{
	nf_sh("mkdir d e");
	nf_file("d/f", "x", 1);
	nf_attach("e", 2);
	cr_assert_eq(nf_rename("d", "e", 0, false), 0);
	nf_finds(0, 9, "e/f");
	cr_expect_eq(nf_attachments(), 1);
}

Test(rename, to_vec_takes_the_content_in)
{
	AUTO_BUF struct vex_buf b = { 0 };

	af_write("tmp", "1,2,3\n");
	cr_assert_eq(nf_rename("tmp", "v.vec", 0, false), 0);
	af_is_text("v.vec", "vec3", "1,2,3\n");
	cr_assert_eq(nf_rename("v.vec", "w.vec", 0, false), 0);
	af_is_text("w.vec", "vec3", "1,2,3\n");
	cr_expect_not(is_stale("w.vec"));
	cr_assert_eq(nf_rename("w.vec", "plain", 0, false), 0);
	cr_expect_eq(af_get("plain", "vec3", &b), 0);
	cr_expect(is_stale("plain"));
	af_write("bad", "no numbers");
	cr_assert_eq(nf_rename("bad", "v.vec", 0, false), 0, "renames do not fail of it");
	AUTO_FREE char *info = af_info("v.vec");
	cr_expect(strstr(info, "EINVAL"), "%s", info);
}

Test(rename, exchange_with_vec)
{
	AUTO_BUF struct vex_buf b = { 0 };

	af_write("a", "1,2\n");
	af_write("b.vec", "3,4,5\n");
	cr_assert_eq(af_written("b.vec"), 0);
	cr_assert_eq(nf_rename("a", "b.vec", RENAME_EXCHANGE, false), 0);
	af_is_text("b.vec", "vec2", "1,2\n");
	cr_expect_eq(af_get("a", "vec3", &b), 0);
	cr_expect(is_stale("a"));
}
