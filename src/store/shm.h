/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to vfs.c and shm.c: the wal-index in memory. The results are SQLite's codes.
 */
#ifndef VEX_STORE_SHM_H
#define VEX_STORE_SHM_H

#include <sqlite3.h>
#include <stdbool.h>

struct shm;

/* What one connection has of it; all zero: nothing yet. */
struct shm_link {
	struct shm *shm;
	unsigned shared, exclusive; /* locks held: bits */
};

/* `name` is the catalog's; only the first call of a connection looks at it. */
int shm_map(struct shm_link *l, const char *name, int region, int size, bool extend,
	    void volatile **out);
int shm_lock(struct shm_link *l, int first, int n, int flags);
void shm_barrier(void);
void shm_unmap(struct shm_link *l);

#endif
