/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files about attachments (name, text, value, put, get, info, content, space,
 * items, export) offer each other and nobody else.
 */
#ifndef VEXFS_ATTACH_I_H
#define VEXFS_ATTACH_I_H

#include "engine_i.h"

/* ---- name.c ------------------------------------------------------------------ */

enum attr_kind {
	ATTR_PLAIN,    /* for attr_parse to judge */
	ATTR_INFO,     /* _info */
	ATTR_NEAR,     /* _near, _near.* */
	ATTR_MARK,     /* _id: the hidden mark */
	ATTR_RESERVED, /* any other name that begins with _ */
};
enum attr_kind attr_kind(const char *attr);

/* ---- text.c, value.c --------------------------------------------------------- */

/* [deep] Rows of a text of any length; all is checked, finiteness too. -EINVAL. */
vex_err text_decode(const char *text, size_t len, struct rows *out) VEX_CHECKED;
bool text_is_blank(const char *s, size_t len);
/* How many rows of `l` (its dim 0: one f32 row, its length the dimension) fill `size`
 * bytes. */
vex_err rows_shape(size_t size, const struct vex_layout *l, uint32_t *n,
		   uint32_t *cols) VEX_CHECKED;
/*
 * Rows whose bytes all look like text could not be set again with what getxattr returns
 * for them: `cp -a` would fail. As text they can: that text, appended to `out`; nothing
 * where they do not look so, or the text would be too long. -ENOMEM.
 */
vex_err rows_as_text(const struct vex_layout *l, const void *rows, uint32_t n,
		     struct vex_buf *out) VEX_CHECKED;

/* ---- space.c ----------------------------------------------------------------- */

/* What the rows of the space of that name are; dim 0: there is none, and a first
 * attachment will make it f32. */
struct vex_layout layout_of(struct vex_engine *e, const char *name);

/*
 * Spaces come and go under the write side; a put holds the read side from looking its
 * space up to the end of its commit. So a first put that fails can take the space it
 * made away again, and nobody's rows with it. The innermost lock: after node locks,
 * held over a commit. One for the process: the write side is held rarely and shortly.
 */
extern pthread_rwlock_t spaces_lock;

/* With the write side held: space by name, made (unless strict) with that dimension
 * where there is none; *made tells. -ENODEV, -EINVAL (another dimension). */
vex_err space_for_locked(struct vex_engine *e, const char *name, uint32_t dim,
			 struct vex_space **out, bool *made) VEX_CHECKED;
/* Takes back a space that was just made, under the same hold of the lock. */
void space_unmake_locked(struct vex_engine *e, struct vex_space *sp);

/* Spaces by id, each looked up once and kept until the set is freed. */
struct spaceset {
	struct vex_space **v;
	size_t n;
};
void spaceset_free(struct spaceset *s);
#define AUTO_SPACESET __attribute__((cleanup(spaceset_free)))
/* Borrowed from the set. -ENODEV: dropped meanwhile. */
vex_err spaceset_get(struct vex_engine *e, struct spaceset *s, uint32_t id,
		     struct vex_space **out) VEX_CHECKED;

/* ---- listroom.c -------------------------------------------------------------- */

/* [deep] Whether one more attachment name fits into what listxattr(2) can return for
 * the file: -ENOSPC. `fresh`: the node has no attachments yet; `coming`: bytes of
 * names that the same commit adds. With the node lock. */
vex_err names_room(struct vex_engine *e, const struct vex_obj *o, uint64_t node,
		   const struct attr_name *a, bool fresh, size_t coming) VEX_CHECKED;
/* The same from memory alone, for any stack: false: ask names_room. */
bool names_room_quick(struct vex_engine *e, const struct vex_obj *o, uint64_t node,
		      const struct attr_name *a);
/* Bytes of the name in the list, with its NUL. */
size_t names_bytes(const struct attr_name *a);
/* "user.vexfs.<space>[.<key>]", NUL-ended, appended. */
void names_add(struct vex_buf *out, const char *space, const void *key, uint32_t key_len);

/* ---- put.c ------------------------------------------------------------------- */

/* One put, as far as it is known before its file is locked. */
struct put {
	struct vex_engine *e;
	const struct vex_obj *o;
	struct attr_name a;
	const void *rows;
	uint32_t n;
	struct vex_layout layout; /* of the rows; the space's must be the same */
	uint8_t form;             /* VEX_FORM_* */
	const void *text;         /* with VEX_FORM_TEXT */
	size_t text_len;
	int flags; /* XATTR_CREATE, XATTR_REPLACE */
	struct vex_stamp stamp;
	uint64_t lsn; /* out: the change */
};

/* index_sync=immediate: until the graph of the space, if it has one, has the change. */
void graph_await(struct vex_engine *e, const char *space, uint64_t lsn);
/* The same for whatever was changed up to now. */
void graph_await_all(struct vex_engine *e);
/* [deep] Node lock held, `l` empty or with changes for the same commit: makes the node
 * where there is none, then commits. */
vex_err put_locked(struct put *p, struct changes *l) VEX_CHECKED;

/* ---- covered.c: kept attachments that the file in their place has anew ----------------
 */

/* [deep] After a put to the node, which was its first (fresh) or not. */
void covered_look(struct vex_engine *e, uint64_t node, bool fresh);
/* Quick: whether covered_look has something to do for a node that is not fresh. */
bool covered_awaits(struct vex_engine *e, uint64_t node);

/* Regular files and directories take attachments: -EPERM for others. */
vex_err attach_kind_ok(const struct stat *st) VEX_CHECKED;
/* Whether the changes from index `from` on make this node. */
bool changes_make_node(const struct changes *l, size_t from, uint64_t node);
/* A VEX_PUT, VEX_DELETE or VEX_STAMP_ONE for (node, space, key); the key is copied. */
struct vex_change *changes_attach(struct changes *l, enum vex_change_kind kind,
				  uint64_t node, struct vex_space *sp, const void *key,
				  uint32_t key_len);

/* ---- get.c, content.c -------------------------------------------------------- */

/* [deep] The node of an object that must have one: -ENODATA. */
vex_err node_needed(struct vex_engine *e, const struct vex_obj *o,
		    uint64_t *node) VEX_CHECKED;

/* [deep] Appends the removal of attachments taken from .vec content, all but `but`
 * (may be NULL). Node lock held; `spaces` lives until the commit. */
vex_err content_leaves(struct vex_engine *e, uint64_t node, const struct attr_name *but,
		       struct spaceset *spaces, struct changes *l) VEX_CHECKED;
/* 0, or the error of the last .vec content of that very file. */
vex_err vecerrs_get(struct vecerrs *v, const struct vex_fh *fh, uint64_t ino);
/* err 0 forgets. */
void vecerrs_set(struct vecerrs *v, const struct vex_fh *fh, uint64_t ino, vex_err err);
/* A sentence for people. */
const char *content_sentence(vex_err err);

/* A node lock held to the end of the scope. */
#define AUTO_NODE_LOCK __attribute__((cleanup(vex_cleanup_unlock)))

#endif
