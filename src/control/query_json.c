/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON request becomes the struct and data of VEXFS_IOC_SEARCH, which search.c then
 * takes as if a program had passed them: what is checked there is checked once for both.
 * Here is only what JSON adds: fields by name, their types, arrays of numbers.
 *
 * Bytes that are not UTF-8. Answers write them as \udcXX, and requests may say them so;
 * jansson takes no lone surrogates. So before it parses, each escape \udcXX (80 to ff)
 * is written as \u0001\u00XX, and \u0001 itself as \u0001\u0001, which no text can be
 * mistaken for; strings are turned back once they are parsed.
 *
 * jansson recurses over nested arrays (2048 at most): [deep], on control's pool.
 */
#include <jansson.h>
#include "query_i.h"

struct parse {
	struct call *c;
	struct vexfs_search *h;
	struct vex_buf *data;
	json_t *root;
	json_t *like, *unlike, *under, *where; /* borrowed */
	bool k_given, per_file_given;
	vex_err err; /* the first */
};

static void VEX_PRINTF(2, 3) wrong(struct parse *p, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (p->err)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->err = session_fail(p->c->s, -EINVAL, "%s", text);
}

/* ---- escapes of bytes ------------------------------------------------------------ */

/* The number of \uXXXX at s, or -1. */
static int escape_at(const char *s, const char *end)
{
	int v = 0;

	if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* One escape within a string; returns its length in the text. */
static size_t put_escape(struct vex_buf *out, const char *s, const char *end)
{
	int v = escape_at(s, end);
	int low = v >= 0xd800 && v < 0xdc00 ? escape_at(s + 6, end) : -1;
	size_t n = v >= 0 ? low >= 0xdc00 && low < 0xe000 ? 12 : 6 : 2;

	if (n > (size_t)(end - s))
		n = (size_t)(end - s);
	if (v >= 0xdc80 && v <= 0xdcff)
		vex_buf_fmt(out, "\\u0001\\u00%02x", v & 0xff);
	else if (v == 1)
		vex_buf_str(out, "\\u0001\\u0001");
	else
		vex_buf_add(out, s, n);
	return n;
}

static void escape_bytes(const char *s, size_t len, struct vex_buf *out)
{
	const char *end = s + len;
	bool in = false;

	while (s < end) {
		const char *stop = s;

		while (stop < end && *stop != '"' && !(in && *stop == '\\'))
			stop++;
		vex_buf_add(out, s, (size_t)(stop - s));
		s = stop;
		if (s == end)
			return;
		if (*s == '\\') {
			s += put_escape(out, s, end);
			continue;
		}
		in = !in;
		vex_buf_add(out, s++, 1);
	}
}

/* The way back; what follows a 1 is another, or the two bytes of U+0080 .. U+00FF. */
static void add_string(struct parse *p, const json_t *v, uint32_t *len)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v), before = p->data->len;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == 1 && i + 1 < n && s[i + 1] == 1) {
			i++;
		} else if (c == 1 && i + 2 < n) {
			c = (char)((s[i + 1] & 3) << 6 | (s[i + 2] & 0x3f));
			i += 2;
		}
		vex_buf_add(p->data, &c, 1);
	}
	*len = (uint32_t)(p->data->len - before);
	vex_buf_add(p->data, "", 1);
}

/* ---- fields ---------------------------------------------------------------------- */

static void take_count(struct parse *p, const char *name, const json_t *v, uint32_t *out)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || n > UINT32_MAX)
		wrong(p, "%s: a whole number is wanted, from 0 to %u", name, UINT32_MAX);
	else
		*out = (uint32_t)n;
}

static void take_flag(struct parse *p, const char *name, const json_t *v, uint32_t flag)
{
	if (!json_is_boolean(v))
		wrong(p, "%s: true or false is wanted", name);
	else if (json_is_true(v))
		p->h->flags |= flag;
}

static void take_live(struct parse *p, const json_t *v)
{
	if (!json_is_boolean(v))
		wrong(p, "live: true or false is wanted");
	else
		p->c->s->query.live = json_is_true(v);
}

static void take_bound(struct parse *p, const char *name, const json_t *v, uint32_t flag)
{
	if (!json_is_number(v)) {
		wrong(p, "%s: a number is wanted", name);
		return;
	}
	p->h->flags |= flag;
	p->h->max_distance = (float)json_number_value(v);
}

static void take_number(struct parse *p, const char *name, const json_t *v, float *out)
{
	if (!json_is_number(v))
		wrong(p, "%s: a number is wanted", name);
	else
		*out = (float)json_number_value(v);
}

static void take_text(struct parse *p, const char *name, json_t *v, json_t **out)
{
	if (!json_is_string(v))
		wrong(p, "%s: a string is wanted", name);
	else if (!json_string_length(v))
		wrong(p, "%s: the string is empty", name);
	else
		*out = v;
}

static void take_space(struct parse *p, const json_t *v)
{
	const char *s = json_string_value(v);

	if (!s)
		wrong(p, "space: a string is wanted");
	else if (strlen(s) >= VEXFS_NAME_LEN)
		wrong(p, "space: name longer than %u bytes", VEX_SPACE_NAME_MAX);
	else
		memcpy(p->h->space, s, strlen(s));
}

static void take_row(struct parse *p, const char *name, const json_t *row)
{
	size_t n = json_array_size(row), at = p->h->queries;
	float *v = NULL;

	if (!json_is_array(row))
		wrong(p, "%s: an array of numbers is wanted", name);
	else if (n > VEX_DIM_MAX)
		wrong(p, "%s: more than %u numbers", name, VEX_DIM_MAX);
	else if (at && n != p->h->dim)
		wrong(p, "%s: query %zu has %zu numbers, the first %u", name, at, n,
		      p->h->dim);
	if (p->err)
		return;
	if (n)
		v = vex_buf_room(p->data, n * sizeof(*v));
	if (n && !v)
		return;
	for (size_t i = 0; i < n; i++) {
		const json_t *x = json_array_get(row, i);

		if (!json_is_number(x))
			wrong(p, "%s: element %zu of query %zu is not a number", name, i,
			      at);
		v[i] = (float)json_number_value(x);
	}
	p->h->dim = (uint32_t)n;
	p->h->queries++;
}

static void take_rows(struct parse *p, const json_t *rows)
{
	if (!json_is_array(rows) || !json_array_size(rows))
		wrong(p, "vectors: an array of arrays of numbers is wanted");
	for (size_t i = 0; i < json_array_size(rows) && !p->err; i++)
		take_row(p, "vectors", json_array_get(rows, i));
}

static void take_recall(struct parse *p, const char *name, json_t *v)
{
	take_number(p, name, v, &p->h->recall);
	p->h->flags |= VEXFS_SEARCH_RECALL;
}

static void take_limit(struct parse *p, const char *name, const json_t *v, uint64_t *out)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 1)
		wrong(p, "%s: a whole number is wanted, from 1 on", name);
	else
		*out = (uint64_t)n;
	p->h->flags |= VEXFS_SEARCH_LIMITS;
}

static void take_field(struct parse *p, const char *name, json_t *v)
{
	struct vexfs_search *h = p->h;
	bool k = !strcmp(name, "k"), per_file = !strcmp(name, "per_file");

	p->k_given |= k;
	p->per_file_given |= per_file;
	if (k || per_file)
		take_count(p, name, v, k ? &h->k : &h->per_file);
	else if (!strcmp(name, "offset"))
		take_count(p, name, v, &h->offset);
	else if (!strcmp(name, "ef"))
		take_count(p, name, v, &h->ef);
	else if (!strcmp(name, "max_ms"))
		take_limit(p, name, v, &h->max_ms);
	else if (!strcmp(name, "max_visited"))
		take_limit(p, name, v, &h->max_visited);
	else if (!strcmp(name, "recall"))
		take_recall(p, name, v);
	else if (!strcmp(name, "space"))
		take_space(p, v);
	else if (!strcmp(name, "like"))
		take_text(p, name, v, &p->like);
	else if (!strcmp(name, "unlike"))
		take_text(p, name, v, &p->unlike);
	else if (!strcmp(name, "beta"))
		take_number(p, name, v, &h->beta);
	else if (!strcmp(name, "under"))
		take_text(p, name, v, &p->under);
	else if (!strcmp(name, "where"))
		take_text(p, name, v, &p->where);
	else if (!strcmp(name, "exact"))
		take_flag(p, name, v, VEXFS_SEARCH_EXACT);
	else if (!strcmp(name, "fresh"))
		take_flag(p, name, v, VEXFS_SEARCH_FRESH);
	else if (!strcmp(name, "no_cache"))
		take_flag(p, name, v, VEXFS_SEARCH_NO_CACHE);
	else if (!strcmp(name, "live"))
		take_live(p, v);
	else if (!strcmp(name, "mmr"))
		take_number(p, name, v, &h->mmr);
	else if (!strcmp(name, "max_distance"))
		take_bound(p, name, v, VEXFS_SEARCH_MAX_DISTANCE);
	else if (!strcmp(name, "min_similarity"))
		take_bound(p, name, v, VEXFS_SEARCH_MIN_SIMILARITY);
	else if (strcmp(name, "vector") && strcmp(name, "vectors"))
		wrong(p, "unknown field \"%.64s\"", name);
}

/* ---- the whole ------------------------------------------------------------------- */

/* A field that is null is one that is not there. */
static json_t *field(const struct parse *p, const char *name)
{
	json_t *v = json_object_get(p->root, name);

	return json_is_null(v) ? NULL : v;
}

/* As vexctl has it: without k, ten, or all within a bound. */
static void defaults(struct parse *p)
{
	struct vexfs_search *h = p->h;
	uint32_t bound = VEXFS_SEARCH_MAX_DISTANCE | VEXFS_SEARCH_MIN_SIMILARITY;

	if (!p->k_given && h->flags & bound)
		h->flags |= VEXFS_SEARCH_RANGE;
	else if (!p->k_given)
		h->k = 10;
	if (p->per_file_given && !h->per_file)
		h->flags |= VEXFS_SEARCH_ALL_ROWS;
	if (p->like)
		h->flags |= VEXFS_SEARCH_LIKE;
	if (p->unlike)
		h->flags |= VEXFS_SEARCH_UNLIKE;
	if (field(p, "mmr"))
		h->flags |= VEXFS_SEARCH_MMR;
}

/* The data in the order of the struct: queries, like, under, where, unlike. */
static void fill(struct parse *p)
{
	json_t *vector = field(p, "vector"), *vectors = field(p, "vectors"), *v;
	const char *name;

	json_object_foreach(p->root, name, v)
	{
		if (!json_is_null(v))
			take_field(p, name, v);
	}
	if (!p->err && !!vector + !!vectors + !!p->like != 1)
		wrong(p, "one of vector, vectors and like is wanted");
	if (vector && !p->err)
		take_row(p, "vector", vector);
	if (vectors && !p->err)
		take_rows(p, vectors);
	if (p->err)
		return;
	defaults(p);
	if (p->c->s->query.live && p->h->flags & VEXFS_SEARCH_LIMITS)
		wrong(p, "a live query has no limits");
	if (p->like)
		add_string(p, p->like, &p->h->like_len);
	if (p->under)
		add_string(p, p->under, &p->h->under_len);
	if (p->where)
		add_string(p, p->where, &p->h->where_len);
	if (p->unlike)
		add_string(p, p->unlike, &p->h->unlike_len);
}

static void parse_text(struct parse *p, const char *text, size_t len)
{
	AUTO_BUF struct vex_buf plain = { 0 };
	json_error_t e;

	escape_bytes(text, len, &plain);
	if (plain.err) {
		p->err = plain.err;
		return;
	}
	p->root = json_loadb(plain.len ? plain.data : "", plain.len,
			     JSON_REJECT_DUPLICATES, &e);
	if (!p->root)
		wrong(p, "line %d: %s", e.line, e.text);
	else if (!json_is_object(p->root))
		wrong(p, "an object is wanted");
	else
		fill(p);
	json_decref(p->root);
}

struct job {
	struct parse p;
	const char *text;
	size_t len;
};

static vex_err run(void *arg)
{
	struct job *j = arg;

	parse_text(&j->p, j->text, j->len);
	if (!j->p.err && j->p.data->err)
		j->p.err = j->p.data->err;
	return j->p.err;
}

vex_err query_parse(struct call *c, const char *text, size_t len, struct vex_buf *data)
{
	struct job j = { .p = { .c = c, .h = c->head, .data = data },
			 .text = text,
			 .len = len };

	memset(c->head, 0, VEXFS_SEARCH_HEAD);
	c->s->query.live = false;
	return vex_pool_call(c->s->control->pool, run, &j);
}
