/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json: strings out, values in. Our own, because paths are bytes: what is not UTF-8
 * is written as \udcXX (XX the byte), as Python's surrogateescape does, and must come
 * back; the usual libraries refuse such lone surrogates.
 */
#ifndef VEXCTL_JSON_H
#define VEXCTL_JSON_H

#include "util.h"

/* A string with its quotes. */
void json_string(struct buf *out, const char *s, size_t n);

/* A cursor over JSON text that is NUL-ended at `end`. */
struct json {
	const char *p, *end;
};

/* Passes blanks; the next character, 0 at the end. */
char json_peek(struct json *j);
/* Passes `c` if it is next. */
bool json_take(struct json *j, char c);
/* A string, decoded, into out (cleared first); false where none is next. */
bool json_read_string(struct json *j, struct buf *out);
/* Passes any value. */
bool json_skip(struct json *j);

#endif
