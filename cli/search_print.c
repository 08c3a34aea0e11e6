/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search_print: the output forms. Records are checked before they are read: a daemon
 * of another version must not crash us.
 */
#include "json.h"
#include "search.h"

void printer_free(struct printer *p)
{
	buf_free(&p->line);
}

static bool many(const struct printer *p)
{
	return p->opts->nqueries > 1;
}

static const char *metric_name(uint32_t metric)
{
	static const char *const names[] = { "cosine", "l2",      "ip",
					     "l1",     "hamming", "jaccard" };

	return metric < ARRAY_SIZE(names) ? names[metric] : "?";
}

static void line_hit(struct printer *p, const struct vexfs_hit *h)
{
	const char *path = vexfs_hit_path(h);

	buf_fmt(&p->line, "%.9g\t", (double)h->distance);
	buf_add(&p->line, path, h->path_len);
	if (h->key_len || h->row) {
		buf_str(&p->line, "\t");
		buf_add(&p->line, vexfs_hit_key(h), h->key_len);
		buf_fmt(&p->line, "\t%u", h->row);
	}
	buf_str(&p->line, "\n");
}

static void json_hit(struct printer *p, const struct vexfs_hit *h, uint32_t query)
{
	struct buf *b = &p->line;

	buf_str(b, "{");
	if (many(p))
		buf_fmt(b, "\"query\":%u,", query);
	buf_fmt(b, "\"distance\":%.9g,\"similarity\":", (double)h->distance);
	if (p->metric == VEXFS_COSINE)
		buf_fmt(b, "%.9g", 1 - (double)h->distance);
	else
		buf_str(b, "null");
	buf_str(b, ",\"path\":");
	json_string(b, vexfs_hit_path(h), h->path_len);
	buf_str(b, ",\"space\":");
	json_string(b, p->space, strlen(p->space));
	buf_str(b, ",\"key\":");
	if (h->key_len)
		json_string(b, vexfs_hit_key(h), h->key_len);
	else
		buf_str(b, "null");
	buf_fmt(b, ",\"row\":%u,\"stale\":%s}", h->row,
		h->flags & VEXFS_HIT_STALE ? "true" : "false");
}

/* "# query N" for each query up to this one, also those that found nothing. */
static void headings(struct printer *p, uint32_t upto)
{
	if (p->opts->form != FORM_LINES || !many(p))
		return;
	while (p->next_query <= upto)
		buf_fmt(&p->line, "# query %u\n", p->next_query++);
}

static void print_hit(struct printer *p, const struct vexfs_hit *h, uint32_t query)
{
	headings(p, query);
	switch (p->opts->form) {
	case FORM_LINES:
		line_hit(p, h);
		break;
	case FORM_PATHS:
		buf_add(&p->line, vexfs_hit_path(h), h->path_len);
		buf_str(&p->line, "\n");
		break;
	case FORM_NUL:
		buf_add(&p->line, vexfs_hit_path(h), h->path_len + 1);
		break;
	case FORM_JSON:
		buf_str(&p->line, p->printed ? ",\n  " : "\n  ");
		json_hit(p, h, query);
		break;
	case FORM_JSONL:
		json_hit(p, h, query);
		buf_str(&p->line, "\n");
		break;
	}
	p->printed++;
}

static void begin(struct printer *p, const struct vexfs_search *head)
{
	p->begun = true;
	p->metric = head->metric;
	snprintf(p->space, sizeof(p->space), "%.*s", VEXFS_NAME_LEN - 1, head->space);
	if (p->opts->form != FORM_JSON)
		return;
	buf_str(&p->line, "{\"space\":");
	json_string(&p->line, p->space, strlen(p->space));
	buf_fmt(&p->line, ",\"metric\":\"%s\",\"queries\":%u,\"hits\":[",
		metric_name(p->metric), p->opts->nqueries);
}

static void flush(struct printer *p)
{
	fwrite(buf_text(&p->line), 1, p->line.len, stdout);
	buf_clear(&p->line);
}

static bool sound(const struct vexfs_hit *h, size_t left)
{
	return left >= sizeof(*h) && h->size <= left && !(h->size % 8) &&
	       h->size >= sizeof(*h) + 2 + (uint64_t)h->path_len + h->key_len &&
	       !vexfs_hit_path(h)[h->path_len] && !vexfs_hit_key(h)[h->key_len];
}

/* --max-distance beside --min-similarity is ours to keep: see search_run.c. */
static bool too_far(const struct search *o, const struct vexfs_hit *h)
{
	return o->min_given && o->max_given && h->distance > o->max_distance;
}

int printer_hits(struct printer *p, const struct vexfs_search *head, uint32_t base,
		 const void *data, size_t bytes)
{
	const char *at = data;

	if (!p->begun)
		begin(p, head);
	for (size_t left = bytes; left;) {
		const struct vexfs_hit *h = (const void *)at;

		if (!sound(h, left))
			return cli_error("the daemon's reply makes no sense");
		if (!too_far(p->opts, h))
			print_hit(p, h, base + h->query);
		at += h->size;
		left -= h->size;
	}
	flush(p);
	return 0;
}

void printer_cost(struct printer *p, const struct vexfs_search *head)
{
	snprintf(p->plan, sizeof(p->plan), "%.*s", (int)sizeof(head->plan) - 1,
		 head->plan);
	p->cached |= head->out_flags & VEXFS_RESULT_CACHED;
	p->rows = head->rows;
	p->candidates = head->candidates;
	p->distances += head->distances;
	p->nanoseconds += head->nanoseconds;
}

/* After the hits, which are on stdout by then. */
static void explain(const struct printer *p)
{
	fflush(stdout);
	fprintf(stderr,
		"plan: %s\nrows: %llu\ncandidates: %llu\ndistances: %llu\nnanoseconds: "
		"%llu\n%s",
		p->plan, (unsigned long long)p->rows, (unsigned long long)p->candidates,
		(unsigned long long)p->distances, (unsigned long long)p->nanoseconds,
		p->cached ? "cached: yes\n" : "");
}

void printer_end(struct printer *p)
{
	headings(p, p->opts->nqueries - 1);
	if (p->opts->form == FORM_JSON)
		buf_fmt(&p->line, "%s]%s}\n", p->printed ? "\n" : "",
			p->partial ? ",\"partial\":true" : "");
	flush(p);
	fflush(stdout);
	if (p->opts->explain)
		explain(p);
}
