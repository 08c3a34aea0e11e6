/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making it last. Syncs are numbered; a caller needs one that begins after it asked, so
 * all who ask while one runs share the next. The first of them runs it:
 *  1. `whole`: syncfs, for names and marks of the user's files;
 *  2. unless all that is to last is so little that it goes into the commit (redo.c), the
 *     slot files are flushed here, where only this caller waits for them;
 *  3. the writer flushes what came since, and commits a changed row with
 *     synchronous=FULL: an empty commit would flush nothing (writer_durable).
 * The timer does the same every interval when something has changed, slot files always.
 *
 * A failed flush is not tried again: the kernel may have dropped the pages and would
 * report success. The store is read-only from then on.
 */
#include <time.h>
#include "store_i.h"

static vex_err sync_all(struct vex_store *s, bool whole, bool full)
{
	struct request r = { .c = NULL };
	vex_err err;

	full |= atomic_load(&s->sync_large);
	r.small = !full;
	if (whole && syncfs(s->rootfd)) {
		atomic_store(&s->failed, true);
		vex_error("%s: syncfs failed: %s", s->path, strerror(errno));
		return -EIO;
	}
	if (full && spaces_flush(s, NULL, 0)) {
		atomic_store(&s->failed, true);
		vex_error("%s: a sync of slot files failed", s->path);
		return -EIO;
	}
	err = queue_run(s, &r);
	return err ? err : r.err;
}

static vex_err sync_now(struct vex_store *s, bool whole, bool full)
{
	uint64_t start = vex_now_mono();
	vex_err err = atomic_load(&s->failed) ? -EIO : sync_all(s, whole, full);

	vex_op_done(VEX_OP_SYNC, vex_now_mono() - start, err);
	if (!err)
		atomic_store(&s->last_sync, vex_now_real());
	return err;
}

/* Runs the next sync; y->lock is dropped meanwhile. */
static void lead(struct vex_store *s)
{
	struct syncer *y = &s->syncer;
	bool whole = y->whole, full = y->full;
	vex_err err;

	y->whole = y->full = false;
	y->started++;
	pthread_mutex_unlock(&y->lock);
	err = sync_now(s, whole, full);
	pthread_mutex_lock(&y->lock);
	y->last = err;
	y->finished = y->started;
	pthread_cond_broadcast(&y->done);
}

static vex_err run_sync(struct vex_store *s, bool whole, bool full)
{
	struct syncer *y = &s->syncer;
	uint64_t mine;

	SCOPED_LOCK(&y->lock);
	mine = y->started + 1;
	y->whole |= whole;
	y->full |= full;
	while (y->finished < mine) {
		if (y->started == y->finished)
			lead(s);
		else
			pthread_cond_wait(&y->done, &y->lock);
	}
	return atomic_load(&s->failed) ? -EIO : y->last;
}

vex_err vex_store_sync(struct vex_store *s, bool whole)
{
	return run_sync(s, whole, whole);
}

/* A sync, and what `also` says: by the writer, after its sync. */
static vex_err sync_also(struct vex_store *s, int also, uint64_t *left)
{
	struct request r = { .c = NULL };
	vex_err err = run_sync(s, false, true);

	r.also = also;
	if (!err)
		err = queue_run(s, &r);
	if (!err)
		err = r.err;
	*left = r.left;
	return err;
}

vex_err vex_store_checkpoint(struct vex_store *s, uint64_t *frames)
{
	return sync_also(s, ALSO_CHECKPOINT, frames);
}

vex_err vex_store_pack_catalog(struct vex_store *s, uint64_t *left)
{
	return sync_also(s, ALSO_VACUUM, left);
}

static bool dirty(struct vex_store *s)
{
	return (atomic_load(&s->changed) != atomic_load(&s->changed_durable) ||
		atomic_load(&s->redo_kept)) &&
	       !atomic_load(&s->failed);
}

/* Without the lock the signal may be lost: then it is the next poke, or the interval. */
void sync_poke(struct vex_store *s)
{
	if (!atomic_exchange(&s->syncer.poked, true))
		pthread_cond_signal(&s->syncer.tick);
}

static void *timer(void *arg)
{
	struct vex_store *s = arg;
	struct syncer *y = &s->syncer;

	pthread_mutex_lock(&y->lock);
	while (!y->stop) {
		uint64_t at = vex_now_mono() + s->interval_ms * UINT64_C(1000000);
		struct timespec t = { .tv_sec = (time_t)(at / 1000000000),
				      .tv_nsec = (long)(at % 1000000000) };

		if ((pthread_cond_timedwait(&y->tick, &y->lock, &t) != ETIMEDOUT &&
		     !atomic_exchange(&y->poked, false)) ||
		    y->stop)
			continue;
		pthread_mutex_unlock(&y->lock);
		if (dirty(s) && !run_sync(s, false, true))
			trim_some(s);
		pthread_mutex_lock(&y->lock);
	}
	pthread_mutex_unlock(&y->lock);
	return NULL;
}

void vex_store_tune(struct vex_store *s, enum vex_sync_mode sync, uint32_t interval_ms)
{
	SCOPED_LOCK(&s->syncer.lock);
	atomic_store(&s->sync, sync);
	atomic_store(&s->interval_ms, interval_ms);
	pthread_cond_signal(&s->syncer.tick);
}

vex_err sync_start(struct vex_store *s)
{
	vex_err err =
	    vex_thread_start(&s->syncer.timer, "vex-sync", (size_t)128 << 10, timer, s);

	s->syncer.has_timer = !err;
	return err;
}

void sync_stop(struct vex_store *s)
{
	struct syncer *y = &s->syncer;

	pthread_mutex_lock(&y->lock);
	y->stop = true;
	pthread_cond_broadcast(&y->tick);
	pthread_mutex_unlock(&y->lock);
	if (y->has_timer)
		pthread_join(y->timer, NULL);
	y->has_timer = false;
}
