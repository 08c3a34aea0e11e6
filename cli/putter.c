/* SPDX-License-Identifier: Apache-2.0 */
/*
 * putter: two batches and one thread: the caller fills one while the thread sends the
 * other. `busy` says whose `sending` is: the thread's while true.
 */
#include "putter.h"

#include <signal.h>

/* Is the item at fault, so that others may still do? */
static bool about_item(int err)
{
	switch (-err) {
	case EINVAL:
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case EACCES:
	case EPERM:
	case ELOOP:
	case ENAMETOOLONG:
	case E2BIG:
		return true;
	default:
		return false;
	}
}

/* Items [from, to) of a batch. */
static int send_range(struct putter *p, const struct batch *b, uint32_t from, uint32_t to)
{
	size_t end = to < b->items.count ? b->at[to] : b->items.bytes.len;

	return items_send(&p->session, VEXFS_IOC_PUT, b->items.bytes.data + b->at[from],
			  end - b->at[from], to - from);
}

static void count(struct putter *p, uint64_t in, uint64_t bad)
{
	pthread_mutex_lock(&p->lock);
	p->in += in;
	p->bad += bad;
	pthread_mutex_unlock(&p->lock);
}

/* The daemon's sentence names the file. */
static void complain(const struct batch *b, uint32_t item, const char *why)
{
	cli_error("row %llu: %s", (unsigned long long)b->number[item], why);
}

/* The whole batch, around what is wrong in it. CLI_ERROR: stop. */
static int send_batch(struct putter *p, const struct batch *b)
{
	AUTO_BUF struct buf why = { 0 };
	uint32_t n = b->items.count;
	uint32_t at = 0;

	while (at < n) {
		uint32_t bad;
		int err = send_range(p, b, at, n);

		if (!err) {
			count(p, n - at, 0);
			return 0;
		}
		session_reason(&p->session, err, &why, &bad);
		bad += at;
		if (!about_item(err) || bad >= n)
			return cli_error("%s", buf_text(&why));
		err = bad > at ? send_range(p, b, at, bad) : 0;
		if (err)
			return session_error(&p->session, err, "put");
		count(p, bad - at, 1);
		complain(b, bad, buf_text(&why));
		if (!p->skip_bad)
			return CLI_ERROR;
		at = bad + 1;
	}
	return 0;
}

static void *run(void *arg)
{
	struct putter *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->stop || p->busy) {
		int err;

		if (!p->busy) {
			pthread_cond_wait(&p->changed, &p->lock);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		err = send_batch(p, p->sending);
		items_clear(&p->sending->items);
		pthread_mutex_lock(&p->lock);
		p->failed |= err != 0;
		p->busy = false;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are the main thread's, so that a call of ours is not cut short. */
static int start_thread(struct putter *p)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&p->thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	p->started = !err;
	return err ? cli_error("thread: %s", strerror(err)) : 0;
}

int putter_start(struct putter *p, const struct mount *m, bool skip_bad)
{
	int err = session_open(m, &p->session);

	if (err)
		return err;
	p->skip_bad = skip_bad;
	p->filling = cli_alloc(1, sizeof(*p->filling));
	p->sending = cli_alloc(1, sizeof(*p->sending));
	return start_thread(p);
}

/* Waits for the thread; hands it the batch if there is something in it. */
static int hand_over(struct putter *p)
{
	bool failed;

	pthread_mutex_lock(&p->lock);
	while (p->busy)
		pthread_cond_wait(&p->changed, &p->lock);
	failed = p->failed;
	if (!failed && p->filling->items.count) {
		struct batch *full = p->filling;

		p->filling = p->sending;
		p->sending = full;
		p->busy = true;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return failed ? CLI_ERROR : 0;
}

int putter_add(struct putter *p, uint64_t number, uint32_t flags, const char *path,
	       const char *attr, const void *value, size_t len)
{
	struct batch *b = p->filling;

	b->at[b->items.count] = b->items.bytes.len;
	b->number[b->items.count] = number;
	items_add(&b->items, flags, path, attr, value, len);
	if (b->items.count < BATCH_ITEMS && b->items.bytes.len < BATCH_BYTES)
		return 0;
	return hand_over(p);
}

int putter_flush(struct putter *p)
{
	int err = hand_over(p);

	return err ? err : hand_over(p); /* the second one waits for the first */
}

uint64_t putter_in(struct putter *p)
{
	uint64_t in;

	pthread_mutex_lock(&p->lock);
	in = p->in;
	pthread_mutex_unlock(&p->lock);
	return in;
}

static void free_batch(struct batch *b)
{
	if (b)
		items_free(&b->items);
	free(b);
}

void putter_free(struct putter *p)
{
	if (p->started) {
		pthread_mutex_lock(&p->lock);
		p->stop = true;
		pthread_cond_broadcast(&p->changed);
		pthread_mutex_unlock(&p->lock);
		pthread_join(p->thread, NULL);
	}
	p->started = false;
	free_batch(p->filling);
	free_batch(p->sending);
	p->filling = p->sending = NULL;
	session_close(&p->session);
}
