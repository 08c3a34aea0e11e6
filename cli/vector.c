/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector: the text form of vectors. Numbers go straight to float32 by strtof(3), so
 * that what was printed with nine digits comes back bit for bit; vexctl never sets a
 * locale, so the point is a point.
 */
#include "vector.h"

#include <math.h>

void matrix_free(struct matrix *m)
{
	free(m->v);
	*m = (struct matrix){ 0 };
}

void matrix_push(struct matrix *m, float v)
{
	if (m->n == m->room) {
		size_t room = m->room ? m->room * 2 : 256;
		float *more = cli_alloc(room, sizeof(float));

		if (m->n)
			memcpy(more, m->v, m->n * sizeof(float));
		free(m->v);
		m->v = more;
		m->room = room;
	}
	m->v[m->n++] = v;
}

bool matrix_zero_row(const struct matrix *m)
{
	for (size_t r = 0; r < m->rows; r++) {
		const float *v = m->v + r * m->cols;
		bool zero = true;

		for (size_t i = 0; zero && i < m->cols; i++)
			zero = v[i] == 0;
		if (zero)
			return true;
	}
	return false;
}

static bool numeric(char c)
{
	return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' ||
	       c == 'E';
}

const char *vector_number(const char *p, float *out)
{
	const char *stop = p;
	char *end;
	float v;

	while (numeric(*stop))
		stop++;
	if (stop == p || *p == 'e' || *p == 'E')
		return NULL;
	v = strtof(p, &end);
	if (end != stop)
		return NULL;
	*out = v;
	return end;
}

bool vector_is_text(const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		if ((p[i] < 32 || p[i] > 126) && p[i] != '\t' && p[i] != '\r' &&
		    p[i] != '\n')
			return false;
	return true;
}

/* Where we are in a text. */
struct scan {
	const char *p, *end;
	const char *what;
	size_t row;
};

static void blanks(struct scan *s, bool newlines)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r' ||
				 (newlines && *s->p == '\n')))
		s->p++;
}

static char peek(const struct scan *s)
{
	return s->p < s->end ? *s->p : 0;
}

static int complain(const struct scan *s)
{
	size_t n;

	if (s->p >= s->end)
		return cli_error("%s: row %zu: ends too early", s->what, s->row);
	n = strcspn(s->p, "\r\n");
	return cli_error("%s: row %zu: not a number at '%.*s'", s->what, s->row,
			 n < 20 ? (int)n : 20, s->p);
}

static int number(struct scan *s, struct matrix *m)
{
	float v;
	const char *end = vector_number(s->p, &v);

	if (!end || end > s->end || (*end && !strchr(" \t\r\n,]", *end)))
		return complain(s);
	if (!isfinite(v))
		return cli_error("%s: row %zu: '%.*s' is too large for float32", s->what,
				 s->row, (int)(end - s->p), s->p);
	matrix_push(m, v);
	s->p = end;
	return 0;
}

/* Numbers up to `close` (']'), or up to the end of the line with close 0. */
static int numbers(struct scan *s, char close, struct matrix *m)
{
	for (;;) {
		int err;

		blanks(s, close);
		err = number(s, m);
		if (err)
			return err;
		blanks(s, close);
		if (peek(s) == ',') {
			s->p++;
			continue;
		}
		if (close ? peek(s) == close : s->p >= s->end || *s->p == '\n') {
			s->p += close != 0;
			return 0;
		}
	}
}

static int row(struct scan *s, struct matrix *m)
{
	size_t before = m->n;
	bool bracket = peek(s) == '[';
	int err;

	s->p += bracket;
	err = numbers(s, bracket ? ']' : 0, m);
	if (err)
		return err;
	if (!s->row)
		m->cols = m->n;
	if (m->n - before != m->cols)
		return cli_error("%s: row %zu has %zu numbers, row 0 has %zu", s->what,
				 s->row, m->n - before, m->cols);
	m->rows = ++s->row;
	return 0;
}

/* [[...], [...]]; p is behind the outer bracket. */
static int array(struct scan *s, struct matrix *m)
{
	for (;;) {
		int err;

		blanks(s, true);
		if (peek(s) != '[')
			return complain(s);
		err = row(s, m);
		if (err)
			return err;
		blanks(s, true);
		if (peek(s) == ',') {
			s->p++;
		} else if (peek(s) == ']') {
			s->p++;
			return 0;
		}
	}
}

static bool nested(const struct scan *s)
{
	struct scan t = *s;

	if (peek(&t) != '[')
		return false;
	t.p++;
	blanks(&t, true);
	return peek(&t) == '[';
}

int vector_parse(const char *text, size_t n, const char *what, struct matrix *out)
{
	struct scan s = { .p = text, .end = text + n, .what = what };
	int err = 0;

	blanks(&s, true);
	if (s.p >= s.end)
		return cli_error("%s: no vector", what);
	if (nested(&s)) {
		s.p++;
		err = array(&s, out);
		blanks(&s, true);
		if (!err && s.p < s.end)
			return complain(&s);
		return err;
	}
	while (!err && s.p < s.end) {
		err = row(&s, out);
		blanks(&s, false);
		if (!err && s.p < s.end && *s.p != '\n')
			return complain(&s);
		blanks(&s, true);
	}
	return err;
}

int vector_raw(const void *data, size_t n, size_t dim, const char *what,
	       struct matrix *out)
{
	size_t count = n / sizeof(float);

	if (!n || n % sizeof(float))
		return cli_error("%s: %zu bytes are no float32 numbers", what, n);
	if (dim && count % dim)
		return cli_error("%s: %zu numbers are no rows of %zu", what, count, dim);
	out->v = cli_alloc(count, sizeof(float));
	memcpy(out->v, data, n);
	out->n = out->room = count;
	out->cols = dim ? dim : count;
	out->rows = count / out->cols;
	for (size_t i = 0; i < count; i++)
		if (!isfinite(out->v[i]))
			return cli_error("%s: number %zu is not finite", what, i);
	return 0;
}

void vector_print(struct buf *out, const float *v, size_t n)
{
	char text[32];

	for (size_t i = 0; i < n; i++) {
		int len =
		    snprintf(text, sizeof(text), "%s%.9g", i ? "," : "", (double)v[i]);

		buf_add(out, text, (size_t)len);
	}
}
