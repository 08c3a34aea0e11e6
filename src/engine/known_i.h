/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to engine: what is remembered of hits, so that one that was a hit before is
 * found again without the catalog (known.c), and how it is verified (seat.c).
 */
#ifndef VEXFS_KNOWN_I_H
#define VEXFS_KNOWN_I_H

#include "names_i.h"

/* An attachment as far as a hit shows it, and where its file was. */
struct known {
	uint64_t moment; /* when the catalog was read: holds until touched */
	uint64_t parent; /* node of the directory */
	struct vex_stamp stamp;
	struct vex_fh fh; /* the inode's; never empty */
	uint64_t ino;
	int64_t born; /* birth time, ns; INT64_MIN: the filesystem has none */
	bool met;     /* the file was there: ino, born are known */
	bool settled; /* and tell it from all others */
	uint32_t key_len, name_len;
	char key[VEX_KEY_MAX + 1], name[256];
};

struct knowledge;
vex_err knowledge_new(struct knowledge **out) VEX_CHECKED;
void knowledge_free(struct knowledge *k);
/* By the attachment's change number. Says nothing of whether it still holds. */
bool known_get(struct knowledge *k, uint64_t lsn, struct known *out);
void known_put(struct knowledge *k, uint64_t lsn, const struct known *in);
/* known_get will be asked of it: in two steps, each for a few of them in a row, so that
 * the waits for memory overlap. */
void known_expect(struct knowledge *k, uint64_t lsn);
void known_expect_soon(struct knowledge *k, uint64_t lsn);
/* Inode and birth time suffice from now on. */
void known_settle(struct knowledge *k, uint64_t lsn);

/* The path of a directory node, appended to out, with a slash if it is not the root:
 * 1; 0: appended too, but it was looked at too long ago, or before a rename; -1: unknown.
 * `moves` is the engine's counter. */
int known_dir_get(struct knowledge *k, uint64_t node, uint64_t moves,
		  struct vex_buf *out);
/* `path` without slashes at its ends. */
void known_dir_put(struct knowledge *k, uint64_t node, uint64_t moves, const char *path,
		   size_t len);

#endif
