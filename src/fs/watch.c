/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of STORE that are watched, so that the kernel may believe what it was told
 * of what is in them for a minute instead of a second: a change behind the mount is told
 * to it when it happens.
 *
 * A directory is watched (fanotify, an inode mark that also covers its children) once it
 * was listed, or many of its names were looked up: then it will be again. Of what happens
 * in it each event names the directory, the name and the object, by file handles, which
 * are our node ids. What this daemon does itself the kernel knows already. What clients
 * write by pass-through looks like anybody's writing: a file that is being written so
 * gets a mark to ignore that (each write(2) would cost a third more), and its attributes
 * are believed for a second only.
 *
 * Not to be seen this way, hence a second as before: files with several links (they
 * change by names elsewhere), files that were mapped to be written (stores make no
 * events), directories that are not watched themselves, what is mounted below STORE.
 *
 * What is told of an object must have been looked at after the watching began: so whether
 * a directory is watched is asked before each look (`told`), and for its own attributes
 * it counts after a second.
 *
 * An answer given just before a change may reach the kernel's memory just after we told
 * it of the change. So it is told twice, the second time a second later. Where events
 * were lost, and where there are more marks than we want to have (they pin inodes of
 * STORE), everything known is told.
 *
 * `generation`: a directory is watched if its own number is this one; so all watching
 * ends at once by raising it. One thread reads events; marks are made by request threads.
 */
#include "fs_i.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>

#define MARKS_MAX 32768u
#define ECHOES_MAX 16384u
#define ECHO_MS 1000u
#define BATCH_MS 20
#define WATCH_STACK ((size_t)262144)
#define NAMES_WATCHED (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)
#define ALL_WATCHED                                                                      \
	(NAMES_WATCHED | FAN_MODIFY | FAN_ATTRIB | FAN_ONDIR | FAN_EVENT_ON_CHILD)

/* What the kernel is told: of a name in `parent` if that is not 0, and of attributes of
 * `id` if that is not 0. */
struct told {
	uint64_t parent, id;
	char *name;
	uint32_t due; /* clock_ms: when it is told again */
};

struct watch {
	struct vex_fs *fs;
	int fan, stop; /* fanotify, eventfd */
	pthread_t thread;
	_Atomic uint32_t marks;
	_Atomic bool full; /* more marks were wanted */
	/* the thread's own: */
	struct told *echo; /* a ring */
	size_t first, n;
	uint32_t sweep; /* clock_ms: when all is told again; 0: no need */
	char events[65536] __attribute__((aligned(8)));
	/* One of them: the kernel aligns them to 4, their struct wants 8. */
	char event[1024] __attribute__((aligned(8)));
};

/* ---- telling -------------------------------------------------------------------- */

static uint64_t kernel_id(struct vex_fs *fs, uint64_t id)
{
	return id == fs->root->id ? FUSE_ROOT_ID : id;
}

static void tell(struct vex_fs *fs, const struct told *t)
{
	uint64_t parent = kernel_id(fs, t->parent);

	if (t->parent && t->name &&
	    fuse_lowlevel_notify_expire_entry(fs->session, parent, t->name,
					      strlen(t->name),
					      FUSE_LL_EXPIRE_ONLY) == -ENOSYS)
		fuse_lowlevel_notify_inval_entry(fs->session, parent, t->name,
						 strlen(t->name));
	/* Of a name it does not know it takes no note: the listing has changed. */
	if (t->parent)
		fuse_lowlevel_notify_inval_inode(fs->session, parent, -1, 0);
	if (t->id)
		fuse_lowlevel_notify_inval_inode(fs->session, kernel_id(fs, t->id), -1,
						 0);
}

/* Of all inodes that the kernel knows. */
static void sweep(struct vex_fs *fs)
{
	for (unsigned k = 0; k < SHARDS; k++) {
		struct inode_at *all;
		size_t n = itable_shard(fs, k, &all);

		for (size_t j = 0; j < n; j++) {
			const struct told t = { all[j].parent, all[j].id, all[j].name,
						0 };

			tell(fs, &t);
			free(all[j].name);
		}
		free(all);
	}
}

static void sweep_now(struct watch *w)
{
	sweep(w->fs);
	w->sweep = clock_ms() + ECHO_MS;
}

/* Now, and again later. */
static void tell_twice(struct watch *w, uint64_t parent, const char *name, uint64_t id)
{
	struct told t = { .parent = parent, .id = id };

	t.name = name ? strdup(name) : NULL;
	tell(w->fs, &t);
	if (w->n == ECHOES_MAX || (name && !t.name)) {
		free(t.name);
		w->sweep = w->sweep ? w->sweep : clock_ms() + ECHO_MS;
		return;
	}
	t.due = clock_ms() + ECHO_MS;
	w->echo[(w->first + w->n++) % ECHOES_MAX] = t;
}

static bool is_due(uint32_t due)
{
	return (int32_t)(clock_ms() - due) >= 0;
}

/* What is due again. False: nothing is left to be told. */
static bool echoes(struct watch *w)
{
	while (w->n && is_due(w->echo[w->first].due)) {
		tell(w->fs, &w->echo[w->first]);
		free(w->echo[w->first].name);
		w->first = (w->first + 1) % ECHOES_MAX;
		w->n--;
	}
	if (w->sweep && is_due(w->sweep)) {
		w->sweep = 0;
		sweep(w->fs);
	}
	return w->n || w->sweep;
}

/* ---- events --------------------------------------------------------------------- */

/* What an event is about: node ids, 0 where it says nothing. */
struct happened {
	uint64_t dir, id;
	const char *name; /* NULL: the directory itself */
};

static uint64_t id_of_handle(struct vex_fs *fs, const struct file_handle *h)
{
	struct vex_fh fh = { .type = h->handle_type };
	uint32_t word[2];
	uint64_t id;

	if (h->handle_bytes > sizeof(fh.bytes) || h->handle_bytes < sizeof(word))
		return 0;
	fh.len = (uint8_t)h->handle_bytes;
	memcpy(fh.bytes, h->f_handle, fh.len);
	memcpy(word, fh.bytes, sizeof(word));
	struct stat st = { .st_dev = fs->root_dev,
			   .st_ino = word[fs->packing == PACK_GEN_INO] };
	return nodeid_pack(fs, &st, &fh, &id) == PACK_NONE ? 0 : id;
}

static void happened_read(struct vex_fs *fs, const struct fanotify_event_metadata *e,
			  struct happened *out)
{
	const char *at = (const char *)e + e->metadata_len;
	const char *end = (const char *)e + e->event_len;

	*out = (struct happened){ 0 };
	while (at + sizeof(struct fanotify_event_info_header) <= end) {
		const struct fanotify_event_info_fid *info = (const void *)at;
		const struct file_handle *fh = (const void *)info->handle;

		if (!info->hdr.len)
			break;
		uint64_t id = id_of_handle(fs, fh);
		if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
			const char *name = (const char *)fh->f_handle + fh->handle_bytes;

			out->dir = id;
			out->name = strcmp(name, ".") ? name : NULL;
		} else if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID) {
			out->dir = id;
		} else if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_FID) {
			out->id = id;
		}
		at += info->hdr.len;
	}
}

/* Pass-through writers have it open: their writes are not told any more. */
static void ignore_writes(struct watch *w, struct inode *i)
{
	AUTO_FD struct fdref ref = FDREF_INIT;

	if (atomic_exchange(&i->ignored, true) || fd_get(w->fs, i, &ref))
		return;
	if (fanotify_mark(w->fan, FAN_MARK_ADD | FAN_MARK_IGNORE_SURV, FAN_MODIFY,
			  AT_FDCWD, vex_procfd(ref.fd).path))
		vex_debug("writes are not ignored: %s", strerror(errno));
}

void watch_closed(struct vex_fs *fs, struct inode *i, int fd)
{
	if (fd >= 0 && fs->watch &&
	    atomic_load_explicit(&i->ignored, memory_order_relaxed) &&
	    !fanotify_mark(fs->watch->fan, FAN_MARK_REMOVE | FAN_MARK_IGNORE_SURV,
			   FAN_MODIFY, AT_FDCWD, vex_procfd(fd).path))
		atomic_store(&i->ignored, false);
}

/* A moved or removed file is no longer known to be here. */
static void lost_name(struct vex_fs *fs, struct inode *i, const struct happened *h)
{
	struct inode *dir = inode_by_id(fs, h->dir, true);

	if (!dir)
		return;
	inode_unname(fs, i, dir, h->name);
	inode_unref(fs, dir, 1);
}

static void handle_event(struct watch *w, const struct fanotify_event_metadata *e)
{
	struct happened h;

	if (e->pid == getpid())
		return;
	happened_read(w->fs, e, &h);
	uint64_t id = h.name ? h.id : h.dir;
	struct inode *i = id ? inode_by_id(w->fs, id, true) : NULL;
	bool names = h.name && e->mask & NAMES_WATCHED;
	if (i && h.name && e->mask & (FAN_MOVED_FROM | FAN_DELETE))
		lost_name(w->fs, i, &h);
	if (i && e->mask & FAN_MODIFY && atomic_load(&i->nwrite))
		ignore_writes(w, i);
	if (i || names)
		tell_twice(w, names ? h.dir : 0, names ? h.name : NULL, i ? id : 0);
	if (i)
		inode_unref(w->fs, i, 1);
}

/* All watching begins anew. */
static void start_over(struct watch *w)
{
	struct vex_fs *fs = w->fs;

	atomic_fetch_add(&fs->generation, 1);
	if (fanotify_mark(w->fan, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL))
		vex_debug("marks stay: %s", strerror(errno));
	atomic_store(&w->marks, 0);
	atomic_store(&w->full, false);
	sweep_now(w);
}

static void read_events(struct watch *w)
{
	ssize_t n;

	while ((n = read(w->fan, w->events, sizeof(w->events))) > 0) {
		const struct fanotify_event_metadata *e = (const void *)w->event;
		const char *p = w->events;

		for (; n >= (ssize_t)sizeof(*e); n -= e->event_len, p += e->event_len) {
			memcpy(w->event, p, sizeof(*e));
			if (e->event_len < sizeof(*e) || e->event_len > n)
				break;
			if (e->event_len <= sizeof(w->event))
				memcpy(w->event, p, e->event_len);
			if (e->mask & FAN_Q_OVERFLOW || e->event_len > sizeof(w->event))
				sweep_now(w);
			else
				handle_event(w, e);
		}
	}
	if (atomic_load(&w->full))
		start_over(w);
}

/* Events are let gather for a moment: most are our own. */
static void *watcher(void *arg)
{
	struct watch *w = arg;
	struct pollfd p[2] = { { .fd = w->stop, .events = POLLIN },
			       { .fd = w->fan, .events = POLLIN } };
	bool more = false;

	for (;;) {
		poll(p, 2, more ? BATCH_MS : -1);
		if (!(p[0].revents & POLLIN) && p[1].revents & POLLIN)
			poll(p, 1, BATCH_MS);
		if (p[0].revents & POLLIN)
			return NULL;
		read_events(w);
		more = echoes(w);
	}
}

/* ---- watching ------------------------------------------------------------------- */

bool watched(const struct vex_fs *fs, const struct inode *dir)
{
	uint32_t g = atomic_load_explicit(&dir->watched, memory_order_relaxed);

	return g && g == atomic_load_explicit(&fs->generation, memory_order_relaxed);
}

bool watched_long(const struct vex_fs *fs, const struct inode *dir)
{
	return watched(fs, dir) &&
	       clock_ms() - atomic_load_explicit(&dir->watched_at, memory_order_relaxed) >
		   ECHO_MS;
}

void watch_dir(struct vex_fs *fs, struct inode *i)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	uint32_t g = atomic_load(&fs->generation);
	struct watch *w = fs->watch;

	if (!w || i->kind != I_BACKED || !S_ISDIR(i->type) || !i->packing ||
	    watched(fs, i))
		return;
	if (atomic_load(&w->marks) >= MARKS_MAX) {
		atomic_store(&w->full, true);
		return;
	}
	if (fd_get(fs, i, &ref))
		return;
	if (fanotify_mark(w->fan, FAN_MARK_ADD | FAN_MARK_ONLYDIR, ALL_WATCHED, ref.fd,
			  ".")) {
		vex_debug("a directory is not watched: %s", strerror(errno));
		return;
	}
	atomic_fetch_add(&w->marks, 1);
	atomic_store(&i->listed, 0); /* what was said then is not believed that long */
	atomic_store(&i->watched_at, clock_ms());
	atomic_store(&i->watched, g);
}

/* ---- start and end -------------------------------------------------------------- */

void watch_start(struct vex_fs *fs)
{
	struct watch *w;

	if (fs->packing == PACK_NONE || !cred_may_pass(fs) || !fs->privileged)
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->fs = fs;
	w->echo = calloc(ECHOES_MAX, sizeof(*w->echo));
	w->stop = eventfd(0, EFD_CLOEXEC);
	w->fan = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK |
				   FAN_REPORT_DFID_NAME_TARGET | FAN_UNLIMITED_MARKS,
			       O_RDONLY | O_CLOEXEC);
	if (w->fan < 0 || w->stop < 0 || !w->echo ||
	    vex_thread_start(&w->thread, "vex-watch", WATCH_STACK, watcher, w)) {
		vex_debug("changes behind the mount are not watched");
		vex_cleanup_fd(&w->fan);
		vex_cleanup_fd(&w->stop);
		free(w->echo);
		free(w);
		return;
	}
	fs->watch = w;
}

void watch_stop(struct vex_fs *fs)
{
	struct watch *w = fs->watch;

	if (!w)
		return;
	eventfd_write(w->stop, 1);
	pthread_join(w->thread, NULL);
	fs->watch = NULL;
	close(w->fan);
	close(w->stop);
	for (; w->n; w->n--, w->first = (w->first + 1) % ECHOES_MAX)
		free(w->echo[w->first].name);
	free(w->echo);
	free(w);
}

uint32_t watch_marks(struct vex_fs *fs)
{
	return fs->watch ? atomic_load(&fs->watch->marks) : 0;
}
