/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slot files against the catalog: headers, sizes, every record and row that an
 * attachment names, slots that two of them name, files no space has. Attachments come
 * ordered by space and slot, so files are read from front to back and an overlap is a
 * neighbour's.
 *
 * What lies in slots that nobody names means nothing: free slots are not looked at.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "check_i.h"

struct scan {
	struct vex_check_counts *counts;
	struct vex_space sp; /* id, dim, type, stride alone; id 0: none */
	int rows, recs;      /* -1: cannot be used */
	uint64_t rows_slots, recs_slots;
	uint64_t end, end_lsn; /* of the attachment before */
	uint8_t *row;          /* one */
	struct fmt_rec rec;
};

/* ---- one file ---------------------------------------------------------------------- */

static vex_err open_file(struct vex_check *c, struct scan *x, const char *what,
			 const char *magic, size_t stride, int *out, uint64_t *slots)
{
	AUTO_FREE struct fmt_head *h = malloc(sizeof(*h));
	const char *wrong;
	struct stat st;
	char name[32];
	vex_err err;
	int fd;

	if (!h)
		return -ENOMEM;
	snprintf(name, sizeof(name), "%u.%s", x->sp.id, what);
	fd = openat(c->s->spacesfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	err = fd < 0 || fstat(fd, &st) ? -errno : file_read(fd, h, sizeof(*h), 0);
	wrong = err == -ENODATA ? "cut short, no header"
		: err           ? strerror(-err)
				: slotfile_head_wrong(&x->sp, magic, stride, h);
	if (!wrong) {
		*slots = ((uint64_t)st.st_size - FMT_HEAD) / stride;
		*out = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return check_say(c, NULL, FMT_DIR "/" FMT_SPACES "/%s: %s", name, wrong);
}

static void close_files(struct scan *x)
{
	if (x->rows >= 0)
		close(x->rows);
	if (x->recs >= 0)
		close(x->recs);
	x->rows = x->recs = -1;
	free(x->row);
	x->row = NULL;
}

static vex_err open_space(struct vex_check *c, struct scan *x, sqlite3_stmt *st)
{
	vex_err err;

	close_files(x);
	x->sp = (struct vex_space){
		.store = c->s,
		.id = sql_u32(st, 4),
		.dim = sql_u32(st, 5),
		.type = sql_u8(st, 6),
	};
	x->sp.stride = vex_row_bytes(x->sp.type, x->sp.dim);
	x->end = 0;
	x->row = malloc(x->sp.stride + 1);
	if (!x->row)
		return -ENOMEM;
	err = open_file(c, x, "rows", FMT_ROWS_MAGIC, x->sp.stride, &x->rows,
			&x->rows_slots);
	if (!err)
		err = open_file(c, x, "recs", FMT_RECS_MAGIC, sizeof(struct fmt_rec),
				&x->recs, &x->recs_slots);
	return err;
}

/* ---- one attachment ---------------------------------------------------------------- */

/* NULL: the slot holds what it should. *what: the file at fault. */
static const char *slot_wrong(struct scan *x, const struct claim *cl, uint32_t row,
			      const char **what)
{
	uint64_t slot = cl->slot + row;

	*what = slot < x->recs_slots ? "rows" : "recs";
	if (slot >= x->rows_slots || slot >= x->recs_slots)
		return "cut short before it";
	*what = "recs";
	if (file_read(x->recs, &x->rec, sizeof(x->rec),
		      FMT_HEAD + slot * sizeof(struct fmt_rec)))
		return "cannot be read";
	if (x->rec.node != cl->node || x->rec.lsn != cl->lsn || x->rec.row != row)
		return "its record is of another change";
	*what = "rows";
	if (file_read(x->rows, x->row, x->sp.stride, FMT_HEAD + slot * x->sp.stride))
		return "cannot be read";
	return rec_holds(&x->sp, cl, row, &x->rec, x->row) ? NULL : "checksum mismatch";
}

struct in_redo {
	struct scan *x;
	const struct claim *cl;
	uint32_t row;
	bool holds;
};

static vex_err redo_row(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	struct in_redo *r = arg;
	struct fmt_rec rec;

	(void)c;
	if (sqlite3_column_bytes(st, 0) != (int)sizeof(rec) ||
	    (size_t)sqlite3_column_bytes(st, 1) != r->x->sp.stride)
		return 0;
	memcpy(&rec, sqlite3_column_blob(st, 0), sizeof(rec));
	r->holds |= rec_holds(&r->x->sp, r->cl, r->row, &rec, sqlite3_column_blob(st, 1));
	return 0;
}

/* A power loss may have taken the slot: then the next mount puts the row there. */
static vex_err will_be_there(struct vex_check *c, struct scan *x, const struct claim *cl,
			     uint32_t row, bool *out)
{
	struct in_redo r = { .x = x, .cl = cl, .row = row };
	char text[96];
	vex_err err;

	snprintf(text, sizeof(text),
		 "SELECT rec,row FROM redo WHERE space=%u AND slot=%llu", x->sp.id,
		 (unsigned long long)(cl->slot + row));
	err = check_each(c, text, redo_row, &r);
	*out = r.holds;
	return err;
}

static vex_err say_slot(struct vex_check *c, const struct scan *x, const struct claim *cl,
			uint32_t row, bool text, const char *what, const char *why)
{
	struct vex_finding f = {
		.fix = text ? VEX_FIX_REPUT : VEX_FIX_NONE,
		.lsn = cl->lsn,
	};
	AUTO_BUF struct vex_buf path = { 0 };

	vex_check_path(c, cl->node, &path);
	return check_say(
	    c, &f,
	    FMT_DIR "/" FMT_SPACES "/%u.%s: slot %llu (row %u of change %llu, "
		    "%.*s): %s",
	    x->sp.id, what, (unsigned long long)(cl->slot + row), row,
	    (unsigned long long)cl->lsn, (int)path.len, path.data ? path.data : "", why);
}

static vex_err check_rows(struct vex_check *c, struct scan *x, const struct claim *cl,
			  bool text)
{
	const char *what, *why;

	for (uint32_t i = 0; i < cl->rows; i++) {
		bool later = false;
		vex_err err = 0;

		why = slot_wrong(x, cl, i, &what);
		if (why)
			err = will_be_there(c, x, cl, i, &later);
		if (err)
			return err;
		if (why && !later) /* one line an attachment: it is whole or it is not */
			return say_slot(c, x, cl, i, text, what, why);
	}
	return 0;
}

static vex_err check_attach(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	struct scan *x = arg;
	struct claim cl = {
		.lsn = sql_u64(st, 0),
		.node = sql_u64(st, 1),
		.slot = sql_u64(st, 2),
		.rows = sql_u32(st, 3),
		.key = rec_key(sqlite3_column_blob(st, 7),
			       (uint32_t)sqlite3_column_bytes(st, 7)),
	};
	bool text = sqlite3_column_int(st, 8) != 0;
	uint64_t before = x->end, before_lsn = x->end_lsn;
	vex_err err = 0;

	if (x->sp.id != sql_u32(st, 4)) {
		err = open_space(c, x, st);
		before = 0;
	}
	if (err)
		return err;
	x->counts->attachments++;
	x->counts->rows += cl.rows;
	x->end = cl.slot + cl.rows;
	x->end_lsn = cl.lsn;
	if (before > cl.slot)
		return check_say(
		    c, NULL,
		    FMT_DIR "/" FMT_CATALOG
			    ": changes %llu and %llu both claim slot %llu of "
			    "space %u",
		    (unsigned long long)before_lsn, (unsigned long long)cl.lsn,
		    (unsigned long long)cl.slot, x->sp.id);
	return x->rows < 0 || x->recs < 0 ? 0 : check_rows(c, x, &cl, text);
}

/* ---- files of no space ------------------------------------------------------------- */

static vex_err known(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	(void)c;
	(void)st;
	*(bool *)arg = true;
	return 0;
}

static vex_err check_file(struct vex_check *c, const char *name)
{
	struct vex_finding f = { .fix = VEX_FIX_OPEN };
	char *end, text[64];
	unsigned long id = strtoul(name, &end, 10);
	bool there = false;
	vex_err err;

	if (!id || id > UINT32_MAX || (strcmp(end, ".rows") && strcmp(end, ".recs")))
		return 0;
	snprintf(text, sizeof(text), "SELECT 1 FROM space WHERE id=%lu", id);
	err = check_each(c, text, known, &there);
	if (err || there)
		return err;
	return check_say(c, &f, FMT_DIR "/" FMT_SPACES "/%s: no space has it", name);
}

static vex_err check_strays(struct vex_check *c)
{
	int fd = openat(c->s->spacesfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	vex_err err = 0;

	if (!d) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (e = readdir(d)))
		err = check_file(c, e->d_name);
	closedir(d);
	return err;
}

static vex_err count_space(struct vex_check *c, sqlite3_stmt *st, void *arg)
{
	struct scan *x = arg;

	(void)c;
	(void)st;
	x->counts->spaces++;
	return 0;
}

vex_err check_slots(struct vex_check *c, struct vex_check_counts *counts)
{
	struct scan x = { .counts = counts, .rows = -1, .recs = -1 };
	vex_err err =
	    check_each(c, "SELECT 1 FROM space WHERE dropped=0", count_space, &x);

	if (!err)
		err = check_each(c,
				 "SELECT a.lsn,a.node,a.slot,a.rows,a.space,s.dim,s.type,"
				 "a.key,a.text IS NOT NULL FROM attach a JOIN space s "
				 "ON s.id=a.space AND s.dropped=0 "
				 "WHERE a.rows>0 AND a.slot>=0 ORDER BY a.space,a.slot",
				 check_attach, &x);
	close_files(&x);
	return err ? err : check_strays(c);
}
