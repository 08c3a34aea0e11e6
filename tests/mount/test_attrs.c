/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes that are not ours, of each namespace and size; ACLs, kept,
 * checked and inherited; capabilities of programs. As on the filesystem below.
 */
#include "mount/compare.h"

#include <sys/xattr.h>

static struct vmount m;

static void up(void)
{
	if (geteuid())
		cr_skip_test("needs root");
	vm_new(&m);
	vm_up(&m, "allow_other");
}

static void down(void)
{
	if (!geteuid())
		vm_free(&m);
}

#define ATEST(name) Test(attrs, name, .init = up, .fini = down, .timeout = 120)

/* ---- namespaces, kinds, sizes --------------------------------------------------------
 */

static const char *const names[] = {
	"user.a",
	"user.",
	"user",
	"trusted.a",
	"trusted.",
	"security.a",
	"security.selinux",
	"system.a",
	"system.posix_acl_access",
	"system.posix_acl_default",
	"other.a",
	"",
	"user.\xff\xfe",
	"user.with space",
	"security.capability",
	"system.data",
	"btrfs.compression",
};
#define NNAMES (sizeof(names) / sizeof(*names))

static void use_name(struct notes *n, const char *path, const char *name)
{
	char buf[64] = "";

	NOTE(n, "%s %s", path, name);
	CALL(n, lsetxattr(path, name, "value", 5, XATTR_REPLACE));
	CALL(n, lsetxattr(path, name, "value", 5, XATTR_CREATE));
	CALL(n, lsetxattr(path, name, "value", 5, XATTR_CREATE));
	CALL(n, lsetxattr(path, name, "other value", 11, 0));
	CALL(n, lsetxattr(path, name, "x", 1, XATTR_CREATE | XATTR_REPLACE));
	CALL(n, lsetxattr(path, name, "x", 1, 77));
	NOTE(n, "%zd", lgetxattr(path, name, NULL, 0));
	CALL(n, lgetxattr(path, name, buf, 3));
	NOTE(n, "%zd %s", lgetxattr(path, name, buf, sizeof(buf)), buf);
	NOTE(n, "%zd", llistxattr(path, NULL, 0));
	CALL(n, lsetxattr(path, name, "", 0, 0));
	NOTE(n, "%zd", lgetxattr(path, name, buf, sizeof(buf)));
	CALL(n, lremovexattr(path, name));
	CALL(n, lremovexattr(path, name));
}

static void namespaces(struct notes *n)
{
	static const char *const paths[] = { "f", "d", "s", "p", "dangling", "none" };

	close(open("f", O_CREAT | O_RDWR, 0666));
	sure(mkdir("d", 0777) | symlink("f", "s") | symlink("x", "dangling") |
	     mkfifo("p", 0666));
	for (size_t p = 0; p < 6; p++) {
		for (size_t k = 0; k < NNAMES; k++)
			use_name(n, paths[p], names[k]);
	}
}
ATEST(of_each_namespace_for_root)
{
	compare(&m, namespaces);
}
ATEST(of_each_namespace_for_users)
{
	compare_as(&m, 12345, 54321, 777, namespaces);
}

static void sizes(struct notes *n)
{
	static const size_t lens[] = { 1,    60,   61,    100,   1000, 3900,
				       4000, 4096, 65535, 65536, 65537 };
	char *value = malloc(70000), *back = malloc(70000), name[300];

	close(open("f", O_CREAT | O_RDWR, 0644));
	for (size_t k = 0; k < sizeof(lens) / sizeof(*lens); k++) {
		memset(value, (int)('a' + k), lens[k]);
		NOTE(n, "%zu", lens[k]);
		CALL(n, setxattr("f", "user.v", value, lens[k], 0));
		ssize_t got = getxattr("f", "user.v", back, 70000);
		NOTE(n, "%zd %d", got, got > 0 ? back[got - 1] : 0);
		CALL(n, getxattr("f", "user.v", back, lens[k] - 1 ? lens[k] - 1 : 1));
	}
	for (size_t len = 254; len < 258; len++) {
		memset(name, 'n', sizeof(name));
		memcpy(name, "user.", 5);
		name[len] = 0;
		CALL(n, setxattr("f", name, "x", 1, 0));
		CALL(n, getxattr("f", name, back, 10));
		CALL(n, removexattr("f", name));
	}
	/* Until there is no room: the last that fitted is whole, the next is not there.
	 */
	sure(removexattr("f", "user.v"));
	int k;
	for (k = 0; k < 1000; k++) {
		snprintf(name, sizeof(name), "user.many-%d", k);
		if (setxattr("f", name, value, 50, 0))
			break;
	}
	NOTE(n, "%s, %zd", strerrorname_np(errno), listxattr("f", back, 70000));
	CALL(n, getxattr("f", name, back, 100));
	NOTE(n, "%d", k);
	free(value);
	free(back);
}
ATEST(of_each_size)
{
	compare(&m, sizes);
}

/* ---- ACLs ---------------------------------------------------------------------------
 */

static void same_output(const char *script)
{
	char *want, *got;

	cr_assert_eq(vm_sh_out(&m, 60, &want, "cd %s; %s", m.plain, script), 0, "%s",
		     want);
	cr_assert_eq(vm_sh_out(&m, 60, &got, "cd %s; %s", m.mnt, script), 0, "%s", got);
	cr_assert_str_eq(got, want);
	cr_assert(strlen(want) > 20);
}

ATEST(acls_are_checked)
{
	same_output(
	    "as() { setpriv --reuid $1 --regid $2 --groups $3 bash -c \"$4\" 2>/dev/null "
	    "&& echo $1 $2 $3: yes || echo $1 $2 $3: no; }; "
	    "echo text > f; chown 11:100 f; chmod 640 f; "
	    "for acl in u:12:r g:200:rw u:12:--- g:200:r,m::--- u:11:rwx o::r "
	    "u:12:rw,m::r; do "
	    "setfacl -b f; setfacl -m $acl f; getfacl -cn f; stat -c %a f; "
	    "for who in '11 100 100' '12 200 200' '13 200 200' '14 300 200' '15 400 400' "
	    "'12 100 100'; do "
	    "as $who 'cat f >/dev/null'; as $who 'echo x >> f'; as $who 'test -r f'; "
	    "done; done; "
	    "chmod 600 f; getfacl -cn f; chmod 777 f; getfacl -cn f; chmod g=r f; "
	    "getfacl -cn f; "
	    "setfacl -b f; getfacl -cn f; stat -c '%A' f");
}

ATEST(acls_are_inherited)
{
	same_output(
	    "for mask in 0 022 077 0777; do for d in 'u::rwx,g::rx,o::-,u:12:rwx,m::rwx' "
	    "'u::rw,g::-,o::r' 'u:12:x'; do "
	    "mkdir d; setfacl -d -m $d d; umask $mask; mkdir d/sub; : > d/f; mkfifo d/p; "
	    "mknod d/c c 1 3; ln -s x d/s; cp /bin/true d/prog; mkdir -m 700 d/m; umask "
	    "022; "
	    "getfacl -cn d d/sub d/f d/p d/c d/prog d/m; stat -c %A d/* | sort; "
	    "mv d/f d/sub/; getfacl -cn d/sub/f; cp -a d e; getfacl -cRn e; rm -rf d e; "
	    "done; done");
}

/* Copies keep them; malformed ones are refused; removing the last leaves the mode. */
ATEST(acls_as_attributes)
{
	same_output(
	    "mkdir d; : > f; setfacl -m u:1:rw,g:2:x f; setfacl -m u:3:rwx d; setfacl -d "
	    "-m u:4:r d; "
	    "getfattr -d -m - -e hex f d; cp --preserve=all f g; cp -a d e; rsync -aA f "
	    "h 2>/dev/null "
	    "|| cp -a f h; tar --acls -cf - f d | (mkdir t; tar --acls -C t -xf -); "
	    "getfacl -cn g e h t/f t/d; "
	    "setfattr -n system.posix_acl_access -v 0x0200 f 2>/dev/null || echo "
	    "refused; "
	    "setfattr -n system.posix_acl_access -v 0x020000000100070000000000 f "
	    "2>/dev/null || echo refused; "
	    "setfattr -n system.posix_acl_default -v 0x02000000 f 2>/dev/null || echo "
	    "refused; "
	    "setfattr -x system.posix_acl_access f; stat -c %a f; getfacl -cn f; "
	    "setfattr -x system.posix_acl_default d; getfacl -cn d; chacl -l d "
	    "2>/dev/null; true");
}

/* A member of neither group sets an ACL: setgid goes; so does it with the mode in it. */
ATEST(acls_and_setgid)
{
	same_output(
	    "for g in 100 999; do for t in f d; do rm -rf $t; [ $t = f ] && : > f || "
	    "mkdir d; "
	    "chown 12345:$g $t; chmod 2755 $t; for acl in u:1:rwx g::rx m::r -b; do "
	    "[ $acl = -b ] && a=-b || a=\"-m $acl\"; "
	    "setpriv --reuid 12345 --regid 100 --clear-groups setfacl $a $t; "
	    "stat -c \"$t $g $acl %a\" $t; done; done; done");
}

/* ---- capabilities
 * ---------------------------------------------------------------------- */

ATEST(capabilities_of_programs)
{
	if (system("command -v setcap getcap > /dev/null"))
		cr_skip_test("needs setcap");
	same_output(
	    "cp /bin/cat prog; setcap cap_net_raw+ep prog; getcap prog; echo x >> prog; "
	    "getcap prog; setcap cap_net_raw+ep prog; chown 5 prog; getcap prog; "
	    "setcap cap_net_raw+ep prog; truncate -s 100 prog; getcap prog; "
	    "setcap cap_net_raw+ep prog; setcap -r prog; getcap prog; "
	    "getfattr -d -m - prog; echo done with that program");
}
