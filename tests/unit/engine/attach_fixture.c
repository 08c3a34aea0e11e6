/* SPDX-License-Identifier: Apache-2.0 */
#include <ftw.h>
#include <time.h>
#include "attach_fixture.h"

struct vex_engine *eng;
struct vex_engine_opts af_opts;
char af_dir[64];
int af_root = -1;
const struct vex_cred af_uid0 = { .groups_known = true };
const struct vex_cred af_nobody = { .uid = 65534, .gid = 65534, .groups_known = true };

static void open_engine(void)
{
	struct vex_problem p = { "" };
	vex_err err;

	af_root = open(af_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(af_root, 0);
	err = vex_engine_open(af_root, &af_opts, &eng, &p);
	cr_assert_eq(err, 0, "%s: %s", strerror(-err), p.text);
}

static void close_engine(void)
{
	vex_engine_close(eng);
	close(af_root);
	eng = NULL;
	af_root = -1;
}

void af_up(void)
{
	snprintf(af_dir, sizeof(af_dir), "/tmp/vexfs-attach-XXXXXX");
	cr_assert_not_null(mkdtemp(af_dir));
	chmod(af_dir, 0755);
	if (!af_opts.threads)
		af_opts.threads = 2;
	open_engine();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type, (void)f;
	return remove(path);
}

void af_down(void)
{
	if (eng)
		close_engine();
	nftw(af_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void af_again(void)
{
	close_engine();
	open_engine();
}

void af_write(const char *name, const char *content)
{
	AUTO_CLOSE int fd = openat(af_root, name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	size_t len = strlen(content);

	cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
	cr_assert_eq(write(fd, content, len), (ssize_t)len);
}

void af_open(const char *name, struct af_obj *x)
{
	const char *slash = strrchr(name, '/');
	char folder[256];

	*x = (struct af_obj){ .o = { .fd = -1, .dirfd = -1 } };
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - name) : 1,
		 slash ? name : ".");
	snprintf(x->last, sizeof(x->last), "%s", slash ? slash + 1 : name);
	x->o.dirfd = openat(af_root, folder, O_PATH | O_CLOEXEC);
	x->o.fd = openat(af_root, *name ? name : ".", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	cr_assert_geq(x->o.fd, 0, "%s: %s", name, strerror(errno));
	x->o.name = x->last;
	x->o.node = &x->node;
}

void af_close(struct af_obj *x)
{
	close(x->o.fd);
	close(x->o.dirfd);
}

vex_err af_set(const char *name, const char *attr, const void *v, size_t size, int flags)
{
	AUTO_OBJ struct af_obj x;
	/* An exact copy at an odd address, as FUSE may hand it over. */
	AUTO_FREE char *copy = malloc(size + 1);

	if (size)
		memcpy(copy + 1, v, size);
	af_open(name, &x);
	return vex_engine_xattr_set(eng, &x.o, attr, copy + 1, size, flags);
}

vex_err af_set_text(const char *name, const char *attr, const char *text)
{
	return af_set(name, attr, text, strlen(text), 0);
}

vex_err af_get(const char *name, const char *attr, struct vex_buf *out)
{
	AUTO_OBJ struct af_obj x;

	af_open(name, &x);
	return vex_engine_xattr_get(eng, &x.o, &af_uid0, attr, out);
}

vex_err af_remove(const char *name, const char *attr)
{
	AUTO_OBJ struct af_obj x;

	af_open(name, &x);
	return vex_engine_xattr_remove(eng, &x.o, attr);
}

vex_err af_written(const char *name)
{
	AUTO_OBJ struct af_obj x;

	af_open(name, &x);
	return vex_engine_written(eng, &x.o);
}

void af_is(const char *name, const char *attr, const void *v, size_t size)
{
	AUTO_BUF struct vex_buf b = { 0 };
	vex_err err = af_get(name, attr, &b);

	cr_assert_eq(err, 0, "get %s of %s: %s", attr, name, strerror(-err));
	cr_assert_eq(b.len, size, "%s of %s: %zu bytes", attr, name, b.len);
	cr_assert_eq(memcmp(b.data, v, size), 0, "%s of %s", attr, name);
}

void af_is_text(const char *name, const char *attr, const char *text)
{
	af_is(name, attr, text, strlen(text));
}

char *af_list(const char *name)
{
	AUTO_OBJ struct af_obj x;
	struct vex_buf b = { 0 };

	af_open(name, &x);
	cr_assert_eq(vex_engine_xattr_list(eng, &x.o, &b), 0);
	for (size_t i = 0; i < b.len; i++)
		if (!b.data[i])
			b.data[i] = ' ';
	vex_buf_add(&b, "", 1);
	return b.data;
}

char *af_info(const char *name)
{
	struct vex_buf b = { 0 };

	cr_assert_eq(af_get(name, "_info", &b), 0);
	vex_buf_add(&b, "", 1);
	return b.data;
}

bool af_space(const char *name)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	vex_err err = vex_space_find(vex_engine_store(eng), name, &sp);

	cr_assert(!err || err == -ENODEV);
	return !err;
}

uint64_t af_attachments(const char *space)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_space_counts c;

	if (vex_space_find(vex_engine_store(eng), space, &sp))
		return 0;
	vex_space_counts(sp, &c);
	return c.attachments;
}

uint64_t af_seed(void)
{
	uint64_t x = (uint64_t)time(NULL) * 2654435761u | 1;

	cr_log_info("seed %llu", (unsigned long long)x);
	return x;
}

uint64_t af_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}
