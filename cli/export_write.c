/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export_write: the forms. Decimal numbers have nine digits: every float32 comes back
 * the same. A .npy has its number of rows in front, so its header is written again at
 * the end, over a first one of the same length; its elements are those of the space
 * where they mean the numbers (no scale), of bit a byte each.
 */
#include "export.h"

#include "elem.h"
#include "json.h"

#define NPY_HEADER 128

static int broken(const struct writer *w)
{
	return cli_error("%s: %s", w->name, strerror(errno));
}

/* Does a .npy take the rows as they are? */
static bool npy_as_stored(const struct writer *w)
{
	return w->space.type != VEXFS_BIT && !(w->space.scale > 0);
}

static const char *npy_descr(const struct writer *w)
{
	if (w->space.type == VEXFS_BIT)
		return "|u1";
	if (!npy_as_stored(w))
		return "<f4";
	return w->space.type == VEXFS_F16   ? "<f2"
	       : w->space.type == VEXFS_I8  ? "|i1"
	       : w->space.type == VEXFS_I16 ? "<i2"
					    : "<f4";
}

static int npy_header(struct writer *w)
{
	char head[NPY_HEADER + 1];
	int n = snprintf(head, sizeof(head),
			 "\x93NUMPY\x01%c%c%c{'descr': '%s', 'fortran_order': False, "
			 "'shape': (%llu, %u), }",
			 0, NPY_HEADER - 10, 0, npy_descr(w), (unsigned long long)w->rows,
			 w->space.dim);

	memset(head + n, ' ', (size_t)(NPY_HEADER - n));
	head[NPY_HEADER - 1] = '\n';
	return fwrite(head, 1, NPY_HEADER, w->f) == NPY_HEADER ? 0 : broken(w);
}

int writer_start(struct writer *w, enum format format, FILE *f, const char *name,
		 FILE *paths, const struct vexfs_space *space)
{
	*w = (struct writer){
		.format = format, .f = f, .paths = paths, .name = name, .space = *space
	};
	setvbuf(f, NULL, _IOFBF, 1 << 20);
	if (format == FORMAT_NPY) {
		if (fseeko(f, 0, SEEK_SET))
			return cli_error("%s: a .npy can only be written to a file",
					 name);
		return npy_header(w);
	}
	if (format != FORMAT_CSV)
		return 0;
	buf_str(&w->line, "path,key,row");
	for (uint32_t i = 0; i < space->dim; i++)
		buf_fmt(&w->line, ",v%u", i);
	buf_str(&w->line, "\n");
	return 0;
}

static void add_numbers(struct buf *b, const float *v, uint32_t dim)
{
	buf_str(b, "[");
	vector_print(b, v, dim);
	buf_str(b, "]");
}

static void jsonl_line(struct writer *w, const char *path, size_t path_len,
		       const char *key, const float *v, uint32_t rows, uint32_t dim)
{
	struct buf *b = &w->line;

	buf_str(b, "{\"path\":");
	json_string(b, path, path_len);
	buf_fmt(b, ",\"space\":\"%s\"", w->space.name);
	if (*key) {
		buf_str(b, ",\"key\":");
		json_string(b, key, strlen(key));
	}
	if (w->more)
		w->more(w->arg, &w->space, path, key, b);
	buf_str(b, rows > 1 ? ",\"vector\":[" : ",\"vector\":");
	for (uint32_t r = 0; r < rows; r++) {
		if (r)
			buf_str(b, ",");
		add_numbers(b, v + (size_t)r * dim, dim);
	}
	buf_str(b, rows > 1 ? "]}\n" : "}\n");
}

static void csv_field(struct buf *b, const char *s, size_t n)
{
	if (!memchr(s, '"', n) && !memchr(s, ',', n) && !memchr(s, '\n', n) &&
	    !memchr(s, '\r', n)) {
		buf_add(b, s, n);
		return;
	}
	buf_str(b, "\"");
	for (size_t i = 0; i < n; i++)
		buf_add(b, s[i] == '"' ? "\"\"" : s + i, s[i] == '"' ? 2 : 1);
	buf_str(b, "\"");
}

static void csv_lines(struct writer *w, const char *path, size_t path_len,
		      const char *key, const float *v, uint32_t rows, uint32_t dim)
{
	for (uint32_t r = 0; r < rows; r++) {
		csv_field(&w->line, path, path_len);
		buf_str(&w->line, ",");
		csv_field(&w->line, key, strlen(key));
		buf_fmt(&w->line, ",%u,", r);
		vector_print(&w->line, v + (size_t)r * dim, dim);
		buf_str(&w->line, "\n");
	}
}

static void npy_rows(struct writer *w, const void *data, const float *v, uint32_t rows,
		     uint32_t dim)
{
	size_t n = (size_t)rows * dim;

	if (npy_as_stored(w)) {
		buf_add(&w->line, data, rows * elem_row_bytes(&w->space));
		return;
	}
	if (w->space.type != VEXFS_BIT) {
		buf_add(&w->line, v, n * sizeof(float));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char bit = v[i] > 0;

		buf_add(&w->line, &bit, 1);
	}
}

static int bvecs_row(struct writer *w, const char *path, const float *v, uint32_t dim)
{
	buf_add(&w->line, &dim, sizeof(dim));
	for (uint32_t i = 0; i < dim; i++) {
		unsigned char byte = v[i] >= 0 && v[i] <= 255 ? (unsigned char)v[i] : 0;

		if ((float)byte != v[i])
			return cli_error("%s: %.9g is no whole number of 0 to 255", path,
					 (double)v[i]);
		buf_add(&w->line, &byte, 1);
	}
	return 0;
}

static int binary_rows(struct writer *w, const char *path, const float *v, uint32_t rows,
		       uint32_t dim)
{
	int err = 0;

	for (uint32_t r = 0; !err && r < rows; r++, v += dim) {
		if (w->format == FORMAT_BVECS) {
			err = bvecs_row(w, path, v, dim);
			continue;
		}
		buf_add(&w->line, &dim, sizeof(dim));
		buf_add(&w->line, v, dim * sizeof(float));
	}
	return err;
}

static int path_lines(struct writer *w, const char *path, size_t path_len,
		      const char *key, uint32_t rows)
{
	if (memchr(path, '\n', path_len) || memchr(path, '\t', path_len) ||
	    strchr(key, '\n'))
		return cli_error(
		    "'%s' has a line end or tab in it, or in a key: export as "
		    ".jsonl or .csv",
		    path);
	while (rows--)
		if (fprintf(w->paths, "%s%s%s\n", path, *key ? "\t" : "", key) < 0)
			return cli_error("--paths: %s", strerror(errno));
	return 0;
}

int writer_put(struct writer *w, const char *path, size_t path_len, const char *key,
	       const void *data, uint32_t rows, uint32_t dim)
{
	size_t bytes = (size_t)rows * dim * sizeof(float);
	float *v;
	int err = 0;

	if (dim != w->space.dim)
		return cli_error("%s: dimension %u, the space has %u", path, dim,
				 w->space.dim);
	buf_clear(&w->numbers);
	v = buf_room(&w->numbers, bytes);
	elem_decode(&w->space, data, rows, v);
	if (w->format == FORMAT_JSONL)
		jsonl_line(w, path, path_len, key, v, rows, dim);
	else if (w->format == FORMAT_CSV)
		csv_lines(w, path, path_len, key, v, rows, dim);
	else if (w->format == FORMAT_NPY)
		npy_rows(w, data, v, rows, dim);
	else
		err = binary_rows(w, path, v, rows, dim);
	if (!err && w->paths)
		err = path_lines(w, path, path_len, key, rows);
	if (err)
		return err;
	if (fwrite(buf_text(&w->line), 1, w->line.len, w->f) != w->line.len)
		return broken(w);
	buf_clear(&w->line);
	w->rows += rows;
	return 0;
}

int writer_space(struct writer *w, const struct vexfs_space *space, const char *words)
{
	w->space = *space;
	buf_str(&w->line, "{\"create\":");
	json_string(&w->line, words, strlen(words));
	buf_str(&w->line, "}\n");
	if (fwrite(buf_text(&w->line), 1, w->line.len, w->f) != w->line.len)
		return broken(w);
	buf_clear(&w->line);
	return 0;
}

int writer_end(struct writer *w)
{
	if (w->line.len && fwrite(w->line.data, 1, w->line.len, w->f) != w->line.len)
		return broken(w);
	if (w->format == FORMAT_NPY) {
		if (fseeko(w->f, 0, SEEK_SET))
			return broken(w);
		return npy_header(w);
	}
	return fflush(w->f) ? broken(w) : 0;
}

void writer_free(struct writer *w)
{
	buf_free(&w->line);
	buf_free(&w->numbers);
}
