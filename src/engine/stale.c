/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of what needs new vectors: files that changed since theirs were made, and
 * paths whose attachments a replacement took away, or whose file vanished (kept.c). It
 * goes through the nodes with attachments, a bounded number a call, by their ids: nothing
 * is held in between. Judged by statx at that moment, told as searches are: to who may
 * read the file.
 *
 * Kept attachments that the file at their path has anew are settled, and not listed.
 */
#include "attach_i.h"
#include "names_i.h"
#include "kept_i.h"

#define NODES_A_CALL 128u

struct listing {
	struct vex_engine *e;
	const struct vex_cred *cred;
	uint32_t space; /* 0: all */
	uint64_t *after;
	bool *more;
	int (*fn)(void *, const struct vex_stale *);
	void *arg;
	struct vex_reader *r;
	bool full;
};

/* ---- a file that is there ---------------------------------------------------------- */

struct looking {
	uint32_t space;
	const struct stat *st; /* NULL: any attachment will do */
	bool found;
};

static vex_err look(void *arg, const struct vex_attach *a)
{
	struct looking *k = arg;

	if (k->space && a->space != k->space)
		return 0;
	k->found = !k->st || stamp_stale(&a->stamp, k->st);
	return k->found;
}

static vex_err give(struct listing *s, const struct vex_kept *k, struct vex_buf *path)
{
	struct vex_stale out = { .since_ns = k->since_ns, .why = k->why };

	vex_buf_add(path, "", 1);
	if (path->err)
		return path->err;
	out.path = path->data;
	s->full = s->fn(s->arg, &out) != 0;
	return 0;
}

static vex_err list_present(struct listing *s, const struct vex_node *n,
			    const struct place *p)
{
	static const struct vex_kept changed = { .why = 0 };
	AUTO_BUF struct vex_buf path = { 0 };
	struct looking k = { .space = s->space, .st = &p->st };
	vex_err err;

	if (n->is_dir || perm_search(s->e, s->cred, p->dirfd) ||
	    perm_check(s->cred, p->dirfd, p->name, &p->st, R_OK))
		return 0;
	err = vex_read_attaches(s->r, n->id, look, &k);
	if (err < 0 || !k.found)
		return err < 0 ? err : 0;
	err = place_path(s->e, p->dirfd, p->name, &path);
	return err ? (err == -ENOENT ? 0 : err) : give(s, &changed, &path);
}

/* ---- one that is not --------------------------------------------------------------- */

struct settled {
	struct vex_attach *v;
	size_t n, cap;
	uint32_t space;
};

static vex_err collect(void *arg, const struct vex_attach *a)
{
	struct settled *s = arg;

	if (s->space && a->space != s->space)
		return 0;
	return attach_add(&s->v, &s->n, &s->cap, a);
}

/* Whether the file now at that place lacks one of them. */
static bool lacks(struct listing *s, const struct settled *of, int dirfd,
		  const char *name)
{
	AUTO_CLOSE int fd = -1;
	uint64_t node = 0;

	if (!of->n || life_node_at(s->e, dirfd, name, &fd, &node) || !node)
		return of->n > 0;
	for (size_t i = 0; i < of->n; i++) {
		struct vex_attach a;

		if (vex_read_attach(s->r, node, of->v[i].space, of->v[i].key,
				    of->v[i].key_len, false, &a))
			return true;
	}
	return false;
}

static vex_err list_at(struct listing *s, const struct vex_kept *k,
		       const struct settled *of, const struct name_at *at)
{
	AUTO_BUF struct vex_buf path = { 0 };
	AUTO_CLOSE int dir = -1;
	vex_err err = dir_open(s->e, s->r, at->parent, &dir);

	if (err)
		return err;
	if (!kept_may_tell(s->e, s->cred, k, dir, at->name) ||
	    !lacks(s, of, dir, at->name))
		return 0;
	err = place_path(s->e, dir, at->name, &path);
	return err ? err : give(s, k, &path);
}

/* Its directory is gone as well: by what the catalog knows, for who may read all. */
static vex_err list_lost(struct listing *s, const struct vex_kept *k, uint64_t node)
{
	AUTO_BUF struct vex_buf path = { 0 };

	if (s->cred->uid && s->cred->uid != geteuid())
		return 0;
	for (unsigned i = 0; node != ROOT_NODE && i < PATH_MAX / 2; i++) {
		AUTO_NAMES struct namelist names = { 0 };
		AUTO_BUF struct vex_buf longer = { 0 };
		vex_err err = namelist_read(s->r, node, &names);

		if (err || !names.n)
			return err;
		vex_buf_str(&longer, names.v[0].name);
		if (path.len) {
			vex_buf_add(&longer, "/", 1);
			vex_buf_add(&longer, path.data, path.len);
		}
		if (longer.err)
			return longer.err;
		path.len = 0;
		vex_buf_add(&path, longer.data, longer.len);
		node = names.v[0].parent;
	}
	return path.err ? path.err : give(s, k, &path);
}

static vex_err list_missing(struct listing *s, const struct vex_node *n)
{
	AUTO_NAMES struct namelist names = { 0 };
	struct settled of = { .space = s->space };
	struct vex_kept k;
	vex_err err = kept_read(s->r, n->id, &k);

	if (!err)
		err = vex_read_attaches(s->r, n->id, collect, &of);
	if (!err && of.n)
		err = namelist_read(s->r, n->id, &names);
	if (!err && of.n && names.n && !kept_expired(s->e, &k)) {
		err = list_at(s, &k, &of, &names.v[0]);
		if (err == -ENOENT)
			err = list_lost(s, &k, n->id);
	}
	free(of.v);
	return err;
}

/* ---- the call ---------------------------------------------------------------------- */

static vex_err list_node(struct listing *s, uint64_t node)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_node n;
	vex_err err = vex_read_node(s->r, node, &n);

	if (err || n.state != VEX_LIVE)
		return err == -ENOENT ? 0 : err;
	err = place_of(s->e, s->r, &n, &p);
	if (!err)
		return list_present(s, &n, &p);
	return err == -ENOENT ? list_missing(s, &n) : err;
}

static vex_err take_id(void *arg, uint64_t node)
{
	return idlist_add(arg, node);
}

static vex_err list_deep(void *arg)
{
	struct listing *s = arg;
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_IDS struct idlist ids = { 0 };
	vex_err err = vex_reader_get(s->e->store, &r);

	s->r = r;
	if (!err)
		err = vex_read_attached(r, *s->after, NODES_A_CALL, take_id, &ids);
	for (size_t i = 0; !err && i < ids.n; i++) {
		err = list_node(s, ids.v[i]);
		if (!err && s->full)
			break;
		if (!err)
			*s->after = ids.v[i];
	}
	*s->more = s->full || ids.n == NODES_A_CALL;
	return err;
}

vex_err vex_engine_stale(struct vex_engine *e, const struct vex_cred *cred,
			 const char *space, uint64_t *after, bool *more,
			 int (*fn)(void *, const struct vex_stale *), void *arg)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct listing s = {
		.e = e, .cred = cred, .after = after, .more = more, .fn = fn, .arg = arg
	};
	vex_err err = *space ? vex_space_find(e->store, space, &sp) : 0;

	if (err)
		return err;
	s.space = sp ? vex_space_id(sp) : 0;
	return engine_deep(e, list_deep, &s);
}
