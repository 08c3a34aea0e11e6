/* SPDX-License-Identifier: Apache-2.0 */
/*
 * detach: removes attachments of files. What one call names goes in one batch: all
 * of it or nothing.
 */
#include "attached.h"
#include "commands.h"
#include "items.h"

static const char help[] =
    "usage: vexctl detach PATH... [--space S] [--key K]\n"
    "\n"
    "Removes attachments of files and directories: with --space the one of that space\n"
    "(with --key: under that key), without --space every one (with --key: every one\n"
    "under that key). All of them go, or none. Exit 1: a PATH had nothing of that.\n";

static int collect(const struct mount *m, const char *arg, const struct wanted *w,
		   struct items *items)
{
	AUTO_TARGET struct target t = TARGET_INIT;
	AUTO_BUF struct buf names = { 0 };
	AUTO_BUF struct buf rel = { 0 };
	size_t n;
	int err = target_open(m, arg, &t);

	if (!err)
		err = path_resolve(m, arg, &rel);
	if (!err)
		err = attached_names(&t, w, &names, &n);
	if (err)
		return err;
	if (!n) {
		cli_error("%s: nothing attached", arg);
		return CLI_NONE;
	}
	for (const char *p = names.data; n--; p += strlen(p) + 1)
		items_add(items, 0, buf_text(&rel), p, NULL, 0);
	return 0;
}

static int detach(struct invocation *in, const struct wanted *w)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	AUTO_ITEMS struct items items = { 0 };
	int err = mount_find(in, in->args[0], &m);

	for (int i = 0; !err && i < in->nargs; i++)
		err = collect(&m, in->args[i], w, &items);
	if (!err)
		err = session_open(&m, &s);
	if (err)
		return err;
	err = items_send(&s, VEXFS_IOC_DELETE, items.bytes.data, items.bytes.len,
			 items.count);
	if (!err)
		return CLI_OK;
	session_error(&s, err, in->args[0]);
	return err == -ENODATA ? CLI_NONE : CLI_ERROR;
}

int cmd_detach(struct invocation *in)
{
	struct wanted w = { 0 };
	const struct opt opts[] = {
		{ "space", 0, OPT_TEXT, &w.space, 0, NULL },
		{ "key", 0, OPT_TEXT, &w.key, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (!in->nargs)
		return cli_error("needs a PATH");
	if (w.space && !space_name_ok(w.space))
		return cli_error("bad space name '%s'", w.space);
	return detach(in, &w);
}
