/* SPDX-License-Identifier: Apache-2.0 */
/* Put and delete by path: all or none, as the caller, in bulk. */
#include <math.h>
#include "attach_fixture.h"

TestSuite(items, .timeout = 120, .init = af_up, .fini = af_down);

static const float v3[3] = { 1, 2, 3 };

static struct vex_item f32(const char *path, const char *attr, const float *v, size_t n)
{
	return (struct vex_item){ .path = path,
				  .attr = attr,
				  .value = v,
				  .size = n * sizeof(*v),
				  .f32 = true };
}

static struct vex_item text(const char *path, const char *attr, const char *s)
{
	return (
	    struct vex_item){ .path = path, .attr = attr, .value = s, .size = strlen(s) };
}

static vex_err put(const struct vex_item *items, size_t n, size_t *bad)
{
	*bad = 99999;
	return vex_engine_put_items(eng, &af_uid0, items, n, bad);
}

static void fails(const struct vex_item *items, size_t n, vex_err want, size_t where)
{
	size_t bad;

	cr_assert_eq(put(items, n, &bad), want);
	cr_assert_eq(bad, where, "%zu", bad);
}

static void lists(const char *name, const char *want)
{
	AUTO_FREE char *s = af_list(name);

	cr_assert_str_eq(s, want);
}

Test(items, mixed_values_one_commit)
{
	float m[6] = { 1, 2, 3, 4, 5, 6 };
	size_t bad;

	mkdirat(af_root, "d", 0755);
	af_write("a", "x");
	af_write("d/b", "x");
	cr_assert_eq(put(
			 (struct vex_item[]){
			     f32("a", "w", v3, 3),
			     text("a", "w.t", "[[1,2,3],[4,5,6]]"),
			     f32("d/b", "w", m, 6),
			     text("d", "z.k", "1 2"),
			     f32("", "z", v3, 2),
			 },
			 5, &bad),
		     0);
	af_is("a", "w", v3, 12);
	af_is_text("a", "w.t", "[[1,2,3],[4,5,6]]");
	af_is("d/b", "w", m, 24);
	af_is_text("d", "z.k", "1 2");
	af_is("", "z", v3, 8);
	af_again();
	af_is("a", "w", v3, 12);
	af_is("d/b", "w", m, 24);
	cr_assert_eq(put(NULL, 0, &bad), 0);
}

Test(items, all_or_none)
{
	float nan3[3] = { 1, NAN, 1 };

	af_write("a", "x");
	af_write("b", "x");
	cr_assert_eq(af_set("a", "old", v3, 12, 0), 0);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), f32("b", "w", v3, 2) }, 2,
	      -EINVAL, 1);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), f32("b", "w", nan3, 3) }, 2,
	      -EINVAL, 1);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), text("b", "w", "1 2 x") }, 2,
	      -EINVAL, 1);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), f32("none", "w", v3, 3) }, 2,
	      -ENOENT, 1);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), f32("b", "W", v3, 3) }, 2,
	      -EINVAL, 1);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), f32("b", "_info", v3, 3) }, 2,
	      -EPERM, 1);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), f32("b", "w", v3, 0) }, 2,
	      -EINVAL, 1);
	fails((struct vex_item[]){ f32("a", "w", v3, 3), text("b", "w", "0 0 0") }, 2,
	      -EINVAL, 1);
	fails((struct vex_item[]){ f32("b", "w", v3, 3), f32("a", "old", v3, 2) }, 2,
	      -EINVAL, 1);
	lists("a", "user.vexfs.old ");
	lists("b", "");
	cr_assert_not(af_space("w"));
}

Test(items, create_and_replace)
{
	struct vex_item one = f32("a", "w", v3, 3);
	size_t bad;

	af_write("a", "x");
	af_write("b", "x");
	one.flags = XATTR_REPLACE;
	fails(&one, 1, -ENODATA, 0);
	cr_assert_not(af_space("w"));
	one.flags = XATTR_CREATE;
	cr_assert_eq(put(&one, 1, &bad), 0);
	fails((struct vex_item[]){ f32("b", "w", v3, 3), f32("b", "w.k", v3, 3), one }, 3,
	      -EEXIST, 2);
	lists("b", "");
	one.flags = 64;
	fails(&one, 1, -EINVAL, 0);
}

Test(items, same_file_and_name_twice)
{
	size_t bad;

	af_write("a", "x");
	cr_assert_eq(linkat(af_root, "a", af_root, "hard", 0), 0);
	cr_assert_eq(put((struct vex_item[]){ text("a", "w", "1 2 3"),
					      text("hard", "w.k", "4 5 6"),
					      text("a", "w", "7 8 9") },
			 3, &bad),
		     0);
	af_is_text("hard", "w", "7 8 9");
	af_is_text("a", "w.k", "4 5 6");
	cr_assert_eq(af_attachments("w"), 2);
}

/* Floats whose bytes look like text come back as text, so that they can be set again. */
Test(items, floats_that_look_like_text)
{
	AUTO_BUF struct vex_buf b = { 0 };
	float v[4], w[4];
	size_t bad;

	memcpy(v, "1234abcd5678EFGH", 16);
	af_write("a", "x");
	af_write("b", "x");
	cr_assert_eq(
	    put((struct vex_item[]){ f32("a", "w.one", v, 2), f32("a", "w.two", v, 4) },
		2, &bad),
	    0);
	cr_assert_eq(af_get("a", "w.two", &b), 0);
	cr_assert_eq(af_set("b", "w.two", b.data, b.len, 0), 0);
	{
		AUTO_SPACE struct vex_space *sp = NULL;
		AUTO_READER struct vex_reader *r = NULL;
		AUTO_ATTACH struct vex_attach a = { 0 };
		AUTO_OBJ struct af_obj x;
		uint64_t node;

		af_open("b", &x);
		cr_assert_eq(node_identify(eng, &x.o, &node), 0);
		cr_assert_eq(vex_space_find(eng->store, "w", &sp), 0);
		cr_assert_eq(vex_reader_get(eng->store, &r), 0);
		cr_assert_eq(
		    vex_read_attach(r, node, vex_space_id(sp), "two", 3, false, &a), 0);
		cr_assert_eq(a.rows, 2);
		cr_assert_eq(vex_read_rows(eng->store, &a, w), 0);
		cr_assert_eq(memcmp(v, w, sizeof(v)), 0);
	}
}

/* ---- as the caller ----------------------------------------------------------- */

static vex_err put_as(const struct vex_cred *c, const char *path)
{
	struct vex_item one = f32(path, "w", v3, 3);
	size_t bad;

	return vex_engine_put_items(eng, c, &one, 1, &bad);
}

Test(items, callers_may_what_they_may)
{
	if (getuid())
		cr_skip_test("needs root");
	mkdirat(af_root, "open", 0755);
	mkdirat(af_root, "shut", 0700);
	mkdirat(af_root, "sticky", 0755);
	af_write("open/rootonly", "x");
	af_write("open/theirs", "x");
	af_write("shut/theirs", "x");
	cr_assert_eq(fchownat(af_root, "open/theirs", 65534, 65534, 0), 0);
	cr_assert_eq(fchownat(af_root, "shut/theirs", 65534, 65534, 0), 0);
	cr_assert_eq(fchmodat(af_root, "sticky", 01777, 0), 0);
	cr_assert_eq(put_as(&af_nobody, "open/theirs"), 0);
	cr_assert_eq(put_as(&af_nobody, "open/rootonly"), -EACCES);
	cr_assert_eq(put_as(&af_nobody, "shut/theirs"), -EACCES);
	cr_assert_eq(put_as(&af_nobody, "open"), -EACCES);
	cr_assert_eq(put_as(&af_nobody, "sticky"), -EPERM);
	cr_assert_eq(put_as(&af_uid0, "sticky"), 0);
	cr_assert_eq(put_as(&af_uid0, "shut/theirs"), 0);
}

Test(items, paths_stay_beneath)
{
	cr_assert_eq(symlinkat("/etc/passwd", af_root, "out"), 0);
	cr_assert_eq(mkfifoat(af_root, "fifo", 0666), 0);
	cr_assert_eq(put_as(&af_uid0, "out"), -EACCES);
	cr_assert_eq(put_as(&af_uid0, "../x"), -EACCES);
	cr_assert_eq(put_as(&af_uid0, ".vexfs"), -ENOENT);
	cr_assert_eq(put_as(&af_uid0, ".vexfs/catalog.db"), -ENOENT);
	cr_assert_eq(put_as(&af_uid0, "fifo"), -EPERM);
	cr_assert_not(af_space("w"));
}

/* ---- in bulk ----------------------------------------------------------------- */

#define MANY 1000u

static struct vex_item many_items[MANY];
static char many_paths[MANY][32];
static float many_rows[MANY][8];

static void make_many(void)
{
	mkdirat(af_root, "m", 0755);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(many_paths[i], sizeof(many_paths[i]), "m/%u", i * 7 % MANY);
		af_write(many_paths[i], "x");
		for (unsigned j = 0; j < 8; j++)
			many_rows[i][j] = (float)(i * 8 + j + 1);
		many_items[i] = f32(many_paths[i], "w", many_rows[i], 8);
	}
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(items, more_than_are_held_open)
{
	size_t bad;
	unsigned before;

	make_many();
	many_items[MANY - 1].size = 4;
	fails(many_items, MANY, -EINVAL, MANY - 1);
	many_items[MANY - 1].size = 32;
	many_items[MANY - 1].path = "m/none";
	fails(many_items, MANY, -ENOENT, MANY - 1);
	many_items[MANY - 1].path = many_paths[MANY - 1];
	cr_assert_eq(af_attachments("w"), 0);
	before = open_fds();
	cr_assert_eq(put(many_items, MANY, &bad), 0);
	cr_assert_leq(open_fds(), before + 300); /* engine's own caches */
	cr_assert_eq(af_attachments("w"), MANY);
	for (unsigned i = 0; i < MANY; i++)
		af_is(many_paths[i], "w", many_rows[i], 32);
	af_again();
	for (unsigned i = 0; i < MANY; i += 50)
		af_is(many_paths[i], "w", many_rows[i], 32);
	cr_assert_eq(vex_engine_delete_items(eng, &af_uid0, many_items, MANY, &bad), 0);
	cr_assert_eq(af_attachments("w"), 0);
}

/* Items that come back to files seen before, in no order. */
Test(items, files_in_any_order)
{
	static struct vex_item it[600];
	static char attr[600][16];
	size_t bad;

	make_many();
	for (unsigned i = 0; i < 600; i++) {
		snprintf(attr[i], sizeof(attr[i]), "w.%u", i / 20);
		it[i] = f32(many_paths[i % 20], attr[i], many_rows[i], 8);
	}
	cr_assert_eq(put(it, 600, &bad), 0);
	cr_assert_eq(af_attachments("w"), 600);
	for (unsigned i = 0; i < 600; i += 7)
		af_is(many_paths[i % 20], attr[i], many_rows[i], 32);
}

Test(items, name_list_limit_within_one_batch)
{
	static struct vex_item it[600];
	static char attr[600][160];

	af_write("a", "x");
	for (unsigned i = 0; i < 600; i++) {
		snprintf(attr[i], sizeof(attr[i]), "w.%0120u", i);
		it[i] = f32("a", attr[i], v3, 3);
	}
	/* 11 + 1 + 1 + 120 + 1 = 134 bytes a name: 489 of them fit */
	fails(it, 600, -ENOSPC, 489);
	cr_assert_not(af_space("w"));
	lists("a", "");
	{
		size_t bad;

		cr_assert_eq(put(it, 489, &bad), 0);
	}
	cr_assert_eq(af_attachments("w"), 489);
	fails(it + 489, 1, -ENOSPC, 0);
}

/* ---- delete ------------------------------------------------------------------ */

static void delete_fails(const struct vex_item *items, size_t n, vex_err want,
			 size_t where)
{
	size_t bad = 99999;

	cr_assert_eq(vex_engine_delete_items(eng, &af_uid0, items, n, &bad), want);
	cr_assert_eq(bad, where);
}

Test(items, delete_all_or_none)
{
	struct vex_item ok = { .path = "a", .attr = "w" };
	size_t bad;

	af_write("a", "x");
	af_write("b", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_eq(af_set("a", "w.k", v3, 12, 0), 0);
	delete_fails((struct vex_item[]){ ok, { .path = "b", .attr = "w" } }, 2, -ENODATA,
		     1);
	delete_fails((struct vex_item[]){ ok, { .path = "a", .attr = "w.x" } }, 2,
		     -ENODATA, 1);
	delete_fails((struct vex_item[]){ ok, { .path = "a", .attr = "none" } }, 2,
		     -ENODEV, 1);
	delete_fails((struct vex_item[]){ ok, { .path = "a", .attr = "W" } }, 2, -EINVAL,
		     1);
	delete_fails((struct vex_item[]){ ok, { .path = "no", .attr = "w" } }, 2, -ENOENT,
		     1);
	delete_fails((struct vex_item[]){ ok, ok }, 2, -ENODATA, 1);
	af_is("a", "w", v3, 12);
	cr_assert_eq(vex_engine_delete_items(
			 eng, &af_uid0,
			 (struct vex_item[]){ ok, { .path = "a", .attr = "w.k" } }, 2,
			 &bad),
		     0);
	lists("a", "");
}

/* ---- at once ----------------------------------------------------------------- */

/* Batches over the same files in opposite orders, beside single puts: none waits for
 * ever, every batch is whole. */
static void *batcher(void *arg)
{
	bool back = arg;

	for (int round = 0; round < 30; round++) {
		struct vex_item it[40];
		size_t bad;

		for (unsigned i = 0; i < 40; i++)
			it[i] = many_items[back ? 39 - i : i];
		cr_assert_eq(put(it, 40, &bad), 0);
	}
	return NULL;
}

Test(items, batches_do_not_deadlock)
{
	static int yes;
	pthread_t t[4];

	make_many();
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, batcher, i & 1 ? &yes : NULL);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(af_set(many_paths[i % 40], "w", many_rows[i], 32, 0), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	cr_assert_eq(af_attachments("w"), 40);
}
