/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known.c, seat.c: a file that was a hit is found again by what is remembered of it. Each
 * test has it found twice, changes something, through the engine or behind its back, and
 * expects the very next search to tell the truth.
 */
#include <math.h>
#include <vexfs/metrics.h>
#include "graph_i.h"
#include "names_fixture.h"
#include "known_i.h"

#define FILLERS 120

/* d/a at 1, b at 2, the others far away; remembered, settled or not. */
static void up(void)
{
	char name[32];

	af_opts.graph_floats_min = 1;
	nf_up();
	nf_sh("chmod 755 .");
	nf_dir("d");
	nf_file("d/a", "first", 1);
	nf_file("b", "second", 2);
	for (int i = 0; i < FILLERS; i++) {
		snprintf(name, sizeof(name), "far%d", i);
		nf_file(name, "x", 1000 + (float)i);
	}
	nf_ready();
	for (int i = 0; i < 2; i++)
		nf_finds(1, 2, "d/a b");
}

TestSuite(known, .init = up, .fini = nf_down, .timeout = 120);

/* The birth time is old enough to tell inodes apart. */
static void settle(void)
{
	usleep(2100000);
	for (int i = 0; i < 2; i++)
		nf_finds(1, 2, "d/a b");
}

static struct vex_result *ask(float x)
{
	float v[2] = { x, 0 };
	struct vex_query q = { .space = "s",
			       .vectors = v,
			       .dim = 2,
			       .nq = 1,
			       .k = 2,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .cred = &af_uid0 };
	struct vex_result *r;
	struct vex_problem p;

	cr_assert_eq(vex_engine_search(eng, &q, &r, &p), 0, "%s", p.text);
	return r;
}

Test(known, it_is_remembered)
{
	struct vex_result *r = ask(1);
	struct known k;
	uint64_t lsn = 0;

	cr_expect_str_eq(r->plan, "graph");
	cr_assert_eq(r->n, 2u);
	vex_result_free(r);
	for (uint64_t i = 1; i <= 200 && !lsn; i++)
		if (known_get(eng->known, i, &k) && !strcmp(k.name, "a"))
			lsn = i;
	cr_assert_neq(lsn, 0u);
	cr_expect(k.met);
	cr_expect(!k.settled);
	settle();
	cr_assert(known_get(eng->known, lsn, &k));
	cr_expect(k.settled == (k.born != INT64_MIN));
	cr_expect_eq(k.ino, nf_ino("d/a"));
}

/* ---- through the engine --------------------------------------------------------------
 */

Test(known, renamed)
{
	cr_assert_eq(nf_rename("d/a", "d/c", 0, false), 0);
	nf_finds(1, 2, "d/c b");
	cr_assert_eq(nf_rename("d/c", "e", 0, false), 0);
	nf_finds(1, 2, "e b");
}

Test(known, directory_renamed)
{
	cr_assert_eq(nf_rename("d", "e", 0, false), 0);
	nf_finds(1, 2, "e/a b");
	nf_dir("d");
	nf_sh("echo other >d/a");
	nf_finds(1, 2, "e/a b");
}

Test(known, unlinked)
{
	cr_assert_eq(nf_unlink("d/a", false), 0);
	nf_finds(1, 1, "b");
}

Test(known, replaced_by_a_rename)
{
	nf_file("d/new", "third", 500);
	cr_assert_eq(nf_rename("d/new", "d/a", 0, false), 0);
	nf_finds(1, 1, "b");
	nf_finds(500, 1, "d/a");
}

Test(known, detached)
{
	cr_assert_eq(af_remove("d/a", "s"), 0);
	nf_finds(1, 1, "b");
}

Test(known, attached_anew)
{
	nf_attach("d/a", 600);
	nf_finds(1, 1, "b");
	nf_finds(600, 1, "d/a");
	nf_ready();
	nf_finds(1, 1, "b");
	nf_finds(600, 1, "d/a");
}

Test(known, linked_and_first_name_removed)
{
	cr_assert_eq(nf_link("d/a", "l"), 0);
	cr_assert_eq(nf_unlink("d/a", false), 0);
	nf_finds(1, 2, "l b");
}

Test(known, space_made_anew)
{
	cr_assert_eq(vex_engine_space_drop(eng, &af_uid0, "s"), 0);
	nf_attach("b", 1);
	nf_finds(1, 2, "b");
}

/* ---- behind its back -----------------------------------------------------------------
 */

Test(known, renamed_behind_us)
{
	settle();
	nf_sh("mv d/a d/c");
	nf_finds(1, 2, "d/c b");
}

Test(known, directory_renamed_behind_us)
{
	settle();
	nf_sh("mv d e");
	nf_finds(1, 2, "e/a b");
	nf_sh("mv e/a b.new; mv b e/a; mv b.new b");
	nf_finds(1, 2, "b e/a");
}

Test(known, removed_behind_us)
{
	settle();
	nf_sh("rm d/a");
	nf_finds(1, 1, "b");
}

/* ext4 gives the inode number to the next file at once. */
Test(known, replaced_behind_us)
{
	settle();
	nf_sh("rm d/a; echo other >d/a");
	nf_finds(1, 1, "b");
}

Test(known, replaced_behind_us_while_young)
{
	nf_sh("rm d/a; echo other >d/a");
	nf_finds(1, 1, "b");
}

Test(known, link_removed_behind_us)
{
	AUTO_FREE char *first = NULL;

	cr_assert_eq(nf_link("d/a", "l"), 0);
	nf_settle();
	/* Either name is true. */
	first = nf_near(1, 1, &af_uid0);
	cr_assert(!strcmp(first, "d/a") || !strcmp(first, "l"), "%s", first);
	nf_sh("rm %s", first);
	nf_finds(1, 2, *first == 'l' ? "d/a b" : "l b");
}

/* A path with a symlink on it is not where the file is. */
Test(known, directory_moved_away_and_linked_to)
{
	settle();
	nf_sh("mkdir e; mv d e/d; ln -s e/d d");
	usleep(1100000); /* so long is the directory believed */
	nf_finds(1, 2, "e/d/a b");
}

Test(known, directory_moved_out_of_the_store)
{
	settle();
	nf_sh("rm -rf ../out.$$; mkdir ../out.$$; mv d ../out.$$/d; ln -s ../out.$$/d d");
	usleep(1100000);
	nf_finds(1, 1, "b");
	nf_sh("rm -rf $(dirname $(readlink d))");
}

Test(known, written_to)
{
	struct vex_result *r;

	settle();
	nf_sh("echo more >>d/a");
	r = ask(1);
	cr_assert_eq(r->n, 2u);
	cr_expect(r->hits[0].stale);
	cr_expect(!r->hits[1].stale);
	vex_result_free(r);
}

Test(known, damaged)
{
	struct vex_result *r = ask(1);
	size_t n = r->n;

	vex_result_free(r);
	cr_assert_eq(n, 2u);
	/* Row 0 (d/a), behind the header page, while it is mapped. */
	nf_sh("printf xxxx | dd of=.vexfs/spaces/1.rows bs=1 seek=4096 conv=notrunc "
	      "status=none");
	r = ask(1);
	for (size_t i = 0; i < r->n; i++)
		cr_expect_str_neq(r->hits[i].path, "d/a");
	vex_result_free(r);
}

Test(known, slots_cut_off)
{
	struct vex_result *r;

	nf_sh("truncate -s 4096 .vexfs/spaces/1.rows");
	r = ask(1);
	cr_expect_eq(r->n, 0u);
	vex_result_free(r);
}

/* ---- who may ------------------------------------------------------------------------
 */

static void nobody_knows(void)
{
	for (int i = 0; i < 2; i++)
		nf_finds_as(&af_nobody, 1, 2, "d/a b");
}

Test(known, file_closed)
{
	nobody_knows();
	nf_sh("chmod 600 d/a");
	nf_finds_as(&af_nobody, 1, 1, "b");
	nf_finds(1, 1, "d/a");
	nf_sh("chmod 644 d/a");
	nf_finds_as(&af_nobody, 1, 1, "d/a");
}

Test(known, directory_closed)
{
	nobody_knows();
	nf_sh("chmod 700 d");
	nf_finds_as(&af_nobody, 1, 1, "b");
	nf_finds(1, 1, "d/a");
	nf_sh("chmod 711 d");
	nf_finds_as(&af_nobody, 1, 1, "d/a");
}

Test(known, directory_above_closed)
{
	nf_dir("up");
	cr_assert_eq(nf_rename("d", "up/d", 0, false), 0);
	for (int i = 0; i < 2; i++)
		nf_finds_as(&af_nobody, 1, 2, "up/d/a b");
	nf_sh("chmod 700 up");
	nf_finds_as(&af_nobody, 1, 1, "b");
}

Test(known, closed_by_an_acl)
{
	NEEDS_(!system("command -v setfacl >/dev/null"), "no setfacl");
	nobody_knows();
	nf_sh("setfacl -m u:65534:--- d");
	nf_finds_as(&af_nobody, 1, 1, "b");
	nf_sh("setfacl -b d; setfacl -m u:65534:--- d/a");
	nf_finds_as(&af_nobody, 1, 1, "b");
	nf_sh("setfacl -b d/a");
	nobody_knows();
}

/* k are found behind a crowd of refused ones. */
Test(known, refused_ones_take_no_place)
{
	for (int i = 0; i < 2; i++)
		nf_finds_as(&af_nobody, 1000, 3, "far0 far1 far2");
	nf_sh("chmod 600 far0 far2 far3 far4");
	nf_finds_as(&af_nobody, 1000, 3, "far1 far5 far6");
	nf_sh("for i in $(seq 0 99); do chmod 600 far$i; done");
	nf_finds_as(&af_nobody, 1000, 3, "far100 far101 far102");
}

/* ---- where it runs --------------------------------------------------------------------
 */

#ifndef __SANITIZE_ADDRESS__
#ifndef __SANITIZE_THREAD__

/* Request threads have small stacks, and are watched for it: what a search asks there of
 * its thread, from the door of the engine down. */
#define STACK_MAX 4608u
#define PAINT 0xa5

struct painted {
	float x;
	bool exact;
	char plan[16];
	size_t used;
};

static void __attribute__((noinline)) paint(uint8_t *low, const uint8_t *high)
{
	memset(low, PAINT, (size_t)(high - low));
}

static void *search_painted(void *arg)
{
	struct painted *p = arg;
	uint8_t here, *top = &here, *low;
	float v[2] = { p->x, 0 };
	struct vex_query q = { .space = "s",
			       .vectors = v,
			       .dim = 2,
			       .nq = 1,
			       .k = 5,
			       .per_file = 1,
			       .max_distance = INFINITY,
			       .exact = p->exact,
			       .cred = &af_nobody };
	struct vex_result *r;
	struct vex_problem problem;

	low = (uint8_t *)((uintptr_t)top & ~4095ul) - 64 * 1024;
	paint(low, (uint8_t *)__builtin_frame_address(0) - 2048);
	if (vex_engine_search(eng, &q, &r, &problem))
		return NULL;
	while (*low == PAINT)
		low++;
	p->used = (size_t)((uint8_t *)__builtin_frame_address(0) - low);
	snprintf(p->plan, sizeof(p->plan), "%s", r->plan);
	vex_result_free(r);
	return NULL;
}

static void uses_little(bool exact, const char *plan)
{
	struct painted p = { .x = 1000, .exact = exact };
	pthread_t t;

	size_t most = 0;

	vex_stack_every(0); /* whose paint would lie on ours */
	settle();
	/* From the third on nothing has to be asked of the catalog; then files are found
	 * to be settled, then watched (vigil.c), then not asked. */
	for (int i = 0; i < 8; i++) {
		cr_assert_eq(
		    vex_thread_start(&t, "painted", 256 * 1024, search_painted, &p), 0);
		pthread_join(t, NULL);
		cr_assert_str_eq(p.plan, plan);
		most = i >= 2 && p.used > most ? p.used : most;
	}
	fprintf(stderr, "%s: %zu bytes of stack\n", plan, most);
	cr_expect_lt(most, STACK_MAX);
}

Test(known, graph_uses_little_stack)
{
	uses_little(false, "graph");
}

Test(known, scan_uses_little_stack)
{
	uses_little(true, "exact");
}

#endif
#endif
