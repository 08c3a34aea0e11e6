/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search: between the options, the queries, the calls and the printing.
 */
#ifndef VEXCTL_SEARCH_H
#define VEXCTL_SEARCH_H

#include "session.h"
#include "vector.h"

enum search_form { FORM_LINES, FORM_PATHS, FORM_NUL, FORM_JSON, FORM_JSONL };

struct search {
	/* options */
	const char *space, *vector, *file, *like, *unlike, *under, *where;
	uint32_t k, per_file, ef, offset, max_ms, max_visited;
	float max_distance, min_similarity, mmr, beta, recall;
	bool k_given, per_file_given, ef_given, recall_given;
	bool max_given, min_given, mmr_given, beta_given;
	bool max_ms_given, max_visited_given;
	bool exact, fresh, no_cache, explain, paths, nul, json, jsonl;
	/* what they come to */
	enum search_form form;
	bool range;            /* all within a distance */
	struct matrix queries; /* none with --like */
	struct buf like_path, unlike_path, under_path;
	uint32_t nqueries;
};

/* Prints hits as they come, in the order of the queries. */
struct printer {
	const struct search *opts;
	char space[VEXFS_NAME_LEN];
	uint32_t metric;
	uint32_t next_query; /* of the batch: whose heading is next */
	uint64_t printed;
	bool begun;
	bool partial; /* a call met --max-ms or --max-visited: no more are made */
	/* for --explain, of all calls together: */
	char plan[16];
	bool cached;
	uint64_t rows, candidates, distances, nanoseconds;
	struct buf line;
};

void printer_free(struct printer *p);
#define AUTO_PRINTER __attribute__((cleanup(printer_free)))
/* `base` is the number of the call's first query within the whole batch. */
int printer_hits(struct printer *p, const struct vexfs_search *head, uint32_t base,
		 const void *data, size_t bytes);
/* What a call cost, for --explain. */
void printer_cost(struct printer *p, const struct vexfs_search *head);
/* The end of the whole search. */
void printer_end(struct printer *p);

/* Calls the daemon until every query is answered; prints through p. */
int search_run(struct session *s, const struct search *opts,
	       const struct vexfs_version *limits, struct printer *p);

#endif
