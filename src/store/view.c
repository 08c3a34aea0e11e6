/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views and the pins that hold their slots.
 *
 * A view has a copy of the bitmap, made under the read side of store.pub, so it lies
 * between two commits, and is pinned in the same moment. The copy is shared with the
 * views that come after, until the bits change. Pins are kept in the order of opening,
 * which is the order of the changes they see: the oldest one bounds what limbo may
 * give back.
 *
 * A reader of rows that needs no bitmap pins alone. A row whose change is later than
 * the pin cannot have been freed by anything the pin does not hold back.
 */
#include "store_i.h"

static void pin_insert_locked(struct vex_store *s, struct pin *p)
{
	SCOPED_LOCK(&s->pins);
	p->lsn = s->published;
	p->serial = ++s->pin_serial;
	p->next = NULL;
	p->prev = s->newest;
	if (s->newest)
		s->newest->next = p;
	else
		s->oldest = p;
	s->newest = p;
}

vex_err pin_add(struct vex_store *s, struct pin **out)
{
	struct pin *p = malloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	pthread_rwlock_rdlock(&s->pub);
	pin_insert_locked(s, p);
	pthread_rwlock_unlock(&s->pub);
	*out = p;
	return 0;
}

void pin_drop(struct vex_store *s, struct pin *p)
{
	pthread_mutex_lock(&s->pins);
	if (p->prev)
		p->prev->next = p->next;
	else
		s->oldest = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		s->newest = p->prev;
	pthread_mutex_unlock(&s->pins);
	free(p);
}

uint64_t pins_min(struct vex_store *s)
{
	SCOPED_LOCK(&s->pins);
	return s->oldest ? s->oldest->lsn : UINT64_MAX;
}

uint64_t pins_serial(struct vex_store *s)
{
	SCOPED_LOCK(&s->pins);
	return s->pin_serial;
}

bool pins_before(struct vex_store *s, uint64_t serial)
{
	SCOPED_LOCK(&s->pins);
	return s->oldest && s->oldest->serial <= serial;
}

/* ---- bitmaps ------------------------------------------------------------------------
 */

/* The live bits at one moment, shared by the views that were opened before the next. */
struct vex_bits {
	_Atomic uint32_t refs;
	uint64_t changed; /* as the space's bits_changed was */
	uint64_t words;   /* room */
	uint64_t live[];
};

void bits_drop(struct vex_bits *b)
{
	if (b && atomic_fetch_sub(&b->refs, 1) == 1)
		free(b);
}

static struct vex_bits *bits_new(uint64_t words)
{
	struct vex_bits *b = malloc(sizeof(*b) + words * sizeof(b->live[0]));

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->words = words;
	return b;
}

/* The copy made for an earlier view, where nothing has changed since. */
static struct vex_bits *bits_current(struct vex_space *sp)
{
	SCOPED_LOCK(&sp->bits_lock);
	struct vex_bits *b = sp->bits;

	if (!b || b->changed != sp->bits_changed)
		return NULL;
	atomic_fetch_add(&b->refs, 1);
	return b;
}

/* For the views to come. */
static void bits_keep(struct vex_space *sp, struct vex_bits *b)
{
	struct vex_bits *old;

	atomic_fetch_add(&b->refs, 1);
	pthread_mutex_lock(&sp->bits_lock);
	old = sp->bits;
	sp->bits = b;
	pthread_mutex_unlock(&sp->bits_lock);
	bits_drop(old);
}

static uint64_t words_of(const struct vex_space *sp)
{
	return (sp->top + 63) / 64;
}

/* Pins and fills the view, by the copy there is or, where that is out of date, by `own`
 * (may be NULL): then *words says how much room that takes, or took. False where there
 * was none. */
static bool fill(struct vex_space *sp, struct vex_view *v, struct pin *p,
		 struct vex_bits **own, uint64_t *words)
{
	struct vex_bits *b;

	SCOPED_RDLOCK(&sp->store->pub);
	*words = words_of(sp);
	b = bits_current(sp);
	if (!b && *own && (*own)->words >= *words) {
		b = take_ptr(own);
		if (sp->live)
			memcpy(b->live, sp->live, *words * sizeof(b->live[0]));
		b->changed = sp->bits_changed;
		bits_keep(sp, b);
	}
	if (!b)
		return false;
	pin_insert_locked(sp->store, p);
	v->bits = b;
	v->live = b->live;
	v->slots = sp->top;
	v->live_rows = sp->live_rows;
	v->attachments = sp->attachments;
	v->lsn = p->lsn;
	v->changed = sp->rows_lsn;
	return true;
}

vex_err vex_view_open(struct vex_space *sp, struct vex_view *v)
{
	AUTO_FREE struct pin *p = malloc(sizeof(*p));
	struct vex_bits *own = NULL;
	uint64_t words;

	if (!p)
		return -ENOMEM;
	*v = (struct vex_view){
		.layout = &sp->layout,
		.dim = sp->dim,
		.metric = sp->metric,
		.seg_shift = sp->seg_shift,
		.stride = sp->stride,
		.rows = (const uint8_t *const *)sp->rows,
		.norms = (const float *const *)sp->norms,
	};
	while (!fill(sp, v, p, &own, &words)) {
		bits_drop(own);
		own = bits_new(words);
		if (!own)
			return -ENOMEM;
	}
	bits_drop(own);
	v->space = vex_space_ref(sp);
	v->pin = (uint64_t)(uintptr_t)take_ptr(&p);
	return 0;
}

void vex_view_close(struct vex_view *v)
{
	if (!v->space)
		return;
	pin_drop(v->space->store, (struct pin *)(uintptr_t)v->pin);
	bits_drop(v->bits);
	vex_space_unref(v->space);
	memset(v, 0, sizeof(*v));
}

void vex_view_slot(const struct vex_view *v, uint64_t slot, struct vex_slot *out)
{
	const struct fmt_rec *rec = slot_rec(v->space, slot);

	*out = (struct vex_slot){ .node = rec->node, .lsn = rec->lsn, .row = rec->row };
}

void vex_view_expect(const struct vex_view *v, uint64_t slot)
{
	__builtin_prefetch(slot_rec(v->space, slot));
}

static struct claim claim_of(const struct vex_attach *a)
{
	return (struct claim){
		.lsn = a->lsn,
		.node = a->node,
		.slot = a->slot,
		.rows = a->rows,
		.key = rec_key(a->key, a->key_len),
	};
}

vex_err vex_view_verify(const struct vex_view *v, uint64_t slot,
			const struct vex_attach *a)
{
	struct claim c = claim_of(a);
	const struct fmt_rec *rec = slot_rec(v->space, slot);

	if (!vex_view_live(v, slot))
		return -EIO;
	/* The slot may be one the attachment was in before it was moved. */
	if (rec->row < a->rows &&
	    rec_holds(v->space, &c, rec->row, rec, vex_view_row(v, slot)))
		return 0;
	damage_slot(v->space, slot, "rows", "checksum mismatch");
	return -EIO;
}

/* ---- rows by attachment -------------------------------------------------- */

enum state { FINE, GONE, DAMAGED };

/* What memory says of the slots of an attachment, as of the pin. */
static enum state state_of(struct vex_space *sp, const struct vex_attach *a,
			   uint64_t pinned)
{
	enum state state = FINE;

	SCOPED_RDLOCK(&sp->store->pub);
	if (a->slot + a->rows > sp->bitmap_slots || a->slot + a->rows < a->slot)
		return DAMAGED;
	for (uint64_t i = a->slot; i < a->slot + a->rows; i++) {
		/* Not published yet: the bits still speak of the slot's last owner. */
		if (a->lsn > pinned)
			break;
		if (bit_get(sp->bad, i))
			return DAMAGED;
		if (!bit_get(sp->live, i))
			state = GONE;
	}
	return state;
}

/* Copies the rows: -EUCLEAN where one does not hold. */
static vex_err copy_rows(struct vex_space *sp, const struct vex_attach *a, void *out)
{
	struct claim c = claim_of(a);
	vex_err err = file_read(sp->rows_fd, out, a->rows * sp->stride,
				FMT_HEAD + a->slot * sp->stride);

	if (err)
		return err == -ENODATA || err == -EIO ? -EUCLEAN : err;
	for (uint32_t i = 0; i < a->rows; i++)
		if (!rec_holds(sp, &c, i, slot_rec(sp, a->slot + i),
			       (const char *)out + i * sp->stride))
			return -EUCLEAN;
	return 0;
}

/* Takes each row that does not hold out of service; `row` is room for one. */
static void damage_rows(struct vex_space *sp, const struct vex_attach *a, void *row)
{
	struct claim c = claim_of(a);

	for (uint32_t i = 0; i < a->rows; i++) {
		uint64_t slot = a->slot + i;

		if (file_read(sp->rows_fd, row, sp->stride, FMT_HEAD + slot * sp->stride))
			damage_slot(sp, slot, "rows", "cannot be read");
		else if (!rec_holds(sp, &c, i, slot_rec(sp, slot), row))
			damage_slot(sp, slot, "rows", "checksum mismatch");
	}
}

/* [deep] Whether the catalog still has that attachment, in those slots. */
static bool still_there(struct vex_store *s, const struct vex_attach *a)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_ATTACH struct vex_attach now = { 0 };

	return !vex_reader_get(s, &r) && !vex_read_attach_lsn(r, a->lsn, &now) &&
	       now.slot == a->slot && now.rows == a->rows;
}

static vex_err read_pinned(struct vex_space *sp, const struct vex_attach *a,
			   uint64_t pinned, void *out)
{
	enum state state = state_of(sp, a, pinned);
	vex_err err = -EUCLEAN;

	if (state == FINE)
		err = copy_rows(sp, a, out);
	if (err != -EUCLEAN)
		return err;
	if (!still_there(sp->store, a))
		return -ENODATA;
	if (state == GONE)
		return -EAGAIN;
	if (state == FINE)
		damage_rows(sp, a, out);
	return -EIO;
}

/* An attachment that was moved (compact.c) is in the catalog a moment before memory
 * knows of it: that moment is waited for. */
#define PUBLISH_TRIES 500
#define PUBLISH_WAIT_US 200

vex_err vex_read_rows(struct vex_store *s, const struct vex_attach *a, void *out)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	vex_err err = -EAGAIN;

	if (vex_space_find_id(s, a->space, &sp))
		return -ENODATA;
	if (atomic_load(&sp->broken))
		return -EIO;
	for (int i = 0; i < PUBLISH_TRIES && err == -EAGAIN; i++) {
		struct pin *p;

		if (i)
			usleep(PUBLISH_WAIT_US);
		err = pin_add(s, &p);
		if (err)
			return err;
		err = read_pinned(sp, a, p->lsn, out);
		pin_drop(s, p);
	}
	return err == -EAGAIN ? -EIO : err;
}
