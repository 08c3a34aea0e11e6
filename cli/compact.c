/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compact: asks the daemon for one step of compaction after the other, until none is
 * left. Each is bounded and leaves the store whole, so an interrupt loses nothing.
 */
#include <time.h>

#include "commands.h"
#include "progress.h"
#include "session.h"

static const char help[] =
    "usage: vexctl compact [PATH]\n"
    "\n"
    "Gives the room of removed vectors back to the filesystem while the mount is in\n"
    "use: moves vectors from the end of the files into free places, cuts the files,\n"
    "gives back free pages of the catalog. It may be interrupted and run again. For "
    "root\n"
    "and the owner of the mount. PATH only says which mount.\n";

/* Readers and graphs let go of what they hold within that. */
static void wait_a_moment(void)
{
	struct timespec t = { .tv_nsec = 20000000 };

	nanosleep(&t, NULL);
}

static int run(struct session *s, const char *mount, uint64_t *rows, uint64_t *bytes)
{
	struct vexfs_compact step = { 0 };
	struct progress p;

	progress_start(&p, 0);
	while (step.stage != VEXFS_COMPACT_DONE) {
		int err = session_call(s, VEXFS_IOC_COMPACT, &step);

		if (err) {
			progress_end(&p);
			return session_error(s, err, mount);
		}
		*rows += step.moved;
		*bytes += step.given;
		progress_at(&p, *rows, 0);
		if (step.held)
			wait_a_moment();
	}
	progress_end(&p);
	return CLI_OK;
}

int cmd_compact(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	uint64_t rows = 0, bytes = 0;
	char text[2][32];
	int code = options_parse(in, none, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	code = mount_find(in, in->args[0], &m);
	if (!code)
		code = session_open(&m, &s);
	if (!code)
		code = run(&s, m.path, &rows, &bytes);
	if (!code)
		cli_note("%s rows moved, %s KiB given back",
			 progress_count(rows, text[0]),
			 progress_count(bytes >> 10, text[1]));
	return code;
}
