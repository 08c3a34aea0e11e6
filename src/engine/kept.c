/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attachments whose file is not there. An editor, `sed -i` or rsync writes a new file
 * beside the old one and renames it over it; a file may vanish behind the mount, or its
 * disk be away. In neither case did anybody remove the attachments, so they stay: the
 * node with its names and rows as they are, and a row in `kept` that says since when and
 * why. What is not there is in no search (place.c finds nothing), and comes back
 * whenever place.c does find it: the same handle, mark, or path, size and mtime.
 *
 * What must stay true: only a file that is looked for and not found, on a disk that is
 * there, is ever purged, and only keep_days after it was first missed. Who could not
 * have read the file is not told its name: of a replaced file its owner and mode are
 * recorded; with an ACL, or where nothing is recorded, only its owner or root count.
 *
 * Locks: none of its own; reattach works under the node lock of the file it gives to.
 */
#include <sys/xattr.h>
#include "kept_i.h"

#define DAY_NS (86400ll * 1000000000)
#define AT_OPEN 256u
#define SIBLINGS_MAX 64u

/* ---- what is kept ------------------------------------------------------------------ */

static vex_err one_is_enough(void *arg, const struct vex_attach *a)
{
	*(bool *)arg = true;
	return a->lsn ? 1 : 0;
}

bool kept_has(struct vex_engine *e, uint64_t node)
{
	AUTO_READER struct vex_reader *r = NULL;
	bool has = false;
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_attaches(r, node, one_is_enough, &has);
	return err >= 0 && has;
}

static bool has_acl(int fd)
{
	return getxattr(vex_procfd(fd).path, "system.posix_acl_access", NULL, 0) > 0;
}

void kept_who(const struct vex_removal *r, const struct stat *st, struct vex_kept *k)
{
	*k = (struct vex_kept){
		.why = VEX_KEPT_REPLACED,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mode = st->st_mode & (has_acl(r->fd) ? S_IFMT | 0700 : S_IFMT | 0777),
	};
}

void kept_replaced(struct vex_engine *e, const struct vex_removal *r,
		   const struct stat *st, struct changes *l)
{
	struct vex_change *c = changes_add(l, VEX_KEEP);

	if (!c)
		return;
	atomic_store(&e->kept_any, true);
	c->node = r->node;
	kept_who(r, st, &c->kept);
}

static void unstamp(struct changes *l, uint64_t node, struct vex_stamp was)
{
	struct vex_change *c = changes_add(l, VEX_STAMP);

	if (!c)
		return;
	c->node = node;
	c->was = was;
	c->stamp = (struct vex_stamp){ .size = was.size, .mtime_ns = -1 };
}

/* What would make the file at one of its names pass for the old one, come back, is taken
 * from the catalog. */
static void distinct_at(const struct vex_node *n, int dirfd, const char *name,
			struct changes *l)
{
	struct vex_node row = *n;
	struct vex_stamp now;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return;
	now = stamp_of(&st);
	if (n->size == now.size && mtime_kept(n->mtime_ns, &st)) {
		row.mtime_ns = -1;
		change_node(l, VEX_NODE_SET, &row);
	}
	now.open = false;
	unstamp(l, n->id, now);
}

void kept_distinct(struct vex_engine *e, struct vex_reader *r, const struct vex_node *n,
		   struct changes *l)
{
	AUTO_NAMES struct namelist names = { 0 };

	if (namelist_read(r, n->id, &names))
		return;
	for (size_t i = 0; i < names.n; i++) {
		AUTO_CLOSE int dir = -1;

		if (!dir_open(e, r, names.v[i].parent, &dir))
			distinct_at(n, dir, names.v[i].name, l);
	}
}

void kept_distinct_from(struct vex_engine *e, const struct vex_removal *v, int dirfd,
			struct changes *l)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_node n;
	struct stat st;

	if (v->node && !fstat(v->fd, &st) && !st.st_nlink &&
	    !vex_reader_get(e->store, &r) && !vex_read_node(r, v->node, &n))
		distinct_at(&n, dirfd, v->name, l);
}

void kept_forget(struct vex_engine *e, const struct vex_removal *r, struct changes *l)
{
	AUTO_READER struct vex_reader *rd = NULL;
	AUTO_IDS struct idlist ids = { 0 };
	vex_err err = vex_reader_get(e->store, &rd);

	if (!err)
		err = idlist_at(rd, r->parent, r->name, &ids);
	for (size_t i = 0; !err && i < ids.n; i++) {
		struct vex_change *c;
		struct vex_kept k;

		if (ids.v[i] == r->node || vex_read_kept(rd, ids.v[i], &k) ||
		    k.why != VEX_KEPT_REPLACED)
			continue;
		c = changes_add(l, VEX_NODE_DROP);
		if (c)
			c->node = ids.v[i];
	}
	if (err)
		vex_debug("%s: what it had replaced stays: %s", r->name, strerror(-err));
}

/* Who may read whatever the daemon can. */
static bool privileged(const struct vex_cred *c)
{
	return !c->uid || c->uid == geteuid();
}

static bool could_read(const struct vex_cred *c, const struct vex_kept *k)
{
	struct stat st = { .st_mode = k->mode, .st_uid = k->uid, .st_gid = k->gid };

	if (privileged(c))
		return true;
	return k->mode && !perm_bits(c, &st, NULL, 0, R_OK);
}

bool kept_may_tell(struct vex_engine *e, const struct vex_cred *c,
		   const struct vex_kept *k, int dirfd, const char *name)
{
	struct stat st;

	if (!could_read(c, k) || perm_search(e, c, dirfd))
		return false;
	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) ||
	       !perm_check(c, dirfd, name, &st, R_OK);
}

vex_err kept_read(struct vex_reader *r, uint64_t node, struct vex_kept *k)
{
	vex_err err = vex_read_kept(r, node, k);

	if (err != -ENOENT)
		return err;
	*k = (struct vex_kept){ .node = node, .why = VEX_KEPT_VANISHED };
	return 0;
}

/* ---- when it may go ---------------------------------------------------------------- */

static vex_err take_id(void *arg, uint64_t node)
{
	return idlist_add(arg, node);
}

/* Whether it is a file with attachments, and there. */
static bool is_there(struct vex_engine *e, struct vex_reader *r, uint64_t node)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_node n;

	return !vex_read_node(r, node, &n) && !n.is_dir && n.has_mark &&
	       !place_of(e, r, &n, &p);
}

/* On another filesystem than STORE's nothing tells the disk that was there from one that
 * is mounted in its place (device numbers are given anew with each mount), but a file
 * that carries its mark: so one that was attached in the same directory has to be there.
 */
static bool other_disk_there(struct vex_engine *e, struct vex_reader *r, uint64_t dir)
{
	AUTO_IDS struct idlist ids = { 0 };
	AUTO_CLOSE int fd = -1;
	struct stat st;

	if (dir_open(e, r, dir, &fd) || fstat(fd, &st) || st.st_dev == e->root_dev ||
	    vex_read_below(r, dir, SIBLINGS_MAX, take_id, &ids))
		return false;
	for (size_t i = 0; i < ids.n; i++)
		if (is_there(e, r, ids.v[i]))
			return true;
	return false;
}

/* Whether the directory of one name, or the nearest above it that exists, lies on the
 * filesystem where the file was: nodes on STORE's own have handles, others have none. */
static bool disk_there(struct vex_engine *e, struct vex_reader *r, uint64_t dir,
		       bool foreign)
{
	if (foreign)
		return other_disk_there(e, r, dir);
	for (unsigned i = 0; i < PATH_MAX; i++) {
		AUTO_NAMES struct namelist names = { 0 };
		AUTO_CLOSE int fd = -1;
		struct vex_node n;
		struct stat st;
		vex_err err = dir_open(e, r, dir, &fd);

		if (!err)
			return !fstat(fd, &st) && st.st_dev == e->root_dev;
		if (err != -ENOENT || vex_read_node(r, dir, &n) || !n.fh.len ||
		    namelist_read(r, dir, &names) || !names.n)
			return false;
		dir = names.v[0].parent;
	}
	return false;
}

static bool handles_recorded(struct vex_engine *e)
{
	struct vex_fh fh = { 0 };

	return !vex_fh_get(e->rootfd, "", &fh, NULL) && fh.len;
}

static bool may_purge(struct vex_engine *e, struct vex_reader *r,
		      const struct vex_node *n)
{
	AUTO_NAMES struct namelist names = { 0 };

	if (!handles_recorded(e) || namelist_read(r, n->id, &names))
		return false;
	for (size_t i = 0; i < names.n; i++)
		if (!disk_there(e, r, names.v[i].parent, !n->fh.len))
			return false;
	return true;
}

bool kept_expired(struct vex_engine *e, const struct vex_kept *k)
{
	int64_t days = (int64_t)vex_engine_knob(e, VEX_KNOB_KEEP_DAYS);

	return k->since_ns && (int64_t)vex_now_real() - k->since_ns >= days * DAY_NS;
}

vex_err kept_settle(struct vex_engine *e, struct vex_reader *r, const struct vex_kept *k,
		    enum kept_end *end)
{
	AUTO_CHANGES struct changes l = { 0 };
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_change *c = NULL;
	struct vex_node n;
	vex_err err = vex_read_node(r, k->node, &n);

	*end = KEPT_STAYS;
	if (!err)
		err = place_of(e, r, &n, &p);
	if (!err) {
		*end = KEPT_RETURNED;
		c = changes_add(&l, VEX_UNKEEP);
	} else if (err == -ENOENT && kept_expired(e, k) &&
		   (n.id != k->node || may_purge(e, r, &n))) {
		*end = KEPT_PURGED;
		c = changes_add(&l, VEX_NODE_DROP);
	}
	if (c)
		c->node = k->node;
	return err && err != -ENOENT ? err : changes_commit(e, &l);
}

/* ---- at open ----------------------------------------------------------------------- */

struct expiry {
	struct vex_engine *e;
	struct idlist ids;
};

static vex_err take_expired(void *arg, const struct vex_kept *k)
{
	struct expiry *x = arg;

	atomic_store(&x->e->kept_any, true);
	if (!kept_expired(x->e, k))
		return 0;
	return x->ids.n == AT_OPEN ? 1 : idlist_add(&x->ids, k->node);
}

void kept_expire(struct vex_engine *e, struct vex_reader *r)
{
	struct expiry x = { .e = e };
	vex_err err = vex_read_kept_after(r, 0, UINT32_MAX, take_expired, &x);

	for (size_t i = 0; err >= 0 && i < x.ids.n; i++) {
		struct vex_kept k;
		enum kept_end end;

		err = vex_read_kept(r, x.ids.v[i], &k);
		if (!err)
			err = kept_settle(e, r, &k, &end);
	}
	if (err < 0)
		vex_debug("what was kept stays for now: %s", strerror(-err));
	idlist_free(&x.ids);
}

/* ---- counts ------------------------------------------------------------------------ */

struct counting {
	struct vex_engine *e;
	uint32_t space;
	uint64_t attachments, rows;
};

static vex_err count_deep(void *arg)
{
	struct counting *c = arg;
	struct vex_reader *r;
	vex_err err = vex_reader_get(c->e->store, &r);

	if (err)
		return err;
	err = vex_read_kept_counts(r, c->space, &c->attachments, &c->rows);
	vex_reader_put(r);
	return err;
}

void vex_engine_counts(struct vex_engine *e, struct vex_space *sp,
		       struct vex_space_counts *out)
{
	struct counting c = { .e = e, .space = vex_space_id(sp) };

	vex_space_counts(sp, out);
	/* The two are of different moments: never below nothing. */
	if (engine_deep(e, count_deep, &c))
		return;
	out->attachments -= vex_min64(out->attachments, c.attachments);
	out->rows -= vex_min64(out->rows, c.rows);
}
