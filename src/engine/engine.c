/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing the engine: the store, the pools, the root's node, the intents a
 * crash left.
 *
 * Two pools with deep stacks. `pool` does the short work of changes and lookups, which
 * may wait for a commit: more threads than cores let more changes into one group.
 * `scans` runs searches, `threads` at once. Work on `scans` never waits for `pool`,
 * so the two cannot wait for each other.
 */
#include "graph_i.h"
#include "known_i.h"
#include "life_i.h"
#include "vigil_i.h"

/* Below, files are looked at as quickly one by one. */
#define ATTRS_ROWS_MIN 4096u

#define QUEUED_MAX 4096u
#define POOL_MIN 8u

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (unsigned)n : 1;
}

static unsigned threads_of(const struct vex_engine_opts *o)
{
	unsigned n =
	    o->settings ? (unsigned)o->settings->value[VEX_KNOB_THREADS] : o->threads;

	return n ? n : cores();
}

/* What file handles are worth here. */
static vex_err probe_root(struct vex_engine *e, struct vex_fh *fh, struct stat *st)
{
	AUTO_CLOSE int fd = -1;
	vex_err err;

	if (fstat(e->rootfd, st))
		return -errno;
	if (!S_ISDIR(st->st_mode))
		return -ENOTDIR;
	e->root_dev = st->st_dev;
	e->root_ino = st->st_ino;
	err = vex_fh_get(e->rootfd, "", fh, &e->mount_id);
	if (err)
		return err;
	e->handles = fh->len && !vex_fh_open(e->rootfd, fh, O_PATH | O_CLOEXEC, &fd);
	return 0;
}

static vex_err probe_hidden(struct vex_engine *e)
{
	struct stat st;

	if (fstat(vex_store_dirfd(e->store), &st))
		return -errno;
	e->hidden_ino = st.st_ino;
	return 0;
}

static vex_err set_options(struct vex_engine *e, const struct vex_engine_opts *o)
{
	vex_err err = knobs_init(e, o);

	e->owner = o->owner;
	e->attrs_min = o->attrs_rows_min ? o->attrs_rows_min : ATTRS_ROWS_MIN;
	e->graph_floats_min =
	    o->graph_floats_min ? o->graph_floats_min : GRAPH_FLOATS_MIN;
	return err;
}

static vex_err make_parts(struct vex_engine *e, const struct vex_engine_opts *o)
{
	unsigned threads = threads_of(o);
	vex_err err;

	for (unsigned i = 0; i < NODE_LOCKS; i++)
		pthread_mutex_init(&e->node_lock[i], NULL);
	pthread_mutex_init(&e->dirs, NULL);
	pthread_mutex_init(&e->flights, NULL);
	pthread_mutex_init(&e->watch_lock, NULL);
	pthread_mutex_init(&e->late_lock, NULL);
	pthread_mutex_init(&e->covers_lock, NULL);
	err = vex_pool_new(threads > POOL_MIN ? threads : POOL_MIN, QUEUED_MAX,
			   "vexfs-work", &e->pool);
	if (!err)
		err = vex_pool_new(threads, QUEUED_MAX, "vexfs-scan", &e->scans);
	if (!err)
		err = vex_pool_new(1, QUEUED_MAX, "vexfs-words", &e->words);
	if (!err)
		err = dircache_new(&e->dircache);
	if (!err)
		err = knowledge_new(&e->known);
	if (!err)
		err = vigil_new(e->rootfd, &e->vigil);
	if (!err)
		err = vecerrs_new(&e->vecerrs);
	if (!err)
		err = answers_new(&e->answers);
	if (!err)
		err = vacants_new(&e->vacants);
	return err ? err : nodeset_new(&e->dirset);
}

/* Node 1 is the directory STORE, by position: it has no name and needs no mark. */
static vex_err root_node(struct vex_engine *e, const struct vex_fh *fh,
			 const struct stat *st)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_node n = { .id = ROOT_NODE, .is_dir = true };
	struct vex_change c = { .kind = VEX_NODE_SET, .node = ROOT_NODE, .node_in = &n };
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_node(r, ROOT_NODE, &n);
	if (err && err != -ENOENT)
		return err;
	if (err)
		c.kind = VEX_NODE_NEW;
	else if (!n.fh_old && n.ino == st->st_ino &&
		 (vex_fh_equal(&n.fh, fh) || !(n.fh.len | fh->len)))
		return 0;
	e->copied = !err;
	n.fh = *fh;
	n.fh_old = false;
	n.ino = st->st_ino;
	return vex_store_commit(e->store, &c, 1, NULL);
}

struct open_job {
	struct vex_engine *e;
	struct vex_fh fh;
	struct stat st;
};

static vex_err settle(void *arg)
{
	struct open_job *j = arg;
	struct vex_store_status status;
	vex_err err = root_node(j->e, &j->fh, &j->st);

	if (err)
		return err;
	vex_store_status(j->e->store, &status);
	nodeset_add(j->e->dirset, &j->fh, ROOT_NODE);
	if (status.nodes <= 1)
		nodeset_set_complete(j->e->dirset);
	return recover_intents(j->e);
}

static vex_err open_store(struct vex_engine *e, const struct vex_engine_opts *o,
			  struct vex_problem *problem)
{
	struct vex_store_opts so = o->store;

	so.sync = vex_engine_knob(e, VEX_KNOB_SYNC) ? VEX_SYNC_ALWAYS : VEX_SYNC_LAZY;
	so.sync_interval_ms = (uint32_t)vex_engine_knob(e, VEX_KNOB_SYNC_INTERVAL);
	return vex_store_open(e->rootfd, &so, &e->store, problem);
}

static void node_touched(void *arg, uint64_t node)
{
	attrs_touch(arg, node);
}

static vex_err open_in(struct vex_engine *e, const struct vex_engine_opts *o,
		       struct vex_problem *problem)
{
	struct open_job j = { .e = e };
	vex_err err = set_options(e, o);

	if (!err)
		err = make_parts(e, o);
	if (!err)
		err = probe_root(e, &j.fh, &j.st);
	if (!err)
		err = open_store(e, o, problem);
	if (!err) {
		vex_store_watch(e->store, node_touched, engine_changed, e);
		err = probe_hidden(e);
		stamp_probe(e);
	}
	if (!err)
		err = attrs_new(e, &e->attrs);
	if (!err)
		err = engine_deep(e, settle, &j);
	if (!err) {
		knobs_apply(e);
		vex_crossing_hook(note_crossing, e);
	}
	return err ? err : graphs_new(e, threads_of(o), &e->graphs);
}

vex_err vex_engine_open(int rootfd, const struct vex_engine_opts *o,
			struct vex_engine **out, struct vex_problem *problem)
{
	struct vex_problem own = { .text = "" };
	struct vex_engine *e = calloc(1, sizeof(*e));
	vex_err err;

	if (!e)
		return -ENOMEM;
	e->rootfd = rootfd;
	if (!problem)
		problem = &own;
	problem->text[0] = '\0';
	err = open_in(e, o, problem);
	if (err) {
		if (!problem->text[0])
			snprintf(problem->text, sizeof(problem->text),
				 "cannot open the store: %s", strerror(-err));
		vex_engine_close(e);
		return err;
	}
	*out = e;
	return 0;
}

void vex_engine_closing(struct vex_engine *e)
{
	vex_store_closing(e->store);
}

void vex_engine_close(struct vex_engine *e)
{
	struct attrs *attrs;

	if (!e)
		return;
	attrs = e->attrs;
	vex_crossing_hook(NULL, NULL);
	if (e->store && e->pool)
		late_try(e);
	/* The pools first: what is under way still needs the store. */
	if (e->scans)
		vex_pool_free(e->scans);
	if (e->pool)
		vex_pool_free(e->pool);
	attrs_stop(attrs);
	vex_pool_free(e->words);
	graphs_free(e->graphs);
	if (e->store)
		vex_store_close(e->store);
	e->attrs = NULL; /* the writer looks at it until then */
	attrs_free(attrs);
	dircache_free(e->dircache);
	knowledge_free(e->known);
	answers_free(e->answers);
	vigil_free(e->vigil);
	if (e->vecerrs)
		vecerrs_free(e->vecerrs);
	nodeset_free(e->dirset);
	vacants_free(e->vacants);
	for (unsigned i = 0; i < NODE_LOCKS; i++)
		pthread_mutex_destroy(&e->node_lock[i]);
	pthread_mutex_destroy(&e->dirs);
	pthread_mutex_destroy(&e->knobs_lock);
	pthread_mutex_destroy(&e->flights);
	pthread_mutex_destroy(&e->watch_lock);
	pthread_mutex_destroy(&e->late_lock);
	pthread_mutex_destroy(&e->covers_lock);
	free(e->late);
	free(e);
}

struct vex_store *vex_engine_store(struct vex_engine *e)
{
	return e->store;
}
