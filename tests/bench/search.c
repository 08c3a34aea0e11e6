/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search MOUNT SPACE FVECS QUERIES: exact search through the ioctl against a bare
 * cblas_sgemv over the same rows (FVECS: what SPACE was imported from), in turns of
 * ten queries in one run, so that what else the machine does meets both alike.
 * Queries are rows of the file, spread over it. Prints
 *
 *	<rows> <ioctl p50 us> <sgemv p50 us> <ratio> <ioctl p99 us> <sgemv p99 us> \
 *		<of the first, within the daemon, p50 us>
 *
 * The bare loop computes the scores and nothing else: no k nearest, no norms, no
 * paths, no permissions. Set OPENBLAS_NUM_THREADS=1 and the OPENBLAS_CORETYPE the
 * daemon uses, or it measures another library.
 */
#include <cblas.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "bench.h"

enum { TURN = 10, K = 10 };

struct rows {
	float *v;
	uint32_t n, dim;
};

static struct rows read_fvecs(const char *path)
{
	struct rows r = { 0 };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || read(fd, &r.dim, 4) != 4 || !r.dim)
		fail(path);
	size_t record = 4 + (size_t)r.dim * 4;
	r.n = (uint32_t)((size_t)st.st_size / record);
	char *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED || !r.n)
		fail(path);
	r.v = aligned_alloc(64, ((size_t)r.n * r.dim * 4 + 63) & ~(size_t)63);
	if (!r.v)
		fail("memory");
	for (uint32_t i = 0; i < r.n; i++)
		memcpy(r.v + (size_t)i * r.dim, file + i * record + 4, (size_t)r.dim * 4);
	munmap(file, (size_t)st.st_size);
	close(fd);
	return r;
}

/* Blocks that stay in the second-level cache, as any exact search would do it. */
static void bare(const struct rows *r, const float *query, float *scores)
{
	const uint32_t block = 4096;
	for (uint32_t i = 0; i < r->n; i += block) {
		uint32_t n = r->n - i < block ? r->n - i : block;
		cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)n, (int)r->dim, 1.0f,
			    r->v + (size_t)i * r->dim, (int)r->dim, query, 1, 0.0f,
			    scores + i, 1);
	}
}

/* Returns what the daemon says it took, in us. */
static double ask(int fd, const char *space, const float *query, uint32_t dim)
{
	static struct vexfs_search io;
	size_t size = VEXFS_SEARCH_HEAD + (size_t)dim * 4 + 2048;
	if (size > sizeof(io))
		size = sizeof(io);
	memset(&io, 0, VEXFS_SEARCH_HEAD);
	io.k = K;
	io.dim = dim;
	io.flags = VEXFS_SEARCH_EXACT | VEXFS_SEARCH_NO_CACHE;
	snprintf(io.space, sizeof(io.space), "%s", space);
	memcpy(io.data, query, (size_t)dim * 4);
	if (ioctl(fd, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, size), &io) < 0)
		fail("SEARCH");
	const struct vexfs_hit *h = (const struct vexfs_hit *)(const void *)io.data;
	if (io.hits != K || h->distance > 1e-3f) {
		fprintf(stderr, "a row does not find itself: %u hits\n", io.hits);
		exit(1);
	}
	return (double)io.nanoseconds / 1e3;
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: search MOUNT SPACE FVECS QUERIES\n");
		return 2;
	}
	uint32_t queries = (number(argv[4], "QUERIES") + TURN - 1) / TURN * TURN;
	struct rows r = read_fvecs(argv[3]);
	float *scores = must_alloc(r.n, sizeof(*scores));
	double *mine = must_alloc(queries, sizeof(*mine));
	double *blas = must_alloc(queries, sizeof(*blas)), start;
	double *inner = must_alloc(queries, sizeof(*inner));
	int fd = chdir(argv[1]) < 0 ? -1 : open(VEXFS_CONTROL, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(argv[1]);
	for (uint32_t q = 0; q < 2 * queries; q++) {
		/* turn by turn; the first of each side warms up the caches again */
		uint32_t i = q / (2 * TURN) * TURN + q % TURN;
		const float *query = r.v + (size_t)i * 7919 % r.n * r.dim;
		start = now_us();
		if (q / TURN % 2 == 0)
			inner[i] = ask(fd, argv[2], query, r.dim);
		else
			bare(&r, query, scores);
		(q / TURN % 2 == 0 ? mine : blas)[i] = now_us() - start;
	}
	double m = percentile(mine, queries, 0.5), b = percentile(blas, queries, 0.5);
	printf("%u %.1f %.1f %.2f %.1f %.1f %.1f\n", r.n, m, b, m / b,
	       percentile(mine, queries, 0.99), percentile(blas, queries, 0.99),
	       percentile(inner, queries, 0.5));
	free(r.v);
	free(scores);
	free(mine);
	free(blas);
	free(inner);
	close(fd);
	return 0;
}
