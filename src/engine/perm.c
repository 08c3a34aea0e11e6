/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this caller: mode bits and POSIX ACLs, in the kernel's order (fs/namei.c,
 * acl_permission_check): the owner by the owner's bits; then the ACL, unless the
 * group bits, which hold its mask, are all clear; then group or others. Root may
 * all. What cannot be told is refused.
 */
#include <sys/syscall.h>
#include <sys/xattr.h>
#include "names_i.h"

#define ACL_XATTR "system.posix_acl_access"

int cred_in_group(const struct vex_cred *c, uint32_t gid)
{
	if (c->gid == gid)
		return 1;
	for (uint32_t i = 0; i < c->ngroups; i++)
		if (c->groups[i] == gid)
			return 1;
	return c->groups_known ? 0 : -1;
}

vex_err perm_bits(const struct vex_cred *c, const struct stat *st, const uint8_t *acl,
		  size_t len, int want)
{
	int mode = (int)(st->st_mode & 0777), in;

	want &= R_OK | W_OK | X_OK;
	if (!want || !c->uid)
		return 0;
	if (c->uid == st->st_uid)
		return want & ~(mode >> 6) ? -EACCES : 0;
	if (len && (mode & S_IRWXG)) {
		vex_err err = acl_check(c, st, acl, len, want);

		if (err != -EAGAIN)
			return err;
	}
	in = cred_in_group(c, st->st_gid);
	if (in)
		mode = in > 0 ? mode >> 3 : mode & (mode >> 3);
	return want & ~mode ? -EACCES : 0;
}

/* What the ACL would not change needs no look at it. */
static bool acl_matters(const struct vex_cred *c, const struct stat *st, int want)
{
	return want && c->uid && c->uid != st->st_uid && (st->st_mode & S_IRWXG) &&
	       !S_ISLNK(st->st_mode);
}

/* getxattrat(2), of Linux 6.13: by the descriptor, where the way through /proc costs more
 * than the rest. */
#ifdef SYS_getxattrat
#define GETXATTRAT SYS_getxattrat
#elif !defined(__alpha__)
#define GETXATTRAT 464
#endif

static ssize_t acl_at(int dirfd, const char *name, void *buf, size_t size)
{
#ifdef GETXATTRAT
	struct {
		uint64_t value;
		uint32_t size, flags;
	} args = { .value = (uintptr_t)buf, .size = (uint32_t)size };

	return syscall(GETXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, ACL_XATTR, &args,
		       sizeof(args));
#else
	(void)dirfd, (void)name, (void)buf, (void)size;
	errno = ENOSYS;
	return -1;
#endif
}

static ssize_t acl_read(int dirfd, const char *name, void *buf, size_t size)
{
	char path[NAME_MAX + 48];
	struct vex_procfd dir = vex_procfd(dirfd);
	size_t n = strlen(dir.path), len = strlen(name);
	ssize_t got = len ? acl_at(dirfd, name, buf, size) : -1;

	/* EPERM: a sandbox that does not know the call. */
	if (len && (got >= 0 || (errno != ENOSYS && errno != EPERM)))
		return got;

	if (n + 1 + len >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(path, dir.path, n + 1);
	if (len) {
		path[n] = '/';
		memcpy(path + n + 1, name, len + 1);
	}
	/* The descriptor's own link has to be followed, a name must not. */
	return *name ? lgetxattr(path, ACL_XATTR, buf, size)
		     : getxattr(path, ACL_XATTR, buf, size);
}

static vex_err check_big(const struct vex_cred *c, int dirfd, const char *name,
			 const struct stat *st, int want)
{
	AUTO_FREE uint8_t *buf = malloc(VEX_VALUE_MAX);
	ssize_t n = buf ? acl_read(dirfd, name, buf, VEX_VALUE_MAX) : -1;

	return n > 0 ? perm_bits(c, st, buf, (size_t)n, want) : -EACCES;
}

vex_err perm_check(const struct vex_cred *c, int dirfd, const char *name,
		   const struct stat *st, int want)
{
	uint8_t buf[512];
	ssize_t n = 0;

	if (acl_matters(c, st, want))
		n = acl_read(dirfd, name, buf, sizeof(buf));
	if (n < 0 && errno == ERANGE)
		return check_big(c, dirfd, name, st, want);
	if (n < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return -EACCES;
	return perm_bits(c, st, buf, n > 0 ? (size_t)n : 0, want);
}

/* ---- the directories above ----------------------------------------------------------
 */

static vex_err climb_checked(struct vex_engine *e, const struct vex_cred *c, int dirfd,
			     struct memo *m, struct stat *last)
{
	AUTO_CLOSE int fd = -1;
	vex_err err = vex_dup(dirfd, &fd);

	if (err)
		return err;
	if (fstat(fd, last))
		return -errno;
	for (;;) {
		int known = memo_get(m, last->st_dev, last->st_ino), up;
		struct stat up_st;

		if (known >= 0)
			return known ? 0 : -EACCES;
		err = perm_check(c, fd, "", last, X_OK);
		if (err || is_root(e, last))
			return err;
		err = climb_up(fd, last, &up, &up_st);
		if (err)
			return err == -ENOENT ? -EACCES : err;
		close(fd);
		fd = up;
		*last = up_st;
	}
}

/* The verdict is noted for the directory asked about, so that its other files, and the
 * directories below it, stop there. */
vex_err perm_search_memo(struct vex_engine *e, const struct vex_cred *c, int dirfd,
			 struct memo *m)
{
	struct stat st, last;
	vex_err err;

	if (!c->uid)
		return 0;
	if (fstat(dirfd, &st))
		return -errno;
	err = climb_checked(e, c, dirfd, m, &last);
	if (!err || err == -EACCES)
		memo_put(m, st.st_dev, st.st_ino, !err);
	return err;
}

vex_err perm_search(struct vex_engine *e, const struct vex_cred *c, int dirfd)
{
	return perm_search_memo(e, c, dirfd, NULL);
}
