/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filters MOUNT SPACE QUERIES.fvecs UID [LABEL WHERE UNDER]...: searches of k 10, one
 * query a call, as that user; of each filter ("" is none) in turn prints
 *
 *	LABEL <TAB> recall@10 <TAB> plan <TAB> p50 us <TAB> p99 us <TAB> queries/s <TAB>
 *hits
 *
 * Times are the client's. The truth is the k-th distance of an exact search with the
 * same filter. Queries are repeated WARM times before they count, so the filter's set is
 * made by then.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "bench.h"

enum { K = 10, MAX = 1000, WARM = 50, WAIT_S = 60 };

struct filter {
	const char *label, *where, *under;
};

struct run {
	int fd;
	const char *space;
	float *v;
	uint32_t n, dim;
};

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

/* Distances of the hits, nearest first; returns how many. */
static uint32_t search(const struct run *r, const struct filter *f, uint32_t i,
		       uint32_t flags, float *out, char plan[16])
{
	static struct vexfs_search s;
	size_t at = r->dim * sizeof(float);

	memset(&s, 0, VEXFS_SEARCH_HEAD);
	s.flags = flags | VEXFS_SEARCH_NO_CACHE;
	s.k = K;
	s.dim = r->dim;
	snprintf(s.space, sizeof(s.space), "%s", r->space);
	memcpy(s.data, r->v + (size_t)i * r->dim, at);
	at = add(s.data, at, f->under, &s.under_len);
	at = add(s.data, at, f->where, &s.where_len);
	if (ioctl(r->fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD + 4096 + at),
		  &s) < 0)
		fail("search");
	at = 0;
	for (uint32_t j = 0; j < s.hits; j++) {
		struct vexfs_hit h;

		memcpy(&h, s.data + at, sizeof(h));
		out[j] = h.distance;
		at += h.size;
	}
	memcpy(plan, s.plan, 16);
	return s.hits;
}

/* The first filtered search has the index of attributes made; it serves when ready. */
static void wait_ready(const struct run *r, const struct filter *f)
{
	double end = now_us() + WAIT_S * 1e6;
	char plan[16] = "";
	float d[K];

	while ((*f->where || *f->under) && !strstr(plan, "among")) {
		search(r, f, 0, 0, d, plan);
		if (now_us() > end) {
			fprintf(stderr, "%s: the plan stays %s\n", f->label, plan);
			return;
		}
	}
}

static void measure(const struct run *r, const struct filter *f)
{
	static float kth[MAX];
	static double wall[MAX];
	char plan[16] = "";
	float d[K];
	size_t right = 0, wanted = 0, hits = 0;
	double start;

	wait_ready(r, f);
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t n = search(r, f, i, VEXFS_SEARCH_EXACT, d, plan);

		kth[i] = n ? d[n - 1] : 0;
		wanted += n;
	}
	for (uint32_t i = 0; i < WARM; i++)
		search(r, f, i % r->n, 0, d, plan);
	start = now_us();
	for (uint32_t i = 0; i < r->n; i++) {
		double t = now_us();
		uint32_t n = search(r, f, i, 0, d, plan);

		wall[i] = now_us() - t;
		hits += n;
		for (uint32_t j = 0; j < n; j++)
			right += d[j] <= kth[i];
	}
	start = now_us() - start;
	printf("%s\t%.4f\t%s\t%.1f\t%.1f\t%.0f\t%.1f\n", f->label,
	       wanted ? (double)right / (double)wanted : 1, plan,
	       percentile(wall, r->n, 0.5), percentile(wall, r->n, 0.99),
	       r->n * 1e6 / start, (double)hits / r->n);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct run r = { 0 };
	char path[4096];
	uid_t uid;

	if (argc < 8 || (argc - 5) % 3) {
		fprintf(stderr, "usage: filters MOUNT SPACE QUERIES.fvecs UID "
				"[LABEL WHERE UNDER]...\n");
		return 2;
	}
	read_queries(argv[3], &r);
	r.space = argv[2];
	uid = (uid_t)atoi(argv[4]);
	if (uid && (setgid(uid) || setuid(uid)))
		fail("setuid");
	snprintf(path, sizeof(path), "%s/" VEXFS_CONTROL, argv[1]);
	r.fd = open(path, O_RDWR | O_CLOEXEC);
	if (r.fd < 0)
		fail(path);
	for (int i = 5; i < argc; i += 3) {
		struct filter f = { argv[i], argv[i + 1], argv[i + 2] };

		measure(&r, &f);
	}
	return 0;
}
