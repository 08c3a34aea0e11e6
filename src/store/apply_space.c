/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of spaces, applied to the catalog (see apply.c). A new space's files exist
 * before the commit that names it; if that fails, they are removed again.
 */
#include "apply.h"

static vex_err space_row(struct writer *w, uint32_t id, const struct vex_space_spec *p)
{
	vex_err err =
	    sql_do(&w->q, SQL_SPACE_ADD, "isiiiiiiiidd", (int64_t)id, p->name,
		   (int64_t)p->dim, (int64_t)p->metric, (int64_t)p->type,
		   (int64_t)p->index, (int64_t)p->m, (int64_t)p->ef_construction,
		   (int64_t)p->ef_search, (int64_t)p->quant, p->scale, (double)p->recall);

	return err ? err : meta_set_int(&w->q, "space_high", id);
}

static uint32_t spaces_pending(const struct writer *w)
{
	uint32_t n = 0;

	for (size_t i = 0; i < w->nfx; i++)
		n += w->fx[i].kind == FX_SPACE_NEW;
	return n;
}

static bool spec_ok(const struct vex_space_spec *p)
{
	return p && p->dim && p->dim <= VEX_DIM_MAX &&
	       vex_metric_fits(p->metric, p->type) && p->name[0] &&
	       memchr(p->name, 0, sizeof(p->name));
}

vex_err apply_space_new(struct writer *w, struct vex_change *c)
{
	struct vex_space *sp;
	int64_t id;
	vex_err err;

	if (!spec_ok(c->spec))
		return -EINVAL;
	err = sql_int(&w->q, SQL_SPACE_NAMED, &id, "s", c->spec->name);
	if (err != -ENODATA)
		return err ? err : -EEXIST;
	if (w->s->nspaces + spaces_pending(w) >= VEX_SPACES_MAX)
		return -ENOSPC;
	err = apply_room(w, 1);
	if (!err)
		err = space_alloc(w->s, w->space_high + 1, c->spec, &sp);
	if (err)
		return err;
	err = slotfile_create(sp);
	if (err) {
		vex_space_unref(sp);
		return err;
	}
	w->space_high++;
	w->lsn++;
	c->lsn = w->lsn;
	c->space = sp;
	apply_effect(w, FX_SPACE_NEW, sp);
	err = space_row(w, sp->id, c->spec);
	return err ? err
		   : apply_log(w, FMT_LOG_SPACE_NEW, 0, sp->id, sp->spec.name,
			       (uint32_t)strlen(sp->spec.name), NO_SLOT, NO_SLOT, NULL);
}

vex_err apply_space_drop(struct writer *w, struct vex_change *c)
{
	struct vex_space *sp = c->space;
	vex_err err;

	if (sp->w_dropped)
		return -ENODEV;
	err = apply_room(w, 1);
	if (err)
		return err;
	w->lsn++;
	c->lsn = w->lsn;
	apply_effect(w, FX_SPACE_DROP, sp);
	sp->w_dropped = true;
	err = sql_do(&w->q, SQL_SPACE_DROP, "i", (int64_t)sp->id);
	return err ? err
		   : apply_log(w, FMT_LOG_SPACE_DROP, 0, sp->id, sp->spec.name,
			       (uint32_t)strlen(sp->spec.name), NO_SLOT, NO_SLOT, NULL);
}

vex_err apply_space_set(struct writer *w, struct vex_change *c)
{
	AUTO_FREE struct vex_space_spec *spec = malloc(sizeof(*spec));
	struct vex_space *sp = c->space;
	vex_err err;

	if (!c->spec)
		return -EINVAL;
	if (sp->w_dropped)
		return -ENODEV;
	err = spec ? apply_room(w, 1) : -ENOMEM;
	if (err)
		return err;
	w->lsn++;
	c->lsn = w->lsn;
	err = sql_do(&w->q, SQL_SPACE_SET, "iiiiiid", (int64_t)sp->id,
		     (int64_t)c->spec->index, (int64_t)c->spec->m,
		     (int64_t)c->spec->ef_construction, (int64_t)c->spec->ef_search,
		     (int64_t)c->spec->quant, (double)c->spec->recall);
	*spec = *c->spec;
	apply_effect(w, FX_SPACE_SET, sp)->spec = take_ptr(&spec);
	return err ? err
		   : apply_log(w, FMT_LOG_SPACE_SET, 0, sp->id, sp->spec.name,
			       (uint32_t)strlen(sp->spec.name), NO_SLOT, NO_SLOT, NULL);
}
