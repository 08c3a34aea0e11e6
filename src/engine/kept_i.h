/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kept.c, stale.c, reattach.c and scan.c: attachments without their file. */
#ifndef VEXFS_KEPT_I_H
#define VEXFS_KEPT_I_H

#include "life_i.h"

/* [deep] What is recorded of a node that is not there; nothing: vanished, since 0. */
vex_err kept_read(struct vex_reader *r, uint64_t node, struct vex_kept *k) VEX_CHECKED;
/* Whether the caller may know that a file of that name was there, and had attachments. */
bool kept_may_tell(struct vex_engine *e, const struct vex_cred *c,
		   const struct vex_kept *k, int dirfd, const char *name);
bool kept_expired(struct vex_engine *e, const struct vex_kept *k);

enum kept_end { KEPT_STAYS, KEPT_RETURNED, KEPT_PURGED };
/* [deep] Looks for the file once more: it is there, or may go, or stays. */
vex_err kept_settle(struct vex_engine *e, struct vex_reader *r, const struct vex_kept *k,
		    enum kept_end *end) VEX_CHECKED;

/* ---- copy.c ------------------------------------------------------------------------ */

/* [deep] The attachments of node `from` that o's node `to` has not, to that one, stale;
 * `from` goes; one commit with what is on the list already. *n of them; 0: nothing was
 * done. The node lock of o is held. -ENOSPC: too many names. */
vex_err node_take_over(struct vex_engine *e, struct vex_reader *r, uint64_t from,
		       const struct vex_obj *o, uint64_t to, struct changes *l,
		       uint64_t *n) VEX_CHECKED;

#endif
