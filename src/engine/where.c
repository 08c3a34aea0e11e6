/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --where: the values of one file for a filter (store/filter.c), which asks for those
 * it needs. The file has been found and the caller may read it (verdict.c), so nothing
 * is told here that the caller could not ask the file itself.
 *
 * Name and path are those of the place found, as a hit will show it; "." both for the
 * root. Mode is the
 * permission bits. An xattr the file does not have is NULL, and so is one that cannot
 * be read: a filesystem without xattrs has none.
 */
#include <sys/xattr.h>
#include "search_i.h"

struct subject {
	struct search *s;
	const struct place *p;
	const char *base; /* its name; p->name may be a path to it */
	struct vex_buf path;
	bool have_path;
};

static void set_text(struct vex_filter_value *v, const char *text, size_t len)
{
	v->type = VEX_FILTER_TEXT;
	v->text = text;
	v->len = len;
}

static void set_int(struct vex_filter_value *v, int64_t i)
{
	v->type = VEX_FILTER_INT;
	v->i = i;
}

/* The path of the directory, found out once for the files of it that come together. */
static vex_err dir_path(struct subject *f, const struct vex_buf **out)
{
	struct search *s = f->s;
	vex_err err = 0;

	if (!f->p->parent || f->p->parent != s->where_parent) {
		s->where_parent = 0;
		s->where_dir.len = 0;
		err = place_dir_path(s->e, f->p->dirfd, &s->where_dir);
	}
	if (!err)
		err = s->where_dir.err;
	if (err)
		return err;
	s->where_parent = f->p->parent;
	*out = &s->where_dir;
	return 0;
}

static vex_err find_path(struct subject *f)
{
	const struct vex_buf *dir = NULL;
	vex_err err;

	if (!*f->p->name) {
		vex_buf_str(&f->path, ".");
		return f->path.err;
	}
	err = dir_path(f, &dir);
	if (err)
		return err;
	vex_buf_add(&f->path, dir->data, dir->len);
	if (dir->len)
		vex_buf_str(&f->path, "/");
	vex_buf_str(&f->path, f->p->name);
	return f->path.err;
}

/* NULL where it is gone from where it was a moment ago: hits_build will see. */
static vex_err get_path(struct subject *f, struct vex_filter_value *v)
{
	vex_err err = f->have_path ? 0 : find_path(f);

	if (err == -EFBIG || err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err == -EFBIG ? -ENOMEM : err;
	f->have_path = !err;
	if (!err)
		set_text(v, f->path.data, f->path.len);
	return 0;
}

static vex_err get_xattr(struct subject *f, const char *attr, struct vex_filter_value *v)
{
	char path[NAME_MAX + 48];
	const char *name = f->p->name;
	ssize_t n;

	if (!f->s->where_value)
		f->s->where_value = malloc(VEX_VALUE_MAX);
	if (!f->s->where_value)
		return -ENOMEM;
	n = snprintf(path, sizeof(path), "%s%s%s", vex_procfd(f->p->dirfd).path,
		     *name ? "/" : "", name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return 0;
	/* The descriptor's own link has to be followed, a name must not. */
	n = *name ? lgetxattr(path, attr, f->s->where_value, VEX_VALUE_MAX)
		  : getxattr(path, attr, f->s->where_value, VEX_VALUE_MAX);
	if (n < 0)
		return errno == ENOMEM ? -ENOMEM : 0;
	set_text(v, f->s->where_value, (size_t)n);
	return 0;
}

static vex_err get(void *arg, const struct vex_filter_col *c, struct vex_filter_value *v)
{
	struct subject *f = arg;
	const struct stat *st = &f->p->st;
	const char *name;

	switch (c->kind) {
	case VEX_FILTER_NAME:
		name = *f->base ? f->base : ".";
		set_text(v, name, strlen(name));
		return 0;
	case VEX_FILTER_PATH:
		return get_path(f, v);
	case VEX_FILTER_SIZE:
		set_int(v, st->st_size);
		return 0;
	case VEX_FILTER_MTIME:
		v->type = VEX_FILTER_REAL;
		v->d = (double)st->st_mtim.tv_sec + (double)st->st_mtim.tv_nsec / 1e9;
		return 0;
	case VEX_FILTER_UID:
		set_int(v, st->st_uid);
		return 0;
	case VEX_FILTER_GID:
		set_int(v, st->st_gid);
		return 0;
	case VEX_FILTER_MODE:
		set_int(v, st->st_mode & 07777);
		return 0;
	case VEX_FILTER_XATTR:
		return get_xattr(f, c->xattr, v);
	}
	return -EINVAL;
}

static int test(struct subject *f)
{
	struct search *s = f->s;
	int yes = where_prepare(s);

	if (!yes)
		yes = vex_filter_test(s->where, get, f);

	vex_buf_free(&f->path);
	if (yes == -ETIMEDOUT)
		search_say(s, "where: testing the files took more than a minute");
	return yes;
}

int where_test(struct search *s, const struct place *p)
{
	struct subject f = { .s = s, .p = p, .base = p->name };

	return test(&f);
}

int where_test_path(struct search *s, const char *path, const struct stat *st)
{
	const char *slash = strrchr(path, '/');
	struct place p = { .dirfd = s->e->rootfd, .name = (char *)(uintptr_t)path };
	struct subject f = { .s = s, .p = &p, .base = slash ? slash + 1 : path };

	vex_deep_only();
	/* Longer ones would not fit get_xattr. */
	if (strlen(path) > NAME_MAX)
		return -EAGAIN;
	p.st = *st;
	vex_buf_str(&f.path, path);
	f.have_path = !f.path.err;
	return test(&f);
}

static VEX_APART vex_err compile(struct search *s)
{
	vex_deep_only();
	return vex_filter_new(s->q->where, &s->where, s->problem);
}

vex_err where_prepare(struct search *s)
{
	/* On a small stack it is enough that it was found to be one before: cands.c has
	 * its set of files. */
	if (!s->q->where || s->where || !s->r)
		return 0;
	return compile(s);
}

void where_free(struct search *s)
{
	vex_filter_free(s->where);
	free(s->where_value);
	vex_buf_free(&s->where_dir);
}
