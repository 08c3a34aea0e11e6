/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files through the mount behave as on the filesystem below: contents, attributes,
 * names, xattrs, errors. Most tests run one script on both and compare.
 */
#include "mount/compare.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static struct vmount m;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, geteuid() ? NULL : "allow_other");
}

static void down(void)
{
	vm_free(&m);
}

#define MTEST(name) Test(posix, name, .init = up, .fini = down, .timeout = 120)

static void need_root(void)
{
	if (geteuid())
		cr_skip_test("needs root");
}

/* ---- contents ------------------------------------------------------------------- */

static void contents(struct notes *n)
{
	char buf[64] = "";
	int fd = (int)CALL(n, open("f", O_CREAT | O_EXCL | O_RDWR, 0640));

	note_stat(n, "f");
	CALL(n, open("f", O_CREAT | O_EXCL | O_RDWR, 0640));
	NOTE(n, "%zd", write(fd, "hello world", 11));
	NOTE(n, "%zd", pwrite(fd, "HELLO", 5, 0));
	NOTE(n, "%zd %s", pread(fd, buf, sizeof(buf), 0), buf);
	NOTE(n, "%zd", pread(fd, buf, sizeof(buf), 100));
	CALL(n, ftruncate(fd, 5));
	note_stat(n, "f");
	CALL(n, ftruncate(fd, 100000));
	NOTE(n, "%lld", (long long)lseek(fd, 0, SEEK_END));
	NOTE(n, "%lld", (long long)lseek(fd, 0, SEEK_HOLE));
	NOTE(n, "%lld", (long long)lseek(fd, 50000, SEEK_DATA));
	CALL(n, lseek(fd, 200000, SEEK_DATA));
	CALL(n, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200000));
	note_stat(n, "f");
	CALL(n, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	CALL(n, fallocate(fd, 0, 0, 300000));
	note_stat(n, "f");
	CALL(n, fsync(fd));
	CALL(n, fdatasync(fd));
	CALL(n, close(fd));
	CALL(n, truncate("f", 3));
	CALL(n, truncate("nope", 3));
	CALL(n, truncate(".", 3));
	fd = (int)CALL(n, open("f", O_RDONLY));
	CALL(n, write(fd, "x", 1));
	CALL(n, ftruncate(fd, 0));
	CALL(n, close(fd));
	fd = (int)CALL(n, open("f", O_WRONLY | O_TRUNC));
	CALL(n, read(fd, buf, 1));
	note_stat(n, "f");
	CALL(n, close(fd));
	CALL(n, open("f", O_RDONLY | O_DIRECTORY));
	CALL(n, open("f/x", O_RDONLY));
	CALL(n, open("nope", O_RDWR));
	CALL(n, open(".", O_RDWR));
	CALL(n, open("nope/x", O_CREAT | O_RDWR, 0600));
}
MTEST(contents_and_errors)
{
	compare(&m, contents);
}

static void appends(struct notes *n)
{
	for (int k = 0; k < 4; k++) {
		if (fork())
			continue;
		int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
		char line[32];

		for (int i = 0; i < 500; i++) {
			snprintf(line, sizeof(line), "%d %06d\n", k, i);
			if (write(fd, line, 9) != 9)
				_exit(1);
		}
		_exit(0);
	}
	for (int k = 0, status; k < 4; k++) {
		wait(&status);
		NOTE(n, "%d", status);
	}
	note_stat(n, "log");
	int next[4] = { 0 };
	FILE *f = fopen("log", "r");
	for (int who, i; fscanf(f, "%d %d", &who, &i) == 2;)
		if (i != next[who]++)
			NOTE(n, "out of order");
	NOTE(n, "%d %d %d %d", next[0], next[1], next[2], next[3]);
	fclose(f);
}
MTEST(appends_of_four_processes)
{
	compare(&m, appends);
}

MTEST(big_blocks_and_direct_io)
{
	size_t size = 5 << 20;
	uint64_t s = vm_seed();
	char *data = aligned_alloc(4096, size), *back = aligned_alloc(4096, size);

	for (size_t k = 0; k < size; k += 8)
		*(uint64_t *)(data + k) = vm_rand(&s);
	vm_write(vm_at(&m, "big"), data, size);
	for (int flags = 0; flags < 2; flags++) {
		int fd = open(vm_at(&m, "big"), O_RDWR | (flags ? O_DIRECT : 0));

		cr_assert(fd >= 0);
		cr_assert_eq(pread(fd, back, size, 0), (ssize_t)size);
		cr_assert(!memcmp(data, back, size));
		memset(data + 8192, flags + 1, 4096);
		cr_assert_eq(pwrite(fd, data + 8192, 4096, 8192), 4096);
		cr_assert(close(fd) == 0);
	}
	char *below = vm_read(vm_store(&m, "big"), NULL);
	cr_assert(!memcmp(data, below, size));
}

/* Random writes, truncations, holes, copies and mappings against a model in memory. */
MTEST(random_operations_keep_contents)
{
	enum { MAX = 1 << 18 };
	uint64_t s = vm_seed();
	char *model = calloc(1, MAX + 1), *buf = malloc(MAX);
	size_t len = 0;
	int fd = open(vm_at(&m, "f"), O_RDWR | O_CREAT, 0644);

	cr_assert(fd >= 0);
	for (int i = 0; i < 3000; i++) {
		size_t off = vm_rand(&s) % MAX, n = vm_rand(&s) % 20000;

		if (off + n > MAX)
			n = MAX - off;
		switch (vm_rand(&s) % 8) {
		case 0:
		case 1:
			for (size_t k = 0; k < n; k++)
				model[off + k] = buf[k] = (char)vm_rand(&s);
			cr_assert_eq(pwrite(fd, buf, n, (off_t)off), (ssize_t)n);
			len = n && off + n > len ? off + n : len;
			break;
		case 2:
			cr_assert(ftruncate(fd, (off_t)off) == 0);
			if (off < len)
				memset(model + off, 0, len - off);
			len = off;
			break;
		case 3:
			if (n && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   (off_t)off, (off_t)n) == 0)
				memset(model + off, 0, n);
			break;
		case 4: { /* a store through a mapping */
			if (!len)
				break;
			char *map =
			    mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			cr_assert(map != MAP_FAILED);
			off %= len;
			map[off] = model[off] = (char)i;
			cr_assert(!memcmp(map, model, len), "operation %d", i);
			munmap(map, len);
			break;
		}
		case 5: { /* by another descriptor */
			int other = open(vm_at(&m, "f"), O_RDWR);

			cr_assert(other >= 0);
			cr_assert_eq(pread(other, buf, MAX, 0), (ssize_t)len);
			cr_assert(!memcmp(buf, model, len), "operation %d", i);
			close(other);
			break;
		}
		case 6: {
			loff_t from = 0, to = (loff_t)off;
			size_t want = len < n ? len : n;

			if (!want || (size_t)off < want)
				break;
			ssize_t got = copy_file_range(fd, &from, fd, &to, want, 0);
			cr_assert_eq(got, (ssize_t)want);
			memcpy(model + off, model, want);
			len = off + want > len ? off + want : len;
			break;
		}
		default:
			memset(buf, 0, n);
			cr_assert(pread(fd, buf, n, (off_t)off) >= 0);
			if (off + n <= len)
				cr_assert(!memcmp(buf, model + off, n), "operation %d",
					  i);
		}
	}
	cr_assert(close(fd) == 0);
	size_t have;
	char *below = vm_read(vm_store(&m, "f"), &have);
	cr_assert_eq(have, len);
	cr_assert(!memcmp(below, model, len));
}

MTEST(mapping_shared_by_two_processes)
{
	int fd = open(vm_at(&m, "map"), O_RDWR | O_CREAT, 0644);

	cr_assert(ftruncate(fd, 1 << 20) == 0);
	volatile int *map =
	    mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert(map != MAP_FAILED);
	pid_t pid = fork();
	if (!pid) { /* opens for itself */
		int mine = open(vm_at(&m, "map"), O_RDWR);
		volatile int *other =
		    mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, mine, 0);

		alarm(30);
		for (int i = 0; i < 1000; i++) {
			while (other[0] != i)
				;
			other[1000 + i] = i * 7;
			__sync_synchronize();
			other[1] = i + 1;
		}
		_exit(0);
	}
	for (int i = 0; i < 1000; i++) {
		map[0] = i;
		for (long spin = 0; map[1] != i + 1; spin++)
			cr_assert(spin < 2000000000);
	}
	int status;
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	cr_assert(msync((void *)map, 1 << 20, MS_SYNC) == 0);
	munmap((void *)map, 1 << 20);
	close(fd);
	int *below = (int *)vm_read(vm_store(&m, "map"), NULL);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(below[1000 + i], i * 7);
}

/* ---- attributes, names
 * ----------------------------------------------------------------- */

static void attributes(struct notes *n)
{
	struct timespec t[2] = { { 1000000000, 123456789 }, { 1234567890, 987654321 } };
	struct stat st;

	CALL(n, mkdir("d", 0750));
	CALL(n, mkdir("d", 0750));
	CALL(n, mknod("fifo", S_IFIFO | 0600, 0));
	CALL(n, symlink("target", "sym"));
	CALL(n, close(open("f", O_CREAT | O_RDWR, 06777)));
	note_stat(n, "d");
	note_stat(n, "fifo");
	note_stat(n, "sym");
	note_stat(n, "f");
	CALL(n, chmod("f", 0400));
	CALL(n, chmod("f", 07777));
	CALL(n, chmod("d", 01755));
	note_stat(n, "f");
	note_stat(n, "d");
	CALL(n, fchmodat(AT_FDCWD, "sym", 0600, AT_SYMLINK_NOFOLLOW));
	CALL(n, utimensat(AT_FDCWD, "f", t, 0));
	CALL(n, utimensat(AT_FDCWD, "sym", t, AT_SYMLINK_NOFOLLOW));
	stat("f", &st);
	NOTE(n, "%ld.%09ld %ld.%09ld", st.st_atim.tv_sec, st.st_atim.tv_nsec,
	     st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	lstat("sym", &st);
	NOTE(n, "%ld.%09ld", st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_sec = 5;
	CALL(n, utimensat(AT_FDCWD, "f", t, 0));
	stat("f", &st);
	NOTE(n, "%ld %ld", st.st_atim.tv_sec, st.st_mtim.tv_sec);
	CALL(n, rmdir("f"));
	CALL(n, unlink("d"));
	CALL(n, mkdir("d/e", 0700));
	CALL(n, rmdir("d"));
	CALL(n, rmdir("d/e"));
	CALL(n, rmdir("d"));
	CALL(n, unlink("fifo"));
	CALL(n, unlink("sym"));
	CALL(n, unlink("sym"));
	CALL(n, lstat("f/x", &st));
}
MTEST(attributes_and_kinds)
{
	compare(&m, attributes);
}

static void long_names(struct notes *n)
{
	char name[300], path[5000] = "";
	struct stat st;

	memset(name, 'n', sizeof(name));
	name[255] = 0;
	CALL(n, close(open(name, O_CREAT | O_RDWR, 0600)));
	CALL(n, stat(name, &st));
	CALL(n, unlink(name));
	name[255] = 'n';
	name[256] = 0;
	CALL(n, open(name, O_CREAT | O_RDWR, 0600));
	CALL(n, mkdir(name, 0700));
	name[200] = 0;
	for (int k = 0; k < 30; k++) { /* deeper than PATH_MAX */
		if (mkdir(name, 0700) || chdir(name))
			NOTE(n, "%d: %s", k, strerrorname_np(errno));
	}
	CALL(n, close(open("deep", O_CREAT | O_RDWR, 0600)));
	note_stat(n, "deep");
	for (int k = 0; k < 30; k++)
		strcat(path, "../");
	CALL(n, chdir(path));
	static const char *const odd[] = { "new\nline", "\xff\xfe", " ",   "-f", "a\\b",
					   "\"'$(x)",   "..x",      "...", "%2F" };
	for (size_t k = 0; k < sizeof(odd) / sizeof(*odd); k++) {
		CALL(n, close(open(odd[k], O_CREAT | O_RDWR, 0600)));
		CALL(n, stat(odd[k], &st));
	}
}
MTEST(long_and_odd_names)
{
	compare(&m, long_names);
}

static void removed_but_used(struct notes *n)
{
	struct timespec t[2] = { { 1, 0 }, { 2, 0 } };
	struct stat st;
	char buf[16] = "";
	int fd = (int)CALL(n, open("f", O_CREAT | O_RDWR, 0644));
	int path = (int)CALL(n, open("f", O_PATH));

	CALL(n, unlink("f"));
	CALL(n, write(fd, "still", 5));
	NOTE(n, "%zd %s", pread(fd, buf, 10, 0), buf);
	CALL(n, fchmod(fd, 0600));
	CALL(n, ftruncate(fd, 3));
	CALL(n, futimens(fd, t));
	CALL(n, fsetxattr(fd, "user.x", "1", 1, 0));
	NOTE(n, "%zd", fgetxattr(fd, "user.x", buf, 10));
	CALL(n, fstat(fd, &st));
	NOTE(n, "%o links %u size %lld %ld", st.st_mode, (unsigned)st.st_nlink,
	     (long long)st.st_size, st.st_mtim.tv_sec);
	CALL(n, fstat(path, &st));
	NOTE(n, "%u", (unsigned)st.st_nlink);
	CALL(n, close(fd));
	CALL(n, fstat(path, &st));
	snprintf(buf, sizeof(buf), "/proc/self/fd/%d", path);
	CALL(n, close(path));
	CALL(n, open("f", O_RDONLY));
	CALL(n, mkdir("gone", 0700));
	CALL(n, chdir("gone"));
	CALL(n, rmdir("../gone"));
	CALL(n, stat(".", &st));
	NOTE(n, "%u", (unsigned)st.st_nlink);
	CALL(n, open("x", O_CREAT | O_RDWR, 0600));
	CALL(n, mkdir("x", 0700));
}
MTEST(removed_but_still_used)
{
	compare(&m, removed_but_used);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listing(struct notes *n)
{
	char name[64], *names[600];
	size_t count = 0;
	struct dirent *e;
	long at = 0;

	for (int k = 0; k < 500; k++) {
		snprintf(name, sizeof(name), "file-%d-%.*s", k, k % 40,
			 "oooooooooooooooooooooooooooooooooooooooooo");
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	mkdir("sub", 0700);
	DIR *d = opendir(".");
	while ((e = readdir(d))) {
		if (count == 250)
			at = telldir(d);
		if (e->d_type == DT_DIR)
			NOTE(n, "dir %d",
			     e->d_name[0] == '.' || !strcmp(e->d_name, "sub"));
		names[count++] = strdup(e->d_name);
	}
	NOTE(n, "%zu", count);
	/* Back to a place in the middle: the same follows. */
	seekdir(d, at);
	for (size_t k = 251; k < count; k++) {
		e = readdir(d);
		if (!e || strcmp(e->d_name, names[k]))
			NOTE(n, "other entry after seekdir: %zu", k);
	}
	close(open("new", O_CREAT | O_WRONLY, 0600));
	rewinddir(d);
	size_t again = 0;
	while (readdir(d))
		again++;
	NOTE(n, "%zu", again);
	/* Deleting while reading misses nothing. */
	rewinddir(d);
	while ((e = readdir(d)))
		if (!strncmp(e->d_name, "file", 4) && unlink(e->d_name))
			NOTE(n, "unlink: %s", strerrorname_np(errno));
	closedir(d);
	qsort(names, count, sizeof(*names), by_name);
	for (size_t k = 0; k < count; k++)
		NOTE(n, "%s", names[k]);
	CALL(n, unlink("new"));
	CALL(n, rmdir("sub"));
}
MTEST(listing_a_directory)
{
	compare(&m, listing);
}

static void xattrs(struct notes *n)
{
	char buf[70000], big[3000];
	ssize_t got;

	memset(big, 'b', sizeof(big));
	CALL(n, close(open("f", O_CREAT | O_RDWR, 0644)));
	CALL(n, symlink("f", "s"));
	CALL(n, setxattr("f", "user.a", "value", 5, 0));
	CALL(n, setxattr("f", "user.a", "value", 5, XATTR_CREATE));
	CALL(n, setxattr("f", "user.b", "value", 5, XATTR_REPLACE));
	CALL(n, setxattr("f", "user.b", "", 0, 0));
	CALL(n, setxattr("f", "user.big", big, sizeof(big), 0));
	CALL(n, setxattr("f", "bogus.a", "value", 5, 0));
	CALL(n, setxattr("f", "user.", "value", 5, 0));
	CALL(n, lsetxattr("s", "user.a", "value", 5, 0));
	NOTE(n, "%zd", getxattr("f", "user.a", NULL, 0));
	CALL(n, getxattr("f", "user.a", buf, 2));
	got = getxattr("f", "user.a", buf, sizeof(buf));
	NOTE(n, "%zd %.5s", got, buf);
	NOTE(n, "%zd", getxattr("f", "user.big", buf, sizeof(buf)));
	NOTE(n, "%zd", getxattr("f", "user.b", buf, sizeof(buf)));
	CALL(n, getxattr("f", "user.none", buf, sizeof(buf)));
	CALL(n, getxattr("f", "security.capability", buf, sizeof(buf)));
	CALL(n, getxattr("f", "system.posix_acl_access", buf, sizeof(buf)));
	NOTE(n, "%zd", listxattr("f", NULL, 0));
	CALL(n, listxattr("f", buf, 3));
	got = listxattr("f", buf, sizeof(buf));
	NOTE(n, "%zd", got);
	for (ssize_t k = 0; k < got; k += (ssize_t)strlen(buf + k) + 1)
		NOTE(n, "%s", buf + k);
	CALL(n, removexattr("f", "user.a"));
	CALL(n, removexattr("f", "user.a"));
	NOTE(n, "%zd", listxattr("f", buf, sizeof(buf)));
	NOTE(n, "%zd", llistxattr("s", buf, sizeof(buf)));
}
MTEST(other_xattrs_go_below)
{
	compare(&m, xattrs);
	cr_assert(getxattr(vm_store(&m, "as-root/f"), "user.b", NULL, 0) == 0);
}

MTEST(trusted_xattrs_are_for_root)
{
	need_root();
	vm_puts(vm_at(&m, "f"), "x");
	cr_assert(setxattr(vm_at(&m, "f"), "trusted.t", "v", 1, 0) == 0);
	cr_assert_eq(listxattr(vm_at(&m, "f"), NULL, 0), 10);
	char *names;
	cr_assert_eq(vm_sh_out(&m, 10, &names,
			       "setpriv --reuid 12345 --clear-groups getfattr -m - %s",
			       vm_at(&m, "f")),
		     0);
	cr_assert_str_eq(names, "");
}
