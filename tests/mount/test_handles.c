/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File handles taken through the mount (name_to_handle_at; what an NFS server hands
 * out): they open the same file after the kernel forgot it, after a rename, after a new
 * mount and a killed daemon; never a file that took over the inode number, never
 * anything outside STORE or in its hidden directory.
 */
#include "mount/compare.h"

#include <sys/xattr.h>

static struct vmount m;

static void up(void)
{
	if (geteuid())
		cr_skip_test("needs root");
	vm_new(&m);
	vm_up(&m, NULL);
}

static void down(void)
{
	if (!geteuid())
		vm_free(&m);
}

#define HANDLE(name) Test(handles, name, .init = up, .fini = down, .timeout = 120)

union fh {
	struct file_handle h;
	struct {
		unsigned bytes;
		int type;
		uint32_t word[32];
	};
};

static union fh handle_of(const char *path)
{
	union fh f = { .bytes = sizeof(f.word) };
	int id;

	cr_assert(name_to_handle_at(AT_FDCWD, path, &f.h, &id, 0) == 0, "%s: %s", path,
		  strerror(errno));
	return f;
}

static int open_handle(const union fh *f, int flags)
{
	union fh copy = *f;
	int at = open(m.mnt, O_RDONLY | O_DIRECTORY);

	cr_assert(at >= 0);
	int fd = open_by_handle_at(at, &copy.h, flags);
	int err = errno;
	close(at);
	errno = err;
	return fd;
}

static void opens(const union fh *f, const char *text)
{
	char buf[64] = "";
	int fd = open_handle(f, O_RDONLY);

	cr_assert(fd >= 0, "%s: %s", text, strerror(errno));
	cr_assert(read(fd, buf, sizeof(buf) - 1) >= 0);
	cr_assert_str_eq(buf, text);
	close(fd);
}

static void is_stale(const union fh *f)
{
	errno = 0;
	cr_assert(open_handle(f, O_RDONLY) < 0);
	cr_assert_eq(errno, ESTALE, "%s", strerrorname_np(errno));
}

/* The kernel drops what it remembers of names and inodes. */
static void forget(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	cr_assert(fd >= 0 && write(fd, "2", 1) == 1);
	close(fd);
}

/* ---- they last --------------------------------------------------------------------- */

HANDLE(outlive_the_kernels_memory)
{
	cr_assert(mkdir(vm_at(&m, "d"), 0755) == 0 && mkdir(vm_at(&m, "d/e"), 0755) == 0);
	vm_puts(vm_at(&m, "d/e/f"), "contents");
	cr_assert(symlink("f", vm_at(&m, "d/e/s")) == 0);
	union fh file = handle_of(vm_at(&m, "d/e/f")), dir = handle_of(vm_at(&m, "d/e"));
	union fh root = handle_of(m.mnt);
	union fh again;

	opens(&file, "contents");
	forget();
	opens(&file, "contents");
	again = handle_of(vm_at(&m, "d/e/f"));
	cr_assert(!memcmp(&file, &again, sizeof(file)));
	cr_assert(rename(vm_at(&m, "d/e/f"), vm_at(&m, "g")) == 0);
	forget();
	opens(&file, "contents");
	/* A directory is found with its way to the root. */
	forget();
	int fd = open_handle(&dir, O_RDONLY | O_DIRECTORY);
	cr_assert(fd >= 0);
	char link[64], path[600] = "";
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	cr_assert(readlink(link, path, sizeof(path) - 1) > 0);
	cr_assert_str_eq(path, vm_at(&m, "d/e"));
	cr_assert(faccessat(fd, "s", F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	cr_assert(faccessat(fd, "../../g", R_OK, 0) == 0);
	close(fd);
	fd = open_handle(&root, O_RDONLY | O_DIRECTORY);
	cr_assert(fd >= 0 && faccessat(fd, "g", F_OK, 0) == 0);
	close(fd);
}

HANDLE(outlive_the_mount)
{
	cr_assert(mkdir(vm_at(&m, "d"), 0755) == 0);
	vm_puts(vm_at(&m, "d/f"), "contents");
	cr_assert(setxattr(vm_at(&m, "d/f"), "user.vexfs.s", "1,2", 3, 0) == 0);
	union fh file = handle_of(vm_at(&m, "d/f")), dir = handle_of(vm_at(&m, "d"));
	char buf[8] = "";

	vm_remount(&m, NULL);
	opens(&file, "contents");
	int fd = open_handle(&file, O_RDWR);
	cr_assert_eq(fgetxattr(fd, "user.vexfs.s", buf, sizeof(buf)), 3);
	cr_assert_eq(pwrite(fd, "C", 1, 0), 1);
	cr_assert(fsetxattr(fd, "user.vexfs.t", "3,4", 3, 0) == 0);
	close(fd);
	cr_assert_eq(getxattr(vm_at(&m, "d/f"), "user.vexfs.t", buf, sizeof(buf)), 3);
	vm_crash(&m);
	vm_up(&m, NULL);
	opens(&file, "Contents");
	fd = open_handle(&dir, O_RDONLY | O_DIRECTORY);
	cr_assert(fd >= 0 && faccessat(fd, "f", F_OK, 0) == 0);
	close(fd);
	union fh again = handle_of(vm_at(&m, "d/f"));
	cr_assert(!memcmp(&file, &again, sizeof(file)));
}

/* As on the filesystem below: open, removed, made again, while somebody still has it. */
static void removed(struct notes *n)
{
	union fh f;
	int id, at = open(".", O_RDONLY), fd, other;

	for (int k = 0; k < 3; k++) {
		fd = open("f", O_CREAT | O_RDWR, 0644);
		f = (union fh){ .bytes = sizeof(f.word) };
		sure(name_to_handle_at(AT_FDCWD, "f", &f.h, &id, 0));
		if (k == 2)
			sure(link("f", "second"));
		sure(unlink("f"));
		other = (int)CALL(n, open_by_handle_at(at, &f.h, O_RDWR));
		CALL(n, write(other, "x", 1));
		struct stat st = { 0 };
		CALL(n, fstat(other, &st));
		NOTE(n, "%u %lld", (unsigned)st.st_nlink, (long long)st.st_size);
		close(other);
		close(fd);
		usleep(50000); /* the daemon hears of a close a moment later */
		CALL(n, open_by_handle_at(at, &f.h, O_RDWR));
		close(open("f", O_CREAT | O_RDWR, 0644)); /* often the same number */
		CALL(n, open_by_handle_at(at, &f.h, O_RDWR));
		sure(unlink("f"));
	}
	sure(mkdir("d", 0755));
	f = (union fh){ .bytes = sizeof(f.word) };
	sure(name_to_handle_at(AT_FDCWD, "d", &f.h, &id, 0));
	sure(rmdir("d"));
	CALL(n, open_by_handle_at(at, &f.h, O_RDONLY | O_DIRECTORY));
	close(at);
}
HANDLE(of_removed_files)
{
	compare(&m, removed);
}

HANDLE(of_removed_files_after_a_mount)
{
	vm_puts(vm_at(&m, "f"), "one");
	union fh f = handle_of(vm_at(&m, "f"));

	cr_assert(unlink(vm_at(&m, "f")) == 0);
	for (int k = 0; k < 20; k++)
		vm_puts(vm_at(&m, "other%d", k), "two");
	is_stale(&f);
	vm_remount(&m, NULL);
	is_stale(&f);
}

/* ---- they lead nowhere else -----------------------------------------------------------
 */

/* A handle of the mount for an object of the filesystem below, with a generation. */
static union fh forged(const char *path, uint32_t generation)
{
	union fh below = handle_of(path), f = { .bytes = 12, .type = 0x81 };

	if (below.type != 1 || below.bytes != 8)
		cr_skip_test("handles of another kind below");
	f.word[0] = below.word[1];
	f.word[1] = below.word[0];
	f.word[2] = generation;
	return f;
}

HANDLE(lead_nowhere_else)
{
	vm_puts(vm_at(&m, "f"), "inside");
	vm_puts(vm_plain(&m, "f"), "outside");
	cr_assert(mkdir(vm_plain(&m, "d"), 0755) == 0);
	union fh real = handle_of(vm_at(&m, "f"));
	union fh f = forged(vm_store(&m, "f"), real.word[2]);
	/* This is how they are made: else the rest means nothing. */
	cr_assert(!memcmp(&f, &real, sizeof(f)));
	static const char *const hidden[] = { "", "/catalog.db", "/store.lock",
					      "/spaces" };
	for (uint32_t k = 0; k < 4; k++) {
		uint32_t gen = k == 1 ? real.word[2] : k * 77;

		f = forged(vm_store(&m, "f"), gen);
		if (k != 1)
			is_stale(&f);
		f = forged(vm_plain(&m, "f"), gen);
		is_stale(&f);
		f = forged(vm_plain(&m, "d"), gen);
		is_stale(&f);
		f = forged(m.base, gen);
		is_stale(&f);
		for (int h = 0; h < 4; h++) {
			const char *path = vm_store(&m, ".vexfs%s", hidden[h]);

			if (access(path, F_OK))
				continue;
			f = forged(path, gen);
			is_stale(&f);
		}
	}
	for (uint32_t k = 1; k < 64; k++) { /* no such thing */
		f = (union fh){ .bytes = 12,
				.type = 0x81,
				.word = { k * 99, 1u << (k % 32), k } };
		errno = 0;
		cr_assert(open_handle(&f, O_RDONLY) < 0 && errno == ESTALE);
	}
	opens(&real, "inside");
}

/* A directory that was moved out of STORE behind the mount cannot be reached any more. */
HANDLE(end_where_a_directory_leaves_the_store)
{
	cr_assert(mkdir(vm_at(&m, "d"), 0755) == 0);
	union fh f = handle_of(vm_at(&m, "d"));

	cr_assert(rename(vm_store(&m, "d"), vm_plain(&m, "d")) == 0);
	sleep(2);
	cr_assert(access(vm_at(&m, "d"), F_OK) < 0);
	forget();
	is_stale(&f);
}

/* Many at once, while names come and go. */
HANDLE(under_load)
{
	union fh f[64];

	for (int k = 0; k < 64; k++) {
		vm_puts(vm_at(&m, "f%d", k), "x");
		f[k] = handle_of(vm_at(&m, "f%d", k));
	}
	pid_t pid = fork();
	if (!pid) {
		alarm(60);
		for (int r = 0; r < 20; r++) {
			for (int k = 0; k < 64; k++)
				sure(rename(vm_at(&m, "%s%d", r % 2 ? "g" : "f", k),
					    vm_at(&m, "%s%d", r % 2 ? "f" : "g", k)));
		}
		_exit(0);
	}
	for (int r = 0; r < 5; r++) {
		forget();
		for (int k = 0; k < 64; k++)
			opens(&f[k], "x");
	}
	int status;
	cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
}
