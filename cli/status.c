/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status: MOUNT/.vexfs/status for people. It prints whatever JSON is there, in its
 * order, so that a newer daemon's lines show too: members of the top object a line
 * each, those of an object in it indented, the elements of an array a line each.
 * What is nested deeper stays JSON.
 */
#include <fcntl.h>

#include "commands.h"
#include "json.h"
#include "mount.h"

#define STATUS_MAX ((size_t)16 << 20)

static const char help[] = "usage: vexctl status [PATH] [--json]\n"
			   "\n"
			   "Prints what the mount says of itself. --json: as it is in "
			   "MOUNT/.vexfs/status. PATH\n"
			   "only says which mount. Totals of the store are for root and "
			   "the owner of the mount.\n";

/* Bytes that could steer a terminal become '?'. */
static void add_plain(struct buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = (unsigned char)s[i] < 32 || s[i] == 127 ? '?' : s[i];

		buf_add(out, &c, 1);
	}
}

/* Any value, on the line that is being written. */
static bool inline_value(struct json *j, struct buf *out)
{
	AUTO_BUF struct buf text = { 0 };
	const char *start;

	if (json_peek(j) == '"') {
		if (!json_read_string(j, &text))
			return false;
		add_plain(out, buf_text(&text), text.len);
		return true;
	}
	start = j->p;
	if (!json_skip(j))
		return false;
	add_plain(out, start, (size_t)(j->p - start));
	return true;
}

/* {"a":1,"b":2} with `before` in front of each member, `is` between name and value,
 * `after` behind it. */
static bool members(struct json *j, struct buf *out, const char *before, const char *is,
		    const char *after)
{
	AUTO_BUF struct buf key = { 0 };

	if (!json_take(j, '{'))
		return false;
	if (json_take(j, '}'))
		return true;
	do {
		if (!json_read_string(j, &key) || !json_take(j, ':'))
			return false;
		buf_str(out, before);
		add_plain(out, buf_text(&key), key.len);
		buf_str(out, is);
		if (!inline_value(j, out))
			return false;
		buf_str(out, after);
	} while (json_take(j, ','));
	return json_take(j, '}');
}

static bool elements(struct json *j, struct buf *out)
{
	if (!json_take(j, '['))
		return false;
	if (json_take(j, ']'))
		return true;
	do {
		bool ok;

		buf_str(out, " ");
		ok = json_peek(j) == '{' ? members(j, out, " ", "=", "")
					 : (buf_str(out, " "), inline_value(j, out));
		if (!ok)
			return false;
		buf_str(out, "\n");
	} while (json_take(j, ','));
	return json_take(j, ']');
}

static bool member(struct json *j, struct buf *out)
{
	AUTO_BUF struct buf key = { 0 };
	bool ok;

	if (!json_read_string(j, &key) || !json_take(j, ':'))
		return false;
	add_plain(out, buf_text(&key), key.len);
	switch (json_peek(j)) {
	case '{':
		buf_str(out, ":\n");
		return members(j, out, "  ", ": ", "\n");
	case '[':
		buf_str(out, ":\n");
		return elements(j, out);
	default:
		buf_str(out, ": ");
		ok = inline_value(j, out);
		buf_str(out, "\n");
		return ok;
	}
}

static bool readable(struct json *j, struct buf *out)
{
	if (!json_take(j, '{'))
		return false;
	if (json_take(j, '}'))
		return true;
	do {
		if (!member(j, out))
			return false;
	} while (json_take(j, ','));
	return json_take(j, '}') && !json_peek(j);
}

static int status_text(const struct mount *m, struct buf *out)
{
	AUTO_CLOSE int fd = openat(m->root, ".vexfs/status", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return cli_error("%s/.vexfs/status: %s", m->path, strerror(errno));
	return read_all(fd, ".vexfs/status", STATUS_MAX, out);
}

static int status(const struct mount *m, bool raw)
{
	AUTO_BUF struct buf text = { 0 };
	AUTO_BUF struct buf out = { 0 };
	int err = status_text(m, &text);
	struct json j = { .p = buf_text(&text), .end = buf_text(&text) + text.len };

	if (err)
		return err;
	if (!raw && !readable(&j, &out))
		return cli_error("%s/.vexfs/status: not JSON at byte %zu", m->path,
				 (size_t)(j.p - text.data));
	fwrite(buf_text(raw ? &text : &out), 1, raw ? text.len : out.len, stdout);
	return CLI_OK;
}

/* Passes top members until `name`; the cursor stands at its value. */
static bool find_member(struct json *j, const char *name)
{
	AUTO_BUF struct buf key = { 0 };

	if (!json_take(j, '{'))
		return false;
	do {
		if (!json_read_string(j, &key) || !json_take(j, ':'))
			return false;
		if (!strcmp(buf_text(&key), name))
			return true;
	} while (json_skip(j) && json_take(j, ','));
	return false;
}

int status_slow(const struct mount *m)
{
	AUTO_BUF struct buf text = { 0 };
	AUTO_BUF struct buf out = { 0 };
	int err = status_text(m, &text);
	struct json j = { .p = buf_text(&text), .end = buf_text(&text) + text.len };

	if (err)
		return err;
	if (!find_member(&j, "slow"))
		return cli_error("slow operations are for root and the owner of the "
				 "mount");
	if (!elements(&j, &out))
		return cli_error("%s/.vexfs/status: not JSON at byte %zu", m->path,
				 (size_t)(j.p - text.data));
	fwrite(buf_text(&out), 1, out.len, stdout);
	return out.len ? CLI_OK : CLI_NONE;
}

int cmd_status(struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	bool raw = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &raw, 0, NULL }, { 0 } };
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	code = mount_find(in, in->args[0], &m);
	return code ? code : status(&m, raw);
}
