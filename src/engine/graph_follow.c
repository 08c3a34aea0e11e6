/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a space: a view's live bits against the graph's. What is live and not
 * absorbed is inserted, by all cores when it is much; what is absorbed and not live is
 * removed, and swept out once it is enough to be worth a pass over the links.
 *
 * The view keeps the rows' slots while they are read. When a sweep is done the space may
 * use the slots again that were freed before the view.
 */
#include "graph_i.h"

#define SWEEP_MIN 256u
#define SWEEP_SHARE 50u /* of the nodes, a part */
#define ALONE 512u	/* inserts that are not worth a second thread */
#define THREADS_MAX 16u
#define STACK ((size_t)256 << 10)

struct vex_rows graph_rows(const struct vex_view *v)
{
	return (struct vex_rows){
		.dim = v->dim,
		.metric = v->metric,
		.seg_shift = v->seg_shift,
		.slots = v->slots,
		.rows = v->rows,
		.norms = v->norms,
		.live = v->live,
	};
}

static vex_err grow(struct graph *g, uint64_t slots)
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

/* ---- inserting ------------------------------------------------------------------------- */

struct batch {
	struct follow *f;
	struct graph *g;
	const struct vex_view *v;
	const uint64_t *bits; /* what to insert */
	uint64_t words;
	_Atomic uint64_t next; /* word */
	_Atomic int err;
};

static void insert_word(struct batch *b, uint64_t word)
{
	for (uint64_t bits = b->bits[word]; bits; bits &= bits - 1) {
		uint64_t slot = word * 64 + (unsigned)__builtin_ctzll(bits);
		int err = slot >> 31 ? -EFBIG : 0;

		if (atomic_load(b->f->stop))
			err = -EINTR;
		if (!err)
			err = vex_hnsw_insert(b->g->h, (uint32_t)slot, vex_view_row(b->v, slot));
		if (err) {
			atomic_store(&b->err, err);
			return;
		}
		atomic_fetch_or(&b->g->absorbed[word], bits & -bits);
	}
}

static void *insert_some(void *arg)
{
	struct batch *b = arg;
	uint64_t word;

	while (!atomic_load(&b->err) && (word = atomic_fetch_add(&b->next, 1)) < b->words)
		insert_word(b, word);
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

static vex_err take_in(struct follow *f, struct graph *g, const struct vex_view *v)
{
	uint64_t words = (v->slots + 63) / 64;
	AUTO_FREE uint64_t *bits = malloc((words ? words : 1) * sizeof(*bits));
	struct batch b = { .f = f, .g = g, .v = v, .bits = bits, .words = words };
	uint64_t n;
	vex_err err = bits ? grow(g, v->slots) : -ENOMEM;

	if (err)
		return err;
	n = graph_pending(g, v, bits);
	return n ? insert_all(&b, n) : 0;
}

/* ---- removing ----------------------------------------------------------------------------- */

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
		}
	}
	return 0;
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

static vex_err let_go(struct graph *g, struct vex_view *v)
{
	vex_err err = remove_dead(g, v);

	if (!err && enough_to_sweep(g))
		err = vex_hnsw_sweep(g->h, swept, g);
	if (!err && !vex_hnsw_removed(g->h))
		vex_space_hold(v->space, v->lsn);
	return err;
}

vex_err graph_follow(struct follow *f, struct graph *g, struct vex_space *sp)
{
	struct vex_view v;
	vex_err err;

	/* Nothing freed from now on comes back before we have seen it. */
	if (!g->words)
		vex_space_hold(sp, 0);
	err = vex_view_open(sp, &v);
	if (err)
		return err;
	err = take_in(f, g, &v);
	if (!err)
		err = let_go(g, &v);
	if (!err && vex_hnsw_nodes(g->h) > g->calibrated + g->calibrated / 2)
		err = graph_calibrate(g, &v);
	if (!err)
		atomic_store(&g->ready, true);
	vex_view_close(&v);
	return err;
}
