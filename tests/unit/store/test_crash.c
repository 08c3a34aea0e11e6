/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon killed at any moment, and power lost: what the next open finds. */
#include "fixture.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(crash, .init = begin, .fini = end, .timeout = 120);

/* Shared with the child that is killed: what it was told is committed. */
struct acked {
	_Atomic uint64_t n;
	uint64_t node[20000];
};

static struct acked *shared_memory(void)
{
	void *p = mmap(NULL, sizeof(struct acked), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED);
	return p;
}

/* Each list: rows in two spaces, of one file. */
static void write_forever(struct acked *acked, uint64_t max)
{
	AUTO_SPACE struct vex_space *a = NULL, *b = NULL;

	fix_open(&f);
	if (vex_space_find(f.s, "a", &a))
		a = new_space(&f, "a", DIM);
	if (vex_space_find(f.s, "b", &b))
		b = new_space(&f, "b", 2);
	while (atomic_load(&acked->n) < max) {
		uint64_t i = atomic_load(&acked->n), node = new_file(&f);
		struct vex_change c[2];

		if (make_put(&c[0], a, node, "", i, 2) ||
		    make_put(&c[1], b, node, "k", i, 1) ||
		    vex_store_commit(f.s, c, 2, NULL))
			_exit(1);
		acked->node[i] = node;
		atomic_store(&acked->n, i + 1);
	}
	_exit(0);
}

static void check_all(struct acked *acked, uint64_t n)
{
	struct vex_space *a = get_space(&f, "a"), *b = get_space(&f, "b");
	struct vex_space_counts ca, cb;

	for (uint64_t i = 0; i < n; i++) {
		cr_assert_eq(holds(&f, a, acked->node[i], "", i, 2), 0, "list %lu", i);
		cr_assert_eq(holds(&f, b, acked->node[i], "k", i, 1), 0, "list %lu", i);
	}
	vex_space_counts(a, &ca);
	vex_space_counts(b, &cb);
	cr_expect_eq(ca.attachments, cb.attachments, "part of a list");
	cr_expect_eq(ca.damaged + cb.damaged, 0u);
	vex_space_unref(a);
	vex_space_unref(b);
}

Test(crash, killed_again_and_again)
{
	struct acked *acked = shared_memory();
	uint64_t seed = seed_from_env();

	for (int round = 0; round < 6; round++) {
		uint64_t want = acked->n + 1 + rnd(&seed) % 300;
		int status;
		pid_t pid = fork();

		if (!pid)
			write_forever(acked, 20000);
		for (int i = 0; i < 5000 && acked->n < want; i++)
			usleep(1000);
		usleep((useconds_t)(rnd(&seed) % 2000));
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status), "child ended by itself: %d", status);
		cr_assert_geq(acked->n, want);
		fix_open(&f);
		cr_expect_str_eq(f.problem.text, "");
		check_all(acked, acked->n);
		fix_close(&f);
	}
}

/* ---- a WAL that was hurt -------------------------------------------------- */

#define LISTS 30u

/* A child that dies with all in the WAL. */
static void leave_a_wal(struct acked *acked)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		f.opts.sync_interval_ms = 3600 * 1000;
		write_forever(acked, LISTS);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void copy_store(const char *from, const char *to)
{
	char text[300];

	snprintf(text, sizeof(text), "cd %s && rm -rf %s && cp -a %s %s", f.dir, to, from,
		 to);
	cr_assert_eq(system(text), 0);
}

/* How many lists are there, whole; none after the first that is not, and each value
 * right.
 */
static uint64_t whole_lists(struct acked *acked)
{
	struct vex_space *a, *b;
	uint64_t n = 0;

	if (vex_space_find(f.s, "a", &a))
		return 0;
	if (vex_space_find(f.s, "b", &b)) {
		vex_space_unref(a);
		return 0;
	}
	for (uint64_t i = 0; i < LISTS; i++) {
		vex_err x = holds(&f, a, acked->node[i], "", i, 2);
		vex_err y = holds(&f, b, acked->node[i], "k", i, 1);

		cr_expect_eq(x, y, "part of list %lu", i);
		cr_expect(!x || x == -ENODATA, "list %lu: %d", i, x);
		cr_expect(x || n == i, "a hole before %lu", i);
		n += !x;
	}
	vex_space_unref(a);
	vex_space_unref(b);
	return n;
}

static vex_err tell(void *arg, const struct vex_finding *x)
{
	*(bool *)arg |= strstr(x->text, ".vexfs/catalog.db-wal: ") != NULL;
	return 0;
}

static bool fsck_tells(void)
{
	struct vex_check_counts n;
	struct vex_problem p;
	struct vex_check *c;
	bool told = false;

	if (vex_check_open(f.rootfd, &c, &p))
		return strstr(p.text, "catalog.db") != NULL;
	(void)!vex_check_run(c, tell, &told, &n);
	vex_check_close(c);
	return told;
}

/* Any byte of it: what comes before is there, right, and what is lost is told of. */
Test(crash, any_byte_of_the_wal)
{
	struct acked *acked = shared_memory();
	uint64_t seed = seed_from_env();
	long size;

	leave_a_wal(acked);
	size = file_size(&f, "catalog.db-wal");
	copy_store(".vexfs", "whole");
	for (int round = 0; round < 40; round++) {
		long at = round < 8 ? round * 4 : (long)(rnd(&seed) % (uint64_t)size);
		uint64_t n;

		copy_store("whole", ".vexfs");
		flip(&f, "catalog.db-wal", at);
		cr_expect(fsck_tells() || at >= size - 3 * (4096 + 24), "byte %ld", at);
		if (fix_try(&f)) {
			cr_expect(strstr(f.problem.text, "catalog.db"), "%s",
				  f.problem.text);
			continue;
		}
		n = whole_lists(acked);
		cr_expect(n == LISTS || strstr(f.problem.text, "catalog.db-wal: ") ||
			      at >= size - 3 * (4096 + 24),
			  "byte %ld of %ld, %lu left: \"%s\"", at, size, (unsigned long)n,
			  f.problem.text);
		fix_close(&f);
	}
}

/* What a kill leaves at its end is no damage. */
Test(crash, an_end_of_the_wal_in_part)
{
	struct acked *acked = shared_memory();
	long size;

	leave_a_wal(acked);
	size = file_size(&f, "catalog.db-wal");
	copy_store(".vexfs", "whole");
	for (long less = 1; less < 9000; less += 1499) {
		copy_store("whole", ".vexfs");
		cut(&f, "catalog.db-wal", size - less);
		cr_expect_not(fsck_tells());
		fix_open(&f);
		cr_expect_str_eq(f.problem.text, "");
		cr_expect_geq(whole_lists(acked), LISTS - 2);
		fix_close(&f);
	}
}

/* ---- power loss ---------------------------------------------------------- */

/* A child syncs after `synced` lists, goes on to `n`, and dies. */
static void die_after(struct acked *acked, uint64_t synced, uint64_t n, bool replace)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct vex_space *a;

		f.opts.sync_interval_ms = 3600 * 1000;
		fix_open(&f);
		a = new_space(&f, "a", DIM);
		for (uint64_t i = 0; i < n; i++) {
			if (i == synced && vex_store_sync(f.s, true))
				_exit(1);
			acked->node[i] = replace && i >= synced ? acked->node[i - synced]
								: new_file(&f);
			if (put(&f, a, acked->node[i], "", i, 1))
				_exit(1);
		}
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* As if the machine had been started anew. */
static void other_boot(void)
{
	char path[160], text[512];
	int fd;
	ssize_t n;
	char *boot;

	snprintf(path, sizeof(path), "%s/.vexfs/lock", f.dir);
	fd = open(path, O_RDWR);
	n = pread(fd, text, sizeof(text) - 1, 0);
	cr_assert_gt(n, 0);
	text[n] = 0;
	boot = strstr(text, "boot ");
	cr_assert(boot);
	boot[5] ^= 1;
	cr_assert_eq(pwrite(fd, text, (size_t)n, 0), n);
	close(fd);
}

/* The rows of slots from..to never reached the device. */
static void lose_rows(uint64_t from, uint64_t to)
{
	char path[160];
	char zero[DIM * 4] = { 0 };
	int fd;

	snprintf(path, sizeof(path), "%s/.vexfs/spaces/1.rows", f.dir);
	fd = open(path, O_WRONLY);
	for (uint64_t i = from; i < to; i++)
		cr_assert_eq(
		    pwrite(fd, zero, sizeof(zero), (off_t)(4096 + i * sizeof(zero))),
		    (ssize_t)sizeof(zero));
	close(fd);
}

Test(crash, power_loss_goes_back_to_the_last_sync)
{
	struct acked *acked = shared_memory();
	struct vex_space *a;
	struct vex_store_status st;

	/* Attachments replaced after the sync: the old rows must come back. */
	die_after(acked, 20, 40, true);
	lose_rows(30, 31);
	other_boot();
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	a = get_space(&f, "a");
	for (uint64_t i = 0; i < 20; i++)
		cr_expect_eq(holds(&f, a, acked->node[i], "", i, 1), 0, "%lu", i);
	vex_store_status(f.s, &st);
	cr_expect_eq(st.attachments, 20u);
	cr_expect_eq(st.damaged, 0u);
	/* And it goes on, with numbers never given before. */
	cr_expect_eq(put(&f, a, acked->node[3], "", 99, 1), 0);
	vex_store_status(f.s, &st);
	cr_expect_gt(st.lsn, 41u);
	vex_space_unref(a);
	fix_close(&f);
	fix_open(&f);
	a = get_space(&f, "a");
	cr_expect_eq(holds(&f, a, acked->node[3], "", 99, 1), 0);
	cr_expect_eq(holds(&f, a, acked->node[4], "", 4, 1), 0);
	vex_space_unref(a);
}

Test(crash, power_loss_that_lost_nothing)
{
	struct acked *acked = shared_memory();
	struct vex_space *a;

	die_after(acked, 20, 40, true);
	other_boot();
	fix_open(&f);
	a = get_space(&f, "a");
	for (uint64_t i = 0; i < 20; i++)
		cr_expect_eq(holds(&f, a, acked->node[i], "", i + 20, 1), 0);
	vex_space_unref(a);
}

Test(crash, rows_lost_before_any_sync)
{
	struct acked *acked = shared_memory();
	struct vex_store_status st;

	die_after(acked, 1000, 40, false);
	lose_rows(0, 40);
	other_boot();
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	vex_store_status(f.s, &st);
	cr_expect_eq(st.attachments, 0u);
	cr_expect_eq(st.nodes, 0u);
}

Test(crash, without_power_loss_lost_rows_are_damage)
{
	struct acked *acked = shared_memory();
	struct vex_space *a;
	struct vex_store_status st;

	die_after(acked, 20, 40, false);
	lose_rows(30, 31);
	fix_open(&f);
	cr_expect(strstr(f.problem.text, "spaces/1.rows: slot 30"), "%s", f.problem.text);
	a = get_space(&f, "a");
	vex_store_status(f.s, &st);
	cr_expect_eq(st.attachments, 40u);
	cr_expect_eq(st.damaged, 1u);
	cr_expect_eq(holds(&f, a, acked->node[30], "", 30, 1), -EIO);
	cr_expect_eq(holds(&f, a, acked->node[31], "", 31, 1), 0);
	vex_space_unref(a);
}

Test(crash, power_loss_after_a_checkpoint)
{
	struct acked *acked = shared_memory();
	struct vex_space *a;
	struct vex_store_status st;
	int status;
	pid_t pid = fork();

	if (!pid) {
		/* Enough frames (some 12 a round) that the sync checkpoints, too few that
		 * the writer does so by itself; then a WAL begun anew. */
		f.opts.sync_interval_ms = 3600 * 1000;
		fix_open(&f);
		a = new_space(&f, "a", DIM);
		for (uint64_t i = 0; i < 400; i++) {
			acked->node[i] = new_file(&f);
			if (put(&f, a, acked->node[i], "", i, 1))
				_exit(1);
			if (i == 299 && vex_store_sync(f.s, false))
				_exit(1);
		}
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	lose_rows(390, 391);
	other_boot();
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	a = get_space(&f, "a");
	vex_store_status(f.s, &st);
	cr_expect_eq(st.attachments, 300u);
	cr_expect_eq(st.damaged, 0u);
	for (uint64_t i = 0; i < 300; i++)
		cr_assert_eq(holds(&f, a, acked->node[i], "", i, 1), 0, "%lu", i);
	vex_space_unref(a);
}
