/* SPDX-License-Identifier: Apache-2.0 */
/* mmr.c: hits apart from each other, against the formula done by hand. */
#include <math.h>
#include "names_fixture.h"

TestSuite(mmr, .init = nf_up, .fini = nf_down, .timeout = 120);

#define N 90
#define DIM 3

static float rows[N][DIM];

static struct vex_query base(const float *v, float lambda)
{
	return (struct vex_query){ .vectors = v,
				   .space = "w",
				   .dim = DIM,
				   .nq = 1,
				   .k = 10,
				   .per_file = 1,
				   .max_distance = INFINITY,
				   .mmr = true,
				   .lambda = lambda,
				   .cred = &af_uid0 };
}

static void make(uint8_t metric, uint64_t *x)
{
	struct vex_space_spec spec = { .name = "w", .dim = DIM, .metric = metric };

	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &spec), 0);
	for (int i = 0; i < N; i++) {
		char name[32];

		for (int j = 0; j < DIM; j++)
			rows[i][j] = (float)(af_next(x) % 2001) / 1000 - 1;
		snprintf(name, sizeof(name), "%d", i);
		af_write(name, "x");
		cr_assert_eq(af_set(name, "w", rows[i], sizeof(rows[i]), 0), 0);
	}
}

static float dist(uint8_t metric, const float *a, const float *b)
{
	return vex_distance(metric, a, b, DIM, vex_square(a, DIM));
}

/* Whether `got` is a choice the formula allows: each pick within rounding of the best. */
static void check(uint8_t metric, const float *q, double lambda, const int *got, size_t n)
{
	bool used[N] = { false };

	for (size_t pick = 0; pick < n; pick++) {
		double best = -INFINITY, mine = NAN;

		cr_assert(!used[got[pick]], "twice");
		for (int i = 0; i < N; i++) {
			double near = INFINITY, score = -(double)dist(metric, q, rows[i]);

			if (used[i])
				continue;
			for (size_t j = 0; j < pick; j++)
				near = fmin(near,
					    (double)dist(metric, rows[got[j]], rows[i]));
			if (pick)
				score = score * lambda + (1 - lambda) * near;
			if (i == got[pick])
				mine = score;
			best = fmax(best, score);
		}
		cr_assert_geq(mine, best - 1e-5, "pick %zu", pick);
		used[got[pick]] = true;
	}
}

static void against_formula(uint8_t metric)
{
	static const float lambdas[] = { 0, 0.3f, 0.5f, 0.9f, 1 };
	uint64_t x = af_seed();

	make(metric, &x);
	for (int round = 0; round < 25; round++) {
		float q[DIM], lambda = lambdas[round % 5];
		struct vex_query query = base(q, lambda);
		struct vex_result *res = NULL;
		int got[N];

		for (int j = 0; j < DIM; j++)
			q[j] = (float)(af_next(&x) % 2001) / 1000 - 1;
		query.k = 1 + (uint32_t)(af_next(&x) % 60);
		cr_assert_eq(vex_engine_search(eng, &query, &res, NULL), 0);
		cr_assert_eq(res->n, query.k);
		for (size_t i = 0; i < res->n; i++) {
			got[i] = atoi(res->hits[i].path);
			cr_expect_float_eq(res->hits[i].distance,
					   dist(metric, q, rows[got[i]]), 1e-5);
			if (lambda == 1 && i)
				cr_expect_geq(res->hits[i].distance,
					      res->hits[i - 1].distance);
		}
		check(metric, q, (double)lambda, got, res->n);
		vex_result_free(res);
	}
}

Test(mmr, cosine)
{
	against_formula(VEX_COSINE);
}

Test(mmr, l2)
{
	against_formula(VEX_L2);
}

Test(mmr, ip)
{
	against_formula(VEX_IP);
}

/* Two of a kind do not both come first; pages fit together; a file that is gone costs
 * no hit. */
Test(mmr, duplicates_pages_and_the_second_pass)
{
	static const float zero[2];
	struct vex_query q = base(zero, 0.3f);
	struct vex_result *res = NULL, *page = NULL;

	nf_file("a1", "x", 1);
	nf_file("a2", "x", 1.01f);
	nf_file("a3", "x", 1.02f);
	nf_file("b", "x", 3);
	nf_file("c", "x", -4);
	q.space = NULL;
	q.dim = 2;
	q.k = 3;
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_assert_eq(res->n, 3);
	cr_expect_str_eq(res->hits[0].path, "a1");
	cr_expect_str_eq(res->hits[1].path, "c");
	cr_expect_str_eq(res->hits[2].path, "b");
	q.k = 1;
	q.offset = 2;
	cr_assert_eq(vex_engine_search(eng, &q, &page, NULL), 0);
	cr_assert_eq(page->n, 1);
	cr_expect_str_eq(page->hits[0].path, "b");
	vex_result_free(page);
	vex_result_free(res);
	nf_sh("rm c");
	q.k = 3;
	q.offset = 0;
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_assert_eq(res->n, 3);
	cr_expect_str_eq(res->hits[1].path, "b");
	q.k = 10;
	vex_result_free(res);
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_expect_eq(res->n, 4, "all there are");
	vex_result_free(res);
	q.where = "name GLOB 'a*'";
	cr_assert_eq(vex_engine_search(eng, &q, &res, NULL), 0);
	cr_expect_eq(res->n, 3);
	vex_result_free(res);
}

Test(mmr, what_is_refused)
{
	static const float zero[DIM];
	struct vex_query q = base(zero, 0.5f);
	struct vex_result *res = NULL;
	uint64_t x = 1;
	float *many = calloc(20000 * DIM, sizeof(*many));

	make(VEX_L2, &x);
	q.lambda = 1.1f;
	cr_expect_eq(vex_engine_search(eng, &q, &res, NULL), -EINVAL);
	q.lambda = -0.1f;
	cr_expect_eq(vex_engine_search(eng, &q, &res, NULL), -EINVAL);
	q.lambda = NAN;
	cr_expect_eq(vex_engine_search(eng, &q, &res, NULL), -EINVAL);
	q.lambda = 0.5f;
	q.k = 0;
	q.max_distance = 1;
	cr_expect_eq(vex_engine_search(eng, &q, &res, NULL), -EINVAL);
	q.k = 1000;
	q.offset = 25;
	cr_expect_eq(vex_engine_search(eng, &q, &res, NULL), -EINVAL);
	q.vectors = many;
	q.nq = 20000;
	q.k = 1;
	q.offset = 0;
	cr_expect_eq(vex_engine_search(eng, &q, &res, NULL), -ENOMEM);
	cr_expect_null(res);
	free(many);
}
