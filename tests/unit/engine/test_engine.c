/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c: opening, closing, copied stores. */
#include "names_fixture.h"

TestSuite(engine, .init = nf_up, .fini = nf_down, .timeout = 60);

Test(engine, root_is_node_one)
{
	struct vex_node n;

	cr_assert(nf_row(ROOT_NODE, &n));
	cr_expect(n.is_dir);
	cr_expect_eq(n.ino, nf_ino("."));
	cr_expect_eq(nf_node(""), ROOT_NODE);
	cr_expect_eq(nf_nodes(), 1);
}

Test(engine, a_live_store_is_refused)
{
	struct vex_engine *other = NULL;
	struct vex_problem p;

	cr_expect_eq(vex_engine_open(af_root, &af_opts, &other, &p), -EBUSY);
	cr_expect_neq(p.text[0], '\0');
	cr_assert_null(other);
}

Test(engine, what_cannot_be_opened_is_said)
{
	struct vex_engine_opts o = af_opts;
	struct vex_engine *other = NULL;
	struct vex_problem p;
	int fd;

	af_write("f", "x");
	fd = openat(af_root, "f", O_RDONLY);
	cr_expect_eq(vex_engine_open(fd, &o, &other, &p), -ENOTDIR);
	cr_expect_neq(p.text[0], '\0');
	close(fd);
	o.vec_space = "No Space";
	cr_expect_eq(vex_engine_open(af_root, &o, &other, &p), -EINVAL);
	cr_expect_eq(vex_engine_open(af_root, &o, &other, NULL), -EINVAL);
}

Test(engine, finds_all_after_reopening)
{
	nf_dir("d");
	nf_file("d/a", "a", 1);
	nf_file("b", "b", 2);
	nf_attach("", 3);
	nf_attach("d", 4);
	af_again();
	nf_finds(0, 9, "d/a b . d");
	cr_expect_eq(nf_node(""), ROOT_NODE);
	af_is_text("d/a", "s", "1,0");
}

Test(engine, admin_is_root_or_the_owner)
{
	struct vex_cred owner = { .uid = 777 };

	cr_expect(vex_cred_is_admin(eng, &af_uid0));
	cr_expect_not(vex_cred_is_admin(eng, &owner));
	eng->owner = 777;
	cr_expect(vex_cred_is_admin(eng, &owner));
}

static void make_tree(void)
{
	nf_sh("mkdir -p a/b/c e");
	nf_file("a/b/c/1", "one", 1);
	nf_file("a/b/2", "two", 2);
	nf_file("3", "three", 3);
	nf_file("e/4", "four", 4);
	cr_assert_eq(nf_link("e/4", "a/4link"), 0);
	nf_attach("a/b", 5);
}

/* Closes, copies the store by the command `how` and goes on in the copy. */
static void move_to_copy(const char *how)
{
	char old[64], line[512];

	vex_engine_close(eng);
	close(af_root);
	eng = NULL;
	snprintf(old, sizeof(old), "%s", af_dir);
	snprintf(af_dir, sizeof(af_dir), "%.40s-copy", old);
	snprintf(line, sizeof(line), "%s %s %s", how, old, af_dir);
	cr_assert_eq(system(line), 0, "%s", line);
	af_root = open(af_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(vex_engine_open(af_root, &af_opts, &eng, NULL), 0);
}

static void remove_original(void)
{
	char line[128];

	snprintf(line, sizeof(line), "rm -rf %.*s", (int)(strlen(af_dir) - 5), af_dir);
	cr_assert_eq(system(line), 0);
}

static void finds_tree(void)
{
	nf_finds(0, 3, "a/b/c/1 a/b/2 3");
	nf_finds(5, 1, "a/b");
	af_is_text("a/b/c/1", "s", "1,0");
	af_is_text("a/4link", "s", "4,0");
	af_is_text("e/4", "s", "4,0");
	af_is_text("a/b", "s", "5,0");
}

Test(engine, copied_store_answers_alike)
{
	uint64_t nodes;

	make_tree();
	nodes = nf_nodes();
	move_to_copy("cp -a");
	finds_tree();
	cr_expect_eq(nf_nodes(), nodes, "nothing became twice");
	/* The original lives beside it, on the same filesystem: what its old handles
	 * would open must not be taken for ours. */
	nf_sh("echo changed >a/b/2");
	nf_attach("a/b/2", 2.5f);
	nf_finds(2.5f, 1, "a/b/2");
	af_again();
	cr_expect_not(eng->copied);
	nf_finds(0, 3, "a/b/c/1 a/b/2 3");
	remove_original();
	nf_finds(0, 3, "a/b/c/1 a/b/2 3");
}

Test(engine, copied_store_found_by_search_alone)
{
	make_tree();
	move_to_copy("cp -a");
	remove_original();
	nf_finds(0, 3, "a/b/c/1 a/b/2 3");
	af_again();
	finds_tree();
}

Test(engine, store_restored_without_xattrs_is_adopted)
{
	make_tree();
	move_to_copy("cp -r --preserve=mode,ownership,timestamps,links");
	remove_original();
	af_is_text("a/b/2", "s", "2,0");
	nf_finds(0, 3, "a/b/c/1 a/b/2 3");
	nf_finds(5, 1, "a/b");
	af_again();
	nf_finds(0, 3, "a/b/c/1 a/b/2 3");
	af_is_text("3", "s", "3,0");
}

Test(engine, moved_store_is_the_same)
{
	make_tree();
	move_to_copy("mv");
	cr_expect_not(eng->copied);
	finds_tree();
}

/* ---- all at once
 * ------------------------------------------------------------------------ */

struct worker {
	pthread_t t;
	int id;
	vex_err err;
};

static vex_err one_round(int id, int i)
{
	char a[64], b[64];
	vex_err err;

	snprintf(a, sizeof(a), "t%d/f%d", id, i);
	snprintf(b, sizeof(b), "t%d/g%d", (id + 1) % 4, i * 4 + id);
	nf_file(a, "x", (float)i);
	err = nf_rename(a, b, 0, false);
	free(nf_near((float)i, 5, &af_uid0));
	return err || i % 2 ? err : nf_unlink(b, false);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < 40 && !w->err; i++)
		w->err = one_round(w->id, i);
	return NULL;
}

Test(engine, many_threads_at_once)
{
	struct worker w[4];

	nf_sh("mkdir -p t0 t1 t2 t3");
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){ .id = i };
		cr_assert_eq(pthread_create(&w[i].t, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(w[i].t, NULL);
		cr_expect_eq(w[i].err, 0, "worker %d: %s", i, strerror(-w[i].err));
	}
	cr_expect_eq(nf_attachments(), 4 * 20);
	cr_expect_eq(nf_nodes(), 1 + 4 + 4 * 20);
}

/* A file is found at any moment of its renames, with handles and without. */
static _Atomic int stop_moving;

static void *keep_moving(void *arg)
{
	(void)arg;
	for (int i = 0; !atomic_load(&stop_moving); i++)
		cr_assert_eq(
		    nf_rename(i % 2 ? "t1/b" : "t0/a", i % 2 ? "t0/a" : "t1/b", 0, false),
		    0);
	return NULL;
}

static void found_while_moving(void)
{
	pthread_t t;

	nf_sh("mkdir t0 t1");
	nf_file("t0/a", "x", 1);
	pthread_create(&t, NULL, keep_moving, NULL);
	for (int i = 0; i < 300; i++) {
		AUTO_FREE char *got = nf_near(0, 9, &af_uid0);

		cr_expect(!strcmp(got, "t0/a") || !strcmp(got, "t1/b"),
			  "round %d: found \"%s\"", i, got);
	}
	atomic_store(&stop_moving, 1);
	pthread_join(t, NULL);
}

Test(engine, found_while_moving)
{
	found_while_moving();
}

Test(engine, found_while_moving_without_handles)
{
	eng->handles = false;
	found_while_moving();
}
