/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export --all: every space the caller sees, in one .jsonl that import takes back whole:
 * a line that makes each space, then its attachments; with the text of those that were
 * set as text, and a word where the path is a directory. The text is read from the file's
 * xattr; where that is gone meanwhile there are the numbers.
 */
#include "export_i.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "elem.h"
#include "items.h"
#include "json.h"
#include "space.h"

static bool is_number(const struct vexfs_space *space, const char *value, size_t n)
{
	return !elem_is_text(space, value, n);
}

/* What the numbers do not say. */
static void more(void *arg, const struct vexfs_space *space, const char *path,
		 const char *key, struct buf *line)
{
	struct export *e = arg;
	AUTO_BUF struct buf attr = { 0 }, place = { 0 }, name = { 0 };
	struct stat st;
	ssize_t n;

	if (!fstatat(e->mount.root, *path ? path : ".", &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISDIR(st.st_mode))
		buf_str(line, ",\"dir\":true");
	if (attr_name(space->name, *key ? key : NULL, &attr))
		return;
	buf_fmt(&place, "/proc/self/fd/%d/%s", e->mount.root, path);
	buf_fmt(&name, "user.vexfs.%s", buf_text(&attr));
	n = lgetxattr(buf_text(&place), buf_text(&name), e->value, sizeof(e->value) - 1);
	if (n <= 0 || is_number(space, e->value, (size_t)n))
		return;
	buf_str(line, ",\"text\":");
	json_string(line, e->value, (size_t)n);
}

static int one_space(struct export *e, const struct vexfs_space *space)
{
	struct vexfs_export call = { .flags = VEXFS_EXPORT_STORED };
	AUTO_SESSION struct session s = SESSION_INIT;
	AUTO_BUF struct buf words = { 0 };
	int err = session_open(&e->mount, &s);

	if (err)
		return err;
	space_words(space, &words);
	err = writer_space(&e->writer, space, buf_text(&words));
	if (err)
		return err;
	e->row_bytes = elem_row_bytes(space);
	snprintf(call.space, sizeof(call.space), "%s", space->name);
	err = session_call(&s, VEXFS_IOC_EXPORT, &call);
	return err ? session_error(&s, err, space->name) : export_copy(e, &s);
}

int export_all(struct export *e)
{
	AUTO_FREE struct vexfs_space_list *list = cli_alloc(1, sizeof(*list));
	uint32_t after = 0;
	int err = 0;

	e->writer.more = more;
	e->writer.arg = e;
	do {
		memset(list, 0, sizeof(*list));
		list->after = after;
		err = session_call(&e->session, VEXFS_IOC_SPACE_LIST, list);
		if (err)
			return session_error(&e->session, err, "list");
		for (uint32_t i = 0;
		     !err && i < list->count && i < ARRAY_SIZE(list->spaces); i++) {
			list->spaces[i].name[VEXFS_NAME_LEN - 1] = 0;
			after = list->spaces[i].id;
			err = one_space(e, &list->spaces[i]);
		}
	} while (!err && list->more && list->count);
	return err ? err : writer_end(&e->writer);
}
