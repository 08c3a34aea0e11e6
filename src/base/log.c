/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line a call, to stderr or syslog. Set up once before threads start;
 * stdio and syslog lock for themselves afterwards.
 */
#include <syslog.h>
#include <vexfs/base.h>

static bool log_syslog;
static enum vex_log_level log_max = VEX_LOG_INFO;

void vex_log_init(bool to_syslog, enum vex_log_level max)
{
	log_syslog = to_syslog;
	log_max = max;
	if (to_syslog)
		openlog("vexfs", LOG_PID, LOG_DAEMON);
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

void vex_log(enum vex_log_level level, const char *fmt, ...)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	if (log_syslog)
		vsyslog(priorities[level], fmt, ap);
	else
		to_stderr(level, fmt, ap);
	va_end(ap);
}
