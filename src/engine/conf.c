/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STORE/.vexfs/vexfs.conf: settings that outlive the mount, a line each, NAME=VALUE or
 * NAME; "#" begins a comment. People edit it, so a setting that is kept replaces its own
 * line and leaves all others as they are. It is read by main before the store opens.
 */
#include <fcntl.h>
#include "engine_i.h"

#define CONF_MAX ((size_t)65536)
#define CONF_NEW VEX_CONF_NAME ".new"

static vex_err read_conf(int dirfd, struct vex_buf *out)
{
	AUTO_CLOSE int fd = vex_openat(dirfd, VEX_CONF_NAME, O_RDONLY | O_NOFOLLOW, 0);
	char piece[1024];
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		vex_buf_add(out, piece, (size_t)n);
	return n < 0 ? -errno : out->err;
}

/* Whether a line sets that name. */
static bool is_line_of(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name), lead = 0;

	while (lead < len && (line[lead] == ' ' || line[lead] == '\t'))
		lead++;
	line += lead;
	len -= lead;
	return len >= n && !strncmp(line, name, n) &&
	       (len == n || strchr("= \t#\r", line[n]));
}

static void replace(const struct vex_buf *in, const char *name, const char *value,
		    struct vex_buf *out)
{
	bool done = false;

	for (size_t at = 0; at < in->len;) {
		const char *line = in->data + at;
		const char *nl = memchr(line, '\n', in->len - at);
		size_t len = nl ? (size_t)(nl - line) : in->len - at;

		if (!is_line_of(line, len, name)) {
			vex_buf_add(out, line, len);
			vex_buf_str(out, "\n");
		} else if (!done) {
			vex_buf_fmt(out, "%s=%s\n", name, value);
			done = true;
		}
		at += len + 1;
	}
	if (!done)
		vex_buf_fmt(out, "%s=%s\n", name, value);
}

static vex_err write_conf(int dirfd, const struct vex_buf *text)
{
	AUTO_CLOSE int fd =
	    vex_openat(dirfd, CONF_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < text->len;) {
		ssize_t n = write(fd, text->data + at, text->len - at);

		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	if (fsync(fd) || renameat(dirfd, CONF_NEW, dirfd, VEX_CONF_NAME))
		return -errno;
	return fsync(dirfd) ? -errno : 0;
}

vex_err conf_save(struct vex_engine *e, enum vex_knob k, uint64_t value)
{
	AUTO_BUF struct vex_buf old = { .cap = CONF_MAX };
	AUTO_BUF struct vex_buf text = { .cap = CONF_MAX };
	int dirfd = vex_store_dirfd(e->store);
	char shown[64];
	vex_err err = read_conf(dirfd, &old);

	if (err)
		return err;
	vex_knob_print(k, value, shown, sizeof(shown));
	replace(&old, vex_knob_info(k)->name, shown, &text);
	return text.err ? text.err : write_conf(dirfd, &text);
}
