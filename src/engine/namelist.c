/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the catalog copied out before anything is done with them: a reader's
 * callback must not use the reader again.
 */
#include "names_i.h"

void namelist_free(struct namelist *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
	*l = (struct namelist){ 0 };
}

static vex_err take_name(void *arg, uint64_t parent, const char *name, uint32_t len)
{
	struct namelist *l = arg;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		struct name_at *v = reallocarray(l->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n].parent = parent;
	l->v[l->n].name = strndup(name, len);
	if (!l->v[l->n].name)
		return -ENOMEM;
	l->n++;
	return 0;
}

vex_err namelist_read(struct vex_reader *r, uint64_t node, struct namelist *l)
{
	return vex_read_names(r, node, take_name, l);
}

bool namelist_has(const struct namelist *l, uint64_t parent, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].parent == parent && !strcmp(l->v[i].name, name))
			return true;
	return false;
}

void idlist_free(struct idlist *l)
{
	free(l->v);
	*l = (struct idlist){ 0 };
}

vex_err attach_add(struct vex_attach **v, size_t *n, size_t *cap,
		   const struct vex_attach *a)
{
	if (*n == *cap) {
		size_t more = *cap ? *cap * 2 : 8;
		struct vex_attach *grown = reallocarray(*v, more, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		*v = grown;
		*cap = more;
	}
	(*v)[(*n)++] = *a;
	return 0;
}

vex_err idlist_add(struct idlist *l, uint64_t id)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		uint64_t *v = reallocarray(l->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = id;
	return 0;
}

static vex_err take_id(void *arg, uint64_t node)
{
	return idlist_add(arg, node);
}

vex_err idlist_at(struct vex_reader *r, uint64_t parent, const char *name,
		  struct idlist *l)
{
	return vex_read_at(r, parent, name, (uint32_t)strlen(name), take_id, l);
}
