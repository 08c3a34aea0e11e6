/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control directory hides the store's own folder; changes made in the store behind
 * the mount show.
 */
#include "mount/compare.h"

#include <dirent.h>
#include <sys/statvfs.h>
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

#define HTEST(name) Test(hidden, name, .init = up, .fini = down, .timeout = 120)

/* ---- the store's own folder
 * ------------------------------------------------------------- */

static int count_entry(const char *dir, const char *name)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += !strcmp(e->d_name, name);
	closedir(d);
	return n;
}

HTEST(control_directory_hides_the_stores_own)
{
	struct stat real, seen;
	char ctl[600];

	snprintf(ctl, sizeof(ctl), "%s", vm_at(&m, ".vexfs"));
	vm_puts(vm_at(&m, "f"), "x");
	cr_assert(stat(vm_store(&m, ".vexfs"), &real) == 0);
	cr_assert(stat(ctl, &seen) == 0);
	cr_assert_eq(seen.st_mode, S_IFDIR | 0555);
	cr_assert_neq(seen.st_ino, real.st_ino);
	cr_assert_eq(count_entry(m.mnt, ".vexfs"), 0);
	cr_assert_eq(count_entry(m.store, ".vexfs"), 1);
	cr_assert_eq(count_entry(ctl, "control"), 1);
	DIR *below = opendir(vm_store(&m, ".vexfs"));
	for (struct dirent *e; (e = readdir(below));)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "status"))
			cr_assert(stat(vm_at(&m, ".vexfs/%s", e->d_name), &seen) != 0);
	closedir(below);
#define REFUSED(call, err)                                                               \
	do {                                                                             \
		errno = 0;                                                               \
		cr_assert((int)(call) && errno == (err), "%s: %s", #call,                \
			  strerrorname_np(errno));                                       \
	} while (0)
	REFUSED(mkdir(ctl, 0700), EEXIST);
	REFUSED(rmdir(ctl), EPERM);
	REFUSED(unlink(vm_at(&m, ".vexfs/control")), EPERM);
	REFUSED(rename(ctl, vm_at(&m, "x")), EPERM);
	REFUSED(mkdir(vm_at(&m, "d"), 0700) || rename(vm_at(&m, "d"), ctl), EPERM);
	REFUSED(rename(vm_at(&m, ".vexfs/control"), vm_at(&m, "x")), EPERM);
	REFUSED(link(vm_at(&m, ".vexfs/control"), vm_at(&m, "x")), EPERM);
	REFUSED(link(vm_at(&m, "f"), vm_at(&m, ".vexfs/f")), EPERM);
	REFUSED(symlink("f", vm_at(&m, ".vexfs/f")), EPERM);
	REFUSED(open(vm_at(&m, ".vexfs/f"), O_CREAT | O_RDWR, 0600), EPERM);
	REFUSED(open(vm_at(&m, ".vexfs/store.lock"), O_RDONLY), ENOENT);
	REFUSED(chmod(ctl, 0777), EPERM);
	REFUSED(chmod(vm_at(&m, ".vexfs/control"), 0777), EPERM);
	REFUSED(setxattr(ctl, "user.vexfs.s", "1,2", 3, 0), EPERM);
	REFUSED(open(vm_at(&m, ".vexfs/status"), O_RDWR), EACCES);
	cr_assert_eq(listxattr(ctl, NULL, 0), 0);
	char *text = vm_read(vm_at(&m, ".vexfs/status"), NULL);
	cr_assert(text && strlen(text) > 10);
	/* The same name elsewhere is an ordinary one. */
	cr_assert(mkdir(vm_at(&m, "d/.vexfs"), 0700) == 0);
	vm_puts(vm_at(&m, "d/.vexfs/x"), "y");
	cr_assert_eq(count_entry(vm_at(&m, "d"), ".vexfs"), 1);
}

/* ---- behind the mount
 * ---------------------------------------------------------------------- */

HTEST(changes_behind_the_mount_show)
{
	char *text;

	vm_puts(vm_at(&m, "f"), "first");
	vm_puts(vm_store(&m, "f"), "second, and longer");
	sleep(2);
	text = vm_read(vm_at(&m, "f"), NULL);
	cr_assert_str_eq(text, "second, and longer");
	/* Same size, in place, while pages are cached. */
	int fd = open(vm_store(&m, "f"), O_WRONLY);
	cr_assert_eq(pwrite(fd, "THIRD", 5, 0), 5);
	close(fd);
	text = vm_read(vm_at(&m, "f"), NULL);
	cr_assert_str_eq(text, "THIRDd, and longer");
	/* Replaced by another file. */
	vm_puts(vm_store(&m, "g"), "fourth");
	cr_assert(rename(vm_store(&m, "g"), vm_store(&m, "f")) == 0);
	sleep(2);
	cr_assert_str_eq(vm_read(vm_at(&m, "f"), NULL), "fourth");
	/* Gone, and made again. */
	cr_assert(unlink(vm_store(&m, "f")) == 0);
	vm_puts(vm_store(&m, "f"), "fifth");
	text = vm_read(vm_at(&m, "f"), NULL);
	cr_assert_str_eq(text, "fifth");
	cr_assert(unlink(vm_store(&m, "f")) == 0);
	sleep(2);
	cr_assert(vm_read(vm_at(&m, "f"), NULL) == NULL && errno == ENOENT);
	/* A name that was not there is found at once. */
	cr_assert(access(vm_at(&m, "h"), F_OK) && errno == ENOENT);
	vm_puts(vm_store(&m, "h"), "x");
	cr_assert(access(vm_at(&m, "h"), F_OK) == 0);
}

HTEST(statfs_is_the_stores)
{
	struct statvfs a, b;

	cr_assert(statvfs(m.store, &a) == 0 && statvfs(m.mnt, &b) == 0);
	cr_assert_eq(a.f_blocks, b.f_blocks);
	cr_assert_eq(a.f_namemax, b.f_namemax);
}
