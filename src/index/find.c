/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A search: down the layers, the traversal on codes, and the last word by the rows.
 *
 * Codes are off by a little, so more than k are computed exactly; how many more, the
 * search learns on the way: the rows computed so far tell by how much codes are off, and
 * the first candidate that is farther than the k-th row by three times that, by code,
 * ends it. On long vectors, where codes are good and rows expensive, that is one or two
 * beyond k; `rerank` caps it.
 *
 * The caller is asked about hits nearest first, so that it is asked about few: asking may
 * mean system calls.
 */
#include <math.h>
#include "hnsw_i.h"

/* Rows are asked for that many bytes ahead: short ones all at once, long ones in step
 * with the sums, or they crowd each other out. */
#define FETCH_AHEAD ((size_t)16 << 10)
#define FETCH_MOST ((size_t)4096) /* of a row */
#define SEEDS 16u                 /* of a traversal of layer 0 */
#define SURE 8u                   /* rows computed before their errors are trusted */
#define SIGMAS 3.0f
#define HARD 16u /* times ef, a search may go on */
#define EF_MOST 4096u
#define COARSE 16u

/* Rows where they lie. */
struct ground {
	const struct vex_rows *r;
	struct vex_layout layout;
	size_t bytes; /* of a row */
};

static struct ground ground_of(const struct vex_rows *r)
{
	return (struct ground){ r, vex_rows_layout(r), vex_row_bytes(r->type, r->dim) };
}

static const void *row_of(const struct ground *g, uint64_t slot)
{
	uint64_t in = slot & ((1ull << g->r->seg_shift) - 1);

	return g->r->rows[slot >> g->r->seg_shift] + in * g->bytes;
}

static void fetch_row(const struct ground *g, uint64_t slot)
{
	fetch(row_of(g, slot), g->bytes < FETCH_MOST ? g->bytes : FETCH_MOST);
}

/* Found, and in the caller's view: later rows and removed ones are not. */
static uint32_t keep_live(const struct vex_rows *rows, struct pool *p, uint32_t most)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->n && n < most; i++) {
		uint32_t slot = p->id[i] & ~EXPANDED;

		if (slot >= rows->slots || !(rows->live[slot >> 6] >> (slot & 63) & 1))
			continue;
		p->id[n] = slot;
		p->dist[n++] = p->dist[i];
	}
	return n;
}

/* Puts entry i, whose exact distance is d, in its place among the i before it. */
static void settle(struct pool *p, uint32_t i, float d)
{
	uint32_t slot = p->id[i];

	for (; i && p->dist[i - 1] > d; i--) {
		p->dist[i] = p->dist[i - 1];
		p->id[i] = p->id[i - 1];
	}
	p->dist[i] = d;
	p->id[i] = slot;
}

/* Of n candidates in the order of codes, the first in the order of their rows, with their
 * distances; returns how many. Under l2 codes have squares. */
static uint32_t rank(const struct vex_rows *rows, const float *query, struct pool *p,
		     uint32_t n, uint32_t k)
{
	struct ground g = ground_of(rows);
	double qq = vex_square(query, rows->dim);
	size_t ahead = FETCH_AHEAD / g.bytes + 2;
	float squares = 0;
	uint32_t i;

	for (i = 0; i < n && i < ahead; i++)
		fetch_row(&g, p->id[i]);
	for (i = 0; i < n; i++) {
		float d, code = p->dist[i];

		if (i >= k && i >= SURE &&
		    code > p->dist[k - 1] + SIGMAS * sqrtf(squares / (float)i))
			break;
		if (i + ahead < n)
			fetch_row(&g, p->id[i + ahead]);
		d = vex_row_distance(&g.layout, rows->metric, query, row_of(&g, p->id[i]),
				     qq);
		if (rows->metric == VEX_L2)
			d *= d;
		squares += (code - d) * (code - d);
		settle(p, i, d);
	}
	for (uint32_t j = 0; rows->metric == VEX_L2 && j < i; j++)
		p->dist[j] = sqrtf(p->dist[j]);
	return i;
}

static vex_err offer(const struct pool *p, uint32_t n, struct vex_topk *t,
		     vex_accept_fn accept, void *arg, struct vex_scan_stats *stats)
{
	if (!accept)
		return vex_topk_fill(t, p->dist, p->id, n);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t file;
		int rc;

		if (!(p->dist[i] <= vex_topk_limit(t)))
			continue;
		rc = accept(arg, p->id[i], &file);
		if (rc < 0)
			return rc;
		if (!rc) {
			stats->refused++;
			continue;
		}
		rc = vex_topk_add(t, p->dist[i], p->id[i], file);
		if (rc)
			return rc;
	}
	return 0;
}

/* ef as a distance: a search for an easy query ends sooner than after ef nodes, that for
 * a hard one goes on, and the same recall costs less (Al-Jazzazi et al., see
 * beam_body.h). */
static struct beam breadth(const struct vex_hnsw *h, const struct vex_hnsw_query *p)
{
	struct beam b = { .ef = p->ef > p->k ? p->ef : p->k,
			  .k = p->k,
			  .widen = p->widen,
			  .bound = p->bound,
			  .seeded = true };

	if (b.widen >= 0)
		return b;
	b.widen = spread_widen(h, b.k, b.ef);
	if (b.widen >= 0)
		b.ef = b.ef < EF_MOST / HARD ? b.ef * HARD
		       : b.ef > EF_MOST      ? b.ef
					     : EF_MOST;
	return b;
}

/* One bit a dimension orders candidates so roughly that many more have to be looked at.
 */
static uint32_t most(const struct vex_hnsw *h, const struct vex_hnsw_query *p)
{
	if (!p->rerank)
		return UINT32_MAX;
	return h->quant == VEX_QUANT_BIT && p->rerank < EF_MOST ? p->rerank * COARSE
								: p->rerank;
}

static vex_err search_locked(struct vex_hnsw *h, const struct vex_rows *rows,
			     const float *query, const struct vex_hnsw_query *p,
			     struct vex_topk *topk, vex_accept_fn accept, void *arg,
			     struct vex_scan_stats *stats)
{
	struct beam b = breadth(h, p);
	uint64_t e = h->entry;
	struct vex_span span;
	struct context *c;
	uint32_t n;
	vex_err err;

	if ((uint32_t)e == NONE)
		return 0;
	err = context_get(h, b.ef, &c);
	if (err)
		return err;
	vex_span_begin(&span);
	vex_code_query(h->quant, h->metric, query, h->dim, c->query, &c->q);
	/* What was seen is not gone to: as if it were not there. */
	if (p->absent && p->absent <= h->cap)
		see(c, p->absent - 1);
	beam_descend(h, c, (uint32_t)e, (uint32_t)(e >> 32), 1,
		     p->k > SEEDS ? p->k : SEEDS);
	beam_search(h, c, NONE, &b);
	vex_span_end(&span, VEX_OP_TRAVERSAL, 0);
	n = keep_live(rows, &c->pool, most(h, p));
	n = rank(rows, query, &c->pool, n, p->k ? p->k : 1);
	stats->distances += c->distances;
	if (p->bound)
		p->bound->seen += c->distances;
	stats->exact += n;
	err = offer(&c->pool, n, topk, accept, arg, stats);
	context_put(h, c);
	return err;
}

vex_err vex_hnsw_search(struct vex_hnsw *h, const struct vex_rows *rows,
			const float *query, const struct vex_hnsw_query *p,
			struct vex_topk *topk, vex_accept_fn accept, void *arg,
			struct vex_scan_stats *stats)
{
	vex_err err;

	pthread_rwlock_rdlock(&h->graph);
	err = search_locked(h, rows, query, p, topk, accept, arg, stats);
	pthread_rwlock_unlock(&h->graph);
	return err;
}
