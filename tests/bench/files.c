/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: files DIR [FILES [BYTES]]
 *
 * Operations a second on FILES small files in a new folder of DIR, one phase after the
 * other: lines of NAME TAB RATE. "warm" phases touch what the phase before has touched;
 * "first" ones come when what the kernel remembers of names has had time to age.
 *
 * With $BENCH_DAEMON, a process id (0: none), time is the CPU time of this process and
 * that one: for machines that have other work.
 */
#include "bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static unsigned files = 10000;
static size_t bytes = 1024;
static char *data;
static char dir[3800];
static char path[4096], other[4096];

/* ---- the clock ------------------------------------------------------------------ */

/* Nanoseconds on a CPU of all threads of a process, in microseconds. */
static double cpu_of(const char *pid)
{
	char name[300];
	double sum = 0, ns;

	snprintf(name, sizeof(name), "/proc/%s/task", pid);
	DIR *d = opendir(name);
	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(name, sizeof(name), "/proc/%s/task/%.20s/schedstat", pid,
			 e->d_name);
		FILE *f = *e->d_name == '.' ? NULL : fopen(name, "r");

		if (f && fscanf(f, "%lf", &ns) == 1)
			sum += ns / 1e3;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return sum;
}

static double time_us(void)
{
	const char *pid = getenv("BENCH_DAEMON");
	struct timespec t;

	if (!pid || !*pid)
		return now_us();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3 +
	       (strcmp(pid, "0") ? cpu_of(pid) : 0);
}

/* ---- what is done to one file --------------------------------------------------- */

static void at(char *out, const char *stem, unsigned k)
{
	snprintf(out, sizeof(path), "%s/%s%06u", dir, stem, k);
}

static void create_one(unsigned k)
{
	at(path, "f", k);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || close(fd))
		fail(path);
}

static void touch_one(unsigned k)
{
	at(path, "e", k);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0 || close(fd))
		fail(path);
}

static void stat_one(unsigned k)
{
	struct stat st;

	at(path, "f", k);
	if (stat(path, &st) || st.st_size != (off_t)bytes)
		fail(path);
}

/* The shortest question to a FUSE daemon: attributes that may not come from memory. */
static void ask_one(unsigned k)
{
	struct statx st;

	if (!k)
		at(path, "f", k);
	if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st))
		fail(path);
}

static void read_one(unsigned k)
{
	at(path, "f", k);
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, data, bytes) != (ssize_t)bytes || close(fd))
		fail(path);
}

static void append_one(unsigned k)
{
	at(path, "f", k);
	int fd = open(path, O_WRONLY | O_APPEND);

	if (fd < 0 || write(fd, "x", 1) != 1 || close(fd))
		fail(path);
}

static void chmod_one(unsigned k)
{
	at(path, "f", k);
	if (chmod(path, 0600))
		fail(path);
}

static void setxattr_one(unsigned k)
{
	at(path, "f", k);
	if (setxattr(path, "user.note", "sixteen bytes...", 16, 0))
		fail(path);
}

static void getxattr_one(unsigned k)
{
	char out[64];

	at(path, "f", k);
	if (getxattr(path, "user.note", out, sizeof(out)) != 16)
		fail(path);
}

static void rename_one(unsigned k)
{
	at(path, "f", k);
	at(other, "g", k);
	if (rename(path, other))
		fail(path);
}

static void unlink_one(unsigned k)
{
	at(path, "g", k);
	if (unlink(path))
		fail(path);
}

static void unlink_empty(unsigned k)
{
	at(path, "e", k);
	if (unlink(path))
		fail(path);
}

static void mkdir_one(unsigned k)
{
	at(path, "d", k);
	if (mkdir(path, 0755))
		fail(path);
}

static void rmdir_one(unsigned k)
{
	at(path, "d", k);
	if (rmdir(path))
		fail(path);
}

/* ---- phases --------------------------------------------------------------------- */

static void print(const char *name, unsigned n, double t0)
{
	printf("%s\t%.0f\n", name, n / (time_us() - t0) * 1e6);
	fflush(stdout);
}

static void phase(const char *name, void (*one)(unsigned))
{
	double t0 = time_us();

	for (unsigned k = 0; k < files; k++)
		one(k);
	print(name, files, t0);
}

/* Entries a second of listing the folder, with the attributes of each. */
static void list(const char *name)
{
	double t0 = time_us();
	unsigned n = 0;
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(dir);

	if (!d)
		fail(dir);
	for (; (e = readdir(d)); n++)
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			fail(e->d_name);
	closedir(d);
	print(name, n, t0);
}

int main(int argc, char **argv)
{
	const struct timespec age = { .tv_sec = 1, .tv_nsec = 300000000 };

	if (argc < 2) {
		fprintf(stderr, "usage: files DIR [FILES [BYTES]]\n");
		return 2;
	}
	if (argc > 2)
		files = number(argv[2], "FILES");
	if (argc > 3)
		bytes = number(argv[3], "BYTES");
	data = must_alloc(1, bytes);
	snprintf(dir, sizeof(dir), "%.3700s/files.%d", argv[1], (int)getpid());
	if (mkdir(dir, 0755))
		fail(dir);
	phase("create, write 1 KiB", create_one);
	phase("open, read 1 KiB", read_one);
	nanosleep(&age, NULL);
	list("readdir and stat, first");
	list("readdir and stat, warm");
	phase("stat, warm", stat_one);
	phase("statx of one, from the source", ask_one);
	nanosleep(&age, NULL);
	phase("stat, first", stat_one);
	phase("open, append", append_one);
	phase("chmod", chmod_one);
	phase("setxattr user.", setxattr_one);
	phase("getxattr user.", getxattr_one);
	phase("rename", rename_one);
	phase("unlink", unlink_one);
	phase("create empty", touch_one);
	phase("unlink empty", unlink_empty);
	phase("mkdir", mkdir_one);
	phase("rmdir", rmdir_one);
	if (rmdir(dir))
		fail(dir);
	return 0;
}
