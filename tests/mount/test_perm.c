/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: each call by the owner, a member of the group, a member by
 * supplementary group, a stranger and root, for each mode of file and directory;
 * sticky directories; what chmod and chown let through and what they take away. As on
 * the filesystem below.
 */
#include "mount/compare.h"

#include <sys/socket.h>
#include <sys/un.h>
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

#define PERM(name) Test(perm, name, .init = up, .fini = down, .timeout = 180)

/* ---- callers -------------------------------------------------------------------- */

static const struct who {
	const char *name;
	uid_t uid;
	gid_t gid, extra;
} callers[] = {
	{ "root", 0, 0, 0 },          { "owner", 11, 100, 100 },
	{ "member", 12, 100, 100 },   { "supplementary", 13, 300, 100 },
	{ "stranger", 14, 400, 400 },
};
#define NCALLERS (sizeof(callers) / sizeof(*callers))

/* Back to root first: the saved id stays root's. */
static void become(const struct who *w)
{
	sure(setresuid(-1, 0, -1));
	sure(setgroups(1, &w->extra));
	sure(setresgid(-1, w->gid, -1));
	sure(setresuid(-1, w->uid, -1));
}

static void make_file(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	become(&callers[0]);
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	sure(fd);
	sure(fchown(fd, uid, gid));
	sure(fchmod(fd, mode));
	close(fd);
}

static void make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	become(&callers[0]);
	sure(mkdir(path, 0700));
	sure(chown(path, uid, gid));
	sure(chmod(path, mode));
}

/* ---- files of each mode ----------------------------------------------------------- */

static void use_file(struct notes *n, const char *p)
{
	char buf[8];
	struct stat st;

	CALL(n, close(open(p, O_RDONLY)));
	CALL(n, close(open(p, O_WRONLY)));
	CALL(n, close(open(p, O_RDWR | O_APPEND)));
	CALL(n, close(open(p, O_RDONLY | O_NOATIME)));
	CALL(n, stat(p, &st));
	CALL(n, faccessat(AT_FDCWD, p, R_OK, AT_EACCESS));
	CALL(n, faccessat(AT_FDCWD, p, W_OK, AT_EACCESS));
	CALL(n, faccessat(AT_FDCWD, p, X_OK, AT_EACCESS));
	CALL(n, getxattr(p, "user.a", buf, 8));
	CALL(n, setxattr(p, "user.a", "1", 1, 0));
	CALL(n, setxattr(p, "security.a", "1", 1, 0));
	CALL(n, setxattr(p, "trusted.a", "1", 1, 0));
	CALL(n, listxattr(p, NULL, 0));
	CALL(n, removexattr(p, "user.a"));
	CALL(n, utimensat(AT_FDCWD, p, NULL, 0));
	CALL(n, truncate(p, 3));
	CALL(n, close(open(p, O_RDONLY | O_TRUNC)));
	note_stat(n, p);
}

static void each_file(struct notes *n)
{
	static const mode_t modes[] = {
		0,    0400, 0200, 0600, 0040,  0020,  0060,  0004,
		0002, 0006, 0666, 0111, 06777, 02070, 04700, 01777
	};
	char path[32];

	for (size_t k = 0; k < sizeof(modes) / sizeof(*modes); k++) {
		for (size_t w = 0; w < NCALLERS; w++) {
			snprintf(path, sizeof(path), "f%zu-%zu", k, w);
			make_file(path, modes[k], 11, 100);
			become(&callers[w]);
			NOTE(n, "%o by %s", modes[k], callers[w].name);
			use_file(n, path);
		}
	}
}
PERM(of_files)
{
	compare(&m, each_file);
}

/* ---- directories of each mode -------------------------------------------------------
 */

static void use_dir(struct notes *n)
{
	struct stat st;

	CALL(n, close(open("d", O_RDONLY | O_DIRECTORY)));
	CALL(n, stat("d/f", &st));
	CALL(n, close(open("d/f", O_RDONLY)));
	CALL(n, close(open("d/new", O_CREAT | O_RDWR, 0666)));
	CALL(n, mkdir("d/sub", 0777));
	CALL(n, mkfifo("d/p", 0666));
	CALL(n, symlink("x", "d/s"));
	CALL(n, link("d/f", "d/l"));
	CALL(n, rename("d/f", "d/g"));
	CALL(n, rename("d/g", "out"));
	CALL(n, rename("out", "d/f"));
	CALL(n, unlink("d/f"));
	CALL(n, rmdir("d/sub"));
	CALL(n, unlink("d/none"));
	CALL(n, open("d/none", O_RDONLY));
	if (!CALL(n, chdir("d")))
		CALL(n, chdir(".."));
	CALL(n, rename("d", "d2"));
	CALL(n, rename("d2", "d"));
}

static void each_dir(struct notes *n)
{
	static const mode_t modes[] = { 0,    0700, 0500, 0300, 0100, 0070,  0010, 0030,
					0007, 0001, 0003, 0777, 0555, 01777, 03777 };

	sure(chmod(".", 0777));
	for (size_t k = 0; k < sizeof(modes) / sizeof(*modes); k++) {
		for (size_t w = 0; w < NCALLERS; w++) {
			become(&callers[0]);
			shell("rm -rf d d2 out");
			make_dir("d", 0700, 0, 0);
			make_file("d/f", 0644, 11, 100);
			sure(chown("d", 11, 100));
			sure(chmod("d", modes[k]));
			become(&callers[w]);
			NOTE(n, "%o by %s", modes[k], callers[w].name);
			use_dir(n);
		}
	}
}
PERM(of_directories)
{
	compare(&m, each_dir);
}

/* ---- sticky directories -------------------------------------------------------------
 */

static void sticky_make(const char *kind, uid_t dir_owner, uid_t owner)
{
	become(&callers[0]);
	shell("rm -rf s t");
	make_dir("s", 0700, 0, 0);
	make_dir("t", 01777, dir_owner, 0);
	if (!strcmp(kind, "file"))
		make_file("s/x", 0666, owner, 100);
	else if (!strcmp(kind, "dir"))
		make_dir("s/x", 0777, owner, 100);
	else
		sure(symlink("y", "s/x") | lchown("s/x", owner, 100));
	sure(chown("s", dir_owner, 100));
	sure(chmod("s", 01777));
}

static void sticky_use(struct notes *n, const char *kind)
{
	CALL(n, !strcmp(kind, "dir") ? rmdir("s/x") : unlink("s/x"));
	CALL(n, rename("s/x", "s/y"));
	CALL(n, rename("s/y", "s/x"));
	CALL(n, rename("s/x", "t/x"));
	CALL(n, rename("t/x", "s/x"));
	CALL(n, close(open("s/mine", O_CREAT | O_RDWR, 0644)));
	CALL(n, mkdir("s/minedir", 0755));
	CALL(n, rename("s/mine", "s/x"));
	CALL(n, rename("s/minedir", "s/x"));
	CALL(n, renameat2(AT_FDCWD, "s/mine", AT_FDCWD, "s/x", 2));
	CALL(n, chmod("s/x", 0600));
	CALL(n, link("s/x", "t/l"));
}

static void sticky(struct notes *n)
{
	static const char *const kinds[] = { "file", "dir", "symlink" };
	static const uid_t owners[] = { 0, 11, 12, 14 };

	for (size_t k = 0; k < 3; k++) {
		for (size_t d = 0; d < 4; d++) {
			for (size_t o = 0; o < 4; o++) {
				for (size_t w = 0; w < NCALLERS; w++) {
					sticky_make(kinds[k], owners[d], owners[o]);
					become(&callers[w]);
					NOTE(n, "%s of %u in %u's by %s", kinds[k],
					     owners[o], owners[d], callers[w].name);
					sticky_use(n, kinds[k]);
				}
			}
		}
	}
}
PERM(in_sticky_directories)
{
	compare(&m, sticky);
}

/* ---- chmod, chown --------------------------------------------------------------------
 */

static void change_modes(struct notes *n, const char *p)
{
	static const mode_t modes[] = {
		0644, 04755, 02755, 06755, 02644, 01755, 07777, 0
	};

	for (size_t k = 0; k < sizeof(modes) / sizeof(*modes); k++) {
		CALL(n, chmod(p, modes[k]));
		note_stat(n, p);
	}
	become(&callers[0]);
	sure(chmod(p, 06755));
}

static void change_owners(struct notes *n, const char *p, const struct who *w)
{
	static const uid_t uids[] = { (uid_t)-1, 0, 11, 12 };
	static const gid_t gids[] = { (gid_t)-1, 0, 100, 300, 400 };

	for (size_t u = 0; u < 4; u++) {
		for (size_t g = 0; g < 5; g++) {
			become(&callers[0]);
			sure(lchown(p, 11, 100));
			sure(chmod(p, (u + g) % 2 ? 06755 : 06711));
			become(w);
			/* Not to be told from the announcement of a write: attr.c. */
			if (!u && !g && w->uid && w->uid != 11)
				continue;
			NOTE(n, "%d:%d", (int)uids[u], (int)gids[g]);
			CALL(n, chown(p, uids[u], gids[g]));
			note_stat(n, p);
		}
	}
}

static void change(struct notes *n)
{
	char path[32];

	for (int dir = 0; dir < 2; dir++) {
		for (size_t w = 0; w < NCALLERS; w++) {
			for (gid_t g = 100; g <= 400; g += 100) {
				snprintf(path, sizeof(path), "c%d-%zu-%u", dir, w, g);
				if (dir)
					make_dir(path, 0755, 11, g);
				else
					make_file(path, 0755, 11, g);
				become(&callers[w]);
				NOTE(n, "%s by %s", path, callers[w].name);
				change_modes(n, path);
				if (g == 100)
					change_owners(n, path, &callers[w]);
			}
		}
	}
}
PERM(to_change_modes_and_owners)
{
	compare(&m, change);
}

/* What a write takes away, by whom, through which call. */
static void taking(struct notes *n)
{
	static const mode_t modes[] = { 06777, 04777, 02777, 06766, 02767, 06666 };
	char path[32], buf[4] = "abc";

	for (size_t k = 0; k < sizeof(modes) / sizeof(*modes); k++) {
		for (size_t w = 0; w < NCALLERS; w++) {
			for (int how = 0; how < 5; how++) {
				snprintf(path, sizeof(path), "w%zu-%zu-%d", k, w, how);
				make_file(path, modes[k] | 010, 11, 100);
				become(&callers[w]);
				int fd = open(path, O_RDWR);
				NOTE(n, "%o by %s, %d", modes[k] | 010, callers[w].name,
				     how);
				if (how == 0)
					CALL(n, pwrite(fd, buf, 3, 0));
				else if (how == 1)
					CALL(n, ftruncate(fd, 10));
				else if (how == 2)
					CALL(n, fallocate(fd, 0, 0, 100));
				else if (how == 3)
					CALL(n, close(open(path, O_WRONLY | O_TRUNC)));
				else
					CALL(n, truncate(path, 5));
				note_stat(n, path);
				close(fd);
			}
		}
	}
}
PERM(bits_that_go_with_a_write)
{
	compare(&m, taking);
}

/* ---- making
 * ---------------------------------------------------------------------------- */

static void bound(struct notes *n, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	CALL(n, bind(s, (void *)&a, sizeof(a)));
	CALL(n, listen(s, 1));
	int c = socket(AF_UNIX, SOCK_STREAM, 0);
	CALL(n, connect(c, (void *)&a, sizeof(a)));
	note_stat(n, path);
	close(c);
	close(s);
}

static void making(struct notes *n)
{
	static const mode_t masks[] = { 0, 022, 077, 0777, 0007 };
	static const mode_t dirs[] = { 0777, 02777, 03777 };
	char path[64];

	for (size_t d = 0; d < 3; d++) {
		for (size_t w = 0; w < NCALLERS; w++) {
			for (size_t k = 0; k < 5; k++) {
				snprintf(path, sizeof(path), "m%zu-%zu-%zu", d, w, k);
				make_dir(path, dirs[d], 11, 200);
				become(&callers[w]);
				sure(chdir(path));
				umask(masks[k]);
				NOTE(n, "%s", path);
				CALL(n, close(open("f", O_CREAT | O_RDWR, 06777)));
				CALL(n, close(open("g", O_CREAT | O_RDWR, 02664)));
				CALL(n, mkdir("d", 07777));
				CALL(n, mknod("p", S_IFIFO | 07777, 0));
				CALL(n, mknod("r", S_IFREG | 07777, 0));
				CALL(n, symlink("x", "s"));
				bound(n, "sock");
				umask(022);
				note_stat(n, "f");
				note_stat(n, "g");
				note_stat(n, "d");
				note_stat(n, "p");
				note_stat(n, "r");
				note_stat(n, "s");
				become(&callers[0]);
				sure(chdir(".."));
			}
		}
	}
}
PERM(of_what_is_made)
{
	compare(&m, making);
}
