/* SPDX-License-Identifier: Apache-2.0 */
/* Unread hits: next page and read(2), mixed, never a record in halves. */
#include "fixture.h"

#define N 600u

static void up(void)
{
	fixture_up();
	make_space("p", 2, VEXFS_L2);
	many("p", N);
}

TestSuite(control_hits, .init = up, .fini = fixture_down, .timeout = 60);

/* A search for all, near 0,1: hits come in the order of their numbers. */
static struct vexfs_search *all(void)
{
	struct vexfs_search *s = query("p", N + 10, (float[]){ 0, 1 }, 2);

	cr_assert_eq(ioc(VEXFS_IOC_SEARCH, s), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(s->total, N);
	cr_assert_gt(s->hits, 10);
	cr_assert_lt(s->hits, N);
	return s;
}

/* Checks a run of records that begins with hit number `from`; how many there are. */
static unsigned check(const void *data, size_t bytes, unsigned from)
{
	size_t at = 0;
	unsigned n = 0;
	char path[32];

	while (at < bytes) {
		const struct vexfs_hit *h = hit_at(data, n);

		snprintf(path, sizeof(path), "p/%04u", from + n);
		cr_assert_str_eq(vexfs_hit_path(h), path);
		cr_assert_str_eq(vexfs_hit_key(h), "");
		cr_assert_eq(h->path_len, strlen(path));
		cr_assert_float_eq(h->distance, (float)(from + n + 1), 1e-3f);
		at += h->size;
		n++;
	}
	cr_assert_eq(at, bytes, "whole records");
	return n;
}

Test(control_hits, pages_to_the_end)
{
	struct vexfs_search *s = all();
	struct vexfs_page p;
	unsigned seen = check(s->data, s->bytes, 0);

	cr_assert_eq(seen, s->hits);
	do {
		memset(&p, 0, sizeof(p));
		cr_assert_eq(ioc(VEXFS_IOC_NEXT, &p), 0);
		cr_assert_eq(check(p.data, p.bytes, seen), p.hits);
		seen += p.hits;
		cr_assert_eq(p.left, N - seen);
	} while (p.left);
	cr_expect_eq(seen, N);
	cr_assert_eq(ioc(VEXFS_IOC_NEXT, &p), 0);
	cr_expect_eq(p.hits, 0);
	cr_expect_eq(p.left, 0);
	free(s);
}

Test(control_hits, reads_to_the_end)
{
	struct vexfs_search *s = all();
	static char buf[1000];
	unsigned seen = s->hits;
	ssize_t n;

	cr_expect(vex_session_poll(S) & POLLIN);
	while ((n = take(S, buf, sizeof(buf))) > 0)
		seen += check(buf, (size_t)n, seen);
	cr_expect_eq(n, 0);
	cr_expect_eq(seen, N);
	cr_expect(!(vex_session_poll(S) & POLLIN));
	cr_expect(vex_session_poll(S) & POLLOUT);
	free(s);
}

Test(control_hits, pages_and_reads_mixed_of_any_size)
{
	struct vexfs_search *s = all();
	uint64_t x = seed();
	unsigned seen = s->hits;

	while (seen < N) {
		size_t room = 64 + rnd(&x) % 2000;
		char *buf = malloc(room);

		if (rnd(&x) % 2) {
			ssize_t n = take(S, buf, room);

			cr_assert_gt(n, 0);
			seen += check(buf, (size_t)n, seen);
		} else {
			struct vexfs_page p = { 0 };

			cr_assert_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_NEXT, 48 + room), &p),
				     0);
			seen += check(p.data, p.bytes, seen);
		}
		free(buf);
	}
	cr_expect_eq(seen, N);
	free(s);
}

Test(control_hits, a_buffer_too_small_for_the_next_record)
{
	struct vexfs_search *s = all();
	struct vexfs_page p = { 0 };
	char buf[47];

	cr_expect_eq(take(S, buf, sizeof(buf)), -EINVAL);
	cr_expect_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_NEXT, 48u + 47u), &p), -EINVAL);
	cr_expect_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_NEXT, 48u), &p), -EINVAL);
	cr_expect_eq(ioc(VEXFS_IOC_SIZED(VEXFS_IOC_NEXT, 48u + 48u), &p), 0);
	cr_expect_eq(check(p.data, p.bytes, s->hits), 1, "nothing was lost");
	free(s);
}

Test(control_hits, nothing_searched_nothing_to_read)
{
	struct vexfs_page p = { 0 };
	char buf[64];

	cr_expect_eq(take(S, buf, sizeof(buf)), 0);
	cr_expect_eq(ioc(VEXFS_IOC_NEXT, &p), 0);
	cr_expect_eq(p.hits, 0);
}

Test(control_hits, sessions_keep_their_own)
{
	struct vex_session *other = session(&root, O_RDWR);
	struct vexfs_search *s = all();
	char buf[64];

	cr_expect_eq(take(other, buf, sizeof(buf)), 0);
	cr_expect_eq(take(S, buf, sizeof(buf)), 48);
	vex_session_close(other);
	free(s);
}
