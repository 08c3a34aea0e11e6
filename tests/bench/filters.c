/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filters MOUNT SPACE QUERIES.fvecs UID [LABEL MODE WHERE UNDER]...: searches of k 10,
 *one query a call, as that user; of each (a WHERE or UNDER of "" is none) in turn prints
 *
 *	LABEL <TAB> recall@10 <TAB> plan <TAB> p50 us <TAB> p99 us <TAB> queries/s <TAB>
 *	hits <TAB> CPU us a query
 *
 * MODE: knn; exact; range (all within the distance of the 10th); mmr; like (a file of
 * dir/ in place of a query); batch (BATCH queries a call; times are a query's); cache
 *(asked before). Times are the client's, CPU is of client and daemon ($BENCH_PID)
 *together. The truth is the k-th distance of an exact search with the same filter.
 *Queries are repeated WARM times before they count, so the filter's set is made by then.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "bench.h"

enum { K = 10, MAX = 1000, WARM = 50, WAIT_S = 60, BATCH = 100, LIKES = 50 };

struct filter {
	const char *label, *mode, *where, *under;
};

struct run {
	int fd;
	const char *space;
	float *v;
	uint32_t n, dim;
	char like[LIKES][300]; /* files */
	uint32_t likes;
};

/* Of both processes, in us. The daemon's threads by schedstat: stat counts in ticks. */
static double cpu_us(void)
{
	const char *pid = getenv("BENCH_PID");
	struct timespec t;
	char path[300];
	double ns;
	struct dirent *e;
	DIR *d;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	ns = (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
	snprintf(path, sizeof(path), "/proc/%s/task", pid ? pid : "none");
	d = opendir(path);
	while (d && (e = readdir(d))) {
		unsigned long long ran = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/task/%s/schedstat", pid,
			 e->d_name);
		f = fopen(path, "re");
		if (f && fscanf(f, "%llu", &ran) == 1)
			ns += (double)ran;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return ns / 1e3;
}

static bool is(const struct filter *f, const char *mode)
{
	return !strcmp(f->mode, mode);
}

static void read_likes(const char *mount, struct run *r)
{
	char path[4096];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/dir", mount);
	d = opendir(path);
	while (d && r->likes < LIKES && (e = readdir(d)))
		if (*e->d_name == 'f')
			snprintf(r->like[r->likes++], sizeof(r->like[0]), "dir/%s",
				 e->d_name);
	if (d)
		closedir(d);
}

static void read_queries(const char *path, struct run *r)
{
	struct stat st;
	FILE *f = fopen(path, "re");

	if (!f || fstat(fileno(f), &st) || fread(&r->dim, 4, 1, f) != 1 || !r->dim)
		fail(path);
	r->n = (uint32_t)((uint64_t)st.st_size / (4 + 4ull * r->dim));
	r->n = r->n > MAX ? MAX : r->n;
	r->v = must_alloc((size_t)r->n * r->dim, sizeof(float));
	rewind(f);
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t dim;

		if (fread(&dim, 4, 1, f) != 1 || dim != r->dim ||
		    fread(r->v + (size_t)i * dim, 4, dim, f) != dim)
			fail(path);
	}
	fclose(f);
}

static size_t add(uint8_t *data, size_t at, const char *s, uint32_t *len)
{
	*len = (uint32_t)strlen(s);
	if (!*len)
		return at;
	memcpy(data + at, s, *len + 1);
	return at + *len + 1;
}

static void fill(const struct run *r, uint32_t flags, struct vexfs_search *s)
{
	memset(s, 0, VEXFS_SEARCH_HEAD);
	s->flags = flags;
	s->k = flags & VEXFS_SEARCH_RANGE ? 0 : K;
	s->dim = flags & VEXFS_SEARCH_LIKE ? 0 : r->dim;
	s->mmr = 0.5f;
	snprintf(s->space, sizeof(s->space), "%s", r->space);
}

/* Distances of the hits, nearest first; returns how many. `bound`: of a range. */
static uint32_t search(const struct run *r, const struct filter *f, uint32_t i,
		       uint32_t flags, float bound, float *out, char plan[16])
{
	static struct vexfs_search s;
	size_t at = 0;

	fill(r, flags, &s);
	s.max_distance = bound;
	if (flags & VEXFS_SEARCH_LIKE) {
		at = add(s.data, at, r->like[i % r->likes], &s.like_len);
	} else {
		at = r->dim * sizeof(float);
		memcpy(s.data, r->v + (size_t)i * r->dim, at);
	}
	at = add(s.data, at, f->under, &s.under_len);
	at = add(s.data, at, f->where, &s.where_len);
	if (ioctl(r->fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD + 4096 + at),
		  &s) < 0)
		fail("search");
	at = 0;
	for (uint32_t j = 0; j < s.hits && j < K; j++) {
		struct vexfs_hit h;

		memcpy(&h, s.data + at, sizeof(h));
		out[j] = h.distance;
		at += h.size;
	}
	memcpy(plan, s.plan, 16);
	return s.hits < K ? s.hits : K;
}

/* BATCH queries from number i on; their distances in `out`, K each. */
static void batch(const struct run *r, uint32_t i, float *out, char plan[16])
{
	static struct vexfs_search s;
	static char room[1 << 20];
	uint32_t n = r->n - i < BATCH ? r->n - i : BATCH, taken[BATCH] = { 0 };
	size_t bytes = (size_t)n * r->dim * sizeof(float);
	ssize_t got;

	fill(r, VEXFS_SEARCH_STAGED | VEXFS_SEARCH_NO_CACHE, &s);
	if (write(r->fd, r->v + (size_t)i * r->dim, bytes) != (ssize_t)bytes)
		fail("write");
	if (ioctl(r->fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD), &s) < 0)
		fail("search");
	memcpy(plan, s.plan, 16);
	while ((got = read(r->fd, room, sizeof(room))) > 0)
		for (ssize_t at = 0; at < got;) {
			struct vexfs_hit h;

			memcpy(&h, room + at, sizeof(h));
			at += h.size;
			if (taken[h.query] < K)
				out[h.query * K + taken[h.query]++] = h.distance;
		}
}

/* The first filtered search has the index of attributes made; it serves when ready. */
static void wait_ready(const struct run *r, const struct filter *f)
{
	double end = now_us() + WAIT_S * 1e6;
	char plan[16] = "";
	float d[K];

	while ((*f->where || *f->under) && !strstr(plan, "among")) {
		search(r, f, 0, VEXFS_SEARCH_NO_CACHE, 0, d, plan);
		if (now_us() > end) {
			fprintf(stderr, "%s: the plan stays %s\n", f->label, plan);
			return;
		}
	}
}

static uint32_t flags_of(const struct filter *f)
{
	uint32_t flags = is(f, "cache") ? 0 : VEXFS_SEARCH_NO_CACHE;

	flags |= is(f, "exact") ? VEXFS_SEARCH_EXACT : 0;
	flags |= is(f, "range") ? VEXFS_SEARCH_RANGE | VEXFS_SEARCH_MAX_DISTANCE : 0;
	flags |= is(f, "mmr") ? VEXFS_SEARCH_MMR : 0;
	return flags | (is(f, "like") ? VEXFS_SEARCH_LIKE : 0);
}

struct figures {
	float kth[MAX];
	double wall[MAX];
	size_t right, wanted, hits;
	char plan[16];
};

static void truth(const struct run *r, const struct filter *f, struct figures *g)
{
	uint32_t like = is(f, "like") ? VEXFS_SEARCH_LIKE : 0;
	float d[K];

	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t n =
		    search(r, f, i, VEXFS_SEARCH_EXACT | VEXFS_SEARCH_NO_CACHE | like, 0,
			   d, g->plan);

		g->kth[i] = n ? d[n - 1] : 0;
		g->wanted += n;
	}
}

static void count(struct figures *g, uint32_t i, const float *d, uint32_t n)
{
	g->hits += n;
	for (uint32_t j = 0; j < n; j++)
		g->right += d[j] <= g->kth[i];
}

static void measure_batches(const struct run *r, struct figures *g)
{
	static float d[BATCH * K];

	for (uint32_t i = 0; i < r->n; i += BATCH) {
		uint32_t n = r->n - i < BATCH ? r->n - i : BATCH;
		double t = now_us();

		batch(r, i, d, g->plan);
		t = now_us() - t;
		for (uint32_t j = 0; j < n; j++) {
			g->wall[i + j] = t / n;
			count(g, i + j, d + (size_t)j * K, K);
		}
	}
}

static void measure_each(const struct run *r, const struct filter *f, struct figures *g)
{
	uint32_t flags = flags_of(f);
	float d[K];

	for (uint32_t i = 0; i < r->n; i++) {
		double t = now_us();
		uint32_t n = search(r, f, i, flags, g->kth[i], d, g->plan);

		g->wall[i] = now_us() - t;
		count(g, i, d, n);
	}
}

static void measure(const struct run *r, const struct filter *f)
{
	static struct figures g;
	uint32_t flags = flags_of(f);
	float d[K];
	double start, cpu;

	memset(&g, 0, sizeof(g));
	wait_ready(r, f);
	truth(r, f, &g);
	for (uint32_t i = 0; i < (is(f, "cache") ? r->n : WARM); i++)
		search(r, f, i % r->n, flags, g.kth[i % r->n], d, g.plan);
	start = now_us();
	cpu = cpu_us();
	if (is(f, "batch"))
		measure_batches(r, &g);
	else
		measure_each(r, f, &g);
	start = now_us() - start;
	cpu = cpu_us() - cpu;
	printf("%s\t%.4f\t%s\t%.1f\t%.1f\t%.0f\t%.1f\t%.1f\n", f->label,
	       g.wanted ? (double)g.right / (double)g.wanted : 1, g.plan,
	       percentile(g.wall, r->n, 0.5), percentile(g.wall, r->n, 0.99),
	       r->n * 1e6 / start, (double)g.hits / r->n, cpu / r->n);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct run r;
	char path[4096];
	uid_t uid;

	if (argc < 9 || (argc - 5) % 4) {
		fprintf(stderr, "usage: filters MOUNT SPACE QUERIES.fvecs UID "
				"[LABEL MODE WHERE UNDER]...\n");
		return 2;
	}
	read_queries(argv[3], &r);
	r.space = argv[2];
	uid = (uid_t)atoi(argv[4]);
	read_likes(argv[1], &r);
	if (uid && (setgid(uid) || setuid(uid)))
		fail("setuid");
	snprintf(path, sizeof(path), "%s/" VEXFS_CONTROL, argv[1]);
	r.fd = open(path, O_RDWR | O_CLOEXEC);
	if (r.fd < 0)
		fail(path);
	for (int i = 5; i < argc; i += 4) {
		struct filter f = { argv[i], argv[i + 1], argv[i + 2], argv[i + 3] };

		measure(&r, &f);
	}
	return 0;
}
