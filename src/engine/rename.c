/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that move. Before renameat2 the moved node gets its new name as a candidate,
 * beside the old one; after it, the one that is not true goes. A name counts only once
 * the backing filesystem confirms it, so between the two, and after a crash, searches
 * find the file wherever it is. Of a directory it is one row, whatever lies below.
 *
 * A file that is replaced is a removal (life.c), unless what takes its place has no
 * attachments (an editor saved it): then its own are kept (kept.c). Where it has
 * attachments, those of the file that takes its place are made durable first: the backing
 * filesystem makes content durable before such a rename, and a power loss must not leave
 * the new content with neither the old vectors nor the new. Syncing the catalog suffices:
 * the mark lies in the inode, written before the rename, so in a journal before it. Where
 * nothing with attachments is replaced, the rename promises no more than the put did.
 *
 * Where the catalog cannot take any of this, the rename goes on without (late.c).
 *
 * Renaming a file onto another name of itself does nothing (POSIX), and both names
 * stay. *.vec names: to one, the content is taken in as if just written; from one,
 * what the content had given stays, stale.
 */
#include <linux/fs.h>
#include "attach_i.h"
#include "life_i.h"

struct rename_job {
	struct vex_engine *e;
	struct vex_rename *r;
	struct stat old, new;
	bool has_new;  /* there is something at the new name */
	bool src, dst; /* concerned */
	vex_err result;
	bool victim_open;
};

static bool replaces(const struct rename_job *j)
{
	return j->has_new && !(j->r->flags & (RENAME_EXCHANGE | RENAME_NOREPLACE));
}

static bool exchanges(const struct rename_job *j)
{
	return j->r->flags & RENAME_EXCHANGE;
}

/* ---- before ---------------------------------------------------------------------- */

struct newest {
	uint64_t lsn;
};

static vex_err take_newest(void *arg, const struct vex_attach *a)
{
	struct newest *n = arg;

	if (a->lsn > n->lsn)
		n->lsn = a->lsn;
	return 0;
}

static vex_err sync_source(struct vex_engine *e, uint64_t src)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_store_status st;
	struct newest n = { 0 };
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_attaches(r, src, take_newest, &n);
	if (err)
		return err;
	vex_store_status(e->store, &st);
	return n.lsn > st.durable_lsn ? vex_store_sync(e->store, false) : 0;
}

static vex_err node_at(struct vex_engine *e, int dirfd, const char *name, uint64_t *node)
{
	AUTO_CLOSE int fd = -1;

	return life_node_at(e, dirfd, name, &fd, node);
}

/* A candidate name for node below dirfd; *dir: the directory's node. */
static vex_err add_candidate(struct vex_engine *e, uint64_t node, int dirfd,
			     const char *name, uint64_t *dir, struct changes *l)
{
	vex_err err = node_ensure_dir(e, dirfd, dir);

	if (err)
		return err;
	change_name(l, VEX_NAME_ADD, node, *dir, name);
	return l->err;
}

/* What the catalog cannot take now, end tries once more. */
static vex_err go_on(struct rename_job *j, vex_err err)
{
	if (!err || !late_may(j->e, err))
		return err;
	j->r->late = true;
	return 0;
}

static vex_err prepare(struct rename_job *j, struct changes *l)
{
	struct vex_engine *e = j->e;
	struct vex_rename *r = j->r;
	vex_err err = 0;

	if (j->src)
		err = go_on(j, node_at(e, r->olddirfd, r->oldname, &r->src));
	if (!err && j->dst && exchanges(j))
		err = go_on(j, node_at(e, r->newdirfd, r->newname, &r->dst));
	if (!err && r->src)
		err = go_on(
		    j, add_candidate(e, r->src, r->newdirfd, r->newname, &r->newdir, l));
	if (!err && r->dst)
		err = go_on(
		    j, add_candidate(e, r->dst, r->olddirfd, r->oldname, &r->olddir, l));
	if (!err && !r->olddir)
		err = go_on(j, node_of_dir(e, r->olddirfd, &r->olddir));
	if (!err && !r->newdir)
		err = go_on(j, node_of_dir(e, r->newdirfd, &r->newdir));
	r->bare = !r->src || !kept_has(e, r->src);
	r->victim.keep = r->bare;
	if (!err && j->dst && replaces(j))
		err =
		    go_on(j, removal_prepare(e, r->newdirfd, r->newname, &r->victim, l));
	if (!err && r->src && r->victim.node)
		err = go_on(j, sync_source(e, r->src));
	return err;
}

static vex_err rename_begin(void *arg)
{
	struct rename_job *j = arg;
	AUTO_CHANGES struct changes l = { 0 };
	vex_err err = prepare(j, &l);

	if (!err && j->r->victim.node)
		j->r->victim.path = life_path(j->e, j->r->newdirfd, j->r->newname);
	if (!err)
		err = go_on(j, changes_commit(j->e, &l));
	j->r->victim.late = j->r->late;
	return err;
}

/* Which of the two objects may have nodes: false where neither does. */
static bool concerns(struct rename_job *j)
{
	struct vex_rename *r = j->r;

	j->src = life_concerns(j->e, r->olddirfd, r->oldname, &j->old);
	j->dst = j->has_new && (replaces(j) || exchanges(j)) &&
		 life_concerns(j->e, r->newdirfd, r->newname, &j->new);
	return j->src || j->dst;
}

static void clear(struct vex_engine *e, struct vex_rename *r)
{
	if (r->flying)
		flight_end(e);
	r->flying = false;
	removal_free(&r->victim);
	free(r->path);
	r->path = NULL;
	r->src = r->dst = 0;
	r->late = false;
}

vex_err vex_engine_rename_begin(struct vex_engine *e, int olddirfd, const char *oldname,
				int newdirfd, const char *newname, unsigned flags,
				struct vex_rename *r)
{
	struct rename_job j = { .e = e, .r = r };
	vex_err err;

	*r = (struct vex_rename){ .victim.fd = -1,
				  .victim.obj_fd = -1,
				  .moment = overlap_moment(e),
				  .bare = true,
				  .flags = flags,
				  .olddirfd = olddirfd,
				  .newdirfd = newdirfd,
				  .oldname = oldname,
				  .newname = newname };
	/* What cannot be, the system call itself will say. */
	if (fstatat(olddirfd, oldname, &j.old, AT_SYMLINK_NOFOLLOW))
		return 0;
	j.has_new = !fstatat(newdirfd, newname, &j.new, AT_SYMLINK_NOFOLLOW);
	if (j.has_new && same_inode(&j.old, &j.new))
		return 0;
	r->dir = S_ISDIR(j.old.st_mode) || (j.has_new && S_ISDIR(j.new.st_mode));
	r->vec = name_is_vec(oldname) != name_is_vec(newname);
	if (!concerns(&j))
		return 0;
	flight_begin(e);
	r->flying = true;
	err = go_on(&j, engine_deep(e, rename_begin, &j));
	if (err)
		clear(e, r);
	return err == -ENOENT ? 0 : err;
}

/* ---- after ------------------------------------------------------------------------ */

static void drop_name(struct changes *l, uint64_t node, uint64_t dir, const char *name)
{
	if (node && dir)
		change_name(l, VEX_NAME_DEL, node, dir, name);
}

/* A name that could not be recorded before. Without it the old one stays, too. */
static void add_now(struct rename_job *j, uint64_t *node, int dirfd, const char *name,
		    uint64_t *dir, struct changes *l)
{
	if (*node && add_candidate(j->e, *node, dirfd, name, dir, l))
		*node = 0;
}

/* [deep] */
static void settle_late(struct rename_job *j, struct changes *l)
{
	struct vex_rename *r = j->r;

	if (j->result || !r->late)
		return;
	add_now(j, &r->src, r->newdirfd, r->newname, &r->newdir, l);
	add_now(j, &r->dst, r->olddirfd, r->oldname, &r->olddir, l);
}

static void settle_names(struct rename_job *j, struct changes *l)
{
	struct vex_rename *r = j->r;

	if (j->result) {
		drop_name(l, r->src, r->newdir, r->newname);
		drop_name(l, r->dst, r->olddir, r->oldname);
	} else {
		drop_name(l, r->src, r->olddir, r->oldname);
		drop_name(l, r->dst, r->newdir, r->newname);
	}
}

struct unstamp {
	struct vex_engine *e;
	uint64_t node;
	struct spaceset *spaces;
	struct changes *l;
};

static vex_err unstamp_one(void *arg, const struct vex_attach *a)
{
	struct unstamp *u = arg;
	struct vex_change *c;
	struct vex_space *sp;
	vex_err err;

	if (!(a->form & VEX_FORM_CONTENT))
		return 0;
	err = spaceset_get(u->e, u->spaces, a->space, &sp);
	if (err)
		return err == -ENODEV ? 0 : err;
	c = changes_attach(u->l, VEX_STAMP_ONE, u->node, sp, a->key, a->key_len);
	if (!c)
		return u->l->err;
	c->stamp = (struct vex_stamp){ .size = a->stamp.size, .mtime_ns = -1 };
	return 0;
}

/* No longer *.vec: what its content gave is for other content than it has now. */
static vex_err content_unstamp(struct vex_engine *e, const struct vex_obj *o)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_SPACESET struct spaceset spaces = { 0 };
	AUTO_CHANGES struct changes l = { 0 };
	AUTO_NODE_LOCK pthread_mutex_t *lock = NULL;
	struct unstamp u = { .e = e, .spaces = &spaces, .l = &l };
	struct vex_fh fh;
	struct stat st;
	vex_err err = node_identify(e, o, &u.node);

	if (err || !u.node)
		return err;
	err = obj_complete(o, &fh, &st);
	if (err)
		return err;
	lock = node_lock(e, &fh, st.st_ino);
	err = vex_reader_get(e->store, &r);
	if (!err)
		err = vex_read_attaches(r, u.node, unstamp_one, &u);
	return err ? err : changes_commit(e, &l);
}

/* The object now at (dirfd, name), which was *.vec or was not. */
static vex_err vec_moved(struct vex_engine *e, int dirfd, const char *name)
{
	AUTO_CLOSE int fd = vex_openat(dirfd, name, O_PATH | O_NOFOLLOW, 0);
	struct vex_obj o = { .fd = fd, .dirfd = dirfd, .name = name };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	return name_is_vec(name) ? content_absorb(e, &o) : content_unstamp(e, &o);
}

static void note(vex_err err, const char *name)
{
	if (err)
		vex_info("%s: vectors not taken in: %s", name, strerror(-err));
}

/* Names alone may be late: until then both are candidates. */
static void names_later(struct rename_job *j)
{
	AUTO_CHANGES struct changes l = { 0 };

	settle_names(j, &l);
	if (l.n && !l.err)
		vex_store_commit_later(j->e->store, l.c, l.n);
}

/* The names are a list of their own: what is refused of the file that was replaced (its
 * other name went at the same time, and the node with it) must not undo them. */
static vex_err rename_end(void *arg)
{
	struct rename_job *j = arg;
	struct vex_rename *r = j->r;
	AUTO_CHANGES struct changes l = { 0 };
	vex_err err;

	if (!r->late) {
		names_later(j);
	} else {
		settle_late(j, &l);
		settle_names(j, &l);
	}
	removal_settle(j->e, &r->victim, j->result, j->victim_open, &l);
	if (!j->result && r->victim.keep)
		kept_distinct_from(j->e, &r->victim, r->newdirfd, &l);
	err = changes_commit(j->e, &l);
	if (!err)
		(void)!late_settle(j->e);
	if (j->result || !r->vec)
		return err;
	note(vec_moved(j->e, r->newdirfd, r->newname), r->newname);
	if (exchanges(j))
		note(vec_moved(j->e, r->olddirfd, r->oldname), r->oldname);
	return err;
}

/* One place is another file's now, one is nobody's. */
static void places_changed(struct vex_engine *e, const struct vex_rename *r)
{
	if (r->src && r->olddir && !r->bare)
		vacants_left(e, r->src, r->olddir, r->oldname);
	place_filled(e, r->newdirfd, r->newname, r->bare);
}

/* Nodes were made meanwhile, perhaps of what had none before. */
static void overlapped(struct vex_engine *e, const struct vex_rename *r, bool victim_open)
{
	if (!r->src)
		overlap_moved(e, r->newdirfd, r->newname);
	if (r->flags & RENAME_EXCHANGE && !r->dst)
		overlap_moved(e, r->olddirfd, r->oldname);
	if (!(r->flags & RENAME_EXCHANGE) && !r->victim.node)
		overlap_removed(e, r->victim.obj_fd, victim_open);
}

void vex_engine_rename_end(struct vex_engine *e, struct vex_rename *r, vex_err result,
			   bool victim_open)
{
	struct rename_job j = {
		.e = e, .r = r, .result = result, .victim_open = victim_open
	};
	struct stat st;
	vex_err err = 0;

	if (!result && r->dir)
		atomic_fetch_add(&e->moves, 1);
	if (!result && overlap_since(e, r->moment))
		overlapped(e, r, victim_open);
	if (!result && r->victim.node && !fstat(r->victim.fd, &st) && S_ISDIR(st.st_mode))
		life_forget_dir(e, r->victim.fd);
	if (r->victim.node || r->late || (r->vec && !result))
		err = engine_deep(e, rename_end, &j);
	else if (r->src || r->dst)
		names_later(&j);
	if (!result && r->src)
		note_rename(e, r->src, r);
	if (!result && !r->dir && !(r->flags & RENAME_EXCHANGE))
		places_changed(e, r);
	if (err && !result && r->victim.node && !r->victim.keep)
		late_add(e, r->victim.node);
	if (err && !late_may(e, err))
		vex_warn("rename to %s: settled later: %s", r->newname, strerror(-err));
	clear(e, r);
}
