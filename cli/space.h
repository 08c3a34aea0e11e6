/* SPDX-License-Identifier: Apache-2.0 */
/* space: the sub-commands, and the words for the numbers of the interface. */
#ifndef VEXCTL_SPACE_H
#define VEXCTL_SPACE_H

#include "options.h"
#include "session.h"

enum space_word { WORD_METRIC, WORD_TYPE, WORD_INDEX, WORD_QUANT };
/* "?" for a number this vexctl does not know. */
const char *space_word(enum space_word kind, uint32_t value);
/* Prints the choices where there is no such word. */
int space_number(enum space_word kind, const char *word, uint32_t *out);

/* What `vexctl space create` takes to make it again; and from that: -1, or the exit code
 * as options_parse. The name is in->args[0]. */
void space_words(const struct vexfs_space *s, struct buf *out);
int space_parse(struct invocation *in, struct vexfs_space *space);

int space_create(struct invocation *in);
int space_list(struct invocation *in);
int space_show(struct invocation *in);
int space_set(struct invocation *in);
int space_drop(struct invocation *in);

/* Opens the session of a sub-command; in->args[0] is a space, checked. */
int space_begin(struct invocation *in, int nargs, struct session *s);

#endif
