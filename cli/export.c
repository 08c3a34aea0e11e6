/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export: the attachments of a space the caller may read, as the daemon gives them:
 * oldest first. The file appears under its name when it is complete; before, beside it
 * under a name of its own. The forms are in export_write.c.
 */
#include "export_i.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "commands.h"
#include "elem.h"
#include "items.h"
#include "progress.h"

#define READ_SIZE ((size_t)512 << 10)

static const char help[] =
    "usage: vexctl export --space S [--paths LIST] FILE\n"
    "       vexctl export --all FILE\n"
    "\n"
    "Writes the vectors of a space to FILE (.fvecs .bvecs .npy .jsonl .csv; - is "
    "stdout):\n"
    "of files the caller may read. 'vexctl import' of FILE makes the same attachments.\n"
    "\n"
    "  --all          every space, with what makes it, in one .jsonl: 'vexctl import' "
    "of it\n"
    "                 makes them, and each attachment as it was set\n"
    "  --paths LIST   the path of each row, a line each: for .fvecs .bvecs .npy, which\n"
    "                 have no room for paths (also called --names)\n"
    "  --format F     fvecs, bvecs, npy, jsonl, csv: if the name of FILE does not tell\n"
    "  -q             no words about how many\n"
    "\n"
    "Exit 1: nothing to export.\n";

static int target_start(struct target *t, const char *name)
{
	AUTO_BUF struct buf temp = { 0 };
	struct stat st;
	int fd;

	t->name = name;
	if (!strcmp(name, "-")) {
		t->f = stdout;
		return 0;
	}
	if (!stat(name, &st) && !S_ISREG(st.st_mode)) {
		t->f = fopen(name, "we");
	} else {
		buf_fmt(&temp, "%s.part-%d", name, (int)getpid());
		fd = open(temp.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		t->f = fd < 0 ? NULL : fdopen(fd, "w");
		t->temp = fd < 0 ? NULL : strdup(temp.data);
	}
	return t->f ? 0 : cli_error("%s: %s", name, strerror(errno));
}

/* The end of writing: it becomes what was asked for, or goes. */
static int target_end(struct target *t, bool keep)
{
	int err = 0;

	if (!t->f)
		return 0;
	if (t->f != stdout)
		err = fclose(t->f);
	if (t->temp && !err && keep)
		err = rename(t->temp, t->name);
	if (err)
		cli_error("%s: %s", t->name, strerror(errno));
	if (t->temp && (err || !keep))
		unlink(t->temp);
	free(t->temp);
	*t = (struct target){ 0 };
	return err ? CLI_ERROR : 0;
}

static int check_forms(struct export *e, const char *file, enum format *format)
{
	int err =
	    format_of(e->format || strcmp(file, "-") ? e->format : "jsonl", file, format);

	if (err)
		return err;
	if (e->all && (e->space || e->paths_file || *format != FORMAT_JSONL))
		return cli_error("--all is for .jsonl, without --space and --paths");
	if (e->all)
		return 0;
	if (!e->space)
		return cli_error("needs --space S, or --all");
	if (!space_name_ok(e->space))
		return cli_error("bad space name '%s'", e->space);
	if (e->paths_file && (*format == FORMAT_JSONL || *format == FORMAT_CSV))
		return cli_error(
		    "--paths is for fvecs, bvecs and npy: this one has the paths in it");
	return 0;
}

static int prepare(struct export *e, struct invocation *in, enum format format)
{
	struct vexfs_space space = { 0 };
	struct vexfs_export call = { .flags = VEXFS_EXPORT_STORED };
	int err = mount_find(in, NULL, &e->mount);

	if (!err)
		err = session_open(&e->mount, &e->session);
	if (err)
		return err;
	if (e->all) {
		err = target_start(&e->out, in->args[0]);
		return err ? err
			   : writer_start(&e->writer, format, e->out.f, e->out.name, NULL,
					  &space);
	}
	err = session_space(&e->session, e->space, &space);
	if (err)
		return session_error(&e->session, err, e->space);
	e->row_bytes = elem_row_bytes(&space);
	snprintf(call.space, sizeof(call.space), "%s", e->space);
	err = session_call(&e->session, VEXFS_IOC_EXPORT, &call);
	if (err)
		return session_error(&e->session, err, e->space);
	err = target_start(&e->out, in->args[0]);
	if (!err && e->paths_file)
		err = target_start(&e->paths, e->paths_file);
	if (err)
		return err;
	return writer_start(&e->writer, format, e->out.f, e->out.name, e->paths.f,
			    &space);
}

static bool sound(const struct export *e, const struct vexfs_record *r, size_t left)
{
	const char *path = (const char *)(r + 1);
	uint64_t strings = (uint64_t)r->path_len + r->key_len + 2;
	uint64_t head = (sizeof(*r) + strings + 7) & ~(uint64_t)7;

	return left >= sizeof(*r) && r->size <= left && !(r->size % 8) &&
	       r->size >= head + (uint64_t)r->rows * e->row_bytes && !path[r->path_len] &&
	       !path[r->path_len + 1 + r->key_len];
}

static int write_record(struct export *e, const struct vexfs_record *r)
{
	const char *path = (const char *)(r + 1);
	size_t head = (sizeof(*r) + r->path_len + r->key_len + 2 + 7) & ~(size_t)7;

	return writer_put(&e->writer, path, r->path_len, path + r->path_len + 1,
			  (const char *)r + head, r->rows, r->dim);
}

int export_copy(struct export *e, struct session *session)
{
	AUTO_FREE char *buf = cli_alloc(READ_SIZE, 1);
	size_t n = 1;
	int err = 0;

	while (!err && n) {
		err = session_read(session, buf, READ_SIZE, &n);
		for (size_t at = 0; !err && at < n;) {
			const struct vexfs_record *r = (const void *)(buf + at);

			if (!sound(e, r, n - at))
				return cli_error("the daemon's reply makes no sense");
			err = write_record(e, r);
			at += r->size;
		}
		progress_at(&e->progress, e->writer.rows, 0);
	}
	return err;
}

static int copy(struct export *e)
{
	int err = e->all ? export_all(e) : export_copy(e, &e->session);

	return err || e->all ? err : writer_end(&e->writer);
}

static int export(struct export *e, struct invocation *in)
{
	enum format format;
	char count[32];
	double seconds;
	int err = check_forms(e, in->args[0], &format);

	if (!err)
		err = prepare(e, in, format);
	progress_start(&e->progress, 0);
	if (!err)
		err = copy(e);
	seconds = progress_end(&e->progress);
	if (target_end(&e->out, !err) || target_end(&e->paths, !err))
		err = CLI_ERROR;
	if (err)
		return err;
	if (!e->quiet)
		cli_note("%s rows written, %.1f s", progress_count(e->writer.rows, count),
			 seconds);
	return e->writer.rows || e->all ? CLI_OK : CLI_NONE;
}

int cmd_export(struct invocation *in)
{
	AUTO_FREE struct export *e = cli_alloc(1, sizeof(*e));
	const struct opt opts[] = {
		{ "space", 0, OPT_TEXT, &e->space, 0, NULL },
		{ "paths", 0, OPT_TEXT, &e->paths_file, 0, NULL },
		{ "names", 0, OPT_TEXT, &e->paths_file, 0, NULL },
		{ "format", 0, OPT_TEXT, &e->format, 0, NULL },
		{ "all", 0, OPT_FLAG, &e->all, 0, NULL },
		{ NULL, 'q', OPT_FLAG, &e->quiet, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	e->mount = (struct mount)MOUNT_INIT;
	e->session = (struct session)SESSION_INIT;
	if (code >= 0)
		return code;
	if (in->nargs != 1)
		return cli_error("needs one FILE");
	code = export(e, in);
	writer_free(&e->writer);
	session_close(&e->session);
	mount_free(&e->mount);
	return code;
}
