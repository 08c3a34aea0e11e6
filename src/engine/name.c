/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attribute names: "<space>" or "<space>.<key>" behind "user.vexfs.". A space name has
 * no dot, so the first one ends it; a key may hold any byte but NUL and '/', dots too.
 * Names that begin with '_' are ours: computed ones, and the mark.
 */
#include "engine_i.h"
#include "attach_i.h"

static bool first_char_ok(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool space_name_ok(const char *name, size_t len)
{
	if (!len || len > VEX_SPACE_NAME_MAX || !first_char_ok(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!first_char_ok(name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

vex_err attr_parse(const char *attr, struct attr_name *out)
{
	size_t len = strcspn(attr, ".");
	const char *key = attr + len;
	size_t key_len;

	if (!space_name_ok(attr, len))
		return -EINVAL;
	if (*key == '.') {
		key_len = strnlen(++key, VEX_KEY_MAX + 1);
		if (!key_len || key_len > VEX_KEY_MAX || memchr(key, '/', key_len))
			return -EINVAL;
	} else {
		key_len = 0;
	}
	memcpy(out->space, attr, len);
	out->space[len] = '\0';
	out->key = key;
	out->key_len = (uint32_t)key_len;
	return 0;
}

enum attr_kind attr_kind(const char *attr)
{
	if (attr[0] != '_')
		return ATTR_PLAIN;
	if (!strcmp(attr, "_info"))
		return ATTR_INFO;
	if (!strncmp(attr, "_near", 5) && (!attr[5] || attr[5] == '.'))
		return ATTR_NEAR;
	if (!strcmp(attr, VEX_XATTR_MARK + strlen(VEX_XATTR_PREFIX)))
		return ATTR_MARK;
	return ATTR_RESERVED;
}
