/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_fvecs: .fvecs and .bvecs: each row is its dimension (int32, little-endian)
 * and as many float32, or bytes that mean 0 to 255. All rows have one dimension, so a
 * regular file tells at once how many there are, and whether it was cut short.
 */
#include "reader.h"

#define DIM_MAX 16384

static int dimension(struct reader *r, uint32_t *dim)
{
	int got = reader_bytes(r, dim, sizeof(*dim));

	if (got <= 0)
		return got;
	if (*dim && *dim <= DIM_MAX && (!r->dim || *dim == r->dim))
		return 1;
	cli_error("%s: row %llu: dimension %u", r->name, (unsigned long long)r->done,
		  *dim);
	return -1;
}

static int open_sized(struct reader *r, size_t size)
{
	uint64_t row;
	int got = r->bytes ? dimension(r, &r->dim) : 0;

	if (got <= 0)
		return got ? CLI_ERROR : 0;
	row = sizeof(uint32_t) + r->dim * size;
	if (r->bytes % row)
		return cli_error("%s: %llu bytes are no whole rows of dimension %u",
				 r->name, (unsigned long long)r->bytes, r->dim);
	r->total = r->bytes / row;
	rewind(r->f);
	return 0;
}

static int fvecs_open(struct reader *r)
{
	return open_sized(r, sizeof(float));
}

static int bvecs_open(struct reader *r)
{
	return open_sized(r, 1);
}

/* The row's numbers; its end before them is a file cut short. */
static int body(struct reader *r, void *buf, size_t n)
{
	int got = reader_bytes(r, buf, n);

	if (!got)
		cli_error("%s: cut short in row %llu", r->name,
			  (unsigned long long)r->done);
	return got > 0 ? 1 : -1;
}

static int fvecs_next(struct reader *r, struct record *rec)
{
	int got = dimension(r, &r->dim);

	return got > 0 ? body(r, record_room(rec, r->dim), r->dim * sizeof(float)) : got;
}

static int bvecs_next(struct reader *r, struct record *rec)
{
	AUTO_FREE unsigned char *bytes = NULL;
	int got = dimension(r, &r->dim);
	float *v;

	if (got <= 0)
		return got;
	bytes = cli_alloc(r->dim, 1);
	got = body(r, bytes, r->dim);
	v = record_room(rec, r->dim);
	for (uint32_t i = 0; i < r->dim; i++)
		v[i] = bytes[i];
	return got;
}

const struct reader_ops reader_fvecs = { .open = fvecs_open, .next = fvecs_next };
const struct reader_ops reader_bvecs = { .open = bvecs_open, .next = bvecs_next };
