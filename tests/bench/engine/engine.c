/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine STORE SPACE QUERIES.fvecs SECONDS [EF [BATCH]]: the search of tests/bench/rate
 * with no mount: the engine is opened in this process on a STORE that nobody serves, and
 * called as control would call it, one thread, k 10. What a search through the mount
 *costs beyond this is the mount's. The first quarter of the time warms up. Prints
 *
 *	<queries a CPU-second> <CPU us a query> <p50 us a call> <p99 us a call>
 */
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <vexfs/engine.h>
#include "bench.h"

enum { K = 10, CALLS_MAX = 1 << 20 };

static struct {
	float *v;
	uint32_t n, dim;
} queries;

static void read_queries(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "re");

	if (!f || fstat(fileno(f), &st) || fread(&queries.dim, 4, 1, f) != 1 ||
	    !queries.dim)
		fail(path);
	queries.n = (uint32_t)((uint64_t)st.st_size / (4 + 4ull * queries.dim));
	queries.v = must_alloc((size_t)queries.n * queries.dim, sizeof(float));
	rewind(f);
	for (uint32_t i = 0; i < queries.n; i++) {
		uint32_t dim;

		if (fread(&dim, 4, 1, f) != 1 || dim != queries.dim ||
		    fread(queries.v + (size_t)i * dim, 4, dim, f) != dim)
			fail(path);
	}
	fclose(f);
}

static void check(vex_err err, const char *what)
{
	if (!err)
		return;
	errno = -err;
	fail(what);
}

/* Until the graph has what the space has. */
static void wait_ready(struct vex_engine *e, const char *space)
{
	struct vex_index_info i = { 0 };
	struct vex_space *sp;

	check(vex_space_find(vex_engine_store(e), space, &sp), space);
	for (int tries = 0; tries < 6000; tries++) {
		vex_engine_index_info(e, sp, &i);
		if (i.state == VEX_INDEX_FAILED ||
		    (i.state == VEX_INDEX_READY && !i.pending) ||
		    (i.state == VEX_INDEX_EXACT && tries > 50))
			break;
		usleep(100000);
	}
	if (i.state != VEX_INDEX_READY)
		fprintf(stderr, "engine: no graph: searches are scans\n");
	vex_space_unref(sp);
}

static void search(struct vex_engine *e, const char *space, uint32_t at, uint32_t nq,
		   uint32_t ef)
{
	static const struct vex_cred root = { .groups_known = true };
	struct vex_query q = { .space = space,
			       .vectors = queries.v + (size_t)at * queries.dim,
			       .dim = queries.dim,
			       .nq = nq,
			       .k = K,
			       .per_file = 1,
			       .ef = ef,
			       .no_cache = true,
			       .max_distance = INFINITY,
			       .cred = &root };
	struct vex_result *r;

	check(vex_engine_search(e, &q, &r, NULL), "search");
	if (r->n != (size_t)nq * K)
		fprintf(stderr, "engine: %zu hits of %u queries\n", r->n, nq);
	vex_result_free(r);
}

/* One query is searched for on this thread, a batch on a scan thread. */
static double cpu_us(uint32_t batch)
{
	struct timespec t;

	clock_gettime(batch == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID,
		      &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run(struct vex_engine *e, const char *space, double seconds, uint32_t ef,
		uint32_t batch)
{
	double *call_us = must_alloc(CALLS_MAX, sizeof(double)), cpu = 0;
	double start = now_us(), warm = start + seconds * 1e6 / 4;
	double end = start + seconds * 1e6;
	size_t calls = 0;

	for (uint32_t at = 0; start < end && calls < CALLS_MAX;) {
		double done;

		if (start >= warm && !calls)
			cpu = cpu_us(batch);
		search(e, space, at, batch, ef);
		done = now_us();
		if (cpu > 0)
			call_us[calls++] = done - start;
		start = done;
		at += batch;
		if (at + batch > queries.n)
			at = 0;
	}
	cpu = (cpu_us(batch) - cpu) / ((double)calls * batch);
	printf("%.0f %.1f %.1f %.1f\n", 1e6 / cpu, cpu, percentile(call_us, calls, 0.5),
	       percentile(call_us, calls, 0.99));
	free(call_us);
}

int main(int argc, char **argv)
{
	struct vex_engine_opts o = { 0 };
	struct vex_problem problem;
	struct vex_engine *e;
	uint32_t batch = argc > 6 ? number(argv[6], "BATCH") : 1;
	int fd;

	if (argc < 5) {
		fprintf(stderr, "usage: engine STORE SPACE QUERIES.fvecs SECONDS [EF "
				"[BATCH]]\n");
		return 2;
	}
	read_queries(argv[3]);
	if (batch > queries.n)
		batch = queries.n;
	fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fail(argv[1]);
	if (vex_engine_open(fd, &o, &e, &problem)) {
		fprintf(stderr, "engine: %s\n", problem.text);
		return 1;
	}
	wait_ready(e, argv[2]);
	run(e, argv[2], (double)number(argv[4], "SECONDS"),
	    argc > 5 ? (uint32_t)atoi(argv[5]) : 0, batch);
	vex_engine_close(e);
	close(fd);
	free(queries.v);
	return 0;
}
