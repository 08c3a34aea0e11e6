/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rebuild: has indexes made anew, and waits. The daemon does it in the background, so an
 * interrupt here ends the waiting, not the work.
 */
#include <time.h>

#include "commands.h"
#include "items.h"
#include "progress.h"
#include "session.h"

static const char help[] =
    "usage: vexctl rebuild [S]\n"
    "\n"
    "Makes the index of space S anew, or of all spaces, and returns when it is done; "
    "the\n"
    "old one serves meanwhile. An interrupt ends the waiting alone. Spaces without an\n"
    "index, being small or flat, are passed over. For root and the owner of the mount.\n";

struct waited {
	uint32_t id, builds;
	char name[VEXFS_NAME_LEN];
};

struct waiting {
	struct waited *v;
	uint32_t n, cap;
};

static void pause_ms(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static void note(struct waiting *w, const struct vexfs_space *space)
{
	if (space->index_state == VEXFS_STATE_EXACT)
		return;
	if (w->n == w->cap) {
		struct waited *v = cli_alloc(w->cap * 2 + 8, sizeof(*v));

		if (w->n)
			memcpy(v, w->v, w->n * sizeof(*v));
		free(w->v);
		w->v = v;
		w->cap = w->cap * 2 + 8;
	}
	w->v[w->n].id = space->id;
	w->v[w->n].builds = space->index_builds;
	memcpy(w->v[w->n].name, space->name, sizeof(space->name));
	w->v[w->n++].name[VEXFS_NAME_LEN - 1] = 0;
}

/* The spaces that have an index, before it is rebuilt. */
static int note_all(struct session *s, struct waiting *w)
{
	AUTO_FREE struct vexfs_space_list *list = cli_alloc(1, sizeof(*list));
	uint32_t after = 0;

	do {
		int err;

		memset(list, 0, sizeof(*list));
		list->after = after;
		err = session_call(s, VEXFS_IOC_SPACE_LIST, list);
		if (err)
			return session_error(s, err, "list");
		for (uint32_t i = 0; i < list->count && i < VEXFS_SPACES_A_CALL; i++) {
			note(w, &list->spaces[i]);
			after = list->spaces[i].id;
		}
	} while (list->more && list->count);
	return 0;
}

static int note_one(struct session *s, const char *name, struct waiting *w)
{
	struct vexfs_space space = { 0 };
	int err = session_space(s, name, &space);

	if (err)
		return session_error(s, err, name);
	note(w, &space);
	return 0;
}

/* Until the space's index is another one, or it has none any more. */
static int await(struct session *s, const struct waited *w, struct progress *p)
{
	for (;;) {
		struct vexfs_space space = { 0 };
		int err = session_space(s, w->name, &space);

		if (err == -ENODEV || (!err && space.id != w->id))
			return 0;
		if (err)
			return session_error(s, err, w->name);
		if (space.index_state == VEXFS_STATE_FAILED)
			return cli_error("space %s: its index could not be made: "
					 "searches are exact",
					 w->name);
		if (space.index_builds != w->builds)
			return 0;
		progress_at(p, space.rows * space.progress / 1000, space.progress);
		pause_ms(50);
	}
}

static void announce(const struct vexfs_rebuild *c)
{
	char rows[32], seconds[48] = "";

	if (c->seconds)
		snprintf(seconds, sizeof(seconds), ", some %llu s of CPU",
			 (unsigned long long)c->seconds);
	cli_note("%u index%s of %s rows, %llu MB%s", c->spaces,
		 c->spaces == 1 ? "" : "es", progress_count(c->rows, rows),
		 (unsigned long long)(c->bytes >> 20), seconds);
}

static int run(struct session *s, const char *name, struct waiting *w)
{
	struct vexfs_rebuild c = { 0 };
	struct progress p;
	int err = name ? note_one(s, name, w) : note_all(s, w);

	if (err)
		return err;
	if (name)
		snprintf(c.space, sizeof(c.space), "%s", name);
	err = session_call(s, VEXFS_IOC_REBUILD, &c);
	if (err)
		return session_error(s, err, name ? name : "rebuild");
	announce(&c);
	for (uint32_t i = 0; !err && i < w->n; i++) {
		progress_start(&p, 1000);
		err = await(s, &w->v[i], &p);
		progress_end(&p);
	}
	return err ? err : CLI_OK;
}

int cmd_rebuild(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	struct waiting w = { 0 };
	int code = options_parse(in, none, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("what is '%s'?", in->args[1]);
	if (in->nargs && !space_name_ok(in->args[0]))
		return cli_error("bad space name '%s'", in->args[0]);
	code = mount_find(in, NULL, &m);
	if (!code)
		code = session_open(&m, &s);
	if (!code)
		code = run(&s, in->nargs ? in->args[0] : NULL, &w);
	free(w.v);
	return code;
}
