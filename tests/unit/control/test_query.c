/* SPDX-License-Identifier: Apache-2.0 */
/* The file `query`: JSON in, JSON out, and the ioctl beside it. */
#include <jansson.h>
#include <sys/resource.h>
#include "fixture.h"
#include "query_i.h"

static struct vex_session *q;

static void up(void)
{
	fixture_up();
	make_space("l2", 2, VEXFS_L2);
	attach("a/near.txt", "l2", (float[]){ 1, 1 }, 2);
	attach("a/far.txt", "l2", (float[]){ 9, 9 }, 2);
	attach("b/rows.txt", "l2.part", (float[]){ 2, 2, 3, 3, 4, 4 }, 6);
	cr_assert_eq(vex_session_open(control, FILE_QUERY, O_RDWR, &root, &q), 0);
}

static void down(void)
{
	vex_session_close(q);
	fixture_down();
}

TestSuite(control_query, .init = up, .fini = down, .timeout = 60);

static int say_as(const struct vex_cred *as, const char *text, size_t len)
{
	size_t n = 0;
	int err = vex_session_write(q, as, text, len, &n);

	cr_assert_eq(n, err ? 0 : len);
	return err;
}

static void say(const char *text)
{
	cr_assert_eq(say_as(&root, text, strlen(text)), 0);
}

/* The whole answer, read in pieces of `piece` bytes: heap. */
static char *hear_as(const struct vex_cred *as, size_t piece)
{
	struct vex_buf b = { 0 };
	size_t n = 1;

	while (n) {
		char *room = malloc(piece);

		cr_assert_eq(vex_session_read(q, as, room, piece, 0, &n), 0);
		cr_assert_leq(n, piece);
		vex_buf_add(&b, room, n);
		free(room);
	}
	vex_buf_add(&b, "", 1);
	return b.data;
}

static json_t *parsed(char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, 0, &e);

	cr_assert_not_null(j, "%s in %s", e.text, text);
	cr_assert_eq(text[strlen(text) - 1], '\n');
	free(text);
	return j;
}

/* Paths of the hits, joined by blanks, or the error's name: heap. */
static char *answer(const char *request)
{
	struct vex_buf b = { 0 };
	json_t *j, *hits, *h;
	size_t i;

	say(request);
	j = parsed(hear_as(&root, 100));
	hits = json_object_get(j, "hits");
	if (!hits)
		vex_buf_str(&b, json_string_value(json_object_get(
				    json_object_get(j, "error"), "name")));
	json_array_foreach(hits, i, h)
	{
		vex_buf_str(&b, i ? " " : "");
		vex_buf_str(&b, json_string_value(json_object_get(h, "path")));
	}
	vex_buf_add(&b, "", 1);
	json_decref(j);
	return b.data;
}

static void gives(const char *request, const char *want)
{
	AUTO_FREE char *got = answer(request);

	cr_expect_str_eq(got, want, "%s: \"%s\", not \"%s\"", request, got, want);
}

Test(control_query, fields)
{
	gives("{\"vector\":[0,0]}", "a/near.txt b/rows.txt a/far.txt");
	gives(" { \"vector\" : [ 0.0 , -1e-3 ] , \"k\" : 1 } \n", "a/near.txt");
	gives("{\"vector\":[0,0],\"space\":\"l2\",\"offset\":1,\"k\":1}", "b/rows.txt");
	gives("{\"vector\":[0,0],\"under\":\"a\"}", "a/near.txt a/far.txt");
	gives("{\"vector\":[0,0],\"where\":\"name GLOB 'f*'\"}", "a/far.txt");
	gives("{\"like\":\"a/near.txt\",\"k\":1}", "b/rows.txt");
	gives("{\"like\":\"b/rows.txt:part\"}", "a/near.txt a/far.txt");
	gives("{\"vector\":[0,0],\"max_distance\":3}", "a/near.txt b/rows.txt");
	gives("{\"vector\":[0,0],\"max_distance\":3,\"k\":1}", "a/near.txt");
	gives("{\"vector\":[0,0],\"per_file\":2}",
	      "a/near.txt b/rows.txt b/rows.txt a/far.txt");
	gives("{\"vector\":[0,0],\"per_file\":0,\"k\":3}",
	      "a/near.txt b/rows.txt b/rows.txt");
	gives("{\"vector\":[0,0],\"exact\":true,\"fresh\":true,\"ef\":100,\"k\":1}",
	      "a/near.txt");
	gives("{\"vector\":[0,0],\"fresh\":false,\"k\":null,\"like\":null}",
	      "a/near.txt b/rows.txt a/far.txt");
	gives("{\"vectors\":[[0,0],[9,9]],\"k\":1}", "a/near.txt a/far.txt");
	gives("{\"vector\":[0,0],\"k\":2,\"mmr\":0.2}", "a/near.txt a/far.txt");
	gives("{\"vector\":[0,0],\"k\":2,\"mmr\":\"x\"}", "EINVAL");
	gives("{\"vector\":[0,0],\"max_distance\":-1}", "");
	gives("{\"vector\":[0,0],\"under\":\"\\u0061\"}", "a/near.txt a/far.txt");
}

Test(control_query, an_answer_in_full)
{
	json_t *j, *h;

	say("{\"vectors\":[[0,0],[3,4]],\"k\":1,\"per_file\":0}");
	j = parsed(hear_as(&root, 1 << 20));
	cr_expect_str_eq(json_string_value(json_object_get(j, "space")), "l2");
	cr_expect_str_eq(json_string_value(json_object_get(j, "metric")), "l2");
	cr_expect_eq(json_integer_value(json_object_get(j, "queries")), 2);
	cr_assert_eq(json_array_size(json_object_get(j, "hits")), 2);
	h = json_array_get(json_object_get(j, "hits"), 1);
	cr_expect_eq(json_object_size(h), 8);
	cr_expect_eq(json_integer_value(json_object_get(h, "query")), 1);
	cr_expect_float_eq(json_number_value(json_object_get(h, "distance")), 1, 1e-6);
	cr_expect(json_is_null(json_object_get(h, "similarity")));
	cr_expect_str_eq(json_string_value(json_object_get(h, "path")), "b/rows.txt");
	cr_expect_str_eq(json_string_value(json_object_get(h, "space")), "l2");
	cr_expect_str_eq(json_string_value(json_object_get(h, "key")), "part");
	cr_expect_eq(json_integer_value(json_object_get(h, "row")), 1);
	cr_expect(json_is_false(json_object_get(h, "stale")));
	json_decref(j);
	make_space("c", 3, VEXFS_COSINE);
	attach("c.txt", "c", (float[]){ 0, 1, 0 }, 3);
	say("{\"vector\":[0,2,0]}");
	j = parsed(hear_as(&root, 1 << 20));
	h = json_array_get(json_object_get(j, "hits"), 0);
	cr_expect_eq(json_object_size(h), 7);
	cr_expect_float_eq(json_number_value(json_object_get(h, "similarity")), 1, 1e-6);
	cr_expect(json_is_null(json_object_get(h, "key")));
	json_decref(j);
}

/* The same words as from the ioctl. */
Test(control_query, errors)
{
	json_t *j, *e;
	struct vexfs_search *s = query("l2", 0, (float[]){ 0, 0 }, 2);

	cr_assert_eq(ioc(VEXFS_IOC_SEARCH, s), -EINVAL);
	say("{\"vector\":[0,0],\"space\":\"l2\",\"k\":0}");
	j = parsed(hear_as(&root, 1 << 20));
	cr_expect_eq(json_object_size(j), 1);
	e = json_object_get(j, "error");
	cr_expect_eq(json_object_size(e), 3);
	cr_expect_eq(json_integer_value(json_object_get(e, "errno")), EINVAL);
	cr_expect_str_eq(json_string_value(json_object_get(e, "name")), "EINVAL");
	cr_expect_str_eq(json_string_value(json_object_get(e, "text")),
			 last_error(S, NULL, NULL));
	json_decref(j);
	free(s);
	say("{\"vector\":[0,0],\"where\":\"size >\"}");
	j = parsed(hear_as(&root, 1 << 20));
	cr_expect(strstr(
	    json_string_value(json_object_get(json_object_get(j, "error"), "text")),
	    "at offset 6"));
	json_decref(j);
	gives("{\"vector\":[0,0],\"space\":\"nope\"}", "ENODEV");
	gives("{\"like\":\"nope\"}", "ENOENT");
	gives("{\"vector\":[0,0],\"under\":\"nope\"}", "ENOENT");
	gives("{\"vector\":[0,0,0]}", "ENODEV");
	gives("{\"vector\":[0,0],\"space\":\"l2\",\"min_similarity\":0.5}", "EINVAL");
	gives("{\"vector\":[0,0],\"min_similarity\":0.5,\"max_distance\":1}", "EINVAL");
	gives("{\"vector\":[0,0],\"k\":4000000000}", "EINVAL");
	gives("{\"vector\":[0,0]}", "a/near.txt b/rows.txt a/far.txt");
}

Test(control_query, what_is_no_request)
{
	static const char *const all[] = {
		"{",
		"}",
		"[]",
		"1",
		"\"x\"",
		"null",
		"x",
		" ",
		"\n",
		"{}x",
		"{\"vector\"}",
		"{}",
		"{\"k\":1}",
		"{\"vector\":[0,0],\"like\":\"a/near.txt\"}",
		"{\"vector\":[0,0],\"vectors\":[[0,0]]}",
		"{\"vector\":[]}",
		"{\"vector\":[\"0\",0]}",
		"{\"vector\":[null,0]}",
		"{\"vector\":[[0,0]]}",
		"{\"vector\":0}",
		"{\"vectors\":[]}",
		"{\"vectors\":[[]]}",
		"{\"vectors\":[[0,0],[0]]}",
		"{\"vectors\":[0,0]}",
		"{\"vectors\":{}}",
		"{\"vector\":[1e400,0]}",
		"{\"vector\":[1e300,0]}",
		"{\"vector\":[NaN,0]}",
		"{\"vector\":[0,0],\"k\":\"1\"}",
		"{\"vector\":[0,0],\"k\":1.5}",
		"{\"vector\":[0,0],\"k\":-1}",
		"{\"vector\":[0,0],\"k\":4294967296}",
		"{\"vector\":[0,0],\"k\":99999999999999999999}",
		"{\"vector\":[0,0],\"offset\":true}",
		"{\"vector\":[0,0],\"exact\":1}",
		"{\"vector\":[0,0],\"fresh\":\"yes\"}",
		"{\"vector\":[0,0],\"space\":1}",
		"{\"vector\":[0,0],\"where\":1}",
		"{\"vector\":[0,0],\"where\":\"\"}",
		"{\"vector\":[0,0],\"under\":\"\"}",
		"{\"vector\":[0,0],\"nope\":1}",
		"{\"vector\":[0,0],\"max_distance\":\"1\"}",
		"{\"vector\":[0,0],\"max_distance\":1e300}",
		"{\"vector\":[0,0],\"k\":1,\"k\":2}",
		"{\"vector\":[0,0],\"K\":1}",
		"{\"vector\":[0,0],\"under\":\"a\\u0000\"}",
		"{\"vector\":[0,0],\"under\":\"\\ud800\"}",
		"{\"vector\":[0,0],\"under\":\"\xff\"}",
		"{\"vector\":[0,0],\"under\":\"a",
		"{\"vector\":[0,0],\"under\":\"\\",
		"{\"vector\":[0,0],\"under\":\"\\u00",
		"{\"vector\":[0,0],\"space\":\"0123456789012345678901234567890123456789"
		"012345678901234567890123456789\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		gives(all[i], "EINVAL");
	gives("{\"vector\":[0,0],\"k\":1}", "a/near.txt");
}

Test(control_query, bytes_that_are_not_utf8)
{
	char *text;

	attach("d\xff/\xc3\xbc\x80.txt", "l2", (float[]){ 5, 5 }, 2);
	attach("\x01/x\x01\xfe", "l2", (float[]){ 6, 6 }, 2);
	attach("\\udcff", "l2", (float[]){ 7, 7 }, 2);
	say("{\"vector\":[5,5],\"k\":1}");
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "\"d\\udcff/\xc3\xbc\\udc80.txt\""), "%s", text);
	free(text);
	say("{\"vector\":[5,5],\"under\":\"d\\udcff\",\"max_distance\":9}");
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "udc80.txt") && !strstr(text, "near"), "%s", text);
	free(text);
	/* As the answer wrote it, in either case, and as \u00fc. */
	gives("{\"like\":\"d\\uDCFF/\\u00fc\\udc80.txt\",\"k\":1,\"under\":\"b\"}",
	      "b/rows.txt");
	gives("{\"like\":\"\\u0001/x\\u0001\\udcfe\",\"k\":1,\"under\":\"b\"}",
	      "b/rows.txt");
	gives("{\"like\":\"\\\\udcff\",\"k\":1,\"under\":\"b\"}", "b/rows.txt");
	say("{\"like\":\"\\udcff\",\"k\":1}");
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "\"ENOENT\"") && strstr(text, "\"\\\\xff: No"), "%s",
		  text);
	free(text);
	gives("{\"like\":\"\\ud83d\\ude00\"}", "ENOENT");
}

Test(control_query, a_conversation)
{
	char buf[64];
	size_t n = 1;

	cr_assert_eq(vex_session_read(q, &root, buf, sizeof(buf), 0, &n), 0);
	cr_expect_eq(n, 0, "nothing asked, nothing answered");
	cr_expect_eq(vex_session_poll(q) & POLLIN, 0);
	cr_expect_neq(vex_session_poll(q) & POLLOUT, 0);
	/* in pieces */
	say("{\"vector\":[0,");
	say("0],\"k\"");
	say(":1}");
	cr_expect_neq(vex_session_poll(q) & POLLIN, 0);
	cr_assert_eq(vex_session_read(q, &root, buf, 5, 0, &n), 0);
	cr_expect_eq(n, 5);
	cr_expect_eq(strncmp(buf, "{\"spa", 5), 0);
	cr_expect_neq(vex_session_poll(q) & POLLIN, 0);
	/* a new one drops the rest of the old answer */
	gives("{\"vector\":[9,9],\"k\":1}", "a/far.txt");
	cr_expect_eq(vex_session_poll(q) & POLLIN, 0);
	cr_assert_eq(vex_session_read(q, &root, buf, sizeof(buf), 0, &n), 0);
	cr_expect_eq(n, 0, "once");
	cr_expect_eq(vex_session_ioctl(q, &root, VEXFS_IOC_VERSION, NULL, 0, buf, 0, &n),
		     -ENOTTY);
}

Test(control_query, who_writes_reads)
{
	const char *ask = "{\"vector\":[0,0]}";
	AUTO_FREE char *one = NULL, *two = NULL, *three = NULL;

	say(ask);
	one = hear_as(&stranger, 1 << 20);
	cr_expect(strstr(one, "EACCES") && !strstr(one, "near"), "%s", one);
	cr_assert_eq(say_as(&stranger, ask, strlen(ask)), 0);
	two = hear_as(&root, 1 << 20);
	cr_expect(strstr(two, "EACCES"), "%s", two);
	cr_assert_eq(say_as(&stranger, "{\"vector\"", 9), 0);
	say(":[0,0]}");
	three = hear_as(&stranger, 1 << 20);
	cr_expect(strstr(three, "EACCES"), "%s", three);
	gives(ask, "a/near.txt b/rows.txt a/far.txt");
}

Test(control_query, limits)
{
	char *big = malloc(QUERY_MAX + 1), *text;
	size_t n = 0;

	/* A whole MiB is taken ... */
	memset(big, ' ', QUERY_MAX + 1);
	memcpy(big, "{\"vector\":[0,0],\"k\":1}", 22);
	cr_assert_eq(say_as(&root, big, QUERY_MAX), 0);
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "a/near.txt"), "%s", text);
	free(text);
	/* ... and no more. */
	cr_assert_eq(say_as(&root, big, QUERY_MAX), 0);
	cr_expect_eq(say_as(&root, " ", 1), -ENOMEM);
	cr_expect_eq(say_as(&root, " ", 1), -ENOMEM, "until it is read");
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "ENOMEM"), "%s", text);
	free(text);
	gives("{\"vector\":[0,0],\"k\":1}", "a/near.txt");
	/* Deep and wide. */
	memset(big, '[', QUERY_MAX);
	cr_assert_eq(say_as(&root, big, QUERY_MAX), 0);
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "EINVAL"), "%s", text);
	free(text);
	for (size_t i = 0; i < QUERY_MAX; i++)
		big[i] = i % 2 ? '1' : ',';
	memcpy(big, "{\"vector\":[", 11);
	memcpy(big + QUERY_MAX - 2, "]}", 2);
	cr_assert_eq(say_as(&root, big, QUERY_MAX), 0);
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "more than 16384"), "%s", text);
	free(text);
	memset(big, 0, QUERY_MAX);
	cr_assert_eq(say_as(&root, big, 100), 0);
	text = hear_as(&root, 1 << 20);
	cr_expect(strstr(text, "EINVAL"), "%s", text);
	free(text);
	free(big);
	cr_expect_eq(vex_session_write(S, &root, "", 0, &n), 0);
}

Test(control_query, many_hits)
{
	json_t *j;
	double last = -1;

	make_space("m", 2, VEXFS_L2);
	many("m", 3000);
	say("{\"vector\":[0,0],\"space\":\"m\",\"k\":5000}");
	j = parsed(hear_as(&root, 4096));
	cr_assert_eq(json_array_size(json_object_get(j, "hits")), 3000);
	for (size_t i = 0; i < 3000; i++) {
		json_t *h = json_array_get(json_object_get(j, "hits"), i);
		double d = json_number_value(json_object_get(h, "distance"));

		cr_assert_geq(d, last);
		last = d;
	}
	json_decref(j);
}

Test(control_query, open_for_one_way_alone)
{
	struct vex_session *s;
	char buf[16];
	size_t n = 1;

	cr_assert_eq(vex_session_open(control, FILE_QUERY, O_RDONLY, &root, &s), 0);
	cr_expect_eq(vex_session_write(s, &root, "{}", 2, &n), -EBADF);
	cr_expect_eq(vex_session_read(s, &root, buf, sizeof(buf), 0, &n), 0);
	cr_expect_eq(n, 0);
	vex_session_close(s);
}

/* Requests bent at random: an answer or an error, never anything else. */
Test(control_query, random_requests)
{
	static const char base[] =
	    "{\"vectors\":[[0,0],[1.5e0,-2]],\"k\":3,\"where\":\"size >= 0 "
	    "AND name LIKE '%\\udcff\\u0001'\",\"under\":\"a\"}";
	uint64_t x = seed();

	for (int i = 0; i < 3000; i++) {
		char text[sizeof(base)];
		size_t len = sizeof(base) - 1;
		json_t *j;

		memcpy(text, base, sizeof(base));
		for (unsigned n = 0; n < 1 + rnd(&x) % 4; n++)
			text[rnd(&x) % len] =
			    rnd(&x) % 2 ? base[rnd(&x) % len] : (char)rnd(&x);
		if (rnd(&x) % 4 == 0)
			len = 1 + rnd(&x) % len;
		cr_assert_eq(say_as(&root, text, len), 0);
		j = parsed(hear_as(&root, 1 << 16));
		cr_assert(json_object_get(j, "hits") || json_object_get(j, "error"));
		json_decref(j);
	}
}
