/* SPDX-License-Identifier: Apache-2.0 */
/* names: lists of names, and words as file names. See names.h. */
#include "names.h"

#define LIST_MAX ((size_t)4 << 30)

void names_free(struct names *n)
{
	buf_free(&n->text);
	free(n->list);
	free(n->keys);
	*n = (struct names){ 0 };
}

static size_t count_lines(const struct buf *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->len; i++)
		n += text->data[i] == '\n';
	return n + (text->len && text->data[text->len - 1] != '\n');
}

int names_load(const char *file, bool paths, struct names *out)
{
	char *p, *end;
	int err = read_whole(file, LIST_MAX, &out->text);

	if (err)
		return err;
	out->paths = paths;
	out->list = cli_alloc(count_lines(&out->text), sizeof(*out->list));
	out->keys = cli_alloc(count_lines(&out->text), sizeof(*out->keys));
	p = out->text.data;
	end = p + out->text.len;
	while (p < end) {
		char *stop = memchr(p, '\n', (size_t)(end - p));

		if (stop == p)
			return cli_error("%s:%zu: an empty line", file, out->n + 1);
		if (!stop)
			stop = end;
		*stop = 0;
		if (strlen(p) != (size_t)(stop - p))
			return cli_error("%s:%zu: a NUL byte", file, out->n + 1);
		out->keys[out->n] = paths ? strchr(p, '\t') : NULL;
		if (out->keys[out->n])
			*out->keys[out->n]++ = 0;
		out->list[out->n++] = p;
		p = stop + 1;
	}
	return 0;
}

void name_encode(const char *word, struct buf *out)
{
	bool dots = !strcmp(word, ".") || !strcmp(word, "..");

	if (!dots && !strchr(word, '/')) {
		buf_str(out, word);
		return;
	}
	for (; *word; word++) {
		if (dots || *word == '/' || *word == '%')
			buf_fmt(out, "%%%02X", (unsigned char)*word);
		else
			buf_add(out, word, 1);
	}
}
