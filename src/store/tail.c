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
 * frames the sync has noted in meta.durable. If the WAL was begun anew since (other
 * salts), all of it is later.
 *
 * Without a power loss nothing is cut: what was written survives a killed daemon.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "store_i.h"

static bool row_holds(struct vex_space *sp, const struct claim *c, uint32_t row,
		      void *buf)
{
	uint64_t slot = c->slot + row;
	struct fmt_rec rec;

	return !file_read(sp->recs_fd, &rec, sizeof(rec),
			  FMT_HEAD + slot * sizeof(rec)) &&
	       !file_read(sp->rows_fd, buf, sp->stride, FMT_HEAD + slot * sp->stride) &&
	       rec_holds(sp, c, row, &rec, buf);
}

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
		if (!row_holds(sp, &c, i, buf))
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

static vex_err cut_wal(struct vex_store *s, const struct fmt_durable *d)
{
	AUTO_CLOSE int fd = openat(s->dirfd, FMT_WAL, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	uint32_t salt[2];
	uint64_t keep = 0;

	if (fd < 0)
		return -errno;
	if (!file_read(fd, salt, sizeof(salt), FMT_WAL_SALT) &&
	    !memcmp(salt, d->salt, sizeof(salt)) && d->frames)
		keep = FMT_WAL_HEAD + d->frames * FMT_WAL_FRAME;
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
