/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File handles: name_to_handle_at(2) and open_by_handle_at(2) with our fixed-size
 * struct. A handle longer than VEX_FH_MAX counts as "none": ext4 uses 8 bytes, xfs and
 * btrfs up to 40.
 */
#include <fcntl.h>
#include <vexfs/base.h>

union handle_buf {
	struct file_handle h;
	char room[sizeof(struct file_handle) + VEX_FH_MAX];
};

vex_err vex_fh_get(int dirfd, const char *name, struct vex_fh *fh, int *mount_id)
{
	union handle_buf b = { .h.handle_bytes = VEX_FH_MAX };
	int id = -1;
	int flags = *name ? 0 : AT_EMPTY_PATH;

	memset(fh, 0, sizeof(*fh));
	if (name_to_handle_at(dirfd, name, &b.h, &id, flags)) {
		/* EOVERFLOW: longer than ours, or no handles; the mount id is set. */
		if (errno != EOPNOTSUPP && errno != EOVERFLOW)
			return -errno;
	} else {
		fh->type = b.h.handle_type;
		fh->len = (uint8_t)b.h.handle_bytes;
		memcpy(fh->bytes, b.h.f_handle, fh->len);
	}
	if (mount_id)
		*mount_id = id;
	return 0;
}

vex_err vex_fh_open(int mountfd, const struct vex_fh *fh, int flags, int *out)
{
	union handle_buf b = { .h.handle_bytes = fh->len, .h.handle_type = fh->type };
	int fd;

	if (!fh->len)
		return -ESTALE;
	memcpy(b.h.f_handle, fh->bytes, fh->len);
	do
		fd = open_by_handle_at(mountfd, &b.h, flags | O_CLOEXEC);
	while (fd < 0 && vex_fds_short(errno));
	if (fd < 0)
		return -errno;
	*out = fd;
	return 0;
}

struct vex_procfd vex_procfd(int fd)
{
	struct vex_procfd p = { "/proc/self/fd/" };
	char digits[12], *at = p.path + strlen(p.path);
	int n = 0;

	/* By hand: printf takes 2 KB of stack, and each xattr call comes by here. */
	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		*at++ = digits[--n];
	return p;
}
