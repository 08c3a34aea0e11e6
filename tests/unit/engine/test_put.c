/* SPDX-License-Identifier: Apache-2.0 */
/* setxattr: every rule of SPEC section 2 that a value or a name can break. */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include "attach_fixture.h"

TestSuite(put, .timeout = 120, .init = af_up, .fini = af_down);

static const float v3[3] = { 1, -2.5f, 3e-5f };

Test(put, binary_comes_back_byte_for_byte)
{
	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, sizeof(v3), 0), 0);
	af_is("a", "w", v3, sizeof(v3));
	af_again();
	af_is("a", "w", v3, sizeof(v3));
}

Test(put, text_comes_back_byte_for_byte)
{
	const char *text = " [ 1, 2.50 ,3]\r\n\n";

	af_write("a", "x");
	cr_assert_eq(af_set_text("a", "w", text), 0);
	af_is_text("a", "w", text);
	af_again();
	af_is_text("a", "w", text);
}

Test(put, forms_replace_each_other)
{
	af_write("a", "x");
	cr_assert_eq(af_set_text("a", "w", "1,2,3"), 0);
	cr_assert_eq(af_set("a", "w", v3, sizeof(v3), 0), 0);
	af_is("a", "w", v3, sizeof(v3));
	cr_assert_eq(af_set_text("a", "w", "4 5 6\n7 8 9"), 0);
	af_is_text("a", "w", "4 5 6\n7 8 9");
	cr_assert_eq(af_attachments("w"), 1);
}

Test(put, first_attachment_makes_the_space)
{
	AUTO_SPACE struct vex_space *sp = NULL;

	af_write("a", "x");
	cr_assert_eq(af_set_text("a", "w", "1,2,3\n4,5,6"), 0);
	cr_assert_eq(vex_space_find(eng->store, "w", &sp), 0);
	cr_assert_eq(vex_space_dim(sp), 3);
	cr_assert_eq(vex_space_metric(sp), VEX_COSINE);
	/* binary: one row, however long */
	cr_assert_eq(af_set("a", "b", v3, sizeof(v3), 0), 0);
	cr_assert_eq(af_set("a", "b.2", v3, 8, 0), -EINVAL);
}

Test(put, binary_matrix_in_a_known_space)
{
	float m[6] = { 1, 2, 3, 4, 5, 6 };

	af_write("a", "x");
	cr_assert_eq(af_set_text("a", "w", "1,2,3"), 0);
	cr_assert_eq(af_set("a", "w.m", m, sizeof(m), 0), 0);
	af_is("a", "w.m", m, sizeof(m));
	cr_assert_eq(af_set("a", "w.m", m, 16, 0), -EINVAL);
	af_is("a", "w.m", m, sizeof(m));
}

Test(put, create_and_replace)
{
	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, XATTR_REPLACE), -ENODATA);
	cr_assert_not(af_space("w"));
	cr_assert_eq(af_set("a", "w", v3, 12, XATTR_CREATE), 0);
	cr_assert_eq(af_set("a", "w", v3, 12, XATTR_CREATE), -EEXIST);
	cr_assert_eq(af_set("a", "w", "1,2,3", 5, XATTR_CREATE), -EEXIST);
	cr_assert_eq(af_set("a", "w", v3, 12, XATTR_REPLACE), 0);
	cr_assert_eq(af_set("a", "w.k", v3, 12, XATTR_REPLACE), -ENODATA);
	cr_assert_eq(af_set("a", "w.k", v3, 12, 64), -EINVAL);
	af_is("a", "w", v3, 12);
	cr_assert_eq(af_attachments("w"), 1);
}

Test(put, bad_values_change_nothing)
{
	static const struct {
		const char *value;
		size_t size;
	} bad[] = {
		{ "", 0 },
		{ "1,2", 3 },
		{ "1,2,x", 5 },
		{ "1,2,3,4", 7 },
		{ "1,,2", 4 },
		{ "1,2,nan", 7 },
		{ "1,2,1e99", 8 },
		{ "0,0,0", 5 },
		{ "\0\0\0\0\0\0\0\0", 8 },
		{ "1,2,3\n\n4,5,6", 12 },
		{ "\0\0\0\0\0\0\0\0\0\0\0\0", 12 },
		{ " \n", 2 },
		{ "[]", 2 },
		{ "1,2,3\n0,0,0", 11 },
	};
	float nan3[3] = { 1, NAN, 1 }, inf3[3] = { 1, INFINITY, 1 };

	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(af_set("a", "w", bad[i].value, bad[i].size, 0), -EINVAL,
			     "%zu: %s", i, bad[i].value);
	cr_assert_eq(af_set("a", "w", nan3, 12, 0), -EINVAL);
	cr_assert_eq(af_set("a", "w", inf3, 12, 0), -EINVAL);
	af_is("a", "w", v3, 12);
}

Test(put, a_failed_first_put_leaves_no_space)
{
	AUTO_FREE char *list = NULL;
	float zero[3] = { 0 };

	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", zero, 12, 0), -EINVAL);
	cr_assert_eq(af_set_text("a", "w", "1,2,oops"), -EINVAL);
	cr_assert_eq(af_set("a", "w", "\1\2\3", 3, 0), -EINVAL);
	cr_assert_not(af_space("w"));
	list = af_list("a");
	cr_assert_str_eq(list, "");
}

static void use_l2(void)
{
	af_down();
	af_opts.metric = VEX_L2;
	af_up();
}

Test(put, zero_rows_are_fine_but_under_cosine, .init = use_l2)
{
	float zero[3] = { 0 };

	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", zero, 12, 0), 0);
	cr_assert_eq(af_set_text("a", "w.2", "0 0 0"), 0);
	af_is("a", "w", zero, 12);
}

static void use_strict(void)
{
	af_down();
	af_opts.strict = true;
	af_up();
}

Test(put, strict_wants_the_space_first, .init = use_strict)
{
	struct vex_space_spec spec = { .name = "w", .dim = 3 };

	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), -ENODEV);
	cr_assert_eq(af_set_text("a", "w", "1 2 3"), -ENODEV);
	cr_assert_eq(vex_engine_space_create(eng, &af_uid0, &spec), 0);
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_eq(af_set_text("a", "w", "1 2 3"), 0);
}

Test(put, names)
{
	char longer[200] = "w.";
	static const char *const bad[] = { "",      "W",   "w.", ".k",     "-w",
					   "w.a/b", "w w", "_x", "_infos", "_" };
	static const char *const ours[] = { "_info", "_near", "_near.w", "_id" };

	af_write("a", "x");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(af_set("a", bad[i], v3, 12, 0), -EINVAL, "%s", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		cr_assert_eq(af_set("a", ours[i], v3, 12, 0), -EPERM, "%s", ours[i]);
	memset(longer + 2, 'k', 129);
	cr_assert_eq(af_set("a", longer, v3, 12, 0), -EINVAL);
	longer[130] = '\0';
	cr_assert_eq(af_set("a", longer, v3, 12, 0), 0);
	af_is("a", longer, v3, 12);
	cr_assert_eq(af_set("a", "w.a.b \xff\n.", v3, 12, 0), 0);
	af_is("a", "w.a.b \xff\n.", v3, 12);
}

Test(put, size_limits)
{
	AUTO_FREE float *v = malloc(VEX_VALUE_MAX + 4);

	for (size_t i = 0; i < VEX_VALUE_MAX / 4 + 1; i++)
		v[i] = 1;
	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v, VEX_VALUE_MAX, 0), 0);
	af_is("a", "w", v, VEX_VALUE_MAX);
	cr_assert_eq(af_set("a", "w", v, VEX_VALUE_MAX + 1, 0), -E2BIG);
	cr_assert_eq(af_set("a", "one", v, 4, 0), 0);
	cr_assert_eq(af_set("a", "one", v, VEX_VALUE_MAX, 0), 0);
	af_is("a", "one", v, VEX_VALUE_MAX);
	memset(v, ' ', VEX_VALUE_MAX + 1);
	memcpy(v, "[7", 2);
	((char *)v)[VEX_VALUE_MAX - 1] = ']';
	cr_assert_eq(af_set("a", "one", v, VEX_VALUE_MAX, 0), 0);
	af_is("a", "one", v, VEX_VALUE_MAX);
	cr_assert_eq(af_set("a", "one", v, VEX_VALUE_MAX + 1, 0), -E2BIG);
}

Test(put, directories_and_the_root_take_attachments)
{
	mkdirat(af_root, "d", 0755);
	cr_assert_eq(af_set("d", "w", v3, 12, 0), 0);
	af_is("d", "w", v3, 12);
	cr_assert_eq(af_set("", "w", v3, 12, 0), 0);
	af_is("", "w", v3, 12);
	af_again();
	af_is("d", "w", v3, 12);
	af_is("", "w", v3, 12);
}

Test(put, other_kinds_of_files_do_not)
{
	cr_assert_eq(symlinkat("a", af_root, "l"), 0);
	cr_assert_eq(mkfifoat(af_root, "f", 0600), 0);
	cr_assert_eq(af_set("l", "w", v3, 12, 0), -EPERM);
	cr_assert_eq(af_set("f", "w", v3, 12, 0), -EPERM);
	cr_assert_not(af_space("w"));
}

/* With the caller's word filled in, binary values go the short way. */
Test(put, short_way)
{
	AUTO_OBJ struct af_obj x;

	af_write("a", "x");
	af_open("a", &x);
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "w", v3, 12, 0), 0);
	cr_assert_neq(x.node, 0);
	for (int i = 0; i < 100; i++) {
		float v[3] = { (float)i + 1, 1, 1 };
		char attr[16];

		snprintf(attr, sizeof(attr), "w.%d", i % 10);
		cr_assert_eq(vex_engine_xattr_set(eng, &x.o, attr, v, 12, 0), 0);
		af_is("a", attr, v, 12);
	}
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "w.1", v3, 12, XATTR_CREATE),
		     -EEXIST);
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "w.x", v3, 12, XATTR_REPLACE),
		     -ENODATA);
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "w.x", v3, 8, 0), -EINVAL);
	cr_assert_eq(vex_engine_xattr_set(eng, &x.o, "new", v3, 8, 0), 0);
	cr_assert_eq(af_attachments("w"), 11);
}

Test(put, damage_of_one_is_not_the_others)
{
	af_write("a", "x");
	af_write("b", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_eq(af_set("b", "w", v3, 12, 0), 0);
	cr_assert_eq(af_remove("a", "w"), 0);
	af_is("b", "w", v3, 12);
}

/* The disk refuses the rows after the space was made: the space goes again. Room for
 * the catalog's log there must be, so the rows are what hits the limit. */
Test(put, a_full_disk_leaves_no_space)
{
	AUTO_FREE float *v = malloc(VEX_VALUE_MAX);
	struct rlimit now, small;
	char wal[96];
	struct stat st;

	for (size_t i = 0; i < VEX_VALUE_MAX / sizeof(*v); i++)
		v[i] = (float)i + 0.5f;
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &now), 0);
	signal(SIGXFSZ, SIG_IGN);
	af_write("a", "x");
	snprintf(wal, sizeof(wal), "%s/.vexfs/catalog.db-wal", af_dir);
	cr_assert_eq(stat(wal, &st), 0);
	cr_log_info("log of %lld bytes", (long long)st.st_size);
	small = (struct rlimit){ .rlim_cur = VEX_VALUE_MAX, .rlim_max = now.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	cr_assert_neq(af_set("a", "w", v, VEX_VALUE_MAX, 0), 0);
	cr_assert_not(af_space("w"));
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &now), 0);
	cr_assert_eq(af_set("a", "w", v, VEX_VALUE_MAX, 0), 0);
	af_is("a", "w", v, VEX_VALUE_MAX);
	cr_assert_eq(af_attachments("w"), 1);
}

static size_t list_size(const char *name)
{
	AUTO_OBJ struct af_obj x;
	AUTO_BUF struct vex_buf b = { 0 };

	af_open(name, &x);
	cr_assert_eq(vex_engine_xattr_list(eng, &x.o, &b), 0);
	return b.len;
}

/* Fills the name list to the last byte, then one more; then makes room. */
static void fill_list(bool by_hand)
{
	AUTO_OBJ struct af_obj x;
	char attr[160], value[] = "user.other";
	unsigned i;
	vex_err err;

	af_write("a", "x");
	af_open("a", &x);
	cr_assert_eq(setxattr(vex_procfd(x.o.fd).path, value, "1", 1, 0), 0);
	for (i = 0;; i++) {
		snprintf(attr, sizeof(attr), "w.%0120u", i);
		err = by_hand ? af_set("a", attr, v3, 12, 0)
			      : vex_engine_xattr_set(eng, &x.o, attr, v3, 12, 0);
		if (err)
			break;
	}
	cr_assert_eq(err, -ENOSPC);
	cr_assert_leq(list_size("a") + sizeof(value), 65536);
	cr_assert_gt(list_size("a") + sizeof(value) + 134, 65536);
}

Test(put, name_list_limit)
{
	char attr[160];

	fill_list(true);
	snprintf(attr, sizeof(attr), "w.%0120u", 7);
	cr_assert_eq(af_set("a", attr, v3, 12, 0), 0);
	cr_assert_eq(af_set("a", attr, v3, 12, XATTR_REPLACE), 0);
	cr_assert_eq(af_remove("a", attr), 0);
	cr_assert_eq(af_set("a", "w.000", v3, 12, 0), 0);
	af_again();
	cr_assert_eq(af_set("a", attr, v3, 12, 0), 0); /* what the removal left */
	cr_assert_eq(af_set("a", "w.other", v3, 12, 0), 0);
	snprintf(attr, sizeof(attr), "w.%0120u", 9999);
	cr_assert_eq(af_set("a", attr, v3, 12, 0), -ENOSPC);
	af_write("b", "x");
	cr_assert_eq(af_set("b", attr, v3, 12, 0), 0);
}

Test(put, name_list_limit_on_the_short_way)
{
	fill_list(false);
}

/* ---- many at once ------------------------------------------------------------ */

#define THREADS 6

struct racer {
	pthread_t t;
	unsigned id, won;
	vex_err err;
};

/* First attachments of different dimensions in one unknown space: one dimension wins,
 * all others are refused, whoever was first. */
static void *first_racer(void *arg)
{
	struct racer *r = arg;
	float v[THREADS + 1];
	char name[16];

	for (unsigned i = 0; i <= THREADS; i++)
		v[i] = 1;
	snprintf(name, sizeof(name), "f%u", r->id);
	r->err = af_set(name, "w", v, 4 * (r->id + 1), 0);
	return NULL;
}

Test(put, racing_first_attachments)
{
	for (int round = 0; round < 10; round++) {
		struct racer r[THREADS];
		struct vex_space_spec s = { .name = "w" };
		unsigned won = 0;

		for (unsigned i = 0; i < THREADS; i++) {
			char name[16];

			snprintf(name, sizeof(name), "f%u", i);
			af_write(name, "x");
			r[i] = (struct racer){ .id = i };
			cr_assert_eq(pthread_create(&r[i].t, NULL, first_racer, &r[i]),
				     0);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			pthread_join(r[i].t, NULL);
			/* one row of dimension 1 wins: the others are matrices */
			cr_assert(!r[i].err || r[i].err == -EINVAL, "%d", r[i].err);
			won += !r[i].err;
		}
		cr_assert_geq(won, 1);
		cr_assert_eq(af_attachments("w"), won);
		cr_assert_eq(vex_engine_space_drop(eng, &af_uid0, s.name), 0);
	}
}

/* The same file from all sides: in the end it holds one of the values, whole. */
static void *same_racer(void *arg)
{
	struct racer *r = arg;

	for (int i = 0; i < 100 && !r->err; i++) {
		float v[64];

		for (int j = 0; j < 64; j++)
			v[j] = (float)(r->id + 1);
		r->err = af_set("a", "w", v, sizeof(v), 0);
		if (!r->err && i % 10 == 9) {
			vex_err err = af_remove("a", "w");

			r->err = err == -ENODATA ? 0 : err;
		}
	}
	return NULL;
}

Test(put, one_file_from_all_sides)
{
	struct racer r[THREADS];

	af_write("a", "x");
	for (unsigned i = 0; i < THREADS; i++) {
		r[i] = (struct racer){ .id = i };
		cr_assert_eq(pthread_create(&r[i].t, NULL, same_racer, &r[i]), 0);
	}
	for (int i = 0; i < 200; i++) {
		AUTO_BUF struct vex_buf b = { 0 };
		vex_err err = af_get("a", "w", &b);
		float *v = (float *)b.data;

		cr_assert(!err || err == -ENODATA, "%d", err);
		for (int j = 0; !err && j < 64; j++)
			cr_assert_eq(v[j], v[0]);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(r[i].t, NULL);
		cr_assert_eq(r[i].err, 0, "%d", r[i].err);
	}
	cr_assert_leq(af_attachments("w"), 1);
}

/* No mark, no other ctime: nothing was written to the file. */
Test(put, failed_calls_leave_no_mark)
{
	const float zero[3] = { 0 }, inf[3] = { 1, INFINITY, 1 };
	struct stat was, is;

	af_write("other", "");
	cr_assert_eq(af_set("other", "w", v3, 12, 0), 0);
	af_write("a", "");
	cr_assert(fstatat(af_root, "a", &was, 0) == 0);
	cr_expect_eq(af_set("a", "w", v3, 12, XATTR_REPLACE), -ENODATA);
	cr_expect_eq(af_set("a", "none", v3, 12, XATTR_REPLACE), -ENODATA);
	cr_expect_eq(af_set("a", "w", v3, 8, 0), -EINVAL);
	cr_expect_eq(af_set("a", "w", zero, 12, 0), -EINVAL);
	cr_expect_eq(af_set("a", "none", zero, 12, 0), -EINVAL);
	cr_expect_eq(af_set("a", "w", inf, 12, 0), -EINVAL);
	cr_assert(fstatat(af_root, "a", &is, 0) == 0);
	cr_expect(was.st_ctim.tv_sec == is.st_ctim.tv_sec &&
		  was.st_ctim.tv_nsec == is.st_ctim.tv_nsec);
	cr_expect(!af_space("none"));
	cr_expect_eq(af_set("a", "w", v3, 12, 0), 0);
}

/* Known before for what lies below it, then attached to: it has its own mark as well, or
 * a copy of the store would not know it again. */
Test(put, a_directory_that_was_known_gets_a_mark)
{
	AUTO_OBJ struct af_obj d = { .node = 0 };
	AUTO_BUF struct vex_buf out = { 0 };
	char mark[64];
	int fd;

	mkdirat(af_root, "d", 0755);
	af_write("d/f", "x");
	cr_assert_eq(af_set("d/f", "w", v3, sizeof(v3), 0), 0);
	fd = openat(af_root, "d", O_RDONLY);
	cr_expect_lt(fgetxattr(fd, VEX_XATTR_MARK, mark, sizeof(mark)), 0);
	af_open("d", &d);
	/* A look makes it known to the object. */
	cr_expect_eq(vex_engine_xattr_list(eng, &d.o, &out), 0);
	cr_assert_eq(vex_engine_xattr_set(eng, &d.o, "w", v3, sizeof(v3), 0), 0);
	cr_expect_eq(fgetxattr(fd, VEX_XATTR_MARK, mark, sizeof(mark)), 32);
	close(fd);
}
