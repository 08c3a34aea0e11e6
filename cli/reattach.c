/* SPDX-License-Identifier: Apache-2.0 */
/* reattach: gives files back what a replacement took away. */
#include "commands.h"
#include "session.h"

static const char help[] =
    "usage: vexctl reattach PATH...\n"
    "\n"
    "Gives each file back the vectors that the file before it at its path had, when a\n"
    "file without vectors replaced that one or it vanished ('vexctl stale' lists such\n"
    "paths). They are stale, until new ones are attached. What the file has itself "
    "stays.\n"
    "\n"
    "Exit 1: nothing is kept for a PATH; the others are done.\n";

static int one(struct session *s, const struct mount *m, const char *arg)
{
	AUTO_FREE struct vexfs_reattach *call = cli_alloc(1, sizeof(*call));
	AUTO_BUF struct buf rel = { 0 };
	int err = path_resolve(m, arg, &rel);

	if (err)
		return err;
	if (rel.len >= sizeof(call->data))
		return cli_error("%s: the path is too long", arg);
	call->path_len = (uint32_t)rel.len;
	memcpy(call->data, buf_text(&rel), rel.len);
	err = session_call(s, VEXFS_IOC_REATTACH, call);
	if (!err)
		return CLI_OK;
	session_error(s, err, arg);
	return err == -ENODATA ? CLI_NONE : CLI_ERROR;
}

int cmd_reattach(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	int code = options_parse(in, none, help);

	if (code >= 0)
		return code;
	if (!in->nargs)
		return cli_error("needs a PATH");
	code = mount_find(in, in->args[0], &m);
	if (!code)
		code = session_open(&m, &s);
	if (code)
		return code;
	for (int i = 0; i < in->nargs; i++) {
		int err = one(&s, &m, in->args[i]);

		code = err > code ? err : code;
	}
	return code;
}
