/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.h: temporary mounts for the mounted tests.
 *
 *	static struct vmount m;
 *	static void up(void)   { vm_new(&m); vm_up(&m, NULL); }
 *	static void down(void) { vm_free(&m); }
 *	Test(suite, name, .init = up, .fini = down, .timeout = 60) {
 *		int fd = open(vm_at(&m, "a/%d.txt", 1), O_CREAT | O_RDWR, 0644);
 *		...
 *
 * The daemon runs in the foreground as a child of the test (its words go to m.log)
 * and dies with the thread that started it. A guard process unmounts and removes the
 * folders when the test process ends in any way, so nothing stays behind a crash, a
 * timeout or a failed assertion. One mount belongs to one test process.
 *
 * The daemon is $VEXFS_BIN, else ../vexfs beside this program (build/vexfs).
 * Folders are made in $VEXFS_TEST_DIR, else $TMPDIR, else /tmp. $VEXFS_TEST_OPTS adds
 * mount options to all: passthrough=off runs everything the other way.
 */
#ifndef TESTS_MOUNT_H
#define TESTS_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VM_PATH 512

struct vmount {
	char base[VM_PATH];  /* holds all below */
	char store[VM_PATH]; /* base/store: STORE */
	char mnt[VM_PATH];   /* base/mnt: MOUNTPOINT; vm_over() makes it the store */
	char plain[VM_PATH]; /* base/plain: an ordinary folder, to compare with */
	char log[VM_PATH];   /* base/log: stderr of the daemon */
	pid_t daemon;        /* 0: none */
	pid_t guard;
};

/* Makes the folders; fails the test where there is no /dev/fuse. */
void vm_new(struct vmount *m);
/* From now on the store is mounted over itself. Call before vm_up. */
void vm_over(struct vmount *m);
/*
 * Starts `vexfs -f -o OPTS STORE MNT` (opts may be NULL) and waits until the mount
 * answers. 0, or the exit code of a daemon that refused (its words: vm_log).
 */
int vm_start(struct vmount *m, const char *opts);
/* The same with a prefix command, as "prlimit -n1024" or "strace -f -o ...". */
int vm_start_under(struct vmount *m, const char *prefix, const char *opts);
/* vm_start that must succeed. */
void vm_up(struct vmount *m, const char *opts);
/* Unmounts and waits for the daemon: its exit code (128 + signal). */
int vm_stop(struct vmount *m);
/* vm_stop that must be clean: exit code 0. */
void vm_down(struct vmount *m);
/* vm_down and vm_up again. */
void vm_remount(struct vmount *m, const char *opts);
/* SIGKILLs the daemon and clears the dead mount away. */
void vm_crash(struct vmount *m);
/* Stops what runs (must be clean), removes everything. */
void vm_free(struct vmount *m);
bool vm_is_mounted(const char *path);
/* How often the kernel asked for op, by the metrics. */
long vm_asked(struct vmount *m, const char *op);
/* What the daemon said so far; heap, ends with the test process. */
char *vm_log(struct vmount *m);

/* A path below the mount, the store, the plain folder. From a ring of static
 * buffers: good for the next 15 calls. */
const char *vm_at(struct vmount *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *vm_store(struct vmount *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *vm_plain(struct vmount *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Paths of the programs under test: "vexfs", "vexctl", "examples/search". */
const char *vm_bin(const char *name);
/* Runs a shell command, at most `seconds` long: exit code, 124 on timeout. $M, $S, $P
 * (mount, store, plain) and $B (build folder) are set. */
int vm_sh(struct vmount *m, int seconds, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same; *out: its stdout, NUL-ended, heap. */
int vm_sh_out(struct vmount *m, int seconds, char **out, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Runs fn in a child as uid and gid (supplementary groups: the ngroups given):
 * its return value (0..255), or 128 + signal. Needs root: skips the test without. */
int vm_as(uid_t uid, gid_t gid, const gid_t *groups, size_t ngroups, int (*fn)(void *),
	  void *arg);

/* Small files. Assert on failure. */
void vm_write(const char *path, const void *data, size_t len);
void vm_puts(const char *path, const char *text);
/* NUL-ended content, heap; NULL (errno) where it cannot be read. */
char *vm_read(const char *path, size_t *len);

/* Numbers for tests: prints the seed ($VEXFS_SEED, else by time) once. */
uint64_t vm_seed(void);
uint64_t vm_rand(uint64_t *state);

#endif
