/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: as text and back, bounds, in force, kept in vexfs.conf. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>
#include "attach_fixture.h"
#include "engine_i.h"

TestSuite(knobs, .timeout = 60);

static vex_err parsed(const char *name, const char *text, uint64_t *v)
{
	int k = vex_knob_find(name, strlen(name));

	cr_assert_geq(k, 0, "%s", name);
	return vex_knob_parse((enum vex_knob)k, text, v);
}

static const char *printed(const char *name, uint64_t v)
{
	static char out[64];

	vex_knob_print((enum vex_knob)vex_knob_find(name, strlen(name)), v, out,
		       sizeof(out));
	return out;
}

Test(knobs, each_default_is_within_its_bounds_and_reads_back)
{
	struct vex_settings s;

	vex_settings_init(&s);
	for (enum vex_knob k = 0; k < VEX_KNOB_COUNT; k++) {
		const struct vex_knob_info *i = vex_knob_info(k);
		uint64_t v = ~s.value[k];

		cr_assert(*i->meaning &&
			  vex_knob_find(i->name, strlen(i->name)) == (int)k);
		if (k == VEX_KNOB_THREADS) /* 0, which nobody can say: one a core */
			continue;
		cr_assert_geq(i->fallback, i->min, "%s", i->name);
		cr_assert_leq(i->fallback, i->max, "%s", i->name);
		cr_assert_eq(parsed(i->name, printed(i->name, s.value[k]), &v), 0);
		cr_assert_eq(v, s.value[k], "%s", i->name);
	}
}

Test(knobs, documented_defaults)
{
	cr_assert_eq(vex_knob_info(VEX_KNOB_INDEX_SYNC)->fallback, 0);
	cr_assert_eq(vex_knob_info(VEX_KNOB_BATCH)->fallback, 50);
	cr_assert_eq(vex_knob_info(VEX_KNOB_SYNC_INTERVAL)->fallback, 2000);
	cr_assert_eq(vex_knob_info(VEX_KNOB_AUTO_REBUILD)->fallback, 0);
	cr_assert_eq(vex_knob_info(VEX_KNOB_SLOW_SEARCH)->fallback, 10);
	cr_assert_eq(vex_knob_info(VEX_KNOB_SLOW_STORAGE)->fallback, 100);
	cr_assert_eq(vex_knob_info(VEX_KNOB_SLOW_SYNC)->fallback, 200);
	cr_assert_eq(vex_knob_info(VEX_KNOB_STACK_WARN)->fallback, 4096);
	cr_assert_eq(vex_knob_info(VEX_KNOB_STACK_LIMIT)->fallback, 6144);
}

Test(knobs, values_as_people_write_them)
{
	static const struct {
		const char *name, *text;
		uint64_t value;
	} good[] = {
		{ "mem", "0", 0 },
		{ "mem", "1m", 1 << 20 },
		{ "mem", "3G", 3ull << 30 },
		{ "mem", "1844674407370955159", 1844674407370955159 },
		{ "sync", "always", 1 },
		{ "strict", "on", 1 },
		{ "strict", "false", 0 },
		{ "batch_size", "1000000", 1000000 },
		{ "vec_space", "", 0 },
	};
	static const struct {
		const char *name, *text;
	} bad[] = {
		{ "mem", "" },
		{ "mem", "1X" },
		{ "mem", "18446744073709551616" },
		{ "mem", "-1" },
		{ "mem", "1 M" },
		{ "mem", "99999999999T" },
		{ "sync", "" },
		{ "sync", "alway" },
		{ "sync", "lazy|always" },
		{ "strict", "2" },
		{ "batch_size", "0" },
		{ "batch_size", "1000001" },
		{ "batch_size", "1.5" },
		{ "vec_space", "_x" },
		{ "vec_space", "A" },
	};
	uint64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		cr_assert_eq(parsed(good[i].name, good[i].text, &v), 0, "%s=%s",
			     good[i].name, good[i].text);
		cr_assert_eq(v, good[i].value, "%s=%s", good[i].name, good[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(parsed(bad[i].name, bad[i].text, &v), -EINVAL, "%s=%s",
			     bad[i].name, bad[i].text);
	cr_assert_str_eq(printed("mem", 3ull << 30), "3G");
	cr_assert_str_eq(printed("mem", (1 << 20) + 1), "1048577");
}

Test(knobs, names_of_spaces_are_numbers_that_stay)
{
	uint64_t a, b, again, v;
	char name[16];

	cr_assert_eq(parsed("vec_space", "one", &a), 0);
	cr_assert_eq(parsed("vec_space", "two", &b), 0);
	cr_assert_eq(parsed("vec_space", "one", &again), 0);
	cr_assert_eq(a, again);
	cr_assert_neq(a, b);
	cr_assert_str_eq(vex_knob_space(a), "one");
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		(void)!parsed("vec_space", name, &v);
	}
	cr_assert_eq(parsed("vec_space", "late", &v), -EINVAL, "there is a cap");
	cr_assert_str_eq(vex_knob_space(a), "one");
	cr_assert_str_eq(vex_knob_space(UINT64_MAX), "");
}

/* ---- in force, and kept -------------------------------------------------------------
 */

static void conf_write(const char *text)
{
	int fd = openat(vex_store_dirfd(vex_engine_store(eng)), VEX_CONF_NAME,
			O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static const char *conf_read(void)
{
	static char text[4096];
	int fd = openat(vex_store_dirfd(vex_engine_store(eng)), VEX_CONF_NAME, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n < 0 ? "none" : text;
}

Test(knobs, in_force_at_once_kept_by_choice, .init = af_up, .fini = af_down)
{
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_BATCH, 77, false), 0);
	cr_assert_eq(vex_engine_knob(eng, VEX_KNOB_BATCH), 77);
	cr_assert_eq(vex_engine_knob_from(eng, VEX_KNOB_BATCH), VEX_FROM_RUNTIME);
	cr_assert_str_eq(conf_read(), "none", "nothing is kept unasked");
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_SLOW_SEARCH, 5, true), 0);
	cr_assert_eq(vex_limit_get(VEX_LIMIT_SEARCH), 5000000, "handed on");
	cr_assert_str_eq(conf_read(), "threshold_search_ms=5\n");
	cr_assert_eq(vex_engine_knob_from(eng, VEX_KNOB_SLOW_SEARCH), VEX_FROM_FILE);
}

Test(knobs, what_cannot_be_changes_nothing, .init = af_up, .fini = af_down)
{
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_BATCH, 0, true), -EINVAL);
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_THREADS, 2, true), -EPERM);
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_PASSTHROUGH, 1, true), -EPERM);
	cr_assert_eq(vex_engine_knob(eng, VEX_KNOB_BATCH), 50);
	cr_assert_str_eq(conf_read(), "none");
}

Test(knobs, a_kept_setting_replaces_its_own_lines_alone, .init = af_up, .fini = af_down)
{
	conf_write("# mine\n  batch_size = 3 # three\nbatch_size_not=1\nstrict\n\n"
		   "batch_size=4\nmetric=l2");
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_BATCH, 9, true), 0);
	cr_assert_str_eq(conf_read(),
			 "# mine\nbatch_size=9\nbatch_size_not=1\nstrict\n\nmetric=l2\n");
	cr_assert_eq(vex_engine_set_knob(eng, VEX_KNOB_STRICT, 0, true), 0);
	cr_assert_str_eq(
	    conf_read(),
	    "# mine\nbatch_size=9\nbatch_size_not=1\nstrict=off\n\nmetric=l2\n");
}
