/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to life.c, rename.c and recover.c: removals and what settles them.
 */
#ifndef VEXFS_LIFE_I_H
#define VEXFS_LIFE_I_H

#include "names_i.h"

/* Quick: false where the object at (dirfd, name) can have no node. */
bool life_concerns(struct vex_engine *e, int dirfd, const char *name,
		   const struct stat *st);
/* [deep] The object at (dirfd, name), opened, and its node (0: none). */
vex_err life_node_at(struct vex_engine *e, int dirfd, const char *name, int *fd,
		     uint64_t *node) VEX_CHECKED;
/* A directory is gone: its handle too. */
void life_forget_dir(struct vex_engine *e, int fd);
/* Path for the change log, heap; NULL where it cannot be told. */
char *life_path(struct vex_engine *e, int dirfd, const char *name);

/* [deep] Fills r (node 0: nothing to do) and appends the intent where it is the last
 * name. r->fd is open afterwards, also on failure: removal_free. */
vex_err removal_prepare(struct vex_engine *e, int dirfd, const char *name,
			struct vex_removal *r, struct changes *l) VEX_CHECKED;
/* Appends what the result of the system call makes of it. */
void removal_settle(struct vex_engine *e, struct vex_removal *r, vex_err result,
		    bool open, struct changes *l);
void removal_free(struct vex_removal *r);

enum linkage { LINK_NONE, LINK_SOME, LINK_UNKNOWN };
/* [deep] Whether the file of a node has a name. */
enum linkage life_linkage(struct vex_engine *e, struct vex_reader *r, struct vex_node *n);
/* [deep] A GOING node with a name is live again, one without is dropped. */
vex_err life_settle(struct vex_engine *e, struct vex_reader *r,
		    uint64_t node) VEX_CHECKED;

/* ---- kept.c: attachments whose file is not there ----------------------------------- */

/* [deep] */
bool kept_has(struct vex_engine *e, uint64_t node);
/* Who could read it, of a file that is replaced. */
void kept_who(const struct vex_removal *r, const struct stat *st, struct vex_kept *k);
/* Appends that r's file (st) was replaced and its attachments are kept. */
void kept_replaced(struct vex_engine *e, const struct vex_removal *r,
		   const struct stat *st, struct changes *l);

/* [deep] The file now at (dirfd, v->name) is not the one before, though it may have its
 * size and mtime: both written within one tick of the clock. */
void kept_distinct_from(struct vex_engine *e, const struct vex_removal *v, int dirfd,
			struct changes *l);
/* [deep] The same, of whatever is at the names of n. */
void kept_distinct(struct vex_engine *e, struct vex_reader *r, const struct vex_node *n,
		   struct changes *l);
/* [deep] At open: some of what was kept long enough goes. */
void kept_expire(struct vex_engine *e, struct vex_reader *r);
/* [deep] r's file was removed: what files it replaced had attached goes as well. */
void kept_forget(struct vex_engine *e, const struct vex_removal *r, struct changes *l);

/* ---- overlap.c ------------------------------------------------------------------------
 */

/* Before it is known whether a name concerns a node. */
uint64_t overlap_moment(struct vex_engine *e);
/* After every successful change of names: whether a node was made since that moment. */
bool overlap_since(struct vex_engine *e, uint64_t moment);
/* Then: of an object that has lost its last name, of one that has another now. */
void overlap_removed(struct vex_engine *e, int fd, bool open);
void overlap_moved(struct vex_engine *e, int dirfd, const char *name);

/* ---- vacant.c, replaced.c: a file made where one has just gone ----------------------
 */

struct vacant;
vex_err vacants_new(struct vacants **out) VEX_CHECKED;
void vacants_free(struct vacants *t);
/* For tests: how long a place is remembered. */
void vacants_hold(struct vacants *t, uint64_t ns);
/* Quick: whether any place is remembered. */
bool vacants_any(struct vex_engine *e);
void vacants_add(struct vex_engine *e, struct vacant *v);
/* A file with attachments was moved away from there. */
void vacants_left(struct vex_engine *e, uint64_t node, uint64_t parent, const char *name);
/* [deep] What r's file (st), whose last name went, has attached: for vacants_add once
 * it is removed. NULL: nothing. */
struct vacant *vacant_hold(struct vex_engine *e, const struct vex_removal *r,
			   const struct stat *st);
/* A regular file is at (dirfd, name) since this moment; bare: without attachments. */
void place_filled(struct vex_engine *e, int dirfd, const char *name, bool bare);

/* The catalog cannot take a removal or a name, but the file operation goes on: true
 * for its errors, and says so, once. */
bool late_may(struct vex_engine *e, vex_err err);
/* This node is gone and has to be dropped. */
void late_add(struct vex_engine *e, uint64_t node);
/* [deep] For all of these; arg is the engine. */
vex_err late_settle(void *arg) VEX_CHECKED;

#endif
