/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hnsw PREFIX cosine|l2|ip [M [EFC [GRAPH]]]: the graph called in-process, one thread:
 * build (or load from the file GRAPH, which is written if it is not there), then
 * searches of PREFIX_query.fvecs at several stop rules against PREFIX_gt.ivecs,
 * which is made by exact search if it is not there. Prints
 *
 *	build <CPU s> <bytes>
 *	point <widen or -ef> <rerank> <recall@10> <CPU us a query> <distances> <p50> <p99>
 *
 * QUANT: enum vex_quant. WIDENS, RERANKS: lists that replace the usual ones, as "0.1
 *0.2"; a widen below 0 is an ef. PASSES: of which the fastest counts (3). PIN: the CPU
 * that searches run on, counted from 1; the build takes what it may have.
 */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include <vexfs/index.h>
#include "../bench.h"

enum { K = 10, THREADS = 2 };

struct matrix {
	uint32_t n, dim;
	void *v;
};

static struct matrix load(const char *prefix, const char *what)
{
	struct matrix m = { 0 };
	char path[4096];
	FILE *f;
	long size;

	snprintf(path, sizeof(path), "%s_%s", prefix, what);
	f = fopen(path, "re");
	if (!f || fread(&m.dim, 4, 1, f) != 1 || fseek(f, 0, SEEK_END))
		fail(path);
	size = ftell(f);
	m.n = (uint32_t)((uint64_t)size / (4 + 4ull * m.dim));
	m.v = must_alloc((size_t)m.n * m.dim, 4);
	rewind(f);
	for (uint32_t i = 0; i < m.n; i++) {
		uint32_t dim;

		if (fread(&dim, 4, 1, f) != 1 ||
		    fread((float *)m.v + (size_t)i * m.dim, 4, m.dim, f) != m.dim)
			fail(path);
	}
	fclose(f);
	return m;
}

static double cpu_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the truth
 * ------------------------------------------------------------------------- */

static int take(void *arg, uint64_t slot, uint64_t *file)
{
	(void)arg;
	*file = slot;
	return 1;
}

/* Exact neighbours of some queries, appended to the file. */
static void truth_of(const struct vex_rows *rows, const float *q, size_t n, FILE *f)
{
	struct vex_topk *t[64];
	struct vex_scan_stats st = { 0 };
	int32_t out[K + 1] = { K };

	for (size_t i = 0; i < n; i++)
		if (vex_topk_new(K, 0, INFINITY, &t[i]))
			fail("memory");
	if (vex_flat_search(rows, q, n, t, take, NULL, NULL, &st))
		fail("exact search");
	for (size_t i = 0; i < n; i++) {
		size_t found;
		const struct vex_hit *h = vex_topk_sorted(t[i], &found);

		for (size_t j = 0; j < K; j++)
			out[j + 1] = j < found ? (int32_t)h[j].slot : -1;
		if (fwrite(out, sizeof(out), 1, f) != 1)
			fail("writing the truth");
		vex_topk_free(t[i]);
	}
}

/* PREFIX_gt.ivecs, made where there is none: K neighbours of each query. */
static void make_truth(const char *prefix, const struct vex_rows *rows,
		       const struct matrix *query)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s_gt.ivecs", prefix);
	if (!access(path, R_OK))
		return;
	f = fopen(path, "we");
	if (!f)
		fail(path);
	for (uint32_t i = 0; i < query->n; i += 64)
		truth_of(rows, (const float *)query->v + (size_t)i * query->dim,
			 query->n - i < 64 ? query->n - i : 64, f);
	if (fclose(f))
		fail(path);
}

/* ---- building ------------------------------------------------------------------------
 */

struct build {
	struct vex_hnsw *h;
	const struct matrix *base;
	_Atomic uint32_t next;
};

static void *insert_some(void *arg)
{
	struct build *b = arg;
	uint32_t i;

	while ((i = b->next++) < b->base->n)
		if (vex_hnsw_insert(b->h, i,
				    (const float *)b->base->v + (size_t)i * b->base->dim))
			fail("insert");
	return NULL;
}

static void build(struct vex_hnsw *h, const struct matrix *base)
{
	struct build b = { .h = h, .base = base };
	double start = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, insert_some, &b);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	if (vex_hnsw_connect(h))
		fail("connect");
	printf("build %.2f %llu\n", (cpu_us(CLOCK_PROCESS_CPUTIME_ID) - start) / 1e6,
	       (unsigned long long)vex_hnsw_bytes(h));
	fflush(stdout);
}

static void get_graph(struct vex_hnsw *h, const struct matrix *base, const char *file)
{
	uint64_t lsn;
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;

	if (fd >= 0 && !vex_hnsw_load(h, fd, 1, &lsn))
		return;
	build(h, base);
	if (!file)
		return;
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || vex_hnsw_save(h, fd, 1, 1))
		fail(file);
}

/* ---- searching ------------------------------------------------------------------------
 */

struct run {
	struct vex_hnsw *h;
	struct vex_rows rows;
	struct matrix query, truth;
	struct vex_hnsw_query p;
	size_t hits;
	uint64_t distances;
	double *wall;
};

static void count(struct run *r, uint32_t i, struct vex_topk *t)
{
	const int32_t *truth = (const int32_t *)r->truth.v + (size_t)i * r->truth.dim;
	const struct vex_hit *h;
	size_t n;

	h = vex_topk_sorted(t, &n);
	for (size_t a = 0; a < n; a++)
		for (size_t b = 0; b < K; b++)
			r->hits += h[a].slot == (uint64_t)truth[b];
}

static double pass(struct run *r)
{
	double start = cpu_us(CLOCK_THREAD_CPUTIME_ID);

	r->hits = 0;
	r->distances = 0;
	for (uint32_t i = 0; i < r->query.n; i++) {
		const float *q = (const float *)r->query.v + (size_t)i * r->query.dim;
		struct vex_scan_stats st = { 0 };
		double begun = now_us();
		struct vex_topk *t;

		if (vex_topk_new(K, 0, INFINITY, &t) ||
		    vex_hnsw_search(r->h, &r->rows, q, &r->p, t, take, NULL, &st))
			fail("search");
		r->wall[i] = now_us() - begun;
		r->distances += st.distances;
		count(r, i, t);
		vex_topk_free(t);
	}
	return (cpu_us(CLOCK_THREAD_CPUTIME_ID) - start) / r->query.n;
}

static void measure(struct run *r, double widen, uint32_t rerank, int passes)
{
	double best = 1e30, us, p50;

	r->p = (struct vex_hnsw_query){ .k = K,
					.ef = widen < 0 ? (uint32_t)-widen : 4096,
					.widen = (float)widen,
					.rerank = rerank };
	for (int i = 0; i < passes; i++)
		if ((us = pass(r)) < best)
			best = us;
	p50 = percentile(r->wall, r->query.n, 0.5);
	printf("point %g %u %.4f %.2f %.0f %.1f %.1f\n", widen, rerank,
	       (double)r->hits / ((double)K * r->query.n), best,
	       (double)r->distances / r->query.n, p50,
	       percentile(r->wall, r->query.n, 0.99));
	fflush(stdout);
}

static const char *env(const char *name, const char *otherwise)
{
	const char *v = getenv(name);

	return v && *v ? v : otherwise;
}

static void pin(void)
{
	const char *cpu = getenv("PIN");
	cpu_set_t set;

	if (!cpu)
		return;
	CPU_ZERO(&set);
	CPU_SET(number(cpu, "PIN") - 1, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("PIN");
}

static void sweep(struct run *r)
{
	const char *w =
	    env("WIDENS", "0.02 0.05 0.08 0.11 0.14 0.18 0.22 0.26 0.3 0.35 0.4");
	int passes = atoi(env("PASSES", "3"));
	char *end;

	for (double widen; widen = strtod(w, &end), end != w; w = end) {
		const char *n = env("RERANKS", "30");

		for (long rerank; rerank = strtol(n, &end, 10), end != n; n = end)
			measure(r, widen, (uint32_t)rerank, passes);
		strtod(w, &end);
	}
}

int main(int argc, char **argv)
{
	static const char *const metrics[] = { "cosine", "l2", "ip" };
	struct vex_hnsw_opts o = { .seed = 1,
				   .quant = (enum vex_quant)atoi(env("QUANT", "0")) };
	struct matrix base;
	struct run r = { 0 };
	const uint8_t *rows;
	const float *norms;
	float *norm;
	uint64_t *live;

	if (argc < 3)
		fail("usage: hnsw PREFIX cosine|l2|ip [M [EFC [GRAPH]]]");
	for (int i = 0; i < 3; i++)
		if (!strcmp(argv[2], metrics[i]))
			o.metric = (enum vex_metric)i;
	base = load(argv[1], "base.fvecs");
	r.query = load(argv[1], "query.fvecs");
	rows = base.v;
	norms = norm = must_alloc(base.n, sizeof(float));
	for (uint32_t i = 0; i < base.n; i++)
		norm[i] = (float)vex_norm((const float *)base.v + (size_t)i * base.dim,
					  base.dim);
	live = must_alloc(base.n / 64 + 1, 8);
	for (uint32_t i = 0; i < base.n; i++)
		live[i / 64] |= 1ull << (i % 64);
	vex_kernel_init();
	r.rows = (struct vex_rows){
		.dim = base.dim,
		.metric = o.metric,
		.seg_shift = 31,
		.slots = base.n,
		.rows = &rows,
		.norms = &norms,
		.live = live,
	};
	make_truth(argv[1], &r.rows, &r.query);
	r.truth = load(argv[1], "gt.ivecs");
	o.dim = base.dim;
	o.m = argc > 3 ? (uint32_t)atoi(argv[3]) : base.dim < 256 ? 32 : 16;
	o.ef_construction = argc > 4 ? (uint32_t)atoi(argv[4]) : 200;
	if (vex_hnsw_new(&o, &r.h))
		fail("graph");
	get_graph(r.h, &base, argc > 5 ? argv[5] : NULL);
	r.wall = must_alloc(r.query.n, sizeof(double));
	pin();
	sweep(&r);
	vex_hnsw_free(r.h);
	return 0;
}
