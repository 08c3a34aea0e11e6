/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line a call, to stderr or syslog. Set up once before threads start;
 * stdio and syslog lock for themselves afterwards.
 *
 * A fault that repeats must not fill the disk: of each level at most BURST lines a
 * second are written; the first line of a later second says how many were not. The last
 * error and warning are kept for `status`, written or not.
 *
 * Requests have no stack for printing: their lines are written on a deep one
 * (vex_deep_call), and they wait for it.
 *
 * Lock: `lock` guards counts and the kept line; nothing is written under it.
 */
#include <syslog.h>
#include <vexfs/base.h>

#define BURST 50u

static bool log_syslog;
static _Atomic int log_max = VEX_LOG_INFO;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t second;
	unsigned lines, dropped;
} rates[VEX_LOG_DEBUG + 1]; /* guarded by lock */
static char last_text[256];
static int64_t last_time;
static _Atomic uint64_t nsuppressed;

void vex_log_init(bool to_syslog, enum vex_log_level max)
{
	log_syslog = to_syslog;
	vex_log_set_level(max);
	if (to_syslog)
		openlog("vexfs", LOG_PID, LOG_DAEMON);
}

void vex_log_set_level(enum vex_log_level max)
{
	atomic_store(&log_max, (int)max);
}

enum vex_log_level vex_log_level(void)
{
	return (enum vex_log_level)atomic_load(&log_max);
}

uint64_t vex_log_suppressed(void)
{
	return atomic_load(&nsuppressed);
}

int64_t vex_log_last(char *text, size_t size)
{
	SCOPED_LOCK(&lock);
	snprintf(text, size, "%s", last_text);
	return last_time;
}

/* Whether this line is written; *dropped: how many before it were not. */
static bool admit(enum vex_log_level level, unsigned *dropped)
{
	uint64_t second = vex_now_mono() / 1000000000u;

	*dropped = 0;
	SCOPED_LOCK(&lock);
	if (rates[level].second != second) {
		*dropped = rates[level].dropped;
		rates[level].second = second;
		rates[level].lines = rates[level].dropped = 0;
	}
	if (++rates[level].lines <= BURST)
		return true;
	rates[level].dropped++;
	atomic_fetch_add(&nsuppressed, 1);
	return false;
}

static void keep(const char *fmt, va_list ap)
{
	SCOPED_LOCK(&lock);
	vsnprintf(last_text, sizeof(last_text), fmt, ap);
	last_time = vex_now_real();
}

static void to_stderr(enum vex_log_level level, const char *fmt, va_list ap)
{
	static const char *const words[] = { "error: ", "warning: ", "", "debug: " };

	flockfile(stderr);
	fprintf(stderr, "vexfs: %s", words[level]);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	funlockfile(stderr);
}

static void write_line(enum vex_log_level level, const char *fmt, va_list ap)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

	if (log_syslog)
		vsyslog(priorities[level], fmt, ap);
	else
		to_stderr(level, fmt, ap);
}

static VEX_PRINTF(2, 3) void write_words(enum vex_log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(level, fmt, ap);
	va_end(ap);
}

struct line {
	enum vex_log_level level;
	const char *fmt;
	va_list ap;
};

/* fprintf alone takes 10 KB of stack. */
static VEX_APART vex_err put_line(void *arg)
{
	struct line *l = arg;
	unsigned dropped;
	va_list ap;

	vex_deep_only();
	if (l->level <= VEX_LOG_WARN) {
		va_copy(ap, l->ap);
		keep(l->fmt, ap);
		va_end(ap);
	}
	if (!admit(l->level, &dropped))
		return 0;
	if (dropped)
		write_words(l->level, "%u lines were not written: too many a second",
			    dropped);
	write_line(l->level, l->fmt, l->ap);
	return 0;
}

void vex_log(enum vex_log_level level, const char *fmt, ...)
{
	struct line l = { .level = level, .fmt = fmt };

	if ((int)level > atomic_load_explicit(&log_max, memory_order_relaxed))
		return;
	va_start(l.ap, fmt);
	if (vex_deep_call(put_line, &l))
		atomic_fetch_add(&nsuppressed, 1);
	va_end(l.ap);
}
