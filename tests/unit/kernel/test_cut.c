/* SPDX-License-Identifier: Apache-2.0 */
/* The cut never loses a row that the exact distance would keep, whatever the kernel; and
 * the kernels agree with the scalar reference bit for bit or err towards passing. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <vexfs/kernel.h>

TestSuite(kernel, .timeout = 60, .init = vex_kernel_init);

static float uniform(unsigned *seed)
{
	return (float)rand_r(seed) / (float)RAND_MAX * 2.0f - 1.0f;
}

static void fill(float *v, size_t n, float scale, unsigned *seed)
{
	for (size_t i = 0; i < n; i++)
		v[i] = uniform(seed) * scale;
}

/* 64 rows against one query: every row within the limit must pass. */
static void never_loses(enum vex_metric metric, uint32_t dim, float scale, unsigned *seed)
{
	float *q = malloc(dim * sizeof(float)), *rows = malloc(64 * dim * sizeof(float));
	float dots[64], norms[64], d[64];
	double nq;

	fill(q, dim, scale, seed);
	fill(rows, 64 * dim, scale, seed);
	/* Near duplicates are where cancellation bites. */
	for (int i = 0; i < 16; i++) {
		memcpy(rows + i * dim, q, dim * sizeof(float));
		rows[i * dim + (unsigned)i % dim] *= 1.0f + (float)i * FLT_EPSILON;
	}
	nq = vex_norm(q, dim);
	vex_dots(q, rows, 64, dim, dots);
	for (int i = 0; i < 64; i++) {
		norms[i] = (float)vex_norm(rows + i * dim, dim);
		d[i] = vex_distance(metric, q, rows + i * dim, dim, vex_square(q, dim));
	}
	for (int l = 0; l < 64; l++) {
		struct vex_cut cut = vex_cut_make(metric, d[l], dim, nq);
		uint64_t mask = vex_cut_mask(&cut, dots, norms, 64);

		for (int i = 0; i < 64; i++)
			cr_assert(d[i] > d[l] || (mask >> i & 1),
				  "metric %d dim %u scale %g: row %d at %.9g lost at "
				  "limit %.9g",
				  metric, dim, scale, i, d[i], d[l]);
	}
	free(q);
	free(rows);
}

Test(kernel, cut_never_loses_a_row)
{
	static const uint32_t dims[] = { 1, 2, 3, 7, 16, 100, 384, 1023, 4096, 16384 };
	static const float scales[] = { 1e-22f, 1e-12f, 1e-3f, 1, 1e6f, 1e18f, 1e30f };
	unsigned seed = 20261120;

	cr_log_info("seed %u", seed);
	for (int m = 0; m < 3; m++)
		for (size_t i = 0; i < sizeof(dims) / sizeof(*dims); i++)
			for (size_t j = 0; j < sizeof(scales) / sizeof(*scales); j++)
				never_loses((enum vex_metric)m, dims[i], scales[j],
					    &seed);
}

Test(kernel, cut_kernels_agree_with_scalar)
{
	unsigned seed = 7;
	float dots[64], norms[64];

	for (int round = 0; round < 2000; round++) {
		struct vex_cut cut = { uniform(&seed), uniform(&seed), uniform(&seed) };
		unsigned n = (unsigned)rand_r(&seed) % 65;

		for (unsigned i = 0; i < n; i++) {
			/* Well away from the edge, where fused and plain sums may differ.
			 */
			norms[i] = (float)(rand_r(&seed) % 8);
			float edge = cut.a + (cut.b + cut.c * norms[i]) * norms[i];

			dots[i] = edge + (rand_r(&seed) % 2 ? 1.0f : -1.0f);
		}
		if (n > 4) {
			dots[0] = NAN;
			dots[1] = INFINITY;
			dots[2] = -INFINITY;
			norms[3] = INFINITY;
		}
		cr_assert_eq(vex_cut_mask(&cut, dots, norms, n),
			     vex_cut_mask_scalar(&cut, dots, norms, n), "round %d n %u",
			     round, n);
	}
}

Test(kernel, cut_passes_everything_without_a_limit)
{
	struct vex_cut cut = vex_cut_make(VEX_COSINE, INFINITY, 8, 1.0);
	float dots[64] = { 0 }, norms[64] = { 0 };

	cr_assert_eq(vex_cut_mask(&cut, dots, norms, 64), ~0ull);
	cr_assert_eq(vex_cut_mask(&cut, dots, norms, 5), 0x1full);
	cr_assert_eq(vex_cut_mask(&cut, dots, norms, 0), 0);
}
