/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vigil.c: files that are hits again and again are watched, and not asked. Each test
 * first makes sure of that, changes something behind the engine's back, and expects the
 * very next search to tell the truth.
 */
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <vexfs/metrics.h>
#include "graph_i.h"
#include "names_fixture.h"
#include "known_i.h"
#include "vigil_i.h"

#define FILLERS 120

static void up(void)
{
	char name[32];

	af_opts.graph_floats_min = 1;
	nf_up();
	nf_sh("chmod 755 .");
	nf_dir("d");
	nf_dir("d/e");
	nf_file("d/e/a", "first", 1);
	nf_file("b", "second", 2);
	for (int i = 0; i < FILLERS; i++) {
		snprintf(name, sizeof(name), "far%d", i);
		nf_file(name, "x", 1000 + (float)i);
	}
	nf_ready();
}

TestSuite(vigil, .init = up, .fini = nf_down, .timeout = 120);

static struct vex_result *ask(const struct vex_cred *cred)
{
	float v[2] = { 1, 0 };
	struct vex_query q = { .space = "s",
			       .vectors = v,
			       .dim = 2,
			       .nq = 1,
			       .k = 2,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .cred = cred };
	struct vex_result *r;
	struct vex_problem p;

	cr_assert_eq(vex_engine_search(eng, &q, &r, &p), 0, "%s", p.text);
	return r;
}

/* Searches until d/e/a and b are not asked any more. */
static void watched(void)
{
	NEEDS_(eng->vigil, "files cannot be watched here");
	for (int tries = 0; tries < 1500; tries++) {
		uint64_t before = vigil_vouched(eng->vigil);

		vex_result_free(ask(&af_uid0));
		if (vigil_vouched(eng->vigil) == before + 2)
			return;
		usleep(20000);
	}
	cr_assert_fail("never watched");
}

/* How many of both the next search asked of the filesystem. */
static uint64_t asked(void)
{
	uint64_t before = vigil_vouched(eng->vigil);

	vex_result_free(ask(&af_uid0));
	return 2 - (vigil_vouched(eng->vigil) - before);
}

static bool stale(void)
{
	struct vex_result *r = ask(&af_uid0);
	bool yes;

	cr_assert_eq(r->n, 2u);
	cr_expect_str_eq(r->hits[0].path, "d/e/a");
	cr_expect(!r->hits[1].stale);
	yes = r->hits[0].stale;
	vex_result_free(r);
	return yes;
}

static void *map_writable(int fd)
{
	void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	cr_assert_neq(m, MAP_FAILED);
	return m;
}

static int open_file(int flags)
{
	int fd = openat(af_root, "d/e/a", flags | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

/* ---- content ------------------------------------------------------------------------
 */

Test(vigil, what_nobody_touches_is_not_asked)
{
	watched();
	cr_expect(!stale());
	nf_finds(1, 2, "d/e/a b");
	nf_sh("cat d/e/a >/dev/null");
	cr_expect(!stale());
	watched();
}

Test(vigil, content_changed)
{
	char path[4200];

	watched();
	nf_sh("touch -r d/e/a stamp; echo more >>d/e/a");
	cr_expect(stale());
	nf_sh("echo first >d/e/a; printf first >d/e/a; touch -r stamp d/e/a");
	cr_expect(!stale());
	watched();
	nf_sh("touch -d 2001-01-01 d/e/a");
	cr_expect(stale());
	nf_sh("touch -r stamp d/e/a");
	watched();
	snprintf(path, sizeof(path), "%s/d/e/a", af_dir);
	cr_assert_eq(truncate(path, 2), 0);
	cr_expect(stale());
}

/* Long enough for files to be watched that can be. */
static void search_for_a_while(void)
{
	for (int i = 0; i < 160; i++) {
		vex_result_free(ask(&af_uid0));
		usleep(20000);
	}
}

/* No event tells of a store to memory: such files are asked at each search. */
Test(vigil, stored_to_through_a_mapping_made_before)
{
	int fd = open_file(O_RDWR);
	char *m = map_writable(fd);

	close(fd);
	search_for_a_while();
	cr_expect(!stale());
	cr_expect_eq(asked(), eng->vigil ? 1u : 2u);
	m[0] = 'F';
	cr_expect(stale());
	munmap(m, 4096);
}

Test(vigil, stored_to_through_a_mapping_made_later)
{
	char *m;
	int fd;

	watched();
	fd = open_file(O_RDWR);
	m = map_writable(fd);
	cr_expect(!stale());
	search_for_a_while();
	cr_expect_eq(asked(), 1u);
	close(fd);
	m[0] = 'F';
	cr_expect(stale());
	munmap(m, 4096);
}

/* ---- names ------------------------------------------------------------------------- */

Test(vigil, renamed_and_removed)
{
	watched();
	nf_sh("mv d/e/a d/e/c");
	nf_finds(1, 2, "d/e/c b");
	watched();
	nf_sh("rm b");
	nf_finds(1, 1, "d/e/c");
	nf_sh("mv d/e/c b");
	nf_finds(1, 1, "b");
}

Test(vigil, renamed_over)
{
	watched();
	nf_sh("echo other >new; mv new d/e/a");
	nf_finds(1, 1, "b");
}

Test(vigil, directory_renamed)
{
	watched();
	nf_sh("mv d/e d/f");
	nf_finds(1, 2, "d/f/a b");
	watched();
	nf_sh("mv d/f d/e; mv d f");
	nf_finds(1, 2, "f/e/a b");
	watched();
	nf_sh("mv f d");
	nf_finds(1, 2, "d/e/a b");
	/* Not on its way; what was watched still is. */
	nf_sh("mkdir g; mv g h");
	watched();
	nf_sh("mv d/e d/g");
	nf_finds(1, 2, "d/g/a b");
	watched();
	nf_sh("chmod 600 d/g/a");
	nf_finds_as(&af_nobody, 1, 1, "b");
}

Test(vigil, one_of_two_names_removed)
{
	AUTO_FREE char *first = NULL;

	cr_assert_eq(nf_link("d/e/a", "l"), 0);
	watched();
	first = nf_near(1, 1, &af_uid0);
	nf_sh("rm %s", first);
	nf_finds(1, 2, *first == 'l' ? "d/e/a b" : "l b");
}

/* ---- who may ----------------------------------------------------------------------- */

Test(vigil, closed)
{
	watched();
	nf_finds_as(&af_nobody, 1, 2, "d/e/a b");
	nf_sh("chmod 600 d/e/a");
	nf_finds_as(&af_nobody, 1, 1, "b");
	nf_sh("chmod 644 d/e/a");
	nf_finds_as(&af_nobody, 1, 2, "d/e/a b");
	watched();
	nf_sh("chmod 700 d");
	nf_finds_as(&af_nobody, 1, 1, "b");
	nf_finds(1, 1, "d/e/a");
	nf_sh("chmod 755 d");
	NEEDS_ROOT();
	watched();
	nf_sh("chmod 600 b; chown 65534 b");
	nf_finds_as(&af_nobody, 2, 1, "b");
	watched();
	nf_sh("chown 0 b");
	nf_finds_as(&af_nobody, 2, 1, "d/e/a");
}

Test(vigil, closed_by_an_acl)
{
	NEEDS_(!system("command -v setfacl >/dev/null"), "no setfacl");
	watched();
	nf_sh("setfacl -m u:65534:--- d/e/a");
	nf_finds_as(&af_nobody, 1, 1, "b");
}

/* ---- much at once ------------------------------------------------------------------ */

/* More events than the kernel queues: what was lost is not missed. */
Test(vigil, the_queue_overflows)
{
	unsigned long most = 0;
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	struct vigil *v = eng->vigil;

	cr_assert(f && fscanf(f, "%lu", &most) == 1);
	fclose(f);
	watched();
	NEEDS_(most <= 100000, "the queue is long");
	/* Each round of open and chmod of an unwatched file says nothing; so files are
	 * watched one by one, by hand. */
	nf_sh("mkdir m");
	for (unsigned long i = 0; i * 2 < most + 10; i++) {
		char path[64];
		struct vigil_mark mark;
		struct stat st;
		int fd;

		snprintf(path, sizeof(path), "m/%lu", i % 2000);
		fd = openat(af_root, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		cr_assert_geq(fd, 0);
		close(fd);
		cr_assert_eq(fstatat(af_root, path, &st, 0), 0);
		for (int times = 0; times < 4; times++) {
			mark = vigil_mark(v, 1000000 + i);
			vigil_seen(v, 1000000 + i, path, strlen(path), &mark, &st,
				   vex_now_mono(), true);
		}
	}
	nf_sh("chmod 600 d/e/a; mv b c");
	nf_finds(1, 2, "d/e/a c");
	nf_finds_as(&af_nobody, 1, 1, "c");
	watched();
	nf_sh("chmod 644 d/e/a");
	nf_finds_as(&af_nobody, 1, 1, "d/e/a");
}

struct race {
	_Atomic bool stop, failed;
};

static void *searches(void *arg)
{
	struct race *r = arg;

	while (!atomic_load(&r->stop))
		vex_result_free(ask(&af_uid0));
	return NULL;
}

/* While others search: whoever searches after a change sees it. */
Test(vigil, changes_among_searches)
{
	struct race r = { false };
	pthread_t t[2];

	watched();
	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, searches, &r), 0);
	for (int i = 0; i < 40; i++) {
		usleep(15000);
		nf_sh("chmod 600 d/e/a");
		nf_finds_as(&af_nobody, 1, 1, "b");
		usleep(15000);
		nf_sh("chmod 644 d/e/a");
		nf_finds_as(&af_nobody, 1, 1, "d/e/a");
	}
	atomic_store(&r.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

/* Through the engine too. */
Test(vigil, attached_anew_and_removed)
{
	watched();
	nf_attach("d/e/a", 600);
	nf_finds(1, 1, "b");
	nf_finds(600, 1, "d/e/a");
	cr_assert_eq(nf_unlink("b", false), 0);
	nf_finds(600, 1, "d/e/a");
	cr_expect_leq(asked(), 2u);
}
