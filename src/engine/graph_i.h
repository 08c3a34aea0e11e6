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

/* ---- graph_calibrate.c: recall, measured ----------------------------------------------
 */

#define RECALL_K 10u         /* recall@10 is what is promised */
#define RECALL_DEFAULT 0.98f /* of a space that names no other */
#define RECALL_TOP 0.999f    /* beyond, a sample of this size tells nothing more */
#define CALIBRATE_QUERIES 192u
#define CURVE_STEPS 18u

/* What the stop rules reach, from the narrowest on; n 0: not measured yet. */
struct curve {
	uint32_t n;
	bool in_place; /* with the nodes of the queries in place */
	float recall[CURVE_STEPS];
};
/* The narrowest rule that reaches it; below 0: none does. */
float curve_widen(const struct curve *c, float recall);
float curve_best(const struct curve *c);
/* What was measured of a rule. */
float curve_reached(const struct curve *c, float widen);

struct graph {
	uint8_t said;       /* the state events have it in: 0 none, 1 building, 2 ready */
	struct graph *next; /* graphs.lock */
	uint32_t space;     /* id; fixed */
	uint32_t refs;      /* graphs.lock */
	struct vex_hnsw *h; /* replaced (under lock) only before ready */
	struct vex_hnsw_opts opts; /* fixed */
	/* What the thread alone knows: */
	bool begun;            /* a file was looked for */
	uint64_t uncalibrated; /* inserts and removes since the last calibration */
	uint64_t batch;        /* pending rows taken at once now */
	bool more;             /* some were left for the next look */
	uint64_t unconnected;  /* inserts since the last walk for what nobody leads to */
	uint64_t connected_at, connect_ns; /* of that walk */
	float aim;                         /* the recall its stop rule was chosen for */
	bool aside;                        /* another one of the space is searched */
	uint64_t built;             /* nodes when it was whole; 0: it came from a file */
	_Atomic uint64_t insert_ns; /* CPU time of an insert, lately; 0: not known */
	_Atomic uint32_t builds;    /* of the space's graph while mounted */
	uint64_t saved;             /* where its file stands */
	uint64_t unsaved;           /* inserts and removes since */
	/* For searches: */
	_Atomic bool ready;
	_Atomic uint64_t lsn; /* where the graph stands */
	_Atomic bool failed;  /* no memory: exact from now on */
	_Atomic bool poor;    /* no rule reaches the aim */
	_Atomic bool anew;    /* a rebuild was asked for */
	pthread_rwlock_t lock;
	/* guarded by lock: bits set after the insert, cleared by the sweep */
	_Atomic uint64_t *absorbed;
	uint64_t words;
	struct curve curve; /* written by the thread alone */
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

/* The space's graph, where it has one, is built anew, soon: adds to `out`. */
bool graphs_rebuild(struct graphs *gs, struct vex_space *sp, struct vex_rebuild *out);

/* graphs.c: an empty graph in place of what a bad file left. */
vex_err graph_anew(struct graph *g) VEX_CHECKED;

/* graph_follow.c: one step of following the space. */
struct follow {
	struct vex_engine *e;
	unsigned threads;
	_Atomic bool *stop;
	uint64_t others; /* bytes of all graphs but the one followed */
	/* Of the inserts under way: */
	_Atomic uint32_t space;
	_Atomic uint64_t begun, wanted, done; /* nanoseconds; rows */
};
/* -ESTALE: most of it has been replaced; a new graph is quicker made, and better. */
vex_err graph_follow(struct follow *f, struct graph *g, struct vex_space *sp) VEX_CHECKED;
/* Measures its recall where that is due, and aims at what the space asks for. -EINTR. */
vex_err graph_check_recall(struct follow *f, struct graph *g,
			   struct vex_space *sp) VEX_CHECKED;
float graph_aim_of(struct vex_space *sp);
/* Links to what nothing leads to, where it is time for that. */
vex_err graph_connect(struct graph *g) VEX_CHECKED;
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

/* Measures the curve on rows of the view. -EINTR: *stop became true. */
vex_err graph_calibrate(struct graph *g, const struct vex_view *v,
			const _Atomic bool *stop) VEX_CHECKED;
/* The stop rule of searches that ask for no other: what reaches this recall, or the
 * widest. */
void graph_aim(struct graph *g, float recall);
/* Recall@10 of searches like `p`, by up to `sample` rows of the view, spread over it, the
 * first of them at `from`; *queries: how many it were. Needs a deep stack. */
vex_err graph_measure(struct graph *g, const struct vex_view *v,
		      const struct vex_hnsw_query *p, uint32_t sample, uint64_t from,
		      float *recall, uint32_t *queries) VEX_CHECKED;
/* graph_search.c: how a search for k goes by default, but for the stop rule. */
struct vex_hnsw_query graph_query(uint32_t k);
struct vex_rows graph_rows(const struct vex_view *v);
/* A row as numbers: where it lies, or, of other types than f32, decoded into `room`. */
const float *graph_row(const struct vex_view *v, uint64_t slot, float *room);
/* live bits of the view that the graph does not have: their number, in `out`. */
uint64_t graph_pending(struct graph *g, const struct vex_view *v, uint64_t *out);

#endif
