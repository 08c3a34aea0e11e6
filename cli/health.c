/* SPDX-License-Identifier: Apache-2.0 */
/* health: how the mount is, in one word, and by the exit code. */
#include <fcntl.h>

#include "commands.h"
#include "json.h"
#include "mount.h"

#define STATUS_MAX ((size_t)16 << 20)

static const char help[] =
    "usage: vexctl health [PATH]\n"
    "\n"
    "Prints well, warning or ill, then why (for root and the owner of the mount). Exit "
    "0\n"
    "well, 1 warning, 2 ill or no answer. PATH only says which mount.\n";

static bool reasons(struct json *j, struct buf *out)
{
	AUTO_BUF struct buf text = { 0 };

	if (!json_take(j, '['))
		return false;
	if (json_take(j, ']'))
		return true;
	do {
		if (!json_read_string(j, &text))
			return false;
		buf_str(out, "  ");
		buf_add(out, buf_text(&text), text.len);
		buf_str(out, "\n");
	} while (json_take(j, ','));
	return json_take(j, ']');
}

static bool parse(struct json *j, struct buf *word, struct buf *why)
{
	AUTO_BUF struct buf key = { 0 };

	if (!json_take(j, '{'))
		return false;
	do {
		bool ok;

		if (!json_read_string(j, &key) || !json_take(j, ':'))
			return false;
		if (!strcmp(buf_text(&key), "health"))
			ok = json_read_string(j, word);
		else if (!strcmp(buf_text(&key), "health_reasons"))
			ok = reasons(j, why);
		else
			ok = json_skip(j);
		if (!ok)
			return false;
	} while (json_take(j, ','));
	return word->len;
}

static int health(const struct mount *m)
{
	AUTO_CLOSE int fd = openat(m->root, ".vexfs/status", O_RDONLY | O_CLOEXEC);
	AUTO_BUF struct buf text = { 0 };
	AUTO_BUF struct buf word = { 0 };
	AUTO_BUF struct buf why = { 0 };
	struct json j;

	if (fd < 0)
		return cli_error("%s/.vexfs/status: %s", m->path, strerror(errno));
	if (read_all(fd, ".vexfs/status", STATUS_MAX, &text))
		return CLI_ERROR;
	j = (struct json){ .p = buf_text(&text), .end = buf_text(&text) + text.len };
	if (!parse(&j, &word, &why))
		return cli_error("%s/.vexfs/status says nothing of it", m->path);
	printf("%s\n%s", buf_text(&word), buf_text(&why));
	return !strcmp(buf_text(&word), "well")      ? CLI_OK
	       : !strcmp(buf_text(&word), "warning") ? CLI_NONE
						     : CLI_ERROR;
}

int cmd_health(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	int code = options_parse(in, none, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	code = mount_find(in, in->args[0], &m);
	return code ? code : health(&m);
}
