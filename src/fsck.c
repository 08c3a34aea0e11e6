/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vexfs --fsck [--repair] STORE: checks a store that is not mounted. Findings go to
 * stdout, a line each, and a line that sums up; why it could not be done goes to stderr.
 * Exit codes are those of fsck(8).
 *
 * A signal asks it to end: a look ends at once and a repair under way is finished first,
 * so that the store is left closed.
 */
#include "fsck.h"

#include <fcntl.h>
#include <signal.h>
#include <vexfs/kernel.h>

enum {
	FSCK_CLEAN = 0,
	FSCK_FIXED = 1,
	FSCK_LEFT = 4,
	FSCK_FAILED = 8,
	FSCK_USAGE = 16,
	FSCK_CANCELLED = 32,
};

static const char usage[] =
    "usage: vexfs --fsck [--repair] STORE\n"
    "\n"
    "Checks what VexFS keeps in STORE, which must not be mounted: the catalog, every\n"
    "vector's checksum, and whether the files are where it knows them. Changes nothing\n"
    "without --repair; with it, what can be made good without losing anything is.\n"
    "\n"
    "Exit code, a sum: 0 clean, 1 repaired, 4 something is left, 8 it could not be\n"
    "checked, 16 usage, 32 cancelled.\n";

static _Atomic bool stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = true;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

bool fsck_wanted(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], "--fsck"))
			return true;
	return false;
}

/* -1: go on. */
static int parse(int argc, char **argv, bool *repair, const char **store)
{
	bool words = false;

	for (int i = 1; i < argc; i++) {
		if (!words && !strcmp(argv[i], "--"))
			words = true;
		else if (!words && !strcmp(argv[i], "--fsck"))
			continue;
		else if (!words && !strcmp(argv[i], "--repair"))
			*repair = true;
		else if (!words && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")))
			return fputs(usage, stdout) < 0 ? FSCK_FAILED : 0;
		else if (!words && argv[i][0] == '-' && argv[i][1])
			return vexfs_fail(FSCK_USAGE,
					  "unknown option '%s' (see vexfs --fsck --help)",
					  argv[i]);
		else if (*store)
			return vexfs_fail(FSCK_USAGE, "--fsck takes one STORE");
		else
			*store = argv[i];
	}
	return *store ? -1 : vexfs_fail(FSCK_USAGE, "--fsck needs a STORE");
}

static void say(void *arg, const char *line)
{
	(void)arg;
	puts(line);
}

static const char *many(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void sum_up(const char *store, const struct vex_fsck *f)
{
	printf("%s: %llu space%s, %llu attachment%s, %llu row%s", store,
	       (unsigned long long)f->counts.spaces, many(f->counts.spaces),
	       (unsigned long long)f->counts.attachments, many(f->counts.attachments),
	       (unsigned long long)f->counts.rows, many(f->counts.rows));
	if (f->missing)
		printf(", %llu file%s not there (what they had is kept)",
		       (unsigned long long)f->missing, many(f->missing));
	if (f->fixed)
		printf(", %u repaired", f->fixed);
	if (f->left)
		printf(", %u left\n", f->left);
	else
		puts(": clean");
}

static int run(const char *store, bool repair)
{
	struct vex_fsck f = { .say = say };
	struct vex_engine_opts o = { .owner = getuid() };
	struct vex_problem problem = { "" };
	AUTO_CLOSE int rootfd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	vex_err err = rootfd < 0 ? -errno : 0;

	if (err)
		return vexfs_fail(FSCK_FAILED, "%s: %s", store, strerror(-err));
	err = vex_engine_fsck(rootfd, &o, repair, &stopped, &f, &problem);
	if (err == -ECANCELED)
		return vexfs_fail(FSCK_CANCELLED, "cancelled");
	if (err && *problem.text)
		return vexfs_fail(FSCK_FAILED, "%s", problem.text);
	if (err)
		return vexfs_fail(FSCK_FAILED, "%s: %s", store, strerror(-err));
	sum_up(store, &f);
	if (fflush(stdout))
		return vexfs_fail(FSCK_FAILED, "standard output: %s", strerror(errno));
	return (f.fixed ? FSCK_FIXED : 0) | (f.left ? FSCK_LEFT : 0);
}

int fsck_main(int argc, char **argv)
{
	const char *store = NULL;
	bool repair = false;
	int code = parse(argc, argv, &repair, &store);

	if (code >= 0)
		return code;
	vex_kernel_init();
	vex_log_init(false, VEX_LOG_WARN);
	catch_signals();
	return run(store, repair);
}
