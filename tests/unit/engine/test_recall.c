/* SPDX-License-Identifier: Apache-2.0 */
/* recall.c, graph_calibrate.c, what graphs.c does of them: recall that is asked for, told
 * and kept; indexes made anew. Exact search is the oracle. */
#include <math.h>
#include "attach_fixture.h"
#include "graph_i.h"

#define DIM 24u
#define FILES 32u
#define ROWS 96u /* a file */

static uint64_t seed;

static void up(void)
{
	af_opts.graph_floats_min = 1000 * DIM;
	af_up();
	seed = af_seed();
}

TestSuite(recall, .init = up, .fini = af_down, .timeout = 240);

static float uniform(void)
{
	return (float)(af_next(&seed) % 20001) / 10000.0f - 1.0f;
}

static void attach(const char *name)
{
	AUTO_FREE float *v = malloc(ROWS * DIM * sizeof(float));

	for (uint32_t i = 0; i < ROWS * DIM; i++)
		v[i] = uniform();
	af_write(name, "x");
	cr_assert_eq(af_set(name, "g", v, ROWS * DIM * sizeof(float), 0), 0);
}

static struct vex_index_info info(void)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_index_info i;

	cr_assert_eq(vex_space_find(vex_engine_store(eng), "g", &sp), 0);
	vex_engine_index_info(eng, sp, &i);
	return i;
}

static void set_recall(float recall)
{
	struct vex_space_spec spec = { .name = "g",
				       .dim = DIM,
				       .metric = VEX_L2,
				       .index = VEX_HNSW,
				       .recall = recall };

	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &spec), 0);
}

/* Until the graph is ready and `builds` old; a minute at most. */
static struct vex_index_info wait_for(uint32_t builds)
{
	struct vex_index_info i = { 0 };

	for (int tries = 0; tries < 12000; tries++) {
		i = info();
		if (i.state == VEX_INDEX_READY && i.nodes == FILES * ROWS &&
		    i.recall > 0 && i.builds == builds &&
		    i.lsn >= vex_store_lsn(vex_engine_store(eng)))
			return i;
		usleep(5000);
	}
	cr_assert_fail("state %d, %llu nodes, %u builds", i.state,
		       (unsigned long long)i.nodes, i.builds);
	return i;
}

static void fill(void)
{
	struct vex_space_spec spec = {
		.name = "g", .dim = DIM, .metric = VEX_L2, .index = VEX_HNSW, .m = 6
	};
	char name[16];

	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &spec), 0);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		attach(name);
	}
	wait_for(0);
}

static struct vex_result *search(const float *q, float recall, bool exact)
{
	struct vex_query query = { .space = "g",
				   .vectors = q,
				   .dim = DIM,
				   .nq = 1,
				   .k = 10,
				   .recall = recall,
				   .max_distance = INFINITY,
				   .exact = exact,
				   .cred = &af_uid0 };
	struct vex_result *res;

	cr_assert_eq(vex_engine_search(eng, &query, &res, NULL), 0);
	return res;
}

/* What searches that ask for `recall` find of strangers, and what they cost. */
static double found(float recall, double *cost, const char *plan)
{
	size_t hits = 0, all = 0;
	uint64_t distances = 0;

	for (int i = 0; i < 100; i++) {
		struct vex_result *want, *got;
		float q[DIM];

		for (unsigned d = 0; d < DIM; d++)
			q[d] = uniform();
		want = search(q, 0, true);
		got = search(q, recall, false);
		cr_assert_str_eq(got->plan, plan);
		cr_assert_eq(got->n, want->n);
		for (size_t a = 0; a < got->n; a++)
			hits += got->hits[a].distance <= want->hits[want->n - 1].distance;
		all += want->n;
		distances += got->distances;
		vex_result_free(want);
		vex_result_free(got);
	}
	*cost = (double)distances / 100;
	return (double)hits / (double)all;
}

Test(recall, what_is_asked_for_is_found_and_more_costs_more)
{
	double low, high, cost_low, cost_high;

	fill();
	low = found(0.7f, &cost_low, "graph");
	high = found(0.97f, &cost_high, "graph");
	cr_log_info("0.7: %.3f at %.0f; 0.97: %.3f at %.0f", low, cost_low, high,
		    cost_high);
	/* Strangers here are farther off than rows are from each other, and a hundred
	 * scatter. */
	cr_expect_gt(low, 0.6);
	cr_expect_gt(high, 0.92);
	cr_expect_lt(cost_low, cost_high);
}

Test(recall, all_of_it_is_exact)
{
	double cost;

	fill();
	cr_expect_eq(found(1, &cost, "exact"), 1);
	set_recall(1);
	cr_expect_eq(found(0, &cost, "exact"), 1);
	/* A search may still ask for less. */
	found(0.5f, &cost, "graph");
}

Test(recall, a_space_keeps_its_aim)
{
	struct vex_index_info i;
	double before, after;

	fill();
	found(0, &before, "graph");
	set_recall(0.5f);
	for (int tries = 0; tries < 40; tries++) {
		found(0, &after, "graph");
		if (after < before)
			break;
		usleep(50000);
	}
	cr_expect_lt(after, before);
	af_again();
	i = wait_for(0);
	cr_expect_geq(i.recall, 0.5f);
	cr_expect_lt(i.recall, 0.98f);
}

Test(recall, measured_as_searched)
{
	struct vex_recall r = { .sample = 100 }, wide = { .sample = 100, .ef = 1000 },
			  narrow = { .sample = 100, .ef = 10 };
	struct vex_recall bad[] = { { .sample = 0 },
				    { .sample = VEX_RECALL_SAMPLE_MAX + 1 },
				    { .sample = 1, .recall = -1 },
				    { .sample = 1, .recall = NAN },
				    { .sample = 1, .recall = 2 } };
	struct vex_cred other = { .uid = 4711, .gid = 4711, .groups_known = true };

	fill();
	cr_assert_eq(vex_engine_recall(eng, &af_uid0, "g", &r), 0);
	cr_expect_eq(r.queries, 100);
	cr_expect(r.graph);
	cr_expect_gt(r.recall, 0.93f);
	cr_expect_float_eq(r.aim, 0.98f, 1e-6f);
	cr_assert_eq(vex_engine_recall(eng, &af_uid0, "g", &wide), 0);
	cr_assert_eq(vex_engine_recall(eng, &af_uid0, "g", &narrow), 0);
	cr_expect_gt(wide.recall, 0.99f);
	cr_expect_lt(narrow.recall, wide.recall);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(vex_engine_recall(eng, &af_uid0, "g", &bad[i]), -EINVAL,
			     "%zu", i);
	cr_expect_eq(vex_engine_recall(eng, &other, "g", &r), -EPERM);
	cr_expect_eq(vex_engine_recall(eng, &af_uid0, "none", &r), -ENODEV);
}

Test(recall, rebuilt_while_searched)
{
	struct vex_cred other = { .uid = 4711, .gid = 4711, .groups_known = true };
	struct vex_rebuild r;
	double cost;

	fill();
	cr_expect_eq(vex_engine_rebuild(eng, &other, "g", &r), -EPERM);
	cr_expect_eq(vex_engine_rebuild(eng, &af_uid0, "none", &r), -ENODEV);
	cr_assert_eq(vex_engine_rebuild(eng, &af_uid0, "g", &r), 0);
	cr_expect_eq(r.spaces, 1);
	cr_expect_eq(r.rows, FILES * ROWS);
	cr_expect_gt(r.bytes, (uint64_t)FILES * ROWS * DIM);
	cr_expect_gt(found(0, &cost, "graph"), 0.9);
	wait_for(1);
	cr_expect_gt(found(0, &cost, "graph"), 0.9);
	cr_assert_eq(vex_engine_rebuild(eng, &af_uid0, "", &r), 0);
	cr_expect_eq(r.spaces, 1);
	wait_for(2);
	/* Changes meanwhile, and afterwards, are seen. */
	attach("f0");
	wait_for(2);
	cr_expect_gt(found(0, &cost, "graph"), 0.9);
}

Test(recall, small_spaces_have_nothing_to_rebuild)
{
	struct vex_recall r = { .sample = 10 };
	struct vex_rebuild b;

	af_write("a", "x");
	cr_assert_eq(af_set("a", "s", "1,2,3", 5, 0), 0);
	cr_assert_eq(vex_engine_rebuild(eng, &af_uid0, "", &b), 0);
	cr_expect_eq(b.spaces, 0);
	cr_assert_eq(vex_engine_recall(eng, &af_uid0, "s", &r), 0);
	cr_expect_not(r.graph);
	cr_expect_eq(r.recall, 1);
}
