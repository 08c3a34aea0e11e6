/* SPDX-License-Identifier: Apache-2.0 */
/* A catalog that takes nothing (a full or failing disk): files go and move all the same,
 * are in no search under names that are gone, and are settled later. */
#include "names_fixture.h"
#include <sys/syscall.h>

/* All pwrites of the program come through here: the store's and SQLite's. */
static _Atomic int failing;

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off);
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	if (failing) {
		errno = failing;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, buf, len, off);
}

static void up(void)
{
	nf_up();
	nf_file("a", "x", 1);
	nf_file("b", "x", 2);
	nf_dir("d");
	nf_file("d/c", "x", 3);
	cr_assert_eq(vex_engine_sync(eng), 0);
}

static void down(void)
{
	failing = 0;
	nf_down();
}

TestSuite(late, .init = up, .fini = down, .timeout = 60);

static const int errors[] = { ENOSPC, EIO };

Test(late, unlink)
{
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		nf_file("z", "x", 9);
		failing = errors[i];
		cr_expect_eq(nf_unlink("z", false), 0);
		nf_finds(0, 9, "a b d/c");
		cr_expect_eq(nf_attachments(), 4, "still recorded");
		failing = 0;
		cr_expect_eq(vex_engine_sync(eng), 0);
		cr_expect_eq(nf_attachments(), 3, "settled by the sync");
	}
	failing = ENOSPC;
	cr_expect_eq(nf_unlink("a", false), 0);
	failing = 0;
	cr_expect_eq(nf_unlink("b", false), 0);
	cr_expect_eq(nf_attachments(), 1, "settled by the next one");
	nf_finds(0, 9, "d/c");
}

Test(late, unlink_with_the_intent_recorded)
{
	struct vex_removal r;

	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &r), 0);
	nf_sh("rm a");
	failing = ENOSPC;
	vex_engine_unlink_end(eng, &r, 0, false);
	nf_finds(0, 9, "b d/c");
	failing = 0;
	cr_expect_eq(vex_engine_sync(eng), 0);
	cr_expect_eq(nf_attachments(), 2);
}

Test(late, a_failed_unlink_changes_nothing)
{
	struct vex_removal r;

	failing = ENOSPC;
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &r), 0);
	failing = 0;
	vex_engine_unlink_end(eng, &r, -EPERM, false);
	nf_finds(0, 9, "a b d/c");
	cr_expect_eq(nf_attachments(), 3);
}

Test(late, removed_while_open)
{
	uint64_t node = nf_node("a");
	struct vex_removal r;
	struct vex_node n;

	failing = ENOSPC;
	cr_assert_eq(vex_engine_unlink_begin(eng, af_root, "a", &r), 0);
	failing = 0;
	nf_sh("rm a");
	vex_engine_unlink_end(eng, &r, 0, true);
	cr_assert(nf_row(node, &n));
	cr_expect_eq(n.state, VEX_GOING);
	vex_engine_released(eng, node);
	cr_expect_eq(nf_attachments(), 2);
}

Test(late, rename)
{
	nf_dir("e");
	failing = ENOSPC;
	cr_expect_eq(nf_rename("a", "e/moved", 0, false), 0);
	nf_finds(0, 9, "e/moved b d/c");
	cr_expect_eq(nf_rename("d", "e/d", 0, false), 0);
	nf_finds(0, 9, "e/moved b e/d/c");
	failing = 0;
	af_is_text("e/moved", "s", "1,0");
	nf_finds(0, 9, "e/moved b e/d/c");
	cr_expect_eq(nf_attachments(), 3);
}

Test(late, rename_over_another)
{
	failing = ENOSPC;
	cr_expect_eq(nf_rename("a", "b", 0, false), 0);
	nf_finds(0, 9, "b d/c");
	af_is_text("b", "s", "1,0");
	failing = 0;
	cr_expect_eq(vex_engine_sync(eng), 0);
	cr_expect_eq(nf_attachments(), 2);
	nf_finds(0, 9, "b d/c");
}

/* The new name is recorded by the end, where the begin could not. */
Test(late, rename_that_ends_well)
{
	uint64_t node = nf_node("a");
	struct vex_rename r;

	failing = ENOSPC;
	cr_assert_eq(vex_engine_rename_begin(eng, af_root, "a", af_root, "b", 0, &r), 0);
	failing = 0;
	nf_sh("mv a b");
	vex_engine_rename_end(eng, &r, 0, false);
	cr_expect_eq(nf_names(node), 1);
	cr_expect_eq(nf_attachments(), 2);
	nf_finds(0, 9, "b d/c");
}

Test(late, rmdir_and_link)
{
	cr_assert_eq(nf_rename("d/c", "c", 0, false), 0);
	failing = ENOSPC;
	cr_expect_eq(nf_rmdir("d"), 0);
	cr_expect_eq(nf_link("c", "l"), 0);
	cr_expect_eq(nf_unlink("c", false), 0);
	failing = 0;
	af_is_text("l", "s", "3,0");
	nf_finds(0, 9, "a b l");
}

Test(late, setting_changes_nothing)
{
	failing = ENOSPC;
	cr_expect_eq(af_set("a", "user.vexfs.s", "7,0", 3, 0), -ENOSPC);
	cr_expect_eq(af_set("a", "user.vexfs.new", "7,0", 3, 0), -ENOSPC);
	failing = 0;
	af_is_text("a", "s", "1,0");
	nf_finds(0, 9, "a b d/c");
}

Test(late, settled_at_the_end)
{
	failing = ENOSPC;
	cr_expect_eq(nf_unlink("a", false), 0);
	failing = 0;
	af_again();
	cr_expect_eq(nf_attachments(), 2);
}
