/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate MOUNT SPACE QUERIES.fvecs SECONDS [EF [BATCH [THREADS]]]: searches, for k 10, as
 * fast as answers come, by so many threads with a session each. BATCH 1: one query a
 * call, in the struct; more: that many staged by write(2), the hits taken by read(2).
 * The first quarter of the time warms up. Prints
 *
 *	<queries/s> <queries a CPU-second> <CPU us a query, client> <the same, daemon> \
 *		<p50 us a call> <p99 us a call>
 *
 * CPU is that of this process and of the daemon's request, scan and other threads
 * together, to the clock tick: give it some seconds. RATE_PID is the daemon's process,
 * for a caller who may not ask for it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "bench.h"

enum { K = 10, CALLS_MAX = 1 << 20 };

static struct {
	const char *mount, *space;
	float *v;
	uint32_t n, dim, ef, batch;
	double warm, end; /* us */
} job;

struct runner {
	pthread_t thread;
	uint32_t from;
	double *call_us;
	size_t calls; /* after warming up */
	uint64_t queries, hits;
};

static void read_queries(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "re");

	if (!f || fstat(fileno(f), &st) || fread(&job.dim, 4, 1, f) != 1 || !job.dim)
		fail(path);
	job.n = (uint32_t)((uint64_t)st.st_size / (4 + 4ull * job.dim));
	job.v = must_alloc((size_t)job.n * job.dim, sizeof(float));
	rewind(f);
	for (uint32_t i = 0; i < job.n; i++) {
		uint32_t dim;

		if (fread(&dim, 4, 1, f) != 1 || dim != job.dim ||
		    fread(job.v + (size_t)i * dim, 4, dim, f) != dim)
			fail(path);
	}
	fclose(f);
}

static void head(struct vexfs_search *s)
{
	memset(s, 0, VEXFS_SEARCH_HEAD);
	s->k = K;
	s->dim = job.dim;
	s->ef = job.ef;
	s->flags = VEXFS_SEARCH_NO_CACHE;
	snprintf(s->space, sizeof(s->space), "%s", job.space);
}

static uint64_t one(int fd, struct vexfs_search *s, uint32_t at)
{
	uint32_t size = VEXFS_SEARCH_HEAD + 4096 + job.dim * 4;

	head(s);
	memcpy(s->data, job.v + (size_t)at * job.dim, job.dim * sizeof(float));
	if (ioctl(fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, size), s) < 0)
		fail("search");
	return s->hits;
}

static uint64_t many(int fd, struct vexfs_search *s, uint32_t at, char *room, size_t size)
{
	size_t bytes = (size_t)job.batch * job.dim * sizeof(float);
	ssize_t n;

	if (write(fd, job.v + (size_t)at * job.dim, bytes) != (ssize_t)bytes)
		fail("write");
	head(s);
	s->flags |= VEXFS_SEARCH_STAGED;
	if (ioctl(fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD), s) < 0)
		fail("search");
	while ((n = read(fd, room, size)) > 0)
		;
	if (n < 0)
		fail("read");
	return s->total;
}

static void *run(void *arg)
{
	struct runner *r = arg;
	struct vexfs_search *s = must_alloc(1, sizeof(*s));
	size_t size = (size_t)1 << 20;
	char path[4096], *room = must_alloc(1, size);
	uint32_t at = r->from;
	int fd;

	snprintf(path, sizeof(path), "%s/" VEXFS_CONTROL, job.mount);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	for (double start = now_us(); start < job.end;) {
		double done;
		uint64_t hits =
		    job.batch > 1 ? many(fd, s, at, room, size) : one(fd, s, at);

		done = now_us();
		if (start >= job.warm && r->calls < CALLS_MAX) {
			r->call_us[r->calls++] = done - start;
			r->queries += job.batch;
			r->hits += hits;
		}
		start = done;
		at += job.batch;
		if (at + job.batch > job.n)
			at = 0;
	}
	close(fd);
	free(room);
	free(s);
	return NULL;
}

static double process_cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double daemon_cpu_us(uint64_t pid)
{
	unsigned long long user, system;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%llu/stat", (unsigned long long)pid);
	f = fopen(path, "re");
	if (!f ||
	    fscanf(f,
		   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
		   &user, &system) != 2)
		fail(path);
	fclose(f);
	return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t daemon_pid(void)
{
	struct vexfs_status status = { 0 };
	char path[4096];
	int fd;

	/* Only an administrator is told. */
	if (getenv("RATE_PID"))
		return strtoull(getenv("RATE_PID"), NULL, 10);
	snprintf(path, sizeof(path), "%s/" VEXFS_CONTROL, job.mount);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, VEXFS_IOC_STATUS, &status) < 0)
		fail(path);
	close(fd);
	return status.pid;
}

static void report(struct runner *r, uint32_t threads, double mine, double theirs)
{
	double *all = must_alloc((size_t)threads * CALLS_MAX, sizeof(*all));
	uint64_t queries = 0, hits = 0;
	size_t n = 0;

	for (uint32_t i = 0; i < threads; i++) {
		memcpy(all + n, r[i].call_us, r[i].calls * sizeof(*all));
		n += r[i].calls;
		queries += r[i].queries;
		hits += r[i].hits;
	}
	if (!queries || hits != queries * K)
		fprintf(stderr, "rate: %llu hits of %llu queries\n",
			(unsigned long long)hits, (unsigned long long)queries);
	if (!queries)
		exit(1);
	printf("%.0f %.0f %.1f %.1f %.1f %.1f\n",
	       (double)queries * 1e6 / (job.end - job.warm),
	       (double)queries * 1e6 / (mine + theirs), mine / (double)queries,
	       theirs / (double)queries, percentile(all, n, 0.5),
	       percentile(all, n, 0.99));
	free(all);
}

int main(int argc, char **argv)
{
	uint32_t threads = argc > 7 ? number(argv[7], "THREADS") : 1;
	struct runner *r = must_alloc(threads, sizeof(*r));
	double seconds, mine, theirs;
	uint64_t pid;

	if (argc < 5) {
		fprintf(stderr,
			"usage: rate MOUNT SPACE QUERIES.fvecs SECONDS [EF [BATCH "
			"[THREADS]]]\n");
		return 2;
	}
	job.mount = argv[1];
	job.space = argv[2];
	read_queries(argv[3]);
	seconds = (double)number(argv[4], "SECONDS");
	job.ef = argc > 5 ? (uint32_t)atoi(argv[5]) : 0;
	job.batch = argc > 6 ? number(argv[6], "BATCH") : 1;
	if (job.batch > job.n) {
		fprintf(stderr, "rate: %u queries are fewer than a batch\n", job.n);
		return 2;
	}
	pid = daemon_pid();
	job.warm = now_us() + seconds * 1e6 / 4;
	job.end = job.warm + seconds * 1e6 * 3 / 4;
	for (uint32_t i = 0; i < threads; i++) {
		r[i].from = i * (job.n / threads) / job.batch * job.batch;
		r[i].call_us = must_alloc(CALLS_MAX, sizeof(double));
		if (pthread_create(&r[i].thread, NULL, run, &r[i]))
			fail("thread");
	}
	usleep((useconds_t)(seconds * 1e6 / 4));
	mine = process_cpu_us();
	theirs = daemon_cpu_us(pid);
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(r[i].thread, NULL);
	report(r, threads, process_cpu_us() - mine, daemon_cpu_us(pid) - theirs);
	return 0;
}
