/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the half of engine that knows who a file is and where it is: marks,
 * ways up to the root, directory nodes, the directory cache, places.
 */
#ifndef VEXFS_NAMES_I_H
#define VEXFS_NAMES_I_H

#include <fcntl.h>
#include <limits.h>
#include "engine_i.h"

/* ---- mark.c: the id that travels with an inode --------------------------------- */

struct mark {
	uint64_t id;
	uint8_t random[VEX_MARK_LEN];
};
/* -ENODATA: none, not of our form, or not for us to read. */
vex_err mark_read(int fd, struct mark *m) VEX_CHECKED;
vex_err mark_read_at(int dirfd, const char *name, struct mark *m) VEX_CHECKED;
vex_err mark_write(int fd, const struct mark *m) VEX_CHECKED;
void mark_from(const struct vex_node *n, struct mark *m);
bool mark_is(const struct mark *m, const struct vex_node *n);

/* ---- climb.c: from a directory up to the root ------------------------------------ */

static inline bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}
static inline bool is_root(const struct vex_engine *e, const struct stat *st)
{
	return st->st_ino == e->root_ino && st->st_dev == e->root_dev;
}
int64_t mtime_ns(const struct stat *st);
/* Whether the file may be the one that had `was`, out of an archive: many, GNU tar's own
 * among them, know whole seconds. Staleness is not judged so. */
bool mtime_kept(int64_t was, const struct stat *st);
/* openat2 with RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS and `resolve`. */
vex_err open_beneath(int dirfd, const char *path, uint64_t flags, uint64_t resolve,
		     int *out) VEX_CHECKED;
/* Path of a descriptor as the kernel tells it, heap; NULL where it cannot. */
char *fd_path(int fd);
/* The directory above, O_PATH, with its stat. -ENOENT at the top of the system. */
vex_err climb_up(int fd, const struct stat *st, int *up, struct stat *up_st) VEX_CHECKED;
/* The name of the directory `fd` (stat st) within `up`: heap. */
vex_err climb_name(int up, int fd, const struct stat *st, char **name) VEX_CHECKED;
/* Whether the inode `fd` lies in the store; by its path, else by climbing. */
bool climb_below(struct vex_engine *e, int fd);
/* Opens the directory and finds the name of an object by its descriptor's path,
 * verified. -ENOENT where the path does not say. */
vex_err climb_where(struct vex_engine *e, int fd, const struct stat *st, int *dirfd,
		    char **name) VEX_CHECKED;

/* ---- nodeset.c: handles of directory nodes ------------------------------------------
 */

vex_err nodeset_new(struct nodeset **out) VEX_CHECKED;
void nodeset_free(struct nodeset *s);
/* 0: not there. */
uint64_t nodeset_get(struct nodeset *s, const struct vex_fh *fh);
void nodeset_add(struct nodeset *s, const struct vex_fh *fh, uint64_t node);
void nodeset_del(struct nodeset *s, const struct vex_fh *fh);
/* Complete: what is not in it is no directory node. */
void nodeset_set_complete(struct nodeset *s);
bool nodeset_complete(struct nodeset *s);

/* ---- namelist.c: the recorded names of a node -------------------------------------- */

struct name_at {
	uint64_t parent;
	char *name;
};
struct namelist {
	struct name_at *v;
	size_t n, cap;
};
void namelist_free(struct namelist *l);
#define AUTO_NAMES __attribute__((cleanup(namelist_free)))
vex_err namelist_read(struct vex_reader *r, uint64_t node,
		      struct namelist *l) VEX_CHECKED;
bool namelist_has(const struct namelist *l, uint64_t parent, const char *name);

struct idlist {
	uint64_t *v;
	size_t n, cap;
};
void idlist_free(struct idlist *l);
#define AUTO_IDS __attribute__((cleanup(idlist_free)))
vex_err idlist_add(struct idlist *l, uint64_t id) VEX_CHECKED;
/* *a, its text as it is, at the end of a list of attachments (*v: heap). -ENOMEM. */
vex_err attach_add(struct vex_attach **v, size_t *n, size_t *cap,
		   const struct vex_attach *a) VEX_CHECKED;
/* The nodes recorded at (parent, name). */
vex_err idlist_at(struct vex_reader *r, uint64_t parent, const char *name,
		  struct idlist *l) VEX_CHECKED;

/* ---- node.c
 * ---------------------------------------------------------------------------- */

/* An object as it is now. */
struct who {
	struct vex_fh fh; /* len 0 also on another filesystem than STORE's */
	struct stat st;
	struct mark mark;
	bool marked;
};
vex_err who_read(struct vex_engine *e, const struct vex_obj *o,
		 struct who *w) VEX_CHECKED;
/* [deep] The inode of the recorded handle lives, with a name, in the store. */
bool node_alive(struct vex_engine *e, const struct vex_node *n);
/* [deep] Whether size and mtime of a file without mark are those last seen of n. */
bool node_adoptable(struct vex_engine *e, struct vex_reader *r, const struct vex_node *n,
		    const struct stat *st);
/* Whether the node was seen on another filesystem than STORE's, where this handle is
 * from: there nodes have none. */
static inline bool node_of_other_disk(const struct vex_node *n, const struct vex_fh *fh)
{
	return !n->fh_old && !n->fh.len && fh->len;
}
/* What the caller's word tells; 0: nothing. */
uint64_t node_remembered(const struct vex_obj *o);
/* [deep] Whose object it is, w being what is read of it; w->mark may be out of date
 * afterwards. -ENOENT: it has no node. */
vex_err node_identify_who(struct vex_engine *e, struct vex_reader *r,
			  const struct vex_obj *o, struct who *w,
			  struct vex_node *n) VEX_CHECKED;
/* [deep] It is node `id`: tells the caller's word, notes the name. */
void node_found(struct vex_engine *e, struct vex_reader *r, const struct vex_obj *o,
		const struct who *w, uint64_t id);
/* Whether (o->dirfd, o->name) is the object still. */
bool node_name_true(const struct vex_obj *o, const struct stat *st);
vex_err node_write_mark(int fd, const struct vex_node *n) VEX_CHECKED;

/* ---- noderow.c
 * ------------------------------------------------------------------------- */

/* What w shows, into the row of a node. */
void node_row_from(struct vex_node *n, const struct who *w);
/* Records handle, inode, size and times of w for the node; later. */
void node_relink(struct vex_engine *e, struct vex_node *n, const struct who *w);
/* [deep] Notes that n has the name (dirfd, name), later, if it is not known. */
void node_note_name(struct vex_engine *e, struct vex_reader *r, uint64_t node, int dirfd,
		    const char *name);
struct vex_change *change_name(struct changes *l, enum vex_change_kind kind,
			       uint64_t node, uint64_t parent, const char *name);
struct vex_change *change_state(struct changes *l, uint64_t node,
				enum vex_node_state state);
struct vex_change *change_node(struct changes *l, enum vex_change_kind kind,
			       const struct vex_node *n);
vex_err changes_commit(struct vex_engine *e, struct changes *l) VEX_CHECKED;
/* ---- copy.c
 * ------------------------------------------------------------------------------ */

/* [deep] o is a copy of node n made behind us: a node of its own with copies of
 * the attachments. *n becomes it. */
vex_err node_copy(struct vex_engine *e, struct vex_reader *r, const struct vex_obj *o,
		  struct who *w, struct vex_node *n) VEX_CHECKED;

/* ---- dirset.c
 * --------------------------------------------------------------------------- */

/* [deep] Notes, later, the present names of dirfd and the directories above. */
void dirs_note_names(struct vex_engine *e, struct vex_reader *r, int dirfd);

/* ---- dircache.c
 * ------------------------------------------------------------------------ */

vex_err dircache_new(struct dircache **out) VEX_CHECKED;
void dircache_free(struct dircache *d);
/* A descriptor of the directory, owned by the caller; -ENOENT where not cached. */
vex_err dircache_get(struct dircache *d, uint64_t node, uint64_t moves,
		     int *fd) VEX_CHECKED;
void dircache_put(struct dircache *d, uint64_t node, uint64_t moves, int fd);
void dircache_drop(struct dircache *d, uint64_t node);
/* Nodes that could not be found a moment ago. */
bool dircache_lost(struct dircache *d, uint64_t node);
void dircache_lose(struct dircache *d, uint64_t node);
void dircache_regain(struct dircache *d, uint64_t node);
/* Nothing is known: not of what was done behind the mount within the last second. */
void dircache_clear(struct dircache *d);

/* ---- flight.c ------------------------------------------------------------------------
 */

void flight_begin(struct vex_engine *e);
void flight_end(struct vex_engine *e);
/* Grows with each begin and end. */
uint64_t flight_count(struct vex_engine *e);
/* A moment: 0 while any is under way. */
uint64_t flight_moment(struct vex_engine *e);
/* Commits names that no longer hold, later; unless a flight began since `moment`. */
void flight_forget(struct vex_engine *e, uint64_t moment, const struct changes *l);

/* ---- place.c, walk.c
 * --------------------------------------------------------------------- */

/* [deep] Opens the directory of a node, wherever it is now: -ENOENT. */
vex_err dir_open(struct vex_engine *e, struct vex_reader *r, uint64_t node,
		 int *fd) VEX_CHECKED;
/* [deep] Whether the object at (dirfd, name) is the node; fills st; relinks. */
bool node_holds(struct vex_engine *e, struct vex_reader *r, struct vex_node *n, int dirfd,
		const char *name, struct stat *st);
/* [deep] place_find for a node already read. */
vex_err place_of(struct vex_engine *e, struct vex_reader *r, struct vex_node *n,
		 struct place *out) VEX_CHECKED;

/* ---- memo.c: small answers by a pair of numbers, for as long as one search lasts
 * ------- */

struct memo {
	struct memo_entry *v;
	size_t n, size;
};
void memo_free(struct memo *m);
/* The answer (>= 0), or -1: not known. m may be NULL. */
int memo_get(const struct memo *m, uint64_t a, uint64_t b);
/* May forget: full, or no memory. */
void memo_put(struct memo *m, uint64_t a, uint64_t b, int answer);

/* ---- perm.c, acl.c
 * -------------------------------------------------------------------------- */

/* yes 1, no 0, -1: not known. */
int cred_in_group(const struct vex_cred *c, uint32_t gid);
/* The ACL as xattr bytes: -EAGAIN where it decides nothing (malformed: -EACCES). */
vex_err acl_check(const struct vex_cred *c, const struct stat *st, const uint8_t *acl,
		  size_t len, int want) VEX_CHECKED;
/* Mode bits, then an ACL of len bytes (0: none). */
vex_err perm_bits(const struct vex_cred *c, const struct stat *st, const uint8_t *acl,
		  size_t len, int want) VEX_CHECKED;

/* As perm_search, with a memo that may be NULL. */
vex_err perm_search_memo(struct vex_engine *e, const struct vex_cred *c, int dirfd,
			 struct memo *m) VEX_CHECKED;

/* ---- cred.c: a pool thread as another user
 * ----------------------------------------------------- */

struct as_user {
	bool switched;
	uint32_t uid, gid;
	uint32_t *groups; /* heap: those to put back */
	int ngroups;
};
/* The file rights of this thread become the caller's until cred_leave. switched stays
 * false where the daemon has no right to, or the caller is root. */
vex_err cred_enter(const struct vex_cred *c, struct as_user *u) VEX_CHECKED;
void cred_leave(struct as_user *u);
#define AUTO_AS_USER __attribute__((cleanup(cred_leave)))

#endif
