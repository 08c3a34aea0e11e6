/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks. A daemon run as root lets the kernel judge a caller's path by becoming the
 * caller for the moment: fsuid, fsgid and groups of this thread alone, hence the raw
 * system calls (glibc's would switch every thread). Only on pool threads, which run
 * nothing else meanwhile; put back on every way out. A thread that cannot be put
 * back must not live on, with rights of one caller, to serve another.
 *
 * Leaving fsuid 0 takes the file capabilities away, coming back restores them; so
 * groups go first and return last.
 */
#include <sys/syscall.h>
#include "names_i.h"

bool vex_cred_is_admin(const struct vex_engine *e, const struct vex_cred *c)
{
	return !c->uid || c->uid == e->owner;
}

static uint32_t set_fsuid(uint32_t uid)
{
	return (uint32_t)syscall(SYS_setfsuid, uid);
}

static uint32_t set_fsgid(uint32_t gid)
{
	return (uint32_t)syscall(SYS_setfsgid, gid);
}

static vex_err save_groups(struct as_user *u)
{
	long n = syscall(SYS_getgroups, 0, NULL);

	if (n < 0)
		return -errno;
	u->groups = calloc((size_t)n + 1, sizeof(*u->groups));
	if (!u->groups)
		return -ENOMEM;
	n = syscall(SYS_getgroups, n, u->groups);
	if (n < 0)
		return -errno;
	u->ngroups = (int)n;
	return 0;
}

vex_err cred_enter(const struct vex_cred *c, struct as_user *u)
{
	vex_err err;

	*u = (struct as_user){ 0 };
	if (!c->uid || geteuid())
		return 0;
	err = save_groups(u);
	if (err)
		return err;
	/* Without CAP_SETGID (a container): judge by ourselves instead. */
	if (syscall(SYS_setgroups, c->ngroups, c->groups))
		return errno == EPERM ? 0 : -errno;
	u->switched = true;
	u->gid = set_fsgid(c->gid);
	u->uid = set_fsuid(c->uid);
	/* Setting tells the old value whether it worked or not: -1 only asks. */
	if (set_fsgid(~0u) == c->gid && set_fsuid(~0u) == c->uid)
		return 0;
	cred_leave(u);
	return -EPERM;
}

void cred_leave(struct as_user *u)
{
	if (u->switched) {
		set_fsuid(u->uid);
		set_fsgid(u->gid);
		if (set_fsuid(~0u) != u->uid || set_fsgid(~0u) != u->gid ||
		    syscall(SYS_setgroups, u->ngroups, u->groups)) {
			vex_error("cannot take back the rights of this thread");
			abort();
		}
	}
	free(u->groups);
	*u = (struct as_user){ 0 };
}
