/* SPDX-License-Identifier: Apache-2.0 */
/* Version, sync, status, last error. */
#include "fixture.h"

TestSuite(control_about, .init = fixture_up, .fini = fixture_down, .timeout = 60);

Test(control_about, version_and_limits)
{
	struct vexfs_version v = { 0 };
	char text[32];

	cr_assert_eq(ioc_as(S, &stranger, VEXFS_IOC_VERSION, &v), 0);
	snprintf(text, sizeof(text), "%u.%u.%u", v.major, v.minor, v.patch);
	cr_expect_str_eq(text, VEXFS_VERSION);
	cr_expect_eq(v.abi, VEXFS_ABI);
	cr_expect_eq(v.dim_max, 16384);
	cr_expect_eq(v.value_max, 65536);
	cr_expect_eq(v.key_max, 128);
	cr_expect_eq(v.k_max, VEX_K_MAX);
	cr_expect_eq(v.batch_max, VEX_BATCH_MAX);
	cr_expect_eq(v.stage_max, STAGE_MAX);
}

Test(control_about, sync_makes_all_durable)
{
	struct vexfs_sync sy = { 0 };
	struct vexfs_status before = { 0 }, st = { 0 };

	attach("a", "w", (float[]){ 1, 2 }, 2);
	cr_assert_eq(ioc(VEXFS_IOC_STATUS, &before), 0);
	cr_assert_eq(ioc_as(S, &stranger, VEXFS_IOC_SYNC, &sy), 0);
	cr_assert_eq(ioc(VEXFS_IOC_STATUS, &st), 0);
	/* Not equal: a sync that takes long is a change of its own, an event. */
	cr_expect_geq(before.lsn, 1);
	cr_expect_geq(sy.lsn, before.lsn);
	cr_expect_geq(st.durable_lsn, sy.lsn);
	cr_expect_leq(st.durable_lsn, st.lsn);
	cr_expect_eq(st.failed, 0);
	cr_expect_eq(st.attachments, 1);
	cr_expect_eq(st.spaces, 1);
	cr_expect_eq(st.pid, (uint64_t)getpid());
}

Test(control_about, last_error_tells_and_forgets)
{
	struct vexfs_space sp = { .name = "none" };
	struct vexfs_version v = { 0 };
	int error;

	cr_expect_str_eq(last_error(S, &error, NULL), "");
	cr_expect_eq(error, 0);
	cr_assert_eq(ioc(VEXFS_IOC_SPACE_GET, &sp), -ENODEV);
	for (int i = 0; i < 2; i++) {
		cr_expect(strstr(last_error(S, &error, NULL), "none") != NULL);
		cr_expect_eq(error, ENODEV, "asking does not change it");
	}
	cr_assert_eq(ioc(VEXFS_IOC_VERSION, &v), 0);
	cr_expect_str_eq(last_error(S, &error, NULL), "");
	cr_expect_eq(error, 0);
}

Test(control_about, every_failure_has_words)
{
	cr_assert_eq(ioc(_IOC(3u, VEXFS_IOC_TYPE, 200, 0), ""), -ENOTTY);
	cr_expect_gt(strlen(last_error(S, NULL, NULL)), 0);
}
