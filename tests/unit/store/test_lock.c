/* SPDX-License-Identifier: Apache-2.0 */
/* One daemon a store; one that is closing is waited for. Children hold the lock. */
#include "fixture.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(lock, .init = begin, .fini = end, .timeout = 60);

static _Atomic int *phase;

static void wait_phase(int want)
{
	for (int i = 0; i < 10000 && atomic_load(phase) < want; i++)
		usleep(1000);
	cr_assert_geq(atomic_load(phase), want);
}

/* A child with the store open: phase 1; at 2 it says it is closing: 3; at 4 it closes. */
static pid_t holder(const char *mountpoint)
{
	pid_t pid;

	phase =
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (pid) {
		wait_phase(1);
		return pid;
	}
	f.opts.mountpoint = mountpoint;
	fix_open(&f);
	atomic_store(phase, 1);
	wait_phase(2);
	vex_store_closing(f.s);
	atomic_store(phase, 3);
	wait_phase(4);
	fix_close(&f);
	_exit(0);
}

static void reap(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
}

Test(lock, a_live_one_is_not_waited_for)
{
	/* A mount wherever mountinfo can be read; "/" is none in a chroot. */
	pid_t pid = holder("/proc");
	uint64_t t = vex_now_mono();
	char want[64];

	f.opts.wait_ms = 20000;
	cr_expect_eq(fix_try(&f), -EBUSY);
	cr_expect_lt(vex_now_mono() - t, 2000000000u);
	snprintf(want, sizeof(want), " is served by vexfs pid %d at /proc", (int)pid);
	cr_expect(strstr(f.problem.text, want), "%s", f.problem.text);
	kill(pid, SIGKILL);
	reap(pid);
	fix_open(&f);
}

Test(lock, a_closing_one_is_waited_for)
{
	pid_t pid = holder("/proc"), waiter;
	int status;

	atomic_store(phase, 2);
	wait_phase(3);
	f.opts.wait_ms = 50;
	cr_expect_eq(fix_try(&f), -EBUSY, "it does not close in time");
	waiter = fork();
	if (!waiter) {
		f.opts.wait_ms = 20000;
		_exit(fix_try(&f) ? 1 : 0);
	}
	usleep(100000);
	cr_expect_eq(waitpid(waiter, &status, WNOHANG), 0, "it waits");
	atomic_store(phase, 4);
	reap(pid);
	cr_assert_eq(waitpid(waiter, &status, 0), waiter);
	cr_expect(WIFEXITED(status) && !WEXITSTATUS(status));
}

Test(lock, an_unmounted_one_is_waited_for)
{
	pid_t pid = holder("/no such\tmount\\point");
	uint64_t t = vex_now_mono();

	f.opts.wait_ms = 300;
	cr_expect_eq(fix_try(&f), -EBUSY);
	cr_expect_gt(vex_now_mono() - t, 250000000u);
	cr_expect(strstr(f.problem.text, "/no\\040such\\011mount\\134point"), "%s",
		  f.problem.text);
	kill(pid, SIGKILL);
	reap(pid);
	fix_open(&f);
}

Test(lock, twice_in_one_process)
{
	struct fix g = f;

	fix_open(&f);
	cr_expect_eq(fix_try(&g), -EBUSY);
	fix_close(&f);
	cr_expect_eq(fix_try(&g), 0);
	vex_store_close(g.s);
}

Test(lock, nonsense_in_the_file)
{
	char path[160];
	int fd;

	fix_open(&f);
	fix_close(&f);
	snprintf(path, sizeof(path), "%s/.vexfs/lock", f.dir);
	fd = open(path, O_WRONLY | O_TRUNC);
	for (int i = 0; i < 10000; i++)
		cr_assert_eq(write(fd, "\xff\nmountpoint ", 13), 13);
	close(fd);
	fix_open(&f);
}

Test(lock, a_removed_lock_file_opens_no_door)
{
	struct fix g = f;
	char path[160];

	fix_open(&f);
	snprintf(path, sizeof(path), "%s/.vexfs/lock", f.dir);
	cr_assert_eq(unlink(path), 0);
	cr_expect_eq(fix_try(&g), -EBUSY);
	fix_close(&f);
	cr_expect_eq(fix_try(&g), 0);
	vex_store_close(g.s);
}
