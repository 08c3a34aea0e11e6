/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One open of a control file: what was staged, what is unread, how the last call
 * failed. Closing it drops it all.
 *
 * `control` is a pair of streams: write(2) stages bytes for the next call that takes
 * them, read(2) gives the records the last search or export left. Generated files
 * hold their text from open to close, so that a reader sees one moment whatever the
 * size of its reads. `query` is in query.c.
 *
 * Must stay true: what is charged to the account is stage.len, result_bytes, txn.bytes;
 * `unread` says whether read(2) would give records.
 */
#include <fcntl.h>
#include <poll.h>
#include "control_i.h"

/* ---- unread records and the stage ------------------------------------------------ */

#define STAGE_KEEP ((size_t)1 << 20) /* a larger buffer goes back to the system */

void stage_empty(struct vex_session *s)
{
	account_release(s->control, s->account, s->stage.len);
	if (s->stage.size > STAGE_KEEP)
		vex_buf_free(&s->stage);
	s->stage.len = 0;
	s->stage_bad = false;
}

void unread_drop(struct vex_session *s)
{
	vex_result_free(take_ptr(&s->result));
	account_release(s->control, s->account, s->result_bytes);
	s->result_bytes = 0;
	s->cursor = 0;
	export_end(&s->export);
	backup_end(s);
	s->unread = false;
}

vex_err unread_take(struct vex_session *s, struct vex_result *r)
{
	uint64_t bytes = sizeof(*r) + r->n * sizeof(*r->hits) + r->text.size;
	vex_err err = account_charge(s->control, s->account, bytes);

	if (err) {
		vex_result_free(r);
		return session_fail(s, err, "too many unread hits held for this user");
	}
	s->result = r;
	s->result_bytes = bytes;
	s->cursor = 0;
	s->unread = r->n > 0;
	return 0;
}

/* ---- errors ---------------------------------------------------------------------- */

struct sentence {
	struct vex_session *s;
	const char *fmt;
	va_list ap;
};

static vex_err write_sentence(void *arg)
{
	struct sentence *t = arg;

	vsnprintf(t->s->error.text, sizeof(t->s->error.text), t->fmt, t->ap);
	return 0;
}

/* Printing takes more stack than a request should: another thread does it. */
vex_err session_fail(struct vex_session *s, vex_err err, const char *fmt, ...)
{
	struct sentence t = { .s = s, .fmt = fmt };

	va_start(t.ap, fmt);
	(void)!vex_pool_call(s->control->pool, write_sentence, &t);
	va_end(t.ap);
	return err;
}

static void call_begins(struct vex_session *s)
{
	s->error.error = 0;
	s->error.item = 0;
	s->error.text[0] = '\0';
}

/* A failure no one found words for gets those of the C library. */
static vex_err call_ends(struct vex_session *s, vex_err err)
{
	const char *text = err ? strerrordesc_np(-err) : NULL;

	s->error.error = -err;
	if (err && !s->error.text[0])
		session_fail(s, err, "%s", text ? text : "unknown error");
	return err;
}

/* ---- open and close -------------------------------------------------------------- */

static void session_free(struct vex_session *s)
{
	pthread_mutex_destroy(&s->lock);
	vex_buf_free(&s->stage);
	vex_buf_free(&s->text);
	free(s->head);
	free(s);
}

struct text_job {
	struct vex_session *s;
	const struct vex_cred *cred;
};

static vex_err make_text(void *arg)
{
	struct text_job *j = arg;
	struct vex_session *s = j->s;

	if (s->id == FILE_CONFIG)
		return config_text(s->control, &s->text);
	if (s->id == FILE_METRICS)
		return metrics_text(s->control, &s->text);
	return status_text(s->control, j->cred, &s->text);
}

static bool is_generated(int id)
{
	return id == FILE_STATUS || id == FILE_METRICS || id == FILE_CONFIG;
}

/* What this kind of file needs besides the bare session. Texts are made on a thread
 * with a deep stack. */
static vex_err fill(struct vex_session *s, const struct vex_cred *cred)
{
	struct text_job j = { .s = s, .cred = cred };

	if (s->id == FILE_EVENTS)
		return events_open(s);
	if (is_generated(s->id))
		return vex_pool_call(s->control->pool, make_text, &j);
	s->head = malloc(VEXFS_IOC_MAX + 1);
	return s->head ? 0 : -ENOMEM;
}

vex_err vex_session_open(struct vex_control *c, int id, int flags,
			 const struct vex_cred *cred, struct vex_session **out)
{
	bool writable = (flags & O_ACCMODE) != O_RDONLY;
	struct vex_session *s;
	vex_err err;

	if (id < FILE_CONTROL || id > FILE_EVENTS)
		return -ENOENT;
	if (writable && is_generated(id) && id != FILE_CONFIG)
		return -EACCES;
	if (id == FILE_METRICS && !vex_cred_is_admin(c->engine, cred))
		return -EACCES;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->control = c;
	s->id = id;
	s->writable = writable;
	s->stage.cap = STAGE_MAX;
	err = account_open(c, cred, &s->account);
	if (!err) {
		err = fill(s, cred);
		if (err)
			account_close(c, s->account);
	}
	if (err) {
		session_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void vex_session_close(struct vex_session *s)
{
	live_end(s);
	events_close(s);
	txn_drop(s);
	unread_drop(s);
	stage_empty(s);
	account_close(s->control, s->account);
	session_free(s);
}

void vex_session_on_ready(struct vex_session *s, void (*wake)(void *arg), void *arg)
{
	s->wake = wake;
	s->wake_arg = arg;
}

/* ---- read, write, poll ----------------------------------------------------------- */

static vex_err text_read(struct vex_session *s, void *buf, size_t size, int64_t off,
			 size_t *n)
{
	size_t at = off < 0 ? 0 : (size_t)off;

	*n = at < s->text.len ? vex_min64(size, s->text.len - at) : 0;
	if (*n)
		memcpy(buf, s->text.data + at, *n);
	return 0;
}

static vex_err stream_read(struct vex_session *s, void *buf, size_t size, size_t *n)
{
	vex_err err;

	call_begins(s);
	if (s->backup)
		err = backup_read(s, buf, size, n);
	else
		err = s->export.on ? export_read(s, buf, size, n)
				   : hits_read(s, buf, size, n);
	return call_ends(s, err);
}

struct read_job {
	struct vex_session *s;
	const struct vex_cred *cred;
	void *buf;
	size_t size, *n;
};

static vex_err read_query(void *arg)
{
	struct read_job *j = arg;

	return query_read(j->s, j->cred, j->buf, j->size, j->n);
}

vex_err vex_session_read(struct vex_session *s, const struct vex_cred *cred, void *buf,
			 size_t size, int64_t off, size_t *n)
{
	struct read_job j = { .s = s, .cred = cred, .buf = buf, .size = size, .n = n };
	SCOPED_LOCK(&s->lock);
	/* cred: what control has to read was found with its asker's rights. */
	*n = 0;
	if (s->id == FILE_QUERY) /* it parses and prints */
		return size ? vex_pool_call(s->control->pool, read_query, &j) : 0;
	if (s->id == FILE_EVENTS)
		return events_read(s, cred, buf, size, n);
	if (s->id != FILE_CONTROL)
		return text_read(s, buf, size, off, n);
	return size ? stream_read(s, buf, size, n) : 0;
}

/* A failed write spoils the stage, so that a query cut short is never searched. */
vex_err stage_add(struct vex_session *s, const void *buf, size_t size)
{
	vex_err err;

	if (s->stage_bad)
		return session_fail(s, -ENOMEM,
				    "an earlier write failed: the stage is "
				    "of no use until a search empties it");
	s->stage_bad = true;
	if (size > STAGE_MAX - s->stage.len)
		return session_fail(s, -ENOMEM, "more than %zu staged bytes", STAGE_MAX);
	err = account_charge(s->control, s->account, size);
	if (err)
		return session_fail(s, err, "too many bytes staged by this user");
	vex_buf_add(&s->stage, buf, size);
	if (s->stage.err) {
		s->stage.err = 0;
		account_release(s->control, s->account, size);
		return -ENOMEM;
	}
	s->stage_bad = false;
	return 0;
}

vex_err vex_session_write(struct vex_session *s, const struct vex_cred *cred,
			  const void *buf, size_t size, size_t *n)
{
	SCOPED_LOCK(&s->lock);
	vex_err err;

	if (!s->writable)
		return -EBADF;
	call_begins(s);
	/* For control bytes alone; the call that takes them is checked. */
	err = s->id == FILE_QUERY    ? query_write(s, cred, buf, size)
	      : s->id == FILE_CONFIG ? config_write(s, cred, buf, size)
	      : s->id == FILE_EVENTS ? events_write(s, buf, size)
				     : stage_add(s, buf, size);
	err = call_ends(s, err);
	*n = err ? 0 : size;
	return err;
}

uint32_t vex_session_poll(struct vex_session *s)
{
	uint32_t in = POLLIN | POLLRDNORM, out = POLLOUT | POLLWRNORM;

	if (is_generated(s->id))
		return in;
	if (s->id == FILE_EVENTS)
		return out | (events_wait(s) ? in : 0);
	return out | (s->unread ? in : 0);
}

/* ---- ioctl ----------------------------------------------------------------------- */

vex_err vex_session_ioctl(struct vex_session *s, const struct vex_cred *cred,
			  uint32_t cmd, const void *in, size_t in_size, void *out,
			  size_t out_size, size_t *n)
{
	struct call c = {
		.s = s,
		.engine = s->control->engine,
		.cred = cred,
		.head = s->head,
		.in_size = in_size,
		.in = in,
		.out_size = out_size,
		.out = out,
	};
	SCOPED_LOCK(&s->lock);
	vex_err err;

	*n = 0;
	if (s->id != FILE_CONTROL)
		return -ENOTTY;
	if (cmd_is(cmd, VEXFS_IOC_LAST_ERROR))
		return dispatch(&c, cmd, n);
	call_begins(s);
	err = dispatch(&c, cmd, n);
	free(c.copy);
	return call_ends(s, err);
}
