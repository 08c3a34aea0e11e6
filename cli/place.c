/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place: an import makes one file a row, most of them in one directory: that one stays
 * open, so that a file costs two requests of the daemon (lookup, mknod) and no more.
 */
#include "place.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

void place_free(struct place *p)
{
	if (p->dirfd >= 0)
		close(p->dirfd);
	p->dirfd = -1;
	buf_free(&p->dir);
}

bool place_path_ok(const char *path)
{
	if (!*path)
		return true;
	for (;;) {
		size_t n = strcspn(path, "/");

		if (!n || (n == 1 && path[0] == '.') ||
		    (n == 2 && !strncmp(path, "..", 2)))
			return false;
		if (!path[n])
			return true;
		path += n + 1;
	}
}

static int open_beneath(int root, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Opens directory `path`, making what is missing of it, from the top down. */
static int open_dir(int root, const char *path)
{
	AUTO_BUF struct buf part = { 0 };
	int fd = open_beneath(root, path, O_PATH | O_DIRECTORY);
	const char *p = path;

	if (fd != -ENOENT)
		return fd;
	while (*p) {
		AUTO_CLOSE int up =
		    open_beneath(root, buf_text(&part), O_PATH | O_DIRECTORY);
		size_t n = strcspn(p, "/");

		if (up < 0)
			return up;
		if (part.len)
			buf_str(&part, "/");
		buf_add(&part, p, n);
		p += n + (p[n] == '/');
		if (mkdirat(up, part.data + part.len - n, 0777) && errno != EEXIST)
			return -errno;
	}
	return open_beneath(root, path, O_PATH | O_DIRECTORY);
}

/* Makes the directory above `path` the open one; *name: the last name of path. */
static int enter(struct place *p, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	int fd;

	*name = slash ? slash + 1 : path;
	if (p->dirfd >= 0 && p->dir.len == n && !strncmp(buf_text(&p->dir), path, n))
		return 0;
	buf_clear(&p->dir);
	buf_add(&p->dir, path, n);
	fd = open_dir(p->root, buf_text(&p->dir));
	if (p->dirfd >= 0)
		close(p->dirfd);
	p->dirfd = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

int place_file(struct place *p, const char *path, bool *existed)
{
	const char *name;
	int err = enter(p, path, &name);

	*existed = !*name;
	if (err || !*name)
		return err;
	if (!mknodat(p->dirfd, name, S_IFREG | 0666, 0))
		return 0;
	*existed = true;
	return errno == EEXIST ? 0 : -errno;
}

int place_dir(struct place *p, const char *path)
{
	int fd = open_dir(p->root, path);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

bool place_exists(struct place *p, const char *path)
{
	int fd = open_beneath(p->root, path, O_PATH | O_NOFOLLOW);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool place_value(const struct place *p, const char *path, const char *attr, size_t most,
		 struct buf *out)
{
	const char *slash = strrchr(path, '/');
	AUTO_BUF struct buf name = { 0 };
	AUTO_BUF struct buf full = { 0 };
	ssize_t len;

	buf_fmt(&full, "/proc/self/fd/%d/%s", p->dirfd, slash ? slash + 1 : path);
	buf_fmt(&name, "%s%s", VEXFS_XATTR, attr);
	buf_clear(out);
	len = lgetxattr(full.data, name.data, buf_room(out, most), most);
	if (len < 0)
		return false;
	out->len = (size_t)len;
	out->data[len] = 0;
	return true;
}
