/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting, serving, unmounting.
 *
 * Stopping. libfuse's main thread sleeps on a semaphore; told to end by a signal that
 * arrives just before the sleep, or in another thread, it notices with the next request
 * only. So one thread waits for vex_fs_stop, marks the session ended and pokes the main
 * thread (SIGUSR1, an empty handler) until it has left the loop.
 *
 * Words. libfuse and fusermount3 print why a mount fails; while mounting, stderr is a
 * memory file, and what it holds becomes the one line the user sees.
 */
#include "fs_i.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define THREADS 24u
/* Callbacks use less than 6 KB (tests/shell/stack.sh, scripts/stack-check); this is 64 KB
 * of stack and what lies in the same mapping: 78 KB of thread-local storage, of which 60
 * are OpenBLAS's and 16 the answer of an ioctl (readelf -lW, the segments TLS).
 * Sanitizers' frames are larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define THREAD_STACK "262144"
#else
#define THREAD_STACK "147456"
#endif
#define THREAD_BYTES ((size_t)262144)

/* ---- mounting
 * -------------------------------------------------------------------------- */

struct words {
	int saved, mem;
};

static void words_begin(struct words *w)
{
	fflush(stderr);
	w->mem = memfd_create("vexfs-words", MFD_CLOEXEC);
	w->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (w->mem >= 0 && w->saved >= 0)
		dup2(w->mem, STDERR_FILENO);
}

/* stderr again; what was said, in one line. */
static void words_end(struct words *w, char *out, size_t size)
{
	ssize_t n = 0;

	fflush(stderr);
	if (w->mem >= 0 && w->saved >= 0) {
		dup2(w->saved, STDERR_FILENO);
		n = pread(w->mem, out, size - 1, 0);
	}
	if (w->mem >= 0)
		close(w->mem);
	if (w->saved >= 0)
		close(w->saved);
	out[n > 0 ? n : 0] = 0;
	for (char *p = out; *p; p++) {
		if (*p == '\n')
			*p = p[1] ? ';' : 0;
	}
}

static vex_err mount_args(struct vex_fs *fs, struct fuse_args *args)
{
	char *opts = NULL;
	int bad = fuse_opt_add_opt(&opts, "default_permissions");

	bad |= fuse_opt_add_opt(&opts, "subtype=vexfs");
	AUTO_FREE char *name = NULL;
	if (asprintf(&name, "fsname=%s", fs->source) < 0)
		return -ENOMEM;
	bad |= fuse_opt_add_opt_escaped(&opts, name);
	if (*fs->mount_opts)
		bad |= fuse_opt_add_opt(&opts, fs->mount_opts);
	if (fs->debug)
		bad |= fuse_opt_add_opt(&opts, "debug");
	bad |= fuse_opt_add_arg(args, "vexfs") | fuse_opt_add_arg(args, "-o") |
	       fuse_opt_add_arg(args, opts);
	free(opts);
	return bad ? -ENOMEM : 0;
}

vex_err vex_fs_mount(struct vex_fs *f, struct vex_problem *problem)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops;
	struct words words;
	char said[256];
	int failed = 0;

	vex_err err = mount_args(f, &args);
	words_begin(&words);
	count_ops(&ops);
	if (!err) {
		f->session = fuse_session_new(&args, &ops, sizeof(ops), f);
		failed = !f->session || fuse_session_mount(f->session, f->mountpoint) ||
			 wire_start(f);
	}
	words_end(&words, said, sizeof(said));
	fuse_opt_free_args(&args);
	if (!err && !failed) {
		if (*said)
			vex_info("%s", said);
		return 0;
	}
	snprintf(problem->text, sizeof(problem->text), "cannot mount on %.200s: %s",
		 f->mountpoint, *said ? said : "no reason given");
	if (f->session)
		fuse_session_destroy(f->session);
	f->session = NULL;
	return err ? err : -EIO;
}

/* ---- stopping
 * ------------------------------------------------------------------------------ */

struct stopper {
	struct vex_fs *fs;
	pthread_t thread, main;
	_Atomic bool left; /* main is out of the loop */
};

static void nothing(int sig)
{
	(void)sig;
}

static void *stopper(void *arg)
{
	struct stopper *s = arg;
	const struct timespec often = { .tv_nsec = 10000000 };
	eventfd_t n;

	while (eventfd_read(s->fs->stop_fd, &n) && errno == EINTR)
		;
	if (!atomic_load(&s->left))
		fuse_session_exit(s->fs->session);
	while (!atomic_load(&s->left)) {
		pthread_kill(s->main, SIGUSR1);
		nanosleep(&often, NULL);
	}
	return NULL;
}

static vex_err stopper_start(struct vex_fs *fs, struct stopper *s)
{
	struct sigaction poke = { .sa_handler = nothing }; /* no SA_RESTART */

	s->fs = fs;
	s->main = pthread_self();
	sigaction(SIGUSR1, &poke, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a client's limit is the kernel's to enforce */
	return vex_thread_start(&s->thread, "vex-stop", THREAD_BYTES, stopper, s);
}

void vex_fs_stop(struct vex_fs *f)
{
	eventfd_write(f->stop_fd, 1);
}

/* ---- serving
 * ------------------------------------------------------------------------------- */

static int loop(struct vex_fs *fs)
{
	if (fs->single_threaded)
		return fuse_session_loop(fs->session);
	struct fuse_loop_config *c = fuse_loop_cfg_create();
	if (!c)
		return -ENOMEM;
	/* Idle ones stay: making threads anew costs more than keeping them. */
	fuse_loop_cfg_set_max_threads(c, THREADS);
	fuse_loop_cfg_set_idle_threads(c, THREADS);
	fuse_loop_cfg_set_clone_fd(c, 0);
	setenv("FUSE_THREAD_STACK", THREAD_STACK, 1);
	int r = fuse_session_loop_mt(fs->session, c);
	fuse_loop_cfg_destroy(c);
	return r;
}

vex_err vex_fs_serve(struct vex_fs *f)
{
	struct stopper s = { 0 };

	vex_err err = stopper_start(f, &s);
	if (err)
		return err;
	watch_start(f);
	int r = loop(f);
	watch_stop(f);
	atomic_store(&s.left, true);
	vex_fs_stop(f);
	pthread_join(s.thread, NULL);
	/* Unmounted while requests waited, or ended by an administrator (abort in
	 * /sys/fs/fuse): no connection any more, and that is how serving ends. */
	return r < 0 && r != -ECONNABORTED ? r : 0;
}

void vex_fs_unmount(struct vex_fs *f)
{
	if (f->session) {
		fuse_session_unmount(f->session);
		fuse_session_destroy(f->session);
	}
	f->session = NULL;
	handles_close_all(f);
}
