/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill: what was acknowledged survives a SIGKILL of the daemon at any moment.
 *
 *	kill VEXFS FOLDER ROUNDS SEED SECONDS
 *
 * Under load it ends after SECONDS with the rounds it has made, 40 of them at least.
 *
 * A round: mount FOLDER/store at FOLDER/mnt; workers change files of their own there
 * (create, attach one or several rows, replace, detach, rename, rename over another,
 * unlink, several files in one ioctl); after a random while the daemon is killed, in
 * some rounds once more while it recovers; mount again and compare everything with
 * what the workers know:
 *  - each acknowledged change is there, byte for byte, and nothing else is;
 *  - the one call a worker had in flight is wholly there or wholly absent;
 *  - a search for every row finds exactly the rows that are attached, at the paths
 *    their files have now, and a search by a row's own vector finds it at distance 0.
 *
 * The workers are processes; what they know (struct worker) lies in memory shared
 * with the driver, so it outlives the daemon and, should that ever be needed, them.
 * A worker writes down what it is about to do (`next`) before the call and copies it
 * to `now` after the call returned: no lock is needed, the driver looks only when the
 * workers have ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "kill.h"

const char *const kinds[KINDS] = { "one", "one.key", "two", "two.k2" };
struct shared *shared;
#define ROUNDS_LEAST 40u
static char mnt[256], store[256];
static const char *vexfs;
static pid_t daemon_pid;

/* ---- what all parts use ------------------------------------------------------- */

void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "kill: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	if (daemon_pid > 0)
		kill(daemon_pid, SIGKILL);
	exit(1);
}

uint64_t rng;

uint32_t rnd(uint32_t n) /* splitmix64 */
{
	uint64_t z = (rng += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) % n);
}

void nap_ms(uint32_t ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

const char *path_of(char buf[static 64], uint32_t w, uint32_t f)
{
	snprintf(buf, 64, "w%u/%c/f%u", w, 'a' + (int)(f / NAMES), f % NAMES);
	return buf;
}

uint32_t rows_of(uint32_t w, uint32_t value, float out[ROWS_MAX][DIM])
{
	uint32_t rows = 1 + value % ROWS_MAX;
	for (uint32_t r = 0; r < rows; r++) {
		memset(out[r], 0, ROW_BYTES);
		out[r][0] = (float)(w + 1);
		out[r][1] = (float)(value & 0xfff);
		out[r][2] = (float)(value >> 12);
		out[r][3] = (float)r;
		out[r][DIM - 1] = 1;
	}
	return rows;
}
/* ---- the daemon ------------------------------------------------------------------ */

static void clear_mount(void)
{
	while (umount2(mnt, MNT_DETACH) == 0)
		;
	if (errno == EINVAL) /* no mount (any more) */
		return;
	char cmd[320];
	snprintf(cmd, sizeof(cmd), "fusermount3 -uz '%s' 2>/dev/null", mnt);
	if (system(cmd) != 0)
		fprintf(stderr, "kill: nothing to unmount at %s\n", mnt);
}

static void daemon_start(const char *opts)
{
	pid_t parent = getpid();
	daemon_pid = fork();
	if (daemon_pid < 0)
		die("fork: %s", strerror(errno));
	if (daemon_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		execl(vexfs, vexfs, "-f", "-o", opts, store, mnt, NULL);
		_exit(127);
	}
}

static bool is_up(void)
{
	char path[300];
	struct stat st;
	snprintf(path, sizeof(path), "%s/" VEXFS_CONTROL, mnt);
	return stat(path, &st) == 0;
}

static void daemon_wait(void)
{
	for (uint32_t i = 0; i < 30000 && !is_up(); i++) {
		int status;
		if (waitpid(daemon_pid, &status, WNOHANG) == daemon_pid) {
			daemon_pid = 0;
			die("the daemon ended, status %#x, instead of mounting", status);
		}
		nap_ms(1);
	}
	if (!is_up())
		die("no mount after 30 s");
}

/* Leaves a dead mount: clear_mount, when nobody is to meet it any more. */
static void daemon_kill(void)
{
	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	daemon_pid = 0;
}

static void daemon_stop(void)
{
	int status = 0;
	kill(daemon_pid, SIGTERM);
	for (uint32_t i = 0; i < 12000; i++) {
		if (waitpid(daemon_pid, &status, WNOHANG) == daemon_pid) {
			daemon_pid = 0;
			if (status)
				die("the daemon ended with status %#x", status);
			return;
		}
		nap_ms(5);
	}
	die("the daemon does not end after SIGTERM");
}

/* ---- rounds -------------------------------------------------------------------------
 */

static void make_dirs(void)
{
	for (uint32_t i = 0; i < WORKERS * 3; i++) {
		char path[300];
		static const char *const sub[] = { "", "/a", "/b" };
		snprintf(path, sizeof(path), "%s/w%u%s", mnt, i / 3, sub[i % 3]);
		if (mkdir(path, 0755) < 0)
			die("mkdir %s: %s", path, strerror(errno));
	}
}

/* Beforehand: a first attachment of several binary rows would be taken for one. */
static void make_spaces(void)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/" VEXFS_CONTROL, mnt);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	for (uint32_t i = 0; i < KINDS; i += 2) {
		struct vexfs_space io = { .dim = DIM, .metric = VEXFS_L2 };
		snprintf(io.name, sizeof(io.name), "%s", kinds[i]);
		if (ioctl(fd, VEXFS_IOC_SPACE_CREATE, &io) < 0)
			die("space %s: %s", kinds[i], strerror(errno));
	}
	close(fd);
}

static void start_workers(pid_t pids[WORKERS])
{
	pid_t parent = getpid();
	for (uint32_t w = 0; w < WORKERS; w++) {
		uint64_t seed = rng ^ ((uint64_t)(w + 1) << 40);
		pids[w] = fork();
		if (pids[w] < 0)
			die("fork: %s", strerror(errno));
		if (pids[w] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(1);
			work(mnt, w, seed);
		}
	}
}

/* The daemon is gone, so each worker's next call fails and it ends. */
static void end_workers(pid_t pids[WORKERS])
{
	for (uint32_t i = 0, left = WORKERS; left > 0; i++) {
		pid_t p = waitpid(-1, NULL, WNOHANG);
		for (uint32_t w = 0; p > 0 && w < WORKERS; w++)
			left -= pids[w] == p;
		if (p == 0)
			nap_ms(2);
		if (i > 20000)
			die("a worker hangs in a call to a dead mount");
	}
}

static uint64_t calls_done(void)
{
	uint64_t n = 0;
	for (uint32_t w = 0; w < WORKERS; w++)
		n += shared->worker[w].done;
	return n;
}

static void one_round(uint32_t round)
{
	const char *opts = round % 4 == 3   ? "metric=l2,sync=always"
			   : round % 4 == 1 ? "metric=l2,sync_interval_ms=20"
					    : "metric=l2";
	pid_t pids[WORKERS];
	/* Short rounds for the moments after a mount, some long ones for a log that is
	 * full of work. */
	uint32_t ms = rnd(8) ? rnd(100) : rnd(800);
	shared->killing = false;
	start_workers(pids);
	nap_ms(10 + ms);
	shared->killing = true;
	daemon_kill();
	/* Before the mount is cleared away: a worker that has only begun would find the
	 * empty directory below it. */
	end_workers(pids);
	clear_mount();
	if (rnd(4) == 0) { /* and once more while it recovers */
		daemon_start(opts);
		nap_ms(rnd(60));
		daemon_kill();
		clear_mount();
	}
	daemon_start(opts);
	daemon_wait();
	verify(mnt);
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: kill VEXFS FOLDER ROUNDS SEED SECONDS\n");
		return 2;
	}
	uint32_t wanted = (uint32_t)strtoul(argv[3], NULL, 10), rounds = 0;
	time_t end = time(NULL) + strtol(argv[5], NULL, 10);
	vexfs = argv[1];
	rng = strtoull(argv[4], NULL, 10);
	snprintf(store, sizeof(store), "%s/store", argv[2]);
	snprintf(mnt, sizeof(mnt), "%s/mnt", argv[2]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	daemon_start("metric=l2");
	daemon_wait();
	make_dirs();
	make_spaces();
	while (rounds < wanted && (rounds < ROUNDS_LEAST || time(NULL) < end)) {
		uint64_t before = calls_done();
		one_round(rounds);
		printf("round %u: %llu calls acknowledged, %u rows attached\n", rounds++,
		       (unsigned long long)(calls_done() - before),
		       rows_known("one") + rows_known("two"));
		fflush(stdout);
	}
	daemon_stop();
	if (calls_done() < 10ull * rounds)
		die("only %llu calls in %u rounds: nothing was tested",
		    (unsigned long long)calls_done(), rounds);
	printf("%u of %u rounds, %llu acknowledged calls, none lost\n", rounds, wanted,
	       (unsigned long long)calls_done());
	return 0;
}
