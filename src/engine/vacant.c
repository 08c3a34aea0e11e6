/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places whose file has just gone: by unlink, or by a rename to somewhere else. git
 * removes a file and makes it anew, vim moves it away, writes a new one and removes the
 * old: at the moment of the removal nothing tells these from an rm. So what a removed
 * file had attached is held for some seconds, in memory, by its place. A file made there
 * meanwhile is a replacement, and replaced.c has the attachments kept; else they are
 * forgotten, and were removed when the file was: this table can bring back, it does not
 * put off. A restart of the daemon forgets too.
 *
 * Bounded in entries, bytes and time. Where it is empty, as while nothing with
 * attachments is removed, making a file costs one atomic load.
 *
 * One mutex, innermost; nothing blocks under it.
 */
#include "vacant_i.h"

#define HELD_MAX 1024u
#define HELD_BYTES ((size_t)16 << 20)
#define LEFT_MAX 256u
#define HOLD_NS 10000000000ull

struct vacants {
	pthread_mutex_t lock;
	/* guarded by lock: */
	struct vacant *first, **last; /* oldest first */
	unsigned n;
	size_t bytes;
	struct left left[LEFT_MAX]; /* a ring; node 0: none */
	unsigned at;
	uint64_t left_last;  /* when the youngest of these came */
	_Atomic bool any;    /* written under lock */
	_Atomic uint64_t ns; /* how long; a test may change it */
};

vex_err vacants_new(struct vacants **out)
{
	struct vacants *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	t->last = &t->first;
	atomic_store(&t->ns, HOLD_NS);
	*out = t;
	return 0;
}

void vacants_free(struct vacants *t)
{
	if (!t)
		return;
	vacant_free(t->first);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void vacants_hold(struct vacants *t, uint64_t ns)
{
	atomic_store(&t->ns, ns);
}

struct vacant *vacant_new(uint64_t parent, const char *name)
{
	size_t len = strlen(name);
	struct vacant *v = calloc(1, sizeof(*v) + len + 1);

	if (!v)
		return NULL;
	memcpy(v->name, name, len);
	v->parent = parent;
	v->hash = vex_sum64(parent, name, len);
	v->since = vex_now_mono();
	v->bytes = sizeof(*v) + len;
	return v;
}

static void free_one(struct vacant *v)
{
	while (v->attaches) {
		struct vacant_attach *a = v->attaches;

		v->attaches = a->next;
		free(a);
	}
	free(v);
}

void vacant_free(struct vacant *v)
{
	while (v) {
		struct vacant *next = v->next;

		free_one(v);
		v = next;
	}
}

/* ---- the table; lock held ---------------------------------------------------------- */

static bool over(const struct vacants *t, uint64_t since)
{
	return vex_now_mono() - since >= atomic_load(&t->ns);
}

static struct vacant *unlink_at(struct vacants *t, struct vacant **at)
{
	struct vacant *v = *at;

	*at = v->next;
	if (t->last == &v->next)
		t->last = at;
	v->next = NULL;
	t->n--;
	t->bytes -= v->bytes;
	return v;
}

/* Those that are too old or too many; to be freed without the lock. */
static struct vacant *expired(struct vacants *t)
{
	struct vacant *out = NULL;

	while (t->first &&
	       (t->n > HELD_MAX || t->bytes > HELD_BYTES || over(t, t->first->since))) {
		struct vacant *v = unlink_at(t, &t->first);

		v->next = out;
		out = v;
	}
	return out;
}

static void note_any(struct vacants *t)
{
	atomic_store(&t->any, t->first || (t->left_last && !over(t, t->left_last)));
}

static bool is_at(uint64_t parent, uint64_t hash, const char *at, uint64_t p, uint64_t h,
		  const char *name)
{
	return parent == p && hash == h && !strcmp(at, name);
}

/* ---- files that went --------------------------------------------------------------- */

void vacants_add(struct vex_engine *e, struct vacant *v)
{
	struct vacants *t = e->vacants;
	struct vacant *old;

	if (!v)
		return;
	pthread_mutex_lock(&t->lock);
	*t->last = v;
	for (;; v = v->next) {
		t->n++;
		t->bytes += v->bytes;
		t->last = &v->next;
		if (!v->next)
			break;
	}
	old = expired(t);
	note_any(t);
	pthread_mutex_unlock(&t->lock);
	vacant_free(old);
}

struct vacant *vacants_take(struct vex_engine *e, uint64_t parent, const char *name)
{
	uint64_t hash = vex_sum64(parent, name, strlen(name));
	struct vacants *t = e->vacants;
	struct vacant *old, *out = NULL;

	pthread_mutex_lock(&t->lock);
	old = expired(t);
	for (struct vacant **at = &t->first; *at;) {
		struct vacant *v = *at;

		if (!is_at(v->parent, v->hash, v->name, parent, hash, name)) {
			at = &v->next;
			continue;
		}
		unlink_at(t, at);
		v->next = out;
		out = v;
	}
	for (unsigned i = 0; i < LEFT_MAX; i++) {
		struct left *l = &t->left[i];

		if (l->node && is_at(l->parent, l->hash, l->name, parent, hash, name))
			l->filled = true;
	}
	note_any(t);
	pthread_mutex_unlock(&t->lock);
	vacant_free(old);
	return out;
}

bool vacants_any(struct vex_engine *e)
{
	return atomic_load(&e->vacants->any);
}

/* ---- files that moved -------------------------------------------------------------- */

void vacants_left(struct vex_engine *e, uint64_t node, uint64_t parent, const char *name)
{
	struct vacants *t = e->vacants;
	size_t len = strlen(name);
	struct left *l;

	if (len > NAME_MAX)
		return;
	SCOPED_LOCK(&t->lock);
	l = &t->left[t->at++ % LEFT_MAX];
	*l = (struct left){ .parent = parent,
			    .node = node,
			    .hash = vex_sum64(parent, name, len),
			    .since = vex_now_mono() };
	memcpy(l->name, name, len);
	t->left_last = l->since;
	note_any(t);
}

bool left_nth(struct vex_engine *e, uint64_t node, unsigned n, struct left *out)
{
	struct vacants *t = e->vacants;
	SCOPED_LOCK(&t->lock);

	for (unsigned i = 0; i < LEFT_MAX; i++) {
		const struct left *l = &t->left[i];

		if (l->node != node || over(t, l->since) || n--)
			continue;
		*out = *l;
		return true;
	}
	return false;
}
