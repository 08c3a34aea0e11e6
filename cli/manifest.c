/* SPDX-License-Identifier: Apache-2.0 */
/* manifest: see manifest.h. */
#include "manifest.h"

#include <fcntl.h>
#include <sys/stat.h>

#define FIRST "vexfs-backup 1\n"

static const char *const states[] = {
	[BACKUP_RUNNING] = "running",
	[BACKUP_COMPLETE] = "complete",
	[BACKUP_PARTIAL] = "partial",
};

static bool read_uuid(const char *text, uint8_t out[16])
{
	for (int i = 0; i < 16; i++) {
		unsigned byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		out[i] = (uint8_t)byte;
	}
	return true;
}

/* A line that is not known is of a later version, and says nothing needed. */
static bool read_line(const char *line, struct manifest *m)
{
	const char *blank = strchr(line, ' ');
	const char *value = blank ? blank + 1 : "";
	size_t n = blank ? (size_t)(blank - line) : 0;

	if (n == 5 && !strncmp(line, "state", n)) {
		for (unsigned i = BACKUP_RUNNING; i < ARRAY_SIZE(states); i++)
			if (!strcmp(value, states[i]))
				m->state = i;
		return m->state != BACKUP_NONE;
	}
	if (n == 4 && !strncmp(line, "uuid", n))
		return strlen(value) == 32 && read_uuid(value, m->uuid);
	if (n == 3 && !strncmp(line, "lsn", n))
		m->lsn = strtoull(value, NULL, 10);
	else if (n == 4 && !strncmp(line, "time", n))
		m->time = strtoll(value, NULL, 10);
	else if (n == 5 && !strncmp(line, "files", n))
		m->files = strtoull(value, NULL, 10);
	else if (n == 6 && !strncmp(line, "unread", n))
		m->unread = strtoull(value, NULL, 10);
	return true;
}

int manifest_read(int dir, const char *name, struct manifest *out)
{
	AUTO_CLOSE int fd = openat(dir, MANIFEST, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_BUF struct buf text = { 0 };
	char *line, *next;
	bool good;

	*out = (struct manifest){ .state = BACKUP_NONE };
	if (fd < 0)
		return errno == ENOENT
			   ? 0
			   : cli_error("%s/" MANIFEST ": %s", name, strerror(errno));
	if (read_all(fd, name, 65536, &text))
		return CLI_ERROR;
	good = text.len > strlen(FIRST) && !strncmp(text.data, FIRST, strlen(FIRST));
	for (line = good ? text.data + strlen(FIRST) : NULL; line && *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = 0;
		good = good && read_line(line, out);
	}
	if (!good || out->state == BACKUP_NONE)
		return cli_error("%s/" MANIFEST ": not of a backup this vexctl knows",
				 name);
	return 0;
}

static void text_of(const struct manifest *m, struct buf *out)
{
	buf_str(out, FIRST);
	buf_fmt(out, "state %s\nuuid ", states[m->state]);
	for (int i = 0; i < 16; i++)
		buf_fmt(out, "%02x", m->uuid[i]);
	buf_fmt(out, "\nlsn %llu\ntime %lld\nfiles %llu\nunread %llu\n",
		(unsigned long long)m->lsn, (long long)m->time,
		(unsigned long long)m->files, (unsigned long long)m->unread);
}

int manifest_write(int dir, const char *name, const struct manifest *m)
{
	AUTO_CLOSE int fd =
	    openat(dir, MANIFEST ".new",
		   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	AUTO_BUF struct buf text = { 0 };

	text_of(m, &text);
	if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len || fsync(fd) ||
	    renameat(dir, MANIFEST ".new", dir, MANIFEST) || fsync(dir))
		return cli_error("%s/" MANIFEST ": %s", name, strerror(errno));
	return 0;
}
