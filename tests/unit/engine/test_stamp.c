/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamp.c: where times of files advance by the tick, no stamp is taken before a later
 * change would show; who serves the mount is asked before one is taken, by whatever way
 * the attachment comes.
 */
#include "names_fixture.h"

#define TICK_NS 10000000ll

TestSuite(stamp, .init = af_up, .fini = af_down, .timeout = 60);

static struct stat stat_of(const char *name)
{
	struct stat st;

	cr_assert_eq(stat(nf_path(name), &st), 0);
	return st;
}

static void expect_stale(const char *name, bool yes)
{
	AUTO_FREE char *info = af_info(name);
	const char *want = yes ? "\"stale\": true" : "\"stale\": false";

	cr_expect(strstr(info, want), "%s: %s", name, info);
}

static void expect_over(const char *name)
{
	struct stat st = stat_of(name);

	cr_expect_geq(vex_now_real(), stamp_of(&st).mtime_ns + TICK_NS, "%s", name);
	expect_stale(name, false);
}

static vex_err put(const char *name, const char *attr)
{
	struct vex_item item = { .path = name, .attr = attr, .value = "1,2", .size = 3 };
	size_t bad;

	return vex_engine_put_items(eng, &af_uid0, &item, 1, &bad);
}

Test(stamp, a_tick_is_waited_for)
{
	float v[2] = { 1, 2 };

	eng->coarse = true;
	af_write("a", "text");
	cr_assert_eq(af_set_text("a", "s", "1,2"), 0);
	expect_over("a");
	/* By the short way: the file is known, and its space. */
	af_write("a", "more");
	cr_assert_eq(af_set("a", "s", v, sizeof(v), 0), 0);
	expect_over("a");
	af_write("b", "text");
	cr_assert_eq(put("b", "s"), 0);
	expect_over("b");
	af_write("c", "");
	cr_assert_eq(af_set_text("c", "s", "1,2"), 0);
	af_write("c", "text");
	cr_assert_eq(af_written("c"), 0);
	expect_over("c");
}

/* A change that no time tells from the one before it: only of such a filesystem. */
Test(stamp, the_probe_knows_this_filesystem)
{
	int fd = openat(af_root, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	unsigned same = 0;
	int64_t was = 0;

	for (int i = 0; i < 2000; i++) {
		struct stat st;

		cr_assert_eq(pwrite(fd, "x", 1, 0), 1);
		cr_assert_eq(fstat(fd, &st), 0);
		same += stamp_of(&st).mtime_ns == was;
		was = stamp_of(&st).mtime_ns;
	}
	close(fd);
	cr_expect_eq(eng->coarse, same > 0, "%u of 2000 writes left the time", same);
}

struct asked {
	unsigned n;
	bool append;
	uint64_t ino;
};

/* What was stored through a mapping moves the time only now. */
static bool written_back(void *arg, const struct stat *st, const struct vex_fh *fh)
{
	struct asked *a = arg;

	a->n++;
	a->ino = st->st_ino;
	cr_expect(fh->len > 0 || !eng->handles);
	if (a->append)
		nf_sh("printf x >>f");
	return a->append;
}

Test(stamp, the_mount_is_asked_first)
{
	struct asked a = { .append = true };

	af_write("f", "text");
	vex_engine_on_stamp(eng, written_back, &a);
	cr_assert_eq(af_set_text("f", "s", "1,2"), 0);
	cr_expect_eq(a.n, 1u);
	cr_expect_eq(a.ino, stat_of("f").st_ino);
	expect_stale("f", false);
	cr_assert_eq(put("f", "s.k"), 0);
	cr_expect_eq(a.n, 2u);
	expect_stale("f", true); /* the first is, by now */
	cr_assert_eq(af_remove("f", "s"), 0);
	expect_stale("f", false);
	a.append = false;
	cr_assert_eq(put("f", "s"), 0);
	cr_expect_eq(a.n, 3u);
	vex_engine_on_stamp(eng, NULL, NULL);
	cr_assert_eq(put("f", "s"), 0);
	cr_expect_eq(a.n, 3u);
}
