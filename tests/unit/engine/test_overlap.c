/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlap.c: a file gets its first attachment between begin and end of a removal or a
 * rename that found it to be nobody's business.
 */
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "names_fixture.h"

TestSuite(overlap, .init = nf_up, .fini = nf_down, .timeout = 60);

static void attached_while_removed(bool open)
{
	struct vex_removal r;

	af_write("a", "x");
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &r), 0);
	cr_expect_eq(r.node, 0);
	r.obj_fd = openat(af_root, "a", O_PATH);
	nf_attach("a", 1);
	cr_assert_eq(unlinkat(af_root, "a", 0), 0);
	vex_engine_unlink_end(eng, &r, 0, open);
	close(r.obj_fd);
	nf_finds(0, 9, "");
	nf_stale("");
}

Test(overlap, attached_while_removed)
{
	attached_while_removed(false);
	cr_expect_eq(nf_attachments(), 0);
	cr_expect_eq(nf_nodes(), 1);
}

Test(overlap, attached_while_removed_but_open)
{
	struct vex_node n;

	attached_while_removed(true);
	cr_expect_eq(nf_attachments(), 1);
	cr_assert(nf_row(2, &n));
	cr_expect_eq(n.state, VEX_GOING);
	vex_engine_released(eng, 2);
	cr_expect_eq(nf_attachments(), 0);
}

Test(overlap, attached_while_replaced)
{
	struct vex_rename r;

	af_write("a", "x");
	af_write("b", "y");
	cr_assert_eq(vex_engine_rename_begin(eng, af_root, "a", af_root, "b", 0, &r), 0);
	r.victim.obj_fd = openat(af_root, "b", O_PATH);
	int fd = r.victim.obj_fd;
	nf_attach("b", 1);
	cr_assert_eq(renameat(af_root, "a", af_root, "b"), 0);
	vex_engine_rename_end(eng, &r, 0, false);
	close(fd);
	nf_finds(0, 9, "");
	cr_expect_eq(nf_attachments(), 0);
}

/* Whether the catalog has the name, without any help of the backing filesystem. */
static bool recorded(uint64_t parent, const char *name, uint64_t node)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_IDS struct idlist ids = { 0 };

	nf_settle();
	cr_assert_eq(vex_reader_get(eng->store, &r), 0);
	cr_assert_eq(idlist_at(r, parent, name, &ids), 0);
	for (size_t i = 0; i < ids.n; i++)
		if (ids.v[i] == node)
			return true;
	return false;
}

Test(overlap, attached_while_renamed)
{
	struct vex_rename r;

	af_write("a", "x");
	cr_assert_eq(vex_engine_rename_begin(eng, af_root, "a", af_root, "b", 0, &r), 0);
	nf_attach("a", 1);
	cr_assert_eq(renameat(af_root, "a", af_root, "b"), 0);
	vex_engine_rename_end(eng, &r, 0, false);
	cr_expect(recorded(ROOT_NODE, "b", 2));
	nf_finds(0, 9, "b");
}

Test(overlap, attached_below_while_the_directory_is_renamed)
{
	struct vex_rename r;
	uint64_t dir;

	nf_sh("mkdir d");
	af_write("d/a", "x");
	cr_assert_eq(vex_engine_rename_begin(eng, af_root, "d", af_root, "e", 0, &r), 0);
	nf_attach("d/a", 1);
	dir = nf_node("d");
	cr_assert_eq(renameat(af_root, "d", af_root, "e"), 0);
	vex_engine_rename_end(eng, &r, 0, false);
	cr_expect(recorded(ROOT_NODE, "e", dir));
	nf_finds(0, 9, "e/a");
}

Test(overlap, attached_while_exchanged)
{
	struct vex_rename r;
	uint64_t a, b;

	af_write("a", "x");
	af_write("b", "y");
	cr_assert_eq(
	    vex_engine_rename_begin(eng, af_root, "a", af_root, "b", RENAME_EXCHANGE, &r),
	    0);
	nf_attach("a", 1);
	nf_attach("b", 2);
	a = nf_node("a");
	b = nf_node("b");
	cr_assert_eq(syscall(SYS_renameat2, af_root, "a", af_root, "b", RENAME_EXCHANGE),
		     0);
	vex_engine_rename_end(eng, &r, 0, false);
	cr_expect(recorded(ROOT_NODE, "b", a));
	cr_expect(recorded(ROOT_NODE, "a", b));
	nf_finds(0, 9, "b a");
}
