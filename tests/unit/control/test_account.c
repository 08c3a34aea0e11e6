/* SPDX-License-Identifier: Apache-2.0 */
/* What one user may hold: a quarter; what all but administrators may: three. */
#include "fixture.h"

TestSuite(control_account, .init = fixture_up, .fini = fixture_down, .timeout = 60);

#define MORE 5000u

static struct vex_session *opened[MORE];

static unsigned open_many(uint32_t uid)
{
	struct vex_cred c = { .uid = uid, .gid = uid, .groups_known = true };
	unsigned n = 0;
	int err = 0;

	while (n < MORE && !err) {
		err = vex_session_open(control, FILE_STATUS, O_RDONLY, &c, &opened[n]);
		n += !err;
	}
	cr_assert_eq(err, -ENOMEM);
	return n;
}

static void close_many(unsigned n)
{
	while (n--)
		vex_session_close(opened[n]);
}

Test(control_account, one_user_cannot_have_all_sessions)
{
	unsigned n = open_many(STRANGER);
	struct vex_session *s = session(&owner, O_RDWR);

	cr_expect_eq(n, 1024);
	vex_session_close(s);
	close_many(n);
	cr_expect_eq(open_many(STRANGER), n, "all were given back");
	close_many(n);
	cr_expect_eq(control->sessions, 1);
}

Test(control_account, administrators_always_get_in)
{
	struct account *a[4096];
	unsigned n = 0;

	for (uint32_t uid = 10000; n < ARRAY_SIZE(a); uid++) {
		struct vex_cred c = { .uid = uid, .groups_known = true };
		if (account_open(control, &c, &a[n]))
			break;
		n++;
	}
	cr_expect_eq(n, 3071, "three quarters, less root's one");
	vex_session_close(session(&root, O_RDWR));
	while (n--)
		account_close(control, a[n]);
	cr_expect_eq(control->sessions, 1);
}

Test(control_account, bytes)
{
	struct account *a, *b, *r;
	const uint64_t quarter = (uint64_t)512 << 20;
	struct vex_cred other = { .uid = 99, .groups_known = true };

	cr_assert_eq(account_open(control, &stranger, &a), 0);
	cr_assert_eq(account_open(control, &other, &b), 0);
	cr_assert_eq(account_open(control, &root, &r), 0);
	cr_expect_eq(account_charge(control, a, quarter), 0);
	cr_expect_eq(account_charge(control, a, 1), -ENOMEM);
	cr_expect_eq(account_charge(control, b, 1), 0);
	cr_expect_eq(account_charge(control, r, 2 * quarter), 0);
	cr_expect_eq(account_charge(control, b, 1), -ENOMEM, "three quarters are held");
	cr_expect_eq(account_charge(control, r, UINT64_MAX), -ENOMEM);
	account_release(control, a, quarter);
	cr_expect_eq(account_charge(control, b, 1), 0);
	account_release(control, b, 2);
	account_release(control, r, 2 * quarter);
	account_close(control, a);
	account_close(control, b);
	account_close(control, r);
	cr_expect_eq(control->held, 0);
}
