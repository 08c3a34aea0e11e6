/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine on a temporary folder, a control on it, sessions as fs would open them.
 * ioc() hands structs over as FUSE does: `in` and `out` are buffers of exactly the
 * encoded size, so that a byte read or written beyond them is seen by ASan.
 */
#ifndef TESTS_CONTROL_FIXTURE_H
#define TESTS_CONTROL_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <vexfs/vexfs.h>
#include "control_i.h"

#define OWNER 4711u
#define STRANGER 4712u

extern struct vex_engine *engine;
extern struct vex_control *control;
extern struct vex_session *S; /* root's, read and write */
extern const struct vex_cred root, owner, stranger;

void fixture_up(void);
void fixture_down(void);
/* Closes everything and opens it again. */
void fixture_again(void);

struct vex_session *session(const struct vex_cred *c, int flags);
/* 0 or a negative errno; the reply, if any, overwrites buf. `as`: whose call. */
int ioc_as(struct vex_session *s, const struct vex_cred *as, unsigned long cmd,
	   void *buf);
int ioc(unsigned long cmd, void *buf);
/* Bytes the last successful ioc gave back. */
extern _Thread_local size_t ioc_got;
const char *last_error(struct vex_session *s, int *error, uint32_t *item);

int stage(struct vex_session *s, const void *p, size_t len);
ssize_t take(struct vex_session *s, void *buf, size_t size);

/* Makes a file below the root of the store (and the folders above it). */
void touch(const char *path);
void folder(const char *path);
/* Appends an item; bytes grow. */
void item_add(struct vexfs_items *h, const char *path, const char *attr,
	      const void *value, uint32_t len, uint32_t flags);
/* A new file with one attachment of n floats. */
void attach(const char *path, const char *attr, const float *v, uint32_t n);
void make_space(const char *name, uint32_t dim, uint32_t metric);
/* n files p/0000 ... in space `name` of dimension 2: [i + 1, 1]. */
void many(const char *name, unsigned n);
const struct vexfs_hit *hit_at(const void *data, unsigned i);
struct vexfs_search *query(const char *space, uint32_t k, const float *v, uint32_t dim);

uint64_t seed(void);
uint64_t rnd(uint64_t *state);

#endif
