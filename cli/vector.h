/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector: numbers as text, as setfattr(1) takes them: separated by commas and/or
 * blanks, optionally within [...], one row a line, or a JSON array of arrays.
 */
#ifndef VEXCTL_VECTOR_H
#define VEXCTL_VECTOR_H

#include "util.h"

struct matrix {
	float *v; /* rows x cols */
	size_t rows, cols;
	size_t n, room; /* numbers in v, room for */
};

void matrix_free(struct matrix *m);
#define AUTO_MATRIX __attribute__((cleanup(matrix_free)))
void matrix_push(struct matrix *m, float v);

/* Is there a row of nothing but zeros? */
bool matrix_zero_row(const struct matrix *m);

/* One decimal number at p: where it ends, or NULL (hex, nan and inf are none). The
 * value is infinite where it is too large for a float32. */
const char *vector_number(const char *p, float *out);

/* Is this the text form: every byte printable ASCII, tab, CR or LF? */
bool vector_is_text(const void *data, size_t n);

/* `text` is NUL-ended at text[n]. `what` names the source in error lines. */
int vector_parse(const char *text, size_t n, const char *what, struct matrix *out);
/* float32 bytes: rows of `dim` numbers; dim 0: all of it is one row. */
int vector_raw(const void *data, size_t n, size_t dim, const char *what,
	       struct matrix *out);

/* One row as "1,2.5,-0.03": every float32 comes back the same from it. */
void vector_print(struct buf *out, const float *v, size_t n);

#endif
