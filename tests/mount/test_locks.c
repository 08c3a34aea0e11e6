/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks between processes on the mount: flock, POSIX and OFD record locks, leases of
 * time (waiting), release at close and at death.
 */
#include "mount/compare.h"

#include <signal.h>
#include <sys/file.h>

static struct vmount m;
static char path[600];

static void up(void)
{
	vm_new(&m);
	vm_up(&m, NULL);
	snprintf(path, sizeof(path), "%s", vm_at(&m, "f"));
	vm_puts(path, "0123456789");
}

static void down(void)
{
	vm_free(&m);
}

#define KTEST(name) Test(locks, name, .init = up, .fini = down, .timeout = 60)

static int set(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &l);
}

/* Runs `try` in a child with a descriptor of its own: its result. */
static int elsewhere(int (*try)(int fd))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		int fd = open(path, O_RDWR);

		alarm(20);
		_exit(fd < 0 ? 99 : try(fd));
	}
	cr_assert(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int try_flock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) ? errno : 0;
}

static int try_flock_shared(int fd)
{
	return flock(fd, LOCK_SH | LOCK_NB) ? errno : 0;
}

static int try_range(int fd)
{
	return set(fd, F_SETLK, F_WRLCK, 0, 5) ? errno : 0;
}

static int try_other_range(int fd)
{
	return set(fd, F_SETLK, F_WRLCK, 5, 5) ? errno : 0;
}

static int try_ofd(int fd)
{
	return set(fd, F_OFD_SETLK, F_WRLCK, 0, 5) ? errno : 0;
}

static int who_has_it(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_start = 0, .l_len = 1 };

	return fcntl(fd, F_GETLK, &l) || l.l_type != F_WRLCK || l.l_pid != getppid();
}

KTEST(flock_excludes)
{
	int fd = open(path, O_RDWR);

	cr_assert(flock(fd, LOCK_SH) == 0);
	cr_assert_eq(elsewhere(try_flock_shared), 0);
	cr_assert_eq(elsewhere(try_flock), EWOULDBLOCK);
	cr_assert(flock(fd, LOCK_EX) == 0);
	cr_assert_eq(elsewhere(try_flock_shared), EWOULDBLOCK);
	cr_assert(flock(fd, LOCK_UN) == 0);
	cr_assert_eq(elsewhere(try_flock), 0);
	cr_assert(flock(fd, LOCK_EX) == 0);
	close(fd);
	cr_assert_eq(elsewhere(try_flock), 0);
}

KTEST(record_locks_exclude)
{
	int fd = open(path, O_RDWR), second = open(path, O_RDWR);

	cr_assert(set(fd, F_SETLK, F_WRLCK, 0, 5) == 0);
	cr_assert_eq(elsewhere(try_range), EAGAIN);
	cr_assert_eq(elsewhere(try_other_range), 0);
	cr_assert_eq(elsewhere(who_has_it), 0);
	cr_assert_eq(elsewhere(try_ofd), EAGAIN);
	close(second); /* POSIX: any close drops them all */
	cr_assert_eq(elsewhere(try_range), 0);
	close(fd);
}

KTEST(ofd_locks_stay_with_their_descriptor)
{
	int fd = open(path, O_RDWR), second = open(path, O_RDWR);

	cr_assert(set(fd, F_OFD_SETLK, F_WRLCK, 0, 5) == 0);
	close(second);
	cr_assert_eq(elsewhere(try_ofd), EAGAIN);
	cr_assert_eq(elsewhere(try_range), EAGAIN);
	close(fd);
	cr_assert_eq(elsewhere(try_ofd), 0);
}

KTEST(waiting_and_death)
{
	int p[2];
	char c;

	cr_assert(pipe(p) == 0);
	pid_t pid = fork();
	if (!pid) {
		int fd = open(path, O_RDWR);

		if (set(fd, F_SETLK, F_WRLCK, 0, 0) || flock(fd, LOCK_EX) ||
		    write(p[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	cr_assert_eq(read(p[0], &c, 1), 1);
	cr_assert_eq(elsewhere(try_range), EAGAIN);
	pid_t waiter = fork();
	if (!waiter) {
		int fd = open(path, O_RDWR);

		alarm(20);
		_exit(set(fd, F_SETLKW, F_WRLCK, 0, 0) || flock(fd, LOCK_EX));
	}
	usleep(100000);
	int status;
	cr_assert_eq(waitpid(waiter, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_assert_eq(waitpid(waiter, &status, 0), waiter);
	cr_assert_eq(status, 0);
}

/* A counter in a file, kept by locks alone. */
static int count(int fd)
{
	for (int k = 0; k < 200; k++) {
		long v;

		if (set(fd, F_SETLKW, F_WRLCK, 0, 0) || pread(fd, &v, sizeof(v), 0) < 0)
			return 1;
		v++;
		if (pwrite(fd, &v, sizeof(v), 0) < 0 || set(fd, F_SETLK, F_UNLCK, 0, 0))
			return 2;
	}
	return 0;
}

KTEST(a_counter_loses_nothing)
{
	long v = 0;
	int fd = open(path, O_RDWR);

	cr_assert(pwrite(fd, &v, sizeof(v), 0) == sizeof(v));
	close(fd);
	for (int k = 0; k < 4; k++) {
		if (!fork()) {
			alarm(30);
			_exit(count(open(path, O_RDWR)));
		}
	}
	for (int k = 0, status; k < 4; k++) {
		wait(&status);
		cr_assert_eq(status, 0);
	}
	fd = open(path, O_RDONLY);
	cr_assert(pread(fd, &v, sizeof(v), 0) == sizeof(v));
	cr_assert_eq(v, 800);
	close(fd);
}
