/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a node is now. The catalog remembers candidate names; the backing filesystem
 * is the truth, so every name is verified before it is believed: the object there
 * must have the recorded handle, or carry the node's mark, or (restored without
 * xattrs) agree in size and time. What does not verify is withheld, never guessed.
 *
 * What is learned on the way is written down later: new handles of a copied store,
 * new names of files moved behind our back, names that no longer hold. Losing such a
 * note costs another search for it, nothing else.
 */
#include <dirent.h>
#include "names_i.h"

#define SCAN_MAX 10000u

void place_free(struct place *p)
{
	vex_cleanup_fd(&p->dirfd);
	free(p->name);
	*p = (struct place)PLACE_INIT;
}

/* The object at (dirfd, name), opened. */
static vex_err who_at(struct vex_engine *e, int dirfd, const char *name, int *fd,
		      struct who *w)
{
	struct vex_obj o = { .dirfd = dirfd, .name = name };

	o.fd = vex_openat(dirfd, name, O_PATH | O_NOFOLLOW, 0);
	if (o.fd < 0)
		return -errno;
	*fd = o.fd;
	return who_read(e, &o, w);
}

/* It is another node's already: one inode is never two. */
static bool is_other(struct vex_reader *r, const struct vex_node *n, const struct who *w)
{
	struct vex_node own;

	return w->fh.len && !vex_read_node_fh(r, &w->fh, &own) && own.id != n->id;
}

/* Other handle than recorded, or none: is it the node nevertheless? */
static bool holds_anew(struct vex_engine *e, struct vex_reader *r, struct vex_node *n,
		       int dirfd, const char *name)
{
	AUTO_CLOSE int fd = -1;
	bool given = false;
	struct who w;
	struct mark m;

	if (who_at(e, dirfd, name, &fd, &w))
		return false;
	mark_from(n, &m);
	if (w.marked && mark_is(&w.mark, n)) {
		if (!w.fh.len && !n->fh.len && n->ino == w.st.st_ino && !n->fh_old)
			return true;
	} else if (w.marked) {
		return false;
	} else if (n->is_dir) {
		/* The folder below a mount that is away is not what was mounted. */
		if (node_of_other_disk(n, &w.fh))
			return false;
		if (is_other(r, n, &w))
			return false;
		given = n->has_mark;
	} else {
		given = n->has_mark && node_adoptable(e, r, n, &w.st);
		if (!given)
			return false;
	}
	/* The node's own inode lives elsewhere: this one is a copy. */
	if (node_alive(e, n))
		return false;
	if (given && mark_write(fd, &m))
		return false;
	node_relink(e, n, &w);
	return true;
}

bool node_holds(struct vex_engine *e, struct vex_reader *r, struct vex_node *n, int dirfd,
		const char *name, struct stat *st)
{
	struct vex_fh fh = { 0 };

	if (fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW))
		return false;
	if (n->is_dir ? !S_ISDIR(st->st_mode) : !S_ISREG(st->st_mode))
		return false;
	if (st->st_dev == e->root_dev && vex_fh_get(dirfd, name, &fh, NULL))
		return false;
	if (!n->fh_old && vex_fh_equal(&fh, &n->fh))
		return true;
	return holds_anew(e, r, n, dirfd, name);
}

/* ---- by recorded names ---------------------------------------------------------- */

struct finder {
	struct vex_engine *e;
	struct vex_reader *r;
	struct vex_node *n;
	struct namelist names;
	uint64_t moment; /* when they were read */
	struct place *out;
};

static vex_err take_place(struct finder *f, int *dirfd, const char *name, uint64_t parent)
{
	f->out->name = strdup(name);
	if (!f->out->name)
		return -ENOMEM;
	f->out->dirfd = take_fd(dirfd);
	f->out->parent = parent;
	return 0;
}

/* The names that failed go, since another holds. Only where the directory itself was
 * there to be asked (tried[i]): a disk not mounted has lost no names. */
static void forget_names(struct finder *f, const bool *tried)
{
	AUTO_CHANGES struct changes l = { 0 };

	for (size_t i = 0; i < f->names.n; i++)
		if (tried[i])
			change_name(&l, VEX_NAME_DEL, f->n->id, f->names.v[i].parent,
				    f->names.v[i].name);
	flight_forget(f->e, f->moment, &l);
}

static bool gone_from(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT;
}

/* The object holds one name of several recorded: if it can have but one, the rest,
 * which a crash may have left, are looked at too. */
static void try_rest(struct finder *f, bool *tried, size_t from)
{
	if (!f->n->is_dir && f->out->st.st_nlink != 1)
		return;
	for (size_t i = from; i < f->names.n; i++) {
		AUTO_CLOSE int dir = -1;

		if (!dir_open(f->e, f->r, f->names.v[i].parent, &dir))
			tried[i] = gone_from(dir, f->names.v[i].name);
	}
}

static vex_err by_name(struct finder *f)
{
	AUTO_FREE bool *tried = calloc(f->names.n + 1, sizeof(*tried));

	if (!tried)
		return -ENOMEM;
	for (size_t i = 0; i < f->names.n; i++) {
		const struct name_at *at = &f->names.v[i];
		AUTO_CLOSE int dir = -1;
		vex_err err = dir_open(f->e, f->r, at->parent, &dir);

		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		if (node_holds(f->e, f->r, f->n, dir, at->name, &f->out->st)) {
			try_rest(f, tried, i + 1);
			forget_names(f, tried);
			return take_place(f, &dir, at->name, at->parent);
		}
		tried[i] = gone_from(dir, at->name);
	}
	return -ENOENT;
}

/* ---- elsewhere -------------------------------------------------------------------- */

/* The inode by its handle, where the kernel knows a path of it. */
static vex_err by_path(struct finder *f)
{
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int dir = -1;
	AUTO_FREE char *name = NULL;
	struct stat st;

	if (!f->e->handles || !f->n->fh.len || f->n->fh_old)
		return -ENOENT;
	if (vex_fh_open(f->e->rootfd, &f->n->fh, O_PATH | O_CLOEXEC, &fd) ||
	    fstat(fd, &st) || !st.st_nlink)
		return -ENOENT;
	if (climb_where(f->e, fd, &st, &dir, &name))
		return -ENOENT;
	if (!node_holds(f->e, f->r, f->n, dir, name, &f->out->st))
		return -ENOENT;
	node_note_name(f->e, f->r, f->n->id, dir, name);
	return take_place(f, &dir, name, 0);
}

static vex_err scan_dir(struct finder *f, int dir, uint64_t parent)
{
	AUTO_CLOSE int fd = vex_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	vex_err err = -ENOENT;
	struct dirent *at;

	if (!d)
		return -ENOENT;
	fd = -1;
	for (unsigned i = 0; err == -ENOENT && i < SCAN_MAX && (at = readdir(d)); i++) {
		int own = -1;

		if (at->d_ino != f->n->ino || !strcmp(at->d_name, ".") ||
		    !strcmp(at->d_name, ".."))
			continue;
		if (!node_holds(f->e, f->r, f->n, dir, at->d_name, &f->out->st))
			continue;
		node_note_name(f->e, f->r, f->n->id, dir, at->d_name);
		err = vex_dup(dir, &own);
		if (!err)
			err = take_place(f, &own, at->d_name, parent);
		vex_cleanup_fd(&own);
	}
	closedir(d);
	return err;
}

/* Renamed within a directory where it had a name, and in no cache of the kernel's. */
static vex_err by_scan(struct finder *f)
{
	if (f->n->fh_old)
		return -ENOENT;
	for (size_t i = 0; i < f->names.n; i++) {
		AUTO_CLOSE int dir = -1;
		vex_err err = dir_open(f->e, f->r, f->names.v[i].parent, &dir);

		if (!err)
			err = scan_dir(f, dir, f->names.v[i].parent);
		if (err != -ENOENT)
			return err;
	}
	return -ENOENT;
}

static vex_err root_place(struct vex_engine *e, struct place *out)
{
	vex_err err = vex_dup(e->rootfd, &out->dirfd);

	if (err)
		return err;
	if (fstat(out->dirfd, &out->st))
		return -errno;
	out->name = strdup("");
	out->parent = ROOT_NODE;
	return out->name ? 0 : -ENOMEM;
}

#define RENAMES_MAX 3

/* While names were tried one after the other, the file may have moved from one not yet
 * tried to one already tried: then once more. */
static vex_err by_names(struct finder *f)
{
	vex_err err = -ENOENT;

	for (int i = 0; i < RENAMES_MAX && err == -ENOENT; i++) {
		namelist_free(&f->names);
		f->moment = flight_moment(f->e);
		err = namelist_read(f->r, f->n->id, &f->names);
		if (!err)
			err = by_name(f);
		if (f->moment && f->moment == flight_moment(f->e))
			break;
	}
	return err;
}

static vex_err find(struct finder *f)
{
	vex_err err = by_names(f);

	if (err != -ENOENT || dircache_lost(f->e->dircache, f->n->id))
		return err;
	err = by_path(f);
	if (err == -ENOENT)
		err = by_scan(f);
	if (err == -ENOENT && f->moment && f->moment == flight_moment(f->e))
		dircache_lose(f->e->dircache, f->n->id);
	return err;
}

vex_err place_of(struct vex_engine *e, struct vex_reader *r, struct vex_node *n,
		 struct place *out)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct finder f = { .e = e, .r = r, .n = n, .out = &p };
	vex_err err = n->id == ROOT_NODE ? root_place(e, &p) : find(&f);

	namelist_free(&f.names);
	if (err)
		return err;
	if (!p.parent && node_of_dir(e, p.dirfd, &p.parent))
		p.parent = 0;
	*out = p;
	p = (struct place)PLACE_INIT;
	return 0;
}

vex_err place_find(struct vex_engine *e, struct vex_reader *r, uint64_t node,
		   struct place *out)
{
	struct vex_node n;
	vex_err err = vex_read_node(r, node, &n);

	return err ? err : place_of(e, r, &n, out);
}
