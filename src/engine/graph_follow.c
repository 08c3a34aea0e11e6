/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a space: a view's live bits against the graph's. What is live and not
 * absorbed is inserted, by all cores when it is much; what is absorbed and not live is
 * removed, and swept out once it is enough to be worth a pass over the links.
 *
 * The view keeps the rows' slots while they are read. When a sweep is done the space may
 * use the slots again that were freed before the view.
 */
#include <time.h>
#include "graph_i.h"

#define SWEEP_MIN 256u
#define SWEEP_SHARE 50u /* of the nodes, a part */
#define WORN_SHARE 3u   /* rows gone since the last look, a part of all */
#define CALIBRATE_SHARE 8u
#define CALIBRATE_MIN 64u
#define POOR_BY 0.02f /* of recall, below the aim */
#define ALONE 512u    /* inserts that are not worth a second thread */
#define BATCH_GROWTH 4u
#define BATCH_MAX ((uint64_t)1 << 20)
#define THREADS_MAX 16u
#define STACK ((size_t)256 << 10)

struct vex_rows graph_rows(const struct vex_view *v)
{
	return (struct vex_rows){
		.dim = v->dim,
		.type = v->layout->type,
		.scale = v->layout->scale,
		.metric = v->metric,
		.seg_shift = v->seg_shift,
		.slots = v->slots,
		.rows = v->rows,
		.norms = v->norms,
		.live = v->live,
	};
}

const float *graph_row(const struct vex_view *v, uint64_t slot, float *room)
{
	if (v->layout->type == VEX_F32)
		return (const float *)(const void *)vex_view_row(v, slot);
	vex_row_decode(v->layout, vex_view_row(v, slot), 0, v->dim, room);
	return room;
}

vex_err graph_room(struct graph *g, uint64_t slots)
{
	uint64_t words = slots / 64 + 1;
	_Atomic uint64_t *bits;

	if (words <= g->words)
		return 0;
	words += words / 2;
	bits = calloc(words, sizeof(*bits));
	if (!bits)
		return -ENOMEM;
	pthread_rwlock_wrlock(&g->lock);
	if (g->words)
		memcpy((void *)bits, (void *)g->absorbed, g->words * sizeof(*bits));
	free((void *)g->absorbed);
	g->absorbed = bits;
	g->words = words;
	pthread_rwlock_unlock(&g->lock);
	return 0;
}

uint64_t graph_pending(struct graph *g, const struct vex_view *v, uint64_t *out)
{
	SCOPED_RDLOCK(&g->lock);
	uint64_t words = (v->slots + 63) / 64, n = 0;

	for (uint64_t i = 0; i < words; i++) {
		uint64_t have = i < g->words ? atomic_load(&g->absorbed[i]) : 0;

		out[i] = v->live[i] & ~have;
		n += (uint64_t)__builtin_popcountll(out[i]);
	}
	return n;
}

/* ---- inserting
 * ------------------------------------------------------------------------- */

struct batch {
	struct follow *f;
	struct graph *g;
	const struct vex_view *v;
	const uint64_t *bits; /* what to insert */
	uint64_t words;
	_Atomic uint64_t next; /* word */
	_Atomic int err;
};

/* Of all threads: builders beside this one count as well, and so do searches. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void insert_word(struct batch *b, uint64_t word, float *room)
{
	for (uint64_t bits = b->bits[word]; bits; bits &= bits - 1) {
		uint64_t slot = word * 64 + (unsigned)__builtin_ctzll(bits);
		int err = slot >> 31 ? -EFBIG : 0;

		if (atomic_load(b->f->stop))
			err = -EINTR;
		if (!err)
			err = vex_hnsw_insert(b->g->h, (uint32_t)slot,
					      graph_row(b->v, slot, room));
		if (err) {
			atomic_store(&b->err, err);
			return;
		}
		atomic_fetch_or(&b->g->absorbed[word], bits & -bits);
		atomic_fetch_add_explicit(&b->f->done, 1, memory_order_relaxed);
	}
}

static void *insert_some(void *arg)
{
	struct batch *b = arg;
	AUTO_FREE float *room = malloc(b->v->dim * sizeof(*room));
	uint64_t word;

	if (!room)
		atomic_store(&b->err, -ENOMEM);
	while (!atomic_load(&b->err) && (word = atomic_fetch_add(&b->next, 1)) < b->words)
		insert_word(b, word, room);
	return NULL;
}

static vex_err insert_all(struct batch *b, uint64_t n)
{
	unsigned threads = n < ALONE ? 1 : b->f->threads, started = 0;
	pthread_t t[THREADS_MAX];

	while (started + 1 < threads && started < THREADS_MAX)
		if (vex_thread_start(&t[started], "vexfs-build", STACK, insert_some, b))
			break;
		else
			started++;
	insert_some(b);
	while (started)
		pthread_join(t[--started], NULL);
	return atomic_load(&b->err);
}

/* Keeps the first `most` of the bits; returns how many those are. */
static uint64_t first_of(uint64_t *bits, uint64_t words, uint64_t most)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < words; i++) {
		uint64_t here = (uint64_t)__builtin_popcountll(bits[i]);

		while (n + here > most) {
			/* The last ones go. */
			bits[i] &= ~(1ull << (63 - (unsigned)__builtin_clzll(bits[i])));
			here--;
		}
		n += here;
	}
	return n;
}

/* What is inserted may push out links that were somebody's only ones. After many that is
 * looked for at once, after few when there is time (graph_connect): it costs a walk
 * through all of the graph. */
static vex_err insert_bits(struct follow *f, struct graph *g, const struct vex_view *v,
			   const uint64_t *bits, uint64_t words, uint64_t n)
{
	struct batch b = { .f = f, .g = g, .v = v, .bits = bits, .words = words };
	uint64_t cpu = cpu_ns();
	vex_err err;

	err = insert_all(&b, n);
	if (!err && n >= ALONE)
		g->insert_ns = (cpu_ns() - cpu) / n;
	if (err || n < ALONE) {
		g->unconnected += n;
		return err;
	}
	g->unconnected = 0;
	return vex_hnsw_connect(g->h);
}

/* mem=: with the rows that come, as they are laid out now. */
static bool fits(const struct follow *f, const struct graph *g, uint64_t more)
{
	uint64_t cap = vex_engine_knob(f->e, VEX_KNOB_MEM);

	return !cap ||
	       f->others + vex_hnsw_estimate(&g->opts, vex_hnsw_nodes(g->h) + more) <=
		   cap;
}

/* How many to take at once: batch_size when rows trickle in, more while they come faster
 * than they are taken, up to BATCH_MAX: slots are kept back as long as a batch lasts. */
static uint64_t batch_of(struct follow *f, struct graph *g, uint64_t pending)
{
	uint64_t least = vex_engine_knob(f->e, VEX_KNOB_BATCH);

	if (pending <= least || g->batch < least)
		g->batch = least;
	while (g->batch < pending && g->batch < BATCH_MAX)
		g->batch *= BATCH_GROWTH;
	return g->batch < pending ? g->batch : pending;
}

static void progress(struct follow *f, const struct graph *g, uint64_t wanted)
{
	if (!atomic_load(&f->wanted)) {
		atomic_store(&f->done, 0);
		atomic_store(&f->begun, vex_now_mono());
		atomic_store(&f->space, g->space);
	}
	atomic_store(&f->wanted, wanted ? atomic_load(&f->done) + wanted : 0);
}

static vex_err take_in(struct follow *f, struct graph *g, const struct vex_view *v)
{
	uint64_t words = (v->slots + 63) / 64;
	AUTO_FREE uint64_t *bits = malloc((words ? words : 1) * sizeof(*bits));
	uint64_t pending, n;
	vex_err err = bits ? graph_room(g, v->slots) : -ENOMEM;

	if (err)
		return err;
	pending = graph_pending(g, v, bits);
	if (!fits(f, g, pending)) {
		vex_limit_crossed(VEX_LIMIT_MEMORY, f->others + vex_hnsw_bytes(g->h));
		return -ENOMEM;
	}
	n = first_of(bits, words, batch_of(f, g, pending));
	g->more = n < pending;
	if (!n)
		return 0;
	progress(f, g, pending);
	err = insert_bits(f, g, v, bits, words, n);
	progress(f, g, pending - n);
	vex_count(VEX_COUNT_INDEX_ROWS, n);
	g->unsaved += n;
	g->uncalibrated += n;
	return err;
}

#define CONNECT_SHARE 20u /* of the time, a part, goes into such walks at most */

vex_err graph_connect(struct graph *g)
{
	uint64_t start = vex_now_mono();
	vex_err err;

	if (start - g->connected_at < CONNECT_SHARE * g->connect_ns)
		return 0;
	err = vex_hnsw_connect(g->h);
	g->connected_at = vex_now_mono();
	g->connect_ns = g->connected_at - start;
	if (!err)
		g->unconnected = 0;
	return err;
}

/* ---- what recall it has
 * ---------------------------------------------------------------------- */

float graph_aim_of(struct vex_space *sp)
{
	struct vex_space_spec spec;

	vex_space_spec(sp, &spec);
	return spec.recall > 0 ? spec.recall : RECALL_DEFAULT;
}

static bool to_calibrate(const struct graph *g)
{
	return vex_hnsw_nodes(g->h) >= CALIBRATE_MIN && !g->more &&
	       (!g->curve.n || g->uncalibrated > vex_hnsw_nodes(g->h) / CALIBRATE_SHARE);
}

/* The aim may have been changed, the curve be new. */
static void take_aim(struct graph *g, float aim)
{
	bool poor;

	if (!g->curve.n)
		return;
	graph_aim(g, aim);
	/* A sample scatters: a graph is not built anew for that. */
	poor = curve_best(&g->curve) + POOR_BY < aim;
	if (poor && !atomic_exchange(&g->poor, true))
		vex_warn("index of space %u: recall %.3f where %.3f is the aim", g->space,
			 (double)curve_best(&g->curve), (double)aim);
	if (!poor)
		atomic_store(&g->poor, false);
}

vex_err graph_check_recall(struct follow *f, struct graph *g, struct vex_space *sp)
{
	float aim = graph_aim_of(sp);
	struct vex_view v;
	vex_err err;

	if (!to_calibrate(g)) {
		if (g->aim < aim || g->aim > aim)
			take_aim(g, aim);
		/* Too few rows to measure anything: as wide as can be. */
		if (vex_hnsw_widen(g->h) <= 0)
			graph_aim(g, aim);
		return 0;
	}
	err = vex_view_open(sp, &v);
	if (err)
		return err;
	err = graph_calibrate(g, &v, f->stop);
	vex_view_close(&v);
	if (err)
		return err;
	g->uncalibrated = 0;
	take_aim(g, aim);
	return 0;
}

/* ---- removing
 * ----------------------------------------------------------------------------- */

static vex_err remove_dead(struct graph *g, const struct vex_view *v)
{
	for (uint64_t i = 0; i < g->words; i++) {
		uint64_t live = i < (v->slots + 63) / 64 ? v->live[i] : 0;
		uint64_t dead = atomic_load(&g->absorbed[i]) & ~live;

		for (; dead; dead &= dead - 1) {
			uint64_t slot = i * 64 + (unsigned)__builtin_ctzll(dead);
			vex_err err = vex_hnsw_remove(g->h, (uint32_t)slot);

			/* Removed before, and not yet swept. */
			if (err && err != -ENOENT)
				return err;
			g->unsaved += !err;
			g->uncalibrated += !err;
		}
	}
	return 0;
}

/* Many nodes removed at once leave the others badly connected, however they are mended:
 * the new ones had been linked to them. */
static bool worn(struct graph *g, const struct vex_view *v)
{
	uint64_t dead = 0;

	for (uint64_t i = 0; i < g->words; i++) {
		uint64_t live = i < (v->slots + 63) / 64 ? v->live[i] : 0;

		dead +=
		    (uint64_t)__builtin_popcountll(atomic_load(&g->absorbed[i]) & ~live);
	}
	return dead > SWEEP_MIN && dead > (dead + vex_hnsw_nodes(g->h)) / WORN_SHARE;
}

static void swept(void *arg, uint32_t slot)
{
	struct graph *g = arg;

	atomic_fetch_and(&g->absorbed[slot / 64], ~(1ull << (slot % 64)));
}

static bool enough_to_sweep(const struct graph *g)
{
	uint64_t n = vex_hnsw_removed(g->h);

	return n >= SWEEP_MIN && n >= vex_hnsw_nodes(g->h) / SWEEP_SHARE;
}

vex_err graph_settle(struct graph *g)
{
	return vex_hnsw_removed(g->h) ? vex_hnsw_sweep(g->h, swept, g) : 0;
}

static vex_err let_go(struct graph *g, struct vex_view *v)
{
	vex_err err = remove_dead(g, v);

	if (!err && enough_to_sweep(g))
		err = vex_hnsw_sweep(g->h, swept, g);
	/* While another graph is searched, slots in it stay what they are. */
	if (!err && !g->aside && !vex_hnsw_removed(g->h))
		vex_space_hold(v->space, v->lsn);
	if (!g->more)
		atomic_store(&g->lsn, v->lsn);
	return err;
}

static vex_err begin(struct follow *f, struct graph *g, const struct vex_view *v)
{
	vex_err err = graph_load(f, g, v);

	g->begun = true;
	if (!err || err == -ENOENT)
		return 0;
	vex_warn("index of space %u: %s: it is built anew", g->space, strerror(-err));
	return graph_anew(g);
}

vex_err graph_follow(struct follow *f, struct graph *g, struct vex_space *sp)
{
	struct vex_view v;
	vex_err err = 0;

	/* Nothing freed from now on comes back before we have seen it. */
	if (!g->begun)
		vex_space_hold(sp, 0);
	err = vex_view_open(sp, &v);
	if (err)
		return err;
	if (!g->begun)
		err = begin(f, g, &v);
	if (!err && worn(g, &v))
		err = -ESTALE;
	if (!err)
		err = take_in(f, g, &v);
	if (!err)
		err = let_go(g, &v);
	vex_view_close(&v);
	return err;
}
