/* SPDX-License-Identifier: Apache-2.0 */
/* Private to salvage.c and salvage_rows.c: rescuing a damaged catalog. */
#ifndef VEX_STORE_SALVAGE_I_H
#define VEX_STORE_SALVAGE_I_H

#include "check_i.h"

#define NEW_CATALOG FMT_CATALOG ".new"

struct salvage {
	struct vex_store *s; /* descriptors and path alone */
	struct vex_salvage *o;
	sqlite3 *from;
	struct sql to;
	uint8_t uuid[16];
	bool has_uuid;
	uint64_t attachments, nodes; /* that came back by another way */
};

void salvage_say(struct salvage *x, const char *fmt, ...) VEX_PRINTF(2, 3);

/* Spaces whose row is lost, and the store's uuid, by the heads of slot files. */
vex_err salvage_spaces(struct salvage *x) VEX_CHECKED;
/* Attachments that the index has and the table has not: their rows by their records. */
vex_err salvage_rows(struct salvage *x) VEX_CHECKED;

#endif
