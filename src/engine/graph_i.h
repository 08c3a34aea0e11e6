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
	uint8_t said; /* the state events have it in: 0 none, 1 building, 2 ready */
	struct graph *next;        /* graphs.lock */
	uint32_t space;            /* id; fixed */
	uint32_t refs;             /* graphs.lock */
	struct vex_hnsw *h;        /* replaced (under lock) only before ready */
	struct vex_hnsw_opts opts; /* fixed */
	/* What the thread alone knows: */
	bool begun;            /* a file was looked for */
	uint64_t uncalibrated; /* inserts since the last calibration */
	uint64_t saved;        /* where its file stands */
	uint64_t unsaved;      /* inserts and removes since */
	/* For searches: */
	_Atomic bool ready;
	_Atomic uint64_t lsn; /* where the graph stands */
	_Atomic bool failed;  /* no memory: exact from now on */
	pthread_rwlock_t lock;
	/* guarded by lock: bits set after the insert, cleared by the sweep */
	_Atomic uint64_t *absorbed;
	uint64_t words;
};

struct graphs;
vex_err graphs_new(struct vex_engine *e, unsigned threads,
		   struct graphs **out) VEX_CHECKED;
/* Ends the thread; searches are over. */
void graphs_free(struct graphs *gs);
/* A reference to the space's graph where it may be searched, or NULL. */
struct graph *graphs_find(struct graphs *gs, uint32_t space);
void graphs_put(struct graphs *gs, struct graph *g);
/* Until the space's graph, where it has one, stands at `lsn` or later, or has failed. */
void graphs_wait(struct graphs *gs, uint32_t space, uint64_t lsn);

/* graphs.c: an empty graph in place of what a bad file left. */
vex_err graph_anew(struct graph *g) VEX_CHECKED;

/* graph_follow.c: one step of following the space. */
struct follow {
	struct vex_engine *e;
	unsigned threads;
	_Atomic bool *stop;
	uint64_t others; /* bytes of all graphs but the one followed */
};
/* -ESTALE: most of it has been replaced; a new graph is quicker made, and better. */
vex_err graph_follow(struct follow *f, struct graph *g, struct vex_space *sp) VEX_CHECKED;
/* Room for the bits of so many slots. */
vex_err graph_room(struct graph *g, uint64_t slots) VEX_CHECKED;
/* What waits for a sweep is swept, whatever it costs: before a save. */
vex_err graph_settle(struct graph *g) VEX_CHECKED;

/* graph_file.c: -ENOENT, or another error: the graph is to be built. */
vex_err graph_load(struct follow *f, struct graph *g,
		   const struct vex_view *v) VEX_CHECKED;
vex_err graph_save(struct follow *f, struct graph *g) VEX_CHECKED;
/* The file of a space that is gone. */
void graph_forget(struct follow *f, const struct graph *g);

/* graph_calibrate.c: chooses the graph's widen for the recall that is promised, by asking
 * it for rows of the view that it does not have. */
#define STRANGERS_MIN 32u
#define STRANGERS_MAX 128u
vex_err graph_calibrate(struct graph *g, const struct vex_view *v,
			const uint64_t *strangers, size_t n) VEX_CHECKED;
struct vex_rows graph_rows(const struct vex_view *v);
/* live bits of the view that the graph does not have: their number, in `out`. */
uint64_t graph_pending(struct graph *g, const struct vex_view *v, uint64_t *out);

#endif
