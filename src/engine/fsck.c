/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsck: looks (fsck_tree.c, fsck_index.c, and store for what is its own), and on demand
 * opens the store as a mount would and makes good what was found (fsck_repair.c). Then it
 * looks again: what the second look does not find any more was repaired, what it finds is
 * left. So a repair never claims more than it did, and a next run says the same.
 */
#include "fsck_i.h"

/* ---- the list -------------------------------------------------------------------- */

void fsck_list_free(struct fsck_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].text);
		free(l->v[i].path);
	}
	free(l->v);
	*l = (struct fsck_list){ .n = 0 };
}
#define AUTO_LIST __attribute__((cleanup(fsck_list_free)))

static vex_err grow(struct fsck_list *l)
{
	size_t cap = l->cap ? l->cap * 2 : 64;
	struct fsck_finding *v;

	if (l->n < l->cap)
		return 0;
	v = reallocarray(l->v, cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	l->v = v;
	l->cap = cap;
	return 0;
}

/* Names may hold any byte; a finding is one line. */
static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 127)
			*s = '?';
}

vex_err fsck_add(struct fsck_list *l, const struct fsck_finding *like, const char *fmt,
		 ...)
{
	struct fsck_finding f = *like;
	vex_err err = grow(l);
	va_list ap;
	int n = 0;

	if (err)
		return err;
	f.text = NULL;
	f.path = like->path ? strdup(like->path) : NULL;
	if (fmt) {
		va_start(ap, fmt);
		n = vasprintf(&f.text, fmt, ap);
		va_end(ap);
	}
	if (n < 0 || (like->path && !f.path)) {
		if (n >= 0)
			free(f.text);
		free(f.path);
		return -ENOMEM;
	}
	if (f.text)
		one_line(f.text);
	l->lines += f.text != NULL;
	l->v[l->n++] = f;
	return l->stop && *l->stop ? -ECANCELED : 0;
}

/* ---- looking --------------------------------------------------------------------- */

static vex_err take(void *arg, const struct vex_finding *f)
{
	static const enum fsck_fix fixes[] = {
		[VEX_FIX_NONE] = FSCK_LEFT,
		[VEX_FIX_OPEN] = FSCK_OPEN,
		[VEX_FIX_NAME] = FSCK_NAME,
		[VEX_FIX_REPUT] = FSCK_REPUT,
	};
	struct fsck_finding like = {
		.fix = fixes[f->fix],
		.node = f->node,
		.parent = f->parent,
		.lsn = f->lsn,
		.path = (char *)f->name,
	};

	return fsck_add(arg, &like, "%s", f->text);
}

/* A catalog that cannot be read is the finding. */
static vex_err look(int rootfd, struct fsck_list *l, struct vex_problem *problem)
{
	struct vex_check *c;
	vex_err err = vex_check_open(rootfd, &c, problem);

	if (err == -EUCLEAN) {
		l->no_catalog = true;
		err = fsck_add(l, &(struct fsck_finding){ .fix = FSCK_LEFT }, "%s",
			       problem->text);
		problem->text[0] = '\0';
		return err;
	}
	if (err)
		return err;
	err = vex_check_run(c, take, l, &l->counts);
	l->no_catalog = err == -EUCLEAN;
	if (l->no_catalog)
		err = 0;
	else if (!err)
		err = fsck_index(c, rootfd, l);
	if (!err && !l->no_catalog)
		err = fsck_tree(c, rootfd, l);
	vex_check_close(c);
	return err;
}

/* ---- repairing ------------------------------------------------------------------- */

struct repair_job {
	struct vex_engine *e;
	const struct fsck_list *l;
};

static vex_err repair_deep(void *arg)
{
	struct repair_job *j = arg;

	fsck_repair(j->e, j->l);
	return 0;
}

static vex_err repair(int rootfd, const struct vex_engine_opts *o,
		      const struct fsck_list *l, struct vex_problem *problem)
{
	struct repair_job j = { .l = l };
	vex_err err;

	fsck_index_repair(rootfd, l);
	err = vex_engine_open(rootfd, o, &j.e, problem);
	if (err)
		return err;
	problem->text[0] = '\0';
	err = engine_deep(j.e, repair_deep, &j);
	vex_engine_closing(j.e);
	vex_engine_close(j.e);
	return err;
}

/* ---- telling --------------------------------------------------------------------- */

/* Two looks say the same: of an attachment by its number, since the path it is told by
 * may be another after a repair. */
static int by_what(const void *a, const void *b)
{
	const struct fsck_finding *x = *(struct fsck_finding *const *)a;
	const struct fsck_finding *y = *(struct fsck_finding *const *)b;

	if (x->lsn != y->lsn)
		return x->lsn < y->lsn ? -1 : 1;
	return x->lsn ? 0 : strcmp(x->text, y->text);
}

static vex_err sorted(const struct fsck_list *l, struct fsck_finding ***out)
{
	size_t n = 0;

	*out = calloc(l->lines + 1u, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].text)
			(*out)[n++] = &l->v[i];
	qsort(*out, n, sizeof(**out), by_what);
	return 0;
}

static void say(struct vex_fsck *f, const char *text, const char *what)
{
	AUTO_BUF struct vex_buf b = { 0 };

	vex_buf_fmt(&b, "%s%s", text, what);
	vex_buf_add(&b, "", 1);
	f->say(f->arg, b.err ? text : b.data);
}

/* first: as found; second: as left (NULL: nothing was repaired). */
static vex_err tell(struct vex_fsck *f, const struct fsck_list *first,
		    const struct fsck_list *second)
{
	AUTO_FREE struct fsck_finding **still = NULL;
	const struct fsck_list *last = second ? second : first;
	vex_err err = sorted(last, &still);

	if (err)
		return err;
	for (size_t i = 0; second && i < first->n; i++) {
		struct fsck_finding *x = &first->v[i];

		if (!x->text || bsearch(&x, still, last->lines, sizeof(*still), by_what))
			continue;
		say(f, x->text, ": repaired");
		f->fixed++;
	}
	for (size_t i = 0; i < last->n; i++)
		if (last->v[i].text)
			say(f, last->v[i].text,
			    !second && last->v[i].fix != FSCK_LEFT ? " (can be repaired)"
								   : "");
	f->left += last->lines;
	f->missing = last->missing;
	f->counts = last->counts;
	return 0;
}

/* A look, and where that is wanted a repair and another look. */
static vex_err look_and_repair(int rootfd, const struct vex_engine_opts *o,
			       bool want_repair, const _Atomic bool *stop,
			       struct vex_fsck *f, struct vex_problem *problem,
			       bool again)
{
	AUTO_LIST struct fsck_list first = { .stop = stop }, second = { .stop = stop };
	vex_err err = look(rootfd, &first, problem);

	if (err)
		return err;
	if (want_repair && first.no_catalog && first.lines && !again) {
		if (!fsck_salvage(rootfd, first.v[first.n - 1].text, f, problem))
			return -EAGAIN;
		vex_warn("%s", problem->text);
		problem->text[0] = '\0';
	}
	if (!want_repair || !first.lines || first.no_catalog)
		return tell(f, &first, NULL);
	err = repair(rootfd, o, &first, problem);
	if (err && err != -EUCLEAN)
		return err;
	problem->text[0] = '\0';
	err = look(rootfd, &second, problem);
	return err ? err : tell(f, &first, &second);
}

vex_err vex_engine_fsck(int rootfd, const struct vex_engine_opts *o, bool want_repair,
			const _Atomic bool *stop, struct vex_fsck *f,
			struct vex_problem *problem)
{
	vex_err err;

	f->fixed = f->left = 0;
	problem->text[0] = '\0';
	err = look_and_repair(rootfd, o, want_repair, stop, f, problem, false);
	/* With a catalog that was rescued, from the start. */
	if (err == -EAGAIN)
		err = look_and_repair(rootfd, o, true, stop, f, problem, true);
	return err;
}
