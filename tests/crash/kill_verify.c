/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the mount is back: is every file as its worker left it, with the one call in
 * flight wholly done or not at all, and does the search know exactly these rows?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "kill.h"

static bool value_is(const char *path, uint32_t w, uint32_t kind, uint32_t value)
{
	char name[64];
	float got[ROWS_MAX + 1][DIM], rows[ROWS_MAX][DIM];
	snprintf(name, sizeof(name), VEXFS_XATTR "%s", kinds[kind]);
	ssize_t n = getxattr(path, name, got, sizeof(got));
	if (!value)
		return n < 0 && errno == ENODATA;
	uint32_t want = rows_of(w, value, rows) * ROW_BYTES;
	return n == (ssize_t)want && memcmp(got, rows, want) == 0;
}

static uint32_t names_listed(const char *path)
{
	char list[4096];
	uint32_t n = 0;
	ssize_t len = listxattr(path, list, sizeof(list));
	for (ssize_t i = 0; i < len; i += (ssize_t)strlen(list + i) + 1)
		n += strncmp(list + i, VEXFS_XATTR, sizeof(VEXFS_XATTR) - 1) == 0;
	return n;
}

/* Whether one name is as `want` says. `cut`: its content may be incomplete. */
static bool file_is(uint32_t w, uint32_t f, const struct file *want, bool cut)
{
	char path[64], text[16] = "", id[16];
	int fd = open(path_of(path, w, f), O_RDONLY | O_CLOEXEC);
	if (!want->id)
		return fd < 0 && errno == ENOENT;
	if (fd < 0)
		return false;
	ssize_t len = read(fd, text, sizeof(text) - 1);
	close(fd);
	snprintf(id, sizeof(id), "%u", want->id);
	if (len < 0 || (!cut && strcmp(text, id) != 0))
		return false;
	uint32_t names = 0;
	for (uint32_t k = 0; k < KINDS; k++) {
		names += want->value[k] != 0;
		if (!value_is(path, w, k, want->value[k]))
			return false;
	}
	return names_listed(path) == names;
}

static bool all_is(uint32_t w, const struct file *want, bool making, uint32_t *bad)
{
	const struct file *now = shared->worker[w].now;
	for (uint32_t f = 0; f < FILES; f++) {
		if (!file_is(w, f, &want[f], making && want[f].id != now[f].id)) {
			*bad = f;
			return false;
		}
	}
	return true;
}

static void say_file(const char *what, const struct file *f)
{
	fprintf(stderr, "  %s: id %u", what, f->id);
	for (uint32_t k = 0; k < KINDS; k++)
		fprintf(stderr, " %s=%u", kinds[k], f->value[k]);
	fprintf(stderr, "\n");
}

static void say_actual(uint32_t w, uint32_t f)
{
	char path[64], text[16] = "";
	int fd = open(path_of(path, w, f), O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "  there: %s\n", strerror(errno));
		return;
	}
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	fprintf(stderr, "  there: id %s", text);
	for (uint32_t k = 0; k < KINDS; k++) {
		char name[64];
		float got[ROWS_MAX + 1][DIM];
		snprintf(name, sizeof(name), VEXFS_XATTR "%s", kinds[k]);
		ssize_t n = getxattr(path, name, got, sizeof(got));
		if (n >= ROW_BYTES)
			fprintf(stderr, " %s=%u (%zd bytes)", kinds[k],
				(uint32_t)got[0][1] | (uint32_t)got[0][2] << 12, n);
		else
			fprintf(stderr, " %s:%s", kinds[k], strerror(errno));
	}
	fprintf(stderr, "\n");
}

/* Compares a worker's files with what it knows and settles its call in flight. */
static void verify_worker(uint32_t w)
{
	struct worker *me = &shared->worker[w];
	uint32_t bad_now, bad_next;
	if (me->failure[0])
		die("worker %u: %s", w, me->failure);
	if (all_is(w, me->now, false, &bad_now)) {
		memcpy(me->next, me->now, sizeof(me->now));
		me->making = false; /* or the next call in flight passes for a create */
		return;
	}
	if (all_is(w, me->next, me->making, &bad_next)) {
		/* a file with its content cut short is of no use to the next round */
		for (uint32_t f = 0; me->making && f < FILES; f++) {
			char path[64];
			if (me->next[f].id == me->now[f].id)
				continue;
			if (unlink(path_of(path, w, f)) < 0)
				die("unlink %s: %s", path, strerror(errno));
			me->next[f] = me->now[f];
		}
		me->making = false;
		memcpy(me->now, me->next, sizeof(me->now));
		return;
	}
	char path[64];
	fprintf(stderr, "worker %u, in flight: %s\n", w, me->doing);
	fprintf(stderr, "%s is not as before the call:\n", path_of(path, w, bad_now));
	say_file("before", &me->now[bad_now]);
	say_file("after", &me->next[bad_now]);
	say_actual(w, bad_now);
	fprintf(stderr, "%s is not as after the call:\n", path_of(path, w, bad_next));
	say_file("before", &me->now[bad_next]);
	say_file("after", &me->next[bad_next]);
	say_actual(w, bad_next);
	die("lost, torn or invented");
}

uint32_t rows_known(const char *space)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < WORKERS * FILES * KINDS; i++) {
		uint32_t kind = i % KINDS, f = i / KINDS % FILES, w = i / KINDS / FILES;
		uint32_t value = shared->worker[w].now[f].value[kind];
		if (value && strncmp(kinds[kind], space, strlen(space)) == 0)
			n += 1 + value % ROWS_MAX;
	}
	return n;
}

/* A hit must be a row that is attached there, and its distance must be right. */
static void verify_hit(const char *space, const struct vexfs_hit *h, const float *query)
{
	uint32_t w, n;
	char dir, attr[64];
	const char *path = vexfs_hit_path(h), *key = vexfs_hit_key(h);
	if (sscanf(path, "w%u/%c/f%u", &w, &dir, &n) != 3 || w >= WORKERS || n >= NAMES)
		die("a hit at %s", path);
	snprintf(attr, sizeof(attr), "%s%s%s", space, key[0] ? "." : "", key);
	uint32_t f = (uint32_t)(dir - 'a') * NAMES + n, kind = 0;
	while (kind < KINDS && strcmp(kinds[kind], attr) != 0)
		kind++;
	uint32_t value =
	    kind < KINDS && f < FILES ? shared->worker[w].now[f].value[kind] : 0;
	float rows[ROWS_MAX][DIM], sum = 0;
	if (!value || h->row >= rows_of(w, value, rows))
		die("a hit at %s %s row %u: nothing is attached there", path, attr,
		    h->row);
	for (uint32_t i = 0; i < DIM; i++)
		sum += (rows[h->row][i] - query[i]) * (rows[h->row][i] - query[i]);
	float d2 = h->distance * h->distance;
	if (d2 > sum * 1.001f + 0.01f || d2 < sum * 0.999f - 0.01f)
		die("a hit at %s %s row %u at distance %g, not %g squared", path, attr,
		    h->row, (double)h->distance, (double)sum);
}

static const struct vexfs_hit *first_hits(int control, const char *space,
					  const float *query, uint32_t k,
					  struct vexfs_search *io)
{
	memset(io, 0, sizeof(*io));
	io->flags = VEXFS_SEARCH_ALL_ROWS;
	io->k = k;
	io->dim = DIM;
	snprintf(io->space, sizeof(io->space), "%s", space);
	memcpy(io->data, query, ROW_BYTES);
	if (ioctl(control, VEXFS_IOC_SEARCH, io) < 0)
		die("search in %s: %s", space, strerror(errno));
	return (const struct vexfs_hit *)(const void *)io->data;
}

static uint32_t verify_hits(const char *space, const uint8_t *data, uint32_t hits,
			    const float *query)
{
	for (uint32_t i = 0; i < hits; i++) {
		const struct vexfs_hit *h = (const struct vexfs_hit *)(const void *)data;
		verify_hit(space, h, query);
		data += h->size;
	}
	return hits;
}

/* Every row there is, through the search: as many as are attached, and only those. */
static void verify_space(int control, const char *space)
{
	static struct vexfs_search io;
	static struct vexfs_page page;
	float query[DIM] = { 1, 1, 0, 1 };
	uint32_t known = rows_known(space);
	if (!known)
		return;
	first_hits(control, space, query, known + 10, &io);
	uint32_t hits = verify_hits(space, io.data, io.hits, query);
	while (hits < io.total) {
		memset(&page, 0, sizeof(page));
		if (ioctl(control, VEXFS_IOC_NEXT, &page) < 0 || !page.hits)
			die("next page in %s after %u of %llu: %s", space, hits,
			    (unsigned long long)io.total, strerror(errno));
		hits += verify_hits(space, page.data, page.hits, query);
	}
	if (hits != known)
		die("a search of all of %s finds %u rows, not %u", space, hits, known);
}

/* Rows of files that are gone must not stay behind, found by no search and known to
 * nobody. No scan helps: recovery knows of every file whose end was cut short. What it
 * queued may take a moment. */
static void verify_count(int control, const char *space)
{
	struct vexfs_space io;
	uint32_t known = rows_known(space);
	for (uint32_t i = 0; i < 1000; i++) {
		memset(&io, 0, sizeof(io));
		snprintf(io.name, sizeof(io.name), "%s", space);
		if (ioctl(control, VEXFS_IOC_SPACE_GET, &io) < 0)
			die("space %s: %s", space, strerror(errno));
		if (io.rows == known && !io.damaged)
			return;
		nap_ms(10);
	}
	die("%s holds %llu rows, %llu damaged; %u are attached", space,
	    (unsigned long long)io.rows, (unsigned long long)io.damaged, known);
}

/* By its own vector each row is found first (no two are alike). */
static void verify_own(int control)
{
	static struct vexfs_search io;
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t w = rnd(WORKERS), f = rnd(FILES), kind = rnd(KINDS);
		uint32_t value = shared->worker[w].now[f].value[kind];
		float rows[ROWS_MAX][DIM];
		char path[64], space[16];
		if (!value)
			continue;
		uint32_t row = rnd(rows_of(w, value, rows));
		snprintf(space, sizeof(space), "%.3s", kinds[kind]);
		const struct vexfs_hit *h = first_hits(control, space, rows[row], 1, &io);
		if (io.hits != 1 || h->distance > 0.001f || h->row != row ||
		    strcmp(vexfs_hit_path(h), path_of(path, w, f)) != 0)
			die("%s %s row %u is not found by its own vector (%u hits, first "
			    "%s %g)",
			    path_of(path, w, f), kinds[kind], row, io.hits,
			    io.hits ? vexfs_hit_path(h) : "", (double)h->distance);
	}
}

void verify(const char *mnt)
{
	if (chdir(mnt) < 0)
		die("%s: %s", mnt, strerror(errno));
	for (uint32_t w = 0; w < WORKERS; w++)
		verify_worker(w);
	int control = open(VEXFS_CONTROL, O_RDWR | O_CLOEXEC);
	if (control < 0)
		die("control: %s", strerror(errno));
	verify_space(control, "one");
	verify_space(control, "two");
	verify_count(control, "one");
	verify_count(control, "two");
	verify_own(control);
	close(control);
	if (chdir("/") < 0)
		die("/: %s", strerror(errno));
}
