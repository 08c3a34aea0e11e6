/* SPDX-License-Identifier: Apache-2.0 */
/* Private to query.c (the conversation) and query_json.c (the request). */
#ifndef VEXFS_QUERY_I_H
#define VEXFS_QUERY_I_H

#include "control_i.h"

#define QUERY_MAX ((size_t)1 << 20) /* bytes of a request */

/* The request becomes the struct in c->head and what follows it in `data`. -EINVAL with
 * a sentence kept in the session. */
vex_err query_parse(struct call *c, const char *text, size_t len,
		    struct vex_buf *data) VEX_CHECKED;

/* "distance": ... "stale": ... of a hit. */
void query_hit_fields(struct vex_buf *b, const struct vex_result *r,
		      const struct vex_found *f);

#endif
