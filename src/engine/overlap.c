/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes made while names change. A removal or a rename of a file without a node is none
 * of engine's business, and looks at nothing twice; a first attachment looks up where its
 * file is, then commits what it saw. At the same time, the file may be removed and have
 * rows that nobody takes away, or be moved and be known by the name it had.
 *
 * So each side tells the other. Making a node is announced from before the file is looked
 * at until after a last look at it; every successful change of names is counted. Who
 * changed a name, and sees that a node was being made meanwhile, asks the object itself;
 * who made a node, and sees that a name was changed meanwhile, looks at the node again.
 * Of any two that overlap one sees the other, as both are announced before either looks.
 *
 * No locks: two counters.
 */
#include "life_i.h"

#define IN_FLIGHT 0xffffull
#define ONE_MORE (IN_FLIGHT + 1)

/* ---- who makes a node -------------------------------------------------------------- */

void making_begin(struct vex_engine *e, struct making *m)
{
	m->e = e;
	atomic_fetch_add(&e->makings, ONE_MORE + 1);
	m->turns = atomic_load(&e->turns);
}

void making_end(struct making *m)
{
	if (m->e)
		atomic_fetch_sub(&m->e->makings, 1);
	m->e = NULL;
}

bool making_overlapped(const struct making *m)
{
	return atomic_load(&m->e->turns) != m->turns;
}

static vex_err drop(struct vex_engine *e, uint64_t node, bool open)
{
	AUTO_CHANGES struct changes l = { 0 };
	struct vex_change *c;

	if (open) {
		change_state(&l, node, VEX_GOING);
	} else {
		c = changes_add(&l, VEX_NODE_DROP);
		if (c)
			c->node = node;
		dircache_drop(e->dircache, node);
	}
	return changes_commit(e, &l);
}

/* Nameless: without its last name it is as one that was removed. Else place.c notes the
 * name it has. */
void made_look(struct vex_engine *e, uint64_t node, bool open)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_PLACE struct place p = PLACE_INIT;
	struct vex_node n;
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_node(r, node, &n);
	if (err || n.is_dir)
		return;
	if (n.state == VEX_GOING)
		err = open ? 0 : life_settle(e, r, node);
	else if (life_linkage(e, r, &n) == LINK_NONE)
		err = drop(e, node, open);
	else
		err = place_of(e, r, &n, &p);
	if (err && err != -ENOENT)
		vex_debug("node %llu, made while names changed: %s",
			  (unsigned long long)node, strerror(-err));
}

/* ---- who changes names ------------------------------------------------------------- */

uint64_t overlap_moment(struct vex_engine *e)
{
	return atomic_load(&e->makings);
}

/* The change is made: whether a node may have been made since that moment, or before it
 * and not told of yet. */
bool overlap_since(struct vex_engine *e, uint64_t moment)
{
	atomic_fetch_add(&e->turns, 1);
	return moment & IN_FLIGHT || atomic_load(&e->makings) != moment;
}

struct removed_job {
	struct vex_engine *e;
	int fd;
	bool open;
};

static vex_err removed_deep(void *arg)
{
	struct removed_job *j = arg;
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_node n;
	struct mark m;
	struct stat st;
	vex_err err = mark_read(j->fd, &m);

	if (!err)
		err = fstat(j->fd, &st) ? -errno : st.st_nlink ? -ENOENT : 0;
	if (!err)
		err = vex_reader_get(j->e->store, &r);
	if (!err)
		err = vex_read_node(r, m.id, &n);
	if (err || !mark_is(&m, &n))
		return err;
	if (n.state == VEX_GOING && !j->open)
		return life_settle(j->e, r, n.id);
	return n.state == VEX_LIVE ? drop(j->e, n.id, j->open) : 0;
}

void overlap_removed(struct vex_engine *e, int fd, bool open)
{
	struct removed_job j = { .e = e, .fd = fd, .open = open };
	struct mark m;

	if (fd >= 0 && !mark_read(fd, &m))
		(void)!engine_deep(e, removed_deep, &j);
}

struct moved_job {
	struct vex_engine *e;
	int fd, dirfd;
	const char *name;
};

static vex_err moved_deep(void *arg)
{
	struct moved_job *j = arg;
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_obj o = { .fd = j->fd, .dirfd = j->dirfd, .name = j->name };
	uint64_t node;
	struct stat st;
	vex_err err = node_identify(j->e, &o, &node);

	if (err || fstat(j->fd, &st) || !S_ISDIR(st.st_mode))
		return err;
	err = vex_reader_get(j->e->store, &r);
	if (!err)
		dirs_note_names(j->e, r, j->fd);
	return err;
}

void overlap_moved(struct vex_engine *e, int dirfd, const char *name)
{
	AUTO_CLOSE int fd = vex_openat(dirfd, name, O_PATH | O_NOFOLLOW, 0);
	struct moved_job j = { .e = e, .fd = fd, .dirfd = dirfd, .name = name };
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && life_concerns(e, dirfd, name, &st))
		(void)!engine_deep(e, moved_deep, &j);
}
