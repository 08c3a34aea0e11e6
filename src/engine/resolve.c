/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths that come in calls, resolved as the caller, beneath the store. The kernel
 * does the walk, with the caller's own rights where the daemon may take them on;
 * elsewhere as the daemon, followed by our own check of every directory above. Links
 * are followed as long as they stay beneath (RESOLVE_BENEATH); one that does not is
 * -EACCES. STORE/.vexfs is not there, by whatever way it is reached.
 */
#include <linux/openat2.h>
#include "names_i.h"

void resolved_free(struct resolved *r)
{
	vex_cleanup_fd(&r->fd);
	vex_cleanup_fd(&r->dirfd);
	free(r->name);
	*r = (struct resolved)RESOLVED_INIT;
}

void resolved_obj(const struct resolved *r, struct vex_obj *o)
{
	*o = (struct vex_obj){ .fd = r->fd, .dirfd = r->dirfd, .name = r->name };
}

static vex_err walk_as(struct vex_engine *e, const struct vex_cred *c, const char *path,
		       int *fd, bool *judged)
{
	AUTO_AS_USER struct as_user u = { 0 };
	vex_err err = cred_enter(c, &u);

	if (err)
		return err;
	*judged = (u.switched && c->groups_known) || !c->uid;
	err = open_beneath(e->rootfd, *path ? path : ".", O_PATH, 0, fd);
	return err == -EXDEV ? -EACCES : err;
}

/* -ENOENT where fd is STORE/.vexfs or lies below it. */
static vex_err not_hidden(struct vex_engine *e, int dirfd, const struct stat *dir_st)
{
	AUTO_CLOSE int fd = -1;
	struct stat st = *dir_st, up_st;
	vex_err err = vex_dup(dirfd, &fd);

	while (!err && !is_root(e, &st)) {
		int up;

		if (st.st_ino == e->hidden_ino && st.st_dev == e->root_dev)
			return -ENOENT;
		err = climb_up(fd, &st, &up, &up_st);
		if (err)
			break;
		close(fd);
		fd = up;
		st = up_st;
	}
	return err;
}

static vex_err place_of_dir(struct resolved *r)
{
	struct stat up_st;
	vex_err err = climb_up(r->fd, &r->st, &r->dirfd, &up_st);

	return err ? err : climb_name(r->dirfd, r->fd, &r->st, &r->name);
}

/* Where the path of the object is too long for the kernel to tell, the way the caller
 * went may do, if its last name is the object itself. */
static vex_err place_by_way(struct vex_engine *e, const char *path, struct resolved *r)
{
	AUTO_FREE char *way = strdup(path);
	char *slash = way ? strrchr(way, '/') : NULL;
	const char *last = slash ? path + (slash - way) + 1 : path;
	struct stat st;
	vex_err err;

	if (!way)
		return -ENOMEM;
	if (slash)
		*slash = '\0';
	err = open_beneath(e->rootfd, slash ? way : ".", O_PATH | O_DIRECTORY, 0,
			   &r->dirfd);
	if (err)
		return err;
	if (fstatat(r->dirfd, last, &st, AT_SYMLINK_NOFOLLOW) || !same_inode(&st, &r->st))
		return -ENAMETOOLONG;
	r->name = strdup(last);
	return r->name ? 0 : -ENOMEM;
}

static vex_err find_place(struct vex_engine *e, const char *path, struct resolved *r)
{
	if (S_ISDIR(r->st.st_mode))
		return place_of_dir(r);
	if (!climb_where(e, r->fd, &r->st, &r->dirfd, &r->name))
		return 0;
	return place_by_way(e, path, r);
}

static vex_err check(struct vex_engine *e, const struct vex_cred *c, bool judged,
		     int want, const struct resolved *r)
{
	struct stat st;
	vex_err err;

	if (r->dirfd < 0)
		return perm_check(c, r->fd, "", &r->st, want);
	if (fstat(r->dirfd, &st))
		return -errno;
	err = not_hidden(e, r->dirfd, &st);
	if (!err && S_ISDIR(r->st.st_mode))
		err = not_hidden(e, r->fd, &r->st);
	if (!err && !judged)
		err = perm_search(e, c, r->dirfd);
	return err ? err : perm_check(c, r->dirfd, r->name, &r->st, want);
}

vex_err resolve(struct vex_engine *e, const struct vex_cred *c, const char *path,
		int want, struct resolved *out)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;
	bool judged = false;
	vex_err err = walk_as(e, c, path, &r.fd, &judged);

	if (err)
		return err;
	if (fstat(r.fd, &r.st))
		return -errno;
	if (!is_root(e, &r.st))
		err = find_place(e, path, &r);
	if (!err)
		err = check(e, c, judged, want, &r);
	if (err)
		return err;
	*out = r;
	r = (struct resolved)RESOLVED_INIT;
	return 0;
}
