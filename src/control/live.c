/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live queries: a request with "live": true stays, and its answer is lines that say how
 * the hits change: all of them enter first; then, as files change, hits enter, leave or
 * move (another rank, distance or freshness). A "ready" line ends each batch: who has
 * taken in all lines up to it has exactly what the query would find at that moment.
 *
 * One thread serves all of them. It is woken by whatever changes what a search may show
 * (vex_engine_watch), runs each query again, as the caller who began it, and writes the
 * difference. Changes that come while it works are taken together, and it rests as long
 * as it has worked: so a change costs at most one search a live query, and all live
 * queries together half a core, however fast files change. What changes behind the mount
 * wakes nobody: every BEHIND_MS all are run again.
 *
 * Lines that nobody reads are bounded: past LIVE_TEXT_MAX an "overflow" line is the last
 * one; once it has been read all hits enter anew.
 *
 * Locks: live.lock (the list, `busy`), taken with a session's lock held or alone; never
 * held over a search. A session is freed only when its live is not busy.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include "live_i.h"

#define LIVES_MAX 256u
#define LIVE_HITS 1000u
#define LIVE_TEXT_MAX ((size_t)1 << 20)
#define LIVE_CHARGE ((uint64_t)8 << 20) /* what one may come to hold */
#define BEHIND_MS 10000
#define REST_MS 5u

struct live {
	struct live *next; /* guarded by lives.lock, as busy and listed */
	struct vex_session *s;
	bool busy, listed;
	/* guarded by the session's lock: */
	bool on, overflow;
	struct vexfs_search *head;
	struct vex_buf data;
	struct vex_cred cred; /* groups owned */
	struct told *told;    /* in the order of ranks */
	size_t ntold;
	vex_err err;   /* the last run's */
	uint64_t seen; /* vex_engine_changes before the last run */
};

struct lives {
	struct vex_control *control;
	pthread_mutex_t lock;
	pthread_cond_t idle; /* a busy one is no longer */
	struct live *first;
	unsigned n;
	pthread_t thread;
	bool started;
	int wake; /* eventfd */
	_Atomic bool ending;
};

/* ---- one run, with the session's lock held ------------------------------------------
 */

static void room_make(struct vex_session *s)
{
	struct vex_buf *b = &s->text;

	if (!s->query.at)
		return;
	memmove(b->data, b->data + s->query.at, b->len - s->query.at);
	b->len -= s->query.at;
	s->query.at = 0;
}

static vex_err find(struct live *l, struct vex_result **out)
{
	struct call c = { .s = l->s,
			  .engine = l->s->control->engine,
			  .cred = &l->cred,
			  .head = l->head,
			  .in_size = sizeof(*l->head),
			  .data = (const uint8_t *)l->data.data,
			  .data_len = l->data.len };
	vex_err err;

	l->seen = vex_engine_changes(c.engine);
	err = search_find(&c, l->head, out);
	free(c.copy);
	return err;
}

static void overflow(struct live *l, size_t keep)
{
	struct vex_buf *b = &l->s->text;

	b->len = keep;
	b->err = 0;
	vex_buf_str(b, "{\"event\":\"overflow\"}\n");
	l->overflow = true;
	told_free(l->told, l->ntold);
	l->told = NULL;
	l->ntold = 0;
}

/* The hits of r become those told; what changed is said. */
static vex_err tell(struct live *l, const struct vex_result *r)
{
	struct vex_buf *b = &l->s->text;
	struct told *t;
	size_t keep;
	vex_err err = told_make(r, &t);

	if (err)
		return err;
	room_make(l->s);
	keep = b->len;
	told_say(b, r, l->told, l->ntold, t);
	told_free(l->told, l->ntold);
	l->told = t;
	l->ntold = r->n;
	if (b->err || b->len > LIVE_TEXT_MAX)
		overflow(l, keep);
	return 0;
}

/* An error is told once; hits stay as they were until the query works again. */
static void tell_error(struct live *l, vex_err err)
{
	struct vex_buf *b = &l->s->text;
	const char *name = strerrorname_np(-err), *text = l->s->error.text;

	if (err == l->err)
		return;
	room_make(l->s);
	vex_buf_fmt(b,
		    "{\"event\":\"error\",\"errno\":%d,\"name\":\"%s\",\"text\":", -err,
		    name ? name : "?");
	vex_buf_json_words(b, text);
	vex_buf_str(b, "}\n");
}

static void again(struct live *l)
{
	struct vex_result *r = NULL;
	vex_err err;

	l->s->error.text[0] = '\0';
	err = find(l, &r);
	if (!err)
		err = tell(l, r);
	if (err)
		tell_error(l, err);
	l->err = err;
	vex_result_free(r);
}

bool live_waits(const struct vex_session *s)
{
	return s->live && s->live->on && s->live->overflow;
}

void live_refill(struct vex_session *s)
{
	struct live *l = s->live;

	if (!l || !l->on || !l->overflow)
		return;
	l->overflow = false;
	again(l);
}

/* ---- the thread -------------------------------------------------------------------- */

static void serve(struct live *l, bool behind)
{
	struct vex_session *s = l->s;
	bool ready;

	pthread_mutex_lock(&s->lock);
	if (l->on && !l->overflow &&
	    (behind || l->seen != vex_engine_changes(s->control->engine)))
		again(l);
	query_settle(s);
	ready = l->on && s->unread;
	pthread_mutex_unlock(&s->lock);
	if (ready && s->wake)
		s->wake(s->wake_arg);
}

static void serve_all(struct lives *v, bool behind)
{
	pthread_mutex_lock(&v->lock);
	for (struct live *l = v->first, *next; l; l = next) {
		l->busy = true;
		pthread_mutex_unlock(&v->lock);
		serve(l, behind);
		pthread_mutex_lock(&v->lock);
		l->busy = false;
		/* It is on the list still: a session waits for it before it goes. */
		next = l->next;
		pthread_cond_broadcast(&v->idle);
	}
	pthread_mutex_unlock(&v->lock);
}

static void *run(void *arg)
{
	struct lives *v = arg;
	struct pollfd p = { .fd = v->wake, .events = POLLIN };

	while (!atomic_load(&v->ending)) {
		int n = poll(&p, 1, BEHIND_MS);
		uint64_t count, start = vex_now_mono(), rest;

		if (atomic_load(&v->ending))
			break;
		if (n > 0 && read(v->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
			vex_debug("live queries: %s", strerror(errno));
		serve_all(v, n == 0);
		rest = (vex_now_mono() - start) / 1000;
		rest = rest > REST_MS * 1000 ? rest : REST_MS * 1000;
		usleep((useconds_t)vex_min64(rest, 1000000));
	}
	return NULL;
}

/* From whatever thread has changed something. */
static void changed(void *arg)
{
	struct lives *v = arg;
	uint64_t one = 1;

	if (write(v->wake, &one, sizeof(one)) < 0)
		vex_debug("live queries: %s", strerror(errno));
}

/* ---- the list ---------------------------------------------------------------------- */

vex_err lives_new(struct vex_control *c, struct lives **out)
{
	struct lives *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->control = c;
	v->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake < 0) {
		free(v);
		return -errno;
	}
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->idle, NULL);
	*out = v;
	return 0;
}

void lives_free(struct lives *v)
{
	if (!v)
		return;
	if (v->started) {
		vex_engine_watch(v->control->engine, VEX_WATCH_LIVE, NULL, NULL);
		atomic_store(&v->ending, true);
		changed(v);
		pthread_join(v->thread, NULL);
	}
	close(v->wake);
	pthread_cond_destroy(&v->idle);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

static vex_err list_locked(struct lives *v, struct live *l)
{
	vex_err err = 0;

	if (l->listed)
		return 0;
	if (v->n >= LIVES_MAX)
		return -ENOMEM;
	if (!v->started)
		err = vex_thread_start(&v->thread, "vexfs-live", 128 << 10, run, v);
	if (err)
		return err;
	if (!v->started)
		vex_engine_watch(v->control->engine, VEX_WATCH_LIVE, changed, v);
	v->started = true;
	l->next = v->first;
	v->first = l;
	l->listed = true;
	v->n++;
	return 0;
}

static void unlist_locked(struct lives *v, struct live *l)
{
	struct live **p = &v->first;

	if (!l->listed)
		return;
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	l->listed = false;
	v->n--;
}

/* ---- beginning and end, with the session's lock held --------------------------------
 */

void live_stop(struct vex_session *s)
{
	struct live *l = s->live;

	if (!l || !l->on)
		return;
	l->on = false;
	told_free(l->told, l->ntold);
	l->told = NULL;
	l->ntold = 0;
	vex_buf_free(&l->data);
	free((void *)(uintptr_t)l->cred.groups);
	l->cred.groups = NULL;
	account_release(s->control, s->account, LIVE_CHARGE);
}

void live_end(struct vex_session *s)
{
	struct lives *v = s->control->lives;
	struct live *l = s->live;

	if (!l)
		return;
	pthread_mutex_lock(&v->lock);
	while (l->busy)
		pthread_cond_wait(&v->idle, &v->lock);
	unlist_locked(v, l);
	pthread_mutex_unlock(&v->lock);
	live_stop(s);
	free(l->head);
	free(l);
	s->live = NULL;
}

static vex_err copy_cred(const struct vex_cred *cred, struct vex_cred *out)
{
	uint32_t *groups = malloc((cred->ngroups + 1) * sizeof(*groups));

	if (!groups)
		return -ENOMEM;
	if (cred->ngroups)
		memcpy(groups, cred->groups, cred->ngroups * sizeof(*groups));
	*out = *cred;
	out->groups = groups;
	return 0;
}

static vex_err make(struct vex_session *s)
{
	struct live *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->s = s;
	l->head = calloc(1, sizeof(*l->head));
	if (!l->head) {
		free(l);
		return -ENOMEM;
	}
	s->live = l;
	return 0;
}

vex_err live_begin(struct vex_session *s, const struct vex_cred *cred,
		   const struct vexfs_search *head, struct vex_buf *data)
{
	struct lives *v = s->control->lives;
	struct vex_result *r = NULL;
	struct live *l;
	vex_err err = s->live ? 0 : make(s);

	if (err)
		return err;
	if (head->queries > 1)
		return session_fail(s, -EINVAL, "a live query is one, not several");
	l = s->live;
	memcpy(l->head, head, VEXFS_SEARCH_HEAD);
	/* It is run again when something changed, not to be told the same. */
	l->head->flags |= VEXFS_SEARCH_NO_CACHE;
	if (l->head->k > LIVE_HITS)
		return session_fail(s, -EINVAL, "k of a live query is at most %u",
				    LIVE_HITS);
	if (l->head->flags & VEXFS_SEARCH_RANGE) {
		l->head->flags &= ~(uint32_t)VEXFS_SEARCH_RANGE;
		l->head->k = LIVE_HITS;
	}
	err = account_charge(s->control, s->account, LIVE_CHARGE);
	if (err)
		return session_fail(s, err, "too many live queries of this user");
	l->on = true;
	l->overflow = false;
	l->err = 0;
	l->data = *data;
	*data = (struct vex_buf){ 0 };
	err = copy_cred(cred, &l->cred);
	if (!err)
		err = find(l, &r);
	if (!err)
		err = tell(l, r);
	vex_result_free(r);
	if (!err) {
		pthread_mutex_lock(&v->lock);
		err = list_locked(v, l);
		pthread_mutex_unlock(&v->lock);
		/* What came between the search and the listing is looked for. */
		changed(v);
	}
	if (err)
		live_stop(s);
	return err;
}
