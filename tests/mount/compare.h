/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compare: one script of system calls, run in a plain folder and on the mount; what it
 * notes down (results, errno, attributes) must be the same. The plain folder lies on
 * the filesystem that holds the store: it is the standard.
 */
#ifndef TESTS_COMPARE_H
#define TESTS_COMPARE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include "mount/mount.h"

#define NOTES_MAX ((size_t)4 << 20)

struct notes {
	char *text;
	size_t len;
	FILE *f;
};

/* The name of a result: 0, or the errno's. */
static inline const char *why(long r)
{
	return r >= 0 ? "ok" : strerrorname_np(errno);
}

#define NOTE(n, ...)                                                                     \
	do {                                                                             \
		fprintf((n)->f, "%s:%d ", __func__, __LINE__);                           \
		fprintf((n)->f, __VA_ARGS__);                                            \
		fputc('\n', (n)->f);                                                     \
	} while (0)
/* Calls, and notes the call with its result. */
#define CALL(n, call) note_call(n, __func__, __LINE__, #call, (errno = 0, (long)(call)))
static inline long note_call(struct notes *n, const char *func, int line,
			     const char *call, long r)
{
	fprintf(n->f, "%s:%d %s: %s\n", func, line, call, why(r));
	return r;
}

/* A step that must work for the script to mean anything. */
static inline void sure(long r)
{
	if (r < 0)
		abort();
}

static inline void shell(const char *cmd)
{
	sure(system(cmd) ? -1 : 0);
}

/* Mode, owner, links, size of a path. */
static inline void note_stat(struct notes *n, const char *path)
{
	struct stat st;

	if (lstat(path, &st)) {
		NOTE(n, "%s: %s", path, strerrorname_np(errno));
		return;
	}
	NOTE(n, "%s: %o %u:%u links %u size %lld", path, st.st_mode, st.st_uid, st.st_gid,
	     S_ISDIR(st.st_mode) ? 0 : (unsigned)st.st_nlink,
	     S_ISDIR(st.st_mode) ? 0 : (long long)st.st_size);
}

/* Runs script in `dir` (as the current directory) in a child as uid, gid. */
static inline char *run_script(const char *dir, uid_t uid, gid_t gid, gid_t group,
			       void (*script)(struct notes *))
{
	int p[2];
	char *text = malloc(NOTES_MAX);
	size_t len = 0;
	ssize_t r;

	cr_assert(pipe(p) == 0);
	pid_t pid = fork();
	if (!pid) {
		struct notes n = { .f = fdopen(p[1], "w") };

		close(p[0]);
		alarm(60);
		if (chdir(dir))
			_exit(1);
		umask(022);
		if (uid && (setgroups(1, &group) || setresgid(gid, gid, gid) ||
			    setresuid(uid, uid, uid)))
			_exit(2);
		script(&n);
		fclose(n.f);
		_exit(0);
	}
	close(p[1]);
	while ((r = read(p[0], text + len, NOTES_MAX - 1 - len)) > 0)
		len += (size_t)r;
	text[len] = 0;
	close(p[0]);
	int status;
	cr_assert(waitpid(pid, &status, 0) == pid);
	cr_assert(status == 0, "script ended with %x in %s: %s", status, dir, text);
	return text;
}

/* Both notes in full, in the folder $COMPARE_DIR: to look at what differs. */
static inline void keep_notes(const char *want, const char *got)
{
	const char *dir = getenv("COMPARE_DIR");
	char path[600];

	for (int k = 0; dir && k < 2; k++) {
		snprintf(path, sizeof(path), "%s/%s", dir, k ? "mount" : "plain");
		FILE *f = fopen(path, "w");
		fputs(k ? got : want, f);
		fclose(f);
	}
}

static inline void compare_as(struct vmount *m, uid_t uid, gid_t gid, gid_t group,
			      void (*script)(struct notes *))
{
	const char *dir = uid ? "as-user" : "as-root";
	mode_t mode = 0777;

	cr_assert(mkdir(vm_plain(m, "%s", dir), 0755) == 0);
	cr_assert(mkdir(vm_at(m, "%s", dir), 0755) == 0);
	cr_assert(chmod(vm_plain(m, "%s", dir), mode) == 0);
	cr_assert(chmod(vm_at(m, "%s", dir), mode) == 0);
	char *want = run_script(vm_plain(m, "%s", dir), uid, gid, group, script);
	char *got = run_script(vm_at(m, "%s", dir), uid, gid, group, script);
	if (strcmp(want, got)) {
		char *a = want, *b = got;

		keep_notes(want, got);
		while (*a && *a == *b)
			a++, b++;
		while (a > want && a[-1] != '\n')
			a--, b--;
		cr_assert(false, "plain: %.300s\nmount: %.300s", a, b);
	}
	free(want);
	free(got);
}

static inline void compare(struct vmount *m, void (*script)(struct notes *))
{
	compare_as(m, 0, 0, 0, script);
}

#endif
