/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of graphs and the thread that keeps them up to date. It sleeps while the
 * store does not change, looks soon again while it does, and ends between two inserts
 * when told to.
 *
 * Locks: graphs.lock guards the list, the counts and the sleep; no work is done under
 * it.
 */
#include <time.h>
#include "attach_i.h"
#include "graph_i.h"

#define IDLE_MS 400
#define BUSY_MS 20
#define STACK ((size_t)256 << 10)
#define ERRORS_EVERY_NS UINT64_C(5000000000)
/* Changes, as a share of the nodes, after which the file is written while mounted. */
#define SAVE_SHARE 4u
#define SAVE_MIN 10000u

struct graphs {
	struct follow f;
	pthread_mutex_t lock;
	pthread_cond_t wake;   /* the thread: there may be work */
	pthread_cond_t looked; /* waiters: it has looked once more */
	struct graph *list;
	_Atomic bool stop;
	_Atomic bool poked; /* there is work though the store has not changed */
	bool more;          /* the thread's: some was left for the next look */
	bool owing;         /* the thread's: some graph is to be connected */
	bool started;
	pthread_t thread;
};

static void graph_free(struct graph *g)
{
	vex_hnsw_free(g->h);
	free((void *)g->absorbed);
	pthread_rwlock_destroy(&g->lock);
	free(g);
}

struct graph *graphs_find(struct graphs *gs, uint32_t space)
{
	SCOPED_LOCK(&gs->lock);

	for (struct graph *g = gs->list; g; g = g->next)
		if (g->space == space && atomic_load(&g->ready)) {
			g->refs++;
			return g;
		}
	return NULL;
}

void graphs_put(struct graphs *gs, struct graph *g)
{
	bool last;

	pthread_mutex_lock(&gs->lock);
	last = --g->refs == 0;
	pthread_mutex_unlock(&gs->lock);
	if (last)
		graph_free(g);
}

vex_err graph_anew(struct graph *g)
{
	struct vex_hnsw *h, *old;
	vex_err err = vex_hnsw_new(&g->opts, &h);

	if (err)
		return err;
	pthread_rwlock_wrlock(&g->lock);
	old = g->h;
	g->h = h;
	pthread_rwlock_unlock(&g->lock);
	vex_hnsw_free(old);
	for (uint64_t i = 0; i < g->words; i++)
		atomic_store(&g->absorbed[i], 0);
	return 0;
}

static struct graph *graph_new(struct vex_space *sp)
{
	struct graph *g = calloc(1, sizeof(*g));
	struct vex_space_spec spec;

	if (!g)
		return NULL;
	vex_space_spec(sp, &spec);
	g->opts = (struct vex_hnsw_opts){
		.metric = spec.metric,
		.quant = spec.quant,
		.dim = spec.dim,
		.m = spec.m,
		.ef_construction = spec.ef_construction,
		.seed = vex_space_id(sp),
	};
	if (vex_hnsw_new(&g->opts, &g->h)) {
		free(g);
		return NULL;
	}
	pthread_rwlock_init(&g->lock, NULL);
	g->space = vex_space_id(sp);
	g->refs = 1; /* the list's */
	return g;
}

/* The space's graph, made if it should have one now. The list's reference serves: only
 * this thread takes graphs off the list. */
static struct graph *graph_for(struct graphs *gs, struct vex_space *sp)
{
	struct vex_space_counts counts;
	struct vex_space_spec spec;
	struct graph *g = gs->list;

	while (g && g->space != vex_space_id(sp))
		g = g->next;
	if (g)
		return atomic_load(&g->failed) && !atomic_load(&g->anew) ? NULL : g;
	vex_space_spec(sp, &spec);
	vex_space_counts(sp, &counts);
	/* Codes stand for inner products. */
	if (spec.type == VEX_BIT || spec.metric > VEX_IP)
		return NULL;
	if (spec.index != VEX_HNSW || counts.rows * spec.dim < gs->f.e->graph_floats_min)
		return NULL;
	g = graph_new(sp);
	if (!g)
		return NULL;
	pthread_mutex_lock(&gs->lock);
	g->next = gs->list;
	gs->list = g;
	pthread_mutex_unlock(&gs->lock);
	return g;
}

/* Graphs of spaces that are gone. */
static void prune(struct graphs *gs)
{
	struct graph **at = &gs->list;

	while (*at) {
		AUTO_SPACE struct vex_space *sp = NULL;
		struct graph *g = *at;

		if (!vex_space_find_id(gs->f.e->store, g->space, &sp)) {
			at = &g->next;
			continue;
		}
		pthread_mutex_lock(&gs->lock);
		*at = g->next;
		pthread_mutex_unlock(&gs->lock);
		graph_forget(&gs->f, g);
		graphs_put(gs, g);
	}
}

static void fail(struct graphs *gs, struct graph *g, struct vex_space *sp, vex_err err)
{
	struct vex_space_spec spec;

	if (err == -EINTR && atomic_load(&gs->stop))
		return;
	vex_space_spec(sp, &spec);
	vex_warn("space %s: its index stops here (%s): searches are exact", spec.name,
		 strerror(-err));
	atomic_store(&g->ready, false);
	atomic_store(&g->failed, true);
	note_add(gs->f.e, VEX_NOTE_INDEX, 0, NULL, "%s failed", spec.name);
	vex_space_hold(sp, UINT64_MAX);
}

/* One look at the space. What is searched has a stop rule: one out of its file serves
 * until it is measured again. */
static vex_err follow(struct graphs *gs, struct graph *g, struct vex_space *sp)
{
	vex_err err = graph_follow(&gs->f, g, sp);

	if (err || g->more)
		return err;
	if (vex_hnsw_widen(g->h) > 0)
		atomic_store(&g->ready, true);
	err = graph_check_recall(&gs->f, g, sp);
	if (!err)
		atomic_store(&g->ready, true);
	return err;
}

/* All of the space into a graph nobody searches yet. */
static vex_err build(struct graphs *gs, struct graph *g, struct vex_space *sp)
{
	vex_err err;

	g->begun = true;
	do
		err = follow(gs, g, sp);
	while (!err && g->more);
	g->built = vex_hnsw_nodes(g->h);
	return err;
}

/* A new graph takes the place of one that is worn, poor or unwanted, which serves until
 * it stands. */
static vex_err renew(struct graphs *gs, struct graph *old, struct vex_space *sp)
{
	struct graph *g = graph_new(sp), **at = &gs->list;
	vex_err err;

	if (!g)
		return -ENOMEM;
	g->aside = true;
	err = build(gs, g, sp);
	if (err) {
		graph_free(g);
		return err;
	}
	g->aside = false;
	g->builds = old->builds + 1;
	pthread_mutex_lock(&gs->lock);
	while (*at != old)
		at = &(*at)->next;
	g->next = old->next;
	*at = g;
	pthread_mutex_unlock(&gs->lock);
	graphs_put(gs, old);
	/* What was freed meanwhile is let go of by the next look. */
	atomic_store(&gs->poked, true);
	return 0;
}

/* Asked for; or found wanting, where that is allowed and more of the same rows is not
 * all a new one would get. */
static bool to_renew(struct graphs *gs, struct graph *g)
{
	uint64_t nodes = vex_hnsw_nodes(g->h);

	if (atomic_exchange(&g->anew, false))
		return true;
	return atomic_load(&g->poor) && vex_engine_knob(gs->f.e, VEX_KNOB_AUTO_REBUILD) &&
	       (!g->built || nodes > g->built + g->built / 3);
}

/* A file that is behind costs the next mount some inserts, no more. */
static void save(struct graphs *gs, struct graph *g)
{
	uint64_t start = vex_now_mono();
	vex_err err = graph_settle(g);

	if (!err)
		err = graph_save(&gs->f, g);
	vex_op_done(VEX_OP_INDEX_SAVE, vex_now_mono() - start, err);
	if (err)
		vex_warn("index of space %u: not saved: %s", g->space, strerror(-err));
	g->unsaved = 0;
}

static uint64_t bytes_of_others(const struct graphs *gs, const struct graph *but)
{
	uint64_t bytes = 0;

	for (const struct graph *g = gs->list; g; g = g->next)
		bytes += g == but ? 0 : vex_hnsw_bytes(g->h);
	return bytes;
}

/* Says so where the state is another than when it was last said. */
static void say_state(struct graphs *gs, struct graph *g, struct vex_space *sp)
{
	bool ready = atomic_load(&g->ready);
	struct vex_space_spec spec;

	if (g->said == (ready ? 2 : 1))
		return;
	g->said = ready ? 2 : 1;
	vex_space_spec(sp, &spec);
	note_add(gs->f.e, VEX_NOTE_INDEX, 0, NULL, "%s %s", spec.name,
		 ready ? "ready" : "building");
}

static void look_at(struct graphs *gs, struct graph *g, struct vex_space *sp)
{
	vex_err err;

	gs->f.others = bytes_of_others(gs, g);
	say_state(gs, g, sp);
	err = to_renew(gs, g) ? -ESTALE : follow(gs, g, sp);
	if (err == -ESTALE) {
		err = renew(gs, g, sp);
		if (!err)
			return;
	}
	if (err) {
		fail(gs, g, sp, err);
		return;
	}
	say_state(gs, g, sp);
	gs->more |= g->more;
	gs->owing |= g->unconnected != 0;
	if (g->unsaved > vex_hnsw_nodes(g->h) / SAVE_SHARE + SAVE_MIN && !g->more)
		save(gs, g);
}

static void look(struct graphs *gs)
{
	uint64_t start = vex_now_mono();
	uint32_t after = 0;

	gs->more = false;
	prune(gs);
	while (!atomic_load(&gs->stop)) {
		AUTO_SPACE struct vex_space *sp = NULL;
		struct graph *g;

		if (vex_space_next(gs->f.e->store, after, &sp))
			break;
		after = vex_space_id(sp);
		g = graph_for(gs, sp);
		if (g)
			look_at(gs, g, sp);
	}
	if (gs->list)
		vex_op_done(VEX_OP_INDEX, vex_now_mono() - start, 0);
}

static struct graph *of_space(struct graphs *gs, uint32_t space)
{
	struct graph *g = gs->list;

	while (g && g->space != space)
		g = g->next;
	return g;
}

void graphs_wait(struct graphs *gs, uint32_t space, uint64_t lsn)
{
	SCOPED_LOCK(&gs->lock);
	struct graph *g;

	pthread_cond_signal(&gs->wake);
	while (!atomic_load(&gs->stop)) {
		g = of_space(gs, space);
		if (!g || atomic_load(&g->failed) || atomic_load(&g->lsn) >= lsn)
			return;
		pthread_cond_wait(&gs->looked, &gs->lock);
	}
}

void graph_await(struct vex_engine *e, const char *space, uint64_t lsn)
{
	AUTO_SPACE struct vex_space *sp = NULL;

	if (vex_engine_knob(e, VEX_KNOB_INDEX_SYNC) &&
	    !vex_space_find(e->store, space, &sp))
		graphs_wait(e->graphs, vex_space_id(sp), lsn);
}

void graph_await_all(struct vex_engine *e)
{
	uint64_t lsn = vex_store_lsn(e->store);
	uint32_t after = 0;

	while (vex_engine_knob(e, VEX_KNOB_INDEX_SYNC)) {
		AUTO_SPACE struct vex_space *sp = NULL;

		if (vex_space_next(e->store, after, &sp))
			return;
		after = vex_space_id(sp);
		graphs_wait(e->graphs, after, lsn);
	}
}

static void rest(struct graphs *gs, long ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_mutex_lock(&gs->lock);
	if (!atomic_load(&gs->stop))
		pthread_cond_timedwait(&gs->wake, &gs->lock, &t);
	pthread_mutex_unlock(&gs->lock);
}

/* Now and then: whether too much goes wrong. */
static void watch_errors(uint64_t *next)
{
	uint64_t now = vex_now_mono(), limit = vex_limit_get(VEX_LIMIT_ERRORS);
	uint32_t rate;

	if (now < *next)
		return;
	*next = now + ERRORS_EVERY_NS;
	rate = vex_error_rate();
	if (limit && rate > limit)
		vex_limit_crossed(VEX_LIMIT_ERRORS, rate);
}

/* Nothing has changed since the last look: time for what can wait. */
static void catch_up(struct graphs *gs)
{
	gs->owing = false;
	for (struct graph *g = gs->list; g; g = g->next) {
		vex_err err = g->unconnected ? graph_connect(g) : 0;

		if (err)
			vex_warn("index of space %u: %s", g->space, strerror(-err));
		gs->owing |= g->unconnected != 0;
	}
}

static void *graphs_main(void *arg)
{
	struct graphs *gs = arg;
	uint64_t seen = UINT64_MAX, errors_at = 0;

	while (!atomic_load(&gs->stop)) {
		uint64_t now = vex_store_lsn(gs->f.e->store);
		bool poked = atomic_exchange(&gs->poked, false);
		bool changed = now != seen || poked || gs->more;

		if (changed)
			look(gs);
		else if (gs->owing)
			catch_up(gs);
		pthread_mutex_lock(&gs->lock);
		pthread_cond_broadcast(&gs->looked);
		pthread_mutex_unlock(&gs->lock);
		seen = now;
		watch_errors(&errors_at);
		notes_tell_crossings(gs->f.e);
		if (!gs->more)
			rest(gs, changed ? BUSY_MS : IDLE_MS);
	}
	return NULL;
}

/* ---- asked from outside
 * ---------------------------------------------------------------------- */

static void fill_progress(struct graphs *gs, uint32_t space, struct vex_index_info *out)
{
	uint64_t wanted = atomic_load(&gs->f.wanted), done = atomic_load(&gs->f.done);
	uint64_t spent = vex_now_mono() - atomic_load(&gs->f.begun);

	if (!wanted || atomic_load(&gs->f.space) != space || done > wanted)
		return;
	out->progress = (uint32_t)(done * 1000 / wanted);
	if (done)
		out->seconds_left = (uint32_t)((double)spent / 1e9 / (double)done *
					       (double)(wanted - done));
}

static void fill_info(struct graph *g, uint64_t rows, struct vex_index_info *out)
{
	SCOPED_RDLOCK(&g->lock);

	out->nodes = vex_hnsw_nodes(g->h);
	out->lsn = atomic_load(&g->lsn);
	out->bytes = vex_hnsw_bytes(g->h);
	out->builds = g->builds;
	out->pending = rows > out->nodes ? rows - out->nodes : 0;
	if (g->curve.n)
		out->recall = curve_reached(&g->curve, vex_hnsw_widen(g->h));
	out->state = atomic_load(&g->failed)   ? VEX_INDEX_FAILED
		     : !atomic_load(&g->ready) ? VEX_INDEX_BUILDING
		     : atomic_load(&g->poor)   ? VEX_INDEX_POOR
					       : VEX_INDEX_READY;
}

void vex_engine_index_info(struct vex_engine *e, struct vex_space *sp,
			   struct vex_index_info *out)
{
	struct graphs *gs = e->graphs;
	struct vex_space_counts counts;
	struct graph *g;

	vex_space_counts(sp, &counts);
	*out = (struct vex_index_info){ .state = VEX_INDEX_EXACT };
	SCOPED_LOCK(&gs->lock);
	g = of_space(gs, vex_space_id(sp));
	if (!g)
		return;
	fill_info(g, counts.rows, out);
	fill_progress(gs, g->space, out);
}

bool graphs_rebuild(struct graphs *gs, struct vex_space *sp, struct vex_rebuild *out)
{
	SCOPED_LOCK(&gs->lock);
	struct graph *g = of_space(gs, vex_space_id(sp));
	struct vex_space_counts counts;

	if (!g)
		return false;
	vex_space_counts(sp, &counts);
	out->spaces++;
	out->rows += counts.rows;
	out->bytes += vex_hnsw_estimate(&g->opts, counts.rows);
	out->cpu_seconds += (double)g->insert_ns * (double)counts.rows / 1e9;
	out->timed &= g->insert_ns != 0;
	atomic_store(&g->anew, true);
	atomic_store(&gs->poked, true);
	pthread_cond_signal(&gs->wake);
	return true;
}

vex_err graphs_new(struct vex_engine *e, unsigned threads, struct graphs **out)
{
	struct graphs *gs = calloc(1, sizeof(*gs));
	vex_err err;

	if (!gs)
		return -ENOMEM;
	pthread_mutex_init(&gs->lock, NULL);
	pthread_cond_init(&gs->wake, NULL);
	pthread_cond_init(&gs->looked, NULL);
	gs->f = (struct follow){ .e = e, .threads = threads, .stop = &gs->stop };
	err = vex_thread_start(&gs->thread, "vexfs-index", STACK, graphs_main, gs);
	gs->started = !err;
	if (err) {
		graphs_free(gs);
		return err;
	}
	*out = gs;
	return 0;
}

void graphs_free(struct graphs *gs)
{
	if (!gs)
		return;
	pthread_mutex_lock(&gs->lock);
	atomic_store(&gs->stop, true);
	pthread_cond_signal(&gs->wake);
	pthread_cond_broadcast(&gs->looked);
	pthread_mutex_unlock(&gs->lock);
	if (gs->started)
		pthread_join(gs->thread, NULL);
	while (gs->list) {
		struct graph *g = gs->list;

		gs->list = g->next;
		if (g->unsaved && g->ready && !g->failed)
			save(gs, g);
		graph_free(g);
	}
	pthread_cond_destroy(&gs->wake);
	pthread_cond_destroy(&gs->looked);
	pthread_mutex_destroy(&gs->lock);
	free(gs);
}
