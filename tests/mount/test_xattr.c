/* SPDX-License-Identifier: Apache-2.0 */
/* Attachments as xattrs, through the mount: what SPEC section 2 says of values, names
 * and errors. A call that fails changes nothing: each is followed by a look. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "mount.h"

static struct vmount m;
static char f[VM_PATH];

static void up(void)
{
	vm_new(&m);
	vm_up(&m, NULL);
	snprintf(f, sizeof(f), "%s", vm_at(&m, "f"));
	close(open(f, O_CREAT | O_WRONLY, 0644));
}

static void down(void)
{
	vm_free(&m);
}

TestSuite(xattr, .init = up, .fini = down, .timeout = 60);

/* 0, or the errno. */
static int set(const char *name, const void *v, size_t n, int flags)
{
	return setxattr(f, name, v, n, flags) ? errno : 0;
}

static int set_text(const char *name, const char *text)
{
	return set(name, text, strlen(text), 0);
}

static void is(const char *name, const void *want, size_t n)
{
	static char got[65536];

	cr_assert_eq(getxattr(f, name, got, sizeof(got)), (ssize_t)n, "%s", name);
	cr_assert_arr_eq(got, want, n, "%s", name);
	cr_assert_eq(getxattr(f, name, NULL, 0), (ssize_t)n);
}

/* Names of the list, all of it, as one string with blanks. */
static const char *list(void)
{
	static char names[4096];
	ssize_t n = listxattr(f, names, sizeof(names));

	cr_assert_geq(n, 0);
	for (ssize_t i = 0; i < n; i++)
		if (!names[i])
			names[i] = ' ';
	names[n] = 0;
	return names;
}

Test(xattr, values_come_back_as_they_went)
{
	static const char *const texts[] = { "1,2,3,4", "[ 1 2\t3 , 4 ]",
					     "1 2 3 4\n5 6 7 8\n",
					     "[[1,2,3,4],\n [5,6,7,-8e-1]]",
					     " +1, .5 ,5. , -3e-2\r\n" };
	float rows[8] = { 1, -2, 3.5f, 1e-30f, 5, 6, 7, 8 };

	cr_assert_eq(set_text("user.vexfs.t", texts[0]), 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		cr_expect_eq(set_text("user.vexfs.t", texts[i]), 0, "%s", texts[i]);
		is("user.vexfs.t", texts[i], strlen(texts[i]));
	}
	cr_assert_eq(set("user.vexfs.t.k/not", "1,2,3,4", 7, 0), EINVAL);
	cr_assert_eq(set("user.vexfs.t.key \xff", rows, sizeof(rows), 0), 0);
	is("user.vexfs.t.key \xff", rows, sizeof(rows));
	cr_assert_str_eq(list(), "user.vexfs.t user.vexfs.t.key \xff ");
	vm_remount(&m, NULL);
	is("user.vexfs.t.key \xff", rows, sizeof(rows));
	is("user.vexfs.t", texts[4], strlen(texts[4]));
}

Test(xattr, values_that_are_none)
{
	static const char *const bad[] = {
		"1,2,3",      "1,2,3,4,5", "1,,2,3",
		"1,2,3,",     "nan,1,2,3", "inf 1 2 3",
		"1e39,1,2,3", "0x1,2,3,4", "1,2,3,4\n\n5,6,7,8",
		"[1,2,3,4",   "[]",        "\n",
		"words",      "0,0,0,0",   "1,2,3,4;"
	};
	float nan[4] = { 1, 2, 3, __builtin_nanf("") },
	      inf[4] = { 1, 2, 3, __builtin_inff() };
	float zero[4] = { 0 };

	cr_assert_eq(set_text("user.vexfs.s", "1,2,3,4"), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_eq(set_text("user.vexfs.s", bad[i]), EINVAL, "%s", bad[i]);
	cr_expect_eq(set("user.vexfs.s", "", 0, 0), EINVAL);
	cr_expect_eq(set("user.vexfs.s", nan, sizeof(nan), 0), EINVAL);
	cr_expect_eq(set("user.vexfs.s", inf, sizeof(inf), 0), EINVAL);
	cr_expect_eq(set("user.vexfs.s", zero, sizeof(zero), 0), EINVAL);
	cr_expect_eq(set("user.vexfs.s", "\1\2\3", 3, 0), EINVAL);
	cr_expect_eq(set("user.vexfs.s", nan, 12, 0), EINVAL);
	is("user.vexfs.s", "1,2,3,4", 7);
	/* Nor does a first value that is none make a space. */
	cr_expect_eq(set_text("user.vexfs.never", "1,x"), EINVAL);
	cr_expect_eq(set_text("user.vexfs.never", "1,2"), 0);
	cr_assert_eq(removexattr(f, "user.vexfs.never"), 0);
}

Test(xattr, names_that_are_none)
{
	char longest[300], *p;
	static const char *const bad[] = { "user.vexfs.",   "user.vexfs.A",
					   "user.vexfs.-a", "user.vexfs.a.",
					   "user.vexfs._x", "user.vexfs.a b" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_eq(set_text(bad[i], "1,2"), EINVAL, "%s", bad[i]);
	/* 48 bytes of space and 128 of key are the longest */
	p = stpcpy(longest, "user.vexfs.");
	memset(p, 's', 49);
	p[49] = 0;
	cr_expect_eq(set_text(longest, "1,2"), EINVAL);
	p[48] = '.';
	memset(p + 49, 'k', 129);
	p[49 + 129] = 0;
	cr_expect_eq(set_text(longest, "1,2"), EINVAL);
	p[49 + 128] = 0;
	cr_expect_eq(set_text(longest, "1,2"), 0);
	is(longest, "1,2", 3);
	/* computed ones */
	cr_expect_eq(set_text("user.vexfs._info", "1,2"), EPERM);
	cr_expect_eq(set_text("user.vexfs._near.s", "1,2"), EPERM);
	cr_expect(removexattr(f, "user.vexfs._info") && errno == EPERM);
	/* and the hidden mark, which is there by now */
	cr_expect(getxattr(f, "user.vexfs._id", NULL, 0) < 0 && errno == ENODATA);
	cr_expect_neq(set("user.vexfs._id", "x", 1, 0), 0);
	cr_expect_null(strstr(list(), "._"));
}

Test(xattr, create_replace_and_missing)
{
	char small[3];

	cr_expect_eq(set("user.vexfs.s", "1,2", 3, XATTR_REPLACE), ENODATA);
	cr_expect(getxattr(f, "user.vexfs.s", NULL, 0) < 0 && errno == ENODATA);
	cr_expect(removexattr(f, "user.vexfs.s") && errno == ENODATA);
	cr_expect_eq(set("user.vexfs.s", "1,2", 3, XATTR_CREATE), 0);
	cr_expect_eq(set("user.vexfs.s", "3,4", 3, XATTR_CREATE), EEXIST);
	is("user.vexfs.s", "1,2", 3);
	cr_expect_eq(set("user.vexfs.s", "3,45", 4, XATTR_REPLACE), 0);
	is("user.vexfs.s", "3,45", 4);
	cr_expect(getxattr(f, "user.vexfs.s", small, 3) < 0 && errno == ERANGE);
	cr_expect(listxattr(f, small, 3) < 0 && errno == ERANGE);
	cr_expect_eq(removexattr(f, "user.vexfs.s"), 0);
	cr_expect_str_eq(list(), "");
}

Test(xattr, sizes_and_room)
{
	char *big = malloc(65537), name[300], key[129];
	int err = 0, n = 0;

	for (int i = 0; i < 65536; i++)
		big[i] = i % 2 ? ',' : '1';
	/* 32,768 numbers are more than a vector has */
	cr_expect_eq(set("user.vexfs.big", big, 65535, 0), EINVAL);
	cr_expect_eq(set("user.vexfs.big", big, 65537, 0), E2BIG);
	memset(big, ' ', 65536);
	memcpy(big, "1,2", 3);
	cr_expect_eq(set("user.vexfs.big", big, 65536, 0), 0);
	is("user.vexfs.big", big, 65536);
	free(big);
	/* the list of names is full at 65,536 bytes */
	memset(key, 'k', 120);
	for (; !err && n < 1000; n++) {
		snprintf(name, sizeof(name), "user.vexfs.big.%.120s%04d", key, n);
		err = set_text(name, "1,2");
	}
	cr_expect_eq(err, ENOSPC, "%d after %d", err, n);
	cr_expect_gt(n, 400);
	cr_expect_leq(listxattr(f, NULL, 0), 65536);
	cr_expect(getxattr(f, name, NULL, 0) < 0 && errno == ENODATA);
}

Test(xattr, kinds_of_files)
{
	const char *dir = vm_at(&m, "d"), *fifo = vm_at(&m, "p"), *link = vm_at(&m, "l");

	cr_assert_eq(mkdir(dir, 0755), 0);
	cr_assert_eq(mkfifo(fifo, 0644), 0);
	cr_assert_eq(symlink("f", link), 0);
	cr_expect_eq(setxattr(dir, "user.vexfs.s", "1,2", 3, 0), 0);
	cr_expect_eq(getxattr(dir, "user.vexfs.s", NULL, 0), 3);
	cr_expect(setxattr(fifo, "user.vexfs.s", "1,2", 3, 0) && errno == EPERM);
	cr_expect(lsetxattr(link, "user.vexfs.s", "1,2", 3, 0) && errno == EPERM);
	/* what is not ours goes to the backing file */
	cr_expect_eq(set("user.other", "any\0thing", 9, 0), 0);
	cr_expect_eq(getxattr(vm_store(&m, "f"), "user.other", NULL, 0), 9);
}

Test(xattr, strict_wants_spaces_made)
{
	vm_remount(&m, "strict");
	cr_expect_eq(set_text("user.vexfs.s", "1,2"), ENODEV);
	cr_assert_eq(vm_sh(&m, 20, "$B/vexctl -m $M space create s --dim 2"), 0);
	cr_expect_eq(set_text("user.vexfs.s", "1,2"), 0);
	cr_expect_eq(set_text("user.vexfs.s", "1,2,3"), EINVAL);
}

Test(xattr, not_by_who_may_not_write)
{
	cr_assert_eq(chmod(f, 0444), 0);
	if (geteuid())
		cr_skip_test("not root");
	vm_remount(&m, "allow_other");
	cr_assert_eq(chmod(m.base, 0755), 0);
	cr_expect_neq(
	    vm_sh(&m, 20,
		  "setpriv --reuid 65534 --clear-groups setfattr -n user.vexfs.s "
		  "-v 1,2 $M/f 2>/dev/null"),
	    0);
	cr_expect(getxattr(f, "user.vexfs.s", NULL, 0) < 0 && errno == ENODATA);
}
