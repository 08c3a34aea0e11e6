/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of names, and new ones: unlink, rmdir, the last close, link. rename.c has
 * the rest.
 *
 * Two systems change, the backing filesystem and the catalog, with a crash possible
 * between them; the backing filesystem is the truth. Before the last name of a node
 * goes, an intent is committed (state GOING); after the system call it is settled:
 * back to LIVE where the call failed or another link has appeared, else the node and
 * its attachments are dropped, at once or, where descriptors are open, at the last
 * close. Of a file that is replaced and whose attachments stay (kept.c) the row in `kept`
 * is part of the intent: LIVE and kept if it happened, LIVE alone if not. recover.c
 * settles what a crash leaves.
 *
 * Between begin and end the removal holds an O_PATH descriptor of the object: its
 * link count after the call is the answer to "was that the last name", also when two
 * callers remove two links of one file at the same time.
 *
 * Where the catalog cannot take the intent, the removal goes on without (late.c).
 *
 * Files without a mark and directories that are no nodes take no part in this: the
 * quick tests at the top keep an `rm -r` of ordinary files away from the catalog.
 */
#include "life_i.h"

bool life_concerns(struct vex_engine *e, int dirfd, const char *name,
		   const struct stat *st)
{
	struct vex_fh fh = { 0 };
	struct mark m;

	if (!mark_read_at(dirfd, name, &m))
		return true;
	if (!S_ISDIR(st->st_mode))
		return S_ISREG(st->st_mode) && e->copied;
	if (st->st_dev == e->root_dev && vex_fh_get(dirfd, name, &fh, NULL))
		return true;
	return node_maybe_dir(e, &fh);
}

vex_err life_node_at(struct vex_engine *e, int dirfd, const char *name, int *fd,
		     uint64_t *node)
{
	AUTO_CLOSE int own = vex_openat(dirfd, name, O_PATH | O_NOFOLLOW, 0);
	struct vex_obj o = { .fd = own, .dirfd = dirfd, .name = name };
	vex_err err;

	if (own < 0)
		return -errno;
	err = node_identify(e, &o, node);
	if (!err)
		*fd = take_fd(&own);
	return err;
}

vex_err removal_prepare(struct vex_engine *e, int dirfd, const char *name,
			struct vex_removal *r, struct changes *l)
{
	struct stat st;
	vex_err err = life_node_at(e, dirfd, name, &r->fd, &r->node);

	if (err || !r->node)
		return err;
	if (fstat(r->fd, &st))
		return -errno;
	err = node_of_dir(e, dirfd, &r->parent);
	if (err)
		return err;
	r->name = name;
	r->last = S_ISDIR(st.st_mode) || st.st_nlink <= 1;
	r->keep = r->keep && r->last && S_ISREG(st.st_mode) && kept_has(e, r->node);
	if (r->last)
		change_state(l, r->node, VEX_GOING);
	if (r->keep)
		kept_replaced(e, r, &st, l);
	return l->err;
}

/* It is there after all: what the intent said is taken back. */
static void revive(uint64_t node, bool kept, struct changes *l)
{
	struct vex_change *c;

	change_state(l, node, VEX_LIVE);
	c = kept ? changes_add(l, VEX_UNKEEP) : NULL;
	if (c)
		c->node = node;
}

void removal_settle(struct vex_engine *e, struct vex_removal *r, vex_err result,
		    bool open, struct changes *l)
{
	bool nameless, intent = r->last && !r->late;
	struct stat st = { 0 };

	if (!r->node)
		return;
	nameless = fstat(r->fd, &st) ? r->last : !st.st_nlink;
	if (result) {
		/* Nameless all the same: another caller was quicker. */
		if (intent && !nameless)
			revive(r->node, r->keep, l);
		return;
	}
	nameless |= S_ISDIR(st.st_mode);
	if (!nameless) {
		if (r->parent)
			change_name(l, VEX_NAME_DEL, r->node, r->parent, r->name);
		if (intent)
			revive(r->node, r->keep, l);
	} else if (r->keep) {
		if (intent)
			change_state(l, r->node, VEX_LIVE);
		else
			kept_replaced(e, r, &st, l);
		dircache_drop(e->dircache, r->node);
	} else if (open) {
		if (r->parent)
			change_name(l, VEX_NAME_DEL, r->node, r->parent, r->name);
		if (!intent)
			change_state(l, r->node, VEX_GOING);
	} else {
		struct vex_change *c = changes_add(l, VEX_NODE_DROP);

		if (c) {
			c->node = r->node;
			c->path = r->path;
		}
		dircache_drop(e->dircache, r->node);
	}
}

void removal_free(struct vex_removal *r)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r->path);
	*r = (struct vex_removal){ .fd = -1, .obj_fd = r->obj_fd, .moment = r->moment };
}

char *life_path(struct vex_engine *e, int dirfd, const char *name)
{
	AUTO_BUF struct vex_buf b = { 0 };

	if (place_path(e, dirfd, name, &b))
		return NULL;
	vex_buf_add(&b, "", 1);
	return b.err ? NULL : take_ptr(&b.data);
}

/* ---- unlink, rmdir ------------------------------------------------------------------
 */

struct unlink_job {
	struct vex_engine *e;
	int dirfd;
	const char *name;
	struct vex_removal *r;
	vex_err result;
	bool open;
};

static vex_err unlink_begin(void *arg)
{
	struct unlink_job *j = arg;
	AUTO_CHANGES struct changes l = { 0 };
	vex_err err = removal_prepare(j->e, j->dirfd, j->name, j->r, &l);

	if (err || !j->r->node)
		return err;
	j->r->path = life_path(j->e, j->dirfd, j->name);
	return changes_commit(j->e, &l);
}

vex_err vex_engine_unlink_begin(struct vex_engine *e, int dirfd, const char *name,
				struct vex_removal *r)
{
	struct unlink_job j = { .e = e, .dirfd = dirfd, .name = name, .r = r };
	struct stat st;
	vex_err err;

	*r = (struct vex_removal){ .fd = -1, .obj_fd = -1, .moment = overlap_moment(e) };
	/* What is not there, the system call itself will say. */
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) ||
	    !life_concerns(e, dirfd, name, &st))
		return 0;
	err = engine_deep(e, unlink_begin, &j);
	r->late = err && late_may(e, err);
	if (r->late)
		err = 0;
	if (err || !r->node)
		removal_free(r);
	return err == -ENOENT ? 0 : err;
}

static vex_err unlink_end(void *arg)
{
	struct unlink_job *j = arg;
	AUTO_CHANGES struct changes l = { 0 };
	struct vacant *held = NULL;
	struct stat st;
	vex_err err;

	removal_settle(j->e, j->r, j->result, j->open, &l);
	if (!j->result && !fstat(j->r->fd, &st) && S_ISREG(st.st_mode) && !st.st_nlink)
		held = vacant_hold(j->e, j->r, &st);
	if (!j->result && j->r->parent)
		kept_forget(j->e, j->r, &l);
	err = changes_commit(j->e, &l);
	vacants_add(j->e, held);
	if (!j->result)
		note_unlink(j->e, j->r);
	if (!err)
		(void)!late_settle(j->e);
	return err;
}

void vex_engine_unlink_end(struct vex_engine *e, struct vex_removal *r, vex_err result,
			   bool open)
{
	struct unlink_job j = { .e = e, .r = r, .result = result, .open = open };
	struct stat st;
	vex_err err;

	if (!result && overlap_since(e, r->moment) && !r->node)
		overlap_removed(e, r->obj_fd, open);
	if (!r->node)
		return;
	if (!result && !fstat(r->fd, &st) && S_ISDIR(st.st_mode))
		life_forget_dir(e, r->fd);
	err = engine_deep(e, unlink_end, &j);
	if (err && !result)
		late_add(e, r->node);
	if (err && !late_may(e, err))
		vex_warn("node %llu: its removal is settled later: %s",
			 (unsigned long long)r->node, strerror(-err));
	removal_free(r);
}

void life_forget_dir(struct vex_engine *e, int fd)
{
	struct vex_fh fh;

	if (!vex_fh_get(fd, "", &fh, NULL))
		nodeset_del(e->dirset, &fh);
}

/* ---- the last close -------------------------------------------------------------------
 */

struct node_job {
	struct vex_engine *e;
	uint64_t node;
};

enum linkage life_linkage(struct vex_engine *e, struct vex_reader *r, struct vex_node *n)
{
	AUTO_CLOSE int fd = -1;
	AUTO_PLACE struct place p = PLACE_INIT;
	struct stat st;
	vex_err err;

	if (e->handles && n->fh.len && !n->fh_old) {
		err = vex_fh_open(e->rootfd, &n->fh, O_PATH | O_CLOEXEC, &fd);
		if (err == -ESTALE || err == -ENOENT)
			return LINK_NONE;
		if (err || fstat(fd, &st))
			return LINK_UNKNOWN;
		return st.st_nlink ? LINK_SOME : LINK_NONE;
	}
	err = place_of(e, r, n, &p);
	if (err && err != -ENOENT)
		return LINK_UNKNOWN;
	return err ? LINK_NONE : LINK_SOME;
}

vex_err life_settle(struct vex_engine *e, struct vex_reader *r, uint64_t node)
{
	AUTO_CHANGES struct changes l = { 0 };
	struct vex_change *c;
	struct vex_kept k;
	struct vex_node n;
	bool kept;
	vex_err err = vex_read_node(r, node, &n);

	if (err || n.state != VEX_GOING)
		return err == -ENOENT ? 0 : err;
	kept = !vex_read_kept(r, node, &k);
	switch (life_linkage(e, r, &n)) {
	case LINK_SOME:
		revive(node, kept, &l);
		break;
	case LINK_NONE:
		if (kept) {
			change_state(&l, node, VEX_LIVE);
			kept_distinct(e, r, &n, &l);
			break;
		}
		c = changes_add(&l, VEX_NODE_DROP);
		if (c)
			c->node = node;
		break;
	case LINK_UNKNOWN:
		break;
	}
	return changes_commit(e, &l);
}

static vex_err released(void *arg)
{
	struct node_job *j = arg;
	AUTO_READER struct vex_reader *r = NULL;
	vex_err err = vex_reader_get(j->e->store, &r);

	return err ? err : life_settle(j->e, r, j->node);
}

void vex_engine_released(struct vex_engine *e, uint64_t node)
{
	struct node_job j = { .e = e, .node = node };
	vex_err err;

	if (!node || node == VEX_NODE_NONE)
		return;
	err = engine_deep(e, released, &j);
	if (err)
		vex_warn("node %llu: not freed until the next mount: %s",
			 (unsigned long long)node, strerror(-err));
}

/* ---- link
 * -------------------------------------------------------------------------------- */

struct link_job {
	struct vex_engine *e;
	const struct vex_obj *o;
	int dirfd;
	const char *name;
	vex_err result;
	bool bare; /* without attachments */
};

static vex_err link_begin(void *arg)
{
	struct link_job *j = arg;
	AUTO_CHANGES struct changes l = { 0 };
	uint64_t node, parent;
	vex_err err = node_identify(j->e, j->o, &node);

	if (err || !node)
		return err;
	err = node_ensure_dir(j->e, j->dirfd, &parent);
	if (err)
		return err;
	change_name(&l, VEX_NAME_ADD, node, parent, j->name);
	return changes_commit(j->e, &l);
}

vex_err vex_engine_link_begin(struct vex_engine *e, const struct vex_obj *o, int newdirfd,
			      const char *newname)
{
	struct link_job j = { .e = e, .o = o, .dirfd = newdirfd, .name = newname };
	uint64_t node;
	vex_err err = 0;

	flight_begin(e);
	if (!node_known(e, o, &node) || node)
		err = engine_deep(e, link_begin, &j);
	/* The name is noted when the file is next looked at by it. */
	if (err && late_may(e, err))
		err = 0;
	if (err)
		flight_end(e);
	return err;
}

static bool is_there(const struct link_job *j)
{
	struct stat a, b;

	return !fstat(j->o->fd, &a) &&
	       !fstatat(j->dirfd, j->name, &b, AT_SYMLINK_NOFOLLOW) && same_inode(&a, &b);
}

static vex_err link_end(void *arg)
{
	struct link_job *j = arg;
	AUTO_CHANGES struct changes l = { 0 };
	AUTO_READER struct vex_reader *r = NULL;
	uint64_t node, parent;
	struct vex_node n = { 0 };
	vex_err err = node_identify(j->e, j->o, &node);

	if (err || !node)
		return err;
	j->bare = !kept_has(j->e, node);
	if (!j->result) {
		err = vex_reader_get(j->e->store, &r);
		if (!err)
			err = vex_read_node(r, node, &n);
		if (err || n.state == VEX_LIVE)
			return err;
		change_state(&l, node, VEX_LIVE);
	} else if (!is_there(j)) { /* EEXIST may be by a link of the same file */
		err = node_of_dir(j->e, j->dirfd, &parent);
		if (err || !parent)
			return err;
		change_name(&l, VEX_NAME_DEL, node, parent, j->name);
	}
	return changes_commit(j->e, &l);
}

void vex_engine_link_end(struct vex_engine *e, const struct vex_obj *o, int newdirfd,
			 const char *newname, vex_err result)
{
	struct link_job j = {
		.e = e,
		.o = o,
		.dirfd = newdirfd,
		.name = newname,
		.result = result,
		.bare = true,
	};
	struct stat st;
	uint64_t node;
	vex_err err = 0;

	if (!node_known(e, o, &node) || node)
		err = engine_deep(e, link_end, &j);
	flight_end(e);
	if (!result && !fstat(o->fd, &st) && S_ISREG(st.st_mode))
		place_filled(e, newdirfd, newname, j.bare);
	if (err)
		vex_warn("link %s: %s", newname, strerror(-err));
}
