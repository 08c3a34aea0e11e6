/* SPDX-License-Identifier: Apache-2.0 */
/* Durability: what a sync flushes, that callers share it, and that a failed one stays so.
 */
#include "fixture.h"
#include "inject.h"

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	f.opts.sync_interval_ms = 3600 * 1000;
}

static void end(void)
{
	inject_sync_at = inject_write_at = 0;
	fix_end(&f);
}

TestSuite(sync, .init = begin, .fini = end, .timeout = 60);

static struct vex_store_status status(void)
{
	struct vex_store_status st;

	vex_store_status(f.s, &st);
	return st;
}

Test(sync, makes_it_durable_once)
{
	struct vex_space *sp;
	int before;

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	cr_assert_eq(put(&f, sp, new_file(&f), "", 1, 1), 0);
	cr_expect_lt(status().durable_lsn, status().lsn);
	before = count_syncs;
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	cr_expect_eq(count_syncs - before, 1, "the WAL: the row is in it");
	cr_expect_eq(status().durable_lsn, status().lsn);
	before = count_syncs;
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	cr_expect_eq(count_syncs, before, "there was nothing to do");
	/* A change with no number of its own counts as well. */
	new_file(&f);
	cr_expect_eq(vex_store_sync(f.s, true), 0);
	cr_expect_geq(count_syncs - before, 3, "rows, records, the WAL");
	vex_space_unref(sp);
}

Test(sync, whole_takes_in_the_filesystem)
{
	fix_open(&f);
	new_file(&f);
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	cr_expect_eq(count_syncfs, 0);
	cr_expect_eq(vex_store_sync(f.s, true), 0);
	cr_expect_eq(count_syncfs, 1);
	inject_syncfs_errno = EIO;
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	cr_expect_eq(vex_store_sync(f.s, true), -EIO);
	inject_syncfs_errno = 0;
	cr_expect_eq(vex_store_sync(f.s, true), -EIO);
	cr_expect(status().failed);
}

Test(sync, timer)
{
	struct vex_space *sp;

	f.opts.sync_interval_ms = 20;
	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	cr_assert_eq(put(&f, sp, new_file(&f), "", 1, 1), 0);
	for (int i = 0; i < 1000 && status().durable_lsn < status().lsn; i++)
		usleep(10000);
	cr_expect_eq(status().durable_lsn, status().lsn);
	vex_space_unref(sp);
}

Test(sync, always)
{
	struct vex_space *sp;
	uint64_t node;

	f.opts.sync = VEX_SYNC_ALWAYS;
	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	node = new_file(&f);
	for (unsigned i = 0; i < 20; i++) {
		int before = count_syncs;

		cr_assert_eq(put(&f, sp, node, "", i, 1), 0);
		cr_expect_eq(count_syncs - before, 1);
		cr_expect_eq(status().durable_lsn, status().lsn);
	}
	vex_space_unref(sp);
	fix_close(&f);
	f.opts.sync = VEX_SYNC_LAZY;
	fix_open(&f);
	sp = get_space(&f, "words");
	cr_expect_eq(holds(&f, sp, node, "", 19, 1), 0);
	vex_space_unref(sp);
}

/* Whichever flush fails: the sync fails, and from then on nothing is taken. */
Test(sync, failed_stays_failed)
{
	int passed = 0;

	for (int at = 1; !passed; at++) {
		struct vex_space *sp;
		uint64_t node;

		fix_open(&f);
		if (at == 1)
			vex_space_unref(new_space(&f, "words", DIM));
		sp = get_space(&f, "words");
		node = new_file(&f);
		cr_assert_eq(put(&f, sp, node, "", 1, 1), 0);
		inject_sync_errno = EIO;
		inject_sync_at = at;
		passed = vex_store_sync(f.s, true) == 0;
		if (passed) {
			cr_expect_gt(at, 3);
			cr_expect_eq(atomic_exchange(&inject_sync_at, 0) > 0, true);
		} else {
			cr_expect(status().failed, "flush %d", at);
			cr_expect_eq(vex_store_sync(f.s, false), -EIO);
			cr_expect_eq(vex_store_sync(f.s, true), -EIO);
			cr_expect_eq(put(&f, sp, node, "", 2, 1), -EROFS);
			cr_expect_eq(holds(&f, sp, node, "", 1, 1), 0, "still read");
		}
		vex_space_unref(sp);
		fix_close(&f);
		/* Nothing was really lost here, so all of it is there again. */
		fix_open(&f);
		sp = get_space(&f, "words");
		cr_expect_eq(holds(&f, sp, node, "", 1, 1), 0);
		cr_expect_eq(put(&f, sp, node, "", 3, 1), 0);
		vex_space_unref(sp);
		fix_close(&f);
		cr_assert_lt(at, 20);
	}
}

Test(sync, failed_commit_under_always)
{
	struct vex_space *sp;
	uint64_t node;

	f.opts.sync = VEX_SYNC_ALWAYS;
	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	node = new_file(&f);
	inject_sync_errno = EIO;
	inject_sync_at = 1;
	cr_expect_eq(put(&f, sp, node, "", 1, 1), -EIO);
	cr_expect_eq(put(&f, sp, node, "", 1, 1), -EROFS);
	cr_expect_eq(holds(&f, sp, node, "", 1, 1), -ENODATA);
	cr_expect(status().failed);
	vex_space_unref(sp);
}

static void *sync_once(void *arg)
{
	(void)arg;
	cr_assert_eq(vex_store_sync(f.s, true), 0);
	return NULL;
}

/* A flush under way belongs to one sync; the writer, which has its own reason to make
 * all durable (a purge), must not take it for done. */
Test(sync, a_flush_under_way_is_not_done)
{
	struct vex_space *a, *b;
	struct vex_change put_a, drop = { .kind = VEX_SPACE_DROP };
	pthread_t t;

	fix_open(&f);
	a = new_space(&f, "a", DIM);
	b = new_space(&f, "b", DIM);
	cr_assert_eq(make_put(&put_a, a, new_file(&f), "", 1, 1), 0);
	cr_assert_eq(vex_store_commit(f.s, &put_a, 1, NULL), 0);
	inject_sync_hold = 1;
	pthread_create(&t, NULL, sync_once, NULL);
	for (int i = 0; i < 10000 && !count_held; i++)
		usleep(1000);
	cr_assert(count_held);
	drop.space = b;
	cr_assert_eq(vex_store_commit(f.s, &drop, 1, NULL), 0);
	usleep(200000);
	cr_expect_eq(count_held, 1, "the writer waits for the flush, not beside it");
	cr_expect_lt(status().durable_lsn, put_a.lsn);
	inject_sync_hold = 0;
	pthread_join(t, NULL);
	cr_expect_geq(status().durable_lsn, put_a.lsn);
	vex_space_unref(a);
	vex_space_unref(b);
}

#define SYNCERS 8

static void *sync_many(void *arg)
{
	struct vex_space *sp = arg;

	for (int i = 0; i < 20; i++) {
		uint64_t node = new_file(&f);
		struct vex_change c;

		cr_assert_eq(make_put(&c, sp, node, "", 1, 1), 0);
		cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
		cr_assert_eq(vex_store_sync(f.s, i % 5 == 0), 0);
		cr_assert_geq(status().durable_lsn, c.lsn,
			      "my own change, by my own sync");
	}
	return NULL;
}

Test(sync, callers_share)
{
	pthread_t t[SYNCERS];
	struct vex_space *sp;

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	for (int i = 0; i < SYNCERS; i++)
		pthread_create(&t[i], NULL, sync_many, sp);
	for (int i = 0; i < SYNCERS; i++)
		pthread_join(t[i], NULL);
	vex_space_unref(sp);
}

Test(sync, wal_is_bounded)
{
	struct vex_space *sp;
	struct vex_change c[64];

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	for (int i = 0; i < 300; i++) {
		uint64_t node = new_file(&f);
		char key[64][8];

		for (int k = 0; k < 64; k++) {
			snprintf(key[k], sizeof(key[k]), "%d", k);
			cr_assert_eq(make_put(&c[k], sp, node, key[k], 1, 1), 0);
		}
		cr_assert_eq(vex_store_commit(f.s, c, 64, NULL), 0);
	}
	cr_expect_lt(file_size(&f, "catalog.db-wal"), 48 << 20);
	vex_space_unref(sp);
	fix_close(&f);
	fix_open(&f);
	cr_expect_eq(status().attachments, 300u * 64);
}
