/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays that grow in place: addresses are reserved well ahead (they cost nothing) and
 * made usable as needed, so that readers' pointers hold. When the reserve runs out the
 * whole moves to a larger one, by page tables, under the graph's write lock. Huge pages
 * are asked for: a traversal touches records at random.
 */
#include <sys/mman.h>
#include <unistd.h>
#include "hnsw_i.h"

#define RESERVE_MIN ((size_t)64 << 20)
#define STEP ((size_t)2 << 20)

static vex_err reserve(struct region *r, size_t bytes)
{
	size_t want = RESERVE_MIN;
	void *p;

	while (want < bytes * 4)
		want *= 2;
	p = mmap(NULL, want, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	if (r->used && mremap(r->base, r->used, r->used, MREMAP_MAYMOVE | MREMAP_FIXED,
			      p) == MAP_FAILED) {
		munmap(p, want);
		return -ENOMEM;
	}
	if (r->reserved > r->used)
		munmap(r->base + r->used, r->reserved - r->used);
	r->base = p;
	r->reserved = want;
	return 0;
}

vex_err region_grow(struct region *r, size_t bytes)
{
	size_t used = (bytes + STEP - 1) & ~(STEP - 1);
	vex_err err;

	if (used <= r->used)
		return 0;
	if (used > r->reserved) {
		err = reserve(r, used);
		if (err)
			return err;
	}
	if (mprotect(r->base + r->used, used - r->used, PROT_READ | PROT_WRITE))
		return -ENOMEM;
	madvise(r->base + r->used, used - r->used, MADV_HUGEPAGE);
	r->used = used;
	return 0;
}

static vex_err read_all(int fd, uint8_t *at, uint64_t bytes, uint64_t offset)
{
	while (bytes) {
		ssize_t n = pread(fd, at, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EUCLEAN;
		at += n;
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

vex_err region_take(struct region *r, int fd, uint64_t offset, uint64_t bytes, bool map)
{
	/* Whole steps, so that growing goes on behind it; the last pages are anonymous.
	 */
	size_t used = (bytes + STEP - 1) & ~(STEP - 1);
	vex_err err;

	if (!bytes)
		return 0;
	err = region_grow(r, used);
	if (err)
		return err;
	if (!map)
		return read_all(fd, r->base, bytes, offset);
	void *at = mmap(r->base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
			fd, (off_t)offset);
	return at == MAP_FAILED ? -errno : 0;
}

void region_free(struct region *r)
{
	if (r->base)
		munmap(r->base, r->reserved);
	*r = (struct region){ 0 };
}
