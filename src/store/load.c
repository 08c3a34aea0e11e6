/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening: what is live, from the catalog alone. One pass over all attachments sets the
 * bitmaps; a slot file only has to agree. Records are always compared; rows too, as
 * long as there are not too many (scrub.c does the rest).
 *
 * Nothing found here ends the daemon: a row that does not hold stays out of views, a
 * file that cannot be used makes its space broken. Each is named in the log.
 *
 * Runs before any thread: no locks but those that helpers take.
 */
#include <dirent.h>
#include <fcntl.h>
#include "store_i.h"

/* Slots a catalog may claim beyond the end of a file before we take it for nonsense. */
#define CLAIM_SLACK ((uint64_t)1 << 22)

uint64_t vex_store_verify_limit = (uint64_t)512 << 20;

/* ---- spaces -------------------------------------------------------------- */

static void read_spec(sqlite3_stmt *st, struct vex_space_spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	snprintf(spec->name, sizeof(spec->name), "%s",
		 (const char *)sqlite3_column_text(st, 1));
	spec->dim = sql_u32(st, 2);
	spec->metric = sql_u8(st, 3);
	spec->type = sql_u8(st, 4);
	spec->index = sql_u8(st, 5);
	spec->m = sql_u32(st, 6);
	spec->ef_construction = sql_u32(st, 7);
	spec->ef_search = sql_u32(st, 8);
	spec->quant = sql_u8(st, 9);
	spec->scale = sqlite3_column_double(st, 11);
	spec->recall = (float)sqlite3_column_double(st, 12);
}

static vex_err load_moved(struct sql *q, struct vex_space *sp)
{
	int64_t moved = 0;
	vex_err err = sql_int(q, SQL_SPACE_MOVED, &moved, "i", (int64_t)sp->id);

	atomic_store(&sp->moved, (uint64_t)moved);
	return err;
}

static vex_err load_space(struct vex_store *s, struct sql *q, sqlite3_stmt *st)
{
	struct vex_problem why = { "" };
	struct vex_space_spec spec;
	struct vex_space *sp;
	vex_err err;

	read_spec(st, &spec);
	if (s->nspaces == VEX_SPACES_MAX || !spec.dim || !sqlite3_column_text(st, 1) ||
	    spec.type > VEX_BIT)
		return -EUCLEAN;
	err = space_alloc(s, sql_u32(st, 0), &spec, &sp);
	if (err)
		return err;
	spaces_insert_locked(s, sp);
	err = load_moved(q, sp);
	if (err)
		return err;
	err = slotfile_open(sp, &why);
	if (!err || !*why.text)
		return err;
	snprintf(sp->why_broken, sizeof(sp->why_broken), "%.100s", why.text);
	atomic_store(&sp->broken, true);
	return 0;
}

void load_clear(struct vex_store *s)
{
	while (s->nspaces) {
		struct vex_space *sp = s->by_id[0];

		spaces_remove_locked(s, sp);
		vex_space_unref(sp);
	}
}

vex_err load_list(struct vex_store *s, struct sql *q)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(q, SQL_SPACE_ALL, &st, "");
	int more = 0;

	if (err)
		return err;
	while (!err && (more = sql_next(st)) == 1) {
		if (sqlite3_column_int(st, 10))
			s->had_dropped = true;
		else
			err = load_space(s, q, st);
	}
	sql_end(q, SQL_SPACE_ALL, st);
	return err ? err : more;
}

/* ---- attachments --------------------------------------------------------- */

static bool verify_now(const struct vex_store *s)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < s->nspaces; i++)
		bytes += s->by_id[i]->cap * s->by_id[i]->stride;
	return bytes <= vex_store_verify_limit;
}

static void load_row(struct vex_space *sp, const struct claim *c, uint32_t row,
		     bool verify)
{
	uint64_t slot = c->slot + row;
	const struct fmt_rec *rec = slot_rec(sp, slot);
	const char *why = NULL;

	if (bit_get(sp->used, slot))
		why = "claimed by two attachments";
	else if (rec->node != c->node || rec->lsn != c->lsn || rec->row != row)
		why = "its record is of another change";
	else if (verify && !rec_holds(sp, c, row, rec, slot_row(sp, slot)))
		why = "checksum mismatch";
	bit_set(sp->used, slot);
	if (why) {
		damage_slot(sp, slot, "rows", why);
		return;
	}
	bit_set(sp->live, slot);
	sp->rows_lsn = c->lsn > sp->rows_lsn ? c->lsn : sp->rows_lsn;
	sp->live_rows++;
	*slot_norm(sp, slot) = rec->norm;
}

/* Room for the claim: a file that was cut short is made longer, with zeros, so that
 * every claimed slot has its bits and can be looked at. */
static bool fit(struct vex_space *sp, uint64_t end)
{
	if (end <= sp->cap)
		return true;
	if (end > sp->cap + CLAIM_SLACK)
		return false;
	damage_log(sp->store,
		   FMT_SPACES "/%u.rows: cut short: %llu of at least %llu slots", sp->id,
		   (unsigned long long)sp->cap, (unsigned long long)end);
	SCOPED_LOCK(&sp->alloc);
	return !segs_grow_locked(sp, end);
}

static void load_claim(struct vex_space *sp, const struct claim *c, bool verify)
{
	uint64_t end = c->slot + c->rows;

	sp->attachments++;
	if (atomic_load(&sp->broken)) {
		sp->damaged += c->rows;
		return;
	}
	if (end < c->slot || end > slots_max(sp) || !fit(sp, end)) {
		damage_log(sp->store,
			   FMT_CATALOG ": change %llu claims slots past all ends",
			   (unsigned long long)c->lsn);
		sp->damaged += c->rows;
		return;
	}
	if (end > sp->high)
		sp->high = end;
	for (uint32_t i = 0; i < c->rows; i++)
		load_row(sp, c, i, verify);
}

static void load_attach(struct vex_store *s, sqlite3_stmt *st, bool verify)
{
	struct claim c = {
		.lsn = sql_u64(st, 0),
		.node = sql_u64(st, 1),
		.slot = sql_u64(st, 3),
		.rows = sql_u32(st, 4),
		.key = rec_key(sqlite3_column_blob(st, 9),
			       (uint32_t)sqlite3_column_bytes(st, 9)),
	};
	struct vex_space *sp = spaces_by_id_locked(s, sql_u32(st, 2));

	if (sp)
		load_claim(sp, &c, verify);
	else if (!s->had_dropped)
		damage_log(s,
			   FMT_CATALOG ": change %llu names space %u, which is unknown",
			   (unsigned long long)c.lsn, sql_u32(st, 2));
}

static vex_err load_attaches(struct vex_store *s, struct sql *q)
{
	sqlite3_stmt *st;
	bool verify = verify_now(s);
	vex_err err = sql_start(q, SQL_ATTACH_AFTER, &st, "i", INT64_C(0));
	int more = 0;

	if (err)
		return err;
	while ((more = sql_next(st)) == 1)
		load_attach(s, st, verify);
	sql_end(q, SQL_ATTACH_AFTER, st);
	s->scrub_wanted = !verify;
	return more;
}

/* ---- after the pass ------------------------------------------------------ */

/* A space whose files are missing, and nothing lost by that, gets new ones. */
static vex_err mend(struct vex_space *sp)
{
	vex_err err;

	if (!atomic_load(&sp->broken))
		return 0;
	if (sp->attachments) {
		damage_log(sp->store, "%s: its space \"%s\" is out of service",
			   sp->why_broken, sp->spec.name);
		return 0;
	}
	if (sp->rows_fd >= 0)
		close(take_fd(&sp->rows_fd));
	err = slotfile_create(sp);
	if (!err)
		atomic_store(&sp->broken, false);
	return err;
}

static void count_free(struct vex_space *sp)
{
	uint64_t used = 0;

	for (uint64_t i = 0; i < sp->bitmap_slots / 64; i++)
		used += (uint64_t)__builtin_popcountll(sp->used[i]);
	sp->free = sp->high - used;
	sp->top = sp->high;
}

/* Files of spaces the catalog does not know: made by a commit that never was, or of a
 * dropped space whose files could not be removed. Dropped ones are purge.c's. */
static void sweep(struct vex_store *s)
{
	int fd = openat(s->spacesfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	for (struct dirent *e; d && (e = readdir(d));) {
		char *end;
		unsigned long id = strtoul(e->d_name, &end, 10);

		if (id && id <= UINT32_MAX &&
		    (!strcmp(end, ".rows") || !strcmp(end, ".recs")) &&
		    !spaces_by_id_locked(s, (uint32_t)id))
			slotfile_unlink(s, (uint32_t)id);
	}
	if (d)
		closedir(d);
}

vex_err load_spaces(struct vex_store *s, struct sql *q)
{
	vex_err err = load_list(s, q);

	if (!err)
		err = load_attaches(s, q);
	for (uint32_t i = 0; !err && i < s->nspaces; i++) {
		err = mend(s->by_id[i]);
		count_free(s->by_id[i]);
	}
	if (!err && !s->had_dropped)
		sweep(s);
	return err;
}
