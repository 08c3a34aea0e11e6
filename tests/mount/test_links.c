/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hard and symbolic links, and what the kernel believes of an inode when its names come
 * and go, also behind the mount.
 */
#include "mount/compare.h"

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

#define LTEST(name) Test(links, name, .init = up, .fini = down, .timeout = 60)

static void links(struct notes *n)
{
	char target[300], buf[5000];
	struct stat a, b;

	CALL(n, close(open("a", O_CREAT | O_RDWR, 0644)));
	CALL(n, link("a", "b"));
	CALL(n, link("a", "b"));
	CALL(n, link("nope", "c"));
	CALL(n, link(".", "c"));
	note_stat(n, "a");
	stat("a", &a);
	stat("b", &b);
	NOTE(n, "same inode: %d", a.st_ino == b.st_ino);
	CALL(n, chmod("b", 0600));
	note_stat(n, "a");
	int fd = open("a", O_WRONLY);
	NOTE(n, "%zd", write(fd, "12345", 5));
	CALL(n, unlink("a"));
	note_stat(n, "b");
	CALL(n, linkat(AT_FDCWD, "b", AT_FDCWD, "c", 0));
	snprintf(buf, sizeof(buf), "/proc/self/fd/%d", fd);
	CALL(n, linkat(AT_FDCWD, buf, AT_FDCWD, "d", AT_SYMLINK_FOLLOW));
	note_stat(n, "d");
	CALL(n, unlink("b"));
	CALL(n, unlink("c"));
	CALL(n, unlink("d"));
	CALL(n, linkat(AT_FDCWD, buf, AT_FDCWD, "e", AT_SYMLINK_FOLLOW));
	CALL(n, close(fd));
	CALL(n, symlink("x/../y", "s"));
	memset(target, 0, sizeof(target));
	NOTE(n, "%zd %s", readlink("s", target, sizeof(target)), target);
	NOTE(n, "%zd", readlink("s", target, 3));
	note_stat(n, "s");
	CALL(n, open("s", O_RDONLY));
	CALL(n, link("s", "s2"));
	note_stat(n, "s2");
	CALL(n, readlink("nope", target, 10));
	CALL(n, mkdir("d", 0755));
	CALL(n, readlink("d", target, 10));
	CALL(n, symlink("loop", "loop"));
	CALL(n, open("loop", O_RDONLY));
	CALL(n, symlink("", "empty"));
	memset(buf, 'p', 4095);
	buf[4095] = 0;
	CALL(n, symlink(buf, "long"));
	memset(buf, 0, sizeof(buf));
	NOTE(n, "%zd", readlink("long", buf, sizeof(buf)));
	CALL(n, unlink("long"));
}
LTEST(hard_and_symbolic)
{
	compare(&m, links);
}

LTEST(one_inode_by_two_names)
{
	struct stat a, b, c;

	vm_puts(vm_at(&m, "a"), "one");
	cr_assert(link(vm_at(&m, "a"), vm_at(&m, "b")) == 0);
	/* A third name made behind the mount. */
	cr_assert(link(vm_store(&m, "a"), vm_store(&m, "c")) == 0);
	cr_assert(stat(vm_at(&m, "a"), &a) == 0 && stat(vm_at(&m, "b"), &b) == 0 &&
		  stat(vm_at(&m, "c"), &c) == 0);
	cr_assert(a.st_ino == b.st_ino && b.st_ino == c.st_ino);
	cr_assert_eq(c.st_nlink, 3);
	/* Written by one name, read by the others. */
	vm_puts(vm_at(&m, "c"), "three");
	cr_assert_str_eq(vm_read(vm_at(&m, "a"), NULL), "three");
	cr_assert_str_eq(vm_read(vm_at(&m, "b"), NULL), "three");
}

/* ext4 gives a freed inode number to the next file: it must not inherit what we or the
 * kernel remember. */
LTEST(reused_inode_numbers_are_other_files)
{
	struct stat st;
	ino_t last = 0;
	int reused = 0;

	for (int k = 0; k < 50; k++) {
		char text[32];

		snprintf(text, sizeof(text), "round %d", k);
		vm_puts(vm_at(&m, "f"), text);
		cr_assert(stat(vm_at(&m, "f"), &st) == 0);
		reused += st.st_ino == last;
		last = st.st_ino;
		cr_assert_str_eq(vm_read(vm_at(&m, "f"), NULL), text);
		/* Every other time behind the mount, where the kernel hears nothing. */
		cr_assert(unlink(k % 2 ? vm_at(&m, "f") : vm_store(&m, "f")) == 0);
		if (!(k % 2)) {
			cr_assert(mkdir(vm_store(&m, "f"), 0755) == 0);
			cr_assert(rmdir(vm_store(&m, "f")) == 0);
			usleep(1000);
		}
	}
	cr_log_info("%d numbers were reused", reused);
}

/* close(2) returns before the daemon hears of it: waits until nothing is open but the
 * status file itself. */
static void wait_all_closed(void)
{
	for (int k = 0; k < 3000; k++) {
		char *status = vm_read(vm_at(&m, ".vexfs/status"), NULL);
		bool closed = status && strstr(status, "\"open_handles\": 1,");

		free(status);
		if (closed)
			return;
		usleep(10000);
	}
	cr_assert_fail("something stays open");
}

/* A file made behind the mount in place of one the kernel still remembers, with the
 * same inode number: once nobody has the old one open, open must show the new one at
 * once, not the old one's pages. */
LTEST(replaced_behind_with_the_same_number)
{
	for (int k = 0; k < 10; k++) {
		char text[32];

		vm_puts(vm_at(&m, "f"), "old old old");
		free(vm_read(vm_at(&m, "f"), NULL));
		wait_all_closed();
		cr_assert(unlink(vm_store(&m, "f")) == 0);
		snprintf(text, sizeof(text), "new %d", k);
		vm_puts(vm_store(&m, "f"), text);
		char *got = vm_read(vm_at(&m, "f"), NULL);
		cr_assert(got != NULL, "%s", strerrorname_np(errno));
		/* Attributes may be a second old, so compare the beginning. */
		cr_assert(!strncmp(got, text, strlen(got)) && strlen(got) >= 5, "%s",
			  got);
		wait_all_closed(); /* else the next round writes to this one */
		cr_assert(unlink(vm_store(&m, "f")) == 0);
	}
}
