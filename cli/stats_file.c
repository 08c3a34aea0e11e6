/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats_file: a baseline. It is the JSON of `stats --json`, in a file; comparing reads
 * the operations' names, counts and totals from it and passes over what else is there.
 * Means are compared: they are exact, where quantiles come in steps of up to 25%.
 */
#include <fcntl.h>

#include "json.h"
#include "stats.h"

#define FILE_MAX ((size_t)1 << 20)
#define SLOWER 1.2

int stats_save(const struct stats *s, const char *path)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	AUTO_BUF struct buf out = { 0 };

	if (fd < 0)
		return cli_error("%s: %s", path, strerror(errno));
	stats_json(s, &out);
	for (size_t at = 0; at < out.len;) {
		ssize_t n = write(fd, out.data + at, out.len - at);

		if (n < 0)
			return cli_error("%s: %s", path, strerror(errno));
		at += (size_t)n;
	}
	return CLI_OK;
}

/* ---- reading one ----------------------------------------------------------------- */

struct saved {
	char op[32];
	double avg;
	uint64_t count;
};

static bool number(struct json *j, double *out)
{
	const char *start;

	json_peek(j);
	start = j->p;
	if (!json_skip(j) || j->p == start)
		return false;
	*out = strtod(start, NULL);
	return true;
}

static bool member(struct json *j, struct buf *key, struct saved *o)
{
	AUTO_BUF struct buf text = { 0 };
	double v = 0;

	if (!json_read_string(j, key) || !json_take(j, ':'))
		return false;
	if (!strcmp(buf_text(key), "op")) {
		if (!json_read_string(j, &text))
			return false;
		snprintf(o->op, sizeof(o->op), "%s", buf_text(&text));
		return true;
	}
	if (json_peek(j) == '"')
		return json_skip(j);
	if (!number(j, &v))
		return false;
	if (!strcmp(buf_text(key), "avg_ns"))
		o->avg = v;
	if (!strcmp(buf_text(key), "count"))
		o->count = (uint64_t)v;
	return true;
}

static bool operation(struct json *j, struct saved *o)
{
	AUTO_BUF struct buf key = { 0 };

	memset(o, 0, sizeof(*o));
	if (!json_take(j, '{'))
		return false;
	do
		if (!member(j, &key, o))
			return false;
	while (json_take(j, ','));
	return json_take(j, '}');
}

static void compare(const struct stats *s, const struct saved *o, unsigned *slower)
{
	for (uint32_t i = 0; i < s->n; i++) {
		const struct vexfs_op_stat *now = &s->ops[i];
		double avg = (double)stats_avg(now);

		if (strcmp(now->op, o->op) || !now->count || !o->count || o->avg <= 0)
			continue;
		if (avg <= o->avg * SLOWER)
			return;
		printf("%s: %.2f times as slow: %s, was %s\n", o->op, avg / o->avg,
		       show_ns((uint64_t)avg).text, show_ns((uint64_t)o->avg).text);
		++*slower;
		return;
	}
}

static bool operations(struct json *j, const struct stats *s, unsigned *slower)
{
	struct saved o;

	if (!json_take(j, '['))
		return false;
	do {
		if (!operation(j, &o))
			return false;
		compare(s, &o, slower);
	} while (json_take(j, ','));
	return json_take(j, ']');
}

static bool baseline(struct json *j, const struct stats *s, unsigned *slower)
{
	AUTO_BUF struct buf key = { 0 };
	bool found = false;

	if (!json_take(j, '{'))
		return false;
	do {
		if (!json_read_string(j, &key) || !json_take(j, ':'))
			return false;
		if (strcmp(buf_text(&key), "ops") ? !json_skip(j)
						  : !operations(j, s, slower))
			return false;
		found |= !strcmp(buf_text(&key), "ops");
	} while (json_take(j, ','));
	return json_take(j, '}') && !json_peek(j) && found;
}

int stats_compare(const struct stats *s, const char *path, unsigned *slower)
{
	AUTO_BUF struct buf text = { 0 };
	int err = read_whole(path, FILE_MAX, &text);
	struct json j = { .p = buf_text(&text), .end = buf_text(&text) + text.len };

	if (err)
		return err;
	if (!baseline(&j, s, slower))
		return cli_error("%s: not what 'vexctl stats --save' wrote (byte %zu)",
				 path, (size_t)(j.p - buf_text(&text)));
	return 0;
}
