/* SPDX-License-Identifier: Apache-2.0 */
/* Export: order, resuming, who sees what, damage. */
#include "attach_fixture.h"

TestSuite(export, .timeout = 120, .init = af_up, .fini = af_down);

struct seen {
	unsigned n, limit;
	char paths[1000][64];
	float first[1000];
	uint32_t rows[1000];
	char key[1000][16];
};

static int see(void *arg, const struct vex_exported *x)
{
	struct seen *s = arg;

	if (s->limit && s->n >= s->limit)
		return 1;
	cr_assert_lt(s->n, 1000);
	snprintf(s->paths[s->n], sizeof(s->paths[0]), "%s", x->path);
	snprintf(s->key[s->n], sizeof(s->key[0]), "%s", x->key);
	s->first[s->n] = x->rows[0];
	s->rows[s->n] = x->nrows;
	s->n++;
	return 0;
}

static vex_err run(const struct vex_cred *c, uint64_t *after, struct seen *s)
{
	return vex_engine_export(eng, c, "w", after, see, s);
}

static struct seen all, part;

Test(export, order_paths_and_rows)
{
	uint64_t after = 0;

	mkdirat(af_root, "d", 0755);
	af_write("a", "x");
	af_write("d/b", "x");
	cr_assert_eq(run(&af_uid0, &after, &all), -ENODEV);
	cr_assert_eq(af_set_text("d/b", "w", "2 0"), 0);
	cr_assert_eq(af_set_text("a", "w.k", "3 0\n4 0"), 0);
	cr_assert_eq(af_set_text("d", "w", "5 0"), 0);
	cr_assert_eq(af_set_text("d/b", "w", "6 0"), 0);
	cr_assert_eq(renameat(af_root, "d", af_root, "e"), 0);
	cr_assert_eq(run(&af_uid0, &after, &all), 0);
	cr_assert_eq(all.n, 3);
	cr_assert_str_eq(all.paths[0], "a");
	cr_assert_str_eq(all.key[0], "k");
	cr_assert_eq(all.rows[0], 2);
	cr_assert_eq(all.first[0], 3);
	cr_assert_str_eq(all.paths[1], "e");
	cr_assert_eq(all.first[1], 5);
	cr_assert_str_eq(all.paths[2], "e/b");
	cr_assert_eq(all.first[2], 6);
	cr_assert_eq(run(&af_uid0, &after, &all), 0);
	cr_assert_eq(all.n, 3);
}

static void make_files(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char name[32], value[32];

		snprintf(name, sizeof(name), "f%u", i);
		snprintf(value, sizeof(value), "%u 1", i + 1);
		af_write(name, "x");
		cr_assert_eq(af_set_text(name, "w", value), 0);
	}
}

Test(export, goes_on_where_it_stopped)
{
	uint64_t after = 0;

	make_files(300);
	cr_assert_eq(run(&af_uid0, &after, &all), 0);
	cr_assert_eq(all.n, 300);
	after = 0;
	for (part.limit = 7; part.n < 300; part.limit += 7) {
		unsigned before = part.n;

		cr_assert_eq(run(&af_uid0, &after, &part), 0);
		cr_assert_gt(part.n, before);
	}
	for (unsigned i = 0; i < 300; i++) {
		cr_assert_str_eq(part.paths[i], all.paths[i]);
		cr_assert_eq(part.first[i], (float)i + 1);
	}
}

Test(export, only_what_the_caller_may_read)
{
	uint64_t after = 0;

	make_files(4);
	mkdirat(af_root, "shut", 0700);
	cr_assert_eq(renameat(af_root, "f1", af_root, "shut/f1"), 0);
	cr_assert_eq(fchmodat(af_root, "f2", 0600, 0), 0);
	cr_assert_eq(unlinkat(af_root, "f3", 0), 0);
	cr_assert_eq(run(&af_nobody, &after, &all), 0);
	cr_assert_eq(all.n, 1);
	cr_assert_str_eq(all.paths[0], "f0");
	after = 0;
	cr_assert_eq(run(&af_uid0, &after, &part), 0);
	cr_assert_eq(part.n, 3);
}
