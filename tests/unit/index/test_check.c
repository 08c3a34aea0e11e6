/* SPDX-License-Identifier: Apache-2.0 */
/* The validator of index files: what it finds in sound ones, in damaged ones, and in ones
 * whose sums are right and whose links are not. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vexfs/index.h>
#include "format.h"

TestSuite(index_file, .timeout = 60, .init = vex_kernel_init);

enum { DIM = 16, N = 700, M = 6 };

/* A graph of N rows, saved. */
static FILE *saved(void)
{
	struct vex_hnsw_opts o = { VEX_L2, 0, DIM, M, 60, 7 };
	FILE *file = tmpfile();
	struct vex_hnsw *h;
	unsigned seed = 5;
	float v[DIM];

	cr_assert_eq(vex_hnsw_new(&o, &h), 0);
	for (uint32_t i = 0; i < N; i++) {
		for (int j = 0; j < DIM; j++)
			v[j] = (float)rand_r(&seed) / (float)RAND_MAX;
		cr_assert_eq(vex_hnsw_insert(h, i, v), 0);
	}
	cr_assert_eq(vex_hnsw_connect(h), 0);
	cr_assert_eq(vex_hnsw_save(h, fileno(file), 3, 99), 0);
	vex_hnsw_free(h);
	return file;
}

static void get(FILE *f, void *to, size_t n, uint64_t at)
{
	cr_assert_eq(pread(fileno(f), to, n, (off_t)at), (ssize_t)n);
}

static void put(FILE *f, const void *from, size_t n, uint64_t at)
{
	cr_assert_eq(pwrite(fileno(f), from, n, (off_t)at), (ssize_t)n);
}

/* Changes a number of a section and sets the sums right. */
static void forge(FILE *f, unsigned section, uint64_t at, uint32_t value)
{
	struct hnsw_header d;
	uint8_t *bytes;

	get(f, &d, sizeof(d), 0);
	put(f, &value, sizeof(value), d.section[section].offset + at);
	bytes = malloc(d.section[section].bytes);
	get(f, bytes, d.section[section].bytes, d.section[section].offset);
	d.section[section].sum = vex_sum64(0, bytes, d.section[section].bytes);
	d.sum = vex_sum64(0, &d, offsetof(struct hnsw_header, sum));
	put(f, &d, sizeof(d), 0);
	free(bytes);
}

static struct vex_index_file check(FILE *f)
{
	struct vex_index_file x;

	cr_assert_eq(vex_index_check(fileno(f), &x), 0);
	return x;
}

Test(index_file, a_sound_one_has_no_flaws)
{
	FILE *f = saved();
	struct vex_index_file x = check(f);

	cr_assert_eq(x.space, 3);
	cr_assert_eq(x.dim, DIM);
	cr_assert_eq(x.lsn, 99);
	cr_assert_eq(x.nodes, N);
	cr_assert_geq(x.slots, N);
	cr_assert_eq(x.flaws.links + x.flaws.unreachable + x.flaws.entry, 0);
	fclose(f);
}

Test(index_file, every_damaged_byte_is_found)
{
	struct vex_index_file x;
	struct hnsw_header d;
	FILE *f = saved();

	get(f, &d, sizeof(d), 0);
	for (unsigned i = 0; i <= HNSW_SECTIONS; i++) {
		uint64_t at = i ? d.section[i - 1].offset + 17 : 24;
		uint8_t was, bad;

		get(f, &was, 1, at);
		bad = was ^ 4;
		put(f, &bad, 1, at);
		cr_assert_eq(vex_index_check(fileno(f), &x), -EUCLEAN, "part %u", i);
		put(f, &was, 1, at);
	}
	check(f);
	cr_assert_eq(ftruncate(fileno(f), 8000), 0);
	cr_assert_eq(vex_index_check(fileno(f), &x), -EUCLEAN);
	cr_assert_eq(ftruncate(fileno(f), 0), 0);
	cr_assert_eq(vex_index_check(fileno(f), &x), -EUCLEAN);
	fclose(f);
}

Test(index_file, a_bad_link_is_a_flaw)
{
	const uint32_t bad[] = { N + 100, 5, 0x7fffffff };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		FILE *f = saved();

		forge(f, 1, (uint64_t)5 * 2 * M * 4, bad[i]);
		cr_assert_gt(check(f).flaws.links, 0, "link to %u", bad[i]);
		fclose(f);
	}
}

Test(index_file, a_node_that_is_nowhere_is_a_flaw)
{
	FILE *f = saved();

	/* Every place above layer 0 out of range. */
	for (uint32_t i = 0; i < N; i++)
		forge(f, 2, i * 4ull, 0x40000000);
	cr_assert_gt(check(f).flaws.links, 0);
	fclose(f);
}

Test(index_file, what_nothing_leads_to_is_a_flaw)
{
	FILE *f = saved();
	struct hnsw_header d;

	get(f, &d, sizeof(d), 0);
	/* The entry leads nowhere. */
	forge(f, 1, (uint64_t)(uint32_t)d.entry * 2 * M * 4, UINT32_MAX);
	cr_assert_gt(check(f).flaws.unreachable, N / 2);
	fclose(f);
}
