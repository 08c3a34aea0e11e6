/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls about the whole: version and limits, sync, status, the last error.
 */
#include "control_i.h"

static vex_err no_flags(struct call *c, uint32_t flags)
{
	if (!flags)
		return 0;
	return session_fail(c->s, -EINVAL, "unknown flags %#x", flags);
}

static uint32_t version_part(const char **s)
{
	char *end;
	unsigned long n = strtoul(*s, &end, 10);

	*s = *end == '.' ? end + 1 : end;
	return (uint32_t)n;
}

vex_err ioc_version(struct call *c)
{
	struct vexfs_version *v = c->head;
	const char *text = VEXFS_VERSION;
	vex_err err = no_flags(c, v->flags);

	if (!err)
		err = call_reserved(c, v->reserved);
	if (err)
		return err;
	v->abi = VEXFS_ABI;
	v->major = version_part(&text);
	v->minor = version_part(&text);
	v->patch = version_part(&text);
	v->dim_max = VEX_DIM_MAX;
	v->k_max = VEX_K_MAX;
	v->value_max = VEX_VALUE_MAX;
	v->batch_max = VEX_BATCH_MAX;
	v->key_max = VEX_KEY_MAX;
	v->stage_max = STAGE_MAX;
	return 0;
}

static vex_err sync_deep(void *arg)
{
	struct call *c = arg;
	struct vexfs_sync *h = c->head;
	struct vex_store_status st;
	vex_err err = vex_engine_sync(c->engine);

	if (err)
		return err;
	vex_store_status(vex_engine_store(c->engine), &st);
	h->lsn = st.durable_lsn;
	return 0;
}

vex_err ioc_sync(struct call *c)
{
	struct vexfs_sync *h = c->head;
	vex_err err = no_flags(c, h->flags);

	if (!err)
		err = call_reserved(c, h->reserved0);
	if (!err)
		err = call_reserved(c, h->reserved);
	return err ? err : vex_pool_call(c->s->control->pool, sync_deep, c);
}

vex_err ioc_status(struct call *c)
{
	struct vexfs_status *h = c->head;
	struct vex_store_status st;
	vex_err err = no_flags(c, h->flags);

	if (!err)
		err = call_reserved(c, h->reserved);
	if (err)
		return err;
	vex_store_status(vex_engine_store(c->engine), &st);
	h->failed = st.failed;
	h->spaces = st.spaces;
	h->nodes = st.nodes;
	h->attachments = st.attachments;
	h->rows = st.rows;
	h->damaged = st.damaged;
	h->lsn = st.lsn;
	h->durable_lsn = st.durable_lsn;
	h->catalog_bytes = st.catalog_bytes;
	h->slot_bytes = st.slot_bytes;
	h->commits = st.commits;
	h->groups = st.groups;
	h->pid = (uint64_t)getpid();
	h->uptime_seconds = (vex_now_mono() - c->s->control->started) / 1000000000u;
	return 0;
}

vex_err ioc_last_error(struct call *c)
{
	struct vexfs_last_error *h = c->head;
	const struct last_error *last = &c->s->error;

	_Static_assert(sizeof(h->text) == sizeof(last->text), "same room");
	if (h->flags || h->reserved)
		return -EINVAL;
	h->error = last->error;
	h->item = last->item;
	memcpy(h->text, last->text, sizeof(h->text));
	return 0;
}
