/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space: create, set, drop; what prints is in space_list.c. The daemon decides who may
 * (root and the owner of the mount) and what is a sane parameter.
 */
#include "space.h"

#include <math.h>

#include "commands.h"
#include "items.h"

static const char help[] =
    "usage: vexctl space create S --dim N [--metric M] [--type T] [--index I]\n"
    "                    [--scale X] [--m N] [--ef-construction N] [--ef-search N]\n"
    "                    [--quant Q]\n"
    "                    [--recall R]\n"
    "       vexctl space list [--script]\n"
    "       vexctl space show S\n"
    "       vexctl space set S KEY=VALUE...\n"
    "       vexctl space drop S\n"
    "\n"
    "A space is a set of vectors of one dimension, metric and element type.\n"
    "\n"
    "  --metric   cosine (default), l2, ip, l1; of bit hamming (default), jaccard\n"
    "  --type     f32 (default), f16, i8, i16, bit\n"
    "  --scale    of i8 and i16: numbers are divided by it and rounded; without it\n"
    "             they have to be whole\n"
    "  --index    hnsw (default) or flat\n"
    "  --quant    what the graph traverses: sq8 (default), f16, bit or none; the order "
    "of\n"
    "             hits is by the exact distances whatever it is\n"
    "  --script   the commands that make the spaces again\n"
    "  --recall   the share of the true hits that searches by the index are to find,\n"
    "             default 0.98; 1: searches are exact\n"
    "  set        m, ef_construction, quant (for the next graph), ef_search, recall\n"
    "\n"
    "list prints name, dimension, metric, type, index and rows; rows are '-' for who is\n"
    "neither root nor the owner of the mount. drop removes the space and every "
    "attachment\n"
    "in it. create, set and drop are for root and the owner of the mount.\n";

#define WORDS_MAX 6u
static const char *const words[][WORDS_MAX] = {
	[WORD_METRIC] = { "cosine", "l2", "ip", "l1", "hamming", "jaccard" },
	[WORD_TYPE] = { "f32", "f16", "i8", "i16", "bit" },
	[WORD_INDEX] = { "flat", "hnsw" },
	[WORD_QUANT] = { "default", "f16", "sq8", "bit", "none" },
};
static const char *const kinds[] = { "metric", "type", "index", "quant" };

const char *space_word(enum space_word kind, uint32_t value)
{
	return value < WORDS_MAX && words[kind][value] ? words[kind][value] : "?";
}

int space_number(enum space_word kind, const char *word, uint32_t *out)
{
	AUTO_BUF struct buf choices = { 0 };

	for (uint32_t i = 0; i < WORDS_MAX && words[kind][i]; i++) {
		buf_fmt(&choices, "%s%s", i ? ", " : "", words[kind][i]);
		if (strcmp(word, words[kind][i]))
			continue;
		*out = i;
		return 0;
	}
	return cli_error("unknown %s '%s': %s", kinds[kind], word, choices.data);
}

int space_begin(struct invocation *in, int nargs, struct session *s)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	int err;

	if (nargs ? in->nargs < nargs : in->nargs)
		return cli_error(nargs ? "needs the name of a space"
				       : "takes no arguments");
	if (nargs == 1 && in->nargs > 1)
		return cli_error("what is '%s'?", in->args[1]);
	if (nargs && !space_name_ok(in->args[0]))
		return cli_error("bad space name '%s'", in->args[0]);
	err = mount_find(in, NULL, &m);
	return err ? err : session_open(&m, s);
}

/* The daemon knows which are possible; here: is it a number above 0? */
static int take_scale(const char *text, struct vexfs_space *space)
{
	char *end;

	if (space->type != VEXFS_I8 && space->type != VEXFS_I16)
		return cli_error("--scale is for i8 and i16");
	if (!*text || text[strspn(text, "0123456789.+-eE")])
		return cli_error("--scale: not a number: '%s'", text);
	space->scale = strtod(text, &end);
	if (*end || !isfinite(space->scale) || !(space->scale > 0))
		return cli_error("--scale: not a number above 0: '%s'", text);
	return 0;
}

int space_parse(struct invocation *in, struct vexfs_space *space)
{
	const char *metric = NULL, *type = "f32", *index = "hnsw", *scale = NULL,
		   *quant = "default";
	bool recall = false;
	const struct opt opts[] = {
		{ "dim", 0, OPT_COUNT, &space->dim, 1, NULL },
		{ "metric", 0, OPT_TEXT, &metric, 0, NULL },
		{ "type", 0, OPT_TEXT, &type, 0, NULL },
		{ "index", 0, OPT_TEXT, &index, 0, NULL },
		{ "scale", 0, OPT_TEXT, &scale, 0, NULL },
		{ "quant", 0, OPT_TEXT, &quant, 0, NULL },
		{ "m", 0, OPT_COUNT, &space->m, 1, NULL },
		{ "ef-construction", 0, OPT_COUNT, &space->ef_construction, 1, NULL },
		{ "ef-search", 0, OPT_COUNT, &space->ef_search, 1, NULL },
		{ "recall", 0, OPT_NUMBER, &space->recall, 0, &recall },
		{ 0 },
	};
	int code = options_parse(in, opts, help);
	int err;

	if (code >= 0)
		return code;
	if (!space->dim)
		return cli_error("needs --dim N");
	if (recall && !(space->recall > 0 && space->recall <= 1))
		return cli_error("--recall: not above 0 and at most 1");
	err = space_number(WORD_TYPE, type, &space->type);
	if (!metric)
		metric = space->type == VEXFS_BIT ? "hamming" : "cosine";
	if (!err)
		err = space_number(WORD_METRIC, metric, &space->metric);
	if (!err)
		err = space_number(WORD_QUANT, quant, &space->quant);
	if (!err && scale)
		err = take_scale(scale, space);
	if (!err)
		err = space_number(WORD_INDEX, index, &space->index);
	if (!err && in->nargs)
		snprintf(space->name, sizeof(space->name), "%s", in->args[0]);
	return err ? err : -1;
}

int space_create(struct invocation *in)
{
	AUTO_SESSION struct session s = SESSION_INIT;
	struct vexfs_space space = { 0 };
	int err = space_parse(in, &space);

	if (err < 0)
		err = space_begin(in, 1, &s);
	if (err || s.fd < 0)
		return err;
	err = session_call(&s, VEXFS_IOC_SPACE_CREATE, &space);
	return err ? session_error(&s, err, space.name) : CLI_OK;
}

static int assign_recall(struct vexfs_space *space, const char *text)
{
	if (!parse_number(text, &space->recall) || space->recall < 0 || space->recall > 1)
		return cli_error("recall: not a number from 0 to 1: '%s'", text);
	space->mask |= VEXFS_SPACE_RECALL;
	return 0;
}

/* One KEY=VALUE into the struct and its mask. */
static int assign(struct vexfs_space *space, const char *pair)
{
	const struct {
		const char *key;
		uint32_t bit;
		uint32_t *into;
	} keys[] = {
		{ "m=", VEXFS_SPACE_M, &space->m },
		{ "ef_construction=", VEXFS_SPACE_EF_CONSTRUCTION,
		  &space->ef_construction },
		{ "ef_search=", VEXFS_SPACE_EF_SEARCH, &space->ef_search },
	};

	if (!strncmp(pair, "quant=", 6)) {
		space->mask |= VEXFS_SPACE_QUANT;
		return space_number(WORD_QUANT, pair + 6, &space->quant);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i].key);

		if (strncmp(pair, keys[i].key, len))
			continue;
		if (!parse_count(pair + len, keys[i].into) || !*keys[i].into)
			return cli_error("not a number from 1 up: '%s'", pair);
		space->mask |= keys[i].bit;
		return 0;
	}
	if (!strncmp(pair, "recall=", 7))
		return assign_recall(space, pair + 7);
	return cli_error(
	    "'%s': one of m=N, ef_construction=N, ef_search=N, quant=Q, recall=R", pair);
}

int space_set(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_SESSION struct session s = SESSION_INIT;
	struct vexfs_space space = { 0 };
	int code = options_parse(in, none, help);
	int err = 0;

	if (code >= 0)
		return code;
	if (in->nargs < 2)
		return cli_error("needs the name of a space and KEY=VALUE");
	for (int i = 1; !err && i < in->nargs; i++)
		err = assign(&space, in->args[i]);
	if (!err)
		err = space_begin(in, 2, &s);
	if (err)
		return err;
	snprintf(space.name, sizeof(space.name), "%s", in->args[0]);
	err = session_call(&s, VEXFS_IOC_SPACE_SET, &space);
	return err ? session_error(&s, err, space.name) : CLI_OK;
}

int space_drop(struct invocation *in)
{
	static const struct opt none[] = { { 0 } };
	AUTO_SESSION struct session s = SESSION_INIT;
	struct vexfs_space space = { 0 };
	int code = options_parse(in, none, help);
	int err;

	if (code >= 0)
		return code;
	err = space_begin(in, 1, &s);
	if (err)
		return err;
	snprintf(space.name, sizeof(space.name), "%s", in->args[0]);
	err = session_call(&s, VEXFS_IOC_SPACE_DROP, &space);
	return err ? session_error(&s, err, space.name) : CLI_OK;
}

int cmd_space(struct invocation *in)
{
	static const struct {
		const char *name, *shown;
		int (*run)(struct invocation *in);
	} commands[] = {
		{ "create", "space create", space_create },
		{ "list", "space list", space_list },
		{ "show", "space show", space_show },
		{ "set", "space set", space_set },
		{ "drop", "space drop", space_drop },
	};
	int code = options_lead(in, help);

	if (code >= 0)
		return code;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(in->argv[0], commands[i].name))
			continue;
		cli_set_command(commands[i].shown);
		in->argc--;
		in->argv++;
		return commands[i].run(in);
	}
	return cli_error("unknown sub-command '%s': create, list, show, set or drop",
			 in->argv[0]);
}
