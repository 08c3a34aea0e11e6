/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to engine: its state and what its files offer each other.
 *
 * Deep stack: functions marked [deep] use SQLite and must run on a pool thread;
 * public calls get there through engine_deep().
 */
#ifndef VEXFS_ENGINE_I_H
#define VEXFS_ENGINE_I_H

#include <vexfs/engine.h>
#include <vexfs/index.h>
#include <vexfs/kernel.h>

#ifdef __SANITIZE_THREAD__
#define NODE_LOCKS 32u /* a large batch holds all; TSan follows 64 locks a thread */
#else
#define NODE_LOCKS 256u
#endif
#define ROOT_NODE 1ull
#define NAME_SUMS 512u
#define STALE_TOLD 1024u
#define COVERS_MAX 64u

struct graphs;    /* graphs.c: the indexes */
struct knowledge; /* known.c: what is remembered of hits */
struct vigil;     /* vigil.c: files watched; NULL: none can be */
struct dircache;  /* dircache.c: LRU of open directories by node */
struct answers;   /* answers.c: of earlier searches */
struct vecerrs;   /* content.c: last .vec error by node/handle, bounded */
struct vacants;   /* vacant.c: places whose file has just gone */
struct nodeset;   /* nodeset.c: hashes of the handles of all directory nodes */

struct vex_engine {
	int rootfd;   /* borrowed: a real descriptor of STORE (O_RDONLY) */
	int mount_id; /* of STORE's filesystem: handles hold there only */
	bool handles; /* open_by_handle_at works here, for us */
	bool copied;  /* STORE was copied since it was last open: marks may be lost */
	uint32_t owner;
	uint64_t root_dev, root_ino;
	uint64_t hidden_ino; /* of STORE/.vexfs */
	struct vex_store *store;
	struct vex_pool *pool;  /* changes and lookups: short work */
	struct vex_pool *words; /* prints: it takes more stack than a request has, and
				 * waits for nobody, so that anyone may wait for it */
	struct vex_pool *scans; /* searches: so that long ones hold up no change */
	/* Serialise work on one file (by hash of its handle or inode); held over a
	 * commit. Order: node lock, then dirs. Never two node locks but in order of
	 * index (engine_lock2). */
	pthread_mutex_t node_lock[NODE_LOCKS];
	pthread_mutex_t dirs; /* making directory nodes */
	struct graphs *graphs;
	uint64_t graph_floats_min; /* smaller spaces are scanned */
	pthread_mutex_t knobs_lock;
	_Atomic uint64_t knob[VEX_KNOB_COUNT];
	_Atomic uint8_t knob_from[VEX_KNOB_COUNT];
	struct dircache *dircache;
	struct knowledge *known;
	struct answers *answers;
	/* stamp.c */
	bool coarse; /* times advance by the tick */
	bool (*on_stamp)(void *arg, const struct stat *st, const struct vex_fh *fh);
	void *on_stamp_arg;
	struct vigil *vigil;
	struct vecerrs *vecerrs;
	struct nodeset *dirset;
	struct vacants *vacants;
	/* Renames and links between their begin and end, whose candidate names must not
	 * be taken for names that no longer hold. Innermost lock. */
	pthread_mutex_t flights;
	/* guarded by flights: */
	unsigned flying;
	uint64_t flown;      /* bumped by each begin and end */
	struct attrs *attrs; /* attrs.c: the index of attributes */
	uint64_t attrs_min;  /* rows; smaller spaces are searched without it */
	/* watch.c */
	_Atomic uint64_t changes;
	_Atomic bool watched;
	pthread_mutex_t watch_lock; /* innermost */
	struct {
		void (*fn)(void *arg);
		void *arg;
	} watch[VEX_WATCHERS]; /* guarded by watch_lock */
	_Atomic uint64_t crossed[VEX_LIMIT_COUNT];
	_Atomic bool crossings;
	_Atomic uint64_t stale_told[STALE_TOLD]; /* notes.c: nodes said to be stale */
	_Atomic uint64_t moves; /* bumped by every rename of a directory node */
	/* late.c */
	pthread_mutex_t late_lock;
	uint64_t *late; /* nodes that are gone; guarded by late_lock */
	size_t late_cap;
	_Atomic size_t nlate;   /* written under late_lock */
	_Atomic bool late_told; /* logged once */
	/* overlap.c */
	_Atomic uint64_t makings; /* begun << 16 | under way */
	_Atomic uint64_t turns;   /* changes of names */
	/* covered.c */
	_Atomic bool kept_any; /* replaced files have left attachments, once at least */
	_Atomic unsigned ncovers;
	pthread_mutex_t covers_lock;
	/* guarded by covers_lock: */
	uint64_t covers[COVERS_MAX]; /* nodes; 0: none */
	unsigned covers_at;
	/* listroom.c: upper bounds of attachment name lists; zeroed at open. */
	_Atomic uint64_t name_sums[NAME_SUMS];
};

static inline vex_err engine_deep(struct vex_engine *e, vex_err (*fn)(void *), void *arg)
{
	return vex_pool_call(e->pool, fn, arg);
}

/* ---- notes.c: words in the change log, later ------------------------------------ */

void note_add(struct vex_engine *e, enum vex_note kind, uint64_t node, const char *path,
	      const char *fmt, ...) VEX_PRINTF(5, 6);
void note_at(struct vex_engine *e, enum vex_note kind, uint64_t node, int dirfd,
	     const char *name);
void note_rename(struct vex_engine *e, uint64_t node, const struct vex_rename *r);
void note_unlink(struct vex_engine *e, const struct vex_removal *r);
void note_stale(struct vex_engine *e, uint64_t node, const struct vex_obj *o);
void note_fresh(struct vex_engine *e, uint64_t node);
void note_crossing(void *arg, enum vex_limit l, uint64_t value);
/* Logs and notes what crossed since: by the index thread, which looks often. */
void notes_tell_crossings(struct vex_engine *e);

/* ---- knobs.c, conf.c: settings -------------------------------------------------- */

vex_err knobs_init(struct vex_engine *e, const struct vex_engine_opts *o);
/* Hands them on, once there are pools and a store. */
void knobs_apply(struct vex_engine *e);
/* Writes one to vexfs.conf. */
vex_err conf_save(struct vex_engine *e, enum vex_knob k, uint64_t value) VEX_CHECKED;

/* ---- overlap.c: nodes made while names change ----------------------------------- */

/* From before a file without a node is looked at until after the commit. */
struct making {
	struct vex_engine *e;
	uint64_t turns;
};
void making_begin(struct vex_engine *e, struct making *m);
void making_end(struct making *m);
#define AUTO_MAKING __attribute__((cleanup(making_end)))
/* After the commit: whether a name was changed meanwhile. */
bool making_overlapped(const struct making *m);
/* [deep] Then: looks again where the node's file is. `open`: if it is nameless, whoever
 * has it open will say when he closes it. */
void made_look(struct vex_engine *e, uint64_t node, bool open);

/* ---- changes.c: a change list that owns what it points to ------------------- */

struct changes {
	struct vex_change *c;
	size_t n, cap;
	void **owned; /* heap blocks freed with the list */
	size_t nowned, capowned;
	vex_err err; /* sticky -ENOMEM */
};
void changes_free(struct changes *l);
#define AUTO_CHANGES __attribute__((cleanup(changes_free)))
/* A zeroed change, or NULL (err set). */
struct vex_change *changes_add(struct changes *l, enum vex_change_kind kind);
/* A copy of `len` bytes (NUL added) that lives as long as the list. */
void *changes_dup(struct changes *l, const void *data, size_t len);

/* ---- name.c: attribute names ------------------------------------------------- */

struct attr_name {
	char space[VEX_SPACE_NAME_MAX + 1];
	const char *key; /* within the input; "" */
	uint32_t key_len;
};
/* "<space>[.<key>]": -EINVAL. Reserved names ("_...") are -EINVAL here. */
vex_err attr_parse(const char *attr, struct attr_name *out) VEX_CHECKED;
bool space_name_ok(const char *name, size_t len);

/* ---- value.c: values to rows --------------------------------------------------- */

struct rows {
	union {             /* heap: n rows of `dim` elements */
		float *v;   /* type f32, as all rows are at first */
		void *data; /* any type */
	};
	uint32_t n, dim;
	uint8_t type; /* enum vex_elem */
	uint8_t form; /* VEX_FORM_BINARY or VEX_FORM_TEXT */
};
void rows_free(struct rows *r);
#define AUTO_ROWS __attribute__((cleanup(rows_free)))
bool value_is_text(const void *value, size_t size);
/* The same in a space of that type: of i8, i16 and bit, text begins with "[". */
bool value_is_text_of(uint8_t type, const void *value, size_t size);
/* [deep] Decodes a value as SPEC section 2, to rows of `l`; its dim 0: f32, and the
 * dimension taken from the value (binary: one row). Checks finiteness, not the metric.
 * -EINVAL, -E2BIG, -ENOMEM. */
vex_err value_decode(const void *value, size_t size, const struct vex_layout *l,
		     struct rows *out) VEX_CHECKED;
/* No NaN or Inf; under cosine no row whose norm is 0. -EINVAL. */
vex_err rows_check(const void *rows, uint32_t n, const struct vex_layout *l,
		   uint8_t metric) VEX_CHECKED;
/* f32 rows to those of `l`: -EINVAL where a number is out of its range. */
vex_err rows_convert(struct rows *r, const struct vex_layout *l) VEX_CHECKED;
/* [deep] An attachment's rows, checked and decoded to f32; as vex_read_rows. */
vex_err rows_read(struct vex_engine *e, struct vex_space *sp, const struct vex_attach *a,
		  float *out) VEX_CHECKED;
static inline bool layout_same(const struct vex_layout *a, const struct vex_layout *b)
{
	return a->dim == b->dim && a->type == b->type &&
	       !(a->scale < b->scale || a->scale > b->scale);
}

/* ---- node.c: who a file is ------------------------------------------------------ */

/* Locks the stripe of an object. Unlock with pthread_mutex_unlock. */
pthread_mutex_t *node_lock(struct vex_engine *e, const struct vex_fh *fh, uint64_t ino);
/* The object with fh and stat filled in (fd kept). */
vex_err obj_complete(const struct vex_obj *o, struct vex_fh *fh,
		     struct stat *st) VEX_CHECKED;
/*
 * [deep] The node of an object: *node 0 where it has none. Reads the mark, follows
 * DESIGN's identity rules: handle equal: it is the file (a new name is noted); a
 * copy made behind us gets a new id and copies of the rows; a moved store is linked
 * again. Fills o->node. Does not take the node lock.
 */
vex_err node_identify(struct vex_engine *e, const struct vex_obj *o,
		      uint64_t *node) VEX_CHECKED;
/* The quick part, for small stacks: true and *node if o->node already tells, or the
 * file carries no mark (then 0). */
bool node_known(struct vex_engine *e, const struct vex_obj *o, uint64_t *node);
/*
 * [deep] As node_identify, but makes a node where there is none: sets the mark on the
 * backing file and appends NODE_NEW and NAME_ADD (and those of directories above) to
 * the list. Call with the node lock held; after the commit, node_made().
 */
/* A known directory that has no mark of its own: node_ensure gives it one. */
bool node_may_lack_mark(int fd);
vex_err node_ensure(struct vex_engine *e, const struct vex_obj *o, struct changes *l,
		    uint64_t *node) VEX_CHECKED;
void node_made(const struct vex_obj *o, uint64_t node);
/* [deep] The node of the directory open as dirfd: *node 0 where it has none. */
vex_err node_of_dir(struct vex_engine *e, int dirfd, uint64_t *node) VEX_CHECKED;
/* [deep] The same, making it and those above (commits by itself, under e->dirs). */
vex_err node_ensure_dir(struct vex_engine *e, int dirfd, uint64_t *node) VEX_CHECKED;
/* Quick: false where no directory node has this handle. */
bool node_maybe_dir(struct vex_engine *e, const struct vex_fh *fh);

/* ---- place.c: where a node is now ------------------------------------------------- */

/* A verified place: opened, named and carrying the id a moment ago. */
struct place {
	int dirfd;       /* O_PATH of the directory, owned */
	char *name;      /* heap; "" for the root, with dirfd of the root */
	struct stat st;  /* of the object */
	uint64_t parent; /* node of the directory */
};
void place_free(struct place *p);
#define AUTO_PLACE __attribute__((cleanup(place_free)))
#define PLACE_INIT                                                                       \
	{                                                                                \
		.dirfd = -1                                                              \
	}
/* [deep] -ENOENT where no name of the node holds (withheld). */
vex_err place_find(struct vex_engine *e, struct vex_reader *r, uint64_t node,
		   struct place *out) VEX_CHECKED;
/* Appends the path of a directory, relative to the root, no slashes at the ends
 * ("" for the root). By readlink of its descriptor, longer paths by "..". */
vex_err place_dir_path(struct vex_engine *e, int dirfd, struct vex_buf *out) VEX_CHECKED;
/* The same for (dirfd, name); name "" is the directory itself. */
vex_err place_path(struct vex_engine *e, int dirfd, const char *name,
		   struct vex_buf *out) VEX_CHECKED;

/* ---- perm.c: may this caller ------------------------------------------------------- */

/* want: R_OK, W_OK, X_OK bits. Mode bits and the POSIX ACL of the object at (dirfd,
 * name) decide, as the kernel would; root may all. Unsure: -EACCES. */
vex_err perm_check(const struct vex_cred *c, int dirfd, const char *name,
		   const struct stat *st, int want) VEX_CHECKED;
/* Whether the caller may search dirfd and every directory above it, to the root. */
vex_err perm_search(struct vex_engine *e, const struct vex_cred *c,
		    int dirfd) VEX_CHECKED;

/* ---- resolve.c: paths from callers ----------------------------------------------------
 */

struct resolved {
	int fd;    /* O_PATH of the object, owned */
	int dirfd; /* O_PATH of its directory, owned; -1 for the root */
	char *name;
	struct stat st;
};
void resolved_free(struct resolved *r);
#define AUTO_RESOLVED __attribute__((cleanup(resolved_free)))
#define RESOLVED_INIT                                                                    \
	{                                                                                \
		.fd = -1, .dirfd = -1                                                    \
	}
/* want as perm_check, for the object itself. */
vex_err resolve(struct vex_engine *e, const struct vex_cred *c, const char *path,
		int want, struct resolved *out) VEX_CHECKED;
void resolved_obj(const struct resolved *r, struct vex_obj *o);

/* ---- stamp.c --------------------------------------------------------------------------
 */

/* The stamp of a file as it is now. */
struct vex_stamp stamp_of(const struct stat *st);
/* Whether attachments with this stamp are stale for a file with this stat. */
bool stamp_stale(const struct vex_stamp *s, const struct stat *st);
/* Whether times of STORE's filesystem tell any two changes apart. */
void stamp_probe(struct vex_engine *e);
/* Where they do not: waits until a change after this could not leave the file (fd, or -1)
 * with the time of `st`, which is taken anew. */
void stamp_wait(const struct vex_engine *e, int fd, struct stat *st);
/* The same before an attachment: what was stored through mappings first. May block. */
void stamp_ready(const struct vex_engine *e, int fd, const struct vex_fh *fh,
		 struct stat *st);

/* ---- content.c -----------------------------------------------------------------------
 */

bool name_is_vec(const char *name);
/* [deep] Takes in (or away) the content of a .vec file; remembers its error. */
vex_err content_absorb(struct vex_engine *e, const struct vex_obj *o) VEX_CHECKED;
vex_err vecerrs_new(struct vecerrs **out) VEX_CHECKED;
void vecerrs_free(struct vecerrs *v);

/* ---- get.c, info.c, near.c
 * -------------------------------------------------------------- */

/* [deep] */
vex_err info_text(struct vex_engine *e, const struct vex_obj *o,
		  struct vex_buf *out) VEX_CHECKED;
vex_err near_text(struct vex_engine *e, const struct vex_obj *o,
		  const struct vex_cred *cred, const char *attr,
		  struct vex_buf *out) VEX_CHECKED;

/* ---- watch.c ---- */

/* Something that a search may show has changed. e as argument. */
void engine_changed(void *arg);

/* ---- attrs.c: what is known of files' attributes ---- */

struct attrs;
vex_err attrs_new(struct vex_engine *e, struct attrs **out) VEX_CHECKED;
/* Ends its thread, which uses the store; the store's writer goes on telling it. */
void attrs_stop(struct attrs *a);
void attrs_free(struct attrs *a);
/* The file of the node may have other attributes, or another name, than before. */
void attrs_touch(struct vex_engine *e, uint64_t node);
/* Any file may: all are looked at again. */
void attrs_reset(struct vex_engine *e);

/* ---- answers.c: of earlier searches ---- */

struct answer;
vex_err answers_new(struct answers **out) VEX_CHECKED;
void answers_free(struct answers *c);
/* They may take so many bytes from now on. */
void answers_trim(struct answers *c, uint64_t most);
void answer_put(struct answer *a);

/* ---- late.c: what the catalog could not take
 * ----------------------------------------------- */

/* Nodes of files that are gone are dropped now, if that works again. */
void late_try(struct vex_engine *e);

/* ---- recover.c
 * ---------------------------------------------------------------------------- */

/* [deep] Settles the intents a crash left: a node that still opens and has a link
 * stays, else it goes. */
vex_err recover_intents(struct vex_engine *e) VEX_CHECKED;

#endif
