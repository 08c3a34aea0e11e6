/* SPDX-License-Identifier: Apache-2.0 */
/* The ioctl table: numbers, sizes, privilege; and what any client may throw at it. */
#include "fixture.h"

TestSuite(control_dispatch, .init = fixture_up, .fini = fixture_down, .timeout = 120);

#define SIZED(cmd, size) VEXFS_IOC_SIZED(cmd, (size_t)(size))

static const unsigned long all[] = {
	VEXFS_IOC_VERSION,      VEXFS_IOC_SEARCH,     VEXFS_IOC_NEXT,
	VEXFS_IOC_SPACE_CREATE, VEXFS_IOC_SPACE_GET,  VEXFS_IOC_SPACE_LIST,
	VEXFS_IOC_SPACE_DROP,   VEXFS_IOC_SPACE_SET,  VEXFS_IOC_PUT,
	VEXFS_IOC_DELETE,       VEXFS_IOC_SYNC,       VEXFS_IOC_STATUS,
	VEXFS_IOC_EXPORT,       VEXFS_IOC_LAST_ERROR, VEXFS_IOC_BEGIN,
	VEXFS_IOC_COMMIT,       VEXFS_IOC_ABORT,      VEXFS_IOC_CHECKPOINT,
	VEXFS_IOC_COMPACT,      VEXFS_IOC_REBUILD,    VEXFS_IOC_RECALL,
	VEXFS_IOC_STATS,        VEXFS_IOC_CONFIG,     VEXFS_IOC_BACKUP,
	VEXFS_IOC_STALE,        VEXFS_IOC_REATTACH,   VEXFS_IOC_SCAN,
};

static uint64_t lsn(void)
{
	struct vexfs_status st = { 0 };

	cr_assert_eq(ioc(VEXFS_IOC_STATUS, &st), 0);
	return st.lsn;
}

Test(control_dispatch, unknown_numbers_are_enotty)
{
	static uint8_t buf[VEXFS_IOC_MAX];
	bool known[256] = { false };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		known[_IOC_NR(all[i])] = true;
	for (unsigned nr = 0; nr < 256; nr++)
		if (!known[nr])
			cr_assert_eq(
			    ioc(_IOC(_IOC_READ | _IOC_WRITE, VEXFS_IOC_TYPE, nr, 64),
				buf),
			    -ENOTTY, "nr %u", nr);
}

Test(control_dispatch, foreign_types_are_enotty)
{
	static uint8_t buf[VEXFS_IOC_MAX];

	for (unsigned type = 0; type < 256; type++)
		if (type != VEXFS_IOC_TYPE)
			cr_assert_eq(ioc(_IOWR(type, 1, struct vexfs_version), buf),
				     -ENOTTY);
}

Test(control_dispatch, generated_files_have_no_ioctls)
{
	struct vexfs_version v = { 0 };
	struct vex_session *s;
	size_t n;

	cr_assert_eq(vex_session_open(control, FILE_STATUS, O_RDONLY, &root, &s), 0);
	cr_assert_eq(vex_session_ioctl(s, &root, VEXFS_IOC_VERSION, &v, sizeof(v), &v,
				       sizeof(v), &n),
		     -ENOTTY);
	vex_session_close(s);
}

Test(control_dispatch, direction_bits_choose_nothing)
{
	struct vexfs_version v = { 0 };

	cr_assert_eq(ioc(_IOC(0, VEXFS_IOC_TYPE, 1, sizeof(v)), &v), 0);
	cr_expect_eq(v.abi, VEXFS_ABI);
}

Test(control_dispatch, a_struct_of_no_bytes_is_all_zeros)
{
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_VERSION, 0), ""), 0);
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_SYNC, 0), ""), 0);
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_SEARCH, 0), ""), -EINVAL);
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_PUT, 0), ""), -EINVAL);
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_SPACE_DROP, 0), ""), -EINVAL);
}

Test(control_dispatch, a_shorter_struct_gets_a_shorter_reply)
{
	struct vexfs_version v;

	memset(&v, 0xee, sizeof(v));
	v.flags = 0;
	cr_assert_eq(ioc(SIZED(VEXFS_IOC_VERSION, 8), &v), 0);
	cr_expect_eq(ioc_got, 8);
	cr_expect_eq(v.abi, VEXFS_ABI);
	cr_expect_eq(v.major, 0xeeeeeeeeu, "beyond the caller's struct");
}

Test(control_dispatch, a_longer_struct_must_be_zero_beyond_ours)
{
	struct {
		struct vexfs_version v;
		uint8_t more[100];
	} x = { 0 };

	cr_assert_eq(ioc(SIZED(VEXFS_IOC_VERSION, sizeof(x)), &x), 0);
	cr_expect_eq(ioc_got, sizeof(x.v));
	for (size_t i = 0; i < sizeof(x.more); i++) {
		memset(&x, 0, sizeof(x));
		x.more[i] = 1;
		cr_expect_eq(ioc(SIZED(VEXFS_IOC_VERSION, sizeof(x)), &x), -EINVAL);
	}
}

Test(control_dispatch, every_flag_bit_of_every_struct_that_has_none_is_refused)
{
	static uint32_t buf[VEXFS_IOC_MAX / 4 + 1];
	uint64_t before = lsn();

	make_space("a", 2, VEXFS_L2);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		uint32_t known = 0;

		if (all[i] == VEXFS_IOC_SEARCH)
			known = VEXFS_SEARCH_FLAGS;
		if (all[i] == VEXFS_IOC_PUT || all[i] == VEXFS_IOC_DELETE)
			known = VEXFS_ITEMS_STAGED;
		if (all[i] == VEXFS_IOC_SCAN)
			known = VEXFS_SCAN_QUICK;
		for (unsigned bit = 0; bit < 32; bit++) {
			memset(buf, 0, sizeof(buf));
			buf[0] = 1u << bit;
			if (buf[0] & known)
				continue;
			cr_expect_eq(ioc(all[i], buf), -EINVAL, "nr %u bit %u",
				     (unsigned)_IOC_NR(all[i]), bit);
		}
	}
	cr_expect_leq(lsn(), before + 1);
}

/* A valid struct with one reserved byte set, for every such byte. */
static void reserved(unsigned long cmd, const void *good, size_t size, size_t from,
		     size_t to)
{
	uint8_t *buf = malloc(size);

	for (size_t i = from; i < to; i++) {
		memcpy(buf, good, size);
		buf[i] = 1;
		cr_expect_eq(ioc(cmd, buf), -EINVAL, "nr %u byte %zu",
			     (unsigned)_IOC_NR(cmd), i);
	}
	free(buf);
}

#define RESERVED(cmd, good, field)                                                       \
	reserved(cmd, &(good), sizeof(good), offsetof(__typeof__(good), field),          \
		 offsetof(__typeof__(good), field) + sizeof((good).field))

Test(control_dispatch, reserved_fields_must_be_zero)
{
	struct vexfs_version v = { 0 };
	struct vexfs_sync sy = { 0 };
	struct vexfs_status st = { 0 };
	struct vexfs_page page = { 0 };
	struct vexfs_last_error le = { 0 };
	struct vexfs_space sp = { .name = "a" };
	struct vexfs_export ex = { .space = "a" };
	struct vexfs_items it = { .count = 1 };
	struct vexfs_search se = { .k = 1, .dim = 2, .space = "a" };

	make_space("a", 2, VEXFS_L2);
	cr_assert_eq(ioc(VEXFS_IOC_SPACE_GET, &sp), 0);
	sp.mask = 0;
	RESERVED(VEXFS_IOC_VERSION, v, reserved);
	RESERVED(VEXFS_IOC_SYNC, sy, reserved0);
	RESERVED(VEXFS_IOC_SYNC, sy, reserved);
	RESERVED(VEXFS_IOC_STATUS, st, reserved);
	RESERVED(VEXFS_IOC_NEXT, page, reserved);
	RESERVED(VEXFS_IOC_LAST_ERROR, le, reserved);
	RESERVED(VEXFS_IOC_SPACE_GET, sp, reserved1);
	RESERVED(VEXFS_IOC_EXPORT, ex, reserved0);
	RESERVED(VEXFS_IOC_EXPORT, ex, reserved);
	RESERVED(VEXFS_IOC_PUT, it, reserved0);
	RESERVED(VEXFS_IOC_DELETE, it, reserved);
	RESERVED(VEXFS_IOC_SEARCH, se, reserved1);
	RESERVED(VEXFS_IOC_SEARCH, se, max_visited); /* without LIMITS */
	RESERVED(VEXFS_IOC_SEARCH, se, max_ms);
	RESERVED(VEXFS_IOC_SEARCH, se, reserved3);
}

Test(control_dispatch, a_read_only_descriptor_changes_nothing)
{
	static const unsigned long changing[] = {
		VEXFS_IOC_SPACE_CREATE, VEXFS_IOC_SPACE_DROP, VEXFS_IOC_SPACE_SET,
		VEXFS_IOC_PUT,          VEXFS_IOC_DELETE,
	};
	static uint8_t buf[VEXFS_IOC_MAX];
	struct vex_session *s = session(&root, O_RDONLY);
	struct vexfs_version v = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(changing); i++)
		cr_expect_eq(ioc_as(s, &root, changing[i], buf), -EBADF);
	cr_expect_eq(ioc_as(s, &root, VEXFS_IOC_VERSION, &v), 0);
	cr_expect_eq(stage(s, "abcd", 4), -EBADF);
	vex_session_close(s);
}

Test(control_dispatch, spaces_and_status_are_for_root_and_owner)
{
	static const unsigned long admin[] = {
		VEXFS_IOC_SPACE_CREATE,
		VEXFS_IOC_SPACE_DROP,
		VEXFS_IOC_SPACE_SET,
		VEXFS_IOC_STATUS,
	};
	struct vexfs_space sp = { .name = "a", .dim = 3 };
	struct vexfs_status st = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(admin); i++) {
		static uint8_t buf[VEXFS_IOC_MAX];

		cr_expect_eq(ioc_as(S, &stranger, admin[i], buf), -EPERM);
	}
	cr_expect_eq(ioc_as(S, &owner, VEXFS_IOC_SPACE_CREATE, &sp), 0);
	cr_expect_eq(ioc_as(S, &owner, VEXFS_IOC_STATUS, &st), 0);
	cr_expect_eq(st.spaces, 1);
}

Test(control_dispatch, names_that_do_not_end_are_refused)
{
	struct vexfs_space sp = { .dim = 2 };

	make_space("wordsworth", 2, VEXFS_L2);
	memset(sp.name, 'a', sizeof(sp.name));
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_CREATE, &sp), -EINVAL);
	memset(sp.name, 0, sizeof(sp.name));
	memset(sp.name, 'a', VEX_SPACE_NAME_MAX + 1);
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_CREATE, &sp), -EINVAL);
	sp.name[VEX_SPACE_NAME_MAX] = '\0';
	cr_expect_eq(ioc(VEXFS_IOC_SPACE_CREATE, &sp), 0);
}

Test(control_dispatch, a_name_cut_off_is_not_another_name)
{
	struct vexfs_space sp = { .name = "wordsworth" };
	size_t at = offsetof(struct vexfs_space, name);

	make_space("words", 2, VEXFS_L2);
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_SPACE_DROP, at + 5), &sp), -EINVAL);
	sp.name[5] = '\0';
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_SPACE_GET, at + 6), &sp), 0);
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_SPACE_DROP, at + 5), &sp), -EINVAL);
	cr_expect_eq(ioc(SIZED(VEXFS_IOC_SPACE_DROP, at + 6), &sp), 0);
}

/* ---- noise ----------------------------------------------------------------------- */

/* Random structs, some near to valid ones, of random sizes, from random callers: each
 * an error or a success, and the session works afterwards. */
Test(control_dispatch, noise)
{
	static uint8_t buf[VEXFS_IOC_MAX + 1];
	static uint8_t data[4096];
	uint64_t x = seed();

	many("p", 10);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned long cmd = all[rnd(&x) % ARRAY_SIZE(all)];
		size_t size =
		    rnd(&x) % 4 ? _IOC_SIZE(cmd) : rnd(&x) % (VEXFS_IOC_MAX + 1);
		unsigned wild = (unsigned)(rnd(&x) % 12);

		memset(buf, 0, sizeof(buf));
		for (unsigned j = 0; j < wild; j++)
			buf[rnd(&x) % (rnd(&x) % 2 ? 64 : size + 1)] = (uint8_t)rnd(&x);
		if (rnd(&x) % 3 == 0 && size >= 80)
			strcpy((char *)buf + (cmd == VEXFS_IOC_SEARCH ? 48 : 8), "p");
		if (rnd(&x) % 5 == 0)
			(void)stage(S, data, rnd(&x) % sizeof(data));
		if (rnd(&x) % 5 == 0)
			(void)take(S, data, rnd(&x) % sizeof(data));
		(void)ioc_as(S, rnd(&x) % 2 ? &root : &stranger, SIZED(cmd, size), buf);
	}
	(void)take(S, data, sizeof(data));
	fixture_again();
	cr_assert_eq(ioc(VEXFS_IOC_VERSION, memset(buf, 0, sizeof(buf))), 0);
}

/* Whole random bytes as structs of every call. */
Test(control_dispatch, random_bytes)
{
	static uint64_t buf[VEXFS_IOC_MAX / 8 + 1];
	uint64_t x = seed(), before = lsn();

	for (unsigned i = 0; i < 5000; i++) {
		unsigned long cmd = all[i % ARRAY_SIZE(all)];

		for (size_t j = 0; j < ARRAY_SIZE(buf); j++)
			buf[j] = rnd(&x);
		buf[0] |= 1u << 31;
		cr_assert_eq(ioc(SIZED(cmd, 4 + rnd(&x) % (VEXFS_IOC_MAX - 4)), buf),
			     -EINVAL);
	}
	cr_expect_eq(lsn(), before);
}
