/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog as a whole: making it, opening it, what is wrong with it.
 *
 * Order at open: the WAL's tail is looked at (tail.c), then all of the WAL goes into
 * the catalog, and only then is every page checked: after a crash a page may be torn
 * in the catalog and whole in the WAL. Where the disk is full that cannot be had; each
 * page is checked when it is read anyway.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "store_i.h"

#define CHECK_MAX ((uint64_t)1 << 30)

/* Version 1; what came later is in upgrade.c. */
static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE space(id INTEGER PRIMARY KEY, name TEXT NOT NULL, dim INTEGER,"
    " metric INTEGER, type INTEGER, index_kind INTEGER, m INTEGER, efc INTEGER,"
    " efs INTEGER, quant INTEGER, dropped INTEGER);"
    "CREATE UNIQUE INDEX space_name ON space(name) WHERE dropped=0;"
    "CREATE TABLE node(id INTEGER PRIMARY KEY, state INTEGER, is_dir INTEGER,"
    " mark BLOB, fh BLOB, fh_gen INTEGER, ino INTEGER, size INTEGER, mtime INTEGER);"
    "CREATE INDEX node_fh ON node(fh) WHERE fh IS NOT NULL;"
    "CREATE INDEX node_going ON node(state) WHERE state=1;"
    "CREATE TABLE name(parent INTEGER, name BLOB, node INTEGER,"
    " PRIMARY KEY(parent,name,node)) WITHOUT ROWID;"
    "CREATE INDEX name_node ON name(node);"
    "CREATE TABLE attach(lsn INTEGER PRIMARY KEY, node INTEGER, space INTEGER,"
    " slot INTEGER, rows INTEGER, form INTEGER, st_size INTEGER, st_mtime INTEGER,"
    " st_open INTEGER, key BLOB NOT NULL, text BLOB, UNIQUE(node,space,key));"
    "CREATE TABLE log(lsn INTEGER PRIMARY KEY, time INTEGER, kind INTEGER,"
    " node INTEGER, space INTEGER, key BLOB, old_slot INTEGER, new_slot INTEGER,"
    " path BLOB);";

/* ---- meta ---------------------------------------------------------------- */

vex_err meta_get_int(struct sql *q, const char *key, uint64_t *out)
{
	int64_t v;
	vex_err err = sql_int(q, SQL_META_GET, &v, "s", key);

	if (!err)
		*out = (uint64_t)v;
	return err;
}

vex_err meta_set_int(struct sql *q, const char *key, uint64_t v)
{
	return sql_do(q, SQL_META_SET, "si", key, v);
}

vex_err meta_get_blob(struct sql *q, const char *key, void *out, uint32_t len)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(q, SQL_META_GET, &st, "s", key);
	int more;

	if (err)
		return err;
	more = sql_next(st);
	if (more == 1 && sqlite3_column_bytes(st, 0) != (int)len)
		more = -EUCLEAN;
	if (more == 1)
		memcpy(out, sqlite3_column_blob(st, 0), len);
	sql_end(q, SQL_META_GET, st);
	return more == 1 ? 0 : more ? more : -ENODATA;
}

vex_err meta_set_blob(struct sql *q, const char *key, const void *v, uint32_t len)
{
	return sql_do(q, SQL_META_SET, "sb", key, v, len);
}

/* ---- making one ---------------------------------------------------------- */

static vex_err fill_new(struct vex_store *s, struct sql *q)
{
	struct fmt_durable d = { 0 };
	char app[48];
	vex_err err = vex_random(s->uuid, sizeof(s->uuid));

	snprintf(app, sizeof(app), "PRAGMA application_id=%d", (int)FMT_APP_ID);
	if (!err)
		err = sql_text(q, app);
	if (!err)
		err = meta_set_blob(q, "uuid", s->uuid, sizeof(s->uuid));
	if (!err)
		err = meta_set_int(q, "fh_gen", 0);
	if (!err)
		err = meta_set_int(q, "node_high", 2);
	if (!err)
		err = meta_set_int(q, "space_high", 0);
	if (!err)
		err = meta_set_blob(q, "durable", &d, sizeof(d));
	return err ? err : upgrade_steps(q, 1);
}

vex_err catalog_make(struct vex_store *s, struct sql *q)
{
	vex_err err = sql_text(q, schema);

	if (!err)
		err = fill_new(s, q);
	if (!err)
		err = sql_text(q, "COMMIT");
	if (err && !sqlite3_get_autocommit(q->db))
		(void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

/* ---- what is wrong with it ----------------------------------------------- */

/* A sentence for a catalog that could not be opened or read. */
static vex_err diagnose(struct vex_store *s, struct sql *q, vex_err err,
			struct vex_problem *problem)
{
	AUTO_CLOSE int fd = -1;
	char head[16] = "";
	uint64_t bad = 0;

	if (err == -ENOMEM || err == -ENOSPC || err == -EROFS) {
		problem_set(problem, "%.180s/" FMT_DIR "/" FMT_CATALOG ": %s", s->path,
			    strerror(-err));
		return err;
	}
	/* Only now: closing any descriptor of it drops SQLite's locks on the file. */
	fd = openat(s->dirfd, FMT_CATALOG, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || file_read(fd, head, sizeof(head), 0) ||
	    memcmp(head, "SQLite format 3", 16) != 0)
		problem_set(problem,
			    "%.180s/" FMT_DIR "/" FMT_CATALOG ": not a VexFS catalog",
			    s->path);
	else if (q->db && vfs_check(q->db, CHECK_MAX, &bad) && bad)
		problem_set(problem,
			    "%.180s/" FMT_DIR "/" FMT_CATALOG
			    ": page %llu does not match its checksum (vexctl fsck "
			    "--repair rescues what can be read)",
			    s->path, (unsigned long long)bad);
	else
		problem_set(problem, "%.180s/" FMT_DIR "/" FMT_CATALOG ": %s (%s)",
			    s->path, strerror(-err),
			    q->db ? sqlite3_errmsg(q->db) : "not opened");
	return err;
}

static vex_err pragma_int(struct sql *q, const char *text, int64_t *out)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(q->db, text, -1, &st, NULL);

	if (!rc)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -EUCLEAN : sql_errno(rc);
}

/* Slot files without a catalog: somebody lost the catalog, we do not make another. */
static bool has_slot_files(struct vex_store *s)
{
	int fd = openat(s->spacesfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool found = false;

	if (!d && fd >= 0)
		close(fd);
	for (struct dirent *e; d && !found && (e = readdir(d));) {
		struct stat st;

		found = e->d_name[0] != '.' && !fstatat(fd, e->d_name, &st, 0) &&
			st.st_size > (off_t)FMT_HEAD;
	}
	if (d)
		closedir(d);
	return found;
}

/* Makes the tables where there are none; refuses what is not ours. */
static vex_err check_format(struct vex_store *s, struct sql *q,
			    struct vex_problem *problem)
{
	int64_t tables = 0, app = 0, version = 0;
	vex_err err = pragma_int(q, "SELECT count(*) FROM sqlite_schema", &tables);

	if (!err)
		err = pragma_int(q, "PRAGMA application_id", &app);
	if (!err)
		err = pragma_int(q, "PRAGMA user_version", &version);
	if (err)
		return diagnose(s, q, err, problem);
	if (!tables && has_slot_files(s)) {
		problem_set(problem,
			    "%.180s/" FMT_DIR "/" FMT_CATALOG
			    ": missing or empty, while slot files exist in " FMT_SPACES
			    "/",
			    s->path);
		return -EUCLEAN;
	}
	if (!tables) {
		err = catalog_make(s, q);
		return err ? diagnose(s, q, err, problem) : 0;
	}
	if (app == FMT_APP_ID && version >= 1 && version <= FMT_VERSION)
		return 0;
	problem_set(problem,
		    app != FMT_APP_ID
			? "%.180s/" FMT_DIR "/" FMT_CATALOG ": not a VexFS catalog"
			: "%.180s/" FMT_DIR "/" FMT_CATALOG
			  ": format version %d, this VexFS knows versions 1 to %d",
		    s->path, (int)version, FMT_VERSION);
	return -EUCLEAN;
}

static vex_err empty_wal(struct sql *q)
{
	int rc = sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
					   NULL);

	return rc ? sql_errno(sqlite3_extended_errcode(q->db)) : 0;
}

static vex_err check_pages(struct vex_store *s, struct sql *q,
			   struct vex_problem *problem)
{
	int64_t pages = 0;
	uint64_t bad = 0;
	struct stat st;
	vex_err err = empty_wal(q);

	if (err == -ENOSPC && reserve_give(s))
		err = empty_wal(q);
	if (err == -ENOSPC) {
		vex_warn("%s/" FMT_DIR "/" FMT_CATALOG
			 ": no space left: its pages are checked when they are read",
			 s->path);
		return 0;
	}
	if (err)
		return diagnose(s, q, err, problem);
	err = vfs_check(q->db, CHECK_MAX, &bad);
	if (!err)
		err = pragma_int(q, "PRAGMA page_count", &pages);
	if (err)
		return diagnose(s, q, err, problem);
	if (fstatat(s->dirfd, FMT_CATALOG, &st, 0) == 0 &&
	    st.st_size < pages * (int64_t)FMT_PAGE) {
		problem_set(problem,
			    "%.180s/" FMT_DIR "/" FMT_CATALOG
			    ": cut short, %lld of %lld pages",
			    s->path, (long long)st.st_size / FMT_PAGE, (long long)pages);
		return -EUCLEAN;
	}
	return 0;
}

/* ---- opening ------------------------------------------------------------- */

static vex_err create_file(struct vex_store *s)
{
	AUTO_CLOSE int fd =
	    openat(s->dirfd, FMT_CATALOG,
		   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd >= 0 || errno == EEXIST ? 0 : -errno;
}

static vex_err bring_up(struct vex_store *s, struct sql *q)
{
	int64_t version = 0;
	vex_err err = pragma_int(q, "PRAGMA user_version", &version);

	if (err || version == FMT_VERSION)
		return err;
	vex_info("%s: format version %d becomes %d", s->path, (int)version, FMT_VERSION);
	return upgrade_catalog(q, (int)version);
}

/* After a power loss a log ends somewhere; after a kill it is whole. */
static vex_err look_at_wal(struct vex_store *s)
{
	char text[160];
	vex_err err = s->rebooted ? 0 : wal_look(s->dirfd, text, sizeof(text));

	if (!err && !s->rebooted && *text)
		damage_log(s, "%s", text);
	return err;
}

vex_err catalog_open(struct vex_store *s, struct sql *q, struct vex_problem *problem)
{
	vex_err err = create_file(s);

	if (!err)
		err = look_at_wal(s);

	if (err) {
		problem_set(problem, "%.180s/" FMT_DIR "/" FMT_CATALOG ": %s", s->path,
			    strerror(-err));
		return err;
	}
	/* Of a version that had the wal-index in a file. */
	unlinkat(s->dirfd, FMT_CATALOG "-shm", 0);
	err = sql_open(q, s->dirfd, true);
	if (err)
		return diagnose(s, q, err, problem);
	err = check_format(s, q, problem);
	if (err)
		return err;
	err = meta_get_blob(q, "uuid", s->uuid, sizeof(s->uuid));
	/* Once more where a power loss took it back with all that was not synced. */
	if (!err)
		err = bring_up(s, q);
	if (!err)
		err = tail_check(s, q);
	if (!err)
		err = bring_up(s, q);
	if (err)
		return diagnose(s, q, err, problem);
	return check_pages(s, q, problem);
}

/* ---- the root ------------------------------------------------------------ */

/*
 * Handles hold within one filesystem. The root of every ext4 has the same handle, so
 * the filesystem's own id (from its UUID, where it has one) counts as well.
 */
static vex_err root_now(struct vex_store *s, struct fmt_root *out)
{
	struct vex_fh fh = { 0 };
	struct statfs fs;
	vex_err err = vex_fh_get(s->rootfd, "", &fh, NULL);

	if (err)
		return err;
	if (fstatfs(s->rootfd, &fs))
		return -errno;
	memset(out, 0, sizeof(*out));
	static_assert(sizeof(fs.f_fsid) == sizeof(out->fsid), "fsid");
	memcpy(&out->fsid, &fs.f_fsid, sizeof(out->fsid));
	out->type = fh.type;
	out->len = fh.len;
	memcpy(out->bytes, fh.bytes, fh.len);
	return 0;
}

vex_err catalog_root_moved(struct vex_store *s, struct sql *q, bool *moved)
{
	struct fmt_root now, was;
	vex_err err = root_now(s, &now);

	if (!err)
		err = meta_get_blob(q, "root", &was, sizeof(was));
	/* Not known, of a catalog that was rescued: then it is another. */
	if (err == -ENODATA) {
		*moved = true;
		return 0;
	}
	if (!err)
		*moved = memcmp(&now, &was, sizeof(now)) != 0;
	return err;
}

vex_err catalog_root(struct vex_store *s, struct sql *q)
{
	struct fmt_root now, was;
	vex_err err = root_now(s, &now);

	if (!err)
		err = meta_get_int(q, "fh_gen", &s->fh_gen);
	if (err)
		return err;
	err = meta_get_blob(q, "root", &was, sizeof(was));
	if (!err && !memcmp(&now, &was, sizeof(now)))
		return 0;
	if (err && err != -ENODATA)
		return err;
	if (!err)
		vex_info("%s: the store was moved or copied: files are looked up anew",
			 s->path);
	err = sql_do(q, SQL_BEGIN, "");
	if (!err)
		err = meta_set_int(q, "fh_gen", s->fh_gen + 1);
	if (!err)
		err = meta_set_blob(q, "root", &now, sizeof(now));
	if (!err)
		err = sql_do(q, SQL_COMMIT, "");
	if (err) {
		(void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
		return err;
	}
	s->fh_gen++;
	return 0;
}
