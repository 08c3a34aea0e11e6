/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_jsonl: an object a line: "vector" (an array of numbers, or of arrays: rows),
 * and "path", "space", "key" where there are any; other members are passed over.
 */
#include "json.h"
#include "reader.h"

struct jsonl {
	char *line;
	size_t room;
	struct buf name, path, space, key, create, text;
};

static int jsonl_open(struct reader *r)
{
	r->state = cli_alloc(1, sizeof(struct jsonl));
	return 0;
}

static void jsonl_close(struct reader *r)
{
	struct jsonl *s = r->state;

	free(s->line);
	buf_free(&s->name);
	buf_free(&s->path);
	buf_free(&s->space);
	buf_free(&s->key);
	buf_free(&s->create);
	buf_free(&s->text);
	free(s);
}

static int wrong(struct reader *r, const char *what)
{
	cli_error("%s:%llu: %s", r->name, (unsigned long long)r->line, what);
	return -1;
}

/* A string without NUL, or null, for which *out stays NULL. */
static bool text(struct json *j, struct buf *b, const char **out)
{
	if (json_peek(j) == 'n')
		return json_skip(j);
	if (!json_read_string(j, b))
		return false;
	*out = buf_text(b);
	return strlen(*out) == b->len;
}

/* Behind the array that begins at p: no strings may be in it. */
static const char *array_end(const char *p, const char *end)
{
	size_t depth = 0;

	for (; p < end; p++) {
		depth += *p == '[';
		if (*p == ']' && !--depth)
			return p + 1;
	}
	return NULL;
}

static int vector(struct reader *r, struct json *j, struct record *rec)
{
	const char *end = json_peek(j) == '[' ? array_end(j->p, j->end) : NULL;
	struct jsonl *s = r->state;
	const char *start = j->p;

	if (!end)
		return wrong(r, "\"vector\" is no array");
	if (rec->rows.n)
		return wrong(r, "\"vector\" comes twice");
	j->p = end;
	buf_clear(&s->name);
	buf_fmt(&s->name, "%s:%llu", r->name, (unsigned long long)r->line);
	return vector_parse(start, (size_t)(end - start), s->name.data, &rec->rows) ? -1
										    : 1;
}

/* 1, or -1 with the error printed. */
static int member(struct reader *r, struct json *j, struct record *rec)
{
	struct jsonl *s = r->state;
	const char *name;
	bool ok;

	if (!json_read_string(j, &s->name) || !json_take(j, ':'))
		return wrong(r, "not a JSON object");
	name = buf_text(&s->name);
	if (!strcmp(name, "vector"))
		return vector(r, j, rec);
	if (!strcmp(name, "path"))
		ok = text(j, &s->path, &rec->path);
	else if (!strcmp(name, "space"))
		ok = text(j, &s->space, &rec->space);
	else if (!strcmp(name, "key"))
		ok = text(j, &s->key, &rec->key);
	else if (!strcmp(name, "create"))
		ok = text(j, &s->create, &rec->create);
	else if (!strcmp(name, "text"))
		ok = text(j, &s->text, &rec->text);
	else if (!strcmp(name, "dir"))
		ok = (rec->dir = json_peek(j) == 't', json_skip(j));
	else
		ok = json_skip(j);
	return ok ? 1 : wrong(r, "not a JSON object, or not a string where one must be");
}

static int object(struct reader *r, size_t len, struct record *rec)
{
	struct jsonl *s = r->state;
	struct json j = { .p = s->line, .end = s->line + len };

	if (!json_take(&j, '{'))
		return wrong(r, "not a JSON object");
	if (!json_take(&j, '}')) {
		do {
			if (member(r, &j, rec) < 0)
				return -1;
		} while (json_take(&j, ','));
		if (!json_take(&j, '}'))
			return wrong(r, "not a JSON object");
	}
	if (json_peek(&j))
		return wrong(r, "more than one JSON object");
	return rec->rows.n || rec->create ? 1 : wrong(r, "no \"vector\"");
}

static int jsonl_next(struct reader *r, struct record *rec)
{
	struct jsonl *s = r->state;
	ssize_t len;

	while ((len = getline(&s->line, &s->room, r->f)) >= 0) {
		r->line++;
		if (s->line[strspn(s->line, " \t\r\n")])
			break;
	}
	if (len >= 0) {
		int got = object(r, (size_t)len, rec);

		r->bad_row = got < 0;
		return got;
	}
	if (!ferror(r->f))
		return 0;
	cli_error("%s: %s", r->name, strerror(errno));
	return -1;
}

const struct reader_ops reader_jsonl = { jsonl_open, jsonl_next, jsonl_close };
