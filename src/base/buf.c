/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vex_buf: bytes that grow on the heap up to a cap. Errors stick, so that a writer of
 * many small pieces checks once, at the end.
 */
#include <vexfs/base.h>

void vex_buf_free(struct vex_buf *b)
{
	free(b->data);
	*b = (struct vex_buf){ .cap = b->cap };
}

static bool reserve(struct vex_buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : VEX_BUF_CAP;
	size_t size = b->size ? b->size : 256;
	char *data;

	if (b->err)
		return false;
	if (more > cap || b->len > cap - more) {
		b->err = -EFBIG;
		return false;
	}
	if (b->data && b->len + more <= b->size)
		return true;
	while (size < b->len + more)
		size *= 2;
	data = realloc(b->data, size);
	if (!data) {
		b->err = -ENOMEM;
		return false;
	}
	b->data = data;
	b->size = size;
	return true;
}

void *vex_buf_room(struct vex_buf *b, size_t len)
{
	void *p;

	if (!reserve(b, len))
		return NULL;
	p = b->data + b->len;
	b->len += len;
	return p;
}

void vex_buf_add(struct vex_buf *b, const void *data, size_t len)
{
	void *p = vex_buf_room(b, len);

	if (p && len)
		memcpy(p, data, len);
}

void vex_buf_str(struct vex_buf *b, const char *s)
{
	vex_buf_add(b, s, strlen(s));
}

void vex_buf_fmt(struct vex_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	/* vsnprintf ends with a NUL: room for it, then take it off again. */
	if (n < 0 || !reserve(b, (size_t)n + 1))
		return;
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}
