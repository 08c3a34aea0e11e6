/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that run out, and caches that give some back. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <vexfs/base.h>

TestSuite(fds, .timeout = 60);

static int kept[4], nkept, asked;

static bool close_one(void *arg)
{
	asked++;
	cr_assert_eq(arg, kept);
	if (nkept)
		close(kept[--nkept]);
	else
		return false;
	return true;
}

/* As many as are allowed are open, n of them ours to give back. */
static void use_up(int n)
{
	struct rlimit r = { .rlim_cur = 64, .rlim_max = 64 };
	int fd;

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
	for (nkept = 0; nkept < n; nkept++)
		cr_assert_geq(kept[nkept] = open("/dev/null", O_RDONLY), 0);
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		;
	cr_assert_eq(errno, EMFILE);
}

Test(fds, caches_make_room)
{
	struct vex_relief r = { .close_some = close_one, .arg = kept };
	int fd;

	vex_relief_add(&r);
	vex_relief_add(&r); /* counts once */
	use_up(2);
	cr_expect_geq(vex_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0), 0);
	cr_expect_eq(asked, 1);
	cr_expect_eq(vex_dup(0, &fd), 0);
	cr_expect_eq(asked, 2);
	cr_expect_eq(vex_dup(0, &fd), -EMFILE);
	cr_expect_eq(asked, 3);
	cr_expect_lt(vex_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0), 0);
	cr_expect_eq(errno, EMFILE);
	vex_relief_remove(&r);
	cr_expect_eq(vex_dup(0, &fd), -EMFILE);
	cr_expect_eq(asked, 4, "not asked after its end");
}

Test(fds, other_errors_ask_nobody)
{
	struct vex_relief r = { .close_some = close_one, .arg = kept };

	vex_relief_add(&r);
	cr_expect_lt(vex_openat(AT_FDCWD, "/no/such", O_RDONLY, 0), 0);
	cr_expect_eq(errno, ENOENT);
	cr_expect_eq(asked, 0);
	vex_relief_remove(&r);
}

Test(fds, files_by_handle_too)
{
	struct vex_relief r = { .close_some = close_one, .arg = kept };
	int dir = open("/", O_RDONLY | O_DIRECTORY), fd;
	struct vex_fh fh;

	cr_assert_eq(vex_fh_get(dir, "", &fh, NULL), 0);
	if (vex_fh_open(dir, &fh, O_PATH, &fd))
		cr_skip_test("no file handles here");
	close(fd);
	vex_relief_add(&r);
	use_up(1);
	cr_expect_eq(vex_fh_open(dir, &fh, O_PATH, &fd), 0);
	cr_expect_eq(asked, 1);
	cr_expect_eq(vex_fh_open(dir, &fh, O_PATH, &fd), -EMFILE);
	vex_relief_remove(&r);
}
