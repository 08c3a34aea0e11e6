/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When descriptors run out. Several rooms keep some they do not need at the moment
 * (fs of inodes, engine of directories), and a limit of 1,024 is shared with every file
 * clients have open. So each such cache says how it closes some, and whoever meets
 * EMFILE or ENFILE has all of them do it and tries again, inside the call.
 *
 * The registry's lock comes before the locks of the caches: so nobody asks for relief
 * while holding one of those.
 */
#include <fcntl.h>
#include <vexfs/base.h>

#define TRIES 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vex_relief *first; /* guarded by lock */

static void remove_locked(struct vex_relief *r)
{
	struct vex_relief **p = &first;

	while (*p && *p != r)
		p = &(*p)->next;
	if (*p)
		*p = r->next;
}

void vex_relief_add(struct vex_relief *r)
{
	SCOPED_LOCK(&lock);
	remove_locked(r);
	r->next = first;
	first = r;
}

void vex_relief_remove(struct vex_relief *r)
{
	SCOPED_LOCK(&lock);
	remove_locked(r);
}

bool vex_fds_short(int err)
{
	bool some = false;

	if (err != EMFILE && err != ENFILE)
		return false;
	pthread_mutex_lock(&lock);
	for (struct vex_relief *r = first; r; r = r->next)
		some |= r->close_some(r->arg);
	pthread_mutex_unlock(&lock);
	errno = err;
	return some;
}

int vex_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	int fd = openat(dirfd, name, flags | O_CLOEXEC, mode);

	for (int k = 0; fd < 0 && k < TRIES && vex_fds_short(errno); k++)
		fd = openat(dirfd, name, flags | O_CLOEXEC, mode);
	return fd;
}

vex_err vex_dup(int fd, int *out)
{
	int n = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	for (int k = 0; n < 0 && k < TRIES && vex_fds_short(errno); k++)
		n = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (n < 0)
		return -errno;
	*out = n;
	return 0;
}
