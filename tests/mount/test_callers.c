/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who does it: owners and groups of what is made, setuid and setgid, ACLs, and that one
 * user's files are kept from another. As on the filesystem below, in each case.
 */
#include "mount/compare.h"

#include <sys/xattr.h>

static struct vmount m;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, geteuid() ? NULL : "allow_other");
}

static void down(void)
{
	vm_free(&m);
}

#define CTEST(name) Test(callers, name, .init = up, .fini = down, .timeout = 120)

static void need_root(void)
{
	if (geteuid())
		cr_skip_test("needs root");
}

static void as_user(struct notes *n)
{
	CALL(n, close(open("f", O_CREAT | O_RDWR, 06777)));
	CALL(n, mkdir("d", 02770));
	CALL(n, symlink("x", "s"));
	CALL(n, mknod("p", S_IFIFO | 0666, 0));
	CALL(n, mknod("dev", S_IFCHR | 0666, 0x103));
	CALL(n, mknod("reg", S_IFREG | 0666, 0));
	note_stat(n, "f");
	note_stat(n, "d");
	note_stat(n, "s");
	note_stat(n, "p");
	note_stat(n, "reg");
	umask(077);
	CALL(n, close(open("g", O_CREAT | O_RDWR, 0666)));
	CALL(n, mkdir("e", 0777));
	note_stat(n, "g");
	note_stat(n, "e");
	CALL(n, chown("f", 0, -1));
	CALL(n, chown("f", -1, 777)); /* our supplementary group */
	note_stat(n, "f");
	CALL(n, chown("f", -1, 888));
	CALL(n, chmod("g", 04755));
	CALL(n, chmod("..", 0777));
	CALL(n, unlink("../plainly-not-there"));
	CALL(n, open("../by-root", O_CREAT | O_RDWR, 0666));
	CALL(n, setxattr("f", "trusted.x", "1", 1, 0));
	CALL(n, getxattr("f", "trusted.x", NULL, 0));
}
CTEST(what_a_user_makes_is_the_users)
{
	need_root();
	compare_as(&m, 12345, 54321, 777, as_user);
}

static void setuid_goes(struct notes *n)
{
	static const mode_t modes[] = { 06755, 04755, 02755, 02745, 06711, 0755 };
	char name[16];

	for (size_t k = 0; k < sizeof(modes) / sizeof(*modes); k++) {
		for (int how = 0; how < 7; how++) {
			snprintf(name, sizeof(name), "m%zu-%d", k, how);
			int fd = open(name, O_CREAT | O_RDWR, 0755);

			if (pwrite(fd, "abc", 3, 0) != 3)
				NOTE(n, "write");
			fchmod(fd, modes[k]);
			switch (how) {
			case 0:
				CALL(n, pwrite(fd, "x", 1, 0));
				break;
			case 1:
				CALL(n, ftruncate(fd, 1));
				break;
			case 2:
				CALL(n, truncate(name, 2));
				break;
			case 3:
				CALL(n, close(open(name, O_WRONLY | O_TRUNC)));
				break;
			case 4:
				CALL(n, fchown(fd, -1, 777));
				break;
			case 5:
				CALL(n, fallocate(fd, 0, 0, 8192));
				break;
			default:
				CALL(n, chmod(name, modes[k] | 0100));
			}
			note_stat(n, name);
			close(fd);
		}
	}
}
CTEST(setuid_and_setgid_go_as_below_for_users)
{
	need_root();
	compare_as(&m, 12345, 54321, 777, setuid_goes);
}
CTEST(setuid_and_setgid_go_as_below_for_root)
{
	compare(&m, setuid_goes);
}

/* A setgid directory of a group the caller is in only by its supplementary groups. */
static void in_setgid_dir(struct notes *n)
{
	CALL(n, close(open("team/f", O_CREAT | O_RDWR, 0664)));
	CALL(n, close(open("team/s", O_CREAT | O_RDWR, 02775)));
	CALL(n, mkdir("team/d", 0775));
	CALL(n, close(open("other/f", O_CREAT | O_RDWR, 0664)));
	CALL(n, close(open("alien/s", O_CREAT | O_RDWR, 02775)));
	CALL(n, mkdir("alien/d", 0775));
	note_stat(n, "team/f");
	note_stat(n, "team/s");
	note_stat(n, "team/d");
	note_stat(n, "alien/s");
	note_stat(n, "alien/d");
}
CTEST(setgid_directories)
{
	need_root();
	mkdir(vm_plain(&m, "as-user"), 0777);
	mkdir(vm_at(&m, "as-user"), 0777);
	for (int k = 0; k < 2; k++) {
		const char *d = k ? m.mnt : m.plain;

		cr_assert_eq(
		    vm_sh(&m, 10,
			  "cd %s/as-user && mkdir team other alien && "
			  "chown 0:777 team other && chown 0:999 alien && "
			  "chmod 2770 team && chmod 700 other && chmod 2777 alien",
			  d),
		    0);
	}
	char *want =
	    run_script(vm_plain(&m, "as-user"), 12345, 54321, 777, in_setgid_dir);
	char *got = run_script(vm_at(&m, "as-user"), 12345, 54321, 777, in_setgid_dir);
	cr_assert_str_eq(got, want);
}

CTEST(default_acls_and_masks)
{
	char *want, *got;
#define ACL_SCRIPT                                                                       \
	"set -e; cd %s; mkdir d; setfacl -d -m u:12345:rw,g:777:r,o::- d; "              \
	"setfacl -m u:12345:rwx,m::rwx d; umask 077; mkdir d/sub; : > d/f; "             \
	"setpriv --reuid 12345 --regid 54321 --clear-groups bash -c "                    \
	"'umask 027; : > d/mine; mkdir d/mysub; mknod d/p p' || echo no; "               \
	"chmod 600 d/f; "                                                                \
	"setpriv --reuid 12345 --regid 54321 --clear-groups bash -c "                    \
	"'echo x > d/f' 2>/dev/null || echo denied; "                                    \
	"getfacl -n d d/sub d/f d/mine d/mysub d/p"

	need_root();
	cr_assert_eq(vm_sh_out(&m, 20, &want, ACL_SCRIPT, m.plain), 0);
	cr_assert_eq(vm_sh_out(&m, 20, &got, ACL_SCRIPT, m.mnt), 0);
	cr_assert_str_eq(got, want);
	cr_assert(strstr(want, "denied") && strstr(want, "user:12345:rw-"));
}

/* One who is not in the file's group sets an ACL: setgid goes, as below. */
CTEST(acl_by_a_stranger_to_the_group_clears_setgid)
{
	char *want, *got;
#define SETGID_SCRIPT                                                                    \
	"cd %s; : > f; chown 12345:999 f; chmod 2755 f; : > g; "                         \
	"chown 12345:54321 g; chmod 2755 g; "                                            \
	"setpriv --reuid 12345 --regid 54321 --clear-groups "                            \
	"setfacl -m u:1:rwx f g; stat -c '%%a %%u %%g' f g"

	need_root();
	cr_assert_eq(vm_sh_out(&m, 20, &want, SETGID_SCRIPT, m.plain), 0);
	cr_assert_eq(vm_sh_out(&m, 20, &got, SETGID_SCRIPT, m.mnt), 0);
	cr_assert_str_eq(got, want);
}

static int cannot_read(void *path)
{
	if (open(path, O_RDONLY) >= 0 || errno != EACCES)
		return 1;
	if (getxattr(path, "user.secret", NULL, 0) >= 0 || errno != EACCES)
		return 2;
	if (open(path, O_WRONLY | O_TRUNC) >= 0 || truncate(path, 0) == 0)
		return 3;
	return 0;
}
CTEST(permissions_hold_with_allow_other)
{
	char path[600];

	need_root();
	snprintf(path, sizeof(path), "%s", vm_at(&m, "secret"));
	vm_puts(path, "mine");
	cr_assert(chmod(path, 0600) == 0);
	cr_assert(setxattr(path, "user.secret", "x", 1, 0) == 0);
	cr_assert_eq(vm_as(12345, 12345, NULL, 0, cannot_read, path), 0);
	cr_assert_str_eq(vm_read(path, NULL), "mine");
}

/* Two users race to make the same 0600 file: the loser must not get to see it. */
static int grab(void *path)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	struct stat st;

	if (fd < 0)
		return errno == EACCES ? 0 : 1;
	fstat(fd, &st);
	return st.st_uid == geteuid() ? 0 : 2;
}
CTEST(racing_creators_do_not_open_each_others_files)
{
	char path[600];

	need_root();
	cr_assert(mkdir(vm_at(&m, "open"), 0777) == 0);
	cr_assert(chmod(vm_at(&m, "open"), 01777) == 0);
	for (int k = 0; k < 100; k++) {
		int status[4];

		snprintf(path, sizeof(path), "%s", vm_at(&m, "open/%d", k));
		for (uid_t u = 1; u <= 4; u++) {
			if (fork())
				continue;
			if (setresuid(20000 + u, 20000 + u, 20000 + u))
				_exit(9);
			_exit(grab(path));
		}
		for (int u = 0; u < 4; u++) {
			wait(&status[u]);
			cr_assert(status[u] == 0, "round %d: %x", k, status[u]);
		}
	}
}
