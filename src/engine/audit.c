/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: with `audit` on, a line in the log for each attach, detach, search and
 * setting: who, what, how it ended. Off, it costs one look at a setting.
 */
#include "engine_i.h"

void vex_audit(struct vex_engine *e, const struct vex_cred *cred, const char *what,
	       vex_err err, const char *fmt, ...)
{
	const char *name = err ? strerrorname_np(-err) : "ok";
	char who[24] = "?", words[256];
	va_list ap;

	if (!vex_engine_knob(e, VEX_KNOB_AUDIT))
		return;
	if (cred)
		snprintf(who, sizeof(who), "%u:%u", cred->uid, cred->gid);
	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	vex_info("audit: uid:gid %s %s %s: %s", who, what, words, name ? name : "?");
}
