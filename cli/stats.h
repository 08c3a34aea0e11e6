/* SPDX-License-Identifier: Apache-2.0 */
/* stats: operations of a mount, fetched; saved and compared (stats_file.c); used by top
 * and health too. */
#ifndef VEXCTL_STATS_H
#define VEXCTL_STATS_H

#include "session.h"

struct stats {
	struct vexfs_stats *head; /* the last page; its ops[] is no one's business */
	struct vexfs_op_stat *ops;
	uint32_t n;
};
void stats_free(struct stats *s);
#define AUTO_STATS __attribute__((cleanup(stats_free)))
/* CLI_ERROR is printed. */
int stats_fetch(struct session *s, struct stats *out);
void stats_json(const struct stats *s, struct buf *out);
static inline uint64_t stats_avg(const struct vexfs_op_stat *o)
{
	return o->count ? o->total_ns / o->count : 0;
}
/* "1.5us", "12ms": at most 7 characters. */
struct shown {
	char text[16];
};
struct shown show_ns(uint64_t ns);
struct shown show_bytes(uint64_t bytes);

/* stats_file.c */
int stats_save(const struct stats *s, const char *path);
/* Prints what is slower than 1.2 times as saved; *slower: how many. */
int stats_compare(const struct stats *s, const char *path, unsigned *slower);

#endif
