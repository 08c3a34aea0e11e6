/* SPDX-License-Identifier: Apache-2.0 */
/* sync: when it returns, every change acknowledged before is durable. */
#include "commands.h"
#include "session.h"

static const char help[] = "usage: vexctl sync [PATH]\n"
			   "\n"
			   "Returns when every change made so far, by anyone, survives a "
			   "loss of power. PATH only\n"
			   "says which mount.\n";

int cmd_sync(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	struct vexfs_sync call = { 0 };
	int code = options_parse(in, none, help);
	int err;

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	err = mount_find(in, in->args[0], &m);
	if (!err)
		err = session_open(&m, &s);
	if (err)
		return err;
	err = session_call(&s, VEXFS_IOC_SYNC, &call);
	return err ? session_error(&s, err, m.path) : CLI_OK;
}
