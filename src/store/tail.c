/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a power loss left. Commits after the last sync may have reached the device
 * while the rows they name did not. Such a row would be damage, and worse: the
 * attachment it replaced was durable, and is gone. So when the machine was started
 * anew since the last daemon, the rows of those commits are looked at; if one does not
 * hold, the catalog goes back to the last sync, as a whole: no change of later date,
 * all of earlier.
 *
 * That is a matter of cutting the WAL: a page enters the catalog only by a checkpoint
 * right after a sync (writer_durable), so what is later lies in the WAL, behind the
 * sync's own commit. That is the first after the frames it has noted in meta.durable; if
 * the WAL was begun anew since (other salts), it is in the catalog itself, and all of the
 * WAL is later, or it was the one to begin it. It must stay: it has rows too (redo.c).
 *
 * Without a power loss nothing is cut: what was written survives a killed daemon.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "store_i.h"

static bool attach_holds(struct vex_store *s, sqlite3_stmt *st, void *buf)
{
	struct vex_space *sp = spaces_by_id_locked(s, sql_u32(st, 2));
	struct claim c = {
		.lsn = sql_u64(st, 0),
		.node = sql_u64(st, 1),
		.slot = sql_u64(st, 3),
		.rows = sql_u32(st, 4),
		.key = rec_key(sqlite3_column_blob(st, 9),
			       (uint32_t)sqlite3_column_bytes(st, 9)),
	};

	if (!sp)
		return true; /* dropped */
	if (atomic_load(&sp->broken))
		return false;
	for (uint32_t i = 0; i < c.rows; i++)
		if (!rec_holds_at(sp, &c, i, buf))
			return false;
	return true;
}

/* 1: all rows after `lsn` hold; 0: one does not. */
static int tail_holds(struct vex_store *s, struct sql *q, uint64_t lsn)
{
	AUTO_FREE void *buf = malloc(ROWS_BYTES_MAX);
	sqlite3_stmt *st;
	int more = 0, holds = 1;
	vex_err err = buf ? sql_start(q, SQL_ATTACH_AFTER, &st, "i", lsn) : -ENOMEM;

	if (err)
		return err;
	while (holds && (more = sql_next(st)) == 1)
		holds = attach_holds(s, st, buf);
	sql_end(q, SQL_ATTACH_AFTER, st);
	return more < 0 ? more : holds;
}

/* Whether the sync's commit is in the catalog without its WAL. */
static vex_err is_in_catalog(struct vex_store *s, uint64_t serial, bool *out)
{
	struct vex_procfd dir = vex_procfd(s->dirfd);
	struct fmt_durable d;
	struct sql q = { 0 };
	char uri[128];
	vex_err err;

	snprintf(uri, sizeof(uri), "file:%s/" FMT_CATALOG "?immutable=1", dir.path);
	err =
	    sql_errno(sqlite3_open_v2(uri, &q.db,
				      SQLITE_OPEN_READONLY | SQLITE_OPEN_URI |
					  SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
				      VFS_NAME));
	if (!err)
		err = meta_get_blob(&q, "durable", &d, sizeof(d));
	/* Never checkpointed: not so much as a table. */
	*out = !err && d.serial >= serial;
	sql_close(&q);
	return err == -ENOMEM ? err : 0;
}

/* The end of the first commit behind `frames` frames; where there is none, their end. */
static uint64_t commit_end(int fd, const uint32_t salt[2], uint64_t frames)
{
	uint32_t head[4];

	for (uint64_t i = frames;; i++) {
		uint64_t at = FMT_WAL_HEAD + i * FMT_WAL_FRAME;

		if (file_read(fd, head, sizeof(head), at) ||
		    memcmp(head + 2, salt, sizeof(head) / 2))
			return frames ? FMT_WAL_HEAD + frames * FMT_WAL_FRAME : 0;
		if (head[1]) /* pages of the catalog after this commit */
			return at + FMT_WAL_FRAME;
	}
}

static vex_err cut_wal(struct vex_store *s, const struct fmt_durable *d)
{
	AUTO_CLOSE int fd = openat(s->dirfd, FMT_WAL, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	uint32_t salt[2] = { 0, 0 };
	uint64_t keep = 0;
	bool older = true;
	vex_err err = fd < 0 ? -errno : file_read(fd, salt, sizeof(salt), FMT_WAL_SALT);

	if (fd < 0)
		return err;
	if (!err && !memcmp(salt, d->salt, sizeof(salt)) && d->frames) {
		keep = commit_end(fd, salt, d->frames);
	} else if (!err) {
		err = is_in_catalog(s, d->serial, &older);
		if (err)
			return err;
		keep = older ? 0 : commit_end(fd, salt, 0);
	}
	if (ftruncate(fd, (off_t)keep) || fsync(fd))
		return -errno;
	return 0;
}

static vex_err step_back(struct vex_store *s, struct sql *q, const struct fmt_durable *d)
{
	int64_t last = 0;
	vex_err err = sql_int(q, SQL_LSN_MAX, &last, "");

	if (err)
		return err;
	vex_warn("%s: power was lost: the changes after the last sync (%llu to %lld) are "
		 "gone",
		 s->path, (unsigned long long)d->lsn + 1, (long long)last);
	s->lsn_lost = (uint64_t)last;
	sql_close(q);
	err = cut_wal(s, d);
	return err ? err : sql_open(q, s->dirfd, false);
}

vex_err tail_check(struct vex_store *s, struct sql *q)
{
	struct fmt_durable d;
	struct stat st;
	int holds;
	vex_err err;

	if (!s->rebooted || fstatat(s->dirfd, FMT_WAL, &st, 0) || !st.st_size)
		return 0;
	err = meta_get_blob(q, "durable", &d, sizeof(d));
	if (!err)
		err = load_list(s, q);
	holds = err ? err : tail_holds(s, q, d.lsn);
	load_clear(s);
	if (holds < 0)
		return holds;
	return holds ? 0 : step_back(s, q, &d);
}
