/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vexfs --restore STORE: the last step of vexctl restore. The files of STORE and its
 * .vexfs were copied from a backup; here the files get their marks, the store is opened
 * once as a mount would, and what came of it is checked. Exit 0: it is whole; 2: not.
 */
#include "fsck.h"
#include "restore.h"

#include <fcntl.h>
#include <vexfs/kernel.h>

static const char usage[] =
    "usage: vexfs --restore STORE\n"
    "\n"
    "STORE is what 'vexctl restore' copied from a backup: gives the files the marks by\n"
    "which VexFS knows them, and checks the store. Exit 0: it is whole; 2: it is not.\n";

bool restore_wanted(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], "--restore"))
			return true;
	return false;
}

/* -1: go on. */
static int parse(int argc, char **argv, const char **store)
{
	bool words = false;

	for (int i = 1; i < argc; i++) {
		if (!words && !strcmp(argv[i], "--"))
			words = true;
		else if (!words && !strcmp(argv[i], "--restore"))
			continue;
		else if (!words && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")))
			return fputs(usage, stdout) < 0 ? 2 : 0;
		else if (!words && argv[i][0] == '-' && argv[i][1])
			return vexfs_fail(2,
					  "unknown option '%s' (see vexfs --restore "
					  "--help)",
					  argv[i]);
		else if (*store)
			return vexfs_fail(2, "--restore takes one STORE");
		else
			*store = argv[i];
	}
	return *store ? -1 : vexfs_fail(2, "--restore needs a STORE");
}

static void say(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "%s\n", line);
}

/* As a mount would, so that what it settles at a new place is settled. */
static vex_err open_once(int rootfd, const struct vex_engine_opts *o,
			 struct vex_problem *problem)
{
	struct vex_engine *e;
	vex_err err = vex_engine_open(rootfd, o, &e, problem);

	if (!err)
		vex_engine_close(e);
	return err;
}

static int run(const char *store)
{
	AUTO_CLOSE int rootfd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vex_engine_opts o = { .owner = getuid() };
	struct vex_fsck f = { .say = say };
	struct vex_problem problem = { "" };
	struct vex_restored r;
	vex_err err = rootfd < 0 ? -errno : 0;

	if (!err)
		err = vex_engine_restore(rootfd, &r, &problem);
	if (!err)
		err = open_once(rootfd, &o, &problem);
	if (!err)
		err = vex_engine_fsck(rootfd, &o, false, NULL, &f, &problem);
	if (err)
		return vexfs_fail(2, "%s%s%s", store, *problem.text ? ": " : "",
				  *problem.text ? problem.text : strerror(-err));
	fprintf(stderr, "%s: %llu spaces, %llu attachments, %llu files with vectors",
		store, (unsigned long long)f.counts.spaces,
		(unsigned long long)f.counts.attachments, (unsigned long long)r.marked);
	if (f.missing)
		fprintf(stderr, ", %llu files not there (what they had is kept)",
			(unsigned long long)f.missing);
	if (f.left)
		fprintf(stderr, ": %u things are wrong", f.left);
	fputc('\n', stderr);
	return f.left ? 2 : 0;
}

int restore_main(int argc, char **argv)
{
	const char *store = NULL;
	int code = parse(argc, argv, &store);

	if (code >= 0)
		return code;
	vex_kernel_init();
	vex_log_init(false, VEX_LOG_WARN);
	return run(store);
}
