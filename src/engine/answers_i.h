/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to engine: answers of earlier searches (answers.c), and what a search and the
 * builder of its hits need of one.
 */
#ifndef VEXFS_ANSWERS_I_H
#define VEXFS_ANSWERS_I_H

#include "search_i.h"

#define ANSWER_MAX ((size_t)64 << 10)

/* answer.how */
enum {
	ANSWER_WHOLE = 1u << 0, /* the rows are the answer: each has to be accepted */
	ANSWER_AMONG = 1u << 1, /* found among candidates */
	ANSWER_ALL = 1u << 2,   /* all rows there were to judge: fewer than k may do */
};

/* All that was asked but groups, filter and vectors, whose lengths it tells. No padding:
 * compared by bytes. */
struct answer_head {
	uint64_t like, unlike, skip, under_dev, under_ino, nq;
	uint32_t space, k, offset, per_file, ef, own_ef;
	float recall, own_recall, max_distance, lambda;
	uint32_t flags, uid, gid, ngroups, where_len, zero;
};
_Static_assert(sizeof(struct answer_head) == 112, "no padding");

/* One block; behind it the rows judged of each query (a struct answer_list and its
 * hits), then the key. */
struct answer {
	_Atomic unsigned refs;
	unsigned how;
	uint64_t hash;
	size_t size, key_len, judged_len;
	/* of the search that made it: */
	uint64_t changed, live_rows; /* its view's */
	uint64_t changes;            /* the engine's, before anything was looked at */
	uint64_t only_seq;
	uint64_t candidates, distances;
	const char *plan;
	/* the shard's: */
	struct answer *next, *newer, *older;
};

struct answer_list {
	uint64_t n;
	struct vex_hit hits[];
};

static inline const char *answer_judged(const struct answer *a)
{
	return (const char *)(a + 1);
}
static inline const char *answer_key(const struct answer *a)
{
	return answer_judged(a) + a->judged_len;
}

/* Whether answers of this search may be kept and used. */
bool answers_wanted(const struct search *s);
/* With the view open: one for the same question that still holds, to be put; or NULL. */
struct answer *answers_find(const struct search *s);
/* The search is over, and judged these rows: lists, one behind the other. */
void answers_keep(const struct search *s, const struct vex_buf *judged);

#endif
