/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the heads of slot files tell a catalog that has lost it: the store's uuid, and of
 * a space its number, dimension and type. Its name is in the log, if that is not too long
 * ago; its metric, scale and index parameters are nowhere else: told, and to be set again
 * by who knows (vexctl space show; export and import into a space made anew).
 */
#include <dirent.h>
#include <fcntl.h>
#include "salvage_i.h"

static bool read_head(struct salvage *x, const char *name, struct fmt_head *h)
{
	AUTO_CLOSE int fd =
	    openat(x->s->spacesfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && !file_read(fd, h, sizeof(*h), 0) &&
	       !memcmp(h->magic, FMT_ROWS_MAGIC, sizeof(h->magic)) &&
	       h->sum == vex_sum64(0, h, offsetof(struct fmt_head, sum)) && h->space &&
	       h->dim && h->dim <= VEX_DIM_MAX && h->type <= VEX_BIT;
}

/* Its name as the log has it, where no other space is called so. */
static void name_of(struct salvage *x, uint32_t id, char name[64])
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(x->to.db,
				    "SELECT key FROM log WHERE kind=3 AND space=?1 AND "
				    "key NOT IN (SELECT CAST(name AS BLOB) FROM space)",
				    -1, &st, NULL);

	snprintf(name, 64, "recovered-%u", id);
	if (!rc)
		sqlite3_bind_int64(st, 1, id);
	if (!rc && sql_next(st) == 1 && sqlite3_column_bytes(st, 0) < 49)
		snprintf(name, 64, "%.*s", sqlite3_column_bytes(st, 0),
			 (const char *)sqlite3_column_blob(st, 0));
	sqlite3_finalize(st);
}

static vex_err has_space(struct salvage *x, uint32_t id, bool *has)
{
	sqlite3_stmt *st = NULL;
	vex_err err = sql_errno(sqlite3_prepare_v2(
	    x->to.db, "SELECT 1 FROM space WHERE id=?1", -1, &st, NULL));
	int more = 0;

	if (!err) {
		sqlite3_bind_int64(st, 1, id);
		more = sql_next(st);
	}
	sqlite3_finalize(st);
	*has = more == 1;
	return err ? err : more < 0 ? more : 0;
}

static vex_err add_space(struct salvage *x, const struct fmt_head *h)
{
	int64_t metric = h->type == VEX_BIT ? VEX_HAMMING : VEX_COSINE;
	char name[64];

	name_of(x, h->space, name);
	salvage_say(x,
		    "space %u (%s): its metric and parameters are lost: %s, flat, and no "
		    "scale are taken",
		    h->space, name, h->type == VEX_BIT ? "hamming" : "cosine");
	return sql_do(&x->to, SQL_SPACE_ADD, "isiiiiiiiidd", (int64_t)h->space, name,
		      (int64_t)h->dim, metric, (int64_t)h->type, INT64_C(0), INT64_C(16),
		      INT64_C(200), INT64_C(64), INT64_C(0), 0.0, 0.0);
}

static vex_err one_file(struct salvage *x, const char *name, struct fmt_head *h)
{
	bool has;
	vex_err err;

	if (!strstr(name, ".rows") || !read_head(x, name, h))
		return 0;
	if (!x->has_uuid) {
		err = meta_set_blob(&x->to, "uuid", h->uuid, sizeof(h->uuid));
		if (err)
			return err;
		memcpy(x->uuid, h->uuid, sizeof(x->uuid));
		x->has_uuid = true;
	}
	if (memcmp(h->uuid, x->uuid, sizeof(x->uuid)) != 0)
		return 0;
	err = has_space(x, h->space, &has);
	return err || has ? err : add_space(x, h);
}

vex_err salvage_spaces(struct salvage *x)
{
	AUTO_FREE struct fmt_head *h = malloc(sizeof(*h));
	int fd = openat(x->s->spacesfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	vex_err err = 0;

	if (!d || !h) {
		err = d || !h ? -ENOMEM : -errno;
		if (d)
			closedir(d);
		else if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (e = readdir(d)))
		err = one_file(x, e->d_name, h);
	closedir(d);
	return err;
}
