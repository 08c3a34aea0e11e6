/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsck of STORE/.vexfs/index: each file by the validator of its room (sums, places,
 * links, that every node can be reached), and against the catalog: the space it is of and
 * its dimension. Whether its nodes are the space's rows is for the mount to see, which
 * takes in the difference. A file is derived: a bad one is removed, before the store is
 * opened for other repairs, and the next mount builds it anew.
 */
#include "fsck_i.h"

#include <dirent.h>
#include <fcntl.h>
#include <vexfs/index.h>

#define DIR_NAME ".vexfs/index"

struct indexes {
	struct fsck_list *l;
	struct vex_check *c;
	int dirfd;
	uint32_t id, dim; /* of the file looked at; dim 0: no such space */
};

static vex_err dim_of(void *arg, uint32_t id, uint32_t dim)
{
	struct indexes *x = arg;

	if (id == x->id)
		x->dim = dim;
	return 0;
}

static vex_err bad(struct indexes *x, const char *name, const char *why)
{
	struct fsck_finding f = { .fix = FSCK_INDEX, .path = (char *)name };

	return fsck_add(x->l, &f, DIR_NAME "/%s: %s", name, why);
}

static const char *flaw(const struct indexes *x, const struct vex_index_file *f)
{
	if (f->space != x->id)
		return "is of another space";
	if (f->dim != x->dim)
		return "its dimension is not that of the space";
	if (f->flaws.entry)
		return "its entry is missing";
	if (f->flaws.links)
		return "links lead nowhere";
	return f->flaws.unreachable ? "nodes cannot be reached" : NULL;
}

static vex_err look_into(struct indexes *x, const char *name)
{
	AUTO_CLOSE int fd = vex_openat(x->dirfd, name, O_RDONLY | O_NOFOLLOW, 0);
	struct vex_index_file f = { 0 };
	vex_err err = fd < 0 ? -errno : vex_index_check(fd, &f);
	const char *why;

	if (err == -ENOMEM)
		return err;
	if (err)
		return bad(x, name,
			   err == -EUCLEAN ? "damaged: its sums do not hold"
					   : strerror(-err));
	why = flaw(x, &f);
	return why ? bad(x, name, why) : 0;
}

/* What is being written (.hnsw.new) when a daemon is killed means nothing, and is written
 * over. */
static vex_err one_file(struct indexes *x, const char *name)
{
	char *end;
	unsigned long id = strtoul(name, &end, 10);
	vex_err err;

	if (!id || id > UINT32_MAX || strcmp(end, ".hnsw") != 0)
		return 0;
	x->id = (uint32_t)id;
	x->dim = 0;
	err = vex_check_spaces(x->c, dim_of, x);
	if (err)
		return err;
	return x->dim ? look_into(x, name) : bad(x, name, "no space has it");
}

vex_err fsck_index(struct vex_check *c, int rootfd, struct fsck_list *l)
{
	struct indexes x = { .l = l, .c = c };
	struct dirent *e;
	vex_err err = 0;
	DIR *d;

	x.dirfd = vex_openat(rootfd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (x.dirfd < 0)
		return errno == ENOENT ? 0 : -errno;
	d = fdopendir(x.dirfd);
	if (!d) {
		close(x.dirfd);
		return -ENOMEM;
	}
	while (!err && (e = readdir(d)))
		err = one_file(&x, e->d_name);
	closedir(d);
	return err;
}

void fsck_index_repair(int rootfd, const struct fsck_list *l)
{
	AUTO_CLOSE int dirfd =
	    vex_openat(rootfd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	for (size_t i = 0; dirfd >= 0 && i < l->n; i++)
		if (l->v[i].fix == FSCK_INDEX && unlinkat(dirfd, l->v[i].path, 0))
			vex_warn(DIR_NAME "/%s: %s", l->v[i].path, strerror(errno));
}
