/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidates: the rows of a view whose files may be hits, known before any distance is
 * computed. Three sets of files decide, each a bitmap by node made of the table of
 * attributes (attrs.c): where the filter holds, what lies below the directory, what the
 * caller may read. They are made once and kept, for the next search with the same filter,
 * directory or caller; what has changed since is looked at again, file by file, or, where
 * a directory changed, all of it.
 *
 * The sets together select rows: one pass over the records of the view, kept too, until
 * rows of the space come to life.
 *
 * Sets and selections never change once made; newer ones take their place. They are
 * counted, so the cache's lock is a leaf, held for a walk of its few entries. The table
 * is read-locked while a set is made, and given up now and then for those who write.
 */
#include "attrs_i.h"

#define SETS 32u
#define SELECTIONS 16u
#define YIELD 4096u /* nodes looked at in one go */
#define KEY_MAX ((size_t)8192)

struct node_set {
	_Atomic unsigned refs;
	uint64_t id; /* of this content */
	enum set_kind kind;
	char *key;
	size_t key_len;
	uint64_t seq, dir_seq; /* of the table it was made of */
	uint64_t nodes, n;     /* bits; of these set */
	uint64_t *bits;
};

struct selection {
	_Atomic unsigned refs;
	uint64_t sets[SET_KINDS]; /* ids; 0: none */
	uint32_t space;
	uint64_t changed, slots; /* of the view */
	uint64_t *bits;
};

struct cands_cache {
	pthread_mutex_t lock;
	/* guarded by lock: */
	uint64_t next_id, clock;
	struct node_set *set[SETS];
	uint64_t set_used[SETS];
	struct selection *sel[SELECTIONS];
	uint64_t sel_used[SELECTIONS];
};

static void set_put(struct node_set *x)
{
	if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	free(x->key);
	free(x->bits);
	free(x);
}

static void sel_put(struct selection *x)
{
	if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	free(x->bits);
	free(x);
}

vex_err cands_cache_new(struct cands_cache **out)
{
	struct cands_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

void cands_cache_free(struct cands_cache *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < SETS; i++)
		set_put(c->set[i]);
	for (unsigned i = 0; i < SELECTIONS; i++)
		sel_put(c->sel[i]);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- sets of files ----------------------------------------------------------------- */

static void add_numbers(struct vex_buf *b, const void *p, size_t len)
{
	vex_buf_add(b, p, len);
}

static void make_key(const struct search *s, enum set_kind kind, struct vex_buf *b)
{
	const struct vex_cred *c = s->q->cred;

	b->len = 0;
	if (kind == SET_WHERE) {
		vex_buf_str(b, s->q->where);
	} else if (kind == SET_UNDER) {
		add_numbers(b, &s->under_node, sizeof(s->under_node));
	} else {
		add_numbers(b, &c->uid, sizeof(c->uid));
		add_numbers(b, &c->gid, sizeof(c->gid));
		add_numbers(b, &c->groups_known, sizeof(c->groups_known));
		if (c->ngroups)
			add_numbers(b, c->groups, c->ngroups * sizeof(*c->groups));
	}
}

static bool set_is(const struct node_set *x, enum set_kind kind,
		   const struct vex_buf *key)
{
	return x && x->kind == kind && x->key_len == key->len &&
	       (!key->len || !memcmp(x->key, key->data, key->len));
}

static struct node_set *set_find(struct cands_cache *c, enum set_kind kind,
				 const struct vex_buf *key)
{
	SCOPED_LOCK(&c->lock);

	for (unsigned i = 0; i < SETS; i++)
		if (set_is(c->set[i], kind, key)) {
			c->set_used[i] = ++c->clock;
			atomic_fetch_add(&c->set[i]->refs, 1);
			return c->set[i];
		}
	return NULL;
}

/* In place of the one for the same, or of the one used least lately. */
static void set_keep(struct cands_cache *c, struct node_set *x, const struct vex_buf *key)
{
	unsigned at = 0;
	SCOPED_LOCK(&c->lock);

	for (unsigned i = 0; i < SETS; i++) {
		if (set_is(c->set[i], x->kind, key)) {
			at = i;
			break;
		}
		if (c->set_used[i] < c->set_used[at])
			at = i;
	}
	set_put(c->set[at]);
	x->id = ++c->next_id;
	c->set[at] = x;
	c->set_used[at] = ++c->clock;
	atomic_fetch_add(&x->refs, 1);
}

static vex_err set_new(const struct attr_table *t, enum set_kind kind,
		       const struct vex_buf *key, struct node_set **out)
{
	struct node_set *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	atomic_init(&x->refs, 1);
	x->kind = kind;
	x->nodes = t->npages * ATTR_PAGE;
	x->bits = calloc(x->nodes / 64 + 1, sizeof(*x->bits));
	x->key = malloc(key->len + 1);
	if (!x->bits || !x->key) {
		set_put(x);
		return -ENOMEM;
	}
	if (key->len)
		memcpy(x->key, key->data, key->len);
	x->key_len = key->len;
	*out = x;
	return 0;
}

static vex_err look(struct node_set *x, struct set_eval *v, uint64_t node)
{
	uint64_t bit = 1ull << (node & 63), *word = &x->bits[node >> 6];
	int yes = set_eval(v, node);

	if (yes < 0)
		return yes;
	x->n -= (*word & bit) != 0;
	*word &= ~bit;
	*word |= yes ? bit : 0;
	x->n += yes != 0;
	return 0;
}

/* All there is. What changes while the lock is given up is looked at by set_follow. */
static vex_err set_fill(struct vex_engine *e, struct node_set *x, struct set_eval *v)
{
	vex_err err = 0;

	x->seq = v->t->seq;
	x->dir_seq = v->t->dir_seq;
	for (uint64_t node = 0; !err && node < x->nodes; node++) {
		if (node % YIELD == 0 && node) {
			attrs_yield(e);
			if (v->uses_dirs && x->dir_seq != v->t->dir_seq)
				return -EAGAIN;
		}
		if (!v->t->page[node / ATTR_PAGE])
			node += ATTR_PAGE - 1 - node % ATTR_PAGE;
		else if (attr_at(v->t, node))
			err = look(x, v, node);
	}
	return err;
}

/* What changed since it was filled. -EAGAIN: more than the table remembers. */
static vex_err set_follow(struct node_set *x, struct set_eval *v)
{
	vex_err err = 0;

	if (v->t->seq - x->seq > ATTR_RING ||
	    (v->uses_dirs && x->dir_seq != v->t->dir_seq))
		return -EAGAIN;
	for (; !err && x->seq < v->t->seq; x->seq++) {
		uint64_t node = v->t->ring[x->seq % ATTR_RING];

		if (node >= x->nodes)
			return -EAGAIN;
		err = look(x, v, node);
	}
	return err;
}

static vex_err set_copy(const struct attr_table *t, const struct node_set *old,
			const struct vex_buf *key, struct node_set **out)
{
	vex_err err = set_new(t, old->kind, key, out);

	if (err)
		return err;
	memcpy((*out)->bits, old->bits, old->nodes / 64 * sizeof(*old->bits));
	(*out)->n = old->n;
	(*out)->seq = old->seq;
	(*out)->dir_seq = old->dir_seq;
	return 0;
}

/* Files that were made while it was filled lie past its bits: as often as it takes. */
#define TRIES 4

static VEX_APART vex_err set_make(struct search *s, const struct attr_table *t,
				  enum set_kind kind, const struct vex_buf *key,
				  const struct node_set *old, struct node_set **out)
{
	vex_err err = -EAGAIN;

	vex_deep_only();
	for (int i = 0; err == -EAGAIN && i < TRIES; i++) {
		struct node_set *x = NULL;
		struct set_eval v;

		set_eval_begin(&v, s, t, kind);
		if (old && !i)
			err = set_copy(t, old, key, &x);
		else
			err = set_new(t, kind, key, &x);
		if (!err && !(old && !i))
			err = set_fill(s->e, x, &v);
		if (!err)
			err = set_follow(x, &v);
		set_eval_end(&v);
		if (err)
			set_put(x);
		else
			*out = x;
	}
	return err;
}

static vex_err set_get(struct search *s, const struct attr_table *t, enum set_kind kind,
		       struct node_set **out)
{
	struct cands_cache *c = attrs_cands(s->e);
	AUTO_BUF struct vex_buf key = { 0 };
	struct node_set *old, *x = NULL;
	vex_err err;

	make_key(s, kind, &key);
	if (key.err || key.len > KEY_MAX)
		return key.err ? key.err : -EAGAIN;
	old = set_find(c, kind, &key);
	if (old && old->seq == t->seq) {
		*out = old;
		return 0;
	}
	if (!s->r) {
		set_put(old);
		return -EAGAIN;
	}
	err = set_make(s, t, kind, &key, old, &x);
	set_put(old);
	if (err)
		return err;
	set_keep(c, x, &key);
	*out = x;
	return 0;
}

bool cands_narrow(struct vex_engine *e, const struct vex_cred *cred)
{
	struct vex_query q = { .cred = cred };
	struct search s = { .e = e, .q = &q };
	AUTO_BUF struct vex_buf key = { 0 };
	struct node_set *x;
	bool narrow;

	make_key(&s, SET_CRED, &key);
	x = key.err ? NULL : set_find(attrs_cands(e), SET_CRED, &key);
	narrow = x && x->n * 2 < x->nodes;
	set_put(x);
	return narrow;
}

/* ---- rows -------------------------------------------------------------------------- */

static struct selection *sel_find(struct cands_cache *c, const struct search *s,
				  const uint64_t *ids)
{
	SCOPED_LOCK(&c->lock);

	for (unsigned i = 0; i < SELECTIONS; i++) {
		struct selection *x = c->sel[i];

		if (!x || x->space != vex_space_id(s->space) ||
		    x->changed != s->view.changed || x->slots < s->view.slots ||
		    memcmp(x->sets, ids, sizeof(x->sets)))
			continue;
		c->sel_used[i] = ++c->clock;
		atomic_fetch_add(&x->refs, 1);
		return x;
	}
	return NULL;
}

static void sel_keep(struct cands_cache *c, struct selection *x)
{
	unsigned at = 0;
	SCOPED_LOCK(&c->lock);

	for (unsigned i = 1; i < SELECTIONS; i++)
		if (c->sel_used[i] < c->sel_used[at])
			at = i;
	sel_put(c->sel[at]);
	c->sel[at] = x;
	c->sel_used[at] = ++c->clock;
	atomic_fetch_add(&x->refs, 1);
}

/* Nodes past a set's end were made after it: they may belong. */
static bool in_all(struct node_set *const *set, uint64_t node)
{
	for (int k = 0; k < SET_KINDS; k++)
		if (set[k] && node < set[k]->nodes &&
		    !(set[k]->bits[node >> 6] >> (node & 63) & 1))
			return false;
	return true;
}

static vex_err sel_make(struct search *s, struct node_set *const *set,
			const uint64_t *ids, struct selection **out)
{
	const struct vex_view *v = &s->view;
	uint64_t words = (v->slots + 63) / 64;
	struct selection *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->bits = calloc(words + 1, sizeof(*x->bits));
	if (!x->bits) {
		free(x);
		return -ENOMEM;
	}
	atomic_init(&x->refs, 1);
	x->space = vex_space_id(s->space);
	x->changed = v->changed;
	x->slots = v->slots;
	memcpy(x->sets, ids, sizeof(x->sets));
	for (uint64_t w = 0; w < words; w++)
		for (uint64_t m = v->live[w]; m; m &= m - 1) {
			uint64_t slot = w * 64 + (unsigned)__builtin_ctzll(m);
			struct vex_slot vs;

			vex_view_slot(v, slot, &vs);
			if (in_all(set, vs.node))
				x->bits[w] |= m & -m;
		}
	*out = x;
	return 0;
}

/* Those of the selection that are live in this view. */
static vex_err take_rows(struct search *s, const struct selection *x)
{
	uint64_t words = (s->view.slots + 63) / 64;

	s->only = malloc((words + 1) * sizeof(*s->only));
	if (!s->only)
		return -ENOMEM;
	s->nonly = 0;
	for (uint64_t w = 0; w < words; w++) {
		s->only[w] = x->bits[w] & s->view.live[w];
		s->nonly += (unsigned)__builtin_popcountll(s->only[w]);
	}
	s->only[words] = 0;
	return 0;
}

static vex_err select_rows(struct search *s, struct node_set *const *set)
{
	struct cands_cache *c = attrs_cands(s->e);
	uint64_t ids[SET_KINDS] = { 0 };
	struct selection *x;
	vex_err err = 0;

	for (int k = 0; k < SET_KINDS; k++)
		ids[k] = set[k] ? set[k]->id : 0;
	x = sel_find(c, s, ids);
	if (!x && !s->r)
		return -EAGAIN;
	if (!x) {
		err = sel_make(s, set, ids, &x);
		if (err)
			return err;
		sel_keep(c, x);
	}
	err = take_rows(s, x);
	sel_put(x);
	return err;
}

static bool wants(const struct search *s, enum set_kind kind)
{
	return kind == SET_WHERE   ? s->q->where != NULL
	       : kind == SET_UNDER ? s->under
				   : s->q->cred->uid != 0;
}

/* Small spaces are searched without: their files are looked at one by one. On a small
 * stack the graph is asked first, unless most would be refused. */
static bool worth_it(const struct search *s)
{
	if (s->eager || s->view.live_rows < s->e->attrs_min)
		return false;
	if (!s->r && !s->q->where && !cands_narrow(s->e, s->q->cred))
		return false;
	return s->q->where || s->under || s->q->cred->uid;
}

static vex_err prepare(struct search *s)
{
	struct node_set *set[SET_KINDS] = { NULL };
	struct attr_table *t;
	vex_err err = s->r ? attrs_begin(s->e, s->r, &t) : attrs_peek(s->e, &t);

	if (err)
		return err;
	for (int k = 0; !err && k < SET_KINDS; k++)
		if (wants(s, (enum set_kind)k))
			err = set_get(s, t, (enum set_kind)k, &set[k]);
	if (!err && set[SET_WHERE])
		s->only_seq = set[SET_WHERE]->seq;
	attrs_end(s->e);
	if (!err)
		err = select_rows(s, set);
	for (int k = 0; k < SET_KINDS; k++)
		set_put(set[k]);
	return err;
}

vex_err cands_prepare(struct search *s)
{
	vex_err err = worth_it(s) ? prepare(s) : 0;

	if (!s->r)
		return err || s->only || !s->q->where ? err : -EAGAIN;
	/* It can be searched without. */
	return err == -EAGAIN ? 0 : err;
}

/* ---- the truth --------------------------------------------------------------------- */

static bool below(const struct search *s, const char *path)
{
	size_t n = s->under_path.len;

	return !strncmp(path, s->under_path.data, n) && path[n] == '/';
}

/* What the table knows of the file was so when the sets were made, and still is. */
static bool vouched(struct search *s, uint64_t node, const struct stat *st)
{
	int64_t ctime = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;

	return !strcasestr(s->q->where, "path") &&
	       attrs_vouch(s->e, node, s->only_seq, ctime);
}

int cands_confirm(struct search *s, uint64_t node, const char *path,
		  const struct stat *st)
{
	int yes = !s->under || below(s, path);

	if (yes && s->q->where && !vouched(s, node, st))
		yes = s->r ? where_test_path(s, path, st) : -EAGAIN;
	/* Whatever the table had made of it was wrong. */
	if (!yes)
		attrs_touch(s->e, node);
	return yes;
}
