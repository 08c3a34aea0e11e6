/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element types and metrics through the mount: values byte for byte, conversions, and
 * every search against sums in double over an own reading of the bytes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "mount.h"

#define DIM 19u
#define FILES 70u
#define K 12u

static struct vmount m;
static int C = -1;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, NULL);
	C = open(vm_at(&m, VEXFS_CONTROL), O_RDWR | O_CLOEXEC);
	cr_assert_geq(C, 0);
}

static void down(void)
{
	close(C);
	vm_free(&m);
}

TestSuite(types, .init = up, .fini = down, .timeout = 120);

static const char *const type_names[] = { "f32", "f16", "i8", "i16", "bit" };
static const char *const metric_names[] = { "cosine", "l2",      "ip",
					    "l1",     "hamming", "jaccard" };

struct kind {
	uint32_t type, metric;
	double scale;
	char name[VEXFS_NAME_LEN];
};

static int make(struct kind *k)
{
	struct vexfs_space s = {
		.dim = DIM, .metric = k->metric, .type = k->type, .scale = k->scale
	};

	snprintf(k->name, sizeof(k->name), "%s-%s%s", type_names[k->type],
		 metric_names[k->metric], k->scale > 0 ? "-s" : "");
	memcpy(s.name, k->name, sizeof(s.name));
	return ioctl(C, VEXFS_IOC_SPACE_CREATE, &s) ? errno : 0;
}

static bool goes(uint32_t type, uint32_t metric)
{
	return (type == VEXFS_BIT) == (metric >= VEXFS_HAMMING);
}

static size_t row_bytes(uint32_t type)
{
	static const size_t bytes[] = { 4, 2, 1, 2 };

	return type == VEXFS_BIT ? (DIM + 7) / 8 : bytes[type] * DIM;
}

/* Random bytes that are a row: halves and floats finite. */
static void random_row(uint32_t type, uint64_t *seed, uint8_t *row)
{
	for (uint32_t i = 0; i < row_bytes(type); i++)
		row[i] = (uint8_t)(vm_rand(seed) >> 13);
	for (uint32_t i = 0; i < DIM && type == VEXFS_F32; i++) {
		float v =
		    (float)((double)(vm_rand(seed) >> 12) / (double)(1ull << 52)) - 0.5f;

		memcpy(row + 4 * i, &v, 4);
	}
	for (uint32_t i = 0; i < DIM && type == VEXFS_F16; i++)
		row[2 * i + 1] =
		    (uint8_t)(row[2 * i + 1] & 0x80) | 0x34 | (row[2 * i + 1] & 0x0b);
	row[0] = 0x81; /* never text */
}

static double half(const uint8_t *p)
{
	uint32_t h = p[0] | (uint32_t)p[1] << 8, e = h >> 10 & 31;
	double v = e ? ldexp(1024 + (h & 1023), (int)e - 25) : ldexp(h & 1023, -24);

	return h & 0x8000 ? -v : v;
}

static double element(const struct kind *k, const uint8_t *row, uint32_t i)
{
	double scale = k->scale > 0 ? k->scale : 1;
	float f;

	switch (k->type) {
	case VEXFS_F16:
		return half(row + 2 * i);
	case VEXFS_I8:
		return (int8_t)row[i] * scale;
	case VEXFS_I16:
		return (int16_t)(row[2 * i] | row[2 * i + 1] << 8) * scale;
	case VEXFS_BIT:
		return row[i / 8] >> i % 8 & 1;
	default:
		memcpy(&f, row + 4 * i, 4);
		return f;
	}
}

static double distance(const struct kind *k, const float *q, const uint8_t *row)
{
	double dot = 0, qq = 0, vv = 0, l1 = 0, l2 = 0;

	for (uint32_t i = 0; i < DIM; i++) {
		double x = k->type == VEXFS_BIT ? q[i] > 0 : (double)q[i];
		double y = element(k, row, i);

		dot += x * y;
		qq += x * x;
		vv += y * y;
		l1 += fabs(x - y);
		l2 += (x - y) * (x - y);
	}
	switch (k->metric) {
	case VEXFS_COSINE:
		return 1 - dot / sqrt(qq * vv);
	case VEXFS_L2:
		return sqrt(l2);
	case VEXFS_IP:
		return -dot;
	case VEXFS_JACCARD:
		return qq + vv > 0 ? 1 - dot / (qq + vv - dot) : 0;
	default: /* of bits, l1 is hamming */
		return l1;
	}
}

static int up_by(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static const char *file(unsigned i)
{
	return vm_at(&m, "f%u", i);
}

static void attach_all(const struct kind *k, uint64_t *seed, uint8_t *rows)
{
	char name[96], got[4 * DIM];
	size_t n = row_bytes(k->type);

	snprintf(name, sizeof(name), VEXFS_XATTR "%s", k->name);
	for (unsigned i = 0; i < FILES; i++) {
		random_row(k->type, seed, rows + i * n);
		cr_assert_eq(setxattr(file(i), name, rows + i * n, n, 0), 0, "%s: %s",
			     k->name, strerror(errno));
		cr_assert_eq(getxattr(file(i), name, got, sizeof(got)), (ssize_t)n);
		cr_assert_eq(memcmp(got, rows + i * n, n), 0, "%s", k->name);
	}
}

/* K nearest to q: the distances, in order; each that of the file it names. */
static void search(const struct kind *k, const float *q, const uint8_t *rows)
{
	struct vexfs_search *s = calloc(1, sizeof(*s));
	size_t n = row_bytes(k->type);
	double want[FILES];
	uint32_t at = 0;

	for (unsigned i = 0; i < FILES; i++)
		want[i] = distance(k, q, rows + i * n);
	s->k = K;
	s->dim = DIM;
	memcpy(s->space, k->name, sizeof(s->space));
	memcpy(s->data, q, DIM * sizeof(*q));
	cr_assert_eq(ioctl(C, VEXFS_IOC_SEARCH, s), 0, "%s", k->name);
	cr_assert_eq(s->hits, K);
	cr_assert_eq(s->metric, k->metric);
	cr_assert_str_eq(s->plan, "exact");
	for (uint32_t i = 0; i < K; i++) {
		const struct vexfs_hit *h = (const void *)(s->data + at);
		double mine = want[atoi(vexfs_hit_path(h) + 1)];

		cr_assert_leq(fabs(h->distance - mine),
			      2e-7 * (fabs(mine) + (k->metric == VEXFS_IP ? 1e3 : 1)),
			      "%s: %s at %.9g, not %.9g", k->name, vexfs_hit_path(h),
			      h->distance, mine);
		at += h->size;
	}
	qsort(want, FILES, sizeof(*want), up_by);
	at = 0;
	for (uint32_t i = 0; i < K; i++) {
		const struct vexfs_hit *h = (const void *)(s->data + at);

		cr_assert_leq(fabs(h->distance - want[i]),
			      2e-7 * (fabs(want[i]) + (k->metric == VEXFS_IP ? 1e3 : 1)),
			      "%s: hit %u at %.9g, not %.9g", k->name, i, h->distance,
			      want[i]);
		at += h->size;
	}
	free(s);
}

static void try_kind(struct kind k, uint64_t *seed)
{
	static uint8_t rows[FILES * 4 * DIM];
	float q[DIM];

	cr_assert_eq(make(&k), 0, "%s", k.name);
	attach_all(&k, seed, rows);
	for (int round = 0; round < 3; round++) {
		float spread = k.type == VEXFS_I8 ? 100 : k.type == VEXFS_I16 ? 20000 : 1;

		if (k.scale > 0)
			spread *= (float)k.scale;
		for (uint32_t i = 0; i < DIM; i++)
			q[i] = ((float)(vm_rand(seed) >> 40) / (float)(1 << 23) - 1) *
			       spread;
		search(&k, q, rows);
	}
}

Test(types, searches_equal_sums_in_double)
{
	uint64_t seed = vm_seed();

	for (unsigned i = 0; i < FILES; i++)
		vm_puts(file(i), "x");
	for (uint32_t t = VEXFS_F32; t <= VEXFS_BIT; t++)
		for (uint32_t d = VEXFS_COSINE; d <= VEXFS_JACCARD; d++) {
			if (!goes(t, d))
				continue;
			try_kind((struct kind){ .type = t, .metric = d }, &seed);
			if (t == VEXFS_I8 || t == VEXFS_I16)
				try_kind((struct kind){ t, d, 0.037, "" }, &seed);
		}
}

Test(types, what_cannot_be_made)
{
	static const double scales[] = { -1, 0.0 / 0.0, 1.0 / 0.0, 1e-40, 1e38 };
	struct vexfs_last_error e = { 0 };

	for (uint32_t t = VEXFS_F32; t <= VEXFS_BIT; t++)
		for (uint32_t d = VEXFS_COSINE; d <= VEXFS_JACCARD; d++)
			if (!goes(t, d)) {
				struct kind k = { .type = t, .metric = d };

				cr_assert_eq(make(&k), EINVAL, "%s", k.name);
				cr_assert_eq(ioctl(C, VEXFS_IOC_LAST_ERROR, &e), 0);
				cr_assert(strstr(e.text, metric_names[d]) &&
					      strstr(e.text, type_names[t]),
					  "%s", e.text);
			}
	for (size_t i = 0; i < sizeof(scales) / sizeof(*scales); i++)
		cr_assert_eq(make(&(struct kind){ VEXFS_I16, VEXFS_L2, scales[i], "" }),
			     EINVAL);
	cr_assert_eq(make(&(struct kind){ VEXFS_F16, VEXFS_L2, 1, "" }), EINVAL);
	cr_assert_eq(make(&(struct kind){ VEXFS_BIT, VEXFS_HAMMING, 1, "" }), EINVAL);
}

static int set(const char *attr, const void *v, size_t n)
{
	char name[96];

	snprintf(name, sizeof(name), VEXFS_XATTR "%s", attr);
	return setxattr(file(0), name, v, n, 0) ? errno : 0;
}

Test(types, values_that_are_none)
{
	struct kind h = { VEXFS_F16, VEXFS_COSINE, 0, "" };
	struct kind i = { VEXFS_I8, VEXFS_COSINE, 0, "" };
	struct kind b = { VEXFS_BIT, VEXFS_JACCARD, 0, "" };
	uint16_t inf[DIM] = { 0x3c00, 0xfc00 }, nan[DIM] = { 0x3c00, 0x7c01 };
	uint8_t zero[2 * DIM] = { 0 };

	vm_puts(file(0), "x");
	cr_assert_eq(make(&h) | make(&i) | make(&b), 0);
	cr_expect_eq(set(h.name, inf, sizeof(inf)), EINVAL);
	cr_expect_eq(set(h.name, nan, sizeof(nan)), EINVAL);
	cr_expect_eq(set(h.name, zero, 2 * DIM), EINVAL);
	cr_expect_eq(set(i.name, zero, DIM), EINVAL);
	cr_expect_eq(set(i.name, "\1", 1), EINVAL);
	cr_expect_eq(set(i.name, "[1,2,3]", 7), EINVAL);
	cr_expect_eq(set(i.name, "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,128]", 41),
		     EINVAL);
	cr_expect_eq(set(i.name, "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,127]", 41), 0);
	cr_expect_eq(set(b.name, zero, 2), EINVAL);
	cr_expect_eq(set(b.name, zero, 3), 0);
	cr_expect_eq(set(b.name, "[1,2,3]", 7), EINVAL);
}

/* A copy inside the mount, by tools that know nothing of us, and over a restart. */
Test(types, copies)
{
	struct kind k[] = { { VEXFS_F16, VEXFS_L1, 0, "" },
			    { VEXFS_I8, VEXFS_IP, 0.5, "" },
			    { VEXFS_I16, VEXFS_L2, 0, "" },
			    { VEXFS_BIT, VEXFS_HAMMING, 0, "" } };
	static uint8_t rows[FILES * 4 * DIM];
	uint64_t seed = vm_seed();

	for (unsigned i = 0; i < FILES; i++)
		vm_puts(file(i), "x");
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(make(&k[i]), 0);
		attach_all(&k[i], &seed, rows);
	}
	cr_assert_eq(set(k[1].name, "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,63.5]", 42), 0);
	close(C);
	C = -1;
	vm_remount(&m, NULL);
	cr_assert_eq(vm_sh(&m, 60, "mkdir $M/c && cp -a $M/f* $M/c"), 0);
	cr_assert_eq(vm_sh(&m, 60,
			   "cd $M && getfattr -d -e hex f* > $P/1 && cd c && "
			   "getfattr -d -e hex f* > $P/2 && cmp $P/1 $P/2 && "
			   "test $(grep -c ^user.vexfs $P/1) = %u",
			   4 * FILES),
		     0);
	if (vm_sh(&m, 5, "command -v rsync > $P/3"))
		return;
	cr_assert_eq(vm_sh(&m, 60,
			   "rsync -aX $M/c/ $M/r && cd $M/r && getfattr -d -e hex f* > "
			   "$P/2 && cmp $P/1 $P/2"),
		     0);
}

/* A file's own rows, as they are: it is at 0 from its copies, whatever was rounded. */
Test(types, like_and_near)
{
	struct kind k = { VEXFS_I8, VEXFS_L2, 0.037, "" };
	static uint8_t rows[FILES * 4 * DIM];
	uint64_t seed = vm_seed();
	char *out;

	for (unsigned i = 0; i < FILES; i++)
		vm_puts(file(i), "x");
	cr_assert_eq(make(&k), 0);
	attach_all(&k, &seed, rows);
	cr_assert_eq(vm_sh(&m, 30, "cp -a $M/f3 $M/copy"), 0);
	cr_assert_eq(vm_sh_out(&m, 30, &out, "$B/vexctl -m $M search -k 1 --like f3"), 0);
	cr_assert_str_eq(out, "0\tcopy\n");
	cr_assert_eq(vm_sh_out(&m, 30, &out,
			       "getfattr --only-values -n user.vexfs._near.%s.1 $M/f3",
			       k.name),
		     0);
	cr_assert_str_eq(out, "0\tcopy\n");
}
