/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to engine: the graphs beside the spaces.
 *
 * A graph is derived. It follows its space by looking, not by being told: a thread opens
 * a view, compares its live bits with what the graph has taken in ("absorbed"), and
 * inserts and removes the difference. The space holds back freed slots until the graph
 * has let go of them (vex_space_hold), so a slot in the graph means one row only.
 * Searches do the same comparison, and scan exactly what is live and not absorbed: so
 * every acknowledged row is seen, whatever the graph's lag.
 */
#ifndef VEXFS_GRAPH_I_H
#define VEXFS_GRAPH_I_H

#include "engine_i.h"

/* Below so many floats a space is scanned: some 0.3 ms, exact, and no memory. */
#define GRAPH_FLOATS_MIN ((uint64_t)4 << 20)

struct graph {
	struct graph *next; /* graphs.lock */
	uint32_t space;	    /* id; fixed */
	uint32_t refs;	    /* graphs.lock */
	struct vex_hnsw *h;
	/* What the thread alone knows: */
	uint64_t calibrated; /* nodes at the last calibration */
	bool failed;	     /* no memory: exact from now on */
	/* For searches: */
	_Atomic bool ready;
	_Atomic uint32_t widen; /* bits of the float */
	pthread_rwlock_t lock;
	/* guarded by lock: bits set after the insert, cleared by the sweep */
	_Atomic uint64_t *absorbed;
	uint64_t words;
};

struct graphs;
vex_err graphs_new(struct vex_engine *e, unsigned threads, struct graphs **out) VEX_CHECKED;
/* Ends the thread; searches are over. */
void graphs_free(struct graphs *gs);
/* A reference to the space's graph where it may be searched, or NULL. */
struct graph *graphs_find(struct graphs *gs, uint32_t space);
void graphs_put(struct graphs *gs, struct graph *g);

/* graph_follow.c: one step of following the space. */
struct follow {
	struct vex_engine *e;
	unsigned threads;
	_Atomic bool *stop;
};
vex_err graph_follow(struct follow *f, struct graph *g, struct vex_space *sp) VEX_CHECKED;
/* graph_calibrate.c: chooses widen for the recall that is promised. */
vex_err graph_calibrate(struct graph *g, struct vex_view *v) VEX_CHECKED;
struct vex_rows graph_rows(const struct vex_view *v);
/* live bits of the view that the graph does not have: their number, in `out`. */
uint64_t graph_pending(struct graph *g, const struct vex_view *v, uint64_t *out);

#endif
