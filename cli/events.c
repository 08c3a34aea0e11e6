/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events: what happened on the mount, from its change log, a line of JSON each. With
 * --exec a command a line; its position is saved only once the command has succeeded, so
 * each event is delivered at least once, however either of us ends.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/wait.h>

#include "commands.h"
#include "mount.h"

#define PIECE 65536u

static const char help[] =
    "usage: vexctl events [PATH] [--from SEQ|now] [-f] [--exec 'CMD {}' [--state FILE]]\n"
    "\n"
    "Prints what happened on the mount, oldest first, one JSON object a line, each with\n"
    "its number `seq`: attach, detach, rename, unlink, write, stale, space, index,\n"
    "threshold, config; with the mount's setting events=all, create and write of any\n"
    "file. Only of files you may read.\n"
    "  --from SEQ    events from that number on; now: only new ones. Default: all the "
    "log\n"
    "                has (the last million)\n"
    "  -f            goes on: waits for more\n"
    "  --exec 'CMD'  runs CMD by sh(1) for each, with {} replaced by the line, quoted;\n"
    "                ends where one fails\n"
    "  --state FILE  begins behind the event whose number is in FILE, and keeps it "
    "there\n"
    "                as commands succeed: each event at least once\n"
    "PATH only says which mount.\n";

struct follow {
	int fd;
	const char *exec, *state;
	struct buf line; /* the end of what was read: not yet a whole line */
	uint64_t seq;
};

/* The number of a line: `{"seq":N,`. */
static uint64_t seq_of(const char *line)
{
	const char *p = strstr(line, "\"seq\":");

	return p ? strtoull(p + 6, NULL, 10) : 0;
}

/* ---- the saved position --------------------------------------------------------------
 */

static int state_load(struct follow *f, uint64_t *seq)
{
	AUTO_BUF struct buf text = { 0 };
	char *end;
	int err;

	*seq = 0;
	if (access(f->state, F_OK))
		return 0;
	err = read_whole(f->state, 64, &text);
	if (err)
		return err;
	*seq = strtoull(buf_text(&text), &end, 10);
	if (end == buf_text(&text) || (*end && *end != '\n'))
		return cli_error("%s: no position", f->state);
	return 0;
}

static int state_save(struct follow *f)
{
	AUTO_BUF struct buf name = { 0 };
	AUTO_CLOSE int fd = -1;
	char text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", f->seq);

	buf_fmt(&name, "%s.new", f->state);
	fd = open(name.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, text, (size_t)n) != n || rename(name.data, f->state))
		return cli_error("%s: %s", f->state, strerror(errno));
	return 0;
}

/* ---- one line ------------------------------------------------------------------------
 */

static void quoted(struct buf *out, const char *line)
{
	buf_str(out, "'");
	for (; *line; line++) {
		if (*line == '\'')
			buf_str(out, "'\\''");
		else
			buf_add(out, line, 1);
	}
	buf_str(out, "'");
}

static int run(const char *command)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return cli_error("%s", strerror(errno));
	if (!pid) {
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cli_error("%s", strerror(errno));
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	return cli_error("'%s' failed; nothing behind it was delivered", command);
}

static int execute(struct follow *f, const char *line)
{
	AUTO_BUF struct buf command = { 0 };
	const char *p = f->exec, *at;
	int err;

	for (; (at = strstr(p, "{}")); p = at + 2) {
		buf_add(&command, p, (size_t)(at - p));
		quoted(&command, line);
	}
	buf_str(&command, p);
	fflush(stdout);
	err = run(command.data);
	return err || !f->state ? err : state_save(f);
}

static int deliver(struct follow *f, const char *line)
{
	f->seq = seq_of(line);
	if (f->exec)
		return execute(f, line);
	return puts(line) < 0 ? cli_error("stdout: %s", strerror(errno)) : 0;
}

static int deliver_lines(struct follow *f)
{
	char *p = f->line.data, *nl;
	int err = 0;

	while (!err && p && (nl = strchr(p, '\n'))) {
		*nl = 0;
		err = deliver(f, p);
		p = nl + 1;
	}
	if (p && p != f->line.data) {
		f->line.len -= (size_t)(p - f->line.data);
		memmove(f->line.data, p, f->line.len + 1);
	}
	return err;
}

/* ---- reading
 * --------------------------------------------------------------------------- */

/* All there is at present. */
static int drain(struct follow *f)
{
	for (;;) {
		char *to = buf_room(&f->line, PIECE);
		ssize_t n = read(f->fd, to, PIECE);

		f->line.len -= PIECE - (n > 0 ? (size_t)n : 0);
		f->line.data[f->line.len] = 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_error(".vexfs/events: %s", strerror(errno));
		if (!n)
			return 0;
		if (deliver_lines(f))
			return CLI_ERROR;
	}
}

static int follow(struct follow *f, bool on)
{
	struct pollfd p = { .fd = f->fd, .events = POLLIN };
	int err = drain(f);

	while (!err && on) {
		if (fflush(stdout))
			return cli_error("stdout: %s", strerror(errno));
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return cli_error("poll: %s", strerror(errno));
		if (p.revents & (POLLERR | POLLHUP | POLLNVAL))
			return CLI_OK; /* unmounted */
		err = drain(f);
	}
	return err;
}

static int begin(struct follow *f, const char *from)
{
	char text[40];
	uint64_t seq = 0;
	int n;

	if (f->state && state_load(f, &seq))
		return CLI_ERROR;
	if (!from && !seq)
		return 0;
	if (seq)
		n = snprintf(text, sizeof(text), "from=%" PRIu64, seq + 1);
	else
		n = snprintf(text, sizeof(text), "from=%s", from);
	if (n >= (int)sizeof(text) || write(f->fd, text, (size_t)n) != n)
		return cli_error("--from: %s", errno == EINVAL
						   ? "neither a number nor 'now'"
						   : strerror(errno));
	return 0;
}

static bool is_from(const char *from)
{
	return !strcmp(from, "now") ||
	       (*from && strlen(from) < 20 && !from[strspn(from, "0123456789")]);
}

int cmd_events(struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_CLOSE int fd = -1;
	struct follow f = { .fd = -1 };
	const char *from = NULL;
	bool on = false;
	const struct opt opts[] = { { "from", 0, OPT_TEXT, &from, 0, NULL },
				    { "follow", 'f', OPT_FLAG, &on, 0, NULL },
				    { "exec", 0, OPT_TEXT, &f.exec, 0, NULL },
				    { "state", 0, OPT_TEXT, &f.state, 0, NULL },
				    { 0 } };
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	if (from && !is_from(from))
		return cli_error("--from: neither a number nor 'now': '%s'", from);
	if (f.state && !f.exec)
		return cli_error("--state goes with --exec");
	code = mount_find(in, in->args[0], &m);
	if (code)
		return code;
	/* On a read-only mount it cannot be written to: then from the start. */
	fd = openat(m.root, ".vexfs/events",
		    (from || f.state ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return cli_error("%s/.vexfs/events: %s", m.path, strerror(errno));
	f.fd = fd;
	code = begin(&f, from);
	if (!code)
		code = follow(&f, on);
	buf_free(&f.line);
	return code;
}
