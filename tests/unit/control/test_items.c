/* SPDX-License-Identifier: Apache-2.0 */
/* Put and delete: packed records, all of them or none, and none that is malformed. */
#include "fixture.h"

static void up(void)
{
	fixture_up();
	make_space("w", 2, VEXFS_L2);
	touch("a");
	touch("b");
}

TestSuite(control_items, .init = up, .fini = fixture_down, .timeout = 60);

static const float one[2] = { 1, 1 };

static uint32_t count(void)
{
	struct vexfs_space sp = { .name = "w" };

	cr_assert_eq(ioc(VEXFS_IOC_SPACE_GET, &sp), 0);
	return (uint32_t)sp.attachments;
}

static struct vexfs_items *two(void)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));

	item_add(h, "a", "w", "1, 2", 4, 0);
	item_add(h, "b", "w.key", one, 8, VEXFS_ITEM_F32);
	return h;
}

Test(control_items, put_then_delete)
{
	struct vexfs_items *h = two();

	cr_assert_eq(ioc(VEXFS_IOC_PUT, h), 0, "%s", last_error(S, NULL, NULL));
	cr_expect_eq(count(), 2);
	memset(h, 0, sizeof(*h));
	item_add(h, "b", "w.key", NULL, 0, 0);
	item_add(h, "a", "w", NULL, 0, 0);
	cr_assert_eq(ioc(VEXFS_IOC_DELETE, h), 0, "%s", last_error(S, NULL, NULL));
	cr_expect_eq(count(), 0);
	free(h);
}

Test(control_items, staged_in_pieces)
{
	struct vexfs_items *h = two();
	uint32_t bytes = h->bytes;

	for (uint32_t i = 0; i < bytes; i += 7)
		cr_assert_eq(stage(S, h->data + i, vex_min64(7, bytes - i)), 0);
	h->bytes = 0;
	h->flags = VEXFS_ITEMS_STAGED;
	cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_PUT, 48u), h), 0, "%s",
		     last_error(S, NULL, NULL));
	cr_expect_eq(count(), 2);
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -EINVAL, "the stage is empty");
	free(h);
}

Test(control_items, misaligned_data_is_no_matter)
{
	struct vexfs_items *h = two();

	cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_PUT, 1001u), h), 0);
	cr_expect_eq(count(), 2);
	free(h);
}

Test(control_items, all_or_none_and_which_one)
{
	struct vexfs_items *h = two();
	uint32_t item;
	int error;

	item_add(h, "missing", "w", one, 8, VEXFS_ITEM_F32);
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -ENOENT);
	cr_expect(strstr(last_error(S, &error, &item), "missing") != NULL);
	cr_expect_eq(item, 2);
	cr_expect_eq(error, ENOENT);
	cr_expect_eq(count(), 0);
	free(h);
	h = two();
	item_add(h, "a", "w.x", "1,2,3", 5, 0);
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -EINVAL, "dimension");
	cr_expect_eq(count(), 0);
	free(h);
}

Test(control_items, create_and_replace)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));

	item_add(h, "a", "w", one, 8, VEXFS_ITEM_F32 | VEXFS_ITEM_REPLACE);
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -ENODATA);
	memset(h, 0, sizeof(*h));
	item_add(h, "a", "w", one, 8, VEXFS_ITEM_F32 | VEXFS_ITEM_CREATE);
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), 0);
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -EEXIST);
	memset(h, 0, sizeof(*h));
	item_add(h, "a", "w", one, 8,
		 VEXFS_ITEM_F32 | VEXFS_ITEM_CREATE | VEXFS_ITEM_REPLACE);
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -EINVAL);
	free(h);
}

Test(control_items, may_write_or_not)
{
	struct vexfs_items *h = two();

	cr_expect_eq(ioc_as(S, &stranger, VEXFS_IOC_PUT, h), -EACCES);
	cr_expect_eq(count(), 0);
	free(h);
}

Test(control_items, deletes_carry_no_value)
{
	struct vexfs_items *h = two();

	cr_assert_eq(ioc(VEXFS_IOC_PUT, h), 0);
	cr_expect_eq(ioc(VEXFS_IOC_DELETE, h), -EINVAL);
	memset(h, 0, sizeof(*h));
	item_add(h, "a", "w", NULL, 0, VEXFS_ITEM_CREATE);
	cr_expect_eq(ioc(VEXFS_IOC_DELETE, h), -EINVAL);
	memset(h, 0, sizeof(*h));
	item_add(h, "a", "w.none", NULL, 0, 0);
	cr_expect_eq(ioc(VEXFS_IOC_DELETE, h), -ENODATA);
	cr_expect_eq(count(), 2);
	free(h);
}

static struct vexfs_item *first(struct vexfs_items *h)
{
	return (struct vexfs_item *)(void *)h->data;
}

/* What a malformed region gets, inline and staged. */
static void malformed(struct vexfs_items *h, const char *what)
{
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -EINVAL, "%s", what);
	cr_assert_eq(stage(S, h->data, h->bytes), 0);
	h->flags = VEXFS_ITEMS_STAGED;
	h->bytes = 0;
	cr_expect_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_PUT, 48u), h), -EINVAL, "%s", what);
	free(h);
}

#define MALFORMED(...)                                                                   \
	do {                                                                             \
		struct vexfs_items *h = two();                                           \
		__VA_ARGS__;                                                             \
		malformed(h, #__VA_ARGS__);                                              \
	} while (0)

Test(control_items, malformed_records_are_refused)
{
	MALFORMED(h->count = 0);
	MALFORMED(h->count = 1);
	MALFORMED(h->count = 3);
	MALFORMED(h->bytes -= 8);
	MALFORMED(h->bytes += 8);
	MALFORMED(h->bytes = 23);
	MALFORMED(first(h)->size = 0);
	MALFORMED(first(h)->size += 8);
	MALFORMED(first(h)->size = UINT32_MAX);
	MALFORMED(first(h)->path_len = UINT32_MAX);
	MALFORMED(first(h)->attr_len = UINT32_MAX);
	MALFORMED(first(h)->value_len = UINT32_MAX);
	MALFORMED(first(h)->value_len = UINT32_MAX - 6, first(h)->size = 32);
	MALFORMED(first(h)->path_len = 2);
	MALFORMED(first(h)->path_len = 0);
	MALFORMED(first(h)->reserved = 1);
	MALFORMED(first(h)->flags = 8);
	MALFORMED(first(h)->flags = 1u << 31);
	MALFORMED(h->data[25] = 'x');
	MALFORMED(h->data[24] = '\0');
	cr_expect_eq(count(), 0);
}

Test(control_items, bytes_that_were_not_passed)
{
	struct vexfs_items *h = two();
	uint32_t bytes = h->bytes;

	for (size_t size = 0; size < 48 + bytes; size++)
		cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_PUT, size), h), -EINVAL);
	h->bytes = UINT32_MAX;
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -EINVAL);
	h->bytes = bytes;
	h->count = VEX_BATCH_MAX + 1;
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -ENOMEM);
	h->count = 2;
	h->flags = VEXFS_ITEMS_STAGED;
	cr_expect_eq(ioc(VEXFS_IOC_PUT, h), -EINVAL, "bytes with STAGED");
	cr_expect_eq(count(), 0);
	free(h);
}

/* Single bytes of a valid call changed: an error, or a valid other call. */
Test(control_items, noise)
{
	uint64_t x = seed();

	for (unsigned i = 0; i < 5000; i++) {
		struct vexfs_items *h = two();
		uint32_t used = 48 + h->bytes;

		for (unsigned n = 1 + (unsigned)(rnd(&x) % 3); n; n--)
			((uint8_t *)h)[rnd(&x) % used] = (uint8_t)rnd(&x);
		(void)ioc(rnd(&x) % 2 ? VEXFS_IOC_PUT : VEXFS_IOC_DELETE, h);
		free(h);
	}
	fixture_again();
	cr_expect_leq(count(), 10000);
}
