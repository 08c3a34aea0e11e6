/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file's content has to do with its attachments.
 *
 * *.vec files: the content is the value. At a flush after writing it is read, parsed
 * and attached, with the stamp of the content that was read; where it is empty or no
 * rows, what earlier content left is taken away. Attachments made by hand stay.
 *
 * All files: an attachment set while the file was empty (tar sets xattrs before it
 * writes) carries an open stamp and gets the real one at the first flush after writing;
 * when times are set through the mount, fresh stamps move along.
 *
 * Locks: the node lock from reading the content to the commit, so of two flushes the
 * later content wins.
 */
#include <fcntl.h>
#include "engine_i.h"
#include "attach_i.h"

#define RETRIES 10

bool name_is_vec(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && !strcmp(name + len - 4, ".vec");
}

const char *content_sentence(vex_err err)
{
	switch (err) {
	case -EINVAL:
		return "the content is not rows of numbers that fit the space";
	case -E2BIG:
		return "the content is longer than 65536 bytes";
	case -ENODEV:
		return "the space does not exist";
	default:
		return strerror(-err);
	}
}

/* ---- attachments of a node, looked through ----------------------------------- */

struct leaving {
	struct vex_engine *e;
	const struct attr_name *but;
	struct spaceset *spaces;
	struct changes *l;
	uint64_t node;
};

static vex_err leave_one(void *arg, const struct vex_attach *a)
{
	struct leaving *v = arg;
	struct vex_space_spec spec;
	struct vex_space *sp;
	vex_err err;

	if (!(a->form & VEX_FORM_CONTENT))
		return 0;
	err = spaceset_get(v->e, v->spaces, a->space, &sp);
	if (err)
		return err == -ENODEV ? 0 : err;
	vex_space_spec(sp, &spec);
	if (v->but && !strcmp(spec.name, v->but->space) &&
	    a->key_len == v->but->key_len && !memcmp(a->key, v->but->key, a->key_len))
		return 0;
	return changes_attach(v->l, VEX_DELETE, v->node, sp, a->key, a->key_len)
		   ? 0
		   : v->l->err;
}

vex_err content_leaves(struct vex_engine *e, uint64_t node, const struct attr_name *but,
		       struct spaceset *spaces, struct changes *l)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct leaving v = { .e = e, .but = but, .spaces = spaces, .l = l, .node = node };
	vex_err err = vex_reader_get(e->store, &r);

	return err ? err : vex_read_attaches(r, node, leave_one, &v);
}

struct matching {
	const struct vex_stamp *was;
	bool found;
};

static vex_err match_one(void *arg, const struct vex_attach *a)
{
	struct matching *m = arg;
	bool same =
	    a->stamp.size == m->was->size && a->stamp.mtime_ns == m->was->mtime_ns;

	m->found |= m->was->open ? a->stamp.open : same && !a->stamp.open;
	return 0;
}

/* Appends a change of all stamps that equal `was`, if there are any: most flushes and
 * most touches of files with attachments need no commit. */
static vex_err stamps_move(struct vex_engine *e, uint64_t node, struct vex_stamp was,
			   struct vex_stamp stamp, struct changes *l)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct matching m = { .was = &was };
	struct vex_change *c;
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_attaches(r, node, match_one, &m);
	if (err || !m.found)
		return err;
	c = changes_add(l, VEX_STAMP);
	if (!c)
		return l->err;
	c->node = node;
	c->was = was;
	c->stamp = stamp;
	return 0;
}

static vex_err commit(struct vex_engine *e, const struct changes *l)
{
	if (l->err)
		return l->err;
	return l->n ? vex_store_commit(e->store, l->c, l->n, NULL) : 0;
}

/* ---- the content of a .vec file ---------------------------------------------- */

/* Reads all of it: -E2BIG past the limit. The stamp is of before: what is written
 * meanwhile makes it stale, and comes with a flush of its own. */
static vex_err content_read(int file, struct stat *st, struct vex_buf *out)
{
	AUTO_CLOSE int fd = vex_openat(AT_FDCWD, vex_procfd(file).path,
				       O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	size_t had = 0;
	ssize_t n = 1;
	char *room;

	if (fd < 0 || fstat(fd, st))
		return -errno;
	if (st->st_size > VEX_VALUE_MAX)
		return -E2BIG;
	room = vex_buf_room(out, VEX_VALUE_MAX + 1);
	if (!room)
		return out->err;
	while (n && had <= VEX_VALUE_MAX) {
		n = pread(fd, room + had, VEX_VALUE_MAX + 1 - had, (off_t)had);
		if (n < 0)
			return -errno;
		had += (size_t)n;
	}
	out->len = had;
	return had > VEX_VALUE_MAX ? -E2BIG : 0;
}

struct absorb {
	struct vex_engine *e;
	struct vex_obj o;
	struct vex_buf text;
	struct stat st;
	struct spaceset spaces;
	struct changes l;
};

/* Appends the stamping of what was attached by hand while the file was empty. */
static vex_err stamp_open_ones(struct absorb *b, uint64_t node)
{
	struct vex_stamp stamp = stamp_of(&b->st);

	return stamp.open ? 0
			  : stamps_move(b->e, node, (struct vex_stamp){ .open = true },
					stamp, &b->l);
}

/* Nothing to attach: what earlier content left goes. */
static vex_err absorb_nothing(struct absorb *b)
{
	uint64_t node;
	vex_err err = node_identify(b->e, &b->o, &node);

	if (err || !node)
		return err;
	err = content_leaves(b->e, node, NULL, &b->spaces, &b->l);
	if (!err)
		err = stamp_open_ones(b, node);
	return err ? err : commit(b->e, &b->l);
}

/* The rows as the space wants them. Lines of numbers are no value that could be set in a
 * space of i8, i16 or bit (text begins with "[" there), so there the rows are kept. */
static vex_err absorb_convert(struct absorb *b, struct rows *rows, struct put *p,
			      struct vex_buf *text)
{
	vex_err err;

	p->layout = layout_of(b->e, p->a.space);
	err = rows_convert(rows, &p->layout);
	if (err)
		return err;
	p->layout.dim = rows->dim;
	p->rows = rows->data;
	p->n = rows->n;
	p->form = VEX_FORM_TEXT | VEX_FORM_CONTENT;
	p->text = b->text.data;
	p->text_len = b->text.len;
	if (rows->type == VEX_F32 || rows->type == VEX_F16)
		return 0;
	err = rows_as_text(&p->layout, rows->data, rows->n, text);
	p->text = text->data;
	p->text_len = text->len;
	if (!text->len)
		p->form = VEX_FORM_BINARY | VEX_FORM_CONTENT;
	return err;
}

static vex_err absorb_rows(struct absorb *b, struct rows *rows)
{
	AUTO_BUF struct vex_buf text = { 0 };
	struct put p = {
		.e = b->e,
		.o = &b->o,
		.a = { .key = "" },
		.stamp = stamp_of(&b->st),
	};
	const char *space = vex_knob_space(vex_engine_knob(b->e, VEX_KNOB_VEC_SPACE));
	uint64_t node;
	vex_err err = node_identify(b->e, &b->o, &node);

	if (*space)
		snprintf(p.a.space, sizeof(p.a.space), "%s", space);
	else
		snprintf(p.a.space, sizeof(p.a.space), "vec%u", rows->dim);
	if (!err)
		err = absorb_convert(b, rows, &p, &text);
	if (!err && node)
		err = content_leaves(b->e, node, &p.a, &b->spaces, &b->l);
	if (!err && node)
		err = stamp_open_ones(b, node);
	return err ? err : put_locked(&p, &b->l);
}

static vex_err absorb_text(struct absorb *b)
{
	static const struct vex_layout any = { .type = VEX_F32 };
	AUTO_ROWS struct rows rows = { .n = 0 };
	vex_err err;

	if (!value_is_text(b->text.data, b->text.len))
		return -EINVAL;
	err = value_decode(b->text.data, b->text.len, &any, &rows);
	return err ? err : absorb_rows(b, &rows);
}

/* What the content itself is to blame for; all else leaves things as they are. */
static bool content_refused(vex_err err)
{
	return err == -EINVAL || err == -E2BIG || err == -ENODEV;
}

/* -ENODATA: a space was dropped under our hands, and with it what we meant to take
 * away: look again. */
static vex_err again(struct absorb *b, vex_err (*fn)(struct absorb *))
{
	vex_err err = -ENODATA;

	for (int i = 0; i < RETRIES && err == -ENODATA; i++) {
		changes_free(&b->l);
		err = fn(b);
	}
	return err;
}

/* With the node lock held. */
static vex_err absorb_locked(struct absorb *b)
{
	vex_err err = content_read(b->o.fd, &b->st, &b->text), left;

	if (!err && !text_is_blank(b->text.data, b->text.len)) {
		err = again(b, absorb_text);
		if (!err)
			return 0;
	}
	if (err && !content_refused(err))
		return err;
	left = again(b, absorb_nothing);
	return err ? err : left;
}

static void tell(struct absorb *b, vex_err err)
{
	AUTO_BUF struct vex_buf path = { 0 };

	if (b->o.dirfd < 0 || !b->o.name ||
	    place_path(b->e, b->o.dirfd, b->o.name, &path))
		path.len = 0;
	vex_warn("%.*s: %s (%s)", path.len ? (int)path.len : 10,
		 path.len ? path.data : ".vec file:", content_sentence(err),
		 strerrorname_np(-err));
}

vex_err content_absorb(struct vex_engine *e, const struct vex_obj *o)
{
	struct absorb b = { .e = e, .o = *o };
	vex_err err = obj_complete(o, &b.o.fh, &b.st);
	uint64_t ino = b.st.st_ino;

	if (err || !S_ISREG(b.st.st_mode))
		return err;
	{
		AUTO_NODE_LOCK pthread_mutex_t *lock = node_lock(e, &b.o.fh, ino);
		err = absorb_locked(&b);
		vecerrs_set(e->vecerrs, &b.o.fh, ino, err);
	}
	if (err)
		tell(&b, err);
	changes_free(&b.l);
	spaceset_free(&b.spaces);
	vex_buf_free(&b.text);
	return err;
}

/* ---- events of files --------------------------------------------------------- */

struct file_call {
	struct vex_engine *e;
	const struct vex_obj *o;
	const struct stat *before, *after;
};

static vex_err is_stale(void *arg, const struct vex_attach *a)
{
	return stamp_stale(&a->stamp, arg) ? -ESTALE : 0;
}

/* The content of a file with attachments changed. */
static void written_note(struct file_call *c, uint64_t node, const struct stat *st)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct stat now = *st;

	note_at(c->e, VEX_NOTE_WRITE, node, c->o->dirfd, c->o->name);
	if (!vex_reader_get(c->e->store, &r) &&
	    vex_read_attaches(r, node, is_stale, &now) == -ESTALE)
		note_stale(c->e, node, c->o);
}

static vex_err written_deep(void *arg)
{
	struct file_call *c = arg;
	AUTO_CHANGES struct changes l = { 0 };
	struct vex_fh fh;
	struct stat st;
	uint64_t node;
	vex_err err = obj_complete(c->o, &fh, &st);

	if (err || !S_ISREG(st.st_mode))
		return err;
	AUTO_NODE_LOCK pthread_mutex_t *lock = node_lock(c->e, &fh, st.st_ino);
	err = node_identify(c->e, c->o, &node);
	if (!err && !node && vex_engine_wants_all(c->e))
		note_at(c->e, VEX_NOTE_WRITE, 0, c->o->dirfd, c->o->name);
	if (err || !node)
		return err;
	stamp_wait(c->e, c->o->fd, &st);
	if (st.st_size)
		err = stamps_move(c->e, node, (struct vex_stamp){ .open = true },
				  stamp_of(&st), &l);
	if (!err)
		err = commit(c->e, &l);
	if (!err)
		written_note(c, node, &st);
	return err;
}

static vex_err absorb_deep(void *arg)
{
	struct file_call *c = arg;
	uint64_t start = vex_now_mono();
	vex_err err = content_absorb(c->e, c->o);

	vex_op_done(VEX_OP_ABSORB, vex_now_mono() - start, err);
	return err;
}

vex_err vex_engine_written(struct vex_engine *e, const struct vex_obj *o)
{
	struct file_call c = { .e = e, .o = o };
	bool vec = o->name && name_is_vec(o->name);
	uint64_t node;
	vex_err err;

	if (!vec && node_known(e, o, &node) && !node && !vex_engine_wants_all(e))
		return 0;
	err = engine_deep(e, vec ? absorb_deep : written_deep, &c);
	vex_engine_attrs_changed(e, o);
	return err;
}

static vex_err times_deep(void *arg)
{
	struct file_call *c = arg;
	AUTO_CHANGES struct changes l = { 0 };
	struct vex_stamp was = stamp_of(c->before), now = stamp_of(c->after);
	struct vex_fh fh;
	struct stat st;
	uint64_t node;
	vex_err err = obj_complete(c->o, &fh, &st);

	if (err)
		return err;
	stamp_wait(c->e, -1,
		   &(struct stat){ .st_mode = S_IFREG, .st_mtim = c->after->st_mtim });
	AUTO_NODE_LOCK pthread_mutex_t *lock = node_lock(c->e, &fh, st.st_ino);
	was.open = now.open = false;
	err = node_identify(c->e, c->o, &node);
	if (!err && node)
		err = stamps_move(c->e, node, was, now, &l);
	return err ? err : commit(c->e, &l);
}

void vex_engine_times_set(struct vex_engine *e, const struct vex_obj *o,
			  const struct stat *before, const struct stat *after)
{
	struct file_call c = { .e = e, .o = o, .before = before, .after = after };
	uint64_t node;
	vex_err err;

	/* Open stamps stay open; directories are never stale. */
	if (!S_ISREG(after->st_mode) ||
	    (before->st_mtim.tv_sec == after->st_mtim.tv_sec &&
	     before->st_mtim.tv_nsec == after->st_mtim.tv_nsec) ||
	    (node_known(e, o, &node) && !node))
		return;
	err = engine_deep(e, times_deep, &c);
	if (err)
		vex_warn("attachments of inode %llu may show as stale: %s",
			 (unsigned long long)after->st_ino, strerror(-err));
}

bool vex_engine_has(struct vex_engine *e, const struct vex_obj *o)
{
	uint64_t node;

	return !node_known(e, o, &node) || node;
}

vex_err vex_engine_fsync(struct vex_engine *e, const struct vex_obj *o)
{
	uint64_t node;

	if (node_known(e, o, &node) && !node)
		return 0;
	return vex_store_sync(e->store, false);
}

vex_err vex_engine_sync(struct vex_engine *e)
{
	late_try(e);
	return vex_store_sync(e->store, true);
}
