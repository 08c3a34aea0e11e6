/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vacant.c, replaced.c: a file made where one with attachments has just gone takes its
 * place, as one renamed over it would; rm alone is deletion.
 */
#include <unistd.h>
#include "names_fixture.h"

TestSuite(replaced, .init = nf_up, .fini = nf_down, .timeout = 60);

/* As fs does: makes it, then says so. */
static void make(const char *name, const char *content)
{
	AUTO_FREE char *copy = strdup(name);
	char *slash = strrchr(copy, '/');
	int dir = af_root;

	af_write(name, content);
	if (slash) {
		*slash = 0;
		dir = openat(af_root, copy, O_PATH | O_DIRECTORY);
	}
	vex_engine_made(eng, dir, slash ? slash + 1 : name);
	if (slash)
		close(dir);
}

static uint64_t reattached(const char *name)
{
	uint64_t n = 0;
	vex_err err = vex_engine_reattach(eng, &af_uid0, name, &n);

	cr_expect_eq(err, n ? 0 : -ENODATA, "%s", strerror(-err));
	return n;
}

Test(replaced, unlinked_and_made_again)
{
	nf_sh("mkdir d");
	nf_file("d/b", "old", 2);
	cr_assert_eq(af_set_text("d/b", "s.key", "3,4"), 0);
	cr_assert_eq(nf_unlink("d/b", false), 0);
	nf_stale("");
	cr_expect_eq(nf_rows(), 0);
	make("d/b", "new content");
	nf_stale("d/b:1");
	cr_expect_eq(nf_rows(), 0);
	nf_finds(0, 9, "");
	cr_expect_eq(reattached("d/b"), 2);
	nf_finds(0, 9, "d/b");
	af_is_text("d/b", "s", "2,0");
	af_is_text("d/b", "s.key", "3,4");
	cr_expect_eq(nf_rows(), 2);
	nf_stale("d/b:0");
	cr_expect_eq(reattached("d/b"), 0);
}

Test(replaced, removed_alone_it_is_gone)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_unlink("b", false), 0);
	nf_stale("");
	make("c", "another name");
	nf_stale("");
	cr_expect_eq(nf_attachments(), 0);
	cr_expect_eq(nf_nodes(), 1);
}

Test(replaced, too_late)
{
	nf_file("b", "old", 2);
	vacants_hold(eng->vacants, 1);
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "new");
	nf_stale("");
	cr_expect_eq(reattached("b"), 0);
	cr_expect_eq(nf_attachments(), 0);
}

Test(replaced, once)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "new");
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "newer");
	nf_stale("b:1");
	cr_expect_eq(nf_attachments(), 1);
	cr_expect_eq(reattached("b"), 1);
}

/* Written in the moment of the old one's last change, it has its size and time. */
Test(replaced, it_never_passes_for_the_old_one)
{
	nf_file("b", "old", 2);
	nf_sh("touch -r b ../$(basename $PWD).time");
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "new");
	nf_sh("touch -r ../$(basename $PWD).time b; rm ../$(basename $PWD).time");
	nf_finds(0, 9, "");
	nf_stale("b:1");
}

/* One that was there for a while may come back out of an archive. */
Test(replaced, restored_it_is_the_old_one)
{
	af_write("b", "old");
	nf_sh("touch -d 2020-01-01 b");
	nf_attach("b", 2);
	nf_sh("cp -p --no-preserve=xattr b ../$(basename $PWD).saved");
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "");
	nf_sh("cp -p ../$(basename $PWD).saved b; rm ../$(basename $PWD).saved");
	nf_finds(0, 9, "b");
	nf_stale("");
}

Test(replaced, survives_a_remount)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "new");
	af_again();
	nf_stale("b:1");
	cr_expect_eq(nf_rows(), 0);
	cr_expect_eq(reattached("b"), 1);
	nf_finds(0, 9, "b");
}

/* As vim: away, a new one, the old one removed. */
Test(replaced, moved_away_made_again_and_removed)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_rename("b", "b~", 0, false), 0);
	make("b", "new");
	nf_finds(0, 9, "b~");
	nf_stale("");
	cr_assert_eq(nf_unlink("b~", false), 0);
	nf_stale("b:1");
	cr_expect_eq(reattached("b"), 1);
	nf_finds(0, 9, "b");
}

Test(replaced, moved_away_removed_and_made_again)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_rename("b", "b~", 0, false), 0);
	cr_assert_eq(nf_unlink("b~", false), 0);
	nf_stale("");
	make("b", "new");
	nf_stale("b:1");
}

/* mv is no removal: what moved has its attachments. */
Test(replaced, moved_and_made_again)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_rename("b", "c", 0, false), 0);
	make("b", "new");
	nf_stale("");
	nf_finds(0, 9, "c");
}

Test(replaced, by_a_rename_or_a_link)
{
	nf_file("b", "old", 2);
	nf_file("c", "old", 3);
	cr_assert_eq(nf_unlink("b", false), 0);
	cr_assert_eq(nf_unlink("c", false), 0);
	af_write("tmp", "new");
	cr_assert_eq(nf_link("tmp", "c"), 0);
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	nf_stale("c:1 b:1");
}

Test(replaced, by_a_file_with_its_own)
{
	nf_file("b", "old", 2);
	nf_file("tmp", "new", 3);
	cr_assert_eq(nf_unlink("b", false), 0);
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	nf_stale("");
	cr_expect_eq(nf_attachments(), 1);
}

Test(replaced, a_directory_is_no_replacement)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_unlink("b", false), 0);
	nf_sh("mkdir b");
	nf_stale("");
	cr_expect_eq(nf_attachments(), 0);
}

Test(replaced, while_the_old_one_is_open)
{
	nf_file("b", "old", 2);
	AUTO_OBJ struct af_obj x;
	af_open("b", &x);
	atomic_store(&x.node, nf_node("b"));
	cr_assert_eq(nf_unlink("b", true), 0);
	make("b", "new");
	nf_stale("b:1");
	vex_engine_released(eng, atomic_load(&x.node));
	nf_stale("b:1");
	cr_expect_eq(nf_attachments(), 1);
}

/* What a replacement had taken away before goes the same way. */
Test(replaced, with_what_it_had_replaced)
{
	nf_file("b", "old", 2);
	af_write("tmp", "new");
	cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
	cr_assert_eq(af_set_text("b", "s.other", "5,6"), 0);
	nf_stale("b:1");
	cr_assert_eq(nf_unlink("b", false), 0);
	nf_stale("");
	make("b", "newer");
	cr_expect_eq(nf_attachments(), 2);
	while (reattached("b"))
		;
	af_is_text("b", "s", "2,0");
	af_is_text("b", "s.other", "5,6");
}

Test(replaced, more_than_are_remembered)
{
	char name[32];

	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		nf_file(name, "x", (float)i);
	}
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		cr_assert_eq(nf_unlink(name, false), 0);
	}
	cr_expect_eq(nf_attachments(), 0);
	make("f0", "forgotten");
	make("f1099", "remembered");
	nf_stale("f1099:1");
	cr_expect_eq(nf_attachments(), 1);
}

/* Nothing was attached or removed that anybody knew of: one attach, one detach. */
Test(replaced, events_tell_of_the_removal_alone)
{
	AUTO_BUF struct vex_buf b = { 0 };
	uint64_t after = 0;
	unsigned attached = 0, detached = 0;

	nf_file("b", "old", 2);
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "new");
	nf_settle();
	cr_assert_eq(vex_engine_events(eng, &af_uid0, &after, &b), 0);
	vex_buf_add(&b, "", 1);
	for (const char *p = b.data; (p = strstr(p, "\"event\":\"attach\"")); p++)
		attached++;
	for (const char *p = b.data; (p = strstr(p, "\"event\":\"detach\"")); p++)
		detached++;
	cr_expect_eq(attached, 1, "%s", b.data);
	cr_expect_eq(detached, 1, "%s", b.data);
}

/* Made and attached again, it needs nothing of before: that goes at once. */
Test(replaced, attached_anew_nothing_is_kept)
{
	nf_file("b", "old", 2);
	cr_assert_eq(af_set_text("b", "s.key", "3,4"), 0);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(nf_unlink("b", false), 0);
		make("b", "new");
		nf_attach("b", (float)i);
		cr_expect_eq(nf_rows(), 1);
		cr_expect_eq(nf_attachments(), 3, "the other key is not there yet");
		cr_assert_eq(af_set_text("b", "s.key", "3,4"), 0);
		cr_expect_eq(nf_attachments(), 2);
	}
	nf_stale("");
	cr_expect_eq(nf_nodes(), 2);
}

/* The same of a rename over it, and after a remount. */
Test(replaced, attached_anew_after_a_remount)
{
	for (int i = 0; i < 3; i++) {
		nf_file("b", "old", 2);
		af_write("tmp", "new");
		cr_assert_eq(nf_rename("tmp", "b", 0, false), 0);
		af_again();
		nf_stale("b:1");
		nf_attach("b", 3);
		cr_expect_eq(nf_attachments(), 1);
		nf_stale("");
	}
}

static vex_err take_kept(void *arg, const struct vex_kept *k)
{
	*(struct vex_kept *)arg = *k;
	return 0;
}

/* As if it had been replaced so many days ago. */
static void age_all(int days)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_change c = { .kind = VEX_KEEP };

	cr_assert_eq(vex_reader_get(eng->store, &r), 0);
	cr_assert_eq(vex_read_kept_after(r, 0, 1, take_kept, &c.kept), 0);
	c.node = c.kept.node;
	c.kept.since_ns = (int64_t)vex_now_real() - days * 86400000000000ll;
	cr_assert_eq(vex_store_commit(eng->store, &c, 1, NULL), 0);
}

static uint64_t purged(void)
{
	struct vex_scan n = { 0 };

	while (n.stage != VEX_SCAN_DONE)
		cr_assert_eq(vex_engine_scan(eng, &n), 0);
	return n.purged;
}

Test(replaced, thirty_days)
{
	nf_file("b", "old", 2);
	cr_assert_eq(nf_unlink("b", false), 0);
	make("b", "new");
	age_all(29);
	cr_expect_eq(purged(), 0);
	nf_stale("b:1");
	age_all(31);
	nf_stale("");
	cr_expect_eq(purged(), 1);
	cr_expect_eq(nf_attachments(), 0);
}
