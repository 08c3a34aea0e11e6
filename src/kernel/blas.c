/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BLAS half: inner products in blocks, and which OpenBLAS core computes them.
 *
 * OpenBLAS 0.3.21 knows no Zen 4 or 5 and takes its Haswell (AVX2) kernels there. The
 * SkylakeX ones run on any CPU with AVX-512 F, DQ, BW, VL and CD, with registers twice as
 * wide. The choice is read when the library loads, so it must be in the environment
 * before: hence the re-exec in main.
 */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <vexfs/base.h>
#include <vexfs/kernel.h>

static bool cpu_has_avx512(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512cd");
#else
	return false;
#endif
}

bool vex_kernel_wants_reexec(const char **coretype)
{
	const char *core = openblas_get_corename(), *wish = getenv("VEXFS_BLAS_CORE");

	if (wish) {
		*coretype = wish;
		return strcmp(core, wish) != 0;
	}
	/* OPENBLAS_CORETYPE itself does not count as a wish: it tends to be set for whole
	 * machines, by people who meant other programs. */
	if (!cpu_has_avx512())
		return false;
	if (strcmp(core, "Haswell") && strcmp(core, "Zen"))
		return false;
	*coretype = "SkylakeX";
	return true;
}

void vex_kernel_init(void)
{
	openblas_set_num_threads(1);
}

const char *vex_kernel_core(void)
{
	return openblas_get_corename();
}

void vex_dots(const float *q, const float *rows, size_t n, uint32_t dim, float *dots)
{
	vex_deep_only();
	if (!n)
		return;
	/* Row-major n x dim times q. */
	cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)n, (blasint)dim, 1.0f, rows,
		    (blasint)dim, q, 1, 0.0f, dots, 1);
}

void vex_dots_batch(const float *qs, size_t nq, const float *rows, size_t n, uint32_t dim,
		    float *dots)
{
	vex_deep_only();
	if (!n || !nq)
		return;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)nq, (blasint)n,
		    (blasint)dim, 1.0f, qs, (blasint)dim, rows, (blasint)dim, 0.0f, dots,
		    (blasint)n);
}
