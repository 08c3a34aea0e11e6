/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the traversal: its versions. */
#ifndef VEXFS_BEAM_I_H
#define VEXFS_BEAM_I_H

#include "hnsw_i.h"

/* beam.c: it has a bound, which is met. */
bool beam_stopped(const struct beam *b, const struct context *c);

void beam_search_plain(const struct vex_hnsw *h, struct context *c, uint32_t entry,
		       const struct beam *b);
void beam_search_avx512(const struct vex_hnsw *h, struct context *c, uint32_t entry,
			const struct beam *b);
uint32_t beam_descend_plain(const struct vex_hnsw *h, struct context *c, uint32_t entry,
			    uint32_t from, uint32_t to, uint32_t keep);
uint32_t beam_descend_avx512(const struct vex_hnsw *h, struct context *c, uint32_t entry,
			     uint32_t from, uint32_t to, uint32_t keep);

#endif
