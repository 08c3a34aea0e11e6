/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the vigil: its tables (vigil.c), for the setting of watches too
 * (vigil_watch.c). */
#ifndef VEXFS_VIGIL_WARD_I_H
#define VEXFS_VIGIL_WARD_I_H

#include <sys/stat.h>
#include "vigil_i.h"

#define WAYS 4u
#define SETS_MOST (1u << 14)
#define SHARDS 64u
#define BY_WD (1u << 18) /* kernels number watches in sequence */
#define DIRS 4096u
#define DIR_WARD UINT32_MAX

/* A file; its stat as last seen. */
struct ward {
	uint64_t node;  /* 0: free */
	uint64_t place; /* hash of its path */
	uint64_t since; /* last seen; 0: not since the watch was set */
	uint64_t epoch; /* then */
	uint64_t rest;  /* no watch before that */
	uint32_t seq;   /* events */
	uint32_t times; /* seen, while not watched */
	int32_t wd;     /* 0: not watched */
	uint64_t size, ino;
	int64_t mtime_s, ctime_s;
	uint32_t mtime_ns, ctime_ns;
	uint32_t mode, nlink, uid, gid;
};

struct by_wd {
	int32_t wd;    /* 0: none */
	uint32_t ward; /* index, or DIR_WARD */
};

struct vigil {
	int fd, rootfd;
	dev_t dev;
	uint32_t sets;
	_Atomic bool busy; /* events are being taken in */
	_Atomic uint64_t epoch;
	_Atomic uint32_t watched;
	_Atomic uint64_t vouched;
	pthread_mutex_t lock;
	/* guarded by lock: */
	struct by_wd *by_wd;
	uint32_t dirs;
	bool over; /* nothing is watched any more */
	/* Directories whose way up is watched, by hash of path; as of which epoch. */
	uint64_t chain[DIRS], chain_epoch[DIRS];
	char buf[4096] __attribute__((aligned(8)));
	struct shard {
		pthread_mutex_t lock;
		char apart[64 - sizeof(pthread_mutex_t) % 64];
	} shards[SHARDS];
	struct ward *wards; /* guarded by the shard of their set */
};

static inline uint32_t set_of(const struct vigil *v, uint64_t node)
{
	return (uint32_t)(node * 0x9e3779b97f4a7c15ull >> 32) & (v->sets - 1);
}

static inline pthread_mutex_t *shard_of(struct vigil *v, uint32_t set)
{
	return &v->shards[set % SHARDS].lock;
}

/* Under its shard's lock: the node's, or NULL. */
struct ward *ward_find(struct vigil *v, uint32_t set, uint64_t node);
/* The file of a watch that is over. */
void ward_dismiss(struct vigil *v, uint32_t index, int32_t wd);
/* Under its shard's lock: st was seen at the path, if what m says still holds. */
void ward_note(struct vigil *v, struct ward *w, const char *path, size_t len,
	       const struct vigil_mark *m, const struct stat *st, uint64_t now);
/* Under lock: takes in all events there are. */
void vigil_take(struct vigil *v);

/* vigil_watch.c: the file at the path, which was `was`, is watched from now on, where
 * that can be. */
void ward_watch(struct vigil *v, uint64_t node, char *path, size_t len,
		const struct stat *was, uint64_t now);
/* Of a file that is watched: some directory is not as it was, perhaps one of its own; or
 * it has another name, elsewhere. */
void ward_watch_way(struct vigil *v, uint64_t node, char *path, size_t len,
		    const struct stat *was, uint64_t now);

#endif
