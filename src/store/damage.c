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

void damage_log(struct vex_store *s, const char *fmt, ...)
{
	char text[192];
	unsigned line;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&s->damage_lock);
	line = s->damage_lines++;
	if (!line)
		snprintf(s->damage_first, sizeof(s->damage_first),
			 "%.180s/" FMT_DIR "/%s", s->path, text);
	pthread_mutex_unlock(&s->damage_lock);
	if (line < LINES_MAX)
		vex_error("%s/" FMT_DIR "/%s", s->path, text);
	else if (line == LINES_MAX)
		vex_error("%s/" FMT_DIR ": more damage, not listed", s->path);
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
	}
	pthread_rwlock_unlock(&sp->store->pub);
	if (first)
		damage_log(sp->store, FMT_SPACES "/%u.%s: slot %llu: %s", sp->id, file,
			   (unsigned long long)slot, why);
}
