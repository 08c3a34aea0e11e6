/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX access ACLs, as the kernel's posix_acl_permission() reads them. The xattr
 * system.posix_acl_access: version 2 (le32), then entries of tag (le16), permissions
 * (le16), id (le32), in the order owner, named users, owning group, named groups,
 * mask, others.
 *
 * Groups that are not known make three-valued answers: what only a membership could
 * grant, or take away, is refused. It is enough to look at each entry alone: every
 * matching group entry goes through the same mask, and one that grants suffices.
 */
#include <endian.h>
#include "names_i.h"

#define ACL_VERSION 2u

enum acl_tag {
	TAG_USER_OBJ = 0x01,
	TAG_USER = 0x02,
	TAG_GROUP_OBJ = 0x04,
	TAG_GROUP = 0x08,
	TAG_MASK = 0x10,
	TAG_OTHER = 0x20,
};

struct entry {
	uint16_t tag, perm;
	uint32_t id;
};

struct acl {
	const uint8_t *data;
	size_t n;
	int mask; /* -1: has none */
};

static struct entry entry_at(const struct acl *a, size_t i)
{
	struct entry e;

	memcpy(&e, a->data + 4 + i * 8, sizeof(e));
	e.tag = le16toh(e.tag);
	e.perm = le16toh(e.perm);
	e.id = le32toh(e.id);
	return e;
}

static vex_err parse(const uint8_t *data, size_t len, struct acl *a)
{
	uint32_t version;

	if (len < 4 || (len - 4) % 8)
		return -EACCES;
	memcpy(&version, data, sizeof(version));
	if (le32toh(version) != ACL_VERSION)
		return -EACCES;
	*a = (struct acl){ .data = data, .n = (len - 4) / 8, .mask = -1 };
	for (size_t i = 0; i < a->n; i++) {
		struct entry e = entry_at(a, i);

		if (e.tag == TAG_MASK)
			a->mask = e.perm;
	}
	return a->n ? 0 : -EAGAIN;
}

static bool grants(int perm, int want)
{
	return (perm & want) == want;
}

static vex_err masked(const struct acl *a, int perm, int want)
{
	return grants(a->mask < 0 ? perm : perm & a->mask, want) ? 0 : -EACCES;
}

/* What the group entries say: membership known to match, and known to grant; some
 * unknown membership would refuse. */
struct groups {
	bool found, granted, doubt;
};

static void ask_group(struct groups *g, const struct vex_cred *c, const struct acl *a,
		      uint32_t gid, int perm, int want)
{
	int in = cred_in_group(c, gid);

	if (in > 0) {
		g->found = true;
		g->granted |= grants(perm, want);
	} else if (in < 0 && (!grants(perm, want) || masked(a, perm, want))) {
		g->doubt = true;
	}
}

static vex_err by_groups(const struct acl *a, const struct groups *g, int want, int other)
{
	/* Which entry grants does not matter: the mask is the same for all. */
	if (g->granted)
		return masked(a, 7, want);
	if (g->found || g->doubt)
		return -EACCES;
	return grants(other, want) ? 0 : -EACCES;
}

vex_err acl_check(const struct vex_cred *c, const struct stat *st, const uint8_t *acl,
		  size_t len, int want)
{
	struct groups g = { 0 };
	struct acl a;
	vex_err err = parse(acl, len, &a);

	if (err)
		return err;
	for (size_t i = 0; i < a.n; i++) {
		struct entry e = entry_at(&a, i);

		if (e.tag == TAG_USER_OBJ && c->uid == st->st_uid)
			return grants(e.perm, want) ? 0 : -EACCES;
		if (e.tag == TAG_USER && c->uid == e.id)
			return masked(&a, e.perm, want);
		if (e.tag == TAG_GROUP_OBJ)
			ask_group(&g, c, &a, st->st_gid, e.perm, want);
		if (e.tag == TAG_GROUP)
			ask_group(&g, c, &a, e.id, e.perm, want);
		if (e.tag == TAG_OTHER)
			return by_groups(&a, &g, want, e.perm);
	}
	return -EACCES;
}
