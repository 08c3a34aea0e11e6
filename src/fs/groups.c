/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of who asks, which FUSE does not send: /proc has them while the caller
 * waits. libfuse has a call for it, but that prints the path and takes 4.7 KB of a
 * request's stack (tests/unit/fs/test_stack_bounds.c).
 */
#include "fs_i.h"
#include <fcntl.h>

#define STATUS_MAX ((size_t)16384)

static char *put_number(char *p, unsigned n)
{
	char digits[12], *d = digits + sizeof(digits);

	do
		*--d = (char)('0' + n % 10);
	while (n /= 10);
	return mempcpy(p, d, (size_t)(digits + sizeof(digits) - d));
}

static vex_err read_status(pid_t pid, char *text)
{
	char path[64], *end = stpcpy(path, "/proc/");
	size_t len = 0;
	ssize_t n;

	strcpy(put_number(end, (unsigned)pid), "/status");
	AUTO_CLOSE int fd = vex_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, text + len, STATUS_MAX - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return n < 0 ? -errno : 0;
}

/* The numbers of a line; how many there are, of which the first `max` are put into out.
 */
static int numbers(const char *s, gid_t *out, unsigned max)
{
	unsigned n = 0;

	for (;;) {
		uint32_t v = 0;

		s += strspn(s, " \t");
		if (*s < '0' || *s > '9')
			return *s == '\n' ? (int)n : -EIO;
		for (; *s >= '0' && *s <= '9'; s++)
			v = v * 10 + (uint32_t)(*s - '0');
		if (n < max)
			out[n] = v;
		n++;
	}
}

int caller_groups(pid_t pid, gid_t *out, unsigned max)
{
	AUTO_FREE char *text = malloc(STATUS_MAX);
	const char *line;
	vex_err err;

	if (!text)
		return -ENOMEM;
	err = pid > 0 ? read_status(pid, text) : -ESRCH;
	if (err)
		return err;
	line = strstr(text, "\nGroups:");
	return line ? numbers(line + strlen("\nGroups:"), out, max) : -EIO;
}
