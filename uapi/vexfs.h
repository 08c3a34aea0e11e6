/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vexfs.h: the ioctl contract of VexFS, on MOUNT/.vexfs/control.
 *
 * Self-contained C11 and C++11. Nothing here is ever renumbered, and structs only
 * grow at their ends:
 *  - the daemon looks at type and number of a command alone; the size encoded in
 *    it is that of the struct the caller passes. A shorter struct is filled with
 *    zeros; a longer one is EINVAL unless the rest is zero. An unknown number is
 *    ENOTTY, an unknown flag or a non-zero reserved field EINVAL.
 *  - FUSE admits at most 16,383 bytes a call. Structs that end in `data` may be
 *    passed with any shorter data: VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, bytes).
 *  - all numbers are in the byte order of the machine; floats are IEEE binary32.
 *
 * An open of `control` is a session: its staged query and its unread hits are its
 * own, as is its transaction, and go with close(2). A session is for one thread at a
 * time. Calls that change anything need a descriptor open for writing (EBADF); searches
 * do not: on a read-only mount, where such an open is EROFS, open it O_RDONLY and pass
 * queries inline.
 *
 * write(2) stages bytes, up to stage_max (ENOMEM, and the stage is then of no use
 * until emptied). Each call with a STAGED flag, and each search, empties the stage,
 * also where it fails. A search or export, also one that fails, drops what the one
 * before left unread.
 *
 * read(2) gives the records that the last search or export left unread: whole ones,
 * as many as fit; EINVAL where the buffer is too small for the next one (1 MiB is
 * enough for any, but see vexfs_export), 0 at the end. poll(2): POLLIN while there are
 * some.
 *
 * Strings inside `data` are packed one behind the other, each with a NUL that its
 * length does not count. Paths are relative to the root of the mount.
 *
 * A reply is never longer than the struct passed; of `data` only the bytes in use
 * are written. With an error nothing is written: see VEXFS_IOC_LAST_ERROR.
 *
 * Errors: ENOENT path not found; EINVAL invalid vector, parameter or struct; ENODEV
 * unknown space; ENODATA nothing attached there; ENOMEM no memory or past a limit;
 * EIO storage; EPERM, EACCES not permitted; ETIMEDOUT time limit; ENOTTY unknown.
 */
#ifndef VEXFS_UAPI_H
#define VEXFS_UAPI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifdef __cplusplus
#define VEXFS_ASSERT(e) static_assert(e, #e)
#else
#define VEXFS_ASSERT(e) _Static_assert(e, #e)
#endif

/* Records are read where they lie, in the bytes of `data` or of a read buffer. */
#ifdef __GNUC__
#define VEXFS_IN_BYTES __attribute__((may_alias))
#else
#define VEXFS_IN_BYTES
#endif

#define VEXFS_CONTROL ".vexfs/control"
#define VEXFS_XATTR "user.vexfs."
#define VEXFS_NAME_LEN 64 /* NUL-ended space name of at most 48 bytes */
#define VEXFS_IOC_TYPE 0xF5
#define VEXFS_IOC_MAX 16383

/* ---- version and limits ---------------------------------------------------------- */

struct vexfs_version {
	uint32_t flags;               /* 0 */
	uint32_t abi;                 /* out: VEXFS_ABI */
	uint32_t major, minor, patch; /* out: of the daemon */
	uint32_t dim_max;             /* out */
	uint32_t k_max;               /* out: k + offset */
	uint32_t value_max;           /* out: bytes of one attachment */
	uint32_t batch_max;           /* out: queries, or items, a call */
	uint32_t key_max;             /* out: bytes */
	uint64_t stage_max;           /* out: bytes of a staged query */
	uint64_t reserved[10];
};
#define VEXFS_ABI 1
VEXFS_ASSERT(sizeof(struct vexfs_version) == 128);
VEXFS_ASSERT(offsetof(struct vexfs_version, batch_max) == 32);
VEXFS_ASSERT(offsetof(struct vexfs_version, stage_max) == 40);

/* ---- search ---------------------------------------------------------------------- */

enum {
	VEXFS_SEARCH_STAGED = 1u << 0,       /* queries come from write(2) on this fd */
	VEXFS_SEARCH_LIKE = 1u << 1,         /* query is the file named in data */
	VEXFS_SEARCH_EXACT = 1u << 2,        /* no index */
	VEXFS_SEARCH_RANGE = 1u << 3,        /* all within the bound given; k must be 0 */
	VEXFS_SEARCH_MAX_DISTANCE = 1u << 4, /* max_distance holds */
	VEXFS_SEARCH_ALL_ROWS = 1u << 5,     /* every row of a file is a hit of its own */
	VEXFS_SEARCH_FRESH = 1u << 6,        /* leave stale hits out */
	VEXFS_SEARCH_MIN_SIMILARITY = 1u << 7, /* max_distance holds a similarity s:
						* distance <= 1 - s; cosine only */
	VEXFS_SEARCH_MMR = 1u << 8, /* mmr holds: hits apart from each other, in the order
				     * they are chosen; k + offset at most 1024 */
	VEXFS_SEARCH_UNLIKE = 1u << 9,    /* away from the file named in data, by beta */
	VEXFS_SEARCH_RECALL = 1u << 10,   /* recall holds; ef must be 0 */
	VEXFS_SEARCH_NO_CACHE = 1u << 11, /* made anew, and not kept for others */
	VEXFS_SEARCH_LIMITS = 1u << 12,   /* max_visited, max_ms or both hold */
};
#define VEXFS_SEARCH_FLAGS 0x1fffu

enum {
	VEXFS_RESULT_TRUNCATED = 1u << 0, /* a range search met k_max: go on at offset */
	VEXFS_RESULT_PARTIAL = 1u << 1,   /* the search met its LIMITS (of a page) */
	VEXFS_RESULT_CACHED = 1u << 2, /* by the rows of an earlier search for the same,
					* which had that plan and those distances; each
					* row was judged anew */
};

#define VEXFS_SEARCH_HEAD 256
#define VEXFS_SEARCH_DATA 16120
/*
 * LIMITS: the search ends once it has compared max_visited rows (an index: at the first
 * step past them) or max_ms are over, waiting included; that is ETIMEDOUT, and the
 * nearest of what it had seen by then are in the session: NEXT, which marks them with
 * VEXFS_RESULT_PARTIAL, or read(2) gives them. To look them up it takes max_ms again at
 * most. What a filter prepares before any row is compared is not cut short.
 *
 * data in: the queries (queries x dim floats; none with STAGED or LIKE), then, each
 * only if its length is not 0, the strings like (PATH or PATH:KEY), under (DIR),
 * where (an expression over name path size mtime uid gid mode xattr.NAME, at most 4096
 * bytes: vexctl(1); a bad one is EINVAL, with its place in VEXFS_IOC_LAST_ERROR) and
 * unlike (PATH or PATH:KEY; the query becomes like - beta x unlike: vexctl(1)).
 * data out: hits (struct vexfs_hit), as many as fit; the rest by VEXFS_IOC_NEXT or
 * read(2). A struct passed without data, or shorter, is served all the same.
 * STAGED: the staged bytes are queries of dim floats each, a whole number of them.
 * Limits: offset + k at most k_max (EINVAL); queries at most batch_max, and queries
 * times k (RANGE: times k_max) at most 4 k_max (ENOMEM).
 */
struct vexfs_search {
	uint32_t flags;
	uint32_t k;         /* 1 .. k_max */
	uint32_t offset;    /* hits passed over */
	uint32_t dim;       /* of the queries, 0 with LIKE; out: of the space */
	uint32_t queries;   /* how many; 0: one, or as many as are staged */
	uint32_t per_file;  /* rows kept of a file; 0: one (see ALL_ROWS) */
	uint32_t ef;        /* 0: the space's own */
	float max_distance; /* finite; looked at only with its flags */
	uint32_t like_len, under_len, where_len;
	float mmr; /* 0 (diverse) .. 1 (near); looked at only with its flag */
	char space[VEXFS_NAME_LEN]; /* in: "" for the only one of that dimension; out */
	/* out */
	uint32_t out_flags;
	uint32_t hits;      /* in data now */
	uint32_t bytes;     /* they fill */
	uint32_t metric;    /* enum vexfs_metric */
	uint64_t total;     /* hits of the whole call, over all its queries */
	uint64_t lsn;       /* last change seen */
	uint64_t rows;      /* in the space; 0 for who may not see totals (see status) */
	uint64_t distances; /* computed; 0 as rows */
	uint64_t nanoseconds;
	char plan[16];
	/* in again: */
	float recall; /* of RECALL: the share of the true hits an index is to find, above
		       * 0 and at most 1: where none can, the search is exact */
	uint32_t reserved1;
	uint32_t unlike_len;
	float beta;           /* of UNLIKE: 0 for the default, 0.5; at most 100 */
	uint64_t max_visited; /* of LIMITS: rows it may compare; 0: any number */
	uint64_t max_ms;      /* of LIMITS: it may take, at most a day; 0: any time */
	uint64_t candidates;  /* out: rows that filter, directory and rights left to be
			       * compared; `rows` where none was; 0 as rows */
	uint64_t reserved3[4];
	uint8_t data[VEXFS_SEARCH_DATA];
};
VEXFS_ASSERT(sizeof(struct vexfs_search) == VEXFS_SEARCH_HEAD + VEXFS_SEARCH_DATA);
VEXFS_ASSERT(offsetof(struct vexfs_search, max_distance) == 28);
VEXFS_ASSERT(offsetof(struct vexfs_search, space) == 48);
VEXFS_ASSERT(offsetof(struct vexfs_search, out_flags) == 112);
VEXFS_ASSERT(offsetof(struct vexfs_search, total) == 128);
VEXFS_ASSERT(offsetof(struct vexfs_search, plan) == 168);
VEXFS_ASSERT(offsetof(struct vexfs_search, unlike_len) == 192);
VEXFS_ASSERT(offsetof(struct vexfs_search, max_visited) == 200);
VEXFS_ASSERT(offsetof(struct vexfs_search, max_ms) == 208);
VEXFS_ASSERT(offsetof(struct vexfs_search, candidates) == 216);
VEXFS_ASSERT(offsetof(struct vexfs_search, data) == VEXFS_SEARCH_HEAD);

enum { VEXFS_HIT_STALE = 1u << 0 };

/* 8-byte aligned; path and key follow, each NUL-ended, then padding. By query, in
 * the order of the queries; of one query nearest first (see MMR). */
struct VEXFS_IN_BYTES vexfs_hit {
	uint32_t size;  /* of the whole record, a multiple of 8 */
	uint32_t query; /* which of the batch */
	float distance;
	uint32_t row;
	uint32_t flags;
	uint32_t path_len;
	uint32_t key_len;
	uint32_t reserved;
	uint64_t ino; /* as stat(2) shows it */
};
VEXFS_ASSERT(sizeof(struct vexfs_hit) == 40);
VEXFS_ASSERT(offsetof(struct vexfs_hit, ino) == 32);
static inline const char *vexfs_hit_path(const struct vexfs_hit *h)
{
	return (const char *)(h + 1);
}
static inline const char *vexfs_hit_key(const struct vexfs_hit *h)
{
	return (const char *)(h + 1) + h->path_len + 1;
}

#define VEXFS_PAGE_DATA 16328
/* The next hits of the session's last search; read(2) gives the same records. The
 * two may be mixed. None left: hits 0. EINVAL where the next one does not fit (a path
 * of 16 KB): read(2) then. */
struct vexfs_page {
	uint32_t flags; /* 0 */
	uint32_t hits;  /* out */
	uint32_t bytes; /* out */
	uint32_t out_flags;
	uint64_t left;   /* out: hits after these */
	uint32_t space;  /* out: id of the space they are from; 0: none was unread */
	uint32_t metric; /* out */
	uint64_t reserved[2];
	uint8_t data[VEXFS_PAGE_DATA];
};
VEXFS_ASSERT(sizeof(struct vexfs_page) == 48 + VEXFS_PAGE_DATA);
VEXFS_ASSERT(offsetof(struct vexfs_page, left) == 16);
VEXFS_ASSERT(offsetof(struct vexfs_page, data) == 48);

/* ---- spaces ---------------------------------------------------------------------- */

enum vexfs_metric {
	VEXFS_COSINE = 0,  /* 1 - cos */
	VEXFS_L2 = 1,      /* root of the sum of squares */
	VEXFS_IP = 2,      /* negated inner product */
	VEXFS_L1 = 3,      /* sum of |a - b| */
	VEXFS_HAMMING = 4, /* bit alone: how many bits differ */
	VEXFS_JACCARD =
	    5, /* bit alone: 1 - (ones in both) / (ones in either), 0 if none */
};
/*
 * Elements of a row, little-endian. Calls that take float32 (searches, VEXFS_ITEM_F32)
 * convert, and what is out of range is EINVAL: f16 to the nearest, ties to even; i8 and
 * i16 value / scale to the nearest, ties to even, or in a space without a scale whole
 * numbers alone; bit: 1 where above 0. A row stands for float32 numbers: of i8 and i16
 * value x scale, of bit 0 and 1. Queries are not rounded, except to bits.
 */
enum vexfs_type {
	VEXFS_F32 = 0,
	VEXFS_F16 = 1, /* IEEE binary16 */
	VEXFS_I8 = 2,
	VEXFS_I16 = 3,
	VEXFS_BIT = 4, /* dimension i is bit i % 8 (the least significant is 0) of byte
			* i / 8; rows are whole bytes, spare bits mean nothing */
};
/* What the graph of a space holds and traverses; the final distances are always exact.
 * SET takes effect when the graph is next made (REBUILD). */
enum vexfs_quant {
	VEXFS_QUANT_DEFAULT = 0, /* CREATE, SET: sq8 */
	VEXFS_QUANT_F16 = 1,     /* 2 bytes a dimension */
	VEXFS_QUANT_SQ8 = 2,     /* 1 byte */
	VEXFS_QUANT_BIT = 3,     /* 1 bit: coarse, for long vectors */
	VEXFS_QUANT_NONE = 4,    /* float32 */
};
enum vexfs_index { VEXFS_INDEX_FLAT = 0, VEXFS_INDEX_HNSW = 1 };
enum vexfs_index_state {
	VEXFS_STATE_EXACT = 0, /* scans only: a small space, or a flat one */
	VEXFS_STATE_BUILDING = 1,
	VEXFS_STATE_READY = 2,
	VEXFS_STATE_FAILED = 3, /* scans only: no memory for an index */
	VEXFS_STATE_POOR = 4,   /* searched, but it misses its recall: rebuild it */
};

/* Set in `mask` by VEXFS_IOC_SPACE_SET: what to change. */
enum {
	VEXFS_SPACE_EF_SEARCH = 1u << 0,
	VEXFS_SPACE_EF_CONSTRUCTION = 1u << 1,
	VEXFS_SPACE_M = 1u << 2,
	VEXFS_SPACE_RECALL = 1u << 3,
	VEXFS_SPACE_QUANT = 1u << 4,
};

/*
 * CREATE (admin) reads name and dim .. ef_search and gives the whole struct back; GET
 * and DROP (admin) read the name alone; SET (admin) the name, mask and what mask
 * names. Admin: root or the owner of the mount, EPERM for others. This struct is an
 * element of vexfs_space_list: it grows into what is reserved alone.
 */
struct vexfs_space {
	uint32_t flags; /* 0 */
	uint32_t mask;  /* SET; 0 in the others */
	char name[VEXFS_NAME_LEN];
	uint32_t id; /* out */
	uint32_t dim;
	uint32_t metric, type, index;
	uint32_t m, ef_construction, ef_search; /* 0: default */
	/* out; zero for callers who are neither root nor the owner of the mount */
	uint64_t attachments, rows, slots, bytes, damaged;
	uint64_t pending;      /* rows the index has not taken in; searches see them */
	uint64_t index_bytes;  /* its memory */
	uint32_t index_state;  /* enum vexfs_index_state, for everybody */
	uint32_t index_builds; /* times the index was made anew since the mount */
	uint32_t quant;        /* enum vexfs_quant; CREATE reads it */
	float recall; /* the recall@10 an index is to reach, 0 .. 1 (then searches are
		       * exact); 0: the default, 0.98. CREATE reads it */
	uint32_t progress;     /* out: of rows being taken in, per mille; 0: none are */
	uint32_t seconds_left; /* out: of that, as it goes now */
	double scale;          /* of i8 and i16; 0: none. CREATE reads it */
	float index_recall; /* out: recall@10 as the index last measured it; 0: not yet */
	uint32_t reserved1;
};
VEXFS_ASSERT(sizeof(struct vexfs_space) == 200);
VEXFS_ASSERT(offsetof(struct vexfs_space, quant) == 168);
VEXFS_ASSERT(offsetof(struct vexfs_space, recall) == 172);
VEXFS_ASSERT(offsetof(struct vexfs_space, scale) == 184);
VEXFS_ASSERT(offsetof(struct vexfs_space, id) == 72);
VEXFS_ASSERT(offsetof(struct vexfs_space, attachments) == 104);

#define VEXFS_SPACES_A_CALL 64
struct vexfs_space_list {
	uint32_t flags; /* 0 */
	uint32_t after; /* in: id of the last one seen; 0: from the start */
	uint32_t count; /* out: in spaces[] */
	uint32_t more;  /* out: 1 if there are others: call with `after` = the last id */
	struct vexfs_space spaces[VEXFS_SPACES_A_CALL]; /* out, by id */
};
VEXFS_ASSERT(sizeof(struct vexfs_space_list) == 16 + VEXFS_SPACES_A_CALL * 200);
VEXFS_ASSERT(offsetof(struct vexfs_space_list, spaces) == 16);

/* ---- put, delete ----------------------------------------------------------------- */

/* vexfs_item.flags */
enum {
	VEXFS_ITEM_F32 = 1u << 0,    /* value: rows of float32, whatever the space stores;
				      * E2BIG where what it stores would be too long */
	VEXFS_ITEM_CREATE = 1u << 1, /* EEXIST where there is one */
	VEXFS_ITEM_REPLACE = 1u << 2, /* ENODATA where there is none */
};

/* 8-byte aligned; path, then attr ("<space>" or "<space>.<key>"), each NUL-ended,
 * then padding to a multiple of 8 from the start of the record, then the value, then
 * padding to a multiple of 8. Without F32 the value is as that of setxattr(2). */
struct VEXFS_IN_BYTES vexfs_item {
	uint32_t size; /* of the whole record, a multiple of 8 */
	uint32_t flags;
	uint32_t path_len, attr_len;
	uint32_t value_len; /* 0 for delete, as flags */
	uint32_t reserved;
};
VEXFS_ASSERT(sizeof(struct vexfs_item) == 24);
static inline uint32_t vexfs_pad8(uint32_t n)
{
	return (n + 7u) & ~7u;
}
/* Where the value of an item, and of a record, begins. */
static inline uint32_t vexfs_value_at(uint32_t path_len, uint32_t attr_len)
{
	return vexfs_pad8((uint32_t)sizeof(struct vexfs_item) + path_len + attr_len + 2);
}

#define VEXFS_ITEMS_DATA 16328
/* VEXFS_IOC_PUT, VEXFS_IOC_DELETE: all items or none, as the caller could by
 * setxattr(2). With STAGED, items are read from what was written to the session
 * instead of data. */
enum { VEXFS_ITEMS_STAGED = 1u << 0 };
struct vexfs_items {
	uint32_t flags;
	uint32_t count; /* items, at least 1 */
	uint32_t bytes; /* in data; 0 with STAGED */
	uint32_t reserved0;
	uint64_t reserved[4];
	uint8_t data[VEXFS_ITEMS_DATA];
};
VEXFS_ASSERT(sizeof(struct vexfs_items) == 48 + VEXFS_ITEMS_DATA);
VEXFS_ASSERT(offsetof(struct vexfs_items, data) == 48);

/* ---- transactions ---------------------------------------------------------------- */

/*
 * BEGIN opens a transaction in the session. From there to COMMIT or ABORT, PUT and
 * DELETE of the session do not apply their items but stage them: names, values, files
 * and permission are checked at once (an error stages nothing of that call, and the
 * transaction stays open), what depends on the store at that time (CREATE, REPLACE,
 * nothing to delete, room) by COMMIT. COMMIT applies all, in the order staged, in one
 * commit, or none; either way the transaction is over. ABORT, close(2) and the end of
 * the daemon drop it. Until COMMIT nobody sees anything of it, the session's own
 * searches included; an open transaction blocks nobody, and what others change
 * meanwhile stays: the last commit wins. Files are looked up by path once more by
 * COMMIT, as its caller.
 * EINVAL: BEGIN with one open, COMMIT or ABORT with none. ENOMEM: more than
 * batch_max items, or stage_max bytes, in one transaction. With an error of COMMIT,
 * last_error.item counts the items of the transaction.
 */
struct vexfs_txn {
	uint32_t flags; /* 0 */
	uint32_t items; /* out: BEGIN: the most it may have; COMMIT, ABORT: it had */
	uint64_t bytes; /* out: of these */
	uint64_t lsn;   /* out: COMMIT: all of it is in changes up to this */
	uint64_t reserved[5];
};
VEXFS_ASSERT(sizeof(struct vexfs_txn) == 64);
VEXFS_ASSERT(offsetof(struct vexfs_txn, lsn) == 16);

/* FUSE passes no data back with an error; this tells more of the session's last call
 * (ioctl, write or read, but for this one): which item failed, and a sentence. */
struct vexfs_last_error {
	uint32_t flags; /* 0 */
	int32_t error;  /* out: errno, 0: the last call did not fail */
	uint32_t item;  /* out: PUT, DELETE, COMMIT: counted from 0 */
	uint32_t reserved;
	char text[496]; /* out: NUL-ended, no newline */
};
VEXFS_ASSERT(sizeof(struct vexfs_last_error) == 512);
VEXFS_ASSERT(offsetof(struct vexfs_last_error, text) == 16);

/* ---- export ---------------------------------------------------------------------- */

/* Laid out as vexfs_item: path, key, padding, value, padding. The value is rows x dim
 * float32; with VEXFS_EXPORT_STORED, the rows as the space stores them. */
struct VEXFS_IN_BYTES vexfs_record {
	uint32_t size;
	uint32_t rows, dim;
	uint32_t path_len, key_len;
	uint32_t reserved;
};
VEXFS_ASSERT(sizeof(struct vexfs_record) == sizeof(struct vexfs_item));

/* Rows of bits can be longer than 1 MiB as float32, and are then EINVAL without it. */
enum { VEXFS_EXPORT_STORED = 1u << 0 };

/* The attachments of a space the caller may read, oldest first, as records by read(2)
 * on the session after this call; read(2) gives 0 at the end. EIO: a damaged one; the
 * next read goes on behind it. */
struct vexfs_export {
	uint32_t flags; /* VEXFS_EXPORT_* */
	uint32_t reserved0;
	char space[VEXFS_NAME_LEN];
	uint64_t after; /* in: only what was attached after this lsn; 0: all */
	uint64_t reserved[4];
};
VEXFS_ASSERT(sizeof(struct vexfs_export) == 112);
VEXFS_ASSERT(offsetof(struct vexfs_export, after) == 72);

/* ---- backup ---------------------------------------------------------------------- */

/*
 * Opens one moment of the store; read(2) on the session then gives the files of a store
 * (docs/FORMAT.md) as pieces, in buffers of 128 KiB or more, until one of file END; the
 * caller writes them where they belong. Writes go on meanwhile. Root and the owner of the
 * mount; EPERM for others. A search, export or backup of the session ends it.
 */
struct vexfs_backup {
	uint32_t flags; /* 0 */
	uint32_t reserved0;
	uint64_t since; /* in: slots of changes up to this are in an earlier backup of
			 * that store; 0: none are. out: 0 where that is not so */
	uint64_t lsn;   /* out: it shows all changes up to this */
	uint64_t catalog_bytes;   /* out */
	uint64_t rows, row_bytes; /* out: in all, about */
	uint8_t uuid[16];         /* in: of the store of the earlier backup; out */
	uint64_t reserved[2];
};
VEXFS_ASSERT(sizeof(struct vexfs_backup) == 80);
VEXFS_ASSERT(offsetof(struct vexfs_backup, uuid) == 48);

enum vexfs_piece_file {
	VEXFS_PIECE_END = 0, /* all is said; off: rows that were given */
	VEXFS_PIECE_CATALOG = 1,
	VEXFS_PIECE_ROWS = 2, /* spaces/<space>.rows */
	VEXFS_PIECE_RECS = 3, /* spaces/<space>.recs */
};

/* 8-byte aligned; len bytes follow, then padding to a multiple of 8. */
struct VEXFS_IN_BYTES vexfs_piece {
	uint32_t size; /* of the whole record */
	uint32_t file; /* enum vexfs_piece_file */
	uint32_t space, len;
	uint64_t off; /* in that file */
};
VEXFS_ASSERT(sizeof(struct vexfs_piece) == 24);

/* ---- indexes --------------------------------------------------------------------- */

/* Admin. The index of the space, or with no name of all spaces, is made anew in the
 * background, while the old one serves; index_builds of vexfs_space grows when it is
 * done. Spaces that have none, since they are small or flat, are passed over. */
struct vexfs_rebuild {
	uint32_t flags;  /* 0 */
	uint32_t spaces; /* out: how many have begun */
	char space[VEXFS_NAME_LEN];
	uint64_t rows;    /* out: of these */
	uint64_t bytes;   /* out: of memory the new indexes will take */
	uint64_t seconds; /* out: of CPU, as far as known; 0: not known */
	uint64_t reserved[4];
};
VEXFS_ASSERT(sizeof(struct vexfs_rebuild) == 128);
VEXFS_ASSERT(offsetof(struct vexfs_rebuild, rows) == 72);

#define VEXFS_RECALL_SAMPLE_MAX 256u
/* Admin. recall@10 of the space's index against exact search: rows of the space are the
 * queries, each searched for as if it were not in it. A larger sample is several calls
 * with another `from` each. */
struct vexfs_recall {
	uint32_t flags;  /* 0 */
	uint32_t sample; /* in: queries, 1 .. VEXFS_RECALL_SAMPLE_MAX; out: made */
	char space[VEXFS_NAME_LEN];
	uint64_t from;  /* in: which rows are drawn: any number */
	uint32_t ef;    /* in: as of a search; 0: as searches go by default */
	float want;     /* in: measure searches that ask for this recall; 0: for none */
	float recall;   /* out: 1 where the space is scanned */
	float aim;      /* out: the space's own */
	uint32_t graph; /* out: 1: by a graph; 0: by scans, which miss nothing */
	uint32_t reserved0;
	uint64_t reserved[4];
};
VEXFS_ASSERT(sizeof(struct vexfs_recall) == 136);
VEXFS_ASSERT(offsetof(struct vexfs_recall, from) == 72);

/* ---- the whole store ------------------------------------------------------------- */

struct vexfs_sync {
	uint32_t flags; /* 0 */
	uint32_t reserved0;
	uint64_t lsn; /* out: everything up to this is durable */
	uint64_t reserved[2];
};
VEXFS_ASSERT(sizeof(struct vexfs_sync) == 32);

/* What sync does; then the write-ahead log goes into the catalog. Root and the owner of
 * the mount; EPERM for others. */
struct vexfs_checkpoint {
	uint32_t flags; /* 0 */
	uint32_t reserved0;
	uint64_t lsn;    /* out: everything up to this is durable */
	uint64_t frames; /* out: of the log, which a reader keeps from going */
	uint64_t reserved;
};
VEXFS_ASSERT(sizeof(struct vexfs_checkpoint) == 32);

enum vexfs_compact_stage {
	VEXFS_COMPACT_MOVE = 0,
	VEXFS_COMPACT_TRIM = 1,
	VEXFS_COMPACT_CATALOG = 2,
	VEXFS_COMPACT_DONE = 3, /* out */
};

/* One bounded step of making the store smaller. All zero for the first; pass the struct
 * back as it came until stage is DONE, or stop at any time. Root and the owner of the
 * mount; EPERM for others. */
struct vexfs_compact {
	uint32_t flags; /* 0 */
	uint32_t space; /* in, out */
	uint32_t stage; /* in, out: enum vexfs_compact_stage */
	uint32_t tries; /* in, out */
	uint64_t left;  /* in, out */
	uint64_t moved; /* out: rows, by this call */
	uint64_t given; /* out: bytes given back to the filesystem by this call */
	uint64_t held; /* out: rows freed that readers hold still; not 0: wait a moment */
	uint64_t reserved[2];
};
VEXFS_ASSERT(sizeof(struct vexfs_compact) == 64);
VEXFS_ASSERT(offsetof(struct vexfs_compact, left) == 16);

/* ---- freshness ------------------------------------------------------------------- */

enum vexfs_stale_why {
	VEXFS_STALE_CHANGED = 0,  /* the content changed */
	VEXFS_STALE_REPLACED = 1, /* the file was replaced by one without attachments */
	VEXFS_STALE_VANISHED = 2, /* it vanished behind the mount */
};
/* 8-byte aligned; the path, NUL-ended, and padding to a multiple of 8 follow. */
struct VEXFS_IN_BYTES vexfs_stale_item {
	uint32_t size; /* of the whole record */
	uint32_t path_len;
	int64_t since_ns; /* first missed, since 1970; 0: not known, or it only changed */
	uint32_t why;     /* enum vexfs_stale_why; others may come */
	uint32_t reserved;
};
VEXFS_ASSERT(sizeof(struct vexfs_stale_item) == 24);

/*
 * Paths with vectors that are not for the content there, of those the caller may read: a
 * bounded part of the store a call, in no order; a path may come twice. `count` may be 0
 * and `more` 1. ENODEV: no such space.
 */
#define VEXFS_STALE_ROOM 4160 /* the least room for data that is accepted */
#define VEXFS_STALE_DATA 16256
struct vexfs_stale {
	uint32_t flags; /* 0 */
	uint32_t count; /* out: records in data */
	uint64_t after; /* in, out: 0, then what the last call left */
	uint32_t more;  /* out: 1: call again */
	uint32_t reserved0;
	char space[VEXFS_NAME_LEN]; /* "": all */
	uint64_t reserved[4];
	uint8_t data[VEXFS_STALE_DATA];
};
VEXFS_ASSERT(offsetof(struct vexfs_stale, space) == 24);
VEXFS_ASSERT(offsetof(struct vexfs_stale, data) == 120);

/* The file at the path in data gets back what the file that it replaced, or that vanished
 * from there, had attached, marked as stale; what it has itself stays. The caller must be
 * allowed to write it. ENODATA: nothing is kept for that path. */
#define VEXFS_REATTACH_DATA 4096
struct vexfs_reattach {
	uint32_t flags; /* 0 */
	uint32_t path_len;
	uint64_t attachments; /* out */
	uint64_t reserved[2];
	uint8_t data[VEXFS_REATTACH_DATA];
};
VEXFS_ASSERT(offsetof(struct vexfs_reattach, data) == 32);

enum { VEXFS_SCAN_QUICK = 1u << 0 }; /* without the checksums of vectors */
enum vexfs_scan_stage {
	VEXFS_SCAN_FILES = 0,
	VEXFS_SCAN_KEPT = 1,
	VEXFS_SCAN_DONE = 2, /* out */
};
/* One bounded step of checking the store in use: flags, the rest zero for the first; pass
 * the struct back until stage is DONE. The numbers are those of the one call. Root and
 * the owner of the mount; EPERM for others. */
struct vexfs_scan {
	uint32_t flags;
	uint32_t stage;    /* in, out: enum vexfs_scan_stage */
	uint64_t cursor;   /* in, out */
	uint64_t files;    /* out: with attachments, looked for */
	uint64_t missing;  /* out: of these, not there */
	uint64_t rows;     /* out: vectors compared with their checksums */
	uint64_t bad;      /* out: attachments with one that does not match */
	uint64_t returned; /* out: missing ones that are there again */
	uint64_t purged;   /* out: missing for longer than keep_days: forgotten */
	uint64_t errors;   /* out: files that could not be looked for */
	uint64_t reserved[3];
};
VEXFS_ASSERT(sizeof(struct vexfs_scan) == 96);
VEXFS_ASSERT(offsetof(struct vexfs_scan, files) == 16);

/* Root and the owner of the mount; EPERM for others. */
struct vexfs_status {
	uint32_t flags;  /* 0 */
	uint32_t failed; /* out: 1: a sync failed, read-only until remount */
	uint64_t spaces, nodes, attachments, rows, damaged;
	uint64_t lsn, durable_lsn;
	uint64_t catalog_bytes, slot_bytes;
	uint64_t commits, groups;
	uint64_t pid, uptime_seconds;
	uint64_t reserved[18];
};
VEXFS_ASSERT(sizeof(struct vexfs_status) == 256);
VEXFS_ASSERT(offsetof(struct vexfs_status, lsn) == 48);
VEXFS_ASSERT(offsetof(struct vexfs_status, pid) == 96);

/* Operations since the mount, in a fixed order. Root and the owner of the mount. */
struct vexfs_op_stat {
	char op[32];       /* "lookup", "commit", "knn/graph" (mode/plan) ... */
	char op_class[16]; /* "fuse", "vector", "storage", "index", "search" */
	uint64_t count, errors;
	uint64_t total_ns, min_ns, max_ns, p50_ns, p95_ns, p99_ns;
	uint32_t stack_peak; /* bytes below the callback; 0: not measured */
	uint32_t reserved0;
	uint64_t reserved;
};
VEXFS_ASSERT(sizeof(struct vexfs_op_stat) == 128);
VEXFS_ASSERT(offsetof(struct vexfs_op_stat, count) == 48);

#define VEXFS_STATS_A_CALL 120
struct vexfs_stats {
	uint32_t flags; /* 0 */
	uint32_t after; /* in: how many to pass over */
	uint32_t count; /* out: in ops[] */
	uint32_t more;  /* out: 1 if there are others: call with after += count */
	uint64_t resident, resident_peak, index_bytes, mapped; /* out: bytes */
	uint64_t pending, queued, descriptors; /* out: rows, changes and calls, open */
	uint64_t reserved[7];
	struct vexfs_op_stat ops[VEXFS_STATS_A_CALL];
};
VEXFS_ASSERT(sizeof(struct vexfs_stats) == 128 + VEXFS_STATS_A_CALL * 128);
VEXFS_ASSERT(offsetof(struct vexfs_stats, ops) == 128);

/*
 * A setting: by its name, or, with name "", by `index`, from 0 to count - 1 (ENOENT past
 * the end). SET sets it to `value` first, in force at once (EINVAL; EPERM: not while
 * mounted, or the caller is neither root nor the owner of the mount); SAVE, with SET,
 * keeps it for mounts to come. CHECK, with SET: only says what would be wrong with it.
 */
enum {
	VEXFS_CONFIG_SET = 1u << 0,
	VEXFS_CONFIG_SAVE = 1u << 1,
	VEXFS_CONFIG_CHECK = 1u << 2,
};
#define VEXFS_CONFIG_FLAGS 7u
struct vexfs_config {
	uint32_t flags, index;
	char name[64];     /* in, out; NUL-ended, as all of these */
	char value[64];    /* in with SET; out */
	char fallback[64]; /* out: the default */
	char from[32];     /* out: where the value was said */
	char meaning[192]; /* out */
	uint32_t live;     /* out: 1: may change while mounted */
	uint32_t count;    /* out: of all settings */
	uint64_t reserved[9];
};
VEXFS_ASSERT(sizeof(struct vexfs_config) == 504);
VEXFS_ASSERT(offsetof(struct vexfs_config, live) == 424);

/* ---- numbers --------------------------------------------------------------------- */

#define VEXFS_IOC_(nr, type) _IOWR(VEXFS_IOC_TYPE, nr, type)
/* The same command for a struct passed with `size` bytes. */
#define VEXFS_IOC_SIZED(cmd, size)                                                       \
	_IOC(_IOC_READ | _IOC_WRITE, VEXFS_IOC_TYPE, _IOC_NR(cmd), size)

#define VEXFS_IOC_VERSION VEXFS_IOC_(1, struct vexfs_version)
#define VEXFS_IOC_SEARCH VEXFS_IOC_(2, struct vexfs_search)
#define VEXFS_IOC_NEXT VEXFS_IOC_(3, struct vexfs_page)
#define VEXFS_IOC_SPACE_CREATE VEXFS_IOC_(4, struct vexfs_space)
#define VEXFS_IOC_SPACE_GET VEXFS_IOC_(5, struct vexfs_space)
#define VEXFS_IOC_SPACE_LIST VEXFS_IOC_(6, struct vexfs_space_list)
#define VEXFS_IOC_SPACE_DROP VEXFS_IOC_(7, struct vexfs_space)
#define VEXFS_IOC_SPACE_SET VEXFS_IOC_(8, struct vexfs_space)
#define VEXFS_IOC_PUT VEXFS_IOC_(9, struct vexfs_items)
#define VEXFS_IOC_DELETE VEXFS_IOC_(10, struct vexfs_items)
#define VEXFS_IOC_BEGIN VEXFS_IOC_(11, struct vexfs_txn)
#define VEXFS_IOC_COMMIT VEXFS_IOC_(12, struct vexfs_txn)
#define VEXFS_IOC_ABORT VEXFS_IOC_(13, struct vexfs_txn)
#define VEXFS_IOC_SYNC VEXFS_IOC_(14, struct vexfs_sync)
#define VEXFS_IOC_CHECKPOINT VEXFS_IOC_(15, struct vexfs_checkpoint)
#define VEXFS_IOC_REBUILD VEXFS_IOC_(16, struct vexfs_rebuild)
#define VEXFS_IOC_STATUS VEXFS_IOC_(17, struct vexfs_status)
#define VEXFS_IOC_STATS VEXFS_IOC_(18, struct vexfs_stats)
#define VEXFS_IOC_CONFIG VEXFS_IOC_(19, struct vexfs_config)
#define VEXFS_IOC_EXPORT VEXFS_IOC_(20, struct vexfs_export)
#define VEXFS_IOC_LAST_ERROR VEXFS_IOC_(21, struct vexfs_last_error)
#define VEXFS_IOC_COMPACT VEXFS_IOC_(22, struct vexfs_compact)
#define VEXFS_IOC_BACKUP VEXFS_IOC_(23, struct vexfs_backup)
#define VEXFS_IOC_RECALL VEXFS_IOC_(24, struct vexfs_recall)
#define VEXFS_IOC_STALE VEXFS_IOC_(25, struct vexfs_stale)
#define VEXFS_IOC_REATTACH VEXFS_IOC_(26, struct vexfs_reattach)
#define VEXFS_IOC_SCAN VEXFS_IOC_(27, struct vexfs_scan)

VEXFS_ASSERT(sizeof(struct vexfs_search) <= VEXFS_IOC_MAX);
VEXFS_ASSERT(sizeof(struct vexfs_page) <= VEXFS_IOC_MAX);
VEXFS_ASSERT(sizeof(struct vexfs_items) <= VEXFS_IOC_MAX);
VEXFS_ASSERT(sizeof(struct vexfs_space_list) <= VEXFS_IOC_MAX);
VEXFS_ASSERT(sizeof(struct vexfs_stats) <= VEXFS_IOC_MAX);
VEXFS_ASSERT(sizeof(struct vexfs_stale) <= VEXFS_IOC_MAX);

#endif
