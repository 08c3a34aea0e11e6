/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the files of a search: query.c (what is asked), verdict.c (who may be a
 * hit), where.c (the filter), search.c (the passes), mmr.c (diversity), hits.c (the
 * answer), near.c.
 */
#ifndef VEXFS_SEARCH_I_H
#define VEXFS_SEARCH_I_H

#include <math.h>
#include "known_i.h"
#include "vigil_i.h"

struct search {
	struct vex_engine *e;
	const struct vex_query *q;
	struct vex_problem *problem; /* may be NULL */
	bool deep;                   /* runs on a deep stack as a whole */
	struct vex_reader *r; /* NULL: on a small stack, where the catalog is not asked */
	uint64_t moment;      /* before what is read of it now */

	/* query.c: */
	struct vex_space *space;
	struct vex_space_spec spec;
	float *own_vectors; /* of `like`; owned */
	const float *vectors;
	size_t nq;
	uint32_t cap;       /* hits kept of a query, offset included */
	bool one;           /* the queries are one: nearest to any of them */
	uint64_t like_node; /* near.c sets it; else query.c, by path */
	uint64_t unlike_node;
	bool like_key; /* only the attachment `key` */
	const char *key;
	char *like_path; /* owned: holds key */
	bool under;      /* only below under_st */
	struct stat under_st;
	uint64_t under_node;       /* 0: the catalog knows none */
	struct vex_buf under_path; /* owned */
	struct vex_filter *where;  /* NULL: none, or not needed so far */
	char *where_value;         /* room for an xattr; owned */
	struct vex_buf where_dir;  /* path of a directory node; owned */
	uint64_t where_parent;     /* that node; 0: none */

	struct vex_bound bound; /* of the query; where it is met, the answer is partial */
	uint64_t build_until;   /* 0: any time: building it is to end by then */
	uint64_t now;           /* of the last vigil_look */
	size_t watches;         /* it may still set: one a query */

	/* A pass: */
	struct vex_view view;
	bool viewed;
	bool eager;          /* decide everything before a row is let in */
	bool missed;         /* a hit of a pass that was not eager fell away */
	bool scans;          /* by scan alone: the graph has not filled the answer */
	bool narrow;         /* nor do candidates of a scan */
	bool wider;          /* the graph gives many candidates for each hit */
	bool wide;           /* the sets hold candidates, more than k, not accepted yet */
	uint64_t *only;      /* cands.c: rows that may be hits; NULL: any; owned */
	uint64_t nonly;      /* how many */
	uint64_t only_seq;   /* what the table of attributes counted then */
	bool whole;          /* the sets hold all there is */
	struct graph *later; /* to be searched query by query, like that; NULL: is done */
	struct vex_hnsw_query later_query;
	uint64_t changes;      /* vex_engine_changes before anything was looked at */
	bool keep;             /* what is judged is noted, for answers.c */
	struct answer *cached; /* judged in place of what the sets hold; owned */
	struct vex_topk **topk;
	size_t ntopk;
	struct vex_scan_stats stats;
	const char *plan;

	/* Verdicts, across passes: */
	struct memo nodes, dirs_open, dirs_under, parents;

	struct vex_result *res;
};

void VEX_PRINTF(2, 3) search_say(struct search *s, const char *fmt, ...);
/* [deep] Fills space, vectors, cap ...; errors as vex_engine_search. */
vex_err query_prepare(struct search *s) VEX_CHECKED;
/* [deep] The rows of s->like_node in the space become the query. -ENODATA. */
vex_err query_like_rows(struct search *s) VEX_CHECKED;

/* [deep] Finds the file q->like: s->like_node, key. */
vex_err query_like_file(struct search *s) VEX_CHECKED;
/* [deep] unlike.c: moves the queries away from q->unlike. */
vex_err query_unlike(struct search *s) VEX_CHECKED;

/* [deep] 1: may be a hit, 0: not, or an error that ends the search. */
int verdict_node(struct search *s, uint64_t node);
/* Never a hit of this search. */
bool verdict_excluded(const struct search *s, uint64_t node);
/* Whether a slot of the view, with that record, is of the attachment, and intact: 1, 0.
 */
int verdict_row(struct search *s, uint64_t slot, const struct vex_slot *vs,
		const struct vex_attach *a);
/* [deep] The attachment a slot of the view belongs to: 1; 0: gone or damaged. */
int verdict_slot(struct search *s, uint64_t slot, struct vex_attach *a);

/* seat.c: where the file of the attachment is now: its path, with a NUL, appended to
 * out. -EAGAIN: not as it is known. */
vex_err seat_find(struct search *s, const struct vex_attach *a, struct known *k,
		  struct vex_buf *out, struct stat *st) VEX_CHECKED;
/* Whether the caller may read it: 1, 0; -EAGAIN: cannot be told here. Not for searches
 * below a directory. */
int seat_may(struct search *s, const struct known *k, const char *path,
	     const struct stat *st) VEX_CHECKED;
/* [deep] What the catalog knows. -ENODATA: not enough for seat_find. */
vex_err seat_read(struct search *s, uint64_t lsn, struct vex_attach *a,
		  struct known *k) VEX_CHECKED;
/* The attachment a slot's record is of, with what is known of it; without its slot. */
void seat_attachment(const struct search *s, const struct known *k,
		     const struct vex_slot *vs, struct vex_attach *a);
/* where.c: makes s->where of the query's where there is a reader, -EINVAL; frees it;
 * [deep] whether the file there matches: 1, 0, or an error that ends the search. */
vex_err where_prepare(struct search *s) VEX_CHECKED;
void where_free(struct search *s);
int where_test(struct search *s, const struct place *p) VEX_CHECKED;

/* The same for a file known to be at that path: -EAGAIN: cannot be told so. */
int where_test_path(struct search *s, const char *path,
		    const struct stat *st) VEX_CHECKED;

/* cands.c: s->only, where it can be told which rows may be hits and it is worth it.
 * -EAGAIN: not on a small stack, where only what is made already serves. */
vex_err cands_prepare(struct search *s) VEX_CHECKED;
/* Whether the file of a node in s->only, which is at `path`, matches filter and directory
 * in truth: 1, 0; -EAGAIN: cannot be told here. */
int cands_confirm(struct search *s, uint64_t node, const char *path,
		  const struct stat *st) VEX_CHECKED;
/* Whether the caller is known to be able to read less than half of all files. */
bool cands_narrow(struct vex_engine *e, const struct vex_cred *cred);
/* How many of all rows have to be looked at so that as many as wanted of them are in
 * s->only. */
uint32_t among_wider(const struct search *s);
/* [deep] among.c: the answer out of s->only. */
vex_err among_find(struct search *s) VEX_CHECKED;
/* search.c: by scanning, s->only or all. */
vex_err search_scan(struct search *s) VEX_CHECKED;
void search_topks_free(struct search *s);
/* search.c: 0 for -ETIMEDOUT of a search that met its own bound: what it has found by
 * then is the answer. */
vex_err search_stopped(const struct search *s, vex_err err) VEX_CHECKED;
/* The rows of the view that count. */
struct vex_rows search_rows(const struct search *s);

/* vex_accept_fn: who may be a hit; any row, as a candidate: whose it is, is asked later.
 */
int verdict_accept(void *arg, uint64_t slot, uint64_t *file);
int verdict_any(void *arg, uint64_t slot, uint64_t *file);

/* search_count.c: the search is over; before anything of it is freed. */
void search_count(const struct search *s, uint64_t ns, vex_err err);

/* mmr.c: how many of the nearest are chosen from, and at most. */
#define MMR_POOL 1024u
/* Those the query wants of the *n hits of the pool, in order of choice: heap. */
vex_err mmr_order(const struct search *s, const struct vex_hit *pool, size_t *n,
		  struct vex_hit **out) VEX_CHECKED;

/* search.c: whether rows may be refused in the normal course of things. */
bool search_filtered(const struct search *s);
/* search.c: one set of hits a query; one for all where the queries are one. */
vex_err search_topks(struct search *s, uint32_t cap, uint32_t per_file) VEX_CHECKED;

/* The answer of a pass. In one that was not eager, stops at the first hit that falls
 * away, with s->missed. -ENODATA: the candidates were too few. */
vex_err hits_build(struct search *s) VEX_CHECKED;

/* By the graph, into s->topk: *done false where the space has to be scanned after all
 * (what is in the sets then is thrown away). -EAGAIN: not on a small stack. */
vex_err graph_search(struct search *s, bool *done) VEX_CHECKED;

/* The traversal of one query, where graph_search has put it off. -ENODATA: the graph has
 * not filled its answer. */
vex_err graph_later(struct search *s, size_t query) VEX_CHECKED;
void graph_release(struct search *s);

/* [deep] Runs a search whose fields e, q, problem, like_node are set. */
vex_err search_run(struct search *s, struct vex_result **out) VEX_CHECKED;

#endif
