/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vexfs: the daemon's wiring and life. Its command line: options.c.
 *
 * Unless -f, it forks before anything is opened (threads do not survive a fork). The
 * child does the work and says "ready" through a pipe once the mount is usable; its
 * stderr stays the terminal until then, so the one line that says why not is its own.
 *
 * Signals. SIGTERM, SIGINT and SIGHUP are blocked in all threads and taken by one:
 * before the mount stands they end the process (the store survives SIGKILL, so it
 * survives this), then they end serving, then they are late.
 */
#include "fsck.h"
#include "options.h"
#include "restore.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <vexfs/kernel.h>

#define CLOSING_WAIT_MS 30000u
#define THREAD_STACK ((size_t)262144)

int vexfs_fail(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("vexfs: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* ---- signals
 * ---------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	pthread_t thread;
	sigset_t set;
	struct vex_fs *fs; /* to stop; NULL: none yet, or no more */
	bool ending;
} signals = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *take_signals(void *arg)
{
	bool ending = false;
	int sig;

	(void)arg;
	while (!ending) {
		if (sigwait(&signals.set, &sig))
			continue;
		pthread_mutex_lock(&signals.lock);
		ending = signals.ending;
		if (signals.fs)
			vex_fs_stop(signals.fs);
		else if (!ending)
			_exit(vexfs_fail(1, "stopped by signal %d", sig));
		pthread_mutex_unlock(&signals.lock);
	}
	return NULL;
}

static vex_err signals_start(void)
{
	sigemptyset(&signals.set);
	sigaddset(&signals.set, SIGTERM);
	sigaddset(&signals.set, SIGINT);
	sigaddset(&signals.set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals.set, NULL);
	return vex_thread_start(&signals.thread, "vex-signals", THREAD_STACK,
				take_signals, NULL);
}

static void signals_stop_fs(struct vex_fs *fs, bool ending)
{
	pthread_mutex_lock(&signals.lock);
	signals.fs = fs;
	signals.ending = ending;
	pthread_mutex_unlock(&signals.lock);
}

static void signals_end(void)
{
	signals_stop_fs(NULL, true);
	pthread_kill(signals.thread, SIGTERM);
	pthread_join(signals.thread, NULL);
}

/* ---- life
 * ----------------------------------------------------------------------------------- */

static void fs_status(void *arg, struct vex_buf *out)
{
	vex_fs_status(arg, out);
}

/* From here on errors go to the log, and the one who started us may go on. */
static void ready(const struct options *o, int pipe)
{
	vex_info("%s mounted at %s", o->store, o->mountpoint);
	if (pipe < 0)
		return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (write(pipe, "", 1) != 1)
		vex_warn("nobody waits for the mount");
	close(pipe);
}

static int mount_and_serve(struct options *o, struct vex_engine *engine,
			   struct vex_fs *fs, int pipe)
{
	struct vex_problem problem = { "" };

	signals_stop_fs(fs, false);
	if (vex_fs_mount(fs, &problem))
		return vexfs_fail(1, "%s", problem.text);
	ready(o, pipe);
	vex_err err = vex_fs_serve(fs);
	if (err)
		vex_error("serving ended: %s", strerrordesc_np(-err));
	vex_engine_closing(engine);
	return err ? 1 : 0;
}

static int with_engine(struct options *o, int rootfd, struct vex_engine *engine, int pipe)
{
	struct vex_fs_opts fo = { .rootfd = rootfd, .engine = engine, .store = o->store };
	struct vex_control_opts co = { .engine = engine, .store = o->store };
	struct vex_control *control = NULL;
	struct vex_fs *fs;

	fo.mountpoint = co.mountpoint = o->mountpoint;
	fo.mount_opts = o->kernel.data;
	fo.debug = o->debug;
	fo.single_threaded = o->single;
	fo.no_passthrough = o->settings.value[VEX_KNOB_PASSTHROUGH];
	vex_err err = vex_fs_new(&fo, &fs);
	if (err)
		return vexfs_fail(1, "cannot start: %s", strerrordesc_np(-err));
	co.options = o->shown.data ? o->shown.data : "";
	co.status_extra = fs_status;
	co.arg = fs;
	err = vex_control_new(&co, &control);
	if (!err)
		vex_fs_set_control(fs, control);
	int code = err ? vexfs_fail(1, "cannot start: %s", strerrordesc_np(-err))
		       : mount_and_serve(o, engine, fs, pipe);
	signals_stop_fs(NULL, true);
	vex_fs_unmount(fs);
	if (control)
		vex_control_free(control);
	vex_fs_free(fs);
	return code;
}

static int run(struct options *o, int pipe)
{
	struct vex_problem problem = { "" };
	struct vex_engine *engine;
	AUTO_CLOSE int rootfd = -1;

	/* Signals first: threads made after are not sent any. */
	if (signals_start())
		return vexfs_fail(1, "cannot start a thread");
	if (vex_deep_start()) {
		signals_end();
		return vexfs_fail(1, "cannot start a thread");
	}
	vex_err err = vex_fs_open_store(o->store, o->mountpoint, &rootfd, &problem);
	if (!err)
		err = vex_engine_open(rootfd, &o->engine, &engine, &problem);
	if (err) {
		vex_deep_end();
		signals_end();
		return vexfs_fail(1, "%s",
				  *problem.text ? problem.text : strerrordesc_np(-err));
	}
	/* Damage that leaves the rest to be served. Our stderr is still the caller's. */
	if (*problem.text)
		fprintf(stderr, "vexfs: warning: %s\n", problem.text);
	int code = with_engine(o, rootfd, engine, pipe);
	vex_engine_close(engine);
	vex_deep_end();
	signals_end();
	return code;
}

/* Runs in a child; returns once that is ready (0), or has ended (its exit code). */
static int run_behind(struct options *o)
{
	int p[2], status;
	char c;

	if (pipe2(p, O_CLOEXEC))
		return vexfs_fail(1, "%s", strerror(errno));
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return vexfs_fail(1, "%s", strerror(errno));
	if (!pid) {
		close(p[0]);
		setsid();
		return run(o, p[1]);
	}
	close(p[1]);
	ssize_t n;
	while ((n = read(p[0], &c, 1)) < 0 && errno == EINTR)
		;
	close(p[0]);
	if (n == 1)
		return 0;
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		return WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
	return vexfs_fail(1, "the daemon died");
}

/* OpenBLAS looks at its environment when it is loaded, before us: so once more, with
 * the right one. And with all symbols bound: binding one at its first call saves every
 * vector register, 3 KB of a request's stack. */
static void set_environment(char **argv)
{
	const char *core = NULL;
	bool again = vex_kernel_wants_reexec(&core) || !getenv("OPENBLAS_NUM_THREADS") ||
		     !getenv("LD_BIND_NOW");

	if (getenv("VEXFS_STARTED") || !again)
		return;
	if (core)
		setenv("OPENBLAS_CORETYPE", core, 1);
	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	setenv("LD_BIND_NOW", "1", 1);
	setenv("VEXFS_STARTED", "1", 1);
	execv("/proc/self/exe", argv);
}

/* glibc gives threads heaps of their own, eight a core, each with room it keeps: with
 * 10,000 vectors of 384 dimensions under load that was 20 MB (tests/shell/memory.sh). */
static void frugal(void)
{
	mallopt(M_ARENA_MAX, 2);
}

static void raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

int main(int argc, char **argv)
{
	struct options o = { .engine.threads = 0 };
	AUTO_FREE char *store = NULL, *mountpoint = NULL;

	set_environment(argv);
	unsetenv("VEXFS_STARTED");
	if (fsck_wanted(argc, argv))
		return fsck_main(argc, argv);
	if (restore_wanted(argc, argv))
		return restore_main(argc, argv);
	int code = options_parse(&o, argc, argv);
	store = o.store;
	mountpoint = o.mountpoint;
	if (code < 0) {
		prctl(PR_SET_NAME, "vexfs");
		raise_limits();
		frugal();
		vex_kernel_init();
		vex_log_init(!o.foreground, o.debug ? VEX_LOG_DEBUG : VEX_LOG_INFO);
		o.engine.owner = getuid();
		o.engine.store.wait_ms = CLOSING_WAIT_MS;
		o.engine.store.mountpoint = o.mountpoint;
		if (chdir("/"))
			code = vexfs_fail(1, "/: %s", strerror(errno));
		else
			code = o.foreground ? run(&o, -1) : run_behind(&o);
	}
	vex_buf_free(&o.kernel);
	vex_buf_free(&o.shown);
	return code;
}
