/* SPDX-License-Identifier: Apache-2.0 */
/*
 * util: what every file of vexctl stands on: exit codes, the one way to report an
 * error, scope cleanup and growable bytes.
 *
 * Conventions: a function that can fail returns 0, or CLI_ERROR after it has printed
 * its one line. No memory ends the program on the spot: a command has nothing to save
 * that the daemon has not already acknowledged.
 */
#ifndef VEXCTL_UTIL_H
#define VEXCTL_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exit codes, as of grep(1). */
enum { CLI_OK = 0, CLI_NONE = 1, CLI_ERROR = 2 };

#define CLI_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* The command the lines of cli_error begin with; kept, not copied. */
void cli_set_command(const char *name);
/* "vexctl: COMMAND: ..." on stderr; returns CLI_ERROR. */
int cli_error(const char *fmt, ...) CLI_PRINTF(1, 2);
/* A line of words on stderr: no result, no error. */
void cli_note(const char *fmt, ...) CLI_PRINTF(1, 2);
/* Flushes stdout: a full disk behind it turns `code` into CLI_ERROR. */
int cli_finish(int code);

void *cli_alloc(size_t n, size_t size); /* zeroed; never NULL */

static inline void cli_cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cli_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define AUTO_CLOSE __attribute__((cleanup(cli_cleanup_fd)))
#define AUTO_FREE __attribute__((cleanup(cli_cleanup_free)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Bytes that grow; zero-initialised is empty. A NUL that len does not count always
 * follows, once something was added. */
struct buf {
	char *data;
	size_t len, size;
};

void buf_free(struct buf *b);
#define AUTO_BUF __attribute__((cleanup(buf_free)))
/* n more bytes, uninitialised, counted in len. */
void *buf_room(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_str(struct buf *b, const char *s);
void buf_fmt(struct buf *b, const char *fmt, ...) CLI_PRINTF(2, 3);
/* Zeros up to a multiple of `align`. */
void buf_pad(struct buf *b, size_t align);
void buf_clear(struct buf *b);
/* The bytes as a string, "" where there are none. */
const char *buf_text(const struct buf *b);

/* All that comes from fd, up to `max` bytes; `name` is for error lines. */
int read_all(int fd, const char *name, size_t max, struct buf *out);
/* All of a file ("-": stdin). */
int read_whole(const char *path, size_t max, struct buf *out);

#endif
