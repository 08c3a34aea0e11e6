/* SPDX-License-Identifier: Apache-2.0 */
/* Spaces by ioctl. */
#include "fixture.h"

TestSuite(control_space, .init = fixture_up, .fini = fixture_down, .timeout = 60);

Test(control_space, create_gives_the_defaults_back)
{
	struct vexfs_space sp = { .name = "words", .dim = 100, .metric = VEXFS_IP };

	cr_assert_eq(ioc(VEXFS_IOC_SPACE_CREATE, &sp), 0);
	cr_expect_gt(sp.id, 0);
	cr_expect_eq(sp.dim, 100);
	cr_expect_eq(sp.metric, VEXFS_IP);
	cr_expect_eq(sp.m, 32);
	cr_expect_eq(sp.ef_construction, 200);
	cr_expect_eq(sp.ef_search, 64);
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_CREATE, &sp), -EEXIST);
}

Test(control_space, create_refuses)
{
	static const struct vexfs_space bad[] = {
		{ .name = "", .dim = 2 },
		{ .name = "Upper", .dim = 2 },
		{ .name = "a/b", .dim = 2 },
		{ .name = "_info", .dim = 2 },
		{ .name = "a", .dim = 0 },
		{ .name = "a", .dim = VEX_DIM_MAX + 1 },
		{ .name = "a", .dim = UINT32_MAX },
		{ .name = "a", .dim = 2, .metric = 6 },
		{ .name = "a", .dim = 2, .metric = VEXFS_HAMMING },
		{ .name = "a", .dim = 2, .metric = 256 },
		{ .name = "a", .dim = 2, .type = 5 },
		{ .name = "a", .dim = 2, .type = VEXFS_BIT },
		{ .name = "a", .dim = 2, .type = VEXFS_F16, .scale = 2 },
		{ .name = "a", .dim = 2, .type = VEXFS_I8, .reserved1 = 1 },
		{ .name = "a", .dim = 2, .type = 256 },
		{ .name = "a", .dim = 2, .index = 2 },
		{ .name = "a", .dim = 2, .index = UINT32_MAX },
		{ .name = "a", .dim = 2, .m = UINT32_MAX },
		{ .name = "a", .dim = 2, .mask = 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vexfs_space sp = bad[i];

		cr_expect_eq(ioc(VEXFS_IOC_SPACE_CREATE, &sp), -EINVAL, "%zu", i);
	}
}

Test(control_space, get_counts_for_the_owner_alone)
{
	struct vexfs_space sp = { .name = "w" };

	cr_expect_eq(ioc(VEXFS_IOC_SPACE_GET, &sp), -ENODEV);
	cr_expect(strstr(last_error(S, NULL, NULL), "w") != NULL);
	attach("a", "w", (float[]){ 1, 2, 3 }, 3);
	cr_assert_eq(ioc_as(S, &owner, VEXFS_IOC_SPACE_GET, &sp), 0);
	cr_expect_eq(sp.rows, 1);
	cr_expect_eq(sp.dim, 3);
	sp = (struct vexfs_space){ .name = "w" };
	cr_assert_eq(ioc_as(S, &stranger, VEXFS_IOC_SPACE_GET, &sp), 0);
	cr_expect_eq(sp.dim, 3);
	cr_expect_eq(sp.rows, 0);
	cr_expect_eq(sp.attachments, 0);
	cr_expect_eq(sp.slots, 0);
	cr_expect_eq(sp.bytes, 0);
}

Test(control_space, set_changes_what_the_mask_names)
{
	struct vexfs_space sp = {
		.name = "w", .mask = VEXFS_SPACE_EF_SEARCH, .ef_search = 100, .m = 99
	};

	cr_expect_eq(ioc(VEXFS_IOC_SPACE_SET, &sp), -ENODEV);
	make_space("w", 2, VEXFS_L2);
	cr_assert_eq(ioc(VEXFS_IOC_SPACE_SET, &sp), 0, "%s", last_error(S, NULL, NULL));
	cr_expect_eq(sp.ef_search, 100);
	cr_expect_eq(sp.m, 32);
	sp.mask = 0;
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_SET, &sp), -EINVAL);
	sp.mask = 1u << 31;
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_SET, &sp), -EINVAL);
	sp.mask = VEXFS_SPACE_M;
	sp.m = UINT32_MAX;
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_SET, &sp), -EINVAL);
	fixture_again();
	sp = (struct vexfs_space){ .name = "w" };
	cr_assert_eq(ioc(VEXFS_IOC_SPACE_GET, &sp), 0);
	cr_expect_eq(sp.ef_search, 100, "kept");
}

Test(control_space, drop)
{
	struct vexfs_space sp = { .name = "w" };

	make_space("w", 2, VEXFS_L2);
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_DROP, &sp), 0);
	sp = (struct vexfs_space){ .name = "w" };
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_GET, &sp), -ENODEV);
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_DROP, &sp), -ENODEV);
}

Test(control_space, list_pages)
{
	static struct vexfs_space_list l;
	char name[16];
	unsigned seen = 0, calls = 0;

	cr_assert_eq(ioc(VEXFS_IOC_SPACE_LIST, &l), 0);
	cr_expect_eq(l.count, 0);
	cr_expect_eq(l.more, 0);
	for (unsigned i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "s%03u", i);
		make_space(name, i + 1, VEXFS_L2);
	}
	do {
		uint32_t after = l.count ? l.spaces[l.count - 1].id : 0;

		memset(&l, 0, sizeof(l));
		l.after = after;
		cr_assert_eq(ioc_as(S, &stranger, VEXFS_IOC_SPACE_LIST, &l), 0);
		cr_assert_eq(ioc_got, 16 + l.count * sizeof(l.spaces[0]));
		for (uint32_t i = 0; i < l.count; i++)
			cr_assert_eq(l.spaces[i].dim, ++seen);
		calls++;
	} while (l.more);
	cr_expect_eq(seen, 150);
	cr_expect_eq(calls, 3);
}

Test(control_space, list_in_a_shorter_struct)
{
	static struct vexfs_space_list l;

	make_space("a", 1, VEXFS_L2);
	make_space("b", 2, VEXFS_L2);
	cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_SPACE_LIST, 16u + 399u), &l), 0);
	cr_expect_eq(l.count, 1);
	cr_expect_eq(l.more, 1);
	memset(&l, 0, sizeof(l));
	cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_SPACE_LIST, 16u), &l), 0);
	cr_expect_eq(l.count, 0);
	cr_expect_eq(l.more, 1);
}
