/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options: the command line. Each command has a table; what is not in it is an
 * error, also an abbreviation: a name that works today must mean the same tomorrow.
 */
#ifndef VEXCTL_OPTIONS_H
#define VEXCTL_OPTIONS_H

#include "util.h"

struct invocation {
	const char *mount; /* -m; NULL: not given */
	int argc;          /* what follows the command's name */
	char **argv;
	int nargs; /* after options_parse: arguments that are no options */
	char **args;
};

enum opt_type {
	OPT_FLAG,   /* bool */
	OPT_TEXT,   /* const char * */
	OPT_COUNT,  /* uint32_t, at least `min` */
	OPT_NUMBER, /* float, finite */
};

struct opt {
	const char *name; /* without "--"; NULL: a letter alone */
	char letter;      /* 0: none */
	enum opt_type type;
	void *into;
	uint32_t min;
	bool *given; /* may be NULL */
};

/* Returns -1 to go on; else the exit code (--help: its text is on stdout). `opts`
 * ends with an entry that has no `into`. -m and --help need no entry. */
int options_parse(struct invocation *in, const struct opt *opts, const char *help);
/* -m, --help and --version in front of a command's name. Returns as options_parse. */
int options_lead(struct invocation *in, const char *help);

/* Whole decimal numbers, nothing before or after; false where text is none. */
bool parse_count(const char *text, uint32_t *out);
bool parse_number(const char *text, float *out);

#endif
