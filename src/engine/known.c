/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of hits: attachments by change number, each with its file's inode,
 * directory and name, and paths of directories by node. A search that meets one again
 * need not ask the catalog, which costs several lookups a hit. Nothing here is believed
 * for what the backing filesystem can be asked: a name is verified at every use (seat.c),
 * so an entry can be out of date, but not wrong. What the catalog alone knows (the
 * attachment, its stamp) holds until a commit touches the node (vex_store_touched).
 *
 * Bounded: ENTRIES attachments in sets of WAYS, of which a new one pushes out the one
 * that came first; DIRS directories likewise. An entry is one block, as long as its texts
 * make it: some 80 bytes where names are short, 25 MB in all. What the record of a row
 * tells (node, row) is not kept.
 *
 * Locks: a set belongs to one of LOCKS shards; a shard's mutex is held for the copy of an
 * entry, with nothing taken below it.
 */
#include "known_i.h"

#define ENTRIES (1u << 18)
#define DIRS 4096u
#define WAYS 4u /* of 16 bytes: a cache line */
#define LOCKS 64u
#define BELIEVED_NS 1000000000ull /* as dircache.c */

struct kept {
	uint64_t moment, parent, ino;
	int64_t born, size, mtime_ns;
	int32_t fh_type;
	uint8_t fh_len, key_len, name_len;
	bool open : 1, met : 1, settled : 1;
	char texts[]; /* handle, key, name */
};

struct dir {
	uint64_t moves, since;
	uint32_t len;
	char path[]; /* with its slash */
};

struct place_in {
	uint64_t number;
	void *entry; /* heap; NULL: free, and those behind it */
};

struct table {
	uint32_t sets; /* a power of two */
	pthread_mutex_t locks[LOCKS];
	struct place_in *v; /* sets x WAYS, newest first; guarded by the set's shard */
};

struct knowledge {
	struct table hits, dirs;
};

/* ---- a table ------------------------------------------------------------------------
 */

static vex_err table_init(struct table *t, uint32_t entries)
{
	t->sets = entries / WAYS;
	t->v = calloc(entries, sizeof(*t->v));
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_init(&t->locks[i], NULL);
	return t->v ? 0 : -ENOMEM;
}

static void table_destroy(struct table *t)
{
	for (size_t i = 0; t->v && i < (size_t)t->sets * WAYS; i++)
		free(t->v[i].entry);
	free(t->v);
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&t->locks[i]);
}

/* Numbers come in sequence: they have to be stirred well. */
static uint32_t set_of(const struct table *t, uint64_t number)
{
	number = (number ^ number >> 32) * 0x9e3779b97f4a7c15ull;
	number = (number ^ number >> 29) * 0xbf58476d1ce4e5b9ull;
	return (uint32_t)(number >> 32) & (t->sets - 1);
}

static pthread_mutex_t *lock_of(struct table *t, uint32_t set)
{
	return &t->locks[set % LOCKS];
}

/* Under the lock. */
static void *table_find(struct table *t, uint32_t set, uint64_t number)
{
	struct place_in *at = t->v + (size_t)set * WAYS;

	for (unsigned i = 0; i < WAYS && at[i].entry; i++)
		if (at[i].number == number)
			return at[i].entry;
	return NULL;
}

/* Takes `entry`; the one of that number goes, or the oldest of the set. */
static void table_put(struct table *t, uint64_t number, void *entry)
{
	uint32_t set = set_of(t, number);
	struct place_in *v = t->v + (size_t)set * WAYS;
	unsigned at = 0;
	void *gone;

	pthread_mutex_lock(lock_of(t, set));
	while (at < WAYS - 1 && v[at].entry && v[at].number != number)
		at++;
	gone = v[at].entry;
	memmove(v + 1, v, at * sizeof(*v));
	v[0] = (struct place_in){ .number = number, .entry = entry };
	pthread_mutex_unlock(lock_of(t, set));
	free(gone);
}

/* ---- hits ---------------------------------------------------------------------------
 */

static void unpack(const struct kept *e, struct known *out)
{
	const char *at = e->texts;

	out->moment = e->moment;
	out->parent = e->parent;
	out->stamp = (struct vex_stamp){ e->size, e->mtime_ns, e->open };
	out->fh = (struct vex_fh){ .type = e->fh_type, .len = e->fh_len };
	memcpy(out->fh.bytes, at, e->fh_len);
	out->ino = e->ino;
	out->born = e->born;
	out->met = e->met;
	out->settled = e->settled;
	at += e->fh_len;
	out->key_len = e->key_len;
	memcpy(out->key, at, e->key_len);
	at += e->key_len;
	out->name_len = e->name_len;
	memcpy(out->name, at, e->name_len);
	out->name[e->name_len] = '\0';
}

bool known_get(struct knowledge *k, uint64_t lsn, struct known *out)
{
	uint32_t set = set_of(&k->hits, lsn);
	const struct kept *e;

	SCOPED_LOCK(lock_of(&k->hits, set));
	e = table_find(&k->hits, set, lsn);
	if (e)
		unpack(e, out);
	return e != NULL;
}

void known_expect(struct knowledge *k, uint64_t lsn)
{
	__builtin_prefetch(k->hits.v + (size_t)set_of(&k->hits, lsn) * WAYS);
}

void known_expect_soon(struct knowledge *k, uint64_t lsn)
{
	uint32_t set = set_of(&k->hits, lsn);
	const struct kept *e;

	SCOPED_LOCK(lock_of(&k->hits, set));
	e = table_find(&k->hits, set, lsn);
	if (e) {
		__builtin_prefetch(e);
		__builtin_prefetch((const char *)e + 64);
	}
}

void known_put(struct knowledge *k, uint64_t lsn, const struct known *in)
{
	size_t texts = (size_t)in->fh.len + in->key_len + in->name_len;
	struct kept *e = malloc(sizeof(*e) + texts);
	char *at;

	if (!e)
		return;
	*e = (struct kept){
		.moment = in->moment,
		.parent = in->parent,
		.ino = in->ino,
		.born = in->born,
		.size = in->stamp.size,
		.mtime_ns = in->stamp.mtime_ns,
		.fh_type = in->fh.type,
		.fh_len = in->fh.len,
		.key_len = (uint8_t)in->key_len,
		.name_len = (uint8_t)in->name_len,
		.open = in->stamp.open,
		.met = in->met,
		.settled = in->settled,
	};
	at = mempcpy(e->texts, in->fh.bytes, in->fh.len);
	at = mempcpy(at, in->key, in->key_len);
	memcpy(at, in->name, in->name_len);
	table_put(&k->hits, lsn, e);
}

void known_settle(struct knowledge *k, uint64_t lsn)
{
	uint32_t set = set_of(&k->hits, lsn);
	struct kept *e;

	SCOPED_LOCK(lock_of(&k->hits, set));
	e = table_find(&k->hits, set, lsn);
	if (e)
		e->settled = true;
}

/* ---- directories --------------------------------------------------------------------
 */

int known_dir_get(struct knowledge *k, uint64_t node, uint64_t moves, struct vex_buf *out)
{
	uint64_t now = vex_now_mono();
	uint32_t set = set_of(&k->dirs, node);
	const struct dir *d;

	SCOPED_LOCK(lock_of(&k->dirs, set));
	d = table_find(&k->dirs, set, node);
	if (!d)
		return -1;
	vex_buf_add(out, d->path, d->len);
	return d->moves == moves && now - d->since <= BELIEVED_NS;
}

void known_dir_put(struct knowledge *k, uint64_t node, uint64_t moves, const char *path,
		   size_t len)
{
	struct dir *d = malloc(sizeof(*d) + len + 1);

	if (!d)
		return;
	*d = (struct dir){ .moves = moves, .since = vex_now_mono() };
	d->len = (uint32_t)(len ? len + 1 : 0);
	memcpy(d->path, path, len);
	d->path[len] = '/';
	table_put(&k->dirs, node, d);
}

/* ---- both ---------------------------------------------------------------------------
 */

void knowledge_free(struct knowledge *k)
{
	if (!k)
		return;
	table_destroy(&k->hits);
	table_destroy(&k->dirs);
	free(k);
}

vex_err knowledge_new(struct knowledge **out)
{
	struct knowledge *k = calloc(1, sizeof(*k));
	vex_err err;

	if (!k)
		return -ENOMEM;
	err = table_init(&k->hits, ENTRIES);
	if (!err)
		err = table_init(&k->dirs, DIRS);
	if (err)
		knowledge_free(k);
	else
		*out = k;
	return err;
}
