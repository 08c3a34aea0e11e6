/* SPDX-License-Identifier: Apache-2.0 */
/* The `status` file: JSON, one moment, counts for administrators alone. */
#include <sqlite3.h>
#include "fixture.h"

TestSuite(control_status, .init = fixture_up, .fini = fixture_down, .timeout = 60);

static char *text_of(const struct vex_cred *c, size_t step)
{
	struct vex_session *s;
	char *buf = calloc(1, 1 << 16);
	size_t at = 0, n;

	cr_assert_eq(vex_session_open(control, FILE_STATUS, O_RDONLY, c, &s), 0);
	do {
		cr_assert_eq(vex_session_read(s, c, buf + at, step, (int64_t)at, &n), 0);
		at += n;
	} while (n);
	vex_session_close(s);
	return buf;
}

/* A value of the JSON as text; static. NULL: not there. */
static const char *at(const char *json, const char *path)
{
	static char value[256];
	sqlite3_stmt *st;
	sqlite3 *db;
	const char *out = NULL;

	sqlite3_open(":memory:", &db);
	sqlite3_prepare_v2(db, "SELECT json_extract(?, ?)", -1, &st, NULL);
	sqlite3_bind_text(st, 1, json, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, path, -1, SQLITE_STATIC);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW, "no JSON: %s", json);
	if (sqlite3_column_type(st, 0) != SQLITE_NULL) {
		snprintf(value, sizeof(value), "%s", sqlite3_column_text(st, 0));
		out = value;
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return out;
}

Test(control_status, empty_store)
{
	char *t = text_of(&root, 4096);

	cr_expect_str_eq(at(t, "$.version"), VEXFS_VERSION);
	cr_expect_str_eq(at(t, "$.mountpoint"), "/nowhere");
	cr_expect_str_eq(at(t, "$.options"), "rw,metric=\"cosine\"");
	cr_expect_str_eq(at(t, "$.state"), "ok");
	cr_expect_str_eq(at(t, "$.spaces"), "[]");
	cr_expect_str_eq(at(t, "$.fs.inodes"), "3");
	cr_expect_str_eq(at(t, "$.fs.passthrough"), "0");
	cr_expect_str_eq(at(t, "$.sessions"), "2");
	free(t);
}

Test(control_status, counts_for_administrators)
{
	char *t;

	make_space("a", 3, VEXFS_IP);
	make_space("b", 2, VEXFS_COSINE);
	attach("f", "b", (float[]){ 1, 2, 3, 4 }, 4);
	t = text_of(&owner, 7);
	cr_expect_str_eq(at(t, "$.attachments"), "1");
	cr_expect_str_eq(at(t, "$.rows"), "2");
	cr_expect_str_eq(at(t, "$.spaces[1].name"), "b");
	cr_expect_str_eq(at(t, "$.spaces[1].rows"), "2");
	cr_expect_str_eq(at(t, "$.spaces[0].metric"), "ip");
	cr_expect_str_eq(at(t, "$.spaces[0].state"), "exact");
	free(t);
}

Test(control_status, strangers_see_no_counts)
{
	char *t;

	attach("f", "b", (float[]){ 1, 2 }, 2);
	t = text_of(&stranger, 4096);
	cr_expect_str_eq(at(t, "$.version"), VEXFS_VERSION);
	cr_expect_str_eq(at(t, "$.spaces[0].name"), "b");
	cr_expect(at(t, "$.spaces[0].rows") == NULL);
	cr_expect(at(t, "$.rows") == NULL);
	cr_expect(at(t, "$.lsn") == NULL);
	cr_expect(at(t, "$.nodes") == NULL);
	cr_expect(at(t, "$.fs") == NULL);
	free(t);
}

Test(control_status, one_moment_whatever_the_reads)
{
	struct vex_session *s;
	char first[64], again[64];
	size_t n;

	cr_assert_eq(vex_session_open(control, FILE_STATUS, O_RDONLY, &root, &s), 0);
	cr_assert_eq(vex_session_read(s, &root, first, 64, 0, &n), 0);
	make_space("later", 2, VEXFS_L2);
	cr_assert_eq(vex_session_read(s, &root, again, 64, 0, &n), 0);
	cr_expect_arr_eq(first, again, 64);
	cr_assert_eq(vex_session_read(s, &root, again, 64, 1 << 20, &n), 0);
	cr_expect_eq(n, 0);
	cr_expect(vex_session_poll(s) & POLLIN);
	vex_session_close(s);
}
