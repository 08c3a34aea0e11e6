/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of changes: all or none, in groups, by many threads; the log. */
#include "fixture.h"
#include "inject.h"
#include "sql.h"
#include <sys/xattr.h>

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

TestSuite(writer, .init = begin, .fini = end, .timeout = 120);

static uint64_t view_rows(struct vex_space *sp)
{
	struct vex_view v;
	uint64_t n, bits = 0;

	cr_assert_eq(vex_view_open(sp, &v), 0);
	n = v.live_rows;
	for (uint64_t i = 0; i < v.slots; i++)
		bits += vex_view_live(&v, i);
	cr_expect_eq(n, bits);
	vex_view_close(&v);
	return n;
}

Test(writer, a_list_is_all_or_none)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	AUTO_SPACE struct vex_space *other = new_space(&f, "other", 2);
	uint64_t a = new_file(&f), b = new_file(&f);
	struct vex_change c[4];
	size_t bad = 99;
	struct vex_store_status before, after;

	cr_assert_eq(put(&f, sp, b, "", 1, 1), 0);
	vex_store_status(f.s, &before);
	cr_assert_eq(make_put(&c[0], sp, a, "", 2, 2), 0);
	cr_assert_eq(make_put(&c[1], other, a, "x", 3, 1), 0);
	cr_assert_eq(make_put(&c[2], sp, b, "", 4, 1), 0);
	cr_assert_eq(make_put(&c[3], sp, b, "", 5, 1), 0);
	c[3].flags = XATTR_CREATE;
	cr_expect_eq(vex_store_commit(f.s, c, 4, &bad), -EEXIST);
	cr_expect_eq(bad, 3u);
	cr_expect_eq(holds(&f, sp, a, "", 2, 2), -ENODATA);
	cr_expect_eq(holds(&f, other, a, "x", 3, 1), -ENODATA);
	cr_expect_eq(holds(&f, sp, b, "", 1, 1), 0);
	cr_expect_eq(view_rows(sp), 1u);
	cr_expect_eq(view_rows(other), 0u);
	vex_store_status(f.s, &after);
	cr_expect_eq(after.lsn, before.lsn);

	cr_assert_eq(make_put(&c[0], sp, a, "", 2, 2), 0);
	cr_assert_eq(make_put(&c[1], other, a, "x", 3, 1), 0);
	cr_assert_eq(make_put(&c[2], sp, b, "", 4, 1), 0);
	cr_expect_eq(vex_store_commit(f.s, c, 3, &bad), 0);
	cr_expect(c[0].lsn < c[1].lsn && c[1].lsn < c[2].lsn && c[0].lsn > 0);
	cr_expect_eq(holds(&f, sp, a, "", 2, 2), 0);
	cr_expect_eq(holds(&f, other, a, "x", 3, 1), 0);
	cr_expect_eq(holds(&f, sp, b, "", 4, 1), 0);
	cr_expect_eq(view_rows(sp), 3u);
}

Test(writer, same_key_twice_in_a_list)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f);
	struct vex_change c[3];

	cr_assert_eq(make_put(&c[0], sp, a, "", 1, 2), 0);
	cr_assert_eq(make_put(&c[1], sp, a, "", 2, 1), 0);
	c[2] = (struct vex_change){ .kind = VEX_PUT };
	cr_expect_eq(vex_store_commit(f.s, c, 2, NULL), 0);
	cr_expect_eq(holds(&f, sp, a, "", 2, 1), 0);
	cr_expect_eq(view_rows(sp), 1u);
}

Test(writer, slots_are_named_once)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f), b = new_file(&f);
	struct vex_change c[2], again;

	cr_assert_eq(make_put(&c[0], sp, a, "", 1, 2), 0);
	c[1] = c[0];
	c[1].node = b;
	cr_expect_eq(vex_store_commit(f.s, c, 2, NULL), -EINVAL);
	cr_assert_eq(make_put(&c[0], sp, a, "", 1, 2), 0);
	again = c[0];
	again.node = b;
	cr_expect_eq(vex_store_commit(f.s, c, 1, NULL), 0);
	cr_expect_eq(vex_store_commit(f.s, &again, 1, NULL), -EINVAL);
	again.rows = 1;
	cr_expect_eq(vex_store_commit(f.s, &again, 1, NULL), -EINVAL);
	vex_slots_return(sp, c[0].slot, 2); /* not ours any more: nothing happens */
	cr_expect_eq(put(&f, sp, b, "", 7, 2), 0);
	cr_expect_eq(holds(&f, sp, a, "", 1, 2), 0);
	cr_expect_eq(holds(&f, sp, b, "", 7, 2), 0);
}

Test(writer, slots_taken_together_for_several_puts)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f), b = new_file(&f);
	struct vex_change c[2];
	float rows[3][DIM];

	fill_row(rows[0], DIM, 1, 0);
	fill_row(rows[1], DIM, 1, 1);
	fill_row(rows[2], DIM, 2, 0);
	cr_assert_eq(make_put(&c[0], sp, a, "", 1, 2), 0);
	vex_slots_return(sp, c[0].slot, 2);
	c[1] = c[0];
	cr_assert_eq(vex_slots_write(sp, rows, 3, &c[0].slot), 0);
	c[1].slot = c[0].slot + 2;
	c[1].rows = 1;
	c[1].node = b;
	cr_expect_eq(vex_store_commit(f.s, c, 2, NULL), 0);
	cr_expect_eq(holds(&f, sp, a, "", 1, 2), 0);
	cr_expect_eq(holds(&f, sp, b, "", 2, 1), 0);
}

Test(writer, node_drop_takes_everything)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f);
	struct vex_change c = { .kind = VEX_NODE_DROP, .node = a };
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_node n;

	cr_assert_eq(put(&f, sp, a, "", 1, 2), 0);
	cr_assert_eq(put(&f, sp, a, "k", 1, 3), 0);
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	cr_expect(c.lsn);
	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	cr_expect_eq(vex_read_node(r, a, &n), -ENOENT);
	cr_expect_eq(holds(&f, sp, a, "k", 1, 3), -ENODATA);
	cr_expect_eq(view_rows(sp), 0u);
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), 0, "again is no error");
}

Test(writer, later_is_done_before_what_follows)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f);
	struct vex_node n;
	AUTO_READER struct vex_reader *r = NULL;
	char name[] = "later";
	struct vex_change c = {
		.kind = VEX_NAME_ADD, .node = a, .parent = 9, .name = name, .name_len = 5
	};
	struct vex_change state = { .kind = VEX_NODE_STATE,
				    .node = a,
				    .state = VEX_GOING };
	struct vex_change gone = { .kind = VEX_NODE_STATE, .node = 12345678 };

	vex_store_commit_later(f.s, &gone, 1); /* refused, and nobody hears of it */
	vex_store_commit_later(f.s, &c, 1);
	vex_store_commit_later(f.s, &state, 1);
	memset(name, 'x', sizeof(name));
	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	cr_assert_eq(vex_read_node(r, a, &n), 0);
	cr_expect_eq(n.state, VEX_GOING);
}

static vex_err stop_at_first(void *arg, uint64_t parent, const char *name, uint32_t len)
{
	if (parent == 9 && len == 5 && !strcmp(name, "later"))
		*(bool *)arg = true;
	return 0;
}

Test(writer, later_copies_its_names)
{
	uint64_t a = new_file(&f);
	AUTO_READER struct vex_reader *r = NULL;
	char name[] = "later";
	struct vex_change c = {
		.kind = VEX_NAME_ADD, .node = a, .parent = 9, .name = name, .name_len = 5
	};
	bool found = false;

	vex_store_commit_later(f.s, &c, 1);
	memset(name, 'x', sizeof(name));
	new_file(&f);
	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	cr_assert_eq(vex_read_names(r, a, stop_at_first, &found), 0);
	cr_expect(found);
}

/* ---- many threads -------------------------------------------------------- */

#define THREADS 8
#define EACH 200

static struct vex_space *shared;

static void *hammer(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		char key[16];
		uint64_t node;
		struct vex_change c[2];
		vex_err err;

		snprintf(key, sizeof(key), "t%llu", (unsigned long long)me);
		node = new_file(&f);
		cr_assert_eq(put(&f, shared, node, key, me * 1000 + i, 1 + i % 2), 0);
		/* Refused in the middle, among the groups of others. */
		cr_assert_eq(make_put(&c[0], shared, node, "no", 1, 1), 0);
		cr_assert_eq(make_put(&c[1], shared, node, key, 1, 1), 0);
		c[1].flags = XATTR_CREATE;
		err = vex_store_commit(f.s, c, 2, NULL);
		cr_assert_eq(err, -EEXIST);
		if (i % 3 == 0)
			cr_assert_eq(delete (&f, shared, node, key), 0);
	}
	return NULL;
}

static void *watch(void *arg)
{
	_Atomic bool *stop = arg;

	while (!atomic_load(stop)) {
		struct vex_view v;

		cr_assert_eq(vex_view_open(shared, &v), 0);
		vex_view_close(&v);
	}
	return NULL;
}

Test(writer, eight_threads)
{
	pthread_t t[THREADS], w;
	_Atomic bool stop = false;
	struct vex_store_status st;
	struct vex_space_counts n;

	shared = new_space(&f, "words", DIM);
	pthread_create(&w, NULL, watch, (void *)&stop);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, hammer, (void *)i);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	atomic_store(&stop, true);
	pthread_join(w, NULL);
	vex_store_status(f.s, &st);
	cr_expect_lt(st.groups, st.commits + THREADS * EACH);
	vex_space_counts(shared, &n);
	cr_expect_eq(n.attachments, THREADS * (EACH - (EACH + 2) / 3));
	cr_expect_eq(view_rows(shared), n.rows);
	vex_space_unref(shared);
}

/* ---- the log ------------------------------------------------------------- */

static int count_log(const char *where)
{
	char path[160], sql[256];
	sqlite3 *db;
	sqlite3_stmt *st;
	int n;

	snprintf(path, sizeof(path), "%s/.vexfs/catalog.db", f.dir);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM log WHERE %s", where);
	cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, VFS_NAME), 0);
	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), 0, "%s",
		     sqlite3_errmsg(db));
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

Test(writer, every_change_of_attachments_is_logged)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f);
	struct vex_change drop = { .kind = VEX_NODE_DROP, .node = a, .path = "gone" };

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	cr_assert_eq(put(&f, sp, a, "", 2, 1), 0);
	cr_assert_eq(put(&f, sp, a, "k", 2, 1), 0);
	cr_assert_eq(put_flags(&f, sp, a, "k", 2, 1, XATTR_CREATE), -EEXIST);
	cr_assert_eq(delete (&f, sp, a, "k"), 0);
	cr_assert_eq(vex_store_commit(f.s, &drop, 1, NULL), 0);
	cr_expect_eq(count_log("1"), 6);
	cr_expect_eq(count_log("kind=3"), 1);
	cr_expect_eq(count_log("kind=1 AND old_slot=-1 AND path=x'612f62'"), 2);
	cr_expect_eq(count_log("kind=1 AND old_slot>=0"), 1);
	cr_expect_eq(count_log("kind=2"), 2);
	cr_expect_eq(count_log("kind=2 AND path=x'676f6e65'"), 1);
	cr_expect_eq(count_log("time > 1500000000000000000"), 6);
}

/* ---- a disk that is full or fails ---------------------------------------- */

Test(writer, a_failed_write_fails_the_list_only)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f);
	int left = 0;

	cr_assert_eq(put(&f, sp, a, "", 1, 1), 0);
	/* The first, second, third ... write from here on: rows, records, the WAL. */
	for (int at = 1; !left; at++) {
		vex_err err;

		inject_write_errno = at & 1 ? ENOSPC : EIO;
		inject_write_at = at;
		err = put(&f, sp, a, "", 100 + (uint64_t)at, 2);
		left = atomic_exchange(&inject_write_at, 0);
		if (err) {
			cr_expect(err == -ENOSPC || err == -EIO, "%d", err);
			cr_expect_eq(holds(&f, sp, a, "", at == 1 ? 1 : 1, 1), 0,
				     "write %d", at);
		} else {
			cr_expect(left, "write %d failed, the put did not", at);
		}
		cr_assert_lt(at, 100);
	}
	cr_expect_eq(put(&f, sp, a, "", 7, 1), 0);
	cr_expect_eq(holds(&f, sp, a, "", 7, 1), 0);
	cr_expect_eq(view_rows(sp), 1u);
}

Test(writer, bad_changes_are_refused)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f);
	struct vex_change c = { .kind = VEX_PUT,
				.space = sp,
				.node = a,
				.key = "",
				.slot = 1u << 30,
				.rows = 1 };
	struct vex_space_spec spec = { .dim = DIM, .name = "words" };
	struct vex_change n = { .kind = VEX_SPACE_NEW, .spec = &spec };
	struct vex_node node = { .id = a };
	struct vex_change d = { .kind = VEX_NODE_NEW, .node_in = &node };
	struct vex_change st = { .kind = VEX_NODE_STATE, .node = 424242 };

	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), -EINVAL);
	cr_expect_eq(vex_store_commit(f.s, &n, 1, NULL), -EEXIST);
	cr_expect_eq(n.space, NULL);
	cr_expect_eq(vex_store_commit(f.s, &d, 1, NULL), -EEXIST);
	cr_expect_eq(vex_store_commit(f.s, &st, 1, NULL), -ENOENT);
	spec.dim = 0;
	snprintf(spec.name, sizeof(spec.name), "x");
	cr_expect_eq(vex_store_commit(f.s, &n, 1, NULL), -EINVAL);
}
