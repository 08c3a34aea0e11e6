/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <sys/syscall.h>
#include "graph_i.h"
#include "names_fixture.h"

void nf_up(void)
{
	af_opts.metric = VEX_L2;
	af_up();
}

void nf_down(void)
{
	af_down();
}

void nf_attach(const char *name, float x)
{
	char text[64];
	vex_err err;

	snprintf(text, sizeof(text), "%.9g,0", (double)x);
	err = af_set_text(name, "s", text);
	cr_assert_eq(err, 0, "attach to %s: %s", name, strerror(-err));
}

void nf_file(const char *name, const char *content, float x)
{
	af_write(name, content);
	nf_attach(name, x);
}

void nf_dir(const char *name)
{
	cr_assert_eq(mkdirat(af_root, name, 0755), 0, "%s: %s", name, strerror(errno));
}

/* The directory of a path, opened, and its last name. */
struct at {
	int dir;
	char last[256];
};

static void at_open(const char *name, struct at *a)
{
	const char *slash = strrchr(name, '/');
	char folder[4096];

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - name) : 1,
		 slash ? name : ".");
	snprintf(a->last, sizeof(a->last), "%s", slash ? slash + 1 : name);
	a->dir = openat(af_root, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(a->dir, 0, "%s: %s", folder, strerror(errno));
}

static vex_err remove_at(const char *name, int flags, bool open)
{
	struct vex_removal r;
	struct at a;
	vex_err err;

	at_open(name, &a);
	err = vex_engine_unlink_begin(eng, a.dir, a.last, &r);
	if (!err) {
		err = unlinkat(a.dir, a.last, flags) ? -errno : 0;
		vex_engine_unlink_end(eng, &r, err, open);
	}
	close(a.dir);
	return err;
}

vex_err nf_unlink(const char *name, bool open)
{
	return remove_at(name, 0, open);
}

vex_err nf_rmdir(const char *name)
{
	return remove_at(name, AT_REMOVEDIR, false);
}

vex_err nf_rename(const char *from, const char *to, unsigned flags, bool open)
{
	struct vex_rename r;
	struct at a, b;
	vex_err err;

	at_open(from, &a);
	at_open(to, &b);
	err = vex_engine_rename_begin(eng, a.dir, a.last, b.dir, b.last, flags, &r);
	if (!err) {
		err = syscall(SYS_renameat2, a.dir, a.last, b.dir, b.last, flags) ? -errno
										  : 0;
		vex_engine_rename_end(eng, &r, err, open);
	}
	close(a.dir);
	close(b.dir);
	return err;
}

vex_err nf_link(const char *from, const char *to)
{
	AUTO_OBJ struct af_obj x;
	struct at b;
	vex_err err;

	af_open(from, &x);
	at_open(to, &b);
	err = vex_engine_link_begin(eng, &x.o, b.dir, b.last);
	if (!err) {
		err = linkat(AT_FDCWD, vex_procfd(x.o.fd).path, b.dir, b.last,
			     AT_SYMLINK_FOLLOW)
			  ? -errno
			  : 0;
		vex_engine_link_end(eng, &x.o, b.dir, b.last, err);
	}
	close(b.dir);
	return err;
}

void nf_sh(const char *fmt, ...)
{
	char script[2048], line[2200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(script, sizeof(script), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "set -e; cd %s; %s", af_dir, script);
	cr_assert_eq(system(line), 0, "%s", line);
}

void nf_told(const char *name)
{
	AUTO_OBJ struct af_obj x;

	af_open(name, &x);
	vex_engine_attrs_changed(eng, &x.o);
}

const char *nf_path(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", af_dir, name);
	return path;
}

char *nf_near(float x, uint32_t k, const struct vex_cred *cred)
{
	float v[2] = { x, 0 };
	struct vex_query q = { .space = "s",
			       .vectors = v,
			       .dim = 2,
			       .nq = 1,
			       .k = k,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .cred = cred };
	struct vex_result *res = NULL;
	struct vex_problem p;
	struct vex_buf b = { 0 };
	vex_err err = vex_engine_search(eng, &q, &res, &p);

	cr_assert_eq(err, 0, "search: %s: %s", strerror(-err), p.text);
	for (size_t i = 0; i < res->n; i++)
		vex_buf_fmt(&b, "%s%s", i ? " " : "",
			    res->hits[i].path_len ? res->hits[i].path : ".");
	vex_buf_add(&b, "", 1);
	vex_result_free(res);
	return b.data;
}

void nf_finds_as(const struct vex_cred *cred, float x, uint32_t k, const char *paths)
{
	AUTO_FREE char *got = nf_near(x, k, cred);

	cr_assert_eq(strcmp(got, paths), 0, "found \"%s\", not \"%s\"", got, paths);
}

void nf_finds(float x, uint32_t k, const char *paths)
{
	nf_finds_as(&af_uid0, x, k, paths);
}

struct ident {
	struct vex_obj *o;
	uint64_t node;
};

static vex_err identify(void *arg)
{
	struct ident *i = arg;

	return node_identify(eng, i->o, &i->node);
}

uint64_t nf_node(const char *name)
{
	AUTO_OBJ struct af_obj x;
	struct ident i;

	af_open(name, &x);
	i.o = &x.o;
	cr_assert_eq(engine_deep(eng, identify, &i), 0);
	return i.node;
}

uint64_t nf_ino(const char *name)
{
	struct stat st;

	cr_assert_eq(fstatat(af_root, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_ino;
}

uint64_t nf_nodes(void)
{
	struct vex_store_status st;

	nf_settle();
	vex_store_status(eng->store, &st);
	return st.nodes;
}

uint64_t nf_attachments(void)
{
	struct vex_store_status st;

	nf_settle();
	vex_store_status(eng->store, &st);
	return st.attachments;
}

void nf_settle(void)
{
	struct vex_node n = { .id = 0 };
	struct vex_change c = { .kind = VEX_NAME_DEL,
				.node = ~0ull >> 1,
				.parent = 1,
				.name = "none",
				.name_len = 4 };

	(void)n;
	cr_assert_eq(vex_store_commit(eng->store, &c, 1, NULL), 0);
}

bool nf_row(uint64_t node, struct vex_node *n)
{
	struct vex_reader *r;
	vex_err err;

	cr_assert_eq(vex_reader_get(eng->store, &r), 0);
	err = vex_read_node(r, node, n);
	vex_reader_put(r);
	cr_assert(!err || err == -ENOENT);
	return !err;
}

size_t nf_names(uint64_t node)
{
	struct namelist l = { 0 };
	struct vex_reader *r;
	size_t n;

	nf_settle();
	cr_assert_eq(vex_reader_get(eng->store, &r), 0);
	cr_assert_eq(namelist_read(r, node, &l), 0);
	vex_reader_put(r);
	n = l.n;
	namelist_free(&l);
	return n;
}

static int add_stale(void *arg, const struct vex_stale *s)
{
	struct vex_buf *b = arg;

	vex_buf_fmt(b, "%s%s:%d", b->len ? " " : "", s->path, s->why);
	return 0;
}

void nf_stale_as(const struct vex_cred *cred, const char *wanted)
{
	AUTO_BUF struct vex_buf b = { 0 };
	uint64_t after = 0;
	bool more = true;

	while (more)
		cr_assert_eq(
		    vex_engine_stale(eng, cred, "", &after, &more, add_stale, &b), 0);
	vex_buf_add(&b, "", 1);
	cr_expect_eq(strcmp(b.data, wanted), 0, "listed \"%s\", not \"%s\"", b.data,
		     wanted);
}

void nf_stale(const char *wanted)
{
	nf_stale_as(&af_uid0, wanted);
}

uint64_t nf_rows(void)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_space_counts n;

	nf_settle();
	cr_assert_eq(vex_space_find(eng->store, "s", &sp), 0);
	vex_engine_counts(eng, sp, &n);
	return n.rows;
}

void nf_ready(void)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_store *store = vex_engine_store(eng);
	struct vex_index_info i = { 0 };

	cr_assert_eq(vex_space_find(store, "s", &sp), 0);
	for (int tries = 0; tries < 12000; tries++) {
		vex_engine_index_info(eng, sp, &i);
		if (i.state == VEX_INDEX_READY && !i.pending &&
		    i.lsn >= vex_store_lsn(store))
			return;
		usleep(5000);
	}
	cr_assert_fail("the graph is not ready: state %d", i.state);
}
