/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes: what recall one has, and building it anew. */
#include <math.h>
#include "control_i.h"

static vex_err check(struct call *c, uint32_t flags, const char *name, size_t at)
{
	if (flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", flags);
	return call_name(c, name, at);
}

static void say(struct call *c, vex_err err, const char *name)
{
	if (err == -ENODEV)
		session_fail(c->s, err, "no space %s", name);
}

vex_err ioc_rebuild(struct call *c)
{
	struct vexfs_rebuild *h = c->head;
	struct vex_rebuild r;
	vex_err err = check(c, h->flags, h->space, offsetof(struct vexfs_rebuild, space));

	if (!err)
		err = call_reserved(c, h->reserved);
	if (!err)
		err = vex_engine_rebuild(c->engine, c->cred, h->space, &r);
	say(c, err, h->space);
	if (err)
		return err;
	h->spaces = r.spaces;
	h->rows = r.rows;
	h->bytes = r.bytes;
	h->seconds = r.timed && r.spaces ? (uint64_t)ceil(r.cpu_seconds) : 0;
	return 0;
}

vex_err ioc_recall(struct call *c)
{
	struct vexfs_recall *h = c->head;
	struct vex_recall r = {
		.sample = h->sample, .from = h->from, .ef = h->ef, .recall = h->want
	};
	vex_err err = check(c, h->flags, h->space, offsetof(struct vexfs_recall, space));

	if (!err)
		err = call_reserved(c, h->reserved);
	if (!err)
		err = call_reserved(c, h->reserved0);
	if (err)
		return err;
	if (!h->space[0])
		return session_fail(c->s, -EINVAL, "no name");
	if (!h->sample || h->sample > VEXFS_RECALL_SAMPLE_MAX)
		return session_fail(c->s, -EINVAL, "sample %u is not within 1 .. %u",
				    h->sample, VEXFS_RECALL_SAMPLE_MAX);
	if (!(h->want >= 0 && h->want <= 1) || (h->want > 0 && h->ef))
		return session_fail(c->s, -EINVAL, "one of ef and a recall from 0 to 1");
	err = vex_engine_recall(c->engine, c->cred, h->space, &r);
	say(c, err, h->space);
	if (err)
		return err;
	h->sample = r.queries;
	h->recall = r.recall;
	h->aim = r.aim;
	h->graph = r.graph;
	return 0;
}
