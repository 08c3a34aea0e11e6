/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph to a file and back. Writing takes the graph as it stands: the caller sees to
 * it that nothing is inserted meanwhile (searches may run). Reading checks every sum
 * before a link is followed. Arrays are read into memory of our own, which may have huge
 * pages as file pages may not; those of a graph that is large beside the memory there is
 * are mapped copy-on-write, so that what is not touched can be dropped again.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include "format.h"
#include "hnsw_i.h"

static struct region *region_of(struct vex_hnsw *h, unsigned i)
{
	struct region *const r[HNSW_SECTIONS] = { &h->codes, &h->links0, &h->places,
						  &h->levels, &h->upper };

	return r[i];
}

static uint64_t bytes_of(const struct vex_hnsw *h, uint32_t cap, uint32_t upper,
			 unsigned i)
{
	const uint64_t bytes[HNSW_SECTIONS] = {
		(uint64_t)cap * h->stride,
		(uint64_t)cap * h->m0 * sizeof(uint32_t),
		(uint64_t)cap * sizeof(uint32_t),
		cap,
		(uint64_t)upper * h->m * sizeof(uint32_t),
	};

	return bytes[i];
}

static uint64_t page_up(uint64_t n)
{
	return (n + HNSW_PAGE - 1) & ~(uint64_t)(HNSW_PAGE - 1);
}

static vex_err write_all(int fd, const void *data, size_t n, uint64_t off)
{
	const uint8_t *p = data;

	while (n) {
		ssize_t w = pwrite(fd, p, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		p += w;
		off += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

static uint64_t header_sum(const struct hnsw_header *d)
{
	return vex_sum64(0, d, offsetof(struct hnsw_header, sum));
}

vex_err vex_hnsw_save(struct vex_hnsw *h, int fd, uint32_t space, uint64_t lsn)
{
	SCOPED_WRLOCK(&h->life);
	struct hnsw_header d = {
		.magic = HNSW_MAGIC,
		.version = HNSW_VERSION,
		.space = space,
		.lsn = lsn,
		.metric = (uint16_t)h->metric,
		.quant = h->quant == VEX_QUANT_SQ8 ? 0 : (uint16_t)h->quant,
		.dim = h->dim,
		.m = h->m,
		.ef_construction = h->ef_construction,
		.seed = h->seed,
		.entry = h->entry,
		.nodes = h->nodes,
		.cap = h->cap,
		.upper_used = h->upper_used,
		.widen = h->widen,
		.spread = h->spread,
	};
	uint64_t off = HNSW_PAGE;
	vex_err err = 0;

	/* Removed nodes would have to be told from live ones by somebody later. */
	if (h->removed)
		return -EBUSY;
	for (unsigned i = 0; i < HNSW_SECTIONS && !err; i++) {
		struct hnsw_section *s = &d.section[i];

		s->offset = off;
		s->bytes = bytes_of(h, h->cap, h->upper_used, i);
		s->sum = vex_sum64(0, region_of(h, i)->base, s->bytes);
		err = write_all(fd, region_of(h, i)->base, s->bytes, off);
		off = page_up(off + s->bytes);
	}
	d.sum = header_sum(&d);
	if (!err)
		err = write_all(fd, &d, sizeof(d), 0);
	if (!err && ftruncate(fd, (off_t)off))
		err = -errno;
	return err;
}

/* ---- reading --------------------------------------------------------------------------
 */

static bool header_fits(const struct vex_hnsw *h, const struct hnsw_header *d,
			uint32_t space, uint64_t size)
{
	if (d->magic != HNSW_MAGIC || d->version != HNSW_VERSION ||
	    d->sum != header_sum(d))
		return false;
	if (d->space != space || d->metric != h->metric ||
	    (d->quant ? d->quant : VEX_QUANT_SQ8) != h->quant || d->dim != h->dim ||
	    d->m != h->m || d->seed != h->seed)
		return false;
	if ((uint32_t)d->entry != NONE &&
	    ((uint32_t)d->entry >= d->cap || d->entry >> 32 >= LEVELS))
		return false;
	for (unsigned i = 0; i < HNSW_SECTIONS; i++) {
		const struct hnsw_section *s = &d->section[i];

		if (s->bytes != bytes_of(h, d->cap, d->upper_used, i) ||
		    s->offset % HNSW_PAGE || s->offset > size ||
		    page_up(s->bytes) > size - s->offset)
			return false;
	}
	return true;
}

#define MAP_SHARE 4u /* of all memory: larger graphs are mapped */

static bool large(const struct hnsw_header *d)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < HNSW_SECTIONS; i++)
		bytes += d->section[i].bytes;
	return bytes > vex_memory_total() / MAP_SHARE;
}

static vex_err take_all(struct vex_hnsw *h, int fd, const struct hnsw_header *d)
{
	bool map = large(d);

	for (unsigned i = 0; i < HNSW_SECTIONS; i++) {
		const struct hnsw_section *s = &d->section[i];
		vex_err err = region_take(region_of(h, i), fd, s->offset, s->bytes, map);

		if (err)
			return err;
		if (vex_sum64(0, region_of(h, i)->base, s->bytes) != s->sum)
			return -EUCLEAN;
	}
	return 0;
}

vex_err vex_hnsw_load(struct vex_hnsw *h, int fd, uint32_t space, uint64_t *lsn)
{
	struct hnsw_header d;
	struct stat st;
	vex_err err;

	if (fstat(fd, &st))
		return -errno;
	if (pread(fd, &d, sizeof(d), 0) != (ssize_t)sizeof(d) ||
	    !header_fits(h, &d, space, (uint64_t)st.st_size))
		return -EUCLEAN;
	err = take_all(h, fd, &d);
	if (err)
		return err;
	h->cap = d.cap;
	h->upper_used = d.upper_used;
	h->nodes = d.nodes;
	h->entry = d.entry;
	h->widen = d.widen;
	h->spread = d.spread;
	*lsn = d.lsn;
	return 0;
}

uint64_t vex_hnsw_slots(const struct vex_hnsw *h)
{
	return h->cap;
}

bool vex_hnsw_has(const struct vex_hnsw *h, uint32_t slot)
{
	return slot < h->cap && is_node(h, slot);
}
