/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A damaged catalog, as --repair wants it: store rescues what can be read, and asks here
 * for nodes that are lost: a file that carries the mark of that node at the place the
 * names tell is it. What is lost is said and counted as left; the next look does not find
 * it any more, for then nobody knows of it.
 */
#include "fsck_i.h"

#include <fcntl.h>
#include <sys/stat.h>

struct rescue {
	int rootfd;
	struct vex_fsck *f;
};

static void lost(void *arg, const char *line)
{
	struct rescue *r = arg;
	AUTO_BUF struct vex_buf b = { 0 };

	vex_buf_fmt(&b, ".vexfs/catalog.db: %s", line);
	vex_buf_add(&b, "", 1);
	for (char *s = b.data; !b.err && *s; s++)
		if ((unsigned char)*s < ' ' || *s == 127)
			*s = '?';
	r->f->say(r->f->arg, b.err ? line : b.data);
	r->f->left++;
}

static bool node_at(void *arg, const char *path, struct vex_node *n)
{
	struct rescue *r = arg;
	AUTO_CLOSE int fd =
	    vex_openat(r->rootfd, *path ? path : ".", O_PATH | O_NOFOLLOW, 0);
	struct mark m;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || mark_read(fd, &m) || m.id != n->id)
		return false;
	n->has_mark = true;
	memcpy(n->mark, m.random, sizeof(n->mark));
	n->is_dir = S_ISDIR(st.st_mode);
	n->ino = st.st_ino;
	n->size = st.st_size;
	n->mtime_ns = mtime_ns(&st);
	return true;
}

vex_err fsck_salvage(int rootfd, const char *what, struct vex_fsck *f,
		     struct vex_problem *problem)
{
	struct rescue r = { .rootfd = rootfd, .f = f };
	struct vex_salvage o = { .lost = lost, .node = node_at, .arg = &r };
	vex_err err = vex_salvage(rootfd, &o, problem);
	AUTO_BUF struct vex_buf b = { 0 };

	if (err)
		return err;
	vex_buf_fmt(&b,
		    "%s: repaired: what could be read is in a new one, the old one is "
		    "catalog.db.damaged",
		    what);
	vex_buf_add(&b, "", 1);
	f->say(f->arg, b.err ? what : b.data);
	f->fixed++;
	return 0;
}
