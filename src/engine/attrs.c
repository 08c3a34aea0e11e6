/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index of attributes: of every node's file its name, directory, size, times, owner,
 * mode, ACL and user xattrs, in memory. Searches take from it which files may match a
 * filter, lie below a directory, or be read by the caller (cands.c), before they compute
 * distances; every hit is then asked of the file itself, so what is out of date here
 * can cost a search time, or a hit that changed behind the mount, but shows no wrong one.
 *
 * In memory and not in the catalog, because it is derived: sizes, times and modes change
 * with every write and need no commit of their own; and a mount that reads the files sees
 * what was changed while there was none. It is made by a thread when the first search of
 * a large space wants it (some 10 us a file); until it is ready searches go without.
 *
 * What changes through the mount is told (attrs_touch: by commits that touch a node's
 * row or names, by fs of attributes) before the change is acknowledged, and read again
 * by the next search that wants the table; where that is much, by the thread, and the
 * search goes without. What changes behind the mount is found by attrs_reset (scan).
 *
 * Locks: `drain` is held while records are read and stored, so that who takes it after a
 * change was acknowledged finds it in the table or in the list; then `table`; `list` is a
 * leaf. None is taken with a lock of store's held but `list`, by the writer thread.
 */
#include "attrs_i.h"

#define DIRTY_MAX ((size_t)1 << 20)
#define DRAIN_MAX 2048u /* read by one search */
#define CHUNK 256u
#define BYTES_MAX ((uint64_t)512 << 20)

enum state {
	OFF, /* nobody has asked yet, or too much was missed */
	BUILDING,
	READY,
	TOO_LARGE, /* for good */
};

struct attrs {
	struct vex_engine *e;
	_Atomic int state;
	pthread_rwlock_t table;
	struct attr_table t; /* guarded by table */
	uint64_t bytes;      /* guarded by drain */
	pthread_mutex_t drain;
	char *scratch; /* guarded by drain */

	pthread_mutex_t list;
	pthread_cond_t wake;
	/* guarded by list: */
	uint64_t *dirty;
	size_t ndirty, capdirty;
	bool kicked, ending, started;
	pthread_t thread;

	struct cands_cache *cands;
};

/* ---- the list ---------------------------------------------------------------------- */

/* Too much to remember: as if it had never been made. */
static void lose_locked(struct attrs *a)
{
	a->ndirty = 0;
	if (atomic_load(&a->state) != TOO_LARGE)
		atomic_store(&a->state, OFF);
}

static bool grow_locked(struct attrs *a)
{
	size_t cap = a->capdirty ? a->capdirty * 2 : 256;
	uint64_t *v = cap <= DIRTY_MAX ? reallocarray(a->dirty, cap, sizeof(*v)) : NULL;

	if (!v)
		return false;
	a->dirty = v;
	a->capdirty = cap;
	return true;
}

void attrs_touch(struct vex_engine *e, uint64_t node)
{
	struct attrs *a = e->attrs;
	int state = a ? atomic_load(&a->state) : OFF;

	if (state != BUILDING && state != READY)
		return;
	SCOPED_LOCK(&a->list);
	if (a->ndirty && a->dirty[a->ndirty - 1] == node)
		return;
	if (a->ndirty == a->capdirty && !grow_locked(a)) {
		lose_locked(a);
		return;
	}
	a->dirty[a->ndirty++] = node;
	if (a->ndirty == 2 * DRAIN_MAX && state == READY) {
		a->kicked = true;
		pthread_cond_signal(&a->wake);
	}
}

void attrs_reset(struct vex_engine *e)
{
	SCOPED_LOCK(&e->attrs->list);

	lose_locked(e->attrs);
}

static bool take(struct attrs *a, uint64_t *node)
{
	SCOPED_LOCK(&a->list);

	if (!a->ndirty)
		return false;
	*node = a->dirty[--a->ndirty];
	return true;
}

/* ---- the table --------------------------------------------------------------------- */

static vex_err page_for(struct attrs *a, uint64_t node, struct attr_rec **out)
{
	struct attr_table *t = &a->t;
	uint64_t at = node / ATTR_PAGE;

	if (at >= t->npages) {
		uint64_t n = at + 1 + t->npages / 2;
		struct attr_rec **page = reallocarray(t->page, n, sizeof(*page));

		if (!page)
			return -ENOMEM;
		memset(page + t->npages, 0, (n - t->npages) * sizeof(*page));
		t->page = page;
		t->npages = n;
	}
	if (!t->page[at]) {
		t->page[at] = calloc(ATTR_PAGE, sizeof(struct attr_rec));
		a->bytes += ATTR_PAGE * sizeof(struct attr_rec);
	}
	*out = t->page[at] ? &t->page[at][node % ATTR_PAGE] : NULL;
	return *out ? 0 : -ENOMEM;
}

/* In what a directory decides for the files below it. */
static bool same_place(const struct attr_rec *x, const struct attr_rec *y)
{
	return x->loaded == y->loaded && x->there == y->there && x->is_dir == y->is_dir &&
	       x->partly == y->partly && x->parent == y->parent && x->uid == y->uid &&
	       x->gid == y->gid && x->mode == y->mode && x->text_len == y->text_len &&
	       (!x->text_len || !memcmp(x->text, y->text, x->text_len));
}

static vex_err put(struct attrs *a, uint64_t node, struct attr_rec *rec)
{
	struct attr_table *t = &a->t;
	struct attr_rec *at;
	bool place, other;
	vex_err err;

	SCOPED_WRLOCK(&a->table);
	err = page_for(a, node, &at);
	if (err)
		return err;
	place = same_place(at, rec);
	other = at->size != rec->size || at->mtime_ns != rec->mtime_ns;
	if (!place || other)
		t->ring[t->seq++ % ATTR_RING] = node;
	if (!place && (at->is_dir || rec->is_dir))
		t->dir_seq = t->seq;
	a->bytes += rec->text_len;
	a->bytes -= at->text_len;
	free(at->text);
	rec->seq = !place || other ? t->seq : at->seq;
	*at = *rec;
	rec->text = NULL;
	return 0;
}

static void clear(struct attrs *a)
{
	SCOPED_WRLOCK(&a->table);

	for (uint64_t i = 0; i < a->t.npages; i++) {
		for (unsigned j = 0; a->t.page[i] && j < ATTR_PAGE; j++)
			free(a->t.page[i][j].text);
		free(a->t.page[i]);
	}
	free(a->t.page);
	a->t.page = NULL;
	a->t.npages = 0;
	a->bytes = 0;
}

/* With `drain` held. What cannot be read for want of something stays to be read. */
static vex_err refresh(struct attrs *a, struct vex_reader *r, uint64_t node)
{
	struct attr_rec rec;
	vex_err err = attr_read(a->e, r, node, a->scratch, &rec);

	if (!err)
		err = put(a, node, &rec);
	free(rec.text);
	return err;
}

/* With `drain` held: at most `max`. */
static vex_err drain_some(struct attrs *a, struct vex_reader *r, unsigned max)
{
	uint64_t node;
	vex_err err = 0;

	for (unsigned i = 0; !err && i < max && take(a, &node); i++) {
		err = refresh(a, r, node);
		if (err)
			attrs_touch(a->e, node);
	}
	return err;
}

/* ---- the thread -------------------------------------------------------------------- */

struct chunk {
	uint64_t ids[CHUNK];
	size_t n;
};

static vex_err add_id(void *arg, uint64_t node)
{
	struct chunk *c = arg;

	c->ids[c->n++] = node;
	return c->n == CHUNK;
}

static vex_err build_chunk(struct attrs *a, struct vex_reader *r, struct chunk *c)
{
	vex_err err = 0;
	SCOPED_LOCK(&a->drain);

	vex_reader_begin(r);
	for (size_t i = 0; !err && i < c->n; i++)
		err = refresh(a, r, c->ids[i]);
	vex_reader_end(r);
	return err;
}

static bool ending(struct attrs *a)
{
	SCOPED_LOCK(&a->list);

	return a->ending;
}

static vex_err build(struct attrs *a)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_FREE struct chunk *c = calloc(1, sizeof(*c));
	uint64_t after = 0;
	vex_err err = c ? vex_reader_get(a->e->store, &r) : -ENOMEM;

	while (!err && !ending(a)) {
		c->n = 0;
		err = vex_read_node_ids(r, after, add_id, c);
		err = err < 0 ? err : 0;
		if (err || !c->n)
			break;
		after = c->ids[c->n - 1];
		err = build_chunk(a, r, c);
		if (!err && a->bytes > BYTES_MAX)
			err = -EFBIG;
	}
	return err;
}

static void build_all(struct attrs *a)
{
	vex_err err = build(a);

	SCOPED_LOCK(&a->drain);
	if (err == -EFBIG) {
		atomic_store(&a->state, TOO_LARGE);
		clear(a);
		vex_warn("the index of attributes would pass %llu MiB: searches go "
			 "without",
			 (unsigned long long)(BYTES_MAX >> 20));
		return;
	}
	SCOPED_LOCK(&a->list);
	/* Lost meanwhile: it stays off, and is made again when wanted. */
	if (atomic_load(&a->state) == BUILDING)
		atomic_store(&a->state, err ? OFF : READY);
}

static void drain_all(struct attrs *a)
{
	AUTO_READER struct vex_reader *r = NULL;
	bool more = !vex_reader_get(a->e->store, &r);

	while (more && !ending(a)) {
		pthread_mutex_lock(&a->drain);
		vex_err err = drain_some(a, r, CHUNK);
		pthread_mutex_unlock(&a->drain);
		pthread_mutex_lock(&a->list);
		more = !err && a->ndirty;
		pthread_mutex_unlock(&a->list);
	}
}

static void *run(void *arg)
{
	struct attrs *a = arg;

	pthread_mutex_lock(&a->list);
	while (!a->ending) {
		if (!a->kicked) {
			pthread_cond_wait(&a->wake, &a->list);
			continue;
		}
		a->kicked = false;
		pthread_mutex_unlock(&a->list);
		if (atomic_load(&a->state) == BUILDING)
			build_all(a);
		else if (atomic_load(&a->state) == READY)
			drain_all(a);
		pthread_mutex_lock(&a->list);
	}
	pthread_mutex_unlock(&a->list);
	return NULL;
}

static void kick(struct attrs *a)
{
	SCOPED_LOCK(&a->list);

	if (!a->started)
		a->started =
		    !vex_thread_start(&a->thread, "vexfs-attrs", 512 << 10, run, a);
	if (!a->started)
		return;
	if (atomic_load(&a->state) == OFF)
		atomic_store(&a->state, BUILDING);
	a->kicked = true;
	pthread_cond_signal(&a->wake);
}

/* ---- use --------------------------------------------------------------------------- */

vex_err attrs_begin(struct vex_engine *e, struct vex_reader *r, struct attr_table **out)
{
	struct attrs *a = e->attrs;
	vex_err err;

	vex_deep_only();
	if (atomic_load(&a->state) == OFF)
		kick(a);
	if (atomic_load(&a->state) != READY)
		return -EAGAIN;
	pthread_mutex_lock(&a->drain);
	err = drain_some(a, r, DRAIN_MAX);
	pthread_mutex_lock(&a->list);
	if (!err && (a->ndirty || atomic_load(&a->state) != READY))
		err = -EAGAIN;
	pthread_mutex_unlock(&a->list);
	if (!err)
		pthread_rwlock_rdlock(&a->table);
	pthread_mutex_unlock(&a->drain);
	if (err)
		kick(a);
	else
		*out = &a->t;
	return err;
}

vex_err attrs_peek(struct vex_engine *e, struct attr_table **out)
{
	struct attrs *a = e->attrs;
	bool ready;

	if (atomic_load(&a->state) != READY || pthread_mutex_trylock(&a->drain))
		return -EAGAIN;
	pthread_mutex_lock(&a->list);
	ready = !a->ndirty && atomic_load(&a->state) == READY;
	pthread_mutex_unlock(&a->list);
	if (ready)
		pthread_rwlock_rdlock(&a->table);
	pthread_mutex_unlock(&a->drain);
	*out = &a->t;
	return ready ? 0 : -EAGAIN;
}

void attrs_end(struct vex_engine *e)
{
	pthread_rwlock_unlock(&e->attrs->table);
}

void attrs_yield(struct vex_engine *e)
{
	pthread_rwlock_unlock(&e->attrs->table);
	pthread_rwlock_rdlock(&e->attrs->table);
}

bool attrs_vouch(struct vex_engine *e, uint64_t node, uint64_t seq, int64_t ctime_ns)
{
	const struct attr_rec *r;
	SCOPED_RDLOCK(&e->attrs->table);

	r = attr_at(&e->attrs->t, node);
	return r && r->there && !r->partly && r->seq <= seq && r->ctime_ns == ctime_ns &&
	       ctime_ns != NO_CTIME;
}

struct cands_cache *attrs_cands(struct vex_engine *e)
{
	return e->attrs->cands;
}

vex_err attrs_new(struct vex_engine *e, struct attrs **out)
{
	struct attrs *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->e = e;
	pthread_rwlock_init(&a->table, NULL);
	pthread_mutex_init(&a->drain, NULL);
	pthread_mutex_init(&a->list, NULL);
	pthread_cond_init(&a->wake, NULL);
	a->scratch = malloc(ATTR_SCRATCH);
	a->t.ring = malloc(ATTR_RING * sizeof(*a->t.ring));
	vex_err err = a->scratch && a->t.ring ? cands_cache_new(&a->cands) : -ENOMEM;
	if (err)
		attrs_free(a);
	else
		*out = a;
	return err;
}

void attrs_stop(struct attrs *a)
{
	if (!a || !a->started)
		return;
	pthread_mutex_lock(&a->list);
	a->ending = true;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->list);
	pthread_join(a->thread, NULL);
	a->started = false;
}

void attrs_free(struct attrs *a)
{
	if (!a)
		return;
	attrs_stop(a);
	clear(a);
	cands_cache_free(a->cands);
	free(a->t.ring);
	free(a->scratch);
	free(a->dirty);
	pthread_cond_destroy(&a->wake);
	pthread_mutex_destroy(&a->list);
	pthread_mutex_destroy(&a->drain);
	pthread_rwlock_destroy(&a->table);
	free(a);
}
