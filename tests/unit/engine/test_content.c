/* SPDX-License-Identifier: Apache-2.0 */
/* *.vec files, open stamps, moving stamps. */
#include <time.h>
#include "attach_fixture.h"

TestSuite(content, .timeout = 120, .init = af_up, .fini = af_down);

static const float v3[3] = { 1, 2, 3 };

static bool has(const char *name, const char *what)
{
	AUTO_FREE char *s = af_info(name);

	return strstr(s, what);
}

static bool stale(const char *name)
{
	return has(name, "\"stale\": true, \"vec_error\"");
}

static void lists(const char *name, const char *want)
{
	AUTO_FREE char *s = af_list(name);

	cr_assert_str_eq(s, want);
}

/* Content by plain write, then what fs does at flush. */
static vex_err flush(const char *name, const char *content)
{
	af_write(name, content);
	return af_written(name);
}

Test(content, which_names)
{
	cr_assert(name_is_vec("a.vec"));
	cr_assert(name_is_vec("a.b.vec"));
	cr_assert_not(name_is_vec(".vec"));
	cr_assert_not(name_is_vec("a.vecs"));
	cr_assert_not(name_is_vec("a.VEC"));
	cr_assert_not(name_is_vec("vec"));
	cr_assert_not(name_is_vec(""));
}

Test(content, becomes_the_attachment)
{
	cr_assert_eq(flush("v.vec", "1.0,2.0,3.0,4.0\n"), 0);
	lists("v.vec", "user.vexfs.vec4 ");
	af_is_text("v.vec", "vec4", "1.0,2.0,3.0,4.0\n");
	cr_assert(has("v.vec", "\"form\": \"content\""));
	cr_assert_not(stale("v.vec"));
	cr_assert_eq(flush("v.vec", "4,3,2,1\n1,1,1,1\n"), 0);
	af_is_text("v.vec", "vec4", "4,3,2,1\n1,1,1,1\n");
	cr_assert_not(stale("v.vec"));
	af_again();
	af_is_text("v.vec", "vec4", "4,3,2,1\n1,1,1,1\n");
	cr_assert_not(stale("v.vec"));
}

Test(content, other_dimension_other_space)
{
	cr_assert_eq(flush("v.vec", "1 2 3 4"), 0);
	cr_assert_eq(flush("v.vec", "1 2 3"), 0);
	lists("v.vec", "user.vexfs.vec3 ");
	cr_assert_eq(af_attachments("vec4"), 0);
}

Test(content, what_was_set_by_hand_stays)
{
	cr_assert_eq(flush("v.vec", "1 2 3"), 0);
	cr_assert_eq(af_set("v.vec", "w", v3, 12, 0), 0);
	cr_assert_eq(af_set("v.vec", "vec3.k", v3, 12, 0), 0);
	cr_assert_eq(flush("v.vec", ""), 0);
	lists("v.vec", "user.vexfs.vec3.k user.vexfs.w ");
	cr_assert_eq(flush("v.vec", "bad"), -EINVAL);
	lists("v.vec", "user.vexfs.vec3.k user.vexfs.w ");
}

Test(content, empty_or_blank_detaches)
{
	cr_assert_eq(flush("v.vec", "1 2 3"), 0);
	cr_assert_eq(flush("v.vec", ""), 0);
	lists("v.vec", "");
	cr_assert_eq(flush("v.vec", "1 2 3"), 0);
	lists("v.vec", "user.vexfs.vec3 ");
	cr_assert_eq(flush("v.vec", " \n\t\n"), 0);
	lists("v.vec", "");
	cr_assert(has("v.vec", "\"vec_error\": null"));
	cr_assert_eq(flush("new.vec", ""), 0);
	lists("new.vec", "");
}

Test(content, what_does_not_parse_is_told_and_detached)
{
	cr_assert_eq(flush("v.vec", "1 2 3"), 0);
	cr_assert_eq(flush("v.vec", "1 2 x"), -EINVAL);
	lists("v.vec", "");
	cr_assert(has("v.vec", "\"vec_error\": {\"errno\": 22, \"name\": \"EINVAL\""));
	cr_assert_eq(flush("v.vec", "1 2 4"), 0);
	cr_assert(has("v.vec", "\"vec_error\": null"));
	cr_assert_eq(flush("v.vec", "\1\2\3\4"), -EINVAL);
	cr_assert_eq(flush("v.vec", "0 0 0"), -EINVAL);
	cr_assert_eq(flush("v.vec", "1 2 nan"), -EINVAL);
	cr_assert_eq(flush("other.vec", "1 2\n3"), -EINVAL);
	cr_assert(has("other.vec", "EINVAL"));
	lists("other.vec", "");
}

Test(content, too_long)
{
	AUTO_FREE char *s = malloc(VEX_VALUE_MAX + 2);

	memset(s, ' ', VEX_VALUE_MAX + 2);
	memcpy(s, "1 2 3", 5);
	s[VEX_VALUE_MAX] = '\0';
	cr_assert_eq(flush("v.vec", s), 0);
	lists("v.vec", "user.vexfs.vec3 ");
	s[VEX_VALUE_MAX] = ' ';
	s[VEX_VALUE_MAX + 1] = '\0';
	cr_assert_eq(flush("v.vec", s), -E2BIG);
	lists("v.vec", "");
	cr_assert(has("v.vec", "E2BIG"));
}

static void use_space(void)
{
	af_down();
	af_opts.vec_space = "mine";
	af_opts.strict = true;
	af_up();
}

Test(content, own_space_and_strict, .init = use_space)
{
	struct vex_space_spec spec = { .name = "mine", .dim = 3 };

	cr_assert_eq(flush("v.vec", "1 2 3"), -ENODEV);
	cr_assert(has("v.vec", "ENODEV"));
	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &spec), 0);
	cr_assert_eq(flush("v.vec", "1 2 3"), 0);
	lists("v.vec", "user.vexfs.mine ");
	cr_assert_eq(flush("v.vec", "1 2 3 4"), -EINVAL);
	lists("v.vec", "");
}

Test(content, absorb_leaves_folders_alone)
{
	AUTO_OBJ struct af_obj x;

	mkdirat(af_root, "d.vec", 0755);
	af_open("d.vec", &x);
	cr_assert_eq(content_absorb(eng, &x.o), 0);
	lists("d.vec", "");
}

Test(content, other_names_are_not_read)
{
	cr_assert_eq(flush("a.txt", "1 2 3"), 0);
	lists("a.txt", "");
}

/* ---- stamps ------------------------------------------------------------------ */

Test(content, stamps_of_empty_files_wait_for_the_flush)
{
	af_write("a", "");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_not(stale("a"));
	cr_assert_eq(flush("a", ""), 0); /* flushed, still empty */
	cr_assert_eq(flush("a", "content"), 0);
	cr_assert_not(stale("a"));
	af_write("a", "other content");
	cr_assert(stale("a"));
	cr_assert_eq(af_written("a"), 0); /* only the first one counts */
	cr_assert(stale("a"));
}

Test(content, stamps_of_vec_files_set_by_hand_wait_too)
{
	af_write("v.vec", "");
	cr_assert_eq(af_set("v.vec", "w", v3, 12, 0), 0);
	cr_assert_eq(flush("v.vec", "1 2 3"), 0);
	cr_assert_not(stale("v.vec"));
	af_write("v.vec", "1 2 3 4");
	cr_assert(stale("v.vec"));
}

static void set_times(const char *name, time_t t)
{
	AUTO_OBJ struct af_obj x;
	struct timespec ts[2] = { { .tv_sec = t }, { .tv_sec = t, .tv_nsec = 5 } };
	struct stat before, after;

	af_open(name, &x);
	cr_assert_eq(fstat(x.o.fd, &before), 0);
	cr_assert_eq(utimensat(x.o.dirfd, x.last, ts, 0), 0);
	cr_assert_eq(fstat(x.o.fd, &after), 0);
	vex_engine_times_set(eng, &x.o, &before, &after);
}

Test(content, setting_times_moves_fresh_stamps_only)
{
	af_write("a", "content");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	set_times("a", 1000);
	cr_assert_not(stale("a"));
	set_times("a", 2000);
	cr_assert_not(stale("a"));
	af_again();
	cr_assert_not(stale("a"));
	af_write("a", "changed");
	cr_assert(stale("a"));
	set_times("a", 3000);
	cr_assert(stale("a"));
}

Test(content, folders_are_never_stale)
{
	mkdirat(af_root, "d", 0755);
	cr_assert_eq(af_set("d", "w", v3, 12, 0), 0);
	af_write("d/x", "1");
	cr_assert_not(stale("d"));
	set_times("d", 1000);
	cr_assert_not(stale("d"));
}

Test(content, fsync_and_sync)
{
	AUTO_OBJ struct af_obj x;
	struct vex_store_status st;

	af_write("a", "content");
	af_open("a", &x);
	cr_assert_eq(vex_engine_fsync(eng, &x.o), 0);
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_eq(vex_engine_fsync(eng, &x.o), 0);
	vex_store_status(eng->store, &st);
	cr_assert_geq(st.durable_lsn, st.lsn);
	cr_assert_eq(vex_engine_sync(eng), 0);
}

/* ---- the errors kept --------------------------------------------------------- */

Test(content, vecerrs_are_bounded_and_keep_the_latest)
{
	struct vecerrs *v;
	struct vex_fh fh = { .len = 8 }, other = { .len = 8, .bytes = { 1 } };

	cr_assert_eq(vecerrs_new(&v), 0);
	for (uint64_t ino = 1; ino <= 100000; ino++) {
		vecerrs_set(v, &fh, ino, -EINVAL);
		cr_assert_eq(vecerrs_get(v, &fh, ino), -EINVAL);
	}
	cr_assert_eq(vecerrs_get(v, &other, 100000), 0);
	cr_assert_eq(vecerrs_get(v, &fh, 1), 0);
	vecerrs_set(v, &fh, 100000, -E2BIG);
	cr_assert_eq(vecerrs_get(v, &fh, 100000), -E2BIG);
	vecerrs_set(v, &fh, 100000, 0);
	cr_assert_eq(vecerrs_get(v, &fh, 100000), 0);
	vecerrs_free(v);
	vecerrs_free(NULL);
}
