/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backup of a store in use: one moment of it, handed out piece by piece.
 *
 * First a pin, which keeps the slots that are live now or later from being used again;
 * then a copy of the catalog by SQLite's backup API, in one go, hence of one moment
 * after the pin: every slot it names keeps its row until the backup is closed, whatever
 * is written meanwhile. The copy is a file without a name in STORE/.vexfs, its pages
 * summed like those of the catalog.
 *
 * The pieces are the files of a store, so whoever writes them where they say has one:
 * the catalog whole, the headers of slot files, then slots. Of these only the ones of
 * changes after `since`, where the taker has an earlier backup; a space whose rows were
 * moved since (compact.c) comes whole.
 *
 * For one thread at a time, with a deep stack.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "store_i.h"

#define SNAPSHOT "backup.%u"
#define KEPT 64u /* names; the files have none once they are open */

static _Atomic unsigned snapshots;

struct vex_backup {
	struct vex_store *s;
	struct pin *pin;
	struct sql q; /* of the copy */
	int fd;
	uint64_t size, since, lsn;
	struct vex_space **spaces; /* all of the copy; files stay open by them */
	uint32_t nspaces;

	enum { CATALOG, HEADS, SLOTS, ENDED } phase;
	uint64_t at;   /* in the catalog; HEADS: 2 x space + which file */
	uint64_t rows; /* given */
	sqlite3_stmt *st;
	bool over;  /* it has no more: stepped again it would begin anew */
	bool ahead; /* the statement stands on an attachment not yet in a run */
	struct vex_space *sp;
	uint64_t first, left; /* slots of the run still to give */
	uint64_t run_first, run;
};

/* ---- the copy ------------------------------------------------------------ */

static vex_err fill_copy(struct vex_backup *b, const char *path)
{
	AUTO_READER struct vex_reader *r = NULL;
	int reserve = FMT_PAGE_SUM;
	sqlite3_backup *copy = NULL;
	struct sql to = { 0 };
	vex_err err = vex_reader_get(b->s, &r);

	if (err)
		return err;
	err =
	    sql_errno(sqlite3_open_v2(path, &to.db,
				      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					  SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
				      VFS_NAME));
	if (!err)
		sqlite3_file_control(to.db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	if (!err)
		err = sql_text(&to, "PRAGMA page_size=4096; PRAGMA synchronous=OFF;"
				    "PRAGMA journal_mode=OFF");
	if (!err)
		copy = sqlite3_backup_init(to.db, "main", reader_db(r), "main");
	if (copy) {
		sqlite3_backup_step(copy, -1);
		err = sql_errno(sqlite3_backup_finish(copy));
	} else if (!err) {
		err = sql_errno(sqlite3_extended_errcode(to.db));
	}
	sql_close(&to);
	return err;
}

/* Immutable: it says of itself that it has a WAL, and has none. */
static vex_err open_copy(struct vex_backup *b, const char *path, const char *name)
{
	char uri[128];
	struct stat st;
	vex_err err;

	snprintf(uri, sizeof(uri), "file:%s?immutable=1", path);
	err =
	    sql_errno(sqlite3_open_v2(uri, &b->q.db,
				      SQLITE_OPEN_READONLY | SQLITE_OPEN_URI |
					  SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
				      VFS_NAME));
	b->fd = openat(b->s->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (!err && (b->fd < 0 || fstat(b->fd, &st)))
		err = -errno;
	if (!err)
		b->size = (uint64_t)st.st_size;
	return err;
}

static vex_err copy_catalog(struct vex_backup *b)
{
	struct vex_procfd dir = vex_procfd(b->s->dirfd);
	char name[32], path[96];
	vex_err err;

	snprintf(name, sizeof(name), SNAPSHOT, atomic_fetch_add(&snapshots, 1) % KEPT);
	snprintf(path, sizeof(path), "%s/%s", dir.path, name);
	unlinkat(b->s->dirfd, name, 0);
	err = fill_copy(b, path);
	if (!err)
		err = open_copy(b, path, name);
	/* Opened for good: sqlite3_open alone touches no file. */
	if (!err)
		err = sql_text(&b->q, "SELECT 1 FROM meta");
	unlinkat(b->s->dirfd, name, 0);
	return err;
}

void backup_sweep(struct vex_store *s)
{
	for (unsigned i = 0; i < KEPT; i++) {
		char name[32];

		snprintf(name, sizeof(name), SNAPSHOT, i);
		unlinkat(s->dirfd, name, 0);
	}
}

/* A space that was dropped since has no attachments that could be given. */
static vex_err hold_spaces(struct vex_backup *b)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&b->q, SQL_SPACE_ALL, &st, "");
	int more = 0;

	if (err)
		return err;
	b->spaces = calloc(VEX_SPACES_MAX, sizeof(struct vex_space *));
	if (!b->spaces)
		err = -ENOMEM;
	while (!err && b->nspaces < VEX_SPACES_MAX && (more = sql_next(st)) == 1)
		if (!vex_space_find_id(b->s, sql_u32(st, 0), &b->spaces[b->nspaces]))
			b->nspaces++;
	sql_end(&b->q, SQL_SPACE_ALL, st);
	return err ? err : more < 0 ? more : 0;
}

static vex_err start(struct vex_backup *b)
{
	int64_t lsn = 0;
	vex_err err = copy_catalog(b);

	if (!err)
		err = sql_int(&b->q, SQL_LSN_MAX, &lsn, "");
	if (!err)
		err = hold_spaces(b);
	b->lsn = (uint64_t)lsn;
	if (b->since > b->lsn)
		b->since = 0;
	if (err)
		return err;
	return sql_errno(sqlite3_prepare_v2(
	    b->q.db,
	    "SELECT a.space,a.slot,a.rows FROM attach a JOIN space s ON s.id=a.space "
	    "WHERE s.dropped=0 AND (a.lsn>?1 OR ifnull(s.moved,0)>?1) ORDER BY a.lsn",
	    -1, &b->st, NULL));
}

vex_err vex_backup_open(struct vex_store *s, uint64_t since, struct vex_backup **out)
{
	struct vex_backup *b = calloc(1, sizeof(*b));
	vex_err err;

	if (!b)
		return -ENOMEM;
	b->s = s;
	b->fd = -1;
	b->since = since;
	err = pin_add(s, &b->pin);
	if (!err)
		err = start(b);
	if (!err)
		err = sql_errno(sqlite3_bind_int64(b->st, 1, (int64_t)b->since));
	if (err)
		vex_backup_close(b);
	else
		*out = b;
	return err;
}

void vex_backup_close(struct vex_backup *b)
{
	if (!b)
		return;
	sqlite3_finalize(b->st);
	sql_close(&b->q);
	if (b->fd >= 0)
		close(b->fd);
	for (uint32_t i = 0; i < b->nspaces; i++)
		vex_space_unref(b->spaces[i]);
	free(b->spaces);
	if (b->pin)
		pin_drop(b->s, b->pin);
	free(b);
}

void vex_backup_info(const struct vex_backup *b, struct vex_backup_info *out)
{
	*out = (struct vex_backup_info){ .lsn = b->lsn,
					 .since = b->since,
					 .catalog_bytes = b->size };
	memcpy(out->uuid, b->s->uuid, sizeof(out->uuid));
	for (uint32_t i = 0; i < b->nspaces; i++) {
		struct vex_space_counts n;

		vex_space_counts(b->spaces[i], &n);
		out->rows += n.rows;
		out->row_bytes +=
		    n.rows * (b->spaces[i]->stride + sizeof(struct fmt_rec));
	}
}

/* ---- the pieces ---------------------------------------------------------- */

static vex_err piece_catalog(struct vex_backup *b, void *buf, size_t room,
			     struct vex_piece *p)
{
	size_t n = (size_t)vex_min64(room, b->size - b->at);

	*p = (struct vex_piece){ .file = VEX_PIECE_CATALOG, .off = b->at, .len = n };
	b->at += n;
	if (b->at == b->size) {
		b->phase = HEADS;
		b->at = 0;
	}
	return file_read(b->fd, buf, n, p->off);
}

static vex_err piece_head(struct vex_backup *b, void *buf, struct vex_piece *p)
{
	struct vex_space *sp = b->spaces[b->at / 2];
	bool recs = b->at % 2;

	b->at++;
	*p = (struct vex_piece){ .file = recs ? VEX_PIECE_RECS : VEX_PIECE_ROWS,
				 .space = sp->id,
				 .len = FMT_HEAD };
	/* Of a space that is out of service nothing can be had; a restored store says so.
	 */
	if (atomic_load(&sp->broken)) {
		p->len = 0;
		return 0;
	}
	return file_read(recs ? sp->recs_fd : sp->rows_fd, buf, FMT_HEAD, 0);
}

static struct vex_space *space_of(struct vex_backup *b, uint32_t id)
{
	for (uint32_t i = 0; i < b->nspaces; i++)
		if (b->spaces[i]->id == id)
			return atomic_load(&b->spaces[i]->broken) ? NULL : b->spaces[i];
	return NULL;
}

/* The next run of slots: attachments one behind the other go together. 1: there is
 * one; the statement stands on the row behind it, if `ahead`. */
static int next_run(struct vex_backup *b)
{
	uint64_t max = ((uint64_t)1 << 20) / 32;
	int more = b->over ? 0 : b->ahead ? 1 : sql_next(b->st);

	b->run = 0;
	for (; more == 1; more = sql_next(b->st)) {
		struct vex_space *sp = space_of(b, sql_u32(b->st, 0));
		uint64_t slot =
		    sqlite3_column_int64(b->st, 1) < 0 ? 0 : sql_u64(b->st, 1);
		uint32_t rows = sql_u32(b->st, 2);

		if (!sp)
			continue;
		if (b->run &&
		    (sp != b->sp || slot != b->run_first + b->run || b->run >= max))
			break;
		if (!b->run) {
			b->sp = sp;
			b->run_first = slot;
		}
		b->run += rows;
	}
	b->ahead = more == 1;
	b->over = !more;
	return more < 0 ? more : b->run ? 1 : 0;
}

/* Rows of the run, then its records. What cannot be read is left out: fsck of the
 * backup names it, as that of the store would. */
static vex_err piece_slots(struct vex_backup *b, void *buf, size_t room,
			   struct vex_piece *p)
{
	bool recs = b->first >= b->run_first + b->run;
	uint64_t at = recs ? b->first - b->run : b->first;
	size_t stride = recs ? sizeof(struct fmt_rec) : b->sp->stride;
	uint64_t n = vex_min64(room / stride, b->run_first + b->run - at);
	vex_err err;

	*p = (struct vex_piece){ .file = recs ? VEX_PIECE_RECS : VEX_PIECE_ROWS,
				 .space = b->sp->id,
				 .off = FMT_HEAD + at * stride,
				 .len = n * stride };
	err = n ? file_read(recs ? b->sp->recs_fd : b->sp->rows_fd, buf, p->len, p->off)
		: -EINVAL;
	if (err == -ENODATA || err == -EIO) {
		p->len = 0;
		err = 0;
	}
	b->first += n;
	b->left -= n;
	b->rows += recs ? n : 0;
	return err;
}

static vex_err slots(struct vex_backup *b, void *buf, size_t room, struct vex_piece *p)
{
	if (!b->left) {
		int more = next_run(b);

		if (more < 0)
			return more;
		if (!more) {
			b->phase = ENDED;
			return 0;
		}
		b->first = b->run_first;
		b->left = 2 * b->run;
	}
	return piece_slots(b, buf, room, p);
}

vex_err vex_backup_next(struct vex_backup *b, void *buf, size_t room, struct vex_piece *p)
{
	vex_err err = room < VEX_PIECE_MIN ? -EINVAL : 0;

	p->len = 0;
	while (!err && !p->len && b->phase != ENDED) {
		if (b->phase == CATALOG)
			err = piece_catalog(b, buf, room, p);
		else if (b->phase == HEADS && b->at < 2 * (uint64_t)b->nspaces)
			err = piece_head(b, buf, p);
		else if (b->phase == HEADS)
			b->phase = SLOTS;
		else
			err = slots(b, buf, room, p);
	}
	if (!err && b->phase == ENDED && !p->len)
		*p = (struct vex_piece){ .file = VEX_PIECE_END, .off = b->rows };
	return err;
}
