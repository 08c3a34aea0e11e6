/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to control: its state, a session's state, and what its files offer each
 * other.
 *
 * Locks: control.lock guards the accounts; session.lock everything that changes in a
 * session, and is held for the whole of a call, a search included: a session is for
 * one thread at a time. Order: session.lock, then control.lock.
 */
#ifndef VEXFS_CONTROL_I_H
#define VEXFS_CONTROL_I_H

#include <vexfs/control.h>
#include <vexfs/kernel.h>
#include <vexfs/vexfs.h>

#define STAGE_MAX ((size_t)64 << 20)

enum file_id {
	FILE_CONTROL = 1,
	FILE_STATUS = 2,
	FILE_QUERY = 3,
	FILE_METRICS = 4,
	FILE_CONFIG = 5,
	FILE_EVENTS = 6
};

struct account;
struct live;  /* live.c: a query that stays */
struct lives; /* all of them, and their thread */
struct hub;   /* events.c: who reads events, and their thread */
struct reader;

struct vex_control {
	/* fixed after new: */
	struct vex_engine *engine;
	char *mountpoint, *store, *options;
	void (*status_extra)(void *arg, struct vex_buf *out);
	void *arg;
	uint64_t started;
	struct vex_pool *pool; /* deep stacks, for parsing JSON */
	struct lives *lives;
	struct hub *hub;

	pthread_mutex_t lock;
	/* guarded by lock: */
	struct account *accounts;
	unsigned sessions;
	uint64_t held;
};

/* What the session's last failed call leaves for VEXFS_IOC_LAST_ERROR. */
struct last_error {
	int error;
	uint32_t item;
	char text[496];
};

/* An export under way. The rights are those of the caller of the ioctl, not of who
 * happens to read the descriptor later. */
struct export
{
	bool on;
	bool stored; /* VEXFS_EXPORT_STORED */
	char space[VEXFS_NAME_LEN];
	uint64_t after;
	vex_err err;          /* met behind the records given last: for the next read */
	struct vex_cred cred; /* groups owned */
};

/* Puts and deletes staged between begin and commit, copied: packed records one behind
 * the other, and a byte each in `del`. */
struct txn {
	bool open;
	struct vex_buf records, del;
	uint32_t count;
	uint64_t bytes; /* charged */
};

/* What the file `query` keeps besides stage, result and text (the answer's next piece,
 * read up to `at`). */
struct query {
	uint32_t uid, gid; /* who wrote the request */
	bool mixed;        /* several did */
	bool live;         /* it is to stay */
	uint32_t queries;
	size_t at;
};

struct vex_session {
	/* fixed after open: */
	struct vex_control *control;
	int id;
	bool writable;
	struct account *account;
	void (*wake)(void *arg); /* tells who polls; NULL: nobody to tell */
	void *wake_arg;

	pthread_mutex_t lock;
	/* guarded by lock: */
	struct vex_buf stage;
	bool stage_bad;            /* a write failed: what is staged is not all of it */
	struct vex_result *result; /* of the last search; NULL: nothing unread */
	size_t cursor;             /* first unread hit */
	uint64_t result_bytes;     /* charged for it */
	struct export export;
	struct vex_backup *backup; /* NULL: none under way */
	struct txn txn;
	struct last_error error;
	struct vex_buf text; /* content of a generated file */
	struct query query;
	struct reader *reader; /* of events */
	struct live *live;     /* NULL: there never was one */
	void *head;            /* room for any struct of the contract */

	/* Records wait for read(2). Apart from the lock, so that poll never waits. */
	_Atomic bool unread;
};

/* ---- account.c: what one user may hold ------------------------------------------- */

/* Counts a session of cred's user. -ENOMEM past the limits. */
vex_err account_open(struct vex_control *c, const struct vex_cred *cred,
		     struct account **out) VEX_CHECKED;
void account_close(struct vex_control *c, struct account *a);
/* Bytes held on behalf of a user beyond one call. -ENOMEM past the limits. */
vex_err account_charge(struct vex_control *c, struct account *a,
		       uint64_t bytes) VEX_CHECKED;
void account_release(struct vex_control *c, struct account *a, uint64_t bytes);

/* ---- session.c ------------------------------------------------------------------- */

/* These are called with the session's lock held. */
void stage_empty(struct vex_session *s);
/* Drops unread hits and an export. */
void unread_drop(struct vex_session *s);
/* Takes the result; on failure (-ENOMEM) it is freed. */
vex_err unread_take(struct vex_session *s, struct vex_result *r) VEX_CHECKED;
/* Adds to the stage; a failure spoils it until it is emptied. */
vex_err stage_add(struct vex_session *s, const void *buf, size_t size) VEX_CHECKED;
/* Keeps a sentence for the error this call is about to return; returns err. */
vex_err session_fail(struct vex_session *s, vex_err err, const char *fmt, ...)
    VEX_PRINTF(3, 4);

/* ---- dispatch.c: one ioctl ------------------------------------------------------- */

/*
 * `head` holds the struct without its data, zero-filled where the caller's was
 * shorter; a handler changes it in place and it becomes the reply. data: what
 * followed in the caller's struct. reply: room for data of the answer; a handler
 * says in `used` how much of it holds something.
 */
struct call {
	struct vex_session *s;
	struct vex_engine *engine;
	const struct vex_cred *cred;
	void *head;
	const uint8_t *in;
	uint8_t *out;
	size_t in_size, out_size;
	/* set by dispatch: */
	const uint8_t *data;
	uint8_t *reply;
	size_t data_len, room, used;
	void *copy; /* heap: of the data, where fs's was not aligned */
};

/* Whether a command has the type and number of another, whatever its size. */
static inline bool cmd_is(uint32_t cmd, uint32_t other)
{
	return _IOC_TYPE(cmd) == _IOC_TYPE(other) && _IOC_NR(cmd) == _IOC_NR(other);
}

/* Finds the handler, checks what all have in common, packs the reply: *n bytes. */
vex_err dispatch(struct call *c, uint32_t cmd, size_t *n) VEX_CHECKED;

/* Whether a name within the head is NUL-ended within what the caller passed, and no
 * longer than a space's: else -EINVAL. */
vex_err call_name(struct call *c, const char *name, size_t offset) VEX_CHECKED;
/* -EINVAL unless all bytes are 0. */
vex_err call_zero(struct call *c, const void *p, size_t len,
		  const char *what) VEX_CHECKED;
#define call_reserved(c, field) call_zero(c, &(field), sizeof(field), "a reserved field")
/* Has the data begin at a multiple of 8: where it does not, it is copied. */
vex_err call_align(struct call *c) VEX_CHECKED;
/* A string of `len` bytes and its NUL at *at of the data; moves *at behind it. */
vex_err call_string(struct call *c, size_t *at, uint32_t len,
		    const char **out) VEX_CHECKED;

/* ---- handlers -------------------------------------------------------------------- */

vex_err ioc_version(struct call *c) VEX_CHECKED;      /* about.c */
vex_err ioc_sync(struct call *c) VEX_CHECKED;         /* about.c */
vex_err ioc_status(struct call *c) VEX_CHECKED;       /* about.c */
vex_err ioc_last_error(struct call *c) VEX_CHECKED;   /* about.c */
vex_err ioc_backup(struct call *c) VEX_CHECKED;       /* backup.c */
vex_err ioc_checkpoint(struct call *c) VEX_CHECKED;   /* maintain.c */
vex_err ioc_compact(struct call *c) VEX_CHECKED;      /* maintain.c */
vex_err ioc_recall(struct call *c) VEX_CHECKED;       /* index.c */
vex_err ioc_rebuild(struct call *c) VEX_CHECKED;      /* index.c */
vex_err ioc_stale(struct call *c) VEX_CHECKED;        /* stale.c */
vex_err ioc_reattach(struct call *c) VEX_CHECKED;     /* stale.c */
vex_err ioc_scan(struct call *c) VEX_CHECKED;         /* stale.c */
vex_err ioc_search(struct call *c) VEX_CHECKED;       /* search.c */
vex_err ioc_next(struct call *c) VEX_CHECKED;         /* hits.c */
vex_err ioc_space_create(struct call *c) VEX_CHECKED; /* space.c */
vex_err ioc_space_get(struct call *c) VEX_CHECKED;
vex_err ioc_space_list(struct call *c) VEX_CHECKED;
vex_err ioc_space_drop(struct call *c) VEX_CHECKED;
vex_err ioc_space_set(struct call *c) VEX_CHECKED;
vex_err ioc_put(struct call *c) VEX_CHECKED;    /* items.c */
vex_err ioc_delete(struct call *c) VEX_CHECKED; /* items.c */
vex_err ioc_export(struct call *c) VEX_CHECKED; /* export.c */
vex_err ioc_begin(struct call *c) VEX_CHECKED;  /* txn.c */
vex_err ioc_commit(struct call *c) VEX_CHECKED;
vex_err ioc_abort(struct call *c) VEX_CHECKED;

/* ---- items.c, txn.c ---------------------------------------------------------------- */

/* Packed records to read: from, and how many bytes are left. */
struct region {
	const uint8_t *p;
	size_t left;
};
/* The next record, checked; out points into it. */
vex_err item_take(struct vex_session *s, struct region *in, bool put,
		  struct vex_item *out) VEX_CHECKED;
/* Keeps which item an engine call failed at, and says so. bad >= n: no single one. */
vex_err items_blame(struct vex_session *s, vex_err err, const struct vex_item *items,
		    size_t n, size_t bad) VEX_CHECKED;
/* Instead of applying them: n items, whose records are r, join the transaction. */
vex_err txn_stage(struct call *c, const struct vex_item *items, uint32_t n, bool put,
		  struct region r) VEX_CHECKED;
void txn_drop(struct vex_session *s);

/* ---- search.c, query.c ----------------------------------------------------------- */

/* The search of a struct and the data behind it (c->data): the one way to the engine. */
vex_err search_find(struct call *c, const struct vexfs_search *h,
		    struct vex_result **out) VEX_CHECKED;
/* The file `query`. The session's lock is held. */
vex_err query_read(struct vex_session *s, const struct vex_cred *cred, void *buf,
		   size_t size, size_t *n) VEX_CHECKED;
vex_err query_write(struct vex_session *s, const struct vex_cred *cred, const void *buf,
		    size_t size) VEX_CHECKED;

/* Whether read(2) of `query` has something now. */
void query_settle(struct vex_session *s);

/* ---- live.c ------------------------------------------------------------------------ */

vex_err lives_new(struct vex_control *c, struct lives **out) VEX_CHECKED;
void lives_free(struct lives *v);
/* With the session's lock held: runs the query and says its hits in s->text; it stays,
 * and takes `data`, until stopped. After an overflow was read: begins anew. */
vex_err live_begin(struct vex_session *s, const struct vex_cred *cred,
		   const struct vexfs_search *head, struct vex_buf *data) VEX_CHECKED;
void live_refill(struct vex_session *s);
/* An overflow was, or is to be, read. */
bool live_waits(const struct vex_session *s);
void live_stop(struct vex_session *s);
/* Without it: the session is about to be freed. */
void live_end(struct vex_session *s);

/* ---- hits.c, export.c, status.c -------------------------------------------------- */

/* Packs unread hits into buf, as many as fit, and moves the cursor. */
size_t hits_pack(struct vex_session *s, void *buf, size_t room, uint32_t *hits);
/* For read(2): the next records. -EINVAL where the next one does not fit. */
vex_err hits_read(struct vex_session *s, void *buf, size_t size, size_t *n) VEX_CHECKED;
vex_err export_read(struct vex_session *s, void *buf, size_t size, size_t *n) VEX_CHECKED;
void export_end(struct export *x);
vex_err backup_read(struct vex_session *s, void *buf, size_t size, size_t *n) VEX_CHECKED;
void backup_end(struct vex_session *s);
/* The JSON of `status`, as this caller may see it. */
vex_err status_text(struct vex_control *c, const struct vex_cred *cred,
		    struct vex_buf *out) VEX_CHECKED;
const char *metric_name(uint8_t metric);
/* trouble.c: its lines about errors, thresholds and slow operations. */
vex_err trouble_text(const struct vex_store_status *st, struct vex_buf *b) VEX_CHECKED;
/* health.c: its lines "health" and, where told, the reasons. */
void health_text(struct vex_control *c, const struct vex_store_status *st, bool tell,
		 struct vex_buf *b);
/* The text of `metrics`: metrics.c. For administrators. */
vex_err metrics_text(struct vex_control *c, struct vex_buf *out) VEX_CHECKED;
/* events.c; with the session's lock held, but for open and close */
vex_err events_new(struct vex_control *c, struct hub **out) VEX_CHECKED;
void events_free(struct hub *h);
vex_err events_open(struct vex_session *s) VEX_CHECKED;
void events_close(struct vex_session *s);
vex_err events_read(struct vex_session *s, const struct vex_cred *cred, void *buf,
		    size_t size, size_t *n) VEX_CHECKED;
vex_err events_write(struct vex_session *s, const void *buf, size_t size) VEX_CHECKED;
bool events_wait(const struct vex_session *s);
/* config.c */
vex_err config_text(struct vex_control *c, struct vex_buf *out) VEX_CHECKED;
void config_json(struct vex_control *c, struct vex_buf *out);
vex_err config_write(struct vex_session *s, const struct vex_cred *cred, const void *buf,
		     size_t size) VEX_CHECKED;
vex_err ioc_config(struct call *c) VEX_CHECKED;
vex_err ioc_stats(struct call *c) VEX_CHECKED;
const char *type_name(uint8_t type);

static inline size_t pad8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

#endif
