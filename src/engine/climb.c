/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways up: from a directory to the root of the store, and what things are called on
 * the way. The kernel's own answer (readlink of /proc/self/fd/N) is quick but is a
 * hint only: it is cut off beyond PATH_MAX and may be out of date a moment later. So
 * each name it gives is verified by inode, and where it fails the directory above is
 * read. Nothing recurses: a tree may be deeper than any stack.
 */
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include "names_i.h"

int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

bool mtime_kept(int64_t was, const struct stat *st)
{
	if (was == mtime_ns(st))
		return true;
	return was > 0 && !st->st_mtim.tv_nsec && was / 1000000000 == st->st_mtim.tv_sec;
}

vex_err open_beneath(int dirfd, const char *path, uint64_t flags, uint64_t resolve,
		     int *out)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve,
	};
	long fd;

	/* -EAGAIN: something was renamed during the walk, so the kernel cannot tell
	 * that it stayed beneath. */
	for (int tries = 0; tries < 64; tries++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0 ||
		    (errno != EAGAIN && errno != EINTR && !vex_fds_short(errno)))
			break;
	}
	if (fd < 0)
		return -errno;
	*out = (int)fd;
	return 0;
}

char *fd_path(int fd)
{
	AUTO_FREE char *p = malloc(PATH_MAX);
	ssize_t n;

	if (!p)
		return NULL;
	n = readlink(vex_procfd(fd).path, p, PATH_MAX - 1);
	if (n <= 0 || n >= PATH_MAX - 1 || p[0] != '/')
		return NULL;
	p[n] = '\0';
	return take_ptr(&p);
}

vex_err climb_up(int fd, const struct stat *st, int *up, struct stat *up_st)
{
	AUTO_CLOSE int p = vex_openat(fd, "..", O_PATH | O_DIRECTORY, 0);

	if (p < 0)
		return -errno;
	if (fstat(p, up_st))
		return -errno;
	if (same_inode(st, up_st))
		return -ENOENT;
	*up = take_fd(&p);
	return 0;
}

static bool named(int up, const char *name, const struct stat *st)
{
	struct stat at;

	return !fstatat(up, name, &at, AT_SYMLINK_NOFOLLOW) && same_inode(&at, st);
}

/* Reads the directory. The entry of a mount point shows the inode it covers, so
 * below another filesystem each directory has to be looked at. */
static vex_err scan_name(int up, const struct stat *st, char **name)
{
	AUTO_CLOSE int fd = vex_openat(up, ".", O_RDONLY | O_DIRECTORY, 0);
	struct dirent *d;
	struct stat up_st;
	vex_err err = -ENOENT;
	DIR *dir;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &up_st))
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	fd = -1;
	while (err == -ENOENT && (d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (d->d_ino != st->st_ino && up_st.st_dev == st->st_dev)
			continue;
		if (!named(up, d->d_name, st))
			continue;
		*name = strdup(d->d_name);
		err = *name ? 0 : -ENOMEM;
	}
	closedir(dir);
	return err;
}

vex_err climb_name(int up, int fd, const struct stat *st, char **name)
{
	AUTO_FREE char *p = fd_path(fd);
	char *last = p ? strrchr(p, '/') + 1 : NULL;

	if (!last || !*last || !named(up, last, st))
		return scan_name(up, st, name);
	*name = strdup(last);
	return *name ? 0 : -ENOMEM;
}

/* What follows the root's path in `path`; NULL where it does not lie below. */
static const char *relative(struct vex_engine *e, const char *path)
{
	AUTO_FREE char *root = fd_path(e->rootfd);
	size_t n = root ? strlen(root) : 0;

	if (n == 1)
		return path + 1;
	if (!n || strncmp(path, root, n))
		return NULL;
	if (path[n] == '/')
		return path + n + 1;
	return path[n] ? NULL : path + n;
}

static bool ends_deleted(const char *path)
{
	static const char tail[] = " (deleted)";
	size_t n = strlen(path);

	return n >= sizeof(tail) - 1 && !strcmp(path + n - (sizeof(tail) - 1), tail);
}

static bool climbs_to_root(struct vex_engine *e, int dirfd)
{
	AUTO_CLOSE int fd = -1;
	struct stat st, up_st;

	if (vex_dup(dirfd, &fd) || fstat(fd, &st) || !S_ISDIR(st.st_mode))
		return false;
	while (!is_root(e, &st)) {
		int up;

		if (climb_up(fd, &st, &up, &up_st))
			return false;
		close(fd);
		fd = up;
		st = up_st;
	}
	return true;
}

bool climb_below(struct vex_engine *e, int fd)
{
	AUTO_FREE char *p = fd_path(fd);

	if (p && !ends_deleted(p))
		return relative(e, p) != NULL;
	return climbs_to_root(e, fd);
}

vex_err climb_where(struct vex_engine *e, int fd, const struct stat *st, int *dirfd,
		    char **name)
{
	AUTO_FREE char *p = fd_path(fd);
	const char *rel = p ? relative(e, p) : NULL;
	AUTO_CLOSE int dir = -1;
	char *last;
	vex_err err;

	if (!rel || !*rel)
		return -ENOENT;
	last = strrchr(p, '/');
	*last++ = '\0';
	/* last > rel: the object lies right below the root. */
	err = open_beneath(e->rootfd, last > rel ? rel : ".", O_PATH | O_DIRECTORY,
			   RESOLVE_NO_SYMLINKS, &dir);
	if (err)
		return err;
	if (!named(dir, last, st))
		return -ENOENT;
	*name = strdup(last);
	if (!*name)
		return -ENOMEM;
	*dirfd = take_fd(&dir);
	return 0;
}

/* ---- paths -------------------------------------------------------------------- */

struct parts {
	char **v;
	size_t n, cap;
};

static void parts_free(struct parts *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i]);
	free(p->v);
}

static vex_err parts_push(struct parts *p, char *name)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		char **v = reallocarray(p->v, cap, sizeof(*v));

		if (!v) {
			free(name);
			return -ENOMEM;
		}
		p->v = v;
		p->cap = cap;
	}
	p->v[p->n++] = name;
	return 0;
}

static vex_err climb_parts(struct vex_engine *e, int dirfd, struct parts *p)
{
	AUTO_CLOSE int fd = -1;
	struct stat st, up_st;
	vex_err err = vex_dup(dirfd, &fd);

	if (err)
		return err;
	if (fstat(fd, &st))
		return -errno;
	while (!is_root(e, &st)) {
		char *name;
		int up;

		err = climb_up(fd, &st, &up, &up_st);
		if (err)
			return err;
		err = climb_name(up, fd, &st, &name);
		close(fd);
		fd = up;
		st = up_st;
		if (!err)
			err = parts_push(p, name);
		if (err)
			return err;
	}
	return 0;
}

vex_err place_dir_path(struct vex_engine *e, int dirfd, struct vex_buf *out)
{
	AUTO_FREE char *p = fd_path(dirfd);
	const char *rel = p && !ends_deleted(p) ? relative(e, p) : NULL;
	struct parts parts = { 0 };
	vex_err err;

	if (rel) {
		vex_buf_str(out, rel);
		return out->err;
	}
	err = climb_parts(e, dirfd, &parts);
	for (size_t i = parts.n; !err && i; i--) {
		vex_buf_str(out, parts.v[i - 1]);
		if (i > 1)
			vex_buf_str(out, "/");
	}
	parts_free(&parts);
	return err ? err : out->err;
}

vex_err place_path(struct vex_engine *e, int dirfd, const char *name, struct vex_buf *out)
{
	size_t before = out->len;
	vex_err err = place_dir_path(e, dirfd, out);

	if (err || !*name)
		return err;
	if (out->len > before)
		vex_buf_str(out, "/");
	vex_buf_str(out, name);
	return out->err;
}
