/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <dirent.h>
#include "fs_i.h"

#define CAP 8u

static struct vex_fs fs;
static char dir[] = "/tmp/vexfs-fdcache-XXXXXX";

/* A root folder with 40 files; handles off, so that inodes are found by name. */
static void up(void)
{
	struct fdref ref;
	struct stat st;
	struct vex_fh fh;
	char name[32];

	memset(&fs, 0, sizeof(fs));
	cr_assert(mkdtemp(dir) != NULL);
	fs.rootfd = open(dir, O_RDONLY | O_DIRECTORY);
	cr_assert(fs.rootfd >= 0);
	for (int k = 0; k < 40; k++) {
		snprintf(name, sizeof(name), "f%d", k);
		close(openat(fs.rootfd, name, O_CREAT | O_WRONLY, 0600));
	}
	fdcache_init(&fs, CAP);
	cr_assert_eq(itable_init(&fs), 0);
	cr_assert_eq(identify(fs.rootfd, &st, &fh), 0);
	fs.root_dev = st.st_dev;
	fs.hidden_ino = 1;
	cr_assert_eq(inode_get(&fs, &st, &fh, &fs.root), 0);
	fd_give(&fs, fs.root, fs.rootfd, &ref);
	fd_pin(&ref);
	fd_put(&ref);
}

static void down(void)
{
	char cmd[64];

	itable_destroy(&fs);
	close(fs.rootfd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

#define FTEST(name) Test(fdcache, name, .init = up, .fini = down)

static struct inode *look(struct inode *parent, const char *name)
{
	struct fuse_entry_param e;

	cr_assert_eq(entry_lookup(&fs, parent, name, &e), 0);
	return nodeid_inode(&fs, e.ino);
}

static struct inode *file(int k)
{
	char name[32];

	snprintf(name, sizeof(name), "f%d", k);
	return look(fs.root, name);
}

FTEST(no_more_than_cap_stay_open)
{
	struct inode *i[40];

	for (int k = 0; k < 40; k++)
		i[k] = file(k);
	cr_expect_eq(fs.fds.count, CAP);
	/* All are found again, the oldest too. */
	for (int k = 0; k < 40; k++) {
		struct fdref ref;
		struct stat st;

		cr_assert_eq(fd_get(&fs, i[k], &ref), 0);
		cr_assert_eq(fstatat(ref.fd, "", &st, AT_EMPTY_PATH), 0);
		cr_expect_eq(st.st_ino, i[k]->ino);
		fd_put(&ref);
	}
	cr_expect_eq(fs.fds.count, CAP);
	cr_expect_gt(atomic_load(&fs.fds.reopened), 30);
}

FTEST(those_in_use_are_not_closed)
{
	struct fdref ref[12];

	for (int k = 0; k < 12; k++)
		cr_assert_eq(fd_get(&fs, file(k), &ref[k]), 0);
	for (int k = 12; k < 40; k++)
		file(k);
	for (int k = 0; k < 12; k++)
		cr_expect(fcntl(ref[k].fd, F_GETFD) >= 0);
	cr_expect_geq(fs.fds.count, 12);
	for (int k = 0; k < 12; k++)
		fd_put(&ref[k]);
	cr_expect_leq(fs.fds.count, CAP);
}

FTEST(pinned_ones_stay)
{
	struct inode *i = file(0);
	struct fdref ref;
	int fd;

	cr_assert_eq(fd_get(&fs, i, &ref), 0);
	fd = ref.fd;
	fd_pin(&ref);
	fd_put(&ref);
	cr_assert_eq(unlinkat(fs.rootfd, "f0", 0), 0);
	for (int k = 1; k < 40; k++)
		file(k);
	cr_assert_eq(fd_get(&fs, i, &ref), 0);
	cr_expect_eq(ref.fd, fd);
	fd_put(&ref);
	inode_unref(&fs, i, 1);
	cr_expect(fcntl(fd, F_GETFD) < 0, "closed with the last reference");
}

FTEST(another_file_under_the_name_is_stale)
{
	struct inode *i = file(0);
	struct fdref ref;

	for (int k = 1; k < 40; k++)
		file(k);
	cr_assert_eq(renameat(fs.rootfd, "f1", fs.rootfd, "f0"), 0);
	cr_expect_eq(fd_get(&fs, i, &ref), -ESTALE);
	cr_assert_eq(unlinkat(fs.rootfd, "f0", 0), 0);
	cr_expect_eq(fd_get(&fs, i, &ref), -ESTALE);
}

FTEST(found_through_directories_closed_meanwhile)
{
	struct inode *at = fs.root, *deep[30];
	struct fdref ref;
	int fd = dup(fs.rootfd);

	for (int k = 0; k < 30; k++) {
		cr_assert_eq(mkdirat(fd, "d", 0700), 0);
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
		close(fd);
		fd = next;
		deep[k] = at = look(at, "d");
	}
	close(fd);
	for (int k = 0; k < 40; k++)
		file(k);
	cr_expect_lt(deep[20]->fd, 0);
	cr_assert_eq(fd_get(&fs, at, &ref), 0);
	cr_expect_eq(ref.inode, at);
	fd_put(&ref);
	cr_expect_leq(fs.fds.count, CAP);
	/* A directory in the middle replaced: what lay below is not found elsewhere. */
	for (int k = 0; k < 40; k++)
		file(k);
	cr_assert_eq(renameat(fs.rootfd, "d/d/d", fs.rootfd, "away"), 0);
	cr_assert_eq(mkdirat(fs.rootfd, "d/d/d", 0700), 0);
	cr_expect_eq(fd_get(&fs, deep[2], &ref), -ESTALE);
}

FTEST(cycles_in_what_we_remember_end)
{
	struct inode *a, *b;
	struct fdref ref;

	cr_assert_eq(mkdirat(fs.rootfd, "a", 0700), 0);
	cr_assert_eq(mkdirat(fs.rootfd, "a/b", 0700), 0);
	a = look(fs.root, "a");
	b = look(a, "b");
	for (int k = 0; k < 40; k++)
		file(k);
	inode_name(&fs, a, b, "a"); /* as after moves behind the mount */
	cr_expect_eq(fd_get(&fs, b, &ref), -ESTALE);
	inode_unname(&fs, a, b, "a");
}

FTEST(descriptors_are_given_back_when_they_run_out)
{
	struct inode *i[8];

	for (int k = 0; k < 8; k++)
		i[k] = file(k);
	cr_expect_eq(fs.fds.count, 8);
	cr_expect(fd_relieve(&fs));
	cr_expect_eq(fs.fds.count, 0);
	cr_expect_not(fd_relieve(&fs));
	for (int k = 0; k < 8; k++)
		cr_expect_lt(i[k]->fd, 0);
}

/* ---- objects known by a number, as long as their descriptor is held ------------- */

static struct stat stat_of(int k)
{
	struct stat st;
	char name[32];

	snprintf(name, sizeof(name), "f%d", k);
	cr_assert_eq(fstatat(fs.rootfd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

FTEST(held_objects_are_known_by_their_number)
{
	uint64_t before = fd_clock(&fs);
	struct inode *i = file(0);
	struct stat st = stat_of(0);
	struct inode *held = inode_held(&fs, &st, fd_clock(&fs));

	cr_assert_eq(held, i);
	cr_expect_eq(atomic_load(&i->refs), 2);
	inode_unref(&fs, held, 1);
	/* A name that was looked at before the descriptor was there may have led to an
	 * earlier owner of the number. */
	cr_expect_null(inode_held(&fs, &st, before));
	st = stat_of(1);
	cr_expect_null(inode_held(&fs, &st, fd_clock(&fs)));
}

FTEST(a_descriptor_closed_and_opened_again_counts_anew)
{
	struct inode *i = file(0);
	struct stat st = stat_of(0);
	uint64_t held_since = fd_clock(&fs);
	struct fdref ref;

	for (int k = 1; k < 40; k++)
		file(k);
	cr_assert_lt(i->fd, 0);
	cr_expect_null(inode_held(&fs, &st, fd_clock(&fs)));
	cr_assert_eq(fd_get(&fs, i, &ref), 0);
	cr_expect_null(inode_held(&fs, &st, held_since));
	struct inode *held = inode_held(&fs, &st, fd_clock(&fs));
	cr_expect_eq(held, i);
	inode_unref(&fs, held, 1);
	fd_put(&ref);
}

FTEST(nameless_objects_are_not_known_by_their_number)
{
	struct inode *i = file(0);
	struct stat st = stat_of(0);

	inode_nameless(&fs, i);
	cr_expect_null(inode_held(&fs, &st, fd_clock(&fs)));
}
