/* SPDX-License-Identifier: Apache-2.0 */
/* node.c, copy.c, mark.c, dirset.c: who a file is, whatever was done behind us. */
#include "names_fixture.h"

TestSuite(node, .init = nf_up, .fini = nf_down, .timeout = 60);

#define MARK "user.vexfs._id"

static void no_value(const char *name)
{
	AUTO_BUF struct vex_buf b = { 0 };

	cr_expect_eq(af_get(name, "s", &b), -ENODATA, "%s has one", name);
}

Test(node, files_without_attachments_have_none)
{
	af_write("f", "x");
	cr_expect_eq(nf_node("f"), 0);
	no_value("f");
	cr_expect_eq(nf_nodes(), 1);
}

Test(node, the_mark_is_32_bytes_and_says_who)
{
	uint8_t m[64];
	char path[128];
	uint64_t id;

	nf_file("f", "x", 1);
	snprintf(path, sizeof(path), "%s/f", af_dir);
	cr_assert_eq(getxattr(path, MARK, m, sizeof(m)), 32);
	memcpy(&id, m + 8, 8);
	cr_expect_eq(id, nf_node("f"));
	cr_expect_eq(m[0], 1);
}

Test(node, renamed_behind_us_while_open)
{
	NEEDS_HANDLES();
	nf_file("a", "x", 1);
	nf_sh("mv a b");
	nf_finds(0, 1, "b");
	af_is_text("b", "s", "1,0");
	nf_sh("mkdir d; mv b d/c");
	nf_finds(0, 1, "d/c");
}

Test(node, renamed_behind_us_while_closed)
{
	NEEDS_HANDLES();
	nf_file("a", "x", 1);
	nf_sh("mkdir d; mv a d/b");
	af_again();
	af_is_text("d/b", "s", "1,0");
	nf_finds(0, 1, "d/b");
	nf_sh("mv d e");
	af_again();
	nf_finds(0, 1, "e/b");
}

Test(node, copied_behind_us)
{
	uint64_t a;

	nf_file("a", "x", 1);
	a = nf_node("a");
	nf_sh("cp -a a b");
	nf_finds(0, 2, "a");
	af_is_text("b", "s", "1,0");
	cr_expect_neq(nf_node("b"), a);
	cr_expect_eq(nf_node("a"), a);
	nf_finds(0, 2, "a b");
	nf_attach("b", 2);
	af_is_text("a", "s", "1,0");
	nf_finds(2, 1, "b");
}

Test(node, a_copy_is_given_all_attachments)
{
	float v[6] = { 1, 2, 3, 4, 5, 6 };

	nf_file("a", "x", 1);
	cr_assert_eq(af_set("a", "s.bin", v, 24, 0), 0);
	cr_assert_eq(af_set_text("a", "t.k", "1,2,3"), 0);
	nf_sh("cp -a a b");
	af_is_text("b", "t.k", "1,2,3");
	af_is("b", "s.bin", v, 24);
	cr_expect_eq(nf_attachments(), 6);
}

Test(node, copied_behind_us_then_put_over_the_original)
{
	nf_file("a", "x", 1);
	nf_sh("cp -a a b; mv b a");
	af_is_text("a", "s", "1,0");
	nf_finds(0, 9, "a");
	cr_expect_eq(nf_attachments(), 1);
}

Test(node, a_copy_met_first_does_not_take_the_originals_place)
{
	uint64_t a;

	NEEDS_HANDLES();
	nf_file("a", "x", 1);
	a = nf_node("a");
	nf_sh("cp -a a b; mv a c");
	cr_expect_neq(nf_node("b"), a);
	cr_expect_eq(nf_node("c"), a);
	nf_finds(0, 9, "c b");
}

static void *identify_b(void *arg)
{
	*(uint64_t *)arg = nf_node("b");
	return NULL;
}

Test(node, copies_met_by_many_threads_become_one)
{
	pthread_t t[6];
	uint64_t id[6];

	nf_file("a", "x", 1);
	for (int round = 0; round < 5; round++) {
		nf_sh("cp -a a b");
		for (int i = 0; i < 6; i++)
			pthread_create(&t[i], NULL, identify_b, &id[i]);
		for (int i = 0; i < 6; i++)
			pthread_join(t[i], NULL);
		for (int i = 0; i < 6; i++)
			cr_expect_eq(id[i], id[0]);
		cr_expect_eq(nf_nodes(), 3);
		cr_assert_eq(nf_unlink("b", false), 0);
	}
}

Test(node, replaced_behind_us)
{
	nf_file("a", "x", 1);
	nf_sh("echo new >n; mv n a");
	no_value("a");
	nf_finds(0, 9, "");
	nf_attach("a", 2);
	nf_finds(0, 9, "a");
	af_is_text("a", "s", "2,0");
}

Test(node, a_reused_inode_number_is_another_file)
{
	uint64_t ino;
	int i;

	nf_file("a", "x", 1);
	ino = nf_ino("a");
	for (i = 0; i < 200; i++) {
		nf_sh("rm -f a; echo y >a");
		if (nf_ino("a") == ino)
			break;
	}
	no_value("a");
	nf_finds(0, 9, "");
	cr_log_info("inode number %sreused", i < 200 ? "" : "not ");
}

Test(node, a_lost_mark_is_written_again)
{
	char path[128];

	nf_file("a", "x", 1);
	snprintf(path, sizeof(path), "%s/a", af_dir);
	cr_assert_eq(removexattr(path, MARK), 0);
	nf_finds(0, 9, "a");
	cr_assert_eq(af_set_text("a", "s.two", "2,0"), 0);
	af_is_text("a", "s", "1,0");
	cr_expect_eq(getxattr(path, MARK, NULL, 0), 32);
}

Test(node, foreign_marks_count_as_none)
{
	uint8_t m[32] = { 1 };
	char path[128];
	uint64_t id;

	nf_file("a", "x", 1);
	af_write("b", "y");
	id = nf_node("a");
	memcpy(m + 8, &id, 8);
	snprintf(path, sizeof(path), "%s/b", af_dir);
	cr_assert_eq(setxattr(path, MARK, m, 32, 0), 0);
	no_value("b");
	cr_expect_eq(nf_node("b"), 0);
	nf_attach("b", 2);
	cr_expect_neq(nf_node("b"), id);
	nf_finds(0, 9, "a b");
	m[0] = 9;
	cr_assert_eq(setxattr(path, MARK, m, 32, 0), 0);
	af_write("c", "z");
	snprintf(path, sizeof(path), "%s/c", af_dir);
	cr_assert_eq(setxattr(path, MARK, m, 7, 0), 0);
	no_value("c");
	nf_attach("c", 3);
	af_is_text("c", "s", "3,0");
}

Test(node, restored_without_xattrs_it_is_adopted)
{
	nf_file("a", "hello", 1);
	nf_sh("cp --preserve=timestamps a n; rm a; mv n a");
	nf_finds(0, 9, "a");
	af_is_text("a", "s", "1,0");
	nf_sh("cp --preserve=timestamps a n; echo other >n; rm a; mv n a");
	no_value("a");
	nf_finds(0, 9, "");
}

Test(node, hard_links_share)
{
	nf_file("a", "x", 1);
	cr_assert_eq(nf_link("a", "b"), 0);
	cr_expect_eq(nf_node("a"), nf_node("b"));
	cr_expect_eq(nf_names(nf_node("a")), 2);
	nf_sh("ln a c");
	cr_expect_eq(nf_node("c"), nf_node("a"));
	cr_expect_eq(nf_names(nf_node("a")), 3, "seen under a new name");
	nf_attach("c", 2);
	af_is_text("b", "s", "2,0");
}

Test(node, a_file_without_a_name_becomes_live_when_linked)
{
	struct vex_node n;
	struct af_obj x = { .o = { .dirfd = -1 } };
	uint64_t id;

	x.o.fd = openat(af_root, ".", O_TMPFILE | O_RDWR, 0644);
	if (x.o.fd < 0 && errno == EOPNOTSUPP)
		return;
	x.o.node = &x.node;
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "s", "1,0", 3, 0), 0);
	nf_finds(0, 9, "");
	id = atomic_load(&x.node);
	cr_assert(nf_row(id, &n));
	cr_expect_eq(n.state, VEX_GOING);
	cr_assert_eq(vex_engine_link_begin(eng, &x.o, af_root, "t"), 0);
	cr_assert_eq(
	    linkat(AT_FDCWD, vex_procfd(x.o.fd).path, af_root, "t", AT_SYMLINK_FOLLOW),
	    0);
	vex_engine_link_end(eng, &x.o, af_root, "t", 0);
	nf_finds(0, 9, "t");
	cr_assert(nf_row(id, &n));
	cr_expect_eq(n.state, VEX_LIVE);
	close(x.o.fd);
}

Test(node, a_file_without_a_name_goes_when_released)
{
	struct vex_node n;
	struct af_obj x = { .o = { .dirfd = -1 } };
	uint64_t id;

	x.o.fd = openat(af_root, ".", O_TMPFILE | O_RDWR, 0644);
	if (x.o.fd < 0 && errno == EOPNOTSUPP)
		return;
	x.o.node = &x.node;
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "s", "1,0", 3, 0), 0);
	id = atomic_load(&x.node);
	close(x.o.fd);
	vex_engine_released(eng, id);
	cr_expect_not(nf_row(id, &n));
	cr_expect_eq(nf_attachments(), 0);
}

Test(node, directories)
{
	uint64_t d;

	NEEDS_HANDLES();
	nf_sh("mkdir -p d/e");
	nf_file("d/e/f", "x", 1);
	cr_expect_eq(nf_nodes(), 4, "the root, two directories and a file");
	d = nf_node("d");
	cr_expect_neq(d, 0);
	nf_attach("d", 2);
	cr_expect_eq(nf_node("d"), d);
	nf_finds(0, 9, "d/e/f d");
	nf_sh("mv d g");
	nf_finds(0, 9, "g/e/f g");
	cr_expect_eq(nf_node("g"), d);
	af_again();
	cr_expect_eq(nf_node("g"), d, "known without its handle in memory");
	nf_finds(0, 9, "g/e/f g");
	cr_expect_eq(nf_nodes(), 4);
}

Test(node, directory_copied_behind_us)
{
	nf_sh("mkdir d");
	nf_file("d/f", "x", 1);
	nf_attach("d", 2);
	nf_sh("cp -a d e");
	af_is_text("e", "s", "2,0");
	af_is_text("e/f", "s", "1,0");
	nf_finds(0, 9, "d/f e/f d e");
}

Test(node, directory_replaced_behind_us)
{
	NEEDS_HANDLES();
	nf_sh("mkdir d");
	nf_file("d/f", "x", 1);
	nf_sh("mv d e; mkdir d");
	nf_file("d/f", "y", 2);
	nf_finds(0, 9, "e/f d/f");
	af_again();
	nf_finds(0, 9, "e/f d/f");
}

/* The names of a directory that is gone lead to one that came from elsewhere: that stays
 * the node it is. */
Test(node, a_directory_in_the_place_of_a_lost_one)
{
	uint64_t d, e;

	nf_sh("mkdir d e");
	nf_file("d/a", "x", 1);
	nf_file("e/b", "x", 2);
	d = nf_node("d");
	e = nf_node("e");
	nf_sh("rm -r e; mv d e");
	nf_finds(0, 9, "e/a");
	nf_finds(2, 9, "e/a");
	nf_settle();
	af_again();
	nf_finds(0, 9, "e/a");
	cr_expect_eq(nf_node("e"), d);
	cr_expect_neq(nf_node("e"), e);
	cr_expect_eq(nf_names(nf_node("e/a")), 1);
	nf_attach("e/a", 3);
	nf_finds(3, 9, "e/a");
}
