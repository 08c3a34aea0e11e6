/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making good what fsck found, with the means of the running engine: an object that was
 * moved, restored or copied behind us is identified as if it were met in the mount;
 * names that do not hold go; damaged rows whose text the catalog still has are computed
 * from it anew. Nothing here takes an attachment away.
 *
 * Alone: the store is not mounted. Each step checks again what it acts upon; one that
 * fails leaves things as they are, and the look afterwards says so.
 */
#include <sys/xattr.h>
#include "attach_i.h"
#include "fsck_i.h"

/* Opens an object by its path, and the directory it is in. */
static vex_err open_object(struct vex_engine *e, const char *path, int *dir, int *fd,
			   const char **name)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *above = strndup(path, slash ? (size_t)(slash - path) : 0);
	vex_err err;

	if (!above)
		return -ENOMEM;
	*name = slash ? slash + 1 : path;
	err = *above ? open_beneath(e->rootfd, above, O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
				    dir)
		     : vex_dup(e->rootfd, dir);
	if (err)
		return err;
	return open_beneath(*dir, *name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, fd);
}

static vex_err look_again(struct vex_engine *e, const struct fsck_finding *f)
{
	AUTO_CLOSE int dir = -1, fd = -1;
	_Atomic uint64_t word = 0;
	struct vex_obj o = { .node = &word };
	uint64_t node;
	vex_err err = open_object(e, f->path, &dir, &fd, &o.name);

	if (err)
		return err;
	o.fd = fd;
	o.dirfd = dir;
	return node_identify(e, &o, &node);
}

/* Only if it is that mark still: it may have got a node of its own meanwhile. */
static vex_err unmark(struct vex_engine *e, const struct fsck_finding *f)
{
	AUTO_CLOSE int dir = -1, fd = -1;
	AUTO_READER struct vex_reader *r = NULL;
	struct vex_node n;
	struct mark m;
	const char *name;
	vex_err err = open_object(e, f->path, &dir, &fd, &name);

	if (!err)
		err = mark_read(fd, &m);
	if (!err)
		err = vex_reader_get(e->store, &r);
	if (err)
		return err;
	if (!vex_read_node(r, m.id, &n) && mark_is(&m, &n))
		return 0;
	return removexattr(vex_procfd(fd).path, VEX_XATTR_MARK) ? -errno : 0;
}

static vex_err drop_name(struct vex_engine *e, const struct fsck_finding *f)
{
	struct vex_change c = {
		.kind = VEX_NAME_DEL,
		.node = f->node,
		.parent = f->parent,
		.name = f->path,
		.name_len = (uint32_t)strlen(f->path),
	};

	return vex_store_commit(e->store, &c, 1, NULL);
}

static vex_err put_text(struct vex_engine *e, const struct vex_attach *a,
			struct vex_space *sp)
{
	AUTO_ROWS struct rows rows = { .n = 0 };
	struct vex_change c = {
		.kind = VEX_PUT,
		.node = a->node,
		.space = sp,
		.key = a->key,
		.key_len = a->key_len,
		.form = a->form,
		.text = a->text,
		.text_len = a->text_len,
		.stamp = a->stamp,
		.flags = XATTR_REPLACE,
	};
	vex_err err = text_decode(a->text, a->text_len, &rows);

	if (!err)
		err = rows.dim == vex_space_dim(sp) && rows.n == a->rows ? 0 : -EINVAL;
	if (!err)
		err = rows_convert(&rows, vex_space_layout(sp));
	if (!err)
		err = rows_check(rows.data, rows.n, vex_space_layout(sp),
				 vex_space_metric(sp));
	if (!err)
		err = vex_slots_write(sp, rows.data, rows.n, &c.slot);
	if (err)
		return err;
	c.rows = rows.n;
	return vex_store_commit(e->store, &c, 1, NULL);
}

static vex_err reput(struct vex_engine *e, const struct fsck_finding *f)
{
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_ATTACH struct vex_attach bare = { 0 }, a = { 0 };
	AUTO_SPACE struct vex_space *sp = NULL;
	AUTO_FREE void *data = NULL;
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_attach_lsn(r, f->lsn, &bare);
	if (!err)
		err = vex_read_attach(r, bare.node, bare.space, bare.key, bare.key_len,
				      true, &a);
	if (!err)
		err = vex_space_find_id(e->store, a.space, &sp);
	if (err || !a.text)
		return err ? err : -ENODATA;
	data = malloc(a.rows * vex_space_stride(sp));
	if (!data)
		return -ENOMEM;
	/* Opening may have gone back to a sync before it. */
	err = vex_read_rows(e->store, &a, data);
	return err == -EIO ? put_text(e, &a, sp) : err;
}

static vex_err repair_one(struct vex_engine *e, const struct fsck_finding *f)
{
	switch (f->fix) {
	case FSCK_LEFT:
	case FSCK_OPEN:
	case FSCK_INDEX:
		return 0;
	case FSCK_NAME:
		return drop_name(e, f);
	case FSCK_REPUT:
		return reput(e, f);
	case FSCK_LOOK:
		return look_again(e, f);
	case FSCK_UNMARK:
		return unmark(e, f);
	}
	return 0;
}

void fsck_repair(struct vex_engine *e, const struct fsck_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		vex_err err = repair_one(e, &l->v[i]);

		if (err && l->v[i].text)
			vex_warn("%s: cannot be repaired: %s", l->v[i].text,
				 strerror(-err));
	}
}
