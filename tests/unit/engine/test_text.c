/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of rows: the grammar case by case, the numbers against strtof. */
#include <criterion/criterion.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <time.h>
#include "attach_i.h"

TestSuite(text, .timeout = 120);

static void is_bad(const char *s)
{
	AUTO_ROWS struct rows r = { 0 };

	cr_assert_eq(text_decode(s, strlen(s), &r), -EINVAL, "\"%s\"", s);
	cr_assert_null(r.v);
}

static void is_rows(const char *s, uint32_t n, uint32_t dim, const float *want)
{
	AUTO_ROWS struct rows r = { 0 };

	cr_assert_eq(text_decode(s, strlen(s), &r), 0, "\"%s\"", s);
	cr_assert_eq(r.n, n, "\"%s\": %u rows", s, r.n);
	cr_assert_eq(r.dim, dim, "\"%s\": %u columns", s, r.dim);
	cr_assert_eq(r.form, VEX_FORM_TEXT);
	for (uint32_t i = 0; i < n * dim; i++)
		cr_assert_eq(r.v[i], want[i], "\"%s\" [%u]: %g", s, i, (double)r.v[i]);
}

static const float n1234[] = { 1, 2, 3, 4 };

Test(text, one_row)
{
	is_rows("1,2,3,4", 1, 4, n1234);
	is_rows("1 2 3 4", 1, 4, n1234);
	is_rows("1, 2\t3 ,4", 1, 4, n1234);
	is_rows("  1 , 2 , 3 , 4  ", 1, 4, n1234);
	is_rows("1,2,3,4\n", 1, 4, n1234);
	is_rows("\n \r\n1,2,3,4\r\n\n\t\n", 1, 4, n1234);
	is_rows("[1,2,3,4]", 1, 4, n1234);
	is_rows(" [ 1 2, 3\n4 ]\n", 1, 4, n1234);
	is_rows("[1,\n\n2,\n3,\n4]", 1, 4, n1234);
	is_rows("[[1,2,3,4]]", 1, 4, n1234);
	is_rows("7", 1, 1, (float[]){ 7 });
}

Test(text, several_rows)
{
	is_rows("1,2\n3,4", 2, 2, n1234);
	is_rows("1 2\r\n3 4\r\n", 2, 2, n1234);
	is_rows("1\n2\n3\n4\n", 4, 1, n1234);
	is_rows("[1,2]\n[3,4]\n", 2, 2, n1234);
	is_rows("[1,2]\n3 4", 2, 2, n1234);
	is_rows("[1,\n2]\n[3,\n4]", 2, 2, n1234);
	is_rows("[[1,2],[3,4]]", 2, 2, n1234);
	is_rows("\n[ [1, 2],\n  [3, 4] ]\n", 2, 2, n1234);
	is_rows("[[1 2]\n [3 4]]", 2, 2, n1234);
	is_rows("[\n[1],[2],[3],[4]\n]", 4, 1, n1234);
}

Test(text, number_forms)
{
	static const float want[] = { 0.5f, 5, 1, 1000, -0.03f, 0, 12.5f, -0.0f };

	is_rows(".5 5. +1 1e3 -3e-2 0 1.25E+1 -0", 1, 8, want);
	is_rows("0000000000000000000000000000001.5", 1, 1, (float[]){ 1.5f });
	is_rows("0.00000000000000000000000000000000000000000001e44", 1, 1,
		(float[]){ 1 });
	is_rows("1e-400 0e999999999999999999999", 1, 2, (float[]){ 0, 0 });
	is_rows("100000000000000000000000000000000000000000e-41", 1, 1, (float[]){ 1 });
	is_rows("3.4028234663852886e38", 1, 1, (float[]){ FLT_MAX });
	is_rows("1e-45", 1, 1, (float[]){ 0x1p-149f });
}

Test(text, refused_numbers)
{
	static const char *const bad[] = {
		"nan",
		"NaN",
		"inf",
		"-inf",
		"infinity",
		"0x10",
		"0x1p3",
		"1e",
		"1e+",
		".",
		"-",
		"+",
		"-.",
		"e5",
		".e5",
		"1.2.3",
		"1e5.0",
		"--1",
		"+-1",
		"1f",
		"1e39",
		"-1e39",
		"3.4028236e38",
		"1e99999999999999999999",
		"1_000",
		"abc",
		"1,nan",
		"1,2x",
		"1-2",
		"\"1\"",
		"1;2",
		"1e 5",
		"- 1",
		"{1}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		is_bad(bad[i]);
}

Test(text, refused_rows)
{
	static const char *const bad[] = {
		"",           " ",           "\n\r\n\t",
		",",          "1,",          ",1",
		"1,,2",       "1, ,2",       "1,2,",
		"1,\n2",      "1,2\n\n3,4",  "1,2\n \n3,4",
		"1,2\n3",     "1\n2,3",      "[]",
		"[1,2",       "1,2]",        "[1,2,]",
		"[,1]",       "[1 2]]",      "[1][2]",
		"[1] [2]",    "[1],[2]",     "[1],\n[2]",
		"[1] 2",      "[[]]",        "[[1,2]",
		"[[1,2],]",   "[[1],[2,3]]", "[[1][2]]",
		"[[1],,[2]]", "[,[1]]",      "[[1],2]",
		"[1,[2]]",    "[[[1]]]",     "[[1]]\n[[2]]",
		"[[1]]x",     "[[1],[]]",    "[",
		"[[",         "]",           "[ ]",
		"1\n[]",      "[1,2\n[3,4]", "1 2 [3 4]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		is_bad(bad[i]);
}

static size_t print_ones(char *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		memcpy(s + 2 * i, "1,", 2);
	s[2 * n - 1] = '\0';
	return 2 * n - 1;
}

Test(text, widest_row)
{
	static char s[2 * VEX_DIM_MAX + 16];
	AUTO_ROWS struct rows r = { 0 };
	size_t len = print_ones(s, VEX_DIM_MAX);

	cr_assert_eq(text_decode(s, len, &r), 0);
	cr_assert_eq(r.dim, VEX_DIM_MAX);
	print_ones(s, VEX_DIM_MAX + 1);
	is_bad(s);
}

/* A double that lies exactly between two floats, then a hair to either side of it. */
static void check_half_way(float a)
{
	double mid = ((double)a + (double)nextafterf(a, INFINITY)) / 2;
	char s[3][1200];

	snprintf(s[0], sizeof(s[0]), "%.1100f", mid);
	snprintf(s[1], sizeof(s[1]), "%.1100f1", mid);
	snprintf(s[2], sizeof(s[2]), "%.25e", mid);
	for (int i = 0; i < 3; i++) {
		float want = strtof(s[i], NULL);

		is_rows(s[i], 1, 1, &want);
	}
}

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static float random_float(uint64_t *x)
{
	uint32_t bits = (uint32_t)next(x);
	float f;

	memcpy(&f, &bits, sizeof(f));
	return isfinite(f) ? f : 1.0f;
}

static void print_somehow(char *s, size_t size, uint64_t how, double d)
{
	int precision = (int)(how / 3 % 20);

	if (how % 3 == 0)
		snprintf(s, size, "%.*g", precision, d);
	else if (how % 3 == 1)
		snprintf(s, size, "%.*e", precision, d);
	else
		snprintf(s, size, "%.*f", precision, d);
}

/* Every way of printing a float, against strtof: bit for bit. */
Test(text, numbers_are_the_nearest_floats)
{
	uint64_t x = (uint64_t)time(NULL) | 1;

	cr_log_info("seed %llu", (unsigned long long)x);
	for (int i = 0; i < 200000; i++) {
		float f = random_float(&x), g = (float)((int32_t)next(&x)) / 0x1p28f;
		char s[128];
		float want;

		print_somehow(s, sizeof(s), next(&x), (double)(i & 1 ? f : g));
		want = strtof(s, NULL);
		if (isfinite(want))
			is_rows(s, 1, 1, &want);
	}
	for (int i = 0; i < 500; i++)
		check_half_way((float)fabs((double)random_float(&x)));
}

/* The nearest float again, over digits and exponents where the short way works. */
Test(text, short_way_is_exact)
{
	uint64_t x = (uint64_t)time(NULL) * 77 | 1;

	cr_log_info("seed %llu", (unsigned long long)x);
	for (int i = 0; i < 300000; i++) {
		uint64_t digits = next(&x) >> (11 + next(&x) % 45);
		char s[64];
		float want;

		snprintf(s, sizeof(s), "%llue%d", (unsigned long long)digits,
			 (int)(next(&x) % 46) - 25);
		want = strtof(s, NULL);
		if (isfinite(want))
			is_rows(s, 1, 1, &want);
	}
}

Test(text, locale_does_not_matter)
{
	if (!setlocale(LC_ALL, "de_DE.UTF-8"))
		cr_skip_test("no such locale here");
	is_rows("1.5,2.25e0", 1, 2, (float[]){ 1.5f, 2.25f });
	is_rows("1.00000000000000000000000000000000001", 1, 1, (float[]){ 1 });
}

Test(text, random_bytes_never_pass_the_end)
{
	static const char set[] = "0123456789+-.eE,[] \t\r\n";
	uint64_t x = (uint64_t)time(NULL) * 31 | 1;

	cr_log_info("seed %llu", (unsigned long long)x);
	for (int i = 0; i < 200000; i++) {
		AUTO_ROWS struct rows r = { 0 };
		size_t len = next(&x) % 24;
		AUTO_FREE char *s = malloc(len ? len : 1);
		vex_err err;

		for (size_t j = 0; j < len; j++)
			s[j] = set[next(&x) % (sizeof(set) - 1)];
		err = text_decode(s, len, &r);
		cr_assert(err == 0 || err == -EINVAL);
		cr_assert_eq(!err, r.v != NULL);
		if (!err)
			cr_assert(r.n && r.dim && (size_t)r.n * r.dim <= len);
	}
}
