/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attributes of one file, as its record holds them: stat, name, parent, its user.*
 * xattrs (ours not: they are no attributes) and its ACL, which permission needs.
 *
 * A record vouches for itself by ctime, which every change of what it holds moves: while
 * the file still has it, the record is the truth, and no more need be read. Where the
 * clock is coarse a change just after the reading could share it, so a record of a file
 * changed within SETTLED_NS before vouches for nothing.
 */
#include <sys/xattr.h>
#include "attrs_i.h"

#define ACL_XATTR "system.posix_acl_access"
#define VALUE_MAX 1024u
#define SETTLED_NS 20000000ll

static int64_t ctime_ns(const struct stat *st)
{
	return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

/* Where it is said to be is nearly always where it is: hits are verified anyway. */
static vex_err find(struct vex_engine *e, struct vex_reader *r, struct vex_node *n,
		    struct place *p)
{
	AUTO_NAMES struct namelist names = { 0 };
	vex_err err = n->id == ROOT_NODE ? -ENOENT : namelist_read(r, n->id, &names);

	if (!err && names.n && !dir_open(e, r, names.v[0].parent, &p->dirfd)) {
		if (!fstatat(p->dirfd, names.v[0].name, &p->st, AT_SYMLINK_NOFOLLOW) &&
		    p->st.st_ino == n->ino && p->st.st_dev == e->root_dev) {
			p->name = strdup(names.v[0].name);
			p->parent = names.v[0].parent;
			return p->name ? 0 : -ENOMEM;
		}
		vex_cleanup_fd(&p->dirfd);
		p->dirfd = -1;
	}
	return place_of(e, r, n, p);
}

static bool wanted(const char *name)
{
	if (!strncmp(name, VEX_XATTR_PREFIX, strlen(VEX_XATTR_PREFIX)))
		return false;
	return !strncmp(name, "user.", 5) || !strcmp(name, ACL_XATTR);
}

static void add_xattr(struct vex_buf *out, const char *name, const char *value,
		      size_t len)
{
	uint16_t n[2] = { (uint16_t)strlen(name), (uint16_t)len };

	vex_buf_add(out, n, sizeof(n));
	vex_buf_add(out, name, n[0] + 1u);
	vex_buf_add(out, value, len);
}

/* What cannot be read counts as not there, as for a filter that asks the file. */
static void read_xattrs(const struct place *p, char *scratch, struct attr_rec *rec,
			struct vex_buf *out)
{
	char path[NAME_MAX + 48], *names = scratch, *value = scratch + VEX_VALUE_MAX;
	bool self = !*p->name;
	ssize_t n;

	snprintf(path, sizeof(path), "%s%s%s", vex_procfd(p->dirfd).path, self ? "" : "/",
		 p->name);
	n = self ? listxattr(path, names, VEX_VALUE_MAX)
		 : llistxattr(path, names, VEX_VALUE_MAX);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
		const char *name = names + at;
		ssize_t len;

		if (!wanted(name))
			continue;
		len = self ? getxattr(path, name, value, VEX_VALUE_MAX)
			   : lgetxattr(path, name, value, VEX_VALUE_MAX);
		if (len > (ssize_t)VALUE_MAX)
			rec->partly = true;
		else if (len >= 0)
			add_xattr(out, name, value, (size_t)len);
	}
}

static vex_err fill(const struct place *p, char *scratch, struct attr_rec *rec)
{
	AUTO_BUF struct vex_buf text = { 0 };
	int64_t now = vex_now_real();

	rec->there = true;
	rec->is_dir = S_ISDIR(p->st.st_mode);
	rec->parent = p->parent;
	rec->size = p->st.st_size;
	rec->mtime_ns = mtime_ns(&p->st);
	rec->uid = p->st.st_uid;
	rec->gid = p->st.st_gid;
	rec->mode = (uint16_t)p->st.st_mode;
	rec->ctime_ns = ctime_ns(&p->st);
	if (now - rec->ctime_ns < SETTLED_NS)
		rec->ctime_ns = NO_CTIME;
	vex_buf_add(&text, p->name, strlen(p->name) + 1);
	read_xattrs(p, scratch, rec, &text);
	if (text.err)
		return text.err;
	rec->text = malloc(text.len);
	if (!rec->text)
		return -ENOMEM;
	memcpy(rec->text, text.data, text.len);
	rec->text_len = (uint32_t)text.len;
	return 0;
}

vex_err attr_read(struct vex_engine *e, struct vex_reader *r, uint64_t node,
		  char *scratch, struct attr_rec *out)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_node n;
	vex_err err = vex_read_node(r, node, &n);

	*out = (struct attr_rec){ .loaded = true };
	if (!err && n.state != VEX_LIVE)
		err = -ENOENT;
	if (!err)
		err = find(e, r, &n, &p);
	if (!err)
		err = fill(&p, scratch, out);
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE ? err : 0;
}

const char *attr_xattr(const struct attr_rec *r, const char *name, size_t *len)
{
	size_t at = strlen(r->text) + 1, want = strlen(name);
	uint16_t n[2];

	while (at + sizeof(n) < r->text_len) {
		const char *have = r->text + at + sizeof(n);

		memcpy(n, r->text + at, sizeof(n));
		if (n[0] == want && !memcmp(have, name, want)) {
			*len = n[1];
			return have + want + 1;
		}
		at += sizeof(n) + n[0] + 1u + n[1];
	}
	return NULL;
}
