/* SPDX-License-Identifier: Apache-2.0 */
/* What waits and what runs, for those who look from outside. */
#include "engine_i.h"

void vex_engine_load(struct vex_engine *e, struct vex_engine_load *out)
{
	struct vex_store_status st;

	*out = (struct vex_engine_load){ 0 };
	vex_pool_load(e->pool, &out->work_queued, &out->work_running);
	vex_pool_load(e->scans, &out->search_queued, &out->search_running);
	vex_store_status(e->store, &st);
	out->changes_queued = st.queued;
}
