/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark: 32 bytes in an xattr of the backing file that say which node it is.
 * It travels with the inode through renames, and with copies that keep xattrs. Its
 * random part ties it to one catalog: a mark whose id the catalog does not know, or
 * knows with other random bytes, is foreign and counts as none.
 *
 * On disk: version (1), seven zero bytes, node id (little-endian), 16 random bytes.
 * The mount never shows, sets or copies it (fs filters it).
 */
#include <endian.h>
#include <sys/xattr.h>
#include "names_i.h"

#define MARK_VERSION 1

struct mark_disk {
	uint8_t version, zero[7];
	uint64_t id;
	uint8_t random[VEX_MARK_LEN];
};
_Static_assert(sizeof(struct mark_disk) == 32, "mark is 32 bytes");

/* What a reader may take for "no mark": no such xattr, no xattrs here at all, a
 * value of another length, a file we may not read. */
static bool means_none(int err)
{
	return err == ENODATA || err == EOPNOTSUPP || err == ERANGE || err == EPERM ||
	       err == EACCES;
}

static vex_err decode(ssize_t got, const struct mark_disk *d, struct mark *m)
{
	static const uint8_t zero[7];

	if (got < 0)
		return means_none(errno) ? -ENODATA : -errno;
	if ((size_t)got != sizeof(*d) || d->version != MARK_VERSION ||
	    memcmp(d->zero, zero, sizeof(zero)))
		return -ENODATA;
	m->id = le64toh(d->id);
	memcpy(m->random, d->random, sizeof(m->random));
	return m->id ? 0 : -ENODATA;
}

vex_err mark_read(int fd, struct mark *m)
{
	struct mark_disk d;

	return decode(vex_getxattr(fd, VEX_XATTR_MARK, &d, sizeof(d)), &d, m);
}

vex_err mark_read_at(int dirfd, const char *name, struct mark *m)
{
	struct mark_disk d;

	return decode(vex_getxattr_at(dirfd, name, VEX_XATTR_MARK, &d, sizeof(d)), &d, m);
}

vex_err mark_write(int fd, const struct mark *m)
{
	struct vex_procfd p = vex_procfd(fd);
	struct mark_disk d = { .version = MARK_VERSION, .id = htole64(m->id) };

	memcpy(d.random, m->random, sizeof(d.random));
	return setxattr(p.path, VEX_XATTR_MARK, &d, sizeof(d), 0) ? -errno : 0;
}

void mark_from(const struct vex_node *n, struct mark *m)
{
	m->id = n->id;
	memcpy(m->random, n->mark, sizeof(m->random));
}

bool mark_is(const struct mark *m, const struct vex_node *n)
{
	return n->has_mark && m->id == n->id &&
	       !memcmp(m->random, n->mark, sizeof(m->random));
}
