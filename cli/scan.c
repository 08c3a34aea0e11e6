/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan: asks the daemon for one step of the online check after the other. Each is
 * bounded, so others hardly notice, and an interrupt loses nothing.
 */
#include "commands.h"
#include "progress.h"
#include "session.h"

static const char help[] =
    "usage: vexctl scan [--quick] [PATH]\n"
    "\n"
    "Checks a store in use: looks for every file that has vectors, links those that "
    "moved\n"
    "or came back behind the mount, notes those that are missing (kept for keep_days, "
    "and\n"
    "then forgotten, unless their disk is not mounted), compares every vector with its\n"
    "checksum, and prints what was found. For root and the owner of the mount. PATH "
    "only\n"
    "says which mount.\n"
    "\n"
    "  --quick   without the checksums\n"
    "\n"
    "Exit 0: all well (missing files are no fault); 2: damaged vectors, files that\n"
    "cannot be looked for, or another error.\n";

static void add(struct vexfs_scan *sum, const struct vexfs_scan *step)
{
	sum->files += step->files;
	sum->missing += step->missing;
	sum->rows += step->rows;
	sum->bad += step->bad;
	sum->returned += step->returned;
	sum->purged += step->purged;
	sum->errors += step->errors;
}

static int run(struct session *s, const char *mount, struct vexfs_scan *sum)
{
	struct vexfs_scan step = { .flags = sum->flags };
	struct progress p;
	int err = 0;

	progress_start(&p, 0);
	while (!err && step.stage != VEXFS_SCAN_DONE) {
		err = session_call(s, VEXFS_IOC_SCAN, &step);
		if (!err)
			add(sum, &step);
		progress_at(&p, sum->files, 0);
	}
	progress_end(&p);
	return err ? session_error(s, err, mount) : 0;
}

static void print(const struct vexfs_scan *n)
{
	printf("files %llu\nmissing %llu\nreturned %llu\npurged %llu\nunreadable %llu\n",
	       (unsigned long long)n->files, (unsigned long long)n->missing,
	       (unsigned long long)n->returned, (unsigned long long)n->purged,
	       (unsigned long long)n->errors);
	if (!(n->flags & VEXFS_SCAN_QUICK))
		printf("vectors %llu\ndamaged %llu\n", (unsigned long long)n->rows,
		       (unsigned long long)n->bad);
}

int cmd_scan(struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	struct vexfs_scan sum = { .flags = 0 };
	bool quick = false;
	const struct opt opts[] = {
		{ "quick", 0, OPT_FLAG, &quick, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	code = mount_find(in, in->args[0], &m);
	if (!code)
		code = session_open(&m, &s);
	sum.flags = quick ? VEXFS_SCAN_QUICK : 0;
	if (!code)
		code = run(&s, m.path, &sum);
	if (code)
		return code;
	print(&sum);
	return sum.bad || sum.errors ? CLI_ERROR : CLI_OK;
}
