/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to the writer: a bounded queue of requests, each a list of changes or the
 * wish that all be durable. A waiting caller's request lies on its own stack; it
 * sleeps on a futex of its own, so an answer wakes one thread and no other.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include "store_i.h"

vex_err queue_init(struct queue *q)
{
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->wake, NULL);
	q->tail = &q->head;
	return 0;
}

void queue_destroy(struct queue *q)
{
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
}

static vex_err enqueue(struct queue *q, struct request *r)
{
	SCOPED_LOCK(&q->lock);
	if (q->stop)
		return -EROFS;
	if (q->n >= QUEUE_MAX)
		return -ENOMEM;
	r->next = NULL;
	*q->tail = r;
	q->tail = &r->next;
	q->n++;
	if (q->n == 1)
		pthread_cond_signal(&q->wake);
	return 0;
}

struct request *queue_take(struct queue *q, bool poll, bool *end)
{
	struct request *first, **last;

	SCOPED_LOCK(&q->lock);
	while (!q->head && !q->stop && !poll)
		pthread_cond_wait(&q->wake, &q->lock);
	first = q->head;
	last = &q->head;
	for (unsigned i = 0; i < GROUP_MAX && *last; i++) {
		last = &(*last)->next;
		q->n--;
	}
	q->head = *last;
	*last = NULL;
	if (!q->head)
		q->tail = &q->head;
	*end = !first && q->stop;
	return first;
}

void queue_stop(struct queue *q)
{
	SCOPED_LOCK(&q->lock);
	q->stop = true;
	pthread_cond_signal(&q->wake);
}

static void drop_request(struct request *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->c[i].space)
			vex_space_unref(r->c[i].space);
	free(r);
}

/* After the store the request may be gone: the wake of an address nobody sleeps on
 * does no harm. */
void queue_done(struct request *r, vex_err err)
{
	r->err = err;
	if (r->later) {
		drop_request(r);
		return;
	}
	atomic_store_explicit(&r->done, 1, memory_order_release);
	syscall(SYS_futex, &r->done, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

vex_err queue_run(struct vex_store *s, struct request *r)
{
	vex_err err = enqueue(&s->queue, r);

	if (err)
		return err;
	while (!atomic_load_explicit(&r->done, memory_order_acquire))
		syscall(SYS_futex, &r->done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return 0;
}

/* ---- the door ------------------------------------------------------------ */

static void give_back(struct vex_change *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (c[i].kind == VEX_PUT || c[i].kind == VEX_MOVE)
			vex_slots_return(c[i].space, c[i].slot, c[i].rows);
}

vex_err vex_store_commit(struct vex_store *s, struct vex_change *c, size_t n, size_t *bad)
{
	struct request r = { .c = c, .n = n };
	vex_err err = atomic_load(&s->failed) ? -EROFS : 0;

	if (!n)
		return 0;
	for (size_t i = 0; i < n; i++)
		c[i].lsn = 0;
	if (!err)
		err = queue_run(s, &r);
	if (!err)
		err = r.err;
	if (!err)
		return 0;
	give_back(c, n);
	if (bad)
		*bad = r.bad;
	return err;
}

/* ---- later --------------------------------------------------------------- */

/* A request that owns all it points to lies in one block: the request, the changes,
 * and behind them what each needs. */
struct copy {
	char *at; /* NULL: only measuring */
	size_t size;
};

static void *put_in(struct copy *b, const void *data, size_t len)
{
	size_t from = b->size;

	if (!data)
		return NULL;
	b->size += (len + 7) & ~(size_t)7;
	return b->at ? memcpy(b->at + from, data, len) : NULL;
}

static void copy_change(struct copy *b, struct vex_change *c)
{
	c->key = put_in(b, c->key, c->key_len);
	c->name = put_in(b, c->name, c->name_len);
	c->spec = put_in(b, c->spec, sizeof(*c->spec));
	c->node_in = put_in(b, c->node_in, sizeof(*c->node_in));
	c->path = put_in(b, c->path, c->path ? strlen(c->path) + 1 : 0);
	c->text = NULL;
	c->text_len = 0;
	c->lsn = 0;
}

static size_t measure(const struct vex_change *c, size_t n)
{
	struct copy b = { 0 };

	for (size_t i = 0; i < n; i++) {
		struct vex_change one = c[i];

		copy_change(&b, &one);
	}
	return b.size;
}

static bool may_be_late(const struct vex_change *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (c[i].kind == VEX_PUT || c[i].kind == VEX_MOVE ||
		    c[i].kind == VEX_SPACE_NEW)
			return false;
	return n > 0;
}

static struct request *copy_request(const struct vex_change *c, size_t n)
{
	size_t head = sizeof(struct request) + n * sizeof(*c);
	struct request *r = calloc(1, head + measure(c, n));
	struct copy b = { 0 };

	if (!r)
		return NULL;
	b.at = (char *)r + head;
	r->c = memcpy(r + 1, c, n * sizeof(*c));
	r->n = n;
	r->later = true;
	for (size_t i = 0; i < n; i++) {
		copy_change(&b, &r->c[i]);
		if (r->c[i].space)
			vex_space_ref(r->c[i].space);
	}
	return r;
}

void vex_store_commit_later(struct vex_store *s, const struct vex_change *c, size_t n)
{
	struct request *r;

	if (!may_be_late(c, n) || atomic_load(&s->failed))
		return;
	r = copy_request(c, n);
	if (r && enqueue(&s->queue, r))
		drop_request(r);
}
