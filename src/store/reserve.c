/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for removing on a full disk. Removing an attachment is a commit, and a commit
 * is some more bytes in the WAL; where the disk has none left, nobody could ever free
 * any. So STORE/.vexfs/reserve holds some blocks back: when a list that only removes
 * or moves fails for want of room, the writer gives them up and tries again, and what
 * lies in the WAL goes into the catalog at once, which lets the WAL begin anew in the
 * blocks it has. A later sync that finds room makes the reserve again.
 *
 * It is no promise: others may take what was given up, some filesystems have no
 * fallocate, some need room to free room. Engine does without the catalog then.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include "store_i.h"

#define RESERVE_BYTES ((off_t)1 << 20)
#define ROOM_FACTOR 4u /* taken only where that many times as much is free */

static bool is_whole(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_size == RESERVE_BYTES &&
	       st.st_blocks * 512 >= RESERVE_BYTES;
}

static bool has_room(int fd)
{
	struct statvfs v;

	return !fstatvfs(fd, &v) &&
	       (uint64_t)v.f_bavail * v.f_frsize >= ROOM_FACTOR * (uint64_t)RESERVE_BYTES;
}

void reserve_keep(struct vex_store *s)
{
	AUTO_CLOSE int fd = -1;

	if (s->has_reserve)
		return;
	fd = openat(s->dirfd, FMT_RESERVE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	s->has_reserve = fd >= 0 && is_whole(fd);
	if (s->has_reserve || !has_room(s->dirfd))
		return;
	if (fd < 0)
		fd = openat(s->dirfd, FMT_RESERVE,
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	s->has_reserve = fd >= 0 && !fallocate(fd, 0, 0, RESERVE_BYTES) && is_whole(fd);
	if (!s->has_reserve)
		unlinkat(s->dirfd, FMT_RESERVE, 0);
}

bool reserve_give(struct vex_store *s)
{
	bool had = s->has_reserve;

	s->has_reserve = false;
	if (!had || unlinkat(s->dirfd, FMT_RESERVE, 0))
		return false;
	if (!s->reserve_told)
		vex_warn("%s: no space left: the reserve for removals is used", s->path);
	s->reserve_told = true;
	return true;
}

static bool one_is_for(const struct vex_change *c)
{
	switch (c->kind) {
	case VEX_DELETE:
	case VEX_NODE_DROP:
	case VEX_NODE_STATE:
	case VEX_NODE_SET:
	case VEX_NAME_ADD:
	case VEX_NAME_DEL:
	case VEX_SPACE_DROP:
	case VEX_STAMP:
	case VEX_STAMP_ONE:
	case VEX_KEEP:
	case VEX_UNKEEP:
		return true;
	case VEX_NODE_NEW: /* a file may move below a directory that has no node yet */
		return c->node_in->is_dir;
	default:
		return false;
	}
}

bool reserve_is_for(const struct vex_change *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!one_is_for(&c[i]))
			return false;
	return true;
}
