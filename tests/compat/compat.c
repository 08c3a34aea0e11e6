/* SPDX-License-Identifier: Apache-2.0 */
/* The runner behind tests/compat/criterion/criterion.h. `--filter S/N` takes a part of
 * "suite/name", as a substring. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77
#define FAILED 99

static struct compat_test *tests;
static struct compat_suite *suites;
static bool any_failed;

void compat_add_test(struct compat_test *t)
{
	t->next = tests;
	tests = t;
}

void compat_add_suite(struct compat_suite *s)
{
	s->next = suites;
	suites = s;
}

void compat_failed(const char *file, int line, const char *expr, const char *fmt, ...)
{
	va_list ap;

	any_failed = true;
	fprintf(stderr, "%s:%d: failed: %s:", file, line, expr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

_Noreturn void compat_abort(void)
{
	fflush(NULL);
	_exit(FAILED);
}

_Noreturn void compat_skip(void)
{
	fflush(NULL);
	_exit(SKIPPED);
}

static const struct compat_extra *suite_of(const struct compat_test *t)
{
	static const struct compat_extra none;

	for (struct compat_suite *s = suites; s; s = s->next)
		if (!strcmp(s->suite, t->suite))
			return s->extra;
	return &none;
}

static void child(const struct compat_test *t)
{
	const struct compat_extra *s = suite_of(t);
	void (*init)(void) = t->extra->init ? t->extra->init : s->init;
	void (*fini)(void) = t->extra->fini ? t->extra->fini : s->fini;
	double limit = t->extra->timeout > 0 ? t->extra->timeout : s->timeout;

	/* sanitizers are slow: five times the limit */
	alarm(limit > 0 ? (unsigned)(limit * 5) + 1 : 600);
	if (init)
		init();
	t->fn();
	if (fini)
		fini();
	/* exit, not _exit: sanitizers report at exit */
	exit(any_failed ? FAILED : 0);
}

/* 0 passed, 1 failed, 2 crashed, 3 skipped. */
static int run(const struct compat_test *t)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(t);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 2;
	if (t->extra->signal && WIFSIGNALED(status))
		return WTERMSIG(status) == t->extra->signal ? 0 : 2;
	if (WIFSIGNALED(status))
		return 2;
	if (WEXITSTATUS(status) == SKIPPED)
		return 3;
	return WEXITSTATUS(status) == t->extra->exit_code ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const char *const words[] = { "PASS", "FAIL", "CRASH", "SKIP" };
	const char *filter = argc == 3 && !strcmp(argv[1], "--filter") ? argv[2] : "";
	int n[4] = { 0 };

	for (struct compat_test *t = tests; t; t = t->next) {
		char name[256];
		int r;

		snprintf(name, sizeof(name), "%s/%s", t->suite, t->name);
		if (t->extra->disabled || !strstr(name, filter))
			continue;
		r = run(t);
		n[r]++;
		fprintf(stderr, "[%s] %s\n", words[r], name);
	}
	printf(
	    "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d\n",
	    n[0] + n[1] + n[2], n[0], n[1], n[2]);
	return n[1] || n[2];
}
