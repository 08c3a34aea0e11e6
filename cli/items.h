/* SPDX-License-Identifier: Apache-2.0 */
/*
 * items: names of attachments, and batches of puts and deletes.
 */
#ifndef VEXCTL_ITEMS_H
#define VEXCTL_ITEMS_H

#include "session.h"

/* [a-z0-9][a-z0-9_-]{0,47}; false prints nothing. */
bool space_name_ok(const char *name);
/* "<space>" or "<space>.<key>" (key NULL or "": none); checks both. */
int attr_name(const char *space, const char *key, struct buf *out);

/* Items packed as the daemon wants them. */
struct items {
	struct buf bytes;
	uint32_t count;
};

void items_free(struct items *i);
void items_clear(struct items *i); /* keeps the memory */
#define AUTO_ITEMS __attribute__((cleanup(items_free)))
void items_add(struct items *i, uint32_t flags, const char *path, const char *attr,
	       const void *value, size_t len);
/* VEXFS_IOC_PUT or _DELETE of `count` packed items: all of them or none. 0 or a
 * negative errno. */
int items_send(struct session *s, unsigned long cmd, const void *data, size_t bytes,
	       uint32_t count);

#endif
