/* SPDX-License-Identifier: Apache-2.0 */
/* The change list: order, ownership, growth. */
#include <criterion/criterion.h>
#include "engine_i.h"

TestSuite(changes, .timeout = 60);

Test(changes, empty_list_frees)
{
	struct changes l = { 0 };

	changes_free(&l);
	changes_free(&l);
	cr_assert_eq(l.n, 0);
}

Test(changes, keeps_order_and_values_while_growing)
{
	AUTO_CHANGES struct changes l = { 0 };

	for (uint64_t i = 0; i < 1000; i++) {
		struct vex_change *c = changes_add(&l, VEX_NAME_ADD);

		cr_assert_not_null(c);
		cr_assert_eq(c->node, 0);
		cr_assert_null(c->key);
		c->node = i;
	}
	cr_assert_eq(l.n, 1000);
	for (uint64_t i = 0; i < 1000; i++) {
		cr_assert_eq(l.c[i].node, i);
		cr_assert_eq(l.c[i].kind, VEX_NAME_ADD);
	}
}

Test(changes, dup_is_a_copy_with_a_nul)
{
	AUTO_CHANGES struct changes l = { 0 };
	char in[] = "k\0ey";
	char *p = changes_dup(&l, in, 4);

	in[0] = 'x';
	cr_assert_eq(memcmp(p, "k\0ey", 5), 0);
	for (int i = 0; i < 100; i++)
		cr_assert_not_null(changes_dup(&l, NULL, 0));
	cr_assert_eq(*(char *)changes_dup(&l, "", 0), '\0');
	cr_assert_eq(memcmp(p, "k\0ey", 5), 0);
	cr_assert_eq(l.nowned, 102);
}

Test(changes, error_sticks)
{
	AUTO_CHANGES struct changes l = { .err = -ENOMEM };

	cr_assert_null(changes_add(&l, VEX_PUT));
	cr_assert_null(changes_dup(&l, "a", 1));
	cr_assert_eq(l.n, 0);
}
