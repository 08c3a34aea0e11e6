/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a commit does to memory, after it: all of it under one hold of store.pub, so a
 * view sees a change list whole or not at all, across spaces. Under the lock only bits
 * and pointers move.
 */
#include "store_i.h"

static void add_slots(struct effect *f)
{
	struct vex_space *sp = f->sp;

	for (uint64_t i = f->slot; i < f->slot + f->rows; i++) {
		bit_set(sp->live, i);
		bit_clear(sp->bad, i);
	}
	sp->bits_changed++;
	sp->rows_lsn = f->lsn;
	sp->live_rows += f->rows;
	sp->attachments++;
	if (f->slot + f->rows > sp->top)
		sp->top = f->slot + f->rows;
}

/* Slots with damage are not used again before the next open: another row of the
 * catalog may claim them too. */
static void free_slots(struct effect *f)
{
	struct vex_space *sp = f->sp;
	uint32_t tainted = 0;

	sp->attachments--;
	sp->bits_changed++;
	if (f->slot + f->rows > sp->bitmap_slots || f->slot + f->rows < f->slot) {
		f->rows = 0;
		return;
	}
	for (uint64_t i = f->slot; i < f->slot + f->rows; i++) {
		tainted += bit_get(sp->bad, i);
		sp->live_rows -= bit_get(sp->live, i);
		bit_clear(sp->live, i);
	}
	if (tainted)
		f->rows = 0;
}

static void set_spec(struct effect *f)
{
	struct vex_space_spec *to = &f->sp->spec;

	to->index = f->spec->index;
	to->m = f->spec->m;
	to->ef_construction = f->spec->ef_construction;
	to->ef_search = f->spec->ef_search;
	to->quant = f->spec->quant;
	to->recall = f->spec->recall;
}

static void show(struct writer *w, struct effect *f)
{
	switch (f->kind) {
	case FX_ADD:
		add_slots(f);
		break;
	case FX_FREE:
		free_slots(f);
		break;
	case FX_SPACE_NEW:
		spaces_insert_locked(w->s, f->sp);
		break;
	case FX_SPACE_DROP:
		spaces_remove_locked(w->s, f->sp);
		break;
	case FX_SPACE_SET:
		set_spec(f);
		break;
	}
}

static void finish(struct writer *w, struct effect *f)
{
	if (f->kind == FX_FREE && f->rows)
		slots_limbo(f->sp, f->lsn, f->slot, f->rows);
	if (f->kind == FX_SPACE_DROP) {
		vex_space_unref(f->sp);
		w->purging = true;
		w->purge_at = 0;
	}
	free(f->spec);
}

void publish(struct writer *w)
{
	struct vex_store *s = w->s;

	pthread_rwlock_wrlock(&s->pub);
	for (size_t i = 0; i < w->nfx; i++)
		show(w, &w->fx[i]);
	s->published = w->lsn;
	pthread_rwlock_unlock(&s->pub);
	for (size_t i = 0; i < w->nfx; i++) {
		redo_note(w, &w->fx[i]);
		finish(w, &w->fx[i]);
	}
	w->nfx = 0;
	atomic_store(&s->published_now, w->lsn);
	atomic_fetch_add(&s->nodes, (uint64_t)w->nodes);
	atomic_fetch_add(&s->changed, 1);
	w->nodes = 0;
	if (s->watch)
		s->watch(s->watch_arg);
}
