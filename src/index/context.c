/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Search contexts: everything a traversal writes to, kept between queries so that none
 * allocates. A context is taken from an idle list, grown if the graph or ef outgrew it,
 * and put back.
 *
 * "Seen" is a bitset by node: a link row is tested against a few cache lines. It is
 * cleared by the list of what was touched, or whole where that is cheaper.
 */
#include "hnsw_i.h"

static void context_free(struct context *c)
{
	free(c->seen);
	free(c->touched);
	free(c->pool.dist);
	free(c->pool.id);
	free(c->fresh[0]);
	free(c->fresh[1]);
	free(c->dist);
	free(c->query);
	free(c->query2);
	free(c->chosen);
	free(c);
}

static void *lines(size_t bytes)
{
	return aligned_alloc(64, (bytes + 63) & ~(size_t)63);
}

static struct context *context_new(const struct vex_hnsw *h)
{
	struct context *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fresh[0] = lines(((size_t)h->m0 + 64) * sizeof(uint32_t));
	c->fresh[1] = lines(((size_t)h->m0 + 64) * sizeof(uint32_t));
	c->dist = lines(((size_t)h->m0 + 64) * sizeof(float));
	c->query = lines(vex_code_room(h->quant, h->dim));
	c->query2 = lines(vex_code_room(h->quant, h->dim));
	c->chosen = lines(((size_t)h->m0 + 1) * sizeof(uint32_t));
	if (c->fresh[0] && c->fresh[1] && c->dist && c->query && c->query2 && c->chosen)
		return c;
	context_free(c);
	return NULL;
}

static vex_err grow_seen(struct context *c, uint32_t nodes)
{
	uint64_t *seen;

	if (c->seen_nodes >= nodes)
		return 0;
	seen = calloc(nodes / 64 + 1, sizeof(*seen));
	if (!seen)
		return -ENOMEM;
	free(c->seen);
	c->seen = seen;
	c->seen_nodes = nodes;
	c->ntouched = 0;
	/* Past that many touched nodes the whole bitset is cheaper to clear. */
	free(c->touched);
	c->captouched = nodes / 512 + 1;
	c->touched = malloc(c->captouched * sizeof(*c->touched));
	if (!c->touched)
		c->captouched = 0;
	return 0;
}

static vex_err grow_pool(struct context *c, uint32_t ef)
{
	/* room for a vector's width of stores behind the end */
	size_t room = ((size_t)ef + 64) * sizeof(float);

	if (c->pool_room >= ef)
		return 0;
	free(c->pool.dist);
	free(c->pool.id);
	c->pool.dist = lines(room);
	c->pool.id = lines(room);
	c->pool_room = c->pool.dist && c->pool.id ? ef : 0;
	return c->pool_room ? 0 : -ENOMEM;
}

void context_forget(struct context *c)
{
	if (c->ntouched > c->captouched) {
		memset(c->seen, 0, ((size_t)c->seen_nodes / 64 + 1) * sizeof(*c->seen));
	} else {
		for (uint32_t i = 0; i < c->ntouched; i++)
			c->seen[c->touched[i] >> 6] = 0;
	}
	c->ntouched = 0;
}

vex_err context_get(struct vex_hnsw *h, uint32_t ef, struct context **out)
{
	struct context *c;
	vex_err err;

	pthread_mutex_lock(&h->contexts_lock);
	c = h->contexts;
	if (c)
		h->contexts = c->idle;
	pthread_mutex_unlock(&h->contexts_lock);
	if (!c)
		c = context_new(h);
	if (!c)
		return -ENOMEM;
	err = grow_seen(c, h->cap);
	if (!err)
		err = grow_pool(c, ef);
	if (err) {
		context_free(c);
		return err;
	}
	c->distances = 0;
	*out = c;
	return 0;
}

void context_put(struct vex_hnsw *h, struct context *c)
{
	context_forget(c);
	pthread_mutex_lock(&h->contexts_lock);
	c->idle = h->contexts;
	h->contexts = c;
	pthread_mutex_unlock(&h->contexts_lock);
}

void contexts_free(struct vex_hnsw *h)
{
	while (h->contexts) {
		struct context *c = h->contexts;

		h->contexts = c->idle;
		context_free(c);
	}
}
