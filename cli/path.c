/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path: from an argument to a path below the mount's root, for any bytes and without
 * following a last symlink.
 *
 * The directory part is opened, and ".." is followed until the mount's root (device
 * and inode) is met: so it is known how many names lie between, whatever links or
 * bind mounts the argument went through. The names themselves are the last ones of
 * what /proc says of the descriptor. What does not exist yet is appended as it is:
 * the daemon has the last word on it.
 */
#include "mount.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define DIR_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

/* The start of the last name of arg[0..len). */
static size_t last_name(const char *arg, size_t len)
{
	while (len && arg[len - 1] == '/')
		len--;
	while (len && arg[len - 1] != '/')
		len--;
	return len;
}

int path_open_dir(int base, const char *arg, const char **rest)
{
	AUTO_BUF struct buf part = { 0 };
	int fd = openat(base, *arg ? arg : ".", DIR_FLAGS | O_NOFOLLOW);
	size_t len = strlen(arg);

	*rest = arg + len;
	while (fd < 0 && len) {
		len = last_name(arg, len);
		buf_clear(&part);
		buf_add(&part, arg, len);
		fd = openat(base, len ? part.data : ".", DIR_FLAGS);
		*rest = arg + len;
	}
	return fd;
}

/* How many names lie between the mount's root and dirfd; -1: it is elsewhere. */
static int levels(const struct mount *m, int dirfd)
{
	AUTO_CLOSE int at = openat(dirfd, ".", DIR_FLAGS);
	struct stat st;

	for (int n = 0; at >= 0 && !fstat(at, &st) && st.st_dev == m->dev; n++) {
		int up;

		if (st.st_ino == m->ino)
			return n;
		up = openat(at, "..", DIR_FLAGS);
		close(at);
		at = up;
	}
	return -1;
}

int path_climb(int dirfd)
{
	AUTO_CLOSE int at = openat(dirfd, ".", DIR_FLAGS);
	struct stat st;
	struct stat above;

	if (at < 0 || fstat(at, &st))
		return -1;
	for (;;) {
		AUTO_CLOSE int up = openat(at, "..", DIR_FLAGS);

		if (up < 0 || fstat(up, &above))
			return -1;
		if (above.st_dev != st.st_dev || above.st_ino == st.st_ino)
			return take_fd(&at);
		close(at);
		at = take_fd(&up);
		st = above;
	}
}

/* The last n names of what /proc says of fd. */
static int names_of(int fd, int n, struct buf *out)
{
	AUTO_FREE char *text = cli_alloc(PATH_MAX + 1, 1);
	char proc[40];
	ssize_t len;
	const char *p;

	if (!n)
		return 0;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	len = readlink(proc, text, PATH_MAX);
	if (len < 0)
		return cli_error("%s: %s", proc, strerror(errno));
	for (p = text + len; n && p > text; n -= *p == '/')
		p--;
	if (n)
		return cli_error("%s: not below the mount", text);
	buf_str(out, p + 1);
	return 0;
}

/* 0, CLI_ERROR, or -1: arg, taken from base, is not in the mount. */
static int resolve_from(const struct mount *m, int base, const char *arg, struct buf *out)
{
	const char *rest;
	AUTO_CLOSE int dir = path_open_dir(base, arg, &rest);
	int n = dir < 0 ? -1 : levels(m, dir);
	int err;

	if (n < 0)
		return -1;
	err = names_of(dir, n, out);
	if (err)
		return err;
	while (*rest == '/')
		rest++;
	if (*rest && out->len)
		buf_str(out, "/");
	buf_str(out, rest);
	return 0;
}

int path_resolve(const struct mount *m, const char *arg, struct buf *out)
{
	int err;

	buf_clear(out);
	if (!*arg)
		return cli_error("a path is empty");
	err = resolve_from(m, AT_FDCWD, arg, out);
	if (err < 0 && arg[0] != '/' && !m->cwd_inside)
		err = resolve_from(m, m->root, arg, out);
	if (err < 0)
		return cli_error("%s: not in the mount %s", arg, m->path);
	return err;
}
