/* SPDX-License-Identifier: Apache-2.0 */
/* The wal-index in memory: shared by inode, the rules of its locks, gone at the end. */
#include "fixture.h"
#include "shm.h"

#define REGION 32768

static struct fix f;
static char name[2][96];

static void begin(void)
{
	fix_begin(&f);
	for (int i = 0; i < 2; i++) {
		snprintf(name[i], sizeof(name[i]), "%s/%d", f.dir, i);
		close(open(name[i], O_CREAT | O_RDWR, 0600));
	}
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(shm, .init = begin, .fini = end, .timeout = 20);

static char *map(struct shm_link *l, int which, int region, bool extend)
{
	void volatile *p = NULL;

	cr_assert_eq(shm_map(l, name[which], region, REGION, extend, &p), SQLITE_OK);
	return (char *)p;
}

Test(shm, shared_by_inode)
{
	struct shm_link a = { 0 }, b = { 0 }, other = { 0 };
	char *p;

	cr_expect(!map(&a, 0, 0, false), "nothing there yet");
	p = map(&a, 0, 2, true);
	cr_assert(p != NULL);
	for (int i = 0; i < REGION; i++)
		cr_assert_eq(p[i], 0);
	p[0] = 1;
	cr_expect_eq(map(&b, 0, 2, false), p);
	cr_expect(map(&b, 0, 1, false) != NULL, "those before it as well");
	cr_expect(!map(&other, 1, 0, false), "another file");
	shm_unmap(&a);
	cr_expect_eq(map(&b, 0, 9, true) != NULL && p[0] == 1, true, "addresses stay");
	shm_unmap(&b);
	cr_expect(!map(&a, 0, 0, false), "the last one frees it");
	shm_unmap(&a);
	shm_unmap(&other);
	shm_unmap(&other);
}

#define SHARED SQLITE_SHM_SHARED
#define EXCLUSIVE SQLITE_SHM_EXCLUSIVE
#define lock(l, i, n, how) shm_lock(l, i, n, SQLITE_SHM_LOCK | (how))
#define unlock(l, i, n, how) shm_lock(l, i, n, SQLITE_SHM_UNLOCK | (how))

Test(shm, locks)
{
	struct shm_link a = { 0 }, b = { 0 }, c = { 0 };

	cr_expect_eq(lock(&a, 0, 1, SHARED), SQLITE_IOERR_SHMLOCK, "not mapped");
	map(&a, 0, 0, true);
	map(&b, 0, 0, true);
	map(&c, 0, 0, true);
	cr_expect_eq(lock(&a, 3, 1, SHARED), SQLITE_OK);
	cr_expect_eq(lock(&a, 3, 1, SHARED), SQLITE_OK, "counts once");
	cr_expect_eq(lock(&b, 3, 1, SHARED), SQLITE_OK);
	cr_expect_eq(lock(&c, 3, 1, EXCLUSIVE), SQLITE_BUSY);
	cr_expect_eq(lock(&c, 2, 3, EXCLUSIVE), SQLITE_BUSY, "all or none");
	cr_expect_eq(lock(&b, 2, 1, EXCLUSIVE), SQLITE_OK, "none was");
	cr_expect_eq(lock(&c, 2, 1, SHARED), SQLITE_BUSY);
	cr_expect_eq(unlock(&b, 2, 1, EXCLUSIVE), SQLITE_OK);
	cr_expect_eq(unlock(&c, 3, 1, SHARED), SQLITE_OK, "not mine: nothing");
	cr_expect_eq(unlock(&a, 3, 1, SHARED), SQLITE_OK);
	cr_expect_eq(lock(&c, 3, 1, EXCLUSIVE), SQLITE_BUSY, "b has it still");
	shm_unmap(&b);
	cr_expect_eq(lock(&c, 0, 8, EXCLUSIVE), SQLITE_OK, "a connection that ends");
	cr_expect_eq(lock(&a, 7, 1, SHARED), SQLITE_BUSY);
	cr_expect_eq(unlock(&c, 0, 8, EXCLUSIVE), SQLITE_OK);
	cr_expect_eq(lock(&a, 7, 1, EXCLUSIVE), SQLITE_OK);
	cr_expect_eq(lock(&a, 6, 3, EXCLUSIVE), SQLITE_IOERR_SHMLOCK);
	shm_unmap(&a);
	shm_unmap(&c);
}

static _Atomic int inside;

static void *take_turns(void *arg)
{
	struct shm_link l = { 0 };
	char *p = map(&l, 0, 0, true);

	(void)arg;
	for (int i = 0; i < 20000; i++) {
		if (lock(&l, 1, 1, EXCLUSIVE))
			continue;
		cr_assert_eq(atomic_fetch_add(&inside, 1), 0);
		p[0]++;
		atomic_fetch_sub(&inside, 1);
		cr_assert_eq(unlock(&l, 1, 1, EXCLUSIVE), SQLITE_OK);
	}
	shm_unmap(&l);
	return NULL;
}

Test(shm, one_at_a_time)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, take_turns, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

Test(shm, no_file)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/.vexfs/catalog.db-shm", f.dir);
	fix_open(&f);
	fix_close(&f);
	cr_assert_eq(close(open(path, O_CREAT | O_RDWR, 0600)), 0);
	fix_open(&f);
	new_file(&f);
	cr_expect_eq(access(path, F_OK), -1, "a stale one is removed");
}
