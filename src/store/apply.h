/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the apply*.c files offer each other. Writer thread, transaction open.
 */
#ifndef VEX_STORE_APPLY_H
#define VEX_STORE_APPLY_H

#include "store_i.h"

#define NO_SLOT (~(uint64_t)0) /* -1 in the log */

/* Room for n more effects; then apply_effect cannot fail. */
vex_err apply_room(struct writer *w, size_t n) VEX_CHECKED;
struct effect *apply_effect(struct writer *w, enum effect_kind kind,
			    struct vex_space *sp);
/* The log row of the change w->lsn. */
vex_err apply_log(struct writer *w, enum fmt_log_kind kind, uint64_t node, uint32_t space,
		  const void *key, uint32_t key_len, uint64_t old_slot, uint64_t new_slot,
		  const char *path) VEX_CHECKED;

vex_err apply_space_new(struct writer *w, struct vex_change *c) VEX_CHECKED;
vex_err apply_space_drop(struct writer *w, struct vex_change *c) VEX_CHECKED;
vex_err apply_space_set(struct writer *w, struct vex_change *c) VEX_CHECKED;
vex_err apply_node_new(struct writer *w, const struct vex_change *c) VEX_CHECKED;
vex_err apply_node_set(struct writer *w, const struct vex_change *c) VEX_CHECKED;
vex_err apply_node_state(struct writer *w, const struct vex_change *c) VEX_CHECKED;
vex_err apply_move(struct writer *w, struct vex_change *c) VEX_CHECKED;
vex_err apply_name_add(struct writer *w, const struct vex_change *c) VEX_CHECKED;

#endif
