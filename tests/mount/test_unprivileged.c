/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that is nobody special, mounted through fusermount3: what its own user does
 * is as on the filesystem below, other users see nothing without allow_other, and
 * what then cannot be (docs/POSIX.md) fails clearly.
 */
#include "mount/compare.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* fusermount3 wants a user with a name. */
#define USER 65534
#define GROUP 65534

static struct vmount m;

static void down(void)
{
	if (m.base[0])
		vm_free(&m);
}

#define NOBODY(name) Test(unprivileged, name, .fini = down, .timeout = 120)

/* In a mount namespace of its own: /dev/fuse for everybody, as udev makes it, and an
 * /etc/fuse.conf that says what the test needs. */
static void prepare(const char *conf)
{
	char path[600];

	if (geteuid())
		cr_skip_test("needs root");
	if (access("/usr/bin/fusermount3", X_OK) && access("/bin/fusermount3", X_OK))
		cr_skip_test("needs fusermount3");
	cr_assert(unshare(CLONE_NEWNS) == 0);
	cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	vm_new(&m);
	snprintf(path, sizeof(path), "%s/fuse", m.base);
	cr_assert(mknod(path, S_IFCHR | 0666, makedev(10, 229)) == 0);
	cr_assert(chmod(path, 0666) == 0);
	cr_assert(mount(path, "/dev/fuse", NULL, MS_BIND, NULL) == 0);
	snprintf(path, sizeof(path), "%s/fuse.conf", m.base);
	vm_puts(path, conf);
	if (mount(path, "/etc/fuse.conf", NULL, MS_BIND, NULL))
		cr_skip_test("no /etc/fuse.conf");
	cr_assert(chown(m.store, USER, GROUP) == 0 && chown(m.mnt, USER, GROUP) == 0);
	cr_assert(chown(m.plain, USER, GROUP) == 0 && chown(m.base, USER, GROUP) == 0);
}

static int start_as_user(const char *opts)
{
	return vm_start_under(
	    &m, "setpriv --reuid 65534 --regid 65534 --groups 65534,777", opts);
}

static void up_as_user(const char *conf, const char *opts)
{
	prepare(conf);
	cr_assert_eq(start_as_user(opts), 0, "%s", vm_log(&m));
}

static int not_visible(void *path)
{
	struct stat st;

	return !stat(path, &st) || errno != EACCES;
}

static int work(void *arg)
{
	const char *mnt = arg;
	struct stat st;
	char buf[100] = "";

	if (chdir(mnt))
		return 1;
	int fd = open("f", O_CREAT | O_RDWR, 0640);
	if (fd < 0 || write(fd, "text", 4) != 4 || fsync(fd) || close(fd))
		return 2;
	if (stat("f", &st) || st.st_uid != USER || st.st_gid != GROUP ||
	    (st.st_mode & 07777) != 0640)
		return 3;
	if (mkdir("d", 0755) || rename("f", "d/f") || link("d/f", "g") ||
	    symlink("g", "s"))
		return 4;
	if (chmod("g", 0600) || chown("g", -1, 777) || chown("g", 0, -1) == 0 ||
	    errno != EPERM)
		return 5;
	if (setxattr("g", "user.x", "1", 1, 0) ||
	    setxattr("g", "user.vexfs.s", "1,2", 3, 0) ||
	    getxattr("g", "user.vexfs.s", buf, 100) != 3)
		return 6;
	if (getxattr("g", "user.vexfs._near.s", buf, 100) < 0)
		return 7;
	if (open("s", O_RDONLY) < 0 || truncate("s", 100) || unlink("g") || unlink("d/f"))
		return 8;
	if (mknod("null", S_IFCHR | 0600, 0x103) == 0 || errno != EPERM)
		return 9;
	if (mknod("p", S_IFIFO | 0600, 0))
		return 10;
	if (open(".vexfs/control", O_RDWR) < 0)
		return 11;
	return 0;
}

NOBODY(its_own_user_works)
{
	up_as_user("", NULL);
	gid_t groups[] = { GROUP, 777 };
	cr_assert_eq(vm_as(USER, GROUP, groups, 2, work, m.mnt), 0);
	cr_assert_eq(vm_as(USER + 1, GROUP, NULL, 0, not_visible, m.mnt), 0);
	/* Not even root, without allow_other. */
	struct stat st;
	cr_assert(stat(vm_at(&m, "d"), &st) < 0 && errno == EACCES);
}

/* Everything a user can do to files of its own. */
static void script(struct notes *n)
{
	struct timespec t[2] = { { 10, 20 }, { 30, 40 } };
	char buf[16];

	int fd = (int)CALL(n, open("f", O_CREAT | O_EXCL | O_RDWR, 06777));
	note_stat(n, "f");
	CALL(n, write(fd, "hello", 5));
	note_stat(n, "f");
	CALL(n, fchmod(fd, 04755));
	CALL(n, ftruncate(fd, 2));
	note_stat(n, "f");
	CALL(n, futimens(fd, t));
	CALL(n, fchown(fd, -1, 777));
	note_stat(n, "f");
	CALL(n, fchown(fd, -1, 888));
	CALL(n, fallocate(fd, 0, 0, 10000));
	CALL(n, fallocate(fd, 3, 0, 4096));
	CALL(n, close(fd));
	CALL(n, mkdir("d", 02770));
	CALL(n, chmod("d", 03770));
	note_stat(n, "d");
	umask(077);
	CALL(n, mkdir("e", 0777));
	CALL(n, close(open("e/x", O_CREAT | O_RDWR, 0666)));
	note_stat(n, "e/x");
	CALL(n, chmod("e", 0));
	CALL(n, open("e/x", O_RDONLY));
	CALL(n, chmod("e", 0700));
	CALL(n, chmod("f", 0));
	CALL(n, open("f", O_RDONLY));
	CALL(n, truncate("f", 0));
	CALL(n, unlink("f"));
	CALL(n, symlink("e/x", "s"));
	CALL(n, readlink("s", buf, 16));
	CALL(n, link("e/x", "l"));
	CALL(n, rename("l", "e/x"));
	CALL(n, renameat2(AT_FDCWD, "l", AT_FDCWD, "s", 2));
	CALL(n, setxattr("e", "user.a", "1", 1, 0));
	CALL(n, setxattr("e", "trusted.a", "1", 1, 0));
	CALL(n, setxattr("e", "security.a", "1", 1, 0));
	CALL(n, rmdir("e"));
	CALL(n, unlink("e/x"));
	CALL(n, rmdir("e"));
}

static int in_both(void *arg)
{
	(void)arg;
	umask(022);
	for (int k = 0; k < 2; k++) {
		struct notes n = { .f = fopen(vm_plain(&m, k ? "mount" : "bare"), "w") };

		if (!n.f || mkdir(k ? vm_at(&m, "w") : vm_plain(&m, "w"), 0755) ||
		    chdir(k ? vm_at(&m, "w") : vm_plain(&m, "w")))
			return 1;
		umask(022);
		script(&n);
		fclose(n.f);
	}
	return 0;
}

NOBODY(as_on_the_filesystem_below)
{
	gid_t groups[] = { GROUP, 777 };

	up_as_user("", "default_permissions");
	cr_assert_eq(vm_as(USER, GROUP, groups, 2, in_both, NULL), 0);
	cr_assert_eq(vm_sh(&m, 10, "diff $P/bare $P/mount >&2"), 0);
}

/* ACLs are checked and kept as for root's mounts. */
NOBODY(acls)
{
	char *out;

	up_as_user("", NULL);
	cr_assert_eq(
	    vm_sh_out(
		&m, 20, &out,
		"setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '"
		"cd $M && : > f && chmod 640 f && setfacl -m u:11:rw f && mkdir d && "
		"setfacl -d -m u:11:rwx d && mkdir d/e && : > d/f && "
		"getfacl -cn f d d/e d/f > got; cd $P && "
		": > f && chmod 640 f && setfacl -m u:11:rw f && mkdir d && "
		"setfacl -d -m u:11:rwx d && mkdir d/e && : > d/f && "
		"getfacl -cn f d d/e d/f > want; diff $M/got want'"),
	    0, "%s", out);
}

/* With allow_other, which /etc/fuse.conf must permit: what others make belongs to the
 * daemon's user, who is the only one it can act as. */
static int make_as_other(void *mnt)
{
	struct stat st;

	if (chdir(mnt))
		return 1;
	int fd = open("open/theirs", O_CREAT | O_RDWR, 0644);
	if (fd < 0 || fstat(fd, &st))
		return 2;
	if (st.st_uid != USER)
		return 3;
	if (open("closed/x", O_RDONLY) >= 0 || errno != EACCES)
		return 4;
	return 0;
}

NOBODY(for_others)
{
	up_as_user("user_allow_other\n", "allow_other");
	cr_assert_eq(
	    vm_sh(&m, 10,
		  "setpriv --reuid 65534 --clear-groups bash -c '"
		  "cd $M && mkdir -m 777 open && mkdir -m 700 closed && : > closed/x'"),
	    0);
	cr_assert_eq(vm_as(USER + 1, GROUP, NULL, 0, make_as_other, m.mnt), 0);
}

NOBODY(allow_other_needs_leave)
{
	prepare("# nothing\n");
	cr_assert_neq(start_as_user("allow_other"), 0);
	cr_assert(strstr(vm_log(&m), "allow_other"), "%s", vm_log(&m));
}
