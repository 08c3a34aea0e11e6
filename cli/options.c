/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options: one pass over argv. "--name VALUE", "--name=VALUE", "-k VALUE", "-kVALUE",
 * "-l0" (flags together), "--" (the rest are arguments), "-" (an argument). A value
 * may begin with "-": vectors do.
 */
#include "options.h"

#include "vector.h"

#include <math.h>

bool parse_count(const char *text, uint32_t *out)
{
	uint64_t v = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (uint64_t)(*text - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*out = (uint32_t)v;
	return true;
}

bool parse_number(const char *text, float *out)
{
	const char *end = vector_number(text, out);

	return end && !*end && isfinite(*out);
}

static int opt_store(const struct opt *o, const char *shown, const char *value)
{
	if (o->given)
		*o->given = true;
	switch (o->type) {
	case OPT_FLAG:
		*(bool *)o->into = true;
		return -1;
	case OPT_TEXT:
		*(const char **)o->into = value;
		return -1;
	case OPT_COUNT:
		if (parse_count(value, o->into) && *(uint32_t *)o->into >= o->min)
			return -1;
		return cli_error("%s: not a number from %u up: '%s'", shown, o->min,
				 value);
	case OPT_NUMBER:
		if (parse_number(value, o->into))
			return -1;
		return cli_error("%s: not a finite number: '%s'", shown, value);
	}
	return CLI_ERROR;
}

static const struct opt *by_name(const struct opt *opts, const char *name, size_t len)
{
	for (; opts->into; opts++)
		if (opts->name && strlen(opts->name) == len &&
		    !strncmp(opts->name, name, len))
			return opts;
	return NULL;
}

static const struct opt *by_letter(const struct opt *opts, char letter)
{
	for (; opts->into; opts++)
		if (opts->letter == letter)
			return opts;
	return NULL;
}

/* One "--name" at argv[*i]; -1: go on. */
static int long_option(struct invocation *in, const struct opt *opts, int *i)
{
	const char *arg = in->argv[*i];
	const char *eq = strchr(arg, '=');
	size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
	const struct opt *o = by_name(opts, arg + 2, len - 2);
	const char *value = eq ? eq + 1 : NULL;
	char shown[40];

	snprintf(shown, sizeof(shown), "%.*s", (int)len, arg);
	if (!o)
		return cli_error("unknown option '%s'", shown);
	if (o->type == OPT_FLAG && eq)
		return cli_error("%s takes no value", shown);
	if (o->type != OPT_FLAG && !value) {
		if (*i + 1 >= in->argc)
			return cli_error("%s needs a value", shown);
		value = in->argv[++*i];
	}
	return opt_store(o, shown, value);
}

/* The letters of one "-abc"; -1: go on. */
static int short_options(struct invocation *in, const struct opt *opts, int *i)
{
	for (const char *p = in->argv[*i] + 1; *p; p++) {
		const struct opt *o = by_letter(opts, *p);
		const char shown[3] = { '-', *p, 0 };
		int code;

		if (!o)
			return cli_error("unknown option '%s'", shown);
		if (o->type == OPT_FLAG) {
			opt_store(o, shown, NULL);
			continue;
		}
		if (!p[1] && *i + 1 >= in->argc)
			return cli_error("%s needs a value", shown);
		code = opt_store(o, shown, p[1] ? p + 1 : in->argv[*i + 1]);
		*i += !p[1];
		return code;
	}
	return -1;
}

static const struct opt *common_of(const struct opt *o, const char *arg)
{
	if (!strncmp(arg, "-m", 2) || !strcmp(arg, "--mount") ||
	    !strncmp(arg, "--mount=", 8))
		return o;
	return NULL;
}

static bool wants_help(const char *arg)
{
	return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}

static int print_help(const char *help)
{
	fputs(help, stdout);
	return cli_finish(CLI_OK);
}

int options_parse(struct invocation *in, const struct opt *opts, const char *help)
{
	const struct opt mount[] = { { "mount", 'm', OPT_TEXT, &in->mount, 0, NULL },
				     { 0 } };
	int code = -1;
	int i;

	in->args = cli_alloc((size_t)in->argc + 1, sizeof(char *));
	for (i = 0; i < in->argc && code < 0; i++) {
		const char *arg = in->argv[i];
		const struct opt *table = common_of(mount, arg) ? mount : opts;

		if (!strcmp(arg, "--"))
			break;
		if (wants_help(arg))
			code = print_help(help);
		else if (!strncmp(arg, "--", 2))
			code = long_option(in, table, &i);
		else if (arg[0] == '-' && arg[1])
			code = short_options(in, table, &i);
		else
			in->args[in->nargs++] = in->argv[i];
	}
	for (i++; code < 0 && i < in->argc; i++)
		in->args[in->nargs++] = in->argv[i];
	return code;
}

int options_lead(struct invocation *in, const char *help)
{
	const struct opt mount[] = { { "mount", 'm', OPT_TEXT, &in->mount, 0, NULL },
				     { 0 } };
	int code = -1;
	int i;

	for (i = 0; i < in->argc && code < 0 && in->argv[i][0] == '-'; i++) {
		const char *arg = in->argv[i];

		if (wants_help(arg)) {
			code = print_help(help);
		} else if (!strcmp(arg, "--version")) {
			puts("vexctl " VEXFS_VERSION);
			code = cli_finish(CLI_OK);
		} else {
			code = arg[1] == '-' ? long_option(in, mount, &i)
					     : short_options(in, mount, &i);
		}
	}
	in->argc -= i;
	in->argv += i;
	if (code < 0 && in->argc < 1)
		code = cli_error("no command; 'vexctl --help' lists them");
	return code;
}
