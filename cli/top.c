/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top: a mount at a glance, again each second: rates and latencies of operations, memory,
 * pending work, spaces. Plain escape sequences: alternate screen, cursor home, clear to
 * the end; the size is asked anew for each picture, so it follows the window. --once is
 * one picture without any, wide as need be, for scripts: its rates are means since the
 * mount.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>

#include "commands.h"
#include "stats.h"

static const char help[] =
    "usage: vexctl top [PATH] [--once] [--interval SECONDS]\n"
    "\n"
    "Shows what the mount is doing, each second, until q or Ctrl-C. --once prints one\n"
    "picture, with means since the mount, and ends. For root and the owner of the "
    "mount.\n"
    "PATH only says which mount.\n";

struct picture {
	struct stats st;
	struct vexfs_status status;
	double at; /* seconds, monotonic */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int take(struct session *s, struct picture *p)
{
	int err;

	memset(&p->status, 0, sizeof(p->status));
	p->at = now();
	err = session_call(s, VEXFS_IOC_STATUS, &p->status);
	if (err)
		return session_error(s, err, "status");
	return stats_fetch(s, &p->st);
}

/* ---- lines
 * ----------------------------------------------------------------------------- */

/* Cuts to the window's width; --once: never. */
struct screen {
	struct buf out;
	unsigned rows, columns, used; /* rows 0: no limit */
	bool live;
};

static bool CLI_PRINTF(2, 3) line(struct screen *s, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	if (s->rows && s->used + 1 >= s->rows)
		return false;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	if ((size_t)n >= sizeof(text))
		n = (int)sizeof(text) - 1;
	if (s->rows && (unsigned)n > s->columns)
		n = (int)s->columns;
	buf_add(&s->out, text, (size_t)n);
	buf_str(&s->out, s->live ? "\x1b[K\r\n" : "\n");
	s->used++;
	return true;
}

static double rate(uint64_t now_n, uint64_t was_n, double seconds)
{
	return seconds > 0 && now_n > was_n ? (double)(now_n - was_n) / seconds : 0;
}

static uint64_t mean(const struct vexfs_op_stat *o, const struct vexfs_op_stat *was)
{
	uint64_t n = o->count - was->count;

	return n ? (o->total_ns - was->total_ns) / n : 0;
}

static void head(struct screen *s, const char *path, const struct picture *p)
{
	const struct vexfs_status *t = &p->status;
	const struct vexfs_stats *h = p->st.head;

	line(s, "vexfs %s  pid %" PRIu64 "  up %" PRIu64 "s%s", path, t->pid,
	     t->uptime_seconds, t->failed ? "  FAILED: read-only until remount" : "");
	line(s,
	     "files %" PRIu64 "  attachments %" PRIu64 "  rows %" PRIu64
	     "  spaces %" PRIu64 "  damaged %" PRIu64,
	     t->nodes, t->attachments, t->rows, t->spaces, t->damaged);
	line(s,
	     "memory %s (most %s)  graphs %s  catalog %s  slots %s  descriptors %" PRIu64,
	     show_bytes(h->resident).text, show_bytes(h->resident_peak).text,
	     show_bytes(h->index_bytes).text, show_bytes(t->catalog_bytes).text,
	     show_bytes(t->slot_bytes).text, h->descriptors);
	line(s,
	     "pending rows %" PRIu64 "  queued calls %" PRIu64 "  changes %" PRIu64
	     " (%" PRIu64 " not yet durable)",
	     h->pending, h->queued, t->lsn,
	     t->lsn > t->durable_lsn ? t->lsn - t->durable_lsn : 0);
	line(s, "%s", "");
}

/* The busiest first: by time spent in the interval. */
struct row {
	const struct vexfs_op_stat *o, *was;
	uint64_t spent;
};

static int busier(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->spent < y->spent ? 1 : x->spent > y->spent ? -1 : 0;
}

static void operations(struct screen *s, const struct picture *p,
		       const struct picture *was, double seconds)
{
	static const struct vexfs_op_stat none;
	AUTO_FREE struct row *rows = cli_alloc(p->st.n + 1, sizeof(*rows));
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->st.n; i++) {
		struct row r = { .o = &p->st.ops[i],
				 .was = i < was->st.n ? &was->st.ops[i] : &none };

		if (!r.o->count)
			continue;
		r.spent = r.o->total_ns - r.was->total_ns;
		rows[n++] = r;
	}
	qsort(rows, n, sizeof(*rows), busier);
	line(s, "%-16s %9s %9s %8s %8s %8s %8s %6s", "OPERATION", "PER SEC", "COUNT",
	     "ERRORS", "MEAN", "P99", "MAX", "STACK");
	for (uint32_t i = 0; i < n; i++)
		if (!line(s, "%-16s %9.1f %9" PRIu64 " %8" PRIu64 " %8s %8s %8s %6u",
			  rows[i].o->op,
			  rate(rows[i].o->count, rows[i].was->count, seconds),
			  rows[i].o->count, rows[i].o->errors,
			  show_ns(mean(rows[i].o, rows[i].was)).text,
			  show_ns(rows[i].o->p99_ns).text,
			  show_ns(rows[i].o->max_ns).text, rows[i].o->stack_peak))
			return;
}

static int spaces(struct screen *s, struct session *se)
{
	static const char *const states[] = { "exact", "building", "ready", "failed" };
	AUTO_FREE struct vexfs_space_list *list = cli_alloc(1, sizeof(*list));
	int err = session_call(se, VEXFS_IOC_SPACE_LIST, list);

	if (err)
		return session_error(se, err, "spaces");
	if (list->count)
		line(s, "%-16s %6s %10s %10s %9s %9s", "SPACE", "DIM", "ROWS", "PENDING",
		     "INDEX", "MEMORY");
	for (uint32_t i = 0; i < list->count && i < VEXFS_SPACES_A_CALL; i++) {
		const struct vexfs_space *sp = &list->spaces[i];

		/* The operations want to be seen, too. */
		if (s->rows && s->used > s->rows / 2)
			break;
		line(s, "%-16.48s %6u %10" PRIu64 " %10" PRIu64 " %9s %9s", sp->name,
		     sp->dim, sp->rows, sp->pending,
		     sp->index_state < 4 ? states[sp->index_state] : "?",
		     show_bytes(sp->index_bytes).text);
	}
	line(s, "%s", "");
	return 0;
}

static int draw(struct screen *s, struct session *se, const char *path,
		const struct picture *p, const struct picture *was, double seconds)
{
	int err;

	head(s, path, p);
	err = spaces(s, se);
	if (!err)
		operations(s, p, was, seconds);
	return err;
}

/* ---- the terminal
 * ---------------------------------------------------------------------- */

static volatile sig_atomic_t ended;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static void window(struct screen *s)
{
	struct winsize w = { .ws_row = 24, .ws_col = 80 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_row || !w.ws_col)
		w = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	s->rows = w.ws_row;
	s->columns = w.ws_col;
}

static int frame(struct session *se, const char *path, struct picture *was)
{
	struct screen s = { .live = true };
	struct picture p = { 0 };
	int err = take(se, &p);

	if (!err) {
		window(&s);
		buf_str(&s.out, "\x1b[H");
		err = draw(&s, se, path, &p, was, p.at - was->at);
		buf_str(&s.out, "\x1b[J");
		fwrite(s.out.data, 1, s.out.len, stdout);
		fflush(stdout);
	}
	buf_free(&s.out);
	stats_free(&was->st);
	*was = p;
	return err;
}

/* Waits; true: a key or a signal ends it. */
static bool rest(float seconds)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char key = 0;

	if (poll(&p, 1, (int)(seconds * 1000)) > 0 && read(STDIN_FILENO, &key, 1) != 1)
		key = 'q';
	return ended || key == 'q' || key == 'Q' || key == 3;
}

static int live(struct session *se, const char *path, float seconds)
{
	struct sigaction on = { .sa_handler = end };
	struct sigaction quiet = { .sa_handler = SIG_DFL };
	struct picture was = { 0 };
	struct termios old, raw;
	bool tty = !tcgetattr(STDIN_FILENO, &old);
	int err = take(se, &was);

	if (err)
		return err;
	sigaction(SIGINT, &on, NULL);
	sigaction(SIGTERM, &on, NULL);
	sigaction(SIGWINCH, &quiet, NULL);
	if (tty) {
		raw = old;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs("\x1b[?1049h\x1b[?25l", stdout);
	do
		err = frame(se, path, &was);
	while (!err && !rest(seconds));
	fputs("\x1b[?25h\x1b[?1049l", stdout);
	if (tty)
		tcsetattr(STDIN_FILENO, TCSANOW, &old);
	stats_free(&was.st);
	return err;
}

static int once(struct session *se, const char *path)
{
	struct screen s = { .live = false };
	struct picture p = { 0 }, none = { 0 };
	int err = take(se, &p);

	if (!err)
		err = draw(&s, se, path, &p, &none, (double)p.status.uptime_seconds + 1);
	if (!err)
		fwrite(s.out.data, 1, s.out.len, stdout);
	buf_free(&s.out);
	stats_free(&p.st);
	return err;
}

int cmd_top(struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	bool single = false;
	float seconds = 1;
	const struct opt opts[] = { { "once", 0, OPT_FLAG, &single, 0, NULL },
				    { "interval", 0, OPT_NUMBER, &seconds, 0, NULL },
				    { 0 } };
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	if (!(seconds >= 0.1f && seconds <= 3600))
		return cli_error("--interval: not within 0.1 and 3600");
	code = mount_find(in, in->args[0], &m);
	if (!code)
		code = session_open(&m, &s);
	if (code)
		return code;
	if (!single && !isatty(STDOUT_FILENO))
		return cli_error("stdout is no terminal: --once prints one picture");
	return single ? once(&s, m.path) : live(&s, m.path, seconds);
}
