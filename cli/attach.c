/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach: one value onto one file or directory. Text goes as it was given, so that
 * getfattr shows it again; numbers in binary, and text that would be none in the space
 * (i8, i16 and bit want a "[" in front) or is longer than an attachment may be, go as
 * float32 rows that the daemon converts.
 */
#include "commands.h"
#include "elem.h"
#include "items.h"
#include "mount.h"
#include "vector.h"

#define VALUE_FILE_MAX ((size_t)16 << 20)

static const char help[] =
    "usage: vexctl attach PATH [--space S] [--key K] (--vector TEXT | --vector-file F)\n"
    "\n"
    "Attaches a vector, or a matrix of several rows, to a file or directory.\n"
    "\n"
    "  --space S        the space; else the only one of that dimension\n"
    "  --key K          under this key (1 to 128 bytes)\n"
    "  --vector TEXT    decimal numbers, separated by commas or blanks\n"
    "  --vector-file F  text (one row a line, or JSON) or raw float32; - is stdin\n";

struct attach {
	const char *space, *key, *vector, *file;
	struct mount mount;
	struct session session;
	struct buf value;   /* as given */
	bool text;          /* it is */
	struct matrix rows; /* its numbers */
	struct buf path, attr;
};

static void attach_free(struct attach *a)
{
	mount_free(&a->mount);
	session_close(&a->session);
	buf_free(&a->value);
	matrix_free(&a->rows);
	buf_free(&a->path);
	buf_free(&a->attr);
}

static int read_value(struct attach *a)
{
	const char *what = a->vector ? "--vector" : a->file;
	int err;

	if (!a->vector == !a->file)
		return cli_error("needs one of --vector TEXT and --vector-file F");
	if (a->vector) {
		buf_str(&a->value, a->vector);
	} else {
		err = read_whole(a->file, VALUE_FILE_MAX, &a->value);
		if (err)
			return err;
	}
	a->text = a->vector || vector_is_text(a->value.data, a->value.len);
	if (a->text)
		return vector_parse(buf_text(&a->value), a->value.len, what, &a->rows);
	return vector_raw(a->value.data, a->value.len, 0, what, &a->rows);
}

/* Without --space: the only one of that dimension. */
static int choose_space(struct attach *a, struct buf *name)
{
	uint32_t dim = (uint32_t)a->rows.cols;
	int n = session_spaces_of(&a->session, dim, name);

	if (n < 0)
		return session_error(&a->session, n, "spaces");
	if (!n)
		return cli_error("no space of dimension %u: say --space", dim);
	if (n > 1)
		return cli_error("several spaces of dimension %u: %s: say --space", dim,
				 name->data);
	return 0;
}

/* What the daemon would answer with a bare EINVAL. */
static int check_rows(const struct attach *a, const struct vexfs_space *s)
{
	if (a->text ? a->rows.cols != s->dim : a->rows.n % s->dim)
		return cli_error("%zu numbers%s, space '%s' has dimension %u",
				 a->rows.cols, a->rows.rows > 1 ? " a row" : "", s->name,
				 s->dim);
	if (a->text && s->metric == VEXFS_COSINE && matrix_zero_row(&a->rows))
		return cli_error("all zeros have no direction (space '%s' is cosine)",
				 s->name);
	return 0;
}

static bool is_value(const struct attach *a, const struct vexfs_space *s)
{
	return elem_is_text(s, a->value.data, a->value.len);
}

/* Packs the value: as it was given where that means the same to the space. */
static int pack(struct attach *a, const char *space, struct items *items)
{
	struct vexfs_space s;
	int err = session_space(&a->session, space, &s);
	bool unknown = err == -ENODEV;
	bool fits = a->value.len <= a->mount.version.value_max;
	const char *path = buf_text(&a->path);

	if (err && !unknown)
		return session_error(&a->session, err, space);
	err = unknown ? 0 : check_rows(a, &s);
	if (err)
		return err;
	if (a->text ? fits && (unknown || is_value(a, &s)) : unknown) {
		items_add(items, 0, path, a->attr.data, a->value.data, a->value.len);
		return 0;
	}
	if (unknown && a->rows.rows > 1)
		return cli_error("no space '%s': make it first (vexctl space create)",
				 space);
	items_add(items, VEXFS_ITEM_F32, path, a->attr.data, a->rows.v,
		  a->rows.n * sizeof(float));
	return 0;
}

static int put(struct attach *a, const char *space)
{
	AUTO_ITEMS struct items items = { 0 };
	int err = attr_name(space, a->key, &a->attr);

	if (!err)
		err = pack(a, space, &items);
	if (err)
		return err;
	err = items_send(&a->session, VEXFS_IOC_PUT, items.bytes.data, items.bytes.len,
			 items.count);
	return err ? session_error(&a->session, err, buf_text(&a->path)) : 0;
}

static int attach(struct attach *a, struct invocation *in)
{
	AUTO_BUF struct buf chosen = { 0 };
	int err = read_value(a);

	if (!err && a->space && !space_name_ok(a->space))
		err = cli_error("bad space name '%s'", a->space);
	if (!err)
		err = mount_find(in, in->args[0], &a->mount);
	if (!err)
		err = path_resolve(&a->mount, in->args[0], &a->path);
	if (!err)
		err = session_open(&a->mount, &a->session);
	if (!err && !a->space) {
		err = choose_space(a, &chosen);
		a->space = chosen.data;
	}
	return err ? err : put(a, a->space);
}

int cmd_attach(struct invocation *in)
{
	struct attach a = { .mount = MOUNT_INIT, .session = SESSION_INIT };
	const struct opt opts[] = {
		{ "space", 0, OPT_TEXT, &a.space, 0, NULL },
		{ "key", 0, OPT_TEXT, &a.key, 0, NULL },
		{ "vector", 0, OPT_TEXT, &a.vector, 0, NULL },
		{ "vector-file", 0, OPT_TEXT, &a.file, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs != 1)
		return cli_error("needs one PATH");
	code = attach(&a, in);
	attach_free(&a);
	return code;
}
