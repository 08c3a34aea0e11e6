/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wal-index of a catalog, in ordinary memory.
 *
 * SQLite keeps it in a mapped file beside the database, for other processes' sake. A
 * catalog is opened by one process only (lock.c sees to it), and a mapped file has two
 * faults: on a full disk a page of it may have no block, which is SIGBUS, and each
 * lock on it is a system call. So it is here: one object a catalog, shared by all
 * connections of the process to the same inode, gone with the last of them. A fresh
 * one makes SQLite read the WAL anew, as it does after a crash.
 *
 * The locks are those of SQLite's own VFS: eight, each free, shared by some or held
 * by one; nobody waits here, SQLite does. `all` guards the list and the links' counts,
 * an object's lock its regions and locks. What is in the regions is SQLite's to order.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "shm.h"

struct shm {
	struct shm *next; /* guarded by all */
	dev_t dev;
	ino_t ino;
	unsigned links; /* guarded by all */

	pthread_mutex_t lock;
	/* guarded by lock: */
	void **region;
	int regions;
	int held[SQLITE_SHM_NLOCK]; /* -1: exclusive; else how many share it */
};

static pthread_mutex_t all = PTHREAD_MUTEX_INITIALIZER;
static struct shm *list; /* guarded by all */

static struct shm *find_locked(const struct stat *st)
{
	struct shm *s = list;

	while (s && (s->ino != st->st_ino || s->dev != st->st_dev))
		s = s->next;
	return s;
}

static struct shm *make_locked(const struct stat *st)
{
	struct shm *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->dev = st->st_dev;
	s->ino = st->st_ino;
	pthread_mutex_init(&s->lock, NULL);
	s->next = list;
	list = s;
	return s;
}

static int join(struct shm_link *l, const char *name)
{
	struct stat st;
	struct shm *s;

	if (stat(name, &st))
		return SQLITE_IOERR_SHMOPEN;
	pthread_mutex_lock(&all);
	s = find_locked(&st);
	if (!s)
		s = make_locked(&st);
	if (s)
		s->links++;
	pthread_mutex_unlock(&all);
	*l = (struct shm_link){ .shm = s };
	return s ? SQLITE_OK : SQLITE_IOERR_NOMEM;
}

/* Regions never move: other connections keep their addresses. */
static int extend_locked(struct shm *s, int regions, int size)
{
	while (s->regions < regions) {
		void **v =
		    reallocarray(s->region, (size_t)s->regions + 1, sizeof(*s->region));

		if (!v)
			return SQLITE_IOERR_NOMEM;
		s->region = v;
		v[s->regions] = calloc(1, (size_t)size);
		if (!v[s->regions])
			return SQLITE_IOERR_NOMEM;
		s->regions++;
	}
	return SQLITE_OK;
}

int shm_map(struct shm_link *l, const char *name, int region, int size, bool extend,
	    void volatile **out)
{
	int rc = l->shm ? SQLITE_OK : join(l, name);

	*out = NULL;
	if (rc)
		return rc;
	pthread_mutex_lock(&l->shm->lock);
	if (extend)
		rc = extend_locked(l->shm, region + 1, size);
	if (region < l->shm->regions)
		*out = l->shm->region[region];
	pthread_mutex_unlock(&l->shm->lock);
	return rc;
}

/* ---- locks --------------------------------------------------------------- */

static unsigned bits(int first, int n)
{
	return ((1u << n) - 1) << first;
}

static void unlock_locked(struct shm_link *l, int first, int n)
{
	for (int i = first; i < first + n; i++) {
		if (l->exclusive & bits(i, 1))
			l->shm->held[i] = 0;
		else if (l->shared & bits(i, 1))
			l->shm->held[i]--;
	}
	l->exclusive &= ~bits(first, n);
	l->shared &= ~bits(first, n);
}

static int share_locked(struct shm_link *l, int i)
{
	if (l->shared & bits(i, 1))
		return SQLITE_OK;
	if (l->shm->held[i] < 0)
		return SQLITE_BUSY;
	l->shm->held[i]++;
	l->shared |= bits(i, 1);
	return SQLITE_OK;
}

static int take_locked(struct shm_link *l, int first, int n)
{
	for (int i = first; i < first + n; i++)
		if (l->shm->held[i] && !(l->exclusive & bits(i, 1)))
			return SQLITE_BUSY;
	for (int i = first; i < first + n; i++)
		l->shm->held[i] = -1;
	l->exclusive |= bits(first, n);
	return SQLITE_OK;
}

int shm_lock(struct shm_link *l, int first, int n, int flags)
{
	int rc = SQLITE_OK;

	if (!l->shm || first < 0 || n < 1 || first + n > SQLITE_SHM_NLOCK)
		return SQLITE_IOERR_SHMLOCK;
	pthread_mutex_lock(&l->shm->lock);
	if (flags & SQLITE_SHM_UNLOCK)
		unlock_locked(l, first, n);
	else if (flags & SQLITE_SHM_SHARED)
		rc = share_locked(l, first);
	else
		rc = take_locked(l, first, n);
	pthread_mutex_unlock(&l->shm->lock);
	return rc;
}

void shm_barrier(void)
{
#ifdef __SANITIZE_THREAD__
	/* It does not know fences. */
	pthread_mutex_lock(&all);
	pthread_mutex_unlock(&all);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* ---- the end ------------------------------------------------------------- */

static void unlist_locked(struct shm *s)
{
	struct shm **at = &list;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
}

static void release(struct shm *s)
{
	for (int i = 0; i < s->regions; i++)
		free(s->region[i]);
	free(s->region);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void shm_unmap(struct shm_link *l)
{
	struct shm *s = l->shm;
	bool last;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	unlock_locked(l, 0, SQLITE_SHM_NLOCK);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&all);
	last = !--s->links;
	if (last)
		unlist_locked(s);
	pthread_mutex_unlock(&all);
	if (last)
		release(s);
	*l = (struct shm_link){ .shm = NULL };
}
