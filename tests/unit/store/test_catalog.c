/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, names, handles, spaces: what readers say, and what survives. */
#include "fixture.h"
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	f.opts.sync_interval_ms = 3600 * 1000;
	fix_open(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(catalog, .init = begin, .fini = end, .timeout = 60);

static void node_at(struct vex_node *n, uint64_t id)
{
	AUTO_READER struct vex_reader *r = NULL;

	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	cr_assert_eq(vex_read_node(r, id, n), 0);
}

static vex_err by_fh(const struct vex_fh *fh, struct vex_node *n)
{
	AUTO_READER struct vex_reader *r = NULL;

	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	return vex_read_node_fh(r, fh, n);
}

Test(catalog, nodes_keep_what_they_are)
{
	struct vex_node n = { .id = vex_store_new_node(f.s),
			      .is_dir = true,
			      .has_mark = true,
			      .ino = UINT64_MAX - 3,
			      .size = -1,
			      .mtime_ns = INT64_MIN + 1 };
	struct vex_change c = { .kind = VEX_NODE_NEW, .node_in = &n };
	struct vex_change set = { .kind = VEX_NODE_SET, .node_in = &n };
	struct vex_node got;

	memset(n.mark, 0xa5, sizeof(n.mark));
	n.fh.type = -7;
	n.fh.len = VEX_FH_MAX;
	memset(n.fh.bytes, 0xee, VEX_FH_MAX);
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	node_at(&got, n.id);
	cr_expect_arr_eq(&got, &n, sizeof(n));
	cr_expect_eq(by_fh(&n.fh, &got), 0);
	cr_expect_eq(got.id, n.id);

	n.has_mark = false;
	memset(n.mark, 0, sizeof(n.mark));
	memset(&n.fh, 0, sizeof(n.fh));
	n.size = 77;
	cr_assert_eq(vex_store_commit(f.s, &set, 1, NULL), 0);
	node_at(&got, n.id);
	cr_expect_eq(got.size, 77);
	cr_expect_eq(got.fh.len, 0u);
	cr_expect_not(got.has_mark);
	n.id = 424242;
	cr_expect_eq(vex_store_commit(f.s, &set, 1, NULL), -ENOENT);
}

Test(catalog, copied_store_has_old_handles)
{
	uint64_t a = new_file(&f);
	struct vex_node n, got;
	struct vex_change set = { .kind = VEX_NODE_SET, .node_in = &n };
	char cmd[400];

	node_at(&n, a);
	cr_expect_not(n.fh_old);
	fix_close(&f);
	fix_open(&f);
	node_at(&n, a);
	cr_expect_not(n.fh_old, "just reopened");
	fix_close(&f);

	/* A copy at another place, then put where the first was. */
	snprintf(cmd, sizeof(cmd), "cp -a %s %s.copy && rm -rf %s && mv %s.copy %s",
		 f.dir, f.dir, f.dir, f.dir, f.dir);
	cr_assert_eq(system(cmd), 0);
	close(f.rootfd);
	f.rootfd = open(f.dir, O_RDONLY | O_DIRECTORY);
	fix_open(&f);
	node_at(&n, a);
	cr_expect(n.fh_old);
	cr_expect_eq(by_fh(&n.fh, &got), -ENOENT);
	cr_assert_eq(vex_store_commit(f.s, &set, 1, NULL), 0);
	node_at(&got, a);
	cr_expect_not(got.fh_old);
	cr_expect_eq(by_fh(&n.fh, &got), 0);
	fix_close(&f);
	fix_open(&f);
	node_at(&got, a);
	cr_expect_not(got.fh_old, "known by now");
}

struct names {
	unsigned n;
	uint64_t parent[8];
	char name[8][256];
};

static vex_err add_name(void *arg, uint64_t parent, const char *name, uint32_t len)
{
	struct names *l = arg;

	cr_assert_eq(strlen(name), len);
	l->parent[l->n] = parent;
	memcpy(l->name[l->n++], name, len + 1);
	return 0;
}

static vex_err add_node(void *arg, uint64_t node)
{
	struct names *l = arg;

	l->parent[l->n++] = node;
	return 0;
}

Test(catalog, names)
{
	uint64_t a = new_file(&f), b = new_file(&f);
	char longest[256];
	struct vex_change c = { .kind = VEX_NAME_ADD,
				.node = a,
				.parent = 5,
				.name = longest,
				.name_len = 255 };
	struct names l = { 0 };
	AUTO_READER struct vex_reader *r = NULL;

	memset(longest, 0xff, 255);
	longest[255] = 0;
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), 0, "again is no error");
	c.node = b;
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	c.node = 424242;
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), -ENOENT);
	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	cr_assert_eq(vex_read_names(r, a, add_name, &l), 0);
	cr_expect_eq(l.n, 2u);
	l.n = 0;
	cr_assert_eq(vex_read_at(r, 5, longest, 255, add_node, &l), 0);
	cr_expect(l.n == 2 && l.parent[0] + l.parent[1] == a + b);
	c.node = a;
	c.kind = VEX_NAME_DEL;
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), 0, "again is no error");
	l.n = 0;
	cr_assert_eq(vex_read_at(r, 5, longest, 255, add_node, &l), 0);
	cr_expect(l.n == 1 && l.parent[0] == b);
}

Test(catalog, going)
{
	uint64_t a = new_file(&f);
	struct vex_change c = { .kind = VEX_NODE_STATE, .node = a, .state = VEX_GOING };
	struct names l = { 0 };
	AUTO_READER struct vex_reader *r = NULL;

	new_file(&f);
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	cr_assert_eq(vex_read_going(r, add_node, &l), 0);
	cr_expect(l.n == 1 && l.parent[0] == a);
}

static struct vex_stamp stamp_of(struct vex_space *sp, uint64_t node, const char *key)
{
	struct vex_attach a = { 0 };

	cr_assert_eq(get(&f, sp, node, key, &a), 0);
	return a.stamp;
}

Test(catalog, stamps)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t a = new_file(&f);
	struct vex_change c;
	struct vex_change st = { .kind = VEX_STAMP,
				 .node = a,
				 .stamp = { 100, 200, false },
				 .was = { .size = 10, .mtime_ns = 20 } };
	struct vex_change one = { .kind = VEX_STAMP_ONE,
				  .node = a,
				  .space = sp,
				  .key = "old",
				  .key_len = 3,
				  .stamp = { 5, 6, true } };

	cr_assert_eq(put(&f, sp, a, "same", 1, 1), 0); /* stamp 10, 20 */
	cr_assert_eq(make_put(&c, sp, a, "old", 1, 1), 0);
	c.stamp.mtime_ns = 19;
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	cr_assert_eq(make_put(&c, sp, a, "open", 1, 1), 0);
	c.stamp.open = true;
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);

	cr_assert_eq(vex_store_commit(f.s, &st, 1, NULL), 0);
	cr_expect_eq(stamp_of(sp, a, "same").mtime_ns, 200);
	cr_expect_eq(stamp_of(sp, a, "old").mtime_ns, 19);
	cr_expect_eq(stamp_of(sp, a, "open").mtime_ns, 20);
	cr_expect(stamp_of(sp, a, "open").open);
	st.was = (struct vex_stamp){ .open = true };
	cr_assert_eq(vex_store_commit(f.s, &st, 1, NULL), 0);
	cr_expect_eq(stamp_of(sp, a, "open").mtime_ns, 200);
	cr_expect_not(stamp_of(sp, a, "open").open);
	cr_expect_eq(stamp_of(sp, a, "old").mtime_ns, 19);
	cr_assert_eq(vex_store_commit(f.s, &one, 1, NULL), 0);
	cr_expect_eq(stamp_of(sp, a, "old").size, 5);
	cr_expect(stamp_of(sp, a, "old").open);
	one.key = "none";
	one.key_len = 4;
	cr_expect_eq(vex_store_commit(f.s, &one, 1, NULL), -ENODATA);
}

Test(catalog, text_is_kept)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_FREE char *text = malloc(60000);
	uint64_t a = new_file(&f);
	struct vex_attach got = { 0 };
	struct vex_change c;

	for (int i = 0; i < 60000; i++)
		text[i] = (char)('0' + i % 10);
	cr_assert_eq(make_put(&c, sp, a, "", 1, 1), 0);
	c.form = VEX_FORM_TEXT | VEX_FORM_CONTENT;
	c.text = text;
	c.text_len = 60000;
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	cr_assert_eq(vex_reader_get(f.s, &r), 0);
	cr_assert_eq(vex_read_attach(r, a, vex_space_id(sp), "", 0, true, &got), 0);
	cr_expect_eq(got.text_len, 60000u);
	cr_expect_arr_eq(got.text, text, 60000);
	cr_expect_eq(got.form, VEX_FORM_TEXT | VEX_FORM_CONTENT);
	cr_expect_eq(got.lsn, c.lsn);
	vex_attach_clear(&got);
	cr_assert_eq(vex_read_attach_lsn(r, c.lsn, &got), 0);
	cr_expect_eq(got.text, NULL);
	cr_expect_eq(vex_read_attach_lsn(r, c.lsn + 1, &got), -ENODATA);
}

struct seen {
	struct vex_reader *r;
	unsigned n;
	uint64_t last;
	bool is_inner;
};

/* Reads again with the same connection, in the middle of a read. */
static vex_err nested(void *arg, const struct vex_attach *a)
{
	struct seen *s = arg;
	struct vex_attach again;
	struct seen inner = { 0 };

	cr_assert_gt(a->lsn, s->last);
	s->last = a->lsn;
	s->n++;
	cr_assert_eq(vex_read_attach_lsn(s->r, a->lsn, &again), 0);
	if (!s->is_inner && s->n == 2) {
		inner.r = s->r;
		inner.is_inner = true;
		cr_assert_eq(vex_read_space(s->r, a->space, 0, nested, &inner), -EINTR);
		cr_expect_eq(inner.n, 4u);
	}
	return s->n == 4 ? -EINTR : 0;
}

static vex_err count(void *arg, const struct vex_attach *a)
{
	unsigned *n = arg;

	cr_assert_eq(a->key_len, 2u);
	(*n)++;
	return 0;
}

Test(catalog, reads_nest_and_end_early)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	struct seen s = { 0 };
	uint64_t a = new_file(&f);
	unsigned n = 0;

	for (int i = 0; i < 10; i++) {
		char key[3];

		snprintf(key, sizeof(key), "k%d", i);
		cr_assert_eq(put(&f, sp, a, key, 1, 1), 0);
	}
	cr_assert_eq(vex_reader_get(f.s, &s.r), 0);
	cr_expect_eq(vex_read_space(s.r, vex_space_id(sp), 0, nested, &s), -EINTR);
	cr_expect_eq(s.n, 4u);
	cr_expect_eq(vex_read_attaches(s.r, a, count, &n), 0);
	cr_expect_eq(n, 10u);
	vex_reader_put(s.r);
}

/* ---- spaces -------------------------------------------------------------- */

Test(catalog, space_list)
{
	AUTO_SPACE struct vex_space *b = new_space(&f, "bb", 3);
	AUTO_SPACE struct vex_space *a = new_space(&f, "aa", 4);
	AUTO_SPACE struct vex_space *got = NULL, *first = NULL, *second = NULL,
				    *third = NULL;
	struct vex_space_spec spec;
	struct vex_change set = { .kind = VEX_SPACE_SET, .space = a, .spec = &spec };

	cr_expect_eq(vex_space_find(f.s, "cc", &got), -ENODEV);
	cr_expect_eq(vex_space_find(f.s, "aa", &got), 0);
	cr_expect_eq(got, a);
	cr_expect_eq(vex_space_next(f.s, 0, &first), 0);
	cr_expect_eq(first, b);
	cr_expect_eq(vex_space_next(f.s, vex_space_id(b), &second), 0);
	cr_expect_eq(second, a);
	cr_expect_eq(vex_space_next(f.s, vex_space_id(a), &third), -ENODEV);
	vex_space_spec(a, &spec);
	spec.ef_search = 99;
	spec.dim = 77; /* cannot change */
	cr_expect_eq(vex_store_commit(f.s, &set, 1, NULL), 0);
	vex_space_spec(a, &spec);
	cr_expect(spec.ef_search == 99 && spec.dim == 4);
	vex_space_unref(take_ptr(&a));
	vex_space_unref(take_ptr(&b));
	vex_space_unref(take_ptr(&got));
	vex_space_unref(take_ptr(&first));
	vex_space_unref(take_ptr(&second));
	fix_close(&f);
	fix_open(&f);
	a = get_space(&f, "aa");
	vex_space_spec(a, &spec);
	cr_expect(spec.ef_search == 99 && spec.dim == 4 && spec.m == 16);
}

static unsigned slot_files(void)
{
	char path[160];
	DIR *d;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/.vexfs/spaces", f.dir);
	d = opendir(path);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static unsigned wait_files(unsigned want)
{
	for (int i = 0; i < 1000 && slot_files() != want; i++)
		usleep(10000);
	return slot_files();
}

Test(catalog, dropped_space_is_gone_and_purged)
{
	AUTO_SPACE struct vex_space *a = new_space(&f, "a", DIM),
				    *b = new_space(&f, "b", 2);
	AUTO_SPACE struct vex_space *again = NULL, *none = NULL;
	uint64_t node = new_file(&f);
	struct vex_change c = { .kind = VEX_SPACE_DROP, .space = a };
	struct vex_change p;
	struct vex_store_status st;
	uint64_t dropped;
	struct vex_attach at;
	struct vex_view v;
	float row[DIM], want[DIM];

	for (int i = 0; i < 50; i++) {
		char key[8];

		snprintf(key, sizeof(key), "%d", i);
		cr_assert_eq(put(&f, a, node, key, 1, 1), 0);
	}
	cr_assert_eq(put(&f, b, node, "", 2, 1), 0);
	cr_assert_eq(get(&f, a, node, "7", &at), 0);
	cr_assert_eq(vex_view_open(a, &v), 0);
	cr_assert_eq(make_put(&p, a, node, "late", 1, 1), 0);
	cr_assert_eq(vex_store_commit(f.s, &c, 1, NULL), 0);
	dropped = c.lsn;

	cr_expect_eq(vex_space_find(f.s, "a", &none), -ENODEV);
	cr_expect_eq(get(&f, a, node, "7", &at), -ENODATA);
	cr_expect_eq(vex_read_rows(f.s, &at, row), -ENODATA);
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), -ENODEV);
	cr_expect_eq(vex_store_commit(f.s, &p, 1, NULL), -ENODEV);
	/* What was open stays usable. Files go only when the drop is durable. */
	cr_expect_eq(wait_files(2), 2u);
	vex_store_status(f.s, &st);
	cr_expect_geq(st.durable_lsn, dropped);
	fill_row(want, DIM, 1, 0);
	cr_expect_arr_eq(vex_view_row(&v, at.slot), want, sizeof(want));
	vex_view_close(&v);
	/* The name is free, and nothing of the old one shines through. */
	again = new_space(&f, "a", DIM);
	cr_expect_gt(vex_space_id(again), vex_space_id(b));
	cr_expect_eq(get(&f, again, node, "7", &at), -ENODATA);
	cr_expect_eq(holds(&f, b, node, "", 2, 1), 0);
}

Test(catalog, purge_is_taken_up_after_a_crash)
{
	int status;
	pid_t pid;

	fix_close(&f);
	pid = fork();
	if (!pid) {
		struct vex_space *a;
		struct vex_change c = { .kind = VEX_SPACE_DROP };

		fix_open(&f);
		a = new_space(&f, "a", DIM);
		for (int i = 0; i < 3000; i++)
			if (put(&f, a, new_file(&f), "", 1, 1))
				_exit(1);
		c.space = a;
		if (vex_store_commit(f.s, &c, 1, NULL))
			_exit(1);
		raise(SIGKILL);
	}
	waitpid(pid, &status, 0);
	cr_assert(WIFSIGNALED(status));
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	cr_expect_eq(wait_files(0), 0u);
}

Test(catalog, node_ids_are_never_given_twice)
{
	uint64_t last = 0;

	for (int i = 0; i < 4; i++) {
		uint64_t id = vex_store_new_node(f.s);

		cr_expect_gt(id, last);
		cr_expect_gt(id, 1u);
		last = id;
		fix_close(&f);
		fix_open(&f);
	}
}

Test(catalog, node_ids_after_a_kill)
{
	uint64_t *given, last;
	int status;
	pid_t pid;
	int fds[2];

	fix_close(&f);
	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		fix_open(&f);
		for (int i = 0; i < 1000; i++)
			last = vex_store_new_node(f.s);
		if (write(fds[1], &last, sizeof(last)) != sizeof(last))
			_exit(1);
		raise(SIGKILL);
	}
	given = &last;
	cr_assert_eq(read(fds[0], given, sizeof(*given)), (ssize_t)sizeof(*given));
	waitpid(pid, &status, 0);
	fix_open(&f);
	cr_expect_gt(vex_store_new_node(f.s), last);
}
