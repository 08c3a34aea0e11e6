/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write-ahead log that a daemon left, looked at before SQLite reads it. SQLite takes
 * the frames up to the first that does not hold, which is right after a power loss: what
 * follows never was on the device. After a mere kill nothing is missing, so a frame that
 * does not hold with more of the same log behind it is damage, and acknowledged changes
 * are lost with it: that has to be said, by file and frame.
 *
 * The format is SQLite's (sqlite.org/fileformat2.html, "The Write-Ahead Log"): sums are
 * of 32-bit words in pairs, cumulative from the header on.
 */
#include <endian.h>
#include <fcntl.h>
#include "store_i.h"

#define WAL_MAGIC 0x377f0682u /* its last bit: words are big-endian */

struct wal {
	int fd;
	bool big;
	uint32_t salt[2], sum[2];
	uint8_t *frame;
};

static void add(struct wal *w, const void *data, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint32_t x[2];

		memcpy(x, (const char *)data + i, sizeof(x));
		w->sum[0] += (w->big ? be32toh(x[0]) : le32toh(x[0])) + w->sum[1];
		w->sum[1] += (w->big ? be32toh(x[1]) : le32toh(x[1])) + w->sum[0];
	}
}

static bool sum_is(const struct wal *w, const void *stored)
{
	uint32_t x[2];

	memcpy(x, stored, sizeof(x));
	return be32toh(x[0]) == w->sum[0] && be32toh(x[1]) == w->sum[1];
}

static bool read_head(struct wal *w)
{
	uint8_t h[FMT_WAL_HEAD];
	uint32_t magic;

	if (file_read(w->fd, h, sizeof(h), 0))
		return false;
	memcpy(&magic, h, sizeof(magic));
	magic = be32toh(magic);
	w->big = magic & 1;
	memcpy(w->salt, h + FMT_WAL_SALT, sizeof(w->salt));
	add(w, h, 24);
	return (magic & ~1u) == WAL_MAGIC && sum_is(w, h + 24);
}

/* Whether frame i is of this log, by its salts. */
static bool belongs(struct wal *w, uint64_t i)
{
	uint8_t h[24];

	return !file_read(w->fd, h, sizeof(h), FMT_WAL_HEAD + i * FMT_WAL_FRAME) &&
	       !memcmp(h + 8, w->salt, sizeof(w->salt));
}

static bool holds(struct wal *w, uint64_t i)
{
	if (file_read(w->fd, w->frame, FMT_WAL_FRAME, FMT_WAL_HEAD + i * FMT_WAL_FRAME) ||
	    memcmp(w->frame + 8, w->salt, sizeof(w->salt)))
		return false;
	add(w, w->frame, 8);
	add(w, w->frame + 24, FMT_PAGE);
	return sum_is(w, w->frame + 16);
}

vex_err wal_look(int dirfd, char *out, size_t size)
{
	struct wal w = { .fd = -1 };
	AUTO_CLOSE int fd = openat(dirfd, FMT_WAL, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FREE uint8_t *frame = w.frame = malloc(FMT_WAL_FRAME);
	uint64_t i = 0;
	off_t end;

	*out = '\0';
	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (!frame)
		return -ENOMEM;
	w.fd = fd;
	end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	/* A daemon killed early leaves less than a header and a frame: nothing in it. */
	if (end < (off_t)(FMT_WAL_HEAD + FMT_WAL_FRAME))
		return 0;
	if (!read_head(&w)) {
		snprintf(out, size,
			 FMT_WAL
			 ": its header does not match its checksum: the changes in "
			 "it cannot be read");
		return 0;
	}
	while (holds(&w, i))
		i++;
	/* The one that was being written, and the next, may be in part. */
	if (belongs(&w, i + 1) && belongs(&w, i + 2))
		snprintf(out, size,
			 FMT_WAL ": frame %llu does not match its checksum: the changes "
				 "from it on cannot be read",
			 (unsigned long long)i + 1);
	return 0;
}
