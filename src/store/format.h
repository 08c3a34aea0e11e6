/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store puts on disk, in one place. docs/FORMAT.md tells the same in prose.
 *
 * Everything is little-endian; hosts of the other order are refused here, at
 * compile time, rather than by conversions nobody would ever test. Structs have no
 * hidden padding. Every byte that is read back is under a checksum: pages of the
 * catalog (vfs.c), headers and records of slot files (slotfile.c).
 */
#ifndef VEX_STORE_FORMAT_H
#define VEX_STORE_FORMAT_H

#include <assert.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian hosts only");

#define FMT_DIR ".vexfs"
#define FMT_CATALOG "catalog.db"
#define FMT_WAL "catalog.db-wal"
#define FMT_LOCK "lock"
#define FMT_RESERVE "reserve"
#define FMT_SPACES "spaces"

/* ---- catalog ------------------------------------------------------------- */

#define FMT_VERSION 3          /* PRAGMA user_version; upgrade.c has the steps */
#define FMT_APP_ID 0x56455846u /* PRAGMA application_id: "VEXF" */
#define FMT_PAGE 4096u
#define FMT_PAGE_SUM                                                                     \
	8u /* reserved bytes of each page: its XXH3, seeded with its number */
#define FMT_PENDING_BYTE 0x40000000u /* SQLite never writes the page that holds it */

/* WAL: a header, then frames of a header and a page each. */
#define FMT_WAL_HEAD 32u
#define FMT_WAL_FRAME (24u + FMT_PAGE)
#define FMT_WAL_SALT 16u /* offset of the two salts in the header */

/* meta.durable: how far the store was on the device. */
struct fmt_durable {
	uint64_t lsn;     /* every change up to this, with its rows */
	uint64_t serial;  /* counts syncs, so that each changes the row */
	uint64_t frames;  /* frames in the WAL that hold nothing later */
	uint32_t salt[2]; /* of that WAL; another one holds only what is later */
};
static_assert(sizeof(struct fmt_durable) == 32, "format");

/* meta.root: which inode the root of the store was. */
struct fmt_root {
	uint64_t fsid;
	int32_t type;
	uint32_t len;
	uint8_t bytes[40];
};
static_assert(sizeof(struct fmt_root) == 56, "format");

/* Kinds of log rows. Numbers are never reused. */
enum fmt_log_kind {
	FMT_LOG_PUT = 1,
	FMT_LOG_DELETE = 2,
	FMT_LOG_SPACE_NEW = 3,
	FMT_LOG_SPACE_DROP = 4,
	FMT_LOG_SPACE_SET = 5,
	FMT_LOG_NOTE = 16, /* and above: less this, enum vex_note */
};

/* ---- slot files: spaces/<id>.rows and spaces/<id>.recs ------------------- */

#define FMT_ROWS_MAGIC "VEXROWS\n"
#define FMT_RECS_MAGIC "VEXRECS\n"
#define FMT_SLOT_VERSION 1u
#define FMT_HEAD 4096u /* slot 0 begins here, in both files */

struct fmt_head {
	char magic[8];
	uint32_t version;
	uint32_t space;
	uint8_t uuid[16]; /* of the store */
	uint32_t dim;
	uint32_t type;
	uint64_t stride; /* bytes a slot in this file */
	uint8_t zero[FMT_HEAD - 56];
	uint64_t sum; /* XXH3 of all before */
};
static_assert(sizeof(struct fmt_head) == FMT_HEAD, "format");

/* One a slot, in .recs. */
struct fmt_rec {
	uint64_t node, lsn;
	uint32_t row;
	float norm;
	uint64_t sum; /* of struct fmt_claim, seeded with the XXH3 of the row's bytes */
};
static_assert(sizeof(struct fmt_rec) == 32, "format");

/* What a record's checksum covers beside the row. */
struct fmt_claim {
	uint64_t node, lsn;
	uint64_t key; /* XXH3 of the key's bytes */
	uint32_t space, row;
	float norm;
	uint32_t zero;
};
static_assert(sizeof(struct fmt_claim) == 40, "format");

#endif
