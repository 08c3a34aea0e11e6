/* SPDX-License-Identifier: Apache-2.0 */
/* The graph against the exact scan: recall, life (insert, remove, sweep, churn), sets
 * that break graphs, many threads; the validator after each. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <vexfs/index.h>

TestSuite(hnsw, .timeout = 240, .init = vex_kernel_init);

/* ThreadSanitizer builds are slow: smaller sets. */
#ifdef __SANITIZE_THREAD__
#define SCALE 8u
#else
#define SCALE 1u
#endif

struct field {
	uint32_t dim, n, cap;
	enum vex_metric metric;
	float *v;
	float *norms;
	uint64_t *live;
	const uint8_t *seg;
	const float *nseg;
	struct vex_rows rows;
	struct vex_hnsw *h;
};

static int take(void *arg, uint64_t slot, uint64_t *file)
{
	(void)arg;
	*file = slot;
	return 1;
}

static void field_init_quant(struct field *f, enum vex_metric metric,
			     enum vex_quant quant, uint32_t dim, uint32_t cap, uint32_t m)
{
	struct vex_hnsw_opts o = { metric, quant, dim, m, 100, 7 };

	*f = (struct field){ .dim = dim, .metric = metric, .cap = cap };
	f->v = calloc((size_t)cap * dim, sizeof(float));
	f->norms = calloc(cap, sizeof(float));
	f->live = calloc(cap / 64 + 2, sizeof(uint64_t));
	f->seg = (const uint8_t *)f->v;
	f->nseg = f->norms;
	f->rows = (struct vex_rows){ .dim = dim,
				     .metric = metric,
				     .seg_shift = 31,
				     .slots = cap,
				     .rows = &f->seg,
				     .norms = &f->nseg,
				     .live = f->live };
	cr_assert_eq(vex_hnsw_new(&o, &f->h), 0);
}

static void field_init(struct field *f, enum vex_metric metric, uint32_t dim,
		       uint32_t cap, uint32_t m)
{
	field_init_quant(f, metric, VEX_QUANT_DEFAULT, dim, cap, m);
}

static void field_free(struct field *f)
{
	vex_hnsw_free(f->h);
	free(f->v);
	free(f->norms);
	free(f->live);
}

static float *row(struct field *f, uint32_t i)
{
	return f->v + (size_t)i * f->dim;
}

static void put(struct field *f, uint32_t i)
{
	f->norms[i] = (float)vex_norm(row(f, i), f->dim);
	cr_assert_eq(vex_hnsw_insert(f->h, i, row(f, i)), 0);
	f->live[i / 64] |= 1ull << (i % 64);
	f->n++;
}

static void drop(struct field *f, uint32_t i)
{
	f->live[i / 64] &= ~(1ull << (i % 64));
	cr_assert_eq(vex_hnsw_remove(f->h, i), 0);
	f->n--;
}

/* Clustered, as real embeddings are. */
static void fill(struct field *f, uint32_t i, unsigned *seed)
{
	unsigned cluster = (unsigned)rand_r(seed) % 50 + 1;

	for (uint32_t j = 0; j < f->dim; j++) {
		unsigned c = cluster * 7919 + j;

		row(f, i)[j] = (float)rand_r(&c) / (float)RAND_MAX - 0.5f +
			       0.5f * ((float)rand_r(seed) / (float)RAND_MAX - 0.5f);
	}
}

static size_t nearest(struct field *f, const float *q, uint32_t k,
		      const struct vex_hnsw_query *p, struct vex_hit *out)
{
	struct vex_scan_stats st = { 0 };
	struct vex_topk *t;
	const struct vex_hit *h;
	size_t n;

	cr_assert_eq(vex_topk_new(k, 0, INFINITY, &t), 0);
	if (p)
		cr_assert_eq(vex_hnsw_search(f->h, &f->rows, q, p, t, take, NULL, &st),
			     0);
	else
		cr_assert_eq(vex_flat_search(&f->rows, q, 1, &t, take, NULL, NULL, &st),
			     0);
	h = vex_topk_sorted(t, &n);
	if (n)
		memcpy(out, h, n * sizeof(*out));
	vex_topk_free(t);
	return n;
}

/* Share of the k nearest distances that are found; ties count by distance. */
static double recall(struct field *f, unsigned seed, const struct vex_hnsw_query *p)
{
	AUTO_FREE float *q = malloc(f->dim * sizeof(float));
	size_t hits = 0, all = 0;
	struct vex_hit want[100], got[100];

	for (int i = 0; i < 100; i++) {
		uint32_t pick = (uint32_t)rand_r(&seed) % f->cap;
		size_t n, m, j = 0;

		for (uint32_t d = 0; d < f->dim; d++)
			q[d] = row(f, pick)[d] +
			       0.1f * ((float)rand_r(&seed) / (float)RAND_MAX);
		m = nearest(f, q, p->k, NULL, want);
		n = nearest(f, q, p->k, p, got);
		for (size_t a = 0; a < n && j < m; a++)
			if (got[a].distance <= want[m - 1].distance)
				j++;
		hits += j;
		all += m;
	}
	return all ? (double)hits / (double)all : 1;
}

static void sound(struct field *f)
{
	struct vex_hnsw_flaws x;

	cr_assert_eq(vex_hnsw_check(f->h, &x), 0);
	cr_assert_eq(x.links, 0, "%llu bad links", (unsigned long long)x.links);
	cr_assert_eq(x.entry, 0, "bad entry");
	cr_assert_eq(x.unreachable, 0, "%llu unreachable",
		     (unsigned long long)x.unreachable);
	cr_assert_eq(vex_hnsw_nodes(f->h), f->n);
}

static void sweep(struct field *f)
{
	cr_assert_eq(vex_hnsw_sweep(f->h, NULL, NULL), 0);
	cr_assert_eq(vex_hnsw_removed(f->h), 0);
	sound(f);
}

static const struct vex_hnsw_query usual = {
	.k = 10, .ef = 200, .widen = -1, .rerank = 50
};

Test(hnsw, recall_on_every_metric)
{
	unsigned seed = 31;

	for (int m = 0; m < 3; m++) {
		struct field f;
		double r;

		field_init(&f, (enum vex_metric)m, 24, 6000 / SCALE, 12);
		for (uint32_t i = 0; i < f.cap; i++) {
			fill(&f, i, &seed);
			put(&f, i);
		}
		sweep(&f);
		r = recall(&f, 5, &usual);
		cr_assert_gt(r, m == VEX_IP ? 0.94 : 0.97,
			     "seed 31 metric %d: recall %.3f", m, r);
		field_free(&f);
	}
}

/* Whatever is traversed, a search returns exact distances in their order; and the file of
 * a graph is not taken for that of another form. */
static void with_quant(enum vex_quant quant, enum vex_metric metric, double least)
{
	struct vex_hnsw_query p = { .k = 10, .ef = 100, .widen = -1, .rerank = 40 };
	struct vex_hnsw_opts o = { metric, quant % 4 + 1, 96, 8, 100, 7 };
	unsigned seed = 33;
	FILE *file = tmpfile();
	struct vex_hnsw *other;
	uint64_t lsn;
	struct field f;
	double r;

	field_init_quant(&f, metric, quant, 96, 3000 / SCALE, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	sweep(&f);
	r = recall(&f, 5, &p);
	cr_log_info("quant %d metric %d: recall %.3f", quant, metric, r);
	cr_assert_gt(r, least, "quant %d metric %d: recall %.3f", quant, metric, r);
	cr_assert_eq(vex_hnsw_save(f.h, fileno(file), 1, 5), 0);
	cr_assert_eq(vex_hnsw_new(&o, &other), 0);
	cr_assert_eq(vex_hnsw_load(other, fileno(file), 1, &lsn), -EUCLEAN);
	vex_hnsw_free(other);
	fclose(file);
	field_free(&f);
}

Test(hnsw, every_quant_on_every_metric)
{
	for (int m = 0; m < 3; m++) {
		with_quant(VEX_QUANT_NONE, (enum vex_metric)m, m == VEX_IP ? 0.9 : 0.97);
		with_quant(VEX_QUANT_F16, (enum vex_metric)m, m == VEX_IP ? 0.9 : 0.97);
		with_quant(VEX_QUANT_SQ8, (enum vex_metric)m, m == VEX_IP ? 0.9 : 0.97);
		with_quant(VEX_QUANT_BIT, (enum vex_metric)m, 0.5);
	}
}

Test(hnsw, stop_rule_trades_recall_for_distances)
{
	unsigned seed = 32;
	struct vex_hnsw_query p = { .k = 10, .ef = 1000, .widen = 0.02f, .rerank = 50 };
	double narrow, wide;
	struct field f;

	field_init(&f, VEX_COSINE, 32, 6000 / SCALE, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	narrow = recall(&f, 6, &p);
	p.widen = 0.6f;
	wide = recall(&f, 6, &p);
	cr_assert_gt(wide, 0.97, "recall %.3f", wide);
	cr_assert_leq(narrow, wide + 0.01);
	field_free(&f);
}

Test(hnsw, empty_and_single)
{
	struct field f;
	struct vex_hit out[10];
	float q[3] = { 1, 2, 3 };

	field_init(&f, VEX_L2, 3, 64, 4);
	cr_assert_eq(nearest(&f, q, 10, &usual, out), 0);
	sound(&f);
	row(&f, 5)[1] = 2;
	put(&f, 5);
	cr_assert_eq(nearest(&f, q, 10, &usual, out), 1);
	cr_assert_eq(out[0].slot, 5);
	cr_assert_eq(vex_hnsw_insert(f.h, 5, q), -EEXIST);
	cr_assert_eq(vex_hnsw_remove(f.h, 6), -ENOENT);
	cr_assert_eq(vex_hnsw_remove(f.h, 1u << 30), -ENOENT);
	drop(&f, 5);
	cr_assert_eq(nearest(&f, q, 10, &usual, out), 0);
	sweep(&f);
	put(&f, 5);
	cr_assert_eq(nearest(&f, q, 10, &usual, out), 1);
	sound(&f);
	field_free(&f);
}

/* Every vector equal: all must be reachable, and k of them come back. */
static void equals(uint32_t n, uint32_t distinct)
{
	struct field f;
	struct vex_hit out[100];
	struct vex_hnsw_query p = { .k = 50, .ef = 200, .widen = -1 };
	unsigned seed = 77;

	field_init(&f, VEX_L2, 8, n, 8);
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = 0; j < 8; j++)
			row(&f, i)[j] =
			    (float)(((i % distinct) * 31 + j * 7) % 11) * 0.25f +
			    (float)(i % distinct);
		put(&f, i);
	}
	sweep(&f);
	for (int i = 0; i < 20; i++) {
		const float *q = row(&f, (uint32_t)rand_r(&seed) % n);

		cr_assert_eq(nearest(&f, q, 50, &p, out), 50, "%u of %u", n, distinct);
		cr_assert_eq(out[0].distance, 0);
	}
	field_free(&f);
}

Test(hnsw, duplicates_by_the_thousand)
{
	equals(3000 / SCALE, 1);
	equals(4000 / SCALE, 3);
	equals(4000 / SCALE, 500 / SCALE);
}

Test(hnsw, one_dimension)
{
	unsigned seed = 41;
	struct field f;

	field_init(&f, VEX_L2, 1, 3000 / SCALE, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		row(&f, i)[0] = (float)rand_r(&seed) / (float)RAND_MAX * 100;
		put(&f, i);
	}
	/* one byte and a scale each: the codes of one dimension tell only signs apart, so
	 * ordering is by scale */
	sweep(&f);
	cr_assert_gt(recall(&f, 8, &usual), 0.9);
	field_free(&f);
}

Test(hnsw, sixteen_thousand_dimensions)
{
	unsigned seed = 42;
	struct field f;

	field_init(&f, VEX_COSINE, VEX_DIM_MAX, 200 / SCALE, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	sweep(&f);
	cr_assert_gt(recall(&f, 9, &usual), 0.97);
	field_free(&f);
}

Test(hnsw, inner_product_with_wild_norms)
{
	unsigned seed = 43;
	struct field f;
	double r;

	field_init(&f, VEX_IP, 16, 4000 / SCALE, 16);
	for (uint32_t i = 0; i < f.cap; i++) {
		float scale = powf(10, (float)(rand_r(&seed) % 7) - 3);

		for (uint32_t j = 0; j < 16; j++)
			row(&f, i)[j] =
			    ((float)rand_r(&seed) / (float)RAND_MAX - 0.5f) * scale;
		put(&f, i);
	}
	sweep(&f);
	r = recall(&f, 10, &usual);
	cr_assert_gt(r, 0.9, "recall %.3f", r);
	field_free(&f);
}

Test(hnsw, churn_keeps_recall)
{
	unsigned seed = 44;
	struct field f, fresh;
	uint32_t n = 4000 / SCALE;
	struct vex_hnsw_query p = { .k = 10, .ef = 14, .widen = -1, .rerank = 40 };
	double churned = 0, built = 0;

	field_init(&f, VEX_COSINE, 24, 2 * n, 12);
	for (uint32_t i = 0; i < n; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	/* The set replaced three times over, in slots that are used again. */
	for (uint32_t round = 0; round < 6; round++)
		for (uint32_t part = 0; part < 20; part++) {
			uint32_t from = round % 2 ? n : 0, to = round % 2 ? 0 : n;

			for (uint32_t i = part * n / 20; i < (part + 1) * n / 20; i++) {
				drop(&f, from + i);
				fill(&f, to + i, &seed);
				put(&f, to + i);
			}
			sweep(&f);
		}
	field_init(&fresh, VEX_COSINE, 24, 2 * n, 12);
	memcpy(fresh.v, f.v, (size_t)2 * n * 24 * sizeof(float));
	for (uint32_t i = 0; i < 2 * n; i++)
		if (f.live[i / 64] >> (i % 64) & 1)
			put(&fresh, i);
	/* 1,000 queries: of one graph, other ones make a difference of 0.3 points. */
	for (unsigned i = 0; i < 10; i++) {
		churned += recall(&f, 12 + i, &p) / 10;
		built += recall(&fresh, 12 + i, &p) / 10;
	}
	cr_log_info("seed 44: recall after churn %.4f, built anew %.4f", churned, built);
	cr_assert_gt(churned, built - 0.005, "after churn %.4f, built anew %.4f", churned,
		     built);
	field_free(&f);
	field_free(&fresh);
}

/* The graph may be ahead of a view: nodes whose rows, even whose segment, it does not
 * have (an array read past its end, before) are none of its hits. */
Test(hnsw, nodes_beyond_the_view)
{
	const uint8_t **segs = malloc(sizeof(*segs));
	unsigned seed = 46;
	struct field f;
	struct vex_hit out[10];

	field_init(&f, VEX_L2, 8, 640, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	segs[0] = (const uint8_t *)f.v;
	f.rows.seg_shift = 6;
	f.rows.slots = 64;
	f.rows.rows = segs;
	cr_assert_eq(nearest(&f, row(&f, 600), 10, &usual, out), 10);
	for (int i = 0; i < 10; i++)
		cr_assert_lt(out[i].slot, 64);
	free(segs);
	field_free(&f);
}

static uint64_t cost(struct field *f, uint32_t ef, unsigned seed, double *r)
{
	struct vex_hnsw_query p = { .k = 10, .ef = ef, .widen = -1, .rerank = 40 };
	struct vex_scan_stats st = { 0 };

	*r = recall(f, seed, &p);
	for (int i = 0; i < 100; i++) {
		struct vex_topk *t;

		cr_assert_eq(vex_topk_new(10, 0, INFINITY, &t), 0);
		cr_assert_eq(vex_hnsw_search(f->h, &f->rows,
					     row(f, (uint32_t)rand_r(&seed) % f->cap), &p,
					     t, take, NULL, &st),
			     0);
		vex_topk_free(t);
	}
	return st.distances;
}

/* ef is turned into a distance by what inserts have learned; that goes with the file. */
Test(hnsw, ef_trades_recall_for_distances_also_from_a_file)
{
	struct vex_hnsw_opts o = { VEX_COSINE, 0, 32, 8, 100, 7 };
	double few, many, again;
	uint64_t cheap, dear, lsn;
	unsigned seed = 48;
	FILE *file = tmpfile();
	struct field f;

	field_init(&f, VEX_COSINE, 32, 8000 / SCALE, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	sweep(&f);
	cheap = cost(&f, 12, 6, &few);
	dear = cost(&f, 150, 6, &many);
	cr_assert_gt(many, 0.97, "recall %.3f", many);
	cr_assert_gt(many, few);
	cr_assert_gt(dear, cheap + cheap / 4);
	cr_assert_eq(vex_hnsw_save(f.h, fileno(file), 1, 5), 0);
	vex_hnsw_free(f.h);
	cr_assert_eq(vex_hnsw_new(&o, &f.h), 0);
	cr_assert_eq(vex_hnsw_load(f.h, fileno(file), 1, &lsn), 0);
	cr_assert_eq(cost(&f, 150, 6, &again), dear);
	cr_assert_eq(many, again);
	fclose(file);
	field_free(&f);
}

struct asked {
	float last;
	struct field *f;
	const float *q;
	uint32_t n;
};

static int note(void *arg, uint64_t slot, uint64_t *file)
{
	struct asked *a = arg;
	float d = vex_distance(a->f->metric, a->q, row(a->f, (uint32_t)slot), a->f->dim,
			       vex_square(a->q, a->f->dim));

	cr_assert_geq(d, a->last - 1e-5f);
	a->last = d;
	a->n++;
	*file = slot;
	return 1;
}

/* Asking costs system calls: nearest first, and no more than k where all are taken. */
Test(hnsw, asks_nearest_first)
{
	unsigned seed = 47;
	struct field f;

	field_init(&f, VEX_L2, 16, 2000, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	for (int i = 0; i < 50; i++) {
		struct vex_scan_stats st = { 0 };
		struct asked a = { -1, &f, row(&f, (uint32_t)rand_r(&seed) % f.cap), 0 };
		struct vex_topk *t;

		cr_assert_eq(vex_topk_new(10, 0, INFINITY, &t), 0);
		cr_assert_eq(vex_hnsw_search(f.h, &f.rows, a.q, &usual, t, note, &a, &st),
			     0);
		cr_assert_eq(a.n, 10);
		cr_assert_lt(st.exact, 50);
		vex_topk_free(t);
	}
	field_free(&f);
}

/* A bound ends the traversal at the first step past it; the best of what was seen stands.
 */
Test(hnsw, stops_at_its_bound)
{
	unsigned seed = 53;
	struct vex_hnsw_query q = usual;
	struct vex_bound few = { .most = 60 }, late = { .deadline = 1 },
			 wide = { .deadline = UINT64_MAX, .most = 1u << 20 };
	struct vex_bound *bounds[] = { &few, &late, &wide };
	struct field f;

	field_init(&f, VEX_L2, 16, 2000, 8);
	for (uint32_t i = 0; i < f.cap; i++) {
		fill(&f, i, &seed);
		put(&f, i);
	}
	for (size_t i = 0; i < 3; i++) {
		struct vex_scan_stats st = { 0 };
		struct vex_topk *t;

		q.bound = bounds[i];
		cr_assert_eq(vex_topk_new(10, 0, INFINITY, &t), 0);
		cr_assert_eq(
		    vex_hnsw_search(f.h, &f.rows, row(&f, 77), &q, t, take, NULL, &st),
		    0);
		cr_expect_eq(bounds[i]->met, i < 2);
		cr_expect_eq(bounds[i]->seen, st.distances);
		cr_expect_gt(vex_topk_count(t), 0);
		vex_topk_free(t);
	}
	cr_expect_lt(few.seen, 60 + 3 * 16, "seen %lu", (unsigned long)few.seen);
	cr_expect_lt(few.seen, wide.seen);
	field_free(&f);
}

/* ---- threads --------------------------------------------------------------------------
 */

struct crowd {
	struct field f;
	_Atomic uint32_t next;
	_Atomic bool stop;
};

static void *inserter(void *arg)
{
	struct crowd *c = arg;
	uint32_t i;

	while ((i = c->next++) < c->f.cap)
		if (vex_hnsw_insert(c->f.h, i, row(&c->f, i)))
			abort();
	return NULL;
}

static void *searcher(void *arg)
{
	struct crowd *c = arg;
	unsigned seed = 3;

	while (!c->stop) {
		struct vex_scan_stats st = { 0 };
		struct vex_topk *t;
		size_t n;

		if (vex_topk_new(10, 0, INFINITY, &t) ||
		    vex_hnsw_search(c->f.h, &c->f.rows,
				    row(&c->f, (uint32_t)rand_r(&seed) % c->f.cap),
				    &usual, t, take, NULL, &st))
			abort();
		vex_topk_sorted(t, &n);
		vex_topk_free(t);
	}
	return NULL;
}

static void *remover(void *arg)
{
	struct crowd *c = arg;

	for (uint32_t i = 0; i < c->f.cap / 4; i++) {
		while (vex_hnsw_remove(c->f.h, i * 2))
			usleep(100);
		if (i % 200 == 0 && vex_hnsw_sweep(c->f.h, NULL, NULL))
			abort();
	}
	return NULL;
}

Test(hnsw, inserts_removes_and_searches_together)
{
	unsigned seed = 45;
	struct crowd c = { 0 };
	pthread_t t[5];

	field_init(&c.f, VEX_L2, 16, 6000 / SCALE, 8);
	for (uint32_t i = 0; i < c.f.cap; i++) {
		fill(&c.f, i, &seed);
		c.f.norms[i] = (float)vex_norm(row(&c.f, i), 16);
		c.f.live[i / 64] |= 1ull << (i % 64);
	}
	pthread_create(&t[0], NULL, inserter, &c);
	pthread_create(&t[1], NULL, inserter, &c);
	pthread_create(&t[2], NULL, searcher, &c);
	pthread_create(&t[3], NULL, searcher, &c);
	pthread_create(&t[4], NULL, remover, &c);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	pthread_join(t[4], NULL);
	c.stop = true;
	pthread_join(t[2], NULL);
	pthread_join(t[3], NULL);
	c.f.n = c.f.cap - c.f.cap / 4;
	for (uint32_t i = 0; i < c.f.cap / 4; i++)
		c.f.live[i * 2 / 64] &= ~(1ull << (i * 2 % 64));
	sweep(&c.f);
	cr_assert_gt(recall(&c.f, 13, &usual), 0.96);
	field_free(&c.f);
}
