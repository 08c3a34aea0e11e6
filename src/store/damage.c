/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling of damage: by file name and slot, a bounded number of lines a mount.
 */
#include "store_i.h"

#define LINES_MAX 20u

void problem_set(struct vex_problem *p, const char *fmt, ...)
{
	va_list ap;

	if (!p)
		return;
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
}

struct line {
	struct vex_store *s;
	const char *fmt;
	va_list ap;
};

static VEX_APART vex_err put_line(void *arg)
{
	struct line *l = arg;
	struct vex_store *s = l->s;
	char text[192];
	unsigned line;

	vex_deep_only();
	vsnprintf(text, sizeof(text), l->fmt, l->ap);
	pthread_mutex_lock(&s->damage_lock);
	line = s->damage_lines++;
	if (line < DAMAGE_KEPT &&
	    asprintf(&s->damage_line[line], "%.180s/" FMT_DIR "/%s", s->path, text) < 0)
		s->damage_line[line] = NULL;
	pthread_mutex_unlock(&s->damage_lock);
	if (line < LINES_MAX)
		vex_error("%s/" FMT_DIR "/%s", s->path, text);
	else if (line == LINES_MAX)
		vex_error("%s/" FMT_DIR ": more damage, not listed", s->path);
	return 0;
}

void damage_log(struct vex_store *s, const char *fmt, ...)
{
	struct line l = { .s = s, .fmt = fmt };

	va_start(l.ap, fmt);
	/* Too many at once: the damage is counted, this line of it is not told. */
	(void)!vex_deep_call(put_line, &l);
	va_end(l.ap);
}

void damage_slot(struct vex_space *sp, uint64_t slot, const char *file, const char *why)
{
	bool first = true;

	pthread_rwlock_wrlock(&sp->store->pub);
	if (slot >= sp->bitmap_slots) {
		sp->damaged++;
	} else {
		first = !bit_get(sp->bad, slot);
		sp->damaged += first;
		sp->live_rows -= bit_get(sp->live, slot);
		bit_set(sp->bad, slot);
		bit_clear(sp->live, slot);
		sp->bits_changed++;
	}
	pthread_rwlock_unlock(&sp->store->pub);
	if (first)
		damage_log(sp->store, FMT_SPACES "/%u.%s: slot %llu: %s", sp->id, file,
			   (unsigned long long)slot, why);
}

void damage_problem(struct vex_store *s, struct vex_problem *problem)
{
	SCOPED_LOCK(&s->damage_lock);
	const char *first = s->damage_line[0];

	if (s->damage_lines && !first)
		first = "damage in " FMT_DIR ", see the log";
	if (s->damage_lines > 1)
		problem_set(problem, "%.400s (and %u more)", first, s->damage_lines - 1);
	else if (s->damage_lines)
		problem_set(problem, "%.400s", first);
}

void damage_free(struct vex_store *s)
{
	for (unsigned i = 0; i < DAMAGE_KEPT; i++)
		free(s->damage_line[i]);
}

void vex_store_problems(struct vex_store *s, void (*fn)(void *, const char *), void *arg)
{
	SCOPED_LOCK(&s->damage_lock);
	for (unsigned i = 0; i < DAMAGE_KEPT; i++)
		if (s->damage_line[i])
			fn(arg, s->damage_line[i]);
}
