/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hits as symbolic links, and the cache that keeps them a while.
 *
 * Whoever lists a query directory looks its names up next, one by one, with no open
 * directory in hand. So what opendir found is kept for the lookups that follow, by
 * directory and caller: two callers never share an answer, for what one may know the
 * other may not. Few are kept, for a minute after their last use; a lookup that finds
 * none searches again. opendir always searches.
 *
 * The cache's lock is a leaf, held for a walk of CACHED entries.
 */
#include "fs_i.h"

#define CACHED 64u
#define KEEP_NS (60ull * 1000000000ull)

/* ---- links ------------------------------------------------------------------------- */

void links_put(struct links *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	for (size_t k = 0; k < l->n; k++) {
		free(l->v[k].name);
		free(l->v[k].target);
	}
	free(l->v);
	free(l);
}

/* No half characters: file managers show them as errors. */
static size_t cut_utf8(const char *s, size_t len, size_t max)
{
	size_t n = len;

	if (n <= max)
		return n;
	for (n = max; n && max - n < 3 && ((unsigned char)s[n] & 0xc0) == 0x80; n--)
		;
	return n;
}

/* RANK-NAME, the rank wide enough that names sort as the hits do. */
static char *link_name(const struct vex_found *f, size_t rank, int width)
{
	const char *slash = memrchr(f->path, '/', f->path_len);
	const char *base = slash ? slash + 1 : f->path;
	size_t len = f->path_len - (size_t)(base - f->path);
	char *name;

	len = cut_utf8(base, len, NAME_MAX - (size_t)width - 1);
	name = malloc((size_t)width + len + 2);
	if (!name)
		return NULL;
	for (int i = width; i--; rank /= 10)
		name[i] = (char)('0' + rank % 10);
	name[width] = '-';
	memcpy(name + width + 1, base, len);
	name[(size_t)width + 1 + len] = '\0';
	return name;
}

static char *link_target(const struct vex_found *f, unsigned depth)
{
	char *target = malloc(3 * (size_t)depth + f->path_len + 1), *at = target;

	if (!target)
		return NULL;
	for (; depth; depth--)
		at = stpcpy(at, "../");
	memcpy(at, f->path, f->path_len);
	at[f->path_len] = '\0';
	return target;
}

vex_err links_new(const struct vex_result *r, unsigned depth, struct links **out)
{
	size_t n = r ? r->n : 0;
	struct links *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	atomic_init(&l->refs, 1);
	n = n < VEX_SAVED_HITS ? n : VEX_SAVED_HITS;
	l->v = calloc(n + 1, sizeof(*l->v));
	for (size_t k = 0; l->v && k < n; k++) {
		l->v[k].name = link_name(&r->hits[k], k + 1, n > 999 ? 4 : 3);
		l->v[k].target = link_target(&r->hits[k], depth);
		l->n++;
		if (!l->v[k].name || !l->v[k].target)
			break;
	}
	if (!l->v || l->n < n || (n && !l->v[n - 1].target) || (n && !l->v[n - 1].name)) {
		links_put(l);
		return -ENOMEM;
	}
	*out = l;
	return 0;
}

const char *links_target(const struct links *l, const char *name)
{
	for (size_t k = 0; k < l->n; k++)
		if (!strcmp(l->v[k].name, name))
			return l->v[k].target;
	return NULL;
}

/* ---- the cache --------------------------------------------------------------------- */

struct cached {
	char *key;
	uint32_t uid, gid, ngroups;
	gid_t groups[CRED_GROUPS];
	uint64_t used;
	struct links *links; /* NULL: free place */
};

struct linkcache {
	pthread_mutex_t lock;
	struct cached v[CACHED]; /* guarded by lock */
};

vex_err linkcache_new(struct linkcache **out)
{
	struct linkcache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

static void clear(struct cached *e)
{
	links_put(e->links);
	free(e->key);
	*e = (struct cached){ 0 };
}

void linkcache_free(struct linkcache *c)
{
	if (!c)
		return;
	for (size_t k = 0; k < CACHED; k++)
		clear(&c->v[k]);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* Groups unknown: nothing is shared, not even with oneself. */
static bool is_for(const struct cached *e, const char *key, const struct vex_cred *cred)
{
	return e->links && cred->groups_known && e->uid == cred->uid &&
	       e->gid == cred->gid && e->ngroups == cred->ngroups &&
	       (!cred->ngroups ||
		!memcmp(e->groups, cred->groups, cred->ngroups * sizeof(gid_t))) &&
	       !strcmp(e->key, key);
}

struct links *linkcache_get(struct linkcache *c, const char *key,
			    const struct vex_cred *cred)
{
	uint64_t now = vex_now_mono();
	SCOPED_LOCK(&c->lock);

	for (size_t k = 0; k < CACHED; k++) {
		struct cached *e = &c->v[k];

		if (!is_for(e, key, cred) || now - e->used > KEEP_NS)
			continue;
		e->used = now;
		atomic_fetch_add(&e->links->refs, 1);
		return e->links;
	}
	return NULL;
}

void linkcache_put(struct linkcache *c, const char *key, const struct vex_cred *cred,
		   struct links *l)
{
	struct cached *place = &c->v[0];
	SCOPED_LOCK(&c->lock);

	if (!cred->groups_known || cred->ngroups > CRED_GROUPS)
		return;
	for (size_t k = 0; k < CACHED; k++) {
		if (is_for(&c->v[k], key, cred)) {
			place = &c->v[k];
			break;
		}
		if (c->v[k].used < place->used)
			place = &c->v[k];
	}
	clear(place);
	place->key = strdup(key);
	if (!place->key)
		return;
	place->uid = cred->uid;
	place->gid = cred->gid;
	place->ngroups = cred->ngroups;
	if (cred->ngroups)
		memcpy(place->groups, cred->groups, cred->ngroups * sizeof(gid_t));
	place->used = vex_now_mono();
	atomic_fetch_add(&l->refs, 1);
	place->links = l;
}

void linkcache_drop(struct linkcache *c, const char *key)
{
	SCOPED_LOCK(&c->lock);

	for (size_t k = 0; k < CACHED; k++)
		if (c->v[k].links && !strcmp(c->v[k].key, key))
			clear(&c->v[k]);
}
