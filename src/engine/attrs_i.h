/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the index of attributes: attrs.c (the table), attrs_read.c (one file),
 * cands.c (sets of files, and the rows they come to), cands_eval.c (whether a file
 * belongs to a set).
 */
#ifndef VEXFS_ATTRS_I_H
#define VEXFS_ATTRS_I_H

#include "search_i.h"

/* What is known of a node's file. `text`: its name and NUL, then its xattrs: lengths of
 * name and value (u16 each), name, NUL, value. */
struct attr_rec {
	uint64_t parent;
	int64_t size, mtime_ns;
	int64_t ctime_ns; /* NO_CTIME: too young to vouch for the rest */
	uint64_t seq;     /* of the table, when it last changed */
	char *text;
	uint32_t uid, gid, text_len;
	uint16_t mode;
	bool loaded : 1; /* it was looked at */
	bool there : 1;  /* and is a file with a name */
	bool is_dir : 1;
	bool partly : 1; /* an xattr is too long to be kept: may match anything */
};
#define NO_CTIME INT64_MIN

/* A table of pages by node; the engine's only one. */
#define ATTR_PAGE 1024u
#define ATTR_RING 65536u
struct attr_table {
	struct attr_rec **page;
	uint64_t npages;
	uint64_t seq;     /* counts records that changed */
	uint64_t dir_seq; /* of the last directory, in what matters below it */
	uint64_t *ring;   /* nodes of the last ATTR_RING changes, by seq */
};

/* Of other files' use, with the table read-locked: NULL where nothing is known. */
static inline const struct attr_rec *attr_at(const struct attr_table *t, uint64_t node)
{
	const struct attr_rec *p =
	    node / ATTR_PAGE < t->npages ? t->page[node / ATTR_PAGE] : NULL;

	return p && p[node % ATTR_PAGE].loaded ? &p[node % ATTR_PAGE] : NULL;
}
/* The value of an xattr, or NULL. */
const char *attr_xattr(const struct attr_rec *r, const char *name, size_t *len);

/* attrs_read.c: [deep] scratch is of ATTR_SCRATCH bytes. A file that is not there is no
 * error. */
#define ATTR_SCRATCH ((size_t)2 * VEX_VALUE_MAX)
vex_err attr_read(struct vex_engine *e, struct vex_reader *r, uint64_t node,
		  char *scratch, struct attr_rec *out) VEX_CHECKED;

/* attrs.c: [deep] Brings the table up to date and read-locks it. -EAGAIN: not now (it is
 * being made, or too much has changed at once); then search without it. */
vex_err attrs_begin(struct vex_engine *e, struct vex_reader *r,
		    struct attr_table **out) VEX_CHECKED;
/* The same where nothing has to be read for it, from any stack; else -EAGAIN. */
vex_err attrs_peek(struct vex_engine *e, struct attr_table **out) VEX_CHECKED;
void attrs_end(struct vex_engine *e);
/* Gives others a turn. */
void attrs_yield(struct vex_engine *e);
/* Whether the record of a node has not changed since the table counted `seq`, knows all
 * of the file, and is of the file as it is with that ctime. */
bool attrs_vouch(struct vex_engine *e, uint64_t node, uint64_t seq, int64_t ctime_ns);

/* cands_eval.c: whether a node's file belongs to a set of files, as far as the table
 * knows (what it does not know, belongs): 1, 0, or an error. */
enum set_kind { SET_WHERE, SET_UNDER, SET_CRED, SET_KINDS };
struct set_eval {
	struct search *s;
	const struct attr_table *t;
	enum set_kind kind;
	uint64_t under;      /* SET_UNDER: node of the directory */
	struct memo dirs;    /* verdicts on directories */
	struct vex_buf path; /* SET_WHERE: of the file */
	bool uses_dirs;      /* directories decide too */
};
void set_eval_begin(struct set_eval *v, struct search *s, const struct attr_table *t,
		    enum set_kind kind);
void set_eval_end(struct set_eval *v);
int set_eval(struct set_eval *v, uint64_t node) VEX_CHECKED;

/* cands.c: what attrs.c owns of it. */
struct cands_cache;
vex_err cands_cache_new(struct cands_cache **out) VEX_CHECKED;
void cands_cache_free(struct cands_cache *c);
struct cands_cache *attrs_cands(struct vex_engine *e);

#endif
