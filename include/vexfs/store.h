/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: everything that lives in STORE/.vexfs: the catalog (SQLite), the slot
 * files, the writer thread, durability. It knows nodes, names, spaces and
 * attachments as numbers and bytes; it never looks at the user's files.
 *
 * Truth. The catalog says what exists. A slot file holds rows of a space; a slot
 * is live exactly while a catalog row names it. Rows are written to free slots,
 * and before the commit that names them; slots freed by a commit are reused only
 * once that commit is durable and no view pins them.
 *
 * Threads. vex_store_commit may be called from any thread: the change list joins
 * a queue (bounded), the one writer thread commits queued lists in groups, and
 * the call returns after its commit. Readers (vex_reader) use SQLite on the
 * calling thread and so belong on threads with deep stacks (vex_pool). Views are
 * cheap, for any thread, never block the writer longer than a bitmap copy.
 */
#ifndef VEXFS_STORE_H
#define VEXFS_STORE_H

#include <vexfs/base.h>
#include <vexfs/metrics.h>

#define VEX_SPACE_NAME_MAX 48u
#define VEX_KEY_MAX 128u
#define VEX_VALUE_MAX 65536u
#define VEX_MARK_LEN 16u
#define VEX_SPACES_MAX 4096u

struct vex_store;
struct vex_space;  /* a live space; counted reference */
struct vex_reader; /* a read connection */

/* ---- spaces ------------------------------------------------------------- */

enum vex_index_kind { VEX_FLAT = 0, VEX_HNSW = 1 };

struct vex_space_spec {
	char name[VEX_SPACE_NAME_MAX + 1];
	uint8_t metric; /* enum vex_metric */
	uint8_t type;   /* enum vex_elem (kernel.h) */
	uint8_t index;  /* enum vex_index_kind */
	uint8_t quant;  /* enum vex_quant */
	uint32_t dim;
	uint32_t m, ef_construction, ef_search;
	double scale; /* of i8 and i16; 0: none */
	float recall; /* what its index is to reach; 0: the default */
};

struct vex_space_counts {
	uint64_t attachments, rows, slots, bytes;
	uint64_t damaged; /* rows that failed their checksum */
};

/* A reference to the space of that name: -ENODEV if there is none. */
vex_err vex_space_find(struct vex_store *s, const char *name,
		       struct vex_space **out) VEX_CHECKED;
vex_err vex_space_find_id(struct vex_store *s, uint32_t id,
			  struct vex_space **out) VEX_CHECKED;
/* The live space with the smallest id above `after` (0: the first), or -ENODEV. */
vex_err vex_space_next(struct vex_store *s, uint32_t after,
		       struct vex_space **out) VEX_CHECKED;
struct vex_space *vex_space_ref(struct vex_space *sp);
void vex_space_unref(struct vex_space *sp);
static inline void vex_cleanup_space(struct vex_space **sp)
{
	if (*sp)
		vex_space_unref(*sp);
}
#define AUTO_SPACE __attribute__((cleanup(vex_cleanup_space)))
uint32_t vex_space_id(const struct vex_space *sp);
/* A copy: ef_search and the like may change while mounted; dim, metric, type not. */
void vex_space_spec(struct vex_space *sp, struct vex_space_spec *out);
uint32_t vex_space_dim(const struct vex_space *sp);
uint8_t vex_space_metric(const struct vex_space *sp);
/* Bytes of one row. */
size_t vex_space_stride(const struct vex_space *sp);
struct vex_layout; /* kernel.h */
/* What its rows are; never changes, lives as long as the space. */
const struct vex_layout *vex_space_layout(const struct vex_space *sp);
void vex_space_counts(struct vex_space *sp, struct vex_space_counts *out);

/* ---- slots --------------------------------------------------------------- */

/* Takes `rows` adjacent free slots and writes the rows into them. -ENOSPC, -EIO,
 * -EINVAL (none, or over 64 MiB). The caller names them in one or several puts, each
 * slot once, or gives them back. */
vex_err vex_slots_write(struct vex_space *sp, const void *data, uint32_t rows,
			uint64_t *first) VEX_CHECKED;
/* Gives back slots that no commit named. Others among them are left alone. */
void vex_slots_return(struct vex_space *sp, uint64_t first, uint32_t rows);

/*
 * A view: the rows of a space that are live at one moment, between commits (all
 * of a change list or none of it). Its slots keep their contents until closed.
 * Slot i lies in segment i >> seg_shift at index i & (segment size - 1).
 */
struct vex_view {
	struct vex_space *space;
	const struct vex_layout *layout;
	uint32_t dim;
	uint8_t metric;
	unsigned seg_shift;
	size_t stride;      /* bytes a row */
	uint64_t slots;     /* slots 0 .. slots-1 may be live */
	uint64_t live_rows; /* bits set in live */
	uint64_t attachments;
	uint64_t lsn;     /* last change it shows, of the whole store */
	uint64_t changed; /* the last of these that made rows of the space live */
	const uint8_t *const *rows; /* by segment; mapped, read-only */
	const float *const *norms;  /* by segment: vex_row_norm of each row */
	const uint64_t *live;       /* bitmap; does not change */
	struct vex_bits *bits;      /* private: what holds it */
	uint64_t pin;               /* private */
};

struct vex_slot {
	uint64_t node, lsn; /* whose, and the change that wrote it */
	uint32_t row;
};

vex_err vex_view_open(struct vex_space *sp, struct vex_view *v) VEX_CHECKED;
void vex_view_close(struct vex_view *v);
static inline const void *vex_view_row(const struct vex_view *v, uint64_t slot)
{
	return v->rows[slot >> v->seg_shift] +
	       (slot & ((1ull << v->seg_shift) - 1)) * v->stride;
}
static inline float vex_view_norm(const struct vex_view *v, uint64_t slot)
{
	return v->norms[slot >> v->seg_shift][slot & ((1ull << v->seg_shift) - 1)];
}
static inline bool vex_view_live(const struct vex_view *v, uint64_t slot)
{
	return slot < v->slots && (v->live[slot >> 6] >> (slot & 63) & 1);
}
void vex_view_slot(const struct vex_view *v, uint64_t slot, struct vex_slot *out);
/* vex_view_slot will be asked of it soon. */
void vex_view_expect(const struct vex_view *v, uint64_t slot);

/* Keeps slots freed by changes after `lsn` from being used again: for an index that
 * knows rows by slot. UINT64_MAX: no hold (as at open). */
void vex_space_hold(struct vex_space *sp, uint64_t lsn);
/* Rows were moved between slots by changes up to this one: what knew rows by slot and
 * stands at an earlier change knows nothing. */
uint64_t vex_space_moved(const struct vex_space *sp);

/*
 * Makes a space smaller while it is in use: moves some attachments from the end of its
 * files into free slots before them (at most `max` rows; each batch is flushed, then
 * committed, so no power loss can meet it half done), *moved says how many. 0 moved:
 * nothing is left that could be. [deep]
 */
vex_err vex_space_pack(struct vex_space *sp, uint64_t max, uint64_t *moved) VEX_CHECKED;
/* Gives free slots back to the filesystem: the end of the files is cut off, long runs
 * before it become holes. Also done by the sync timer where much was freed. Returns the
 * bytes given back, *held: slots freed that something still holds. */
uint64_t vex_space_trim(struct vex_space *sp, uint64_t *held);
/* One bounded step of giving the catalog's free pages back; *left: free pages. [deep] */
vex_err vex_store_pack_catalog(struct vex_store *s, uint64_t *left) VEX_CHECKED;

/* By the writer thread, quick, with no calls back: `touched` is told of each node whose
 * row or names a commit has changed, before the commit is acknowledged; `shown` after
 * each group of changes is visible. Set once, before the first change. */
void vex_store_watch(struct vex_store *s, void (*touched)(void *arg, uint64_t node),
		     void (*shown)(void *arg), void *arg);
/* Number of the last change that views show. */
uint64_t vex_store_lsn(struct vex_store *s);
/*
 * What was read of a node after a moment was taken holds as long as the node has not been
 * touched since: no commit has changed its row, names, attachments or stamps. (It may say
 * touched where another node was.) Of a commit that is acknowledged, or shown by a view,
 * this tells. Cheap, for any thread.
 */
uint64_t vex_store_moment(const struct vex_store *s);
bool vex_store_touched(const struct vex_store *s, uint64_t node, uint64_t moment);

/* ---- changes -------------------------------------------------------------- */

/* A node is a file with attachments, or a directory above one. Node 1 is the root.
 * A node may have several candidate names (hard links; a rename under way): a name
 * counts only once the backing filesystem confirms it. */
enum vex_node_state {
	VEX_LIVE = 0,
	VEX_GOING = 1, /* intent: its last name is being, or was, removed */
};

struct vex_node {
	uint64_t id;
	uint8_t state; /* enum vex_node_state */
	bool is_dir;
	bool has_mark;
	uint8_t mark[VEX_MARK_LEN];
	struct vex_fh fh; /* len 0: unknown */
	bool fh_old;      /* recorded before the store was copied: do not open it */
	uint64_t ino;
	int64_t size, mtime_ns; /* as last seen: for adoption without a mark */
};

enum vex_form {
	VEX_FORM_BINARY = 0,
	VEX_FORM_TEXT = 1,    /* text kept as stored */
	VEX_FORM_CONTENT = 2, /* flag: taken from the content of a .vec file */
};

/* The content an attachment was made for. */
struct vex_stamp {
	int64_t size, mtime_ns;
	bool open; /* attached to an empty file: stamped at the next flush */
};

/* What is noted in the change log besides changes of attachments and spaces. */
enum vex_note {
	VEX_NOTE_RENAME = 0, /* key: the path before */
	VEX_NOTE_UNLINK = 1, /* key: "UID MODE" of the file */
	VEX_NOTE_CREATE = 2,
	VEX_NOTE_WRITE = 3,
	VEX_NOTE_STALE = 4,
	VEX_NOTE_INDEX = 5,     /* key: "SPACE STATE" */
	VEX_NOTE_THRESHOLD = 6, /* key: "NAME VALUE LIMIT" */
	VEX_NOTE_CONFIG = 7,    /* key: "NAME VALUE WAS" */
};

/* What is known of a node whose file is not there: its attachments are kept a while. */
enum vex_kept_why {
	VEX_KEPT_REPLACED = 1, /* through the mount, by a file without attachments */
	VEX_KEPT_VANISHED = 2, /* behind it */
};
struct vex_kept {
	uint64_t node;
	int64_t since_ns;        /* real time; a change: 0: now */
	uint32_t uid, gid, mode; /* who might read it; mode 0: unknown */
	uint8_t why;             /* enum vex_kept_why */
};

enum vex_change_kind {
	/* space = out (new reference), spec = in. -EEXIST. */
	VEX_SPACE_NEW = 1,
	/* space. Its attachments are gone at once; rows are purged later. -ENODEV. */
	VEX_SPACE_DROP,
	/* space, spec: m, ef_construction, ef_search, index, quant. */
	VEX_SPACE_SET,
	/* node, space, key, slots (first, rows), form, text, stamp, flags
	 * (XATTR_CREATE: -EEXIST, XATTR_REPLACE: -ENODATA), path. -ENOENT: no such
	 * node; -ENODEV: the space was dropped; -EINVAL: slots not taken for it. */
	VEX_PUT,
	/* node, space, key, path. -ENODATA. */
	VEX_DELETE,
	/* node_in: whole row (id from vex_store_new_node). -EEXIST. */
	VEX_NODE_NEW,
	/* node_in: mark, fh, ino, size, mtime_ns of an existing id (fh_old cleared).
	 * -ENOENT. */
	VEX_NODE_SET,
	/* node, state. -ENOENT. */
	VEX_NODE_STATE,
	/* node: the row, its names and its attachments go (log: one DELETE each). No
	 * error where there is none. */
	VEX_NODE_DROP,
	/* node, parent, name. Adding one that is there: no error; so is removing one
	 * that is not. Adding one to a node that is not there: -ENOENT. */
	VEX_NAME_ADD,
	VEX_NAME_DEL,
	/* node: every attachment of it gets `stamp` (size, mtime_ns, open = false) -
	 * only where its stamp equals `was`, or is open if `was.open`. */
	VEX_STAMP,
	/* node, space, key: that attachment alone gets `stamp`. -ENODATA. */
	VEX_STAMP_ONE,
	/* space, from_lsn, from_slot, slots (first, rows): the attachment `from_lsn`,
	 * where it still is at from_slot, is in these slots from now on. Rows and
	 * records are there, and on the device. Where it is not: no error, lsn 0, and
	 * the slots are still the caller's. Private to store. */
	VEX_MOVE,
	/* form (enum vex_note), node, path, key (words about it): a row in the log, and
	 * nothing else. */
	VEX_NOTE,
	/* node, kept: its file is not there. No error where there is no such node. */
	VEX_KEEP,
	/* node: it is there. No error where it was not kept. */
	VEX_UNKEEP,
};

struct vex_change {
	enum vex_change_kind kind;
	uint8_t state, form;
	bool quiet; /* no row in the log: nothing that a user knows of */
	int flags;
	uint64_t node, parent;
	struct vex_space *space; /* borrowed, but for VEX_SPACE_NEW */
	const struct vex_space_spec *spec;
	const struct vex_node *node_in;
	const void *key, *name, *text;
	uint32_t key_len, name_len, text_len;
	uint64_t slot; /* first slot of a put or move */
	uint64_t from_lsn, from_slot;
	uint32_t rows;
	struct vex_stamp stamp, was;
	struct vex_kept kept;
	const char *path; /* for the log; may be NULL */
	uint64_t lsn;     /* out: its number in the change log; 0: it has none */
};

/*
 * Applies all changes, in order, or none; returns once committed (lazy: in the
 * OS; sync=always: on the device). On error nothing has changed, `bad` (may be
 * NULL) is the index of the change that failed, and the slots of its puts have
 * been given back. -EROFS after a failed sync or on a read-only store; -ENOMEM
 * where the queue is full.
 */
vex_err vex_store_commit(struct vex_store *s, struct vex_change *c, size_t n,
			 size_t *bad) VEX_CHECKED;
/* The same without waiting, for what may be lost or late (names no longer true,
 * new handles). Copies what it needs. Puts are not allowed. */
void vex_store_commit_later(struct vex_store *s, const struct vex_change *c, size_t n);
/* A node id never used before. */
uint64_t vex_store_new_node(struct vex_store *s);

/* ---- reading ---------------------------------------------------------------- */

vex_err vex_reader_get(struct vex_store *s, struct vex_reader **out) VEX_CHECKED;
void vex_reader_put(struct vex_reader *r);
static inline void vex_cleanup_reader(struct vex_reader **r)
{
	if (*r)
		vex_reader_put(*r);
}
#define AUTO_READER __attribute__((cleanup(vex_cleanup_reader)))

/* Rows of the change log above *after, in order, `most` of them; *after ends as the
 * number of the last one fn took. */
#define VEX_LOG_NOTE 16u /* kinds from here on are notes: less this, enum vex_note */
struct vex_log_row {
	uint64_t lsn, node;
	int64_t time_ns;
	uint32_t kind, space, key_len;
	bool replaced;    /* a put over another */
	const char *key;  /* bytes; never NULL */
	const char *path; /* as it was then; may be NULL */
};
vex_err vex_read_log(struct vex_reader *r, uint64_t *after, uint32_t most,
		     vex_err (*fn)(void *, const struct vex_log_row *),
		     void *arg) VEX_CHECKED;
/* The oldest row's number; 0: none. */
vex_err vex_read_log_first(struct vex_reader *r, uint64_t *lsn) VEX_CHECKED;

/* Between these all reads see one moment, and cost half: for many small reads in a row.
 * Without memory or luck begin does nothing. */
void vex_reader_begin(struct vex_reader *r);
void vex_reader_end(struct vex_reader *r);

struct vex_attach {
	uint64_t lsn, node, slot;
	uint32_t space, rows;
	uint8_t form;
	struct vex_stamp stamp;
	uint32_t key_len;
	char key[VEX_KEY_MAX + 1]; /* NUL-ended too */
	uint32_t text_len;
	char *text; /* heap; NULL unless asked for */
};

void vex_attach_clear(struct vex_attach *a); /* frees text */
#define AUTO_ATTACH __attribute__((cleanup(vex_attach_clear)))

/* -ENODATA where there is none. Attachments of dropped spaces do not exist. */
vex_err vex_read_attach(struct vex_reader *r, uint64_t node, uint32_t space,
			const void *key, uint32_t key_len, bool text,
			struct vex_attach *out) VEX_CHECKED;
vex_err vex_read_attach_lsn(struct vex_reader *r, uint64_t lsn,
			    struct vex_attach *out) VEX_CHECKED;
/* Each attachment of a node, by space and key, without text; a non-zero return of
 * `fn` ends it and is returned. */
vex_err vex_read_attaches(struct vex_reader *r, uint64_t node,
			  vex_err (*fn)(void *, const struct vex_attach *),
			  void *arg) VEX_CHECKED;
/* Each attachment of a space with lsn above `after`, in that order. */
vex_err vex_read_space(struct vex_reader *r, uint32_t space, uint64_t after,
		       vex_err (*fn)(void *, const struct vex_attach *),
		       void *arg) VEX_CHECKED;
/* The same with its node and one of the node's names, in one read. -ENODATA also where
 * there is no name. */
struct vex_attach_file {
	struct vex_node node;
	uint64_t parent;
	uint32_t name_len;
	char name[256];
};
vex_err vex_read_attach_file(struct vex_reader *r, uint64_t lsn, struct vex_attach *a,
			     struct vex_attach_file *f) VEX_CHECKED;
/* Ids of nodes above `after`, in order, until fn returns something else than 0, which is
 * returned; some thousand a call at most: call again. */
vex_err vex_read_node_ids(struct vex_reader *r, uint64_t after,
			  vex_err (*fn)(void *, uint64_t node), void *arg) VEX_CHECKED;
/* -ENOENT. */
vex_err vex_read_node(struct vex_reader *r, uint64_t id,
		      struct vex_node *out) VEX_CHECKED;
/* The node recorded with that handle (not fh_old), directories included. */
vex_err vex_read_node_fh(struct vex_reader *r, const struct vex_fh *fh,
			 struct vex_node *out) VEX_CHECKED;
/* name is NUL-ended as well. */
vex_err vex_read_names(struct vex_reader *r, uint64_t node,
		       vex_err (*fn)(void *, uint64_t parent, const char *name,
				     uint32_t len),
		       void *arg) VEX_CHECKED;
/* The nodes recorded at (parent, name). */
vex_err vex_read_at(struct vex_reader *r, uint64_t parent, const char *name, uint32_t len,
		    vex_err (*fn)(void *, uint64_t node), void *arg) VEX_CHECKED;
/* Nodes with a name in that directory, at most `most`. */
vex_err vex_read_below(struct vex_reader *r, uint64_t parent, uint32_t most,
		       vex_err (*fn)(void *, uint64_t node), void *arg) VEX_CHECKED;
/* Nodes above `after` that have attachments, in order, at most `most`. */
vex_err vex_read_attached(struct vex_reader *r, uint64_t after, uint32_t most,
			  vex_err (*fn)(void *, uint64_t node), void *arg) VEX_CHECKED;
/* -ENOENT: it is not kept. */
vex_err vex_read_kept(struct vex_reader *r, uint64_t node,
		      struct vex_kept *out) VEX_CHECKED;
/* Those above `after`, by node, at most `most`. */
/* Attachments and their rows in the space (0: in all) of nodes that are kept. */
vex_err vex_read_kept_counts(struct vex_reader *r, uint32_t space, uint64_t *attachments,
			     uint64_t *rows) VEX_CHECKED;
vex_err vex_read_kept_after(struct vex_reader *r, uint64_t after, uint32_t most,
			    vex_err (*fn)(void *, const struct vex_kept *),
			    void *arg) VEX_CHECKED;
/* Nodes in state VEX_GOING. */
vex_err vex_read_going(struct vex_reader *r, vex_err (*fn)(void *, uint64_t node),
		       void *arg) VEX_CHECKED;

/* The rows of an attachment, copied out (rows x stride bytes) and checked against
 * their checksums: -EIO where they do not match; -ENODATA where the attachment was
 * replaced or removed meanwhile: look it up again. Needs a deep stack in these two
 * cases (it then asks the catalog which of them it is). */
vex_err vex_read_rows(struct vex_store *s, const struct vex_attach *a,
		      void *out) VEX_CHECKED;
/* Checks one row of a view against the checksum in its record: -EIO, and the row
 * is counted and logged by file name and slot. `a` is the attachment it claims. */
vex_err vex_view_verify(const struct vex_view *v, uint64_t slot,
			const struct vex_attach *a) VEX_CHECKED;

/* ---- the store as a whole ------------------------------------------------------ */

enum vex_sync_mode { VEX_SYNC_LAZY = 0, VEX_SYNC_ALWAYS = 1 };

struct vex_store_opts {
	enum vex_sync_mode sync;
	uint32_t sync_interval_ms; /* 0: 2000 */
	uint32_t wait_ms;          /* how long to wait for a closing daemon */
	const char *mountpoint;    /* recorded in the lock file; may be NULL */
};

/* A sentence on what failed, for stderr: names the file. */
struct vex_problem {
	char text[512];
};

/*
 * Opens, or makes, STORE/.vexfs below rootfd (borrowed for the life of the
 * store). Takes the store's lock: -EBUSY where another live daemon has it.
 * Damage in the catalog refuses (-EIO or -EUCLEAN); damaged rows are reported
 * (log, counts, vex_store_problems) and kept out of views. `problem` may be NULL; text in
 * it after a success is a warning to pass on: the first damage, by file and slot. Needs a
 * deep stack, as does vex_store_close.
 *
 * After a power loss (the machine has another boot id than when the store was last
 * open) a store whose last commits name rows that never reached the device goes back
 * to its last sync as a whole: everything durable is there, nothing is half there.
 */
vex_err vex_store_open(int rootfd, const struct vex_store_opts *o, struct vex_store **out,
		       struct vex_problem *problem) VEX_CHECKED;
/* From here on another daemon waits for us instead of being refused. */
void vex_store_closing(struct vex_store *s);
/* Commits what is queued, syncs, closes. The caller has ended its own calls. */
void vex_store_close(struct vex_store *s);

/* Both may change while open: from the next commit, and the next wait, on. */
void vex_store_tune(struct vex_store *s, enum vex_sync_mode sync, uint32_t interval_ms);

/* Makes all that was acknowledged durable; concurrent callers share one sync.
 * `whole`: syncfs first, so names and marks of files are durable too. A failed
 * sync fails now and ever after (-EIO). */
vex_err vex_store_sync(struct vex_store *s, bool whole) VEX_CHECKED;

/* Makes all durable, then moves the whole WAL into the catalog and empties it, as far as
 * no reader stands in it: *frames of it are left. */
vex_err vex_store_checkpoint(struct vex_store *s, uint64_t *frames) VEX_CHECKED;

struct vex_store_status {
	uint64_t spaces, nodes, attachments, rows, damaged;
	uint64_t lsn, durable_lsn;
	uint64_t catalog_bytes, slot_bytes;
	uint64_t commits, groups; /* since open */
	uint64_t queued;          /* change lists that wait for the writer */
	uint64_t wal_frames;      /* since the last checkpoint that emptied it */
	int64_t last_sync_ns;     /* when the last one that worked ended, CLOCK_REALTIME;
				   * 0: none since open */
	uint64_t problems;        /* damaged rows and files found since open */
	bool failed;              /* a sync failed: read-only until remount */
};
void vex_store_status(struct vex_store *s, struct vex_store_status *out);

/* The first damaged rows and files that were found since open, at most 16, one line
 * each: "STORE/.vexfs/spaces/1.rows: slot 14: checksum mismatch". `fn` must not call the
 * store. */
void vex_store_problems(struct vex_store *s, void (*fn)(void *arg, const char *line),
			void *arg);

/* 16 random bytes made with the catalog, kept by copies of it. */
void vex_store_uuid(const struct vex_store *s, uint8_t out[16]);
/* Device and inode of STORE/.vexfs, and its descriptor (borrowed). */
int vex_store_dirfd(struct vex_store *s);

/* ---- filters ---------------------------------------------------------------- */

/*
 * An expression over the attributes of one file: name path size mtime uid gid mode and
 * xattr.NAME (the xattr user.NAME), with = != < <= > >= AND OR NOT IN LIKE GLOB IS NULL
 * and parentheses; docs/vexctl.1 has the language. Needs a deep stack; a filter is for
 * one thread at a time, and for one search: it stops with -ETIMEDOUT after a minute.
 */
#define VEX_FILTER_MAX 4096u

enum vex_filter_kind {
	VEX_FILTER_NAME,
	VEX_FILTER_PATH,
	VEX_FILTER_SIZE,
	VEX_FILTER_MTIME,
	VEX_FILTER_UID,
	VEX_FILTER_GID,
	VEX_FILTER_MODE,
	VEX_FILTER_XATTR,
};
static inline bool vex_filter_numeric(enum vex_filter_kind k)
{
	return k >= VEX_FILTER_SIZE && k <= VEX_FILTER_MODE;
}

struct vex_filter_col {
	enum vex_filter_kind kind;
	char *xattr; /* its full name, "user.lang"; NULL in the other kinds */
};

struct vex_filter_value {
	enum { VEX_FILTER_NULL, VEX_FILTER_INT, VEX_FILTER_REAL, VEX_FILTER_TEXT } type;
	int64_t i;
	double d;
	const char *text; /* stays until the next value is asked for */
	size_t len;
};

/* Gives one value of the file under test. An error ends the test with it. */
typedef vex_err (*vex_filter_get)(void *arg, const struct vex_filter_col *col,
				  struct vex_filter_value *out);

struct vex_filter;
/* -EINVAL: `problem` has a sentence that names the place as an offset in bytes. */
vex_err vex_filter_new(const char *expr, struct vex_filter **out,
		       struct vex_problem *problem) VEX_CHECKED;
void vex_filter_free(struct vex_filter *f);
/* 1: the file matches, 0: not, or a negative errno. */
int vex_filter_test(struct vex_filter *f, vex_filter_get get, void *arg) VEX_CHECKED;

/* ---- backup ------------------------------------------------------------------------ */

/*
 * One moment of the store, piece by piece, while writes go on: the bytes of the files of
 * a store (docs/FORMAT.md) and where they belong. While it is open, slots freed since are
 * not used again. For one thread at a time, with a deep stack.
 */
struct vex_backup;

enum vex_piece_file { VEX_PIECE_END, VEX_PIECE_CATALOG, VEX_PIECE_ROWS, VEX_PIECE_RECS };
struct vex_piece {
	enum vex_piece_file file; /* END: there is no more; off: rows given */
	uint32_t space;           /* of ROWS and RECS */
	uint64_t off;
	size_t len;
};
#define VEX_PIECE_MIN ((size_t)65536) /* room for any: a row of 16,384 floats */

struct vex_backup_info {
	uint64_t lsn;   /* it shows all changes up to this */
	uint64_t since; /* slots of changes up to this are left out */
	uint64_t catalog_bytes, rows, row_bytes; /* in all, about */
	uint8_t uuid[16];
};

/* Slots of changes up to `since` are left out: 0 for none. -ENOSPC: the catalog is copied
 * within STORE/.vexfs for a while. */
vex_err vex_backup_open(struct vex_store *s, uint64_t since,
			struct vex_backup **out) VEX_CHECKED;
void vex_backup_info(const struct vex_backup *b, struct vex_backup_info *out);
/* The next piece, its bytes in buf, which has room for VEX_PIECE_MIN at least. */
vex_err vex_backup_next(struct vex_backup *b, void *buf, size_t room,
			struct vex_piece *p) VEX_CHECKED;
void vex_backup_close(struct vex_backup *b);

/* ---- checking an unmounted store ------------------------------------------------- */

/*
 * A store that nobody serves, opened to be looked at: nothing in it is written, neither
 * by opening nor by closing; a WAL that a crash left is read where it lies. The lock is
 * held until closed. For one thread, with a deep stack.
 */
struct vex_check;

enum vex_fix {
	VEX_FIX_NONE,  /* cannot be made good without losing something */
	VEX_FIX_OPEN,  /* opening the store for use makes it good */
	VEX_FIX_NAME,  /* VEX_NAME_DEL of (parent, name, node) */
	VEX_FIX_REPUT, /* the attachment `lsn` has its text still: put it again */
};

struct vex_finding {
	const char *text; /* one line: file, record, what is wrong; not kept */
	enum vex_fix fix;
	uint64_t node, parent, lsn;
	const char *name; /* NUL-ended */
};
/* A non-zero return ends the check and is returned. */
typedef vex_err (*vex_finding_fn)(void *arg, const struct vex_finding *f);

struct vex_check_counts {
	uint64_t spaces, attachments, rows;
};

/* -EBUSY: it is being served (one that closes is waited for, up to 30 s); -ENOENT: no
 * store there; -EUCLEAN: a catalog that cannot be
 * read. `problem` has a sentence. */
vex_err vex_check_open(int rootfd, struct vex_check **out,
		       struct vex_problem *problem) VEX_CHECKED;
void vex_check_close(struct vex_check *c);
/*
 * A catalog with damaged pages becomes one of what can be read of it, of its indexes and
 * of the slot files; the old one stays as catalog.db.damaged. Takes the store's lock. An
 * error leaves everything as it was. What is lost for good is told to `lost`, a line
 * each; `node` is asked for a node that is lost: the file that may be it, by the path it
 * had
 * ("" for the root), fills mark, is_dir, ino, size and mtime if it carries the node's
 * mark.
 */
struct vex_salvage {
	void (*lost)(void *arg, const char *line);
	bool (*node)(void *arg, const char *path, struct vex_node *n);
	void *arg;
	uint64_t attachments, nodes; /* out: that came back in another way */
};
vex_err vex_salvage(int rootfd, struct vex_salvage *o,
		    struct vex_problem *problem) VEX_CHECKED;
/* The catalog in itself, then every slot file and every row that is named. -EUCLEAN: the
 * catalog is such that the rest cannot be looked at; that was a finding. */
vex_err vex_check_run(struct vex_check *c, vex_finding_fn fn, void *arg,
		      struct vex_check_counts *counts) VEX_CHECKED;
/* All spaces that are not dropped. */
vex_err vex_check_spaces(struct vex_check *c,
			 vex_err (*fn)(void *, uint32_t id, uint32_t dim),
			 void *arg) VEX_CHECKED;
/* All nodes by id, with how many attachments each has; all names by parent and name. */
vex_err vex_check_nodes(struct vex_check *c,
			vex_err (*fn)(void *, const struct vex_node *, uint64_t attached),
			void *arg) VEX_CHECKED;
vex_err vex_check_names(struct vex_check *c,
			vex_err (*fn)(void *, uint64_t parent, const char *name,
				      uint32_t len, uint64_t node),
			void *arg) VEX_CHECKED;
/* The path the catalog has for a node, appended ("#ID" where it has none). */
void vex_check_path(struct vex_check *c, uint64_t node, struct vex_buf *out);

#endif
