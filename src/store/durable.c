/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writer makes last: flushes, commits that are really synced, checkpoints, and
 * the first and the last commit of a mount.
 *
 * Slot files are flushed before the commit that says so, and a page enters the catalog
 * by a checkpoint only right after such a commit. So the catalog without its WAL never
 * names a row that is not on the device, and tail.c can go back to the last sync by
 * cutting the WAL. Everything here runs on the writer thread, or before and after it.
 */
#include <fcntl.h>
#include "store_i.h"

#define CHECKPOINT_AT 2048u /* frames in the WAL: 8 MiB */

/* ---- commits ------------------------------------------------------------- */

static int on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct writer *w = arg;

	(void)db;
	(void)name;
	w->frames = (uint64_t)frames;
	atomic_store(&w->s->wal_frames, w->frames);
	return SQLITE_OK;
}

/* What could not be flushed once may be lost although a second try succeeds. */
static void fail(struct vex_store *s, const char *what)
{
	if (!atomic_exchange(&s->failed, true))
		vex_error("%s: %s failed: no more changes are taken until the store is "
			  "mounted again",
			  s->path, what);
}

vex_err writer_commit(struct writer *w)
{
	vex_err err = sql_do(&w->q, SQL_COMMIT, "");
	int code = sqlite3_extended_errcode(w->q.db);

	if (err && (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC))
		fail(w->s, "a sync of the catalog");
	return err;
}

vex_err writer_mode(struct writer *w)
{
	bool full = atomic_load(&w->s->sync) == VEX_SYNC_ALWAYS;
	vex_err err = 0;

	if (full != w->full)
		err = sql_text(&w->q, full ? "PRAGMA synchronous=FULL"
					   : "PRAGMA synchronous=NORMAL");
	if (!err)
		w->full = full;
	return err;
}

static vex_err flushed(struct writer *w, vex_err err)
{
	if (err)
		fail(w->s, "a sync of slot files");
	return err;
}

/* The files of a new space are on the device before anything names them: so they need
 * not be flushed by the first who wants a row in them to last. */
vex_err writer_flush_fresh(struct writer *w)
{
	AUTO_FREE struct vex_space **fresh = NULL;
	size_t n = 0;

	for (size_t i = 0; i < w->nfx; i++)
		n += w->fx[i].kind == FX_SPACE_NEW;
	if (!n)
		return 0;
	fresh = calloc(n, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < w->nfx; i++)
		if (w->fx[i].kind == FX_SPACE_NEW)
			fresh[n++] = w->fx[i].sp;
	return flushed(w, spaces_flush_fresh(w->s, fresh, n));
}

/* ---- durability ---------------------------------------------------------- */

static void read_salts(struct vex_store *s, uint32_t salt[2])
{
	if (file_read(s->walfd, salt, 8, FMT_WAL_SALT))
		salt[0] = salt[1] = 0;
}

static vex_err mark_durable(struct writer *w)
{
	struct fmt_durable d = {
		.lsn = w->lsn,
		.serial = ++w->serial,
		.frames = w->frames,
	};

	read_salts(w->s, d.salt);
	return meta_set_blob(&w->q, "durable", &d, sizeof(d));
}

/* Inside the open transaction, which will be synced: rows first. */
vex_err writer_make_last(struct writer *w, bool small)
{
	vex_err err;

	if (small) {
		err = redo_write(w);
	} else {
		err = flushed(w, spaces_flush(w->s, NULL, 0));
		if (!err)
			err = redo_clear(w);
	}
	return err ? err : mark_durable(w);
}

/* It was committed, and with it all up to that count of changes. */
void writer_lasts(struct writer *w, bool small, uint64_t changed)
{
	if (small)
		redo_written(w);
	else
		redo_cleared(w);
	atomic_store(&w->s->durable_lsn, w->lsn);
	atomic_store(&w->s->changed_durable, changed);
}

static vex_err commit_durable(struct writer *w, bool small)
{
	vex_err err = sql_text(&w->q, "PRAGMA synchronous=FULL");

	if (!err)
		err = sql_do(&w->q, SQL_BEGIN, "");
	if (!err)
		err = writer_make_last(w, small);
	if (!err)
		err = writer_commit(w);
	if (err)
		writer_rollback(w);
	/* Left at FULL, commits would be slower, not wrong. */
	if (!w->full && sql_text(&w->q, "PRAGMA synchronous=NORMAL"))
		vex_warn("%s: synchronous stays FULL", w->s->path);
	return err;
}

/* With the reserve, where there is no room: a checkpoint lets the WAL begin anew. */
static vex_err commit_squeezed(struct writer *w, bool small)
{
	vex_err err = commit_durable(w, small);

	if (err != -ENOSPC || !reserve_give(w->s))
		return err;
	w->squeezed = true;
	return commit_durable(w, small);
}

/* Everything in the WAL is durable, rows included, so it may enter the catalog. */
static void checkpoint(struct writer *w)
{
	uint64_t start = vex_now_mono();
	int rc = sqlite3_wal_checkpoint_v2(w->q.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
					   NULL);
	int code = sqlite3_extended_errcode(w->q.db);

	vex_op_done(VEX_OP_CHECKPOINT, vex_now_mono() - start, rc ? -EIO : 0);
	if (rc && (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC))
		fail(w->s, "a checkpoint");
	else if (rc && rc != SQLITE_BUSY)
		vex_warn("%s/" FMT_DIR "/" FMT_CATALOG ": checkpoint: %s", w->s->path,
			 sqlite3_errmsg(w->q.db));
}

uint64_t writer_checkpoint(struct writer *w)
{
	int left = 0, done = 0;

	/* Readers that stand in the WAL are not waited for. */
	sqlite3_busy_timeout(w->q.db, 0);
	checkpoint(w);
	if (sqlite3_wal_checkpoint_v2(w->q.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, &left,
				      &done) == SQLITE_OK)
		w->frames = 0;
	sqlite3_busy_timeout(w->q.db, SQL_BUSY_MS);
	return left > done ? (uint64_t)(left - done) : 0;
}

#define VACUUM_PAGES "2048"

vex_err writer_vacuum(struct writer *w, uint64_t *left)
{
	int64_t pages = 0;
	vex_err err = sql_text(&w->q, "PRAGMA incremental_vacuum(" VACUUM_PAGES ")");

	if (!err)
		err = sql_int(&w->q, SQL_FREE_PAGES, &pages, "");
	*left = err ? 0 : (uint64_t)pages;
	atomic_fetch_add(&w->s->changed, 1);
	return err;
}

vex_err writer_durable(struct writer *w, bool small)
{
	struct vex_store *s = w->s;
	uint64_t changed = atomic_load(&s->changed);
	vex_err err;

	small = small && redo_fits(w);
	if (atomic_load(&s->failed))
		return -EIO;
	if (changed != atomic_load(&s->changed_durable) || (!small && w->redo.kept)) {
		err = commit_squeezed(w, small);
		if (err)
			return atomic_load(&s->failed) ? -EIO : err;
		writer_lasts(w, small, changed);
	}
	if (w->frames > CHECKPOINT_AT || w->squeezed)
		checkpoint(w);
	w->squeezed = false;
	w->purging |= w->purge_again;
	w->purge_again = false;
	reserve_keep(s);
	return atomic_load(&s->failed) ? -EIO : 0;
}

/* ---- the first and the last commit --------------------------------------- */

static vex_err read_numbers(struct writer *w)
{
	struct fmt_durable d;
	int64_t lsn = 0, node = 0, log_min = 0;
	uint64_t high = 0, spaces = 0;
	vex_err err = sql_int(&w->q, SQL_LSN_MAX, &lsn, "");

	if (!err)
		err = sql_int(&w->q, SQL_LOG_MIN, &log_min, "");
	if (!err)
		err = sql_int(&w->q, SQL_NODE_MAX, &node, "");
	if (!err)
		err = meta_get_int(&w->q, "node_high", &high);
	if (!err)
		err = meta_get_int(&w->q, "space_high", &spaces);
	if (!err)
		err = meta_get_blob(&w->q, "durable", &d, sizeof(d));
	if (err)
		return err;
	w->lsn = (uint64_t)lsn > d.lsn ? (uint64_t)lsn : d.lsn;
	if (w->s->lsn_lost > w->lsn)
		w->lsn = w->s->lsn_lost;
	w->serial = d.serial;
	w->log_min = (uint64_t)log_min;
	w->node_high = high;
	w->space_high = (uint32_t)spaces;
	atomic_store(&w->s->next_node,
		     (uint64_t)node + 1 > high ? (uint64_t)node + 1 : high);
	return 0;
}

static vex_err count_nodes(struct writer *w)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&w->q, SQL_NODE_MAX, &st, "");

	if (err)
		return err;
	if (sql_next(st) == 1)
		atomic_store(&w->s->nodes, sql_u64(st, 1));
	sql_end(&w->q, SQL_NODE_MAX, st);
	return 0;
}

/* Without room the mount stands all the same: reading and removing need it. Ids are
 * reserved by the first commit that succeeds. */
static vex_err without_room(struct writer *w, vex_err err)
{
	if (err != -ENOSPC)
		return err;
	vex_warn("%s: no space left: nothing can be attached until there is", w->s->path);
	return 0;
}

/* The first commit of a mount: reserves node ids and makes all that was found durable. */
static vex_err first_commit(struct writer *w)
{
	vex_err err = sql_do(&w->q, SQL_BEGIN, "");

	if (!err)
		err = writer_reserve_nodes(w);
	if (!err)
		err = writer_commit(w);
	if (err) {
		writer_rollback(w);
		return without_room(w, err);
	}
	publish(w);
	return without_room(w, writer_durable(w, false));
}

vex_err writer_prepare(struct writer *w)
{
	struct vex_store *s = w->s;
	vex_err err = read_numbers(w);

	if (!err)
		err = count_nodes(w);
	s->walfd = openat(s->dirfd, FMT_WAL, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (!err && s->walfd < 0)
		err = -errno;
	sqlite3_wal_hook(w->q.db, on_commit, w);
	/* Its indexes are hit at random: a page that is not there is read and checked. */
	if (!err)
		err = sql_text(&w->q, "PRAGMA cache_size=-32768");
	if (!err)
		err = writer_mode(w);
	if (!err)
		err = first_commit(w);
	return err;
}

/* A clean end: what is reserved is given back, the WAL goes into the catalog. */
void writer_finish(struct writer *w)
{
	vex_err err = sql_do(&w->q, SQL_BEGIN, "");

	if (!err)
		err = meta_set_int(&w->q, "node_high", atomic_load(&w->s->next_node));
	if (!err)
		err = writer_commit(w);
	if (err)
		writer_rollback(w);
	atomic_fetch_add(&w->s->changed, 1);
	if (!writer_durable(w, false)) {
		sqlite3_wal_checkpoint_v2(w->q.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
					  NULL);
		sqlite3_db_config(w->q.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	}
}
