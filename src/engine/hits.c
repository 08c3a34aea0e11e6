/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer: sorted rows become hits with the file's present path. Each is verified
 * once more here, whatever the pass has asked before: the file is opened by its name,
 * the row's checksum computed. Files are looked up once however many of their rows are
 * hits. Texts go into one buffer, which may move while it grows: until the end hits
 * hold offsets.
 */
#include "search_i.h"

/* A file among the hits. */
struct file_at {
	uint64_t node;
	bool there;
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
};

static void builder_free(struct builder *b)
{
	free(b->files);
	free(b->texts);
	memo_free(&b->by_node);
	memo_free(&b->by_parent);
}

static vex_err text_error(vex_err err)
{
	return err == -EFBIG ? -ENOMEM : err;
}

/* A path whose directory had a hit before begins as that one's did. */
static bool known_dir(struct builder *b, uint64_t parent, struct vex_buf *out)
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
	if (!known_dir(b, p->parent, out)) {
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
	f->path = b->res->text.len;
	err = add_path(b, f, &p);
	if (b->res->text.err)
		return text_error(b->res->text.err);
	if (err)
		return err;
	/* The root itself has a name too, one that a shell can use. */
	if (b->res->text.len == f->path)
		vex_buf_add(&b->res->text, ".", 1);
	f->path_len = (uint32_t)(b->res->text.len - f->path);
	vex_buf_add(&b->res->text, "", 1);
	f->st = p.st;
	f->there = true;
	return text_error(b->res->text.err);
}

static vex_err file_of(struct builder *b, uint64_t node, struct file_at **out)
{
	int at = memo_get(&b->by_node, 0, node);
	vex_err err;

	if (at >= 0) {
		*out = &b->files[at];
		return 0;
	}
	if (b->nfiles == b->capfiles) {
		size_t cap = b->capfiles ? b->capfiles * 2 : 16;
		struct file_at *v = reallocarray(b->files, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		b->files = v;
		b->capfiles = cap;
	}
	*out = &b->files[b->nfiles];
	memset(*out, 0, sizeof(**out));
	(*out)->node = node;
	err = locate(b, *out);
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	memo_put(&b->by_node, 0, node, (int)b->nfiles++);
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

static vex_err add_hit(struct builder *b, const struct vex_hit *h, size_t query,
		       const struct file_at *f, const struct vex_attach *a)
{
	struct vex_result *res = b->res;
	struct vex_slot vs;
	vex_err err = grow(b);

	if (err)
		return err;
	vex_view_slot(&b->s->view, h->slot, &vs);
	b->texts[2 * res->n] = f->path;
	b->texts[2 * res->n + 1] = res->text.len;
	vex_buf_add(&res->text, a->key, a->key_len);
	vex_buf_add(&res->text, "", 1);
	res->hits[res->n++] = (struct vex_found){
		.path_len = f->path_len,
		.key_len = a->key_len,
		.query = (uint32_t)query,
		.row = vs.row,
		.distance = h->distance,
		.ino = f->st.st_ino,
		.stale = stamp_stale(&a->stamp, &f->st),
	};
	return text_error(res->text.err);
}

static vex_err one_hit(struct builder *b, const struct vex_hit *h, size_t query)
{
	AUTO_ATTACH struct vex_attach a = { 0 };
	struct search *s = b->s;
	struct file_at *f;
	int yes = verdict_slot(s, h->slot, &a);
	vex_err err;

	if (yes < 0)
		return yes;
	if (yes) {
		err = file_of(b, a.node, &f);
		if (err)
			return err;
		if (f->there)
			return add_hit(b, h, query, f, &a);
	}
	s->missed |= !s->eager;
	return 0;
}

static vex_err build(struct builder *b)
{
	struct search *s = b->s;
	vex_err err = 0;

	for (size_t t = 0; !err && t < s->ntopk; t++) {
		AUTO_FREE struct vex_hit *chosen = NULL;
		size_t n;
		const struct vex_hit *h = vex_topk_sorted(s->topk[t], &n);

		b->res->truncated |= !s->q->k && n == s->cap;
		if (s->q->mmr) {
			err = mmr_order(s, h, &n, &chosen);
			h = chosen;
		}
		for (size_t i = s->q->offset; !err && i < n && !s->missed; i++)
			err = one_hit(b, &h[i], t);
	}
	return err;
}

static void settle_texts(struct builder *b)
{
	for (size_t i = 0; i < b->res->n; i++) {
		b->res->hits[i].path = b->res->text.data + b->texts[2 * i];
		b->res->hits[i].key = b->res->text.data + b->texts[2 * i + 1];
	}
}

vex_err hits_build(struct search *s)
{
	struct builder b = { .s = s, .res = calloc(1, sizeof(*b.res)) };
	vex_err err;

	vex_reader_begin(s->r);
	err = b.res ? build(&b) : -ENOMEM;
	vex_reader_end(s->r);

	if (!err)
		settle_texts(&b);
	builder_free(&b);
	if (err || s->missed)
		vex_result_free(b.res);
	else
		s->res = b.res;
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
