/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `status` says of how things go: the last sync and the last error, thresholds and
 * whether they are crossed, the last slow operations. For administrators: it tells of
 * others' work.
 */
#include <time.h>
#include "control_i.h"

#define SLOW_SHOWN 32u

/* RFC 3339 in UTC, to the millisecond; null for never. */
static void add_time(struct vex_buf *b, int64_t ns)
{
	time_t t = (time_t)(ns / 1000000000);
	char text[32];
	struct tm tm;

	if (ns <= 0 || !gmtime_r(&t, &tm)) {
		vex_buf_str(b, "null");
		return;
	}
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	vex_buf_fmt(b, "\"%s.%03dZ\"", text, (int)(ns / 1000000 % 1000));
}

static void add_last(struct vex_buf *b, const struct vex_store_status *st)
{
	char text[256];
	int64_t when = vex_log_last(text, sizeof(text));

	vex_buf_str(b, "  \"last_sync\": ");
	add_time(b, st->last_sync_ns);
	vex_buf_str(b, ",\n  \"last_error\": ");
	if (when)
		vex_buf_json_words(b, text);
	else
		vex_buf_str(b, "null");
	vex_buf_str(b, ",\n  \"last_error_time\": ");
	add_time(b, when);
	vex_buf_fmt(b, ",\n  \"log_suppressed\": %llu,\n",
		    (unsigned long long)vex_log_suppressed());
}

static void add_thresholds(struct vex_buf *b)
{
	vex_buf_str(b, "  \"thresholds\": [");
	for (enum vex_limit l = 0; l < VEX_LIMIT_NONE; l++) {
		struct vex_crossing c;

		vex_crossing_read(l, &c);
		vex_buf_fmt(b,
			    "%s\n    {\"name\": \"%s\", \"limit\": %llu, \"unit\": "
			    "\"%s\", \"crossed\": %s, \"crossings\": %llu, \"last\": "
			    "%llu, \"since\": ",
			    l ? "," : "", vex_limit_name(l),
			    (unsigned long long)vex_limit_get(l), vex_limit_unit(l),
			    c.now ? "true" : "false", (unsigned long long)c.count,
			    (unsigned long long)c.last);
		add_time(b, c.first_ns);
		vex_buf_str(b, "}");
	}
	vex_buf_str(b, "\n  ],\n");
}

static void add_slow(struct vex_buf *b, const struct vex_slow *s)
{
	vex_buf_str(b, "{\"time\": ");
	add_time(b, s->time_ns);
	vex_buf_fmt(b,
		    ", \"op\": \"%s\", \"ms\": %.3f, \"uid\": %u, \"error\": %d, "
		    "\"plan\": ",
		    vex_op_name(s->op), (double)s->ns / 1e6, s->uid, -s->err);
	vex_buf_json_words(b, s->words);
	vex_buf_str(b, "}");
}

vex_err trouble_text(const struct vex_store_status *st, struct vex_buf *b)
{
	AUTO_FREE struct vex_slow *slow = calloc(SLOW_SHOWN, sizeof(*slow));
	size_t n = slow ? vex_slow_read(slow, SLOW_SHOWN) : 0;

	if (!slow)
		return -ENOMEM;
	add_last(b, st);
	vex_buf_fmt(b, "  \"error_rate\": %.3f,\n", (double)vex_error_rate() / 1000);
	add_thresholds(b);
	vex_buf_str(b, "  \"slow\": [");
	for (size_t i = 0; i < n; i++) {
		vex_buf_str(b, i ? ",\n    " : "\n    ");
		add_slow(b, &slow[i]);
	}
	vex_buf_str(b, n ? "\n  ],\n" : "],\n");
	return b->err;
}
