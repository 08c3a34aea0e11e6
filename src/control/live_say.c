/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of a live query: the difference between the hits told before and those found
 * now. A hit is one path, key and row; so a file that is renamed leaves and enters. First
 * what leaves, then, by rank, what enters or moves, then "ready"; nothing at all where
 * nothing has changed.
 *
 * Hits are compared with all told before where ranks shifted: LIVE_HITS squared numbers,
 * about what one search costs.
 */
#include "live_i.h"

/* ---- what was told ----------------------------------------------------------------- */

void told_free(struct told *t, size_t n)
{
	for (size_t i = 0; t && i < n; i++)
		free(t[i].id);
	free(t);
}

vex_err told_make(const struct vex_result *r, struct told **out)
{
	struct told *t = calloc(r->n + 1, sizeof(*t));

	for (size_t i = 0; t && i < r->n; i++) {
		const struct vex_found *f = &r->hits[i];

		t[i].id_len = f->path_len + 1 + f->key_len + sizeof(f->row);
		t[i].id = malloc(t[i].id_len);
		if (!t[i].id) {
			told_free(t, i);
			return -ENOMEM;
		}
		memcpy(t[i].id, f->path, f->path_len + 1);
		memcpy(t[i].id + f->path_len + 1, f->key, f->key_len);
		memcpy(t[i].id + f->path_len + 1 + f->key_len, &f->row, sizeof(f->row));
		t[i].sum = vex_sum64(0, t[i].id, t[i].id_len);
		t[i].distance = f->distance;
		t[i].stale = f->stale;
	}
	*out = t;
	return t ? 0 : -ENOMEM;
}

static bool same_hit(const struct told *a, const struct told *b)
{
	return a->sum == b->sum && a->id_len == b->id_len &&
	       !memcmp(a->id, b->id, a->id_len);
}

/* Where a hit was, or n: mostly where it is now. */
static size_t was_at(const struct told *old, size_t n, const struct told *t, size_t near)
{
	if (near < n && same_hit(&old[near], t))
		return near;
	for (size_t i = 0; i < n; i++)
		if (same_hit(&old[i], t))
			return i;
	return n;
}

/* ---- lines ------------------------------------------------------------------------- */

static void say_hit(struct vex_buf *b, const char *event, size_t rank,
		    const struct vex_result *r, const struct vex_found *f)
{
	vex_buf_fmt(b, "{\"event\":\"%s\",\"rank\":%zu,", event, rank);
	query_hit_fields(b, r, f);
	vex_buf_str(b, "}\n");
}

static void say_leave(struct vex_buf *b, const struct told *t)
{
	size_t path = strlen(t->id), key = t->id_len - path - 1 - sizeof(uint32_t);
	uint32_t row;

	memcpy(&row, t->id + path + 1 + key, sizeof(row));
	vex_buf_str(b, "{\"event\":\"leave\",\"path\":");
	vex_buf_json(b, t->id, path);
	vex_buf_str(b, ",\"key\":");
	if (key)
		vex_buf_json(b, t->id + path + 1, key);
	else
		vex_buf_str(b, "null");
	vex_buf_fmt(b, ",\"row\":%u}\n", row);
}

void told_say(struct vex_buf *b, const struct vex_result *r, struct told *old,
	      size_t nold, struct told *t)
{
	bool any = false;
	size_t *from = calloc(r->n + 1, sizeof(*from));

	if (!from) {
		b->err = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < r->n; i++) {
		from[i] = was_at(old, nold, &t[i], i);
		if (from[i] < nold)
			old[from[i]].kept = true;
	}
	for (size_t i = 0; i < nold; i++)
		if (!old[i].kept) {
			say_leave(b, &old[i]);
			any = true;
		}
	for (size_t i = 0; i < r->n; i++) {
		const struct told *o = from[i] < nold ? &old[from[i]] : NULL;

		if (o && from[i] == i && o->distance == t[i].distance &&
		    o->stale == t[i].stale)
			continue;
		say_hit(b, o ? "move" : "enter", i + 1, r, &r->hits[i]);
		any = true;
	}
	free(from);
	if (any || !old)
		vex_buf_fmt(b, "{\"event\":\"ready\",\"hits\":%zu,\"lsn\":%llu}\n", r->n,
			    (unsigned long long)r->lsn);
}
