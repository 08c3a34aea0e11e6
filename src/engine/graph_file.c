/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs between mounts: STORE/.vexfs/index/ID.hnsw, written beside and renamed over. A
 * file stands at a change number; what has happened since is found by comparing, as
 * always. A slot that holds a later row than the file's number was used again: the node
 * in it is taken out. A file that does not fit, or is damaged, is no loss.
 */
#include <fcntl.h>
#include "graph_i.h"

#define DIR "index"

static void file_name(const struct graph *g, const char *ending, char out[64])
{
	snprintf(out, 64, DIR "/%u.hnsw%s", g->space, ending);
}

/* ---- loading -------------------------------------------------------------------------
 */

/* Bits for the nodes of the graph whose rows are the ones they were made of. */
static vex_err adopt(struct graph *g, const struct vex_view *v, uint64_t lsn)
{
	bool stale = false;

	for (uint64_t slot = 0; slot < g->words * 64; slot++) {
		struct vex_slot s = { 0 };
		vex_err err;

		if (!vex_hnsw_has(g->h, (uint32_t)slot))
			continue;
		if (vex_view_live(v, slot))
			vex_view_slot(v, slot, &s);
		if (vex_view_live(v, slot) && s.lsn <= lsn) {
			atomic_fetch_or(&g->absorbed[slot / 64], 1ull << (slot % 64));
			continue;
		}
		err = vex_hnsw_remove(g->h, (uint32_t)slot);
		if (err)
			return err;
		stale = true;
	}
	return stale ? vex_hnsw_sweep(g->h, NULL, NULL) : 0;
}

vex_err graph_load(struct follow *f, struct graph *g, const struct vex_view *v)
{
	char name[64];
	uint64_t lsn;
	vex_err err;

	file_name(g, "", name);
	AUTO_CLOSE int fd =
	    vex_openat(vex_store_dirfd(f->e->store), name, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return -errno;
	err = vex_hnsw_load(g->h, fd, g->space, &lsn);
	/* A catalog older than the index: a restored one. Or rows were moved since. */
	if (!err && (lsn > v->lsn || lsn < vex_space_moved(v->space)))
		err = -EUCLEAN;
	if (!err)
		err = graph_room(g, vex_hnsw_slots(g->h));
	if (!err)
		err = adopt(g, v, lsn);
	if (!err)
		g->saved = lsn;
	return err;
}

/* ---- saving ---------------------------------------------------------------------------
 */

static vex_err write_file(struct graph *g, int dirfd, const char *name, uint64_t lsn)
{
	AUTO_CLOSE int fd =
	    vex_openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
	vex_err err;

	if (fd < 0)
		return -errno;
	err = vex_hnsw_save(g->h, fd, g->space, lsn);
	/* Flushed before it takes its name: a torn file would fail its sums, and cost a
	 * rebuild. */
	if (!err && fdatasync(fd))
		err = -errno;
	return err;
}

vex_err graph_save(struct follow *f, struct graph *g)
{
	int dirfd = vex_store_dirfd(f->e->store);
	char name[64], fresh[64];
	vex_err err;

	file_name(g, "", name);
	file_name(g, ".new", fresh);
	if (mkdirat(dirfd, DIR, 0700) && errno != EEXIST)
		return -errno;
	err = write_file(g, dirfd, fresh, atomic_load(&g->lsn));
	if (!err && renameat(dirfd, fresh, dirfd, name))
		err = -errno;
	if (err)
		unlinkat(dirfd, fresh, 0);
	else
		g->saved = atomic_load(&g->lsn);
	return err;
}

void graph_forget(struct follow *f, const struct graph *g)
{
	char name[64];

	file_name(g, "", name);
	unlinkat(vex_store_dirfd(f->e->store), name, 0);
}
