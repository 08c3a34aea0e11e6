/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalog with damaged pages, as much of it as can be had. Each table is read in the
 * order of its keys into a new catalog; where a page does not match its checksum, reading
 * goes on behind the keys that were in it. What an index has too is taken from there:
 * names (name_node has all of them), and which attachments there were (node, space, key
 * and number; salvage_rows.c finds their rows by the records in the slot files, checksums
 * and all). Nodes that are lost are asked of the files, which carry their mark.
 *
 * Nothing is guessed: an attachment comes back with its rows verified or not at all, with
 * its text only where that could be read, and without a stamp (hence stale) where that
 * was lost. What is lost is told, by table and numbers. The old catalog stays beside the
 * new one as catalog.db.damaged. The first page holds the schema: it is read even where
 * its checksum does not hold, if SQLite can make sense of it.
 *
 * No daemon serves the store: the lock is held. One thread.
 */
#include <fcntl.h>
#include "salvage_i.h"

#define KEY_END (INT64_C(1) << 52) /* no key of ours is as high */

/* ---- telling ---------------------------------------------------------------------- */

void salvage_say(struct salvage *x, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	x->o->lost(x->o->arg, text);
}

/* ---- one table -------------------------------------------------------------------- */

/* A table, or a way to read one, in the order of an integer key. */
struct source {
	const char *table, *from, *key, *cols;
	const char *what; /* told of keys that were lost; NULL: another source has them */
};

static const struct source sources[] = {
	{ "space", "space NOT INDEXED", "id", "*", "spaces" },
	{ "node", "node NOT INDEXED", "id", "*", NULL }, /* told one by one */
	{ "name", "name INDEXED BY name_node", "node", "parent,name,node", NULL },
	{ "name", "name NOT INDEXED", "parent", "parent,name,node", NULL },
	{ "attach", "attach NOT INDEXED", "lsn", "*", "attachments" },
	{ "kept", "kept NOT INDEXED", "node", "*",
	  "times since files are away, of nodes" },
	{ "log", "log NOT INDEXED", "lsn", "*", "log rows" },
	{ "redo", "redo NOT INDEXED", "id", "*", NULL },
};

static vex_err prepare(sqlite3 *db, sqlite3_stmt **out, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return sql_errno(sqlite3_prepare_v2(db, text, -1, out, NULL));
}

/* INSERT with the columns of the reader, by name: an earlier version has fewer. */
static vex_err prepare_insert(struct salvage *x, const char *table, sqlite3_stmt *from,
			      sqlite3_stmt **out)
{
	AUTO_BUF struct vex_buf b = { 0 };
	int n = sqlite3_column_count(from);

	vex_buf_fmt(&b, "INSERT OR IGNORE INTO %s(", table);
	for (int i = 0; i < n; i++)
		vex_buf_fmt(&b, "%s%s", i ? "," : "", sqlite3_column_name(from, i));
	vex_buf_str(&b, ") VALUES(");
	for (int i = 0; i < n; i++)
		vex_buf_fmt(&b, "%s?%d", i ? "," : "", i + 1);
	vex_buf_str(&b, ")");
	vex_buf_add(&b, "", 1);
	return b.err ? b.err
		     : sql_errno(sqlite3_prepare_v2(x->to.db, b.data, -1, out, NULL));
}

static vex_err copy_row(sqlite3_stmt *from, sqlite3_stmt *to)
{
	int rc = 0;

	for (int i = 0; !rc && i < sqlite3_column_count(from); i++)
		rc = sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
	if (!rc)
		rc = sqlite3_step(to);
	sqlite3_reset(to);
	return sql_errno(rc);
}

struct table {
	struct salvage *x;
	const struct source *s;
	sqlite3_stmt *rows, *put, *probe, *key;
	int key_col;
};

/* Errors of the damaged file; all others end it. */
static bool damage(vex_err err)
{
	return err == -EUCLEAN || err == -EIO;
}

/* Copies from the key on; *at ends as the last key read. 1: to the end. */
static int copy_from(struct table *t, int64_t *at)
{
	vex_err err = 0;
	int more = 0;

	sqlite3_bind_int64(t->rows, 1, *at);
	while (!err && (more = sql_next(t->rows)) == 1) {
		*at = sqlite3_column_int64(t->rows, t->key_col);
		err = copy_row(t->rows, t->put);
	}
	sqlite3_reset(t->rows);
	return err ? err : more < 0 ? more : 1;
}

/* 1: there is a row at or above, its key in *key; 0: none; or an error. */
static int probe(struct table *t, int64_t from, int64_t *key)
{
	int more;

	sqlite3_bind_int64(t->probe, 1, from);
	more = sql_next(t->probe);
	if (more == 1)
		*key = sqlite3_column_int64(t->probe, 0);
	sqlite3_reset(t->probe);
	return more;
}

/* The lowest key above `at` behind the damage: 1; 0: there is none. */
static int find_next(struct table *t, int64_t at, int64_t *next)
{
	int64_t low = at, step = 1, key = 0;
	int more;

	while ((more = probe(t, at + step, &key)) < 0 && damage(more) && step < KEY_END) {
		low = at + step;
		step *= 2;
	}
	if (more <= 0)
		return more < 0 && !damage(more) ? more : 0;
	for (int64_t high = at + step; high - low > 1;) {
		int64_t mid = low + (high - low) / 2, k;

		if (probe(t, mid, &k) == 1) {
			high = mid;
			key = k;
		} else {
			low = mid;
		}
	}
	*next = key;
	return 1;
}

static void tell_gap(struct table *t, int64_t from, int64_t next)
{
	if (!t->s->what)
		return;
	if (next)
		salvage_say(t->x, "%s %lld to %lld could not be read", t->s->what,
			    (long long)from, (long long)next - 1);
	else
		salvage_say(t->x, "%s from %lld on could not be read", t->s->what,
			    (long long)from);
}

static vex_err copy_table(struct table *t)
{
	int64_t at = INT64_MIN + 1;

	for (;;) {
		int64_t next = 0;
		int more = copy_from(t, &at);

		if (more == 1)
			return 0;
		if (!damage(more))
			return more;
		if (at < 0)
			at = -1;
		more = find_next(t, at, &next);
		if (more < 0)
			return more;
		tell_gap(t, at + 1, more ? next : 0);
		if (!more)
			return 0;
		at = next;
	}
}

static vex_err salvage_source(struct salvage *x, const struct source *s)
{
	struct table t = { .x = x, .s = s };
	vex_err err =
	    prepare(x->from, &t.rows, "SELECT %s FROM %s WHERE %s>=?1 ORDER BY %s",
		    s->cols, s->from, s->key, s->key);

	/* An index that is not there, a table that came later. */
	if (err == -EIO || err == -EUCLEAN)
		return 0;
	if (!err)
		err = prepare(x->from, &t.probe,
			      "SELECT %s FROM %s WHERE %s>=?1 ORDER BY %s LIMIT 1",
			      s->key, s->from, s->key, s->key);
	if (!err)
		err = prepare_insert(x, s->table, t.rows, &t.put);
	for (int i = 0; !err && i < sqlite3_column_count(t.rows); i++)
		if (!strcmp(sqlite3_column_name(t.rows, i), s->key))
			t.key_col = i;
	if (!err)
		err = copy_table(&t);
	sqlite3_finalize(t.rows);
	sqlite3_finalize(t.probe);
	sqlite3_finalize(t.put);
	return err;
}

/* ---- meta ------------------------------------------------------------------------- */

static const char *const meta_keys[] = { "uuid", "fh_gen", "root", NULL };

/* What the old one still has. */
static vex_err salvage_meta(struct salvage *x)
{
	vex_err err = 0;

	for (int i = 0; !err && meta_keys[i]; i++) {
		sqlite3_stmt *st = NULL;

		if (!prepare(x->from, &st, "SELECT key,value FROM meta WHERE key='%s'",
			     meta_keys[i]) &&
		    sql_next(st) == 1)
			err = sql_do(&x->to, SQL_META_SET, "sb", meta_keys[i],
				     sqlite3_column_blob(st, 1),
				     (uint32_t)sqlite3_column_bytes(st, 1));
		if (!err && st && !strcmp(meta_keys[i], "uuid") &&
		    sqlite3_column_bytes(st, 1) == (int)sizeof(x->uuid)) {
			memcpy(x->uuid, sqlite3_column_blob(st, 1), sizeof(x->uuid));
			x->has_uuid = true;
		}
		if (!err && !strcmp(meta_keys[i], "fh_gen") && st &&
		    sqlite3_column_type(st, 1) == SQLITE_INTEGER)
			err = meta_set_int(&x->to, "fh_gen", sql_u64(st, 1));
		sqlite3_finalize(st);
	}
	return err;
}

/* Numbers that were given out are not given again. */
static vex_err salvage_numbers(struct salvage *x)
{
	static const char text[] =
	    "UPDATE meta SET value=1048576+(SELECT max(ifnull(max(id),1),"
	    "(SELECT ifnull(max(node),1) FROM attach)) FROM node) WHERE key='node_high';"
	    "UPDATE meta SET value=(SELECT ifnull(max(id),0) FROM space) "
	    "WHERE key='space_high';"
	    "UPDATE meta SET value=max(value,(SELECT ifnull(max(fh_gen),0) FROM node)) "
	    "WHERE key='fh_gen'";

	return sql_text(&x->to, text);
}

/* ---- nodes ------------------------------------------------------------------------ */

/* The path the names say, from the file up; false where it does not lead to the root. */
static bool path_of(struct salvage *x, uint64_t node, struct vex_buf *out)
{
	for (int depth = 0; node != 1; depth++) {
		AUTO_BUF struct vex_buf longer = { 0 };
		sqlite3_stmt *st;
		bool found;

		if (depth == 512 || sql_start(&x->to, SQL_NAME_OF, &st, "i", node))
			return false;
		found = sql_next(st) == 1;
		if (found) {
			node = sql_u64(st, 0);
			vex_buf_add(&longer, sqlite3_column_blob(st, 1),
				    (size_t)sqlite3_column_bytes(st, 1));
			vex_buf_str(&longer, out->len ? "/" : "");
			vex_buf_add(&longer, out->data, out->len);
			out->len = 0;
			vex_buf_add(out, longer.data, longer.len);
		}
		sql_end(&x->to, SQL_NAME_OF, st);
		if (!found || out->err)
			return false;
	}
	vex_buf_add(out, "", 1);
	return !out->err;
}

static vex_err add_node(struct salvage *x, uint64_t id, bool is_dir)
{
	AUTO_BUF struct vex_buf path = { 0 };
	struct vex_node n = { .id = id, .is_dir = is_dir };
	bool found = path_of(x, id, &path) && x->o->node(x->o->arg, path.data, &n);

	if (found)
		x->nodes++;
	else
		salvage_say(
		    x, "node %llu (%.200s) is lost, and no such file has its mark",
		    (unsigned long long)id, path.len > 1 ? path.data : "without a name");
	/* The handle is learnt anew: by the mark. */
	return sql_do(&x->to, SQL_NODE_ADD, "iiinniiii", id, INT64_C(0),
		      (int64_t)n.is_dir, found ? n.mark : NULL, VEX_MARK_LEN,
		      (const void *)NULL, 0u, INT64_C(0), n.ino, n.size, n.mtime_ns);
}

/* Nodes that names and attachments speak of. */
static vex_err salvage_nodes(struct salvage *x)
{
	sqlite3_stmt *st = NULL;
	vex_err err = prepare(
	    x->to.db, &st,
	    "SELECT id,id IN (SELECT parent FROM name) FROM (SELECT node AS id "
	    "FROM attach UNION SELECT node FROM name UNION SELECT parent FROM name) "
	    "WHERE id NOT IN (SELECT id FROM node) ORDER BY id");
	int more = 0;

	while (!err && (more = sql_next(st)) == 1)
		err = add_node(x, sql_u64(st, 0), sqlite3_column_int(st, 1));
	sqlite3_finalize(st);
	return err ? err : more;
}

/* ---- the new file ----------------------------------------------------------------- */

static vex_err open_new(struct salvage *x)
{
	struct vex_procfd dir = vex_procfd(x->s->dirfd);
	int reserve = FMT_PAGE_SUM;
	char path[96];
	vex_err err;

	unlinkat(x->s->dirfd, NEW_CATALOG, 0);
	snprintf(path, sizeof(path), "%s/" NEW_CATALOG, dir.path);
	err =
	    sql_errno(sqlite3_open_v2(path, &x->to.db,
				      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					  SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
				      VFS_NAME));
	if (err)
		return err;
	sqlite3_file_control(x->to.db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	err = sql_text(&x->to, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;"
			       "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
			       "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32768");
	return err ? err : catalog_make(x->s, &x->to);
}

/* The new one takes the place of the old, which stays beside it. */
static vex_err put_in_place(struct salvage *x)
{
	int dirfd = x->s->dirfd;
	AUTO_CLOSE int fd = openat(dirfd, NEW_CATALOG, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fsync(fd))
		return -errno;
	if (renameat(dirfd, FMT_CATALOG, dirfd, FMT_CATALOG ".damaged"))
		return -errno;
	if (renameat(dirfd, FMT_WAL, dirfd, FMT_WAL ".damaged") && errno != ENOENT)
		return -errno;
	return renameat(dirfd, NEW_CATALOG, dirfd, FMT_CATALOG) || fsync(dirfd) ? -errno
										: 0;
}

/* A first page that makes no sense, or is of another version: there is nothing to read
 * by.
 */
static vex_err ours(struct salvage *x)
{
	sqlite3_stmt *st = NULL;
	vex_err err =
	    prepare(x->from, &st,
		    "SELECT 1 FROM pragma_application_id a,pragma_user_version v,"
		    "sqlite_schema s WHERE a.application_id=%d AND "
		    "v.user_version BETWEEN 1 AND %d AND s.name='attach'",
		    (int)FMT_APP_ID, FMT_VERSION);
	int more = err ? err : sql_next(st);

	sqlite3_finalize(st);
	return more == 1 ? 0 : more < 0 ? more : -EUCLEAN;
}

static vex_err salvage_all(struct salvage *x)
{
	vex_err err = ours(x);

	if (!err)
		err = open_new(x);

	if (!err)
		err = sql_text(&x->to, "BEGIN");
	if (!err)
		err = salvage_meta(x);
	for (size_t i = 0; !err && i < ARRAY_SIZE(sources); i++)
		err = salvage_source(x, &sources[i]);
	if (!err)
		err = salvage_spaces(x);
	if (!err)
		err = salvage_rows(x);
	if (!err)
		err = salvage_nodes(x);
	if (!err)
		err = salvage_numbers(x);
	if (!err)
		err = sql_text(&x->to, "COMMIT");
	return err;
}

vex_err vex_salvage(int rootfd, struct vex_salvage *o, struct vex_problem *problem)
{
	struct salvage x = { .o = o };
	struct vex_check *c;
	vex_err err = check_begin(rootfd, &c, problem);

	if (err)
		return err;
	x.s = c->s;
	vfs_lenient(true);
	err = check_open_db(c);
	x.from = c->q.db;
	if (!err)
		err = salvage_all(&x);
	sql_close(&x.to);
	vex_check_close_db(c);
	vfs_lenient(false);
	if (!err)
		err = put_in_place(&x);
	if (err) {
		unlinkat(x.s->dirfd, NEW_CATALOG, 0);
		problem_set(problem, FMT_DIR "/" FMT_CATALOG ": cannot be rescued: %s",
			    strerror(-err));
	}
	o->attachments = x.attachments;
	o->nodes = x.nodes;
	vex_check_close(c);
	return err;
}
