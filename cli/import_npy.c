/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_npy: NumPy's format, versions 1 to 3: a two-dimensional array in C order of
 * little-endian f2, f4, f8 or i2, or of i1, u1 or b1 (a one-dimensional array is one
 * row).
 */
#include "reader.h"

#include "elem.h"

#define HEADER_MAX 65536
#define DIM_MAX 16384

enum { KIND_F2, KIND_F4, KIND_F8, KIND_I1, KIND_U1, KIND_I2, KIND_B1, KIND_COUNT };
static const struct {
	const char *descr;
	uint32_t size;
} kinds[KIND_COUNT] = {
	[KIND_F2] = { "<f2", 2 }, [KIND_F4] = { "<f4", 4 }, [KIND_F8] = { "<f8", 8 },
	[KIND_I1] = { "|i1", 1 }, [KIND_U1] = { "|u1", 1 }, [KIND_I2] = { "<i2", 2 },
	[KIND_B1] = { "|b1", 1 },
};

struct npy {
	int kind;
	unsigned char *row; /* as in the file */
};

/* What follows "'key':" in the header, NULL where it is missing. */
static const char *value_of(const char *header, const char *key)
{
	AUTO_BUF struct buf name = { 0 };
	const char *p;

	buf_fmt(&name, "'%s'", key);
	p = strstr(header, name.data);
	if (!p)
		return NULL;
	p += name.len;
	p += strspn(p, " \t");
	if (*p != ':')
		return NULL;
	return p + 1 + strspn(p + 1, " \t");
}

static int read_header(struct reader *r, struct buf *header)
{
	unsigned char lead[12];
	uint32_t len;

	if (reader_bytes(r, lead, 10) <= 0 || memcmp(lead, "\x93NUMPY", 6) || !lead[6] ||
	    lead[6] > 3)
		return cli_error("%s: no .npy file", r->name);
	len = lead[8] | (uint32_t)lead[9] << 8;
	if (lead[6] > 1) {
		if (reader_bytes(r, lead + 10, 2) <= 0)
			return cli_error("%s: cut short", r->name);
		len |= (uint32_t)lead[10] << 16 | (uint32_t)lead[11] << 24;
	}
	if (len > HEADER_MAX)
		return cli_error("%s: a header of %u bytes", r->name, len);
	return reader_bytes(r, buf_room(header, len), len) > 0
		   ? 0
		   : cli_error("%s: cut short", r->name);
}

static int find_kind(const char *descr)
{
	for (int i = 0; i < KIND_COUNT; i++)
		if (!strncmp(descr + 1, kinds[i].descr, 3) && descr[4] == descr[0])
			return i;
	return -1;
}

/* (rows, dim), (dim,) or (dim) */
static bool read_shape(const char *p, uint64_t *rows, uint64_t *dim)
{
	char *end;

	if (*p++ != '(')
		return false;
	*rows = strtoull(p, &end, 10);
	if (end == p || *rows > UINT64_MAX / 8 / DIM_MAX)
		return false;
	p = end + strspn(end, ", ");
	*dim = strtoull(p, &end, 10);
	if (end == p) {
		*dim = *rows;
		*rows = 1;
	}
	end += strspn(end, ", ");
	return *end == ')' && *dim && *dim <= DIM_MAX;
}

static int npy_open(struct reader *r)
{
	AUTO_BUF struct buf header = { 0 };
	struct npy *n = r->state = cli_alloc(1, sizeof(*n));
	const char *descr, *order, *shape;
	uint64_t rows, dim;
	int err = read_header(r, &header);

	if (err)
		return err;
	descr = value_of(header.data, "descr");
	order = value_of(header.data, "fortran_order");
	shape = value_of(header.data, "shape");
	n->kind = descr && *descr ? find_kind(descr) : -1;
	if (n->kind < 0)
		return cli_error(
		    "%s: element type is none of <f2 <f4 <f8 <i2 |i1 |u1 |b1", r->name);
	if (!order || strncmp(order, "False", 5))
		return cli_error("%s: not in C order", r->name);
	if (!shape || !read_shape(shape, &rows, &dim))
		return cli_error("%s: not a matrix of 1 to %d columns", r->name, DIM_MAX);
	r->dim = (uint32_t)dim;
	r->total = rows;
	if (r->bytes &&
	    (r->bytes - (uint64_t)ftello(r->f)) / (dim * kinds[n->kind].size) < rows)
		return cli_error("%s: cut short: shorter than its %llu rows", r->name,
				 (unsigned long long)rows);
	n->row = cli_alloc(dim, kinds[n->kind].size);
	return 0;
}

static float element(int kind, const unsigned char *p)
{
	int16_t w;
	double d;
	float f;

	switch (kind) {
	case KIND_F2:
		return elem_half(p);
	case KIND_F4:
		memcpy(&f, p, sizeof(f));
		return f;
	case KIND_F8:
		memcpy(&d, p, sizeof(d));
		return (float)d;
	case KIND_I1:
		return (float)(signed char)*p;
	case KIND_I2:
		memcpy(&w, p, sizeof(w));
		return w;
	default:
		return (float)*p;
	}
}

static int npy_next(struct reader *r, struct record *rec)
{
	struct npy *n = r->state;
	uint32_t size = kinds[n->kind].size;
	float *v;

	if (r->done >= r->total)
		return 0;
	if (reader_bytes(r, n->row, (size_t)r->dim * size) <= 0) {
		cli_error("%s: cut short in row %llu", r->name,
			  (unsigned long long)r->done);
		return -1;
	}
	v = record_room(rec, r->dim);
	for (uint32_t i = 0; i < r->dim; i++)
		v[i] = element(n->kind, n->row + (size_t)i * size);
	return 1;
}

static void npy_close(struct reader *r)
{
	struct npy *n = r->state;

	free(n->row);
	free(n);
}

const struct reader_ops reader_npy = { npy_open, npy_next, npy_close };
