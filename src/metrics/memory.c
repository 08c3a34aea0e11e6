/* SPDX-License-Identifier: Apache-2.0 */
/* What the process takes, as the kernel counts it in /proc/self. */
#include <dirent.h>
#include <fcntl.h>
#include "metrics_i.h"

static uint64_t field(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

static void read_status(struct vex_memory *m)
{
	AUTO_CLOSE int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = calloc(1, 4096);
	ssize_t n = fd < 0 || !text ? 0 : read(fd, text, 4095);

	if (n <= 0)
		return;
	m->resident = field(text, "VmRSS:") << 10;
	m->peak = field(text, "VmHWM:") << 10;
	m->virtual_ = field(text, "VmSize:") << 10;
	m->anonymous = field(text, "RssAnon:") << 10;
	m->mapped = field(text, "RssFile:") << 10;
	m->threads = field(text, "Threads:");
}

static uint64_t count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n > 3 ? n - 3 : 0; /* ".", "..", and the one that looks */
}

void vex_memory_read(struct vex_memory *out)
{
	memset(out, 0, sizeof(*out));
	read_status(out);
	out->descriptors = count_descriptors();
}
