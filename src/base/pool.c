/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker pool: threads with deep stacks that run calls for threads with small
 * ones. A call is a struct on its caller's stack, linked into a queue; the caller
 * sleeps on the call's own condition until a worker has run it, so nothing is
 * allocated and a wake-up reaches just the one it is for.
 *
 * Locks: pool->lock guards the queue and every call in it. No call runs under it.
 */
#include <vexfs/base.h>

#define POOL_STACK ((size_t)1 << 20)

struct call {
	vex_err (*fn)(void *);
	void *arg;
	vex_err result;
	bool done;
	pthread_cond_t cond;
	struct call *next;
};

struct vex_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	/* guarded by lock: */
	struct call *head, **tail;
	unsigned queued, max_queued, idle, running, limit;
	bool stop;
	/* fixed after new: */
	unsigned n;
	pthread_t threads[];
};

static _Thread_local struct vex_pool *my_pool;

static struct call *take_locked(struct vex_pool *p)
{
	struct call *c = p->head;

	if (!c || (p->limit && p->running >= p->limit))
		return NULL;
	p->head = c->next;
	if (!p->head)
		p->tail = &p->head;
	p->queued--;
	return c;
}

static void *worker(void *arg)
{
	struct vex_pool *p = arg;
	struct call *c;

	my_pool = p;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		c = take_locked(p);
		if (c) {
			p->running++;
			pthread_mutex_unlock(&p->lock);
			c->result = c->fn(c->arg);
			pthread_mutex_lock(&p->lock);
			p->running--;
			if (p->limit && p->idle)
				pthread_cond_signal(&p->work);
			c->done = true;
			pthread_cond_signal(&c->cond);
		} else if (p->stop && !p->head) {
			break;
		} else {
			p->idle++;
			pthread_cond_wait(&p->work, &p->lock);
			p->idle--;
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

vex_err vex_pool_call(struct vex_pool *p, vex_err (*fn)(void *), void *arg)
{
	struct call c = { .fn = fn, .arg = arg, .cond = PTHREAD_COND_INITIALIZER };

	if (my_pool == p)
		return fn(arg);
	pthread_mutex_lock(&p->lock);
	if (p->queued >= p->max_queued || p->stop) {
		pthread_mutex_unlock(&p->lock);
		return -ENOMEM;
	}
	*p->tail = &c;
	p->tail = &c.next;
	p->queued++;
	if (p->idle)
		pthread_cond_signal(&p->work);
	while (!c.done)
		pthread_cond_wait(&c.cond, &p->lock);
	pthread_mutex_unlock(&p->lock);
	pthread_cond_destroy(&c.cond);
	return c.result;
}

void vex_pool_limit(struct vex_pool *p, unsigned n)
{
	SCOPED_LOCK(&p->lock);
	p->limit = n;
	pthread_cond_broadcast(&p->work);
}

void vex_pool_load(struct vex_pool *p, unsigned *queued, unsigned *running)
{
	SCOPED_LOCK(&p->lock);
	*queued = p->queued;
	*running = p->running;
}

vex_err vex_pool_new(unsigned threads, unsigned max_queued, const char *name,
		     struct vex_pool **out)
{
	struct vex_pool *p = calloc(1, sizeof(*p) + threads * sizeof(pthread_t));
	vex_err err = 0;

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->tail = &p->head;
	p->max_queued = max_queued;
	while (p->n < threads && !err) {
		err = vex_thread_start(&p->threads[p->n], name, POOL_STACK, worker, p);
		if (!err)
			p->n++;
	}
	if (err) {
		vex_pool_free(p);
		return err;
	}
	*out = p;
	return 0;
}

void vex_pool_free(struct vex_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- threads ----------------------------------------------------------------- */

vex_err vex_thread_start(pthread_t *t, const char *name, size_t stack,
			 void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc)
		return -rc;
	rc = pthread_attr_setstacksize(&attr, stack);
	if (!rc)
		rc = pthread_create(t, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	if (!rc)
		pthread_setname_np(*t, name);
	return -rc;
}
