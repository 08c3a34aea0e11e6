/* SPDX-License-Identifier: Apache-2.0 */
/* attached: listxattr(2) and getxattr(2) on a file of the mount. */
#include "attached.h"

#include <fcntl.h>
#include <sys/xattr.h>

#define LIST_MAX 65536
#define PREFIX_LEN (sizeof(VEXFS_XATTR) - 1)

void target_close(struct target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

int target_open(const struct mount *m, const char *arg, struct target *out)
{
	AUTO_BUF struct buf rel = { 0 };
	int err = path_resolve(m, arg, &rel);
	int fd;

	if (err)
		return err;
	fd = openat(m->root, rel.len ? rel.data : ".", O_PATH | O_CLOEXEC);
	if (fd < 0)
		return cli_error("%s: %s", arg, strerror(errno));
	*out = (struct target){ .fd = fd, .arg = arg };
	snprintf(out->proc, sizeof(out->proc), "/proc/self/fd/%d", fd);
	return 0;
}

static bool matches(const struct wanted *w, const char *name)
{
	size_t len = strcspn(name, ".");
	const char *key = name[len] ? name + len + 1 : NULL;

	if (w->space && (strlen(w->space) != len || strncmp(w->space, name, len)))
		return false;
	if (w->key)
		return key && !strcmp(w->key, key);
	return !w->space || !key;
}

int attached_names(const struct target *t, const struct wanted *w, struct buf *out,
		   size_t *n)
{
	AUTO_FREE char *list = cli_alloc(1, LIST_MAX + 1);
	ssize_t len = listxattr(t->proc, list, LIST_MAX);

	*n = 0;
	if (len < 0)
		return cli_error("%s: %s", t->arg, strerror(errno));
	for (const char *p = list; p < list + len; p += strlen(p) + 1) {
		const char *name = p + PREFIX_LEN;

		if (strncmp(p, VEXFS_XATTR, PREFIX_LEN) || !matches(w, name))
			continue;
		buf_add(out, name, strlen(name) + 1);
		++*n;
	}
	return 0;
}

int attached_value(const struct target *t, const char *name, struct buf *out)
{
	AUTO_BUF struct buf full = { 0 };
	ssize_t len;

	buf_clear(out);
	buf_fmt(&full, "%s%s", VEXFS_XATTR, name);
	len = getxattr(t->proc, full.data, buf_room(out, LIST_MAX), LIST_MAX);
	out->len = len > 0 ? (size_t)len : 0;
	out->data[out->len] = 0;
	if (len >= 0)
		return 0;
	cli_error("%s: %s: %s", t->arg, name,
		  errno == ENODATA ? "nothing attached" : strerror(errno));
	return errno == ENODATA ? CLI_NONE : CLI_ERROR;
}
