/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: what is accepted, what is refused with one clear line, how a daemon
 * starts, waits and ends.
 */
#include "mount/compare.h"

#include <signal.h>
#include <sys/mount.h>

static struct vmount m;

static void up(void)
{
	vm_new(&m);
}

static void down(void)
{
	vm_free(&m);
}

#define OTEST(name) Test(options, name, .init = up, .fini = down, .timeout = 120)

/* Runs vexfs with these arguments; its exit code, and stderr in *text. */
static int vexfs(char **text, const char *fmt, ...)
{
	char args[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	return vm_sh_out(&m, 60, text, "exec 2>&1 >/dev/null; exec %s %s",
			 vm_bin("vexfs"), args);
}

static int lines(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

OTEST(bad_command_lines_get_one_line)
{
	static const char *const bad[] = {
		"",
		"$S",
		"$S $M extra",
		"--restore $S $M",
		"-x $S $M",
		"-o",
		"-o nonsense $S $M",
		"-o metric=l7 $S $M",
		"-o metric $S $M",
		"-o strict=yes $S $M",
		"-o threads=0 $S $M",
		"-o threads=2x $S $M",
		"-o sync_interval_ms=-1 $S $M",
		"-o vec_space=UPPER $S $M",
		"-o vec_space= $S $M",
		"-o mem=12Q $S $M",
		"-o mem=M $S $M",
		"-o batch_size=0 $S $M",
		"-o index_sync=maybe $S $M",
		"-o sync=sometimes $S $M",
		"-o allow_other,bogus $S $M",
		"$P/nowhere $M",
		"$S $P/nowhere",
		"/dev/null $M",
		"$S /dev/null",
	};

	for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
		char *text;
		int code = vexfs(&text, "%s", bad[k]);

		cr_assert(code == 1 || code == 2, "%s: %d", bad[k], code);
		cr_assert_eq(lines(text), 1, "%s: %s", bad[k], text);
		cr_assert(!strncmp(text, "vexfs: ", 7), "%s: %s", bad[k], text);
		cr_assert(!vm_is_mounted(m.mnt));
	}
}

OTEST(help_and_version)
{
	char *text;

	cr_assert_eq(vm_sh_out(&m, 10, &text, "%s --version", vm_bin("vexfs")), 0);
	cr_assert(!strncmp(text, "vexfs ", 6) && lines(text) == 1, "%s", text);
	cr_assert_eq(vm_sh_out(&m, 10, &text, "%s -V", vm_bin("vexfs")), 0);
	cr_assert_eq(vm_sh_out(&m, 10, &text, "%s -h", vm_bin("vexfs")), 0);
	cr_assert(strstr(text, "STORE MOUNTPOINT"));
	cr_assert_eq(vm_sh_out(&m, 10, &text, "%s --help", vm_bin("vexfs")), 0);
}

static pid_t daemon_of(const char *mnt)
{
	char *text, *p;

	if (vm_sh_out(&m, 10, &text, "cat %s/.vexfs/status", mnt))
		return 0;
	p = strstr(text, "\"pid\":");
	return p ? (pid_t)atoi(p + 6) : 0;
}

static void wait_gone(pid_t pid)
{
	for (int k = 0; k < 3000 && kill(pid, 0) == 0; k++) {
		char *text; /* nobody's child may stay a zombie in a container */

		if (vm_sh_out(&m, 10, &text, "grep -s State: /proc/%d/status", pid) ||
		    strchr(text, 'Z'))
			return;
		usleep(10000);
	}
	cr_assert(kill(pid, 0) != 0, "daemon %d is still there", pid);
}

OTEST(goes_behind_and_returns_when_usable)
{
	char *text;

	cr_assert_eq(vexfs(&text, "-o strict,metric=l2,threads=2,sync=always,mem=64M "
				  "$S $M"),
		     0);
	cr_assert_str_eq(text, "");
	/* At once, with no waiting here. */
	vm_puts(vm_at(&m, "f"), "x");
	pid_t pid = daemon_of(m.mnt);
	cr_assert(pid > 1);
	cr_assert_eq(vm_sh(&m, 10,
			   "findmnt -n -o FSTYPE,SOURCE $M | grep -q "
			   "\"fuse.vexfs *$S\""),
		     0);
	cr_assert_eq(vm_sh(&m, 10, "test $(cat /proc/%d/comm) = vexfs", pid), 0);
	cr_assert_eq(vm_sh(&m, 10, "grep -q metric=l2 $M/.vexfs/status"), 0);
	cr_assert_eq(vm_sh(&m, 10, "fusermount3 -u $M"), 0);
	wait_gone(pid);
	cr_assert_str_eq(vm_read(vm_store(&m, "f"), NULL), "x");
}

OTEST(signals_end_it_cleanly)
{
	static const int sigs[] = { SIGTERM, SIGINT, SIGHUP };

	for (int k = 0; k < 9; k++) {
		vm_up(&m, k >= 6 ? "debug,passthrough=off" : "passthrough=off");
		int fd = open(vm_at(&m, "f"), O_CREAT | O_RDWR, 0644);
		int ctl = open(vm_at(&m, ".vexfs/control"), O_RDWR);
		int dir = open(m.mnt, O_RDONLY | O_DIRECTORY);

		cr_assert(write(fd, "abc", 3) == 3 && ctl >= 0);
		unlink(vm_at(&m, "f"));
		cr_assert(kill(m.daemon, sigs[k % 3]) == 0);
		int status;
		cr_assert_eq(waitpid(m.daemon, &status, 0), m.daemon);
		m.daemon = 0;
		cr_assert_eq(status, 0, "%x: %s", status, vm_log(&m));
		cr_assert(!vm_is_mounted(m.mnt));
		cr_assert(write(fd, "abc", 3) < 0 && errno == ENOTCONN);
		close(fd);
		close(ctl);
		close(dir);
	}
}

OTEST(single_threaded)
{
	char *text;

	cr_assert_eq(vexfs(&text, "-s $S $M"), 0);
	cr_assert_eq(vm_sh(&m, 60,
			   "cd $M; for i in $(seq 50); do (echo $i > f$i; cat f$i "
			   ">/dev/null) & done; wait; ls | wc -l"),
		     0);
	pid_t pid = daemon_of(m.mnt);
	cr_assert(kill(pid, SIGTERM) == 0);
	wait_gone(pid);
	cr_assert(!vm_is_mounted(m.mnt));
	cr_assert_eq(vm_sh(&m, 10, "test $(ls $S | wc -l) = 50"), 0);
}

OTEST(over_itself)
{
	vm_puts(vm_store(&m, "before"), "was here");
	vm_over(&m);
	vm_up(&m, NULL);
	cr_assert_str_eq(vm_read(vm_at(&m, "before"), NULL), "was here");
	vm_puts(vm_at(&m, "after"), "made");
	cr_assert_eq(
	    vm_sh(&m, 10, "mkdir $M/d && mv $M/after $M/d && ls -la $M $M/.vexfs"), 0);
	/* A second one on it is refused. */
	char *text;
	cr_assert_eq(vexfs(&text, "$S $M"), 1);
	cr_assert_eq(lines(text), 1);
	cr_assert_eq(vexfs(&text, "$S $P"), 1);
	vm_down(&m);
	cr_assert_str_eq(vm_read(vm_store(&m, "d/after"), NULL), "made");
	/* And again, at once. */
	vm_up(&m, NULL);
	vm_down(&m);
}

OTEST(inside_the_store_is_refused)
{
	char *text;

	cr_assert_eq(vm_sh(&m, 10, "mkdir -p $S/a/b; ln -s $S/a/b $P/link"), 0);
	cr_assert_eq(vexfs(&text, "$S $S/a"), 1);
	cr_assert(strstr(text, "inside the store") && lines(text) == 1, "%s", text);
	cr_assert_eq(vexfs(&text, "$S $S/a/b"), 1);
	cr_assert_eq(vexfs(&text, "$S $P/link"), 1);
	cr_assert_eq(vexfs(&text, "$S $S/a/../a/b/"), 1);
	cr_assert_eq(vm_sh(&m, 10, "! findmnt $S/a && ! findmnt $S/a/b"), 0);
}

/* Shown above itself: its path is hidden, its files are not. */
OTEST(above_the_store_is_allowed)
{
	char *text;

	vm_puts(vm_store(&m, "f"), "x");
	cr_assert_eq(vm_sh(&m, 10, "mkdir $P/top && mv $S $P/top/store"), 0);
	cr_assert_eq(vexfs(&text, "$P/top/store $P/top"), 0, "%s", text);
	cr_assert_str_eq(vm_read(vm_plain(&m, "top/f"), NULL), "x");
	pid_t pid = daemon_of(vm_plain(&m, "top"));
	cr_assert_eq(vm_sh(&m, 10, "fusermount3 -u $P/top"), 0);
	wait_gone(pid);
}

OTEST(second_daemon_is_refused)
{
	char *text;

	vm_up(&m, NULL);
	cr_assert_eq(vexfs(&text, "$S $P"), 1);
	cr_assert_eq(lines(text), 1);
	cr_assert(!vm_is_mounted(m.plain));
	vm_puts(vm_at(&m, "f"), "still well");
	/* Also by way of the mount of the first. */
	cr_assert_eq(vexfs(&text, "$M $P"), 1);
	cr_assert_eq(lines(text), 1);
	vm_down(&m);
}

OTEST(closing_one_is_waited_for)
{
	for (int k = 0; k < 5; k++) {
		char *text;

		cr_assert_eq(vexfs(&text, "$S $M"), 0, "%s", text);
		vm_puts(vm_at(&m, "f%d", k), "x");
		cr_assert_eq(vm_sh(&m, 10, "fusermount3 -u $M"), 0);
	}
	vm_up(&m, NULL);
	vm_down(&m);
}

OTEST(mount_options_reach_the_kernel)
{
	vm_puts(vm_store(&m, "prog"), "#!/bin/sh\nexit 0\n");
	cr_assert(chmod(vm_store(&m, "prog"), 0755) == 0);
	vm_up(&m, "ro,noexec,noauto,user,nofail,_netdev,x-systemd.automount,nosuid,nodev,"
		  "default_permissions,defaults,noatime,nodiratime,silent,comment=x");
	cr_assert(open(vm_at(&m, "new"), O_CREAT | O_RDWR, 0644) < 0 && errno == EROFS);
	cr_assert(access(vm_at(&m, "prog"), X_OK) != 0);
	cr_assert_eq(vm_sh(&m, 10, "findmnt -n -o OPTIONS $M | grep ^ro,.*noexec"), 0);
	vm_remount(&m, "rw,exec,async,dev,suid");
	cr_assert_eq(vm_sh(&m, 10, "$M/prog && touch $M/new"), 0);
	vm_down(&m);
}

OTEST(called_by_mount8)
{
	pid_t pid;

	cr_assert_eq(vm_sh(&m, 10, "ln -s %s $P/mount.fuse.vexfs", vm_bin("vexfs")), 0);
	cr_assert_eq(vm_sh(&m, 30, "$P/mount.fuse.vexfs $S $M -o rw,nosuid,strict"), 0);
	cr_assert(vm_is_mounted(m.mnt));
	pid = daemon_of(m.mnt);
	cr_assert(umount2(m.mnt, 0) == 0);
	wait_gone(pid);
	cr_assert_eq(vm_sh(&m, 30, "$P/mount.fuse.vexfs -o rw -t fuse.vexfs -n -v $S $M"),
		     0);
	pid = daemon_of(m.mnt);
	cr_assert(umount2(m.mnt, 0) == 0);
	wait_gone(pid);
	/* -f is mount's "fake", -s its "sloppy". */
	cr_assert_eq(vm_sh(&m, 30, "$P/mount.fuse.vexfs -f $S $M"), 0);
	cr_assert(!vm_is_mounted(m.mnt));
	cr_assert_eq(vm_sh(&m, 30, "$P/mount.fuse.vexfs -s $S $M -o newfangled"), 0);
	pid = daemon_of(m.mnt);
	cr_assert(umount2(m.mnt, 0) == 0);
	wait_gone(pid);
}

/* A mount whose daemon was killed is told from a mistyped path. */
OTEST(dead_mounts_are_named)
{
	char *text;

	vm_up(&m, NULL);
	kill(m.daemon, SIGKILL);
	waitpid(m.daemon, NULL, 0);
	m.daemon = 0;
	int code = vexfs(&text, "$S $M");
	cr_assert_eq(code, 1, "%d %s", code, text);
	cr_assert(strstr(text, "fusermount3") && lines(text) == 1, "%s", text);
	cr_assert_eq(vm_sh(&m, 10, "fusermount3 -uz $M"), 0);
	vm_up(&m, NULL);
	vm_down(&m);
}

#define AS_NOBODY "setpriv --reuid 65534 --regid 65534 --clear-groups "

/* An ordinary user's own mount (nobody's: fusermount3 wants a known name). */
OTEST(as_an_ordinary_user)
{
	if (geteuid())
		cr_skip_test("needs root");
	cr_assert_eq(vm_sh(&m, 10,
			   "chown 65534:65534 $S $M; chmod 755 $(dirname %s); "
			   "test -r %s",
			   vm_bin("vexfs"), vm_bin("vexfs")),
		     0);
	if (vm_sh(&m, 60,
		  "cp %s $P/vexfs && chmod 755 $P/vexfs && " AS_NOBODY "$P/vexfs $S $M",
		  vm_bin("vexfs")))
		cr_skip_test("users cannot mount here");
	/* root itself is kept out, as FUSE has it. */
	cr_assert_eq(vm_sh(&m, 60,
			   AS_NOBODY
			   "bash -ec 'cd $M; mkdir -p a/b; echo x > a/b/f; "
			   "cat a/b/f; mv a c; ln c/b/f g; rm c/b/f; cat g; "
			   "grep -q acts_as_callers.*false .vexfs/status; "
			   "find . >/dev/null; chmod 600 g; ! chown 0 g 2>/dev/null; "
			   "test $(stat -c %%u g) = 65534'"),
		     0);
	char *text;
	cr_assert_eq(
	    vm_sh_out(&m, 10, &text, AS_NOBODY "grep -o 'pid.*[0-9]' $M/.vexfs/status"),
	    0);
	/* fusermount3 lets users unmount what /etc/mtab lists; some chroots lack it. */
	if (access("/etc/mtab", R_OK))
		cr_assert(umount2(m.mnt, 0) == 0);
	else
		cr_assert_eq(vm_sh(&m, 60, AS_NOBODY "fusermount3 -u $M"), 0);
	wait_gone(atoi(text + strcspn(text, "0123456789")));
	cr_assert_eq(vm_sh(&m, 10, "test -e $S/g -a -d $S/c/b"), 0);
}
