/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing, one change at a time, and what views and readers then show. */
#include "fixture.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
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

TestSuite(store, .init = begin, .fini = end, .timeout = 60);

Test(store, put_replace_delete)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t node = new_file(&f);
	struct vex_space_counts n;

	cr_expect_eq(put(&f, sp, node, "", 1, 1), 0);
	cr_expect_eq(holds(&f, sp, node, "", 1, 1), 0);
	cr_expect_eq(put(&f, sp, node, "", 2, 3), 0);
	cr_expect_eq(holds(&f, sp, node, "", 2, 3), 0);
	cr_expect_eq(put(&f, sp, node, "k", 3, 2), 0);
	vex_space_counts(sp, &n);
	cr_expect_eq(n.attachments, 2u);
	cr_expect_eq(n.rows, 5u);
	cr_expect_eq(delete (&f, sp, node, ""), 0);
	cr_expect_eq(holds(&f, sp, node, "", 2, 3), -ENODATA);
	cr_expect_eq(holds(&f, sp, node, "k", 3, 2), 0);
	cr_expect_eq(delete (&f, sp, node, ""), -ENODATA);
	vex_space_counts(sp, &n);
	cr_expect_eq(n.attachments, 1u);
	cr_expect_eq(n.rows, 2u);
}

Test(store, create_and_replace_flags)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t node = new_file(&f);

	cr_expect_eq(put_flags(&f, sp, node, "", 1, 1, XATTR_REPLACE), -ENODATA);
	cr_expect_eq(put_flags(&f, sp, node, "", 1, 1, XATTR_CREATE), 0);
	cr_expect_eq(put_flags(&f, sp, node, "", 2, 1, XATTR_CREATE), -EEXIST);
	cr_expect_eq(holds(&f, sp, node, "", 1, 1), 0);
	cr_expect_eq(put_flags(&f, sp, node, "", 3, 1, XATTR_REPLACE), 0);
	cr_expect_eq(holds(&f, sp, node, "", 3, 1), 0);
	cr_expect_eq(put(&f, sp, 999999, "", 3, 1), -ENOENT);
}

Test(store, view_is_a_moment)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t node = new_file(&f);
	struct vex_attach a;
	struct vex_view v;
	struct vex_slot slot;
	float want[DIM];

	cr_assert_eq(put(&f, sp, node, "", 5, 2), 0);
	cr_assert_eq(get(&f, sp, node, "", &a), 0);
	cr_assert_eq(vex_view_open(sp, &v), 0);
	cr_assert_eq(delete (&f, sp, node, ""), 0);
	cr_expect_eq(v.live_rows, 2u);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert(vex_view_live(&v, a.slot + i));
		fill_row(want, DIM, 5, i);
		cr_expect_arr_eq(vex_view_row(&v, a.slot + i), want, sizeof(want));
		cr_expect_float_eq(vex_view_norm(&v, a.slot + i), vex_norm(want, DIM),
				   1e-3);
		vex_view_slot(&v, a.slot + i, &slot);
		cr_expect(slot.node == node && slot.lsn == a.lsn && slot.row == i);
		cr_expect_eq(vex_view_verify(&v, a.slot + i, &a), 0);
	}
	vex_view_close(&v);
	cr_assert_eq(vex_view_open(sp, &v), 0);
	cr_expect_eq(v.live_rows, 0u);
	vex_view_close(&v);
}

Test(store, reopen_finds_all)
{
	struct vex_space *sp = new_space(&f, "words", DIM);
	uint64_t node[50];
	struct vex_space_counts n;
	struct vex_store_status st;

	for (unsigned i = 0; i < 50; i++) {
		node[i] = new_file(&f);
		cr_assert_eq(put(&f, sp, node[i], i & 1 ? "key" : "", i, 1 + i % 3), 0);
	}
	vex_store_status(f.s, &st);
	cr_expect_eq(st.nodes, 50u);
	vex_space_unref(sp);
	fix_close(&f);
	cr_expect_eq(access("/proc/self/fd/0", F_OK), 0);
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	sp = get_space(&f, "words");
	for (unsigned i = 0; i < 50; i++)
		cr_expect_eq(holds(&f, sp, node[i], i & 1 ? "key" : "", i, 1 + i % 3), 0);
	vex_space_counts(sp, &n);
	cr_expect_eq(n.attachments, 50u);
	cr_expect_eq(n.damaged, 0u);
	vex_store_status(f.s, &st);
	cr_expect_eq(st.nodes, 50u);
	cr_expect_eq(st.attachments, 50u);
	vex_space_unref(sp);
}

Test(store, files_are_private)
{
	AUTO_SPACE struct vex_space *sp = new_space(&f, "words", DIM);
	static const char *const names[] = { "catalog.db",    "catalog.db-wal",
					     "lock",          "reserve",
					     "spaces/1.rows", "spaces/1.recs" };
	struct stat st;
	char path[160];

	snprintf(path, sizeof(path), "%s/.vexfs", f.dir);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0700u);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/.vexfs/%s", f.dir, names[i]);
		cr_assert_eq(stat(path, &st), 0, "%s", path);
		cr_expect_eq(st.st_mode & 07777, 0600u, "%s", path);
	}
}

/* STORE beneath a mount of its own: nothing may be looked up by path any more. The
 * child has mounts of its own, which end with it. */
static int use_covered_store(void)
{
	struct vex_space *sp;
	uint64_t node;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", f.dir, "tmpfs", 0, NULL))
		return 77;
	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	node = new_file(&f);
	for (unsigned i = 0; i < 2000; i++) /* past a checkpoint */
		if (put(&f, sp, node, "", i, 1))
			return 1;
	if (vex_store_sync(f.s, true) || holds(&f, sp, node, "", 1999, 1))
		return 2;
	vex_space_unref(sp);
	fix_close(&f);
	fix_open(&f);
	sp = get_space(&f, "words");
	if (holds(&f, sp, node, "", 1999, 1))
		return 3;
	vex_space_unref(sp);
	fix_close(&f);
	return access(f.dir, F_OK);
}

Test(store, works_beneath_a_mount)
{
	struct stat st;
	char path[160];
	int status;
	pid_t pid;

	fix_close(&f);
	pid = fork();
	if (!pid)
		_exit(use_covered_store());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		cr_skip_test("no mounts here");
	cr_expect_eq(WEXITSTATUS(status), 0);
	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.rows", f.dir);
	cr_expect_eq(stat(path, &st), 0);
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
}
