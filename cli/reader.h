/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader: a file of vectors as a stream of records. One file a format: import_fvecs.c
 * (.fvecs .bvecs), import_npy.c, import_jsonl.c, import_csv.c.
 */
#ifndef VEXCTL_READER_H
#define VEXCTL_READER_H

#include "util.h"
#include "vector.h"

enum format { FORMAT_FVECS, FORMAT_BVECS, FORMAT_NPY, FORMAT_JSONL, FORMAT_CSV };

/* By name (NULL: by the ending of `file`). */
int format_of(const char *name, const char *file, enum format *out);

/* One attachment. Strings are the reader's, until the next record. */
struct record {
	uint64_t number;         /* from 0 */
	const char *path;        /* NULL: the file gives none */
	const char *space, *key; /* NULL: none */
	const char *create;      /* a space to be made, instead of an attachment; NULL */
	const char *text;        /* the value as it was set; NULL: not known */
	bool dir;                /* the path is a directory */
	struct matrix rows;
};

struct reader;
struct reader_ops {
	int (*open)(struct reader *r);
	/* 1: a record, 0: the end, -1: an error, printed. */
	int (*next)(struct reader *r, struct record *out);
	void (*close)(struct reader *r);
};

struct reader {
	const struct reader_ops *ops;
	FILE *f;
	const char *name; /* for error lines; borrowed */
	uint64_t bytes;   /* of a regular file; 0: not known */
	uint64_t total;   /* records; 0: not known */
	uint64_t done;    /* records given */
	uint64_t line;    /* of text forms, from 1 */
	uint32_t dim;     /* of binary forms */
	bool bad_row;     /* next failed at this row alone: it may be called again */
	void *state;      /* of the format */
};

void reader_close(struct reader *r);
#define AUTO_READER __attribute__((cleanup(reader_close)))
int reader_open(const char *file, enum format format, struct reader *out);
int reader_next(struct reader *r, struct record *rec);

void record_free(struct record *rec);
#define AUTO_RECORD __attribute__((cleanup(record_free)))

/* For the formats: n bytes; 1: they are there, 0: the end came before the first, -1: an
 * error, printed, also where the end came in between. */
int reader_bytes(struct reader *r, void *buf, size_t n);
/* n numbers of the record, to be filled. */
float *record_room(struct record *rec, size_t n);

extern const struct reader_ops reader_fvecs, reader_bvecs, reader_npy, reader_jsonl,
    reader_csv;

#endif
