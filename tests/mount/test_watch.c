/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that are watched: the kernel believes for a minute what it was told of what
 * is in them, and yet what is changed behind the mount shows soon. "Soon" is 10 seconds
 * here, for machines that are busy; it would be a minute if a change were missed.
 */
#include "mount/compare.h"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

static struct vmount m;
static bool watches;

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static int list(const char *path)
{
	struct dirent *e;
	struct stat st;
	int n = 0;
	DIR *d = opendir(path);

	if (!d)
		return -1;
	while ((e = readdir(d))) {
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		n += e->d_name[0] != '.';
	}
	closedir(d);
	return n;
}

static void up(void)
{
	if (geteuid())
		cr_skip_test("needs root");
	vm_new(&m);
	vm_up(&m, "allow_other");
	list(m.mnt);
	char *text = vm_read(vm_at(&m, ".vexfs/status"), NULL);
	watches = text && !strstr(text, "\"watched_directories\": 0,");
	free(text);
}

static void down(void)
{
	if (!geteuid())
		vm_free(&m);
}

#define WATCH(name) Test(watch, name, .init = up, .fini = down, .timeout = 240)

/* A directory of files that the kernel knows all about. */
static void make_dir(int files)
{
	cr_assert(!mkdir(vm_at(&m, "d"), 0755) && !mkdir(vm_at(&m, "e"), 0755));
	for (int k = 0; k < files; k++)
		vm_puts(vm_at(&m, "d/%d", k), "x");
	for (int k = 0; k < 3; k++) {
		list(vm_at(&m, "d"));
		list(vm_at(&m, "e"));
		pause_ms(k ? 0 : 1200);
	}
}

WATCH(what_is_known_is_not_asked_again)
{
	bool quiet = false;

	if (!watches)
		cr_skip_test("nothing is watched here");
	make_dir(100);
	for (int k = 0; k < 10 && !quiet; k++) {
		long before = vm_asked(&m, "lookup") + vm_asked(&m, "readdirplus") +
			      vm_asked(&m, "readdir");

		pause_ms(1200);
		cr_expect_eq(list(vm_at(&m, "d")), 100);
		quiet = vm_asked(&m, "lookup") + vm_asked(&m, "readdirplus") +
			    vm_asked(&m, "readdir") - before <
			20;
	}
	cr_expect(quiet, "after a second all is asked for again");
}

/* Whether the mount shows of d/NAME what the store has. */
static bool shows(const char *name)
{
	struct stat a, b;
	int x = lstat(vm_at(&m, "%s", name), &a), y = lstat(vm_store(&m, "%s", name), &b);

	if (x || y)
		return x && y;
	return a.st_ino == b.st_ino && a.st_mode == b.st_mode && a.st_uid == b.st_uid &&
	       a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
	       a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_nlink == b.st_nlink;
}

static void soon(const char *name)
{
	for (int k = 0; k < 400; k++, pause_ms(25)) {
		if (shows(name))
			return;
	}
	cr_expect(0, "%s is not seen to have changed", name);
}

/* Names that the mount lists, and no others, are those of the store. */
static void listed_soon(const char *dir)
{
	for (int k = 0; k < 400; k++, pause_ms(25)) {
		if (list(vm_at(&m, "%s", dir)) == list(vm_store(&m, "%s", dir)))
			return;
	}
	cr_expect(0, "%s is not seen to have changed", dir);
}

#define BEHIND(what, ...)                                                                \
	do {                                                                             \
		cr_assert_eq(vm_sh(&m, 20, "cd $S && " what), 0, what);                  \
		const char *seen[] = { __VA_ARGS__ };                                    \
		for (size_t n_ = 0; n_ < sizeof(seen) / sizeof(*seen); n_++)             \
			soon(seen[n_]);                                                  \
		listed_soon("d");                                                        \
		listed_soon("e");                                                        \
	} while (0)

WATCH(changes_behind_the_mount_show)
{
	make_dir(20);
	BEHIND("echo more >>d/0", "d/0");
	BEHIND(": >d/1", "d/1");
	BEHIND("chmod 600 d/2", "d/2");
	BEHIND("chown 1234 d/3", "d/3");
	BEHIND("touch -d 2001-01-01 d/4", "d/4");
	BEHIND("rm d/5", "d/5", "d");
	BEHIND("mv d/6 d/six", "d/6", "d/six");
	BEHIND("mv d/7 e/7", "d/7", "e/7", "d", "e");
	BEHIND("mv d/8 d/9", "d/8", "d/9");
	BEHIND("echo new >d/tmp; mv d/tmp d/10", "d/10");
	BEHIND("echo new >d/new", "d/new", "d");
	BEHIND("mkdir d/sub", "d/sub", "d");
	BEHIND("rmdir d/sub", "d/sub", "d");
	BEHIND("mkdir d/sub; touch d/sub/a", "d/sub", "d/sub/a");
	BEHIND("chmod 700 d", "d");
	BEHIND("ln -s x d/link", "d/link");
	BEHIND("ln -sfn y d/link", "d/link");
	BEHIND("ln d/11 e/11; echo more >>e/11", "d/11", "e/11");
	BEHIND("rm d/11; echo more >>e/11", "d/11", "e/11");
	BEHIND("mv d f; echo more >>f/12", "d/12", "f/12", "f");
	BEHIND("mv f d", "f", "d");
	BEHIND("echo more >>d/12; chmod 755 d", "d/12", "d");
}

/* While clients write the same file by pass-through. */
WATCH(changes_of_a_file_being_written_show)
{
	make_dir(3);
	int fd = open(vm_at(&m, "d/0"), O_WRONLY | O_APPEND);
	cr_assert(fd >= 0);
	for (int k = 0; k < 5; k++) {
		cr_assert_eq(write(fd, "client", 6), 6);
		pause_ms(60);
		BEHIND("echo behind >>d/0", "d/0");
	}
	close(fd);
	for (int k = 0; k < 3; k++)
		BEHIND("echo behind >>d/0", "d/0");
}

/* Random changes on both sides; in the end both are the same. */
WATCH(many_changes_show)
{
	uint64_t seed = vm_seed();
	char name[32], other[32];

	make_dir(40);
	for (int k = 0; k < 1500; k++) {
		const char *root = vm_rand(&seed) % 3 ? m.store : m.mnt;
		int a = (int)(vm_rand(&seed) % 50), b = (int)(vm_rand(&seed) % 50);
		char x[VM_PATH + 64], y[VM_PATH + 64];

		snprintf(name, sizeof(name), "%s/%d", a % 2 ? "d" : "e", a);
		snprintf(other, sizeof(other), "%s/%d", b % 2 ? "d" : "e", b);
		snprintf(x, sizeof(x), "%s/%s", root, name);
		snprintf(y, sizeof(y), "%s/%s", root, other);
		switch (vm_rand(&seed) % 6) {
		case 0:
			unlink(x);
			break;
		case 1:
			rename(x, y);
			break;
		case 2:
			chmod(x, 0600 | (vm_rand(&seed) & 077));
			break;
		case 3:
			list(vm_at(&m, "d"));
			list(vm_at(&m, "e"));
			break;
		default: {
			int fd = open(x, O_CREAT | O_WRONLY | O_APPEND, 0644);

			if (fd >= 0 && write(fd, "text", vm_rand(&seed) % 4 + 1) < 0)
				cr_expect(errno == EIO);
			if (fd >= 0)
				close(fd);
		}
		}
	}
	for (int k = 0; k < 50; k++) {
		snprintf(name, sizeof(name), "%s/%d", k % 2 ? "d" : "e", k);
		soon(name);
	}
	listed_soon("d");
	listed_soon("e");
	soon("d");
	soon("e");
}

/* More than the queue of events holds. */
WATCH(lost_events_lose_no_change)
{
	char path[VM_PATH + 64];

	make_dir(10);
	soon("d/3");
	cr_assert_eq(kill(m.daemon, SIGSTOP), 0);
	for (int k = 0; k < 20000; k++) {
		snprintf(path, sizeof(path), "%s/d/many-%d", m.store, k);
		int fd = open(path, O_CREAT | O_WRONLY, 0644);
		cr_assert(fd >= 0);
		close(fd);
		unlink(path);
	}
	int done =
	    vm_sh(&m, 20, "cd $S/d && echo more >>3 && rm 4 && mv 5 five && chmod 600 6");
	cr_assert_eq(kill(m.daemon, SIGCONT), 0);
	cr_assert_eq(done, 0);
	soon("d/3");
	soon("d/4");
	soon("d/5");
	soon("d/five");
	soon("d/6");
	listed_soon("d");
}
