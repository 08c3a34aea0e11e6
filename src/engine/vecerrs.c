/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last error of .vec files, for _info: shells do not show what close(2) returns.
 * Kept in memory only, for the 1,024 files that failed most recently: 256 sets of four,
 * the oldest of a set goes first. Keyed by inode and handle together, so a reused inode
 * number does not inherit. One mutex, held for four comparisons.
 */
#include "engine_i.h"
#include "attach_i.h"

#define SETS 256u
#define WAYS 4u

struct vecerr {
	uint64_t key, used; /* used 0: free */
	vex_err err;
};

struct vecerrs {
	pthread_mutex_t lock;
	/* guarded by lock: */
	uint64_t clock;
	struct vecerr set[SETS][WAYS];
};

vex_err vecerrs_new(struct vecerrs **out)
{
	struct vecerrs *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	pthread_mutex_init(&v->lock, NULL);
	*out = v;
	return 0;
}

void vecerrs_free(struct vecerrs *v)
{
	if (!v)
		return;
	pthread_mutex_destroy(&v->lock);
	free(v);
}

static uint64_t key_of(const struct vex_fh *fh, uint64_t ino)
{
	return vex_sum64(ino, fh->bytes, fh->len);
}

/* The entry of that key, or NULL. */
static struct vecerr *find_locked(struct vecerrs *v, uint64_t key)
{
	struct vecerr *set = v->set[key % SETS];

	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].used && set[i].key == key)
			return &set[i];
	return NULL;
}

static struct vecerr *oldest_locked(struct vecerrs *v, uint64_t key)
{
	struct vecerr *set = v->set[key % SETS], *old = set;

	for (unsigned i = 1; i < WAYS; i++)
		if (set[i].used < old->used)
			old = &set[i];
	return old;
}

vex_err vecerrs_get(struct vecerrs *v, const struct vex_fh *fh, uint64_t ino)
{
	SCOPED_LOCK(&v->lock);
	struct vecerr *s = find_locked(v, key_of(fh, ino));

	return s ? s->err : 0;
}

void vecerrs_set(struct vecerrs *v, const struct vex_fh *fh, uint64_t ino, vex_err err)
{
	SCOPED_LOCK(&v->lock);
	uint64_t key = key_of(fh, ino);
	struct vecerr *s = find_locked(v, key);

	if (!err) {
		if (s)
			s->used = 0;
		return;
	}
	if (!s)
		s = oldest_locked(v, key);
	*s = (struct vecerr){ .key = key, .used = ++v->clock, .err = err };
}
