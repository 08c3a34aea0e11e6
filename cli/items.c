/* SPDX-License-Identifier: Apache-2.0 */
/* items: batches of puts and deletes on the wire. See items.h, uapi/vexfs.h. */
#include "items.h"

bool space_name_ok(const char *name)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

	return *name && strchr(first, *name) && strlen(name) <= 48 &&
	       !name[strspn(name, rest)];
}

int attr_name(const char *space, const char *key, struct buf *out)
{
	buf_clear(out);
	if (!space_name_ok(space))
		return cli_error("bad space name '%s'", space);
	buf_str(out, space);
	if (!key || !*key)
		return 0;
	if (strlen(key) > 128 || strchr(key, '/'))
		return cli_error("bad key '%s': 1 to 128 bytes without '/'", key);
	buf_fmt(out, ".%s", key);
	return 0;
}

void items_free(struct items *i)
{
	buf_free(&i->bytes);
	i->count = 0;
}

void items_clear(struct items *i)
{
	buf_clear(&i->bytes);
	i->count = 0;
}

void items_add(struct items *i, uint32_t flags, const char *path, const char *attr,
	       const void *value, size_t len)
{
	struct vexfs_item item = {
		.flags = flags,
		.path_len = (uint32_t)strlen(path),
		.attr_len = (uint32_t)strlen(attr),
		.value_len = (uint32_t)len,
	};
	size_t start = i->bytes.len;

	buf_add(&i->bytes, &item, sizeof(item));
	buf_add(&i->bytes, path, item.path_len + 1);
	buf_add(&i->bytes, attr, item.attr_len + 1);
	buf_pad(&i->bytes, 8);
	buf_add(&i->bytes, value, len);
	buf_pad(&i->bytes, 8);
	item.size = (uint32_t)(i->bytes.len - start);
	memcpy(i->bytes.data + start, &item, sizeof(item));
	i->count++;
}

int items_send(struct session *s, unsigned long cmd, const void *data, size_t bytes,
	       uint32_t count)
{
	AUTO_FREE struct vexfs_items *call = cli_alloc(1, sizeof(*call));
	const size_t head = offsetof(struct vexfs_items, data);
	int err;

	call->count = count;
	if (bytes <= sizeof(call->data)) {
		memcpy(call->data, data, bytes);
		call->bytes = (uint32_t)bytes;
		return session_call(s, VEXFS_IOC_SIZED(cmd, head + bytes), call);
	}
	if (s->read_only)
		return -EROFS;
	err = session_stage(s, data, bytes);
	if (err)
		return err;
	call->flags = VEXFS_ITEMS_STAGED;
	return session_call(s, VEXFS_IOC_SIZED(cmd, head), call);
}
