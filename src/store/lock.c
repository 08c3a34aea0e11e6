/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon a store: a flock on the directory STORE/.vexfs, and an OFD lock on the file
 * `lock` in it, which holds as text who has it:
 *
 *	pid 1234
 *	state live		or: closing, closed
 *	boot 5b3c...		boot_id of the kernel it ran on
 *	mountpoint /mnt\040x	as /proc/self/mountinfo writes it; may be missing
 *
 * umount(2) returns before the daemon has closed. So a lock whose holder says it is
 * closing, or whose mountpoint is no mount any more, is waited for; any other is not.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include "store_i.h"

#define POLL_MS 20u

struct holder {
	long pid;
	bool closing;
	char boot[64];
	char *mountpoint; /* heap; escaped; NULL: none */
};

static void holder_free(struct holder *h)
{
	free(h->mountpoint);
}

static void boot_id(char out[64])
{
	AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, 63);

	out[n > 0 ? n : 0] = 0;
	out[strcspn(out, "\n")] = 0;
}

static void read_line(struct holder *h, const char *line)
{
	if (!strncmp(line, "pid ", 4))
		h->pid = strtol(line + 4, NULL, 10);
	else if (!strncmp(line, "state ", 6))
		h->closing = strcmp(line + 6, "live") != 0;
	else if (!strncmp(line, "boot ", 5))
		snprintf(h->boot, sizeof(h->boot), "%s", line + 5);
	else if (!strncmp(line, "mountpoint ", 11) && !h->mountpoint)
		h->mountpoint = strdup(line + 11);
}

static void read_holder(int lockfd, struct holder *h)
{
	AUTO_FREE char *text = calloc(1, 32768);
	char *save = NULL;

	memset(h, 0, sizeof(*h));
	if (!text || pread(lockfd, text, 32767, 0) < 0)
		return;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		read_line(h, l);
}

/* The fifth field of a line of mountinfo is `point`. */
static bool line_is(const char *line, const char *point)
{
	size_t len = strlen(point);

	for (int field = 0; field < 4; field++) {
		line = strchr(line, ' ');
		if (!line)
			return false;
		line++;
	}
	return !strncmp(line, point, len) && line[len] == ' ';
}

static bool is_mounted(const char *point)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO_FREE char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!f)
		return true;
	while (!found && getline(&line, &size, f) > 0)
		found = line_is(line, point);
	fclose(f);
	return found;
}

/* mountinfo writes blank, tab, newline and backslash in octal. */
static char *escape(const char *path)
{
	AUTO_BUF struct vex_buf b = { 0 };

	for (; *path; path++) {
		if (strchr(" \t\n\\", *path))
			vex_buf_fmt(&b, "\\%03o", (unsigned)(unsigned char)*path);
		else
			vex_buf_add(&b, path, 1);
	}
	vex_buf_add(&b, "", 1);
	return b.err ? NULL : take_ptr(&b.data);
}

/* fsck waits for a daemon that is going as long as another daemon would. */
#define CHECK_WAIT_MS 30000u

static vex_err ofd_lock(int fd, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_OFD_SETLK, &fl))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* The file tells who; the directory is locked as well, for people remove lock files. */
static vex_err try_lock(struct vex_store *s)
{
	vex_err err = ofd_lock(s->lockfd, F_WRLCK);

	if (err || !flock(s->dirfd, LOCK_EX | LOCK_NB))
		return err;
	err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (ofd_lock(s->lockfd, F_UNLCK))
		vex_warn("%s/" FMT_DIR "/" FMT_LOCK ": cannot be unlocked", s->path);
	return err;
}

/* -EBUSY: somebody has it and stays; -EAGAIN: somebody has it and is going. */
static vex_err look(struct vex_store *s, struct vex_problem *problem)
{
	struct holder h;
	vex_err err = try_lock(s);

	if (err != -EBUSY)
		return err;
	read_holder(s->lockfd, &h);
	if (h.pid)
		problem_set(problem, "%.180s is served by vexfs pid %ld at %.180s",
			    s->path, h.pid,
			    h.mountpoint ? h.mountpoint : "(no mountpoint)");
	else
		problem_set(problem,
			    "%.180s is served by another vexfs, whose lock file was "
			    "removed",
			    s->path);
	if (h.closing || (h.mountpoint && !is_mounted(h.mountpoint)))
		err = -EAGAIN;
	holder_free(&h);
	return err;
}

static void pause_ms(uint32_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000,
			      .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static vex_err wait_lock(struct vex_store *s, uint32_t wait_ms,
			 struct vex_problem *problem)
{
	uint64_t end = vex_now_mono() + wait_ms * UINT64_C(1000000);

	for (;;) {
		vex_err err = look(s, problem);

		if (err != -EAGAIN)
			return err;
		if (vex_now_mono() >= end)
			return -EBUSY;
		pause_ms(POLL_MS);
	}
}

void lock_state(struct vex_store *s, const char *state)
{
	AUTO_BUF struct vex_buf b = { 0 };
	char boot[64];

	boot_id(boot);
	vex_buf_fmt(&b, "pid %ld\nstate %s\nboot %s\n", (long)getpid(), state, boot);
	if (s->mountpoint)
		vex_buf_fmt(&b, "mountpoint %s\n", s->mountpoint);
	if (b.err || file_write(s->lockfd, b.data, b.len, 0) ||
	    ftruncate(s->lockfd, (off_t)b.len))
		vex_warn("%s/" FMT_DIR "/" FMT_LOCK ": cannot be written", s->path);
}

/* Whether the machine was started anew since the holder that left this. */
static void tell_rebooted(struct vex_store *s)
{
	struct holder h;
	char boot[64];

	read_holder(s->lockfd, &h);
	boot_id(boot);
	s->rebooted = !*boot || strcmp(boot, h.boot) != 0;
	holder_free(&h);
}

vex_err lock_take(struct vex_store *s, uint32_t wait_ms, const char *mountpoint,
		  struct vex_problem *problem)
{
	vex_err err;

	s->lockfd =
	    openat(s->dirfd, FMT_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = s->lockfd < 0 ? -errno : wait_lock(s, wait_ms, problem);
	if (err) {
		if (err != -EBUSY)
			problem_set(problem, "%.180s/" FMT_DIR "/" FMT_LOCK ": %s",
				    s->path, strerror(-err));
		return err;
	}
	s->mine = true;
	problem_set(problem, "%s", "");
	tell_rebooted(s);
	if (mountpoint) {
		s->mountpoint = escape(mountpoint);
		if (!s->mountpoint)
			return -ENOMEM;
	}
	lock_state(s, "live");
	return 0;
}

vex_err lock_look(struct vex_store *s, struct vex_problem *problem)
{
	vex_err err;

	s->rebooted = true; /* as far as can be told */
	s->lockfd = openat(s->dirfd, FMT_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (s->lockfd < 0 && (errno == ENOENT || errno == EROFS)) {
		/* Never served, the file was removed, or it cannot be locked on a
		 * filesystem that is read-only: the directory's lock tells. */
		if (!flock(s->dirfd, LOCK_EX | LOCK_NB))
			return 0;
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		problem_set(problem, "%.180s is served by another vexfs", s->path);
		return err;
	}
	err = s->lockfd < 0 ? -errno : wait_lock(s, CHECK_WAIT_MS, problem);
	if (!err)
		tell_rebooted(s);
	if (err && err != -EBUSY)
		problem_set(problem, "%.180s/" FMT_DIR "/" FMT_LOCK ": %s", s->path,
			    strerror(-err));
	return err;
}
