/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged files: named, counted, never served; the daemon lives. */
#include "fixture.h"
#include "store_i.h"

static struct fix f;
static uint64_t node[40];

/* 40 files in space "a" (1), 5 in space "b" (2), closed. */
static void begin(void)
{
	struct vex_space *a, *b;

	fix_begin(&f);
	fix_open(&f);
	a = new_space(&f, "a", DIM);
	b = new_space(&f, "b", DIM);
	for (unsigned i = 0; i < 40; i++) {
		node[i] = new_file(&f);
		cr_assert_eq(put(&f, a, node[i], "", i, 1), 0);
		if (i < 5)
			cr_assert_eq(put(&f, b, node[i], "", i + 100, 2), 0);
	}
	vex_space_unref(a);
	vex_space_unref(b);
	fix_close(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(damage, .init = begin, .fini = end, .timeout = 60);

#define expect_problem(what)                                                             \
	cr_expect(strstr(f.problem.text, what) && strstr(f.problem.text, f.dir),         \
		  "problem is: %s", f.problem.text)

static uint64_t damaged(const char *name)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, name);
	struct vex_space_counts n;

	vex_space_counts(sp, &n);
	return n.damaged;
}

/* All of a space but `bad` still holds, and the bad ones are -EIO, also to views. */
static void check_space(const char *name, unsigned n, uint64_t base, uint32_t rows,
			const bool *bad)
{
	AUTO_SPACE struct vex_space *sp = get_space(&f, name);
	struct vex_view v;
	uint64_t live = 0, want = 0;

	for (unsigned i = 0; i < n; i++) {
		cr_expect_eq(holds(&f, sp, node[i], "", base + i, rows),
			     bad[i] ? -EIO : 0, "%s %u", name, i);
		want += bad[i] ? 0 : rows;
	}
	cr_assert_eq(vex_view_open(sp, &v), 0);
	for (uint64_t i = 0; i < v.slots; i++)
		live += vex_view_live(&v, i);
	cr_expect_eq(live, v.live_rows);
	if (rows == 1)
		cr_expect_eq(live, want);
	vex_view_close(&v);
}

static const bool none[40];
static bool all[40];

Test(damage, any_byte_of_the_catalog)
{
	long size = file_size(&f, "catalog.db");
	uint64_t seed = seed_from_env();

	for (int i = 0; i < 60; i++) {
		long off = (long)(rnd(&seed) % (uint64_t)size);
		char want[80];
		vex_err err;

		flip(&f, "catalog.db", off);
		err = fix_try(&f);
		cr_assert_eq(err, -EUCLEAN, "byte %ld: %d", off, err);
		if (off < 16)
			snprintf(want, sizeof(want), ".vexfs/catalog.db: not a VexFS");
		else
			snprintf(want, sizeof(want),
				 ".vexfs/catalog.db: page %ld does not match",
				 off / 4096 + 1);
		expect_problem(want);
		flip(&f, "catalog.db", off);
	}
	fix_open(&f);
	check_space("a", 40, 0, 1, none);
}

Test(damage, each_byte_of_the_header)
{
	for (long off = 0; off < 100; off++) {
		flip(&f, "catalog.db", off);
		cr_expect_eq(fix_try(&f), -EUCLEAN, "byte %ld", off);
		expect_problem(".vexfs/catalog.db: ");
		flip(&f, "catalog.db", off);
	}
	fix_open(&f);
	check_space("a", 40, 0, 1, none);
}

Test(damage, catalog_cut_short)
{
	cut(&f, "catalog.db", file_size(&f, "catalog.db") - 4096);
	cr_expect_eq(fix_try(&f), -EUCLEAN);
	expect_problem(".vexfs/catalog.db: ");
	cut(&f, "catalog.db", 5000);
	cr_expect_eq(fix_try(&f), -EUCLEAN);
	expect_problem(".vexfs/catalog.db: ");
}

Test(damage, catalog_gone_is_not_made_anew)
{
	cut(&f, "catalog.db", 0);
	cr_expect_eq(fix_try(&f), -EUCLEAN);
	expect_problem(".vexfs/catalog.db: missing or empty");
	cr_expect_gt(file_size(&f, "spaces/1.rows"), 4096);
}

Test(damage, catalog_of_another_format)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "sqlite3 %s/.vexfs/catalog.db 'PRAGMA user_version=9'",
		 f.dir);
	if (system("command -v sqlite3 >/dev/null") || system(cmd))
		return;
	/* The tool knows no checksums: pages it wrote do not match. */
	cr_expect_eq(fix_try(&f), -EUCLEAN);
	expect_problem(".vexfs/catalog.db: page");
}

Test(damage, a_row)
{
	bool bad[40] = { [7] = true };

	flip(&f, "spaces/1.rows", 4096 + 7 * 16 + 3);
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: slot 7: checksum mismatch");
	check_space("a", 40, 0, 1, bad);
	check_space("b", 5, 100, 2, none);
	cr_expect_eq(damaged("a"), 1u);
}

Test(damage, any_byte_of_a_record)
{
	bool bad[40] = { [9] = true };

	for (long byte = 0; byte < 32; byte++) {
		flip(&f, "spaces/1.recs", 4096 + 9 * 32 + byte);
		fix_open(&f);
		expect_problem(".vexfs/spaces/1.rows: slot 9: ");
		check_space("a", 40, 0, 1, bad);
		fix_close(&f);
		flip(&f, "spaces/1.recs", 4096 + 9 * 32 + byte);
	}
}

static void count_line(void *arg, const char *line)
{
	char want[32];

	snprintf(want, sizeof(want), "1.rows: slot %d: ", (*(int *)arg)++);
	cr_expect(strstr(line, f.dir) && strstr(line, want), "%s", line);
}

Test(damage, many_rows_are_summed_up)
{
	struct vex_store_status st;
	int lines = 0;

	for (long i = 0; i < 40; i++)
		flip(&f, "spaces/1.rows", 4096 + i * 16);
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: slot 0: ");
	expect_problem("(and 39 more)");
	cr_expect_eq(damaged("a"), 40u);
	vex_store_status(f.s, &st);
	cr_expect_eq(st.problems, 40u);
	vex_store_problems(f.s, count_line, &lines);
	cr_expect_eq(lines, 16, "a bounded number is kept");
}

Test(damage, any_byte_of_a_slot_header)
{
	static const long at[] = { 0, 8, 12, 20, 33, 36, 41, 60, 4000, 4090 };

	memset(all, true, sizeof(all));
	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		for (int recs = 0; recs < 2; recs++) {
			const char *name = recs ? "spaces/1.recs" : "spaces/1.rows";
			char want[64];

			flip(&f, name, at[i]);
			fix_open(&f);
			snprintf(want, sizeof(want), ".vexfs/%s: ", name);
			expect_problem(want);
			check_space("a", 40, 0, 1, all);
			check_space("b", 5, 100, 2, none);
			cr_expect_eq(damaged("a"), 40u);
			fix_close(&f);
			flip(&f, name, at[i]);
		}
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	check_space("a", 40, 0, 1, none);
}

Test(damage, rows_cut_short)
{
	bool bad[40] = { false };

	for (int i = 20; i < 40; i++)
		bad[i] = true;
	cut(&f, "spaces/1.rows", 4096 + 20 * 16 + 5);
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: cut short");
	check_space("a", 40, 0, 1, bad);
	cr_expect_eq(damaged("a"), 20u);
	/* The space goes on working, and the bad slots are not used again. */
	{
		AUTO_SPACE struct vex_space *a = get_space(&f, "a");
		uint64_t n = new_file(&f);

		cr_expect_eq(put(&f, a, n, "", 1234, 1), 0);
		cr_expect_eq(holds(&f, a, n, "", 1234, 1), 0);
		cr_expect_eq(put(&f, a, node[30], "", 4321, 1), 0);
		cr_expect_eq(holds(&f, a, node[30], "", 4321, 1), 0);
	}
	bad[30] = false;
	fix_close(&f);
	fix_open(&f);
	cr_expect_eq(damaged("a"), 19u);
}

Test(damage, recs_cut_short)
{
	cut(&f, "spaces/1.recs", 4096 + 39 * 32);
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: ");
	cr_expect_eq(damaged("a"), 1u);
}

Test(damage, cut_to_nothing_and_missing)
{
	char path[160];

	memset(all, true, sizeof(all));
	cut(&f, "spaces/1.rows", 0);
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: cut short, no header");
	check_space("a", 40, 0, 1, all);
	fix_close(&f);
	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.rows", f.dir);
	cr_assert_eq(unlink(path), 0);
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: No such file");
	check_space("a", 40, 0, 1, all);
	check_space("b", 5, 100, 2, none);
	/* Writing there is an error; taking the space away is not. */
	{
		AUTO_SPACE struct vex_space *a = get_space(&f, "a");
		struct vex_change c = { .kind = VEX_SPACE_DROP, .space = a };

		cr_expect_eq(put(&f, a, node[0], "", 1, 1), -EIO);
		cr_expect_eq(delete (&f, a, node[0], ""), 0);
		cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	}
}

Test(damage, files_swapped)
{
	memset(all, true, sizeof(all));
	swap_files(&f, "spaces/1.rows", "spaces/2.rows");
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: belongs to another space");
	check_space("a", 40, 0, 1, all);
	check_space("b", 5, 100, 2, all);
	fix_close(&f);
	swap_files(&f, "spaces/1.recs", "spaces/2.recs");
	fix_open(&f);
	check_space("a", 40, 0, 1, all);
}

Test(damage, files_of_another_store)
{
	struct fix other;
	char from[160], to[160];
	struct vex_space *a;

	memset(all, true, sizeof(all));
	fix_begin(&other);
	fix_open(&other);
	a = new_space(&other, "a", DIM);
	vex_space_unref(a);
	fix_close(&other);
	snprintf(from, sizeof(from), "%s/.vexfs/spaces/1.rows", other.dir);
	snprintf(to, sizeof(to), "%s/.vexfs/spaces/1.rows", f.dir);
	cr_assert_eq(rename(from, to), 0);
	fix_open(&f);
	expect_problem(".vexfs/spaces/1.rows: belongs to another store");
	check_space("a", 40, 0, 1, all);
	fix_end(&other);
}

Test(damage, rows_of_two_files_exchanged)
{
	/* Whole rows with their records in each other's place: intact, but not theirs. */
	bool bad[40] = { [3] = true, [4] = true };
	char path[160];
	char a[16], b[16], ra[32], rb[32];
	int rows, recs;

	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.rows", f.dir);
	rows = open(path, O_RDWR);
	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.recs", f.dir);
	recs = open(path, O_RDWR);
	cr_assert(pread(rows, a, 16, 4096 + 48) == 16 &&
		  pread(rows, b, 16, 4096 + 64) == 16);
	cr_assert(pread(recs, ra, 32, 4096 + 96) == 32 &&
		  pread(recs, rb, 32, 4096 + 128) == 32);
	cr_assert(pwrite(rows, b, 16, 4096 + 48) == 16 &&
		  pwrite(rows, a, 16, 4096 + 64) == 16);
	cr_assert(pwrite(recs, rb, 32, 4096 + 96) == 32 &&
		  pwrite(recs, ra, 32, 4096 + 128) == 32);
	close(rows);
	close(recs);
	fix_open(&f);
	check_space("a", 40, 0, 1, bad);
}

/* ---- while mounted ------------------------------------------------------- */

Test(damage, found_when_read)
{
	AUTO_SPACE struct vex_space *a = NULL;
	struct vex_attach at;
	struct vex_view v;
	float row[DIM];

	fix_open(&f);
	a = get_space(&f, "a");
	cr_assert_eq(get(&f, a, node[11], "", &at), 0);
	flip(&f, "spaces/1.rows", 4096 + 11 * 16 + 1);
	cr_assert_eq(vex_view_open(a, &v), 0);
	cr_expect_eq(vex_view_verify(&v, at.slot, &at), -EIO);
	vex_view_close(&v);
	cr_expect_eq(damaged("a"), 1u);
	cr_assert_eq(vex_view_open(a, &v), 0);
	cr_expect_not(vex_view_live(&v, at.slot), "out of later views");
	vex_view_close(&v);
	cr_expect_eq(vex_read_rows(f.s, &at, row), -EIO);
	cr_expect_eq(damaged("a"), 1u, "counted once");
	/* A new value makes it whole. */
	cr_expect_eq(put(&f, a, node[11], "", 5, 1), 0);
	cr_expect_eq(holds(&f, a, node[11], "", 5, 1), 0);
}

/* What a search reads from a record (whose, which change, which row) is checked too. */
Test(damage, any_byte_of_a_record_while_mapped)
{
	AUTO_SPACE struct vex_space *a = NULL;
	struct vex_attach at;

	fix_open(&f);
	a = get_space(&f, "a");
	for (long byte = 0; byte < 32; byte++) {
		struct vex_view v;

		cr_assert_eq(get(&f, a, node[byte], "", &at), 0);
		cr_assert_eq(vex_view_open(a, &v), 0);
		cr_assert_eq(vex_view_verify(&v, at.slot, &at), 0);
		flip(&f, "spaces/1.recs", 4096 + (long)at.slot * 32 + byte);
		cr_expect_eq(vex_view_verify(&v, at.slot, &at), -EIO, "byte %ld", byte);
		vex_view_close(&v);
	}
	cr_expect_eq(damaged("a"), 32u);
}

/* Damage found in a slot that was freed meanwhile is not its next owner's. */
Test(damage, a_bad_slot_is_written_anew)
{
	AUTO_SPACE struct vex_space *a = NULL;
	struct vex_attach at, now;
	struct vex_view v;

	fix_open(&f);
	a = get_space(&f, "a");
	cr_assert_eq(get(&f, a, node[5], "", &at), 0);
	cr_assert_eq(vex_view_open(a, &v), 0);
	cr_assert_eq(delete (&f, a, node[5], ""), 0);
	flip(&f, "spaces/1.rows", 4096 + (long)at.slot * 16);
	cr_expect_eq(vex_view_verify(&v, at.slot, &at), -EIO);
	vex_view_close(&v);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	cr_assert_eq(put(&f, a, node[5], "", 55, 1), 0);
	cr_assert_eq(get(&f, a, node[5], "", &now), 0);
	cr_expect_eq(now.slot, at.slot, "used again");
	cr_expect_eq(holds(&f, a, node[5], "", 55, 1), 0);
}

Test(damage, file_cut_while_mapped)
{
	AUTO_SPACE struct vex_space *a = NULL;
	struct vex_attach at;
	struct vex_view v;
	float row[DIM];

	fix_open(&f);
	a = get_space(&f, "a");
	cr_assert_eq(get(&f, a, node[2], "", &at), 0);
	cr_assert_eq(vex_view_open(a, &v), 0);
	cut(&f, "spaces/1.rows", 4096);
	memcpy(row, vex_view_row(&v, at.slot), sizeof(row)); /* SIGBUS, and we live */
	cr_expect_eq(row[0], 0.0f);
	cr_expect_eq(vex_view_verify(&v, at.slot, &at), -EIO);
	vex_view_close(&v);
	cr_expect_eq(vex_read_rows(f.s, &at, row), -EIO);
}

Test(damage, scrub_finds_it_in_the_background)
{
	AUTO_SPACE struct vex_space *a = NULL;
	bool bad[40] = { [13] = true };

	vex_store_verify_limit = 0;
	flip(&f, "spaces/1.rows", 4096 + 13 * 16);
	fix_open(&f);
	for (int i = 0; i < 500 && !damaged("a"); i++)
		usleep(10000);
	cr_expect_eq(damaged("a"), 1u);
	check_space("a", 40, 0, 1, bad);
	check_space("b", 5, 100, 2, none);
}

Test(damage, scrub_ends_with_the_store)
{
	vex_store_verify_limit = 0;
	for (int i = 0; i < 5; i++) {
		fix_open(&f);
		fix_close(&f);
	}
}
