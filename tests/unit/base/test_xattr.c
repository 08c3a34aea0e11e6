/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <vexfs/base.h>

static char dir[64];
static int dirfd;

static void up(void)
{
	snprintf(dir, sizeof(dir), "/var/tmp/vexfs-xattr-XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	close(openat(dirfd, "f", O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(symlinkat("f", dirfd, "link"), 0);
	int fd = openat(dirfd, "f", O_RDWR);
	if (fsetxattr(fd, "user.x", "value", 5, 0))
		cr_skip_test("no xattrs in %s", dir);
	close(fd);
}

static void down(void)
{
	unlinkat(dirfd, "f", 0);
	unlinkat(dirfd, "link", 0);
	close(dirfd);
	rmdir(dir);
}

#define XTEST(name) Test(xattr, name, .init = up, .fini = down)

XTEST(read_by_any_descriptor)
{
	int flags[] = { O_RDONLY, O_RDWR, O_PATH };
	char v[8];

	for (int k = 0; k < 3; k++) {
		int fd = openat(dirfd, "f", flags[k]);

		cr_assert_eq(vex_getxattr(fd, "user.x", v, sizeof(v)), 5);
		cr_expect_eq(memcmp(v, "value", 5), 0);
		cr_expect_eq(vex_getxattr(fd, "user.x", NULL, 0), 5);
		cr_expect(vex_getxattr(fd, "user.x", v, 3) < 0 && errno == ERANGE);
		cr_expect(vex_getxattr(fd, "user.y", v, 8) < 0 && errno == ENODATA);
		close(fd);
	}
}

XTEST(read_by_directory_and_name)
{
	char v[8];

	cr_assert_eq(vex_getxattr_at(dirfd, "f", "user.x", v, sizeof(v)), 5);
	cr_expect_eq(memcmp(v, "value", 5), 0);
	cr_expect(vex_getxattr_at(dirfd, "f", "user.y", v, 8) < 0 && errno == ENODATA);
	cr_expect(vex_getxattr_at(dirfd, "none", "user.x", v, 8) < 0 && errno == ENOENT);
	/* The link's own, which has none, and not those of what it leads to. */
	cr_expect_lt(vex_getxattr_at(dirfd, "link", "user.x", v, 8), 0);
}
