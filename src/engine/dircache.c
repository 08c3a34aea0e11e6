/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of directories by node: 64 sets of 4, the oldest of a set goes. An
 * O_PATH descriptor follows its directory through renames, so an entry can only be
 * wrong where the node itself was linked to another inode, or the directory left the
 * store; an entry is believed for a second, and not across a directory rename.
 *
 * Beside it, the nodes that could not be found a moment ago, so that searches which
 * keep meeting them do not look everywhere each time.
 *
 * One mutex; dup(2) is all that happens under it.
 */
#include "names_i.h"

#define SETS 64u
#define WAYS 4u
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
	struct {
		uint64_t node, since;
	} lost[LOST];
};

vex_err dircache_new(struct dircache **out)
{
	struct dircache *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	pthread_mutex_init(&d->lock, NULL);
	for (unsigned i = 0; i < SETS; i++)
		for (unsigned j = 0; j < WAYS; j++)
			d->v[i][j].fd = -1;
	*out = d;
	return 0;
}

void dircache_free(struct dircache *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < SETS; i++)
		for (unsigned j = 0; j < WAYS; j++)
			vex_cleanup_fd(&d->v[i][j].fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static uint64_t spread(uint64_t node)
{
	return (node * 0x9e3779b97f4a7c15ull) >> 32;
}

static struct entry *find(struct dircache *d, uint64_t node)
{
	struct entry *set = d->v[spread(node) % SETS];

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

	if (!at || at->moves != moves || now - at->since > FRESH_NS)
		return -ENOENT;
	return fd_dup(at->fd, fd);
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
	int mine, gone = -1;

	if (fd_dup(fd, &mine))
		return;
	pthread_mutex_lock(&d->lock);
	struct entry *at = find(d, node);

	if (!at)
		at = oldest(d->v[spread(node) % SETS]);
	gone = at->fd;
	*at = (struct entry){ .node = node, .moves = moves, .since = now, .fd = mine };
	pthread_mutex_unlock(&d->lock);
	vex_cleanup_fd(&gone);
}

void dircache_drop(struct dircache *d, uint64_t node)
{
	int gone = -1;

	pthread_mutex_lock(&d->lock);
	struct entry *at = find(d, node);

	if (at)
		gone = take_fd(&at->fd);
	pthread_mutex_unlock(&d->lock);
	vex_cleanup_fd(&gone);
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
