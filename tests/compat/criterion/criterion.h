/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for Criterion where Criterion cannot start: its process arena needs an
 * address range that ThreadSanitizer and valgrind keep for themselves ("could not
 * initialize inheritable arena"). The same test sources compile against it with
 * SAN=thread; each test runs in a forked child with a time limit, and the closing line
 * has Criterion's form. Only what our tests use is here.
 */
#ifndef VEXFS_COMPAT_CRITERION_H
#define VEXFS_COMPAT_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct compat_extra {
	int sentinel_;
	void (*init)(void);
	void (*fini)(void);
	int signal;
	int exit_code;
	bool disabled;
	const char *description;
	double timeout;
};

struct compat_test {
	const char *suite, *name;
	void (*fn)(void);
	const struct compat_extra *extra;
	struct compat_test *next;
};

struct compat_suite {
	const char *suite;
	const struct compat_extra *extra;
	struct compat_suite *next;
};

void compat_add_test(struct compat_test *t);
void compat_add_suite(struct compat_suite *s);
_Noreturn void compat_abort(void);
void compat_skip(void) __attribute__((noreturn));
void compat_failed(const char *file, int line, const char *expr, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define Test(S, N, ...)                                                                  \
	static void S##_##N##_run(void);                                                 \
	static const struct compat_extra S##_##N##_extra = { 0, __VA_ARGS__ };           \
	static struct compat_test S##_##N##_test = { #S, #N, S##_##N##_run,              \
						     &S##_##N##_extra, NULL };           \
	__attribute__((constructor)) static void S##_##N##_add(void)                     \
	{                                                                                \
		compat_add_test(&S##_##N##_test);                                        \
	}                                                                                \
	static void S##_##N##_run(void)

#define TestSuite(S, ...)                                                                \
	static const struct compat_extra S##_suite_extra = { 0, __VA_ARGS__ };           \
	static struct compat_suite S##_suite = { #S, &S##_suite_extra, NULL };           \
	__attribute__((constructor)) static void S##_suite_add(void)                     \
	{                                                                                \
		compat_add_suite(&S##_suite);                                            \
	}                                                                                \
	struct compat_extra /* swallows the semicolon */

#define compat_check(fatal, cond, text, ...)                                             \
	do {                                                                             \
		if (!(cond)) {                                                           \
			compat_failed(__FILE__, __LINE__, text, " " __VA_ARGS__);        \
			if (fatal)                                                       \
				compat_abort();                                          \
		}                                                                        \
	} while (0)

#define cr_assert(c, ...) compat_check(1, c, #c, __VA_ARGS__)
#define cr_expect(c, ...) compat_check(0, c, #c, __VA_ARGS__)
#define cr_assert_not(c, ...) compat_check(1, !(c), "!" #c, __VA_ARGS__)
#define cr_expect_not(c, ...) compat_check(0, !(c), "!" #c, __VA_ARGS__)
#define cr_assert_fail(...) compat_check(1, 0, "fail", __VA_ARGS__)
#define cr_fatal(...) compat_check(1, 0, "fatal", __VA_ARGS__)
#define cr_assert_eq(a, b, ...) compat_check(1, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) compat_check(0, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) compat_check(1, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...) compat_check(0, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...) compat_check(1, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...) compat_check(0, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) compat_check(1, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) compat_check(0, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...) compat_check(1, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...) compat_check(0, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) compat_check(1, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...) compat_check(0, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(p, ...) compat_check(1, !(p), #p " is null", __VA_ARGS__)
#define cr_assert_not_null(p, ...) compat_check(1, (p), #p " is not null", __VA_ARGS__)
#define cr_expect_null(p, ...) compat_check(0, !(p), #p " is null", __VA_ARGS__)
#define cr_expect_not_null(p, ...) compat_check(0, (p), #p " is not null", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)                                                      \
	compat_check(1, !strcmp(a, b), #a " is " #b, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)                                                      \
	compat_check(0, !strcmp(a, b), #a " is " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)                                                     \
	compat_check(1, strcmp(a, b), #a " is not " #b, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...)                                                     \
	compat_check(0, strcmp(a, b), #a " is not " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...)                                                   \
	compat_check(1, !memcmp(a, b, n), #a " equals " #b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...)                                                   \
	compat_check(0, !memcmp(a, b, n), #a " equals " #b, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...)                                                  \
	compat_check(1, memcmp(a, b, n), #a " differs from " #b, __VA_ARGS__)
#define cr_assert_float_eq(a, b, e, ...)                                                 \
	compat_check(1, (a) - (b) <= (e) && (b) - (a) <= (e), #a " is about " #b,        \
		     __VA_ARGS__)
#define cr_expect_float_eq(a, b, e, ...)                                                 \
	compat_check(0, (a) - (b) <= (e) && (b) - (a) <= (e), #a " is about " #b,        \
		     __VA_ARGS__)
#define cr_log_info(...) compat_log(__VA_ARGS__)
#define cr_log_warn(...) compat_log(__VA_ARGS__)
#define cr_log_error(...) compat_log(__VA_ARGS__)
#define compat_log(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))
#define cr_skip_test(...) (compat_log(" " __VA_ARGS__), compat_skip())
#define cr_skip(...) cr_skip_test(__VA_ARGS__)

#endif
