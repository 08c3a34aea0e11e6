/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How distances grow with rank. Near a point of data that really have D directions the
 * r-th nearest lies at a distance that grows as r^(1/D); the exponent, the spread, is
 * learned from every insert, whose traversal sees ef_construction neighbours of a vector
 * that the graph does not have. With it "search as broadly as the ef nearest" becomes a
 * distance, and that is what a traversal stops by (find.c).
 *
 * A running mean, updated without a lock: an update that another thread overwrites is a
 * sample less.
 */
#include <math.h>
#include "hnsw_i.h"

#define NEAR 10u /* ranks compared: this one, and the last there is */
#define FAR_MIN 40u
#define MEMORY (1.0f / 512)

static float as_float(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

void spread_learn(struct vex_hnsw *h, const struct pool *p)
{
	float was = as_float(atomic_load_explicit(&h->spread, memory_order_relaxed));
	float near, now;
	uint32_t bits;

	if (p->n < FAR_MIN)
		return;
	near = p->dist[NEAR - 1];
	now = logf(1 + (p->dist[p->n - 1] - near) / fabsf(near)) /
	      logf((float)p->n / (float)NEAR);
	/* Copies of one vector have no distances to compare. */
	if (!(now > 0 && now < 2))
		return;
	now = was > 0 ? was + MEMORY * (now - was) : now;
	memcpy(&bits, &now, sizeof(bits));
	atomic_store_explicit(&h->spread, bits, memory_order_relaxed);
}

float spread_widen(const struct vex_hnsw *h, uint32_t k, uint32_t ef)
{
	float s = as_float(atomic_load_explicit(&h->spread, memory_order_relaxed));

	if (!(s > 0) || !k)
		return -1;
	return powf((float)ef / (float)k, s) - 1;
}
