/* SPDX-License-Identifier: Apache-2.0 */
/* util: error lines, memory, growable bytes. See util.h. */
#include "util.h"

#include <fcntl.h>
#include <stdarg.h>

static const char *command;

void cli_set_command(const char *name)
{
	command = name;
}

int cli_error(const char *fmt, ...)
{
	va_list ap;

	flockfile(stderr);
	fputs("vexctl: ", stderr);
	if (command)
		fprintf(stderr, "%s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	funlockfile(stderr);
	return CLI_ERROR;
}

void cli_note(const char *fmt, ...)
{
	va_list ap;

	flockfile(stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	funlockfile(stderr);
}

int cli_finish(int code)
{
	if (!fflush(stdout) && !ferror(stdout))
		return code;
	return cli_error("stdout: %s", strerror(errno ? errno : EIO));
}

static void no_memory(void)
{
	cli_error("out of memory");
	_exit(CLI_ERROR);
}

void *cli_alloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		no_memory();
	return p;
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void *buf_room(struct buf *b, size_t n)
{
	if (n >= SIZE_MAX / 4 || b->len >= SIZE_MAX / 4)
		no_memory();
	if (b->len + n + 1 > b->size) {
		size_t size = b->size ? b->size : 256;

		while (size < b->len + n + 1)
			size *= 2;
		b->data = realloc(b->data, size);
		if (!b->data)
			no_memory();
		b->size = size;
	}
	b->len += n;
	b->data[b->len] = 0;
	return b->data + b->len - n;
}

void buf_add(struct buf *b, const void *data, size_t n)
{
	if (n)
		memcpy(buf_room(b, n), data, n);
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_list again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n > 0)
		vsnprintf(buf_room(b, (size_t)n), (size_t)n + 1, fmt, again);
	va_end(again);
}

void buf_pad(struct buf *b, size_t align)
{
	size_t over = b->len % align;

	if (over)
		memset(buf_room(b, align - over), 0, align - over);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = 0;
}

const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

int read_all(int fd, const char *name, size_t max, struct buf *out)
{
	const size_t step = 1 << 16;

	for (;;) {
		ssize_t n = read(fd, buf_room(out, step), step);

		out->len -= step - (n > 0 ? (size_t)n : 0);
		out->data[out->len] = 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_error("%s: %s", name, strerror(errno));
		if (out->len > max)
			return cli_error("%s: larger than %zu bytes", name, max);
		if (!n)
			return 0;
	}
}

int read_whole(const char *path, size_t max, struct buf *out)
{
	AUTO_CLOSE int fd = -1;

	if (!strcmp(path, "-"))
		return read_all(STDIN_FILENO, "stdin", max, out);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? cli_error("%s: %s", path, strerror(errno))
		      : read_all(fd, path, max, out);
}
