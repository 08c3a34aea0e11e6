/* SPDX-License-Identifier: Apache-2.0 */
#include "inject.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

_Atomic int inject_sync_at, inject_sync_errno;
_Atomic int inject_write_at, inject_write_errno, inject_writes_forever;
_Atomic int inject_open_at, inject_open_errno, inject_map_at, inject_map_errno;
const char *_Atomic inject_full_while;
_Atomic int count_syncs, count_writes, count_syncfs;
_Atomic int inject_syncfs_errno;
_Atomic int inject_alloc_at;
_Atomic int inject_sync_hold, count_held;

void (*inject_flushed)(int fd);

static int due(_Atomic int *at)
{
	return atomic_load(at) > 0 && atomic_fetch_sub(at, 1) == 1;
}

static int sync_call(long number, int fd)
{
	atomic_fetch_add(&count_syncs, 1);
	atomic_fetch_add(&count_held, 1);
	for (int i = 0; i < 20000 && atomic_load(&inject_sync_hold); i++)
		usleep(1000);
	atomic_fetch_sub(&count_held, 1);
	if (due(&inject_sync_at)) {
		errno = inject_sync_errno;
		return -1;
	}
	int rc = (int)syscall(number, fd);

	if (!rc && inject_flushed)
		inject_flushed(fd);
	return rc;
}

int fsync(int fd)
{
	return sync_call(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return sync_call(SYS_fdatasync, fd);
}

int syncfs(int fd)
{
	atomic_fetch_add(&count_syncfs, 1);
	if (inject_syncfs_errno) {
		errno = inject_syncfs_errno;
		return -1;
	}
	return (int)syscall(SYS_syncfs, fd);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off);
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	atomic_fetch_add(&count_writes, 1);
	if (due(&inject_write_at)) {
		if (inject_writes_forever)
			inject_write_at = 1;
		errno = inject_write_errno;
		return -1;
	}
	if (inject_full_while && !access(inject_full_while, F_OK)) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, buf, len, off);
}

/* open(2) by the names of store and SQLite; both give a mode always, or none is read. */
static int open_call(int at, const char *path, int flags, int mode)
{
	if (due(&inject_open_at)) {
		errno = inject_open_errno;
		return -1;
	}
	return (int)syscall(SYS_openat, at, path, flags, mode);
}

#define MODE(last)                                                                       \
	({                                                                               \
		va_list ap;                                                              \
		va_start(ap, last);                                                      \
		int mode = last & (O_CREAT | O_TMPFILE) ? va_arg(ap, int) : 0;           \
		va_end(ap);                                                              \
		mode;                                                                    \
	})

int openat64(int at, const char *path, int flags, ...)
{
	return open_call(at, path, flags, MODE(flags));
}

int open64(const char *path, int flags, ...)
{
	return open_call(AT_FDCWD, path, flags, MODE(flags));
}

/* Of files: what stacks and the heap map is none of ours. */
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (fd >= 0 && due(&inject_map_at)) {
		errno = inject_map_errno;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

#if INJECT_ALLOC
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static int no_memory(void)
{
	if (!due(&inject_alloc_at))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t n)
{
	return no_memory() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __libc_realloc(p, n);
}
#endif
