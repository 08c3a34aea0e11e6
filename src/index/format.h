/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index file of a space, STORE/.vexfs/index/ID.hnsw: a header page, then the five
 * arrays of the graph as they lie in memory, each from a page boundary on, so they can
 * be mapped. Numbers are little-endian (big-endian machines write and read no such
 * files). The file is derived: whatever is wrong with it, it is made again from the
 * slots.
 */
#ifndef VEXFS_INDEX_FORMAT_H
#define VEXFS_INDEX_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define HNSW_MAGIC 0x31575348584556ull /* "VEXHSW1" */
#define HNSW_VERSION 1u
#define HNSW_PAGE 4096u
#define HNSW_SECTIONS 5u /* codes, links of layer 0, places, levels, upper rows */

struct hnsw_section {
	uint64_t offset, bytes;
	uint64_t sum; /* XXH3-64 of the bytes */
};

struct hnsw_header {
	uint64_t magic;
	uint32_t version;
	uint32_t space;
	uint64_t lsn;           /* the graph stands at this change */
	uint16_t metric, quant; /* 0: sq8, as before there were others */
	uint32_t dim, m, ef_construction;
	uint64_t seed;
	uint64_t entry;
	uint64_t nodes;
	uint32_t cap, upper_used;
	uint32_t widen;  /* binary32: the stop rule that was calibrated */
	uint32_t spread; /* binary32: how distances grow with rank; 0: not known */
	struct hnsw_section section[HNSW_SECTIONS];
	uint64_t sum; /* of all before */
};
static_assert(sizeof(struct hnsw_header) == 208, "header");

#endif
