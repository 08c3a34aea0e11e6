/* SPDX-License-Identifier: Apache-2.0 */
#include <ftw.h>
#include <sys/stat.h>
#include "fixture.h"

struct vex_engine *engine;
struct vex_control *control;
struct vex_session *S;
_Thread_local size_t ioc_got;
const struct vex_cred root = { .groups_known = true };
const struct vex_cred owner = { .uid = OWNER, .gid = OWNER, .groups_known = true };
const struct vex_cred stranger = { .uid = STRANGER,
				   .gid = STRANGER,
				   .groups_known = true };

static char dir[256];
static int rootfd = -1;

static void extra(void *arg, struct vex_buf *out)
{
	(void)arg;
	vex_buf_str(out, "\"inodes\": 3,\n\"passthrough\": false\n");
}

static void open_all(void)
{
	struct vex_engine_opts eo = { .owner = OWNER,
				      .threads = 2,
				      .store = { .mountpoint = "/nowhere" } };
	struct vex_control_opts co = { .mountpoint = "/nowhere",
				       .store = dir,
				       .options = "rw,metric=\"cosine\"",
				       .status_extra = extra };
	struct vex_problem problem = { .text = "" };

	rootfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(rootfd, 0);
	cr_assert_eq(vex_engine_open(rootfd, &eo, &engine, &problem), 0, "%s",
		     problem.text);
	co.engine = engine;
	cr_assert_eq(vex_control_new(&co, &control), 0);
	S = session(&root, O_RDWR);
}

static void close_all(void)
{
	vex_session_close(S);
	vex_control_free(control);
	vex_engine_closing(engine);
	vex_engine_close(engine);
	close(rootfd);
}

void fixture_up(void)
{
	const char *tmp = getenv("TMPDIR");

	vex_log_init(false, VEX_LOG_ERROR);
	vex_kernel_init();
	snprintf(dir, sizeof(dir), "%s/vexfs-control.XXXXXX", tmp ? tmp : "/tmp");
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chmod(dir, 0755), 0);
	open_all();
}

void fixture_again(void)
{
	close_all();
	open_all();
}

static int rm_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type, (void)f;
	return remove(path);
}

void fixture_down(void)
{
	close_all();
	nftw(dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- calls ----------------------------------------------------------------------- */

struct vex_session *session(const struct vex_cred *c, int flags)
{
	struct vex_session *s = NULL;

	cr_assert_eq(vex_session_open(control, FILE_CONTROL, flags, c, &s), 0);
	return s;
}

int ioc_as(struct vex_session *s, const struct vex_cred *as, unsigned long cmd, void *buf)
{
	size_t size = _IOC_SIZE(cmd), n = 0;
	uint8_t *in = malloc(size + 1), *out = malloc(size + 1);
	int err;

	/* The struct ends where the buffer ends. */
	memcpy(in + 1, buf, size);
	memset(out, 0xa5, size + 1);
	if (size % 8) {
		err = vex_session_ioctl(s, as, (uint32_t)cmd, in + 1, size, out + 1, size,
					&n);
		if (!err && n)
			memcpy(buf, out + 1, n);
	} else {
		memmove(in, in + 1, size);
		in = realloc(in, size ? size : 1);
		err = vex_session_ioctl(s, as, (uint32_t)cmd, in, size, out, size, &n);
		if (!err && n)
			memcpy(buf, out, n);
	}
	cr_assert_leq(n, size, "a reply longer than the struct");
	cr_assert(err <= 0 && err > -4096);
	if (err)
		cr_assert_eq(n, 0);
	ioc_got = n;
	free(in);
	free(out);
	return err;
}

int ioc(unsigned long cmd, void *buf)
{
	return ioc_as(S, &root, cmd, buf);
}

const char *last_error(struct vex_session *s, int *error, uint32_t *item)
{
	static struct vexfs_last_error e;

	memset(&e, 0, sizeof(e));
	cr_assert_eq(ioc_as(s, &root, VEXFS_IOC_LAST_ERROR, &e), 0);
	if (error)
		*error = e.error;
	if (item)
		*item = e.item;
	cr_assert_lt(strnlen(e.text, sizeof(e.text)), sizeof(e.text));
	return e.text;
}

int stage(struct vex_session *s, const void *p, size_t len)
{
	size_t n = 0;
	int err = vex_session_write(s, &root, p, len, &n);

	cr_assert_eq(n, err ? 0 : len);
	return err;
}

ssize_t take(struct vex_session *s, void *buf, size_t size)
{
	size_t n = 0;
	int err = vex_session_read(s, &root, buf, size, 0, &n);

	return err ? err : (ssize_t)n;
}

/* ---- files and attachments ------------------------------------------------------- */

void folder(const char *path)
{
	char part[512];

	for (const char *p = strchr(path, '/');; p = strchr(p + 1, '/')) {
		size_t len = p ? (size_t)(p - path) : strlen(path);

		snprintf(part, sizeof(part), "%.*s", (int)len, path);
		cr_assert(!mkdirat(rootfd, part, 0755) || errno == EEXIST);
		if (!p)
			return;
	}
}

void touch(const char *path)
{
	char above[512];
	char *slash;
	int fd;

	snprintf(above, sizeof(above), "%s", path);
	slash = strrchr(above, '/');
	if (slash) {
		*slash = '\0';
		folder(above);
	}
	fd = openat(rootfd, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	cr_assert_geq(fd, 0);
	close(fd);
}

void item_add(struct vexfs_items *h, const char *path, const char *attr,
	      const void *value, uint32_t len, uint32_t flags)
{
	struct vexfs_item w = { .flags = flags,
				.path_len = (uint32_t)strlen(path),
				.attr_len = (uint32_t)strlen(attr),
				.value_len = len };
	uint32_t at = vexfs_value_at(w.path_len, w.attr_len);
	uint8_t *p = h->data + h->bytes;

	w.size = vexfs_pad8(at + len);
	cr_assert_leq(h->bytes + w.size, sizeof(h->data));
	memset(p, 0, w.size);
	memcpy(p, &w, sizeof(w));
	memcpy(p + sizeof(w), path, w.path_len);
	memcpy(p + sizeof(w) + w.path_len + 1, attr, w.attr_len);
	if (len)
		memcpy(p + at, value, len);
	h->bytes += w.size;
	h->count++;
}

void attach(const char *path, const char *attr, const float *v, uint32_t n)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));

	touch(path);
	item_add(h, path, attr, v, n * 4, VEXFS_ITEM_F32);
	cr_assert_eq(ioc(VEXFS_IOC_PUT, h), 0, "%s", last_error(S, NULL, NULL));
	free(h);
}

void make_space(const char *name, uint32_t dim, uint32_t metric)
{
	struct vexfs_space sp = { .dim = dim, .metric = metric };

	strncpy(sp.name, name, sizeof(sp.name) - 1);
	cr_assert_eq(ioc(VEXFS_IOC_SPACE_CREATE, &sp), 0, "%s",
		     last_error(S, NULL, NULL));
}

void many(const char *name, unsigned n)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));
	char path[32];

	for (unsigned i = 0; i < n; i++) {
		float v[2] = { (float)i + 1, 1 };

		snprintf(path, sizeof(path), "p/%04u", i);
		touch(path);
		item_add(h, path, name, v, sizeof(v), VEXFS_ITEM_F32);
		if (h->bytes < sizeof(h->data) - 256 && i + 1 < n)
			continue;
		cr_assert_eq(ioc(VEXFS_IOC_PUT, h), 0, "%s", last_error(S, NULL, NULL));
		memset(h, 0, sizeof(*h));
	}
	free(h);
}

const struct vexfs_hit *hit_at(const void *data, unsigned i)
{
	const uint8_t *p = data;

	while (i--)
		p += ((const struct vexfs_hit *)(const void *)p)->size;
	return (const void *)p;
}

struct vexfs_search *query(const char *space, uint32_t k, const float *v, uint32_t dim)
{
	struct vexfs_search *s = calloc(1, sizeof(*s));

	s->k = k;
	s->dim = dim;
	strncpy(s->space, space, sizeof(s->space) - 1);
	if (v)
		memcpy(s->data, v, dim * sizeof(*v));
	return s;
}

/* ---- numbers --------------------------------------------------------------------- */

uint64_t seed(void)
{
	const char *given = getenv("VEXFS_SEED");
	uint64_t s = given ? strtoull(given, NULL, 0) : vex_now_mono();

	printf("VEXFS_SEED=%llu\n", (unsigned long long)s);
	fflush(stdout);
	return s ? s : 1;
}

uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x * 0x2545f4914f6cdd1dull;
}
