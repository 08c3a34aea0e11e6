/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving attachments towards the front of a space's files, so that their end can be cut
 * off (trim.c), while the space is in use.
 *
 * An attachment is moved as it was written: into free slots, never in place, named by a
 * commit afterwards; the old slots are freed by that commit and kept for those who still
 * read them. It keeps its number, so a power loss could not be told by it (tail.c looks
 * at late numbers only): hence the copies are flushed before the commit, not after.
 * What does not match its checksum stays where it is: it is evidence.
 *
 * From the last slot down, each into the lowest run that is long enough: the two
 * meet, and no row is moved twice. Nothing is locked from one attachment to the next.
 */
#include "store_i.h"

#define MOVES_MAX 256u
#define BYTES_MAX ((uint64_t)8 << 20)

struct pack {
	struct vex_space *sp;
	struct vex_reader *r;
	uint64_t at;  /* slots at and above were looked at */
	uint64_t low; /* no slot below is free */
	bool full;    /* nothing is free before the next one */
	uint64_t max, rows;
	size_t n;
	void *row;            /* room for the rows of one */
	struct fmt_rec *recs; /* and its records */
	struct vex_change c[MOVES_MAX];
};

/* The last live slot below p->at. */
static bool last_live(struct pack *p, uint64_t *out)
{
	struct vex_space *sp = p->sp;

	SCOPED_RDLOCK(&sp->store->pub);
	if (p->at > sp->top)
		p->at = sp->top;
	while (p->at > p->low) {
		uint64_t bit = (p->at - 1) & 63, word = sp->live[(p->at - 1) >> 6];

		word &= UINT64_MAX >> (63 - bit);
		if (word) {
			*out = ((p->at - 1) & ~(uint64_t)63) + 63 -
			       (uint64_t)__builtin_clzll(word);
			return *out >= p->low;
		}
		p->at = (p->at - 1) & ~(uint64_t)63;
	}
	return false;
}

/* Copies rows and records of the attachment into the slots from `to` on. */
static vex_err copy(struct pack *p, const struct vex_attach *a, uint64_t to)
{
	struct vex_space *sp = p->sp;
	struct claim c = { .lsn = a->lsn,
			   .node = a->node,
			   .slot = a->slot,
			   .rows = a->rows,
			   .key = rec_key(a->key, a->key_len) };
	vex_err err = file_read(sp->rows_fd, p->row, a->rows * sp->stride,
				FMT_HEAD + a->slot * sp->stride);

	if (!err)
		err = file_read(sp->recs_fd, p->recs, a->rows * sizeof(*p->recs),
				FMT_HEAD + a->slot * sizeof(*p->recs));
	for (uint32_t i = 0; !err && i < a->rows; i++) {
		if (!rec_holds(sp, &c, i, &p->recs[i],
			       (const char *)p->row + i * sp->stride))
			err = -EUCLEAN;
		else
			*slot_norm(sp, to + i) = p->recs[i].norm;
	}
	if (!err)
		err = slotfile_write_rows(sp, to, a->rows, p->row);
	return err ? err : slotfile_write_recs(sp, to, a->rows, p->recs);
}

/* Errors of the attachment itself: it stays. */
static bool stays(vex_err err)
{
	return err == -EUCLEAN || err == -ENODATA || err == -EIO;
}

static vex_err move(struct pack *p, const struct vex_attach *a)
{
	struct vex_space *sp = p->sp;
	uint64_t to;
	vex_err err;

	if (a->rows > ROWS_BYTES_MAX / sizeof(struct fmt_rec))
		return 0;
	if (slots_take_low(sp, p->low, a->slot, a->rows, &to)) {
		p->full = a->rows == 1;
		return 0;
	}
	if (a->rows == 1)
		p->low = to + 1;
	err = copy(p, a, to);
	if (err) {
		vex_slots_return(sp, to, a->rows);
		return stays(err) ? 0 : err;
	}
	p->c[p->n++] = (struct vex_change){ .kind = VEX_MOVE,
					    .space = sp,
					    .node = a->node,
					    .from_lsn = a->lsn,
					    .from_slot = a->slot,
					    .slot = to,
					    .rows = a->rows };
	p->rows += a->rows;
	return 0;
}

/* Attachments from the end, into p->c. */
static vex_err gather(struct pack *p)
{
	vex_err err = 0;
	uint64_t slot;

	p->n = 0;
	p->rows = 0;
	while (!err && !p->full && p->n < MOVES_MAX && p->rows < p->max &&
	       p->rows * p->sp->stride < BYTES_MAX && last_live(p, &slot)) {
		struct vex_attach a;
		uint64_t lsn = slot_rec(p->sp, slot)->lsn;

		p->at = slot;
		err = vex_read_attach_lsn(p->r, lsn, &a);
		if (stays(err)) {
			err = 0;
			continue;
		}
		if (err || a.space != p->sp->id || slot < a.slot ||
		    slot - a.slot >= a.rows || (a.rows * p->sp->stride > ROWS_BYTES_MAX))
			continue;
		p->at = a.slot;
		err = move(p, &a);
	}
	return err;
}

static void give_back(struct pack *p)
{
	for (size_t i = 0; i < p->n; i++)
		vex_slots_return(p->sp, p->c[i].slot, p->c[i].rows);
}

static vex_err commit(struct pack *p, uint64_t *moved)
{
	struct vex_store *s = p->sp->store;
	vex_err err = spaces_flush(s, NULL, 0);

	if (err) {
		atomic_store(&s->failed, true);
		vex_error("%s: a sync of slot files failed", s->path);
		give_back(p);
		return err;
	}
	err = vex_store_commit(s, p->c, p->n, NULL);
	for (size_t i = 0; !err && i < p->n; i++) {
		struct vex_change *c = &p->c[i];

		if (!c->lsn) {
			vex_slots_return(p->sp, c->slot, c->rows);
			continue;
		}
		atomic_store(&p->sp->moved, c->lsn);
		*moved += c->rows;
	}
	return err;
}

/* One batch: a pin keeps what is copied from being used again. */
static vex_err batch(struct pack *p, uint64_t *moved)
{
	struct vex_store *s = p->sp->store;
	struct pin *pin;
	vex_err err = pin_add(s, &pin);

	if (err)
		return err;
	err = gather(p);
	pin_drop(s, pin);
	if (err)
		give_back(p);
	else if (p->n)
		err = commit(p, moved);
	return err;
}

uint64_t vex_space_moved(const struct vex_space *sp)
{
	return atomic_load(&sp->moved);
}

vex_err vex_space_pack(struct vex_space *sp, uint64_t max, uint64_t *moved)
{
	AUTO_FREE struct pack *p = calloc(1, sizeof(*p));
	AUTO_FREE void *row = malloc(ROWS_BYTES_MAX);
	AUTO_FREE void *recs = malloc(ROWS_BYTES_MAX);
	AUTO_READER struct vex_reader *r = NULL;
	vex_err err;

	*moved = 0;
	if (!p || !row || !recs)
		return -ENOMEM;
	if (atomic_load(&sp->broken))
		return 0;
	err = vex_reader_get(sp->store, &r);
	p->sp = sp;
	p->r = r;
	p->at = UINT64_MAX;
	p->row = row;
	p->recs = recs;
	do {
		p->max = max - *moved;
		if (!err)
			err = batch(p, moved);
	} while (!err && p->n && !p->full && *moved < max);
	return err;
}
