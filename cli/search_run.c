/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search_run: the calls. One small query goes inline, all else is staged; a batch is
 * cut so that no call passes the daemon's limits. What does not fit the reply is read
 * from the session. A range search that met the daemon's limit goes on behind what it
 * gave: so it is always one query a call.
 */
#include "search.h"

#define READ_SIZE ((size_t)256 << 10)
#define HITS_A_CALL (1u << 20)

static uint32_t flags_of(const struct search *o, bool staged)
{
	uint32_t flags = 0;

	flags |= staged ? VEXFS_SEARCH_STAGED : 0;
	flags |= o->like ? VEXFS_SEARCH_LIKE : 0;
	flags |= o->unlike ? VEXFS_SEARCH_UNLIKE : 0;
	flags |= o->exact ? VEXFS_SEARCH_EXACT : 0;
	flags |= o->range ? VEXFS_SEARCH_RANGE : 0;
	flags |= o->fresh ? VEXFS_SEARCH_FRESH : 0;
	flags |= o->no_cache ? VEXFS_SEARCH_NO_CACHE : 0;
	flags |= o->mmr_given ? VEXFS_SEARCH_MMR : 0;
	flags |= o->max_ms_given || o->max_visited_given ? VEXFS_SEARCH_LIMITS : 0;
	flags |= o->recall_given ? VEXFS_SEARCH_RECALL : 0;
	flags |= o->per_file_given && !o->per_file ? VEXFS_SEARCH_ALL_ROWS : 0;
	/* With both, the similarity goes: the daemon knows whether it means anything. */
	if (o->min_given)
		flags |= VEXFS_SEARCH_MIN_SIMILARITY;
	else if (o->max_given)
		flags |= VEXFS_SEARCH_MAX_DISTANCE;
	return flags;
}

/* Appends a string that is there to `data`. */
static uint32_t add_string(uint8_t *data, size_t *at, const char *s, size_t len)
{
	if (!len)
		return 0;
	memcpy(data + *at, s, len + 1);
	*at += len + 1;
	return (uint32_t)len;
}

/* Queries [first, first + n) into the call; what has to be staged is. */
static int prepare(struct session *s, const struct search *o, uint32_t first, uint32_t n,
		   struct vexfs_search *c)
{
	size_t where = o->where ? strlen(o->where) : 0;
	size_t strings =
	    o->like_path.len + o->unlike_path.len + o->under_path.len + where + 4;
	size_t bytes = o->like ? 0 : n * o->queries.cols * sizeof(float);
	const float *v = o->like ? NULL : o->queries.v + first * o->queries.cols;
	bool staged = n > 1 || bytes + strings > sizeof(c->data);

	if (strings > sizeof(c->data))
		return -ENAMETOOLONG;
	if (staged && s->read_only)
		return -EROFS;
	memset(c, 0, sizeof(*c));
	c->flags = flags_of(o, staged);
	c->k = o->range ? 0 : o->k;
	c->dim = o->like ? 0 : (uint32_t)o->queries.cols;
	c->per_file = o->per_file;
	c->ef = o->ef;
	c->recall = o->recall;
	c->max_ms = o->max_ms;
	c->max_visited = o->max_visited;
	c->mmr = o->mmr;
	c->beta = o->beta;
	c->max_distance = o->min_given ? o->min_similarity : o->max_distance;
	if (o->space)
		snprintf(c->space, sizeof(c->space), "%s", o->space);
	if (staged)
		return session_stage(s, v, bytes);
	if (bytes)
		memcpy(c->data, v, bytes);
	return 0;
}

static void add_strings(const struct search *o, struct vexfs_search *c)
{
	bool staged = c->flags & VEXFS_SEARCH_STAGED;
	size_t at = staged || o->like ? 0 : c->dim * sizeof(float);

	c->like_len = add_string(c->data, &at, o->like_path.data, o->like_path.len);
	c->under_len = add_string(c->data, &at, o->under_path.data, o->under_path.len);
	if (o->where)
		c->where_len = add_string(c->data, &at, o->where, strlen(o->where));
	c->unlike_len = add_string(c->data, &at, o->unlike_path.data, o->unlike_path.len);
}

/* The hits behind those that came with the reply. */
static int read_rest(struct session *s, const struct vexfs_search *c, uint32_t base,
		     struct printer *p)
{
	AUTO_FREE char *buf = c->hits < c->total ? cli_alloc(READ_SIZE, 1) : NULL;
	size_t n = 1;
	int err = 0;

	while (buf && n && !err) {
		err = session_read(s, buf, READ_SIZE, &n);
		if (!err)
			err = printer_hits(p, c, base, buf, n);
	}
	return err;
}

/* What a search that met its limits has left in the session. An error has no reply: the
 * page tells the space. */
static int read_partial(struct session *s, uint32_t base, struct printer *p)
{
	AUTO_FREE struct vexfs_page *page = cli_alloc(1, sizeof(*page));
	AUTO_FREE struct vexfs_search *head = cli_alloc(1, sizeof(*head));
	struct vexfs_space space = { 0 };
	int err;

	p->partial = true;
	do {
		memset(page, 0, sizeof(*page));
		err = session_call(s, VEXFS_IOC_NEXT, page);
		if (!err && page->space && !head->space[0]) {
			err = session_space_by_id(s, page->space, &space);
			memcpy(head->space, space.name, sizeof(head->space));
			head->metric = page->metric;
		}
		if (err)
			return session_error(s, err, "search");
		err = printer_hits(p, head, base, page->data, page->bytes);
	} while (!err && page->left);
	return err;
}

/* Queries [first, first + n), and for a range search on until there is no more. */
static int answer(struct session *s, const struct search *o, uint32_t first, uint32_t n,
		  struct vexfs_search *c, struct printer *p)
{
	uint32_t offset = o->offset;
	int err;

	do {
		err = prepare(s, o, first, n, c);
		if (err)
			return session_error(s, err, "query");
		add_strings(o, c);
		c->offset = offset;
		err = session_call(s, VEXFS_IOC_SEARCH, c);
		if (err == -ETIMEDOUT && c->flags & VEXFS_SEARCH_LIMITS)
			return read_partial(s, first, p);
		if (err)
			return session_error(s, err, "search");
		printer_cost(p, c);
		err = printer_hits(p, c, first, c->data, c->bytes);
		if (!err)
			err = read_rest(s, c, first, p);
		offset += (uint32_t)c->total;
	} while (!err && c->out_flags & VEXFS_RESULT_TRUNCATED && c->total);
	return err;
}

static uint32_t chunk_of(const struct session *s, const struct search *o,
			 const struct vexfs_version *limits)
{
	uint64_t n = limits->batch_max ? limits->batch_max : 1;
	uint64_t hits = (uint64_t)o->k + o->offset;
	uint64_t size = o->queries.cols * sizeof(float);

	if (o->range || o->like || o->mmr_given || s->read_only)
		return 1;
	if (n > HITS_A_CALL / hits)
		n = HITS_A_CALL / hits;
	if (n > limits->stage_max / size)
		n = limits->stage_max / size;
	return n ? (uint32_t)n : 1;
}

int search_run(struct session *s, const struct search *o,
	       const struct vexfs_version *limits, struct printer *p)
{
	AUTO_FREE struct vexfs_search *c = cli_alloc(1, sizeof(*c));
	uint32_t chunk = chunk_of(s, o, limits);
	int err = 0;

	for (uint32_t at = 0; !err && !p->partial && at < o->nqueries; at += chunk) {
		uint32_t n = o->nqueries - at < chunk ? o->nqueries - at : chunk;

		err = answer(s, o, at, n, c, p);
	}
	return err;
}
