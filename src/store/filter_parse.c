/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a filter may say. SQLite evaluates it (filter.c); here is only the gate: tokens
 * of the few kinds the language has, in an order that makes sense, so that nothing else
 * of SQL gets through (functions, subqueries, comments, parameters have no token), each
 * mistake is told with its place, and each column is known with the kind of value it is
 * compared with.
 *
 *   expr  = term { (AND | OR) term }          term = { NOT } ( "(" expr ")" | test )
 *   test  = value op value | value [NOT] IN "(" literal { "," literal } ")"
 *         | value [NOT] (LIKE | GLOB) text [ESCAPE text] | value IS [NOT] NULL
 *   value = attribute | number | text
 *
 * Parentheses nest tests only, never values, so a counter does for a stack.
 *
 * Xattrs are text. Compared with a number they are shown to SQLite as one, if they look
 * like one: 'vexcol(column, form)', the form being one digit, patched in once the other
 * side is known.
 */
#include <ctype.h>
#include "filter_i.h"

#define DEPTH_MAX 12u /* parentheses and NOTs open at once: SQLite's parser is finite */
#define PATTERN_MAX 512u /* LIKE is quadratic at worst */
#define SHOWN_MAX 40

enum token_type {
	T_END,
	T_COLUMN,
	T_TEXT,
	T_NUMBER,
	T_OP,
	T_OPEN,
	T_CLOSE,
	T_COMMA,
	T_AND,
	T_OR,
	T_NOT,
	T_IN,
	T_LIKE,
	T_GLOB,
	T_ESCAPE,
	T_IS,
	T_NULL,
};

struct token {
	enum token_type type;
	size_t start, len;
	size_t column; /* T_COLUMN: in f->cols */
};

struct parser {
	struct vex_filter *f;
	const char *expr;
	size_t at; /* behind the token */
	struct token tok;
	unsigned depth;
	struct vex_buf *sql;
	struct vex_problem *problem;
};

/* ---- what is wrong, and where ---------------------------------------------------- */

static vex_err VEX_PRINTF(3, 4)
    wrong(struct parser *p, size_t place, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (p->problem)
		snprintf(p->problem->text, sizeof(p->problem->text),
			 "where: at offset %zu: %s", place, text);
	return -EINVAL;
}

/* The token is not what makes sense here. */
static vex_err unwanted(struct parser *p, const char *wanted)
{
	int n = (int)vex_min64(p->tok.len, SHOWN_MAX);

	if (p->tok.type == T_END)
		return wrong(p, p->tok.start, "%s is wanted, not the end", wanted);
	return wrong(p, p->tok.start, "%s is wanted, not \"%.*s\"", wanted, n,
		     p->expr + p->tok.start);
}

/* ---- columns --------------------------------------------------------------------- */

static vex_err add_column(struct parser *p, enum vex_filter_kind kind, const char *xattr,
			  size_t len)
{
	struct vex_filter *f = p->f;
	struct vex_filter_col *c = &f->cols[f->ncols];

	for (size_t i = 0; i < f->ncols; i++) {
		const char *have = f->cols[i].xattr;

		if (f->cols[i].kind != kind ||
		    (xattr && (strlen(have) != len + 5 || memcmp(have + 5, xattr, len))))
			continue;
		p->tok.column = i;
		return 0;
	}
	if (f->ncols == FILTER_COLS_MAX)
		return wrong(p, p->tok.start, "more than %u attributes", FILTER_COLS_MAX);
	*c = (struct vex_filter_col){ .kind = kind };
	if (xattr && asprintf(&c->xattr, "user.%.*s", (int)len, xattr) < 0) {
		c->xattr = NULL;
		return -ENOMEM;
	}
	p->tok.column = f->ncols++;
	return 0;
}

/* Names under user.vexfs. are not the file's own. */
static vex_err xattr_column(struct parser *p, const char *name, size_t len)
{
	if (!len)
		return wrong(p, p->tok.start, "xattr. needs a name");
	if (len > 250)
		return wrong(p, p->tok.start, "a name of an xattr has at most 250 bytes");
	if (len >= 6 && !memcmp(name, "vexfs.", 6))
		return wrong(p, p->tok.start,
			     "user.vexfs. is no xattr of the file's own");
	return add_column(p, VEX_FILTER_XATTR, name, len);
}

static vex_err column(struct parser *p, const char *name, size_t len, bool quoted)
{
	static const char *const names[] = {
		[VEX_FILTER_NAME] = "name", [VEX_FILTER_PATH] = "path",
		[VEX_FILTER_SIZE] = "size", [VEX_FILTER_MTIME] = "mtime",
		[VEX_FILTER_UID] = "uid",   [VEX_FILTER_GID] = "gid",
		[VEX_FILTER_MODE] = "mode",
	};

	p->tok.type = T_COLUMN;
	if (len >= 6 && !strncasecmp(name, "xattr.", 6))
		return xattr_column(p, name + 6, len - 6);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == len && !strncasecmp(names[i], name, len))
			return add_column(p, (enum vex_filter_kind)i, NULL, 0);
	return wrong(p, p->tok.start,
		     "\"%.*s\" is none of name, path, size, mtime, uid, gid, mode, "
		     "xattr.NAME%s",
		     (int)vex_min64(len, SHOWN_MAX), name,
		     quoted ? " (text stands in 'single quotes')" : "");
}

/* ---- tokens ---------------------------------------------------------------------- */

static bool word_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static vex_err word(struct parser *p)
{
	static const struct {
		const char *text;
		enum token_type type;
	} keys[] = { { "and", T_AND }, { "or", T_OR },     { "not", T_NOT },
		     { "in", T_IN },   { "like", T_LIKE }, { "glob", T_GLOB },
		     { "is", T_IS },   { "null", T_NULL }, { "escape", T_ESCAPE } };
	const char *s = p->expr + p->tok.start;
	size_t n = 0;

	/* Names of xattrs go on over dots and hyphens: nothing is subtracted here. */
	while (word_byte(s[n]) || (n && s[n] == '.') || (n > 6 && s[n] == '-'))
		n++;
	if (n > 6 && strncasecmp(s, "xattr.", 6)) {
		const char *hyphen = memchr(s, '-', n);

		if (hyphen)
			n = (size_t)(hyphen - s);
	}
	p->at += n;
	p->tok.len = n;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strlen(keys[i].text) != n || strncasecmp(keys[i].text, s, n))
			continue;
		p->tok.type = keys[i].type;
		return 0;
	}
	return column(p, s, n, false);
}

/* 'text' or "name"; the quote doubled stands for itself. */
static vex_err quoted(struct parser *p, char quote)
{
	const char *s = p->expr + p->tok.start;
	char name[256 + 8];
	size_t n = 1, len = 0;

	for (;; n++) {
		if (!s[n])
			return wrong(p, p->tok.start,
				     "the quote that begins here does not end");
		if (s[n] == quote && s[++n] != quote)
			break;
		if (len < sizeof(name))
			name[len++] = s[n];
	}
	p->at += n;
	p->tok.len = n;
	p->tok.type = T_TEXT;
	return quote == '\'' ? 0 : column(p, name, len, true);
}

static size_t digits(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]))
		n++;
	return n;
}

/* 12, 0644 (octal, as for chmod), 0x1F, 1.5e-3. */
static vex_err number(struct parser *p)
{
	const char *s = p->expr + p->tok.start;
	size_t n = *s == '-' || *s == '+', first = n;

	if (s[n] == '0' && (s[n + 1] | 0x20) == 'x') {
		n += 2;
		while (isxdigit((unsigned char)s[n]))
			n++;
		if (n == first + 2 || n > first + 17)
			return wrong(p, p->tok.start,
				     "a hexadecimal number has 1 to 15 digits");
	} else {
		n += digits(s + n);
		if (s[n] == '.')
			n += 1 + digits(s + n + 1);
		if ((s[n] | 0x20) == 'e') {
			size_t sign = s[n + 1] == '-' || s[n + 1] == '+';
			size_t more = digits(s + n + 1 + sign);

			n += more ? 1 + sign + more : 0;
		}
	}
	if (n == first || word_byte(s[n]) || s[n] == '.' ||
	    (n == first + 1 && s[first] == '.'))
		return wrong(p, p->tok.start, "this is no number");
	p->at += n;
	p->tok.len = n;
	p->tok.type = T_NUMBER;
	return 0;
}

static vex_err sign(struct parser *p)
{
	static const char *const ops[] = { "==", "!=", "<>", "<=", ">=", "=", "<", ">" };
	const char *s = p->expr + p->tok.start;

	p->tok.len = 1;
	p->tok.type = *s == '(' ? T_OPEN : *s == ')' ? T_CLOSE : T_COMMA;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (strncmp(ops[i], s, strlen(ops[i])))
			continue;
		p->tok.type = T_OP;
		p->tok.len = strlen(ops[i]);
		break;
	}
	p->at += p->tok.len;
	if (p->tok.type != T_COMMA || *s == ',')
		return 0;
	return wrong(p, p->tok.start, "\"%c\" means nothing here", *s);
}

static vex_err next(struct parser *p)
{
	const char *s;
	char c;

	p->at += strspn(p->expr + p->at, " \t\r\n");
	s = p->expr + p->at;
	c = *s;
	p->tok = (struct token){ .start = p->at };
	if (!c)
		return 0;
	if (c == '\'' || c == '"')
		return quoted(p, c);
	if (isdigit((unsigned char)c) || c == '-' || c == '+' || c == '.')
		return number(p);
	return word_byte(c) ? word(p) : sign(p);
}

/* ---- SQL out --------------------------------------------------------------------- */

static void put_token(struct parser *p)
{
	vex_buf_str(p->sql, " ");
	vex_buf_add(p->sql, p->expr + p->tok.start, p->tok.len);
}

static vex_err put_octal(struct parser *p, const char *s, size_t n, bool minus)
{
	int64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] > '7')
			return wrong(p, p->tok.start,
				     "a number that begins with 0 is octal");
		if (v >> 59)
			return wrong(p, p->tok.start, "this number is too large");
		v = v << 3 | (s[i] - '0');
	}
	vex_buf_fmt(p->sql, " %s%lld", minus ? "-" : "", (long long)v);
	return 0;
}

static vex_err put_number(struct parser *p)
{
	const char *s = p->expr + p->tok.start;
	bool sign = *s == '-' || *s == '+';
	size_t n = p->tok.len - sign;

	if (n > 1 && s[sign] == '0' && digits(s + sign) == n)
		return put_octal(p, s + sign, n, *s == '-');
	put_token(p);
	return 0;
}

/* A value; *form: where the form of an xattr stands in the SQL, to be patched, else
 * 0. */
static vex_err put_value(struct parser *p, size_t *form)
{
	enum vex_filter_kind kind;

	*form = 0;
	if (p->tok.type == T_NUMBER)
		return put_number(p);
	if (p->tok.type == T_TEXT) {
		put_token(p);
		return 0;
	}
	if (p->tok.type == T_NULL)
		return wrong(p, p->tok.start, "nothing compares with NULL: IS NULL asks");
	if (p->tok.type != T_COLUMN)
		return unwanted(p, "an attribute, a number or 'text'");
	kind = p->f->cols[p->tok.column].kind;
	if (vex_filter_numeric(kind)) {
		vex_buf_fmt(p->sql, " CAST(vexcol(%zu,0) AS NUMERIC)", p->tok.column);
		return 0;
	}
	vex_buf_fmt(p->sql, " vexcol(%zu,0)", p->tok.column);
	*form = p->sql->len - 2;
	return 0;
}

static void set_form(struct parser *p, size_t at, int form)
{
	if (at && !p->sql->err)
		p->sql->data[at] = (char)('0' + form);
}

/* ---- tests ----------------------------------------------------------------------- */

static bool is_number(const struct parser *p, const struct token *t)
{
	return t->type == T_NUMBER ||
	       (t->type == T_COLUMN && vex_filter_numeric(p->f->cols[t->column].kind));
}

static vex_err comparison(struct parser *p, const struct token *left, size_t left_form)
{
	char op = p->expr[p->tok.start];
	bool order = (op == '<' || op == '>') && p->expr[p->tok.start + 1] != '>';
	int form = order ? FORM_ORDER : FORM_EQUAL;
	size_t right_form = 0;
	vex_err err;

	put_token(p);
	err = next(p);
	if (!err)
		err = put_value(p, &right_form);
	if (err)
		return err;
	if (is_number(p, &p->tok))
		set_form(p, left_form, form);
	if (is_number(p, left))
		set_form(p, right_form, form);
	return next(p);
}

static vex_err one_of(struct parser *p, size_t form)
{
	enum token_type type = T_END;
	vex_err err = next(p);

	if (!err && p->tok.type != T_OPEN)
		err = unwanted(p, "\"(\"");
	vex_buf_str(p->sql, " IN (");
	while (!err) {
		size_t none;

		err = next(p);
		if (!err && p->tok.type != T_NUMBER && p->tok.type != T_TEXT)
			err = unwanted(p, "a number or 'text'");
		if (!err && type != T_END && type != p->tok.type)
			err = wrong(p, p->tok.start, "numbers and texts in one list");
		type = p->tok.type;
		if (!err)
			err = put_value(p, &none);
		if (!err)
			err = next(p);
		if (err || p->tok.type != T_COMMA)
			break;
		vex_buf_str(p->sql, ",");
	}
	if (!err && p->tok.type != T_CLOSE)
		err = unwanted(p, "\",\" or \")\"");
	if (err)
		return err;
	vex_buf_str(p->sql, ")");
	if (type == T_NUMBER)
		set_form(p, form, FORM_EQUAL);
	return next(p);
}

/* Characters of a text literal of one character, escapes aside. */
static bool one_char(const struct parser *p)
{
	const unsigned char *s = (const unsigned char *)p->expr + p->tok.start + 1;
	size_t len = p->tok.len - 2, chars = 0;

	if (len == 2 && s[0] == '\'')
		return true;
	for (size_t i = 0; i < len; i++)
		chars += (s[i] & 0xc0) != 0x80;
	return chars == 1;
}

static vex_err pattern(struct parser *p)
{
	bool like = p->tok.type == T_LIKE;
	vex_err err;

	put_token(p);
	err = next(p);
	if (!err && p->tok.type != T_TEXT)
		err = unwanted(p, "a pattern in 'single quotes'");
	if (!err && p->tok.len > PATTERN_MAX + 2)
		err =
		    wrong(p, p->tok.start, "a pattern has at most %u bytes", PATTERN_MAX);
	if (err)
		return err;
	put_token(p);
	err = next(p);
	if (err || !like || p->tok.type != T_ESCAPE)
		return err;
	put_token(p);
	err = next(p);
	if (!err && (p->tok.type != T_TEXT || !one_char(p)))
		err = unwanted(p, "one character in 'single quotes'");
	if (err)
		return err;
	put_token(p);
	return next(p);
}

static vex_err is_null(struct parser *p)
{
	vex_err err = next(p);

	vex_buf_str(p->sql, " IS");
	if (!err && p->tok.type == T_NOT) {
		vex_buf_str(p->sql, " NOT");
		err = next(p);
	}
	if (!err && p->tok.type != T_NULL)
		err = unwanted(p, "NULL or NOT NULL");
	if (err)
		return err;
	vex_buf_str(p->sql, " NULL");
	return next(p);
}

static vex_err test(struct parser *p)
{
	struct token left = p->tok;
	size_t form = 0;
	vex_err err = put_value(p, &form);

	if (!err)
		err = next(p);
	if (!err && p->tok.type == T_OP)
		return comparison(p, &left, form);
	if (!err && p->tok.type == T_IS)
		return is_null(p);
	if (!err && p->tok.type == T_NOT) {
		vex_buf_str(p->sql, " NOT");
		err = next(p);
	}
	if (err)
		return err;
	if (p->tok.type == T_IN)
		return one_of(p, form);
	if (p->tok.type == T_LIKE || p->tok.type == T_GLOB)
		return pattern(p);
	return unwanted(p, "a comparison, IN, LIKE, GLOB or IS");
}

/* ---- the whole ------------------------------------------------------------------- */

static vex_err too_deep(struct parser *p)
{
	return wrong(p, p->tok.start, "more than %u parentheses and NOTs are open",
		     DEPTH_MAX);
}

static vex_err open_all(struct parser *p)
{
	unsigned nots = 0;
	vex_err err = 0;

	while (!err && (p->tok.type == T_OPEN || p->tok.type == T_NOT)) {
		if (p->tok.type == T_OPEN)
			p->depth++;
		else
			nots++;
		if (p->depth + nots > DEPTH_MAX)
			return too_deep(p);
		put_token(p);
		err = next(p);
	}
	return err;
}

static vex_err close_all(struct parser *p)
{
	vex_err err = 0;

	while (!err && p->tok.type == T_CLOSE) {
		if (!p->depth)
			return wrong(p, p->tok.start,
				     "nothing is open that \")\" would close");
		p->depth--;
		put_token(p);
		err = next(p);
	}
	return err;
}

static vex_err expression(struct parser *p)
{
	vex_err err = next(p);

	while (!err) {
		err = open_all(p);
		if (!err)
			err = test(p);
		if (!err)
			err = close_all(p);
		if (err || p->tok.type == T_END)
			break;
		if (p->tok.type != T_AND && p->tok.type != T_OR)
			return unwanted(p, "AND, OR or the end");
		put_token(p);
		err = next(p);
	}
	if (!err && p->depth)
		err = unwanted(p, "\")\"");
	return err;
}

vex_err filter_parse(struct vex_filter *f, const char *expr, struct vex_buf *sql,
		     struct vex_problem *problem)
{
	struct parser p = { .f = f, .expr = expr, .sql = sql, .problem = problem };
	size_t len = strlen(expr);
	vex_err err;

	if (len > VEX_FILTER_MAX)
		return wrong(&p, VEX_FILTER_MAX, "an expression has at most %u bytes",
			     VEX_FILTER_MAX);
	err = expression(&p);
	return err ? err : sql->err;
}
