/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umount: umount(2) returns while the daemon still closes its store, so we hold on to
 * the daemon (a pidfd, taken before) and wait until the process is gone. A mount whose
 * daemon was killed answers nothing any more, but can still be unmounted.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "commands.h"
#include "json.h"
#include "mount.h"

#define WAIT_SECONDS 120
#define STATUS_MAX ((size_t)16 << 20)

static const char help[] = "usage: vexctl umount [MOUNT]\n"
			   "\n"
			   "Unmounts, and returns when the daemon is gone and the store "
			   "is free. For root and for\n"
			   "the owner of the mount. MOUNT may be any path in it.\n";

extern char **environ;

/* The member "pid" of MOUNT/.vexfs/status; 0: not to be had. */
static pid_t daemon_pid(const struct mount *m)
{
	AUTO_BUF struct buf text = { 0 };
	AUTO_BUF struct buf key = { 0 };
	AUTO_CLOSE int fd = openat(m->root, ".vexfs/status", O_RDONLY | O_CLOEXEC);
	struct json j;

	if (fd < 0 || read_all(fd, ".vexfs/status", STATUS_MAX, &text))
		return 0;
	j = (struct json){ .p = buf_text(&text), .end = buf_text(&text) + text.len };
	if (!json_take(&j, '{'))
		return 0;
	do {
		if (!json_read_string(&j, &key) || !json_take(&j, ':'))
			return 0;
		json_peek(&j);
		if (!strcmp(buf_text(&key), "pid"))
			return (pid_t)strtol(j.p, NULL, 10);
	} while (json_skip(&j) && json_take(&j, ','));
	return 0;
}

/* Another pid namespace would make the number mean another process. */
static bool is_daemon(pid_t pid)
{
	AUTO_BUF struct buf text = { 0 };
	char path[40];
	AUTO_CLOSE int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read_all(fd, path, 1 << 20, &text))
		return false;
	return text.len && memmem(text.data, text.len, "vexfs", 5);
}

static int hold_daemon(const struct mount *m)
{
	pid_t pid = daemon_pid(m);
	int fd = pid > 0 && is_daemon(pid) ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

/* fusermount3 may unmount for the owner of the mount; it prints its own words. */
static int by_helper(const char *path)
{
	char *argv[] = { (char *)"fusermount3", (char *)"-u", (char *)"--", (char *)path,
			 NULL };
	int status = 0;
	pid_t pid;
	int err = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (err)
		return cli_error("fusermount3: %s", strerror(err));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cli_error("fusermount3: %s", strerror(errno));
	if (!WIFEXITED(status))
		return cli_error("%s: fusermount3 was killed", path);
	return WEXITSTATUS(status) ? CLI_ERROR : 0; /* it has said why */
}

static int unmount(const char *path)
{
	if (!umount2(path, UMOUNT_NOFOLLOW))
		return 0;
	if (errno == EPERM)
		return by_helper(path);
	return cli_error("%s: %s", path, strerror(errno));
}

static int wait_gone(int pidfd, const char *path)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	time_t until = time(NULL) + WAIT_SECONDS;

	while (pidfd >= 0 && time(NULL) < until) {
		int n = poll(&p, 1, 1000);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return cli_error("%s: %s", path, strerror(errno));
	}
	if (pidfd < 0)
		return 0;
	return cli_error("%s: unmounted, but the daemon still runs after %d s", path,
			 WAIT_SECONDS);
}

/* A mount whose daemon died: nothing below it can be opened, so it is known by its
 * name alone; umount2 says whether it is one. */
static bool dead_mount(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 && errno == ENOTCONN;
}

static const char *asked_for(const struct invocation *in)
{
	const char *env = getenv("VEXFS_MOUNT");

	if (in->mount || in->args[0])
		return in->mount ? in->mount : in->args[0];
	return env && *env ? env : NULL;
}

/* What is named as an argument is what goes, never the mount of $VEXFS_MOUNT or of the
 * current directory in its place. */
static int find(const struct invocation *in, struct mount *m)
{
	if (in->mount || !in->args[0])
		return mount_find(in, NULL, m);
	return mount_holding(in->args[0], m);
}

static int umount_live(const struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_CLOSE int pidfd = -1;
	AUTO_FREE char *path = NULL;
	int err = find(in, &m);

	if (err)
		return err;
	path = strdup(m.path);
	if (!path)
		return cli_error("out of memory");
	pidfd = hold_daemon(&m);
	mount_free(&m);
	if (chdir("/"))
		return cli_error("/: %s", strerror(errno));
	err = unmount(path);
	return err ? err : wait_gone(pidfd, path);
}

int cmd_umount(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	int code = options_parse(in, none, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one MOUNT");
	if (asked_for(in) && dead_mount(asked_for(in)))
		return unmount(asked_for(in));
	return umount_live(in);
}
