/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.vexfs/events`: the change log as lines of JSON. A descriptor has a place in the log:
 * the oldest event kept, at first; writing "from=SEQ", or "from=now", moves it. read(2)
 * gives whole lines and 0 where there is nothing more at present; poll(2) tells when
 * there is. What is read is told with the rights of who reads.
 *
 * Those who poll are told by one thread, which the store's writer wakes: a commit costs
 * the writer a write to an eventfd at most, and none while nobody has the file open.
 *
 * Locks: session.lock, then hub.lock. Waking a session takes no lock of its own.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include "control_i.h"

#define READERS_MAX 256u
#define REST_MS 10

struct reader {
	struct reader *next; /* guarded by hub.lock */
	struct vex_session *s;
	uint64_t after; /* last number told; session's lock */
	size_t at;      /* of text: how far it was read */
	bool listed;
};

struct hub {
	struct vex_control *control;
	pthread_mutex_t lock;
	struct reader *first; /* guarded by lock */
	unsigned n;
	pthread_t thread;
	bool started;
	int wake;
	_Atomic bool ending;
};

/* vex_engine_watch: on the writer's thread. */
static void changed(void *arg)
{
	struct hub *h = arg;
	uint64_t one = 1;

	if (write(h->wake, &one, sizeof(one)) < 0)
		vex_debug("events: %s", strerror(errno));
}

static void tell_all(struct hub *h)
{
	SCOPED_LOCK(&h->lock);
	for (struct reader *r = h->first; r; r = r->next)
		if (r->s->wake)
			r->s->wake(r->s->wake_arg);
}

static void *run(void *arg)
{
	struct hub *h = arg;
	struct pollfd p = { .fd = h->wake, .events = POLLIN };
	uint64_t count;

	while (!atomic_load(&h->ending)) {
		if (poll(&p, 1, -1) <= 0)
			continue;
		if (read(h->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
			vex_debug("events: %s", strerror(errno));
		tell_all(h);
		poll(NULL, 0, REST_MS); /* a burst is one word */
	}
	return NULL;
}

void events_free(struct hub *h)
{
	if (!h)
		return;
	if (h->started) {
		vex_engine_watch(h->control->engine, VEX_WATCH_EVENTS, NULL, NULL);
		atomic_store(&h->ending, true);
		changed(h);
		pthread_join(h->thread, NULL);
	}
	close(h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

vex_err events_new(struct vex_control *c, struct hub **out)
{
	struct hub *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->control = c;
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->wake < 0) {
		free(h);
		return -errno;
	}
	pthread_mutex_init(&h->lock, NULL);
	/* Here, not by the first reader: making a thread takes 5 KB of stack. */
	vex_err err =
	    vex_thread_start(&h->thread, "vexfs-events", (size_t)128 << 10, run, h);
	h->started = !err;
	if (err) {
		events_free(h);
		return err;
	}
	*out = h;
	return 0;
}

/* ---- one reader ----------------------------------------------------------------------
 */

vex_err events_open(struct vex_session *s)
{
	struct hub *h = s->control->hub;
	struct reader *r = calloc(1, sizeof(*r));
	vex_err err = 0;

	if (!r)
		return -ENOMEM;
	r->s = s;
	SCOPED_LOCK(&h->lock);
	if (h->n >= READERS_MAX)
		err = -ENOMEM;
	if (err) {
		free(r);
		return err;
	}
	r->next = h->first;
	h->first = r;
	if (!h->n++)
		vex_engine_watch(h->control->engine, VEX_WATCH_EVENTS, changed, h);
	s->reader = r;
	return 0;
}

void events_close(struct vex_session *s)
{
	struct hub *h = s->control->hub;
	struct reader **p = &h->first;

	if (!s->reader)
		return;
	pthread_mutex_lock(&h->lock);
	while (*p != s->reader)
		p = &(*p)->next;
	*p = s->reader->next;
	if (!--h->n)
		vex_engine_watch(h->control->engine, VEX_WATCH_EVENTS, NULL, NULL);
	pthread_mutex_unlock(&h->lock);
	free(take_ptr(&s->reader));
}

/* More text, unless there is none: what is withheld is passed over. */
static vex_err refill(struct vex_session *s, const struct vex_cred *cred)
{
	struct reader *r = s->reader;
	uint64_t end = vex_store_lsn(vex_engine_store(s->control->engine));
	vex_err err = 0;

	s->text.len = r->at = 0;
	while (!err && !s->text.len && r->after < end) {
		uint64_t was = r->after;

		err = vex_engine_events(s->control->engine, cred, &r->after, &s->text);
		if (!err && r->after == was) /* numbers without rows */
			r->after = end;
	}
	if (err) {
		s->text.len = 0;
		s->text.err = 0;
	}
	return err;
}

/* As many whole lines as fit; a line longer than the buffer is given in pieces. */
static size_t lines_that_fit(const struct vex_session *s, size_t size)
{
	const char *from = s->text.data + s->reader->at;
	size_t left = s->text.len - s->reader->at;
	const char *nl;

	if (left <= size)
		return left;
	nl = memrchr(from, '\n', size);
	return nl ? (size_t)(nl - from) + 1 : size;
}

vex_err events_read(struct vex_session *s, const struct vex_cred *cred, void *buf,
		    size_t size, size_t *n)
{
	struct reader *r = s->reader;
	vex_err err = 0;

	if (r->at == s->text.len)
		err = refill(s, cred);
	if (err || !s->text.len)
		return err;
	*n = lines_that_fit(s, size);
	memcpy(buf, s->text.data + r->at, *n);
	r->at += *n;
	return 0;
}

bool events_wait(const struct vex_session *s)
{
	const struct reader *r = s->reader;

	return r->at < s->text.len ||
	       r->after < vex_store_lsn(vex_engine_store(s->control->engine));
}

vex_err events_write(struct vex_session *s, const void *buf, size_t size)
{
	struct reader *r = s->reader;
	char text[40] = "", *end;
	uint64_t from;

	if (size >= sizeof(text))
		return session_fail(s, -EINVAL, "neither from=SEQ nor from=now");
	memcpy(text, buf, size);
	text[strcspn(text, "\n")] = 0;
	if (!strcmp(text, "from=now")) {
		r->after = vex_store_lsn(vex_engine_store(s->control->engine));
	} else {
		from = strtoull(text + (strncmp(text, "from=", 5) ? 0 : 5), &end, 10);
		if (strncmp(text, "from=", 5) || end == text + 5 || *end ||
		    text[5] == '-')
			return session_fail(s, -EINVAL, "neither from=SEQ nor from=now");
		r->after = from ? from - 1 : 0;
	}
	s->text.len = r->at = 0;
	return 0;
}
