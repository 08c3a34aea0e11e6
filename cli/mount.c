/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount: finding it. From a directory we climb to the top of its filesystem; that is
 * a VexFS mount if its .vexfs/control opens and answers VEXFS_IOC_VERSION.
 */
#include "mount.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "session.h"

void mount_free(struct mount *m)
{
	if (m->root >= 0)
		close(m->root);
	free(m->path);
	*m = (struct mount)MOUNT_INIT;
}

static char *path_of(int fd)
{
	char *text = cli_alloc(PATH_MAX + 1, 1);
	char proc[40];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (readlink(proc, text, PATH_MAX) < 0)
		snprintf(text, PATH_MAX, "?");
	return text;
}

/* 0, or a negative errno: -ENOTTY where this is the root of no VexFS mount. */
static int probe(int root, struct mount *out)
{
	struct mount m = MOUNT_INIT;
	struct stat st;
	int err;

	m.root = root;
	err = fstat(root, &st) ? -errno : session_version(&m, &m.version);
	if (err)
		return err == -ENOENT || err == -ENOTDIR ? -ENOTTY : err;
	m.dev = st.st_dev;
	m.ino = st.st_ino;
	m.root = fcntl(root, F_DUPFD_CLOEXEC, 3);
	if (m.root < 0)
		return -errno;
	m.path = path_of(root);
	*out = m;
	return 0;
}

/* The mount that holds `path`, or the nearest directory above it that exists. */
static int probe_above(const char *path, struct mount *out)
{
	const char *rest;
	AUTO_CLOSE int dir = path_open_dir(AT_FDCWD, path, &rest);
	AUTO_CLOSE int top = dir < 0 ? -1 : path_climb(dir);

	return top < 0 ? -errno : probe(top, out);
}

static int named(const char *path, const char *by, struct mount *out)
{
	AUTO_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 ? -errno : probe(fd, out);

	if (err == -ENOTTY)
		return cli_error("%s%s: not the root of a VexFS mount", by, path);
	return err ? cli_error("%s%s: %s", by, path, strerror(-err)) : 0;
}

static void look_at_cwd(struct mount *m)
{
	AUTO_CLOSE int top = path_climb(AT_FDCWD);
	struct stat st;

	m->cwd_inside =
	    top >= 0 && !fstat(top, &st) && st.st_dev == m->dev && st.st_ino == m->ino;
}

static int check_abi(const struct mount *m)
{
	if (m->version.abi == VEXFS_ABI)
		return 0;
	return cli_error("%s speaks interface %u, this vexctl %u", m->path,
			 m->version.abi, VEXFS_ABI);
}

int mount_holding(const char *path, struct mount *out)
{
	int err = probe_above(path, out);

	if (err)
		return cli_error("%s: not in a VexFS mount", path);
	return check_abi(out);
}

static int find(const struct invocation *in, const char *path, struct mount *out)
{
	const char *env = getenv("VEXFS_MOUNT");

	if (in->mount)
		return named(in->mount, "", out);
	if (env && *env)
		return named(env, "VEXFS_MOUNT=", out);
	if (path && !probe_above(path, out))
		return 0;
	if (!probe_above(".", out))
		return 0;
	return cli_error("no VexFS mount here: say -m MOUNT or set VEXFS_MOUNT");
}

int mount_find(const struct invocation *in, const char *path, struct mount *out)
{
	int err = find(in, path, out);

	if (!err)
		err = check_abi(out);
	if (!err)
		look_at_cwd(out);
	return err;
}
