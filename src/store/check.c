/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An unmounted store under examination: opening it without a trace, and the catalog in
 * itself. What the files of the spaces hold: check_slots.c. What the user's files say:
 * engine.
 *
 * No trace. With an empty WAL the catalog is opened as immutable. A WAL that a crash left
 * has to be read, so it is opened with exclusive locking: SQLite then keeps its index of
 * the WAL in memory, and makes no -shm file; checkpoints at close are off.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "check_i.h"

/* ---- saying ---------------------------------------------------------------------- */

vex_err check_say(struct vex_check *c, const struct vex_finding *where, const char *fmt,
		  ...)
{
	struct vex_finding f =
	    where ? *where : (struct vex_finding){ .fix = VEX_FIX_NONE };
	AUTO_FREE char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		return -ENOMEM;
	}
	f.text = text;
	return c->fn(c->arg, &f);
}

vex_err check_each(struct vex_check *c, const char *text,
		   vex_err (*fn)(struct vex_check *c, sqlite3_stmt *st, void *arg),
		   void *arg)
{
	sqlite3_stmt *st = NULL;
	vex_err err = sql_errno(sqlite3_prepare_v2(c->q.db, text, -1, &st, NULL));
	int more = 0;

	while (!err && (more = sql_next(st)) == 1)
		err = fn(c, st, arg);
	sqlite3_finalize(st);
	return err ? err : more;
}

/* ---- opening --------------------------------------------------------------------- */

static vex_err open_places(struct vex_check *c, int rootfd, struct vex_problem *problem)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	vex_err err;
	struct vex_procfd root = vex_procfd(rootfd);
	struct vex_store *s = c->s;
	ssize_t n = readlink(root.path, s->path, sizeof(s->path) - 1);

	if (n <= 0)
		snprintf(s->path, sizeof(s->path), "STORE");
	s->rootfd = rootfd;
	s->dirfd = openat(rootfd, FMT_DIR, flags);
	if (s->dirfd >= 0)
		s->spacesfd = openat(s->dirfd, FMT_SPACES, flags);
	if (s->dirfd >= 0 && s->spacesfd >= 0)
		return 0;
	err = -errno;
	if (s->dirfd >= 0 && !faccessat(s->dirfd, "control", F_OK, 0)) {
		problem_set(problem, "%.180s is a mounted VexFS: unmount it first",
			    s->path);
		return -EBUSY;
	}
	problem_set(problem,
		    s->dirfd < 0 && err == -ENOENT ? "%.180s: no VexFS store (%s)"
						   : "%.180s/" FMT_DIR ": %s",
		    s->path, strerror(-err));
	return err;
}

static int open_db(struct vex_check *c)
{
	struct vex_procfd dir = vex_procfd(c->s->dirfd);
	char path[96];
	int rc;

	if (c->wal)
		snprintf(path, sizeof(path), "%s/" FMT_CATALOG, dir.path);
	else
		snprintf(path, sizeof(path), "file:%s/" FMT_CATALOG "?immutable=1",
			 dir.path);
	rc = sqlite3_open_v2(
	    path, &c->q.db,
	    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
		(c->wal ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY | SQLITE_OPEN_URI),
	    VFS_NAME);
	if (rc)
		return rc;
	sqlite3_extended_result_codes(c->q.db, 1);
	sqlite3_db_config(c->q.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(c->q.db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return sqlite3_exec(c->q.db,
			    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=0;"
			    "PRAGMA query_only=1; PRAGMA temp_store=MEMORY;"
			    "PRAGMA mmap_size=0",
			    NULL, NULL, NULL);
}

vex_err check_open_db(struct vex_check *c)
{
	struct stat st;
	vex_err err = vfs_register();

	c->wal = !fstatat(c->s->dirfd, FMT_WAL, &st, AT_SYMLINK_NOFOLLOW) && st.st_size;
	return err ? err : sql_errno(open_db(c));
}

void vex_check_close_db(struct vex_check *c)
{
	sql_close(&c->q);
}

static vex_err one_int(struct vex_check *c, sqlite3_stmt *st, void *out)
{
	(void)c;
	*(int64_t *)out = sqlite3_column_int64(st, 0);
	return 0;
}

/* The catalog of an earlier version is looked at as it will be once it has been opened
 * for use: a copy in memory goes through the steps. */
static vex_err check_as_new(struct vex_check *c, int version)
{
	struct sql copy = { 0 };
	sqlite3_backup *b = NULL;
	vex_err err = sql_errno(sqlite3_open(":memory:", &copy.db));

	if (!err)
		err = sql_text(&copy, "PRAGMA page_size=4096");
	if (!err)
		b = sqlite3_backup_init(copy.db, "main", c->q.db, "main");
	if (!err && !b)
		err = -ENOMEM;
	if (b) {
		sqlite3_backup_step(b, -1);
		err = sql_errno(sqlite3_backup_finish(b));
	}
	if (!err)
		err = upgrade_catalog(&copy, version);
	if (err) {
		sql_close(&copy);
		return err;
	}
	sql_close(&c->q);
	c->q = copy;
	c->old = true;
	return 0;
}

static vex_err read_fixed(struct vex_check *c, struct vex_problem *problem)
{
	int64_t app = 0, version = 0;
	vex_err err = check_each(c, "PRAGMA application_id", one_int, &app);

	if (!err)
		err = check_each(c, "PRAGMA user_version", one_int, &version);
	if (!err && app != FMT_APP_ID) {
		problem_set(problem, FMT_DIR "/" FMT_CATALOG ": not a VexFS catalog");
		return -EUCLEAN;
	}
	if (!err && (version < 1 || version > FMT_VERSION)) {
		problem_set(problem,
			    FMT_DIR "/" FMT_CATALOG
				    ": format version %d, this VexFS knows 1 to %d",
			    (int)version, FMT_VERSION);
		return -EUCLEAN;
	}
	if (!err && version < FMT_VERSION)
		err = check_as_new(c, (int)version);
	if (!err)
		err = meta_get_blob(&c->q, "uuid", c->s->uuid, sizeof(c->s->uuid));
	if (!err)
		err = meta_get_int(&c->q, "fh_gen", &c->fh_gen);
	if (!err)
		err = catalog_root_moved(c->s, &c->q, &c->moved);
	return err == -ENODATA ? -EUCLEAN : err;
}

static vex_err open_catalog(struct vex_check *c, struct vex_problem *problem)
{
	struct stat st;
	uint64_t bad = 0;
	vex_err err;

	if (fstatat(c->s->dirfd, FMT_CATALOG, &st, AT_SYMLINK_NOFOLLOW) ||
	    st.st_size == 0) {
		problem_set(problem, FMT_DIR "/" FMT_CATALOG ": missing or empty");
		return -EUCLEAN;
	}
	err = check_open_db(c);
	/* With a WAL, a page that is torn here may be whole there. SQLite may have met it
	 * already, but does not say which it was. */
	if (c->q.db && (!c->wal || err) && vfs_check(c->q.db, UINT64_MAX, &bad) && bad)
		err = -EUCLEAN;
	if (!err)
		err = read_fixed(c, problem);
	if (err && bad)
		problem_set(problem,
			    FMT_DIR "/" FMT_CATALOG
				    ": page %llu does not match its checksum",
			    (unsigned long long)bad);
	else if (err && !problem->text[0])
		problem_set(problem, FMT_DIR "/" FMT_CATALOG ": %s (%s)", strerror(-err),
			    c->q.db ? sqlite3_errmsg(c->q.db) : "not opened");
	return err;
}

void vex_check_close(struct vex_check *c)
{
	if (!c)
		return;
	sql_close(&c->q);
	for (int *fd = (int[]){ c->s->spacesfd, c->s->dirfd, c->s->lockfd, -2 };
	     *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	free(c->s);
	free(c);
}

vex_err check_begin(int rootfd, struct vex_check **out, struct vex_problem *problem)
{
	struct vex_check *c = calloc(1, sizeof(*c));
	vex_err err;

	problem->text[0] = '\0';
	if (!c)
		return -ENOMEM;
	c->s = calloc(1, sizeof(*c->s));
	if (!c->s) {
		free(c);
		return -ENOMEM;
	}
	c->s->dirfd = c->s->spacesfd = c->s->lockfd = -1;
	err = open_places(c, rootfd, problem);
	if (!err)
		err = lock_look(c->s, problem);
	if (err)
		vex_check_close(c);
	else
		*out = c;
	return err;
}

vex_err vex_check_open(int rootfd, struct vex_check **out, struct vex_problem *problem)
{
	struct vex_check *c;
	vex_err err = check_begin(rootfd, &c, problem);

	if (err)
		return err;
	err = open_catalog(c, problem);
	if (err)
		vex_check_close(c);
	else
		*out = c;
	return err;
}

/* ---- the catalog in itself --------------------------------------------------------- */

static vex_err quick_row(struct vex_check *c, sqlite3_stmt *st, void *bad)
{
	const char *text = (const char *)sqlite3_column_text(st, 0);

	if (text && !strcmp(text, "ok"))
		return 0;
	*(bool *)bad = true;
	return check_say(c, NULL, FMT_DIR "/" FMT_CATALOG ": %.400s", text ? text : "?");
}

static vex_err lost_name(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	AUTO_FREE char *name = strndup(
	    sqlite3_column_blob(st, 1) ? (const char *)sqlite3_column_blob(st, 1) : "",
	    (size_t)sqlite3_column_bytes(st, 1));
	struct vex_finding f = {
		.fix = VEX_FIX_NAME,
		.parent = sql_u64(st, 0),
		.node = sql_u64(st, 2),
		.name = name,
	};

	(void)arg;
	if (!name)
		return -ENOMEM;
	return check_say(c, &f,
			 FMT_DIR "/" FMT_CATALOG
				 ": name \"%.256s\" in directory %llu is of node %llu: "
				 "there is no such %s",
			 name, (unsigned long long)f.parent, (unsigned long long)f.node,
			 sqlite3_column_int(st, 3) ? "node" : "directory");
}

static vex_err lost_attach(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	return check_say(c, NULL,
			 FMT_DIR "/" FMT_CATALOG
				 ": change %llu attaches to %s %llu, which "
				 "does not exist",
			 (unsigned long long)sql_u64(st, 0), (const char *)arg,
			 (unsigned long long)sql_u64(st, 1));
}

static vex_err bad_attach(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	(void)arg;
	return check_say(c, NULL,
			 FMT_DIR "/" FMT_CATALOG
				 ": change %llu names no slots (%lld rows "
				 "from slot %lld)",
			 (unsigned long long)sql_u64(st, 0), sqlite3_column_int64(st, 1),
			 sqlite3_column_int64(st, 2));
}

static char to_space[] = "space", to_node[] = "node";

static const struct reference {
	const char *text;
	vex_err (*fn)(struct vex_check *c, sqlite3_stmt *st, void *arg);
	void *arg;
} references[] = {
	{ "SELECT parent,name,node,node NOT IN (SELECT id FROM node) FROM name "
	  "WHERE node NOT IN (SELECT id FROM node) "
	  "OR parent NOT IN (SELECT id FROM node UNION SELECT 1)",
	  lost_name, NULL },
	{ "SELECT lsn,node FROM attach WHERE node NOT IN (SELECT id FROM node) "
	  "AND space IN (SELECT id FROM space WHERE dropped=0)",
	  lost_attach, to_node },
	{ "SELECT lsn,space FROM attach WHERE space NOT IN (SELECT id FROM space)",
	  lost_attach, to_space },
	{ "SELECT lsn,rows,slot FROM attach WHERE rows<1 OR slot<0", bad_attach, NULL },
};

static vex_err check_all(struct vex_check *c, struct vex_check_counts *counts)
{
	bool bad = false;
	vex_err err = check_each(c, "PRAGMA quick_check(20)", quick_row, &bad);

	for (size_t i = 0; !err && !bad && i < ARRAY_SIZE(references); i++)
		err = check_each(c, references[i].text, references[i].fn,
				 references[i].arg);
	if (!err && !bad)
		err = check_slots(c, counts);
	return err ? err : bad ? -EUCLEAN : 0;
}

static vex_err check_wal(struct vex_check *c)
{
	struct vex_finding f = { .fix = VEX_FIX_OPEN };
	char text[160] = "";
	vex_err err = 0;

	if (c->wal && !c->s->rebooted)
		err = wal_look(c->s->dirfd, text, sizeof(text));
	return err || !*text ? err : check_say(c, &f, FMT_DIR "/%s", text);
}

vex_err vex_check_run(struct vex_check *c, vex_finding_fn fn, void *arg,
		      struct vex_check_counts *counts)
{
	AUTO_FREE char *why = NULL;
	uint64_t page = 0;
	vex_err err, said = 0;

	*counts = (struct vex_check_counts){ .spaces = 0 };
	c->fn = fn;
	c->arg = arg;
	err = check_wal(c);
	if (!err)
		err = check_all(c, counts);
	if (err != -EUCLEAN && err != -EIO)
		return err;
	why = strdup(sqlite3_errmsg(c->q.db));
	if (!c->old && vfs_check(c->q.db, UINT64_MAX, &page) && page)
		said = check_say(c, NULL,
				 FMT_DIR "/" FMT_CATALOG
					 ": page %llu does not match its checksum",
				 (unsigned long long)page);
	else if (err == -EUCLEAN && sqlite3_errcode(c->q.db) != SQLITE_OK)
		said = check_say(c, NULL, FMT_DIR "/" FMT_CATALOG ": %.300s",
				 why ? why : "malformed");
	else if (err == -EIO)
		return err;
	return said ? said : -EUCLEAN;
}

/* ---- nodes and names, for engine ----------------------------------------------------
 */

struct visit {
	vex_err (*space)(void *, uint32_t id, uint32_t dim);
	vex_err (*node)(void *, const struct vex_node *, uint64_t);
	vex_err (*name)(void *, uint64_t, const char *, uint32_t, uint64_t);
	void *arg;
};

static vex_err node_row(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	struct visit *v = arg;
	struct vex_node n = {
		.id = sql_u64(st, 0),
		.state = sql_u8(st, 1),
		.is_dir = sqlite3_column_int(st, 2) != 0,
		.has_mark = sqlite3_column_bytes(st, 3) == VEX_MARK_LEN,
		.fh_old = c->moved || sql_u64(st, 5) != c->fh_gen,
		.ino = sql_u64(st, 6),
		.size = sqlite3_column_int64(st, 7),
		.mtime_ns = sqlite3_column_int64(st, 8),
	};
	int len = sqlite3_column_bytes(st, 4) - 4;

	if (n.has_mark)
		memcpy(n.mark, sqlite3_column_blob(st, 3), VEX_MARK_LEN);
	if (len > 0 && len <= VEX_FH_MAX) {
		const char *fh = sqlite3_column_blob(st, 4);

		memcpy(&n.fh.type, fh, 4);
		n.fh.len = (uint8_t)len;
		memcpy(n.fh.bytes, fh + 4, (size_t)len);
	}
	return v->node(v->arg, &n, sql_u64(st, 9));
}

static vex_err space_row(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	struct visit *v = arg;

	(void)c;
	return v->space(v->arg, sql_u32(st, 0), sql_u32(st, 1));
}

vex_err vex_check_spaces(struct vex_check *c,
			 vex_err (*fn)(void *, uint32_t id, uint32_t dim), void *arg)
{
	struct visit v = { .space = fn, .arg = arg };

	return check_each(c, "SELECT id,dim FROM space WHERE dropped=0", space_row, &v);
}

vex_err vex_check_nodes(struct vex_check *c,
			vex_err (*fn)(void *, const struct vex_node *, uint64_t),
			void *arg)
{
	struct visit v = { .node = fn, .arg = arg };

	return check_each(c,
			  "SELECT " NODE_COLS ",(SELECT count(*) FROM attach a "
			  "JOIN space s ON s.id=a.space AND s.dropped=0 "
			  "WHERE a.node=node.id) FROM node ORDER BY id",
			  node_row, &v);
}

static vex_err name_row(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	struct visit *v = arg;
	uint32_t len = (uint32_t)sqlite3_column_bytes(st, 1);
	AUTO_FREE char *name = strndup(len ? sqlite3_column_blob(st, 1) : "", len);

	(void)c;
	return name ? v->name(v->arg, sql_u64(st, 0), name, len, sql_u64(st, 2))
		    : -ENOMEM;
}

vex_err vex_check_names(struct vex_check *c,
			vex_err (*fn)(void *, uint64_t, const char *, uint32_t, uint64_t),
			void *arg)
{
	struct visit v = { .name = fn, .arg = arg };

	return check_each(c,
			  "SELECT parent,name,node FROM name ORDER BY parent,name,node",
			  name_row, &v);
}

/* From the file up: parts come in the wrong order, so they are put in front. */
static bool path_up(struct vex_check *c, uint64_t *node, struct vex_buf *path)
{
	AUTO_BUF struct vex_buf longer = { 0 };
	sqlite3_stmt *st;
	bool found = false;

	if (sql_start(&c->q, SQL_NAME_OF, &st, "i", *node))
		return false;
	if (sql_next(st) == 1) {
		found = true;
		*node = sql_u64(st, 0);
		vex_buf_add(&longer, sqlite3_column_blob(st, 1),
			    (size_t)sqlite3_column_bytes(st, 1));
		if (path->len)
			vex_buf_str(&longer, "/");
		vex_buf_add(&longer, path->data, path->len);
		path->len = 0;
		vex_buf_add(path, longer.data, longer.len);
	}
	sql_end(&c->q, SQL_NAME_OF, st);
	return found && !path->err;
}

void vex_check_path(struct vex_check *c, uint64_t node, struct vex_buf *out)
{
	AUTO_BUF struct vex_buf path = { 0 };
	uint64_t at = node;

	for (unsigned depth = 0; at != 1 && depth < 4096; depth++)
		if (!path_up(c, &at, &path))
			break;
	if (at == 1)
		vex_buf_add(out, path.len ? path.data : ".", path.len ? path.len : 1);
	else
		vex_buf_fmt(out, "#%llu", (unsigned long long)node);
}
