/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that was copied from a backup: its files have no marks, for a mount shows none.
 * Each node of the catalog that had one gives it to the file at its recorded path; then
 * identity is as it was, and a mount goes on from there. A node without a file there is
 * left as one whose file vanished.
 */
#include <fcntl.h>
#include <sys/syscall.h>
#include <linux/openat2.h>
#include "names_i.h"

struct marks {
	struct marked {
		struct mark mark;
	} * v;
	size_t n, cap;
};

static vex_err take(void *arg, const struct vex_node *n, uint64_t attached)
{
	struct marks *m = arg;

	(void)attached;
	if (!n->has_mark)
		return 0;
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 256;
		struct marked *v = reallocarray(m->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		m->v = v;
		m->cap = cap;
	}
	mark_from(n, &m->v[m->n++].mark);
	return 0;
}

static int open_at(int rootfd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, rootfd, path, &how, sizeof(how));
}

/* A file its owner may not write gets its mark all the same. */
static vex_err write_mark(int fd, const struct mark *mark)
{
	struct vex_procfd p = vex_procfd(fd);
	vex_err err = mark_write(fd, mark);
	struct stat st;

	if (err != -EACCES || fstat(fd, &st) ||
	    chmod(p.path, (st.st_mode | 0200) & 07777))
		return err;
	err = mark_write(fd, mark);
	if (chmod(p.path, st.st_mode & 07777) && !err)
		err = -errno;
	return err;
}

static vex_err give(struct vex_check *c, int rootfd, const struct mark *mark,
		    struct vex_restored *out, struct vex_problem *problem)
{
	AUTO_BUF struct vex_buf path = { 0 };
	AUTO_CLOSE int fd = -1;
	struct stat st;
	vex_err err;

	vex_check_path(c, mark->id, &path);
	vex_buf_add(&path, "", 1);
	if (path.err)
		return path.err;
	if (path.data[0] != '#')
		fd = open_at(rootfd, path.data);
	if (fd < 0 || fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		out->missing++;
		return 0;
	}
	err = write_mark(fd, mark);
	if (err)
		snprintf(problem->text, sizeof(problem->text), "%.400s: %s", path.data,
			 strerror(-err));
	else
		out->marked++;
	return err;
}

vex_err vex_engine_restore(int rootfd, struct vex_restored *out,
			   struct vex_problem *problem)
{
	struct marks m = { .n = 0 };
	struct vex_check *c;
	vex_err err = vex_check_open(rootfd, &c, problem);

	*out = (struct vex_restored){ .marked = 0 };
	if (err)
		return err;
	err = vex_check_nodes(c, take, &m);
	for (size_t i = 0; !err && i < m.n; i++)
		err = give(c, rootfd, &m.v[i].mark, out, problem);
	free(m.v);
	vex_check_close(c);
	return err;
}
