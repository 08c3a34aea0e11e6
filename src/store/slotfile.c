/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two files of a space: .rows (the vectors, unpadded) and .recs (32 bytes a slot).
 *
 * Written with pwrite, so a full or failing disk is an error code; read through
 * mappings (segs.c). A header names store, space and shape, so a file in the wrong
 * place is known for what it is. Nothing here locks: slots belong to whoever took them.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "store_i.h"

struct slot_name {
	char name[32];
};

static struct slot_name file_name(uint32_t id, const char *what)
{
	struct slot_name n;

	snprintf(n.name, sizeof(n.name), "%u.%s", id, what);
	return n;
}

vex_err file_read(int fd, void *buf, size_t len, uint64_t off)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = pread(fd, (char *)buf + at, len - at, (off_t)(off + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ENODATA;
		at += (size_t)n;
	}
	return 0;
}

vex_err file_write(int fd, const void *buf, size_t len, uint64_t off)
{
	for (size_t at = 0; at < len;) {
		ssize_t n =
		    pwrite(fd, (const char *)buf + at, len - at, (off_t)(off + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

/* ---- headers ------------------------------------------------------------- */

static void head_fill(const struct vex_space *sp, const char *magic, size_t stride,
		      struct fmt_head *h)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, magic, sizeof(h->magic));
	h->version = FMT_SLOT_VERSION;
	h->space = sp->id;
	memcpy(h->uuid, sp->store->uuid, sizeof(h->uuid));
	h->dim = sp->dim;
	h->type = sp->type;
	h->stride = stride;
	h->sum = vex_sum64(0, h, offsetof(struct fmt_head, sum));
}

static vex_err create_file(struct vex_space *sp, const char *what, const char *magic,
			   size_t stride, int *out)
{
	struct slot_name n = file_name(sp->id, what);
	AUTO_FREE struct fmt_head *h = malloc(sizeof(*h));
	AUTO_CLOSE int fd =
	    openat(sp->store->spacesfd, n.name,
		   O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	vex_err err;

	if (fd < 0)
		return -errno;
	if (!h)
		return -ENOMEM;
	head_fill(sp, magic, stride, h);
	err = file_write(fd, h, sizeof(*h), 0);
	if (!err)
		*out = take_fd(&fd);
	return err;
}

vex_err slotfile_create(struct vex_space *sp)
{
	vex_err err = create_file(sp, "rows", FMT_ROWS_MAGIC, sp->stride, &sp->rows_fd);

	if (!err)
		err = create_file(sp, "recs", FMT_RECS_MAGIC, sizeof(struct fmt_rec),
				  &sp->recs_fd);
	atomic_store(&sp->dirty, true);
	atomic_store(&sp->store->dir_dirty, true);
	if (err)
		slotfile_unlink(sp->store, sp->id);
	return err;
}

void slotfile_unlink(struct vex_store *s, uint32_t id)
{
	unlinkat(s->spacesfd, file_name(id, "rows").name, 0);
	unlinkat(s->spacesfd, file_name(id, "recs").name, 0);
	atomic_store(&s->dir_dirty, true);
}

/* NULL: the header is as it should be; else what is wrong with it. */
const char *slotfile_head_wrong(const struct vex_space *sp, const char *magic,
				size_t stride, const struct fmt_head *h)
{
	if (memcmp(h->magic, magic, sizeof(h->magic)))
		return "not a slot file (bad magic)";
	if (h->sum != vex_sum64(0, h, offsetof(struct fmt_head, sum)))
		return "its header does not match its checksum";
	if (h->version != FMT_SLOT_VERSION)
		return "of another format version";
	if (memcmp(h->uuid, sp->store->uuid, sizeof(h->uuid)))
		return "belongs to another store";
	if (h->space != sp->id)
		return "belongs to another space";
	if (h->dim != sp->dim || h->type != sp->type || h->stride != stride)
		return "its header does not fit the catalog";
	return NULL;
}

static vex_err open_file(struct vex_space *sp, const char *what, const char *magic,
			 size_t stride, int *out, uint64_t *slots,
			 struct vex_problem *why)
{
	struct slot_name n = file_name(sp->id, what);
	AUTO_FREE struct fmt_head *h = malloc(sizeof(*h));
	AUTO_CLOSE int fd =
	    openat(sp->store->spacesfd, n.name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	const char *wrong = NULL;
	struct stat st;
	vex_err err = fd < 0 ? -errno : 0;

	if (!h)
		return -ENOMEM;
	if (!err && fstat(fd, &st))
		err = -errno;
	if (!err)
		err = file_read(fd, h, sizeof(*h), 0);
	if (err == -ENODATA)
		wrong = "cut short, no header";
	else if (err)
		wrong = strerror(-err);
	else
		wrong = slotfile_head_wrong(sp, magic, stride, h);
	if (wrong) {
		problem_set(why, FMT_SPACES "/%s: %s", n.name, wrong);
		return err && err != -ENODATA ? err : -EUCLEAN;
	}
	*slots = ((uint64_t)st.st_size - FMT_HEAD) / stride;
	*out = take_fd(&fd);
	return 0;
}

vex_err slotfile_open(struct vex_space *sp, struct vex_problem *why)
{
	uint64_t rows, recs;
	vex_err err =
	    open_file(sp, "rows", FMT_ROWS_MAGIC, sp->stride, &sp->rows_fd, &rows, why);

	if (!err)
		err = open_file(sp, "recs", FMT_RECS_MAGIC, sizeof(struct fmt_rec),
				&sp->recs_fd, &recs, why);
	if (err)
		return err;
	SCOPED_LOCK(&sp->alloc);
	rows = vex_min64(vex_min64(rows, recs), slots_max(sp));
	return segs_extend_locked(sp, rows);
}

/* ---- writing ------------------------------------------------------------- */

vex_err slotfile_write_rows(struct vex_space *sp, uint64_t first, uint32_t n,
			    const void *data)
{
	vex_err err =
	    file_write(sp->rows_fd, data, n * sp->stride, FMT_HEAD + first * sp->stride);

	atomic_store(&sp->dirty, true);
	return err;
}

vex_err slotfile_write_recs(struct vex_space *sp, uint64_t first, uint32_t n,
			    const struct fmt_rec *recs)
{
	vex_err err = file_write(sp->recs_fd, recs, n * sizeof(*recs),
				 FMT_HEAD + first * sizeof(*recs));

	atomic_store(&sp->dirty, true);
	return err;
}

vex_err slotfile_flush(struct vex_space *sp)
{
	if (sp->rows_fd < 0 || !atomic_exchange(&sp->dirty, false))
		return 0;
	if (!fdatasync(sp->rows_fd) && !fdatasync(sp->recs_fd))
		return 0;
	atomic_store(&sp->dirty, true);
	return -EIO;
}
