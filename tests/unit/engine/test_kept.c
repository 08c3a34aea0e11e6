/* SPDX-License-Identifier: Apache-2.0 */
/* kept.c, stale.c, reattach.c, scan.c: attachments whose file is not there */
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>
#include "kept_i.h"
#include "names_fixture.h"

TestSuite(kept, .init = nf_up, .fini = nf_down, .timeout = 60);

static struct vex_scan scan(void)
{
	struct vex_scan n = { 0 };

	while (n.stage != VEX_SCAN_DONE)
		cr_assert_eq(vex_engine_scan(eng, &n), 0);
	return n;
}

/* As if it had been missed first so many days ago. */
static void age(uint64_t node, int days)
{
	struct vex_change c = { .kind = VEX_KEEP,
				.node = node,
				.kept = { .why = VEX_KEPT_REPLACED,
					  .since_ns = (int64_t)vex_now_real() -
						      days * 86400000000000ll } };

	cr_assert_eq(vex_store_commit(eng->store, &c, 1, NULL), 0);
}

static vex_err reattach(const char *path, uint64_t *n)
{
	return vex_engine_reattach(eng, &af_uid0, path, n);
}

static void replaced(const char *name, float x)
{
	nf_file(name, "old content", x);
	af_write("tmp", "new");
	cr_assert_eq(nf_rename("tmp", name, 0, false), 0);
}

Test(kept, a_replacement_keeps)
{
	uint64_t n;

	replaced("b", 2);
	nf_finds(0, 9, "");
	nf_stale("b:1");
	cr_assert_eq(reattach("b", &n), 0);
	cr_expect_eq(n, 1);
	nf_finds(0, 9, "b");
	nf_stale("b:0");
	cr_expect_eq(nf_attachments(), 1);
	cr_expect_eq(reattach("b", &n), -ENODATA);
}

/* Same size, and the same time because the clock has not ticked. */
Test(kept, a_replacement_of_that_very_moment_is_no_return)
{
	nf_file("b", "old", 2);
	af_write("tmp", "new");
	nf_sh("touch -r b tmp");
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	nf_finds(0, 9, "");
	nf_stale("b:1");
}

Test(kept, while_it_is_open)
{
	uint64_t n;

	nf_file("b", "old", 2);
	AUTO_OBJ struct af_obj x;
	af_open("b", &x);
	af_write("tmp", "new");
	cr_assert_eq(nf_rename("tmp", "b", 0, true), 0);
	vex_engine_released(eng, atomic_load(&x.node));
	nf_stale("b:1");
	cr_assert_eq(reattach("b", &n), 0);
	nf_finds(0, 9, "b");
}

Test(kept, a_rename_that_fails_keeps_nothing)
{
	struct vex_rename r;

	nf_file("b", "old", 2);
	af_write("tmp", "new");
	cr_assert_eq(vex_engine_rename_begin(eng, af_root, "tmp", af_root, "b", 0, &r),
		     0);
	vex_engine_rename_end(eng, &r, -EIO, false);
	nf_stale("");
	nf_finds(0, 9, "b");
	cr_expect_eq(scan().purged, 0);
	nf_finds(0, 9, "b");
}

Test(kept, over_one_of_two_links)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_link("b", "c"), 0);
	af_write("tmp", "new");
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	nf_finds(0, 9, "c");
	nf_stale("");
}

Test(kept, thirty_days)
{
	struct vex_node row;
	uint64_t node, n;

	nf_file("b", "old", 2);
	node = nf_node("b");
	af_write("tmp", "new");
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	age(node, 29);
	nf_stale("b:1");
	cr_expect_eq(scan().purged, 0);
	cr_expect(nf_row(node, &row));
	age(node, 31);
	nf_stale("");
	cr_expect_eq(scan().purged, 1);
	cr_expect_not(nf_row(node, &row));
	cr_expect_eq(nf_attachments(), 0);
	cr_expect_eq(reattach("b", &n), -ENODATA);
}

Test(kept, what_is_there_is_never_purged)
{
	nf_file("b", "x", 2);
	age(nf_node("b"), 1000);
	cr_expect_eq(scan().purged, 0);
	nf_finds(0, 9, "b");
	age(nf_node("b"), 1000);
	nf_sh("mv b b2");
	cr_expect_eq(scan().purged, 0);
	nf_finds(0, 9, "b2");
}

Test(kept, vanished_and_back)
{
	struct vex_scan n;

	nf_sh("mkdir d");
	nf_file("d/b", "x", 2);
	nf_sh("mkdir ../$(basename $PWD).away && cp -p d/b ../$(basename $PWD).away/ && "
	      "rm d/b");
	nf_stale("d/b:2");
	n = scan();
	cr_expect_eq(n.missing, 1);
	nf_sh("rmdir d");
	nf_stale("d/b:2");
	nf_sh("mkdir d && cp -p ../$(basename $PWD).away/b d/ && "
	      "rm -r ../$(basename $PWD).away");
	n = scan();
	cr_expect_eq(n.missing, 0);
	cr_expect_eq(n.returned, 1);
	nf_finds(0, 9, "d/b");
	nf_stale("");
}

/* In a mount namespace of its own: whatever becomes of the test, nothing stays mounted.
 */
static void away_up(void)
{
	if (!geteuid() &&
	    (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)))
		cr_skip_test("no mount namespace");
	nf_up();
}

TestSuite(away, .init = away_up, .fini = nf_down, .timeout = 60);

/* Another filesystem in STORE is away, then another disk is in its place: nothing of what
 * was on it is purged, whatever its time; it is back with the disk. */
Test(away, a_disk_that_is_not_mounted)
{
	struct vex_node row;
	uint64_t node;

	NEEDS_ROOT();
	nf_sh("mkdir disk disk.a disk.b && mount -t tmpfs vexfs-test disk.a && "
	      "mount -t tmpfs vexfs-test disk.b && mount --bind disk.a disk");
	nf_sh("mkdir disk/d disk.b/d");
	nf_file("disk/d/b", "x", 2);
	node = nf_node("disk/d/b");
	nf_sh("umount -l disk");
	age(node, 1000);
	cr_expect_eq(scan().purged, 0, "not mounted");
	nf_finds(0, 9, "");
	af_again();
	cr_expect(nf_row(node, &row), "nor at a mount");
	nf_sh("mount --bind disk.b disk");
	age(node, 1000);
	cr_expect_eq(scan().purged, 0, "another disk");
	cr_expect(nf_row(node, &row));
	nf_sh("umount -l disk && mount --bind disk.a disk");
	age(node, 1000);
	cr_expect_eq(scan().purged, 0, "the disk");
	nf_finds(0, 9, "disk/d/b");
	/* Gone from that disk, beside another that is there. */
	nf_file("disk/d/c", "y", 3);
	nf_sh("rm disk/d/b");
	age(node, 1000);
	cr_expect_eq(scan().purged, 1);
	cr_expect_not(nf_row(node, &row));
	nf_finds(0, 9, "disk/d/c");
}

Test(kept, a_removed_path_is_forgotten)
{
	replaced("b", 2);
	nf_attach("b", 3);
	nf_stale("");
	cr_assert_eq(nf_unlink("b", false), 0);
	nf_stale("");
	cr_expect_eq(nf_attachments(), 0);
}

Test(kept, not_told_to_those_who_could_not_read)
{
	NEEDS_ROOT();
	nf_file("b", "x", 2);
	nf_sh("chmod 755 . && chmod 600 b");
	af_write("tmp", "new");
	nf_sh("chmod 644 tmp");
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	nf_stale("b:1");
	nf_stale_as(&af_nobody, "");
	uint64_t n;
	nf_sh("chmod 666 b");
	cr_expect_eq(vex_engine_reattach(eng, &af_nobody, "b", &n), -ENODATA);
}

Test(kept, survives_a_remount)
{
	uint64_t n;

	replaced("b", 2);
	af_again();
	nf_stale("b:1");
	cr_assert_eq(reattach("b", &n), 0);
	nf_finds(0, 9, "b");
}

Test(kept, the_next_mount_purges_as_well)
{
	struct vex_node row;
	uint64_t old, young;

	nf_file("b", "old", 2);
	nf_file("c", "old", 3);
	nf_file("d", "there", 4);
	old = nf_node("b");
	young = nf_node("c");
	age(nf_node("d"), 31);
	af_write("tmp", "new");
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	af_write("tmp", "new");
	cr_assert_eq(nf_rename("tmp", "c", 0, false), 0);
	age(old, 31);
	age(young, 29);
	af_again();
	cr_expect_not(nf_row(old, &row));
	cr_expect(nf_row(young, &row));
	nf_finds(0, 9, "d");
	nf_stale("c:1");
}
