/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: random changes to files of its own. Before each call it writes down in
 * `next` what is to be, after the call that it is (`now`).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vexfs/vexfs.h>
#include "kill.h"

/* Ends the worker: quietly if the daemon went away under the call. */
static void __attribute__((noreturn)) stop(struct worker *me, int err)
{
	bool gone = err == ENOTCONN || err == ECONNABORTED || err == EIO || err == EINTR;
	if (!(gone && shared->killing))
		snprintf(me->failure, sizeof(me->failure), "%s: %s", me->doing,
			 strerror(err));
	_exit(0);
}

static void acknowledged(struct worker *me)
{
	memcpy(me->now, me->next, sizeof(me->now));
	me->making = false;
	me->done++;
}

/* A file of this worker that exists (or not), or FILES if there is none. */
static uint32_t pick(const struct worker *me, bool exists)
{
	uint32_t from = rnd(FILES);
	for (uint32_t i = 0; i < FILES; i++) {
		uint32_t f = (from + i) % FILES;
		if ((me->now[f].id != 0) == exists)
			return f;
	}
	return FILES;
}

static void do_create(struct worker *me, uint32_t w)
{
	uint32_t f = pick(me, false);
	if (f == FILES)
		return;
	char path[64], text[16];
	uint32_t id = ++me->serial;
	snprintf(me->doing, sizeof(me->doing), "create %s", path_of(path, w, f));
	me->next[f] = (struct file){ .id = id };
	me->making = true;
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	int len = snprintf(text, sizeof(text), "%u", id);
	if (fd < 0 || write(fd, text, (size_t)len) != len || close(fd) < 0)
		stop(me, errno);
	acknowledged(me);
}

static void do_attach(struct worker *me, uint32_t w)
{
	uint32_t f = pick(me, true), kind = rnd(KINDS);
	if (f == FILES)
		return;
	char path[64], name[64];
	float rows[ROWS_MAX][DIM];
	uint32_t value = ++me->serial, n = rows_of(w, value, rows);
	snprintf(name, sizeof(name), VEXFS_XATTR "%s", kinds[kind]);
	path_of(path, w, f);
	snprintf(me->doing, sizeof(me->doing), "set %s on %s (%u rows)", name, path, n);
	int flags = 0;
	if (rnd(2))
		flags = me->now[f].value[kind] ? XATTR_REPLACE : XATTR_CREATE;
	me->next[f].value[kind] = value;
	if (setxattr(path, name, rows, n * ROW_BYTES, flags) < 0)
		stop(me, errno);
	acknowledged(me);
}

static void do_detach(struct worker *me, uint32_t w)
{
	uint32_t f = pick(me, true), kind = rnd(KINDS);
	if (f == FILES || !me->now[f].value[kind])
		return;
	char path[64], name[64];
	snprintf(name, sizeof(name), VEXFS_XATTR "%s", kinds[kind]);
	path_of(path, w, f);
	snprintf(me->doing, sizeof(me->doing), "remove %s of %s", name, path);
	me->next[f].value[kind] = 0;
	if (removexattr(path, name) < 0)
		stop(me, errno);
	acknowledged(me);
}

static void do_unlink(struct worker *me, uint32_t w)
{
	uint32_t f = pick(me, true);
	if (f == FILES)
		return;
	char path[64];
	snprintf(me->doing, sizeof(me->doing), "unlink %s", path_of(path, w, f));
	me->next[f] = (struct file){ 0 };
	if (unlink(path) < 0)
		stop(me, errno);
	acknowledged(me);
}

/* Also onto a name that has a file with attachments of its own. */
static void do_rename(struct worker *me, uint32_t w)
{
	uint32_t from = pick(me, true), to = rnd(FILES);
	if (from == FILES || from == to)
		return;
	char a[64], b[64];
	snprintf(me->doing, sizeof(me->doing), "rename %s to %s", path_of(a, w, from),
		 path_of(b, w, to));
	me->next[to] = me->now[from];
	me->next[from] = (struct file){ 0 };
	if (rename(a, b) < 0)
		stop(me, errno);
	acknowledged(me);
}

/* Both directories of the worker change their names, one rename. */
static void do_exchange(struct worker *me, uint32_t w)
{
	char a[64], b[64];
	snprintf(a, sizeof(a), "w%u/a", w);
	snprintf(b, sizeof(b), "w%u/b", w);
	snprintf(me->doing, sizeof(me->doing), "exchange %s and %s", a, b);
	memcpy(me->next, me->now + NAMES, NAMES * sizeof(struct file));
	memcpy(me->next + NAMES, me->now, NAMES * sizeof(struct file));
	if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0)
		stop(me, errno);
	acknowledged(me);
}

static uint32_t add_item(struct vexfs_items *io, const char *path, const char *attr,
			 const void *value, uint32_t value_len)
{
	uint8_t *at = io->data + io->bytes;
	uint32_t plen = (uint32_t)strlen(path), alen = (uint32_t)strlen(attr);
	uint32_t names = (uint32_t)sizeof(struct vexfs_item) + plen + 1 + alen + 1;
	uint32_t head = (names + 7) & ~7u, size = (head + value_len + 7) & ~7u;
	struct vexfs_item item = {
		.size = size, .path_len = plen, .attr_len = alen, .value_len = value_len
	};
	memset(at, 0, size);
	memcpy(at, &item, sizeof(item));
	memcpy(at + sizeof(item), path, plen);
	memcpy(at + sizeof(item) + plen + 1, attr, alen);
	memcpy(at + head, value, value_len);
	io->bytes += size;
	return ++io->count;
}

/* Several files, in one call: all or none. */
static void do_put(struct worker *me, uint32_t w, int control)
{
	static struct vexfs_items io;
	uint32_t f[PUTS];
	memset(&io, 0, sizeof(io));
	for (uint32_t i = 0; i < PUTS; i++) {
		f[i] = pick(me, true);
		if (f[i] == FILES || (i > 0 && f[i] == f[0]) || (i > 1 && f[i] == f[1]))
			return;
	}
	for (uint32_t i = 0; i < PUTS; i++) {
		char path[64];
		float rows[ROWS_MAX][DIM];
		uint32_t kind = rnd(KINDS), value = ++me->serial;
		uint32_t n = rows_of(w, value, rows);
		me->next[f[i]].value[kind] = value;
		add_item(&io, path_of(path, w, f[i]), kinds[kind], rows, n * ROW_BYTES);
	}
	snprintf(me->doing, sizeof(me->doing), "put of w%u/ %u, %u and %u", w, f[0], f[1],
		 f[2]);
	if (ioctl(control, VEXFS_IOC_PUT, &io) < 0)
		stop(me, errno);
	acknowledged(me);
}

static void do_sync(struct worker *me, int control)
{
	struct vexfs_sync io = { 0 };
	snprintf(me->doing, sizeof(me->doing), "sync");
	if (ioctl(control, VEXFS_IOC_SYNC, &io) < 0)
		stop(me, errno);
}

void work(const char *mnt, uint32_t w, uint64_t seed)
{
	struct worker *me = &shared->worker[w];
	rng = seed;
	snprintf(me->doing, sizeof(me->doing), "open control");
	memcpy(me->next, me->now, sizeof(me->next));
	if (chdir(mnt) < 0)
		stop(me, errno);
	int control = open(VEXFS_CONTROL, O_RDWR | O_CLOEXEC);
	if (control < 0)
		stop(me, errno);
	for (;;) {
		uint32_t dice = rnd(100);
		if (dice < 18)
			do_create(me, w);
		else if (dice < 58)
			do_attach(me, w);
		else if (dice < 68)
			do_detach(me, w);
		else if (dice < 78)
			do_put(me, w, control);
		else if (dice < 90)
			do_rename(me, w);
		else if (dice < 92)
			do_exchange(me, w);
		else if (dice < 99)
			do_unlink(me, w);
		else
			do_sync(me, control);
	}
}
