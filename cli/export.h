/* SPDX-License-Identifier: Apache-2.0 */
/* export: the forms of an export; formats as the reader knows them. */
#ifndef VEXCTL_EXPORT_H
#define VEXCTL_EXPORT_H

#include "mount.h"
#include "reader.h"

struct writer {
	enum format format;
	FILE *f, *paths; /* paths: NULL, or where a line goes for each row */
	const char *name;
	struct vexfs_space space;
	uint64_t rows;
	/* Whole stores: what else a line says of the attachment. NULL: nothing. */
	void (*more)(void *arg, const struct vexfs_space *space, const char *path,
		     const char *key, struct buf *line);
	void *arg;
	struct buf line;
	struct buf numbers; /* of the attachment, decoded */
};

int writer_start(struct writer *w, enum format format, FILE *f, const char *name,
		 FILE *paths, const struct vexfs_space *space);
/* One attachment, its rows as they are stored. */
int writer_put(struct writer *w, const char *path, size_t path_len, const char *key,
	       const void *data, uint32_t rows, uint32_t dim);
/* Another space, in the same file (jsonl). */
int writer_space(struct writer *w, const struct vexfs_space *space, const char *words);
int writer_end(struct writer *w);
void writer_free(struct writer *w);

#endif
