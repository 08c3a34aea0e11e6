/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import: every row of a file of vectors onto a file of the mount, made where it is
 * missing. Run again it goes on where it stopped: a file that already carries exactly
 * this vector is passed over. That needs no state of ours anywhere, and stays true
 * whatever happened in between.
 *
 * Threads: this one reads, names and makes files; the putter sends batches.
 */
#include <math.h>
#include <signal.h>
#include <stdatomic.h>

#include "commands.h"
#include "elem.h"
#include "names.h"
#include "place.h"
#include "progress.h"
#include "putter.h"
#include "space.h"
#include "reader.h"

static const char help[] =
    "usage: vexctl import --space S [--dir D] [--names LIST | --paths LIST] FILE\n"
    "\n"
    "Attaches each row of FILE (.fvecs .bvecs .npy .jsonl .csv; - is stdin) to a file "
    "of\n"
    "the mount, which is made, empty, where it is missing. The file is, below D:\n"
    "  the \"path\" of a .jsonl line, or the path column of a .csv;\n"
    "  --names LIST   the name on that line of LIST; one that cannot be a file's name "
    "is\n"
    "                 encoded: its '/' and '%', and the dots of '.' and '..', become "
    "%XX\n"
    "  --paths LIST   the path on that line of LIST, and after a TAB the key; lines "
    "with\n"
    "                 the same that follow each other are rows of one attachment\n"
    "  else the number of the row, from 0000001\n"
    "\n"
    "  --space S      the space, whatever a row says; else a .jsonl or .csv row must say "
    "it\n"
    "  --key K        under this key, where a row does not say its own\n"
    "  --dir D        default: the mount's root\n"
    "  --format F     fvecs, bvecs, npy, jsonl, csv: if the name of FILE does not tell\n"
    "  --all          attach also where the file carries just this vector already\n"
    "  --skip-bad     report rows that cannot be attached, and go on\n"
    "  -q             no words about how many\n"
    "\n"
    "Interrupted, it ends after the batch under way; run again, it goes on from there.\n";

struct import {
	const char *space, *key, *dir, *names_file, *paths_file, *format;
	bool all, skip_bad, quiet;
	struct mount mount;
	struct session session; /* of this thread */
	struct reader reader;
	struct record record;
	struct names names;
	struct place place;
	struct putter putter;
	struct progress progress;
	struct buf base; /* --dir, as a path of the mount */
	struct buf path, attr, scratch;
	struct vexfs_space known; /* the space of the last row */
	uint64_t held;            /* rows passed over */
	uint64_t bad;             /* rows that never came to the putter */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void import_free(struct import *i)
{
	putter_free(&i->putter);
	reader_close(&i->reader);
	record_free(&i->record);
	names_free(&i->names);
	place_free(&i->place);
	session_close(&i->session);
	mount_free(&i->mount);
	buf_free(&i->base);
	buf_free(&i->path);
	buf_free(&i->attr);
	buf_free(&i->scratch);
}

/* Starts the row's path with --dir. */
static void below_dir(struct import *i)
{
	buf_clear(&i->path);
	buf_add(&i->path, buf_text(&i->base), i->base.len);
	if (i->base.len)
		buf_str(&i->path, "/");
}

static int listed_path(struct import *i)
{
	const char *name = i->names.list[i->record.number];
	size_t start;

	below_dir(i);
	start = i->path.len;
	buf_str(&i->path, name);
	if (i->names.paths ? place_path_ok(name)
			   : strchr(name, '/') && place_path_ok(name) &&
				 place_exists(&i->place, i->path.data))
		return 0;
	if (i->names.paths)
		return cli_error("%s:%zu: not a path below a directory: '%s'",
				 i->paths_file, (size_t)i->record.number + 1, name);
	i->path.len = start;
	name_encode(name, &i->path);
	return 0;
}

static int row_path(struct import *i)
{
	const struct record *rec = &i->record;

	if (i->names.list) {
		if (rec->number < i->names.n)
			return listed_path(i);
		return cli_error("%s has %zu lines, the file more rows",
				 i->names.paths ? i->paths_file : i->names_file,
				 i->names.n);
	}
	below_dir(i);
	if (!rec->path) {
		buf_fmt(&i->path, "%07llu", (unsigned long long)rec->number + 1);
		return 0;
	}
	if (!place_path_ok(rec->path))
		return cli_error("row %llu: not a path below a directory: '%s'",
				 (unsigned long long)rec->number, rec->path);
	if (!*rec->path && i->base.len)
		i->path.len--;
	buf_str(&i->path, rec->path);
	return 0;
}

/* The space of the row into `known`: dim 0 where there is none yet. */
static int row_space(struct import *i)
{
	const char *space = i->space ? i->space : i->record.space;
	const char *key = i->record.key ? i->record.key : i->key;
	int err;

	if (i->names.list && i->record.number < i->names.n &&
	    i->names.keys[i->record.number])
		key = i->names.keys[i->record.number];
	if (!space)
		return cli_error("row %llu names no space: say --space",
				 (unsigned long long)i->record.number);
	err = attr_name(space, key, &i->attr);
	if (err || (i->known.dim && !strcmp(i->known.name, space)))
		return err;
	err = session_space(&i->session, space, &i->known);
	if (err && err != -ENODEV)
		return session_error(&i->session, err, space);
	if (err)
		i->known = (struct vexfs_space){ 0 };
	return 0;
}

/* The first row of a new space: as text, whose columns are the dimension. It is in
 * before the next one is looked at. */
static int put_first(struct import *i)
{
	const struct matrix *m = &i->record.rows;
	int err = putter_flush(&i->putter);

	buf_clear(&i->scratch);
	for (size_t r = 0; r < m->rows; r++) {
		vector_print(&i->scratch, m->v + r * m->cols, m->cols);
		buf_str(&i->scratch, "\n");
	}
	if (m->rows == 1) {
		buf_clear(&i->scratch);
		buf_add(&i->scratch, m->v, m->n * sizeof(float));
	}
	if (!err)
		err = putter_add(&i->putter, i->record.number, 0, buf_text(&i->path),
				 i->attr.data, i->scratch.data, i->scratch.len);
	return err ? err : putter_flush(&i->putter);
}

/* The value in scratch as numbers: false where it is none of the space's. */
static bool value_numbers(struct import *i, struct matrix *out)
{
	const struct buf *b = &i->scratch;
	size_t row = elem_row_bytes(&i->known);

	if (elem_is_text(&i->known, b->data, b->len))
		return !vector_parse(b->data, b->len, buf_text(&i->path), out);
	if (b->len % row)
		return false;
	out->rows = b->len / row;
	out->n = out->rows * i->known.dim;
	out->v = cli_alloc(out->n, sizeof(*out->v));
	elem_decode(&i->known, b->data, out->rows, out->v);
	return true;
}

/* Has the file these numbers already, as near as they can be stored? */
static bool holds(struct import *i)
{
	const struct matrix *m = &i->record.rows;
	AUTO_MATRIX struct matrix had = { 0 };

	if (!place_value(&i->place, buf_text(&i->path), i->attr.data,
			 i->mount.version.value_max, &i->scratch) ||
	    !value_numbers(i, &had) || had.n != m->n)
		return false;
	for (size_t j = 0; j < m->n; j++) {
		float is = elem_stored(&i->known, had.v[j]);
		float want = elem_stored(&i->known, m->v[j]);

		if (is < want || is > want ||
		    (i->known.type <= VEXFS_F16 && !signbit(is) != !signbit(want)))
			return false;
	}
	return true;
}

static int put_row(struct import *i, bool existed)
{
	const struct matrix *m = &i->record.rows;
	size_t bytes = m->n * sizeof(float);

	if (!i->known.dim)
		return put_first(i);
	/* As it was set: text as text. */
	if (i->record.text)
		return putter_add(&i->putter, i->record.number, 0, buf_text(&i->path),
				  i->attr.data, i->record.text, strlen(i->record.text));
	if (existed && !i->record.dir && !i->all && holds(i)) {
		i->held++;
		return 0;
	}
	return putter_add(&i->putter, i->record.number, VEXFS_ITEM_F32,
			  buf_text(&i->path), i->attr.data, m->v, bytes);
}

/* Says what is wrong with the row before the daemon could; nothing is made for it. */
static int check_row(struct import *i)
{
	const struct matrix *m = &i->record.rows;
	bool cosine = i->known.dim && i->known.metric == VEXFS_COSINE;
	uint32_t max = i->mount.version.value_max;

	if (i->known.dim && m->cols != i->known.dim)
		return cli_error("row %llu: %zu numbers, space '%s' has dimension %u",
				 (unsigned long long)i->record.number, m->cols,
				 i->known.name, i->known.dim);
	if (cosine && matrix_zero_row(m))
		return cli_error(
		    "row %llu: all zeros have no direction (space '%s' is cosine)",
		    (unsigned long long)i->record.number, i->known.name);
	if (i->known.dim ? m->rows * elem_row_bytes(&i->known) > max
			 : m->n * sizeof(float) > max)
		return cli_error(
		    "row %llu: %zu numbers pass the %u bytes of an attachment",
		    (unsigned long long)i->record.number, m->n, max);
	return 0;
}

/* A line of export --all that makes a space, unless --space says where all goes. One that
 * is there has to be one the rows fit. */
static int make_space(struct import *i)
{
	AUTO_FREE char *words = strdup(i->record.create);
	char *argv[32], *at = words;
	struct invocation in = { .argv = argv };
	struct vexfs_space want = { 0 }, had;
	int err;

	if (i->space)
		return 0;
	while (in.argc < 32 && (argv[in.argc] = strtok_r(at, " ", &at)))
		in.argc++;
	err = space_parse(&in, &want);
	free(in.args);
	if (err >= 0 || !space_name_ok(want.name))
		return cli_error("row %llu: no space: '%s'",
				 (unsigned long long)i->record.number, i->record.create);
	err = putter_flush(&i->putter);
	i->known = (struct vexfs_space){ 0 };
	if (!err && session_space(&i->session, want.name, &had)) {
		err = session_call(&i->session, VEXFS_IOC_SPACE_CREATE, &want);
		return err ? session_error(&i->session, err, want.name) : 0;
	}
	if (!err &&
	    (had.dim != want.dim || had.type != want.type || had.metric != want.metric))
		return cli_error(
		    "space '%s' is there, of another dimension, metric or type",
		    want.name);
	return err;
}

static int import_row(struct import *i)
{
	bool existed = true;
	int err;

	if (i->record.create)
		return make_space(i);
	err = row_space(i);
	if (!err)
		err = check_row(i);
	if (!err)
		err = row_path(i);
	if (!err) {
		err = i->record.dir ? place_dir(&i->place, buf_text(&i->path))
				    : place_file(&i->place, buf_text(&i->path), &existed);
		if (err)
			err = cli_error("row %llu (%s): %s",
					(unsigned long long)i->record.number,
					buf_text(&i->path), strerror(-err));
	}
	if (!err)
		return put_row(i, existed);
	i->bad++;
	return i->skip_bad ? 0 : err;
}

static void show_progress(struct import *i)
{
	const struct reader *r = &i->reader;

	if (!i->progress.shown || r->done % 64)
		return;
	progress_at(&i->progress, r->done,
		    r->total ? (double)r->done : (double)ftello(r->f));
}

/* Whether line `next` of --paths names the attachment of line `first`. */
static bool same_one(const struct names *n, uint64_t first, uint64_t next)
{
	const char *a = n->keys[first], *b = n->keys[next];

	return !strcmp(n->list[first], n->list[next]) &&
	       (a && b ? !strcmp(a, b) : a == b);
}

/* Rows that follow each other with one path and key are one attachment, as export wrote
 * them. 1: all of it is in the record; -1: an error, printed. */
static int gather(struct import *i)
{
	AUTO_RECORD struct record more = { 0 };
	struct record *rec = &i->record;
	int got = 1;

	while (i->names.paths && got > 0 && i->reader.done < i->names.n &&
	       same_one(&i->names, rec->number, i->reader.done)) {
		got = reader_next(&i->reader, &more);
		for (size_t k = 0; got > 0 && k < more.rows.n; k++)
			matrix_push(&rec->rows, more.rows.v[k]);
		rec->rows.rows += got > 0;
	}
	return got < 0 ? got : 1;
}

static int import_rows(struct import *i)
{
	int err = 0;
	int got = 1;

	while (!err && !interrupted) {
		got = reader_next(&i->reader, &i->record);
		if (got > 0)
			got = gather(i);
		if (got < 0 && i->reader.bad_row && i->skip_bad) {
			i->bad++;
			continue;
		}
		if (got <= 0)
			break;
		err = import_row(i);
		show_progress(i);
	}
	if (putter_flush(&i->putter) || got < 0)
		err = CLI_ERROR;
	return err;
}

static int load_names(struct import *i)
{
	const char *file = i->names_file ? i->names_file : i->paths_file;
	int err;

	if (!file)
		return 0;
	err = names_load(file, file == i->paths_file, &i->names);
	if (err || !i->reader.total || i->reader.total == i->names.n)
		return err;
	return cli_error("%s has %zu lines, %s %llu rows", file, i->names.n,
			 i->reader.name, (unsigned long long)i->reader.total);
}

static int prepare(struct import *i, struct invocation *in)
{
	enum format format;
	int err = format_of(i->format, in->args[0], &format);

	if (!err)
		err = reader_open(in->args[0], format, &i->reader);
	if (!err)
		err = load_names(i);
	if (!err)
		err = mount_find(in, i->dir, &i->mount);
	if (!err && i->dir)
		err = path_resolve(&i->mount, i->dir, &i->base);
	if (!err)
		err = session_open(&i->mount, &i->session);
	if (!err)
		err = putter_start(&i->putter, &i->mount, i->skip_bad);
	while (i->base.len && i->base.data[i->base.len - 1] == '/')
		i->base.data[--i->base.len] = 0;
	i->place.root = i->mount.root;
	return err;
}

static void summary(struct import *i, double seconds)
{
	char in[32], held[32];

	if (interrupted)
		cli_note(
		    "vexctl: import: interrupted; run the same command again to go on");
	if (i->quiet)
		return;
	cli_note("%s rows attached, %s were there already, %.1f s",
		 progress_count(putter_in(&i->putter), in), progress_count(i->held, held),
		 seconds);
}

static int import(struct import *i, struct invocation *in)
{
	int err = prepare(i, in);
	double total =
	    i->reader.total ? (double)i->reader.total : (double)i->reader.bytes;

	if (err)
		return err;
	catch_signals();
	progress_start(&i->progress, total);
	err = import_rows(i);
	summary(i, progress_end(&i->progress));
	return err || interrupted || i->bad || i->putter.bad ? CLI_ERROR : CLI_OK;
}

static struct import *import_new(void)
{
	struct import *i = cli_alloc(1, sizeof(*i));

	i->mount = (struct mount)MOUNT_INIT;
	i->session = (struct session)SESSION_INIT;
	i->place = (struct place)PLACE_INIT;
	i->putter = (struct putter)PUTTER_INIT;
	return i;
}

int cmd_import(struct invocation *in)
{
	AUTO_FREE struct import *i = import_new();
	const struct opt opts[] = {
		{ "space", 0, OPT_TEXT, &i->space, 0, NULL },
		{ "key", 0, OPT_TEXT, &i->key, 0, NULL },
		{ "dir", 0, OPT_TEXT, &i->dir, 0, NULL },
		{ "names", 0, OPT_TEXT, &i->names_file, 0, NULL },
		{ "paths", 0, OPT_TEXT, &i->paths_file, 0, NULL },
		{ "format", 0, OPT_TEXT, &i->format, 0, NULL },
		{ "all", 0, OPT_FLAG, &i->all, 0, NULL },
		{ "skip-bad", 0, OPT_FLAG, &i->skip_bad, 0, NULL },
		{ NULL, 'q', OPT_FLAG, &i->quiet, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs != 1)
		return cli_error("needs one FILE");
	if (i->names_file && i->paths_file)
		return cli_error("--names and --paths exclude each other");
	if (i->space && !space_name_ok(i->space))
		return cli_error("bad space name '%s'", i->space);
	code = import(i, in);
	import_free(i);
	return code;
}
