/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validator: of a graph in memory, and of an index file with no store at hand. A file
 * is believed nothing: its sums first (vex_hnsw_load), then every place and link. Life is
 * held for writing, so nothing is inserted or swept meanwhile; searches go on.
 */
#include <sys/stat.h>
#include "format.h"
#include "hnsw_i.h"

static bool bit(const uint64_t *bits, uint32_t i)
{
	return bits[i >> 6] >> (i & 63) & 1;
}

/* Whether the rows of its layers above 0 lie where there are such rows. */
static bool placed(const struct vex_hnsw *h, uint32_t node, uint8_t layers)
{
	const uint32_t *place = (const uint32_t *)(const void *)h->places.base;

	return layers < 2 ||
	       (layers <= LEVELS && (uint64_t)place[node] + layers - 1 <= h->upper_used);
}

static uint64_t check_row(const struct vex_hnsw *h, uint32_t node, uint32_t level,
			  uint64_t *seen)
{
	uint32_t room, n = 0;
	_Atomic uint32_t *row = links_of(h, node, level, &room);
	uint64_t flaws = 0;

	for (; n < room && row[n] != NONE; n++) {
		uint32_t id = row[n];

		if (id >= h->cap || id == node) {
			flaws++;
			continue;
		}
		flaws += bit(seen, id);
		seen[id >> 6] |= 1ull << (id & 63);
		flaws += (*level_of(h, id) & ~GONE) < level + 1;
	}
	for (uint32_t i = 0; i < n; i++)
		if (row[i] < h->cap)
			seen[row[i] >> 6] = 0;
	for (; n < room; n++)
		flaws += row[n] != NONE;
	return flaws;
}

static uint64_t check_entry(const struct vex_hnsw *h)
{
	uint32_t entry = (uint32_t)h->entry, top = 0;

	for (uint32_t i = 0; i < h->cap; i++)
		if (is_node(h, i) && *level_of(h, i) > top)
			top = *level_of(h, i);
	if (!top)
		return 0;
	return entry == NONE || (*level_of(h, entry) & ~GONE) < top;
}

vex_err vex_hnsw_check(struct vex_hnsw *h, struct vex_hnsw_flaws *f)
{
	SCOPED_WRLOCK(&h->life);
	AUTO_FREE uint64_t *reached = NULL, *seen = calloc((size_t)h->cap / 64 + 1, 8);
	vex_err err = seen ? reach_bits(h, &reached) : -ENOMEM;

	if (err)
		return err;
	*f = (struct vex_hnsw_flaws){ .entry = check_entry(h) };
	for (uint32_t i = 0; i < h->cap; i++) {
		uint8_t l = *level_of(h, i) & (uint8_t)~GONE;

		if (!placed(h, i, l)) {
			f->links++;
			l = 1;
		}
		for (uint32_t level = 0; level < l; level++)
			f->links += check_row(h, i, level, seen);
		f->unreachable += is_node(h, i) && !bit(reached, i);
	}
	return 0;
}

/* ---- files ------------------------------------------------------------------------ */

static vex_err read_header(int fd, struct hnsw_header *d)
{
	if (pread(fd, d, sizeof(*d), 0) != (ssize_t)sizeof(*d) ||
	    d->magic != HNSW_MAGIC || d->version != HNSW_VERSION)
		return -EUCLEAN;
	return d->metric <= VEX_JACCARD ? 0 : -EUCLEAN;
}

vex_err vex_index_check(int fd, struct vex_index_file *out)
{
	struct hnsw_header d;
	struct vex_hnsw *h;
	uint64_t lsn;
	vex_err err = read_header(fd, &d);

	*out = (struct vex_index_file){ 0 };
	if (err)
		return err;
	struct vex_hnsw_opts o = { .metric = (enum vex_metric)d.metric,
				   .quant = (enum vex_quant)d.quant,
				   .dim = d.dim,
				   .m = d.m,
				   .ef_construction = d.ef_construction,
				   .seed = d.seed };
	err = vex_hnsw_new(&o, &h);
	if (err)
		return err == -EINVAL ? -EUCLEAN : err;
	err = vex_hnsw_load(h, fd, d.space, &lsn);
	if (!err)
		err = vex_hnsw_check(h, &out->flaws);
	out->space = d.space;
	out->dim = d.dim;
	out->lsn = d.lsn;
	out->nodes = d.nodes;
	out->slots = d.cap;
	vex_hnsw_free(h);
	return err;
}
