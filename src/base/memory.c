/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory this process may use: the machine's, or less where a memory cgroup of
 * either version says so. Read anew each time: limits change while we run. What cannot be
 * read does not limit.
 */
#include <inttypes.h>
#include <vexfs/base.h>

static uint64_t number_in(const char *path)
{
	uint64_t n = UINT64_MAX;
	FILE *f = fopen(path, "re");

	if (!f)
		return n;
	/* "max" is no number. */
	if (fscanf(f, "%" SCNu64, &n) != 1)
		n = UINT64_MAX;
	fclose(f);
	return n;
}

/* The least of a group's limit and of those above it. */
static uint64_t limit_below(const char *mount, const char *group, const char *file)
{
	uint64_t least = UINT64_MAX, n;
	char at[512], path[1024];
	char *slash;

	snprintf(at, sizeof(at), "%s", group);
	do {
		snprintf(path, sizeof(path), "%s%s/%s", mount, at, file);
		n = number_in(path);
		least = n < least ? n : least;
		slash = strrchr(at, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return least;
}

/* A line of /proc/self/cgroup: "ID:CONTROLLERS:PATH", no controllers for version 2. */
static uint64_t limit_of_line(char *line)
{
	char *what = strchr(line, ':'), *group = what ? strchr(what + 1, ':') : NULL;
	uint64_t a, b;

	if (!group)
		return UINT64_MAX;
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';
	if (!strcmp(what, ":memory"))
		return limit_below("/sys/fs/cgroup/memory", group,
				   "memory.limit_in_bytes");
	if (strcmp(what, ":"))
		return UINT64_MAX;
	a = limit_below("/sys/fs/cgroup", group, "memory.max");
	b = limit_below("/sys/fs/cgroup/unified", group, "memory.max");
	return a < b ? a : b;
}

uint64_t vex_memory_total(void)
{
	uint64_t least =
	    (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[600];

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t n = limit_of_line(line);

		least = n < least ? n : least;
	}
	if (f)
		fclose(f);
	return least;
}
