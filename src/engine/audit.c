/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: with `audit` on, a line in the log for each attach, detach, search and
 * setting: who, what, how it ended. Off, it costs one look at a setting.
 */
#include "engine_i.h"

struct line {
	const struct vex_cred *cred;
	const char *what, *fmt;
	vex_err err;
	va_list ap;
};

static vex_err write_line(void *arg)
{
	struct line *l = arg;
	const char *name = l->err ? strerrorname_np(-l->err) : "ok";
	char who[24] = "?", words[256];

	if (l->cred)
		snprintf(who, sizeof(who), "%u:%u", l->cred->uid, l->cred->gid);
	vsnprintf(words, sizeof(words), l->fmt, l->ap);
	vex_info("audit: uid:gid %s %s %s: %s", who, l->what, words, name ? name : "?");
	return 0;
}

void vex_audit(struct vex_engine *e, const struct vex_cred *cred, const char *what,
	       vex_err err, const char *fmt, ...)
{
	struct line l = { .cred = cred, .what = what, .fmt = fmt, .err = err };

	if (!vex_engine_knob(e, VEX_KNOB_AUDIT))
		return;
	va_start(l.ap, fmt);
	(void)!vex_pool_call(e->words, write_line, &l);
	va_end(l.ap);
}
