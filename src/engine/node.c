/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a file is. The mark on the backing file says which node it claims to be, the
 * file handle whether it is the same inode still:
 *
 *   handle as recorded             it is the file (a new name of it is noted)
 *   other handle; the node's own   it is a copy made behind us: a node of its own
 *   inode lives elsewhere
 *   other handle otherwise         the store was copied, or the file restored: the
 *                                  node is linked to this inode
 *   no mark, known handle          the mark was lost: it is written again
 *   no mark, place, size and time  restored without xattrs: adopted
 *
 * Handles of other filesystems mounted below STORE count for nothing, since they may
 * equal ours; there, mark and inode number decide.
 *
 * vex_obj.node only ever receives a node's id. "Has none" is not remembered there:
 * an attachment may be put by path, or a marked copy made behind us, while the
 * caller's word says so; and asking the file for a mark costs under a microsecond.
 *
 * What changes identity for good (a copy's new node) happens under e->dirs.
 */
#include "names_i.h"

pthread_mutex_t *node_lock(struct vex_engine *e, const struct vex_fh *fh, uint64_t ino)
{
	uint64_t h = fh && fh->len ? vex_sum64(0, fh->bytes, fh->len)
				   : vex_sum64(0, &ino, sizeof(ino));
	pthread_mutex_t *m = &e->node_lock[h % NODE_LOCKS];

	pthread_mutex_lock(m);
	return m;
}

vex_err obj_complete(const struct vex_obj *o, struct vex_fh *fh, struct stat *st)
{
	if (fstat(o->fd, st))
		return -errno;
	if (o->fh.len) {
		*fh = o->fh;
		return 0;
	}
	return vex_fh_get(o->fd, "", fh, NULL);
}

vex_err who_read(struct vex_engine *e, const struct vex_obj *o, struct who *w)
{
	vex_err err;

	memset(w, 0, sizeof(*w));
	err = obj_complete(o, &w->fh, &w->st);
	if (err)
		return err;
	if (w->st.st_dev != e->root_dev)
		memset(&w->fh, 0, sizeof(w->fh));
	err = mark_read(o->fd, &w->mark);
	w->marked = !err;
	return err == -ENODATA ? 0 : err;
}

uint64_t node_remembered(const struct vex_obj *o)
{
	uint64_t id = o->node ? atomic_load(o->node) : 0;

	return id == VEX_NODE_NONE ? 0 : id;
}

void node_made(const struct vex_obj *o, uint64_t node)
{
	if (o->node && node)
		atomic_store(o->node, node);
}

bool node_known(struct vex_engine *e, const struct vex_obj *o, uint64_t *node)
{
	struct mark m;
	struct stat st;

	*node = node_remembered(o);
	if (*node)
		return true;
	if (mark_read(o->fd, &m) != -ENODATA || fstat(o->fd, &st))
		return false;
	if (is_root(e, &st))
		*node = ROOT_NODE;
	/* A copied store may have lost its marks: there, look in the catalog. */
	return *node || !e->copied;
}

/* ---- who is it --------------------------------------------------------------------- */

bool node_alive(struct vex_engine *e, const struct vex_node *n)
{
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *path = NULL;
	struct stat st;

	if (!e->handles || !n->fh.len || n->fh_old)
		return false;
	if (vex_fh_open(e->rootfd, &n->fh, O_PATH | O_CLOEXEC, &fd) || fstat(fd, &st))
		return false;
	if (!st.st_nlink)
		return false;
	/* Moved out of the store, it is not alive here. Of a file opened by handle
	 * whose name is in no cache, the kernel knows no path: in doubt, alive. */
	path = fd_path(fd);
	if (!S_ISDIR(st.st_mode) && !(path && strlen(path) > 1))
		return true;
	return climb_below(e, fd);
}

static bool same_file(const struct vex_node *n, const struct who *w)
{
	if (n->fh_old)
		return false;
	if (n->fh.len && w->fh.len)
		return vex_fh_equal(&n->fh, &w->fh);
	return n->ino == w->st.st_ino;
}

/* Whether a recorded name of the node shows another inode with the same mark. */
static bool shown_elsewhere(struct vex_engine *e, struct vex_reader *r,
			    const struct vex_node *n, const struct who *w)
{
	AUTO_NAMES struct namelist names = { 0 };

	if (namelist_read(r, n->id, &names))
		return false;
	for (size_t i = 0; i < names.n; i++) {
		AUTO_CLOSE int dir = -1;
		struct stat st;
		struct mark m;

		if (dir_open(e, r, names.v[i].parent, &dir))
			continue;
		if (fstatat(dir, names.v[i].name, &st, AT_SYMLINK_NOFOLLOW) ||
		    same_inode(&st, &w->st))
			continue;
		if (!mark_read_at(dir, names.v[i].name, &m) && mark_is(&m, n))
			return true;
	}
	return false;
}

vex_err node_write_mark(int fd, const struct vex_node *n)
{
	struct mark m;

	mark_from(n, &m);
	return mark_write(fd, &m);
}

/* The mark names n, but the inode is not the recorded one. */
static vex_err identify_other(struct vex_engine *e, struct vex_reader *r,
			      const struct vex_obj *o, struct who *w, struct vex_node *n)
{
	struct vex_node own;

	/* A copy that got its node, but not yet its mark, before a crash. */
	if (w->fh.len && !vex_read_node_fh(r, &w->fh, &own) && own.has_mark) {
		*n = own;
		return node_write_mark(o->fd, n);
	}
	if (node_alive(e, n) || shown_elsewhere(e, r, n, w))
		return node_copy(e, r, o, w, n);
	node_relink(e, n, w);
	return 0;
}

struct stamps {
	const struct stat *st;
	bool match;
};

static vex_err stamp_matches(void *arg, const struct vex_attach *a)
{
	struct stamps *s = arg;

	s->match =
	    a->stamp.size == s->st->st_size && mtime_kept(a->stamp.mtime_ns, s->st);
	return s->match;
}

bool node_adoptable(struct vex_engine *e, struct vex_reader *r, const struct vex_node *n,
		    const struct stat *st)
{
	struct stamps s = { .st = st };

	if (n->state != VEX_LIVE || n->is_dir || !S_ISREG(st->st_mode))
		return false;
	s.match = n->size == st->st_size && mtime_kept(n->mtime_ns, st);
	/* The row shows the file as it was when attached; stamps move along with it. */
	if (!s.match && vex_read_attaches(r, n->id, stamp_matches, &s) < 0)
		return false;
	return s.match && !node_alive(e, n);
}

/* Whether (o->dirfd, o->name) is the object still. */
bool node_name_true(const struct vex_obj *o, const struct stat *st)
{
	struct stat at;

	return o->dirfd >= 0 && o->name && *o->name &&
	       !fstatat(o->dirfd, o->name, &at, AT_SYMLINK_NOFOLLOW) &&
	       same_inode(&at, st);
}

static vex_err identify_by_place(struct vex_engine *e, struct vex_reader *r,
				 const struct vex_obj *o, const struct who *w,
				 struct vex_node *n)
{
	AUTO_IDS struct idlist ids = { 0 };
	uint64_t parent;
	vex_err err;

	if (!S_ISREG(w->st.st_mode) || !node_name_true(o, &w->st))
		return -ENOENT;
	err = node_of_dir(e, o->dirfd, &parent);
	if (!err && parent)
		err = idlist_at(r, parent, o->name, &ids);
	if (err)
		return err;
	for (size_t i = 0; i < ids.n; i++) {
		if (vex_read_node(r, ids.v[i], n) || !n->has_mark ||
		    !node_adoptable(e, r, n, &w->st))
			continue;
		err = node_write_mark(o->fd, n);
		if (!err)
			node_relink(e, n, w);
		return err;
	}
	return -ENOENT;
}

static vex_err identify_unmarked(struct vex_engine *e, struct vex_reader *r,
				 const struct vex_obj *o, const struct who *w,
				 struct vex_node *n)
{
	vex_err err;

	if (w->fh.len && !vex_read_node_fh(r, &w->fh, n))
		return n->has_mark ? node_write_mark(o->fd, n) : 0;
	if (S_ISDIR(w->st.st_mode)) {
		uint64_t id;

		err = node_of_dir(e, o->fd, &id);
		if (err || !id)
			return err ? err : -ENOENT;
		err = vex_read_node(r, id, n);
		return err ? err : n->has_mark ? node_write_mark(o->fd, n) : 0;
	}
	return identify_by_place(e, r, o, w, n);
}

/* -ENOENT: it has no node. */
vex_err node_identify_who(struct vex_engine *e, struct vex_reader *r,
			  const struct vex_obj *o, struct who *w, struct vex_node *n)
{
	if (is_root(e, &w->st))
		return vex_read_node(r, ROOT_NODE, n);
	if (w->marked) {
		vex_err err = vex_read_node(r, w->mark.id, n);

		if (err && err != -ENOENT)
			return err;
		if (!err && mark_is(&w->mark, n))
			return same_file(n, w) ? 0 : identify_other(e, r, o, w, n);
	}
	return identify_unmarked(e, r, o, w, n);
}

void node_found(struct vex_engine *e, struct vex_reader *r, const struct vex_obj *o,
		const struct who *w, uint64_t id)
{
	node_made(o, id);
	dircache_regain(e->dircache, id);
	if (node_name_true(o, &w->st))
		node_note_name(e, r, id, o->dirfd, o->name);
}

vex_err node_identify(struct vex_engine *e, const struct vex_obj *o, uint64_t *node)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_node n;
	struct who w;
	vex_err err;

	*node = node_remembered(o);
	if (*node)
		return 0;
	err = who_read(e, o, &w);
	if (!err)
		err = vex_reader_get(e->store, &r);
	if (err)
		return err;
	err = node_identify_who(e, r, o, &w, &n);
	if (err)
		return err == -ENOENT ? 0 : err;
	*node = n.id;
	node_found(e, r, o, &w, n.id);
	return 0;
}
