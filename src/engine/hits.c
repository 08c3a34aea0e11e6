/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer: rows found become hits with the file's present path. Each is verified here,
 * whatever was asked before: the file is found by its name, the row's checksum computed.
 * For one that was a hit before, what is remembered of it says where to look (seat.c);
 * for others the catalog does, which needs a deep stack: on a small one the builder stops
 * there and goes on on a scan thread. Files are looked up once however many of their rows
 * are hits. Texts go into one buffer, which may move while it grows: until the end hits
 * hold offsets.
 *
 * What a scan found has been accepted before, and a hit that falls away here is missed
 * (search.c). What the graph found are candidates: they are judged here, nearest first,
 * until k are accepted, so each is looked at once.
 */
#include "answers_i.h"

/* With so many refused for each hit wanted, a graph may have missed accepted ones; with
 * one for so many, where it was asked for few more than wanted. */
#define REFUSED_MAX 2u
#define REFUSED_FEW 4u

/* A file among the hits. */
struct file_at {
	uint64_t node;
	bool there;            /* and the caller may have it */
	uint32_t query, taken; /* hits of the query of that number */
	size_t path;
	uint32_t path_len;
	uint32_t dir_len; /* of the path, with its slash, where by_parent names it */
	struct stat st;
};

struct builder {
	struct search *s;
	struct vex_result *res;
	struct file_at *files;
	size_t nfiles, capfiles;
	struct memo by_node;   /* index into files */
	struct memo by_parent; /* the first of each directory; index into files */
	size_t *texts;         /* of each hit: path, key */
	size_t cap;
	/* Where it is: */
	size_t query, at, n;        /* of topk; of its hits */
	const struct vex_hit *hits; /* NULL: not begun */
	struct vex_hit *chosen;     /* by mmr; owned */
	size_t accepted, refused;   /* of the query */
	struct vex_buf judged;      /* answer_list of each query so far */
	const char *earlier;        /* the next one's, of s->cached */
	/* Of the hit under way; here, for they would be much on a small stack: */
	struct known known;
	struct vex_attach attach;
};

static void builder_free(struct builder *b)
{
	free(b->files);
	free(b->texts);
	free(b->chosen);
	vex_buf_free(&b->judged);
	memo_free(&b->by_node);
	memo_free(&b->by_parent);
	free(b);
}

static vex_err text_error(vex_err err)
{
	return err == -EFBIG ? -ENOMEM : err;
}

/* A path whose directory had a hit before begins as that one's did. */
static bool dir_of_other(struct builder *b, uint64_t parent, struct vex_buf *out)
{
	int at = memo_get(&b->by_parent, 0, parent);
	struct file_at *f;
	char *room;

	if (at < 0)
		return false;
	f = &b->files[at];
	/* The buffer may move: room first, then look where the other path is. */
	room = vex_buf_room(out, f->dir_len);
	if (room && f->dir_len)
		memcpy(room, out->data + f->path, f->dir_len);
	return true;
}

static vex_err add_path(struct builder *b, struct file_at *f, const struct place *p)
{
	struct vex_buf *out = &b->res->text;
	vex_err err;

	if (!p->parent || !*p->name)
		return place_path(b->s->e, p->dirfd, p->name, out);
	if (!dir_of_other(b, p->parent, out)) {
		err = place_dir_path(b->s->e, p->dirfd, out);
		if (err || out->err)
			return err;
		if (out->len > f->path)
			vex_buf_add(out, "/", 1);
		f->dir_len = (uint32_t)(out->len - f->path);
		memo_put(&b->by_parent, 0, p->parent, (int)(f - b->files));
	}
	vex_buf_str(out, p->name);
	return 0;
}

static vex_err path_done(struct builder *b, struct file_at *f)
{
	struct vex_buf *text = &b->res->text;

	/* The root itself has a name too, one that a shell can use. */
	if (text->len == f->path)
		vex_buf_add(text, ".", 1);
	f->path_len = (uint32_t)(text->len - f->path);
	vex_buf_add(text, "", 1);
	return text_error(text->err);
}

/* Step by step, for what is not where it is known to have been. */
static vex_err locate(struct builder *b, struct file_at *f)
{
	AUTO_PLACE struct place p = PLACE_INIT;
	struct search *s = b->s;
	struct vex_node n;
	vex_err err = vex_read_node(s->r, f->node, &n);

	if (!err && n.state != VEX_LIVE)
		err = -ENOENT;
	if (!err)
		err = place_of(s->e, s->r, &n, &p);
	if (err)
		return err;
	err = add_path(b, f, &p);
	if (b->res->text.err)
		return text_error(b->res->text.err);
	if (!err)
		err = path_done(b, f);
	if (err)
		return err;
	f->st = p.st;
	f->there = true;
	return 0;
}

static VEX_APART vex_err judge(struct builder *b, struct file_at *f)
{
	int yes;

	vex_deep_only();
	yes = b->s->wide ? verdict_node(b->s, f->node) : 1;
	return yes > 0 ? locate(b, f) : yes;
}

/* Where it is known to have been: -EAGAIN where that does not settle it. */
static vex_err find_known(struct builder *b, struct file_at *f)
{
	struct vex_buf *text = &b->res->text;
	struct search *s = b->s;
	int yes;
	vex_err err;

	if (s->eager || ((s->under || s->q->where) && !s->only && !s->cached))
		return -EAGAIN;
	err = seat_find(s, &b->attach, &b->known, text, &f->st);
	if (err)
		return text_error(err);
	f->path_len = (uint32_t)(text->len - f->path - 1);
	yes = s->wide ? seat_may(s, &b->known, text->data + f->path, &f->st) : 1;
	if (yes > 0 && s->wide && (s->only || (s->cached && (s->under || s->q->where))))
		yes = cands_confirm(s, f->node, text->data + f->path, &f->st);
	if (yes < 0)
		text->len = f->path;
	f->there = yes > 0;
	return yes < 0 ? yes : 0;
}

static bool fatal(vex_err err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -EAGAIN;
}

static vex_err room_for_file(struct builder *b)
{
	size_t cap = b->capfiles ? b->capfiles * 2 : 16;
	struct file_at *v;

	if (b->nfiles < b->capfiles)
		return 0;
	v = reallocarray(b->files, cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	b->files = v;
	b->capfiles = cap;
	return 0;
}

static struct file_at *seen(struct builder *b, uint64_t node)
{
	int at = memo_get(&b->by_node, 0, node);

	return at >= 0 ? &b->files[at] : NULL;
}

/* The file of b->attach; known: b->known says where it was. */
static vex_err file_of(struct builder *b, bool known, struct file_at **out)
{
	const struct vex_attach *a = &b->attach;
	vex_err err = room_for_file(b);
	struct file_at *f;

	if (err)
		return err;
	f = *out = &b->files[b->nfiles];
	*f = (struct file_at){ .node = a->node, .path = b->res->text.len };
	err = known ? find_known(b, f) : -EAGAIN;
	if (err == -EAGAIN && b->s->r)
		err = judge(b, f);
	if (fatal(err))
		return err;
	memo_put(&b->by_node, 0, a->node, (int)b->nfiles++);
	return 0;
}

static vex_err grow(struct builder *b)
{
	size_t cap = b->cap ? b->cap * 2 : 32;
	struct vex_found *hits;
	size_t *texts;

	if (b->res->n < b->cap)
		return 0;
	hits = reallocarray(b->res->hits, cap, sizeof(*hits));
	if (!hits)
		return -ENOMEM;
	b->res->hits = hits;
	texts = reallocarray(b->texts, cap, 2 * sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	b->texts = texts;
	b->cap = cap;
	return 0;
}

static vex_err add_hit(struct builder *b, const struct vex_hit *h, uint32_t row,
		       const struct file_at *f)
{
	const struct vex_attach *a = &b->attach;
	struct vex_result *res = b->res;
	vex_err err = grow(b);

	if (err)
		return err;
	b->texts[2 * res->n] = f->path;
	b->texts[2 * res->n + 1] = res->text.len;
	vex_buf_add(&res->text, a->key, a->key_len);
	vex_buf_add(&res->text, "", 1);
	res->hits[res->n++] = (struct vex_found){
		.path_len = f->path_len,
		.key_len = a->key_len,
		.query = (uint32_t)b->query,
		.row = row,
		.distance = h->distance,
		.ino = f->st.st_ino,
		.stale = stamp_stale(&a->stamp, &f->st),
	};
	return text_error(res->text.err);
}

/* The attachment of a row that is to be a hit, as verdict_slot: by what is remembered, or
 * by the catalog: -EAGAIN where it cannot be asked. *known: so is where its file was. */
static int attachment_of(struct builder *b, uint64_t slot, const struct vex_slot *vs,
			 bool *known)
{
	struct search *s = b->s;
	struct vex_attach *a = &b->attach;
	struct known *k = &b->known;

	*known = known_get(s->e->known, vs->lsn, k) &&
		 !vex_store_touched(s->e->store, vs->node, k->moment);
	if (*known)
		seat_attachment(s, k, vs, a);
	else if (!s->r)
		return -EAGAIN;
	else
		*known = !seat_read(s, vs->lsn, a, k);
	return *known ? verdict_row(s, slot, vs, a) : verdict_slot(s, slot, a);
}

/* Whether its file has its share of the query's hits: a candidate then, not a hit. */
static bool crowded(const struct builder *b, const struct file_at *f)
{
	uint32_t share = b->s->q->per_file;

	return b->s->wide && share && f->query == b->query && f->taken >= share;
}

static void count_taken(struct builder *b, struct file_at *f)
{
	if (f->query != b->query)
		f->taken = 0;
	f->query = (uint32_t)b->query;
	f->taken++;
}

/* 1: a hit; 0: none, or passed over (*skipped). */
static int try_hit(struct builder *b, const struct vex_hit *h, bool *skipped)
{
	struct search *s = b->s;
	struct file_at *f;
	struct vex_slot vs;
	bool known;
	vex_err err;
	int yes;

	/* Of an earlier answer: it may be gone since. */
	*skipped = !vex_view_live(&s->view, h->slot);
	if (*skipped)
		return 0;
	vex_view_slot(&s->view, h->slot, &vs);
	*skipped = s->wide && verdict_excluded(s, vs.node);
	f = seen(b, vs.node);
	*skipped |= f && crowded(b, f);
	if (*skipped)
		return 0;
	yes = attachment_of(b, h->slot, &vs, &known);
	if (yes <= 0)
		return yes;
	err = f ? 0 : file_of(b, known, &f);
	if (err || !f->there || (s->q->fresh && stamp_stale(&b->attach.stamp, &f->st)))
		return err;
	count_taken(b, f);
	if (b->accepted++ < s->q->offset)
		return 1;
	err = add_hit(b, h, vs.row, f);
	return err ? err : 1;
}

/* Whether the candidates have given the answer. Those of a scan are the nearest rows,
 * whoever of them was refused. */
static bool filled(const struct builder *b)
{
	const struct search *s = b->s;
	size_t most = s->wider ? (size_t)REFUSED_MAX * s->cap : s->cap / REFUSED_FEW + 1;

	return b->accepted >= s->cap && (s->scans || b->refused <= most);
}

/* The same of an earlier answer's rows. */
static bool still_filled(const struct builder *b)
{
	const struct answer *a = b->s->cached;

	if (a->how & ANSWER_WHOLE)
		return b->accepted == b->n;
	return b->accepted >= b->s->cap || a->how & ANSWER_ALL;
}

static bool out_of_time(struct search *s)
{
	if (!s->build_until || vex_now_mono() < s->build_until)
		return false;
	return s->bound.met = true;
}

/* The hits of one query, from where it stopped; those a scan accepted are counted from
 * the offset on. */
static vex_err build_query(struct builder *b)
{
	struct search *s = b->s;

	for (; b->at < b->n && b->accepted < s->cap && !s->missed; b->at++) {
		if (out_of_time(s))
			break;
		bool skipped;
		int yes = try_hit(b, &b->hits[b->at], &skipped);

		if (yes < 0)
			return yes;
		b->refused += !yes && !skipped;
		s->missed |= !yes && !s->wide && !s->eager && !s->bound.met;
	}
	if (s->cached)
		return still_filled(b) ? 0 : -ENODATA;
	return s->wide && !s->whole && !s->bound.met && !filled(b) ? -ENODATA : 0;
}

/* Records and what is remembered lie all over memory: the waits for the candidates that
 * are likely hits overlap, where one after the other would be three each. */
static void expect(struct builder *b)
{
	struct search *s = b->s;
	size_t n = vex_min64(b->n, s->cap + 2u);
	struct vex_slot vs;

	for (size_t i = 0; i < n; i++)
		vex_view_expect(&s->view, b->hits[i].slot);
	for (size_t i = 0; i < n; i++) {
		vex_view_slot(&s->view, b->hits[i].slot, &vs);
		known_expect(s->e->known, vs.lsn);
		vigil_expect(s->e->vigil, vs.node);
	}
	for (size_t i = 0; i < n; i++) {
		vex_view_slot(&s->view, b->hits[i].slot, &vs);
		known_expect_soon(s->e->known, vs.lsn);
	}
}

static vex_err begin_cached(struct builder *b)
{
	const struct answer_list *l = (const void *)b->earlier;

	b->hits = l->hits;
	b->n = l->n;
	b->earlier += sizeof(*l) + l->n * sizeof(l->hits[0]);
	b->at = b->accepted = b->refused = 0;
	expect(b);
	return 0;
}

static vex_err begin_query(struct builder *b)
{
	struct search *s = b->s;
	vex_err err = 0;

	if (s->cached)
		return begin_cached(b);
	err = graph_later(s, b->query);
	if (err)
		return err;
	b->hits = vex_topk_sorted(s->topk[b->query], &b->n);
	b->res->truncated |= !s->q->k && b->n == s->cap;
	if (s->q->mmr) {
		free(take_ptr(&b->chosen));
		err = mmr_order(s, b->hits, &b->n, &b->chosen);
		b->hits = b->chosen;
	}
	if (s->wide)
		expect(b);
	b->at = s->wide ? 0 : vex_min64(s->q->offset, b->n);
	b->accepted = b->at;
	b->refused = 0;
	return err;
}

/* A query is through: what was judged for it may answer it another time. */
static void note_judged(struct builder *b)
{
	struct answer_list l = { .n = b->at };

	if (!b->s->keep || b->s->cached || b->judged.len > ANSWER_MAX)
		return;
	vex_buf_add(&b->judged, &l, sizeof(l));
	if (b->at && b->at <= ANSWER_MAX / sizeof(*b->hits))
		vex_buf_add(&b->judged, b->hits, b->at * sizeof(*b->hits));
	else if (b->at)
		b->s->keep = false;
}

/* Goes on where it stopped. -EAGAIN: on a deep stack, with a reader. */
static vex_err build(struct builder *b)
{
	struct search *s = b->s;
	size_t queries = s->cached ? (s->one ? 1 : s->nq) : s->ntopk;

	for (; b->query < queries && !s->missed; b->query++) {
		vex_err err = b->hits ? 0 : begin_query(b);

		if (!err)
			err = build_query(b);
		if (err)
			return err;
		note_judged(b);
		b->hits = NULL;
	}
	return 0;
}

/* The moment comes first: what is learned holds from then on. */
static VEX_APART vex_err build_deep(void *arg)
{
	struct builder *b = arg;
	struct search *s = b->s;
	bool borrowed = !s->r;
	vex_err err = 0;

	vex_deep_only();
	s->moment = vex_store_moment(s->e->store);
	if (!s->r)
		err = vex_reader_get(s->e->store, &s->r);
	if (err)
		return err;
	vex_reader_begin(s->r);
	err = build(b);
	vex_reader_end(s->r);
	/* Who asked for it has a small stack, and the reader may be one too many. */
	if (borrowed)
		vex_reader_put(take_ptr(&s->r));
	return err;
}

static void settle_texts(struct builder *b)
{
	for (size_t i = 0; i < b->res->n; i++) {
		b->res->hits[i].path = b->res->text.data + b->texts[2 * i];
		b->res->hits[i].key = b->res->text.data + b->texts[2 * i + 1];
	}
}

static vex_err builder_new(struct search *s, struct builder **out)
{
	struct builder *b = calloc(1, sizeof(*b));
	struct vex_result *res = calloc(1, sizeof(*res));

	if (!b || !res) {
		free(b);
		free(res);
		return -ENOMEM;
	}
	b->s = s;
	b->res = res;
	b->earlier = s->cached ? answer_judged(s->cached) : NULL;
	*out = b;
	return 0;
}

vex_err hits_build(struct search *s)
{
	struct builder *b;
	struct vex_result *res;
	vex_err err = builder_new(s, &b);

	if (err)
		return err;
	vigil_look(s->e->vigil);
	s->now = vex_now_mono();
	s->watches = s->nq ? s->nq : 1;
	if (s->r)
		err = build_deep(b);
	else
		err = build(b);
	if (err == -EAGAIN && !s->r)
		err = vex_pool_call(s->e->scans, build_deep, b);
	if (!err)
		settle_texts(b);
	if (!err && !s->missed && s->keep && !s->cached && !b->res->truncated)
		answers_keep(s, &b->judged);
	res = b->res;
	builder_free(b);
	if (err || s->missed)
		vex_result_free(res);
	else
		s->res = res;
	return err;
}

void vex_result_free(struct vex_result *r)
{
	if (!r)
		return;
	free(r->hits);
	vex_buf_free(&r->text);
	free(r);
}
