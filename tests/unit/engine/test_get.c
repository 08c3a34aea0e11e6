/* SPDX-License-Identifier: Apache-2.0 */
/* getxattr, listxattr, removexattr, _info; damage. */
#include "attach_fixture.h"

TestSuite(get, .timeout = 120, .init = af_up, .fini = af_down);

static const float v3[3] = { 1, -2.5f, 3e-5f };

static vex_err get(const char *name, const char *attr)
{
	AUTO_BUF struct vex_buf b = { 0 };
	vex_err err = af_get(name, attr, &b);

	cr_assert(!err || !b.len);
	return err;
}

/* What is not there: whatever the name, a reader hears ENODATA. */
static void nothing_there(const char *name)
{
	static const char *const attrs[] = { "w",  "w.k", "other", "W",       "",
					     "w.", "_id", "_x",    "_near.w", "w.a/b" };

	for (size_t i = 0; i < ARRAY_SIZE(attrs); i++)
		cr_assert_eq(get(name, attrs[i]), -ENODATA, "%s", attrs[i]);
	for (size_t i = 0; i < ARRAY_SIZE(attrs); i++)
		if (strncmp(attrs[i], "_near", 5))
			cr_assert_eq(af_remove(name, attrs[i]), -ENODATA, "%s", attrs[i]);
	cr_assert_eq(af_remove(name, "_info"), -EPERM);
	cr_assert_eq(af_remove(name, "_near.w"), -EPERM);
}

Test(get, missing_ones)
{
	af_write("a", "x");
	af_write("b", "x");
	nothing_there("a");
	cr_assert_eq(af_set("b", "w", v3, 12, 0), 0);
	nothing_there("a");
	cr_assert_eq(af_set("a", "z", v3, 12, 0), 0);
	nothing_there("a");
	af_is("b", "w", v3, 12);
}

Test(get, appends_to_what_is_there)
{
	AUTO_BUF struct vex_buf b = { 0 };

	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	vex_buf_str(&b, "head");
	cr_assert_eq(af_get("a", "w", &b), 0);
	cr_assert_eq(b.len, 16);
	cr_assert_eq(memcmp(b.data, "head", 4), 0);
	cr_assert_eq(af_get("a", "w.k", &b), -ENODATA);
	cr_assert_eq(b.len, 16);
}

Test(get, remove_takes_one)
{
	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_eq(af_set("a", "w.k", v3, 12, 0), 0);
	cr_assert_eq(af_set("a", "z", v3, 8, 0), 0);
	cr_assert_eq(af_remove("a", "w"), 0);
	cr_assert_eq(af_remove("a", "w"), -ENODATA);
	cr_assert_eq(get("a", "w"), -ENODATA);
	af_is("a", "w.k", v3, 12);
	af_is("a", "z", v3, 8);
	af_again();
	cr_assert_eq(get("a", "w"), -ENODATA);
	af_is("a", "w.k", v3, 12);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

Test(get, list_names_every_attachment_and_nothing_else)
{
	static const char *const want[] = { "user.vexfs.w", "user.vexfs.w.k.2",
					    "user.vexfs.z.\xff" };
	AUTO_FREE char *list = NULL, *none = NULL;
	char *names[4], *save = NULL;
	size_t n = 0;

	af_write("a", "x");
	af_write("b", "x");
	none = af_list("b");
	cr_assert_str_eq(none, "");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_eq(af_set("a", "w.k.2", v3, 12, 0), 0);
	cr_assert_eq(af_set("a", "z.\xff", v3, 8, 0), 0);
	cr_assert_eq(af_set("b", "w.only-b", v3, 12, 0), 0);
	list = af_list("a");
	for (char *p = strtok_r(list, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		cr_assert_lt(n, 3);
		names[n++] = p;
	}
	cr_assert_eq(n, 3);
	qsort(names, n, sizeof(*names), by_text);
	for (size_t i = 0; i < n; i++)
		cr_assert_str_eq(names[i], want[i]);
}

Test(get, dropped_spaces_are_gone)
{
	AUTO_FREE char *list = NULL;

	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	cr_assert_eq(af_set("a", "z", v3, 12, 0), 0);
	cr_assert_eq(vex_engine_space_drop(eng, &af_uid0, "w"), 0);
	cr_assert_eq(get("a", "w"), -ENODATA);
	cr_assert_eq(af_remove("a", "w"), -ENODATA);
	list = af_list("a");
	cr_assert_str_eq(list, "user.vexfs.z ");
	cr_assert_eq(af_set("a", "w", v3, 8, 0), 0);
	af_is("a", "w", v3, 8);
}

/* A flipped bit in the slot file: EIO for that one, the others are served. */
Test(get, damaged_rows)
{
	AUTO_CLOSE int fd = -1;
	float v[64], other[64];
	char path[128];
	uint8_t *map, *hit;
	struct stat st;

	for (int i = 0; i < 64; i++) {
		v[i] = (float)i + 0.25f;
		other[i] = -v[i] - 1;
	}
	af_write("a", "x");
	af_write("b", "x");
	cr_assert_eq(af_set("a", "w", v, sizeof(v), 0), 0);
	cr_assert_eq(af_set("b", "w", other, sizeof(other), 0), 0);
	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.rows", af_dir);
	fd = open(path, O_RDWR);
	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(fstat(fd, &st), 0);
	map = malloc((size_t)st.st_size);
	cr_assert_eq(pread(fd, map, (size_t)st.st_size, 0), st.st_size);
	hit = memmem(map, (size_t)st.st_size, v, sizeof(v));
	cr_assert_not_null(hit);
	hit[100] ^= 4;
	cr_assert_eq(pwrite(fd, hit + 100, 1, hit + 100 - map), 1);
	free(map);
	cr_assert_eq(get("a", "w"), -EIO);
	af_is("b", "w", other, sizeof(other));
	/* a new value heals it */
	cr_assert_eq(af_set("a", "w", v, sizeof(v), 0), 0);
	af_is("a", "w", v, sizeof(v));
}

/* ---- _info ------------------------------------------------------------------- */

/* The whole of _info, with each lsn replaced by 0. */
static void info_is(const char *name, const char *want)
{
	AUTO_FREE char *s = af_info(name);
	char *p = s;

	while ((p = strstr(p, "\"lsn\": ")) != NULL) {
		char *end;

		p += 7;
		end = p + strspn(p, "0123456789");
		*p = '0';
		memmove(p + 1, end, strlen(end) + 1);
	}
	cr_assert_str_eq(s, want);
}

Test(get, info_of_nothing)
{
	af_write("a", "x");
	info_is("a", "{\"attachments\": 0, \"rows\": 0, \"stale\": false, "
		     "\"vec_error\": null, \"list\": [], \"truncated\": false}\n");
}

Test(get, info_counts_and_names)
{
	af_write("a", "x");
	cr_assert_eq(af_set_text("a", "w.k\"\n", "1 2 3\n4 5 6"), 0);
	cr_assert_eq(af_set("a", "z", v3, 8, 0), 0);
	info_is("a", "{\"attachments\": 2, \"rows\": 3, \"stale\": false, "
		     "\"vec_error\": null, \"list\": ["
		     "{\"space\": \"w\", \"key\": \"k\\\"\\n\", \"rows\": 2, \"dim\": 3, "
		     "\"form\": \"text\", \"stale\": false, \"lsn\": 0}, "
		     "{\"space\": \"z\", \"key\": \"\", \"rows\": 1, \"dim\": 2, "
		     "\"form\": \"binary\", \"stale\": false, \"lsn\": 0}"
		     "], \"truncated\": false}\n");
}

Test(get, info_tells_stale)
{
	af_write("a", "x");
	cr_assert_eq(af_set("a", "w", v3, 12, 0), 0);
	af_write("a", "other content");
	cr_assert_eq(af_set("a", "z", v3, 12, 0), 0);
	info_is("a", "{\"attachments\": 2, \"rows\": 2, \"stale\": true, "
		     "\"vec_error\": null, \"list\": ["
		     "{\"space\": \"w\", \"key\": \"\", \"rows\": 1, \"dim\": 3, "
		     "\"form\": \"binary\", \"stale\": true, \"lsn\": 0}, "
		     "{\"space\": \"z\", \"key\": \"\", \"rows\": 1, \"dim\": 3, "
		     "\"form\": \"binary\", \"stale\": false, \"lsn\": 0}"
		     "], \"truncated\": false}\n");
}

/* However many and however ugly the keys: it fits into an xattr, and ends well. */
Test(get, info_is_bounded)
{
	static const char end[] = "], \"truncated\": true}\n";
	AUTO_FREE char *s = NULL;
	char attr[200];

	af_write("a", "x");
	for (unsigned i = 0; i < 400; i++) {
		memset(attr, 1, sizeof(attr));
		memcpy(attr, "w.", 2);
		snprintf(attr + 120, 10, "%u", i);
		cr_assert_eq(af_set("a", attr, v3, 12, 0), 0);
	}
	s = af_info("a");
	cr_assert_leq(strlen(s), 65536);
	cr_assert_gt(strlen(s), 50000);
	cr_assert_str_eq(s + strlen(s) - strlen(end), end);
	cr_assert_eq(strncmp(s, "{\"attachments\": 400, \"rows\": 400,", 33), 0);
}
