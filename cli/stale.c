/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stale: what needs new vectors, by the daemon's word, a bounded part of the store a
 * call. The lines are sorted and each path is printed once, so that two runs compare.
 */
#include "commands.h"
#include "items.h"
#include "session.h"

static const char help[] =
    "usage: vexctl stale [--space S] [-0] [PATH]\n"
    "\n"
    "Prints the paths, relative to the mount's root, of files whose vectors were made\n"
    "for other content, and of those whose vectors a replacement took away (an editor,\n"
    "sed -i, git) or that vanished behind the mount: these are kept for 30 days (the\n"
    "setting keep_days). 'vexctl reattach' brings them back. Only what the caller may\n"
    "read. PATH only says which mount.\n"
    "\n"
    "  --space S   vectors of that space alone\n"
    "  -0          paths end with NUL, not newline\n"
    "\n"
    "Exit 1: there is none.\n";

struct list {
	struct buf text; /* NUL-ended paths */
	char **v;
	size_t n;
};

static int take(struct list *l, const struct vexfs_stale *s)
{
	const uint8_t *at = s->data, *end = s->data + sizeof(s->data);

	for (uint32_t i = 0; i < s->count; i++) {
		const struct vexfs_stale_item *item = (const void *)at;
		const char *path = (const char *)(item + 1);

		if ((size_t)(end - at) < sizeof(*item) ||
		    item->size > (size_t)(end - at) || item->size % 8 ||
		    item->size < sizeof(*item) + item->path_len + 1 ||
		    path[item->path_len])
			return cli_error("the daemon's reply makes no sense");
		buf_add(&l->text, path, strlen(path) + 1);
		l->n++;
		at += item->size;
	}
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print(struct list *l, char end)
{
	char *p = l->text.data;

	l->v = cli_alloc(l->n + 1, sizeof(*l->v));
	for (size_t i = 0; i < l->n; i++, p += strlen(p) + 1)
		l->v[i] = p;
	qsort(l->v, l->n, sizeof(*l->v), by_bytes);
	for (size_t i = 0; i < l->n; i++)
		if (!i || strcmp(l->v[i], l->v[i - 1]))
			printf("%s%c", l->v[i], end);
	free(l->v);
}

static int collect(struct session *s, const char *space, struct list *l)
{
	AUTO_FREE struct vexfs_stale *call = cli_alloc(1, sizeof(*call));
	int err = 0;

	if (space)
		snprintf(call->space, sizeof(call->space), "%s", space);
	do {
		call->more = 0;
		err = session_call(s, VEXFS_IOC_STALE, call);
		if (err)
			return session_error(s, err, space ? space : "stale");
		err = take(l, call);
	} while (!err && call->more);
	return err;
}

int cmd_stale(struct invocation *in)
{
	AUTO_MOUNT struct mount m = MOUNT_INIT;
	AUTO_SESSION struct session s = SESSION_INIT;
	const char *space = NULL;
	struct list l = { .n = 0 };
	bool nul = false;
	const struct opt opts[] = {
		{ "space", 0, OPT_TEXT, &space, 0, NULL },
		{ NULL, '0', OPT_FLAG, &nul, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs > 1)
		return cli_error("at most one PATH");
	if (space && !space_name_ok(space))
		return cli_error("bad space name '%s'", space);
	code = mount_find(in, in->args[0], &m);
	if (!code)
		code = session_open(&m, &s);
	if (!code)
		code = collect(&s, space, &l);
	if (!code)
		print(&l, nul ? '\0' : '\n');
	buf_free(&l.text);
	return code ? code : l.n ? CLI_OK : CLI_NONE;
}
