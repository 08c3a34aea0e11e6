/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: what VexFS does, with no mount needed. It orders the rooms below: turns
 * xattr values into rows, keeps the identity and the names of files, answers
 * searches. fs and control are thin fronts over this door.
 *
 * Threads. Every call may come from any thread, with a small stack; what needs a
 * deep one (SQLite, scans, number parsing) is handed to the engine's worker pool
 * inside. No call blocks others except on the same file.
 *
 * Files. The engine gets descriptors of backing objects (O_PATH is enough) and
 * works by descriptor and *at calls; it never keeps a borrowed one.
 */
#ifndef VEXFS_ENGINE_H
#define VEXFS_ENGINE_H

#include <sys/stat.h>
#include <vexfs/base.h>
#include <vexfs/metrics.h>
#include <vexfs/store.h>

struct vex_engine;

/* ---- settings -------------------------------------------------------------- */

/* X(id, name, kind, least, most, default, may change while mounted, words, meaning).
 * Numbers are stable: new rows go to the end. */
#define VEX_KNOBS(X)                                                                     \
	X(METRIC, "metric", WORD, 0, 2, 0, true, "cosine|l2|ip",                         \
	  "of spaces made by a first attachment")                                        \
	X(STRICT, "strict", FLAG, 0, 1, 0, true, NULL, "make no space unasked")          \
	X(SYNC, "sync", WORD, 0, 1, 0, true, "lazy|always",                              \
	  "when attachments are safe from power loss")                                   \
	X(SYNC_INTERVAL, "sync_interval_ms", NUMBER, 1, 86400000, 2000, true, NULL,      \
	  "the longest wait of lazy")                                                    \
	X(BATCH, "batch_size", NUMBER, 1, 1000000, 50, true, NULL,                       \
	  "pending index work taken at once")                                            \
	X(INDEX_SYNC, "index_sync", WORD, 0, 1, 0, true, "lazy|immediate",               \
	  "whether puts wait for the index")                                             \
	X(MEM, "mem", SIZE, 0, UINT64_MAX, 0, true, NULL,                                \
	  "hard cap on index memory; 0: none")                                           \
	X(AUTO_REBUILD, "auto_rebuild", FLAG, 0, 1, 0, true, NULL,                       \
	  "build an index anew where it is found wanting")                               \
	X(THREADS, "threads", NUMBER, 1, 1024, 0, false, NULL, "workers; 0: one a core") \
	X(CONCURRENT, "max_concurrent_ops", NUMBER, 0, 1024, 0, true, NULL,              \
	  "searches running at once, the rest wait in order; 0: as many as threads")     \
	X(LOG, "log_level", WORD, 0, 3, 2, true, "error|warning|info|debug",             \
	  "what is logged")                                                              \
	X(AUDIT, "audit", FLAG, 0, 1, 0, true, NULL,                                     \
	  "log each attach, detach, search and setting: who, what, outcome")             \
	X(EVENTS, "events", WORD, 0, 1, 0, true, "vectors|all",                          \
	  "file events of files with attachments, or of all")                            \
	X(SLOW_SEARCH, "threshold_search_ms", NUMBER, 0, 86400000, 10, true, NULL,       \
	  "a search longer than this is slow; 0: none is")                               \
	X(SLOW_STORAGE, "threshold_storage_ms", NUMBER, 0, 86400000, 100, true, NULL,    \
	  "the same of commits, slot files, file data")                                  \
	X(SLOW_SYNC, "threshold_sync_ms", NUMBER, 0, 86400000, 200, true, NULL,          \
	  "the same of syncs and checkpoints")                                           \
	X(SLOW_OP, "threshold_op_ms", NUMBER, 0, 86400000, 10, true, NULL,               \
	  "the same of all other operations")                                            \
	X(STACK_WARN, "threshold_stack_warning", NUMBER, 0, 1048576, 4096, true, NULL,   \
	  "bytes of stack below a callback")                                             \
	X(STACK_LIMIT, "threshold_stack_limit", NUMBER, 0, 1048576, 6144, true, NULL,    \
	  "the same, beyond which the mount is ill")                                     \
	X(ERROR_RATE, "threshold_error_rate", NUMBER, 0, 1000, 10, true, NULL,           \
	  "operations of 1000 that may fail by trouble (EIO, ENOSPC, ENOMEM ...)")       \
	X(STACK_SAMPLE, "stack_sample", NUMBER, 0, 1000000, 64, true, NULL,              \
	  "stacks are measured in one of so many requests; 0: never")                    \
	X(KEEP_DAYS, "keep_days", NUMBER, 0, 36500, 30, true, NULL,                      \
	  "attachments whose file was replaced or vanished are kept so long")            \
	X(CACHE, "search_cache", SIZE, 0, UINT64_MAX, 8u << 20, true, NULL,              \
	  "memory for answers of earlier searches; 0: each is made anew")                \
	X(VEC_SPACE, "vec_space", SPACE, 0, UINT64_MAX, 0, true, NULL,                   \
	  "space of *.vec files; empty: vec<dimension>")                                 \
	X(PASSTHROUGH, "passthrough", WORD, 0, 1, 0, false, "auto|off",                  \
	  "whether the kernel reads and writes files itself where it can")

enum vex_knob {
#define X(id, ...) VEX_KNOB_##id,
	VEX_KNOBS(X)
#undef X
	    VEX_KNOB_COUNT,
};
enum vex_knob_kind {
	VEX_KNOB_NUMBER,
	VEX_KNOB_SIZE,
	VEX_KNOB_FLAG,
	VEX_KNOB_WORD,
	VEX_KNOB_SPACE, /* a space's name, or empty; its value is the name's number */
};
/* What was said last wins, in this order. */
enum vex_knob_from {
	VEX_FROM_DEFAULT,
	VEX_FROM_FILE,
	VEX_FROM_COMMAND,
	VEX_FROM_RUNTIME
};

struct vex_knob_info {
	const char *name, *meaning;
	const char *words; /* of a WORD: "a|b"; its values count from 0 */
	uint64_t min, max, fallback;
	enum vex_knob_kind kind;
	bool live; /* may change while mounted */
};
const struct vex_knob_info *vex_knob_info(enum vex_knob k);
int vex_knob_find(const char *name, size_t len); /* -1: none of that name */
vex_err vex_knob_parse(enum vex_knob k, const char *text, uint64_t *out) VEX_CHECKED;
/* The name that a value of kind SPACE stands for, for good. */
const char *vex_knob_space(uint64_t v);
void vex_knob_print(enum vex_knob k, uint64_t v, char *out, size_t room);

struct vex_settings {
	uint64_t value[VEX_KNOB_COUNT];
	uint8_t from[VEX_KNOB_COUNT]; /* enum vex_knob_from */
};
void vex_settings_init(struct vex_settings *s);

uint64_t vex_engine_knob(const struct vex_engine *e, enum vex_knob k);
enum vex_knob_from vex_engine_knob_from(const struct vex_engine *e, enum vex_knob k);
/* In force at once; keep: also written to VEX_CONF_NAME in STORE/.vexfs. -EINVAL; -EPERM:
 * not while mounted. */
#define VEX_CONF_NAME "vexfs.conf"
vex_err vex_engine_set_knob(struct vex_engine *e, enum vex_knob k, uint64_t value,
			    bool keep) VEX_CHECKED;

/* A line in the log where `audit` is on. cred may be NULL. */
struct vex_cred;
void vex_audit(struct vex_engine *e, const struct vex_cred *cred, const char *what,
	       vex_err err, const char *fmt, ...) VEX_PRINTF(5, 6);

struct vex_engine_opts {
	const struct vex_settings *settings; /* NULL: defaults, and the fields below:
					      * metric .. index_mem, store.sync ... */
	uint8_t metric;                      /* of spaces made by a first attachment */
	bool strict;                         /* an unknown space is -ENODEV instead */
	const char *vec_space;               /* space of .vec files; NULL: vec<dim> */
	unsigned threads;                    /* workers; 0: cores */
	uint32_t owner;                      /* uid that may administer, beside root */
	bool index_immediate;                /* puts wait until the graph has them */
	uint64_t index_mem;                  /* bytes all graphs may take; 0: no cap */
	uint64_t
	    graph_floats_min;    /* rows x dim from which a space has a graph; 0: usual */
	uint64_t attrs_rows_min; /* smaller spaces do without an index of attributes; 0:
				  * usual */
	struct vex_store_opts store;
};

vex_err vex_engine_open(int rootfd, const struct vex_engine_opts *o,
			struct vex_engine **out, struct vex_problem *problem) VEX_CHECKED;
void vex_engine_closing(struct vex_engine *e);
void vex_engine_close(struct vex_engine *e);
struct vex_store *vex_engine_store(struct vex_engine *e);

/* Who asks. Groups unknown: what only a group could grant is withheld. */
struct vex_cred {
	uint32_t uid, gid;
	uint32_t ngroups;
	const uint32_t *groups;
	bool groups_known;
};

bool vex_cred_is_admin(const struct vex_engine *e, const struct vex_cred *c);

/* ---- objects ------------------------------------------------------------- */

/* The caller's memory of an object's node: 0 not asked yet, VEX_NODE_NONE asked
 * and it has none, else the node's id. One word an inode; engine keeps it true. */
#define VEX_NODE_NONE (~(uint64_t)0)

struct vex_obj {
	int fd;                 /* any descriptor of it, O_PATH too; borrowed */
	struct vex_fh fh;       /* len 0: unknown, engine asks itself */
	int dirfd;              /* directory it was last found in; -1: unknown */
	const char *name;       /* its name there; NULL: unknown */
	_Atomic uint64_t *node; /* may be NULL */
};

/* ---- attachments as xattrs -------------------------------------------------- */

/* `attr` is what follows "user.vexfs.": "<space>", "<space>.<key>", "_info",
 * "_near.<space>[.<k>]". Errors as SPEC section 2. The kernel has checked that the
 * caller may write (set, remove) or read (get) the file. */
#define VEX_XATTR_PREFIX "user.vexfs."
#define VEX_XATTR_MARK "user.vexfs._id" /* the hidden mark on backing files */

vex_err vex_engine_xattr_set(struct vex_engine *e, const struct vex_obj *o,
			     const char *attr, const void *value, size_t size,
			     int flags) VEX_CHECKED;
/* Appends the value to `out`. */
vex_err vex_engine_xattr_get(struct vex_engine *e, const struct vex_obj *o,
			     const struct vex_cred *cred, const char *attr,
			     struct vex_buf *out) VEX_CHECKED;
vex_err vex_engine_xattr_remove(struct vex_engine *e, const struct vex_obj *o,
				const char *attr) VEX_CHECKED;
/* Appends the full NUL-ended name of each attachment. */
vex_err vex_engine_xattr_list(struct vex_engine *e, const struct vex_obj *o,
			      struct vex_buf *out) VEX_CHECKED;

/* ---- what happens to files ---------------------------------------------------- */

/* Around unlinkat and rmdir. begin commits an intent where the last name of a node
 * goes; end settles it by the result of the system call. `open`: descriptors of the
 * file remain, so its attachments live on, out of searches, until _released. */
struct vex_removal {
	uint64_t node, parent;
	bool last;
	const char *name;
	char *path;
	int fd;    /* private: the object, from begin to end */
	bool late; /* private: the intent could not be recorded */
	bool keep; /* private: replaced by a file without attachments: its own are kept */
	uint64_t moment; /* private */
	int obj_fd;      /* set before _end: the object, or -1: not at hand; borrowed */
};
vex_err vex_engine_unlink_begin(struct vex_engine *e, int dirfd, const char *name,
				struct vex_removal *r) VEX_CHECKED;
void vex_engine_unlink_end(struct vex_engine *e, struct vex_removal *r, vex_err result,
			   bool open);
/* The last descriptor of a file without names is closed. */
void vex_engine_released(struct vex_engine *e, uint64_t node);

/* Around renameat2; flags as there. `victim_open`: as `open` above, of the file
 * that was replaced. Handles names of files and of directories above attached
 * files, replaced files, and *.vec names (obj of the moved file after the call:
 * its error is kept in _info, not returned). */
struct vex_rename {
	struct vex_removal victim;
	uint64_t src, dst; /* nodes; dst with RENAME_EXCHANGE only */
	uint64_t olddir, newdir;
	unsigned flags;
	int olddirfd, newdirfd;
	const char *oldname, *newname;
	char *path;
	/* private: a directory moves; a *.vec name is involved; candidates were added */
	bool dir, vec, flying;
	uint64_t moment; /* private */
	bool bare;       /* private: what moves has no attachments */
	bool late;       /* private: not all of it could be recorded before */
};
vex_err vex_engine_rename_begin(struct vex_engine *e, int olddirfd, const char *oldname,
				int newdirfd, const char *newname, unsigned flags,
				struct vex_rename *r) VEX_CHECKED;
void vex_engine_rename_end(struct vex_engine *e, struct vex_rename *r, vex_err result,
			   bool victim_open);

/* Around linkat: o is the file, (newdirfd, newname) its new name. */
vex_err vex_engine_link_begin(struct vex_engine *e, const struct vex_obj *o, int newdirfd,
			      const char *newname) VEX_CHECKED;
void vex_engine_link_end(struct vex_engine *e, const struct vex_obj *o, int newdirfd,
			 const char *newname, vex_err result);

/* A regular file was made at (dirfd, name): where one with attachments has just gone from
 * there, it is a replacement, and those are kept. Before the call is answered. */
void vex_engine_made(struct vex_engine *e, int dirfd, const char *name);

/* At flush of a handle through which content changed since its last flush: stamps
 * attachments made while the file was empty; for *.vec, the content becomes its
 * attachment: the error is for close(2). */
vex_err vex_engine_written(struct vex_engine *e, const struct vex_obj *o) VEX_CHECKED;
/* Whether the file has attachments, or may have. */
bool vex_engine_has(struct vex_engine *e, const struct vex_obj *o);
/* Times were set through the mount: fresh stamps move along. */
void vex_engine_times_set(struct vex_engine *e, const struct vex_obj *o,
			  const struct stat *before, const struct stat *after);

/* fsync(2) of a file, after its own data: makes its attachments durable. */
vex_err vex_engine_fsync(struct vex_engine *e, const struct vex_obj *o) VEX_CHECKED;
vex_err vex_engine_sync(struct vex_engine *e) VEX_CHECKED;

/* `fn` is asked, before an attachment takes its stamp, to have what was stored through
 * mappings of that file written back; true where it did. Set before the first call. */
void vex_engine_on_stamp(struct vex_engine *e,
			 bool (*fn)(void *arg, const struct stat *st,
				    const struct vex_fh *fh),
			 void *arg);

/* Attributes of a file were changed through the mount: its mode, owner, times, size,
 * ACL or other xattrs. After the system call, before it is answered. */
void vex_engine_attrs_changed(struct vex_engine *e, const struct vex_obj *o);

/* ---- events ------------------------------------------------------------------------ */

/*
 * Events after *after that the caller may know of, as lines of JSON, oldest first: of at
 * most VEX_EVENTS_AT_ONCE rows of the log; *after moves behind them, told or withheld.
 */
#define VEX_EVENTS_AT_ONCE 256u
vex_err vex_engine_events(struct vex_engine *e, const struct vex_cred *cred,
			  uint64_t *after, struct vex_buf *out) VEX_CHECKED;
/* An event of a file without attachments; nothing unless events=all. */
bool vex_engine_wants_all(const struct vex_engine *e);
void vex_engine_file_event(struct vex_engine *e, enum vex_note kind, int dirfd,
			   const char *name);
/* As begun, after the system call and before the end. */
void vex_engine_rename_event(struct vex_engine *e, const struct vex_rename *r);

/* Counts whatever may have changed what a search shows: commits, and the above. */
uint64_t vex_engine_changes(struct vex_engine *e);
/* `fn` is told of each, from whatever thread it was; it must be quick and call nothing
 * here. A listener each; NULL ends it, and it is not called once that has returned. */
enum vex_watcher { VEX_WATCH_LIVE, VEX_WATCH_EVENTS, VEX_WATCHERS };
void vex_engine_watch(struct vex_engine *e, enum vex_watcher who, void (*fn)(void *arg),
		      void *arg);

/* ---- spaces ------------------------------------------------------------------- */

/* -EPERM unless root or the owner of the mount. -EEXIST, -EINVAL, -ENODEV. */
vex_err vex_engine_space_create(struct vex_engine *e, const struct vex_cred *cred,
				const struct vex_space_spec *spec) VEX_CHECKED;
vex_err vex_engine_space_drop(struct vex_engine *e, const struct vex_cred *cred,
			      const char *name) VEX_CHECKED;
/* Changes what differs from the present spec; -EINVAL for what is fixed. */
vex_err vex_engine_space_set(struct vex_engine *e, const struct vex_cred *cred,
			     const struct vex_space_spec *spec) VEX_CHECKED;
/* Means: as its recall asks for. */
#define VEX_EF_SEARCH_DEFAULT 64u
/* Checks a spec, fills defaults (m 32 below 256 dimensions, else 16; ef_construction 200,
 * ef_search 64). */
vex_err vex_space_spec_check(struct vex_space_spec *spec) VEX_CHECKED;

/* How a space is searched: by scans alone, or by a graph, once it is ready; searches see
 * every row in each state. */
enum vex_index_state {
	VEX_INDEX_EXACT = 0,
	VEX_INDEX_BUILDING,
	VEX_INDEX_READY,
	VEX_INDEX_FAILED,
	VEX_INDEX_POOR, /* searched, but short of its recall: to be rebuilt */
};
struct vex_index_info {
	enum vex_index_state state;
	float recall;          /* recall@10 as last measured; 0: not yet */
	uint32_t builds;       /* times it was built anew while mounted */
	uint32_t progress;     /* of rows being taken in, per mille; 0: none are */
	uint32_t seconds_left; /* of that */
	uint64_t nodes, pending, bytes; /* rows in the graph, not yet in it; its memory */
	uint64_t lsn;                   /* the change it stands at */
};
void vex_engine_index_info(struct vex_engine *e, struct vex_space *sp,
			   struct vex_index_info *out);

struct vex_rebuild {
	uint32_t spaces;      /* whose graphs are built anew */
	uint64_t rows, bytes; /* of these, and the memory all of it will take */
	double cpu_seconds;   /* it will take: where `timed`, an extrapolation */
	bool timed;
};
/* The graph of the space, or of all (name ""), is built anew in the background while the
 * old one serves. Spaces without one are passed over. -EPERM, -ENODEV. */
vex_err vex_engine_rebuild(struct vex_engine *e, const struct vex_cred *cred,
			   const char *name, struct vex_rebuild *out) VEX_CHECKED;

struct vex_recall {
	uint32_t sample;  /* queries wanted, 1 .. VEX_RECALL_SAMPLE_MAX */
	uint64_t from;    /* which rows: another number, another sample */
	uint32_t ef;      /* 0: as searches go by default */
	float recall;     /* in: as vex_query; out: measured */
	uint32_t queries; /* out: made */
	bool graph;       /* out: false: the space is scanned, and recall 1 */
	float aim;        /* out: the space's */
};
#define VEX_RECALL_SAMPLE_MAX 256u
/* recall@10 of the space's index against exact search, with rows of the space as queries
 * that are searched for as if they were not in it. -EPERM, -ENODEV, -EINVAL, -ENOMEM. */
vex_err vex_engine_recall(struct vex_engine *e, const struct vex_cred *cred,
			  const char *name, struct vex_recall *r) VEX_CHECKED;

/* Work that waits, and that runs. */
struct vex_engine_load {
	unsigned work_queued, work_running;     /* changes and lookups */
	unsigned search_queued, search_running; /* searches */
	uint64_t changes_queued;                /* for the writer */
};
void vex_engine_load(struct vex_engine *e, struct vex_engine_load *out);

/* As vex_space_counts, without what is kept for files that are not there. */
void vex_engine_counts(struct vex_engine *e, struct vex_space *sp,
		       struct vex_space_counts *out);

/* ---- by path, as the caller ------------------------------------------------------ */

/* Paths are relative to the root of the store ("" is the root itself), resolved
 * with the caller's rights, beneath the store; an escaping link is -EACCES, the
 * control directory -ENOENT. */
struct vex_item {
	const char *path;
	const char *attr;  /* <space>[.<key>] */
	const void *value; /* puts: as a setxattr value, or f32 rows if f32 */
	size_t size;
	bool f32;
	int flags; /* XATTR_CREATE, XATTR_REPLACE */
	bool del;  /* for apply and check: a delete; value is not read */
};
/* All or none; *bad: index of the item that failed, n where it was no single one. */
vex_err vex_engine_put_items(struct vex_engine *e, const struct vex_cred *cred,
			     const struct vex_item *items, size_t n,
			     size_t *bad) VEX_CHECKED;
vex_err vex_engine_delete_items(struct vex_engine *e, const struct vex_cred *cred,
				const struct vex_item *items, size_t n,
				size_t *bad) VEX_CHECKED;
/* Puts and deletes mixed, in order, in one commit: all or none. */
vex_err vex_engine_apply_items(struct vex_engine *e, const struct vex_cred *cred,
			       const struct vex_item *items, size_t n,
			       size_t *bad) VEX_CHECKED;
/* Whether apply could do that now, as far as it can be told without locking anything
 * and without the items that come before: names, values, files, permission. */
vex_err vex_engine_check_items(struct vex_engine *e, const struct vex_cred *cred,
			       const struct vex_item *items, size_t n,
			       size_t *bad) VEX_CHECKED;

/* The attachments of a space the caller may read, with lsn above *after, oldest
 * first; `fn` gets each with its path and rows (f32, and as stored) and returns 1 to
 * stop before taking this one. *after ends as the lsn of the last one taken. */
struct vex_exported {
	const char *path, *key;
	const float *rows;
	uint32_t nrows, dim;
	const void *stored;
	size_t stored_len;
};
vex_err vex_engine_export(struct vex_engine *e, const struct vex_cred *cred,
			  const char *space, uint64_t *after,
			  int (*fn)(void *, const struct vex_exported *),
			  void *arg) VEX_CHECKED;

/* ---- search ---------------------------------------------------------------------- */

#define VEX_K_MAX (1u << 20)
#define VEX_BATCH_MAX 65536u

struct vex_query {
	const char *space;    /* NULL or "": the only space of that dimension */
	const float *vectors; /* nq x dim; NULL with `like` */
	uint32_t dim, nq;
	const char *like;     /* PATH[:KEY] in place of vectors */
	const char *unlike;   /* PATH[:KEY] to keep away from; NULL: none */
	float beta;           /* by how much: > 0; looked at only with unlike */
	const char *under;    /* directory; NULL or "": everywhere */
	const char *where;    /* a filter (store.h); NULL: none */
	uint32_t k, offset;   /* k 0: all within max_distance */
	uint32_t per_file;    /* rows kept of a file; 0: all */
	uint32_t ef;          /* for an index; ignored by exact plans */
	float recall;         /* of the true hits an index is to find, at least; 0: the
			       * space's own aim. Where none can, the search is exact */
	float max_distance;   /* INFINITY: none */
	uint64_t max_visited; /* distances it may compute; 0: any number */
	uint64_t max_ns;      /* it may take; 0: any time */
	bool exact, fresh;
	bool no_cache;      /* neither answered from, nor kept as, an earlier answer */
	bool mmr;           /* k hits apart from each other, in order of choice */
	float lambda;       /* of mmr: 0 (diverse) .. 1 (near) */
	uint64_t skip_node; /* node never returned; 0: none */
	const struct vex_cred *cred;
};

struct vex_found {
	const char *path; /* relative to the root; owned by the result */
	const char *key;
	uint32_t path_len, key_len;
	uint32_t query, row;
	float distance;
	uint64_t ino;
	bool stale;
};

struct vex_result {
	struct vex_found *hits; /* by query, nearest first */
	size_t n;
	char space[VEX_SPACE_NAME_MAX + 1];
	uint8_t metric;
	uint32_t dim;
	bool truncated; /* a range search met VEX_K_MAX */
	bool cached;  /* by an earlier answer, which had that plan and those distances */
	bool partial; /* it met max_visited or max_ns: of what it has seen by then */
	uint32_t space_id;
	uint64_t lsn;              /* last change it has seen */
	uint64_t rows, candidates; /* of the space; of these, that may be hits */
	uint64_t distances, nanoseconds;
	const char *plan;    /* exact, graph, or one of them among candidates */
	struct vex_buf text; /* private: paths and keys */
};

/*
 * -EINVAL: dimension, NaN, zero query under cosine, k and offset out of range,
 * ambiguous space (problem names the choices), bad `where` (and its place), lambda;
 * -ENODEV: unknown space; -ENOENT, -EACCES: like, under; -ENODATA: like has no
 * attachment there; -ENOMEM; -ETIMEDOUT: `where` took too long.
 */
vex_err vex_engine_search(struct vex_engine *e, const struct vex_query *q,
			  struct vex_result **out,
			  struct vex_problem *problem) VEX_CHECKED;
void vex_result_free(struct vex_result *r);

/* ---- keeping it in shape ---------------------------------------------------------- */

enum vex_compact_stage {
	VEX_COMPACT_MOVE = 0,
	VEX_COMPACT_TRIM,
	VEX_COMPACT_CATALOG,
	VEX_COMPACT_DONE,
};
/* All zero to begin; what a call leaves says where the next one goes on. */
struct vex_compaction {
	uint32_t space, stage, tries;
	uint64_t left; /* free pages of the catalog */
	/* out, of this call: rows moved, bytes given back, rows freed but still held:
	 * then a moment's wait before the next call is well spent */
	uint64_t moved, given, held;
};
/* One bounded step of making the store smaller. -EIO, -ENOSPC, -EROFS, -ENOMEM. */
vex_err vex_engine_compact(struct vex_engine *e, struct vex_compaction *c) VEX_CHECKED;
/* As vex_backup_open, _next and _close, from any thread. */
vex_err vex_engine_backup(struct vex_engine *e, uint64_t since,
			  struct vex_backup **out) VEX_CHECKED;
vex_err vex_engine_backup_next(struct vex_engine *e, struct vex_backup *b, void *buf,
			       size_t room, struct vex_piece *p) VEX_CHECKED;
void vex_engine_backup_end(struct vex_engine *e, struct vex_backup *b);
/* Durable, and the WAL emptied into the catalog; frames that readers hold up are left. */
vex_err vex_engine_checkpoint(struct vex_engine *e, uint64_t *frames) VEX_CHECKED;

/* A path whose attachments are not for the content there. */
struct vex_stale {
	const char *path;
	int64_t since_ns; /* when it was missed first; 0: not known */
	uint8_t why;      /* 0: the content changed; else enum vex_kept_why */
};
/* Looks at a bounded number of files above *after, which ends as the last one looked at:
 * `fn` gets those that the caller may read and returns 1 to stop before taking this one.
 * *more: there are others. space "": all. -ENODEV. */
vex_err vex_engine_stale(struct vex_engine *e, const struct vex_cred *cred,
			 const char *space, uint64_t *after, bool *more,
			 int (*fn)(void *, const struct vex_stale *),
			 void *arg) VEX_CHECKED;
/* Gives the file at `path` what the last file replaced there, or vanished from there,
 * had attached, *n of it, stale. -ENODATA: nothing; -EACCES, -ENOENT; -EINVAL: no
 * regular file. */
vex_err vex_engine_reattach(struct vex_engine *e, const struct vex_cred *cred,
			    const char *path, uint64_t *n) VEX_CHECKED;

enum vex_scan_stage { VEX_SCAN_FILES = 0, VEX_SCAN_KEPT, VEX_SCAN_DONE };
/* All zero to begin; what a call leaves says where the next one goes on. */
struct vex_scan {
	uint64_t cursor;
	uint32_t stage;
	bool quick; /* without the checksums of vectors */
	/* out, of this call: */
	uint64_t files, missing, rows, bad; /* looked at; of these not there; vectors */
	uint64_t returned, purged, errors;  /* missing files; what could not be read */
};
/* One bounded step of the online check. */
vex_err vex_engine_scan(struct vex_engine *e, struct vex_scan *n) VEX_CHECKED;

/* ---- checking an unmounted store -------------------------------------------------- */

struct vex_fsck {
	/* Each finding, one line: what it is about, what is wrong, what was done. */
	void (*say)(void *arg, const char *line);
	void *arg;
	/* out: */
	unsigned fixed, left;
	uint64_t missing; /* files with attachments that are not there: no finding */
	struct vex_check_counts counts;
};

/*
 * Checks the store below rootfd: catalog, slots, marks, names. Writes nothing unless
 * `repair`; then makes good what can be without losing anything, and checks again, so
 * what is left is what a next run finds. -EBUSY: it is being served; -ENOENT: there is
 * no store; -ECANCELED: *stop became true. What is found is no error of the call.
 */
vex_err vex_engine_fsck(int rootfd, const struct vex_engine_opts *o, bool repair,
			const _Atomic bool *stop, struct vex_fsck *f,
			struct vex_problem *problem) VEX_CHECKED;

/* Gives the files of a store that was copied from a backup their marks again, by the
 * paths the catalog has for them. As vex_check_open; needs a deep stack. */
struct vex_restored {
	uint64_t marked, missing; /* files; no file there */
};
vex_err vex_engine_restore(int rootfd, struct vex_restored *out,
			   struct vex_problem *problem) VEX_CHECKED;

#endif
