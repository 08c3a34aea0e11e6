/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as a whole: opening, closing, numbers about it.
 *
 * Open: directory, lock, catalog, spaces, writer, then the threads that look after
 * themselves. Close is the same backwards; whatever open got to is undone by it, so a
 * failed open needs no other path.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "store_i.h"

#define WAIT_MS 30000u
#define INTERVAL_MS 2000u

static void init_locks(struct vex_store *s)
{
	pthread_rwlockattr_t rw;
	pthread_condattr_t mono;

	/* Readers come all the time: without this the writer would starve. */
	pthread_rwlockattr_init(&rw);
	pthread_rwlockattr_setkind_np(&rw, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->pub, &rw);
	pthread_rwlockattr_destroy(&rw);
	pthread_mutex_init(&s->pins, NULL);
	pthread_mutex_init(&s->readers, NULL);
	pthread_mutex_init(&s->damage_lock, NULL);
	pthread_mutex_init(&s->flush, NULL);
	pthread_mutex_init(&s->syncer.lock, NULL);
	pthread_cond_init(&s->syncer.done, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&s->syncer.tick, &mono);
	pthread_condattr_destroy(&mono);
}

static void destroy_locks(struct vex_store *s)
{
	pthread_cond_destroy(&s->syncer.tick);
	pthread_cond_destroy(&s->syncer.done);
	pthread_mutex_destroy(&s->syncer.lock);
	pthread_mutex_destroy(&s->flush);
	pthread_mutex_destroy(&s->damage_lock);
	pthread_mutex_destroy(&s->readers);
	pthread_mutex_destroy(&s->pins);
	pthread_rwlock_destroy(&s->pub);
	queue_destroy(&s->queue);
}

static struct vex_store *store_new(int rootfd, const struct vex_store_opts *o)
{
	struct vex_store *s = calloc(1, sizeof(*s));
	struct vex_procfd root = vex_procfd(rootfd);
	ssize_t n;

	if (!s)
		return NULL;
	s->rootfd = rootfd;
	s->dirfd = s->spacesfd = s->lockfd = s->walfd = -1;
	s->sync = o->sync;
	s->interval_ms = o->sync_interval_ms ? o->sync_interval_ms : INTERVAL_MS;
	n = readlink(root.path, s->path, sizeof(s->path) - 1);
	snprintf(s->path + (n > 0 ? n : 0), sizeof(s->path) - (size_t)(n > 0 ? n : 0),
		 "%s", n > 0 ? "" : "STORE");
	init_locks(s);
	if (queue_init(&s->queue)) {
		destroy_locks(s);
		free(s);
		return NULL;
	}
	return s;
}

static vex_err open_dir(int at, const char *name, int *out)
{
	int fd;

	if (mkdirat(at, name, 0700) && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*out = fd;
	return 0;
}

static vex_err open_dirs(struct vex_store *s, struct vex_problem *problem)
{
	vex_err err = open_dir(s->rootfd, FMT_DIR, &s->dirfd);

	if (!err)
		err = open_dir(s->dirfd, FMT_SPACES, &s->spacesfd);
	if (err)
		problem_set(problem, "%.180s/" FMT_DIR ": %s", s->path, strerror(-err));
	return err;
}

/* A new store's own directory entries; the rest is for the first sync. */
static vex_err sync_dirs(struct vex_store *s)
{
	return fsync(s->spacesfd) || fsync(s->dirfd) || fsync(s->rootfd) ? -EIO : 0;
}

/* Also the way out of a failed open. */
void vex_store_close(struct vex_store *s)
{
	if (!s)
		return;
	vex_store_closing(s);
	scrub_stop(s);
	sync_stop(s);
	readers_close(s);
	writer_stop(s);
	load_clear(s);
	if (s->lockfd >= 0 && s->mine)
		lock_state(s, "closed");
	for (int *fd = (int[]){ s->walfd, s->spacesfd, s->dirfd, s->lockfd, -2 };
	     *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	destroy_locks(s);
	damage_free(s);
	free(s->mountpoint);
	free(s);
}

static void close_store(struct vex_store **s)
{
	vex_store_close(*s);
}

static vex_err open_catalog(struct vex_store *s, struct vex_problem *problem)
{
	struct sql q = { 0 };
	vex_err err = catalog_open(s, &q, problem);

	if (!err) {
		err = catalog_root(s, &q);
		if (!err)
			err = redo_replay(s, &q);
		if (!err)
			err = load_spaces(s, &q);
		if (!err)
			err = writer_start(s, &q);
		if (err)
			problem_set(problem, "%.180s/" FMT_DIR ": %s", s->path,
				    strerror(-err));
	}
	sql_close(&q);
	return err;
}

vex_err vex_store_open(int rootfd, const struct vex_store_opts *o, struct vex_store **out,
		       struct vex_problem *problem)
{
	__attribute__((cleanup(close_store))) struct vex_store *s = store_new(rootfd, o);
	vex_err err;

	problem_set(problem, "%s", s ? "" : "out of memory");
	if (!s)
		return -ENOMEM;
	err = open_dirs(s, problem);
	if (!err)
		err = lock_take(s, o->wait_ms ? o->wait_ms : WAIT_MS, o->mountpoint,
				problem);
	if (err)
		return err;
	backup_sweep(s);
	reserve_keep(s);
	err = open_catalog(s, problem);
	if (err)
		return err;
	err = sync_dirs(s);
	if (!err)
		err = sync_start(s);
	if (!err)
		err = scrub_start(s);
	if (err) {
		problem_set(problem, "%.180s/" FMT_DIR ": %s", s->path, strerror(-err));
		return err;
	}
	damage_problem(s, problem);
	*out = take_ptr(&s);
	return 0;
}

void vex_store_closing(struct vex_store *s)
{
	if (s->mine && !atomic_exchange(&s->closing, true))
		lock_state(s, "closing");
}

/* ---- numbers ------------------------------------------------------------- */

uint64_t vex_store_new_node(struct vex_store *s)
{
	return atomic_fetch_add(&s->next_node, 1);
}

void vex_store_uuid(const struct vex_store *s, uint8_t out[16])
{
	memcpy(out, s->uuid, sizeof(s->uuid));
}

int vex_store_dirfd(struct vex_store *s)
{
	return s->dirfd;
}

static uint64_t size_at(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, 0) ? 0 : (uint64_t)st.st_size;
}

static uint64_t stripe(uint64_t node)
{
	return (node * 0x9e3779b97f4a7c15ull) >> 48 & (TOUCHED - 1);
}

uint64_t vex_store_moment(const struct vex_store *s)
{
	return atomic_load(&s->moment);
}

bool vex_store_touched(const struct vex_store *s, uint64_t node, uint64_t moment)
{
	return atomic_load(&s->touched[stripe(node)]) > moment;
}

static bool names_it(enum vex_change_kind kind)
{
	return kind >= VEX_NODE_NEW && kind <= VEX_NAME_DEL;
}

/* Who read the catalog as it was before the commit took a moment below this one. */
void touch_nodes(struct vex_store *s, struct request **r, size_t n)
{
	uint64_t moment = atomic_load(&s->moment) + 1;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < r[i]->n; j++) {
			const struct vex_change *c = &r[i]->c[j];
			uint64_t node = c->node_in ? c->node_in->id : c->node;

			if (node)
				atomic_store(&s->touched[stripe(node)], moment);
			if (node && s->watch_touched && names_it(c->kind))
				s->watch_touched(s->watch_arg, node);
		}
	atomic_store(&s->moment, moment);
}

void vex_store_watch(struct vex_store *s, void (*touched)(void *arg, uint64_t node),
		     void (*shown)(void *arg), void *arg)
{
	s->watch_arg = arg;
	s->watch_touched = touched;
	s->watch = shown;
}

uint64_t vex_store_lsn(struct vex_store *s)
{
	return atomic_load(&s->published_now);
}

void vex_store_status(struct vex_store *s, struct vex_store_status *out)
{
	uint32_t id = 0;

	pthread_mutex_lock(&s->damage_lock);
	uint64_t problems = s->damage_lines;
	pthread_mutex_unlock(&s->damage_lock);
	pthread_mutex_lock(&s->queue.lock);
	unsigned queued = s->queue.n;
	pthread_mutex_unlock(&s->queue.lock);
	*out = (struct vex_store_status){
		.problems = problems,
		.queued = queued,
		.wal_frames = atomic_load(&s->wal_frames),
		.last_sync_ns = atomic_load(&s->last_sync),
		.nodes = atomic_load(&s->nodes),
		.lsn = atomic_load(&s->published_now),
		.durable_lsn = atomic_load(&s->durable_lsn),
		.catalog_bytes =
		    size_at(s->dirfd, FMT_CATALOG) + size_at(s->dirfd, FMT_WAL),
		.commits = atomic_load(&s->commits),
		.groups = atomic_load(&s->groups),
		.failed = atomic_load(&s->failed),
	};
	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;
		struct vex_space_counts c;

		if (vex_space_next(s, id, &sp))
			return;
		vex_space_counts(sp, &c);
		out->spaces++;
		out->attachments += c.attachments;
		out->rows += c.rows;
		out->damaged += c.damaged;
		out->slot_bytes += c.bytes;
		id = sp->id;
	}
}
