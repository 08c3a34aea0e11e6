/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked: checks a query, finds its space, its vectors ("like this file"), the
 * directory it is confined to, and its filter. Paths are resolved with the caller's
 * rights; what is wrong is said in a sentence, for the caller's screen.
 */
#include "search_i.h"

#define RANGE_OFFSET_MAX (4u * VEX_K_MAX)
#define HITS_MAX ((uint64_t)1 << 23) /* of all queries of a call */
#define LIKE_ROWS_MAX VEX_BATCH_MAX
#define MMR_PICKS_MAX ((uint64_t)1 << 14)

struct sentence {
	struct vex_problem *to;
	const char *fmt;
	va_list ap;
};

static vex_err write_sentence(void *arg)
{
	struct sentence *t = arg;

	vsnprintf(t->to->text, sizeof(t->to->text), t->fmt, t->ap);
	return 0;
}

void search_say(struct search *s, const char *fmt, ...)
{
	struct sentence t = { .to = s->problem, .fmt = fmt };

	if (!s->problem)
		return;
	va_start(t.ap, fmt);
	(void)!vex_pool_call(s->e->words, write_sentence, &t);
	va_end(t.ap);
}

/* ---- numbers ----------------------------------------------------------------------- */

static vex_err check_range(struct search *s)
{
	const struct vex_query *q = s->q;

	if (!isfinite(q->max_distance)) {
		search_say(s, "a range search (k 0) needs a maximal distance");
		return -EINVAL;
	}
	if (q->offset > RANGE_OFFSET_MAX) {
		search_say(s, "offset %u is above %u", q->offset, RANGE_OFFSET_MAX);
		return -EINVAL;
	}
	s->cap = VEX_K_MAX + q->offset;
	return 0;
}

/* Every query's choice compares each candidate with each one chosen. */
static vex_err check_mmr(struct search *s)
{
	const struct vex_query *q = s->q;

	if (!(q->lambda >= 0 && q->lambda <= 1)) {
		search_say(s, "lambda of a diverse search is not within 0 .. 1");
		return -EINVAL;
	}
	if (!q->k || s->cap > MMR_POOL) {
		search_say(s, "k %u and offset %u: a diverse search gives 1 to %u", q->k,
			   q->offset, MMR_POOL);
		return -EINVAL;
	}
	if (!q->like && (uint64_t)q->nq * s->cap > MMR_PICKS_MAX) {
		search_say(s, "%u diverse queries of %u hits: too many at once", q->nq,
			   s->cap);
		return -ENOMEM;
	}
	s->cap = MMR_POOL;
	return 0;
}

static vex_err check_numbers(struct search *s)
{
	const struct vex_query *q = s->q;

	if (isnan(q->max_distance)) {
		search_say(s, "the maximal distance is not a number");
		return -EINVAL;
	}
	if (!q->k && !q->mmr)
		return check_range(s);
	if (q->k > VEX_K_MAX || q->offset > VEX_K_MAX - q->k) {
		search_say(s, "k %u and offset %u: together at most %u", q->k, q->offset,
			   VEX_K_MAX);
		return -EINVAL;
	}
	s->cap = q->k + q->offset;
	return q->mmr ? check_mmr(s) : 0;
}

static vex_err check_shape(struct search *s)
{
	const struct vex_query *q = s->q;

	if (q->like || s->like_node) {
		if (!q->vectors)
			return 0;
		search_say(s, "either vectors or a file to be like, not both");
		return -EINVAL;
	}
	if (!q->vectors || !q->nq || q->nq > VEX_BATCH_MAX) {
		search_say(s, "%u queries: 1 to %u are possible", q->nq, VEX_BATCH_MAX);
		return -EINVAL;
	}
	if (!q->dim || q->dim > VEX_DIM_MAX) {
		search_say(s, "dimension %u: 1 to %u are possible", q->dim, VEX_DIM_MAX);
		return -EINVAL;
	}
	/* A few queries may each want all; many have to be modest. */
	if (q->k && q->nq * (uint64_t)s->cap > HITS_MAX && q->nq > 1) {
		search_say(s, "%u queries of %u hits: too many at once", q->nq, s->cap);
		return -ENOMEM;
	}
	s->vectors = q->vectors;
	s->nq = q->nq;
	return 0;
}

static vex_err check_vectors(struct search *s)
{
	const uint32_t dim = s->q->dim;

	for (size_t i = 0; i < s->nq * (size_t)dim; i++) {
		if (isfinite(s->vectors[i]))
			continue;
		search_say(s, "element %zu of query %zu is not a finite number", i % dim,
			   i / dim);
		return -EINVAL;
	}
	if (s->spec.metric != VEX_COSINE)
		return 0;
	for (size_t i = 0; i < s->nq; i++) {
		if (vex_norm(s->vectors + i * dim, dim) > 0)
			continue;
		search_say(s, "query %zu is all zeros: under cosine it has no direction",
			   i);
		return -EINVAL;
	}
	return 0;
}

/* ---- the space --------------------------------------------------------------------- */

static void take_space(struct search *s, struct vex_space **sp)
{
	s->space = take_ptr(sp);
	vex_space_spec(s->space, &s->spec);
}

static vex_err space_by_name(struct search *s)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	vex_err err = vex_space_find(s->e->store, s->q->space, &sp);

	if (err == -ENODEV)
		search_say(s, "there is no space %s", s->q->space);
	if (err)
		return err;
	take_space(s, &sp);
	if (!s->vectors || s->spec.dim == s->q->dim)
		return 0;
	search_say(s, "space %s has dimension %u, the query %u", s->spec.name,
		   s->spec.dim, s->q->dim);
	return -EINVAL;
}

/* Names of the choices, joined. */
struct choices {
	char text[400];
	size_t n;
};

static void add_choice(struct choices *c, struct vex_space *sp)
{
	struct vex_space_spec spec;
	size_t len = strlen(c->text);

	vex_space_spec(sp, &spec);
	if (len + sizeof(spec.name) + 8 < sizeof(c->text))
		snprintf(c->text + len, sizeof(c->text) - len, "%s%s", c->n ? ", " : "",
			 spec.name);
	c->n++;
}

static VEX_APART vex_err space_by_dim(struct search *s)
{
	AUTO_SPACE struct vex_space *first = NULL;
	struct choices c = { 0 };
	uint32_t after = 0;

	vex_deep_only();
	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;

		if (vex_space_next(s->e->store, after, &sp))
			break;
		after = vex_space_id(sp);
		if (vex_space_dim(sp) != s->q->dim)
			continue;
		add_choice(&c, sp);
		if (!first)
			first = take_ptr(&sp);
	}
	if (!c.n) {
		search_say(s, "there is no space of dimension %u", s->q->dim);
		return -ENODEV;
	}
	if (c.n > 1) {
		search_say(s, "several spaces have dimension %u, name one: %s", s->q->dim,
			   c.text);
		return -EINVAL;
	}
	take_space(s, &first);
	return 0;
}

/* ---- like this file ------------------------------------------------------------------
 */

struct likes {
	struct search *s;
	struct vex_attach *v;
	size_t n, cap;
	uint64_t rows;
	struct idlist spaces; /* distinct */
};

static bool listed(const struct idlist *l, uint64_t id)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] == id)
			return true;
	return false;
}

static vex_err take_like(void *arg, const struct vex_attach *a)
{
	struct likes *l = arg;
	const struct search *s = l->s;

	if (s->like_key && strcmp(a->key, s->key))
		return 0;
	if (s->space && a->space != vex_space_id(s->space))
		return 0;
	vex_err err = attach_add(&l->v, &l->n, &l->cap, a);
	if (err)
		return err;
	l->rows += a->rows;
	return listed(&l->spaces, a->space) ? 0 : idlist_add(&l->spaces, a->space);
}

/* The file is in one space, or none was asked for by name. */
static vex_err like_space(struct likes *l)
{
	struct search *s = l->s;
	struct choices c = { 0 };

	if (!l->n) {
		search_say(s, "nothing is attached there");
		return -ENODATA;
	}
	for (size_t i = 0; i < l->spaces.n; i++) {
		AUTO_SPACE struct vex_space *sp = NULL;

		if (vex_space_find_id(s->e->store, (uint32_t)l->spaces.v[i], &sp))
			continue;
		add_choice(&c, sp);
		if (!s->space)
			take_space(s, &sp);
	}
	if (!s->space)
		return -ENODATA;
	if (c.n < 2)
		return 0;
	search_say(s, "the file has vectors in several spaces, name one: %s", c.text);
	return -EINVAL;
}

static vex_err like_read(struct likes *l)
{
	struct search *s = l->s;
	size_t done = 0;

	if (l->rows > LIKE_ROWS_MAX) {
		search_say(s, "%llu rows to be like: at most %u",
			   (unsigned long long)l->rows, LIKE_ROWS_MAX);
		return -ENOMEM;
	}
	s->own_vectors = malloc(l->rows * s->spec.dim * sizeof(float));
	if (!s->own_vectors)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++) {
		vex_err err;

		if (l->v[i].space != vex_space_id(s->space))
			continue;
		err = rows_read(s->e, s->space, &l->v[i],
				s->own_vectors + done * s->spec.dim);
		if (err)
			return err;
		done += l->v[i].rows;
	}
	s->vectors = s->own_vectors;
	s->nq = done;
	s->one = true;
	return done ? 0 : -ENODATA;
}

vex_err query_like_rows(struct search *s)
{
	struct likes l = { .s = s };
	vex_err err;

	vex_deep_only();
	err = vex_read_attaches(s->r, s->like_node, take_like, &l);
	if (!err)
		err = like_space(&l);
	if (!err)
		err = like_read(&l);
	free(l.v);
	idlist_free(&l.spaces);
	return err;
}

static bool not_there(vex_err err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -ENAMETOOLONG;
}

/* PATH[:KEY]: the longest path that exists. Cuts s->like_path at the colon. */
static vex_err like_resolve(struct search *s, struct resolved *r)
{
	vex_err err = resolve(s->e, s->q->cred, s->like_path, R_OK, r);
	size_t end = strlen(s->like_path);

	while (not_there(err)) {
		char *colon = memrchr(s->like_path, ':', end);

		if (!colon)
			break;
		end = (size_t)(colon - s->like_path);
		*colon = '\0';
		err = resolve(s->e, s->q->cred, s->like_path, R_OK, r);
		s->like_key = !err;
		s->key = colon + 1;
		if (err)
			*colon = ':';
	}
	return err;
}

vex_err query_like_file(struct search *s)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;
	struct vex_obj o;
	vex_err err;

	vex_deep_only();
	s->like_path = strdup(s->q->like);
	if (!s->like_path)
		return -ENOMEM;
	err = like_resolve(s, &r);
	if (err) {
		search_say(s, "%s: %s", s->q->like, strerror(-err));
		return err;
	}
	resolved_obj(&r, &o);
	err = node_identify(s->e, &o, &s->like_node);
	if (err || s->like_node)
		return err;
	search_say(s, "nothing is attached to %s", s->like_path);
	return -ENODATA;
}

/* ---- below a directory
 * ------------------------------------------------------------------ */

static vex_err find_under(struct search *s)
{
	AUTO_RESOLVED struct resolved r = RESOLVED_INIT;
	const char *under = s->q->under;
	vex_err err;

	if (!under || !*under)
		return 0;
	err = resolve(s->e, s->q->cred, under, 0, &r);
	if (!err && !S_ISDIR(r.st.st_mode))
		err = -ENOTDIR;
	if (err) {
		search_say(s, "%s: %s", under, strerror(-err));
		return err;
	}
	s->under = !is_root(s->e, &r.st);
	s->under_st = r.st;
	if (!s->under)
		return 0;
	err = place_dir_path(s->e, r.fd, &s->under_path);
	return err ? err : node_of_dir(s->e, r.fd, &s->under_node);
}

vex_err query_prepare(struct search *s)
{
	const struct vex_query *q = s->q;
	vex_err err = check_numbers(s);

	if (!err)
		err = check_shape(s);
	if (!err)
		err = where_prepare(s);
	if (!err && q->space && *q->space)
		err = space_by_name(s);
	else if (!err && s->vectors)
		err = space_by_dim(s);
	if (!err && s->vectors)
		err = check_vectors(s);
	if (!err && q->like)
		err = query_like_file(s);
	if (!err && s->like_node)
		err = query_like_rows(s);
	if (!err && q->unlike)
		err = query_unlike(s);
	return err ? err : find_under(s);
}
