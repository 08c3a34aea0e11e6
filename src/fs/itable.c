/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inode table: who the kernel knows.
 *
 * Found by device, inode number and file handle: filesystems reuse inode numbers at
 * once, and the handle carries the generation, so a file that took over a number is
 * another inode here. Where a filesystem has no handles, an inode is no longer found
 * once its last name went through the mount; a reuse behind the mount while the kernel
 * still remembers the old file cannot be told there. Requests find theirs by node id.
 *
 * Sharded by hash, each shard with its own lock. References: an inode may gain one
 * from anybody who holds one; only a search of the table can revive a count, so the
 * last reference is given back under the shard lock. Freeing an inode gives back its
 * reference to its parent, in a loop, never by recursion.
 */
#include "fs_i.h"

#include <malloc.h>

#define FIRST_BUCKETS 64u
/* So many forgotten: their memory goes back to the system. */
#define TRIM_EVERY (1u << 16)

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ (x >> 33);
}

/* The handle adds nothing: generations of one number are few. */
static uint64_t hash_of(uint64_t dev, uint64_t ino)
{
	return mix(ino + mix(dev));
}

static struct shard *shard_of(struct vex_fs *fs, uint64_t hash)
{
	return &fs->shards[hash % SHARDS];
}

static struct shard *shard_of_inode(struct vex_fs *fs, const struct inode *i)
{
	return shard_of(fs, hash_of(i->dev, i->ino));
}

static struct inode **bucket_of(struct shard *s, uint64_t hash)
{
	return &s->bucket[hash / SHARDS & (s->nbuckets - 1)];
}

vex_err itable_init(struct vex_fs *fs)
{
	for (unsigned k = 0; k < SHARDS; k++) {
		struct shard *s = &fs->shards[k];

		pthread_mutex_init(&s->lock, NULL);
		s->bucket = calloc(FIRST_BUCKETS, sizeof(*s->bucket));
		if (!s->bucket)
			return -ENOMEM;
		s->nbuckets = FIRST_BUCKETS;
	}
	return 0;
}

/* What to look for. */
struct ident {
	const struct stat *st;
	const struct vex_fh *fh;
	enum packing packing;
	uint64_t id;
};

static struct ident ident_of(struct vex_fs *fs, const struct stat *st,
			     const struct vex_fh *fh)
{
	struct ident w = { .st = st, .fh = fh };

	w.packing = nodeid_pack(fs, st, fh, &w.id);
	return w;
}

static bool same(const struct inode *i, const struct ident *w)
{
	if (w->packing)
		return i->packing && i->id == w->id;
	return !i->packing && i->ino == w->st->st_ino && i->dev == w->st->st_dev &&
	       !i->nameless && i->fh_len == w->fh->len &&
	       (!i->fh_len || (i->fh_type == w->fh->type &&
			       !memcmp(i->fh_bytes, w->fh->bytes, i->fh_len)));
}

static struct inode *find_locked(struct shard *s, uint64_t hash, const struct ident *w)
{
	for (struct inode *i = *bucket_of(s, hash); i; i = i->next) {
		if (same(i, w))
			return i;
	}
	return NULL;
}

struct inode *inode_by_id(struct vex_fs *fs, uint64_t id, bool ref)
{
	uint64_t hash = hash_of(fs->root_dev, (uint32_t)id);
	struct shard *s = shard_of(fs, hash);
	struct ident w = { .packing = PACK_INO_GEN, .id = id };

	SCOPED_LOCK(&s->lock);
	struct inode *i = find_locked(s, hash, &w);
	if (i && ref)
		inode_ref(i);
	return i;
}

/* Twice the buckets; without memory for them the chains just grow. */
static void grow_locked(struct shard *s)
{
	size_t n = s->nbuckets * 2;
	struct inode **old = s->bucket, **fresh = calloc(n, sizeof(*fresh));
	size_t nold = s->nbuckets;

	if (!fresh)
		return;
	s->bucket = fresh;
	s->nbuckets = n;
	for (size_t k = 0; k < nold; k++) {
		for (struct inode *i = old[k], *next; i; i = next) {
			struct inode **b = bucket_of(s, hash_of(i->dev, i->ino));

			next = i->next;
			i->next = *b;
			*b = i;
		}
	}
	free(old);
}

static void insert_locked(struct shard *s, uint64_t hash, struct inode *i)
{
	if (s->n >= s->nbuckets)
		grow_locked(s);
	struct inode **b = bucket_of(s, hash);
	i->next = *b;
	*b = i;
	s->n++;
}

static void remove_locked(struct shard *s, struct inode *i)
{
	struct inode **p = bucket_of(s, hash_of(i->dev, i->ino));

	while (*p != i)
		p = &(*p)->next;
	*p = i->next;
	s->n--;
}

struct inode *inode_new(struct vex_fs *fs, enum inode_kind kind, const struct stat *st,
			const struct vex_fh *fh)
{
	uint64_t id = 0;
	enum packing p = kind == I_BACKED ? nodeid_pack(fs, st, fh, &id) : PACK_NONE;
	size_t len = p ? 0 : fh->len;
	struct inode *i = calloc(1, sizeof(*i) + len);

	if (!i)
		return NULL;
	i->packing = (uint8_t)p;
	i->id = p ? id : nodeid_of_address(i);
	i->kind = kind;
	i->dev = st->st_dev;
	i->ino = st->st_ino;
	i->type = st->st_mode & S_IFMT;
	i->fd = -1;
	i->gen = atomic_fetch_add(&fs->gen, 1) + 1;
	i->fh_type = fh->type;
	i->fh_len = (uint8_t)len;
	memcpy(i->fh_bytes, fh->bytes, len);
	/* Symlinks, pipes and devices cannot carry user xattrs, so no attachments. */
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		atomic_init(&i->node, VEX_NODE_NONE);
	atomic_init(&i->refs, 1);
	atomic_fetch_add(&fs->inodes, 1);
	return i;
}

vex_err inode_get(struct vex_fs *fs, const struct stat *st, const struct vex_fh *fh,
		  struct inode **out)
{
	uint64_t hash = hash_of(st->st_dev, st->st_ino);
	struct shard *s = shard_of(fs, hash);
	struct ident w = ident_of(fs, st, fh);

	SCOPED_LOCK(&s->lock);
	struct inode *i = find_locked(s, hash, &w);
	if (i) {
		inode_ref(i);
	} else {
		i = inode_new(fs, I_BACKED, st, fh);
		if (!i)
			return -ENOMEM;
		insert_locked(s, hash, i);
	}
	*out = i;
	return 0;
}

vex_err inode_get_virt(struct vex_fs *fs, const struct stat *st, const struct vex_fh *fh,
		       char *name, struct inode **out)
{
	uint64_t hash = hash_of(st->st_dev, st->st_ino);
	struct shard *s = shard_of(fs, hash);
	AUTO_FREE char *own = name;
	const struct ident w = { .st = st, .fh = fh }; /* its id is an address */

	SCOPED_LOCK(&s->lock);
	struct inode *i = find_locked(s, hash, &w);
	if (i) {
		inode_ref(i);
	} else {
		i = inode_new(fs, I_VIRT, st, fh);
		if (!i)
			return -ENOMEM;
		i->name = take_ptr(&own);
		insert_locked(s, hash, i);
	}
	*out = i;
	return 0;
}

struct inode *inode_find(struct vex_fs *fs, const struct stat *st,
			 const struct vex_fh *fh)
{
	uint64_t hash = hash_of(st->st_dev, st->st_ino);
	struct shard *s = shard_of(fs, hash);
	struct ident w = ident_of(fs, st, fh);

	SCOPED_LOCK(&s->lock);
	struct inode *i = find_locked(s, hash, &w);
	if (i)
		inode_ref(i);
	return i;
}

struct inode *inode_held(struct vex_fs *fs, const struct stat *st, uint64_t since)
{
	uint64_t hash = hash_of(st->st_dev, st->st_ino);
	struct shard *s = shard_of(fs, hash);

	SCOPED_LOCK(&s->lock);
	for (struct inode *i = *bucket_of(s, hash); i; i = i->next) {
		if (i->ino == st->st_ino && i->dev == st->st_dev && !i->nameless &&
		    fd_open_since(fs, i, since)) {
			inode_ref(i);
			return i;
		}
	}
	return NULL;
}

void inode_ref(struct inode *i)
{
	atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
}

/* Takes n off a count that stays above 0: no lock needed. */
static bool unref_quick(struct inode *i, uint64_t n)
{
	uint64_t refs = atomic_load(&i->refs);

	while (refs > n) {
		if (atomic_compare_exchange_weak(&i->refs, &refs, refs - n))
			return true;
	}
	return false;
}

/* Gives back n references; the parent to give one back to, if that freed it. */
static struct inode *unref_one(struct vex_fs *fs, struct inode *i, uint64_t n)
{
	struct shard *s = shard_of_inode(fs, i);

	if (unref_quick(i, n))
		return NULL;
	pthread_mutex_lock(&s->lock);
	if (atomic_fetch_sub(&i->refs, n) != n) {
		pthread_mutex_unlock(&s->lock);
		return NULL;
	}
	remove_locked(s, i);
	pthread_mutex_unlock(&s->lock);
	fd_drop(fs, i);
	struct inode *parent = i->parent;
	free(i->name);
	free(i);
	atomic_fetch_sub(&fs->inodes, 1);
	if (atomic_fetch_add(&fs->forgotten, 1) % TRIM_EVERY == TRIM_EVERY - 1)
		malloc_trim(0);
	return parent;
}

void inode_unref(struct vex_fs *fs, struct inode *i, uint64_t n)
{
	for (; i; n = 1)
		i = unref_one(fs, i, n);
}

/* ---- places --------------------------------------------------------------------- */

void inode_name(struct vex_fs *fs, struct inode *i, struct inode *parent,
		const char *name)
{
	struct shard *s = shard_of_inode(fs, i);
	struct inode *was;

	if (i == parent || i == fs->root)
		return;
	pthread_mutex_lock(&s->lock);
	was = i->parent;
	if (i->name && was == parent && !strcmp(i->name, name)) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	char *copy = strdup(name);
	if (!copy) { /* better no name than an old one */
		parent = NULL;
	} else {
		inode_ref(parent);
	}
	free(i->name);
	i->name = copy;
	i->parent = parent;
	bool nameless = i->nameless;
	i->unnamed = false;
	pthread_mutex_unlock(&s->lock);
	if (was)
		inode_unref(fs, was, 1);
	if (!nameless)
		fd_unpin(fs, i);
}

void inode_unname(struct vex_fs *fs, struct inode *i, struct inode *parent,
		  const char *name)
{
	struct shard *s = shard_of_inode(fs, i);
	struct inode *was = NULL;

	pthread_mutex_lock(&s->lock);
	if (i->name && i->parent == parent && !strcmp(i->name, name)) {
		was = i->parent;
		free(i->name);
		i->name = NULL;
		i->parent = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (was)
		inode_unref(fs, was, 1);
}

bool inode_place(struct vex_fs *fs, struct inode *i, struct inode **parent,
		 char name[NAME_MAX + 1])
{
	struct shard *s = shard_of_inode(fs, i);

	SCOPED_LOCK(&s->lock);
	if (!i->name)
		return false;
	inode_ref(i->parent);
	*parent = i->parent;
	/* Not by printf: it takes more stack than all else here. */
	*stpncpy(name, i->name, NAME_MAX) = 0;
	return true;
}

bool inode_in_watched(struct vex_fs *fs, struct inode *i)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	return i->parent && watched(fs, i->parent);
}

size_t itable_shard(struct vex_fs *fs, unsigned k, struct inode_at **out)
{
	struct shard *s = &fs->shards[k];
	size_t n = 0;

	SCOPED_LOCK(&s->lock);
	struct inode_at *all = malloc((s->n + 1) * sizeof(*all));
	for (size_t b = 0; all && b < s->nbuckets; b++) {
		for (struct inode *i = s->bucket[b]; i; i = i->next) {
			if (i->kind != I_BACKED)
				continue;
			all[n].id = i->id;
			all[n].parent = i->parent ? i->parent->id : 0;
			all[n++].name = i->name ? strdup(i->name) : NULL;
		}
	}
	*out = all;
	return n;
}

/* ---- handles -------------------------------------------------------------------- */

void inode_opened(struct vex_fs *fs, struct inode *i)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	i->nopen++;
}

/*
 * Of an unlink and a last close at the same time, exactly one sees the other: either
 * inode_nameless comes first, and the close finds `nameless`; or the close does, and
 * inode_nameless finds no handle.
 */
bool inode_closed(struct vex_fs *fs, struct inode *i)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	i->nopen--;
	return !i->nopen && (i->nameless || i->unnamed);
}

void inode_unnamed(struct vex_fs *fs, struct inode *i)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	i->unnamed = true;
}

bool inode_nameless(struct vex_fs *fs, struct inode *i)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	i->nameless = true;
	return i->nopen > 0;
}

bool inode_lost(struct vex_fs *fs, struct inode *i)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	return !i->nopen && i->nameless;
}

bool inode_unused(struct vex_fs *fs, struct inode *i)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	return !i->nopen && !i->nameless && !i->leaving;
}

void inode_leaving(struct vex_fs *fs, struct inode *i, bool starts)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	i->leaving = (uint16_t)(i->leaving + (starts ? 1 : -1));
}

/* ---- how content moves ---------------------------------------------------------- */

static void io_add_locked(struct inode *i, bool rdwr, struct inode_io *io)
{
	i->nio++;
	if (rdwr)
		atomic_fetch_add(&i->nrdwr, 1);
	*io = (struct inode_io){ atomic_load(&i->backing), i->io_uid };
}

bool inode_io_join(struct vex_fs *fs, struct inode *i, bool rdwr, struct inode_io *io)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	if (!i->nio)
		return false;
	io_add_locked(i, rdwr, io);
	return true;
}

void inode_io_begin(struct vex_fs *fs, struct inode *i, bool rdwr, struct inode_io *io)
{
	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	if (!i->nio) {
		atomic_store(&i->backing, io->id);
		i->io_uid = io->uid;
	}
	io_add_locked(i, rdwr, io);
}

struct inode_io inode_io_end(struct vex_fs *fs, struct inode *i, bool rdwr)
{
	struct inode_io io = { 0 };

	SCOPED_LOCK(&shard_of_inode(fs, i)->lock);
	if (rdwr)
		atomic_fetch_sub(&i->nrdwr, 1);
	if (!--i->nio)
		io = (struct inode_io){ atomic_exchange(&i->backing, 0), i->io_uid };
	return io;
}

void inode_fh(const struct inode *i, struct vex_fh *fh)
{
	memset(fh, 0, sizeof(*fh));
	if (i->kind != I_BACKED)
		return;
	if (i->packing) {
		nodeid_unpack(i->id, i->packing, fh);
		return;
	}
	fh->type = i->fh_type;
	fh->len = i->fh_len;
	memcpy(fh->bytes, i->fh_bytes, i->fh_len);
}

/* ---- end ------------------------------------------------------------------------ */

void itable_destroy(struct vex_fs *fs)
{
	for (unsigned k = 0; k < SHARDS; k++) {
		struct shard *s = &fs->shards[k];

		for (size_t b = 0; s->bucket && b < s->nbuckets; b++) {
			for (struct inode *i = s->bucket[b], *next; i; i = next) {
				next = i->next;
				fd_drop(fs, i);
				free(i->name);
				free(i);
			}
		}
		free(s->bucket);
		pthread_mutex_destroy(&s->lock);
	}
}
