/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callers: who asks, and acting as them.
 *
 * With default_permissions the kernel has decided, with the caller's full credentials,
 * that a request is allowed. So acting as the caller is not about permission; it makes
 * the backing filesystem do what it would do natively: new objects belong to the
 * caller, setgid directories and default ACLs take effect, quotas are charged. Hence a
 * thread takes the caller's fsuid and fsgid but keeps (raises again) our capabilities:
 * what the kernel allowed, by a supplementary group say, must not fail below. The
 * alternative, creating as root and chown after, shows the file with a wrong owner for
 * a moment and loses the group a setgid directory gives.
 *
 * setuid and setgid go where they would for the caller. For root they stay, and what the
 * kernel has decided already (chmod, creation) stands: so we have CAP_FSETID. Where
 * others change content or owner of a file that has such a bit, or make the kernel write
 * a file by itself, ACT_CHANGE takes it away, and takes the caller's ids, because the
 * backing filesystem asks for the group as well. We gave up our supplementary groups at
 * start, so it counts the fsgid alone; the caller's own groups are looked at first.
 *
 * CAP_SYS_RESOURCE goes as well: with it quotas would bind nobody. And the user id alone
 * is the caller's while content is written, for the blocks that are reserved for root.
 *
 * The umask is each thread's own (CLONE_FS unshared): it applies unless a default ACL
 * takes its place, which the backing filesystem knows.
 *
 * All of it by raw system calls: glibc would change every thread. A daemon without the
 * capabilities acts as itself; then all files belong to it.
 */
#include "fs_i.h"

#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

static vex_err caps_set(const struct __user_cap_data_struct caps[2])
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &h, caps) ? -errno : 0;
}

static bool has(const struct __user_cap_data_struct caps[2], unsigned cap)
{
	return caps[cap / 32].effective >> (cap % 32) & 1;
}

static void cap_less(struct __user_cap_data_struct caps[2], unsigned cap)
{
	caps[cap / 32].effective &= ~(1u << (cap % 32));
}

vex_err cred_init(struct vex_fs *fs)
{
	static const unsigned needed[] = { CAP_SETUID, CAP_SETGID, CAP_DAC_OVERRIDE,
					   CAP_FOWNER, CAP_FSETID, CAP_CHOWN };
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	if (syscall(SYS_capget, &h, fs->caps))
		return -errno;
	fs->uid = geteuid();
	fs->gid = getegid();
	fs->privileged = true;
	cap_less(fs->caps, CAP_SYS_RESOURCE);
	memcpy(fs->less, fs->caps, sizeof(fs->less));
	cap_less(fs->less, CAP_FSETID);
	for (size_t k = 0; k < ARRAY_SIZE(needed); k++)
		fs->privileged = fs->privileged && has(fs->caps, needed[k]);
	/* One thread still: glibc's call is the same as the raw one. */
	if (fs->privileged && setgroups(0, NULL))
		fs->privileged = false;
	return caps_set(fs->caps);
}

bool cred_may_pass(const struct vex_fs *fs)
{
	return has(fs->caps, CAP_SYS_ADMIN);
}

/* ---- who ------------------------------------------------------------------------ */

void caller_get(fuse_req_t req, struct caller *c)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	c->cred = (struct vex_cred){ .uid = ctx->uid, .gid = ctx->gid };
	c->cred.groups = c->groups;
	c->cred.groups_known = true;
	if (!ctx->uid)
		return;
	int n = caller_groups(ctx->pid, c->groups, CRED_GROUPS);
	if (n < 0 || n > CRED_GROUPS)
		c->cred.groups_known = false;
	else
		c->cred.ngroups = (uint32_t)n;
}

bool caller_in_group(fuse_req_t req, gid_t gid)
{
	struct caller c;

	caller_get(req, &c);
	if (c.cred.gid == gid)
		return true;
	for (uint32_t k = 0; k < c.cred.ngroups; k++) {
		if (c.groups[k] == gid)
			return true;
	}
	return false;
}

/* ---- acting --------------------------------------------------------------------- */

static void own_umask(mode_t mask)
{
	static _Thread_local bool unshared;
	static _Thread_local mode_t last;

	if (unshared && mask == last)
		return;
	if (!unshared)
		unshared = !unshare(CLONE_FS);
	if (unshared)
		umask(mask);
	last = mask;
}

/* setfsuid and setfsgid give no error: ask again. */
static bool take_ids(uid_t uid, gid_t gid)
{
	syscall(SYS_setfsgid, gid);
	syscall(SYS_setfsuid, uid);
	return (uid_t)syscall(SYS_setfsuid, -1) == uid &&
	       (gid_t)syscall(SYS_setfsgid, -1) == gid;
}

vex_err acting_begin(fuse_req_t req, enum act_as how, struct acting *a)
{
	struct vex_fs *fs = fs_of(req);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	vex_err err = 0;

	*a = (struct acting){ 0 };
	if (how == ACT_CREATE)
		own_umask(ctx->umask);
	if (!fs->privileged || (ctx->uid == fs->uid && ctx->gid == fs->gid))
		return 0;
	a->fs = fs;
	if (!take_ids(ctx->uid, ctx->gid))
		err = -EPERM;
	/* Capabilities for files go with a user id that is not root's. */
	if (!err)
		err = caps_set(how == ACT_CHANGE && ctx->uid ? fs->less : fs->caps);
	if (err)
		acting_end(a);
	return err;
}

/* The kernel gives the capabilities for files back with root's user id. */
static bool pay_no_more(struct vex_fs *fs)
{
	syscall(SYS_setfsuid, fs->uid);
	return (uid_t)syscall(SYS_setfsuid, -1) == fs->uid;
}

void acting_end(struct acting *a)
{
	struct vex_fs *fs = a->fs;

	if (!fs)
		return;
	a->fs = NULL;
	/* A thread left as somebody else would act wrongly for the next caller. */
	bool back =
	    a->pays ? pay_no_more(fs) : take_ids(fs->uid, fs->gid) && !caps_set(fs->caps);
	if (!back) {
		vex_error("cannot become ourselves again: %s", strerror(errno));
		abort();
	}
}

/* ---- setuid and setgid ---------------------------------------------------------- */

vex_err acting_on_content(fuse_req_t req, struct inode *i, int fd, struct acting *a)
{
	struct stat st;

	*a = (struct acting){ 0 };
	if (!fuse_req_ctx(req)->uid)
		return 0;
	/* Looked at each time: the bits may have come behind the mount. */
	if (fstatat(fd, "", &st, AT_EMPTY_PATH))
		return -errno;
	inode_seen(i, &st);
	if (!(st.st_mode & (S_ISUID | S_ISGID)))
		return 0;
	/* setgid without execution by the group: once a sign of mandatory locks. */
	bool keeps =
	    !(st.st_mode & (S_ISUID | S_IXGRP)) && caller_in_group(req, st.st_gid);
	vex_err err = acting_begin(req, keeps ? ACT_KEEP : ACT_CHANGE, a);
	a->clears = !err && !keeps;
	return err;
}

void acting_pays(fuse_req_t req, struct acting *a)
{
	struct vex_fs *fs = fs_of(req);
	uid_t uid = fuse_req_ctx(req)->uid;

	if (a->fs || !fs->privileged || uid == fs->uid)
		return;
	syscall(SYS_setfsuid, uid);
	a->fs = fs;
	a->pays = true;
}

void acting_content_end(fuse_req_t req, struct inode *i, struct acting *a)
{
	bool clears = a->clears;

	acting_end(a);
	a->clears = false;
	if (clears)
		fuse_lowlevel_notify_inval_inode(fs_of(req)->session, i->id, -1, 0);
}
