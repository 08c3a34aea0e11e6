/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spaces: making them by command or by a first attachment, changing, dropping.
 *
 * A space must exist before rows can be written into its slots, so a first attachment
 * is two commits: the space, then the put. spaces_lock (see attach_i.h) makes the pair
 * one step for everybody else, and lets a put that fails take its space away again.
 */
#include <float.h>
#include <math.h>
#include "engine_i.h"
#include "attach_i.h"

/* Wide rows of links paid on GloVe-100; at 512 and more each further record fetched is
 * many lines. 256 between the two is a guess. */
#define M_LOW_DIM 32u
#define M_HIGH_DIM 16u
#define HIGH_DIM 256u
#define EF_CONSTRUCTION_DEFAULT 200u
#define M_MIN 2u
#define M_MAX 256u
#define EF_MAX 65536u

/* Writers first: a stream of puts must not keep a first attachment waiting for ever. */
pthread_rwlock_t spaces_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static bool default_to(uint32_t *v, uint32_t value, uint32_t min, uint32_t max)
{
	if (!*v)
		*v = value;
	return *v >= min && *v <= max;
}

/* Every value times it is a float, and not a subnormal one. */
static bool scale_ok(const struct vex_space_spec *s)
{
	double most = s->type == VEX_I8 ? -(double)INT8_MIN : -(double)INT16_MIN;

	if (!(s->scale < 0 || s->scale > 0))
		return !isnan(s->scale);
	return (s->type == VEX_I8 || s->type == VEX_I16) && s->scale >= (double)FLT_MIN &&
	       s->scale * most <= (double)FLT_MAX;
}

vex_err vex_space_spec_check(struct vex_space_spec *spec)
{
	struct vex_space_spec s = *spec;
	size_t len = strnlen(s.name, sizeof(s.name));

	if (len == sizeof(s.name) || !space_name_ok(s.name, len))
		return -EINVAL;
	if (!s.dim || s.dim > VEX_DIM_MAX || !vex_metric_fits(s.metric, s.type) ||
	    !scale_ok(&s) || !(s.recall >= 0 && s.recall <= 1) || s.index > VEX_HNSW ||
	    s.quant >= VEX_QUANTS)
		return -EINVAL;
	if (!default_to(&s.m, s.dim < HIGH_DIM ? M_LOW_DIM : M_HIGH_DIM, M_MIN, M_MAX) ||
	    !default_to(&s.ef_construction, EF_CONSTRUCTION_DEFAULT, 1, EF_MAX) ||
	    !default_to(&s.ef_search, VEX_EF_SEARCH_DEFAULT, 1, EF_MAX))
		return -EINVAL;
	*spec = s;
	return 0;
}

struct vex_layout layout_of(struct vex_engine *e, const char *name)
{
	AUTO_SPACE struct vex_space *sp = NULL;

	if (vex_space_find(e->store, name, &sp))
		return (struct vex_layout){ .type = VEX_F32 };
	return *vex_space_layout(sp);
}

/* ---- by a first attachment --------------------------------------------------- */

static vex_err space_make(struct vex_engine *e, const char *name, uint32_t dim,
			  struct vex_space **out)
{
	struct vex_space_spec spec = { .metric =
					   (uint8_t)vex_engine_knob(e, VEX_KNOB_METRIC),
				       .type = VEX_F32,
				       .index = VEX_HNSW,
				       .dim = dim };
	struct vex_change c = { .kind = VEX_SPACE_NEW, .spec = &spec };
	vex_err err;

	snprintf(spec.name, sizeof(spec.name), "%s", name);
	err = vex_space_spec_check(&spec);
	if (!err)
		err = vex_store_commit(e->store, &c, 1, NULL);
	if (!err)
		*out = c.space;
	return err;
}

vex_err space_for_locked(struct vex_engine *e, const char *name, uint32_t dim,
			 struct vex_space **out, bool *made)
{
	AUTO_SPACE struct vex_space *sp = NULL;
	vex_err err = vex_space_find(e->store, name, &sp);

	*made = false;
	if (err == -ENODEV && !vex_engine_knob(e, VEX_KNOB_STRICT)) {
		err = space_make(e, name, dim, &sp);
		*made = !err;
	}
	if (err)
		return err;
	if (vex_space_dim(sp) != dim)
		return -EINVAL;
	*out = take_ptr(&sp);
	return 0;
}

void space_unmake_locked(struct vex_engine *e, struct vex_space *sp)
{
	struct vex_change c = { .kind = VEX_SPACE_DROP, .space = sp };
	struct vex_space_spec spec;
	vex_err err = vex_store_commit(e->store, &c, 1, NULL);

	if (!err)
		return;
	vex_space_spec(sp, &spec);
	vex_warn("space %s was made for a put that failed, and stays: %s", spec.name,
		 strerror(-err));
}

/* ---- by command -------------------------------------------------------------- */

vex_err vex_engine_space_create(struct vex_engine *e, const struct vex_cred *cred,
				const struct vex_space_spec *spec)
{
	SCOPED_WRLOCK(&spaces_lock);
	struct vex_space_spec s = *spec;
	struct vex_change c = { .kind = VEX_SPACE_NEW, .spec = &s };
	vex_err err = vex_space_spec_check(&s);

	if (!vex_cred_is_admin(e, cred))
		return -EPERM;
	if (!err)
		err = vex_store_commit(e->store, &c, 1, NULL);
	if (!err)
		vex_space_unref(c.space);
	return err;
}

vex_err vex_engine_space_drop(struct vex_engine *e, const struct vex_cred *cred,
			      const char *name)
{
	SCOPED_WRLOCK(&spaces_lock);
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_change c = { .kind = VEX_SPACE_DROP };
	vex_err err;

	if (!vex_cred_is_admin(e, cred))
		return -EPERM;
	err = vex_space_find(e->store, name, &sp);
	if (err)
		return err;
	c.space = sp;
	return vex_store_commit(e->store, &c, 1, NULL);
}

/* What may change, from `want` where it says so (not 0); the rest must agree. */
static vex_err spec_merge(struct vex_space_spec *now, const struct vex_space_spec *want)
{
	if ((want->dim && want->dim != now->dim) || want->metric != now->metric ||
	    want->type != now->type || want->scale < now->scale ||
	    want->scale > now->scale)
		return -EINVAL;
	now->index = want->index;
	now->quant = want->quant;
	now->recall = want->recall;
	if (want->m)
		now->m = want->m;
	if (want->ef_construction)
		now->ef_construction = want->ef_construction;
	if (want->ef_search)
		now->ef_search = want->ef_search;
	return vex_space_spec_check(now);
}

vex_err vex_engine_space_set(struct vex_engine *e, const struct vex_cred *cred,
			     const struct vex_space_spec *spec)
{
	SCOPED_WRLOCK(&spaces_lock);
	AUTO_SPACE struct vex_space *sp = NULL;
	struct vex_space_spec s;
	struct vex_change c = { .kind = VEX_SPACE_SET, .spec = &s };
	vex_err err;

	if (!vex_cred_is_admin(e, cred))
		return -EPERM;
	if (strnlen(spec->name, sizeof(spec->name)) == sizeof(spec->name))
		return -EINVAL;
	err = vex_space_find(e->store, spec->name, &sp);
	if (err)
		return err;
	vex_space_spec(sp, &s);
	err = spec_merge(&s, spec);
	if (err)
		return err;
	c.space = sp;
	return vex_store_commit(e->store, &c, 1, NULL);
}

/* ---- by id ------------------------------------------------------------------- */

void spaceset_free(struct spaceset *s)
{
	for (size_t i = 0; i < s->n; i++)
		vex_space_unref(s->v[i]);
	free(s->v);
	*s = (struct spaceset){ 0 };
}

vex_err spaceset_get(struct vex_engine *e, struct spaceset *s, uint32_t id,
		     struct vex_space **out)
{
	struct vex_space **v;
	vex_err err;

	/* Callers come in order of space: the last one is nearly always the one. */
	for (size_t i = s->n; i-- > 0;) {
		if (vex_space_id(s->v[i]) == id) {
			*out = s->v[i];
			return 0;
		}
	}
	v = reallocarray(s->v, s->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->v = v;
	err = vex_space_find_id(e->store, id, &v[s->n]);
	if (err)
		return err;
	*out = v[s->n++];
	return 0;
}
