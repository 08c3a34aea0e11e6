/* SPDX-License-Identifier: Apache-2.0 */
/* reader: what the formats share. See reader.h. */
#include "reader.h"

#include <math.h>
#include <strings.h>
#include <sys/stat.h>

static const struct {
	const char *name;
	const struct reader_ops *ops;
} formats[] = {
	[FORMAT_FVECS] = { "fvecs", &reader_fvecs },
	[FORMAT_BVECS] = { "bvecs", &reader_bvecs },
	[FORMAT_NPY] = { "npy", &reader_npy },
	[FORMAT_JSONL] = { "jsonl", &reader_jsonl },
	[FORMAT_CSV] = { "csv", &reader_csv },
};

int format_of(const char *name, const char *file, enum format *out)
{
	const char *dot = strrchr(file, '.');
	const char *word = name ? name : dot && !strchr(dot, '/') ? dot + 1 : "";

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcasecmp(word, formats[i].name))
			continue;
		*out = (enum format)i;
		return 0;
	}
	if (name)
		return cli_error("--format: not fvecs, bvecs, npy, jsonl or csv: '%s'",
				 name);
	return cli_error("%s: no .fvecs .bvecs .npy .jsonl .csv: say --format", file);
}

void reader_close(struct reader *r)
{
	if (r->ops && r->ops->close && r->state)
		r->ops->close(r);
	if (r->f && r->f != stdin)
		fclose(r->f);
	*r = (struct reader){ 0 };
}

int reader_open(const char *file, enum format format, struct reader *out)
{
	bool in = !strcmp(file, "-");
	struct stat st;

	*out = (struct reader){ .ops = formats[format].ops, .name = in ? "stdin" : file };
	out->f = in ? stdin : fopen(file, "re");
	if (!out->f || fstat(fileno(out->f), &st))
		return cli_error("%s: %s", out->name, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return cli_error("%s: %s", out->name, strerror(EISDIR));
	if (S_ISREG(st.st_mode) && !in)
		out->bytes = (uint64_t)st.st_size;
	setvbuf(out->f, NULL, _IOFBF, 1 << 20);
	return out->ops->open ? out->ops->open(out) : 0;
}

static bool all_finite(const struct matrix *m)
{
	bool ok = true;

	for (size_t i = 0; i < m->n; i++)
		ok &= isfinite(m->v[i]) != 0;
	return ok;
}

int reader_next(struct reader *r, struct record *rec)
{
	int got;

	rec->path = rec->space = rec->key = rec->create = rec->text = NULL;
	rec->dir = false;
	rec->rows.n = rec->rows.rows = rec->rows.cols = 0;
	r->bad_row = false;
	got = r->ops->next(r, rec);
	if (got <= 0) {
		r->done += r->bad_row;
		return got;
	}
	rec->number = r->done++;
	if (all_finite(&rec->rows))
		return 1;
	cli_error("%s: row %llu: a number is not finite", r->name,
		  (unsigned long long)rec->number);
	r->bad_row = true;
	return -1;
}

void record_free(struct record *rec)
{
	matrix_free(&rec->rows);
}

int reader_bytes(struct reader *r, void *buf, size_t n)
{
	size_t got = fread(buf, 1, n, r->f);

	if (got == n)
		return 1;
	if (ferror(r->f))
		cli_error("%s: %s", r->name, strerror(errno));
	else if (got)
		cli_error("%s: cut short in row %llu", r->name,
			  (unsigned long long)r->done);
	else
		return 0;
	return -1;
}

float *record_room(struct record *rec, size_t n)
{
	struct matrix *m = &rec->rows;

	if (m->room < n) {
		free(m->v);
		m->v = cli_alloc(n, sizeof(float));
		m->room = n;
	}
	m->n = m->cols = n;
	m->rows = 1;
	return m->v;
}
