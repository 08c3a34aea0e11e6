/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: what a slot says of itself. The checksum covers the row's bytes and whose
 * they are (file, change, space, key, row), so a row left over from another file in a
 * reused slot does not pass, however intact its numbers are.
 */
#include "store_i.h"

uint64_t rec_key(const void *key, uint32_t len)
{
	return vex_sum64(0, len ? key : "", len);
}

uint64_t rec_row_sum(const struct vex_space *sp, const void *row)
{
	return vex_sum64(0, row, sp->stride);
}

static uint64_t rec_sum(const struct vex_space *sp, const struct claim *c, uint32_t row,
			float norm, uint64_t row_sum)
{
	struct fmt_claim claim = {
		.node = c->node,
		.lsn = c->lsn,
		.key = c->key,
		.space = sp->id,
		.row = row,
		.norm = norm,
	};

	return vex_sum64(row_sum, &claim, sizeof(claim));
}

void rec_fill(const struct vex_space *sp, const struct claim *c, uint32_t row,
	      uint64_t row_sum, float norm, struct fmt_rec *out)
{
	*out = (struct fmt_rec){
		.node = c->node,
		.lsn = c->lsn,
		.row = row,
		.norm = norm,
		.sum = rec_sum(sp, c, row, norm, row_sum),
	};
}

bool rec_holds(const struct vex_space *sp, const struct claim *c, uint32_t row,
	       const struct fmt_rec *rec, const void *data)
{
	return rec->node == c->node && rec->lsn == c->lsn && rec->row == row &&
	       rec->sum == rec_sum(sp, c, row, rec->norm, rec_row_sum(sp, data));
}

bool rec_holds_at(struct vex_space *sp, const struct claim *c, uint32_t row, void *buf)
{
	uint64_t slot = c->slot + row;
	struct fmt_rec rec;

	return !file_read(sp->recs_fd, &rec, sizeof(rec),
			  FMT_HEAD + slot * sizeof(rec)) &&
	       !file_read(sp->rows_fd, buf, sp->stride, FMT_HEAD + slot * sp->stride) &&
	       rec_holds(sp, c, row, &rec, buf);
}
