/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of earlier searches, for who asks the same again. Kept is not what was shown
 * but which rows were judged for it, in order of rank, accepted or refused: a repeated
 * search computes no distance, and judges these rows anew, as it would those it had
 * found (hits.c). So permission, names, staleness, filter and checksums are as of now: a
 * file that may be read meanwhile comes in, one that may not drops out. Where that leaves
 * fewer than k, the search is made after all.
 *
 * That is the same answer as long as no row of the space came to life since (the view
 * tells, `changed`): what died is passed over. Some answers hold less than all that was
 * judged, and more must be as it was then:
 *  - rows judged while they were found (ANSWER_WHOLE): kept only where none was refused,
 *    and good only while each is accepted and no row of the space died;
 *  - rows among candidates (ANSWER_AMONG): the sets of files they were taken from know
 *    nothing of later changes, so there must be none (vex_engine_changes). What changed
 *    behind the mount the sets do not know either, with or without this.
 * Not kept: searches with limits, and those whose list is long (ANSWER_MAX).
 *
 * Bounded by the setting search_cache; by hash in SHARDS, each with a list by use. An
 * answer is counted, and never changes once made. A shard's lock is a leaf, held for a
 * walk of a chain.
 */
#include "answers_i.h"

#define SHARDS 16u
#define CHAINS 256u

struct answer_shard {
	pthread_mutex_t lock;
	/* guarded by lock: */
	struct answer *chain[CHAINS];
	struct answer *newest, *oldest; /* by use */
	size_t bytes;
};

struct answers {
	struct answer_shard shard[SHARDS];
};

vex_err answers_new(struct answers **out)
{
	struct answers *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&a->shard[i].lock, NULL);
	*out = a;
	return 0;
}

void answer_put(struct answer *a)
{
	if (a && atomic_fetch_sub(&a->refs, 1) == 1)
		free(a);
}

void answers_free(struct answers *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct answer *next, *a = c->shard[i].newest;

		for (; a; a = next) {
			next = a->older;
			answer_put(a);
		}
		pthread_mutex_destroy(&c->shard[i].lock);
	}
	free(c);
}

/* ---- what was asked -----------------------------------------------------------------
 */

static const char *text_of(const char *s)
{
	return s ? s : "";
}

static struct answer_head head_of(const struct search *s)
{
	const struct vex_query *q = s->q;
	const struct vex_cred *c = q->cred;
	bool under = s->under;

	return (struct answer_head){
		.like = s->like_node,
		.unlike = s->unlike_node,
		.skip = q->skip_node,
		.under_dev = under ? s->under_st.st_dev : 0,
		.under_ino = under ? s->under_st.st_ino : 0,
		.nq = s->nq,
		.space = vex_space_id(s->space),
		.k = q->k,
		.offset = q->offset,
		.per_file = q->per_file,
		.ef = q->ef,
		.own_ef = s->spec.ef_search,
		.recall = q->recall,
		.own_recall = s->spec.recall,
		.max_distance = q->max_distance,
		.lambda = q->mmr ? q->lambda : 0,
		.flags = (uint32_t)(q->exact | q->fresh << 1 | q->mmr << 2 | s->one << 3 |
				    under << 4 | c->groups_known << 5),
		.uid = c->uid,
		.gid = c->gid,
		.ngroups = c->ngroups,
		.where_len = (uint32_t)strlen(text_of(q->where)),
	};
}

/* The parts of a key in their order; their lengths are told by the head. */
struct key_parts {
	struct answer_head head;
	struct {
		const void *data;
		size_t len;
	} part[4];
	uint64_t hash;
	size_t len;
};

static void key_of(const struct search *s, struct key_parts *k)
{
	const struct vex_query *q = s->q;

	k->head = head_of(s);
	k->part[0].data = &k->head;
	k->part[0].len = sizeof(k->head);
	k->part[1].data = q->cred->groups;
	k->part[1].len = q->cred->ngroups * sizeof(*q->cred->groups);
	k->part[2].data = text_of(q->where);
	k->part[2].len = k->head.where_len;
	k->part[3].data = s->vectors;
	k->part[3].len = s->nq * s->spec.dim * sizeof(float);
	k->hash = 0;
	k->len = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(k->part); i++) {
		if (k->part[i].len)
			k->hash = vex_sum64(k->hash, k->part[i].data, k->part[i].len);
		k->len += k->part[i].len;
	}
}

static bool key_is(const struct answer *a, const struct key_parts *k)
{
	const char *at = answer_key(a);

	if (a->hash != k->hash || a->key_len != k->len)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(k->part); i++) {
		if (k->part[i].len && memcmp(at, k->part[i].data, k->part[i].len))
			return false;
		at += k->part[i].len;
	}
	return true;
}

/* ---- a shard, under its lock ---------------------------------------------------------
 */

static struct answer_shard *shard_of(struct answers *c, uint64_t hash)
{
	return &c->shard[hash % SHARDS];
}

static struct answer **chain_of(struct answer_shard *h, uint64_t hash)
{
	return &h->chain[hash / SHARDS % CHAINS];
}

static void use_first(struct answer_shard *h, struct answer *a)
{
	a->newer = NULL;
	a->older = h->newest;
	if (a->older)
		a->older->newer = a;
	else
		h->oldest = a;
	h->newest = a;
}

static void use_out(struct answer_shard *h, struct answer *a)
{
	*(a->newer ? &a->newer->older : &h->newest) = a->older;
	*(a->older ? &a->older->newer : &h->oldest) = a->newer;
}

static void take_out(struct answer_shard *h, struct answer *a)
{
	struct answer **p = chain_of(h, a->hash);

	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	use_out(h, a);
	h->bytes -= a->size;
	answer_put(a);
}

static struct answer *find(struct answers *c, const struct key_parts *k)
{
	struct answer_shard *h = shard_of(c, k->hash);
	struct answer *a;

	SCOPED_LOCK(&h->lock);
	for (a = *chain_of(h, k->hash); a && !key_is(a, k); a = a->next)
		;
	if (!a)
		return NULL;
	use_out(h, a);
	use_first(h, a);
	atomic_fetch_add(&a->refs, 1);
	return a;
}

/* In place of the one for the same; what was used least lately makes room. */
static void insert(struct answers *c, const struct key_parts *k, struct answer *a,
		   size_t most)
{
	struct answer_shard *h = shard_of(c, a->hash);
	struct answer **chain = chain_of(h, a->hash), *same;

	SCOPED_LOCK(&h->lock);
	for (same = *chain; same && !key_is(same, k); same = same->next)
		;
	if (same)
		take_out(h, same);
	while (h->oldest && h->bytes + a->size > most)
		take_out(h, h->oldest);
	a->next = *chain;
	*chain = a;
	use_first(h, a);
	h->bytes += a->size;
}

/* Less room than before: what no longer fits goes. */
void answers_trim(struct answers *c, uint64_t most)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct answer_shard *h = &c->shard[i];
		SCOPED_LOCK(&h->lock);

		while (h->oldest && h->bytes > most / SHARDS)
			take_out(h, h->oldest);
	}
}

/* ---- keeping -------------------------------------------------------------------------
 */

static size_t room(const struct search *s)
{
	return vex_engine_knob(s->e, VEX_KNOB_CACHE) / SHARDS;
}

bool answers_wanted(const struct search *s)
{
	const struct vex_query *q = s->q;

	return !q->no_cache && !q->max_visited && !q->max_ns && !s->eager && q->cred &&
	       room(s);
}

static unsigned how_of(const struct search *s)
{
	return (s->wide ? 0 : ANSWER_WHOLE) | (s->only ? ANSWER_AMONG : 0) |
	       (s->wide && s->whole ? ANSWER_ALL : 0);
}

static void fill(struct answer *a, const struct search *s, const struct key_parts *k,
		 const struct vex_buf *judged)
{
	char *at = (char *)a + sizeof(*a);

	atomic_init(&a->refs, 1);
	a->hash = k->hash;
	a->key_len = k->len;
	a->judged_len = judged->len;
	a->how = how_of(s);
	a->changed = s->view.changed;
	a->live_rows = s->view.live_rows;
	a->changes = s->changes;
	a->only_seq = s->only_seq;
	a->candidates = s->only ? s->nonly : s->view.live_rows;
	a->distances = s->stats.distances;
	a->plan = s->plan;
	if (judged->len)
		memcpy(at, judged->data, judged->len);
	at += judged->len;
	for (unsigned i = 0; i < ARRAY_SIZE(k->part); i++)
		if (k->part[i].len)
			at = mempcpy(at, k->part[i].data, k->part[i].len);
}

void answers_keep(const struct search *s, const struct vex_buf *judged)
{
	struct key_parts k;
	struct answer *a;
	size_t size;

	if (judged->err || (!s->wide && s->stats.refused) || s->bound.met)
		return;
	key_of(s, &k);
	size = sizeof(*a) + judged->len + k.len;
	if (size > room(s) || size > ANSWER_MAX)
		return;
	a = malloc(size);
	if (!a)
		return;
	a->size = size;
	fill(a, s, &k, judged);
	insert(s->e->answers, &k, a, room(s));
}

/* ---- finding -------------------------------------------------------------------------
 */

static bool holds(const struct search *s, const struct answer *a)
{
	if (a->changed != s->view.changed)
		return false;
	if (a->how & ANSWER_WHOLE && a->live_rows != s->view.live_rows)
		return false;
	return !(a->how & ANSWER_AMONG) || a->changes == s->changes;
}

struct answer *answers_find(const struct search *s)
{
	struct key_parts k;
	struct answer *a;

	key_of(s, &k);
	a = find(s->e->answers, &k);
	if (a && !holds(s, a)) {
		answer_put(a);
		a = NULL;
	}
	return a;
}
