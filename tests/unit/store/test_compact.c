/* SPDX-License-Identifier: Apache-2.0 */
/* Space comes back: freed slots are used again, files shrink while they are in use. */
#include "fixture.h"
#include "store_i.h"

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	fix_open(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(compact, .init = begin, .fini = end, .timeout = 120);

#define WIDE 128u
#define FILES 4000u

static uint64_t node[FILES];

static uint64_t disk(struct fix *x)
{
	static const char *const names[] = { "spaces/1.rows", "spaces/1.recs" };
	uint64_t sum = 0;

	for (int i = 0; i < 2; i++) {
		char path[160];
		struct stat st;

		snprintf(path, sizeof(path), "%s/.vexfs/%s", x->dir, names[i]);
		cr_assert_eq(stat(path, &st), 0);
		sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

/* One file a slot; then all but every tenth are deleted. */
static struct vex_space *sparse(void)
{
	struct vex_space *sp = new_space(&f, "a", WIDE);

	for (unsigned i = 0; i < FILES; i++) {
		node[i] = new_file(&f);
		cr_assert_eq(put(&f, sp, node[i], "", i, 1), 0);
	}
	for (unsigned i = 0; i < FILES; i++)
		if (i % 10)
			cr_assert_eq(delete (&f, sp, node[i], ""), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	return sp;
}

static void tenth_holds(struct vex_space *sp)
{
	for (unsigned i = 0; i < FILES; i++)
		cr_expect_eq(holds(&f, sp, node[i], "", i, 1), i % 10 ? -ENODATA : 0,
			     "%u", i);
}

static void pack_all(struct vex_space *sp)
{
	uint64_t moved, held = 1;

	do
		cr_assert_eq(vex_space_pack(sp, 100, &moved), 0);
	while (moved);
	for (int i = 0; i < 50 && held; i++) {
		cr_assert_eq(vex_store_sync(f.s, false), 0);
		vex_space_trim(sp, &held);
	}
	cr_expect_eq(held, 0u);
}

Test(compact, files_shrink_to_what_is_live)
{
	AUTO_SPACE struct vex_space *sp = sparse();
	uint64_t packed = FILES / 10 * (WIDE * 4 + sizeof(struct fmt_rec));

	pack_all(sp);
	tenth_holds(sp);
	cr_expect_lt(disk(&f), packed + (256u << 10), "%llu bytes, %llu packed",
		     (unsigned long long)disk(&f), (unsigned long long)packed);
	cr_expect_lt((uint64_t)file_size(&f, "spaces/1.rows"),
		     FILES / 10 * WIDE * 4 + (256u << 10));
	cr_expect_gt(vex_space_moved(sp), 0u);
}

Test(compact, what_was_moved_is_there_after_a_restart)
{
	struct vex_space *sp = sparse();
	uint64_t moved;

	pack_all(sp);
	moved = vex_space_moved(sp);
	vex_space_unref(sp);
	fix_close(&f);
	fix_open(&f);
	sp = get_space(&f, "a");
	cr_expect_eq(vex_space_moved(sp), moved);
	tenth_holds(sp);
	/* And the files grow again. */
	for (unsigned i = 0; i < FILES; i++)
		cr_assert_eq(put(&f, sp, node[i], "new", i, 1), 0);
	for (unsigned i = 0; i < FILES; i++)
		cr_expect_eq(holds(&f, sp, node[i], "new", i, 1), 0, "%u", i);
	tenth_holds(sp);
	vex_space_unref(sp);
}

/* A view from before sees each row where it was, and can check it. */
Test(compact, a_view_keeps_what_it_saw)
{
	AUTO_SPACE struct vex_space *sp = sparse();
	AUTO_READER struct vex_reader *r = NULL;
	uint64_t moved, held, seen = 0;
	struct vex_view v;

	cr_assert_eq(vex_view_open(sp, &v), 0);
	do
		cr_assert_eq(vex_space_pack(sp, 1000, &moved), 0);
	while (moved);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	vex_space_trim(sp, &held);
	cr_expect_gt(held, 0u);
	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	for (uint64_t slot = 0; slot < v.slots; slot++) {
		struct vex_attach a;
		struct vex_slot s;

		if (!vex_view_live(&v, slot))
			continue;
		vex_view_slot(&v, slot, &s);
		cr_assert_eq(vex_read_attach_lsn(r, s.lsn, &a), 0);
		cr_expect_eq(vex_view_verify(&v, slot, &a), 0, "slot %llu",
			     (unsigned long long)slot);
		seen++;
	}
	cr_expect_eq(seen, FILES / 10);
	vex_view_close(&v);
	pack_all(sp);
	tenth_holds(sp);
}

Test(compact, several_rows_move_together)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "a", WIDE);
	uint64_t n[300];

	for (unsigned i = 0; i < 300; i++) {
		n[i] = new_file(&f);
		cr_assert_eq(put(&f, sp, n[i], "k", i, i % 7 + 1), 0);
	}
	for (unsigned i = 0; i < 300; i++)
		if (i % 3)
			cr_assert_eq(delete (&f, sp, n[i], "k"), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	pack_all(sp);
	for (unsigned i = 0; i < 300; i += 3)
		cr_expect_eq(holds(&f, sp, n[i], "k", i, i % 7 + 1), 0, "%u", i);
}

Test(compact, a_damaged_row_stays_where_it_is)
{
	struct vex_space *sp = sparse();
	uint64_t last = FILES - 10;

	vex_space_unref(sp);
	fix_close(&f);
	flip(&f, "spaces/1.rows", (long)(FMT_HEAD + last * WIDE * 4 + 8));
	fix_open(&f);
	sp = get_space(&f, "a");
	pack_all(sp);
	for (unsigned i = 0; i < FILES; i += 10)
		cr_expect_eq(holds(&f, sp, node[i], "", i, 1), i == last ? -EIO : 0, "%u",
			     i);
	vex_space_unref(sp);
}

/* Ten times the live set goes through it: the files stay about as large as it. */
Test(compact, churn_reuses_slots)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "a", WIDE);
	uint64_t packed = FILES * (WIDE * 4 + sizeof(struct fmt_rec));
	uint64_t seed = seed_from_env(), value[FILES], moved, held = 1;

	for (unsigned i = 0; i < FILES; i++) {
		node[i] = new_file(&f);
		value[i] = i;
		cr_assert_eq(put(&f, sp, node[i], "", i, 1), 0);
	}
	for (unsigned i = 0; i < 10 * FILES; i++) {
		unsigned at = (unsigned)(rnd(&seed) % FILES);

		value[at] = i;
		cr_assert_eq(put(&f, sp, node[at], "", i, 1), 0);
	}
	cr_expect_lt(disk(&f), 3 * packed, "while it goes on: %llu of %llu",
		     (unsigned long long)disk(&f), (unsigned long long)packed);
	/* What was freed last can be moved into only after a sync. */
	for (int i = 0; i < 50 && held; i++) {
		cr_assert_eq(vex_store_sync(f.s, false), 0);
		do
			cr_assert_eq(vex_space_pack(sp, 10000, &moved), 0);
		while (moved);
		vex_space_trim(sp, &held);
	}
	cr_expect_lt(disk(&f), packed + packed * 3 / 10, "packed: %llu of %llu",
		     (unsigned long long)disk(&f), (unsigned long long)packed);
	for (unsigned i = 0; i < FILES; i++)
		cr_expect_eq(holds(&f, sp, node[i], "", value[i], 1), 0, "%u", i);
}

/* And with nobody packing: where a tenth is replaced between two syncs, the files stay
 * within 1.3 of the live set all along, for what a sync has made free is used first. */
Test(compact, churn_between_syncs_needs_no_packing)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "a", WIDE);
	uint64_t packed = FILES * (WIDE * 4 + sizeof(struct fmt_rec));
	uint64_t seed = seed_from_env(), value[FILES], most = 0;

	for (unsigned i = 0; i < FILES; i++) {
		node[i] = new_file(&f);
		value[i] = i;
		cr_assert_eq(put(&f, sp, node[i], "", i, 1), 0);
	}
	for (unsigned i = 0; i < 10 * FILES; i++) {
		unsigned at = (unsigned)(rnd(&seed) % FILES);

		value[at] = i;
		cr_assert_eq(put(&f, sp, node[at], "", i, 1), 0);
		if (i % (FILES / 10))
			continue;
		cr_assert_eq(vex_store_sync(f.s, i % 3 == 0), 0);
		most = disk(&f) > most ? disk(&f) : most;
	}
	cr_expect_lt(most, packed + packed * 3 / 10, "%llu of %llu",
		     (unsigned long long)most, (unsigned long long)packed);
	for (unsigned i = 0; i < FILES; i++)
		cr_expect_eq(holds(&f, sp, node[i], "", value[i], 1), 0, "%u", i);
}

static _Atomic bool stop;

/* Searches of a sort: each view shows all the rows that are never touched. */
static void *look(void *arg)
{
	struct vex_space *sp = arg;

	while (!stop) {
		AUTO_READER struct vex_reader *r = NULL;
		uint64_t seen = 0;
		struct vex_view v;

		cr_assert_eq(vex_view_open(sp, &v), 0);
		cr_assert_eq(vex_reader_get(f.s, &r), 0);
		for (uint64_t slot = 0; slot < v.slots; slot++) {
			struct vex_attach a;
			struct vex_slot s;

			if (!vex_view_live(&v, slot))
				continue;
			vex_view_slot(&v, slot, &s);
			if (!vex_read_attach_lsn(r, s.lsn, &a) &&
			    !vex_view_verify(&v, slot, &a) && !a.key_len)
				seen++;
		}
		vex_view_close(&v);
		cr_expect_eq(seen, FILES / 10);
	}
	return NULL;
}

Test(compact, while_it_is_read_and_written)
{
	AUTO_SPACE struct vex_space *sp = sparse();
	uint64_t seed = seed_from_env(), moved;
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, look, sp), 0);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 40; i++) {
			unsigned at = (unsigned)(rnd(&seed) % FILES);

			cr_assert_eq(put(&f, sp, node[at], "w", at, 1), 0);
			cr_expect_eq(holds(&f, sp, node[at], "w", at, 1), 0);
		}
		cr_assert_eq(vex_space_pack(sp, 60, &moved), 0);
		cr_assert_eq(vex_store_sync(f.s, false), 0);
		for (int i = 0; i < 10; i++) {
			uint64_t held;

			vex_space_trim(sp, &held);
		}
		tenth_holds(sp);
	}
	stop = true;
	pthread_join(t, NULL);
	pack_all(sp);
	tenth_holds(sp);
}

Test(compact, a_checkpoint_empties_the_wal)
{
	AUTO_SPACE struct vex_space *sp = sparse();
	uint64_t frames = 1;

	cr_expect_gt(file_size(&f, "catalog.db-wal"), 0);
	cr_assert_eq(vex_store_checkpoint(f.s, &frames), 0);
	cr_expect_eq(frames, 0u);
	cr_expect_eq(file_size(&f, "catalog.db-wal"), 0);
	tenth_holds(sp);
}

Test(compact, the_catalog_gives_pages_back)
{
	AUTO_SPACE struct vex_space *sp = sparse();
	uint64_t left = 1, frames;
	long before, after;

	for (unsigned i = 0; i < FILES; i++) {
		struct vex_change c = { .kind = VEX_NODE_DROP, .node = node[i] };

		cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	}
	cr_assert_eq(vex_store_checkpoint(f.s, &frames), 0);
	before = file_size(&f, "catalog.db");
	for (int i = 0; i < 100 && left; i++)
		cr_assert_eq(vex_store_pack_catalog(f.s, &left), 0);
	cr_expect_eq(left, 0u);
	cr_assert_eq(vex_store_checkpoint(f.s, &frames), 0);
	after = file_size(&f, "catalog.db");
	cr_expect_lt(after, before, "%ld, was %ld", after, before);
}
