/* SPDX-License-Identifier: Apache-2.0 */
/* A full disk: what only removes has the reserve, the rest fails and changes nothing; a
 * store opens without room. */
#include "fixture.h"
#include "inject.h"
#include <sys/wait.h>

static struct fix f;
static char reserve[96];

static void begin(void)
{
	fix_begin(&f);
	f.opts.sync_interval_ms = 3600 * 1000;
	snprintf(reserve, sizeof(reserve), "%s/.vexfs/reserve", f.dir);
}

static void end(void)
{
	inject_full_while = NULL;
	fix_end(&f);
}

TestSuite(reserve, .init = begin, .fini = end, .timeout = 60);

static bool there(void)
{
	struct stat st;

	return !stat(reserve, &st) && st.st_size == 1 << 20 &&
	       st.st_blocks * 512 >= 1 << 20;
}

static bool lasts(void)
{
	for (int i = 0; i < 1000 && !there(); i++)
		usleep(10000);
	return there();
}

Test(reserve, made_at_open_and_made_again)
{
	fix_open(&f);
	cr_expect(there());
	fix_close(&f);
	cr_expect(there());
	cr_assert_eq(unlink(reserve), 0);
	cr_assert_eq(close(open(reserve, O_CREAT | O_WRONLY, 0600)), 0);
	fix_open(&f);
	cr_expect(there(), "one without blocks is none");
}

static vex_err change(enum vex_change_kind kind, uint64_t node, struct vex_space *sp)
{
	struct vex_change c = { .kind = kind, .node = node, .space = sp };

	c.parent = 1;
	c.key = "";
	c.name = "moved";
	c.name_len = 5;
	c.state = VEX_GOING;
	c.stamp.size = 3;
	return vex_store_commit(f.s, &c, 1, NULL);
}

static bool purged(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.rows", f.dir);
	return access(path, F_OK);
}

/* The reserve comes back at once here: the disk of the test is not really full. */
Test(reserve, removing_needs_no_room)
{
	static const enum vex_change_kind kinds[] = {
		VEX_DELETE,   VEX_NODE_DROP, VEX_NODE_STATE, VEX_NAME_ADD,
		VEX_NAME_DEL, VEX_STAMP,     VEX_STAMP_ONE,  VEX_SPACE_DROP,
	};
	struct vex_space *sp;
	struct vex_change c;
	uint64_t node[ARRAY_SIZE(kinds)];

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		node[i] = new_file(&f);
		cr_assert_eq(put(&f, sp, node[i], "", i, 1), 0);
	}
	cr_assert_eq(make_put(&c, sp, node[2], "", 77, 1), 0);
	inject_full_while = reserve;
	cr_expect_eq(vex_store_commit(f.s, &c, 1, NULL), -ENOSPC);
	cr_expect_eq(holds(&f, sp, node[2], "", 2, 1), 0, "as it was");
	cr_expect(there(), "not for puts");
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		cr_expect_eq(change(kinds[i], node[i], sp), 0, "%d", kinds[i]);
		if (kinds[i] == VEX_DELETE || kinds[i] == VEX_NODE_DROP)
			cr_expect_eq(holds(&f, sp, node[i], "", i, 1), -ENODATA);
		cr_expect(lasts());
	}
	vex_space_unref(sp);
	inject_full_while = NULL;
	new_file(&f);
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	for (int i = 0; i < 1000 && !purged(); i++)
		usleep(10000);
	cr_expect(purged(), "what the full disk held up, the sync went on with");
	fix_close(&f);
	fix_open(&f);
	cr_expect_eq(vex_space_find(f.s, "words", &sp), -ENODEV);
}

Test(reserve, a_sync_has_it_too)
{
	struct vex_space *sp;
	uint64_t node;

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	node = new_file(&f);
	cr_assert_eq(put(&f, sp, node, "", 1, 1), 0);
	inject_full_while = reserve;
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	inject_full_while = NULL;
	cr_expect_eq(holds(&f, sp, node, "", 1, 1), 0);
	vex_space_unref(sp);
}

/* Without a reserve that helps: an error, and nothing has changed. */
Test(reserve, used_up)
{
	struct vex_space *sp;
	uint64_t node;

	fix_open(&f);
	sp = new_space(&f, "words", DIM);
	node = new_file(&f);
	cr_assert_eq(put(&f, sp, node, "", 1, 1), 0);
	inject_full_while = f.dir;
	cr_expect_eq(delete (&f, sp, node, ""), -ENOSPC);
	cr_expect_eq(delete (&f, sp, node, ""), -ENOSPC);
	cr_expect_eq(vex_store_sync(f.s, false), -ENOSPC);
	cr_expect_eq(holds(&f, sp, node, "", 1, 1), 0);
	inject_full_while = NULL;
	cr_expect_eq(vex_store_sync(f.s, false), 0, "not a failed flush");
	cr_expect(there());
	cr_expect_eq(delete (&f, sp, node, ""), 0);
	vex_space_unref(sp);
}

static uint64_t leave_a_wal(void)
{
	pid_t pid;
	int st;

	fix_open(&f);
	vex_space_unref(new_space(&f, "words", DIM));
	uint64_t node = new_file(&f);
	fix_close(&f);
	pid = fork();
	if (!pid) {
		fix_open(&f);
		_exit(put(&f, get_space(&f, "words"), node, "", 5, 1) != 0);
	}
	cr_assert_eq(waitpid(pid, &st, 0), pid);
	cr_assert_eq(st, 0);
	cr_assert_gt(file_size(&f, "catalog.db-wal"), 0);
	return node;
}

Test(reserve, opens_on_a_full_disk)
{
	uint64_t node = leave_a_wal();

	for (int with = 0; with < 2; with++) {
		struct vex_space *sp;

		inject_full_while = with ? reserve : f.dir;
		fix_open(&f);
		sp = get_space(&f, "words");
		cr_expect_eq(holds(&f, sp, node, "", 5, 1), 0);
		if (!with)
			cr_expect_eq(put(&f, sp, node, "", 6, 1), -ENOSPC);
		vex_space_unref(sp);
		fix_close(&f);
	}
	inject_full_while = NULL;
	fix_open(&f);
	AUTO_SPACE struct vex_space *sp = get_space(&f, "words");

	cr_expect_eq(holds(&f, sp, node, "", 5, 1), 0);
	cr_expect_eq(put(&f, sp, node, "", 6, 1), 0);
}
