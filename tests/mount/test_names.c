/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in the catalog under clients that rename files and directories over each other
 * while they attach and remove: afterwards a search of everything finds the files that
 * have attachments, each once, at a path that leads to it; as many rows are counted as
 * are found; and fsck finds every name as it is recorded. The same after SIGKILL.
 *
 * NAMES_OPS=N: operations of each client (600 by default). VEXFS_SEED: their choice;
 * their order is the machine's.
 */
#include "mount/compare.h"

#include <ftw.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <vexfs/vexfs.h>

#define CLIENTS 4
#define FILES_MAX 4096u
#define ATTR "user.vexfs.s"

static struct vmount m;
static uint64_t seed;

static void up(void)
{
	vm_new(&m);
	vm_up(&m, "metric=l2");
}

static void down(void)
{
	if (m.base[0])
		vm_free(&m);
}

TestSuite(names, .init = up, .fini = down, .timeout = 300);

static unsigned rnd(unsigned n)
{
	return (unsigned)(vm_rand(&seed) % n);
}

/* ---- a client ------------------------------------------------------------------------
 */

/* One of 24 directories, up to three deep. */
static const char *dir(char *p, size_t size)
{
	switch (rnd(3)) {
	case 0:
		snprintf(p, size, "d%u", rnd(4));
		break;
	case 1:
		snprintf(p, size, "d%u/d%u", rnd(4), rnd(2));
		break;
	default:
		snprintf(p, size, "d%u/d%u/e%u", rnd(4), rnd(2), rnd(2));
	}
	return p;
}

static const char *file(char *p, size_t size)
{
	char d[32];

	snprintf(p, size, "%s/f%u", dir(d, sizeof(d)), rnd(5));
	return p;
}

static int put(int control, const char *path, unsigned value)
{
	static struct vexfs_items io;
	char text[24];
	int n = snprintf(text, sizeof(text), "%u,2", value);
	uint32_t plen = (uint32_t)strlen(path);
	uint32_t head = (uint32_t)(sizeof(struct vexfs_item) + plen + 1 + 2 + 7) & ~7u;
	struct vexfs_item item = { .size = (head + (uint32_t)n + 7) & ~7u,
				   .path_len = plen,
				   .attr_len = 1,
				   .value_len = (uint32_t)n };

	memset(&io, 0, sizeof(io));
	memcpy(io.data, &item, sizeof(item));
	memcpy(io.data + sizeof(item), path, plen);
	io.data[sizeof(item) + plen + 1] = 's';
	memcpy(io.data + head, text, (size_t)n);
	io.bytes = item.size;
	io.count = 1;
	return ioctl(control, VEXFS_IOC_PUT, &io);
}

static int make(const char *path, unsigned value)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%u,1", value);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0)
		return -1;
	close(fd);
	return setxattr(path, ATTR, text, (size_t)n, 0);
}

static int step(int control, unsigned i)
{
	char a[64], b[64];
	unsigned dice = rnd(100);

	if (dice < 24)
		return make(file(a, sizeof(a)), i);
	if (dice < 34)
		return put(control, file(a, sizeof(a)), i);
	if (dice < 54)
		return rename(file(a, sizeof(a)), file(b, sizeof(b)));
	if (dice < 70)
		return rename(dir(a, sizeof(a)), dir(b, sizeof(b)));
	if (dice < 74)
		return renameat2(AT_FDCWD, dir(a, sizeof(a)), AT_FDCWD,
				 file(b, sizeof(b)), RENAME_EXCHANGE);
	if (dice < 80)
		return link(file(a, sizeof(a)), file(b, sizeof(b)));
	if (dice < 92)
		return mkdir(dir(a, sizeof(a)), 0755);
	return dice < 98 ? unlink(file(a, sizeof(a))) : rmdir(dir(a, sizeof(a)));
}

static void client(unsigned ops)
{
	int control;

	if (chdir(m.mnt))
		_exit(1);
	control = open(VEXFS_CONTROL, O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; i < ops; i++) {
		if (!step(control, i) || (errno != EIO && errno != ENOTCONN &&
					  errno != ENOMEM && errno != EUCLEAN))
			continue;
		fprintf(stderr, "operation %u: %s\n", i, strerror(errno));
		_exit(1);
	}
	_exit(0);
}

static void run(unsigned ops)
{
	pid_t pid[CLIENTS];
	int status;

	for (unsigned c = 0; c < CLIENTS; c++) {
		vm_rand(&seed);
		pid[c] = fork();
		if (!pid[c]) {
			seed += c * 7919;
			client(ops);
		}
	}
	for (unsigned c = 0; c < CLIENTS; c++) {
		cr_assert_eq(waitpid(pid[c], &status, 0), pid[c]);
		cr_assert_eq(status, 0, "a client ended with %#x", status);
	}
}

/* ---- what must be
 * ---------------------------------------------------------------------- */

static ino_t attached[FILES_MAX], hit[FILES_MAX];
static size_t nattached, nhits;

static void add(ino_t *v, size_t *n, ino_t ino)
{
	for (size_t i = 0; i < *n; i++)
		if (v[i] == ino)
			return;
	cr_assert_lt(*n, FILES_MAX);
	v[(*n)++] = ino;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *f)
{
	char value[64];

	(void)f;
	/* Directories, too: a name may be one of either by then. */
	(void)type;
	if (getxattr(path, ATTR, value, sizeof(value)) > 0)
		add(attached, &nattached, st->st_ino);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	ino_t x = *(const ino_t *)a, y = *(const ino_t *)b;

	return x < y ? -1 : x > y;
}

static void search_all(void)
{
	char *out, *save = NULL;

	nhits = 0;
	vm_sh_out(&m, 60, &out,
		  "\"$B/vexctl\" -m \"$M\" search --space s --vector 0,0 -k 4000 -l");
	for (char *p = strtok_r(out, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		struct stat st;

		cr_assert_eq(stat(vm_at(&m, "%s", p), &st), 0, "%s: %s", p,
			     strerror(errno));
		add(hit, &nhits, st.st_ino);
	}
	free(out);
}

static void verify(const char *when)
{
	char *rows;

	nattached = 0;
	cr_assert_eq(nftw(m.mnt, visit, 32, FTW_PHYS), 0);
	search_all();
	qsort(attached, nattached, sizeof(*attached), by_number);
	qsort(hit, nhits, sizeof(*hit), by_number);
	cr_expect_eq(nhits, nattached, "%s: %zu files found, %zu attached", when, nhits,
		     nattached);
	if (nhits == nattached)
		cr_expect_eq(memcmp(hit, attached, nhits * sizeof(*hit)), 0,
			     "%s: others found than are attached", when);
	vm_sh_out(&m, 60, &rows,
		  "\"$B/vexctl\" -m \"$M\" space show s | sed -n 's/^rows: //p'");
	cr_expect_eq(strtoul(rows, NULL, 10), nattached, "%s: %s rows of %zu files", when,
		     rows, nattached);
	free(rows);
}

static void check_offline(const char *when)
{
	char *said;
	int code = vm_sh_out(&m, 120, &said, "\"$B/vexctl\" fsck \"$S\" 2>&1");

	cr_expect_eq(code, 0, "%s: fsck: %d\n%s", when, code, said);
	free(said);
}

/* Where a crash came between a rename and the note of it, fsck sees a file that moved:
 * nothing else, and nothing it could not mend. */
static void check_crashed(void)
{
	char *said, *save = NULL;
	int code = vm_sh_out(&m, 120, &said, "\"$B/vexctl\" fsck \"$S\" 2>&1");

	cr_expect(code == 0 || code == 4, "after SIGKILL: fsck: %d\n%s", code, said);
	for (char *l = strtok_r(said, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		cr_expect(strstr(l, ": moved here behind VexFS") ||
			      strstr(l, ": no longer a name of node") ||
			      strstr(l, " attachments, "),
			  "after SIGKILL: %s", l);
	free(said);
}

Test(names, under_concurrent_renames)
{
	unsigned ops = getenv("NAMES_OPS") ? (unsigned)atoi(getenv("NAMES_OPS")) : 600;

	seed = vm_seed();
	cr_assert_eq(make(vm_at(&m, "first"), 1), 0);
	run(ops);
	verify("afterwards");
	vm_down(&m);
	check_offline("afterwards");
	vm_up(&m, "metric=l2");
	verify("mounted again");
	run(ops / 4);
	vm_crash(&m);
	check_crashed();
	vm_up(&m, "metric=l2");
	verify("after SIGKILL");
	vm_down(&m);
	check_offline("after SIGKILL, seen again");
}
