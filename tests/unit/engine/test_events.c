/* SPDX-License-Identifier: Apache-2.0 */
/* Events: told in one order, once, with the numbers of the log; lost ones are named. */
#include <criterion/criterion.h>
#include "attach_fixture.h"
#include "engine_i.h"

TestSuite(events, .timeout = 60, .init = af_up, .fini = af_down);

static const struct vex_cred root = { .groups_known = true };
static const struct vex_cred stranger = { .uid = 4242,
					  .gid = 4242,
					  .groups_known = true };

/* All after `after`, NUL-ended. */
static char *told(const struct vex_cred *who, uint64_t after)
{
	struct vex_buf b = { 0 };
	uint64_t was;

	do {
		was = after;
		cr_assert_eq(vex_engine_events(eng, who, &after, &b), 0);
	} while (after != was);
	vex_buf_add(&b, "", 1);
	cr_assert_eq(b.err, 0);
	return b.data;
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void put(const char *name, const char *value)
{
	af_write(name, name);
	cr_assert_eq(af_set_text(name, "s", value), 0);
}

Test(events, one_order_with_rising_numbers)
{
	uint64_t last = 0;

	put("a", "1,2");
	put("b", "3,4");
	cr_assert_eq(af_remove("a", "s"), 0);
	AUTO_FREE char *all = told(&root, 0);
	for (const char *p = all; (p = strstr(p, "{\"seq\":")); p++) {
		uint64_t seq = strtoull(p + 7, NULL, 10);

		cr_assert_gt(seq, last);
		last = seq;
	}
	const char *a = strstr(all, "\"attach\",\"path\":\"a\"");
	const char *b = strstr(all, "\"attach\",\"path\":\"b\"");
	const char *gone = strstr(all, "\"detach\"");
	cr_assert(a && b && gone && a < b && b < gone, "%s", all);
	AUTO_FREE char *none = told(&root, last);
	cr_assert_str_eq(none, "");
}

Test(events, from_a_number_on_nothing_is_missed_or_told_twice)
{
	put("a", "1,2");
	uint64_t mid = vex_store_lsn(vex_engine_store(eng));
	for (unsigned i = 0; i < 600; i++) {
		char v[32];

		snprintf(v, sizeof(v), "1,%u", i + 3);
		cr_assert_eq(af_set_text("a", "s", v), 0);
	}
	AUTO_FREE char *rest = told(&root, mid);
	cr_assert_eq(count(rest, "\"event\":\"attach\""), 600,
		     "more than are told at once");
}

Test(events, settings_are_for_administrators)
{
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_BATCH, 60, false), 0);
	put("open", "1,2");
	cr_assert_eq(vex_engine_sync(eng), 0);
	AUTO_FREE char *all = told(&root, 0);
	cr_assert_eq(count(all, "\"event\":\"config\""), 1, "%s", all);
	AUTO_FREE char *some = told(&stranger, 0);
	cr_assert_eq(count(some, "\"event\":\"config\""), 0, "%s", some);
}

Test(events, what_may_not_be_read_is_not_told)
{
	put("mine", "1,2");
	put("theirs", "1,2");
	cr_assert_eq(vex_engine_sync(eng), 0);
	AUTO_FREE char *all = told(&root, 0);
	cr_assert(strstr(all, "\"mine\"") && strstr(all, "\"theirs\""));
	AUTO_FREE char *before = told(&stranger, 0);
	struct af_obj x;
	af_open("mine", &x);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", x.o.fd);
	cr_assert_eq(chmod(path, 0600), 0);
	af_close(&x);
	AUTO_FREE char *after = told(&stranger, 0);
	cr_assert(!strstr(after, "\"mine\""), "%s", after);
	cr_assert_eq(!strstr(before, "\"theirs\""), !strstr(after, "\"theirs\""));
}
