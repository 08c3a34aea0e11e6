/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOUNT/.vexfs/query: write a JSON request, read a JSON answer. What was written since
 * the last answer is the request; the first read(2) runs it; read(2) gives 0 behind the
 * answer; the next write(2) begins anew and drops what was not read. A request that is
 * wrong is answered too: {"error": ...}. docs/vexfs.8 has the fields.
 *
 * The search is run with the rights of who reads, and only for the user and group who
 * wrote: else a program with other rights that is made to read, or to write, a
 * descriptor it was given would lend them.
 *
 * The answer is made as it is read, some KiB at a time: what the session holds is the
 * result, charged as one of an ioctl is.
 */
#include "query_i.h"

#define PIECE ((size_t)64 << 10)

/* ---- the answer ------------------------------------------------------------------ */

static void error_text(struct vex_session *s, vex_err err)
{
	const char *name = strerrorname_np(-err), *text = s->error.text;

	if (!*text)
		text = strerrordesc_np(-err);
	if (!text)
		text = "unknown error";
	vex_buf_fmt(&s->text, "{\"error\":{\"errno\":%d,\"name\":\"%s\",\"text\":", -err,
		    name ? name : "?");
	vex_buf_json_words(&s->text, text);
	vex_buf_str(&s->text, "}}\n");
}

void query_hit_fields(struct vex_buf *b, const struct vex_result *r,
		      const struct vex_found *f)
{
	vex_buf_fmt(b, "\"distance\":%.9g,\"similarity\":", (double)f->distance);
	if (r->metric == VEX_COSINE)
		vex_buf_fmt(b, "%.9g", 1 - (double)f->distance);
	else
		vex_buf_str(b, "null");
	vex_buf_str(b, ",\"path\":");
	vex_buf_json(b, f->path, f->path_len);
	vex_buf_fmt(b, ",\"space\":\"%s\",\"key\":", r->space);
	if (f->key_len)
		vex_buf_json(b, f->key, f->key_len);
	else
		vex_buf_str(b, "null");
	vex_buf_fmt(b, ",\"row\":%u,\"stale\":%s", f->row, f->stale ? "true" : "false");
}

static void hit_text(struct vex_session *s, const struct vex_found *f)
{
	struct vex_buf *b = &s->text;

	vex_buf_str(b, s->cursor ? ",\n{" : "\n{");
	if (s->query.queries > 1)
		vex_buf_fmt(b, "\"query\":%u,", f->query);
	query_hit_fields(b, s->result, f);
	vex_buf_str(b, "}");
}

/* The next piece of hits; with the last one the result goes. */
static void more(struct vex_session *s)
{
	struct vex_result *r = s->result;

	while (s->cursor < r->n && s->text.len < PIECE) {
		hit_text(s, &r->hits[s->cursor]);
		s->cursor++;
	}
	if (s->cursor < r->n)
		return;
	vex_buf_str(&s->text, r->n ? "\n]" : "]");
	vex_buf_str(&s->text, r->truncated ? ",\"truncated\":true" : "");
	vex_buf_str(&s->text, r->partial ? ",\"partial\":true}\n" : "}\n");
	unread_drop(s);
}

static vex_err begin(struct vex_session *s, struct vex_result *r)
{
	vex_buf_fmt(&s->text,
		    "{\"space\":\"%s\",\"metric\":\"%s\",\"queries\":%u,\"hits\":[",
		    r->space, metric_name(r->metric), s->query.queries);
	return unread_take(s, r);
}

/* ---- the request ----------------------------------------------------------------- */

static vex_err may_run(struct vex_session *s, const struct vex_cred *cred)
{
	if (s->stage_bad)
		return session_fail(s, -ENOMEM,
				    "the request was not taken whole: at most %zu bytes",
				    QUERY_MAX);
	if (s->query.mixed || cred->uid != s->query.uid || cred->gid != s->query.gid)
		return session_fail(s, -EACCES,
				    "one user writes a request and reads its answer");
	return 0;
}

static vex_err search(struct vex_session *s, const struct vex_cred *cred,
		      struct vex_buf *data)
{
	struct call c = {
		.s = s,
		.engine = s->control->engine,
		.cred = cred,
		.head = s->head,
		.in_size = sizeof(struct vexfs_search),
	};
	struct vexfs_search *h = s->head;
	struct vex_result *r = NULL;
	vex_err err = query_parse(&c, s->stage.data, s->stage.len, data);

	if (err)
		return err;
	if (s->query.live)
		return live_begin(s, cred, h, data);
	c.data = (const uint8_t *)data->data;
	c.data_len = data->len;
	s->query.queries = h->queries ? h->queries : 1;
	err = search_find(&c, h, &r);
	free(c.copy);
	return err ? err : begin(s, r);
}

static void run(struct vex_session *s, const struct vex_cred *cred)
{
	AUTO_BUF struct vex_buf data = { 0 };
	vex_err err;

	s->error.text[0] = '\0';
	err = may_run(s, cred);
	if (!err)
		err = search(s, cred, &data);
	stage_empty(s);
	s->query.mixed = false;
	if (err) {
		s->text.len = 0;
		error_text(s, err);
	}
}

/* ---- read, write ----------------------------------------------------------------- */

static void answer_drop(struct vex_session *s)
{
	live_stop(s);
	unread_drop(s);
	s->text.len = 0;
	s->text.err = 0;
	s->query.at = 0;
}

/* For poll: a request waits to be run, or some of an answer to be read. */
void query_settle(struct vex_session *s)
{
	s->unread = s->stage.len || s->stage_bad || s->result ||
		    s->query.at < s->text.len || live_waits(s);
}

/* What there is of the text, as much as fits; false: there is no more. */
static bool copy(struct vex_session *s, char *buf, size_t size, size_t *n)
{
	size_t len;

	if (s->query.at == s->text.len) {
		s->text.len = 0;
		s->query.at = 0;
		if (s->result)
			more(s);
	}
	if (s->text.err)
		return false;
	len = vex_min64(size - *n, s->text.len - s->query.at);
	if (len)
		memcpy(buf + *n, s->text.data + s->query.at, len);
	s->query.at += len;
	*n += len;
	return len > 0;
}

vex_err query_read(struct vex_session *s, const struct vex_cred *cred, void *buf,
		   size_t size, size_t *n)
{
	vex_err err;

	if (s->stage.len || s->stage_bad)
		run(s, cred);
	else if (s->live && (cred->uid != s->query.uid || cred->gid != s->query.gid))
		return session_fail(s, -EACCES, "the live query is another user's");
	while (copy(s, buf, size, n))
		;
	if (!*n && !s->text.err) {
		live_refill(s);
		while (copy(s, buf, size, n))
			;
	}
	err = s->text.err ? -ENOMEM : 0;
	if (err) {
		answer_drop(s);
		*n = 0;
	}
	query_settle(s);
	return err;
}

vex_err query_write(struct vex_session *s, const struct vex_cred *cred, const void *buf,
		    size_t size)
{
	vex_err err;

	answer_drop(s);
	if (!s->stage.len) {
		s->query.uid = cred->uid;
		s->query.gid = cred->gid;
	}
	s->query.mixed |= cred->uid != s->query.uid || cred->gid != s->query.gid;
	if (size > QUERY_MAX - s->stage.len)
		s->stage_bad = true;
	err = stage_add(s, buf, size);
	query_settle(s);
	return err;
}
