/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories while they change: positions that come back, entries made, removed and
 * renamed during a reading, readers side by side; and what watches them: inotify. As on
 * the filesystem below.
 */
#include "mount/compare.h"

#include <dirent.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>

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

#define DTEST(name) Test(dirs, name, .init = up, .fini = down, .timeout = 120)

#define FILES 3000

static void make_files(const char *dir, int n)
{
	char name[64];

	sure(mkdir(dir, 0755));
	for (int k = 0; k < n; k++) {
		snprintf(name, sizeof(name), "%s/file-%05d", dir, k);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
}

/* ---- positions ------------------------------------------------------------------- */

static void positions(struct notes *n)
{
	static char names[FILES + 2][32];
	static long at[FILES + 3];
	uint64_t seed = 7;
	struct dirent *e;
	int k = 0;

	make_files("d", FILES);
	DIR *d = opendir("d");
	for (at[0] = telldir(d); (e = readdir(d)); at[++k] = telldir(d))
		snprintf(names[k], sizeof(names[k]), "%.31s", e->d_name);
	NOTE(n, "%d", k);
	for (int r = 0; r < 300; r++) { /* any of them, in any order */
		int to = (int)(vm_rand(&seed) % (uint64_t)(k + 1));

		seekdir(d, at[to]);
		e = readdir(d);
		if (to == k ? e != NULL : !e || strcmp(e->d_name, names[to]))
			NOTE(n, "%d: %s", to, e ? e->d_name : "end");
	}
	/* What was removed is skipped; what follows is there. */
	for (int r = 0; r < k; r += 2) {
		char path[64];

		snprintf(path, sizeof(path), "d/%.31s", names[r]);
		unlink(path);
	}
	for (int r = 1; r < 200; r += 2) {
		int to = (int)(vm_rand(&seed) % (uint64_t)(k / 2 - 1)) * 2 + 1;

		seekdir(d, at[to]);
		e = readdir(d);
		if (!e || strcmp(e->d_name, names[to]))
			NOTE(n, "after removal %d: %s", to, e ? e->d_name : "end");
	}
	rewinddir(d);
	for (k = 0; readdir(d);)
		k++;
	NOTE(n, "%d", k);
	closedir(d);
	shell("rm -rf d");
}
DTEST(positions_come_back)
{
	compare(&m, positions);
}

/* Raw: d_off of each entry leads to the next; small buffers; d_type; d_ino is st_ino. */
struct dent {
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};

static void raw(struct notes *n)
{
	char buf[200];
	long got, count = 0;
	struct stat st;

	make_files("d", 100);
	sure(mkdir("d/sub", 0755) | symlink("x", "d/sym") | mkfifo("d/fifo", 0644));
	int fd = open("d", O_RDONLY | O_DIRECTORY);
	CALL(n, syscall(SYS_getdents64, fd, buf, 1));
	CALL(n, read(fd, buf, sizeof(buf)));
	CALL(n, write(fd, buf, sizeof(buf)));
	while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long k = 0; k < got; k += ((struct dent *)(buf + k))->len) {
			struct dent *e = (void *)(buf + k);

			if (!strcmp(e->name, "..")) /* the mount's own, at the root */
				continue;
			if (fstatat(fd, e->name, &st, AT_SYMLINK_NOFOLLOW) ||
			    st.st_ino != e->ino ||
			    (mode_t)DTTOIF(e->type) != (st.st_mode & S_IFMT))
				NOTE(n, "%s: %d", e->name, e->type);
			count++;
		}
	}
	NOTE(n, "%ld %ld", got, count);
	CALL(n, syscall(SYS_getdents64, fd, buf, sizeof(buf)));
	CALL(n, lseek(fd, 0, SEEK_SET));
	NOTE(n, "%d", syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0);
	CALL(n, lseek(fd, -1, SEEK_SET));
	close(fd);
	shell("rm -rf d");
	fd = open(".", O_RDONLY | O_DIRECTORY);
	sure(mkdir("gone", 0755));
	int gone = open("gone", O_RDONLY | O_DIRECTORY);
	sure(rmdir("gone"));
	CALL(n, syscall(SYS_getdents64, gone, buf, sizeof(buf)));
	close(gone);
	close(fd);
}
DTEST(raw_entries)
{
	compare(&m, raw);
}

/* ---- changes meanwhile ------------------------------------------------------------- */

/* Each entry that is there all the time is listed exactly once, whatever is made,
 * removed and renamed beside it; a rename of every entry met ends. */
static void changing(struct notes *n)
{
	static int seen[FILES];
	char a[64], b[64];
	struct dirent *e;
	int k = 0, met = 0, wrong = 0;

	make_files("d", FILES);
	DIR *d = opendir("d");
	while ((e = readdir(d))) {
		if (!strncmp(e->d_name, "file-", 5))
			seen[atoi(e->d_name + 5)]++;
		snprintf(a, sizeof(a), "d/new-%d", k++);
		close(open(a, O_CREAT | O_WRONLY, 0600));
		snprintf(b, sizeof(b), "d/renamed-%d", k);
		sure(rename(a, b));
		if (k % 3 == 0)
			sure(unlink(b));
		if (k > 50000)
			break;
	}
	for (k = 0; k < FILES; k++)
		wrong += seen[k] != 1;
	NOTE(n, "%d", wrong);
	rewinddir(d);
	while ((e = readdir(d)) && met < 100000) {
		met++;
		if (e->d_name[0] == '.')
			continue;
		snprintf(a, sizeof(a), "d/%.50s", e->d_name);
		snprintf(b, sizeof(b), "d/again-%d", met);
		sure(rename(a, b));
	}
	NOTE(n, "%d", met < 100000);
	/* A reader that rewinds sees what is new. */
	rewinddir(d);
	while (readdir(d))
		;
	close(open("d/last", O_CREAT | O_WRONLY, 0600));
	rewinddir(d);
	for (met = 0; (e = readdir(d));)
		met += !strcmp(e->d_name, "last");
	NOTE(n, "%d", met);
	/* All removed while reading, with a small buffer's worth at once. */
	rewinddir(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	CALL(n, rmdir("d"));
}
DTEST(entries_that_change_meanwhile)
{
	compare(&m, changing);
}

/* Readers side by side, and two positions of one duplicated descriptor. */
static void readers(struct notes *n)
{
	int status, bad = 0;

	make_files("d", 500);
	for (int p = 0; p < 4; p++) {
		if (fork())
			continue;
		for (int r = 0; r < 20; r++) {
			DIR *d = opendir("d");
			int k = 0;

			while (readdir(d))
				k++;
			closedir(d);
			if (k != 502)
				_exit(1);
		}
		_exit(0);
	}
	for (int p = 0; p < 4; p++) {
		wait(&status);
		bad += status != 0;
	}
	NOTE(n, "%d", bad);
	int fd = open("d", O_RDONLY | O_DIRECTORY), two = dup(fd);
	char buf[4096];
	long a = 0, got;
	for (int k = 0; (got = syscall(SYS_getdents64, k % 2 ? fd : two, buf, 1000)) > 0;
	     k++)
		a += got;
	NOTE(n, "%ld", a);
	close(fd);
	close(two);
	shell("rm -rf d");
}
DTEST(readers_side_by_side)
{
	compare(&m, readers);
}

/* ---- links of directories ------------------------------------------------------------
 */

static void nlinks(struct notes *n)
{
	struct stat st;

	sure(mkdir("p", 0755) | mkdir("q", 0755));
#define LINKS(dir)                                                                       \
	do {                                                                             \
		lstat(dir, &st);                                                         \
		NOTE(n, "%s %u", dir, (unsigned)st.st_nlink);                            \
	} while (0)
	LINKS("p");
	sure(mkdir("p/a", 0755) | mkdir("p/b", 0755));
	LINKS("p");
	sure(rename("p/a", "q/a"));
	LINKS("p");
	LINKS("q");
	sure(rename("q/a", "p/b"));
	LINKS("p");
	LINKS("q");
	sure(close(open("q/f", O_CREAT | O_RDWR, 0644)));
	sure(renameat2(AT_FDCWD, "q/f", AT_FDCWD, "p/b", 2));
	LINKS("p");
	LINKS("q");
	int fd = open("p/b", O_RDONLY), dir = open("q/f", O_RDONLY);
	sure(rmdir("q/f"));
	fstat(dir, &st);
	NOTE(n, "%u", (unsigned)st.st_nlink);
	sure(close(open("over", O_CREAT | O_RDWR, 0644)) | rename("over", "p/b"));
	fstat(fd, &st);
	NOTE(n, "%u", (unsigned)st.st_nlink);
	LINKS("p");
	LINKS("q");
	close(fd);
	close(dir);
}
DTEST(links_of_directories)
{
	compare(&m, nlinks);
}

/* ---- what watches --------------------------------------------------------------------
 */

static void note_events(struct notes *n, int in)
{
	char buf[4096] __attribute__((aligned(8)));
	struct pollfd p = { .fd = in, .events = POLLIN };

	while (poll(&p, 1, 100) > 0) {
		ssize_t got = read(in, buf, sizeof(buf));
		for (char *c = buf; c < buf + got;) {
			struct inotify_event *e = (void *)c;
			NOTE(n, "wd %d %x %s", e->wd, e->mask, e->len ? e->name : "");
			c += sizeof(*e) + e->len;
		}
	}
}

static void watching(struct notes *n)
{
	sure(mkdir("d", 0755));
	int in = inotify_init1(IN_NONBLOCK);
	CALL(n, inotify_add_watch(in, "d", IN_ALL_EVENTS));
	int fd = open("d/f", O_CREAT | O_RDWR, 0644);
	sure(write(fd, "x", 1));
	sure(ftruncate(fd, 0));
	sure(fchmod(fd, 0600));
	close(fd);
	note_events(n, in);
	CALL(n, inotify_add_watch(in, "d/f", IN_ALL_EVENTS));
	sure(rename("d/f", "d/g"));
	sure(link("d/g", "l"));
	sure(unlink("l"));
	note_events(n, in);
	sure(unlink("d/g"));
	note_events(n, in);
	sure(mkdir("d/sub", 0755) | rmdir("d/sub") | rmdir("d"));
	note_events(n, in);
	close(in);
}
DTEST(inotify)
{
	compare(&m, watching);
}
