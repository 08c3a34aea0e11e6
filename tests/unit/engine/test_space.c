/* SPDX-License-Identifier: Apache-2.0 */
/* Spaces by command: who may, what is checked, what may change. */
#include <math.h>
#include "attach_fixture.h"

TestSuite(space, .timeout = 60, .init = af_up, .fini = af_down);

static vex_err create(struct vex_space_spec s)
{
	return vex_engine_space_create(eng, &af_uid0, &s);
}

static void spec_of(const char *name, struct vex_space_spec *out)
{
	AUTO_SPACE struct vex_space *sp = NULL;

	cr_assert_eq(vex_space_find(eng->store, name, &sp), 0);
	vex_space_spec(sp, out);
}

Test(space, create_fills_defaults)
{
	struct vex_space_spec s;

	cr_assert_eq(create((struct vex_space_spec){ .name = "w", .dim = 100 }), 0);
	cr_assert_eq(create((struct vex_space_spec){ .name = "w", .dim = 100 }), -EEXIST);
	spec_of("w", &s);
	cr_assert_eq(s.dim, 100);
	cr_assert_eq(s.m, 32);
	cr_assert_eq(s.ef_construction, 200);
	cr_assert_eq(s.ef_search, 64);
	af_again();
	spec_of("w", &s);
	cr_assert_eq(s.m, 32);
}

Test(space, specs_are_checked)
{
	static const struct vex_space_spec bad[] = {
		{ .name = "", .dim = 1 },
		{ .name = "W", .dim = 1 },
		{ .name = "_w", .dim = 1 },
		{ .name = "w.k", .dim = 1 },
		{ .name = "w" },
		{ .name = "w", .dim = 16385 },
		{ .name = "w", .dim = 1, .metric = 6 },
		{ .name = "w", .dim = 1, .metric = VEX_HAMMING },
		{ .name = "w", .dim = 1, .type = VEX_BIT },
		{ .name = "w", .dim = 1, .metric = VEX_L1, .type = VEX_BIT },
		{ .name = "w", .dim = 1, .metric = VEX_JACCARD, .type = VEX_I8 },
		{ .name = "w", .dim = 1, .type = 5 },
		{ .name = "w", .dim = 1, .scale = 1 },
		{ .name = "w", .dim = 1, .type = VEX_F16, .scale = 1 },
		{ .name = "w", .dim = 1, .type = VEX_I8, .scale = -1 },
		{ .name = "w", .dim = 1, .type = VEX_I8, .scale = NAN },
		{ .name = "w", .dim = 1, .type = VEX_I8, .scale = INFINITY },
		{ .name = "w", .dim = 1, .type = VEX_I8, .scale = 1e-38 },
		{ .name = "w", .dim = 1, .type = VEX_I16, .scale = 1.04e34 },
		{ .name = "w", .dim = 1, .index = 2 },
		{ .name = "w", .dim = 1, .quant = 5 },
		{ .name = "w", .dim = 1, .m = 1 },
		{ .name = "w", .dim = 1, .m = 513 },
		{ .name = "w", .dim = 1, .ef_construction = 65537 },
		{ .name = "w", .dim = 1, .ef_search = 65537 },
	};
	struct vex_space_spec full = { .dim = 1 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(create(bad[i]), -EINVAL, "%zu", i);
	memset(full.name, 'a', sizeof(full.name));
	cr_assert_eq(create(full), -EINVAL);
	full.name[48] = '\0';
	full.dim = 16384;
	full.metric = VEX_IP;
	full.index = VEX_HNSW;
	cr_assert_eq(create(full), 0);
}

Test(space, types_and_scales_stay)
{
	struct vex_space_spec s;

	cr_assert_eq(
	    create((struct vex_space_spec){
		.name = "w", .dim = 3, .metric = VEX_L1, .type = VEX_I16, .scale = 0.1 }),
	    0);
	cr_assert_eq(create((struct vex_space_spec){
			 .name = "b", .dim = 9, .metric = VEX_JACCARD, .type = VEX_BIT }),
		     0);
	af_again();
	spec_of("w", &s);
	cr_assert_eq(s.metric, VEX_L1);
	cr_assert_eq(s.type, VEX_I16);
	cr_assert_eq(s.scale, 0.1);
	s.scale = 0.2;
	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &s), -EINVAL);
	s.scale = 0.1;
	s.ef_search = 99;
	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &s), 0);
	af_again();
	spec_of("w", &s);
	cr_assert_eq(s.scale, 0.1);
	spec_of("b", &s);
	cr_assert_eq(s.type, VEX_BIT);
	cr_assert_eq(s.metric, VEX_JACCARD);
	cr_assert_eq(s.scale, 0);
}

Test(space, only_admins)
{
	struct vex_space_spec s = { .name = "w", .dim = 3 };

	cr_assert_eq(vex_engine_space_create(eng, &af_nobody, &s), -EPERM);
	cr_assert_eq(create(s), 0);
	cr_assert_eq(vex_engine_space_set(eng, &af_nobody, &s), -EPERM);
	cr_assert_eq(vex_engine_space_drop(eng, &af_nobody, "w"), -EPERM);
	cr_assert(af_space("w"));
}

Test(space, set_changes_what_may_change)
{
	struct vex_space_spec s = { .name = "w", .dim = 3, .metric = VEX_L2 }, now;

	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &s), -ENODEV);
	cr_assert_eq(create(s), 0);
	s.ef_search = 500;
	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &s), 0);
	spec_of("w", &now);
	cr_assert_eq(now.ef_search, 500);
	cr_assert_eq(now.m, 32);
	s.ef_search = 70000;
	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &s), -EINVAL);
	s.ef_search = 1;
	s.dim = 4;
	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &s), -EINVAL);
	s.dim = 3;
	s.metric = VEX_COSINE;
	cr_assert_eq(vex_engine_space_set(eng, &af_uid0, &s), -EINVAL);
	spec_of("w", &now);
	cr_assert_eq(now.ef_search, 500);
	af_again();
	spec_of("w", &now);
	cr_assert_eq(now.ef_search, 500);
}

Test(space, drop)
{
	af_write("a", "x");
	cr_assert_eq(vex_engine_space_drop(eng, &af_uid0, "w"), -ENODEV);
	cr_assert_eq(af_set_text("a", "w", "1 2 3"), 0);
	cr_assert_eq(vex_engine_space_drop(eng, &af_uid0, "w"), 0);
	cr_assert_not(af_space("w"));
	cr_assert_eq(vex_engine_space_drop(eng, &af_uid0, "w"), -ENODEV);
	cr_assert_eq(af_set_text("a", "w", "1 2"), 0);
	af_is_text("a", "w", "1 2");
	af_again();
	af_is_text("a", "w", "1 2");
}

/* Spaces come and go while rows are put: never a crash, never a row of a space that is
 * gone, and every acknowledged put is there while its space is. */
static void *dropper(void *arg)
{
	_Atomic bool *stop = arg;

	while (!atomic_load(stop)) {
		vex_err err = vex_engine_space_drop(eng, &af_uid0, "w");

		cr_assert(!err || err == -ENODEV, "%d", err);
		usleep(2000);
	}
	return NULL;
}

Test(space, drops_during_puts)
{
	_Atomic bool stop = false;
	pthread_t t;

	af_write("a", "x");
	cr_assert_eq(pthread_create(&t, NULL, dropper, &stop), 0);
	for (int i = 0; i < 300; i++) {
		vex_err err = af_set_text("a", i & 1 ? "w" : "w.k", "1 2 3");

		cr_assert_eq(err, 0, "%s", strerror(-err));
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
}
