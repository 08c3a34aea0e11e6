/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of directories by node: sets of 4, the oldest of a set goes; 64 sets, or
 * fewer where few descriptors may be open (RLIMIT_NOFILE): a sixteenth of them. An
 * O_PATH descriptor follows its directory through renames, so an entry can only be
 * wrong where the node itself was linked to another inode, or the directory left the
 * store; an entry is believed for a second, and not across a directory rename.
 *
 * Beside it, the nodes that could not be found a moment ago, so that searches which
 * keep meeting them do not look everywhere each time.
 *
 * One mutex; dup(2), and close(2) when descriptors ran out, is all that happens under
 * it. base's relief (close_some) takes it: what is done under it must not ask for that.
 */
#include <sys/resource.h>
#include "names_i.h"

#define SETS 64u
#define WAYS 4u
#define RELIEF 32u
#define LOST 1024u
#define FRESH_NS 1000000000ull

struct entry {
	uint64_t node, moves, since;
	int fd; /* -1: empty */
};

struct dircache {
	pthread_mutex_t lock;
	/* guarded by lock: */
	struct entry v[SETS][WAYS];
	unsigned sets;    /* of them in use: fixed */
	unsigned relieve; /* the set that close_some empties next */
	struct {
		uint64_t node, since;
	} lost[LOST];
	struct vex_relief relief;
};

static unsigned sets_allowed(void)
{
	struct rlimit r;
	rlim_t n;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return 1;
	n = r.rlim_cur / 16 / WAYS;
	return n < 1 ? 1 : n > SETS ? SETS : (unsigned)n;
}

static void clear(struct entry *at)
{
	vex_cleanup_fd(&at->fd);
	*at = (struct entry){ .fd = -1 };
}

/* Empties sets in turn. */
static bool close_some(void *arg)
{
	struct dircache *d = arg;
	unsigned closed = 0;

	SCOPED_LOCK(&d->lock);
	for (unsigned k = 0; k < d->sets && closed < RELIEF; k++) {
		struct entry *set = d->v[d->relieve++ % d->sets];

		for (unsigned j = 0; j < WAYS; j++) {
			closed += set[j].fd >= 0;
			clear(&set[j]);
		}
	}
	return closed > 0;
}

vex_err dircache_new(struct dircache **out)
{
	struct dircache *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	pthread_mutex_init(&d->lock, NULL);
	for (unsigned i = 0; i < SETS; i++)
		for (unsigned j = 0; j < WAYS; j++)
			d->v[i][j].fd = -1;
	d->sets = sets_allowed();
	d->relief = (struct vex_relief){ .close_some = close_some, .arg = d };
	vex_relief_add(&d->relief);
	*out = d;
	return 0;
}

void dircache_free(struct dircache *d)
{
	if (!d)
		return;
	vex_relief_remove(&d->relief);
	for (unsigned i = 0; i < SETS; i++)
		for (unsigned j = 0; j < WAYS; j++)
			clear(&d->v[i][j]);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static uint64_t spread(uint64_t node)
{
	return (node * 0x9e3779b97f4a7c15ull) >> 32;
}

static struct entry *find(struct dircache *d, uint64_t node)
{
	struct entry *set = d->v[spread(node) % d->sets];

	for (unsigned j = 0; j < WAYS; j++)
		if (set[j].fd >= 0 && set[j].node == node)
			return &set[j];
	return NULL;
}

vex_err dircache_get(struct dircache *d, uint64_t node, uint64_t moves, int *fd)
{
	uint64_t now = vex_now_mono();
	SCOPED_LOCK(&d->lock);
	struct entry *at = find(d, node);

	bool good = at && at->moves == moves && now - at->since <= FRESH_NS;

	vex_count(good ? VEX_COUNT_DIRS_HIT : VEX_COUNT_DIRS_MISS, 1);
	if (!good)
		return -ENOENT;
	int copy = fcntl(at->fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0) /* then the other way, which may ask for more */
		return -ENOENT;
	*fd = copy;
	return 0;
}

static struct entry *oldest(struct entry *set)
{
	struct entry *at = &set[0];

	for (unsigned j = 0; j < WAYS; j++) {
		if (set[j].fd < 0)
			return &set[j];
		if (set[j].since < at->since)
			at = &set[j];
	}
	return at;
}

void dircache_put(struct dircache *d, uint64_t node, uint64_t moves, int fd)
{
	uint64_t now = vex_now_mono();
	struct entry gone;
	int mine;

	if (vex_dup(fd, &mine))
		return;
	pthread_mutex_lock(&d->lock);
	struct entry *at = find(d, node);

	if (!at)
		at = oldest(d->v[spread(node) % d->sets]);
	gone = *at;
	*at = (struct entry){ .node = node, .moves = moves, .since = now, .fd = mine };
	pthread_mutex_unlock(&d->lock);
	clear(&gone);
}

void dircache_drop(struct dircache *d, uint64_t node)
{
	struct entry gone = { .fd = -1 };

	pthread_mutex_lock(&d->lock);
	struct entry *at = find(d, node);

	if (at) {
		gone = *at;
		*at = (struct entry){ .fd = -1 };
	}
	pthread_mutex_unlock(&d->lock);
	clear(&gone);
}

bool dircache_lost(struct dircache *d, uint64_t node)
{
	uint64_t now = vex_now_mono();
	SCOPED_LOCK(&d->lock);

	return d->lost[spread(node) % LOST].node == node &&
	       now - d->lost[spread(node) % LOST].since < FRESH_NS;
}

void dircache_lose(struct dircache *d, uint64_t node)
{
	uint64_t now = vex_now_mono();
	SCOPED_LOCK(&d->lock);

	d->lost[spread(node) % LOST].node = node;
	d->lost[spread(node) % LOST].since = now;
}

void dircache_regain(struct dircache *d, uint64_t node)
{
	SCOPED_LOCK(&d->lock);
	if (d->lost[spread(node) % LOST].node == node)
		d->lost[spread(node) % LOST].node = 0;
}

void dircache_clear(struct dircache *d)
{
	SCOPED_LOCK(&d->lock);
	memset(d->lost, 0, sizeof(d->lost));
	for (unsigned i = 0; i < SETS; i++)
		for (unsigned j = 0; j < WAYS; j++)
			clear(&d->v[i][j]);
}
