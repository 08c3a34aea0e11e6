/* SPDX-License-Identifier: Apache-2.0 */
/*
 * get: prints attachments: text as it was stored, binary as decimal numbers (a row a
 * line) that give the same elements again, or the bytes with --raw.
 */
#include "attached.h"
#include "commands.h"
#include "elem.h"
#include "items.h"
#include "vector.h"

static const char help[] =
    "usage: vexctl get PATH [--space S] [--key K] [--raw | --list]\n"
    "\n"
    "Prints what is attached to a file or directory, a row a line. Without --space, the\n"
    "only attachment; where there are several, each line begins with SPACE[.KEY] and a\n"
    "tab.\n"
    "\n"
    "  --space S, --key K   the attachment of that space, under that key\n"
    "  --raw                the bytes as they are stored; of one attachment only\n"
    "  --list               only the names, SPACE[.KEY], a line each\n"
    "\n"
    "Exit 1: nothing attached there.\n";

struct get {
	struct wanted wanted;
	bool raw, list;
};

/* The space in "<space>[.<key>]". */
static int space_of(struct session *s, const char *name, struct vexfs_space *out)
{
	char text[VEXFS_NAME_LEN];
	int err;

	snprintf(text, sizeof(text), "%.*s", (int)strcspn(name, "."), name);
	err = session_space(s, text, out);
	return err ? session_error(s, err, text) : 0;
}

/* The value as lines of text, each ended. */
static int decode(struct session *s, const char *name, const struct buf *value,
		  struct buf *out)
{
	AUTO_FREE float *v = NULL;
	struct vexfs_space space;
	size_t row;
	int err = space_of(s, name, &space);

	if (err)
		return err;
	if (elem_is_text(&space, value->data, value->len)) {
		buf_add(out, value->data, value->len);
		if (value->len && value->data[value->len - 1] != '\n')
			buf_str(out, "\n");
		return 0;
	}
	row = elem_row_bytes(&space);
	if (!row || value->len % row)
		return cli_error("%s: %zu bytes are no rows of %zu", name, value->len,
				 row);
	v = cli_alloc(space.dim, sizeof(*v));
	for (size_t i = 0; i < value->len / row; i++) {
		elem_decode(&space, value->data + i * row, 1, v);
		vector_print(out, v, space.dim);
		buf_str(out, "\n");
	}
	return 0;
}

static void print_lines(const char *prefix, const struct buf *text)
{
	const char *p = buf_text(text);

	while (*p) {
		size_t len = strcspn(p, "\n");

		printf("%s\t%.*s\n", prefix, (int)len, p);
		p += len + (p[len] == '\n');
	}
}

static int print_one(const struct get *g, const struct target *t, struct session *s,
		     const char *name, bool prefix)
{
	AUTO_BUF struct buf value = { 0 };
	AUTO_BUF struct buf text = { 0 };
	int err = attached_value(t, name, &value);

	if (err)
		return err;
	if (g->raw) {
		fwrite(value.data, 1, value.len, stdout);
		return 0;
	}
	err = decode(s, name, &value, &text);
	if (err)
		return err;
	if (prefix)
		print_lines(name, &text);
	else
		fwrite(buf_text(&text), 1, text.len, stdout);
	return 0;
}

static int print_all(const struct get *g, const struct target *t, struct session *s)
{
	AUTO_BUF struct buf names = { 0 };
	const char *p;
	size_t n;
	int err = attached_names(t, &g->wanted, &names, &n);

	if (err)
		return err;
	if (!n) {
		cli_error("%s: nothing attached", t->arg);
		return CLI_NONE;
	}
	if (g->raw && n > 1)
		return cli_error("%s: %zu attachments: say --space and --key", t->arg, n);
	p = names.data;
	for (size_t i = 0; !err && i < n; i++, p += strlen(p) + 1) {
		if (g->list)
			puts(p);
		else
			err = print_one(g, t, s, p, n > 1);
	}
	return err;
}

static int get(struct invocation *in, const struct get *g)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	AUTO_TARGET struct target t = TARGET_INIT;
	int err = mount_find(in, in->args[0], &m);

	if (!err)
		err = target_open(&m, in->args[0], &t);
	if (!err)
		err = session_open(&m, &s);
	return err ? err : print_all(g, &t, &s);
}

int cmd_get(struct invocation *in)
{
	struct get g = { 0 };
	const struct opt opts[] = {
		{ "space", 0, OPT_TEXT, &g.wanted.space, 0, NULL },
		{ "key", 0, OPT_TEXT, &g.wanted.key, 0, NULL },
		{ "raw", 0, OPT_FLAG, &g.raw, 0, NULL },
		{ "list", 'l', OPT_FLAG, &g.list, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs != 1)
		return cli_error("needs one PATH");
	if (g.raw && g.list)
		return cli_error("--raw and --list exclude each other");
	if (g.wanted.space && !space_name_ok(g.wanted.space))
		return cli_error("bad space name '%s'", g.wanted.space);
	return get(in, &g);
}
