/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn: puts and deletes from standard input, all of them or none. Lines are staged as
 * they come, in batches of one kind, so what is wrong with a line is told with its
 * number before the input ends; the end of the input commits. Any other end of this
 * program closes the session, and the daemon forgets it all.
 */
#include "commands.h"
#include "elem.h"
#include "items.h"
#include "mount.h"
#include "vector.h"

static const char help[] =
    "usage: vexctl txn < LINES\n"
    "\n"
    "Reads lines from standard input and applies all of them in one step, or none:\n"
    "\n"
    "  put TAB PATH TAB SPACE[.KEY] TAB VECTOR\n"
    "  delete TAB PATH TAB SPACE[.KEY]\n"
    "\n"
    "A search sees all or nothing of it. Lines are applied in order; empty ones are\n"
    "passed over. A line that is wrong, or cannot be applied, ends it: nothing is done.\n"
    "Exit 0: applied. 2: not; one line says why and names the line.\n";

#define BATCH_ITEMS 1024u
#define BATCH_BYTES ((size_t)1 << 20)

struct txn {
	const struct invocation *in;
	struct mount mount;
	struct session session;
	struct items batch;       /* staged next */
	unsigned long kind;       /* of these: VEXFS_IOC_PUT, VEXFS_IOC_DELETE */
	uint64_t *line;           /* of each item of the transaction */
	uint32_t items, room;     /* in it, those of the batch included */
	struct vexfs_space known; /* of the last line that put; dim 0: none yet */
	uint64_t number;          /* of the line at hand, from 1 */
	struct buf path, attr;
};

static void txn_free(struct txn *t)
{
	mount_free(&t->mount);
	session_close(&t->session);
	items_free(&t->batch);
	buf_free(&t->path);
	buf_free(&t->attr);
	free(t->line);
}

/* The daemon names item 0 also where none is at fault: a full disk is no line's. */
static bool about_line(int err)
{
	return err != -EIO && err != -ENOSPC && err != -ENOMEM && err != -EROFS;
}

/* first: what the daemon's item 0 is in the transaction. */
static int refused(struct txn *t, int err, uint32_t first)
{
	AUTO_BUF struct buf why = { 0 };
	uint32_t item = 0;

	session_reason(&t->session, err, &why, &item);
	item += first;
	if (item < t->items && about_line(err))
		return cli_error("line %llu: %s; nothing was applied",
				 (unsigned long long)t->line[item], buf_text(&why));
	return cli_error("%s; nothing was applied", buf_text(&why));
}

static int flush(struct txn *t)
{
	uint32_t n = t->batch.count;
	int err;

	if (!n)
		return 0;
	err =
	    items_send(&t->session, t->kind, t->batch.bytes.data, t->batch.bytes.len, n);
	items_clear(&t->batch);
	return err ? refused(t, err, t->items - n) : 0;
}

/* The first line's path may be what tells which mount. */
static int begin(struct txn *t, const char *path)
{
	struct vexfs_txn call = { 0 };
	int err;

	if (t->session.fd >= 0)
		return 0;
	err = mount_find(t->in, path, &t->mount);
	if (!err)
		err = session_open(&t->mount, &t->session);
	if (err)
		return err;
	err = session_call(&t->session, VEXFS_IOC_BEGIN, &call);
	return err ? session_error(&t->session, err, t->mount.path) : 0;
}

static void add(struct txn *t, uint32_t flags, const void *value, size_t len)
{
	if (t->items == t->room) {
		uint32_t room = t->room ? t->room * 2 : BATCH_ITEMS;
		uint64_t *line = cli_alloc(room, sizeof(*line));

		if (t->items)
			memcpy(line, t->line, t->items * sizeof(*line));
		free(t->line);
		t->line = line;
		t->room = room;
	}
	t->line[t->items++] = t->number;
	items_add(&t->batch, flags, buf_text(&t->path), buf_text(&t->attr), value, len);
}

/* Whether the text is a value of the line's space, as far as there is one yet. */
static int is_value(struct txn *t, const char *text, bool *out)
{
	char name[VEXFS_NAME_LEN];
	int err = 0;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(t->attr.data, "."),
		 t->attr.data);
	if (!t->known.dim || strcmp(t->known.name, name)) {
		err = session_space(&t->session, name, &t->known);
		if (err)
			t->known = (struct vexfs_space){ 0 };
	}
	if (err && err != -ENODEV)
		return session_error(&t->session, err, name);
	*out = elem_is_text(&t->known, text, strlen(text));
	return 0;
}

/* Text goes as it is, so that getxattr gives it back; what is none in its space, or
 * longer than an attachment may be, as numbers. */
static int add_vector(struct txn *t, const char *text)
{
	AUTO_MATRIX struct matrix m = { 0 };
	char what[40];
	bool as_is = false;
	int err;

	snprintf(what, sizeof(what), "line %llu", (unsigned long long)t->number);
	err = vector_parse(text, strlen(text), what, &m);
	if (!err)
		err = is_value(t, text, &as_is);
	if (err)
		return err;
	if (as_is && strlen(text) <= t->mount.version.value_max)
		add(t, 0, text, strlen(text));
	else
		add(t, VEXFS_ITEM_F32, m.v, m.n * sizeof(*m.v));
	return 0;
}

/* Cuts off the field at *rest; NULL where there is none left. */
static char *field(char **rest)
{
	char *at = *rest, *tab = at ? strchr(at, '\t') : NULL;

	if (tab)
		*tab = '\0';
	*rest = tab ? tab + 1 : NULL;
	return at;
}

static int wrong(const struct txn *t, const char *why)
{
	return cli_error("line %llu: %s", (unsigned long long)t->number, why);
}

static int set_kind(struct txn *t, unsigned long kind)
{
	int err = 0;

	if (t->kind != kind || t->batch.count >= BATCH_ITEMS ||
	    t->batch.bytes.len >= BATCH_BYTES)
		err = flush(t);
	t->kind = kind;
	return err;
}

static int names(struct txn *t, const char *path, const char *attr)
{
	int err;

	buf_clear(&t->attr);
	buf_str(&t->attr, attr);
	err = begin(t, path);
	return err ? err : path_resolve(&t->mount, path, &t->path);
}

static int take_line(struct txn *t, char *text)
{
	char *rest = text;
	const char *verb = field(&rest), *path = field(&rest), *attr;
	bool put = !strcmp(verb, "put");
	int err;

	if (!put && strcmp(verb, "delete") != 0)
		return wrong(t, "begins with neither put nor delete and a tab");
	/* The numbers may be separated by tabs themselves. */
	attr = put ? field(&rest) : rest;
	if (!path || !*path || !attr || !*attr || (put && !rest))
		return wrong(t, put ? "not put PATH SPACE[.KEY] VECTOR, tabs between"
				    : "not delete PATH SPACE[.KEY], tabs between");
	err = names(t, path, attr);
	if (!err)
		err = set_kind(t, put ? VEXFS_IOC_PUT : VEXFS_IOC_DELETE);
	if (err)
		return err;
	if (put)
		return add_vector(t, rest);
	add(t, 0, NULL, 0);
	return 0;
}

static int take_lines(struct txn *t)
{
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	ssize_t n;
	int err = 0;

	while (!err && (n = getline(&text, &size, stdin)) > 0) {
		t->number++;
		if (text[n - 1] == '\n')
			text[--n] = '\0';
		if (memchr(text, '\0', (size_t)n))
			return wrong(t, "a NUL in it");
		if (n)
			err = take_line(t, text);
	}
	if (!err && ferror(stdin))
		return cli_error("standard input: %s", strerror(errno));
	return err;
}

static int run(struct txn *t)
{
	struct vexfs_txn call = { 0 };
	int err = take_lines(t);

	if (!err)
		err = begin(t, NULL);
	if (!err)
		err = flush(t);
	if (err)
		return err;
	err = session_call(&t->session, VEXFS_IOC_COMMIT, &call);
	return err ? refused(t, err, 0) : CLI_OK;
}

int cmd_txn(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	struct txn t = { .in = in, .mount = MOUNT_INIT, .session = SESSION_INIT };
	int code = options_parse(in, none, help);

	if (code >= 0)
		return code;
	if (in->nargs)
		return cli_error(
		    "takes no arguments: the lines come from standard input");
	code = run(&t);
	txn_free(&t);
	return code;
}
