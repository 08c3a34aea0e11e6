/* SPDX-License-Identifier: Apache-2.0 */
/* json: strings out, a cursor over values in. See json.h. */
#include "json.h"

/* Bytes of the UTF-8 character at s (1 to 4), 0 where it is none. */
static size_t utf8(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c = s[0];
	size_t len = c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	if (len < 2)
		return len;
	if (c > 0xf4 || len > n)
		return 0;
	c &= 0x7fu >> len;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return len;
}

static void escape(struct buf *out, unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		buf_fmt(out, "\\%c", c);
		break;
	case '\n':
		buf_str(out, "\\n");
		break;
	case '\t':
		buf_str(out, "\\t");
		break;
	case '\r':
		buf_str(out, "\\r");
		break;
	default:
		buf_fmt(out, c < 0x80 ? "\\u%04x" : "\\udc%02x", c);
	}
}

void json_string(struct buf *out, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	buf_add(out, "\"", 1);
	while (n) {
		size_t len = utf8(p, n);

		if (!len || *p < 32 || *p == '"' || *p == '\\' || *p == 127) {
			escape(out, *p);
			len = 1;
		} else {
			buf_add(out, p, len);
		}
		p += len;
		n -= len;
	}
	buf_add(out, "\"", 1);
}

char json_peek(struct json *j)
{
	while (j->p < j->end && strchr(" \t\r\n", *j->p) && *j->p)
		j->p++;
	return j->p < j->end ? *j->p : 0;
}

bool json_take(struct json *j, char c)
{
	if (json_peek(j) != c)
		return false;
	j->p++;
	return true;
}

static bool hex4(struct json *j, uint32_t *out)
{
	uint32_t v = 0;

	if (j->end - j->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = *j->p++;
		char lower = (char)(c | 32);

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (lower >= 'a' && lower <= 'f')
			v = v << 4 | (uint32_t)(lower - 'a' + 10);
		else
			return false;
	}
	*out = v;
	return true;
}

static void put_utf8(struct buf *out, uint32_t c)
{
	unsigned char b[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; c >>= 6)
		b[i] = (unsigned char)(0x80 | (c & 0x3f));
	b[0] = (unsigned char)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
	buf_add(out, b, n);
}

/* Behind "\u": a character, a pair of surrogates, or a lone one that means a byte. */
static bool unicode(struct json *j, struct buf *out)
{
	uint32_t c;
	uint32_t low;
	unsigned char byte;

	if (!hex4(j, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		if (j->end - j->p < 6 || j->p[0] != '\\' || j->p[1] != 'u')
			return false;
		j->p += 2;
		if (!hex4(j, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	} else if (c >= 0xdc80 && c <= 0xdcff) {
		byte = (unsigned char)(c & 0xff);
		buf_add(out, &byte, 1);
		return true;
	} else if (c >= 0xdc00 && c <= 0xdfff) {
		return false;
	}
	put_utf8(out, c);
	return true;
}

static bool unescape(struct json *j, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (j->p >= j->end)
		return false;
	if (*j->p == 'u') {
		j->p++;
		return unicode(j, out);
	}
	at = memchr(from, *j->p++, sizeof(from) - 1);
	if (!at)
		return false;
	buf_add(out, to + (at - from), 1);
	return true;
}

bool json_read_string(struct json *j, struct buf *out)
{
	buf_clear(out);
	if (!json_take(j, '"'))
		return false;
	while (j->p < j->end) {
		const char *q = j->p;

		while (q < j->end && *q != '"' && *q != '\\' && (unsigned char)*q >= 32)
			q++;
		buf_add(out, j->p, (size_t)(q - j->p));
		j->p = q + 1;
		if (q >= j->end || (unsigned char)*q < 32)
			return false;
		if (*q == '"')
			return true;
		if (!unescape(j, out))
			return false;
	}
	return false;
}

static bool skip_scalar(struct json *j)
{
	const char *start = j->p;

	while (j->p < j->end &&
	       (strchr("+-.", *j->p) || (*j->p >= '0' && *j->p <= '9') ||
		(*j->p >= 'a' && *j->p <= 'z') || *j->p == 'E') &&
	       *j->p)
		j->p++;
	return j->p > start;
}

/* Counts brackets; a mismatch of kinds is the business of who reads the value. */
bool json_skip(struct json *j)
{
	AUTO_BUF struct buf text = { 0 };
	size_t depth = 0;

	do {
		char c = json_peek(j);

		if (c == '"') {
			if (!json_read_string(j, &text))
				return false;
		} else if (c == '{' || c == '[') {
			depth++;
			j->p++;
		} else if (c == '}' || c == ']') {
			if (!depth--)
				return false;
			j->p++;
		} else if (depth && (c == ',' || c == ':')) {
			j->p++;
		} else if (!skip_scalar(j)) {
			return false;
		}
	} while (depth);
	return true;
}
