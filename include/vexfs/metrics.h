/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: what happened, counted. Operations with their latency, errors and stack;
 * plain counters; thresholds and the operations that crossed them. Each is declared
 * once, in the tables below; names and meanings come from there, in .vexfs/metrics, in
 * `vexctl stats` and in the docs. Numbers are stable: new rows go to the ends.
 *
 * Every room may call this one. Counting takes no lock, allocates nothing and needs
 * some hundred bytes of stack; a thread counts in one of a few shards, which reading
 * sums up: what is read while others count is each number of some moment, no more.
 */
#ifndef VEXFS_METRICS_H
#define VEXFS_METRICS_H

#include <vexfs/base.h>

/* ---- thresholds ------------------------------------------------------------------ */

/* X(id, name, unit of what is compared) */
#define VEX_LIMITS(X)                                                                    \
	X(SEARCH, "search", "ns")                                                        \
	X(STORAGE, "storage", "ns")                                                      \
	X(SYNC, "sync", "ns")                                                            \
	X(OP, "operation", "ns")                                                         \
	X(STACK_WARN, "stack_warning", "bytes")                                          \
	X(STACK, "stack_limit", "bytes")                                                 \
	X(MEMORY, "memory", "bytes")                                                     \
	X(ERRORS, "error_rate", "per mille")                                             \
	X(NONE, "none", "")

enum vex_limit {
#define X(id, name, unit) VEX_LIMIT_##id,
	VEX_LIMITS(X)
#undef X
	    VEX_LIMIT_COUNT,
};

/* ---- operations ------------------------------------------------------------------ */

/* X(id, name, class, threshold, meaning). Class "search": name is mode/plan. */
#define VEX_OPS(X)                                                                       \
	X(LOOKUP, "lookup", "fuse", OP, "a name looked up")                              \
	X(FORGET, "forget", "fuse", OP, "inodes the kernel forgot")                      \
	X(GETATTR, "getattr", "fuse", OP, "stat")                                        \
	X(SETATTR, "setattr", "fuse", OP, "chmod, chown, truncate, utimens")             \
	X(READLINK, "readlink", "fuse", OP, "a symlink read")                            \
	X(MKNOD, "mknod", "fuse", OP, "a file or node made")                             \
	X(MKDIR, "mkdir", "fuse", OP, "a directory made")                                \
	X(UNLINK, "unlink", "fuse", OP, "a name removed")                                \
	X(RMDIR, "rmdir", "fuse", OP, "a directory removed")                             \
	X(SYMLINK, "symlink", "fuse", OP, "a symlink made")                              \
	X(RENAME, "rename", "fuse", OP, "a name changed")                                \
	X(LINK, "link", "fuse", OP, "a name added")                                      \
	X(CREATE, "create", "fuse", OP, "a file made and opened")                        \
	X(OPEN, "open", "fuse", OP, "a file opened")                                     \
	X(READ, "read", "fuse", STORAGE, "file data read")                               \
	X(WRITE, "write", "fuse", STORAGE, "file data written")                          \
	X(FLUSH, "flush", "fuse", STORAGE, "a descriptor closed")                        \
	X(RELEASE, "release", "fuse", STORAGE, "the last descriptor closed")             \
	X(FSYNC, "fsync", "fuse", SYNC, "fsync(2) of a file")                            \
	X(OPENDIR, "opendir", "fuse", OP, "a directory opened")                          \
	X(READDIR, "readdir", "fuse", OP, "directory entries read")                      \
	X(READDIRPLUS, "readdirplus", "fuse", OP, "entries read with attributes")        \
	X(RELEASEDIR, "releasedir", "fuse", OP, "a directory closed")                    \
	X(FSYNCDIR, "fsyncdir", "fuse", SYNC, "fsync(2) of a directory")                 \
	X(STATFS, "statfs", "fuse", OP, "statfs(2)")                                     \
	X(SETXATTR, "setxattr", "fuse", OP, "an xattr set; vectors among them")          \
	X(GETXATTR, "getxattr", "fuse", OP, "an xattr read")                             \
	X(LISTXATTR, "listxattr", "fuse", OP, "names of xattrs read")                    \
	X(REMOVEXATTR, "removexattr", "fuse", OP, "an xattr removed")                    \
	X(FALLOCATE, "fallocate", "fuse", STORAGE, "fallocate(2)")                       \
	X(LSEEK, "lseek", "fuse", OP, "holes looked for")                                \
	X(COPY, "copy_file_range", "fuse", STORAGE, "copy_file_range(2)")                \
	X(IOCTL, "ioctl", "fuse", NONE, "a call on .vexfs/control, searches included")   \
	X(POLL, "poll", "fuse", OP, "poll(2)")                                           \
	X(PUT, "put", "vector", OP, "an attachment set, by any way")                     \
	X(DELETE, "delete", "vector", OP, "an attachment removed by its name")           \
	X(GET, "get", "vector", OP, "an attachment read")                                \
	X(BATCH, "batch", "vector", STORAGE, "puts and deletes applied in one step")     \
	X(ABSORB, "absorb", "vector", OP, "content of a .vec file taken in")             \
	X(COMMIT, "commit", "storage", STORAGE, "a group of changes, in the catalog")    \
	X(SYNC, "sync", "storage", SYNC, "all changes made durable")                     \
	X(CHECKPOINT, "checkpoint", "storage", SYNC, "the WAL moved into the catalog")   \
	X(SLOTS, "slots", "storage", STORAGE, "rows written to slot files")              \
	X(INDEX, "index", "index", NONE, "a look of the index thread with work done")    \
	X(INDEX_SAVE, "index_save", "index", NONE, "a graph written to its file")        \
	X(TRAVERSAL, "traversal", "index", NONE, "a walk through a graph")               \
	X(KNN_EXACT, "knn/exact", "search", SEARCH, "k nearest by a scan")               \
	X(KNN_GRAPH, "knn/graph", "search", SEARCH, "k nearest by the graph")            \
	X(KNN_OTHER, "knn/other", "search", SEARCH, "k nearest by another plan")         \
	X(RANGE_EXACT, "range/exact", "search", SEARCH, "all within a distance, scan")   \
	X(RANGE_GRAPH, "range/graph", "search", SEARCH, "all within a distance, graph")  \
	X(RANGE_OTHER, "range/other", "search", SEARCH, "all within, another plan")      \
	X(LIKE_EXACT, "like/exact", "search", SEARCH, "like a file, by a scan")          \
	X(LIKE_GRAPH, "like/graph", "search", SEARCH, "like a file, by the graph")       \
	X(LIKE_OTHER, "like/other", "search", SEARCH, "like a file, by another plan")    \
	X(MMR_EXACT, "mmr/exact", "search", SEARCH, "diverse, by a scan")                \
	X(MMR_GRAPH, "mmr/graph", "search", SEARCH, "diverse, by the graph")             \
	X(MMR_OTHER, "mmr/other", "search", SEARCH, "diverse, by another plan")          \
	X(SEARCH_FAILED, "any/none", "search", SEARCH, "a search that failed")

enum vex_op {
#define X(id, name, class, limit, meaning) VEX_OP_##id,
	VEX_OPS(X)
#undef X
	    VEX_OP_COUNT,
};
const char *vex_op_name(enum vex_op op);
const char *vex_op_class(enum vex_op op);
const char *vex_op_meaning(enum vex_op op);

/* ---- counters -------------------------------------------------------------------- */

/* X(id, metric name, meaning) */
#define VEX_COUNTERS(X)                                                                  \
	X(SEARCH_QUERIES, "search_queries_total",                                        \
	  "Queries searched; a call may bring "                                          \
	  "many.")                                                                       \
	X(SEARCH_HITS, "search_hits_total", "Hits given to callers.")                    \
	X(SEARCH_DISTANCES, "search_distances_total", "Distances computed by searches.") \
	X(SEARCH_LIMITED, "search_limited_total", "Searches ended early by a limit.")    \
	X(ROWS_PUT, "rows_written_total", "Rows of vectors written to slot files.")      \
	X(COMMITTED, "changes_total", "Change lists committed.")                         \
	X(DIRS_HIT, "directory_cache_hits_total", "Directories found open.")             \
	X(DIRS_MISS, "directory_cache_misses_total", "Directories opened anew.")         \
	X(FDS_HIT, "descriptor_cache_hits_total", "Inodes found open.")                  \
	X(FDS_MISS, "descriptor_cache_misses_total", "Inodes opened anew.")              \
	X(EVENTS, "events_read_total", "Events given to readers.")                       \
	X(OVERFLOWS, "events_overflow_total", "Readers that fell behind the log.")       \
	X(INDEX_ROWS, "index_rows_total", "Rows the graphs have taken in.")              \
	X(ANSWERS_HIT, "search_cache_hits_total",                                        \
	  "Searches answered by an earlier one's rows.")                                 \
	X(ANSWERS_MISS, "search_cache_misses_total",                                     \
	  "Searches that could have been, and were made.")

enum vex_counter {
#define X(id, name, meaning) VEX_COUNT_##id,
	VEX_COUNTERS(X)
#undef X
	    VEX_COUNT_COUNT,
};
void vex_count(enum vex_counter c, uint64_t n);
uint64_t vex_count_read(enum vex_counter c);

/* ---- one operation --------------------------------------------------------------- */

/* Counts it. True: it took longer than its threshold, and vex_slow_add wants words. */
bool vex_op_done(enum vex_op op, uint64_t ns, vex_err err);

/* The same around a call, with its stack: measured in one of `vex_stack_every` calls
 * (0: never; the first of each thread always), from the frame of who calls begin down.
 * Begin and end are called by the same function. */
struct vex_span {
	uint64_t start;
	uintptr_t top, low; /* low 0: not measured */
};
void vex_span_begin(struct vex_span *s);
bool vex_span_end(struct vex_span *s, enum vex_op op, vex_err err);
/* Stack alone: neither counted nor timed. */
void vex_stack_begin(struct vex_span *s);
void vex_stack_end(struct vex_span *s, enum vex_op op);
void vex_stack_every(uint32_t n);

struct vex_op_stat {
	uint64_t count, errors, total_ns, min_ns, max_ns, p50_ns, p95_ns, p99_ns;
	uint32_t stack; /* most bytes seen; 0: not measured */
};
void vex_op_read(enum vex_op op, struct vex_op_stat *out);

/* ---- thresholds and slow operations ------------------------------------------------ */

/* 0: none. */
void vex_limit_set(enum vex_limit l, uint64_t value);
uint64_t vex_limit_get(enum vex_limit l);
const char *vex_limit_name(enum vex_limit l);
const char *vex_limit_unit(enum vex_limit l);
/* A value that crossed it. */
void vex_limit_crossed(enum vex_limit l, uint64_t value);

struct vex_crossing {
	uint64_t count, last; /* crossings since start; the last value */
	uint64_t episode;     /* of these in the present or last episode */
	int64_t first_ns;     /* of the present episode, CLOCK_REALTIME; 0: never */
	bool now;             /* crossed in the last minute */
};
void vex_crossing_read(enum vex_limit l, struct vex_crossing *out);
/* Called, on the thread that crossed it, once an episode: crossings less than a minute
 * apart are one. It must be quick and small. NULL: nobody. */
void vex_crossing_hook(void (*fn)(void *arg, enum vex_limit l, uint64_t value),
		       void *arg);
/* Errors of the last window that tell of trouble, per mille of its operations. Each call
 * a minute or more after the last begins a new window. */
uint32_t vex_error_rate(void);

/* The last slow operations, newest first. */
#define VEX_SLOW_WORDS 200u
struct vex_slow {
	uint64_t serial;
	int64_t time_ns; /* CLOCK_REALTIME, at its end */
	uint64_t ns;
	enum vex_op op;
	vex_err err;
	uint32_t uid;
	char words[VEX_SLOW_WORDS];
};
#define VEX_SLOW_KEPT 64u
void vex_slow_add(enum vex_op op, uint64_t ns, vex_err err, uint32_t uid, const char *fmt,
		  ...) VEX_PRINTF(5, 6);
void vex_slow_plain(enum vex_op op, uint64_t ns, vex_err err, uint32_t uid);
/* At most n into out; how many. */
size_t vex_slow_read(struct vex_slow *out, size_t n);

/* ---- memory ------------------------------------------------------------------------ */

struct vex_memory {
	uint64_t resident, peak, virtual_, mapped, anonymous; /* bytes */
	uint64_t descriptors, threads;
};
/* From /proc/self; what cannot be read is 0. */
void vex_memory_read(struct vex_memory *out);

/* ---- text -------------------------------------------------------------------------- */

/* All of the above in the Prometheus text format. */
void vex_metrics_text(struct vex_buf *out);
/* HELP and TYPE of a family, for those who add their own. */
void vex_metrics_family(struct vex_buf *out, const char *name, const char *type,
			const char *help);

#endif
