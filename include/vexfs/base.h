/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base: what every room stands on: errors, scope cleanup, logging, checksums,
 * growable buffers, time, random bytes and the worker pool.
 *
 * Conventions of the whole tree:
 *  - a function that can fail returns vex_err: 0, or a negative errno;
 *  - results come last, as out parameters, and are untouched on failure;
 *  - AUTO_x variables clean themselves up; take_x moves ownership out.
 */
#ifndef VEXFS_BASE_H
#define VEXFS_BASE_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* ---- errors ---------------------------------------------------------- */

/* 0 or a negative errno. */
typedef int vex_err;
#define VEX_CHECKED __attribute__((warn_unused_result))
#define VEX_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- scope cleanup --------------------------------------------------- */

static inline void vex_cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void vex_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void vex_cleanup_unlock(pthread_mutex_t **m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}

static inline void vex_cleanup_rwunlock(pthread_rwlock_t **l)
{
	if (*l)
		pthread_rwlock_unlock(*l);
}

#define AUTO_CLOSE __attribute__((cleanup(vex_cleanup_fd)))
#define AUTO_FREE __attribute__((cleanup(vex_cleanup_free)))

#define VEX_CAT_(a, b) a##b
#define VEX_CAT(a, b) VEX_CAT_(a, b)

/* Hold a lock until the end of the scope. */
#define SCOPED_LOCK(m)                                                                   \
	__attribute__((cleanup(vex_cleanup_unlock), unused)) pthread_mutex_t *VEX_CAT(   \
	    scoped_lock_, __LINE__) = vex_lock_(m)
#define SCOPED_RDLOCK(l)                                                                 \
	__attribute__((cleanup(vex_cleanup_rwunlock), unused)) pthread_rwlock_t *        \
	VEX_CAT(scoped_rd_, __LINE__) = vex_rdlock_(l)
#define SCOPED_WRLOCK(l)                                                                 \
	__attribute__((cleanup(vex_cleanup_rwunlock), unused)) pthread_rwlock_t *        \
	VEX_CAT(scoped_wr_, __LINE__) = vex_wrlock_(l)

static inline pthread_mutex_t *vex_lock_(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

static inline pthread_rwlock_t *vex_rdlock_(pthread_rwlock_t *l)
{
	pthread_rwlock_rdlock(l);
	return l;
}

static inline pthread_rwlock_t *vex_wrlock_(pthread_rwlock_t *l)
{
	pthread_rwlock_wrlock(l);
	return l;
}

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define take_ptr(pp)                                                                     \
	({                                                                               \
		__typeof__(*(pp)) taken_ = *(pp);                                        \
		*(pp) = NULL;                                                            \
		taken_;                                                                  \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline uint64_t vex_min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- stacks ------------------------------------------------------------ */

/* Whether this thread serves a request now, on a stack of which it may use little. */
void vex_stack_small(bool yes);
bool vex_stack_is_small(void);

/* Runs it here where the stack is deep, else on a thread that has one, and waits: -ENOMEM
 * where too many wait. For a few words now and then; what it waits for must not wait for
 * it. The thread is there between these two. */
vex_err vex_deep_call(vex_err (*fn)(void *), void *arg);
vex_err vex_deep_start(void) VEX_CHECKED;
void vex_deep_end(void);

/* First in a function that such a thread must not call (src/base/stack.c). VEX_APART
 * keeps a static one from being inlined where its caller may be called. */
#define vex_deep_only() vex_deep_only_at(__func__)
void vex_deep_only_at(const char *function);
#define VEX_APART __attribute__((noinline))

/* ---- log --------------------------------------------------------------- */

enum vex_log_level { VEX_LOG_ERROR, VEX_LOG_WARN, VEX_LOG_INFO, VEX_LOG_DEBUG };

/* Where log lines go: stderr, or syslog. Levels above `max` are dropped.
 * Call once, before threads start. */
void vex_log_init(bool to_syslog, enum vex_log_level max);
void vex_log_set_level(enum vex_log_level max);
enum vex_log_level vex_log_level(void);
/* Lines not written since start, because there were too many a second. */
uint64_t vex_log_suppressed(void);
/* The last error or warning, and when it was (CLOCK_REALTIME in ns; 0: none). */
int64_t vex_log_last(char *text, size_t size);
void vex_log(enum vex_log_level level, const char *fmt, ...) VEX_PRINTF(2, 3);
#define vex_error(...) vex_log(VEX_LOG_ERROR, __VA_ARGS__)
#define vex_warn(...) vex_log(VEX_LOG_WARN, __VA_ARGS__)
#define vex_info(...) vex_log(VEX_LOG_INFO, __VA_ARGS__)
#define vex_debug(...) vex_log(VEX_LOG_DEBUG, __VA_ARGS__)

/* ---- checksums, random, time ------------------------------------------- */

/* XXH3-64 of `len` bytes, with a seed (chain calls by passing the last sum). */
uint64_t vex_sum64(uint64_t seed, const void *data, size_t len);

/* Cryptographically random bytes (getrandom). Never fails for len <= 256. */
vex_err vex_random(void *out, size_t len) VEX_CHECKED;

/* CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds. */
uint64_t vex_now_mono(void);
int64_t vex_now_real(void);

/* ---- growable byte buffer ---------------------------------------------- */

/*
 * Bytes that grow on the heap up to `cap` (0: VEX_BUF_CAP). The first failure
 * (-ENOMEM, -EFBIG) sticks in `err`; appends after it do nothing, so a writer
 * checks once at the end. Zero-initialised is a valid empty buffer.
 */
#define VEX_BUF_CAP ((size_t)256 << 20)
struct vex_buf {
	char *data;
	size_t len, size, cap;
	vex_err err;
};

void vex_buf_free(struct vex_buf *b);
#define AUTO_BUF __attribute__((cleanup(vex_buf_free)))
void vex_buf_add(struct vex_buf *b, const void *data, size_t len);
void vex_buf_str(struct vex_buf *b, const char *s);
void vex_buf_fmt(struct vex_buf *b, const char *fmt, ...) VEX_PRINTF(2, 3);
/* Room for `len` more bytes, uninitialised, already counted in len. NULL on error. */
void *vex_buf_room(struct vex_buf *b, size_t len);
/* A JSON string with its quotes. Bytes that are not UTF-8 become \udcXX (XX the
 * byte), as Python's surrogateescape does: reversible. */
void vex_buf_json(struct vex_buf *b, const char *s, size_t len);
/* The same of a sentence: \xHH, for parsers that refuse lone surrogates. */
void vex_buf_json_words(struct vex_buf *b, const char *s);

/* ---- file handles ------------------------------------------------------- */

/*
 * What name_to_handle_at(2) says of an inode: it names the inode and its
 * generation, so a reused inode number has another handle. len 0: none (the
 * filesystem has no handles, or longer ones). Comparable as bytes within one
 * filesystem only.
 */
#define VEX_FH_MAX 40
struct vex_fh {
	int32_t type;
	uint8_t len;
	uint8_t bytes[VEX_FH_MAX];
	uint8_t zero[3]; /* always 0: the struct compares as bytes */
};

/* Handle of `name` below `dirfd` (not following a last symlink), or of dirfd
 * itself with name "". mount_id may be NULL. Where handles are unsupported:
 * 0 with fh->len 0. */
vex_err vex_fh_get(int dirfd, const char *name, struct vex_fh *fh,
		   int *mount_id) VEX_CHECKED;
/* Opens the inode; mountfd is any real (not O_PATH) descriptor on its filesystem.
 * Needs CAP_DAC_READ_SEARCH: -EPERM without; -ESTALE where it is gone. */
vex_err vex_fh_open(int mountfd, const struct vex_fh *fh, int flags,
		    int *out) VEX_CHECKED;
static inline bool vex_fh_equal(const struct vex_fh *a, const struct vex_fh *b)
{
	return a->len && a->len == b->len && a->type == b->type &&
	       !memcmp(a->bytes, b->bytes, a->len);
}

/* "/proc/self/fd/N": the path by which xattr calls reach an O_PATH descriptor. */
struct vex_procfd {
	char path[32];
};
struct vex_procfd vex_procfd(int fd);

/* ---- xattrs ------------------------------------------------------------- */

/* fgetxattr(2) for any descriptor, O_PATH ones too; and lgetxattr(2) of `name` below
 * dirfd. -1 and errno, as these. */
ssize_t vex_getxattr(int fd, const char *attr, void *value, size_t size);
ssize_t vex_getxattr_at(int dirfd, const char *name, const char *attr, void *value,
			size_t size);

/* ---- descriptors that ran out --------------------------------------------- */

/* A cache of descriptors: close_some closes some nobody uses now, false where there
 * are none. Called by any thread; it must not ask for relief itself. */
struct vex_relief {
	bool (*close_some)(void *arg);
	void *arg;
	struct vex_relief *next; /* base's */
};
void vex_relief_add(struct vex_relief *r);
void vex_relief_remove(struct vex_relief *r);
/* Whether `err` is EMFILE or ENFILE and caches closed some: then try again. Leaves
 * errno at `err`. Not under a lock of such a cache. */
bool vex_fds_short(int err);
/* openat(2) with O_CLOEXEC, and dup(2): tried again where caches could make room. */
int vex_openat(int dirfd, const char *name, int flags, mode_t mode);
vex_err vex_dup(int fd, int *out) VEX_CHECKED;

/* ---- worker pool --------------------------------------------------------- */

/*
 * Threads with deep stacks, for what must not run on a request thread (SQLite,
 * exact scans, number parsing). vex_pool_call runs fn(arg) on one of them and
 * returns its result; the caller sleeps meanwhile, so arg may live on its
 * stack. Calls are taken in order; with more than `max_queued` waiting a call
 * fails with -ENOMEM. Called from a thread of the pool itself, fn runs at once,
 * right there.
 */
struct vex_pool;
vex_err vex_pool_new(unsigned threads, unsigned max_queued, const char *name,
		     struct vex_pool **out) VEX_CHECKED;
/* At most `n` calls run at once from now on; 0: one a thread. */
void vex_pool_limit(struct vex_pool *p, unsigned n);
/* Calls that wait, and that run. */
void vex_pool_load(struct vex_pool *p, unsigned *queued, unsigned *running);
/* Waits for calls under way. */
void vex_pool_free(struct vex_pool *p);
vex_err vex_pool_call(struct vex_pool *p, vex_err (*fn)(void *), void *arg);

/* A thread with the given stack size, named for top(1). */
vex_err vex_thread_start(pthread_t *t, const char *name, size_t stack,
			 void *(*fn)(void *), void *arg) VEX_CHECKED;

/* Bytes of memory this process may use: the machine's, or its memory cgroup's limit. */
uint64_t vex_memory_total(void);

#endif
