/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, the stage, several threads. */
#include "fixture.h"

TestSuite(control_session, .init = fixture_up, .fini = fixture_down, .timeout = 60);

Test(control_session, files_of_the_directory)
{
	size_t n;
	const struct vex_control_file *f = vex_control_files(&n);

	cr_assert_geq(n, 4);
	cr_expect_str_eq(f[0].name, "control");
	cr_expect_eq(f[0].mode, 0666);
	cr_expect_str_eq(f[1].name, "status");
	cr_expect_eq(f[1].mode, 0444);
	cr_expect_str_eq(f[2].name, "query");
	cr_expect_eq(f[2].mode, 0666);
	cr_expect_str_eq(f[3].name, "metrics");
	cr_expect_eq(f[3].mode, 0400);
	cr_expect_str_eq(f[4].name, "config");
	cr_expect_eq(f[4].mode, 0644);
	cr_expect_str_eq(f[5].name, "events");
	cr_expect_eq(f[5].mode, 0666);
}

Test(control_session, what_cannot_be_opened)
{
	struct vex_session *s;

	cr_expect_eq(vex_session_open(control, 99, O_RDONLY, &root, &s), -ENOENT);
	cr_expect_eq(vex_session_open(control, FILE_STATUS, O_RDWR, &root, &s), -EACCES);
	cr_expect_eq(vex_session_open(control, FILE_STATUS, O_WRONLY, &root, &s),
		     -EACCES);
}

Test(control_session, more_than_the_stage_holds)
{
	size_t piece = 1 << 20;
	char *buf = calloc(1, piece);
	struct vexfs_search *q = query("w", 1, NULL, 1);

	make_space("w", 1, VEXFS_L2);
	for (size_t i = 0; i < STAGE_MAX / piece; i++)
		cr_assert_eq(stage(S, buf, piece), 0);
	cr_expect_eq(stage(S, buf, 1), -ENOMEM);
	cr_expect_gt(strlen(last_error(S, NULL, NULL)), 0);
	cr_expect_eq(stage(S, buf, 0), -ENOMEM, "spoiled");
	q->flags = VEXFS_SEARCH_STAGED;
	cr_expect_eq(ioc(VEXFS_IOC_SEARCH, q), -EINVAL, "cut short");
	cr_assert_eq(stage(S, buf, 4), 0);
	cr_expect_eq(ioc(VEXFS_IOC_SEARCH, q), 0);
	free(buf);
	free(q);
}

Test(control_session, too_many_queries)
{
	size_t bytes = 4 * (VEX_BATCH_MAX + 1);
	char *buf = calloc(1, bytes);
	struct vexfs_search *q = query("w", 1, NULL, 1);

	make_space("w", 1, VEXFS_L2);
	q->flags = VEXFS_SEARCH_STAGED;
	cr_assert_eq(stage(S, buf, bytes), 0);
	cr_expect_eq(ioc(VEXFS_IOC_SEARCH, q), -ENOMEM);
	cr_assert_eq(stage(S, buf, bytes - 4), 0);
	cr_expect_eq(ioc(VEXFS_IOC_SEARCH, q), 0);
	free(buf);
	free(q);
}

/* A client that uses one descriptor from many threads harms only itself. */
static void one_ioctl(uint32_t cmd, void *buf, size_t size)
{
	size_t n;
	int err = vex_session_ioctl(S, &root, cmd, buf, size, buf, size, &n);

	cr_assert(err <= 0);
}

static void *hammer(void *arg)
{
	uint64_t x = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15ull + 1;
	struct vexfs_search *q = query("p", 60, (float[]){ 0, 1 }, 2);
	struct vexfs_search *again = malloc(sizeof(*again));
	char *buf = malloc(4096);

	for (unsigned i = 0; i < 800; i++) {
		memcpy(again, q, sizeof(*q));
		again->flags = rnd(&x) % 2 ? VEXFS_SEARCH_STAGED : 0;
		if (i % 4 == 0)
			(void)stage(S, q->data, rnd(&x) % 2 ? 8 : 3);
		else if (i % 4 == 1)
			(void)take(S, buf, vex_session_poll(S) ? 4096 : 100);
		else if (i % 4 == 2)
			one_ioctl(VEXFS_IOC_NEXT, memset(buf, 0, 4096), 4096);
		else
			one_ioctl(VEXFS_IOC_SEARCH, again, 300);
	}
	free(q);
	free(again);
	free(buf);
	return NULL;
}

Test(control_session, one_descriptor_many_threads)
{
	pthread_t t[4];

	make_space("p", 2, VEXFS_L2);
	many("p", 100);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		cr_assert_eq(pthread_create(&t[i], NULL, hammer, (void *)(i + 1)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
}
