/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph MOUNT SPACE QUERIES.fvecs [EF ...]: searches with the space's graph against exact
 * ones, both through the ioctl, one query a call. Queries are strangers to the space.
 * Prints, for the usual search (ef 0) and for each EF,
 *
 *	<ef> <recall@10> <wall p50 us> <wall p99 us> <CPU us a query, client and daemon>
 *
 * The truth is the exact search's k-th distance. Pin client and daemon to one CPU, or the
 * wall times are mostly those of waking the other one.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "bench.h"

enum { K = 10, MAX = 4096 };

struct queries {
	float *v;
	uint32_t n, dim;
};

static struct queries read_queries(const char *path)
{
	struct queries q = { 0 };
	struct stat st;
	FILE *f = fopen(path, "re");

	if (!f || fstat(fileno(f), &st) || fread(&q.dim, 4, 1, f) != 1 || !q.dim)
		fail(path);
	q.n = (uint32_t)((uint64_t)st.st_size / (4 + 4ull * q.dim));
	q.n = q.n > MAX ? MAX : q.n;
	q.v = malloc((size_t)q.n * q.dim * sizeof(float));
	if (!q.v)
		fail("memory");
	rewind(f);
	for (uint32_t i = 0; i < q.n; i++) {
		uint32_t dim;

		if (fread(&dim, 4, 1, f) != 1 || dim != q.dim ||
		    fread(q.v + (size_t)i * dim, 4, dim, f) != dim)
			fail(path);
	}
	fclose(f);
	return q;
}

/* Distances of the hits, nearest first; returns how many. */
static uint32_t search(int fd, const char *space, const float *v, uint32_t dim,
		       uint32_t ef, uint32_t flags, float *out, char plan[16])
{
	static struct vexfs_search s;
	uint32_t size = VEXFS_SEARCH_HEAD + 4096 + dim * 4, at = 0;

	memset(&s, 0, VEXFS_SEARCH_HEAD);
	s.flags = flags | VEXFS_SEARCH_NO_CACHE;
	s.k = K;
	s.dim = dim;
	s.ef = ef;
	snprintf(s.space, sizeof(s.space), "%s", space);
	memcpy(s.data, v, dim * sizeof(float));
	if (ioctl(fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, size), &s) < 0)
		fail("search");
	for (uint32_t i = 0; i < s.hits; i++) {
		struct vexfs_hit h;

		memcpy(&h, s.data + at, sizeof(h));
		out[i] = h.distance;
		at += h.size;
	}
	memcpy(plan, s.plan, 16);
	return s.hits;
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

static void sweep(int fd, const char *space, const struct queries *q, const float *kth,
		  uint32_t ef, uint64_t pid)
{
	static double wall[MAX];
	float d[K];
	char plan[16] = "";
	size_t hits = 0;
	double cpu, *w = wall;

	for (uint32_t i = 0; i < q->n / 4; i++) /* warm */
		search(fd, space, q->v + (size_t)i * q->dim, q->dim, ef, 0, d, plan);
	if (strcmp(plan, "graph"))
		fprintf(stderr, "graph: the plan is %s\n", plan);
	cpu = process_cpu_us() + daemon_cpu_us(pid);
	for (uint32_t i = 0; i < q->n; i++, w++) {
		double start = now_us();
		uint32_t n =
		    search(fd, space, q->v + (size_t)i * q->dim, q->dim, ef, 0, d, plan);

		*w = now_us() - start;
		for (uint32_t j = 0; j < n; j++)
			hits += d[j] <= kth[i];
	}
	cpu = process_cpu_us() + daemon_cpu_us(pid) - cpu;
	printf("%u %.4f %.1f %.1f %.1f\n", ef, (double)hits / ((double)K * q->n),
	       percentile(wall, q->n, 0.5), percentile(wall, q->n, 0.99), cpu / q->n);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct vexfs_status status = { 0 };
	static float kth[MAX];
	struct queries q;
	char path[4096], plan[16];
	float d[K];
	int fd;

	if (argc < 4) {
		fprintf(stderr, "usage: graph MOUNT SPACE QUERIES.fvecs [EF ...]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/" VEXFS_CONTROL, argv[1]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, VEXFS_IOC_STATUS, &status) < 0)
		fail(path);
	q = read_queries(argv[3]);
	for (uint32_t i = 0; i < q.n; i++) {
		uint32_t n = search(fd, argv[2], q.v + (size_t)i * q.dim, q.dim, 0,
				    VEXFS_SEARCH_EXACT, d, plan);

		kth[i] = n ? d[n - 1] : 0;
	}
	sweep(fd, argv[2], &q, kth, 0, status.pid);
	for (int i = 4; i < argc; i++)
		sweep(fd, argv[2], &q, kth, (uint32_t)atoi(argv[i]), status.pid);
	return 0;
}
