/* SPDX-License-Identifier: Apache-2.0 */
/*
 * types [MIB]: one query against MIB (64) of rows of each element type and metric, past
 * all caches, one thread: the scan of index/flat.c with nobody to refuse a row. Prints
 *
 *	dim type metric  <CPU ns a row> <GB/s> <times float32 under l2 in the same run>
 *
 * each the best of PASSES (5), the types taking turns within a pass.
 */
#include <math.h>
#include <unistd.h>
#include <vexfs/index.h>
#include "../bench.h"

enum { K = 10, SHIFT = 31 };

static const char *const types[] = { "f32", "f16", "i8", "i16", "bit" };
static const char *const metrics[] = { "cosine", "l2", "ip", "l1", "hamming", "jaccard" };

struct set {
	struct vex_rows rows;
	const uint8_t *seg;
	const float *norms;
	double best; /* ns a row */
};

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int any(void *arg, uint64_t slot, uint64_t *file)
{
	(void)arg;
	*file = slot;
	return 1;
}

static void random_numbers(float *v, size_t n, uint64_t *x)
{
	for (size_t i = 0; i < n; i++) {
		*x = *x * 6364136223846793005u + 1442695040888963407u;
		v[i] = (float)((double)(int32_t)(*x >> 32) / 2147483648.0 * 100);
	}
}

static struct set make(uint8_t type, enum vex_metric metric, uint32_t dim, size_t bytes,
		       const uint64_t *live)
{
	struct vex_layout l = { .dim = dim, .type = type, .scale = 0 };
	size_t stride = vex_row_bytes(type, dim), n = bytes / stride;
	uint8_t *rows = must_alloc(n, stride);
	float *norms = must_alloc(n, sizeof(*norms)), *v = must_alloc(dim, sizeof(*v));
	uint64_t x = 7;

	for (size_t i = 0; i < n; i++) {
		random_numbers(v, dim, &x);
		for (uint32_t j = 0; j < dim && type != VEX_F32; j++)
			v[j] = rintf(v[j]);
		if (!vex_row_encode(&l, v, rows + i * stride))
			fail("encode");
		norms[i] = (float)vex_row_norm(&l, rows + i * stride);
	}
	free(v);
	return (struct set){ .rows = { .dim = dim,
				       .type = type,
				       .metric = metric,
				       .seg_shift = SHIFT,
				       .slots = n,
				       .live = live },
			     .seg = rows,
			     .norms = norms,
			     .best = INFINITY };
}

static void scan(struct set *s, const float *q)
{
	struct vex_topk *t;
	double start;

	s->rows.rows = &s->seg;
	s->rows.norms = &s->norms;
	if (vex_topk_new(K, 0, INFINITY, &t))
		fail("topk");
	start = cpu_ns();
	if (vex_flat_search(&s->rows, q, 1, &t, any, NULL, NULL, NULL))
		fail("scan");
	s->best = fmin(s->best, (cpu_ns() - start) / (double)s->rows.slots);
	vex_topk_free(t);
}

static void measure(uint32_t dim, size_t bytes, const uint64_t *live, int passes)
{
	static const struct {
		uint8_t type;
		enum vex_metric metric;
	} kinds[] = { { VEX_F32, VEX_L2 },     { VEX_F32, VEX_L1 },
		      { VEX_F16, VEX_COSINE }, { VEX_F16, VEX_L1 },
		      { VEX_I8, VEX_L2 },      { VEX_I8, VEX_L1 },
		      { VEX_I16, VEX_IP },     { VEX_BIT, VEX_HAMMING },
		      { VEX_BIT, VEX_JACCARD } };
	enum { KINDS = sizeof(kinds) / sizeof(*kinds) };
	struct set set[KINDS];
	float *q = must_alloc(dim, sizeof(*q));
	uint64_t x = 11;

	random_numbers(q, dim, &x);
	for (int i = 0; i < KINDS; i++)
		set[i] = make(kinds[i].type, kinds[i].metric, dim, bytes, live);
	for (int p = 0; p < passes; p++)
		for (int i = 0; i < KINDS; i++)
			scan(&set[i], q);
	for (int i = 0; i < KINDS; i++) {
		double row = (double)vex_row_bytes(kinds[i].type, dim);

		printf("%5u %-4s %-8s %8.2f %6.1f %6.2f\n", dim, types[kinds[i].type],
		       metrics[kinds[i].metric], set[i].best, row / set[i].best,
		       set[0].best / set[i].best);
		free((void *)(uintptr_t)set[i].seg);
		free((void *)(uintptr_t)set[i].norms);
	}
	free(q);
}

int main(int argc, char **argv)
{
	size_t bytes = (size_t)(argc > 1 ? number(argv[1], "MIB") : 64) << 20;
	const char *passes = getenv("PASSES"), *core;
	uint64_t *live = must_alloc(bytes / 64 + 1, 1 + sizeof(*live));

	memset(live, 0xff, (bytes / 64 + 1) * sizeof(*live));
	if (vex_kernel_wants_reexec(&core) && !getenv("AGAIN")) {
		setenv("OPENBLAS_CORETYPE", core, 1);
		setenv("AGAIN", "1", 1);
		execv("/proc/self/exe", argv);
	}
	vex_kernel_init();
	printf("# core %s; dim type metric ns/row GB/s times-f32-l2\n",
	       vex_kernel_core());
	measure(100, bytes, live, passes ? atoi(passes) : 5);
	measure(384, bytes, live, passes ? atoi(passes) : 5);
	measure(1536, bytes, live, passes ? atoi(passes) : 5);
	free(live);
	return 0;
}
