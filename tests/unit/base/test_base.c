/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers, JSON strings, handles, the worker pool. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <vexfs/base.h>

TestSuite(base, .timeout = 60);

static void json_is(const char *in, size_t len, const char *want)
{
	AUTO_BUF struct vex_buf b = { 0 };

	vex_buf_json(&b, in, len);
	vex_buf_add(&b, "", 1);
	cr_assert_eq(b.err, 0);
	cr_assert_str_eq(b.data, want);
}

Test(base, json_strings)
{
	json_is("plain", 5, "\"plain\"");
	json_is("a\"b\\c\n\t\r\1", 9, "\"a\\\"b\\\\c\\n\\t\\r\\u0001\"");
	json_is("gr\xc3\xbc\xc3\x9f", 6, "\"gr\xc3\xbc\xc3\x9f\"");
	json_is("\xff\xc3", 2, "\"\\udcff\\udcc3\"");
	json_is("\xed\xa0\x80", 3, "\"\\udced\\udca0\\udc80\""); /* a surrogate */
	json_is("\xc0\xaf", 2, "\"\\udcc0\\udcaf\"");            /* overlong */
	json_is("\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"");
	json_is("\xf4\x90\x80\x80", 4,
		"\"\\udcf4\\udc90\\udc80\\udc80\""); /* past U+10FFFF */
}

Test(base, json_words)
{
	AUTO_BUF struct vex_buf b = { 0 };

	vex_buf_json_words(&b, "gr\xc3\xbc\xff\"\xed\xa0\x80");
	vex_buf_add(&b, "", 1);
	cr_assert_str_eq(b.data, "\"gr\xc3\xbc\\\\xff\\\"\\\\xed\\\\xa0\\\\x80\"");
}

Test(base, buf_cap_sticks)
{
	AUTO_BUF struct vex_buf b = { .cap = 10 };

	vex_buf_str(&b, "12345");
	vex_buf_str(&b, "678901");
	cr_assert_eq(b.err, -EFBIG);
	vex_buf_str(&b, "1");
	cr_assert_eq(b.len, 5);
	cr_assert_eq(b.err, -EFBIG);
}

Test(base, buf_formats)
{
	AUTO_BUF struct vex_buf b = { 0 };

	for (int i = 0; i < 1000; i++)
		vex_buf_fmt(&b, "%d,", i);
	cr_assert_eq(b.err, 0);
	cr_assert_eq(b.len, 3890);
	cr_assert_eq(memcmp(b.data + b.len - 8, "998,999,", 8), 0);
}

Test(base, handles_tell_generations_apart)
{
	char dir[] = "/tmp/vexfs-base-XXXXXX";
	struct vex_fh a, b, c;
	struct stat st;
	AUTO_CLOSE int fd = -1, d = -1, again = -1;

	cr_assert(mkdtemp(dir));
	d = open(dir, O_RDONLY | O_DIRECTORY);
	fd = openat(d, "f", O_CREAT | O_RDWR, 0600);
	cr_assert_eq(vex_fh_get(d, "f", &a, NULL), 0);
	cr_assert_eq(vex_fh_get(fd, "", &b, NULL), 0);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
	cr_assert_eq(vex_fh_get(d, "none", &c, NULL), -ENOENT);
	if (a.len && geteuid() == 0) {
		cr_assert_eq(vex_fh_open(d, &a, O_RDONLY, &again), 0);
		cr_assert(!fstat(again, &st));
	}
	unlinkat(d, "f", 0);
	rmdir(dir);
}

static vex_err add_one(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
	return -EDOM;
}

struct nested {
	struct vex_pool *pool;
	_Atomic int n;
};

static vex_err nest(void *arg)
{
	struct nested *x = arg;

	return vex_pool_call(x->pool, add_one, &x->n);
}

static void *hammer(void *arg)
{
	struct nested *x = arg;

	for (int i = 0; i < 2000; i++)
		if (vex_pool_call(x->pool, i % 2 ? add_one : nest,
				  i % 2 ? (void *)&x->n : x) != -EDOM)
			abort();
	return NULL;
}

Test(base, pool_runs_every_call_once)
{
	struct nested x = { 0 };
	pthread_t t[8];

	cr_assert_eq(vex_pool_new(2, 64, "test", &x.pool), 0);
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, hammer, &x);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	cr_assert_eq(x.n, 16000);
	vex_pool_free(x.pool);
}

static _Atomic int gate;

static vex_err wait_gate(void *arg)
{
	(void)arg;
	while (!gate)
		usleep(1000);
	return 0;
}

static void *call_gate(void *pool)
{
	return (void *)(intptr_t)vex_pool_call(pool, wait_gate, NULL);
}

Test(base, pool_refuses_past_its_cap)
{
	struct vex_pool *p;
	pthread_t t[3];
	_Atomic int n = 0;
	int refused = 0;

	cr_assert_eq(vex_pool_new(1, 1, "test", &p), 0);
	pthread_create(&t[0], NULL, call_gate, p);
	usleep(50000); /* running */
	pthread_create(&t[1], NULL, call_gate, p);
	usleep(50000); /* queued */
	refused = vex_pool_call(p, add_one, (void *)&n);
	gate = 1;
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	cr_assert_eq(refused, -ENOMEM);
	cr_assert_eq(n, 0);
	vex_pool_free(p);
}

Test(base, random_differs)
{
	uint8_t a[16], b[16];

	cr_assert_eq(vex_random(a, 16), 0);
	cr_assert_eq(vex_random(b, 16), 0);
	cr_assert_neq(memcmp(a, b, 16), 0);
}

Test(base, memory_total_is_the_machines_or_less)
{
	uint64_t all =
	    (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t n = vex_memory_total();

	cr_assert_gt(n, 1u << 20);
	cr_assert_leq(n, all);
}
