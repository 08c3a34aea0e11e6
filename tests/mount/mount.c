/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Temporary mounts: see mount.h.
 *
 * Why a guard process: Criterion runs each test in a process of its own and kills it
 * on a timeout; neither .fini nor atexit runs then. The guard waits on a pidfd of the
 * test process, so it needs no help from it. Why -f: the exit code of the daemon is
 * part of what is tested (sanitizers report through it).
 */
#include "mount.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FUSE_MAGIC 0x65735546
#define START_SECONDS 60
#define STOP_SECONDS 90

/* ---- small parts ---------------------------------------------------------------- */

static void pause_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static int code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static char *ring(void)
{
	static char bufs[16][PATH_MAX];
	static unsigned next;

	return bufs[next++ % 16];
}

static const char *below(const char *dir, const char *fmt, va_list ap)
{
	char *p = ring();
	int n = snprintf(p, PATH_MAX, "%s/", dir);

	vsnprintf(p + n, (size_t)(PATH_MAX - n), fmt, ap);
	return p;
}

#define PATH_FN(fn, field)                                                               \
	const char *fn(struct vmount *m, const char *fmt, ...)                           \
	{                                                                                \
		va_list ap;                                                              \
                                                                                         \
		va_start(ap, fmt);                                                       \
		const char *p = below(m->field, fmt, ap);                                \
		va_end(ap);                                                              \
		return p;                                                                \
	}
PATH_FN(vm_at, mnt)
PATH_FN(vm_store, store)
PATH_FN(vm_plain, plain)

/* build/tests/mount -> build/NAME */
const char *vm_bin(const char *name)
{
	char exe[PATH_MAX], *p = ring();
	const char *bin = getenv("VEXFS_BIN");

	if (bin && !strcmp(name, "vexfs"))
		return bin;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	cr_assert(n > 0);
	exe[n] = 0;
	for (int i = 0; i < 2; i++)
		*strrchr(exe, '/') = 0;
	snprintf(p, PATH_MAX, "%.*s/%s", (int)(PATH_MAX - 64), exe, name);
	return p;
}

bool vm_is_mounted(const char *path)
{
	struct statfs s;

	/* EACCES: another user's, who did not let others in; root is no exception. */
	if (statfs(path, &s))
		return errno == ENOTCONN || errno == ECONNABORTED || errno == EACCES;
	return s.f_type == FUSE_MAGIC;
}

static int unmount(const char *path, bool lazy)
{
	if (!geteuid())
		return umount2(path, lazy ? MNT_DETACH : 0) ? -errno : 0;
	pid_t pid = fork();
	if (!pid) {
		execlp("fusermount3", "fusermount3", lazy ? "-uqz" : "-uq", path, NULL);
		_exit(127);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return code_of(status) ? -EBUSY : 0;
}

/* ---- the guard ------------------------------------------------------------------ */

static void remove_all(const char *base)
{
	pid_t pid = fork();

	if (!pid) {
		execlp("rm", "rm", "-rf", "--one-file-system", base, NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void guard_main(const struct vmount *m, int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	char over[VM_PATH];

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	snprintf(over, sizeof(over), "%s", m->store);
	for (int i = 0; i < 20 && vm_is_mounted(m->mnt); i++)
		unmount(m->mnt, true);
	for (int i = 0; i < 20 && vm_is_mounted(over); i++)
		unmount(over, true);
	pause_ms(100);
	if (!vm_is_mounted(m->mnt) && !vm_is_mounted(over))
		remove_all(m->base);
	_exit(0);
}

static pid_t guard_start(const struct vmount *m)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	cr_assert(pidfd >= 0);
	pid_t pid = fork();
	cr_assert(pid >= 0);
	if (!pid) {
		setsid();
		for (int s = 1; s < 32; s++)
			signal(s, SIG_DFL);
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		int keep = dup2(pidfd, 3);
		close_range(4, ~0u, 0);
		if (chdir("/"))
			_exit(1);
		guard_main(m, keep);
	}
	close(pidfd);
	return pid;
}

/* ---- life ----------------------------------------------------------------------- */

void vm_new(struct vmount *m)
{
	const char *tmp = getenv("VEXFS_TEST_DIR");

	if (!tmp)
		tmp = getenv("TMPDIR");
	cr_assert(access("/dev/fuse", R_OK | W_OK) == 0, "no /dev/fuse: cannot mount");
	memset(m, 0, sizeof(*m));
	snprintf(m->base, sizeof(m->base) - 16, "%s/vexfs-test-XXXXXX",
		 tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(m->base) != NULL);
	cr_assert(chmod(m->base, 0755) == 0);
	snprintf(m->store, sizeof(m->store), "%.480s/store", m->base);
	snprintf(m->mnt, sizeof(m->mnt), "%.480s/mnt", m->base);
	snprintf(m->plain, sizeof(m->plain), "%.480s/plain", m->base);
	snprintf(m->log, sizeof(m->log), "%.480s/log", m->base);
	cr_assert(mkdir(m->store, 0755) == 0);
	cr_assert(mkdir(m->mnt, 0755) == 0);
	cr_assert(mkdir(m->plain, 0755) == 0);
	m->guard = guard_start(m);
}

void vm_over(struct vmount *m)
{
	memcpy(m->mnt, m->store, sizeof(m->mnt));
}

/* opts and $VEXFS_TEST_OPTS, which stand for all mounts of a run. */
static char *all_opts(const char *opts)
{
	const char *more = getenv("VEXFS_TEST_OPTS");
	char *all = NULL;

	if (!more || !*more)
		return opts ? strdup(opts) : NULL;
	if (asprintf(&all, "%s%s%s", opts ? opts : "", opts && *opts ? "," : "", more) <
	    0)
		_exit(127);
	return all;
}

static void child_exec(struct vmount *m, const char *prefix, const char *opts)
{
	char *argv[32];
	int n = 0;
	int log = open(m->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	close_range(3, ~0u, 0);
	for (char *w = prefix ? strtok(strdup(prefix), " ") : NULL; w && n < 20;
	     w = strtok(NULL, " "))
		argv[n++] = w;
	argv[n++] = strdup(vm_bin("vexfs"));
	argv[n++] = strdup("-f");
	char *all = all_opts(opts);
	if (all && *all) {
		argv[n++] = strdup("-o");
		argv[n++] = all;
	}
	argv[n++] = m->store;
	argv[n++] = m->mnt;
	argv[n] = NULL;
	execvp(argv[0], argv);
	dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* The control file, not only the superblock: it answers once the daemon serves. */
static bool usable(struct vmount *m)
{
	struct stat st;

	if (!vm_is_mounted(m->mnt))
		return false;
	return !stat(vm_at(m, ".vexfs/control"), &st) || errno == EACCES;
}

int vm_start_under(struct vmount *m, const char *prefix, const char *opts)
{
	cr_assert(m->daemon == 0, "already up");
	pid_t pid = fork();
	cr_assert(pid >= 0);
	if (!pid)
		child_exec(m, prefix, opts);
	for (int i = 0; i < START_SECONDS * 100; i++) {
		int status;

		if (waitpid(pid, &status, WNOHANG) == pid)
			return code_of(status) ? code_of(status) : -1;
		if (usable(m)) {
			m->daemon = pid;
			return 0;
		}
		pause_ms(10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unmount(m->mnt, true);
	cr_assert_fail("the mount was not usable within %d s: %s", START_SECONDS,
		       vm_log(m));
	return -1;
}

int vm_start(struct vmount *m, const char *opts)
{
	return vm_start_under(m, NULL, opts);
}

void vm_up(struct vmount *m, const char *opts)
{
	int code = vm_start(m, opts);

	cr_assert(code == 0, "vexfs ended with %d: %s", code, vm_log(m));
}

static int reap(struct vmount *m, int seconds)
{
	int status;

	for (int i = 0; i < seconds * 100; i++) {
		if (waitpid(m->daemon, &status, WNOHANG) == m->daemon) {
			m->daemon = 0;
			return code_of(status);
		}
		pause_ms(10);
	}
	kill(m->daemon, SIGKILL);
	waitpid(m->daemon, &status, 0);
	m->daemon = 0;
	return 124;
}

int vm_stop(struct vmount *m)
{
	if (!m->daemon)
		return 0;
	for (int i = 0; i < 500; i++) {
		if (!vm_is_mounted(m->mnt) || !unmount(m->mnt, false))
			break;
		pause_ms(10);
	}
	if (vm_is_mounted(m->mnt)) { /* the test left something open */
		kill(m->daemon, SIGTERM);
		cr_log_warn("%s was still busy: SIGTERM", m->mnt);
	}
	return reap(m, STOP_SECONDS);
}

void vm_down(struct vmount *m)
{
	int code = vm_stop(m);

	cr_assert(code == 0, "vexfs ended with %d: %s", code, vm_log(m));
}

void vm_remount(struct vmount *m, const char *opts)
{
	vm_down(m);
	vm_up(m, opts);
}

void vm_crash(struct vmount *m)
{
	kill(m->daemon, SIGKILL);
	reap(m, 10);
	for (int i = 0; i < 100 && vm_is_mounted(m->mnt); i++) {
		unmount(m->mnt, true);
		pause_ms(10);
	}
}

void vm_free(struct vmount *m)
{
	int code = m->daemon ? vm_stop(m) : 0;
	char *log = vm_log(m);

	if (m->guard) { /* it unmounts and removes when we end; do it now instead */
		kill(m->guard, SIGKILL);
		waitpid(m->guard, NULL, 0);
		m->guard = 0;
	}
	for (int i = 0; i < 20 && vm_is_mounted(m->mnt); i++)
		unmount(m->mnt, true);
	if (m->base[0] && !vm_is_mounted(m->mnt))
		remove_all(m->base);
	cr_assert(code == 0, "vexfs ended with %d: %s", code, log);
}

char *vm_log(struct vmount *m)
{
	char *text = vm_read(m->log, NULL);

	return text ? text : strdup("");
}

/* ---- commands ------------------------------------------------------------------- */

static pid_t shell(struct vmount *m, int seconds, const char *cmd, int out)
{
	char limit[16];
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	if (out >= 0)
		dup2(out, 1);
	setenv("M", m->mnt, 1);
	setenv("S", m->store, 1);
	setenv("P", m->plain, 1);
	setenv("B", vm_bin(""), 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	snprintf(limit, sizeof(limit), "%d", seconds);
	execlp("timeout", "timeout", "-k", "5", limit, "bash", "-c", cmd, NULL);
	_exit(127);
}

static char *formatted(const char *fmt, va_list ap)
{
	char *cmd = NULL;

	cr_assert(vasprintf(&cmd, fmt, ap) >= 0);
	return cmd;
}

int vm_sh(struct vmount *m, int seconds, const char *fmt, ...)
{
	va_list ap;
	int status;

	va_start(ap, fmt);
	char *cmd = formatted(fmt, ap);
	va_end(ap);
	pid_t pid = shell(m, seconds, cmd, -1);
	cr_assert(pid > 0);
	cr_assert(waitpid(pid, &status, 0) == pid);
	free(cmd);
	return code_of(status);
}

static char *drain(int fd)
{
	size_t len = 0, size = 4096;
	char *buf = malloc(size);
	ssize_t n;

	while ((n = read(fd, buf + len, size - len - 1)) > 0) {
		len += (size_t)n;
		if (size - len < 1024)
			buf = realloc(buf, size *= 2);
	}
	buf[len] = 0;
	return buf;
}

int vm_sh_out(struct vmount *m, int seconds, char **out, const char *fmt, ...)
{
	va_list ap;
	int status, p[2];

	va_start(ap, fmt);
	char *cmd = formatted(fmt, ap);
	va_end(ap);
	cr_assert(pipe2(p, O_CLOEXEC) == 0);
	pid_t pid = shell(m, seconds, cmd, p[1]);
	cr_assert(pid > 0);
	close(p[1]);
	*out = drain(p[0]);
	close(p[0]);
	cr_assert(waitpid(pid, &status, 0) == pid);
	free(cmd);
	return code_of(status);
}

int vm_as(uid_t uid, gid_t gid, const gid_t *groups, size_t ngroups, int (*fn)(void *),
	  void *arg)
{
	int status;

	if (geteuid())
		cr_skip_test("needs root");
	pid_t pid = fork();
	cr_assert(pid >= 0);
	if (!pid) {
		if (setgroups(ngroups, groups) || setresgid(gid, gid, gid) ||
		    setresuid(uid, uid, uid))
			_exit(99);
		_exit(fn(arg) & 255);
	}
	cr_assert(waitpid(pid, &status, 0) == pid);
	return code_of(status);
}

/* ---- files ---------------------------------------------------------------------- */

void vm_write(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)data + done, len - done);

		cr_assert(n > 0, "%s: %s", path, strerror(errno));
		done += (size_t)n;
	}
	cr_assert(close(fd) == 0, "close %s: %s", path, strerror(errno));
}

void vm_puts(const char *path, const char *text)
{
	vm_write(path, text, strlen(text));
}

char *vm_read(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	size_t have = 0, size = 65536;
	char *buf = malloc(size);
	ssize_t n;
	while ((n = read(fd, buf + have, size - have - 1)) > 0) {
		have += (size_t)n;
		if (size - have < 32768)
			buf = realloc(buf, size *= 2);
	}
	int err = errno;
	close(fd);
	if (n < 0) {
		free(buf);
		errno = err;
		return NULL;
	}
	buf[have] = 0;
	if (len)
		*len = have;
	return buf;
}

uint64_t vm_seed(void)
{
	const char *s = getenv("VEXFS_SEED");
	uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;

	printf("seed: VEXFS_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* splitmix64 */
uint64_t vm_rand(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

long vm_asked(struct vmount *m, const char *op)
{
	char line[128];
	char *text = vm_read(vm_at(m, ".vexfs/metrics"), NULL);

	cr_assert_not_null(text);
	snprintf(line, sizeof(line),
		 "\nvexfs_operations_total{op=\"%s\",class=\"fuse\"} ", op);
	char *at = strstr(text, line);
	long n = at ? atol(at + strlen(line)) : 0;

	free(text);
	return n;
}
