/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the mount is, in one word: well; warning, where something should be looked at
 * soon; ill, where what was promised no longer holds. With the reasons, for
 * administrators: they tell of others' work. `vexctl health` exits by the word.
 */
#include "control_i.h"

struct judged {
	unsigned level; /* 0 well, 1 warning, 2 ill */
	struct vex_buf *b;
	const char *gap;
	bool tell;
};

static void VEX_PRINTF(3, 4) find(struct judged *j, unsigned level, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (level > j->level)
		j->level = level;
	if (!j->tell)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vex_buf_str(j->b, j->gap);
	vex_buf_json_words(j->b, text);
	j->gap = ",\n    ";
}

/* Cold caches, or one search of a large space, cross the built-in times on a mount that
 * is well: a few such are for the slow log. A time that was set is what somebody relies
 * on: of it each counts. */
#define STRAY 10u

static bool counts(struct vex_engine *e, enum vex_limit l, const struct vex_crossing *c)
{
	static const enum vex_knob times[] = {
		[VEX_LIMIT_SEARCH] = VEX_KNOB_SLOW_SEARCH,
		[VEX_LIMIT_STORAGE] = VEX_KNOB_SLOW_STORAGE,
		[VEX_LIMIT_SYNC] = VEX_KNOB_SLOW_SYNC,
		[VEX_LIMIT_OP] = VEX_KNOB_SLOW_OP,
	};

	return l >= ARRAY_SIZE(times) || c->episode >= STRAY ||
	       vex_engine_knob_from(e, times[l]) != VEX_FROM_DEFAULT;
}

static void judge_limits(struct judged *j, struct vex_engine *e)
{
	for (enum vex_limit l = 0; l < VEX_LIMIT_NONE; l++) {
		bool ill = l == VEX_LIMIT_STACK || l == VEX_LIMIT_ERRORS;
		struct vex_crossing c;

		vex_crossing_read(l, &c);
		if (c.now && counts(e, l, &c))
			find(j, ill ? 2 : 1,
			     "threshold %s was crossed in the last minute",
			     vex_limit_name(l));
	}
}

static void judge_spaces(struct judged *j, struct vex_engine *e)
{
	uint32_t after = 0;

	for (;;) {
		AUTO_SPACE struct vex_space *sp = NULL;
		struct vex_space_spec spec;
		struct vex_index_info info;

		if (vex_space_next(vex_engine_store(e), after, &sp))
			return;
		after = vex_space_id(sp);
		vex_space_spec(sp, &spec);
		vex_engine_index_info(e, sp, &info);
		if (info.state == VEX_INDEX_FAILED)
			find(j, 1, "space %s: its index failed, searches are exact",
			     spec.name);
		if (info.state == VEX_INDEX_POOR)
			find(j, 1, "space %s: its index misses its recall: rebuild it",
			     spec.name);
	}
}

void health_text(struct vex_control *c, const struct vex_store_status *st, bool tell,
		 struct vex_buf *b)
{
	static const char *const words[] = { "well", "warning", "ill" };
	struct judged j = { .b = b, .gap = "\n    ", .tell = tell };

	vex_buf_str(b, "  \"health_reasons\": [");
	if (st->failed)
		find(&j, 2, "a sync failed: read-only until remount");
	if (st->damaged)
		find(&j, 1, "%llu rows are damaged", (unsigned long long)st->damaged);
	else if (st->problems)
		find(&j, 1, "files of the store are damaged: see problems");
	judge_spaces(&j, c->engine);
	judge_limits(&j, c->engine);
	vex_buf_fmt(b, "],\n  \"health\": \"%s\",\n", words[j.level]);
}
