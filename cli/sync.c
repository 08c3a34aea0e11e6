/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync: when it returns, every change acknowledged before is durable. checkpoint: the
 * same, and the write-ahead log has gone into the catalog.
 */
#include "commands.h"
#include "session.h"

static const char help[] = "usage: vexctl sync [PATH]\n"
			   "\n"
			   "Returns when every change made so far, by anyone, survives a "
			   "loss of power. PATH only\n"
			   "says which mount.\n";

static const char checkpoint_help[] =
    "usage: vexctl checkpoint [PATH]\n"
    "\n"
    "What sync does; then the write-ahead log is moved into the catalog and emptied. "
    "For\n"
    "root and the owner of the mount. PATH only says which mount.\n";

static int run(struct invocation *in, const char *text, unsigned long cmd, void *call)
{
	static const struct opt none[] = { { 0 } };
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	int code = options_parse(in, none, text);
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
	err = session_call(&s, cmd, call);
	return err ? session_error(&s, err, m.path) : CLI_OK;
}

int cmd_sync(struct invocation *in)
{
	struct vexfs_sync call = { 0 };

	return run(in, help, VEXFS_IOC_SYNC, &call);
}

int cmd_checkpoint(struct invocation *in)
{
	struct vexfs_checkpoint call = { 0 };

	return run(in, checkpoint_help, VEXFS_IOC_CHECKPOINT, &call);
}
