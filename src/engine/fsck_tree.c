/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backing tree against the catalog, with neither being changed: every file and
 * directory is looked at once, its mark read, and what carries one, or stands where the
 * catalog has a name, is written down (struct seen). What that means: fsck_judge.c.
 *
 * A directory's node is told by handle, else by mark, else by its recorded place. Nodes
 * and names are held in memory: some 200 bytes a file with attachments.
 */
#include <dirent.h>
#include <sys/stat.h>
#include "fsck_tree_i.h"

#define GROW(v, n, cap)                                                                  \
	({                                                                               \
		vex_err err_ = 0;                                                        \
		if ((n) == (cap)) {                                                      \
			size_t cap_ = (cap) ? (cap)*2 : 64;                              \
			void *p_ = reallocarray((v), cap_, sizeof(*(v)));                \
			if (p_) {                                                        \
				(v) = p_;                                                \
				(cap) = cap_;                                            \
			} else {                                                         \
				err_ = -ENOMEM;                                          \
			}                                                                \
		}                                                                        \
		err_;                                                                    \
	})

static void tree_free(struct tree *t)
{
	for (size_t i = 0; i < t->nnames; i++)
		free(t->name[i].name);
	for (size_t i = 0; i < t->nseen; i++)
		free(t->seen[i].path);
	for (size_t i = 0; i < t->nstack; i++) {
		free(t->stack[i].path);
		free(t->stack[i].name);
	}
	free(t->fact);
	free(t->name);
	free(t->by_fh);
	free(t->seen);
	free(t->stack);
}

/* ---- what the catalog knows -------------------------------------------------------- */

static vex_err take_node(void *arg, const struct vex_node *n, uint64_t attached)
{
	struct tree *t = arg;
	vex_err err = GROW(t->fact, t->nfacts, t->capfacts);

	if (!err)
		t->fact[t->nfacts++] = (struct fact){ .n = *n, .attached = attached };
	return err;
}

static vex_err take_name(void *arg, uint64_t parent, const char *name, uint32_t len,
			 uint64_t node)
{
	struct tree *t = arg;
	char *copy = strndup(name, len);
	vex_err err = copy ? GROW(t->name, t->nnames, t->capnames) : -ENOMEM;

	if (err) {
		free(copy);
		return err;
	}
	t->name[t->nnames++] =
	    (struct known_name){ .parent = parent, .node = node, .name = copy };
	return 0;
}

static int cmp_fh(const struct vex_fh *a, const struct vex_fh *b)
{
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->bytes, b->bytes, a->len);
}

static int by_fh(const void *a, const void *b)
{
	return cmp_fh(&(*(struct fact *const *)a)->n.fh,
		      &(*(struct fact *const *)b)->n.fh);
}

static int by_place(const void *a, const void *b)
{
	const struct known_name *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return strcmp(x->name, y->name);
}

static vex_err read_catalog(struct tree *t)
{
	vex_err err = vex_check_nodes(t->c, take_node, t);

	if (!err)
		err = vex_check_names(t->c, take_name, t);
	if (err)
		return err;
	t->by_fh = calloc(t->nfacts + 1, sizeof(struct fact *));
	if (!t->by_fh)
		return -ENOMEM;
	for (size_t i = 0; i < t->nfacts; i++)
		if (t->fact[i].n.is_dir && t->fact[i].n.fh.len && !t->fact[i].n.fh_old)
			t->by_fh[t->nfh++] = &t->fact[i];
	qsort(t->by_fh, t->nfh, sizeof(struct fact *), by_fh);
	if (t->nnames)
		qsort(t->name, t->nnames, sizeof(*t->name), by_place);
	return 0;
}

struct fact *fsck_fact(struct tree *t, uint64_t id)
{
	size_t lo = 0, hi = t->nfacts;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->fact[mid].n.id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->nfacts && t->fact[lo].n.id == id ? &t->fact[lo] : NULL;
}

static struct fact *dir_of_fh(struct tree *t, const struct vex_fh *fh)
{
	struct fact key = { .n.fh = *fh }, *k = &key, **f;

	if (!fh->len || !t->nfh)
		return NULL;
	f = bsearch(&k, t->by_fh, t->nfh, sizeof(*t->by_fh), by_fh);
	return f ? *f : NULL;
}

/* The first name recorded at that place; those of other nodes follow it. */
static size_t name_at(struct tree *t, uint64_t parent, const char *name)
{
	struct known_name key = { .parent = parent, .name = (char *)name };
	size_t lo = 0, hi = t->nnames;

	while (parent && lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (by_place(&t->name[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return parent ? lo : t->nnames;
}

static bool is_at(const struct tree *t, size_t i, uint64_t parent, const char *name)
{
	return i < t->nnames && t->name[i].parent == parent &&
	       !strcmp(t->name[i].name, name);
}

/* ---- one entry ----------------------------------------------------------------------
 */

struct entry {
	int dirfd;
	const char *name;
	uint64_t parent; /* node */
	struct stat st;
	struct vex_fh fh; /* len 0 on other filesystems than the root's */
	struct mark mark;
	bool marked, lost, guess; /* as struct seen */
};

bool fsck_handle_fits(const struct vex_node *n, const struct vex_fh *fh)
{
	return n->fh.len && !n->fh_old && vex_fh_equal(&n->fh, fh);
}

/* Without a mark: which of the nodes recorded here it is. */
static struct fact *by_name(struct tree *t, struct entry *x)
{
	for (size_t i = name_at(t, x->parent, x->name); is_at(t, i, x->parent, x->name);
	     i++) {
		struct fact *f = fsck_fact(t, t->name[i].node);

		if (!f || f->n.state != VEX_LIVE || f->n.is_dir != S_ISDIR(x->st.st_mode))
			continue;
		x->lost = f->n.has_mark;
		if (fsck_handle_fits(&f->n, &x->fh))
			return f;
		x->guess = true;
		if (f->n.is_dir && (f->n.fh_old || !f->n.fh.len))
			return f;
		if (f->n.has_mark && !f->n.is_dir && f->n.size == x->st.st_size &&
		    mtime_kept(f->n.mtime_ns, &x->st))
			return f;
	}
	x->lost = x->guess = false;
	return NULL;
}

static struct fact *node_of(struct tree *t, struct entry *x)
{
	struct fact *f = NULL;

	if (x->marked)
		f = fsck_fact(t, x->mark.id);
	if (f && mark_is(&x->mark, &f->n))
		return f;
	if (x->marked)
		return NULL;
	if (S_ISDIR(x->st.st_mode))
		f = dir_of_fh(t, &x->fh);
	x->lost = f && f->n.has_mark;
	return f ? f : by_name(t, x);
}

/* Marks the name as one that holds; false: it is not recorded. */
static bool hold_name(struct tree *t, const struct entry *x, struct fact *f)
{
	for (size_t i = name_at(t, x->parent, x->name); is_at(t, i, x->parent, x->name);
	     i++) {
		if (t->name[i].node != f->n.id)
			continue;
		f->holds += !t->name[i].holds;
		t->name[i].holds = true;
		return true;
	}
	return false;
}

static vex_err see(struct tree *t, const struct entry *x, struct fact *f,
		   const char *path, bool at_name)
{
	vex_err err = GROW(t->seen, t->nseen, t->capseen);
	struct seen *s;

	if (err)
		return err;
	s = &t->seen[t->nseen];
	*s = (struct seen){
		.id = f ? f->n.id : x->mark.id,
		.marked = x->marked,
		.at_name = at_name,
		.lost = x->lost,
		.guess = x->guess,
		.mark = x->mark,
		.fh = x->fh,
		.dev = x->st.st_dev,
		.ino = x->st.st_ino,
		.path = strdup(path),
	};
	if (!s->path)
		return -ENOMEM;
	t->nseen++;
	return 0;
}

static vex_err push(struct tree *t, const char *path, uint64_t parent, const char *name)
{
	vex_err err = GROW(t->stack, t->nstack, t->capstack);
	struct folder f = { .parent = parent };

	if (err)
		return err;
	f.path = strdup(path);
	f.name = strdup(name);
	if (!f.path || !f.name) {
		free(f.path);
		free(f.name);
		return -ENOMEM;
	}
	t->stack[t->nstack++] = f;
	return 0;
}

static vex_err look_at(struct tree *t, struct entry *x, const char *path)
{
	struct fact *f;
	bool held;

	x->marked = !mark_read_at(x->dirfd, x->name, &x->mark);
	memset(&x->fh, 0, sizeof(x->fh));
	if (x->st.st_dev == t->dev && vex_fh_get(x->dirfd, x->name, &x->fh, NULL))
		x->fh.len = 0;
	f = node_of(t, x);
	held = f && hold_name(t, x, f);
	return f || x->marked ? see(t, x, f, path, held) : 0;
}

/* ---- the walk ------------------------------------------------------------------------
 */

/* The node of a directory on the stack, 0: it has none. */
static uint64_t folder_node(struct tree *t, int fd, const struct folder *d)
{
	struct entry x = { .dirfd = fd, .name = d->name, .parent = d->parent };
	struct fact *f;

	if (!*d->path)
		return ROOT_NODE;
	if (fstat(fd, &x.st))
		return 0;
	x.marked = !mark_read(fd, &x.mark);
	if (x.st.st_dev == t->dev && vex_fh_get(fd, "", &x.fh, NULL))
		x.fh.len = 0;
	f = node_of(t, &x);
	return f ? f->n.id : 0;
}

static vex_err walk_entry(struct tree *t, int fd, const struct folder *d, uint64_t node,
			  const char *name)
{
	AUTO_BUF struct vex_buf path = { 0 };
	struct entry x = { .dirfd = fd, .name = name, .parent = node };
	vex_err err;

	if (fstatat(fd, name, &x.st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(x.st.st_mode) && !S_ISDIR(x.st.st_mode))
		return 0;
	if (x.st.st_ino == t->hidden && x.st.st_dev == t->dev)
		return 0;
	vex_buf_fmt(&path, "%s%s%s", d->path, *d->path ? "/" : "", name);
	if (path.err)
		return path.err;
	vex_buf_add(&path, "", 1);
	err = path.err ? path.err : look_at(t, &x, path.data);
	if (!err && S_ISDIR(x.st.st_mode))
		err = push(t, path.data, node, name);
	return err;
}

static vex_err walk_folder(struct tree *t, const struct folder *d)
{
	int fd = openat(t->rootfd, *d->path ? d->path : ".",
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	vex_err err = 0;
	uint64_t node;

	if (!dir) {
		err = fsck_add(t->l, &(struct fsck_finding){ .fix = FSCK_LEFT },
			       "%s: cannot be looked at: %s", d->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return err;
	}
	node = folder_node(t, fd, d);
	while (!err && (e = readdir(dir))) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = walk_entry(t, fd, d, node, e->d_name);
		if (t->l->stop && *t->l->stop)
			err = -ECANCELED;
	}
	closedir(dir);
	return err;
}

static vex_err walk(struct tree *t)
{
	vex_err err = push(t, "", 0, "");

	while (!err && t->nstack) {
		struct folder d = t->stack[--t->nstack];

		err = walk_folder(t, &d);
		free(d.path);
		free(d.name);
	}
	return err;
}

/* On the heap, as the tree is: small frames, whatever the compiler inlines. */
static vex_err probe(struct tree *t)
{
	AUTO_FREE struct stat *st = calloc(2, sizeof(*st));

	if (!st)
		return -ENOMEM;
	if (fstat(t->rootfd, &st[0]) ||
	    fstatat(t->rootfd, ".vexfs", &st[1], AT_SYMLINK_NOFOLLOW))
		return -errno;
	t->dev = st[0].st_dev;
	t->hidden = st[1].st_ino;
	return 0;
}

vex_err fsck_tree(struct vex_check *c, int rootfd, struct fsck_list *l)
{
	struct tree *t = calloc(1, sizeof(*t));
	vex_err err;

	if (!t)
		return -ENOMEM;
	t->c = c;
	t->l = l;
	t->rootfd = rootfd;
	err = probe(t);
	if (!err)
		err = read_catalog(t);
	if (!err)
		err = walk(t);
	if (!err)
		err = fsck_judge(t);
	tree_free(t);
	free(t);
	return err;
}
