/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failing system calls, by taking the names over in the test program: both the store
 * and libsqlite3 then come through here. Counts are of the whole process.
 */
#ifndef VEX_TEST_STORE_INJECT_H
#define VEX_TEST_STORE_INJECT_H

#include <stdatomic.h>

/* Fail the n-th call from now on (1: the next) with this errno, once; 0: none. */
extern _Atomic int inject_sync_at, inject_sync_errno;
extern _Atomic int inject_write_at, inject_write_errno;
extern _Atomic int inject_open_at, inject_open_errno;
extern _Atomic int inject_map_at, inject_map_errno;
extern _Atomic int inject_writes_forever; /* and all after it */
/* The disk is full while this file exists. */
extern const char *_Atomic inject_full_while;
/* While set, flushes wait (20 s at most); and how many do. */
extern _Atomic int inject_sync_hold, count_held;
extern _Atomic int count_syncs, count_writes, count_syncfs;
/* Called after each flush that succeeded. */
extern void (*inject_flushed)(int fd);
/* syncfs fails with this, while set. */
extern _Atomic int inject_syncfs_errno;
/* The n-th allocation in the process, by whatever thread. Without a sanitizer only:
 * those have allocators of their own. */
extern _Atomic int inject_alloc_at;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INJECT_ALLOC 0
#else
#define INJECT_ALLOC 1
#endif

#endif
