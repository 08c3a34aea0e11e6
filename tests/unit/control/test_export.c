/* SPDX-License-Identifier: Apache-2.0 */
/* Export: records by read(2), in order, whole, what the caller may read. */
#include <sys/stat.h>
#include "fixture.h"

#define N 300u

static void up(void)
{
	fixture_up();
	make_space("p", 2, VEXFS_L2);
	many("p", N);
}

TestSuite(control_export, .init = up, .fini = fixture_down, .timeout = 60);

static int start(const struct vex_cred *as, const char *name, uint64_t after)
{
	struct vexfs_export x = { .after = after };

	strcpy(x.space, name);
	return ioc_as(S, as, VEXFS_IOC_EXPORT, &x);
}

/* Reads to the end by buffers of `room` bytes: how many records. */
static unsigned all(size_t room, unsigned from)
{
	char *buf = malloc(room), path[32];
	unsigned n = 0;
	ssize_t got;

	while ((got = take(S, buf, room)) > 0)
		for (ssize_t at = 0; at < got; n++) {
			struct vexfs_record r;
			float v[2];

			memcpy(&r, buf + at, sizeof(r));
			snprintf(path, sizeof(path), "p/%04u", from + n);
			cr_assert_str_eq(buf + at + sizeof(r), path);
			cr_assert_str_eq(buf + at + sizeof(r) + r.path_len + 1, "");
			cr_assert_eq(r.dim, 2);
			cr_assert_eq(r.rows, 1);
			memcpy(v, buf + at + vexfs_value_at(r.path_len, r.key_len), 8);
			cr_assert_eq(v[0], (float)(from + n + 1));
			at += r.size;
		}
	cr_assert_eq(got, 0);
	free(buf);
	return n;
}

Test(control_export, everything_in_order)
{
	cr_assert_eq(start(&root, "p", 0), 0);
	cr_expect(vex_session_poll(S) & POLLIN);
	cr_expect_eq(all(1 << 20, 0), N);
	cr_expect(!(vex_session_poll(S) & POLLIN));
	cr_assert_eq(start(&root, "p", 0), 0);
	cr_expect_eq(all(333, 0), N);
}

Test(control_export, a_buffer_too_small)
{
	char buf[8];

	cr_assert_eq(start(&root, "p", 0), 0);
	cr_expect_eq(take(S, buf, sizeof(buf)), -EINVAL);
	cr_expect_eq(all(4096, 0), N, "nothing was lost");
}

Test(control_export, only_what_came_after)
{
	struct vexfs_sync sy = { 0 };

	cr_assert_eq(ioc(VEXFS_IOC_SYNC, &sy), 0);
	cr_assert_eq(start(&root, "p", sy.lsn), 0);
	cr_expect_eq(all(4096, 0), 0);
	attach("p/9999", "p", (float[]){ 10000, 1 }, 2);
	cr_assert_eq(start(&root, "p", sy.lsn), 0);
	cr_expect_eq(all(4096, 9999), 1);
}

Test(control_export, a_search_ends_it)
{
	struct vexfs_search *s = query("p", 1, (float[]){ 0, 1 }, 2);
	char buf[4096];

	cr_assert_eq(start(&root, "p", 0), 0);
	cr_assert_eq(ioc(VEXFS_IOC_SEARCH, s), 0);
	cr_expect_eq(take(S, buf, sizeof(buf)), 0);
	free(s);
}

Test(control_export, refuses)
{
	struct vexfs_export x = { .space = "p" };

	cr_expect_eq(start(&root, "none", 0), -ENODEV);
	cr_expect_eq(start(&root, "", 0), -EINVAL);
	memset(x.space, 'p', sizeof(x.space));
	cr_expect_eq(ioc(VEXFS_IOC_EXPORT, &x), -EINVAL);
	cr_expect_eq(all(4096, 0), 0);
}

Test(control_export, the_rights_of_who_asked)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/p/0001", control->store);
	cr_assert_eq(chmod(path, 0600), 0);
	attach("p/9999", "p", (float[]){ 10000, 1 }, 2);
	for (unsigned i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "%s/p/%04u", control->store, i);
		cr_assert_eq(chmod(path, 0600), 0);
	}
	cr_assert_eq(start(&stranger, "p", 0), 0);
	/* read by root, asked for by a stranger */
	cr_expect_eq(all(4096, 9999), 1);
}
