/* SPDX-License-Identifier: Apache-2.0 */
/* Catalogs of other versions: an older one is brought up, a newer one refused by name. */
#include "fixture.h"
#include "store_i.h"

static struct fix f;
static uint64_t node[5];

static void begin(void)
{
	struct vex_space *a;

	fix_begin(&f);
	fix_open(&f);
	a = new_space(&f, "a", DIM);
	for (unsigned i = 0; i < 5; i++) {
		node[i] = new_file(&f);
		cr_assert_eq(put(&f, a, node[i], "k", i, 2), 0);
	}
	vex_space_unref(a);
	fix_close(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(upgrade, .init = begin, .fini = end, .timeout = 60);

static void run(const char *text)
{
	int dirfd = openat(f.rootfd, FMT_DIR, O_RDONLY | O_DIRECTORY);
	struct sql q;

	cr_assert_eq(sql_open(&q, dirfd, false), 0);
	cr_assert_eq(sql_text(&q, text), 0, "%s: %s", text, sqlite3_errmsg(q.db));
	sqlite3_wal_checkpoint_v2(q.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	sql_close(&q);
	close(dirfd);
}

/* What version 1 had not is taken out again. */
static void make_old(void)
{
	run("ALTER TABLE space DROP COLUMN scale; ALTER TABLE space DROP COLUMN recall;"
	    "ALTER TABLE space DROP COLUMN moved;"
	    "PRAGMA user_version=1");
}

static int64_t ask(const char *text)
{
	int dirfd = openat(f.rootfd, FMT_DIR, O_RDONLY | O_DIRECTORY);
	sqlite3_stmt *st = NULL;
	struct sql q;
	int64_t v = -1;

	cr_assert_eq(sql_open(&q, dirfd, false), 0);
	cr_assert_eq(sqlite3_prepare_v2(q.db, text, -1, &st, NULL), SQLITE_OK);
	if (sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sql_close(&q);
	close(dirfd);
	return v;
}

static void all_there(void)
{
	AUTO_SPACE struct vex_space *a = get_space(&f, "a");

	for (unsigned i = 0; i < 5; i++)
		cr_expect_eq(holds(&f, a, node[i], "k", i, 2), 0, "%u", i);
}

Test(upgrade, an_older_catalog_is_brought_up)
{
	make_old();
	fix_open(&f);
	all_there();
	fix_close(&f);
	cr_expect_eq(ask("PRAGMA user_version"), FMT_VERSION);
	cr_expect_eq(ask("SELECT count(*) FROM pragma_table_info('space') "
			 "WHERE name IN ('scale','recall')"),
		     2);
	fix_open(&f);
	all_there();
}

Test(upgrade, a_step_done_twice_does_no_harm)
{
	run("PRAGMA user_version=1");
	fix_open(&f);
	all_there();
	fix_close(&f);
	cr_expect_eq(ask("PRAGMA user_version"), FMT_VERSION);
}

Test(upgrade, a_newer_catalog_is_refused_by_name)
{
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA user_version=%d", FMT_VERSION + 1);
	run(text);
	cr_expect_eq(fix_try(&f), -EUCLEAN);
	snprintf(text, sizeof(text),
		 "format version %d, this VexFS knows versions 1 to %d", FMT_VERSION + 1,
		 FMT_VERSION);
	cr_expect(strstr(f.problem.text, text), "%s", f.problem.text);
	cr_expect(strstr(f.problem.text, ".vexfs/catalog.db"), "%s", f.problem.text);
}

static vex_err count(void *arg, const struct vex_finding *x)
{
	fprintf(stderr, "%s\n", x->text);
	++*(unsigned *)arg;
	return 0;
}

/* Checked as what it will be, and left as it is. */
Test(upgrade, an_older_catalog_is_checked_without_a_trace)
{
	struct vex_check_counts n;
	struct vex_problem p;
	struct vex_check *c;
	unsigned findings = 0;

	make_old();
	cr_assert_eq(vex_check_open(f.rootfd, &c, &p), 0, "%s", p.text);
	cr_expect_eq(vex_check_run(c, count, &findings, &n), 0);
	vex_check_close(c);
	cr_expect_eq(findings, 0u);
	cr_expect_eq(n.attachments, 5u);
	cr_expect_eq(n.rows, 10u);
	cr_expect_eq(ask("PRAGMA user_version"), 1);
}
