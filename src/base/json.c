/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON strings of any bytes. What is not valid UTF-8 (RFC 3629: no overlong forms, no
 * surrogates) is written as \udcXX, XX the byte: a lone surrogate cannot come from
 * valid text, so the way back is unambiguous. Python's os.fsdecode agrees. Sentences,
 * which nobody turns back, must not hold what strict parsers refuse: they say \xHH.
 */
#include <vexfs/base.h>

/* Length of the UTF-8 sequence at s (1-4), or 0 where it is none. */
static size_t utf8_len(const uint8_t *s, size_t left)
{
	static const uint8_t lows[] = { 0x80, 0xa0, 0x80, 0x90, 0x80 };
	static const uint8_t highs[] = { 0xbf, 0xbf, 0x9f, 0xbf, 0x8f };
	uint8_t c = s[0];
	size_t n = c < 0x80   ? 1
		   : c < 0xc2 ? 0
		   : c < 0xe0 ? 2
		   : c < 0xf0 ? 3
		   : c < 0xf5 ? 4
			      : 0;
	/* The second byte is narrower after E0 (overlong), ED (surrogates), F0, F4. */
	int k = c == 0xe0 ? 1 : c == 0xed ? 2 : c == 0xf0 ? 3 : c == 0xf4 ? 4 : 0;

	if (n <= 1)
		return n;
	if (n > left || s[1] < lows[k] || s[1] > highs[k])
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static void escape(struct vex_buf *b, uint8_t c)
{
	switch (c) {
	case '"':
		vex_buf_str(b, "\\\"");
		break;
	case '\\':
		vex_buf_str(b, "\\\\");
		break;
	case '\n':
		vex_buf_str(b, "\\n");
		break;
	case '\t':
		vex_buf_str(b, "\\t");
		break;
	case '\r':
		vex_buf_str(b, "\\r");
		break;
	default:
		vex_buf_fmt(b, "\\u%04x", c);
	}
}

static void add_string(struct vex_buf *b, const char *s, size_t len, const char *bad)
{
	const uint8_t *p = (const uint8_t *)s, *end = p + len;

	vex_buf_add(b, "\"", 1);
	while (p < end) {
		size_t n = utf8_len(p, (size_t)(end - p));

		if (n == 0)
			vex_buf_fmt(b, "%s%02x", bad, *p);
		else if (n == 1 && (*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f))
			escape(b, *p);
		else
			vex_buf_add(b, p, n);
		p += n ? n : 1;
	}
	vex_buf_add(b, "\"", 1);
}

void vex_buf_json(struct vex_buf *b, const char *s, size_t len)
{
	add_string(b, s, len, "\\udc");
}

void vex_buf_json_words(struct vex_buf *b, const char *s)
{
	add_string(b, s, strlen(s), "\\\\x");
}
