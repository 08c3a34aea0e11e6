/* SPDX-License-Identifier: Apache-2.0 */
/* A store looked at without a trace: what is found in it, and what it takes to see it. */
#include <dirent.h>
#include "fixture.h"
#include "store_i.h"

static struct fix f;
static uint64_t node[10];

/* 10 files in space "a" (1): one row each, and two rows under a key. Closed. */
static void begin(void)
{
	struct vex_space *a;

	fix_begin(&f);
	fix_open(&f);
	a = new_space(&f, "a", DIM);
	for (unsigned i = 0; i < 10; i++) {
		node[i] = new_file(&f);
		cr_assert_eq(put(&f, a, node[i], "", i, 1), 0);
		cr_assert_eq(put(&f, a, node[i], "k", i + 50, 2), 0);
	}
	vex_space_unref(a);
	fix_close(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(check, .init = begin, .fini = end, .timeout = 60);

struct heard {
	unsigned n, by_fix[4];
	char text[2048]; /* all lines */
	uint64_t lsn;
};

static vex_err hear(void *arg, const struct vex_finding *x)
{
	struct heard *h = arg;

	cr_assert_not_null(x->text);
	h->n++;
	h->by_fix[x->fix]++;
	h->lsn = x->lsn;
	strncat(h->text, x->text, sizeof(h->text) - strlen(h->text) - 2);
	strcat(h->text, "\n");
	return 0;
}

/* Names, sizes, contents below .vexfs as one number. */
static uint64_t traces(void)
{
	static const char *const dirs[] = { ".vexfs", ".vexfs/spaces" };
	uint64_t sum = 0;

	for (int i = 0; i < 2; i++) {
		int fd = openat(f.rootfd, dirs[i], O_RDONLY | O_DIRECTORY);
		DIR *d = fdopendir(fd);
		struct dirent *e;

		while ((e = readdir(d))) {
			static char buf[1 << 20];
			AUTO_CLOSE int file = openat(fd, e->d_name, O_RDONLY);
			ssize_t n = read(file, buf, sizeof(buf));

			sum += vex_sum64(vex_sum64(0, e->d_name, strlen(e->d_name)), buf,
					 n > 0 ? (size_t)n : 0);
		}
		closedir(d);
	}
	return sum;
}

static vex_err look(struct heard *h, struct vex_check_counts *counts)
{
	struct vex_problem p;
	struct vex_check *c;
	uint64_t before = traces();
	vex_err err;

	memset(h, 0, sizeof(*h));
	err = vex_check_open(f.rootfd, &c, &p);
	if (err) {
		strcpy(h->text, p.text);
		cr_assert_neq(p.text[0], 0);
	} else {
		err = vex_check_run(c, hear, h, counts);
		vex_check_close(c);
	}
	cr_expect_eq(traces(), before, "something was written");
	return err;
}

static void finds(unsigned n, const char *text)
{
	struct vex_check_counts counts;
	struct heard h;

	cr_assert_eq(look(&h, &counts), 0, "%s", h.text);
	cr_expect_eq(h.n, n, "%s", h.text);
	cr_expect(strstr(h.text, text) != NULL, "%s: %s", text, h.text);
}

static void change(const char *sql)
{
	struct sql q;
	int dir = openat(f.rootfd, ".vexfs", O_RDONLY | O_DIRECTORY);

	cr_assert_eq(sql_open(&q, dir, false), 0);
	cr_assert_eq(sql_text(&q, sql), 0, "%s: %s", sql, sqlite3_errmsg(q.db));
	cr_assert_eq(
	    sqlite3_wal_checkpoint_v2(q.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
	    0);
	sql_close(&q);
	close(dir);
}

Test(check, a_store_that_is_well)
{
	struct vex_check_counts counts;
	struct heard h;

	cr_assert_eq(look(&h, &counts), 0);
	cr_expect_eq(h.n, 0, "%s", h.text);
	cr_expect_eq(counts.spaces, 1);
	cr_expect_eq(counts.attachments, 20);
	cr_expect_eq(counts.rows, 30);
}

Test(check, a_live_one_is_refused_and_so_is_none)
{
	struct vex_check_counts counts;
	struct vex_problem p;
	struct vex_check *c;
	struct heard h;
	AUTO_CLOSE int tmp = -1;

	fix_open(&f);
	cr_expect_eq(vex_check_open(f.rootfd, &c, &p), -EBUSY);
	cr_expect(strstr(p.text, "served by") != NULL, "%s", p.text);
	cr_assert_eq(unlinkat(f.rootfd, ".vexfs/lock", 0), 0);
	cr_expect_eq(vex_check_open(f.rootfd, &c, &p), -EBUSY,
		     "its lock file was removed");
	fix_close(&f);
	cr_expect_eq(look(&h, &counts), 0, "after it");
	tmp = open("/proc/self", O_RDONLY | O_DIRECTORY);
	cr_expect_eq(vex_check_open(tmp, &c, &p), -ENOENT);
	cr_expect(strstr(p.text, "no VexFS store") != NULL, "%s", p.text);
}

/* The checker has the lock: nobody opens the store meanwhile. */
Test(check, holds_the_lock)
{
	struct vex_problem p;
	struct vex_check *c;

	f.opts.wait_ms = 1;
	cr_assert_eq(vex_check_open(f.rootfd, &c, &p), 0);
	cr_expect_eq(fix_try(&f), -EBUSY);
	vex_check_close(c);
	fix_open(&f);
}

Test(check, names_of_nothing)
{
	change("INSERT INTO name VALUES(1,'ghost',9999)");
	finds(1, "\"ghost\"");
	change("INSERT INTO name VALUES(8888,'lost',2)");
	finds(2, "8888");
	struct vex_check_counts counts;
	struct heard h;
	cr_assert_eq(look(&h, &counts), 0);
	cr_expect_eq(h.by_fix[VEX_FIX_NAME], 2);
}

Test(check, attachments_of_nothing)
{
	char text[128];

	snprintf(text, sizeof(text),
		 "DELETE FROM node WHERE id=%llu;"
		 "DELETE FROM name WHERE node=%llu",
		 (unsigned long long)node[3], (unsigned long long)node[3]);
	change(text);
	finds(2, "attaches to node");
	change("UPDATE attach SET space=77 WHERE lsn=(SELECT max(lsn) FROM attach)");
	finds(3, "attaches to space 77");
	change("UPDATE attach SET rows=0 WHERE lsn=(SELECT max(lsn) FROM attach)");
	finds(4, "names no slots");
}

Test(check, two_claim_a_slot)
{
	/* One row more than it has: the neighbour's, with the neighbour's record. */
	change("UPDATE attach SET rows=2 WHERE lsn=(SELECT min(lsn) FROM attach)");
	finds(2, "both claim slot 1 of space 1");
}

Test(check, slots_past_the_end)
{
	change(
	    "UPDATE attach SET slot=100000000 WHERE lsn=(SELECT max(lsn) FROM attach)");
	finds(1, "cut short before it");
}

/* Any bit of any row or record that is named is missed by a line of its own. */
Test(check, any_bit_of_rows_and_records)
{
	uint64_t seed = seed_from_env();

	for (int i = 0; i < 60; i++) {
		bool rows = rnd(&seed) & 1;
		const char *name = rows ? "spaces/1.rows" : "spaces/1.recs";
		long off = 4096 + (long)(rnd(&seed) % (30 * (rows ? DIM * 4 : 32)));

		flip(&f, name, off);
		finds(1, rows ? ".vexfs/spaces/1.rows: slot " : ".vexfs/spaces/1.");
		flip(&f, name, off);
	}
	finds(0, "");
	flip(&f, "spaces/1.recs", 20);
	finds(1, "spaces/1.recs: its header does not match");
}

Test(check, any_byte_of_the_catalog)
{
	long size = file_size(&f, "catalog.db");
	uint64_t seed = seed_from_env();
	struct vex_check_counts counts;
	struct heard h;

	for (int i = 0; i < 60; i++) {
		long off = (long)(rnd(&seed) % (uint64_t)size);

		flip(&f, "catalog.db", off);
		cr_assert_eq(look(&h, &counts), -EUCLEAN, "byte %ld: %s", off, h.text);
		flip(&f, "catalog.db", off);
	}
	finds(0, "");
}

Test(check, changes_that_lie_in_the_wal)
{
	struct vex_check_counts counts;
	struct heard h;
	struct sql q;
	int dir = openat(f.rootfd, ".vexfs", O_RDONLY | O_DIRECTORY);

	/* Closed without a checkpoint, as after SIGKILL. */
	cr_assert_eq(sql_open(&q, dir, false), 0);
	cr_assert_eq(sql_text(&q, "INSERT INTO name VALUES(1,'ghost',9999)"), 0);
	sql_close(&q);
	close(dir);
	cr_assert_gt(file_size(&f, "catalog.db-wal"), 4096);
	cr_assert_eq(look(&h, &counts), 0);
	cr_expect(strstr(h.text, "ghost") != NULL, "%s", h.text);
	cr_expect_eq(counts.rows, 30);
}

Test(check, files_no_space_has)
{
	AUTO_CLOSE int fd =
	    openat(f.rootfd, ".vexfs/spaces/9.rows", O_CREAT | O_RDWR, 0600);

	finds(1, "spaces/9.rows: no space has it");
	fix_open(&f);
	fix_close(&f);
	finds(0, "");
}

static vex_err node_seen(void *arg, const struct vex_node *n, uint64_t attached)
{
	uint64_t *sums = arg;

	sums[0]++;
	sums[1] += attached;
	sums[2] += n->is_dir;
	return 0;
}

static vex_err name_seen(void *arg, uint64_t parent, const char *name, uint32_t len,
			 uint64_t id)
{
	cr_expect_eq(strlen(name), len);
	cr_expect_eq(parent, 1);
	*(uint64_t *)arg += id == node[4];
	return 0;
}

Test(check, nodes_names_paths)
{
	AUTO_BUF struct vex_buf path = { 0 };
	uint64_t sums[3] = { 0 }, names = 0;
	struct vex_problem p;
	struct vex_check *c;

	cr_assert_eq(vex_check_open(f.rootfd, &c, &p), 0);
	cr_assert_eq(vex_check_nodes(c, node_seen, sums), 0);
	cr_expect_geq(sums[0], 10);
	cr_expect_eq(sums[1], 20);
	cr_assert_eq(vex_check_names(c, name_seen, &names), 0);
	cr_expect_eq(names, 1);
	vex_check_path(c, 1, &path);
	vex_check_path(c, 424242, &path);
	vex_buf_add(&path, "", 1);
	cr_expect_str_eq(path.data, ".#424242");
	vex_check_close(c);
}
