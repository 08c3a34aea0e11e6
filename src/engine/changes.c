/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change list that owns what its changes point to, so that the many small pieces of
 * one commit (keys, names, node rows, texts) need no owner of their own on the caller's
 * side. The first failed allocation sticks in `err`: a writer adds all its changes and
 * looks once, before the commit. Slots of puts are not owned: before the commit they
 * are the caller's to give back, from the commit on the store's.
 */
#include "engine_i.h"

void changes_free(struct changes *l)
{
	for (size_t i = 0; i < l->nowned; i++)
		free(l->owned[i]);
	free(l->owned);
	free(l->c);
	*l = (struct changes){ 0 };
}

/* Room for one more element of `size` bytes. */
static bool grow(struct changes *l, void **array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 8;
	void *p;

	if (l->err)
		return false;
	if (n < *cap)
		return true;
	p = reallocarray(*array, want, size);
	if (!p) {
		l->err = -ENOMEM;
		return false;
	}
	*array = p;
	*cap = want;
	return true;
}

struct vex_change *changes_add(struct changes *l, enum vex_change_kind kind)
{
	void *array = l->c;
	bool room = grow(l, &array, l->n, &l->cap, sizeof(*l->c));
	struct vex_change *c;

	l->c = array;
	if (!room)
		return NULL;
	c = &l->c[l->n++];
	*c = (struct vex_change){ .kind = kind };
	return c;
}

void *changes_dup(struct changes *l, const void *data, size_t len)
{
	void *array = l->owned;
	bool room = grow(l, &array, l->nowned, &l->capowned, sizeof(*l->owned));
	char *p;

	l->owned = array;
	if (!room)
		return NULL;
	p = malloc(len + 1);
	if (!p) {
		l->err = -ENOMEM;
		return NULL;
	}
	if (len)
		memcpy(p, data, len);
	p[len] = '\0';
	l->owned[l->nowned++] = p;
	return p;
}
