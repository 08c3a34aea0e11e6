/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c: a child opens the engine, begins, perhaps makes the system call, and
 * dies by SIGKILL before it can say so. The next open settles it.
 */
#include <linux/fs.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "names_fixture.h"

TestSuite(recover, .init = nf_up, .fini = nf_down, .timeout = 60);

static void die(void)
{
	kill(getpid(), SIGKILL);
	pause();
}

/* Runs fn in a child with the engine, which ends in die(). */
static void killed(void (*fn)(void))
{
	pid_t pid;
	int status;

	vex_engine_close(eng);
	close(af_root);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		af_root = open(af_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (vex_engine_open(af_root, &af_opts, &eng, NULL))
			_exit(1);
		fn();
		die();
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	af_root = open(af_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(vex_engine_open(af_root, &af_opts, &eng, NULL), 0);
}

static void begin_unlink(void)
{
	struct vex_removal r;

	if (vex_engine_unlink_begin(eng, af_root, "a", &r))
		_exit(2);
}

static void begin_unlink_and_do(void)
{
	begin_unlink();
	unlinkat(af_root, "a", 0);
}

Test(recover, killed_before_unlink)
{
	nf_file("a", "x", 1);
	killed(begin_unlink);
	nf_finds(0, 9, "a");
	af_is_text("a", "s", "1,0");
}

Test(recover, killed_after_unlink)
{
	nf_file("a", "x", 1);
	killed(begin_unlink_and_do);
	nf_finds(0, 9, "");
	cr_expect_eq(nf_attachments(), 0);
	cr_expect_eq(nf_nodes(), 1);
}

static void unlink_open_file(void)
{
	int fd = openat(af_root, "a", O_RDONLY);

	if (fd < 0 || nf_unlink("a", true))
		_exit(2);
}

Test(recover, killed_while_unlinked_but_open)
{
	nf_file("a", "x", 1);
	killed(unlink_open_file);
	cr_expect_eq(nf_attachments(), 0);
}

static void begin_rename(void)
{
	struct vex_rename r;
	int d = openat(af_root, "d", O_PATH | O_DIRECTORY);

	if (d < 0 || vex_engine_rename_begin(eng, af_root, "a", d, "b", 0, &r))
		_exit(2);
}

static void begin_rename_and_do(void)
{
	begin_rename();
	renameat(af_root, "a", af_root, "d/b");
}

Test(recover, killed_before_rename_over)
{
	nf_sh("mkdir d");
	nf_file("a", "x", 1);
	nf_file("d/b", "y", 2);
	killed(begin_rename);
	nf_finds(0, 9, "a d/b");
}

Test(recover, killed_after_rename_over)
{
	nf_sh("mkdir d");
	nf_file("a", "x", 1);
	nf_file("d/b", "y", 2);
	killed(begin_rename_and_do);
	nf_finds(0, 9, "d/b");
	af_is_text("d/b", "s", "1,0");
	cr_expect_eq(nf_attachments(), 1);
	nf_finds(0, 9, "d/b");
	cr_expect_eq(nf_names(nf_node("d/b")), 1, "the name that failed is forgotten");
}

static void begin_replace(void)
{
	struct vex_rename r;

	if (vex_engine_rename_begin(eng, af_root, "tmp", af_root, "b", 0, &r))
		_exit(2);
}

static void begin_replace_and_do(void)
{
	begin_replace();
	renameat(af_root, "tmp", af_root, "b");
}

Test(recover, killed_before_a_replacement)
{
	nf_file("b", "old", 2);
	af_write("tmp", "new");
	killed(begin_replace);
	nf_stale("");
	nf_finds(0, 9, "b");
	cr_expect_eq(nf_rows(), 1);
}

/* No scan has to tell that the file is gone. */
Test(recover, killed_after_a_replacement)
{
	uint64_t n;

	nf_file("b", "old", 2);
	af_write("tmp", "new");
	killed(begin_replace_and_do);
	cr_expect_eq(nf_rows(), 0);
	nf_finds(0, 9, "");
	nf_stale("b:1");
	cr_assert_eq(vex_engine_reattach(eng, &af_uid0, "b", &n), 0);
	nf_finds(0, 9, "b");
	cr_expect_eq(nf_rows(), 1);
}

/* Written within one tick of the clock: no size, no time tells the two apart. */
Test(recover, killed_after_a_replacement_that_looks_the_same)
{
	nf_file("b", "old", 2);
	af_write("tmp", "new");
	nf_sh("touch -r b tmp");
	killed(begin_replace_and_do);
	nf_finds(0, 9, "");
	nf_stale("b:1");
}

static void begin_replace_one_of_two(void)
{
	if (nf_link("b", "c"))
		_exit(2);
	begin_replace_and_do();
}

Test(recover, killed_after_a_replacement_of_one_of_two_links)
{
	nf_file("b", "old", 2);
	af_write("tmp", "new");
	killed(begin_replace_one_of_two);
	nf_finds(0, 9, "c");
	nf_stale("");
}

static void begin_exchange(void)
{
	struct vex_rename r;

	if (vex_engine_rename_begin(eng, af_root, "a", af_root, "d", RENAME_EXCHANGE, &r))
		_exit(2);
	syscall(SYS_renameat2, af_root, "a", af_root, "d", RENAME_EXCHANGE);
}

Test(recover, killed_after_exchange_with_a_directory)
{
	nf_sh("mkdir d");
	nf_file("a", "x", 1);
	nf_file("d/b", "y", 2);
	killed(begin_exchange);
	nf_finds(0, 9, "d a/b");
	eng->handles = false;
	atomic_fetch_add(&eng->moves, 1);
	nf_finds(0, 9, "d a/b");
}

static void begin_rmdir(void)
{
	struct vex_removal r;

	if (vex_engine_unlink_begin(eng, af_root, "d", &r) || !r.last)
		_exit(2);
}

Test(recover, killed_before_rmdir)
{
	nf_sh("mkdir d");
	nf_attach("d", 1);
	killed(begin_rmdir);
	nf_finds(0, 9, "d");
}

static void put_once(void)
{
	nf_file("b", "y", 2);
}

Test(recover, what_was_acknowledged_is_there)
{
	nf_file("a", "x", 1);
	killed(put_once);
	nf_finds(0, 9, "a b");
}

/* A copy made behind us got its node, and a kill came before its mark: played by
 * putting the old mark back. */
Test(recover, copy_without_its_own_mark)
{
	char path[128];
	uint8_t m[32];
	uint64_t id;

	nf_file("a", "x", 1);
	nf_sh("cp -a a b");
	snprintf(path, sizeof(path), "%s/a", af_dir);
	cr_assert_eq(getxattr(path, VEX_XATTR_MARK, m, 32), 32);
	id = nf_node("b");
	snprintf(path, sizeof(path), "%s/b", af_dir);
	cr_assert_eq(setxattr(path, VEX_XATTR_MARK, m, 32, 0), 0);
	af_again();
	cr_expect_eq(nf_node("b"), id);
	nf_finds(0, 9, "a b");
	cr_expect_eq(nf_attachments(), 2);
}
