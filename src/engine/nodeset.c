/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory nodes by file handle, in memory: open addressing, 24 bytes a directory.
 * The key is two independent 64-bit sums of the handle. It answers "is this
 * directory a node, and which" without the catalog. It is complete where every
 * directory node was made, or loaded, since the engine was opened; else what it lacks
 * has to be asked of the catalog.
 *
 * One mutex; nothing blocks under it. A failed allocation loses an entry, and with it
 * completeness, never truth.
 */
#include "names_i.h"

struct entry {
	uint64_t a, b, node; /* node 0: empty; DELETED: was used */
};
#define DELETED (~(uint64_t)0)

struct nodeset {
	pthread_mutex_t lock;
	/* guarded by lock: */
	struct entry *v;
	size_t used, size; /* used counts deleted ones too; size is a power of two */
	bool complete;
};

vex_err nodeset_new(struct nodeset **out)
{
	struct nodeset *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

void nodeset_free(struct nodeset *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s->v);
	free(s);
}

static struct entry key_of(const struct vex_fh *fh)
{
	return (struct entry){
		.a = vex_sum64(1 + (uint64_t)(uint32_t)fh->type, fh->bytes, fh->len),
		.b = vex_sum64(~(uint64_t)(uint32_t)fh->type, fh->bytes, fh->len),
	};
}

/* The entry of that key, or NULL; *free: where it would go. */
static struct entry *find(struct nodeset *s, const struct entry *k,
			  struct entry **free_at)
{
	*free_at = NULL;
	for (size_t i = k->a & (s->size - 1);; i = (i + 1) & (s->size - 1)) {
		struct entry *at = &s->v[i];

		if (at->node == DELETED || !at->node) {
			if (!*free_at)
				*free_at = at;
			if (!at->node)
				return NULL;
		} else if (at->a == k->a && at->b == k->b) {
			return at;
		}
	}
}

static bool grow(struct nodeset *s)
{
	struct nodeset n = { .size = s->size ? s->size * 2 : 256 };

	n.v = calloc(n.size, sizeof(*n.v));
	if (!n.v)
		return false;
	for (size_t i = 0; i < s->size; i++) {
		struct entry *at;

		if (!s->v[i].node || s->v[i].node == DELETED)
			continue;
		find(&n, &s->v[i], &at);
		*at = s->v[i];
		n.used++;
	}
	free(s->v);
	s->v = n.v;
	s->size = n.size;
	s->used = n.used;
	return true;
}

uint64_t nodeset_get(struct nodeset *s, const struct vex_fh *fh)
{
	struct entry k = key_of(fh), *spare, *at;
	SCOPED_LOCK(&s->lock);

	if (!fh->len || !s->size)
		return 0;
	at = find(s, &k, &spare);
	return at ? at->node : 0;
}

void nodeset_add(struct nodeset *s, const struct vex_fh *fh, uint64_t node)
{
	struct entry k = key_of(fh), *spare, *at;
	SCOPED_LOCK(&s->lock);

	if (!fh->len)
		return;
	if (s->used * 4 >= s->size * 3 && !grow(s)) {
		s->complete = false;
		return;
	}
	at = find(s, &k, &spare);
	if (at) {
		at->node = node;
		return;
	}
	s->used += spare->node != DELETED;
	k.node = node;
	*spare = k;
}

void nodeset_del(struct nodeset *s, const struct vex_fh *fh)
{
	struct entry k = key_of(fh), *spare, *at;
	SCOPED_LOCK(&s->lock);

	if (!fh->len || !s->size)
		return;
	at = find(s, &k, &spare);
	if (at)
		at->node = DELETED;
}

void nodeset_set_complete(struct nodeset *s)
{
	SCOPED_LOCK(&s->lock);
	s->complete = true;
}

bool nodeset_complete(struct nodeset *s)
{
	SCOPED_LOCK(&s->lock);
	return s->complete;
}
