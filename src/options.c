/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: `vexfs [-f] [-d] [-s] [-o OPTIONS] STORE MOUNTPOINT`, and mount(8)'s
 * way of calling a helper (`mount.fuse.vexfs STORE MOUNTPOINT -o ...`), where -f, -s, -n,
 * -v, -N and -t are mount's own. What is not understood is refused with one line; what
 * fstab says to others (noauto, x-systemd.*) is passed over.
 */
#include "options.h"

#include <getopt.h>

#define EXIT_USAGE 2

/* ---- -o ------------------------------------------------------------------------- */

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

static bool set_debug(struct options *o, const char *v)
{
	(void)v;
	o->settings.value[VEX_KNOB_LOG] = VEX_LOG_DEBUG;
	o->settings.from[VEX_KNOB_LOG] = VEX_FROM_COMMAND;
	o->debug = o->foreground = true;
	return true;
}

/* Those that are no knobs of the engine: they hold for the whole mount. */
struct setting {
	const char *name;
	bool value;
	bool (*set)(struct options *o, const char *v);
};

static const struct setting settings[] = {
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

/* Where a word stands, and what wins over what: the command line over the file. */
struct source {
	enum vex_knob_from from;
	const char *file; /* NULL: the command line */
	unsigned line;
};

static int refuse(const struct source *at, const char *what, const char *word)
{
	if (at->file)
		return vexfs_fail(1, "%s:%u: %s '%s'", at->file, at->line, what, word);
	return vexfs_fail(EXIT_USAGE, "%s '%s'", what, word);
}

static int take_knob(struct options *o, const struct source *at, int k, const char *word,
		     const char *value)
{
	struct vex_settings *s = &o->settings;
	uint64_t v = 1;

	if (!value && vex_knob_info((enum vex_knob)k)->kind != VEX_KNOB_FLAG)
		return refuse(at, "this option needs a value:", word);
	/* A file may say that there is none. */
	if (value && !*value && !at->file)
		return refuse(at, "bad value in option", word);
	if (value && vex_knob_parse((enum vex_knob)k, value, &v))
		return refuse(at, "bad value in option", word);
	if (s->from[k] > at->from)
		return 0;
	s->value[k] = v;
	s->from[k] = (uint8_t)at->from;
	if (!at->file)
		add_word(&o->shown, word);
	return 0;
}

static int take_setting(struct options *o, const struct source *at, const char *name,
			const char *word, const char *value)
{
	const struct setting *s = setting_of(name, value != NULL);
	size_t k = s ? (size_t)(s - settings) : 0;

	if (!s && setting_of(name, !value))
		return refuse(at,
			      value ? "this option takes no value:"
				    : "this option needs a value:",
			      word);
	if (!s)
		return o->sloppy && !at->file ? 0 : refuse(at, "unknown option", word);
	if (at->file && o->given & 1u << k)
		return 0;
	if (!s->set(o, value))
		return refuse(at, "bad value in option", word);
	o->given |= 1u << k;
	if (!at->file)
		add_word(&o->shown, word);
	return 0;
}

static int take_word(struct options *o, const struct source *at, const char *word)
{
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : strlen(word);
	int k = vex_knob_find(word, len);

	if (k >= 0)
		return take_knob(o, at, k, word, value ? value + 1 : NULL);
	AUTO_FREE char *name = strndup(word, len);
	if (!name)
		return vexfs_fail(1, "out of memory");
	return take_setting(o, at, name, word, value ? value + 1 : NULL);
}

static int take_option(struct options *o, char *word)
{
	static const struct source here = { .from = VEX_FROM_COMMAND };
	unsigned k;

	if (word_of(word, to_kernel, &k)) {
		add_word(&o->kernel, word);
		return 0;
	}
	if (!*word || word_of(word, ignored, &k) || !strncmp(word, "x-", 2) ||
	    !strncmp(word, "comment=", 8))
		return 0;
	return take_word(o, &here, word);
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

/* ---- STORE/.vexfs/vexfs.conf ----------------------------------------------------- */

/* Without blanks, of which no name and no value has any, and what follows a "#". */
static char *bare(char *line)
{
	char *to = line;

	line[strcspn(line, "#\r\n")] = 0;
	for (const char *p = line; *p; p++)
		if (*p != ' ' && *p != '\t')
			*to++ = *p;
	*to = 0;
	return line;
}

static int take_file(struct options *o, FILE *f, const char *path)
{
	struct source at = { .from = VEX_FROM_FILE, .file = path };
	AUTO_FREE char *line = NULL;
	size_t room = 0;
	int code = 0;

	while (!code && getline(&line, &room, f) >= 0) {
		const char *word = bare(line);

		at.line++;
		code = *word ? take_word(o, &at, word) : 0;
	}
	return code;
}

static int options_conf(struct options *o)
{
	AUTO_FREE char *path = NULL;
	FILE *f;
	int code;

	if (asprintf(&path, "%s/.vexfs/" VEX_CONF_NAME, o->store) < 0)
		return vexfs_fail(1, "out of memory");
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? 0
				       : vexfs_fail(1, "%s: %s", path, strerror(errno));
	code = take_file(o, f, path);
	fclose(f);
	return code;
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
    "  -o max_concurrent_ops=N, log_level=L, audit, events=vectors|all, threshold_*=N\n"
    "                             see vexfs(8); also in STORE/.vexfs/vexfs.conf\n"
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

	vex_settings_init(&o->settings);
	o->engine.settings = &o->settings;
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
	if (!code)
		code = options_conf(o);
	return code ? code : o->fake ? 0 : -1;
}
