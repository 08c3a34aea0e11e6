/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a file belongs to a set, by the table of attributes alone: does the filter
 * hold, does it lie below a directory, may the caller read it and search all above it. As
 * verdict.c and where.c ask it of the file itself; what the table does not know counts as
 * yes, for a hit is asked again, and a no is final.
 *
 * Verdicts on directories are remembered for as long as one evaluation of many files.
 */
#include "attrs_i.h"

#define ACL_XATTR "system.posix_acl_access"
#define DEPTH_MAX 512u
#define NAMES_MAX 128u

struct subject {
	struct set_eval *v;
	const struct attr_rec *r;
	bool unknown;
};

void set_eval_begin(struct set_eval *v, struct search *s, const struct attr_table *t,
		    enum set_kind kind)
{
	*v = (struct set_eval){ .s = s, .t = t, .kind = kind };
	v->under = s->under_node;
	v->uses_dirs = kind != SET_WHERE || strcasestr(s->q->where, "path");
}

void set_eval_end(struct set_eval *v)
{
	memo_free(&v->dirs);
	vex_buf_free(&v->path);
}

/* ---- the filter -------------------------------------------------------------------- */

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

/* Names of the directories above, from the root down, then its own. */
static vex_err get_path(struct subject *f, struct vex_filter_value *out)
{
	const char *names[NAMES_MAX];
	struct vex_buf *b = &f->v->path;
	const struct attr_rec *r = f->r;
	size_t n = 0;

	b->len = 0;
	for (;;) {
		names[n++] = r->text;
		if (r->parent == ROOT_NODE || !*r->text)
			break;
		r = attr_at(f->v->t, r->parent);
		if (!r || !r->there || n == NAMES_MAX) {
			f->unknown = true;
			return 0;
		}
	}
	while (n) {
		vex_buf_str(b, names[--n]);
		if (n)
			vex_buf_str(b, "/");
	}
	if (!b->len)
		vex_buf_str(b, ".");
	if (!b->err)
		set_text(out, b->data, b->len);
	return b->err;
}

static vex_err get(void *arg, const struct vex_filter_col *c,
		   struct vex_filter_value *out)
{
	struct subject *f = arg;
	const struct attr_rec *r = f->r;
	const char *name = *r->text ? r->text : ".", *value;
	size_t len;

	switch (c->kind) {
	case VEX_FILTER_NAME:
		set_text(out, name, strlen(name));
		return 0;
	case VEX_FILTER_PATH:
		return get_path(f, out);
	case VEX_FILTER_SIZE:
		set_int(out, r->size);
		return 0;
	case VEX_FILTER_MTIME: {
		int64_t rest = r->mtime_ns % 1000000000, whole = r->mtime_ns / 1000000000;

		whole -= rest < 0;
		rest += rest < 0 ? 1000000000 : 0;
		out->type = VEX_FILTER_REAL;
		out->d = (double)whole + (double)rest / 1e9;
		return 0;
	}
	case VEX_FILTER_UID:
		set_int(out, r->uid);
		return 0;
	case VEX_FILTER_GID:
		set_int(out, r->gid);
		return 0;
	case VEX_FILTER_MODE:
		set_int(out, r->mode & 07777);
		return 0;
	case VEX_FILTER_XATTR:
		value = attr_xattr(r, c->xattr, &len);
		if (value)
			set_text(out, value, len);
		else
			f->unknown |= r->partly;
		return 0;
	}
	return -EINVAL;
}

static int by_filter(struct set_eval *v, const struct attr_rec *r)
{
	struct subject f = { .v = v, .r = r };
	int yes = vex_filter_test(v->s->where, get, &f);

	return yes < 0 ? yes : yes || f.unknown;
}

/* ---- directories ------------------------------------------------------------------- */

static int may(const struct vex_cred *c, const struct attr_rec *r, int want)
{
	struct stat st = { .st_uid = r->uid, .st_gid = r->gid, .st_mode = r->mode };
	const char *acl;
	size_t len = 0;

	acl = attr_xattr(r, ACL_XATTR, &len);
	if (!acl && r->partly)
		return 1;
	return !perm_bits(c, &st, (const uint8_t *)acl, acl ? len : 0, want);
}

/* 1, 0: decided here; -1: by what is above. */
static int dir_here(const struct set_eval *v, uint64_t node, const struct attr_rec *r)
{
	if (v->kind == SET_UNDER) {
		if (node == v->under)
			return 1;
		return !r || !r->there ? 1 : node == ROOT_NODE ? 0 : -1;
	}
	if (!r || !r->there)
		return 1;
	if (!may(v->s->q->cred, r, X_OK))
		return 0;
	return node == ROOT_NODE ? 1 : -1;
}

/* What the directory, and those above it, say of a file in it. */
static int by_dirs(struct set_eval *v, uint64_t node)
{
	uint64_t first = node;
	int yes = -1;

	for (unsigned i = 0; yes < 0; i++) {
		const struct attr_rec *r = attr_at(v->t, node);

		yes = memo_get(&v->dirs, 0, node);
		if (yes < 0)
			yes = i < DEPTH_MAX ? dir_here(v, node, r) : 1;
		if (yes < 0)
			node = r->parent;
	}
	memo_put(&v->dirs, 0, first, yes);
	return yes;
}

int set_eval(struct set_eval *v, uint64_t node)
{
	const struct attr_rec *r = attr_at(v->t, node);

	if (!r)
		return 1;
	if (!r->there)
		return 0;
	if (v->kind == SET_WHERE)
		return by_filter(v, r);
	if (v->kind == SET_CRED && !may(v->s->q->cred, r, R_OK))
		return 0;
	/* The root is in no directory, and not below itself. */
	if (!*r->text)
		return v->kind == SET_CRED;
	return by_dirs(v, r->parent);
}
