/* SPDX-License-Identifier: Apache-2.0 */
/* The search call: where queries come from, what is refused, what the answer says. */
#include <math.h>
#include "fixture.h"

static void up(void)
{
	fixture_up();
	make_space("l2", 2, VEXFS_L2);
	attach("a/near.txt", "l2", (float[]){ 1, 1 }, 2);
	attach("a/far.txt", "l2", (float[]){ 9, 9 }, 2);
	attach("b/rows.txt", "l2.part", (float[]){ 2, 2, 3, 3, 4, 4 }, 6);
}

TestSuite(control_search, .init = up, .fini = fixture_down, .timeout = 60);

static const float zero[2] = { 0, 0 };

static int search(struct vexfs_search *s)
{
	return ioc(VEXFS_IOC_SEARCH, s);
}

/* A search of "l2" near 0,0 with changes made by the caller of the macro. */
#define REFUSED(err, ...)                                                                \
	do {                                                                             \
		struct vexfs_search *s = query("l2", 10, zero, 2);                       \
		__VA_ARGS__;                                                             \
		cr_expect_eq(search(s), err, "%s", #__VA_ARGS__);                        \
		free(s);                                                                 \
	} while (0)

static void expect_path(const struct vexfs_search *s, unsigned i, const char *path)
{
	cr_assert_gt(s->hits, i);
	cr_expect_str_eq(vexfs_hit_path(hit_at(s->data, i)), path);
}

static void strings(struct vexfs_search *s, size_t at, const char *like,
		    const char *under)
{
	s->like_len = (uint32_t)strlen(like);
	s->under_len = (uint32_t)strlen(under);
	if (s->like_len)
		memcpy(s->data + at, like, s->like_len + 1u);
	at += s->like_len ? s->like_len + 1u : 0;
	if (s->under_len)
		memcpy(s->data + at, under, s->under_len + 1u);
}

Test(control_search, inline_query_finds_nearest_first)
{
	struct vexfs_search *s = query("l2", 10, zero, 2);
	const struct vexfs_hit *h;

	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(s->hits, 3);
	expect_path(s, 0, "a/near.txt");
	expect_path(s, 1, "b/rows.txt");
	expect_path(s, 2, "a/far.txt");
	h = hit_at(s->data, 1);
	cr_expect_str_eq(vexfs_hit_key(h), "part");
	cr_expect_float_eq(h->distance, sqrtf(8), 1e-6f);
	cr_expect_eq(h->row, 0);
	cr_expect_eq(h->size % 8, 0);
	cr_expect_eq(h->reserved, 0);
	cr_expect_eq(s->total, 3);
	cr_expect_eq(s->metric, VEXFS_L2);
	cr_expect_eq(s->rows, 5);
	cr_expect_str_eq(s->space, "l2");
	cr_expect_gt(strlen(s->plan), 0);
	cr_expect_eq(ioc_got, VEXFS_SEARCH_HEAD + s->bytes, "no more than is in use");
	free(s);
}

Test(control_search, the_only_space_of_a_dimension_needs_no_name)
{
	struct vexfs_search *s = query("", 1, zero, 2);

	cr_assert_eq(search(s), 0);
	cr_expect_str_eq(s->space, "l2");
	make_space("other", 2, VEXFS_L2);
	memset(s, 0, sizeof(*s));
	s->k = 1;
	s->dim = 2;
	cr_expect_eq(search(s), -EINVAL);
	cr_expect(strstr(last_error(S, NULL, NULL), "other") != NULL,
		  "the choices are named: %s", last_error(S, NULL, NULL));
	free(s);
}

Test(control_search, misaligned_data_is_no_matter)
{
	struct vexfs_search *s = query("l2", 3, zero, 2);

	/* a size that is no multiple of 8: the fixture then gives odd addresses */
	cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, 1001u), s), 0);
	cr_expect_eq(s->hits, 3);
	expect_path(s, 0, "a/near.txt");
	free(s);
}

Test(control_search, staged_batch)
{
	static const float q[6] = { 0, 0, 9, 8, 3, 3 };
	struct vexfs_search *s = query("l2", 1, NULL, 2);

	cr_assert_eq(stage(S, q, 5), 0);
	cr_assert_eq(stage(S, (const char *)q + 5, sizeof(q) - 5), 0);
	s->flags = VEXFS_SEARCH_STAGED;
	s->queries = 3;
	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(s->hits, 3);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(hit_at(s->data, i)->query, i);
	expect_path(s, 0, "a/near.txt");
	expect_path(s, 1, "a/far.txt");
	expect_path(s, 2, "b/rows.txt");
	free(s);
}

Test(control_search, inline_batch)
{
	struct vexfs_search *s = query("l2", 1, (float[]){ 0, 0, 9, 9 }, 4);

	s->dim = 2;
	s->queries = 2;
	cr_assert_eq(search(s), 0);
	cr_assert_eq(s->hits, 2);
	expect_path(s, 1, "a/far.txt");
	free(s);
}

Test(control_search, a_staged_query_cut_short_is_refused_and_gone)
{
	struct vexfs_search *s = query("l2", 1, NULL, 2);

	for (size_t len = 0; len < 8; len++) {
		cr_assert_eq(stage(S, zero, len), 0);
		s->flags = VEXFS_SEARCH_STAGED;
		cr_expect_eq(search(s), -EINVAL, "%zu bytes", len);
	}
	cr_assert_eq(stage(S, zero, 8), 0);
	s->queries = 2;
	cr_expect_eq(search(s), -EINVAL, "two announced, one staged");
	s->queries = 0;
	cr_assert_eq(stage(S, zero, 8), 0);
	cr_expect_eq(search(s), 0, "the stage was empty again");
	cr_expect_eq(search((s->flags = VEXFS_SEARCH_STAGED, s)), -EINVAL);
	free(s);
}

Test(control_search, any_search_empties_the_stage)
{
	struct vexfs_search *s = query("l2", 1, zero, 2);

	cr_assert_eq(stage(S, zero, 8), 0);
	cr_expect_eq(search(s), 0);
	s->flags = VEXFS_SEARCH_STAGED;
	cr_expect_eq(search(s), -EINVAL);
	cr_assert_eq(stage(S, zero, 8), 0);
	s->flags = 1u << 30;
	cr_expect_eq(search(s), -EINVAL);
	s->flags = VEXFS_SEARCH_STAGED;
	cr_expect_eq(search(s), -EINVAL);
	free(s);
}

Test(control_search, like_a_file_and_under_a_folder)
{
	struct vexfs_search *s = query("l2", 10, NULL, 0);

	s->flags = VEXFS_SEARCH_LIKE;
	strings(s, 0, "b/rows.txt:part", "a");
	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(s->hits, 2);
	expect_path(s, 0, "a/near.txt");
	cr_expect_eq(s->dim, 2);
	free(s);
	s = query("l2", 10, zero, 2);
	strings(s, 8, "", "b");
	cr_assert_eq(search(s), 0);
	cr_assert_eq(s->hits, 1);
	expect_path(s, 0, "b/rows.txt");
	free(s);
	s = query("l2", 10, zero, 2);
	strings(s, 8, "", "nowhere");
	cr_expect_eq(search(s), -ENOENT);
	free(s);
}

Test(control_search, strings_must_fit_and_end)
{
	REFUSED(-EINVAL, s->under_len = VEXFS_SEARCH_DATA);
	REFUSED(-EINVAL, s->under_len = VEXFS_SEARCH_DATA - 8);
	REFUSED(-EINVAL, s->under_len = UINT32_MAX);
	REFUSED(-EINVAL, strings(s, 8, "", "b"), s->data[9] = 'x');
	REFUSED(-EINVAL, strings(s, 8, "", "bb"), s->data[8] = '\0');
	REFUSED(-EINVAL, strings(s, 8, "a", ""));
	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_LIKE, s->dim = 0);
	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_LIKE, s->dim = 0,
		s->like_len = UINT32_MAX);
}

Test(control_search, counts_out_of_range_are_refused)
{
	REFUSED(-EINVAL, s->k = 0);
	REFUSED(-EINVAL, s->k = UINT32_MAX);
	REFUSED(-EINVAL, s->k = VEX_K_MAX + 1);
	REFUSED(-EINVAL, s->offset = UINT32_MAX);
	REFUSED(-EINVAL, s->offset = VEX_K_MAX - 9);
	REFUSED(0, s->offset = VEX_K_MAX - 10);
	REFUSED(-EINVAL, s->dim = 0);
	REFUSED(-EINVAL, s->dim = VEX_DIM_MAX + 1);
	REFUSED(-EINVAL, s->dim = UINT32_MAX, s->queries = UINT32_MAX);
	REFUSED(-EINVAL, s->dim = 3);
	REFUSED(-EINVAL, s->queries = UINT32_MAX);
	REFUSED(-EINVAL, s->queries = VEXFS_SEARCH_DATA / 8 + 1);
	REFUSED(-ENOMEM, s->queries = 5, s->k = VEX_K_MAX);
}

Test(control_search, contradictions_are_refused)
{
	const uint32_t range = VEXFS_SEARCH_RANGE, max = VEXFS_SEARCH_MAX_DISTANCE;

	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_STAGED | VEXFS_SEARCH_LIKE);
	REFUSED(-EINVAL, s->flags = range, s->k = 0);
	REFUSED(-EINVAL, s->flags = range | max);
	REFUSED(-EINVAL, s->flags = max | VEXFS_SEARCH_MIN_SIMILARITY);
	REFUSED(-EINVAL, s->flags = max, s->max_distance = NAN);
	REFUSED(-EINVAL, s->flags = max, s->max_distance = INFINITY);
	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_ALL_ROWS, s->per_file = 1);
	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_LIKE, strings(s, 0, "a/near.txt", ""));
	REFUSED(-ENODEV, strcpy(s->space, "none"));
	REFUSED(-EINVAL, memset(s->space, 'a', sizeof(s->space)));
}

Test(control_search, numbers_that_are_none_are_refused)
{
	float nan[2] = { NAN, 0 }, inf[2] = { 0, -INFINITY };

	REFUSED(-EINVAL, memcpy(s->data, nan, 8));
	REFUSED(-EINVAL, memcpy(s->data, inf, 8));
}

Test(control_search, every_flag_bit_alone)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		struct vexfs_search *s = query("l2", 10, zero, 2);
		int want = 0;

		s->flags = 1u << bit;
		if (s->flags & ~(VEXFS_SEARCH_EXACT | VEXFS_SEARCH_MAX_DISTANCE |
				 VEXFS_SEARCH_ALL_ROWS | VEXFS_SEARCH_FRESH |
				 VEXFS_SEARCH_MMR | VEXFS_SEARCH_NO_CACHE))
			want = -EINVAL;
		cr_expect_eq(search(s), want, "bit %u: %s", bit,
			     last_error(S, NULL, NULL));
		free(s);
	}
}

Test(control_search, rows_of_a_file)
{
	struct vexfs_search *s = query("l2", 10, zero, 2);

	s->flags = VEXFS_SEARCH_ALL_ROWS;
	cr_assert_eq(search(s), 0);
	cr_assert_eq(s->hits, 5);
	cr_expect_eq(hit_at(s->data, 2)->row, 1);
	free(s);
	s = query("l2", 10, zero, 2);
	s->per_file = 2;
	cr_assert_eq(search(s), 0);
	cr_expect_eq(s->hits, 4);
	free(s);
}

Test(control_search, bounds_and_ranges)
{
	struct vexfs_search *s = query("l2", 10, zero, 2);

	s->flags = VEXFS_SEARCH_MAX_DISTANCE;
	s->max_distance = 3;
	cr_assert_eq(search(s), 0);
	cr_expect_eq(s->hits, 2);
	free(s);
	s = query("l2", 0, zero, 2);
	s->flags = VEXFS_SEARCH_MAX_DISTANCE | VEXFS_SEARCH_RANGE | VEXFS_SEARCH_ALL_ROWS;
	s->max_distance = 5;
	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_expect_eq(s->hits, 3);
	cr_expect_eq(s->out_flags, 0);
	free(s);
}

Test(control_search, similarity_is_for_cosine)
{
	struct vexfs_search *s = query("l2", 10, zero, 2);

	s->flags = VEXFS_SEARCH_MIN_SIMILARITY;
	s->max_distance = 0.9f;
	cr_expect_eq(search(s), -EINVAL);
	free(s);
	make_space("cos", 3, VEXFS_COSINE);
	attach("c/x", "cos", (float[]){ 1, 0, 0 }, 3);
	attach("c/xy", "cos", (float[]){ 1, 1, 0 }, 3);
	attach("c/y", "cos", (float[]){ 0, 1, 0 }, 3);
	s = query("", 10, (float[]){ 1, 0, 0 }, 3);
	s->flags = VEXFS_SEARCH_MIN_SIMILARITY;
	s->max_distance = 0.5f;
	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_expect_eq(s->hits, 2);
	free(s);
	s = query("cos", 10, (float[]){ 0, 0, 0 }, 3);
	cr_expect_eq(search(s), -EINVAL, "no direction");
	free(s);
}

Test(control_search, totals_are_not_for_strangers)
{
	struct vexfs_search *s = query("l2", 10, zero, 2);

	cr_assert_eq(ioc_as(S, &stranger, VEXFS_IOC_SEARCH, s), 0);
	cr_expect_eq(s->hits, 3, "files anyone may read");
	cr_expect_eq(s->rows, 0);
	cr_expect_eq(s->distances, 0);
	free(s);
}

Test(control_search, a_head_alone_is_served)
{
	struct vexfs_search *s = query("l2", 2, NULL, 2);
	static char buf[4096];
	ssize_t n;

	s->flags = VEXFS_SEARCH_STAGED;
	for (size_t size = 112; size <= VEXFS_SEARCH_HEAD; size += 48) {
		cr_assert_eq(stage(S, zero, 8), 0);
		cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, size), s), 0);
		cr_expect_eq(ioc_got, size);
		n = take(S, buf, sizeof(buf));
		cr_assert_gt(n, 0);
		cr_expect_str_eq(vexfs_hit_path(hit_at(buf, 1)), "b/rows.txt");
	}
	cr_expect_eq(s->total, 2);
	cr_expect_eq(s->hits, 0);
	free(s);
}

Test(control_search, data_beyond_what_is_passed_is_not_read)
{
	struct vexfs_search *s = query("l2", 2, zero, 2);

	for (size_t size = 0; size < VEXFS_SEARCH_HEAD + 8; size++)
		cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, size), s), -EINVAL,
			     "%zu bytes", size);
	cr_expect_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD + 8u), s),
		     0);
	free(s);
}

Test(control_search, a_failed_search_leaves_no_old_hits)
{
	struct vexfs_search *s = query("l2", 2, NULL, 2);
	char buf[4096];

	s->flags = VEXFS_SEARCH_STAGED;
	cr_assert_eq(stage(S, zero, 8), 0);
	cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD), s), 0);
	cr_expect(vex_session_poll(S) & POLLIN);
	cr_expect_eq(search(s), -EINVAL);
	cr_expect_eq(take(S, buf, sizeof(buf)), 0);
	cr_expect(!(vex_session_poll(S) & POLLIN));
	free(s);
}

/* ---- where ----------------------------------------------------------------------- */

static void set_where(struct vexfs_search *s, size_t at, const char *expr)
{
	s->where_len = (uint32_t)strlen(expr);
	memcpy(s->data + at, expr, s->where_len + 1u);
}

Test(control_search, where_comes_behind_the_other_strings)
{
	struct vexfs_search *s = query("l2", 10, zero, 2);

	set_where(s, 8, "name GLOB 'f*'");
	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(s->total, 1);
	expect_path(s, 0, "a/far.txt");
	free(s);

	s = query("l2", 10, zero, 2);
	strings(s, 8, "", "b");
	set_where(s, 8 + 2, "size = 0");
	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(s->total, 1);
	expect_path(s, 0, "b/rows.txt");
	free(s);

	s = query("l2", 10, NULL, 0);
	s->flags = VEXFS_SEARCH_LIKE;
	strings(s, 0, "a/near.txt", "a");
	set_where(s, 11 + 2, "path != 'x'");
	cr_assert_eq(search(s), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(s->total, 1);
	expect_path(s, 0, "a/far.txt");
	free(s);
}

Test(control_search, bad_where)
{
	char big[5000];

	REFUSED(-EINVAL, set_where(s, 8, "size >"));
	cr_expect(strstr(last_error(S, NULL, NULL), "at offset 6") != NULL, "%s",
		  last_error(S, NULL, NULL));
	REFUSED(-EINVAL, s->where_len = 5);
	REFUSED(-EINVAL, set_where(s, 8, "size > 1"); s->where_len--);
	REFUSED(-EINVAL, set_where(s, 8, "size > 1"); s->where_len++);
	REFUSED(-EINVAL, s->where_len = UINT32_MAX);
	memset(big, ' ', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	REFUSED(-EINVAL, set_where(s, 8, big));
	cr_expect(strstr(last_error(S, NULL, NULL), "at offset 4096") != NULL, "%s",
		  last_error(S, NULL, NULL));
	REFUSED(-EINVAL, s->reserved3[3] = 1);
}

Test(control_search, mmr)
{
	struct vexfs_search *h = query("l2", 2, zero, 2);

	h->flags = VEXFS_SEARCH_MMR;
	h->mmr = 0.2f;
	cr_assert_eq(search(h), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(h->hits, 2);
	expect_path(h, 0, "a/near.txt");
	expect_path(h, 1, "a/far.txt");
	free(h);
	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_MMR; s->mmr = 2);
	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_MMR; s->k = 1025);
	REFUSED(-EINVAL, s->flags = VEXFS_SEARCH_MMR | VEXFS_SEARCH_RANGE |
				    VEXFS_SEARCH_MAX_DISTANCE;
		s->k = 0);
	REFUSED(0, s->mmr = 2);
}
