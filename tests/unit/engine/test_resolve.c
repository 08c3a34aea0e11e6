/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c, cred.c: paths as the caller, beneath the store. */
#include <sys/syscall.h>
#include "names_fixture.h"

static void up(void)
{
	nf_up();
	nf_sh("mkdir -p d/open d/shut; chmod 755 . d d/open; chmod 700 d/shut;"
	      "echo x >d/open/f; echo x >d/shut/f; chmod 644 d/open/f d/shut/f;"
	      "ln -s open/f d/link; ln -s /etc/passwd d/out; ln -s ../.. d/up;"
	      "ln -s ../../../../../../etc d/far; ln -s .vexfs/catalog.db sly;"
	      "ln -s loop loop; chmod 600 d/open/f; touch d/open/g; chmod 666 d/open/g");
}

TestSuite(resolve, .init = up, .fini = nf_down, .timeout = 30);

struct job {
	const struct vex_cred *c;
	const char *path;
	int want;
	struct resolved *r;
};

static vex_err run(void *arg)
{
	struct job *j = arg;

	return resolve(eng, j->c, j->path, j->want, j->r);
}

static vex_err go(const struct vex_cred *c, const char *path, int want,
		  struct resolved *r)
{
	struct job j = { c, path, want, r };

	*r = (struct resolved)RESOLVED_INIT;
	return engine_deep(eng, run, &j);
}

static vex_err try(const struct vex_cred *c, const char *path, int want)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;

	return go(c, path, want, &r);
}

Test(resolve, finds_object_directory_and_name)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;
	AUTO_RESOLVED struct resolved d = RESOLVED_INIT;
	struct stat st;

	cr_assert_eq(go(&af_uid0, "d/link", R_OK, &r), 0);
	cr_expect_str_eq(r.name, "f");
	cr_assert_eq(fstatat(r.dirfd, r.name, &st, AT_SYMLINK_NOFOLLOW), 0);
	cr_expect_eq(st.st_ino, nf_ino("d/open/f"));
	cr_assert_eq(go(&af_uid0, "d/open/", 0, &d), 0);
	cr_expect_str_eq(d.name, "open");
}

Test(resolve, the_root)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;

	cr_assert_eq(go(&af_uid0, "", R_OK, &r), 0);
	cr_expect_lt(r.dirfd, 0);
	cr_expect(is_root(eng, &r.st));
}

Test(resolve, escapes_are_refused)
{
	cr_expect_eq(try(&af_uid0, "d/out", 0), -EACCES);
	cr_expect_eq(try(&af_uid0, "d/up", 0), -EACCES);
	cr_expect_eq(try(&af_uid0, "d/far/passwd", 0), -EACCES);
	cr_expect_eq(try(&af_uid0, "../x", 0), -EACCES);
	cr_expect_eq(try(&af_uid0, "/etc/passwd", 0), -EACCES);
	cr_expect_eq(try(&af_uid0, "loop", 0), -ELOOP);
	cr_expect_eq(try(&af_uid0, "d/none", 0), -ENOENT);
	cr_expect_eq(try(&af_uid0, "d/open/f/x", 0), -ENOTDIR);
}

Test(resolve, the_control_directory_is_not_there)
{
	cr_expect_eq(try(&af_uid0, ".vexfs", 0), -ENOENT);
	cr_expect_eq(try(&af_uid0, ".vexfs/catalog.db", 0), -ENOENT);
	cr_expect_eq(try(&af_uid0, "sly", 0), -ENOENT);
	cr_expect_eq(try(&af_uid0, "d/../.vexfs/spaces", 0), -ENOENT);
}

Test(resolve, with_the_callers_rights)
{
	NEEDS_ROOT();
	cr_expect_eq(try(&af_nobody, "d/open", 0), 0);
	cr_expect_eq(try(&af_nobody, "d/open/f", 0), 0);
	cr_expect_eq(try(&af_nobody, "d/open/f", R_OK), -EACCES);
	cr_expect_eq(try(&af_nobody, "d/open/g", R_OK | W_OK), 0);
	cr_expect_eq(try(&af_nobody, "d/shut/f", 0), -EACCES);
	cr_expect_eq(try(&af_uid0, "d/shut/f", R_OK), 0);
	nf_sh("ln -s ../shut/../open/g d/open/way");
	cr_expect_eq(try(&af_nobody, "d/open/way", 0), -EACCES,
		     "the way leads through a directory it may not search");
}

Test(resolve, groups)
{
	uint32_t gs[] = { 4242 };
	struct vex_cred in = { .uid = 65534,
			       .gid = 65534,
			       .ngroups = 1,
			       .groups = gs,
			       .groups_known = true };
	struct vex_cred unsure = { .uid = 65534, .gid = 65534 };

	NEEDS_ROOT();
	nf_sh("chgrp 4242 d/shut; chmod 750 d/shut");
	cr_expect_eq(try(&in, "d/shut/f", R_OK), 0);
	cr_expect_eq(try(&unsure, "d/shut/f", R_OK), -EACCES);
	nf_sh("chmod 705 d/shut");
	cr_expect_eq(try(&in, "d/shut/f", R_OK), -EACCES);
	cr_expect_eq(try(&unsure, "d/shut/f", R_OK), -EACCES, "a group could deny it");
	cr_expect_eq(try(&af_nobody, "d/shut/f", R_OK), 0);
}

static vex_err check_own(void *arg)
{
	(void)arg;
	return syscall(SYS_setfsuid, -1) == 0 && syscall(SYS_setfsgid, -1) == 0 ? 0
										: -EPERM;
}

Test(resolve, the_thread_is_itself_again)
{
	NEEDS_ROOT();
	for (int i = 0; i < 200; i++) {
		(void)!try(&af_nobody, i & 1 ? "d/shut/f" : "d/open/g", R_OK);
		cr_assert_eq(engine_deep(eng, check_own, NULL), 0);
	}
}

Test(resolve, deeper_than_path_max)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;
	AUTO_BUF struct vex_buf b = { 0 };
	char name[201];
	int dir = dup(af_root);

	memset(name, 'n', 200);
	name[200] = '\0';
	for (int i = 0; i < 25; i++) {
		int next;

		cr_assert_eq(mkdirat(dir, name, 0755), 0);
		next = openat(dir, name, O_PATH | O_DIRECTORY);
		close(dir);
		dir = next;
	}
	cr_assert_eq(place_dir_path(eng, dir, &b), 0);
	cr_expect_eq(b.len, 25u * 201 - 1);
	cr_expect(climb_below(eng, dir));
	close(dir);
	/* As far as one path reaches. */
	b.data[19 * 201 - 1] = '\0';
	cr_expect_eq(go(&af_nobody, b.data, 0, &r), 0);
	nf_sh("rm -rf n*");
}
