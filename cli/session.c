/* SPDX-License-Identifier: Apache-2.0 */
/* session: calls on MOUNT/.vexfs/control. See session.h and uapi/vexfs.h. */
#include "session.h"

#include <fcntl.h>
#include <sys/ioctl.h>

void session_close(struct session *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* O_NONBLOCK: should something else lie under that name, we do not hang on it. */
static int open_control(const struct mount *m, struct session *out)
{
	const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int fd = openat(m->root, VEXFS_CONTROL, O_RDWR | flags);
	bool ro = fd < 0 && errno == EROFS;

	if (ro)
		fd = openat(m->root, VEXFS_CONTROL, O_RDONLY | flags);
	if (fd < 0)
		return -errno;
	*out = (struct session){ .fd = fd, .read_only = ro };
	return 0;
}

int session_open(const struct mount *m, struct session *out)
{
	int err = open_control(m, out);

	return err ? cli_error("%s/%s: %s", m->path, VEXFS_CONTROL, strerror(-err)) : 0;
}

int session_version(const struct mount *m, struct vexfs_version *out)
{
	AUTO_SESSION struct session s = SESSION_INIT;
	int err = open_control(m, &s);

	*out = (struct vexfs_version){ 0 };
	return err ? err : session_call(&s, VEXFS_IOC_VERSION, out);
}

int session_call(struct session *s, unsigned long cmd, void *arg)
{
	int ret;

	do
		ret = ioctl(s->fd, cmd, arg);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

void session_reason(struct session *s, int err, struct buf *out, uint32_t *item)
{
	struct vexfs_last_error last = { 0 };

	buf_clear(out);
	*item = 0;
	if (err == -EBADF && s->read_only)
		err = -EROFS;
	if (!session_call(s, VEXFS_IOC_LAST_ERROR, &last) && last.error == -err) {
		last.text[sizeof(last.text) - 1] = 0;
		buf_str(out, last.text);
		*item = last.item;
	}
	if (!out->len)
		buf_str(out, strerror(-err));
}

int session_error(struct session *s, int err, const char *what)
{
	AUTO_BUF struct buf why = { 0 };
	uint32_t item;

	session_reason(s, err, &why, &item);
	if (!strcmp(buf_text(&why), strerror(-err)))
		return cli_error("%s: %s", what, buf_text(&why));
	return cli_error("%s", buf_text(&why));
}

int session_stage(struct session *s, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t w = write(s->fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w ? -errno : -EIO;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int session_read(struct session *s, void *buf, size_t size, size_t *n)
{
	for (;;) {
		ssize_t r = read(s->fd, buf, size);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return session_error(s, -errno, VEXFS_CONTROL);
		*n = (size_t)r;
		return 0;
	}
}

int session_space(struct session *s, const char *name, struct vexfs_space *out)
{
	struct vexfs_space space = { 0 };
	int err;

	snprintf(space.name, sizeof(space.name), "%s", name);
	err = session_call(s, VEXFS_IOC_SPACE_GET, &space);
	if (!err)
		*out = space;
	return err;
}

int session_space_by_id(struct session *s, uint32_t id, struct vexfs_space *out)
{
	AUTO_FREE struct vexfs_space_list *list = cli_alloc(1, sizeof(*list));
	int err;

	list->after = id - 1;
	err = session_call(s, VEXFS_IOC_SPACE_LIST, list);
	if (!err && (!list->count || list->spaces[0].id != id))
		err = -ENODEV;
	if (!err)
		*out = list->spaces[0];
	return err;
}

int session_spaces_of(struct session *s, uint32_t dim, struct buf *names)
{
	AUTO_FREE struct vexfs_space_list *list = cli_alloc(1, sizeof(*list));
	int found = 0;

	do {
		uint32_t after = list->count ? list->spaces[list->count - 1].id : 0;
		int err;

		memset(list, 0, sizeof(*list));
		list->after = after;
		err = session_call(s, VEXFS_IOC_SPACE_LIST, list);
		if (err)
			return err;
		for (uint32_t i = 0; i < list->count && i < 64; i++) {
			if (list->spaces[i].dim != dim)
				continue;
			buf_fmt(names, "%s%.*s", found++ ? " " : "", VEXFS_NAME_LEN,
				list->spaces[i].name);
		}
	} while (list->more && list->count);
	return found;
}
