/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ioctl contract through the mount, with the public header alone: what each call
 * does, each error of SPEC section 5, who may call what, and what any client may throw
 * at it. The daemon lives through all of it: .fini demands a clean end.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "mount.h"

static struct vmount m;
static int C = -1; /* control, read and write */

static void down(void)
{
	struct vexfs_version v = { 0 };

	if (C >= 0)
		cr_expect_eq(ioctl(C, VEXFS_IOC_VERSION, &v), 0, "the daemon lives");
	close(C);
	vm_free(&m);
}

static void up(void)
{
	vm_new(&m);
	vm_up(&m, "allow_other");
	cr_assert_eq(chmod(m.base, 0755) | chmod(m.store, 0755), 0);
	C = open(vm_at(&m, VEXFS_CONTROL), O_RDWR | O_CLOEXEC);
	cr_assert_geq(C, 0);
}

TestSuite(ioctl, .init = up, .fini = down, .timeout = 120);

/* ---- helpers --------------------------------------------------------------------- */

/* 0, or the errno. */
static int io_on(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

static int io(unsigned long cmd, void *arg)
{
	return io_on(C, cmd, arg);
}

static const char *last_error(void)
{
	static struct vexfs_last_error e;

	memset(&e, 0, sizeof(e));
	return io(VEXFS_IOC_LAST_ERROR, &e) ? "?" : e.text;
}

static void attach(const char *path, const char *attr, const char *text)
{
	const char *p = vm_at(&m, "%s", path);
	char name[256];

	if (access(p, F_OK))
		vm_puts(p, "x");
	snprintf(name, sizeof(name), VEXFS_XATTR "%s", attr);
	cr_assert_eq(setxattr(p, name, text, strlen(text), 0), 0, "%s: %s", path,
		     strerror(errno));
}

static struct vexfs_search *query(const char *space, uint32_t k, uint32_t dim,
				  const float *v)
{
	struct vexfs_search *s = calloc(1, sizeof(*s));

	s->k = k;
	s->dim = dim;
	strncpy(s->space, space, sizeof(s->space) - 1);
	if (v)
		memcpy(s->data, v, dim * sizeof(*v));
	return s;
}

static int count(const char *space)
{
	struct vexfs_space sp = { 0 };

	strncpy(sp.name, space, sizeof(sp.name) - 1);
	return io(VEXFS_IOC_SPACE_GET, &sp) ? -1 : (int)sp.attachments;
}

static void item(struct vexfs_items *h, const char *path, const char *attr,
		 const void *value, uint32_t len, uint32_t flags)
{
	struct vexfs_item w = { .flags = flags,
				.path_len = (uint32_t)strlen(path),
				.attr_len = (uint32_t)strlen(attr),
				.value_len = len };
	uint32_t at = vexfs_value_at(w.path_len, w.attr_len);
	uint8_t *p = h->data + h->bytes;

	w.size = vexfs_pad8(at + len);
	cr_assert_leq(h->bytes + w.size, sizeof(h->data));
	memcpy(p, &w, sizeof(w));
	strcpy((char *)p + sizeof(w), path);
	strcpy((char *)p + sizeof(w) + w.path_len + 1, attr);
	if (len)
		memcpy(p + at, value, len);
	h->bytes += w.size;
	h->count++;
}

/* One item, put or deleted: the errno. */
static int one(unsigned long cmd, const char *path, const char *attr, const char *text)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));
	int err;

	item(h, path, attr, text, text ? (uint32_t)strlen(text) : 0, 0);
	err = io(cmd, h);
	free(h);
	return err;
}

static const float zero[2] = { 0, 0 }, ones[2] = { 1, 1 };

/* Three files in "w": a, b, d/c, of growing angle from 1,0. */
static void three(void)
{
	cr_assert_eq(mkdir(vm_at(&m, "d"), 0755), 0);
	attach("a", "w", "1, 0.1");
	attach("b", "w", "1, 0.2");
	attach("d/c", "w.part", "1, 0.3\n1, 0.4");
}

/* ---- calls ----------------------------------------------------------------------- */

Test(ioctl, version)
{
	struct vexfs_version v = { 0 };

	cr_assert_eq(io(VEXFS_IOC_VERSION, &v), 0);
	cr_expect_eq(v.abi, VEXFS_ABI);
	cr_expect_eq(v.dim_max, 16384);
	cr_expect_eq(v.value_max, 65536);
}

Test(ioctl, search_inline)
{
	struct vexfs_search *s = query("w", 10, 2, (float[]){ 1, 0 });
	const struct vexfs_hit *h = (const void *)s->data;
	struct stat st;

	three();
	cr_assert_eq(io(VEXFS_IOC_SEARCH, s), 0, "%s", last_error());
	cr_assert_eq(s->hits, 3);
	cr_expect_eq(s->total, 3);
	cr_expect_eq(s->rows, 4);
	cr_expect_str_eq(vexfs_hit_path(h), "a");
	cr_assert_eq(stat(vm_at(&m, "a"), &st), 0);
	cr_expect_eq(h->ino, st.st_ino);
	h = (const void *)(s->data + h->size);
	h = (const void *)((const char *)h + h->size);
	cr_expect_str_eq(vexfs_hit_path(h), "d/c");
	cr_expect_str_eq(vexfs_hit_key(h), "part");
	free(s);
}

Test(ioctl, search_staged_beyond_any_struct)
{
	enum { DIM = 16384 };
	struct vexfs_search *s = query("big", 1, DIM, NULL);
	float *v = calloc(DIM, sizeof(*v));
	struct vexfs_space sp = { .name = "big", .dim = DIM };

	v[DIM - 1] = 1;
	vm_puts(vm_at(&m, "f"), "x");
	cr_assert_eq(io(VEXFS_IOC_SPACE_CREATE, &sp), 0);
	cr_assert_eq(setxattr(vm_at(&m, "f"), VEXFS_XATTR "big", v, DIM * 4, 0), 0);
	cr_assert_eq(write(C, v, DIM * 4), DIM * 4);
	s->flags = VEXFS_SEARCH_STAGED;
	cr_assert_eq(io(VEXFS_IOC_SEARCH, s), 0, "%s", last_error());
	cr_expect_eq(s->hits, 1);
	free(s);
	free(v);
}

/* More hits than a reply holds: the rest by pages, by read(2), poll tells. */
Test(ioctl, pages_and_reads)
{
	struct vexfs_search *s = query("w", 1000, 2, (float[]){ 1, 0 });
	struct vexfs_page p = { 0 };
	struct pollfd pf = { .fd = C, .events = POLLIN | POLLOUT };
	static char buf[1 << 20];
	uint64_t seen;
	char name[64], text[32];
	ssize_t n;

	for (int i = 0; i < 700; i++) {
		snprintf(name, sizeof(name), "file-with-a-longer-name-%04d", i);
		snprintf(text, sizeof(text), "1, 0.%04d", i + 1);
		attach(name, "w", text);
	}
	cr_assert_eq(poll(&pf, 1, 0), 1);
	cr_expect_eq(pf.revents, POLLOUT);
	cr_assert_eq(io(VEXFS_IOC_SEARCH, s), 0);
	cr_expect_eq(s->total, 700);
	cr_assert_lt(s->hits, 700);
	seen = s->hits;
	cr_assert_eq(io(VEXFS_IOC_NEXT, &p), 0);
	seen += p.hits;
	cr_expect_eq(p.left, 700 - seen);
	cr_assert_eq(poll(&pf, 1, 0), 1);
	cr_expect_eq(pf.revents, POLLIN | POLLOUT);
	cr_expect_eq(read(C, buf, 40), -1);
	cr_expect_eq(errno, EINVAL, "no record in halves");
	while ((n = read(C, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n; seen++) {
			const struct vexfs_hit *h = (const void *)(buf + at);

			snprintf(name, sizeof(name), "file-with-a-longer-name-%04d",
				 (int)seen);
			cr_assert_str_eq(vexfs_hit_path(h), name);
			at += h->size;
		}
	cr_expect_eq(seen, 700);
	free(s);
}

Test(ioctl, sessions_are_their_own_and_end_with_close)
{
	struct vexfs_search *s = query("w", 10, 2, NULL);
	int other = open(vm_at(&m, VEXFS_CONTROL), O_RDWR);
	char buf[4096];

	three();
	cr_assert_eq(write(other, ones, 8), 8);
	s->flags = VEXFS_SEARCH_STAGED;
	cr_expect_eq(io(VEXFS_IOC_SEARCH, s), EINVAL);
	cr_assert_eq(
	    ioctl(other, VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD), s), 0);
	cr_expect_eq(read(C, buf, sizeof(buf)), 0);
	close(other);
	other = open(vm_at(&m, VEXFS_CONTROL), O_RDWR);
	cr_expect_eq(read(other, buf, sizeof(buf)), 0);
	close(other);
	free(s);
}

Test(ioctl, put_delete_sync_status)
{
	struct vexfs_items *h = calloc(1, sizeof(*h));
	struct vexfs_status st = { 0 };
	struct vexfs_sync sy = { 0 };
	char value[64];

	three();
	item(h, "a", "w.more", ones, 8, VEXFS_ITEM_F32);
	item(h, "d", "w", "2, 3", 4, 0);
	cr_assert_eq(io(VEXFS_IOC_PUT, h), 0, "%s", last_error());
	cr_expect_eq(getxattr(vm_at(&m, "a"), VEXFS_XATTR "w.more", value, 64), 8);
	cr_expect_eq(getxattr(vm_at(&m, "d"), VEXFS_XATTR "w", value, 64), 4);
	cr_assert_eq(io(VEXFS_IOC_SYNC, &sy), 0);
	cr_assert_eq(io(VEXFS_IOC_STATUS, &st), 0);
	cr_expect_eq(st.attachments, 5);
	cr_expect_eq(st.durable_lsn, st.lsn);
	cr_expect_eq(sy.lsn, st.lsn);
	cr_expect_eq(st.pid, (uint64_t)m.daemon);
	cr_assert_eq(one(VEXFS_IOC_DELETE, "a", "w.more", NULL), 0);
	cr_expect_eq(getxattr(vm_at(&m, "a"), VEXFS_XATTR "w.more", value, 64), -1);
	cr_expect_eq(errno, ENODATA);
	free(h);
}

Test(ioctl, export_by_read)
{
	struct vexfs_export x = { .space = "w" };
	static char buf[1 << 20];
	struct vexfs_record r;
	float v[4];
	ssize_t n;

	three();
	cr_assert_eq(io(VEXFS_IOC_EXPORT, &x), 0);
	n = read(C, buf, sizeof(buf));
	cr_assert_gt(n, 0);
	memcpy(&r, buf, sizeof(r));
	cr_expect_str_eq(buf + sizeof(r), "a");
	memcpy(&r, buf + 2 * r.size, sizeof(r));
	cr_expect_eq(r.rows, 2);
	cr_expect_eq(r.dim, 2);
	memcpy(v, buf + n - r.size + vexfs_value_at(r.path_len, r.key_len), sizeof(v));
	cr_expect_eq(v[3], 0.4f);
	cr_expect_eq(read(C, buf, sizeof(buf)), 0);
}

Test(ioctl, searches_without_write_on_a_read_only_mount)
{
	struct vexfs_search *s = query("w", 1, 2, ones);
	struct vexfs_items *h = calloc(1, sizeof(*h));
	int fd;

	three();
	close(C);
	vm_down(&m);
	vm_up(&m, "ro");
	C = open(vm_at(&m, VEXFS_CONTROL), O_RDWR);
	cr_expect_eq(C, -1);
	cr_expect_eq(errno, EROFS);
	fd = open(vm_at(&m, VEXFS_CONTROL), O_RDONLY);
	cr_assert_geq(fd, 0);
	cr_assert_eq(io_on(fd, VEXFS_IOC_SEARCH, s), 0);
	cr_expect_eq(s->hits, 1);
	item(h, "a", "w", "2, 3", 4, 0);
	cr_expect_eq(io_on(fd, VEXFS_IOC_PUT, h), EBADF);
	close(fd);
	free(s);
	free(h);
}

/* ---- errors ---------------------------------------------------------------------- */

Test(ioctl, unknown_is_enotty)
{
	char buf[128] = "";
	int fd = open(vm_at(&m, "plain"), O_CREAT | O_RDWR, 0644);
	int dir = open(m.mnt, O_RDONLY | O_DIRECTORY);
	int status = open(vm_at(&m, ".vexfs/status"), O_RDONLY);

	for (unsigned nr = 0; nr < 256; nr++)
		if (nr >= 64 || !nr) /* above, and 0: never to be one of ours */
			cr_expect_eq(io(_IOC(3u, VEXFS_IOC_TYPE, nr, 64), buf), ENOTTY);
	cr_expect_eq(io(_IOC(3u, 'v', 1, 64), buf), ENOTTY);
	cr_expect_eq(io_on(fd, VEXFS_IOC_VERSION, buf), ENOTTY);
	cr_expect_eq(io_on(dir, VEXFS_IOC_VERSION, buf), ENOTTY);
	cr_expect_eq(io_on(status, VEXFS_IOC_VERSION, buf), ENOTTY);
	close(fd);
	close(dir);
	close(status);
}

Test(ioctl, truncated_and_foreign_structs)
{
	struct vexfs_search *s = query("w", 1, 2, ones);
	struct vexfs_page *page = calloc(1, 2 * sizeof(*page));

	three();
	for (unsigned size = 0; size < VEXFS_SEARCH_HEAD + 8; size++)
		cr_assert_eq(io(VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, size), s), EINVAL);
	cr_expect_eq(io(VEXFS_IOC_SIZED(VEXFS_IOC_SEARCH, VEXFS_SEARCH_HEAD + 8u), s), 0);
	memset(page->data, 0x5a, sizeof(page->data));
	cr_expect_eq(io(VEXFS_IOC_SEARCH, page), EINVAL);
	cr_expect_eq(io(VEXFS_IOC_SEARCH, page->data), EINVAL);
	cr_expect_eq(io(VEXFS_IOC_PUT, page->data), EINVAL);
	cr_expect_eq(io(VEXFS_IOC_VERSION, page->data), EINVAL);
	cr_expect_eq(count("w"), 3);
	free(s);
	free(page);
}

Test(ioctl, k_that_cannot_be)
{
	static const uint32_t bad[] = { 0, 4000000000u, UINT32_MAX, (1u << 20) + 1 };

	three();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct vexfs_search *s = query("w", bad[i], 2, ones);

		cr_expect_eq(io(VEXFS_IOC_SEARCH, s), EINVAL);
		free(s);
	}
}

Test(ioctl, a_staged_query_cut_short)
{
	struct vexfs_search *s = query("w", 1, 2, NULL);

	three();
	s->flags = VEXFS_SEARCH_STAGED;
	cr_assert_eq(write(C, ones, 7), 7);
	cr_expect_eq(io(VEXFS_IOC_SEARCH, s), EINVAL);
	cr_expect_gt(strlen(last_error()), 0);
	cr_assert_eq(write(C, ones, 8), 8);
	cr_expect_eq(io(VEXFS_IOC_SEARCH, s), 0, "and nothing of it stayed");
	free(s);
}

Test(ioctl, errors_of_the_contract)
{
	struct vexfs_search *s = query("none", 1, 2, ones);

	three();
	cr_expect_eq(io(VEXFS_IOC_SEARCH, s), ENODEV, "unknown space");
	free(s);
	s = query("w", 1, 3, (float[]){ 1, 2, 3 });
	cr_expect_eq(io(VEXFS_IOC_SEARCH, s), EINVAL, "dimension");
	free(s);
	s = query("w", 1, 2, zero);
	cr_expect_eq(io(VEXFS_IOC_SEARCH, s), EINVAL, "no direction");
	free(s);
	s = query("w", 1, 0, NULL);
	s->flags = VEXFS_SEARCH_LIKE;
	s->like_len = 4;
	strcpy((char *)s->data, "gone");
	cr_expect_eq(io(VEXFS_IOC_SEARCH, s), ENOENT);
	free(s);
	cr_expect_eq(one(VEXFS_IOC_PUT, "gone", "w", "1,2"), ENOENT);
	cr_expect_eq(one(VEXFS_IOC_PUT, "a", "w", "1,2,3"), EINVAL);
	cr_expect_eq(one(VEXFS_IOC_PUT, "a", "w", "1,nan"), EINVAL);
	cr_expect_eq(one(VEXFS_IOC_PUT, "a", "w", "0,0"), EINVAL);
	cr_expect_eq(one(VEXFS_IOC_PUT, "a", "w", ""), EINVAL);
	cr_expect_eq(one(VEXFS_IOC_PUT, "a", "W", "1,2"), EINVAL);
	cr_expect_eq(one(VEXFS_IOC_PUT, "a", "_info", "1,2"), EPERM);
	cr_expect_eq(one(VEXFS_IOC_DELETE, "a", "w.none", NULL), ENODATA);
	cr_expect_eq(one(VEXFS_IOC_DELETE, "a", "none", NULL), ENODEV);
	cr_expect_eq(count("w"), 3);
}

Test(ioctl, paths_stay_beneath_the_mount)
{
	three();
	cr_assert_eq(symlink("/etc/passwd", vm_at(&m, "out")), 0);
	cr_assert_eq(symlink("a", vm_at(&m, "in")), 0);
	cr_expect_eq(one(VEXFS_IOC_PUT, "out", "w", "1,2"), EACCES);
	cr_expect_eq(one(VEXFS_IOC_PUT, "../../etc/passwd", "w", "1,2"), EACCES);
	cr_expect_eq(one(VEXFS_IOC_PUT, "/etc/passwd", "w", "1,2"), EACCES);
	cr_expect_eq(one(VEXFS_IOC_PUT, "in", "w", "1,2"), 0);
	cr_expect_eq(one(VEXFS_IOC_PUT, ".vexfs/catalog", "w", "1,2"), ENOENT);
	cr_expect_eq(one(VEXFS_IOC_PUT, ".vexfs", "w", "1,2"), ENOENT);
	cr_expect_eq(one(VEXFS_IOC_PUT, "d/../.vexfs", "w", "1,2"), ENOENT);
}

/* ---- who may --------------------------------------------------------------------- */

static int as_stranger(void *arg)
{
	static uint8_t buf[VEXFS_IOC_MAX];
	struct vexfs_search *s = query("w", 10, 2, ones);
	struct vexfs_space sp = { .name = "mine", .dim = 2 };
	int fd = open(vm_at(&m, VEXFS_CONTROL), O_RDWR);
	static char status[1 << 16];
	int sfd;

	(void)arg;
	if (fd < 0)
		return 1;
	if (io_on(fd, VEXFS_IOC_SEARCH, s) || s->total != 1 ||
	    strcmp(vexfs_hit_path((const void *)s->data), "b") || s->rows || s->distances)
		return 2;
	if (io_on(fd, VEXFS_IOC_SPACE_CREATE, &sp) != EPERM ||
	    io_on(fd, VEXFS_IOC_SPACE_DROP, &sp) != EPERM ||
	    io_on(fd, VEXFS_IOC_SPACE_SET, &sp) != EPERM ||
	    io_on(fd, VEXFS_IOC_STATUS, buf) != EPERM)
		return 3;
	C = fd;
	if (one(VEXFS_IOC_PUT, "b", "w", "3,4") != EACCES ||
	    one(VEXFS_IOC_PUT, "d/c", "w", "3,4") != EACCES ||
	    one(VEXFS_IOC_DELETE, "b", "w", NULL) != EACCES)
		return 4;
	strcpy(sp.name, "w");
	if (io_on(fd, VEXFS_IOC_SPACE_GET, &sp) || sp.dim != 2 || sp.rows ||
	    sp.attachments)
		return 5;
	sfd = open(vm_at(&m, ".vexfs/status"), O_RDONLY);
	if (sfd < 0 || read(sfd, status, sizeof(status) - 1) <= 0 ||
	    !strstr(status, "\"version\"") || strstr(status, "\"attachments\""))
		return 6;
	return 0;
}

Test(ioctl, strangers_find_and_change_what_they_may)
{
	three();
	cr_assert_eq(chmod(vm_at(&m, "a"), 0600), 0);
	cr_assert_eq(chmod(vm_at(&m, "d"), 0700), 0);
	cr_expect_eq(vm_as(4712, 4712, NULL, 0, as_stranger, NULL), 0);
	cr_expect_eq(count("w"), 3);
}

/* ---- noise ----------------------------------------------------------------------- */

Test(ioctl, noise)
{
	static uint8_t buf[VEXFS_IOC_MAX + 1];
	uint64_t x = vm_seed();
	int before;

	three();
	before = count("w");
	for (int i = 0; i < 5000; i++) {
		unsigned nr = (unsigned)(vm_rand(&x) % 24);
		unsigned size = (unsigned)(vm_rand(&x) % (VEXFS_IOC_MAX + 1));

		if (nr == _IOC_NR(VEXFS_IOC_SPACE_CREATE))
			continue;
		for (size_t j = 0; j + 8 < sizeof(buf); j += 8) {
			uint64_t r = vm_rand(&x);
			memcpy(buf + j, &r, 8);
		}
		buf[3] |= 0x80;
		cr_assert_neq(io(_IOC(vm_rand(&x) % 4, VEXFS_IOC_TYPE, nr, size), buf),
			      EIO);
		if (vm_rand(&x) % 8 == 0)
			cr_assert_geq(write(C, buf, vm_rand(&x) % 4000), 0);
	}
	cr_expect_eq(count("w"), before);
}
