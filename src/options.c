/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: `vexfs [-f] [-d] [-s] [-o OPTIONS] STORE MOUNTPOINT`, and mount(8)'s
 * way of calling a helper (`mount.fuse.vexfs STORE MOUNTPOINT -o ...`), where -f, -s, -n,
 * -v, -N and -t are mount's own. What is not understood is refused with one line; what
 * fstab says to others (noauto, x-systemd.*) is passed over.
 */
#include <ctype.h>
#include "options.h"

#include <getopt.h>

#define EXIT_USAGE 2

/* ---- -o ------------------------------------------------------------------------- */

static bool number(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*out = strtoull(s, &end, 10);
	return !*end && !errno && *out >= min && *out <= max;
}

static bool word_of(const char *s, const char *const *words, unsigned *out)
{
	for (unsigned k = 0; words[k]; k++) {
		if (!strcmp(s, words[k])) {
			*out = k;
			return true;
		}
	}
	return false;
}

static bool set_metric(struct options *o, const char *v)
{
	static const char *const words[] = { "cosine", "l2", "ip", NULL };
	unsigned k;

	if (!word_of(v, words, &k))
		return false;
	o->engine.metric = (uint8_t)k; /* enum vex_metric is in this order */
	return true;
}

static bool set_sync(struct options *o, const char *v)
{
	static const char *const words[] = { "lazy", "always", NULL };
	unsigned k;

	if (!word_of(v, words, &k))
		return false;
	o->engine.store.sync = k ? VEX_SYNC_ALWAYS : VEX_SYNC_LAZY;
	return true;
}

static bool set_interval(struct options *o, const char *v)
{
	uint64_t n;

	if (!number(v, 1, 86400000, &n))
		return false;
	o->engine.store.sync_interval_ms = (uint32_t)n;
	return true;
}

static bool set_threads(struct options *o, const char *v)
{
	uint64_t n;

	if (!number(v, 1, 1024, &n))
		return false;
	o->engine.threads = (unsigned)n;
	return true;
}

static bool set_vec_space(struct options *o, const char *v)
{
	size_t n = strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	if (!n || v[n] || n > VEX_SPACE_NAME_MAX || *v == '_' || *v == '-')
		return false;
	o->engine.vec_space = v;
	return true;
}

static bool set_strict(struct options *o, const char *v)
{
	(void)v;
	o->engine.strict = true;
	return true;
}

static bool set_passthrough(struct options *o, const char *v)
{
	o->no_passthrough = !strcmp(v, "off");
	return o->no_passthrough || !strcmp(v, "auto");
}

static bool set_debug(struct options *o, const char *v)
{
	(void)v;
	o->debug = o->foreground = true;
	return true;
}

/* The settings of the graph are checked and shown by status; it is built by them as
 * soon as there is one. */
static bool check_batch(struct options *o, const char *v)
{
	uint64_t n;

	(void)o;
	return number(v, 1, 1000000, &n);
}

static bool set_index_sync(struct options *o, const char *v)
{
	o->engine.index_immediate = !strcmp(v, "immediate");
	return o->engine.index_immediate || !strcmp(v, "lazy");
}

/* BYTES with K, M, G or T. */
static bool set_mem(struct options *o, const char *v)
{
	static const char units[] = "KMGT";
	size_t n = strspn(v, "0123456789");
	const char *unit = v[n] ? strchr(units, toupper((unsigned char)v[n])) : NULL;
	char digits[20];
	uint64_t bytes;

	if (n >= sizeof(digits) || (v[n] && (!unit || v[n + 1])))
		return false;
	memcpy(digits, v, n);
	digits[n] = 0;
	if (!number(digits, 1, UINT64_MAX >> 40, &bytes))
		return false;
	o->engine.index_mem = unit ? bytes << (10 * (unit - units + 1)) : bytes;
	return true;
}

static bool accept_flag(struct options *o, const char *v)
{
	(void)o;
	(void)v;
	return true;
}

struct setting {
	const char *name;
	bool value;
	bool (*set)(struct options *o, const char *v);
};

static const struct setting settings[] = {
	{ "metric", true, set_metric },
	{ "sync", true, set_sync },
	{ "sync_interval_ms", true, set_interval },
	{ "batch_size", true, check_batch },
	{ "index_sync", true, set_index_sync },
	{ "threads", true, set_threads },
	{ "mem", true, set_mem },
	{ "passthrough", true, set_passthrough },
	{ "vec_space", true, set_vec_space },
	{ "auto_rebuild", false, accept_flag },
	{ "strict", false, set_strict },
	{ "debug", false, set_debug },
};

/* For the kernel, by way of libfuse; and what mount(8) and fstab say for themselves.
 * (`sync` and `async` without a value are the mount flags.) */
static const char *const to_kernel[] = {
	"allow_other", "ro",   "rw",    "nosuid",  "suid",    "nodev", "dev",
	"noexec",      "exec", "async", "dirsync", "noatime", "sync",  NULL,
};
static const char *const ignored[] = {
	"default_permissions",
	"defaults",
	"auto",
	"noauto",
	"user",
	"nouser",
	"users",
	"owner",
	"group",
	"nofail",
	"_netdev",
	"atime",
	"diratime",
	"nodiratime", /* times of access are the backing filesystem's business */
	"relatime",
	"norelatime",
	"strictatime",
	"nostrictatime",
	"lazytime",
	"nolazytime",
	"iversion",
	"noiversion",
	"mand",
	"nomand",
	"silent",
	"loud",
	NULL,
};

static void add_word(struct vex_buf *b, const char *word)
{
	vex_buf_fmt(b, "%s%s", b->len ? "," : "", word);
}

static const struct setting *setting_of(const char *name, bool has_value)
{
	for (size_t k = 0; k < ARRAY_SIZE(settings); k++) {
		if (!strcmp(settings[k].name, name) && settings[k].value == has_value)
			return &settings[k];
	}
	return NULL;
}

/* Keeps pointers into `word`. */
static int take_option(struct options *o, char *word)
{
	unsigned k;

	if (word_of(word, to_kernel, &k)) {
		add_word(&o->kernel, word);
		return 0;
	}
	if (!*word || word_of(word, ignored, &k) || !strncmp(word, "x-", 2) ||
	    !strncmp(word, "comment=", 8))
		return 0;
	char *value = strchr(word, '=');
	AUTO_FREE char *name =
	    strndup(word, value ? (size_t)(value - word) : strlen(word));
	if (!name)
		return vexfs_fail(1, "out of memory");
	const struct setting *s = setting_of(name, value != NULL);
	if (!s && setting_of(name, !value))
		return vexfs_fail(EXIT_USAGE, "option %s %s a value", name,
				  value ? "takes no" : "needs");
	if (!s)
		return o->sloppy ? 0
				 : vexfs_fail(EXIT_USAGE, "unknown option '%s'", word);
	if (!s->set(o, value ? value + 1 : NULL))
		return vexfs_fail(EXIT_USAGE, "bad value in option '%s'", word);
	add_word(&o->shown, word);
	return 0;
}

static int take_options(struct options *o, char *list)
{
	char *save = NULL;

	for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		int code = take_option(o, w);

		if (code)
			return code;
	}
	return 0;
}

/* ---- the command line
 * ------------------------------------------------------------------ */

static const char usage[] =
    "usage: vexfs [-f] [-d] [-s] [-o OPTIONS] STORE MOUNTPOINT\n"
    "       vexfs --fsck [--repair] STORE\n"
    "\n"
    "Shows the directory STORE at MOUNTPOINT, with vectors on its files and search.\n"
    "MOUNTPOINT may be STORE itself. Unmount with fusermount3 -u MOUNTPOINT.\n"
    "\n"
    "  -f             stay in the foreground, log to stderr\n"
    "  -d             -f, and print every request\n"
    "  -s             serve with one thread\n"
    "  -h, --help     this text\n"
    "  -V, --version  the version\n"
    "\n"
    "  -o metric=cosine|l2|ip     of spaces made by a first attachment (cosine)\n"
    "  -o strict                  make no space unasked\n"
    "  -o vec_space=NAME          space of *.vec files (vec<dimension>)\n"
    "  -o sync=lazy|always        when attachments are safe from power loss (lazy)\n"
    "  -o sync_interval_ms=N      the longest wait of lazy (2000)\n"
    "  -o threads=N               workers (one a core)\n"
    "  -o passthrough=auto|off    whether the kernel reads and writes files itself "
    "(auto)\n"
    "  -o mem=SIZE, batch_size=N, index_sync=lazy|immediate, auto_rebuild\n"
    "                             of the index\n"
    "  -o allow_other,ro,...      as of any mount; see vexfs(8)\n";

static int take_flag(struct options *o, int flag)
{
	switch (flag) {
	case 'f':
		*(o->mount_helper ? &o->fake : &o->foreground) = true;
		return 0;
	case 's':
		*(o->mount_helper ? &o->sloppy : &o->single) = true;
		return 0;
	case 'd':
		set_debug(o, NULL);
		return 0;
	case 'o':
		return take_options(o, optarg);
	case 'n': /* mount(8)'s own: no mtab, verbose, namespace, type */
	case 'v':
	case 'N':
	case 't':
		return 0;
	case ':':
		return vexfs_fail(EXIT_USAGE, "option -%c needs a value", optopt);
	default:
		return vexfs_fail(EXIT_USAGE, "unknown option '%s' (see vexfs --help)",
				  optopt ? (char[]){ '-', (char)optopt, 0 } : "--...");
	}
}

static int take_places(struct options *o, char **argv, int n)
{
	if (n != 2)
		return vexfs_fail(EXIT_USAGE, "%s (see vexfs --help)",
				  n < 2 ? "STORE and MOUNTPOINT are needed"
					: "too many arguments");
	o->store = realpath(argv[0], NULL);
	if (!o->store)
		return vexfs_fail(1, "%s: %s", argv[0], strerror(errno));
	o->mountpoint = realpath(argv[1], NULL);
	if (!o->mountpoint)
		return vexfs_fail(1, "%s: %s", argv[1], strerror(errno));
	return 0;
}

int options_parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { 0 } };
	const char *base = strrchr(argv[0], '/');
	int flag, code;

	o->mount_helper = !strncmp(base ? base + 1 : argv[0], "mount.", 6);
	opterr = 0;
	const char *shorts = o->mount_helper ? ":fsnvN:t:o:hV" : ":fdso:hV";
	while ((flag = getopt_long(argc, argv, shorts, longs, NULL)) >= 0) {
		if (flag == 'h')
			return fputs(usage, stdout) < 0;
		if (flag == 'V')
			return puts("vexfs " VEXFS_VERSION) < 0;
		if (flag == '?' && !optopt)
			return vexfs_fail(EXIT_USAGE,
					  "unknown option '%s' (see vexfs --help)",
					  argv[optind - 1]);
		code = take_flag(o, flag);
		if (code)
			return code;
	}
	code = take_places(o, argv + optind, argc - optind);
	return code ? code : o->fake ? 0 : -1;
}
