/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Query directories: folders whose content is the answer of a search.
 *
 *	.vexfs/near/SPACE/K/FILE/	the K nearest of a file; FILE is its path from the
 *					root of the mount with / as %2F and % as %25
 *	.vexfs/search/NAME/		a saved search (mkdir, then setfattr -n
 *					user.vexfs._query -v JSON; rmdir ends it)
 *
 * They hold symbolic links, RANK-NAME, relative, so they work wherever the mount is.
 * The search is run as the caller when the directory is opened. Nothing above a query
 * directory but `search` lists anything, so who walks a tree computes nothing.
 *
 * Inodes are made as they are looked up and live in the inode table like others: the
 * key, a path below .vexfs, is the identity (number and handle are hashes of it) and is
 * kept in inode.name; of a link, its target follows behind the NUL. The kernel believes
 * in none of their names for longer than one call: the next caller may see another
 * answer, or none.
 */
#include "fs_i.h"

#include <math.h>
#include <sys/xattr.h>

#define QUERY_ATTR "user.vexfs._query"
#define K_DIGITS 4u

enum virt { V_NEAR, V_SPACE, V_K, V_FILE, V_SEARCH, V_SAVED, V_LINK };

static enum virt level(const struct inode *i)
{
	return (enum virt)i->fh_type;
}

static bool shows_links(const struct inode *i)
{
	return level(i) == V_FILE || level(i) == V_SAVED;
}

/* What follows the last slash. */
static const char *last(const char *key)
{
	return strrchr(key, '/') + 1;
}

bool virt_is_root(const char *name)
{
	return name && (!strcmp(name, "near") || !strcmp(name, "search"));
}

/* ---- inodes ------------------------------------------------------------------------ */

/* `key` (heap, taken; len bytes with its NULs) becomes an inode and its entry. */
static vex_err entry(struct vex_fs *fs, enum virt what, char *key, size_t len,
		     struct fuse_entry_param *e)
{
	mode_t type = what == V_LINK ? S_IFLNK : S_IFDIR;
	struct stat st = { .st_mode = type, .st_dev = fs->root_dev };
	struct vex_fh fh = { .type = (int)what, .len = sizeof(uint64_t) };
	uint64_t sum = vex_sum64(1, key, len);
	struct inode *i;

	/* The upper half is far from what filesystems count up to. */
	st.st_ino = vex_sum64(0, key, len) | 1ull << 63;
	memcpy(fh.bytes, &sum, sizeof(sum));
	vex_err err = inode_get_virt(fs, &st, &fh, key, &i);
	if (err)
		return err;
	memset(e, 0, sizeof(*e));
	e->ino = i->id;
	e->generation = i->gen;
	virt_stat(fs, i, &e->attr);
	return 0;
}

/* DIR/NAME, with `more` bytes of room behind its end; printing takes too much stack. */
static char *key_below(const struct inode *dir, const char *name, size_t more)
{
	char *key = malloc(strlen(dir->name) + strlen(name) + 2 + more);

	if (key)
		strcpy(stpcpy(stpcpy(key, dir->name), "/"), name);
	return key;
}

static vex_err entry_below(struct vex_fs *fs, const struct inode *dir, enum virt what,
			   const char *name, struct fuse_entry_param *e)
{
	char *key = key_below(dir, name, 0);

	if (!key)
		return -ENOMEM;
	return entry(fs, what, key, strlen(key) + 1, e);
}

vex_err virt_root(struct vex_fs *fs, const char *name, struct fuse_entry_param *e)
{
	char *key = strdup(name);

	if (!key)
		return -ENOMEM;
	return entry(fs, *name == 'n' ? V_NEAR : V_SEARCH, key, strlen(key) + 1, e);
}

static const char *target_of(const struct inode *link)
{
	return link->name + strlen(link->name) + 1;
}

void virt_stat(struct vex_fs *fs, const struct inode *i, struct stat *st)
{
	struct stat saved;

	*st = (struct stat){ .st_ino = i->ino, .st_dev = fs->root_dev, .st_nlink = 2 };
	st->st_mode = S_IFDIR | 0555;
	st->st_uid = fs->uid;
	st->st_gid = fs->gid;
	st->st_blksize = 4096;
	st->st_atim.tv_sec = st->st_mtim.tv_sec = st->st_ctim.tv_sec = fs->started;
	if (level(i) == V_LINK) {
		st->st_mode = S_IFLNK | 0777;
		st->st_nlink = 1;
		st->st_size = (off_t)strlen(target_of(i));
	} else if (level(i) == V_SEARCH) {
		st->st_mode = S_IFDIR | S_ISVTX | 0777;
	} else if (level(i) == V_SAVED &&
		   !vex_saved_stat(fs->control, last(i->name), &saved)) {
		st->st_mode = S_IFDIR | 0755;
		st->st_uid = saved.st_uid;
		st->st_gid = saved.st_gid;
		st->st_mtim = st->st_ctim = saved.st_mtim;
	}
}

/* ---- running ----------------------------------------------------------------------- */

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* %XX back to bytes, in place. */
static bool decode(char *s)
{
	char *out = s;

	for (; *s; s++, out++) {
		int high, low;

		*out = *s;
		if (*s != '%')
			continue;
		high = hex(s[1]);
		low = high < 0 ? -1 : hex(s[2]);
		if (low < 0 || !(high | low))
			return false;
		*out = (char)(high << 4 | low);
		s += 2;
	}
	*out = '\0';
	return true;
}

/* near/SPACE/K/FILE; the parts were checked when they were looked up. */
static vex_err run_near(struct vex_fs *fs, const char *key, const struct vex_cred *cred,
			struct vex_result **out)
{
	AUTO_FREE char *copy = strdup(key);
	char *rest = copy, *space, *k, *file;
	struct vex_query q = { .cred = cred, .per_file = 1, .max_distance = HUGE_VALF };

	if (!copy)
		return -ENOMEM;
	(void)strsep(&rest, "/");
	space = strsep(&rest, "/");
	k = strsep(&rest, "/");
	file = rest;
	if (!file || !decode(file))
		return -ENOENT;
	q.space = space;
	q.k = (uint32_t)strtoul(k, NULL, 10);
	q.like = file;
	return vex_engine_search(fs->engine, &q, out, NULL);
}

/* Runs the search of a query directory as the caller. */
static vex_err run(struct vex_fs *fs, const struct inode *dir,
		   const struct vex_cred *cred, struct links **out)
{
	struct vex_result *r = NULL;
	bool near = level(dir) == V_FILE;
	vex_err err = near ? run_near(fs, dir->name, cred, &r)
			   : vex_saved_run(fs->control, cred, last(dir->name), &r);

	if (!err)
		err = links_new(r, near ? 5 : 3, out);
	vex_result_free(r);
	if (!err)
		linkcache_put(fs->links, dir->name, cred, *out);
	return err;
}

/* What the caller saw last, or a search. */
static vex_err links_of(struct vex_fs *fs, const struct inode *dir,
			const struct vex_cred *cred, struct links **out)
{
	*out = linkcache_get(fs->links, dir->name, cred);
	return *out ? 0 : run(fs, dir, cred, out);
}

/* ---- LOOKUP ------------------------------------------------------------------------ */

static bool k_ok(const char *s)
{
	return *s != '0' && strlen(s) <= K_DIGITS &&
	       strspn(s, "0123456789") == strlen(s) && *s &&
	       strtoul(s, NULL, 10) <= VEX_SAVED_HITS;
}

static bool space_there(struct vex_fs *fs, const char *name)
{
	AUTO_SPACE struct vex_space *sp = NULL;

	return !vex_space_find(vex_engine_store(fs->engine), name, &sp);
}

/* Of names no link has (what shells and file managers ask for) nothing is computed. */
static bool may_be_link(const char *name)
{
	size_t n = strspn(name, "0123456789");

	return n >= 3 && n <= K_DIGITS && name[n] == '-';
}

static vex_err lookup_link(struct vex_fs *fs, const struct inode *dir, const char *name,
			   const struct vex_cred *cred, struct fuse_entry_param *e)
{
	struct links *l;
	const char *target;
	char *key = NULL;
	size_t n = 0;

	if (!may_be_link(name))
		return -ENOENT;
	vex_err err = links_of(fs, dir, cred, &l);
	if (err)
		return err;
	target = links_target(l, name);
	if (target) {
		key = key_below(dir, name, strlen(target) + 1);
		n = key ? strlen(key) + 1 : 0;
		if (key)
			n += (size_t)(stpcpy(key + n, target) - (key + n)) + 1;
	}
	links_put(l);
	if (!target)
		return -ENOENT;
	return key ? entry(fs, V_LINK, key, n, e) : -ENOMEM;
}

/* A file that cannot be asked about is not there. */
static vex_err lookup_file(struct vex_fs *fs, const struct inode *dir, const char *name,
			   const struct vex_cred *cred, struct fuse_entry_param *e)
{
	struct links *l = NULL;
	vex_err err = entry_below(fs, dir, V_FILE, name, e);

	if (err)
		return err;
	err = links_of(fs, nodeid_inode(fs, e->ino), cred, &l);
	links_put(l);
	if (!err)
		return 0;
	inode_unref(fs, nodeid_inode(fs, e->ino), 1);
	if (err == -ENODATA || err == -ENODEV || err == -EINVAL || err == -ENOTDIR)
		return -ENOENT;
	return err;
}

static vex_err lookup(struct vex_fs *fs, const struct inode *dir, const char *name,
		      const struct vex_cred *cred, struct fuse_entry_param *e)
{
	struct stat st;

	switch (level(dir)) {
	case V_NEAR:
		return space_there(fs, name) ? entry_below(fs, dir, V_SPACE, name, e)
					     : -ENOENT;
	case V_SPACE:
		return k_ok(name) ? entry_below(fs, dir, V_K, name, e) : -ENOENT;
	case V_K:
		return lookup_file(fs, dir, name, cred, e);
	case V_SEARCH:
		if (vex_saved_stat(fs->control, name, &st))
			return -ENOENT;
		return entry_below(fs, dir, V_SAVED, name, e);
	case V_FILE:
	case V_SAVED:
		return lookup_link(fs, dir, name, cred, e);
	case V_LINK:
		break;
	}
	return -ENOTDIR;
}

void virt_lookup(fuse_req_t req, struct inode *dir, const char *name)
{
	struct fuse_entry_param e;
	struct caller who;

	caller_get(req, &who);
	vex_err err = lookup(fs_of(req), dir, name, &who.cred, &e);
	reply_entry(req, err, &e);
}

void virt_readlink(fuse_req_t req, struct inode *i)
{
	if (level(i) == V_LINK)
		fuse_reply_readlink(req, target_of(i));
	else
		reply_err(req, -EINVAL);
}

/* ---- OPENDIR, READDIR -------------------------------------------------------------- */

struct names {
	struct links *l;
	size_t cap;
};

static vex_err add_saved(void *arg, const char *name)
{
	struct names *a = arg;

	if (a->l->n == a->cap) {
		size_t cap = a->cap ? a->cap * 2 : 16;
		struct link_at *v = reallocarray(a->l->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		a->l->v = v;
		a->cap = cap;
	}
	a->l->v[a->l->n] = (struct link_at){ .name = strdup(name) };
	return a->l->v[a->l->n++].name ? 0 : -ENOMEM;
}

/* `search` lists what is saved, the rest nothing. */
static vex_err names_of(struct vex_fs *fs, const struct inode *i, struct links **out)
{
	struct names a = { 0 };
	vex_err err = links_new(NULL, 0, &a.l);

	if (!err && level(i) == V_SEARCH)
		err = vex_saved_list(fs->control, add_saved, &a);
	if (err)
		links_put(a.l);
	else
		*out = a.l;
	return err;
}

void virt_opendir(fuse_req_t req, struct inode *i, struct fuse_file_info *fi)
{
	struct vex_fs *fs = fs_of(req);
	struct handle *h = NULL;
	struct links *l = NULL;
	struct caller who;

	caller_get(req, &who);
	vex_err err = shows_links(i) ? run(fs, i, &who.cred, &l) : names_of(fs, i, &l);
	if (!err)
		err = handle_new(fs, i, -1, &h);
	if (err) {
		links_put(l);
		reply_err(req, err);
		return;
	}
	h->links = l;
	fi->fh = (uintptr_t)h;
	if (fuse_reply_open(req, fi))
		handle_close(fs, h);
}

/* ".", "..", the names; offsets count them. Entries carry no inode: a lookup of each,
 * wanted or not, would cost more than it saves. */
void virt_readdir(fuse_req_t req, struct handle *h, size_t size, off_t off, bool plus)
{
	struct links *l = h->links;
	mode_t type = shows_links(h->inode) ? S_IFLNK : S_IFDIR;
	AUTO_FREE char *out = malloc(size);
	size_t used = 0;

	if (!out) {
		reply_err(req, -ENOMEM);
		return;
	}
	for (size_t k = (size_t)off; k < l->n + 2; k++) {
		const char *name = k == 0 ? "." : k == 1 ? ".." : l->v[k - 2].name;
		struct fuse_entry_param e = { 0 };
		size_t need, room = size - used;

		e.attr.st_mode = k < 2 ? S_IFDIR : type;
		e.attr.st_ino = k < 2 ? h->inode->ino : vex_sum64(2, name, strlen(name));
		need = plus ? fuse_add_direntry_plus(req, out + used, room, name, &e,
						     (off_t)k + 1)
			    : fuse_add_direntry(req, out + used, room, name, &e.attr,
						(off_t)k + 1);
		if (need > room)
			break;
		used += need;
	}
	fuse_reply_buf(req, out, used);
}

/* ---- saved searches ---------------------------------------------------------------- */

void virt_mkdir(fuse_req_t req, struct inode *dir, const char *name)
{
	struct vex_fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct caller who;
	vex_err err = -EPERM;

	caller_get(req, &who);
	if (level(dir) == V_SEARCH)
		err = vex_saved_make(fs->control, &who.cred, name);
	if (!err)
		err = lookup(fs, dir, name, &who.cred, &e);
	reply_entry(req, err, &e);
}

/* That the caller may was checked by the kernel: `search` is sticky. */
void virt_rmdir(fuse_req_t req, struct inode *dir, const char *name)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_FREE char *key = NULL;
	vex_err err = -EPERM;

	if (level(dir) == V_SEARCH)
		err = vex_saved_remove(fs->control, name);
	key = err ? NULL : key_below(dir, name, 0);
	if (key)
		linkcache_drop(fs->links, key);
	reply_err(req, err);
}

static bool is_query_attr(const struct inode *i, const char *name)
{
	return level(i) == V_SAVED && !strcmp(name, QUERY_ATTR);
}

vex_err virt_xattr_get(struct vex_fs *fs, struct inode *i, const char *name,
		       struct vex_buf *out)
{
	vex_err err;

	if (!is_query_attr(i, name))
		return -ENODATA;
	err = vex_saved_get(fs->control, last(i->name), out);
	return err ? err : out->len ? 0 : -ENODATA;
}

vex_err virt_xattr_set(fuse_req_t req, struct inode *i, const char *name,
		       const char *value, size_t size, int flags)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_BUF struct vex_buf old = { 0 };
	struct caller who;

	if (!is_query_attr(i, name))
		return -EPERM;
	caller_get(req, &who);
	vex_err err = vex_saved_get(fs->control, last(i->name), &old);
	if (!err && flags & XATTR_CREATE && old.len)
		err = -EEXIST;
	if (!err && flags & XATTR_REPLACE && !old.len)
		err = -ENODATA;
	if (!err && !size)
		err = -EINVAL;
	if (!err)
		err = vex_saved_set(fs->control, &who.cred, last(i->name), value, size);
	linkcache_drop(fs->links, i->name);
	return err;
}

vex_err virt_xattr_remove(fuse_req_t req, struct inode *i, const char *name)
{
	struct vex_fs *fs = fs_of(req);
	AUTO_BUF struct vex_buf old = { 0 };
	struct caller who;

	caller_get(req, &who);
	vex_err err = virt_xattr_get(fs, i, name, &old);
	if (!err)
		err = vex_saved_set(fs->control, &who.cred, last(i->name), "", 0);
	linkcache_drop(fs->links, i->name);
	return err;
}

vex_err virt_xattr_list(struct vex_fs *fs, struct inode *i, struct vex_buf *out)
{
	AUTO_BUF struct vex_buf json = { 0 };

	if (level(i) == V_SAVED && !virt_xattr_get(fs, i, QUERY_ATTR, &json))
		vex_buf_add(out, QUERY_ATTR, sizeof(QUERY_ATTR));
	return out->err;
}
