/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hit of which it is known where its file was, by what is remembered (known.c) or by
 * one look into the catalog: is it still there, and may the caller have it? Asked of the
 * backing filesystem each time, by few system calls, so it needs no deep stack. Whatever
 * is not as it was (-EAGAIN) is looked up properly.
 *
 * A file that is watched is not asked at all while nothing has happened (vigil.c).
 *
 * The file is the one it was if the path leads to an inode of that number and birth time:
 * an inode number used again has a later one. Files younger than the clock's tick may
 * share both, so at first the handle is compared too; it is settled once a handle was
 * right SETTLED_NS after the birth, for what is born after that has a later birth time.
 *
 * The path is the directory's and the name. That the file was found by it makes it true;
 * that no symlink is on it, and that it does not leave the store, is believed of a
 * directory for a second, as descriptors of directories are (dircache.c).
 */
#include <linux/openat2.h>
#include <sys/sysmacros.h>
#include "search_i.h"

#define SETTLED_NS 2000000000ll
#define NO_BIRTH INT64_MIN
#define PATH_FAR ((size_t)NAME_MAX) /* beyond, perm_check would not reach it */

static vex_err look(int dirfd, const char *path, struct statx *x)
{
	if (statx(dirfd, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, x))
		return -errno;
	return 0;
}

static int64_t born(const struct statx *x)
{
	if (!(x->stx_mask & STATX_BTIME))
		return NO_BIRTH;
	return (int64_t)x->stx_btime.tv_sec * 1000000000 + x->stx_btime.tv_nsec;
}

/* What is asked of a stat here and by those it is handed to. */
static void to_stat(const struct statx *x, struct stat *st)
{
	*st = (struct stat){
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor),
		.st_ino = x->stx_ino,
		.st_mode = x->stx_mode,
		.st_nlink = x->stx_nlink,
		.st_uid = x->stx_uid,
		.st_gid = x->stx_gid,
		.st_size = (off_t)x->stx_size,
		.st_mtim = { x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec },
		.st_ctim = { x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec },
	};
}

/* ---- the directory ------------------------------------------------------------------
 */

static vex_err dir_descend(struct search *s, const char *path, int *fd)
{
	return open_beneath(s->e->rootfd, path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS,
			    fd);
}

static VEX_APART vex_err dir_learn(struct search *s, uint64_t node, uint64_t moves,
				   struct vex_buf *out)
{
	AUTO_CLOSE int fd = -1;
	size_t at = out->len;
	vex_err err;

	vex_deep_only();
	err = dir_open(s->e, s->r, node, &fd);
	if (!err)
		err = place_dir_path(s->e, fd, out);
	if (err)
		return err == -ENOENT ? -EAGAIN : err;
	known_dir_put(s->e->known, node, moves, out->data + at, out->len - at);
	if (out->len > at)
		vex_buf_add(out, "/", 1);
	return out->err;
}

/* It may have moved behind us. */
static vex_err dir_confirm(struct search *s, uint64_t node, uint64_t moves, char *path,
			   size_t len)
{
	AUTO_CLOSE int fd = -1;
	vex_err err;

	path[len - 1] = '\0';
	err = dir_descend(s, path, &fd);
	if (!err)
		known_dir_put(s->e->known, node, moves, path, len - 1);
	path[len - 1] = '/';
	return err ? -EAGAIN : 0;
}

/* The directory's path, appended. */
static vex_err dir_path(struct search *s, uint64_t node, struct vex_buf *out)
{
	uint64_t moves = atomic_load(&s->e->moves);
	size_t at = out->len;
	int known;

	if (node == ROOT_NODE)
		return 0;
	known = known_dir_get(s->e->known, node, moves, out);
	if (out->err)
		return out->err;
	if (!known && dir_confirm(s, node, moves, out->data + at, out->len - at))
		known = -1;
	if (known >= 0)
		return 0;
	out->len = at;
	return s->r ? dir_learn(s, node, moves, out) : -EAGAIN;
}

/* ---- the file -----------------------------------------------------------------------
 */

/* Whether it is the file; what is learned of it is remembered. */
static bool same(struct search *s, uint64_t lsn, struct known *k, const char *path,
		 const struct statx *x)
{
	struct vex_fh fh = { 0 };
	bool settled;

	if (makedev(x->stx_dev_major, x->stx_dev_minor) != s->e->root_dev)
		return false;
	if (k->met && (x->stx_ino != k->ino || born(x) != k->born))
		return false;
	if (k->settled)
		return true;
	if (vex_fh_get(s->e->rootfd, path, &fh, NULL) || !vex_fh_equal(&fh, &k->fh))
		return false;
	/* Only what was there before, since stat and handle were not one moment. */
	settled = k->met && k->born != NO_BIRTH && vex_now_real() - k->born > SETTLED_NS;
	if (!k->met) {
		k->met = true;
		k->ino = x->stx_ino;
		k->born = born(x);
		known_put(s->e->known, lsn, k);
	} else if (settled) {
		known_settle(s->e->known, lsn);
	}
	return true;
}

/* It is there: by statx, and what was seen counts for the next ones. */
static vex_err ask(struct search *s, const struct vex_attach *a, struct known *k,
		   char *path, size_t len, struct stat *st)
{
	struct vigil_mark m = vigil_mark(s->e->vigil, a->node);
	struct statx x;

	if (look(s->e->rootfd, path, &x) || !same(s, a->lsn, k, path, &x))
		return -EAGAIN;
	to_stat(&x, st);
	if (k->settled &&
	    vigil_seen(s->e->vigil, a->node, path, len, &m, st, s->now, s->watches))
		s->watches--;
	return 0;
}

vex_err seat_find(struct search *s, const struct vex_attach *a, struct known *k,
		  struct vex_buf *out, struct stat *st)
{
	size_t at = out->len, len;
	vex_err err = dir_path(s, k->parent, out);

	if (!err) {
		vex_buf_add(out, k->name, k->name_len + 1);
		err = out->err;
	}
	len = out->len - at - 1;
	if (!err && !(k->settled &&
		      vigil_get(s->e->vigil, a->node, out->data + at, len, s->now, st)))
		err = ask(s, a, k, out->data + at, len, st);
	if (err)
		out->len = at;
	return err;
}

/* ---- the caller ---------------------------------------------------------------------
 */

/* Whether the caller may search the directory and those above it, found out once. */
static int may_search(struct search *s, uint64_t parent, const char *path, size_t dir_len)
{
	int yes = memo_get(&s->parents, 0, parent);
	AUTO_CLOSE int fd = -1;
	char dir[PATH_FAR + 1];
	vex_err err;

	if (yes >= 0)
		return yes;
	memcpy(dir, path, dir_len);
	dir[dir_len] = '\0';
	err = dir_descend(s, dir_len ? dir : ".", &fd);
	if (err)
		return -EAGAIN;
	err = perm_search_memo(s->e, s->q->cred, fd, &s->dirs_open);
	if (err && err != -EACCES)
		return -EAGAIN;
	memo_put(&s->parents, 0, parent, !err);
	return !err;
}

int seat_may(struct search *s, const struct known *k, const char *path,
	     const struct stat *st)
{
	size_t len = strlen(path), name_len = k->name_len;
	int yes;

	if (!s->q->cred->uid)
		return 1;
	if (len > PATH_FAR)
		return -EAGAIN;
	yes = may_search(s, k->parent, path, len > name_len ? len - name_len - 1 : 0);
	if (yes <= 0)
		return yes;
	return !perm_check(s->q->cred, s->e->rootfd, path, st, R_OK);
}

/* ---- by the catalog -----------------------------------------------------------------
 */

vex_err seat_read(struct search *s, uint64_t lsn, struct vex_attach *a, struct known *k)
{
	struct vex_attach_file f;
	vex_err err = vex_read_attach_file(s->r, lsn, a, &f);

	if (err)
		return err;
	if (f.node.state != VEX_LIVE || f.node.fh_old || !f.node.fh.len)
		return -ENODATA;
	*k = (struct known){ .moment = s->moment,
			     .parent = f.parent,
			     .stamp = a->stamp,
			     .fh = f.node.fh,
			     .key_len = a->key_len,
			     .name_len = f.name_len };
	memcpy(k->key, a->key, a->key_len);
	memcpy(k->name, f.name, f.name_len + 1);
	return 0;
}

void seat_attachment(const struct search *s, const struct known *k,
		     const struct vex_slot *vs, struct vex_attach *a)
{
	*a = (struct vex_attach){
		.lsn = vs->lsn,
		.node = vs->node,
		.space = vex_space_id(s->space),
		.rows = vs->row + 1,
		.stamp = k->stamp,
		.key_len = k->key_len,
	};
	memcpy(a->key, k->key, k->key_len);
}
