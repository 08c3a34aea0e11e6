/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the catalog: a small stock of read-only connections, each with its prepared
 * statements. Each call sees one moment between two commits; what a callback reads in
 * the middle of another read may be later.
 *
 * Attachments of dropped spaces are passed over by asking the list of live spaces: the
 * rows themselves go later.
 */
#include "store_i.h"

struct vex_reader {
	struct vex_store *s;
	struct sql q;
	struct vex_reader *next;
};

/* ---- connections --------------------------------------------------------- */

static vex_err reader_new(struct vex_store *s, struct vex_reader **out)
{
	struct vex_reader *r = calloc(1, sizeof(*r));
	vex_err err;

	if (!r)
		return -ENOMEM;
	r->s = s;
	err = sql_open(&r->q, s->dirfd, false);
	if (!err)
		err = sql_text(&r->q, "PRAGMA query_only=1");
	if (err) {
		sql_close(&r->q);
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

vex_err vex_reader_get(struct vex_store *s, struct vex_reader **out)
{
	struct vex_reader *r;

	vex_deep_only();
	pthread_mutex_lock(&s->readers);
	r = s->idle;
	if (r) {
		s->idle = r->next;
		s->nidle--;
	}
	pthread_mutex_unlock(&s->readers);
	if (!r)
		return reader_new(s, out);
	*out = r;
	return 0;
}

sqlite3 *reader_db(struct vex_reader *r)
{
	return r->q.db;
}

void vex_reader_begin(struct vex_reader *r)
{
	vex_deep_only();
	if (sql_text(&r->q, "BEGIN"))
		vex_debug("%s: no read transaction", r->s->path);
}

void vex_reader_end(struct vex_reader *r)
{
	vex_deep_only();
	if (!sqlite3_get_autocommit(r->q.db) && sql_text(&r->q, "COMMIT"))
		vex_warn("%s: a read transaction does not end: %s", r->s->path,
			 sqlite3_errmsg(r->q.db));
}

static void reader_free(struct vex_reader *r)
{
	sql_close(&r->q);
	free(r);
}

void vex_reader_put(struct vex_reader *r)
{
	struct vex_store *s = r->s;
	bool keep;

	vex_deep_only();
	pthread_mutex_lock(&s->readers);
	keep = s->nidle < READERS_KEPT;
	if (keep) {
		r->next = s->idle;
		s->idle = r;
		s->nidle++;
	}
	pthread_mutex_unlock(&s->readers);
	if (!keep)
		reader_free(r);
}

void readers_close(struct vex_store *s)
{
	while (s->idle) {
		struct vex_reader *r = s->idle;

		s->idle = r->next;
		reader_free(r);
	}
	s->nidle = 0;
}

/* A catalog that cannot be read is an I/O error to those who ask. */
static vex_err read_err(vex_err err)
{
	return err == -EUCLEAN || err == -EBUSY ? -EIO : err;
}

/* ---- attachments --------------------------------------------------------- */

static void get_attach(sqlite3_stmt *st, struct vex_attach *a)
{
	int len = sqlite3_column_bytes(st, 9);
	const void *key = sqlite3_column_blob(st, 9);

	memset(a, 0, sizeof(*a));
	a->lsn = sql_u64(st, 0);
	a->node = sql_u64(st, 1);
	a->space = sql_u32(st, 2);
	a->slot = sql_u64(st, 3);
	a->rows = sql_u32(st, 4);
	a->form = sql_u8(st, 5);
	a->stamp.size = sqlite3_column_int64(st, 6);
	a->stamp.mtime_ns = sqlite3_column_int64(st, 7);
	a->stamp.open = sqlite3_column_int(st, 8) != 0;
	if (key && len > 0 && len <= (int)VEX_KEY_MAX) {
		a->key_len = (uint32_t)len;
		memcpy(a->key, key, (size_t)len);
	}
}

static vex_err get_text(sqlite3_stmt *st, struct vex_attach *a)
{
	const void *text = sqlite3_column_blob(st, 10);
	int len = sqlite3_column_bytes(st, 10);

	if (!text || len <= 0)
		return 0;
	a->text = malloc((size_t)len + 1);
	if (!a->text)
		return -ENOMEM;
	memcpy(a->text, text, (size_t)len);
	a->text[len] = 0;
	a->text_len = (uint32_t)len;
	return 0;
}

void vex_attach_clear(struct vex_attach *a)
{
	free(a->text);
	a->text = NULL;
	a->text_len = 0;
}

/* The one row of a started statement. */
static VEX_APART vex_err one_attach(struct vex_reader *r, enum sql_id id,
				    sqlite3_stmt *st, bool text, struct vex_attach *out)
{
	struct vex_attach a;
	int more;
	vex_err err;

	vex_deep_only();
	more = sql_next(st);
	err = more == 1 ? 0 : more ? read_err(more) : -ENODATA;
	if (!err) {
		get_attach(st, &a);
		if (!space_is_live(r->s, a.space))
			err = -ENODATA;
	}
	if (!err && text)
		err = get_text(st, &a);
	sql_end(&r->q, id, st);
	if (!err)
		*out = a;
	return err;
}

vex_err vex_read_attach(struct vex_reader *r, uint64_t node, uint32_t space,
			const void *key, uint32_t key_len, bool text,
			struct vex_attach *out)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_ATTACH_GET, &st, "iib", node, (int64_t)space,
				key, key_len);

	return err ? read_err(err) : one_attach(r, SQL_ATTACH_GET, st, text, out);
}

vex_err vex_read_attach_lsn(struct vex_reader *r, uint64_t lsn, struct vex_attach *out)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_ATTACH_LSN, &st, "i", lsn);

	return err ? read_err(err) : one_attach(r, SQL_ATTACH_LSN, st, false, out);
}

/* All rows of a started statement. */
static VEX_APART vex_err each_attach(struct vex_reader *r, enum sql_id id,
				     sqlite3_stmt *st,
				     vex_err (*fn)(void *, const struct vex_attach *),
				     void *arg)
{
	vex_err err = 0;
	int more = 0;

	vex_deep_only();
	while (!err && (more = sql_next(st)) == 1) {
		struct vex_attach a;

		get_attach(st, &a);
		if (space_is_live(r->s, a.space))
			err = fn(arg, &a);
	}
	sql_end(&r->q, id, st);
	return err ? err : read_err(more);
}

vex_err vex_read_attaches(struct vex_reader *r, uint64_t node,
			  vex_err (*fn)(void *, const struct vex_attach *), void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_ATTACH_NODE, &st, "i", node);

	return err ? read_err(err) : each_attach(r, SQL_ATTACH_NODE, st, fn, arg);
}

vex_err vex_read_space(struct vex_reader *r, uint32_t space, uint64_t after,
		       vex_err (*fn)(void *, const struct vex_attach *), void *arg)
{
	sqlite3_stmt *st;
	vex_err err =
	    sql_start(&r->q, SQL_ATTACH_SPACE, &st, "ii", (int64_t)space, after);

	return err ? read_err(err) : each_attach(r, SQL_ATTACH_SPACE, st, fn, arg);
}

vex_err read_batch(struct vex_reader *r, uint64_t after,
		   vex_err (*fn)(void *, const struct vex_attach *), void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_ATTACH_BATCH, &st, "i", after);
	int more = 0;

	if (err)
		return read_err(err);
	while (!err && (more = sql_next(st)) == 1) {
		struct vex_attach a;

		get_attach(st, &a);
		err = fn(arg, &a);
	}
	sql_end(&r->q, SQL_ATTACH_BATCH, st);
	return err ? err : read_err(more);
}

/* ---- nodes --------------------------------------------------------------- */

static void get_fh(sqlite3_stmt *st, int col, struct vex_fh *fh)
{
	const uint8_t *p = sqlite3_column_blob(st, col);
	int len = sqlite3_column_bytes(st, col);

	if (!p || len <= 4 || len > 4 + (int)VEX_FH_MAX)
		return;
	memcpy(&fh->type, p, 4);
	fh->len = (uint8_t)(len - 4);
	memcpy(fh->bytes, p + 4, fh->len);
}

/* From column `at` on. */
static void get_node(struct vex_reader *r, sqlite3_stmt *st, int at, struct vex_node *n)
{
	const void *mark = sqlite3_column_blob(st, at + 3);

	memset(n, 0, sizeof(*n));
	n->id = sql_u64(st, at);
	n->state = sql_u8(st, at + 1);
	n->is_dir = sqlite3_column_int(st, at + 2) != 0;
	n->has_mark = mark && sqlite3_column_bytes(st, at + 3) == (int)VEX_MARK_LEN;
	if (n->has_mark)
		memcpy(n->mark, mark, VEX_MARK_LEN);
	get_fh(st, at + 4, &n->fh);
	n->fh_old = sql_u64(st, at + 5) != r->s->fh_gen;
	n->ino = sql_u64(st, at + 6);
	n->size = sqlite3_column_int64(st, at + 7);
	n->mtime_ns = sqlite3_column_int64(st, at + 8);
}

static VEX_APART vex_err one_node(struct vex_reader *r, enum sql_id id, sqlite3_stmt *st,
				  struct vex_node *out)
{
	int more;

	vex_deep_only();
	more = sql_next(st);
	if (more == 1)
		get_node(r, st, 0, out);
	sql_end(&r->q, id, st);
	return more == 1 ? 0 : more ? read_err(more) : -ENOENT;
}

vex_err vex_read_node(struct vex_reader *r, uint64_t id, struct vex_node *out)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_NODE_GET, &st, "i", id);

	return err ? read_err(err) : one_node(r, SQL_NODE_GET, st, out);
}

vex_err vex_read_node_fh(struct vex_reader *r, const struct vex_fh *fh,
			 struct vex_node *out)
{
	uint8_t key[4 + VEX_FH_MAX];
	sqlite3_stmt *st;
	vex_err err;

	if (!fh->len || fh->len > VEX_FH_MAX)
		return -ENOENT;
	memcpy(key, &fh->type, 4);
	memcpy(key + 4, fh->bytes, fh->len);
	err = sql_start(&r->q, SQL_NODE_FH, &st, "bi", key, 4u + fh->len, r->s->fh_gen);
	return err ? read_err(err) : one_node(r, SQL_NODE_FH, st, out);
}

vex_err vex_read_names(struct vex_reader *r, uint64_t node,
		       vex_err (*fn)(void *, uint64_t parent, const char *name,
				     uint32_t len),
		       void *arg)
{
	char name[VEX_NAME_BUF];
	sqlite3_stmt *st;
	int more = 0;
	vex_err err;

	vex_deep_only();
	err = sql_start(&r->q, SQL_NAME_OF, &st, "i", node);
	if (err)
		return read_err(err);
	while (!err && (more = sql_next(st)) == 1) {
		uint32_t len = (uint32_t)sqlite3_column_bytes(st, 1);

		if (len >= sizeof(name))
			continue;
		if (len)
			memcpy(name, sqlite3_column_blob(st, 1), len);
		name[len] = 0;
		err = fn(arg, sql_u64(st, 0), name, len);
	}
	sql_end(&r->q, SQL_NAME_OF, st);
	return err ? err : read_err(more);
}

static bool get_name(sqlite3_stmt *st, int at, struct vex_attach_file *f)
{
	uint32_t len = (uint32_t)sqlite3_column_bytes(st, at + 1);

	f->parent = sql_u64(st, at);
	if (!len || len >= sizeof(f->name))
		return false;
	memcpy(f->name, sqlite3_column_blob(st, at + 1), len);
	f->name[len] = 0;
	f->name_len = len;
	return true;
}

vex_err vex_read_attach_file(struct vex_reader *r, uint64_t lsn, struct vex_attach *a,
			     struct vex_attach_file *f)
{
	sqlite3_stmt *st;
	vex_err err;
	int more;

	vex_deep_only();
	err = sql_start(&r->q, SQL_HIT, &st, "i", lsn);
	if (err)
		return read_err(err);
	more = sql_next(st);
	err = more == 1 ? 0 : more ? read_err(more) : -ENODATA;
	if (!err) {
		get_attach(st, a);
		get_node(r, st, 10, &f->node);
		if (!space_is_live(r->s, a->space) || !get_name(st, 19, f))
			err = -ENODATA;
	}
	sql_end(&r->q, SQL_HIT, st);
	return err;
}

static VEX_APART vex_err each_id(struct vex_reader *r, enum sql_id id, sqlite3_stmt *st,
				 vex_err (*fn)(void *, uint64_t node), void *arg)
{
	vex_err err = 0;
	int more = 0;

	vex_deep_only();
	while (!err && (more = sql_next(st)) == 1)
		err = fn(arg, sql_u64(st, 0));
	sql_end(&r->q, id, st);
	return err ? err : read_err(more);
}

vex_err vex_read_at(struct vex_reader *r, uint64_t parent, const char *name, uint32_t len,
		    vex_err (*fn)(void *, uint64_t node), void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_NAME_AT, &st, "ib", parent, name, len);

	return err ? read_err(err) : each_id(r, SQL_NAME_AT, st, fn, arg);
}

vex_err vex_read_below(struct vex_reader *r, uint64_t parent, uint32_t most,
		       vex_err (*fn)(void *, uint64_t node), void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_NAME_BELOW, &st, "ii", parent, (int64_t)most);

	return err ? read_err(err) : each_id(r, SQL_NAME_BELOW, st, fn, arg);
}

vex_err vex_read_node_ids(struct vex_reader *r, uint64_t after,
			  vex_err (*fn)(void *, uint64_t node), void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_NODE_IDS, &st, "i", after);

	return err ? read_err(err) : each_id(r, SQL_NODE_IDS, st, fn, arg);
}

vex_err vex_read_going(struct vex_reader *r, vex_err (*fn)(void *, uint64_t node),
		       void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_NODE_GOING, &st, "");

	return err ? read_err(err) : each_id(r, SQL_NODE_GOING, st, fn, arg);
}

vex_err vex_read_attached(struct vex_reader *r, uint64_t after, uint32_t most,
			  vex_err (*fn)(void *, uint64_t node), void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_ATTACH_NODES, &st, "ii", after, (int64_t)most);

	return err ? read_err(err) : each_id(r, SQL_ATTACH_NODES, st, fn, arg);
}

/* ---- files that are not there ------------------------------------------------ */

static void get_kept(sqlite3_stmt *st, struct vex_kept *k)
{
	*k = (struct vex_kept){
		.node = sql_u64(st, 0),
		.since_ns = sqlite3_column_int64(st, 1),
		.why = sql_u8(st, 2),
		.uid = sql_u32(st, 3),
		.gid = sql_u32(st, 4),
		.mode = sql_u32(st, 5),
	};
}

vex_err vex_read_kept(struct vex_reader *r, uint64_t node, struct vex_kept *out)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_KEPT_GET, &st, "i", node);
	int more;

	if (err)
		return read_err(err);
	more = sql_next(st);
	if (more == 1)
		get_kept(st, out);
	sql_end(&r->q, SQL_KEPT_GET, st);
	return more == 1 ? 0 : more ? read_err(more) : -ENOENT;
}

vex_err vex_read_kept_counts(struct vex_reader *r, uint32_t space, uint64_t *attachments,
			     uint64_t *rows)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_KEPT_COUNTS, &st, "i", (int64_t)space);
	int more;

	if (err)
		return read_err(err);
	more = sql_next(st);
	if (more == 1) {
		*attachments = sql_u64(st, 0);
		*rows = sql_u64(st, 1);
	}
	sql_end(&r->q, SQL_KEPT_COUNTS, st);
	return more == 1 ? 0 : more ? read_err(more) : -EIO;
}

vex_err vex_read_kept_after(struct vex_reader *r, uint64_t after, uint32_t most,
			    vex_err (*fn)(void *, const struct vex_kept *), void *arg)
{
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_KEPT_AFTER, &st, "ii", after, (int64_t)most);
	int more = 0;

	if (err)
		return read_err(err);
	while (!err && (more = sql_next(st)) == 1) {
		struct vex_kept k;

		get_kept(st, &k);
		err = fn(arg, &k);
	}
	sql_end(&r->q, SQL_KEPT_AFTER, st);
	return err ? err : read_err(more);
}

/* ---- the change log ---------------------------------------------------------- */

vex_err vex_read_log_first(struct vex_reader *r, uint64_t *lsn)
{
	int64_t n = 0;
	vex_err err = sql_int(&r->q, SQL_LOG_MIN, &n, "");

	*lsn = (uint64_t)n;
	return err ? read_err(err) : 0;
}

/* SQLite has no address for no bytes, and memcpy and its like want one. */
static void log_row(sqlite3_stmt *st, struct vex_log_row *row)
{
	const char *key = sqlite3_column_blob(st, 5);

	*row = (struct vex_log_row){
		.lsn = sql_u64(st, 0),
		.time_ns = sqlite3_column_int64(st, 1),
		.kind = sql_u32(st, 2),
		.node = sql_u64(st, 3),
		.space = sql_u32(st, 4),
		.key = key ? key : "",
		.key_len = (uint32_t)sqlite3_column_bytes(st, 5),
		.replaced = sqlite3_column_int64(st, 6) != -1,
		.path = (const char *)sqlite3_column_text(st, 7),
	};
}

vex_err vex_read_log(struct vex_reader *r, uint64_t *after, uint32_t most,
		     vex_err (*fn)(void *, const struct vex_log_row *), void *arg)
{
	struct vex_log_row row;
	sqlite3_stmt *st;
	vex_err err = sql_start(&r->q, SQL_LOG_READ, &st, "ii", *after, (int64_t)most);
	int more = 0;

	if (err)
		return read_err(err);
	while (!err && (more = sql_next(st)) == 1) {
		log_row(st, &row);
		err = fn(arg, &row);
		if (!err)
			*after = row.lsn;
	}
	sql_end(&r->q, SQL_LOG_READ, st);
	return err ? err : more < 0 ? read_err(more) : 0;
}
