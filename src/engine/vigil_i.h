/* SPDX-License-Identifier: Apache-2.0 */
/* Private to engine: files that were hits, watched so that they need not be asked again
 * (vigil.c), for those who ask of them (seat.c, hits.c). */
#ifndef VEXFS_VIGIL_I_H
#define VEXFS_VIGIL_I_H

#include "names_i.h"

struct vigil;
/* *out NULL, and 0: nothing can be watched here. All calls below take NULL. */
vex_err vigil_new(int rootfd, struct vigil **out) VEX_CHECKED;
void vigil_free(struct vigil *v);

/* From here on all counts that happened before this call: once a search, before its hits
 * are looked at. */
void vigil_look(struct vigil *v);

/* What stat was of the node's file at that path (without NUL), where nothing has touched
 * it since. now: vex_now_mono of the last vigil_look or before. */
bool vigil_get(struct vigil *v, uint64_t node, const char *path, size_t len, uint64_t now,
	       struct stat *st);

/* vigil_get will be asked of it. */
void vigil_expect(struct vigil *v, uint64_t node);

/* How things stood before a file was asked: what was seen holds if nothing came since. */
struct vigil_mark {
	uint64_t epoch;
	uint32_t seq;
};
struct vigil_mark vigil_mark(struct vigil *v, uint64_t node);
/* st was seen at the path (NUL-terminated; changed, and changed back). Where it was seen
 * often lately, and may, a watch is set: true, though it may not have come about. */
bool vigil_seen(struct vigil *v, uint64_t node, char *path, size_t len,
		const struct vigil_mark *m, const struct stat *st, uint64_t now,
		bool may);

/* How many are watched. */
uint64_t vigil_watched(const struct vigil *v);
/* Answers given by vigil_get. */
uint64_t vigil_vouched(const struct vigil *v);

#endif
