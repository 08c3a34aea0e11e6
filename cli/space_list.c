/* SPDX-License-Identifier: Apache-2.0 */
/* space_list: list (also as a script) and show. */
#include <inttypes.h>

#include "items.h"
#include "space.h"

static const char help[] =
    "usage: vexctl space list [--script]\n"
    "       vexctl space show S\n"
    "\n"
    "list prints name, dimension, metric, type, index and rows of every space; with\n"
    "--script, the commands that make them again. show prints KEY: VALUE lines. Counts\n"
    "('-' in list) are for root and the owner of the mount.\n";

#define RECALL_DEFAULT 0.98 /* as vexfs.h says of `recall` */

/* May the caller see totals of the whole store? */
static bool sees_totals(struct session *s)
{
	struct vexfs_status status = { 0 };

	return !session_call(s, VEXFS_IOC_STATUS, &status);
}

/* The shortest decimal that gives the same number again. */
static const char *scale_text(double scale, char text[32])
{
	for (int digits = 6; digits <= 17; digits++) {
		double back;

		snprintf(text, 32, "%.*g", digits, scale);
		back = strtod(text, NULL);
		if (!(back < scale || back > scale))
			break;
	}
	return text;
}

void space_words(const struct vexfs_space *s, struct buf *out)
{
	buf_fmt(out, "%s --dim %u --metric %s --type %s --index %s", s->name, s->dim,
		space_word(WORD_METRIC, s->metric), space_word(WORD_TYPE, s->type),
		space_word(WORD_INDEX, s->index));
	if (s->scale > 0)
		buf_fmt(out, " --scale %s", scale_text(s->scale, (char[32]){ 0 }));
	if (s->m)
		buf_fmt(out, " --m %u", s->m);
	if (s->ef_construction)
		buf_fmt(out, " --ef-construction %u", s->ef_construction);
	if (s->ef_search)
		buf_fmt(out, " --ef-search %u", s->ef_search);
	if (s->quant)
		buf_fmt(out, " --quant %s", space_word(WORD_QUANT, s->quant));
	if (s->recall > 0)
		buf_fmt(out, " --recall %.7g", (double)s->recall);
}

static void print_script(const struct vexfs_space *s)
{
	AUTO_BUF struct buf b = { 0 };

	space_words(s, &b);
	printf("vexctl space create %s\n", buf_text(&b));
}

static void print_line(const struct vexfs_space *s, bool totals)
{
	char rows[24] = "-";

	if (totals)
		snprintf(rows, sizeof(rows), "%" PRIu64, s->rows);
	printf("%-20s %6u  %-8s %-5s %-5s %10s\n", s->name, s->dim,
	       space_word(WORD_METRIC, s->metric), space_word(WORD_TYPE, s->type),
	       space_word(WORD_INDEX, s->index), rows);
}

static int each(struct session *s, bool script, bool totals)
{
	AUTO_FREE struct vexfs_space_list *list = cli_alloc(1, sizeof(*list));
	uint32_t after = 0;

	do {
		int err;

		memset(list, 0, sizeof(*list));
		list->after = after;
		err = session_call(s, VEXFS_IOC_SPACE_LIST, list);
		if (err)
			return session_error(s, err, "list");
		for (uint32_t i = 0; i < list->count && i < ARRAY_SIZE(list->spaces);
		     i++) {
			struct vexfs_space *space = &list->spaces[i];

			space->name[VEXFS_NAME_LEN - 1] = 0;
			if (script)
				print_script(space);
			else
				print_line(space, totals);
			after = space->id;
		}
	} while (list->more && list->count);
	return CLI_OK;
}

int space_list(struct invocation *in)
{
	AUTO_SESSION struct session s = SESSION_INIT;
	bool script = false;
	const struct opt opts[] = { { "script", 0, OPT_FLAG, &script, 0, NULL }, { 0 } };
	int code = options_parse(in, opts, help);
	int err;

	if (code >= 0)
		return code;
	err = space_begin(in, 0, &s);
	if (err)
		return err;
	if (!script && isatty(STDOUT_FILENO))
		printf("%-20s %6s  %-8s %-5s %-5s %10s\n", "NAME", "DIM", "METRIC",
		       "TYPE", "INDEX", "ROWS");
	return each(&s, script, !script && sees_totals(&s));
}

/* Of the index: what it reaches, and how far it is. */
static void print_index(const struct vexfs_space *s)
{
	printf("index_builds: %u\n", s->index_builds);
	if (s->index_recall > 0)
		printf("index_recall: %.4f\n", (double)s->index_recall);
	if (s->progress || s->index_state == VEXFS_STATE_BUILDING)
		printf("index_progress: %.1f%%\nindex_seconds_left: %u\n",
		       s->progress / 10.0, s->seconds_left);
}

static void print_totals(const struct vexfs_space *s)
{
	const struct {
		const char *key;
		uint64_t value;
	} lines[] = {
		{ "attachments", s->attachments },
		{ "rows", s->rows },
		{ "slots", s->slots },
		{ "bytes", s->bytes },
		{ "damaged", s->damaged },
		{ "pending", s->pending },
		{ "index_bytes", s->index_bytes },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		printf("%s: %" PRIu64 "\n", lines[i].key, lines[i].value);
	print_index(s);
}

int space_show(struct invocation *in)
{
	static const char *const states[] = { "exact", "building (exact)", "ready",
					      "failed (exact)", "ready, poor recall" };
	static const struct opt none[] = { { 0 } };
	AUTO_SESSION struct session s = SESSION_INIT;
	struct vexfs_space space;
	int code = options_parse(in, none, help);
	int err;

	if (code >= 0)
		return code;
	err = space_begin(in, 1, &s);
	if (err)
		return err;
	err = session_space(&s, in->args[0], &space);
	if (err)
		return session_error(&s, err, in->args[0]);
	printf("name: %s\ndim: %u\nmetric: %s\ntype: %s\nindex: %s\n", in->args[0],
	       space.dim, space_word(WORD_METRIC, space.metric),
	       space_word(WORD_TYPE, space.type), space_word(WORD_INDEX, space.index));
	if (space.scale > 0)
		printf("scale: %s\n", scale_text(space.scale, (char[32]){ 0 }));
	printf("index_state: %s\n",
	       space.index_state < ARRAY_SIZE(states) ? states[space.index_state] : "?");
	printf("m: %u\nef_construction: %u\nef_search: %u\n", space.m,
	       space.ef_construction, space.ef_search);
	printf("quant: %s\n", space_word(WORD_QUANT, space.quant));
	printf("recall: %.4g\n",
	       space.recall > 0 ? (double)space.recall : RECALL_DEFAULT);
	if (sees_totals(&s))
		print_totals(&space);
	return CLI_OK;
}
