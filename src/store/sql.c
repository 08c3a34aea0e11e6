/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the catalog: opening with the right pragmas, statements, errors.
 *
 * Checkpoints are never automatic, neither at a commit nor at close: a page may reach
 * the catalog only after the slot files it speaks of have been flushed (sync.c).
 */
#include <sys/stat.h>
#include "format.h"
#include "sql.h"

static const char *const texts[SQL_COUNT] = {
#define X(name, text) text,
	SQL_STATEMENTS(X)
#undef X
};

vex_err sql_errno(int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return 0;
	if (rc == SQLITE_IOERR_NOMEM)
		return -ENOMEM;
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	default:
		return rc == SQLITE_IOERR_DATA ? -EUCLEAN : -EIO;
	}
}

vex_err sql_text(struct sql *q, const char *text)
{
	int rc = sqlite3_exec(q->db, text, NULL, NULL, NULL);

	if (rc)
		vex_debug("catalog: %s: %s", text, sqlite3_errmsg(q->db));
	return sql_errno(rc);
}

/* Reserved bytes must be set before the first page is written; on a catalog that
 * exists they are in its header already. */
static vex_err setup(struct sql *q, bool fresh)
{
	vex_err err = 0;
	int reserve = FMT_PAGE_SUM, on = 1;

	sqlite3_extended_result_codes(q->db, 1);
	sqlite3_busy_timeout(q->db, SQL_BUSY_MS);
	sqlite3_file_control(q->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	sqlite3_db_config(q->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on, NULL);
	sqlite3_db_config(q->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(q->db, SQLITE_DBCONFIG_DEFENSIVE, on, NULL);
	/* Only here: in a catalog that exists it would change nothing, and write. */
	if (fresh)
		err = sql_text(q, "PRAGMA page_size=4096;"
				  "PRAGMA auto_vacuum=INCREMENTAL");
	if (err)
		return err;
	return sql_text(q, "PRAGMA page_size=4096; PRAGMA mmap_size=0;"
			   "PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF;"
			   "PRAGMA secure_delete=ON; PRAGMA cache_size=-4096;"
			   "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
			   "PRAGMA wal_autocheckpoint=0;"
			   "PRAGMA journal_size_limit=8388608;");
}

vex_err sql_open(struct sql *q, int dirfd, bool create)
{
	int flags =
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	struct vex_procfd dir = vex_procfd(dirfd);
	struct stat st;
	char path[64];
	vex_err err = vfs_register();
	int rc;

	if (err)
		return err;
	memset(q, 0, sizeof(*q));
	snprintf(path, sizeof(path), "%s/" FMT_CATALOG, dir.path);
	rc = sqlite3_open_v2(path, &q->db, flags | (create ? SQLITE_OPEN_CREATE : 0),
			     VFS_NAME);
	err = sql_errno(rc);
	return err ? err : setup(q, !fstatat(dirfd, FMT_CATALOG, &st, 0) && !st.st_size);
}

void sql_close(struct sql *q)
{
	for (int i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(q->st[i]);
	sqlite3_close(q->db);
	memset(q, 0, sizeof(*q));
}

static int bind_one(sqlite3_stmt *st, int i, char type, va_list *ap)
{
	const char *p;
	uint32_t len;

	switch (type) {
	case 'i':
		return sqlite3_bind_int64(st, i, va_arg(*ap, int64_t));
	case 'd':
		return sqlite3_bind_double(st, i, va_arg(*ap, double));
	case 's':
		return sqlite3_bind_text(st, i, va_arg(*ap, const char *), -1,
					 SQLITE_STATIC);
	case 'b':
	case 'n':
		p = va_arg(*ap, const void *);
		len = va_arg(*ap, uint32_t);
		if (!p && type == 'b')
			p = "";
		return sqlite3_bind_blob(st, i, p, (int)len, SQLITE_STATIC);
	default:
		return SQLITE_MISUSE;
	}
}

static int prepare(struct sql *q, enum sql_id id, sqlite3_stmt **out)
{
	sqlite3_stmt **kept = &q->st[id];
	int rc;

	if (*kept && !sqlite3_stmt_busy(*kept)) {
		*out = *kept;
		return SQLITE_OK;
	}
	rc = sqlite3_prepare_v3(q->db, texts[id], -1, SQLITE_PREPARE_PERSISTENT, out,
				NULL);
	if (!rc && !*kept)
		*kept = *out;
	return rc;
}

static vex_err start(struct sql *q, enum sql_id id, sqlite3_stmt **out, const char *types,
		     va_list *ap)
{
	sqlite3_stmt *st = NULL;
	int rc = prepare(q, id, &st);

	for (int i = 0; !rc && types[i]; i++)
		rc = bind_one(st, i + 1, types[i], ap);
	if (rc) {
		sql_end(q, id, st);
		return sql_errno(rc);
	}
	*out = st;
	return 0;
}

vex_err sql_start(struct sql *q, enum sql_id id, sqlite3_stmt **out, const char *types,
		  ...)
{
	va_list ap;
	vex_err err;

	vex_deep_only();
	va_start(ap, types);
	err = start(q, id, out, types, &ap);
	va_end(ap);
	return err;
}

int sql_next(sqlite3_stmt *st)
{
	int rc;

	vex_deep_only();
	rc = sqlite3_step(st);

	return rc == SQLITE_ROW ? 1 : sql_errno(rc);
}

void sql_end(struct sql *q, enum sql_id id, sqlite3_stmt *st)
{
	if (!st)
		return;
	vex_deep_only();
	if (st == q->st[id])
		sqlite3_reset(st);
	else
		sqlite3_finalize(st);
}

vex_err sql_do(struct sql *q, enum sql_id id, const char *types, ...)
{
	sqlite3_stmt *st = NULL;
	va_list ap;
	vex_err err;

	va_start(ap, types);
	err = start(q, id, &st, types, &ap);
	va_end(ap);
	if (err)
		return err;
	err = sql_next(st);
	sql_end(q, id, st);
	return err > 0 ? 0 : err;
}

vex_err sql_int(struct sql *q, enum sql_id id, int64_t *out, const char *types, ...)
{
	sqlite3_stmt *st = NULL;
	va_list ap;
	vex_err err;
	int more;

	va_start(ap, types);
	err = start(q, id, &st, types, &ap);
	va_end(ap);
	if (err)
		return err;
	more = sql_next(st);
	if (more == 1)
		*out = sqlite3_column_int64(st, 0);
	sql_end(q, id, st);
	return more == 1 ? 0 : more ? more : -ENODATA;
}
