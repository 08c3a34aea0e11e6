/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to store: its state, and what its files offer each other.
 *
 * Locks, in the order they may be taken:
 *   sync.lock   sync.c: who syncs now
 *   store.flush held over the flushes themselves, by the one who syncs or the writer
 *   space.alloc one space: which slots are taken
 *   store.pub   what is live: written by the writer thread after a commit, for bit
 *		 flips and pointer moves only; read to copy bitmaps and look up spaces
 *   store.pins  open views, oldest first
 *   space.bits_lock  the bitmap copy that views share
 *   queue.lock, readers.lock, damage.lock: leaves
 * Of these only store.flush is held over system calls that wait for the disk, and
 * space.alloc over ftruncate and mmap while a space grows; none over SQLite.
 *
 * The writer thread alone has the write connection (store.w) and its statements.
 */
#ifndef VEX_STORE_STORE_I_H
#define VEX_STORE_STORE_I_H

#include <vexfs/kernel.h>
#include <vexfs/store.h>
#include "format.h"
#include "sql.h"

#define SEGS_MAX 65536u
#define SEG_BYTES ((uint64_t)32 << 20)
#define SEG_SHIFT_MAX 18u
/* Bytes of rows in one put: a value of 65,536 bytes of text, "1,1,...", is twice that. */
#define ROWS_BYTES_MAX ((size_t)256 << 10)
#define WRITE_BYTES_MAX ((size_t)64 << 20) /* rows taken at once, for many puts */
#define LOG_KEEP 65536u
#define RECS_MAX 128u /* records written at once */
#define GROUP_MAX 256u
#define WAL_FULL 8192u /* frames (32 MiB): then it is synced and checkpointed at once */
#define QUEUE_MAX 8192u
#define READERS_KEPT 16u
#define VEX_NAME_BUF 256u /* a file name with its NUL */
#define WRITER_STACK ((size_t)1 << 20)
#define DAMAGE_KEPT 16u
#define TOUCHED 16384u /* counters of vex_store_touched: a power of two */

/* ---- a space ------------------------------------------------------------- */

/* Slots freed by the change `lsn`: not reused before it is durable and unseen. */
struct limbo {
	uint64_t lsn, slot;
	uint32_t rows;
};

struct vex_space {
	struct vex_store *store;
	uint32_t id, dim;
	uint8_t metric, type;
	struct vex_layout layout; /* of its rows: dim, type, scale */
	size_t stride;
	unsigned seg_shift;
	_Atomic uint32_t refs;
	int rows_fd, recs_fd;
	_Atomic bool dirty;  /* written to since the last flush */
	_Atomic bool broken; /* its files cannot be used: no slots at all */
	bool w_dropped;      /* writer only: dropped, perhaps not yet committed */

	/* By segment; entries are set once, before any slot in them is published. */
	uint8_t **rows;        /* [SEGS_MAX] */
	struct fmt_rec **recs; /* [SEGS_MAX] */
	float **norms;         /* [SEGS_MAX] */
	uint64_t **sums;       /* [SEGS_MAX]; rec_row_sum of slots that are pending */

	pthread_mutex_t alloc;
	/* guarded by alloc: */
	uint64_t *used;      /* bitmap: live, in limbo, handed out, or never again */
	uint64_t cap;        /* slots the files and bitmaps have room for */
	uint64_t high;       /* slots at or above were never used */
	uint64_t free;       /* clear bits of `used` below high */
	uint64_t hint;       /* where the next search for free slots begins */
	uint32_t no_run;     /* runs this long are known not to exist; 0: unknown */
	uint64_t *pending;   /* bitmap: written, not yet named by a put */
	struct limbo *limbo; /* ring, oldest first */
	size_t limbo_head, limbo_n, limbo_size;
	uint64_t limbo_rows;
	uint64_t freed;         /* slots since the last trim */
	uint64_t cut_serial;    /* pins up to this may know a later end (trim.c) */
	_Atomic uint64_t hold;  /* vex_space_hold; no lock */
	_Atomic uint64_t moved; /* vex_space_moved; no lock */

	/* guarded by store.pub: */
	struct vex_space_spec spec;
	uint64_t *live, *bad; /* bitmaps of bitmap_slots bits */
	uint64_t bitmap_slots;
	uint64_t top;          /* no slot at or above is live */
	uint64_t bits_changed; /* bumped by each change of `live` */
	uint64_t rows_lsn;     /* the last change that made rows live */
	uint64_t live_rows, attachments, damaged;

	pthread_mutex_t bits_lock;
	struct vex_bits *bits; /* guarded by bits_lock: the copy views share; or NULL */

	char why_broken[128]; /* fixed after open */
};

static inline bool bit_get(const uint64_t *map, uint64_t i)
{
	return map[i >> 6] >> (i & 63) & 1;
}

static inline void bit_set(uint64_t *map, uint64_t i)
{
	map[i >> 6] |= 1ull << (i & 63);
}

static inline void bit_clear(uint64_t *map, uint64_t i)
{
	map[i >> 6] &= ~(1ull << (i & 63));
}

static inline uint64_t seg_slots(const struct vex_space *sp)
{
	return 1ull << sp->seg_shift;
}

static inline uint64_t slots_max(const struct vex_space *sp)
{
	return (uint64_t)SEGS_MAX << sp->seg_shift;
}

static inline uint8_t *slot_row(const struct vex_space *sp, uint64_t slot)
{
	return sp->rows[slot >> sp->seg_shift] +
	       (slot & (seg_slots(sp) - 1)) * sp->stride;
}

static inline struct fmt_rec *slot_rec(const struct vex_space *sp, uint64_t slot)
{
	return sp->recs[slot >> sp->seg_shift] + (slot & (seg_slots(sp) - 1));
}

static inline float *slot_norm(const struct vex_space *sp, uint64_t slot)
{
	return sp->norms[slot >> sp->seg_shift] + (slot & (seg_slots(sp) - 1));
}

static inline uint64_t *slot_sum(const struct vex_space *sp, uint64_t slot)
{
	return sp->sums[slot >> sp->seg_shift] + (slot & (seg_slots(sp) - 1));
}

/* ---- the store ----------------------------------------------------------- */

struct pin {
	struct pin *prev, *next;
	uint64_t lsn, serial;
};

struct request; /* queue.c */

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* guarded by lock: */
	struct request *head, **tail;
	unsigned n;
	bool stop;
};

struct syncer {
	pthread_mutex_t lock;
	pthread_cond_t done, tick;
	/* guarded by lock: */
	uint64_t started, finished; /* syncs are numbered */
	bool whole;                 /* the next one begins with syncfs */
	bool full;                  /* the next one flushes slot files */
	_Atomic bool poked;         /* no lock */
	bool stop;
	vex_err last; /* result of the last finished one */
	pthread_t timer;
	bool has_timer;
};

struct vex_store {
	/* fixed after open */
	int rootfd; /* borrowed */
	int dirfd, spacesfd, lockfd, walfd;
	char path[256]; /* of STORE, for messages */
	uint8_t uuid[16];
	uint64_t fh_gen;
	_Atomic int sync; /* enum vex_sync_mode */
	_Atomic uint32_t interval_ms;
	char *mountpoint;  /* as mountinfo writes it; NULL: unknown */
	bool rebooted;     /* since the last daemon had the lock, or it cannot be told */
	bool mine;         /* we have the lock */
	uint64_t lsn_lost; /* highest number a power loss took back */

	pthread_rwlock_t pub;
	/* guarded by pub: */
	struct vex_space *by_id[VEX_SPACES_MAX], *by_name[VEX_SPACES_MAX];
	uint32_t nspaces;
	uint64_t published; /* lsn of the last change that is visible */

	pthread_mutex_t pins;
	struct pin *oldest, *newest; /* guarded by pins */
	uint64_t pin_serial;         /* guarded by pins: of the last one */

	_Atomic uint64_t durable_lsn;
	_Atomic uint64_t changed, changed_durable; /* counts commits of any kind */
	_Atomic uint64_t next_node;
	_Atomic uint64_t nodes, commits, groups;
	_Atomic uint64_t wal_frames; /* copy of the writer's, for status */
	_Atomic int64_t last_sync;   /* when the last good one ended */
	/* vex_store_watch; fixed before the first change: */
	void (*watch)(void *arg);
	void (*watch_touched)(void *arg, uint64_t node);
	void *watch_arg;
	_Atomic uint64_t published_now; /* copy of published, for status */
	_Atomic bool failed;            /* a sync failed: read-only from now on */
	_Atomic bool sync_large;        /* the next sync has to flush slot files */
	_Atomic uint64_t redo_kept;     /* bytes in redo: the timer empties it */
	_Atomic bool dir_dirty;         /* entries of spaces/ since the last flush */
	_Atomic bool closing;

	struct queue queue;
	struct syncer syncer;
	struct writer *w;
	pthread_t writer;
	bool has_writer;
	pthread_t scrubber;
	bool has_scrubber, scrub_wanted;
	_Atomic bool scrub_stop;
	bool had_dropped; /* at open: purge.c has work */

	/* written by the writer thread alone: */
	_Atomic uint64_t moment;           /* counts commits */
	_Atomic uint64_t touched[TOUCHED]; /* by node, hashed: the last moment it was */

	pthread_mutex_t readers;
	struct vex_reader *idle; /* guarded by readers */
	unsigned nidle;

	pthread_mutex_t flush;
	bool flush_failed; /* guarded by flush */

	bool has_reserve, reserve_told; /* writer only */

	pthread_mutex_t damage_lock;
	/* guarded by damage_lock: */
	unsigned damage_lines;
	char *damage_line[DAMAGE_KEPT]; /* the first of them */
};

/* How many bytes of rows are checked before open returns; the rest by scrub.c. A
 * variable for the tests' sake. */
extern uint64_t vex_store_verify_limit;

/* ---- segs.c: a space in memory ------------------------------------------- */

/* A space with no files open, one reference. */
vex_err space_alloc(struct vex_store *s, uint32_t id, const struct vex_space_spec *spec,
		    struct vex_space **out) VEX_CHECKED;
/* Room for that many slots: files, mappings, bitmaps. alloc held. */
vex_err segs_extend_locked(struct vex_space *sp, uint64_t slots) VEX_CHECKED;
/* The same, and some more for those to come. */
vex_err segs_grow_locked(struct vex_space *sp, uint64_t slots) VEX_CHECKED;

/* ---- slotfile.c: the files of a space ------------------------------------ */

/* Makes its two files, anew. */
vex_err slotfile_create(struct vex_space *sp) VEX_CHECKED;
/* Opens them and checks their headers: -EUCLEAN, -EIO, -ENOENT and a sentence. */
vex_err slotfile_open(struct vex_space *sp, struct vex_problem *why) VEX_CHECKED;
/* NULL: the header is as it should be; else what is wrong with it. */
const char *slotfile_head_wrong(const struct vex_space *sp, const char *magic,
				size_t stride, const struct fmt_head *h);
void slotfile_unlink(struct vex_store *s, uint32_t id);
vex_err slotfile_write_rows(struct vex_space *sp, uint64_t first, uint32_t n,
			    const void *data) VEX_CHECKED;
vex_err slotfile_write_recs(struct vex_space *sp, uint64_t first, uint32_t n,
			    const struct fmt_rec *recs) VEX_CHECKED;
/* Flushes both files where they are dirty. store.flush held. */
vex_err slotfile_flush(struct vex_space *sp) VEX_CHECKED;
/* pread/pwrite of all of it. A short read is -ENODATA. */
vex_err file_read(int fd, void *buf, size_t len, uint64_t off) VEX_CHECKED;
vex_err file_write(int fd, const void *buf, size_t len, uint64_t off) VEX_CHECKED;

/* ---- rec.c: records and their checksums ---------------------------------- */

/* What the catalog says of an attachment, as far as its slots are concerned. */
struct claim {
	uint64_t lsn, node, slot;
	uint32_t rows;
	uint64_t key; /* rec_key */
};
uint64_t rec_key(const void *key, uint32_t len);
uint64_t rec_row_sum(const struct vex_space *sp, const void *row);
void rec_fill(const struct vex_space *sp, const struct claim *c, uint32_t row,
	      uint64_t row_sum, float norm, struct fmt_rec *out);
/* Whether record and row are those of the claim. */
bool rec_holds(const struct vex_space *sp, const struct claim *c, uint32_t row,
	       const struct fmt_rec *rec, const void *data);
/* The same of what its slot has in the files. buf: room for a row. */
bool rec_holds_at(struct vex_space *sp, const struct claim *c, uint32_t row, void *buf);

/* ---- slots.c: which slots are taken -------------------------------------- */

/* A put of the open transaction names these: false where they are not all pending. */
bool slots_name(struct vex_space *sp, uint64_t first, uint32_t rows);
/* The put is undone. */
void slots_unname(struct vex_space *sp, uint64_t first, uint32_t rows);
void slots_limbo(struct vex_space *sp, uint64_t lsn, uint64_t first, uint32_t rows);
/* Limbo is emptied as far as may be. alloc held. */
void slots_drain_locked(struct vex_space *sp);
/* The lowest run of free slots at or above `from` that ends at or before `to`, taken and
 * pending: -ENOSPC where there is none. */
vex_err slots_take_low(struct vex_space *sp, uint64_t from, uint64_t to, uint32_t rows,
		       uint64_t *first) VEX_CHECKED;

/* ---- trim.c: free slots given back to the filesystem ---------------------- */

/* All spaces where enough was freed to be worth it. */
void trim_some(struct vex_store *s);

/* ---- view.c: pins, bitmaps ----------------------------------------------- */

void bits_drop(struct vex_bits *b);

vex_err pin_add(struct vex_store *s, struct pin **out) VEX_CHECKED;
void pin_drop(struct vex_store *s, struct pin *p);
/* Changes at or below this are seen by all that looks. */
uint64_t pins_min(struct vex_store *s);
/* Pins are numbered: the last number, and whether one up to `serial` is still there. */
uint64_t pins_serial(struct vex_store *s);
bool pins_before(struct vex_store *s, uint64_t serial);

/* ---- space.c: the list of spaces ----------------------------------------- */

void spaces_insert_locked(struct vex_store *s, struct vex_space *sp);
void spaces_remove_locked(struct vex_store *s, struct vex_space *sp);
struct vex_space *spaces_by_id_locked(struct vex_store *s, uint32_t id);
bool space_is_live(struct vex_store *s, uint32_t id);
/* Flushes the slot files of every space, and of `fresh` ones that are not in the list.
 * On return all that was written before the call is on the device; -EIO for good. */
vex_err spaces_flush(struct vex_store *s, struct vex_space *const *fresh,
		     size_t n) VEX_CHECKED;
/* `fresh` alone, and the directory they are in. */
vex_err spaces_flush_fresh(struct vex_store *s, struct vex_space *const *fresh,
			   size_t n) VEX_CHECKED;

/* ---- damage.c ------------------------------------------------------------ */

/* Logs "<store>/.vexfs/spaces/<id>.<what>: ..." (a bounded number of lines). */
void damage_log(struct vex_store *s, const char *fmt, ...) VEX_PRINTF(2, 3);
/* A row failed its check: out of views for good, counted, logged. */
void damage_slot(struct vex_space *sp, uint64_t slot, const char *file, const char *why);
/* All that was told, as a problem; "" where nothing was. */
void damage_problem(struct vex_store *s, struct vex_problem *problem);
void damage_free(struct vex_store *s);
/* Fills a problem, if there is one to fill. */
void problem_set(struct vex_problem *p, const char *fmt, ...) VEX_PRINTF(2, 3);

/* ---- catalog.c ----------------------------------------------------------- */

/* Opens or makes the catalog, checks every page, reads what is fixed. */
vex_err catalog_open(struct vex_store *s, struct sql *q,
		     struct vex_problem *problem) VEX_CHECKED;
/* The tables of a new one, with what a new store has in meta. */
vex_err catalog_make(struct vex_store *s, struct sql *q) VEX_CHECKED;
/* upgrade.c: brings a catalog of an earlier version to ours. */
vex_err upgrade_catalog(struct sql *q, int from) VEX_CHECKED;
/* The same inside a transaction that is open. */
vex_err upgrade_steps(struct sql *q, int from) VEX_CHECKED;
vex_err meta_get_int(struct sql *q, const char *key, uint64_t *out) VEX_CHECKED;
vex_err meta_set_int(struct sql *q, const char *key, uint64_t v) VEX_CHECKED;
vex_err meta_get_blob(struct sql *q, const char *key, void *out,
		      uint32_t len) VEX_CHECKED;
vex_err meta_set_blob(struct sql *q, const char *key, const void *v,
		      uint32_t len) VEX_CHECKED;
/* Compares the root with the recorded one; bumps fh_gen where it is another. */
/* Whether the root is another than the recorded one; changes nothing. */
vex_err catalog_root_moved(struct vex_store *s, struct sql *q, bool *moved) VEX_CHECKED;
vex_err catalog_root(struct vex_store *s, struct sql *q) VEX_CHECKED;

/* ---- lock.c -------------------------------------------------------------- */

/* Waits for a holder that is closing. Sets s->mountpoint and s->rebooted. */
vex_err lock_take(struct vex_store *s, uint32_t wait_ms, const char *mountpoint,
		  struct vex_problem *problem) VEX_CHECKED;
void lock_state(struct vex_store *s, const char *state);

/* For a checker: takes the lock on s->dirfd's lock file and writes nothing. -EBUSY and
 * a sentence where somebody has it. */
vex_err lock_look(struct vex_store *s, struct vex_problem *problem) VEX_CHECKED;

/* ---- load.c -------------------------------------------------------------- */

/* The list of spaces alone, and taking it back. */
vex_err load_list(struct vex_store *s, struct sql *q) VEX_CHECKED;
void load_clear(struct vex_store *s);
/* Spaces and bitmaps from the catalog; checks rows. */
vex_err load_spaces(struct vex_store *s, struct sql *q) VEX_CHECKED;
/* Checks all attachments in the background. */
vex_err scrub_start(struct vex_store *s) VEX_CHECKED;
void scrub_stop(struct vex_store *s);

/* ---- queue.c, writer.c, apply.c ------------------------------------------ */

struct request {
	struct request *next;
	struct vex_change *c; /* NULL: make it all durable, and what `also` says */
	enum { ALSO_NOTHING, ALSO_CHECKPOINT, ALSO_VACUUM } also;
	bool small;    /* slot files need not be flushed (redo.c) */
	uint64_t left; /* out: frames in the WAL, or free pages of the catalog */
	size_t n, bad;
	vex_err err;
	_Atomic uint32_t done;
	bool later; /* nobody waits: freed by the writer */
};

/* store.c: the nodes of lists that have been committed. Before publish(). */
void touch_nodes(struct vex_store *s, struct request **r, size_t n);

enum effect_kind { FX_ADD, FX_FREE, FX_SPACE_NEW, FX_SPACE_DROP, FX_SPACE_SET };

/* What a change does to memory, once committed. */
struct effect {
	enum effect_kind kind;
	bool moved; /* FX_ADD: by compact, flushed already */
	uint32_t rows;
	struct vex_space *sp;
	uint64_t slot, lsn;
	struct vex_space_spec *spec; /* FX_SPACE_SET: owned */
};

/* redo.c; the writer's. */
struct redo {
	struct redo_item *v; /* since the last sync */
	size_t n, size;
	bool over;        /* they were too many: slot files are flushed */
	uint64_t pending; /* bytes of them */
	uint64_t adding;  /* by the open transaction */
	uint64_t kept;    /* in the table, about; 0: it is empty */
};

struct writer {
	struct vex_store *s;
	struct sql q;
	uint64_t lsn;  /* last one given out */
	int64_t now;   /* of the group, for the log */
	int64_t nodes; /* made less dropped, in the group */
	uint32_t space_high;
	uint64_t node_high; /* ids below are reserved in the catalog */
	uint64_t log_min;
	uint64_t frames; /* in the WAL after the last commit */
	uint64_t serial;
	uint64_t purge_at; /* attachments of dropped spaces above this */
	bool full;         /* PRAGMA synchronous is FULL, as sync=always wants */
	bool purging;
	bool purge_again; /* it failed: at the next sync that succeeds */
	bool squeezed;    /* the reserve was used: checkpoint at the next chance */
	struct effect *fx;
	size_t nfx, fxsize;
	struct redo redo;
	struct fmt_rec recs[RECS_MAX]; /* scratch */
};

vex_err queue_init(struct queue *q) VEX_CHECKED;
void queue_destroy(struct queue *q);
/* What waits, in order, at most GROUP_MAX; waits for it unless `poll`. NULL: nothing
 * there (poll), or the end (*end). */
struct request *queue_take(struct queue *q, bool poll, bool *end);
/* Queues and waits: 0 only says that r->err is set. */
vex_err queue_run(struct vex_store *s, struct request *r) VEX_CHECKED;
/* The writer is done with it. */
void queue_done(struct request *r, vex_err err);
/* Nothing new is taken; the writer ends when the queue is empty. */
void queue_stop(struct queue *q);

/* Takes the connection over and starts the thread. */
vex_err writer_start(struct vex_store *s, struct sql *q) VEX_CHECKED;
/* Ends the thread after all that is queued; makes it durable; closes the catalog. */
void writer_stop(struct vex_store *s);
vex_err writer_reserve_nodes(struct writer *w) VEX_CHECKED;

/* durable.c. Numbers from the catalog, the first commit; the last one. */
vex_err writer_prepare(struct writer *w) VEX_CHECKED;
void writer_finish(struct writer *w);
/* Has commits sync, or not, as the store is to (outside a transaction). */
vex_err writer_mode(struct writer *w) VEX_CHECKED;
/* The files of spaces that the open group makes. */
vex_err writer_flush_fresh(struct writer *w) VEX_CHECKED;
/* Inside the open transaction: slot files flushed, or (`small`) in the table redo; says
 * how far that is. Then, when it was committed with a sync. */
vex_err writer_make_last(struct writer *w, bool small) VEX_CHECKED;
void writer_lasts(struct writer *w, bool small, uint64_t changed);
/* Flushes, then commits so that it lasts; `small`: with what is to last in the commit
 * itself where that fits (redo.c), and nothing flushed but the WAL. */
vex_err writer_durable(struct writer *w, bool small) VEX_CHECKED;
/* Empties the WAL as far as readers let it; says how many frames are left. */
uint64_t writer_checkpoint(struct writer *w);
/* One bounded step: free pages at the end of the catalog go; how many are left. */
vex_err writer_vacuum(struct writer *w, uint64_t *left) VEX_CHECKED;
/* COMMIT; a failed flush makes the store read-only. */
vex_err writer_commit(struct writer *w) VEX_CHECKED;
void writer_rollback(struct writer *w);
/* The effects of a commit become visible, all at once. */
void publish(struct writer *w);

/* Applies one change inside the open transaction; what it does to memory is appended
 * to w->fx. Checks come before writes. */
vex_err apply_change(struct writer *w, struct vex_change *c) VEX_CHECKED;
/* Takes back effects from `from` on that were never committed. */
void apply_undo(struct writer *w, size_t from);

/* One bounded step of purging dropped spaces; false: nothing is left. */
bool purge_step(struct writer *w);

/* ---- reserve.c: room kept for removals; writer thread, and before it ------ */

/* Makes the reserve where it is missing and the filesystem has room enough. */
void reserve_keep(struct vex_store *s);
/* Gives it up: false where there is none. */
bool reserve_give(struct vex_store *s);
/* Whether a list only removes and moves. */
bool reserve_is_for(const struct vex_change *c, size_t n);

/* ---- redo.c: small syncs ------------------------------------------------- */

/* A row has come to be; after its commit. */
void redo_note(struct writer *w, const struct effect *f);
/* Whether all since the last sync, and the open group, go into the table. */
bool redo_fits(const struct writer *w);
/* They do, in the open transaction; and it was committed. */
vex_err redo_write(struct writer *w) VEX_CHECKED;
void redo_written(struct writer *w);
/* Slot files were flushed: the table is emptied; and that was committed. */
vex_err redo_clear(struct writer *w) VEX_CHECKED;
void redo_cleared(struct writer *w);
void redo_free(struct redo *r);
/* At open: what the table has and a slot has not is put there. */
vex_err redo_replay(struct vex_store *s, struct sql *q) VEX_CHECKED;

/* ---- sync.c -------------------------------------------------------------- */

vex_err sync_start(struct vex_store *s) VEX_CHECKED;
/* Asks the timer for a sync now: freed slots wait for one. Any thread, any lock. */
void sync_poke(struct vex_store *s);
void sync_stop(struct vex_store *s);

/* ---- read.c -------------------------------------------------------------- */

void readers_close(struct vex_store *s);
/* Some attachments of any space with lsn above `after`, in that order. */
vex_err read_batch(struct vex_reader *r, uint64_t after,
		   vex_err (*fn)(void *, const struct vex_attach *),
		   void *arg) VEX_CHECKED;

/* ---- backup.c ------------------------------------------------------------ */

/* The connection of a reader. */
sqlite3 *reader_db(struct vex_reader *r);
/* Copies of the catalog that a killed daemon left. */
void backup_sweep(struct vex_store *s);

/* ---- tail.c: what a power loss left -------------------------------------- */

/* Looks at the changes after the last sync; where rows of theirs never reached the
 * device, takes the catalog back to that sync. The connection is reopened then. */
vex_err tail_check(struct vex_store *s, struct sql *q) VEX_CHECKED;

/* ---- wal.c: the WAL that a daemon left ----------------------------------- */

/* A sentence that begins with the file's name where frames of it are damaged, else "". */
vex_err wal_look(int dirfd, char *out, size_t size) VEX_CHECKED;

/* ---- fault.c: mapped pages that cannot be read --------------------------- */

/* Maps, so that a page that cannot be read later reads as zeros (and fails its
 * checksum) instead of ending the process. */
vex_err fault_map(int fd, uint64_t off, size_t len, void **out) VEX_CHECKED;
void fault_unmap(void *p, size_t len);

#endif
