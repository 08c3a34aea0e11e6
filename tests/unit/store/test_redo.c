/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small syncs: one flush, and what they promise. A power loss is played by a child that
 * dies and slot files that go back to what they were at their last flush.
 */
#include "fixture.h"
#include "inject.h"
#include "store_i.h"
#include <sys/mman.h>
#include <sys/wait.h>

static struct fix f;

static void begin(void)
{
	fix_begin(&f);
	f.opts.sync_interval_ms = 3600 * 1000;
}

static void end(void)
{
	fix_end(&f);
}

TestSuite(redo, .init = begin, .fini = end, .timeout = 120);

#define SPACES 3
#define FILES 12
#define NONE UINT64_MAX

static const char *const names[SPACES] = { "a", "b", "c" };

/* What the child was told is durable: the value of each file in each space. */
struct promise {
	uint64_t node[FILES], v[SPACES][FILES];
	uint64_t end[SPACES][FILES]; /* and what it did afterwards */
	uint32_t syncs;
};

static struct promise *shared_memory(void)
{
	void *p = mmap(NULL, sizeof(struct promise), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED);
	return p;
}

static void other_boot(void)
{
	char path[160], text[512];
	AUTO_CLOSE int fd = -1;
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
}

static void run_shell(const char *command)
{
	char text[400];

	snprintf(text, sizeof(text), "cd %s && %s", f.dir, command);
	cr_assert_eq(system(text), 0, "%s", text);
}

/* The device: slot files as they were when they were flushed. */
static void to_device(int fd)
{
	char link[64], path[200], to[300], command[1200];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	if (!strstr(path, ".rows") && !strstr(path, ".recs"))
		return;
	snprintf(to, sizeof(to), "%s/flushed/%s", f.dir, strrchr(path, '/') + 1);
	snprintf(command, sizeof(command), "cp %s %s.new && mv %s.new %s", path, to, to,
		 to);
	if (system(command))
		_exit(9);
}

/* Random changes with small syncs among them, and some whole ones. */
static void work(struct promise *p, uint64_t seed, unsigned ops, bool tail)
{
	uint64_t now[SPACES][FILES];
	struct vex_space *sp[SPACES];

	run_shell("mkdir flushed");
	inject_flushed = to_device;
	fix_open(&f);
	memset(now, 0xff, sizeof(now));
	for (int k = 0; k < SPACES; k++)
		sp[k] = new_space(&f, names[k], 4u + (uint32_t)k);
	for (int i = 0; i < FILES; i++)
		p->node[i] = new_file(&f);
	if (vex_store_sync(f.s, true))
		_exit(1);
	for (unsigned op = 1; op <= ops; op++) {
		int k = (int)(rnd(&seed) % SPACES), i = (int)(rnd(&seed) % FILES);
		uint64_t v = rnd(&seed) % 1000;
		bool last = op == ops && !tail;

		if (now[k][i] != NONE && rnd(&seed) % 4 == 0) {
			if (delete (&f, sp[k], p->node[i], "k"))
				_exit(2);
			now[k][i] = NONE;
		} else {
			if (put(&f, sp[k], p->node[i], "k", v, 1 + v % 3))
				_exit(3);
			now[k][i] = v;
		}
		memcpy(p->end, now, sizeof(now));
		if (!last && rnd(&seed) % 5)
			continue;
		if (vex_store_sync(f.s, !last && rnd(&seed) % 12 == 0))
			_exit(4);
		memcpy(p->v, now, sizeof(now));
		p->syncs++;
	}
	_exit(0);
}

static void dies(struct promise *p, uint64_t seed, unsigned ops, bool tail)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		work(p, seed, ops, tail);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status), "child: %x", status);
}

static vex_err count(void *arg, const struct vex_finding *x)
{
	fprintf(stderr, "%s\n", x->text);
	++*(unsigned *)arg;
	return 0;
}

static void fsck_finds_nothing(void)
{
	struct vex_check_counts n;
	struct vex_problem p;
	struct vex_check *c;
	unsigned findings = 0;

	cr_assert_eq(vex_check_open(f.rootfd, &c, &p), 0, "%s", p.text);
	cr_expect_eq(vex_check_run(c, count, &findings, &n), 0);
	vex_check_close(c);
	cr_expect_eq(findings, 0u);
}

static bool all_hold(const struct promise *p, const uint64_t want[SPACES][FILES])
{
	bool all = true;

	for (int k = 0; k < SPACES; k++) {
		AUTO_SPACE struct vex_space *sp = get_space(&f, names[k]);

		for (int i = 0; i < FILES; i++) {
			uint64_t v = want[k][i];
			vex_err err =
			    holds(&f, sp, p->node[i], "k", v, (uint32_t)(1 + v % 3));

			if (err == (v == NONE ? -ENODATA : 0))
				continue;
			fprintf(stderr, "space %s, file %d, value %ld: %d\n", names[k], i,
				(long)v, err);
			all = false;
		}
	}
	return all;
}

/* What was synced, or that and all that came after: nothing between. */
static void promise_is_kept(const struct promise *p)
{
	cr_expect(all_hold(p, p->v) || all_hold(p, p->end));
}

/* Everything since the last flush of slot files is lost from them. */
static void power_loss(uint64_t seed, bool tail)
{
	struct promise *p = shared_memory();
	struct vex_store_status st;

	dies(p, seed, 30 + (unsigned)(rnd(&seed) % 120), tail);
	run_shell("rm -r .vexfs/spaces && mv flushed .vexfs/spaces");
	other_boot();
	/* Changes after the last sync named rows that are gone: it goes back, at open. */
	if (!tail)
		fsck_finds_nothing();
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	promise_is_kept(p);
	vex_store_status(f.s, &st);
	cr_expect_eq(st.damaged, 0u);
	fix_close(&f);
	fsck_finds_nothing();
	fix_open(&f);
	promise_is_kept(p);
	fix_close(&f);
	munmap(p, sizeof(*p));
}

Test(redo, a_power_loss_takes_back_nothing_that_was_synced)
{
	uint64_t seed = seed_from_env();

	for (int round = 0; round < 6; round++) {
		fprintf(stderr, "round %d, VEX_SEED=%llu\n", round,
			(unsigned long long)seed);
		power_loss(seed, round & 1);
		rnd(&seed);
		fix_end(&f);
		begin();
	}
}

/* A daemon that is killed loses nothing, and entries of slots used again since are not
 * taken for what is there now. */
Test(redo, after_a_kill_slots_are_as_they_were)
{
	uint64_t seed = seed_from_env();
	struct promise *p = shared_memory();

	dies(p, seed, 400, false);
	fsck_finds_nothing();
	fix_open(&f);
	cr_expect_str_eq(f.problem.text, "");
	promise_is_kept(p);
}

static struct vex_store_status status(void)
{
	struct vex_store_status st;

	vex_store_status(f.s, &st);
	return st;
}

Test(redo, one_flush_whatever_the_spaces)
{
	struct vex_space *sp[SPACES];
	int before;

	fix_open(&f);
	for (int k = 0; k < SPACES; k++)
		sp[k] = new_space(&f, names[k], 100);
	for (int round = 0; round < 5; round++) {
		for (int k = 0; k < SPACES; k++)
			cr_assert_eq(put(&f, sp[k], new_file(&f), "", 1, 2), 0);
		before = count_syncs;
		cr_expect_eq(vex_store_sync(f.s, false), 0);
		cr_expect_eq(count_syncs - before, 1);
		cr_expect_eq(status().durable_lsn, status().lsn);
	}
	for (int k = 0; k < SPACES; k++)
		vex_space_unref(sp[k]);
}

/* Much at once is flushed as a whole, and so is the table when it has grown. */
Test(redo, what_is_too_much_is_flushed)
{
	struct vex_space *sp;
	uint64_t node;
	int before, larger = 0;

	fix_open(&f);
	sp = new_space(&f, "a", 1024);
	node = new_file(&f);
	for (unsigned i = 0; i < 300; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%u", i);
		cr_assert_eq(put(&f, sp, node, key, i, 1), 0);
	}
	before = count_syncs;
	cr_expect_eq(vex_store_sync(f.s, false), 0);
	cr_expect_eq(count_syncs - before, 3, "rows, records, the WAL");
	for (unsigned i = 0; i < 3000; i++) {
		cr_assert_eq(put(&f, sp, node, "x", i, 1), 0);
		before = count_syncs;
		cr_assert_eq(vex_store_sync(f.s, false), 0);
		larger += count_syncs - before > 1;
	}
	/* Some 2,000 such rows fill the table; the WAL's checkpoints flush as well. */
	cr_expect_geq(larger, 1);
	cr_expect_leq(larger, 60, "%d of 3000 syncs", larger);
	vex_space_unref(sp);
	fix_close(&f);
	fix_open(&f);
	cr_expect_eq(holds(&f, sp = get_space(&f, "a"), node, "x", 2999, 1), 0);
	vex_space_unref(sp);
	cr_expect_lt(file_size(&f, "catalog.db"), 16 << 20);
}

/* The timer empties the table although nothing has changed since. */
Test(redo, the_timer_empties_it)
{
	struct vex_space *sp;

	fix_open(&f);
	sp = new_space(&f, "a", DIM);
	cr_assert_eq(put(&f, sp, new_file(&f), "", 1, 1), 0);
	cr_assert_eq(vex_store_sync(f.s, false), 0);
	cr_expect_gt(atomic_load(&f.s->redo_kept), 0u);
	vex_store_tune(f.s, VEX_SYNC_LAZY, 20);
	for (int i = 0; i < 3000 && atomic_load(&f.s->redo_kept); i++)
		usleep(10000);
	cr_expect_eq(atomic_load(&f.s->redo_kept), 0u);
	vex_space_unref(sp);
}
