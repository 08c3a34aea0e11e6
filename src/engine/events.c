/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: rows of the change log, told as one JSON object a line to one who asks, as far
 * as he may know. The log is the only queue: a reader has a number, and reads on from
 * there, however slow it is; what a full log has dropped is said in an `overflow` line.
 *
 * Permission as in search: an event of a file is told to who may read the file, where it
 * is now, and search every directory above. Of a file that is gone only root and, if the
 * log says whose it was, its owner are told. Settings and thresholds are for
 * administrators. Unsure: withheld.
 */
#include <time.h>
#include "names_i.h"

struct telling {
	struct vex_engine *e;
	const struct vex_cred *cred;
	struct vex_reader *r;
	struct vex_buf *out;
	bool admin;
	char *path; /* of the row's file now; heap; NULL: as the log has it */
};

/* ---- who may know --------------------------------------------------------------------
 */

static bool may_read_place(struct telling *t, const struct place *p)
{
	const struct vex_cred *c = t->cred;

	return !c->uid || (!perm_check(c, p->dirfd, p->name, &p->st, R_OK) &&
			   !perm_search(t->e, c, p->dirfd));
}

/* 1: may be told, and t->path is where the file is; 0: not; -1: there is no such file. */
static int file_now(struct telling *t, uint64_t node)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	AUTO_BUF struct vex_buf b = { 0 };

	if (place_find(t->e, t->r, node, &p))
		return -1;
	if (!may_read_place(t, &p))
		return 0;
	if (!place_path(t->e, p.dirfd, p.name, &b)) {
		vex_buf_add(&b, "", 1);
		t->path = b.err ? NULL : take_ptr(&b.data);
	}
	return 1;
}

/* Its directory, as the caller may see into it. */
static bool may_list_above(struct telling *t, const char *path)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;
	AUTO_FREE char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (!dir)
		return false;
	if (slash)
		*slash = 0;
	return !resolve(t->e, t->cred, slash ? dir : "", R_OK | X_OK, &r);
}

static bool was_his(struct telling *t, const struct vex_log_row *row)
{
	unsigned uid, mode;
	char text[64];

	if (row->kind != VEX_LOG_NOTE + VEX_NOTE_UNLINK || !row->path ||
	    row->key_len >= sizeof(text))
		return false;
	memcpy(text, row->key, row->key_len);
	text[row->key_len] = 0;
	return sscanf(text, "%u %o", &uid, &mode) == 2 && uid == t->cred->uid &&
	       mode & 0400 && may_list_above(t, row->path);
}

static bool may_know_path(struct telling *t, const char *path)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;

	return path && !resolve(t->e, t->cred, path, R_OK, &r);
}

static bool may_know(struct telling *t, const struct vex_log_row *row)
{
	int now;

	if (row->kind == VEX_LOG_NOTE + VEX_NOTE_THRESHOLD ||
	    row->kind == VEX_LOG_NOTE + VEX_NOTE_CONFIG)
		return t->admin;
	if (!row->node && !row->path)
		return true; /* spaces and indexes: their names are everybody's */
	now = row->node ? file_now(t, row->node) : -1;
	if (now >= 0)
		return now;
	return !t->cred->uid || was_his(t, row) ||
	       (!row->node && may_know_path(t, row->path));
}

/* ---- the line ------------------------------------------------------------------------
 */

static const char *const notes[] = {
	[VEX_NOTE_RENAME] = "rename",       [VEX_NOTE_UNLINK] = "unlink",
	[VEX_NOTE_CREATE] = "create",       [VEX_NOTE_WRITE] = "write",
	[VEX_NOTE_STALE] = "stale",         [VEX_NOTE_INDEX] = "index",
	[VEX_NOTE_THRESHOLD] = "threshold", [VEX_NOTE_CONFIG] = "config",
};

static void add_text(struct vex_buf *b, const char *key, const void *text, size_t len)
{
	vex_buf_fmt(b, ",\"%s\":", key);
	vex_buf_json(b, text, len);
}

static void add_time(struct vex_buf *b, int64_t ns)
{
	time_t s = (time_t)(ns / 1000000000);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&s, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	vex_buf_fmt(b, ",\"time\":\"%s.%06dZ\"", text, (int)(ns / 1000 % 1000000));
}

static void add_space(struct telling *t, const struct vex_log_row *row)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_space_spec spec;

	if (vex_space_find_id(t->e->store, row->space, &sp)) {
		vex_buf_fmt(t->out, ",\"space\":null,\"space_id\":%u", row->space);
		return;
	}
	vex_space_spec(sp, &spec);
	add_text(t->out, "space", spec.name, strlen(spec.name));
}

/* The words of a note, under these names. */
static void add_words(struct vex_buf *b, const struct vex_log_row *row,
		      const char *const *names)
{
	const char *p = row->key, *end = p + row->key_len;

	for (; *names && p < end; names++) {
		const char *blank = names[1] ? memchr(p, ' ', (size_t)(end - p)) : NULL;
		size_t n = blank ? (size_t)(blank - p) : (size_t)(end - p);

		add_text(b, *names, p, n);
		p += n + 1;
	}
}

static void add_note(struct telling *t, const struct vex_log_row *row)
{
	static const char *const threshold[] = { "threshold", "value", "limit", NULL };
	static const char *const config[] = { "name", "value", "was", NULL };
	static const char *const index[] = { "space", "state", NULL };
	char *from;

	switch (row->kind - VEX_LOG_NOTE) {
	case VEX_NOTE_THRESHOLD:
		add_words(t->out, row, threshold);
		break;
	case VEX_NOTE_CONFIG:
		add_words(t->out, row, config);
		break;
	case VEX_NOTE_INDEX:
		add_words(t->out, row, index);
		break;
	case VEX_NOTE_RENAME:
		if (!row->key_len)
			break; /* its old place could not be told */
		from = strndup(row->key, row->key_len);
		if (from && (!t->cred->uid || may_list_above(t, from)))
			add_text(t->out, "from", from, strlen(from));
		free(from);
		break;
	default:
		break;
	}
}

static const char *name_of(const struct vex_log_row *row)
{
	static const char *const kinds[] = { "?",     "attach", "detach",
					     "space", "space",  "space" };

	if (row->kind >= VEX_LOG_NOTE)
		return row->kind - VEX_LOG_NOTE < ARRAY_SIZE(notes)
			   ? notes[row->kind - VEX_LOG_NOTE]
			   : "?";
	return row->kind < ARRAY_SIZE(kinds) ? kinds[row->kind] : "?";
}

static void add_subject(struct telling *t, const struct vex_log_row *row)
{
	static const char *const actions[] = { "create", "drop", "set" };
	struct vex_buf *b = t->out;

	if (row->kind >= VEX_LOG_NOTE) {
		add_note(t, row);
	} else if (row->kind >= 3) {
		add_text(b, "space", row->key, row->key_len);
		vex_buf_fmt(b, ",\"action\":\"%s\"", actions[(row->kind - 3) % 3]);
	} else {
		add_space(t, row);
		if (row->key_len)
			add_text(b, "key", row->key, row->key_len);
		if (row->replaced && row->kind == 1)
			vex_buf_str(b, ",\"replaced\":true");
	}
}

static vex_err tell(void *arg, const struct vex_log_row *row)
{
	struct telling *t = arg;
	struct vex_buf *b = t->out;
	const char *path;

	t->path = NULL;
	if (!may_know(t, row)) {
		free(t->path);
		return b->err;
	}
	vex_buf_fmt(b, "{\"seq\":%llu", (unsigned long long)row->lsn);
	add_time(b, row->time_ns);
	vex_buf_fmt(b, ",\"event\":\"%s\"", name_of(row));
	path = row->kind >= VEX_LOG_NOTE && row->path ? row->path
	       : t->path                              ? t->path
						      : row->path;
	if (path)
		add_text(b, "path", path, strlen(path));
	if (row->node)
		vex_buf_fmt(b, ",\"file\":%llu", (unsigned long long)row->node);
	add_subject(t, row);
	vex_buf_str(b, "}\n");
	vex_count(VEX_COUNT_EVENTS, 1);
	free(t->path);
	return b->err;
}

/* ---- the call ------------------------------------------------------------------------
 */

struct events_call {
	struct telling t;
	uint64_t *after;
};

static vex_err overflow(struct events_call *c)
{
	uint64_t first = 0;
	vex_err err = vex_read_log_first(c->t.r, &first);

	if (err || !*c->after || !first || first <= *c->after + 1)
		return err;
	vex_buf_fmt(c->t.out,
		    "{\"seq\":%llu,\"event\":\"overflow\",\"lost_from\":%llu,"
		    "\"lost_to\":%llu,\"ask\":\"from=%llu\"}\n",
		    (unsigned long long)first - 1, (unsigned long long)*c->after + 1,
		    (unsigned long long)first - 1, (unsigned long long)first);
	vex_count(VEX_COUNT_OVERFLOWS, 1);
	*c->after = first - 1;
	return 0;
}

static vex_err events_deep(void *arg)
{
	struct events_call *c = arg;
	vex_err err = vex_reader_get(c->t.e->store, &c->t.r);

	if (err)
		return err;
	err = overflow(c);
	if (!err)
		err = vex_read_log(c->t.r, c->after, VEX_EVENTS_AT_ONCE, tell, &c->t);
	vex_reader_put(c->t.r);
	return err;
}

vex_err vex_engine_events(struct vex_engine *e, const struct vex_cred *cred,
			  uint64_t *after, struct vex_buf *out)
{
	struct events_call c = { .t = { .e = e, .cred = cred, .out = out },
				 .after = after };

	c.t.admin = vex_cred_is_admin(e, cred);
	return engine_deep(e, events_deep, &c);
}
