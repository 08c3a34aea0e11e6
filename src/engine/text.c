/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text form of rows:
 *
 *   text   = blank-lines ( json | row { newline row } ) blank-lines
 *   json   = "[" list { sep list } "]"            an array of arrays, over any lines
 *   row    = numbers | list                       one to a line
 *   list   = "[" numbers "]"                      over any lines
 *   numbers= number { sep number }                sep: blanks, or one comma among them
 *   number = [+-] ( digits [ "." digits ] | "." digits ) [ e [+-] digits ]
 *
 * The grammar is checked here to the last byte, so that strtof, which would also take
 * "nan", "inf" and "0x1p3" and looks at the locale, is only ever given a plain decimal.
 * Every number becomes the nearest float32: most take a short way that is provably the
 * same, the rest go to strtof in the C locale.
 *
 * Nothing nests but "[[": a loop, no recursion. Everything is proportional to the length
 * of the text, at most VEX_VALUE_MAX.
 */
#include <locale.h>
#include <math.h>
#include "engine_i.h"
#include "attach_i.h"

struct parser {
	const char *p, *end; /* *end is NUL */
	float *v;            /* room for every number the text could hold */
	size_t n;
	uint32_t rows, dim;
	locale_t locale;
};

static locale_t c_locale;

static void make_c_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Blanks; with `lines`, line ends too. CR is a blank: CRLF files are welcome. */
static bool is_blank(char c, bool lines)
{
	return c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n');
}

static bool skip_blanks(struct parser *t, bool lines)
{
	const char *start = t->p;

	while (is_blank(*t->p, lines))
		t->p++;
	return t->p > start;
}

/* ---- one number -------------------------------------------------------------- */

struct decimal {
	uint64_t digits;  /* the first 19 significant ones */
	unsigned ndigits; /* significant digits seen, also those that did not fit */
	int64_t exp;      /* value = digits * 10^exp, if all digits fit */
	bool negative;
};

#define DIGITS_FIT 19u
#define EXP_HUGE 1000000

static const char *scan_digits(const char *p, struct decimal *d, int step)
{
	for (; is_digit(*p); p++) {
		if (d->ndigits || *p != '0')
			d->ndigits++;
		if (d->ndigits <= DIGITS_FIT) {
			d->digits = d->digits * 10 + (uint64_t)(*p - '0');
			d->exp += step;
		}
	}
	return p;
}

static const char *scan_exponent(const char *p, struct decimal *d)
{
	bool negative = false;
	int64_t e = 0;

	if (*p != 'e' && *p != 'E')
		return p;
	p++;
	if (*p == '+' || *p == '-')
		negative = *p++ == '-';
	if (!is_digit(*p))
		return NULL;
	for (; is_digit(*p); p++)
		if (e < EXP_HUGE)
			e = e * 10 + (*p - '0');
	d->exp += negative ? -e : e;
	return p;
}

/* The end of the number at p, or NULL where there is none. */
static const char *scan_decimal(const char *p, struct decimal *d)
{
	const char *whole, *after;

	if (*p == '+' || *p == '-')
		d->negative = *p++ == '-';
	whole = p;
	p = scan_digits(p, d, 0);
	if (*p == '.') {
		after = p + 1;
		p = scan_digits(after, d, -1);
		if (p == after && after - 1 == whole)
			return NULL; /* "." alone */
	} else if (p == whole) {
		return NULL;
	}
	return scan_exponent(p, d);
}

/*
 * The short way: digits below 2^53 and a power of ten up to 10^22 are exact as doubles,
 * so one multiplication or division rounds once, to the double nearest to the decimal.
 * Rounding that on to float gives the float nearest to the decimal too, unless the
 * double lies exactly half way between two floats (its 29 extra bits are 1000...): then
 * the decimal may lie on either side. These, and what is subnormal or too large for a
 * float, go the long way.
 */
static bool quick_float(const struct decimal *d, float *out)
{
	static const double ten[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
				      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
				      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
	const uint64_t extra = (1ull << 29) - 1, half = 1ull << 28;
	double x = (double)d->digits;
	uint64_t bits;

	if (d->ndigits > DIGITS_FIT || d->digits >> 53 || d->exp < -22 || d->exp > 22)
		return false;
	x = d->exp < 0 ? x / ten[-d->exp] : x * ten[d->exp];
	memcpy(&bits, &x, sizeof(bits));
	if (d->digits && (x < 0x1p-126 || x > 0x1p127 || (bits & extra) == half))
		return false;
	*out = (float)(d->negative ? -x : x);
	return true;
}

static vex_err take_number(struct parser *t)
{
	struct decimal d = { 0 };
	const char *end = scan_decimal(t->p, &d);
	char *stop;
	float f;

	if (!end)
		return -EINVAL;
	if (!quick_float(&d, &f)) {
		f = strtof_l(t->p, &stop, t->locale);
		if (stop != end || !isfinite(f))
			return -EINVAL;
	}
	t->v[t->n++] = f;
	t->p = end;
	return 0;
}

/* ---- rows -------------------------------------------------------------------- */

/* Blanks and at most one comma: whether there was either, and the comma. */
static bool take_separator(struct parser *t, bool lines, bool *comma)
{
	bool blanks = skip_blanks(t, lines);

	*comma = *t->p == ',';
	if (*comma) {
		t->p++;
		skip_blanks(t, lines);
	}
	return blanks || *comma;
}

/* Numbers up to the byte `stop`, which stays unread, or the end of the text. */
static vex_err take_numbers(struct parser *t, bool lines, char stop)
{
	size_t first = t->n;
	bool apart = true, comma = false;
	vex_err err;

	skip_blanks(t, lines);
	while (t->p < t->end && *t->p != stop) {
		if (!apart)
			return -EINVAL;
		err = take_number(t);
		if (err)
			return err;
		apart = take_separator(t, lines, &comma);
	}
	if (comma || t->n == first || t->n - first > VEX_DIM_MAX)
		return -EINVAL;
	if (t->rows && t->n - first != t->dim)
		return -EINVAL;
	t->dim = (uint32_t)(t->n - first);
	t->rows++;
	return 0;
}

/* "[" numbers "]" */
static vex_err take_list(struct parser *t)
{
	vex_err err;

	if (*t->p != '[')
		return -EINVAL;
	t->p++;
	err = take_numbers(t, true, ']');
	if (err)
		return err;
	if (*t->p != ']')
		return -EINVAL;
	t->p++;
	return 0;
}

static vex_err take_json(struct parser *t)
{
	bool apart = true, comma = false;
	vex_err err;

	t->p++;
	skip_blanks(t, true);
	while (*t->p != ']') {
		if (!apart)
			return -EINVAL;
		err = take_list(t);
		if (err)
			return err;
		apart = take_separator(t, true, &comma);
	}
	t->p++;
	skip_blanks(t, true);
	return comma || t->p < t->end ? -EINVAL : 0;
}

/* Past the end of a line: what follows must be a row, or nothing but blank lines. */
static vex_err next_line(struct parser *t)
{
	skip_blanks(t, false);
	if (t->p == t->end)
		return 0;
	if (*t->p != '\n')
		return -EINVAL;
	t->p++;
	skip_blanks(t, false);
	if (*t->p == '\n') {
		skip_blanks(t, true);
		return t->p < t->end ? -EINVAL : 0;
	}
	return 0;
}

static vex_err take_lines(struct parser *t)
{
	vex_err err = 0;

	while (!err && t->p < t->end) {
		err = *t->p == '[' ? take_list(t) : take_numbers(t, false, '\n');
		if (!err)
			err = next_line(t);
	}
	return err;
}

static bool is_json(const struct parser *t)
{
	const char *p = t->p;

	if (*p++ != '[')
		return false;
	while (is_blank(*p, true))
		p++;
	return *p == '[';
}

bool text_is_blank(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_blank(s[i], true))
			return false;
	return true;
}

/* `s` ends with a NUL behind its `len` bytes and has none within. */
static vex_err parse(const char *s, size_t len, struct rows *out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	AUTO_FREE float *v = malloc((len / 2 + 1) * sizeof(*v));
	struct parser t = { .p = s, .end = s + len, .v = v };
	vex_err err;

	pthread_once(&once, make_c_locale);
	t.locale = c_locale;
	if (!v || !t.locale)
		return -ENOMEM;
	skip_blanks(&t, true);
	err = is_json(&t) ? take_json(&t) : take_lines(&t);
	if (err)
		return err;
	if (!t.rows)
		return -EINVAL;
	*out = (struct rows){
		.v = take_ptr(&v), .n = t.rows, .dim = t.dim, .form = VEX_FORM_TEXT
	};
	return 0;
}

vex_err text_decode(const char *text, size_t len, struct rows *out)
{
	AUTO_FREE char *s = malloc(len + 1);

	vex_deep_only();
	if (!s)
		return -ENOMEM;
	memcpy(s, text, len);
	s[len] = '\0';
	return parse(s, len, out);
}
