/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: staged in a session, seen by nobody, applied at once or not at all. */
#include "fixture.h"

static void up(void)
{
	fixture_up();
	make_space("w", 2, VEXFS_L2);
	touch("a");
	touch("b");
}

TestSuite(control_txn, .init = up, .fini = fixture_down, .timeout = 60);

static const float one[2] = { 1, 1 };

static uint64_t count(const char *name)
{
	struct vexfs_space sp = { 0 };

	strcpy(sp.name, name);
	return ioc(VEXFS_IOC_SPACE_GET, &sp) ? 0 : sp.attachments;
}

static vex_err txn(struct vex_session *s, unsigned long cmd, struct vexfs_txn *out)
{
	struct vexfs_txn t = { 0 };
	vex_err err = ioc_as(s, &root, cmd, &t);

	if (out)
		*out = t;
	return err;
}

static vex_err put(struct vex_session *s, const char *path, const char *attr,
		   const char *text)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));
	vex_err err;

	item_add(h, path, attr, text, (uint32_t)strlen(text), 0);
	err = ioc_as(s, &root, VEXFS_IOC_PUT, h);
	free(h);
	return err;
}

static vex_err del(struct vex_session *s, const char *path, const char *attr)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));
	vex_err err;

	item_add(h, path, attr, NULL, 0, 0);
	err = ioc_as(s, &root, VEXFS_IOC_DELETE, h);
	free(h);
	return err;
}

static uint32_t hits(struct vex_session *s)
{
	struct vexfs_search *q = query("w", 100, one, 2);
	uint32_t n;

	cr_assert_eq(ioc_as(s, &root, VEXFS_IOC_SEARCH, q), 0);
	n = (uint32_t)q->total;
	free(q);
	return n;
}

Test(control_txn, all_at_commit_and_nothing_before)
{
	struct vex_session *other = session(&root, O_RDWR);
	struct vexfs_txn t;

	cr_assert_eq(put(other, "b", "w.old", "5,5"), 0);
	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, &t), 0);
	cr_expect_eq(t.items, 65536);
	cr_expect_eq(t.bytes, 64u << 20);
	cr_assert_eq(put(S, "a", "w", "1,2"), 0, "%s", last_error(S, NULL, NULL));
	cr_assert_eq(put(S, "b", "new.k", "1,2,3"), 0, "a space that is made by it");
	cr_assert_eq(del(S, "b", "w.old"), 0);
	cr_expect_eq(count("w"), 1);
	cr_expect_eq(count("new"), 0);
	cr_expect_eq(hits(S), 1, "not even its own session");
	cr_expect_eq(hits(other), 1);
	cr_assert_eq(txn(S, VEXFS_IOC_COMMIT, &t), 0, "%s", last_error(S, NULL, NULL));
	cr_expect_eq(t.items, 3);
	cr_expect_geq(t.lsn, 3);
	cr_expect_eq(count("w"), 1);
	cr_expect_eq(count("new"), 1);
	cr_expect_eq(del(other, "b", "w.old"), -ENODATA);
	cr_expect_eq(put(S, "b", "w", "1,1"), 0, "after it, at once again");
	cr_expect_eq(hits(other), 2);
	vex_session_close(other);
	fixture_again();
	cr_expect_eq(count("w"), 2);
	cr_expect_eq(count("new"), 1);
}

Test(control_txn, abort_close_and_end_leave_nothing)
{
	struct vex_session *s = session(&root, O_RDWR);
	struct vexfs_txn t;

	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, NULL), 0);
	cr_assert_eq(put(S, "a", "w", "1,2"), 0);
	cr_assert_eq(txn(S, VEXFS_IOC_ABORT, &t), 0);
	cr_expect_eq(t.items, 1);
	cr_expect_eq(hits(S), 0);
	cr_assert_eq(txn(s, VEXFS_IOC_BEGIN, NULL), 0);
	cr_assert_eq(put(s, "a", "gone", "1,2,3"), 0);
	vex_session_close(s);
	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, NULL), 0);
	cr_assert_eq(put(S, "a", "w", "1,2"), 0);
	fixture_again();
	cr_expect_eq(hits(S), 0);
	cr_expect_eq(count("gone"), 0);
	cr_expect_eq(txn(S, VEXFS_IOC_COMMIT, NULL), -EINVAL, "not of this session");
}

Test(control_txn, begin_and_end_in_pairs)
{
	struct vexfs_txn bad = { .flags = 1 };

	cr_expect_eq(txn(S, VEXFS_IOC_COMMIT, NULL), -EINVAL);
	cr_expect_eq(txn(S, VEXFS_IOC_ABORT, NULL), -EINVAL);
	cr_expect_eq(ioc(VEXFS_IOC_BEGIN, &bad), -EINVAL);
	bad = (struct vexfs_txn){ .reserved = { 1 } };
	cr_expect_eq(ioc(VEXFS_IOC_BEGIN, &bad), -EINVAL);
	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, NULL), 0);
	cr_expect_eq(txn(S, VEXFS_IOC_BEGIN, NULL), -EINVAL);
	cr_expect_eq(txn(S, VEXFS_IOC_COMMIT, NULL), 0, "an empty one");
	struct vex_session *ro = session(&root, O_RDONLY);
	cr_expect_eq(txn(ro, VEXFS_IOC_BEGIN, NULL), -EBADF);
	vex_session_close(ro);
}

Test(control_txn, what_is_wrong_is_told_when_staged)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));

	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, NULL), 0);
	cr_assert_eq(put(S, "a", "w", "1,2"), 0);
	cr_expect_eq(put(S, "a", "w", "1,2,3"), -EINVAL, "dimension");
	cr_expect_eq(put(S, "a", "w", "1,x"), -EINVAL);
	cr_expect_eq(put(S, "a", "W", "1,2"), -EINVAL);
	cr_expect_eq(put(S, "none", "w", "1,2"), -ENOENT);
	cr_expect_eq(del(S, "none", "w"), -ENOENT);
	item_add(h, "b", "w", one, 8, VEXFS_ITEM_F32);
	cr_expect_eq(ioc_as(S, &stranger, VEXFS_IOC_PUT, h), -EACCES);
	free(h);
	cr_assert_eq(txn(S, VEXFS_IOC_COMMIT, NULL), 0, "the good one is still in it");
	cr_expect_eq(count("w"), 1);
}

Test(control_txn, what_fails_at_commit_undoes_all)
{
	uint32_t item;
	int error;

	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, NULL), 0);
	cr_assert_eq(put(S, "a", "w", "1,2"), 0);
	cr_assert_eq(put(S, "a", "fresh", "1,2,3"), 0);
	cr_assert_eq(del(S, "b", "w.none"), 0);
	cr_expect_eq(txn(S, VEXFS_IOC_COMMIT, NULL), -ENODATA);
	cr_expect(strstr(last_error(S, &error, &item), "w.none") != NULL);
	cr_expect_eq(item, 2);
	cr_expect_eq(error, ENODATA);
	cr_expect_eq(count("w"), 0);
	cr_expect_eq(count("fresh"), 0);
	cr_expect_eq(txn(S, VEXFS_IOC_ABORT, NULL), -EINVAL, "it is over");
}

Test(control_txn, in_the_order_staged)
{
	cr_assert_eq(put(S, "a", "w", "9,9"), 0);
	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, NULL), 0);
	cr_assert_eq(del(S, "a", "w"), 0);
	cr_assert_eq(put(S, "a", "w", "1,1"), 0);
	cr_assert_eq(put(S, "b", "w", "2,2"), 0);
	cr_assert_eq(put(S, "b", "w", "3,3"), 0);
	cr_assert_eq(put(S, "a", "w.k", "4,4"), 0);
	cr_assert_eq(del(S, "a", "w.k"), 0);
	cr_assert_eq(txn(S, VEXFS_IOC_COMMIT, NULL), 0, "%s", last_error(S, NULL, NULL));
	cr_expect_eq(count("w"), 2);
	struct vexfs_search *q = query("w", 5, one, 2);
	cr_assert_eq(ioc(VEXFS_IOC_SEARCH, q), 0);
	cr_assert_eq(q->hits, 2);
	cr_expect_str_eq(vexfs_hit_path(hit_at(q->data, 0)), "a");
	cr_expect_float_eq(hit_at(q->data, 0)->distance, 0, 1e-6);
	cr_expect_float_eq(hit_at(q->data, 1)->distance, 2.8284271, 1e-5);
	free(q);
	fixture_again();
	cr_expect_eq(count("w"), 2);
	cr_expect_eq(hits(S), 2);
}

Test(control_txn, limits_and_accounts)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));
	static char text[60000];
	unsigned n = 0;
	vex_err err = 0;

	memset(text, ' ', sizeof(text));
	memcpy(text, "1 1", 3);
	item_add(h, "a", "w", text, 16000, 0);
	cr_assert_eq(txn(S, VEXFS_IOC_BEGIN, NULL), 0);
	for (; !err && n < 10000; n++)
		err = ioc(VEXFS_IOC_PUT, h);
	cr_expect_eq(err, -ENOMEM);
	cr_expect_gt(n, 4100u, "%u", n);
	cr_expect_lt(n, 4300u, "%u", n);
	cr_expect_eq(control->held, S->txn.bytes);
	cr_assert_eq(txn(S, VEXFS_IOC_ABORT, NULL), 0);
	cr_expect_eq(control->held, 0);
	free(h);
}

/* ---- two at once, and searches that see all or none ------------------------------- */

#define FILES 12
#define ROUNDS 60

static atomic_bool done;

/* Each transaction moves every file to one number of its own. */
static void *mover(void *arg)
{
	struct vex_session *s = session(&root, O_RDWR);
	long base = (long)arg;

	for (long r = 0; r < ROUNDS; r++) {
		cr_assert_eq(txn(s, VEXFS_IOC_BEGIN, NULL), 0);
		for (int f = 0; f < FILES; f++) {
			char path[16], v[32];

			snprintf(path, sizeof(path), "m%d", base & 1 ? FILES - 1 - f : f);
			snprintf(v, sizeof(v), "%ld,0", base + 2 * r);
			cr_assert_eq(put(s, path, "w", v), 0);
		}
		cr_assert_eq(txn(s, VEXFS_IOC_COMMIT, NULL), 0);
	}
	vex_session_close(s);
	return NULL;
}

static void *watcher(void *arg)
{
	static const float zero[2];
	struct vex_session *s = session(&root, O_RDWR);
	unsigned *seen = arg;

	while (!done) {
		struct vexfs_search *q = query("w", 100, zero, 2);

		cr_assert_eq(ioc_as(s, &root, VEXFS_IOC_SEARCH, q), 0);
		cr_assert(q->hits == 0 || q->hits == FILES, "%u", q->hits);
		for (unsigned i = 1; i < q->hits; i++)
			cr_assert_eq(hit_at(q->data, i)->distance,
				     hit_at(q->data, 0)->distance, "a torn one");
		*seen += q->hits > 0;
		free(q);
	}
	vex_session_close(s);
	return NULL;
}

Test(control_txn, two_at_once_and_searches_between)
{
	pthread_t t[3];
	unsigned seen = 0;
	char path[16];

	for (int f = 0; f < FILES; f++) {
		snprintf(path, sizeof(path), "m%d", f);
		touch(path);
	}
	pthread_create(&t[2], NULL, watcher, &seen);
	pthread_create(&t[0], NULL, mover, (void *)1L);
	pthread_create(&t[1], NULL, mover, (void *)2L);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	done = true;
	pthread_join(t[2], NULL);
	cr_expect_gt(seen, 0);
	cr_expect_eq(count("w"), FILES);
}
