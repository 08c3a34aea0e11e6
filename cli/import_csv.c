/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_csv: RFC 4180: fields between commas, "quoted" where they hold commas, quotes
 * or line ends.
 *
 * The first line is a header if none of its fields is a number: then the columns path,
 * space, key and row are what they say, and all others are the numbers, in order.
 * Without a header a first field that is no number is the path. Lines with a `row`
 * above 0 go on with the attachment of the line before.
 */
#include "reader.h"

enum role { ROLE_NUMBER, ROLE_PATH, ROLE_SPACE, ROLE_KEY, ROLE_ROW, ROLE_COUNT };

/* A line, cut into fields: NUL-ended strings one behind the other in `text`. */
struct fields {
	struct buf text;
	size_t *at;
	size_t n, room;
};

struct csv {
	char *line;
	size_t room;
	struct fields ahead; /* the line read but not given yet */
	bool have;
	enum role *roles; /* of the columns */
	size_t columns;
	struct buf names[ROLE_COUNT]; /* strings of the record given */
};

static int csv_open(struct reader *r)
{
	r->state = cli_alloc(1, sizeof(struct csv));
	return 0;
}

static void csv_close(struct reader *r)
{
	struct csv *c = r->state;

	for (int i = 0; i < ROLE_COUNT; i++)
		buf_free(&c->names[i]);
	buf_free(&c->ahead.text);
	free(c->ahead.at);
	free(c->roles);
	free(c->line);
	free(c);
}

static int wrong(struct reader *r, const char *what)
{
	cli_error("%s:%llu: %s", r->name, (unsigned long long)r->line, what);
	return -1;
}

static const char *field(const struct csv *c, size_t i)
{
	return c->ahead.text.data + c->ahead.at[i];
}

static void new_field(struct fields *f)
{
	if (f->n == f->room) {
		size_t room = f->room ? f->room * 2 : 64;
		size_t *more = cli_alloc(room, sizeof(*more));

		if (f->n)
			memcpy(more, f->at, f->n * sizeof(*more));
		free(f->at);
		f->at = more;
		f->room = room;
	}
	f->at[f->n++] = f->text.len;
}

/* The rest of a quoted field, p behind its quote; it may need more lines. Returns where
 * it ends, NULL with the error printed. */
static const char *quoted(struct reader *r, const char *p)
{
	struct csv *c = r->state;
	struct buf *out = &c->ahead.text;

	for (;;) {
		size_t n = strcspn(p, "\"");

		buf_add(out, p, n);
		p += n;
		if (p[0] == '"' && p[1] == '"') {
			buf_add(out, p, 1);
			p += 2;
		} else if (*p == '"') {
			return p + 1;
		} else if (getline(&c->line, &c->room, r->f) < 0) {
			wrong(r, "a quote that does not end");
			return NULL;
		} else {
			r->line++;
			p = c->line;
		}
	}
}

static int split(struct reader *r)
{
	struct csv *c = r->state;
	struct fields *f = &c->ahead;
	const char *p = c->line;

	f->n = 0;
	buf_clear(&f->text);
	for (;;) {
		size_t n;

		new_field(f);
		if (*p == '"') {
			p = quoted(r, p + 1);
			if (!p)
				return -1;
		}
		n = strcspn(p, ",\r\n");
		buf_add(&f->text, p, n);
		buf_add(&f->text, "", 1);
		p += n;
		if (*p != ',')
			return 1;
		p++;
	}
}

/* The next line that is not empty into `ahead`: 1, 0, -1. */
static int fill(struct reader *r)
{
	struct csv *c = r->state;

	while (getline(&c->line, &c->room, r->f) >= 0) {
		r->line++;
		if (c->line[strspn(c->line, " \t\r\n")])
			return split(r);
	}
	if (!ferror(r->f))
		return 0;
	cli_error("%s: %s", r->name, strerror(errno));
	return -1;
}

static const char *number(const char *p, float *v)
{
	const char *end = vector_number(p + strspn(p, " \t"), v);

	return end && !end[strspn(end, " \t")] ? end : NULL;
}

static enum role role_of(const char *name)
{
	static const char *const names[] = {
		[ROLE_PATH] = "path",
		[ROLE_SPACE] = "space",
		[ROLE_KEY] = "key",
		[ROLE_ROW] = "row",
	};

	for (int i = ROLE_PATH; i < ROLE_COUNT; i++)
		if (!strcmp(name, names[i]))
			return (enum role)i;
	return ROLE_NUMBER;
}

/* Looks at the first line; `have` ends false if that was a header. */
static void learn(struct csv *c)
{
	bool numbers = false;
	float v;

	c->columns = c->ahead.n;
	c->roles = cli_alloc(c->columns, sizeof(*c->roles));
	for (size_t i = 0; i < c->columns; i++)
		numbers |= number(field(c, i), &v) != NULL;
	if (numbers) {
		if (!number(field(c, 0), &v))
			c->roles[0] = ROLE_PATH;
		return;
	}
	for (size_t i = 0; i < c->columns; i++)
		c->roles[i] = role_of(field(c, i));
	c->have = false;
}

/* The line is read past: the next one may be good. */
static int bad_line(struct reader *r, const char *what)
{
	struct csv *c = r->state;

	c->have = false;
	r->bad_row = true;
	return wrong(r, what);
}

/* Makes sure that a line of numbers is ahead: 1, 0 at the end, -1. */
static int look_ahead(struct reader *r)
{
	struct csv *c = r->state;

	while (!c->have) {
		int got = fill(r);

		if (got <= 0)
			return got;
		c->have = true;
		if (!c->roles)
			learn(c);
	}
	if (c->ahead.n != c->columns)
		return bad_line(r, "another number of fields than in the first line");
	return 1;
}

/* The numbers of the line ahead become a row. */
static int take_row(struct reader *r, struct record *rec)
{
	struct csv *c = r->state;
	struct matrix *m = &rec->rows;
	size_t before = m->n;

	for (size_t i = 0; i < c->columns; i++) {
		float v;

		if (c->roles[i] != ROLE_NUMBER)
			continue;
		if (!number(field(c, i), &v))
			return bad_line(r, "a field is not a number");
		matrix_push(m, v);
	}
	m->cols = m->n - before;
	m->rows++;
	c->have = false;
	return m->cols ? 1 : bad_line(r, "no numbers");
}

static const char *column(const struct csv *c, enum role role)
{
	for (size_t i = 0; i < c->columns; i++)
		if (c->roles[i] == role)
			return field(c, i);
	return NULL;
}

/* Does the line ahead go on with the attachment given last? */
static bool goes_on(const struct csv *c)
{
	const char *row = column(c, ROLE_ROW);

	if (!row || !strcmp(row, "0"))
		return false;
	for (int i = ROLE_PATH; i < ROLE_ROW; i++) {
		const char *s = column(c, (enum role)i);

		if (s && strcmp(s, buf_text(&c->names[i])))
			return false;
	}
	return true;
}

static const char *keep(struct csv *c, enum role role)
{
	const char *s = column(c, role);

	buf_clear(&c->names[role]);
	if (!s)
		return NULL;
	buf_str(&c->names[role], s);
	return buf_text(&c->names[role]);
}

static int csv_next(struct reader *r, struct record *rec)
{
	struct csv *c = r->state;
	int got = look_ahead(r);

	if (got <= 0)
		return got;
	rec->path = keep(c, ROLE_PATH);
	rec->space = keep(c, ROLE_SPACE);
	rec->key = keep(c, ROLE_KEY);
	do {
		got = take_row(r, rec);
		if (got > 0 && column(c, ROLE_ROW))
			got = look_ahead(r);
	} while (got > 0 && c->have && goes_on(c));
	return got < 0 ? -1 : 1;
}

const struct reader_ops reader_csv = { csv_open, csv_next, csv_close };
