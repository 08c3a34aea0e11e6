/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spaces: create, get, list, drop, set. Names and shapes are for everyone, since
 * whoever attaches needs them; counts would tell of files the caller may not see, so
 * they are for root and the owner of the mount.
 */
#include "control_i.h"

#define SET_MASK                                                                         \
	(VEXFS_SPACE_EF_SEARCH | VEXFS_SPACE_EF_CONSTRUCTION | VEXFS_SPACE_M |           \
	 VEXFS_SPACE_QUANT | VEXFS_SPACE_RECALL)

static void fill(struct vex_engine *e, struct vexfs_space *o, struct vex_space *sp,
		 bool totals)
{
	struct vex_index_info index;
	struct vex_space_counts n;
	struct vex_space_spec spec;

	vex_space_spec(sp, &spec);
	memset(o, 0, sizeof(*o));
	memcpy(o->name, spec.name, strnlen(spec.name, VEX_SPACE_NAME_MAX));
	o->id = vex_space_id(sp);
	o->dim = spec.dim;
	o->metric = spec.metric;
	o->type = spec.type;
	o->index = spec.index;
	o->m = spec.m;
	o->ef_construction = spec.ef_construction;
	o->ef_search = spec.ef_search;
	o->scale = spec.scale;
	o->quant = spec.quant ? spec.quant : VEXFS_QUANT_SQ8;
	o->recall = spec.recall;
	vex_engine_index_info(e, sp, &index);
	o->index_state = index.state;
	if (!totals)
		return;
	vex_engine_counts(e, sp, &n);
	o->attachments = n.attachments;
	o->rows = n.rows;
	o->slots = n.slots;
	o->bytes = n.bytes;
	o->damaged = n.damaged;
	o->pending = index.pending;
	o->index_bytes = index.bytes;
	o->index_builds = index.builds;
	o->index_recall = index.recall;
	o->progress = index.progress;
	o->seconds_left = index.seconds_left;
}

static bool sees_totals(const struct call *c)
{
	return vex_cred_is_admin(c->engine, c->cred);
}

/* What CREATE, GET, DROP and SET have in common. */
static vex_err check(struct call *c, const struct vexfs_space *h, uint32_t mask)
{
	vex_err err;

	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	if (h->mask & ~mask)
		return session_fail(c->s, -EINVAL, "unknown mask %#x", h->mask & ~mask);
	err = call_reserved(c, h->reserved1);
	if (!err)
		err = call_name(c, h->name, offsetof(struct vexfs_space, name));
	if (!err && !h->name[0])
		return session_fail(c->s, -EINVAL, "no name");
	return err;
}

static vex_err find(struct call *c, const char *name, struct vex_space **out)
{
	vex_err err = vex_space_find(vex_engine_store(c->engine), name, out);

	if (err == -ENODEV)
		session_fail(c->s, err, "no space %s", name);
	return err;
}

static vex_err find_fill(struct call *c, struct vexfs_space *h)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	vex_err err = find(c, h->name, &sp);

	if (!err)
		fill(c->engine, h, sp, sees_totals(c));
	return err;
}

static void say(struct call *c, vex_err err, const char *name)
{
	if (err == -EEXIST)
		session_fail(c->s, err, "there is a space %s", name);
	else if (err == -ENODEV)
		session_fail(c->s, err, "no space %s", name);
}

/* What is wrong with a spec that was refused. */
static vex_err refuse(struct call *c, vex_err err, const struct vex_space_spec *spec)
{
	if (spec->metric <= VEX_JACCARD && spec->type <= VEX_BIT &&
	    !vex_metric_fits(spec->metric, spec->type))
		return session_fail(
		    c->s, err,
		    "metric %s does not go with elements of type %s: "
		    "hamming and jaccard are for bit, and bit has no others",
		    metric_name(spec->metric), type_name(spec->type));
	if (spec->scale < 0 || spec->scale > 0)
		return session_fail(c->s, err,
				    "a scale is for i8 and i16, above 0, and such that "
				    "all values are normal float32 numbers");
	return session_fail(c->s, err,
			    "a space of this name, dimension, metric, "
			    "type or index cannot be made");
}

vex_err ioc_space_create(struct call *c)
{
	struct vexfs_space *h = c->head;
	struct vex_space_spec spec = { .name = "" };
	vex_err err = check(c, h, 0);

	if (err)
		return err;
	if (h->metric > UINT8_MAX || h->type > UINT8_MAX || h->index > UINT8_MAX ||
	    h->quant > VEXFS_QUANT_NONE)
		return session_fail(c->s, -EINVAL,
				    "unknown metric, type, index or quant");
	memcpy(spec.name, h->name, strnlen(h->name, VEX_SPACE_NAME_MAX));
	spec.metric = (uint8_t)h->metric;
	spec.type = (uint8_t)h->type;
	spec.index = (uint8_t)h->index;
	spec.dim = h->dim;
	spec.m = h->m;
	spec.ef_construction = h->ef_construction;
	spec.ef_search = h->ef_search;
	spec.scale = h->scale;
	spec.quant = (uint8_t)h->quant;
	spec.recall = h->recall;
	err = vex_space_spec_check(&spec);
	if (err)
		return refuse(c, err, &spec);
	err = vex_engine_space_create(c->engine, c->cred, &spec);
	say(c, err, h->name);
	return err ? err : find_fill(c, h);
}

vex_err ioc_space_get(struct call *c)
{
	vex_err err = check(c, c->head, 0);

	return err ? err : find_fill(c, c->head);
}

vex_err ioc_space_drop(struct call *c)
{
	struct vexfs_space *h = c->head;
	vex_err err = check(c, h, 0);

	if (err)
		return err;
	err = vex_engine_space_drop(c->engine, c->cred, h->name);
	say(c, err, h->name);
	return err;
}

static vex_err set(struct call *c, const struct vexfs_space *h)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_space_spec spec;
	vex_err err = find(c, h->name, &sp);

	if (err)
		return err;
	vex_space_spec(sp, &spec);
	if (h->mask & VEXFS_SPACE_EF_SEARCH)
		spec.ef_search = h->ef_search;
	if (h->mask & VEXFS_SPACE_EF_CONSTRUCTION)
		spec.ef_construction = h->ef_construction;
	if (h->mask & VEXFS_SPACE_M)
		spec.m = h->m;
	if (h->mask & VEXFS_SPACE_QUANT)
		spec.quant = h->quant > VEXFS_QUANT_NONE ? UINT8_MAX : (uint8_t)h->quant;
	if (h->mask & VEXFS_SPACE_RECALL)
		spec.recall = h->recall;
	err = vex_engine_space_set(c->engine, c->cred, &spec);
	say(c, err, h->name);
	if (err == -EINVAL)
		session_fail(c->s, err,
			     "m, ef_construction, ef_search or recall out of range");
	return err;
}

vex_err ioc_space_set(struct call *c)
{
	struct vexfs_space *h = c->head;
	vex_err err = check(c, h, SET_MASK);

	if (!err && !h->mask)
		return session_fail(c->s, -EINVAL, "nothing to change");
	if (!err)
		err = set(c, h);
	return err ? err : find_fill(c, h);
}

/* ---- list ------------------------------------------------------------------------ */

vex_err ioc_space_list(struct call *c)
{
	struct vexfs_space_list *h = c->head;
	struct vex_store *store = vex_engine_store(c->engine);
	size_t fit = c->room / sizeof(struct vexfs_space);
	bool totals = sees_totals(c);
	uint32_t after = h->after;

	if (h->flags)
		return session_fail(c->s, -EINVAL, "unknown flags %#x", h->flags);
	h->count = 0;
	h->more = 0;
	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;
		struct vexfs_space one;
		vex_err err = vex_space_next(store, after, &sp);

		if (err)
			return err == -ENODEV ? 0 : err;
		if (h->count == fit)
			break;
		fill(c->engine, &one, sp, totals);
		memcpy(c->reply + h->count * sizeof(one), &one, sizeof(one));
		after = one.id;
		h->count++;
		c->used += sizeof(one);
	}
	h->more = 1;
	return 0;
}
