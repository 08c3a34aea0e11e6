/* SPDX-License-Identifier: Apache-2.0 */
/* Backups of a store in use: pieces put together are a store of one moment. */
#include <sys/statvfs.h>
#include "fixture.h"
#include "inject.h"
#include "store_i.h"

static struct fix f, to;
static uint64_t node[200];

static void begin(void)
{
	struct vex_space *sp;

	fix_begin(&f);
	fix_begin(&to);
	fix_open(&f);
	sp = new_space(&f, "a", DIM);
	for (unsigned i = 0; i < 200; i++) {
		node[i] = new_file(&f);
		cr_assert_eq(put(&f, sp, node[i], "", i, i % 3 + 1), 0);
	}
	vex_space_unref(sp);
}

static void end(void)
{
	inject_alloc_at = 0;
	fix_end(&f);
	fix_end(&to);
}

TestSuite(backup, .init = begin, .fini = end, .timeout = 120);

static void write_piece(const struct vex_piece *p, const void *buf)
{
	char path[128];
	int fd;

	if (p->file == VEX_PIECE_CATALOG)
		snprintf(path, sizeof(path), ".vexfs/catalog.db");
	else
		snprintf(path, sizeof(path), ".vexfs/spaces/%u.%s", p->space,
			 p->file == VEX_PIECE_ROWS ? "rows" : "recs");
	fd = openat(to.rootfd, path, O_WRONLY | O_CREAT, 0600);
	cr_assert_geq(fd, 0);
	if (p->file == VEX_PIECE_CATALOG && !p->off)
		cr_assert_eq(ftruncate(fd, 0), 0);
	cr_assert_eq(pwrite(fd, buf, p->len, (off_t)p->off), (ssize_t)p->len);
	close(fd);
}

/* All pieces; `between` is called after the first of them. Returns the lsn. */
static uint64_t take(uint64_t since, size_t room, void (*between)(void), uint64_t *rows)
{
	AUTO_FREE char *buf = malloc(room);
	struct vex_backup_info info;
	struct vex_backup *b;
	struct vex_piece p;

	mkdirat(to.rootfd, ".vexfs", 0700);
	mkdirat(to.rootfd, ".vexfs/spaces", 0700);
	cr_assert_eq(vex_backup_open(f.s, since, &b), 0);
	vex_backup_info(b, &info);
	if (between)
		between();
	for (;;) {
		cr_assert_eq(vex_backup_next(b, buf, room, &p), 0);
		if (p.file == VEX_PIECE_END)
			break;
		cr_assert_leq(p.len, room);
		write_piece(&p, buf);
	}
	*rows = p.off;
	vex_backup_close(b);
	return info.lsn;
}

static void holds_there(unsigned n, uint64_t plus)
{
	struct vex_space *sp;

	fix_open(&to);
	cr_expect(!*to.problem.text, "%s", to.problem.text);
	sp = get_space(&to, "a");
	for (unsigned i = 0; i < n; i++)
		cr_expect_eq(holds(&to, sp, node[i], "", i + plus, i % 3 + 1), 0, "%u",
			     i);
	vex_space_unref(sp);
	fix_close(&to);
}

Test(backup, is_a_store)
{
	uint64_t rows;

	take(0, VEX_PIECE_MIN, NULL, &rows);
	cr_expect_eq(rows, 67u * 1 + 67 * 2 + 66 * 3);
	holds_there(200, 0);
}

static void change_all(void)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, "a");
	uint64_t moved;

	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 200; i++)
			cr_assert_eq(put(&f, sp, node[i], "", i + 1000, i % 3 + 1), 0);
		cr_assert_eq(vex_store_sync(f.s, false), 0);
	}
	for (unsigned i = 0; i < 200; i += 2)
		cr_assert_eq(delete (&f, sp, node[i], ""), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	cr_assert_eq(vex_space_pack(sp, 1000, &moved), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	vex_space_trim(sp, &moved);
}

/* Replaced, removed, moved, cut while it is read: it is the moment it was opened at. */
Test(backup, of_one_moment_while_all_changes)
{
	uint64_t rows;

	take(0, VEX_PIECE_MIN, change_all, &rows);
	holds_there(200, 0);
}

Test(backup, again_brings_what_changed)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, "a");
	uint64_t rows, lsn = take(0, 1 << 20, NULL, &rows);

	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(put(&f, sp, node[i], "", i + 7, i % 3 + 1), 0);
	take(lsn, 1 << 20, NULL, &rows);
	cr_expect_eq(rows, 4u + 3 * 2 + 3 * 3);
	holds_there(10, 7);
	/* Of a number that was never given out: all of it. */
	take(lsn + 1000000, 1 << 20, NULL, &rows);
	cr_expect_gt(rows, 300u);
}

/* Moved rows keep their numbers: the next backup must bring them all the same. */
Test(backup, again_after_a_compaction)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, "a");
	uint64_t rows, moved, all = 0, lsn;

	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(delete (&f, sp, node[i], ""), 0);
	lsn = take(0, 1 << 20, NULL, &rows);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	do {
		cr_assert_eq(vex_space_pack(sp, 1000, &moved), 0);
		all += moved;
	} while (moved);
	cr_assert_gt(all, 0u);
	take(lsn, 1 << 20, NULL, &rows);
	fix_open(&to);
	AUTO_SPACE struct vex_space *copy = get_space(&to, "a");
	for (unsigned i = 100; i < 200; i++)
		cr_expect_eq(holds(&to, copy, node[i], "", i, i % 3 + 1), 0, "%u", i);
}

/* Each allocation in turn fails: an error or a backup, never a crash, and the store
 * goes on. */
Test(backup, without_memory)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, "a");
	AUTO_FREE char *buf = malloc(VEX_PIECE_MIN);
	unsigned worked = 0;

	for (int at = 1; at < 2000 && worked < 3; at++) {
		struct vex_backup *b = NULL;
		struct vex_piece p = { .file = VEX_PIECE_CATALOG };
		vex_err err;

		inject_alloc_at = at;
		err = vex_backup_open(f.s, 0, &b);
		while (!err && p.file != VEX_PIECE_END)
			err = vex_backup_next(b, buf, VEX_PIECE_MIN, &p);
		worked += inject_alloc_at > 0;
		inject_alloc_at = 0;
		cr_expect(!err || err == -ENOMEM || err == -EIO, "%d: %s", at,
			  strerror(-err));
		if (b)
			vex_backup_close(b);
	}
	cr_expect_eq(worked, 3u);
	cr_expect_eq(holds(&f, sp, node[5], "", 5, 3), 0);
	cr_expect_eq(put(&f, sp, node[5], "", 6, 1), 0);
}

/* The same of moving rows and giving room back. */
Test(backup, compaction_without_memory)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, "a");
	uint64_t moved, held;
	unsigned worked = 0;

	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(delete (&f, sp, node[i], ""), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	for (int at = 1; at < 300 && worked < 3; at++) {
		vex_err err;

		inject_alloc_at = at;
		err = vex_space_pack(sp, 4, &moved);
		worked += inject_alloc_at > 0;
		inject_alloc_at = 0;
		cr_expect(!err || err == -ENOMEM || err == -EIO, "%d: %s", at,
			  strerror(-err));
		vex_space_trim(sp, &held);
	}
	cr_expect_eq(worked, 3u);
	for (unsigned i = 100; i < 200; i++)
		cr_expect_eq(holds(&f, sp, node[i], "", i, i % 3 + 1), 0, "%u", i);
}

/* Each write in turn finds the disk full: nothing is lost, and it can be tried again. */
Test(backup, compaction_on_a_full_disk)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, "a");
	uint64_t moved, all = 0;

	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(delete (&f, sp, node[i], ""), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	inject_write_errno = ENOSPC;
	for (int at = 1; at < 60; at++) {
		vex_err err;

		inject_write_at = at;
		err = vex_space_pack(sp, 2, &moved);
		inject_write_at = 0;
		all += moved;
		cr_expect(!err || err == -ENOSPC || err == -EIO, "%d: %s", at,
			  strerror(-err));
	}
	cr_expect_gt(all, 0u);
	for (unsigned i = 100; i < 200; i++)
		cr_expect_eq(holds(&f, sp, node[i], "", i, i % 3 + 1), 0, "%u", i);
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	fix_close(&f);
	fix_open(&f);
	cr_expect(!*f.problem.text, "%s", f.problem.text);
}
