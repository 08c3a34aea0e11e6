/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names: which file a row goes to.
 *
 * A name of --names is one file's name. What cannot be one (it holds '/', or is "."
 * or "..") is encoded: '/' and '%' of it, and the dots of "." and "..", become %XX, as
 * scripts/words-convert does. A name with '/' that is the path of a file which exists is
 * that file. A line of --paths is a path.
 */
#ifndef VEXCTL_NAMES_H
#define VEXCTL_NAMES_H

#include "util.h"

struct names {
	struct buf text;
	char **list; /* into text */
	char **keys; /* of paths: what follows a TAB, or NULL */
	size_t n;
	bool paths;
};

void names_free(struct names *n);
#define AUTO_NAMES __attribute__((cleanup(names_free)))
/* One a line; an empty line is an error. */
int names_load(const char *file, bool paths, struct names *out);
/* Appends the file name for a word. */
void name_encode(const char *word, struct buf *out);

#endif
