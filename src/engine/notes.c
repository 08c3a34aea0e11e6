/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes: what happened that changes no attachment, put into the change log so that it
 * has its place in the one order of events. They are committed later and may be lost by
 * a crash, as may be what they tell of: nothing but events reads them.
 */
#include "attach_i.h"
#include "names_i.h"

struct note {
	enum vex_note kind;
	uint64_t node;
	const char *path, *text;
};

static void add(struct vex_engine *e, const struct note *n)
{
	struct vex_change c = { .kind = VEX_NOTE,
				.form = (uint8_t)n->kind,
				.node = n->node,
				.path = n->path,
				.key = n->text ? n->text : "",
				.key_len = n->text ? (uint32_t)strlen(n->text) : 0 };

	vex_store_commit_later(e->store, &c, 1);
}

void note_add(struct vex_engine *e, enum vex_note kind, uint64_t node, const char *path,
	      const char *fmt, ...)
{
	char text[512];
	struct note n = { .kind = kind, .node = node, .path = path, .text = text };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add(e, &n);
}

/* Its path by its directory and name; NULL where it has none now. */
static char *path_of(struct vex_engine *e, int dirfd, const char *name)
{
	AUTO_BUF struct vex_buf b = { 0 };

	if (dirfd < 0 || !name || place_path(e, dirfd, name, &b))
		return NULL;
	vex_buf_add(&b, "", 1);
	return b.err ? NULL : take_ptr(&b.data);
}

void note_at(struct vex_engine *e, enum vex_note kind, uint64_t node, int dirfd,
	     const char *name)
{
	AUTO_FREE char *path = path_of(e, dirfd, name);
	struct note n = { .kind = kind, .node = node, .path = path };

	add(e, &n);
}

void note_rename(struct vex_engine *e, uint64_t node, const struct vex_rename *r)
{
	AUTO_FREE char *from = path_of(e, r->olddirfd, r->oldname);
	AUTO_FREE char *to = path_of(e, r->newdirfd, r->newname);
	struct note n = {
		.kind = VEX_NOTE_RENAME, .node = node, .path = to, .text = from
	};

	add(e, &n);
}

/* Whose file it was goes with it: nobody can ask the file any more. */
void note_unlink(struct vex_engine *e, const struct vex_removal *r)
{
	struct stat st;

	if (fstat(r->fd, &st))
		return;
	note_add(e, VEX_NOTE_UNLINK, r->node, r->path, "%u %o", st.st_uid,
		 st.st_mode & 0777);
}

/* Once until the next attachment: the daemon's memory of it is a small table, so that
 * now and then a file is said to be stale twice. */
void note_stale(struct vex_engine *e, uint64_t node, const struct vex_obj *o)
{
	_Atomic uint64_t *told = &e->stale_told[node % STALE_TOLD];

	if (atomic_exchange(told, node) != node)
		note_at(e, VEX_NOTE_STALE, node, o->dirfd, o->name);
}

void note_fresh(struct vex_engine *e, uint64_t node)
{
	uint64_t was = node;

	atomic_compare_exchange_strong(&e->stale_told[node % STALE_TOLD], &was, 0);
}

bool vex_engine_wants_all(const struct vex_engine *e)
{
	return vex_engine_knob(e, VEX_KNOB_EVENTS) == 1;
}

void vex_engine_file_event(struct vex_engine *e, enum vex_note kind, int dirfd,
			   const char *name)
{
	if (vex_engine_wants_all(e))
		note_at(e, kind, 0, dirfd, name);
}

void vex_engine_rename_event(struct vex_engine *e, const struct vex_rename *r)
{
	if (vex_engine_wants_all(e))
		note_rename(e, 0, r);
}

/* vex_crossing_hook: on a request's small stack, so it only leaves word. */
void note_crossing(void *arg, enum vex_limit l, uint64_t value)
{
	struct vex_engine *e = arg;

	atomic_store(&e->crossed[l], value);
	atomic_store(&e->crossings, true);
}

static void tell_crossing(struct vex_engine *e, enum vex_limit l, uint64_t value)
{
	bool time = !strcmp(vex_limit_unit(l), "ns");

	vex_warn("threshold %s: %.4g %s, above %.4g", vex_limit_name(l),
		 (double)value / (time ? 1e6 : 1), time ? "ms" : vex_limit_unit(l),
		 (double)vex_limit_get(l) / (time ? 1e6 : 1));
	note_add(e, VEX_NOTE_THRESHOLD, 0, NULL, "%s %llu %llu", vex_limit_name(l),
		 (unsigned long long)value, (unsigned long long)vex_limit_get(l));
}

void notes_tell_crossings(struct vex_engine *e)
{
	if (!atomic_exchange(&e->crossings, false))
		return;
	for (enum vex_limit l = 0; l < VEX_LIMIT_NONE; l++) {
		uint64_t value = atomic_exchange(&e->crossed[l], 0);

		if (value)
			tell_crossing(e, l, value);
	}
}
