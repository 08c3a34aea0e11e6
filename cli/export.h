/* SPDX-License-Identifier: Apache-2.0 */
/* export: the forms of an export; formats as the reader knows them. */
#ifndef VEXCTL_EXPORT_H
#define VEXCTL_EXPORT_H

#include "reader.h"

struct writer {
	enum format format;
	FILE *f, *paths; /* paths: NULL, or where a line goes for each row */
	const char *name, *space;
	uint32_t dim;
	uint64_t rows;
	struct buf line;
};

int writer_start(struct writer *w, enum format format, FILE *f, const char *name,
		 FILE *paths, const char *space, uint32_t dim);
/* One attachment. `v` may be unaligned to more than a float. */
int writer_put(struct writer *w, const char *path, size_t path_len, const char *key,
	       const float *v, uint32_t rows, uint32_t dim);
int writer_end(struct writer *w);
void writer_free(struct writer *w);

#endif
