/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attachments whose row of the catalog is lost, by its index, which has node, space, key
 * and number of each, and the slot files: a record says which change it is of and which
 * row, and its checksum covers the key. So the slots are found by reading the records of
 * a space once, and what is found is what was there, or nothing.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "salvage_i.h"

#define RECS_AT_ONCE 4096u

static vex_err run(struct salvage *x, const char *text)
{
	return sql_text(&x->to, text);
}

static vex_err statement(sqlite3 *db, const char *text, sqlite3_stmt **out)
{
	return sql_errno(sqlite3_prepare_v2(db, text, -1, out, NULL));
}

/* ---- what is missing -------------------------------------------------------------- */

/* Table `lost`: what the index has, as far as it can be read. */
static vex_err read_index(struct salvage *x)
{
	sqlite3_stmt *from = NULL, *to = NULL;
	int64_t node = 0, step = 1;
	vex_err err = statement(x->from,
				"SELECT node,space,key,lsn FROM attach INDEXED BY "
				"sqlite_autoindex_attach_1 WHERE node>=?1 ORDER BY node",
				&from);

	/* Nothing to be had from it. */
	if (err)
		return err == -ENOMEM ? err : 0;
	err = statement(x->to.db,
			"INSERT INTO lost(node,space,key,lsn) SELECT ?1,?2,?3,?4 "
			"WHERE NOT EXISTS(SELECT 1 FROM attach WHERE lsn=?4) "
			"AND NOT EXISTS(SELECT 1 FROM lost WHERE lsn=?4)",
			&to);
	/* Behind a page that cannot be read: nodes step by step further. */
	while (!err && step < INT64_C(1) << 50) {
		int more;

		sqlite3_bind_int64(from, 1, node);
		while (!err && (more = sql_next(from)) == 1) {
			step = 1;
			node = sqlite3_column_int64(from, 0);
			for (int i = 0; i < 4; i++)
				sqlite3_bind_value(to, i + 1,
						   sqlite3_column_value(from, i));
			err = sql_errno(sqlite3_step(to));
			sqlite3_reset(to);
		}
		sqlite3_reset(from);
		if (err || !more)
			break;
		node += step;
		step *= 2;
	}
	sqlite3_finalize(from);
	sqlite3_finalize(to);
	return err;
}

/* ---- where its rows are ----------------------------------------------------------- */

struct space_files {
	struct vex_space sp; /* id, dim, type, stride alone */
	int rows, recs;
	void *row;
};

static void close_files(struct space_files *f)
{
	if (f->rows >= 0)
		close(f->rows);
	if (f->recs >= 0)
		close(f->recs);
	free(f->row);
}

static vex_err open_files(struct salvage *x, sqlite3_stmt *space, struct space_files *f)
{
	char name[32];

	*f = (struct space_files){ .sp = { .store = x->s,
					   .id = sql_u32(space, 0),
					   .dim = sql_u32(space, 1),
					   .type = sql_u8(space, 2) } };
	f->sp.stride = vex_row_bytes(f->sp.type, f->sp.dim);
	snprintf(name, sizeof(name), "%u.rows", f->sp.id);
	f->rows = openat(x->s->spacesfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	snprintf(name, sizeof(name), "%u.recs", f->sp.id);
	f->recs = openat(x->s->spacesfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	f->row = malloc(f->sp.stride + 1);
	return f->row ? 0 : -ENOMEM;
}

/* Table `seen`: the slots whose records name a change that is lost. */
static vex_err read_recs(struct salvage *x, struct space_files *f)
{
	AUTO_FREE struct fmt_rec *recs = malloc(RECS_AT_ONCE * sizeof(*recs));
	sqlite3_stmt *st = NULL;
	struct stat info;
	vex_err err = recs ? statement(x->to.db,
				       "INSERT INTO seen SELECT ?1,?2,?3,?4 WHERE EXISTS("
				       "SELECT 1 FROM lost WHERE lsn=?2 AND space=?1)",
				       &st)
			   : -ENOMEM;
	uint64_t slots = f->recs < 0 || fstat(f->recs, &info)
			     ? 0
			     : ((uint64_t)info.st_size - FMT_HEAD) / sizeof(*recs);

	for (uint64_t at = 0; !err && at < slots; at += RECS_AT_ONCE) {
		uint64_t n = vex_min64(RECS_AT_ONCE, slots - at);

		if (file_read(f->recs, recs, n * sizeof(*recs),
			      FMT_HEAD + at * sizeof(*recs)))
			break;
		for (uint64_t i = 0; !err && i < n; i++) {
			if (!recs[i].lsn)
				continue;
			sqlite3_bind_int64(st, 1, f->sp.id);
			sqlite3_bind_int64(st, 2, (int64_t)recs[i].lsn);
			sqlite3_bind_int64(st, 3, recs[i].row);
			sqlite3_bind_int64(st, 4, (int64_t)(at + i));
			err = sql_errno(sqlite3_step(st));
			sqlite3_reset(st);
		}
	}
	sqlite3_finalize(st);
	return err;
}

static bool holds(struct space_files *f, const struct claim *c, uint32_t row)
{
	uint64_t slot = c->slot + row;
	struct fmt_rec rec;

	return !file_read(f->recs, &rec, sizeof(rec), FMT_HEAD + slot * sizeof(rec)) &&
	       !file_read(f->rows, f->row, f->sp.stride,
			  FMT_HEAD + slot * f->sp.stride) &&
	       rec_holds(&f->sp, c, row, &rec, f->row);
}

/* The run of slots from this row 0 on. How many rows there were is not written anywhere:
 * all that follow and hold. */
static bool whole(struct space_files *f, struct claim *c)
{
	for (c->rows = 0; holds(f, c, c->rows);)
		c->rows++;
	return c->rows > 0;
}

static vex_err put_back(struct salvage *x, const struct claim *c, sqlite3_stmt *st)
{
	vex_err err =
	    sql_do(&x->to, SQL_ATTACH_ADD, "iiiiiiiiibn", c->lsn, c->node,
		   sqlite3_column_int64(st, 1), c->slot, (int64_t)c->rows, INT64_C(0),
		   UINT64_C(0), INT64_C(0), INT64_C(0), sqlite3_column_blob(st, 2),
		   (uint32_t)sqlite3_column_bytes(st, 2), (const void *)NULL, 0u);

	x->attachments += !err;
	return err;
}

/* Each lost attachment of the space, with the places where its first row may be: moved
 * rows leave their records behind. */
static vex_err put_all(struct salvage *x, struct space_files *f)
{
	sqlite3_stmt *st = NULL;
	uint64_t done = 0;
	vex_err err = statement(x->to.db,
				"SELECT l.node,l.space,l.key,l.lsn,s.slot FROM lost l "
				"JOIN seen s ON s.lsn=l.lsn AND s.space=l.space "
				"WHERE s.row=0 AND l.space=?1 ORDER BY l.lsn,s.slot",
				&st);
	int more = 0;

	if (!err)
		sqlite3_bind_int64(st, 1, f->sp.id);
	while (!err && (more = sql_next(st)) == 1) {
		struct claim c = {
			.node = sql_u64(st, 0),
			.lsn = sql_u64(st, 3),
			.slot = sql_u64(st, 4),
			.key = rec_key(sqlite3_column_blob(st, 2),
				       (uint32_t)sqlite3_column_bytes(st, 2)),
		};

		if (c.lsn == done || !whole(f, &c))
			continue;
		done = c.lsn;
		err = put_back(x, &c, st);
	}
	sqlite3_finalize(st);
	return err ? err : more < 0 ? more : 0;
}

static vex_err tell_lost(struct salvage *x)
{
	sqlite3_stmt *st = NULL;
	vex_err err = statement(x->to.db,
				"SELECT lsn,node,space FROM lost WHERE lsn NOT IN "
				"(SELECT lsn FROM attach) ORDER BY lsn LIMIT 100",
				&st);
	int more = 0;

	while (!err && (more = sql_next(st)) == 1)
		salvage_say(x, "change %llu is lost: node %llu, space %u",
			    (unsigned long long)sql_u64(st, 0),
			    (unsigned long long)sql_u64(st, 1), sql_u32(st, 2));
	sqlite3_finalize(st);
	return err ? err : more;
}

vex_err salvage_rows(struct salvage *x)
{
	sqlite3_stmt *st = NULL;
	vex_err err =
	    run(x, "CREATE TEMP TABLE lost(lsn INTEGER PRIMARY KEY,node,space,key);"
		   "CREATE TEMP TABLE seen(space,lsn,row,slot)");
	int more = 0;

	if (!err)
		err = read_index(x);
	if (!err)
		err = statement(x->to.db,
				"SELECT id,dim,type FROM space WHERE dropped=0 AND id IN "
				"(SELECT space FROM lost)",
				&st);
	while (!err && (more = sql_next(st)) == 1) {
		struct space_files f;

		err = open_files(x, st, &f);
		if (!err)
			err = read_recs(x, &f);
		if (!err)
			err = put_all(x, &f);
		close_files(&f);
	}
	sqlite3_finalize(st);
	return err ? err : more < 0 ? more : tell_lost(x);
}
