/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of live spaces: two sorted arrays, under store.pub.
 *
 * A new space enters, and a dropped one leaves, when its commit is published, in the
 * same moment as the rows of that commit. Whoever holds a reference goes on using a
 * dropped space; no change names it any more.
 */
#include "store_i.h"

static uint32_t lower_id(const struct vex_store *s, uint32_t id)
{
	uint32_t lo = 0, hi = s->nspaces;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (s->by_id[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint32_t lower_name(const struct vex_store *s, const char *name)
{
	uint32_t lo = 0, hi = s->nspaces;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (strcmp(s->by_name[mid]->spec.name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void insert(struct vex_space **list, uint32_t n, uint32_t at, struct vex_space *sp)
{
	memmove(list + at + 1, list + at, (n - at) * sizeof(*list));
	list[at] = sp;
}

static void cut_out(struct vex_space **list, uint32_t n, uint32_t at)
{
	memmove(list + at, list + at + 1, (n - at - 1) * sizeof(*list));
}

void spaces_insert_locked(struct vex_store *s, struct vex_space *sp)
{
	insert(s->by_id, s->nspaces, lower_id(s, sp->id), sp);
	insert(s->by_name, s->nspaces, lower_name(s, sp->spec.name), sp);
	s->nspaces++;
}

void spaces_remove_locked(struct vex_store *s, struct vex_space *sp)
{
	cut_out(s->by_id, s->nspaces, lower_id(s, sp->id));
	cut_out(s->by_name, s->nspaces, lower_name(s, sp->spec.name));
	s->nspaces--;
}

struct vex_space *spaces_by_id_locked(struct vex_store *s, uint32_t id)
{
	uint32_t at = lower_id(s, id);

	return at < s->nspaces && s->by_id[at]->id == id ? s->by_id[at] : NULL;
}

bool space_is_live(struct vex_store *s, uint32_t id)
{
	SCOPED_RDLOCK(&s->pub);
	return spaces_by_id_locked(s, id) != NULL;
}

vex_err vex_space_find(struct vex_store *s, const char *name, struct vex_space **out)
{
	uint32_t at;

	SCOPED_RDLOCK(&s->pub);
	at = lower_name(s, name);
	if (at == s->nspaces || strcmp(s->by_name[at]->spec.name, name) != 0)
		return -ENODEV;
	*out = vex_space_ref(s->by_name[at]);
	return 0;
}

vex_err vex_space_find_id(struct vex_store *s, uint32_t id, struct vex_space **out)
{
	struct vex_space *sp;

	SCOPED_RDLOCK(&s->pub);
	sp = spaces_by_id_locked(s, id);
	if (!sp)
		return -ENODEV;
	*out = vex_space_ref(sp);
	return 0;
}

vex_err vex_space_next(struct vex_store *s, uint32_t after, struct vex_space **out)
{
	uint32_t at;

	SCOPED_RDLOCK(&s->pub);
	at = after == UINT32_MAX ? s->nspaces : lower_id(s, after + 1);
	if (at == s->nspaces)
		return -ENODEV;
	*out = vex_space_ref(s->by_id[at]);
	return 0;
}

uint32_t vex_space_id(const struct vex_space *sp)
{
	return sp->id;
}

void vex_space_spec(struct vex_space *sp, struct vex_space_spec *out)
{
	SCOPED_RDLOCK(&sp->store->pub);
	*out = sp->spec;
}

uint32_t vex_space_dim(const struct vex_space *sp)
{
	return sp->dim;
}

uint8_t vex_space_metric(const struct vex_space *sp)
{
	return sp->metric;
}

size_t vex_space_stride(const struct vex_space *sp)
{
	return sp->stride;
}

const struct vex_layout *vex_space_layout(const struct vex_space *sp)
{
	return &sp->layout;
}

void vex_space_counts(struct vex_space *sp, struct vex_space_counts *out)
{
	uint64_t cap;

	pthread_mutex_lock(&sp->alloc);
	cap = sp->cap;
	pthread_mutex_unlock(&sp->alloc);
	SCOPED_RDLOCK(&sp->store->pub);
	*out = (struct vex_space_counts){
		.attachments = sp->attachments,
		.rows = sp->live_rows,
		.slots = cap,
		.bytes = cap * (sp->stride + sizeof(struct fmt_rec)),
		.damaged = sp->damaged,
	};
}

static vex_err flush_locked(struct vex_store *s)
{
	uint32_t id = 0;

	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;
		vex_err err;

		if (vex_space_next(s, id, &sp))
			break;
		err = slotfile_flush(sp);
		if (err)
			return err;
		id = sp->id;
	}
	if (atomic_exchange(&s->dir_dirty, false) && fsync(s->spacesfd))
		return -EIO;
	return 0;
}

vex_err spaces_flush_fresh(struct vex_store *s, struct vex_space *const *fresh, size_t n)
{
	vex_err err = 0;

	SCOPED_LOCK(&s->flush);
	for (size_t i = 0; i < n && !err; i++)
		err = slotfile_flush(fresh[i]);
	if (!err && atomic_exchange(&s->dir_dirty, false) && fsync(s->spacesfd))
		err = -EIO;
	if (err)
		s->flush_failed = true;
	return s->flush_failed ? -EIO : 0;
}

/* What one has begun to flush is no longer dirty, but not yet flushed: the lock makes
 * the next one wait for the end of it. And what failed for one has failed for all: the
 * kernel tells of a lost page only once. */
vex_err spaces_flush(struct vex_store *s, struct vex_space *const *fresh, size_t n)
{
	vex_err err = 0;

	SCOPED_LOCK(&s->flush);
	for (size_t i = 0; i < n && !err; i++)
		err = slotfile_flush(fresh[i]);
	if (!err)
		err = flush_locked(s);
	if (err)
		s->flush_failed = true;
	return s->flush_failed ? -EIO : 0;
}
