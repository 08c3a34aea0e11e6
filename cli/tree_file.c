/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_file: one file, and what belongs to any: owner, mode, xattrs, times. Data goes by
 * reflink where both lie on a filesystem that can, else by copy_file_range(2), else by
 * hand; holes stay holes where the source tells of them.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include "tree_i.h"

#define PART ".vexctl-part"
#define OURS "user.vexfs."
#define CHUNK ((size_t)1 << 20)
#define LIST_MAX ((size_t)65536)

/* ---- links ----------------------------------------------------------------------- */

static struct link *link_at(const struct links *l, uint64_t dev, uint64_t ino)
{
	size_t i = (size_t)((ino * 0x9e3779b97f4a7c15ull ^ dev) >> 20) & (l->room - 1);

	while (l->v[i].ino && (l->v[i].ino != ino || l->v[i].dev != dev))
		i = (i + 1) & (l->room - 1);
	return &l->v[i];
}

static struct link *link_of(struct links *l, const struct stat *st)
{
	if (2 * l->n >= l->room) {
		struct links more = { .n = l->n, .room = l->room ? 2 * l->room : 64 };

		more.v = cli_alloc(more.room, sizeof(*more.v));
		for (size_t i = 0; i < l->room; i++)
			if (l->v[i].ino)
				*link_at(&more, l->v[i].dev, l->v[i].ino) = l->v[i];
		free(l->v);
		*l = more;
	}
	return link_at(l, st->st_dev, st->st_ino);
}

void links_free(struct links *l)
{
	for (size_t i = 0; i < l->room; i++)
		free(l->v[i].path);
	free(l->v);
}

/* ---- attributes ------------------------------------------------------------------ */

/* Namespaces only the superuser may write to. */
static bool privileged(const char *name)
{
	return strncmp(name, "user.", 5) != 0;
}

static int xattr_failed(struct walk *w, const char *file, const char *name)
{
	if (privileged(name) &&
	    (errno == EPERM || errno == EOPNOTSUPP || errno == EACCES))
		return 0;
	cli_note("%s%s%s: %s: %s", w->dir, *w->dir && *file ? "/" : "", file, name,
		 strerror(errno));
	w->t->failed++;
	return 0;
}

struct names {
	char *text;
	ssize_t len;
};

static void list_names(const char *path, struct names *out)
{
	out->text = cli_alloc(1, LIST_MAX);
	out->len = listxattr(path, out->text, LIST_MAX);
	if (out->len < 0)
		out->len = 0;
}

static bool is_in(const struct names *n, const char *name)
{
	for (const char *p = n->text; p < n->text + n->len; p += strlen(p) + 1)
		if (!strcmp(p, name))
			return true;
	return false;
}

static int copy_xattr(struct walk *w, const char *file, const char *from, const char *to,
		      const char *name)
{
	AUTO_FREE char *a = cli_alloc(2, LIST_MAX);
	char *b = a + LIST_MAX;
	ssize_t n = getxattr(from, name, a, LIST_MAX), m;

	if (n < 0)
		return errno == ENODATA ? 0 : xattr_failed(w, file, name);
	m = getxattr(to, name, b, LIST_MAX);
	if (m == n && !memcmp(a, b, (size_t)n))
		return 0;
	return setxattr(to, name, a, (size_t)n, 0) ? xattr_failed(w, file, name) : 0;
}

static int copy_xattrs(struct walk *w, const char *file, int from, int to)
{
	char from_path[40], to_path[40];
	struct names a, b;

	snprintf(from_path, sizeof(from_path), "/proc/self/fd/%d", from);
	snprintf(to_path, sizeof(to_path), "/proc/self/fd/%d", to);
	list_names(from_path, &a);
	list_names(to_path, &b);
	for (const char *p = a.text; p < a.text + a.len; p += strlen(p) + 1)
		if (strncmp(p, OURS, strlen(OURS)) != 0)
			copy_xattr(w, file, from_path, to_path, p);
	for (const char *p = b.text; p < b.text + b.len; p += strlen(p) + 1)
		if (strncmp(p, OURS, strlen(OURS)) != 0 && !is_in(&a, p) &&
		    removexattr(to_path, p))
			xattr_failed(w, file, p);
	free(a.text);
	free(b.text);
	return 0;
}

int tree_attributes(struct walk *w, const char *name, int from, int to,
		    const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	char path[40];
	struct stat now;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	if (fstat(to, &now))
		return tree_broken(w, name);
	/* Others' files become ours where we are not root. */
	if ((now.st_uid != st->st_uid || now.st_gid != st->st_gid) &&
	    chown(path, st->st_uid, st->st_gid) && errno != EPERM)
		return tree_broken(w, name);
	copy_xattrs(w, name, from, to);
	if (chmod(path, st->st_mode & 07777) && errno != EPERM)
		return tree_broken(w, name);
	if (utimensat(AT_FDCWD, path, times, 0))
		return tree_broken(w, name);
	return 0;
}

/* ---- data ------------------------------------------------------------------------ */

/* [off, end) by the kernel, else by hand. -1: errno, of reading if *reading. */
static int copy_range(int from, int to, off_t off, off_t end, bool *reading)
{
	AUTO_FREE char *buf = NULL;
	off_t in = off, out = off;
	ssize_t n = 0;

	while (in < end &&
	       (n = copy_file_range(from, &in, to, &out, (size_t)(end - in), 0)) > 0)
		;
	if (in >= end || !n)
		return 0;
	buf = cli_alloc(1, CHUNK);
	while (in < end) {
		*reading = true;
		n = pread(from, buf, CHUNK, in);
		if (n < 0)
			return -1;
		if (!n)
			break;
		*reading = false;
		for (ssize_t at = 0, m; at < n; at += m) {
			m = pwrite(to, buf + at, (size_t)(n - at), in + at);
			if (m < 0)
				return -1;
		}
		in += n;
	}
	return 0;
}

static int copy_data(int from, int to, off_t size, bool *reading)
{
	off_t at = 0;

	*reading = false;
	if (!ioctl(to, FICLONE, from))
		return 0;
	while (at < size) {
		off_t data = lseek(from, at, SEEK_DATA), hole = size;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = at;
		else
			hole = lseek(from, data, SEEK_HOLE);
		if (hole <= data)
			hole = size;
		if (copy_range(from, to, data, hole, reading))
			return -1;
		at = hole;
	}
	return ftruncate(to, size);
}

/* ---- files ----------------------------------------------------------------------- */

static int place(struct walk *w, const char *name)
{
	if (!renameat(w->to, PART, w->to, name))
		return 0;
	/* A directory is in the way. */
	if (errno != EISDIR || tree_remove(w, name) || renameat(w->to, PART, w->to, name))
		return tree_broken(w, name);
	return 0;
}

static int copy_file(struct walk *w, const char *name, const struct stat *st)
{
	AUTO_CLOSE int from =
	    openat(w->from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO_CLOSE int to = -1;
	bool reading;
	int err;

	if (from < 0)
		return tree_unread(w, name);
	unlinkat(w->to, PART, 0);
	to = openat(w->to, PART, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return tree_broken(w, name);
	if (copy_data(from, to, st->st_size, &reading)) {
		err = errno;
		unlinkat(w->to, PART, 0);
		errno = err;
		return reading ? tree_unread(w, name) : tree_broken(w, name);
	}
	w->t->copied++;
	w->t->bytes += (uint64_t)st->st_size;
	err = tree_attributes(w, name, from, to, st);
	return err ? err : place(w, name);
}

/* Content as it was: the rest may have changed. */
static int refresh(struct walk *w, const char *name, const struct stat *st)
{
	AUTO_CLOSE int from = openat(w->from, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	AUTO_CLOSE int to = openat(w->to, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (from < 0 || to < 0)
		return from < 0 ? tree_unread(w, name) : tree_broken(w, name);
	return tree_attributes(w, name, from, to, st);
}

static bool same_content(const struct stat *a, const struct stat *b)
{
	return S_ISREG(b->st_mode) && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int regular(struct walk *w, const char *name, const struct stat *st)
{
	struct stat was;

	if (!fstatat(w->to, name, &was, AT_SYMLINK_NOFOLLOW) && same_content(st, &was))
		return refresh(w, name, st);
	return copy_file(w, name, st);
}

/* A further name of a file that is there already. */
static int further(struct walk *w, const char *name, const char *path)
{
	struct stat a, b;

	if (fstatat(w->t->to, path, &a, AT_SYMLINK_NOFOLLOW))
		return tree_broken(w, name);
	if (!fstatat(w->to, name, &b, AT_SYMLINK_NOFOLLOW)) {
		if (a.st_ino == b.st_ino && a.st_dev == b.st_dev)
			return 0;
		if (tree_remove(w, name))
			return CLI_ERROR;
	}
	return linkat(w->t->to, path, w->to, name, 0) ? tree_broken(w, name) : 0;
}

static int with_links(struct walk *w, const char *name, const struct stat *st)
{
	struct link *l = link_of(&w->links, st);
	AUTO_BUF struct buf path = { 0 };
	struct stat made;
	int err;

	if (l->ino)
		return further(w, name, l->path);
	err = regular(w, name, st);
	/* Where it could not be read, its next name is another try. */
	if (err || fstatat(w->to, name, &made, AT_SYMLINK_NOFOLLOW))
		return err;
	buf_fmt(&path, "%s%s%s", w->dir, *w->dir ? "/" : "", name);
	*l = (struct link){ .dev = st->st_dev, .ino = st->st_ino, .path = path.data };
	path.data = NULL;
	w->links.n++;
	return 0;
}

static int symlink_copy(struct walk *w, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	AUTO_FREE char *text = cli_alloc(2, PATH_MAX);
	ssize_t n = readlinkat(w->from, name, text, PATH_MAX - 1);

	if (n < 0)
		return tree_unread(w, name);
	if (readlinkat(w->to, name, text + PATH_MAX, PATH_MAX - 1) != n ||
	    memcmp(text, text + PATH_MAX, (size_t)n) != 0) {
		unlinkat(w->to, PART, 0);
		if (symlinkat(text, w->to, PART) || place(w, name))
			return tree_broken(w, name);
		w->t->copied++;
	}
	if (fchownat(w->to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) &&
	    errno != EPERM)
		return tree_broken(w, name);
	return utimensat(w->to, name, times, AT_SYMLINK_NOFOLLOW) ? tree_broken(w, name)
								  : 0;
}

static int special(struct walk *w, const char *name, const struct stat *st)
{
	struct stat was;

	if (!fstatat(w->to, name, &was, AT_SYMLINK_NOFOLLOW) &&
	    was.st_mode == st->st_mode && was.st_rdev == st->st_rdev)
		return refresh(w, name, st);
	unlinkat(w->to, PART, 0);
	/* Devices are root's to make. */
	if (mknodat(w->to, PART, st->st_mode, st->st_rdev))
		return errno == EPERM ? tree_unread(w, name) : tree_broken(w, name);
	w->t->copied++;
	return place(w, name) ? CLI_ERROR : refresh(w, name, st);
}

int tree_file(struct walk *w, const char *name, const struct stat *st)
{
	if (S_ISLNK(st->st_mode))
		return symlink_copy(w, name, st);
	if (!S_ISREG(st->st_mode))
		return special(w, name, st);
	return st->st_nlink > 1 ? with_links(w, name, st) : regular(w, name, st);
}
