/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much listxattr(2) of a file has to say. The kernel gives a name list at most
 * 65,536 bytes; past that the call fails and `cp -a` silently copies no xattr at all. So
 * a name that would push the list past it is refused: -ENOSPC.
 *
 * The list is what the mount shows: the backing file's names, less our mark and anything
 * else below "user.vexfs.", plus one name an attachment. Reading the names of all
 * attachments for every put would make filling a file quadratic, so e->name_sums keeps,
 * for some nodes, an upper bound of their sum: it grows with every put, is not lowered
 * by removals, and is only ever doubted where it says "full". Each word is one atomic:
 * node in the high bits, bytes in the low ones; a lost word costs a reading. A node's
 * word changes under its node lock; node ids are never used again.
 */
#include <sys/xattr.h>
#include "engine_i.h"
#include "attach_i.h"

#define LIST_MAX 65536u
#define SUM_BITS 20
#define SUM_MASK ((1ull << SUM_BITS) - 1)

/* ---- sums in memory ---------------------------------------------------------- */

static _Atomic uint64_t *sum_word(struct vex_engine *e, uint64_t node)
{
	return &e->name_sums[node % NAME_SUMS];
}

static bool sum_known(struct vex_engine *e, uint64_t node, size_t *sum)
{
	uint64_t w = atomic_load_explicit(sum_word(e, node), memory_order_relaxed);

	if (w >> SUM_BITS != node)
		return false;
	*sum = w & SUM_MASK;
	return true;
}

static void sum_keep(struct vex_engine *e, uint64_t node, size_t sum)
{
	uint64_t w = node << SUM_BITS | vex_min64(sum, SUM_MASK);

	if (node >> (64 - SUM_BITS))
		return;
	atomic_store_explicit(sum_word(e, node), w, memory_order_relaxed);
}

/* ---- names ------------------------------------------------------------------- */

void names_add(struct vex_buf *out, const char *space, const void *key, uint32_t key_len)
{
	vex_buf_str(out, VEX_XATTR_PREFIX);
	vex_buf_str(out, space);
	if (key_len) {
		vex_buf_add(out, ".", 1);
		vex_buf_add(out, key, key_len);
	}
	vex_buf_add(out, "", 1);
}

static size_t name_bytes(size_t space_len, uint32_t key_len)
{
	return strlen(VEX_XATTR_PREFIX) + space_len + (key_len ? key_len + 1 : 0) + 1;
}

size_t names_bytes(const struct attr_name *a)
{
	return name_bytes(strlen(a->space), a->key_len);
}

struct ours {
	struct vex_engine *e;
	struct spaceset spaces;
	const struct attr_name *but; /* not counted: it is being replaced */
	size_t sum;
};

static vex_err ours_add(void *arg, const struct vex_attach *a)
{
	struct ours *s = arg;
	struct vex_space_spec spec;
	struct vex_space *sp;
	vex_err err = spaceset_get(s->e, &s->spaces, a->space, &sp);

	if (err)
		return err == -ENODEV ? 0 : err;
	vex_space_spec(sp, &spec);
	if (strcmp(spec.name, s->but->space) || a->key_len != s->but->key_len ||
	    memcmp(a->key, s->but->key, a->key_len))
		s->sum += name_bytes(strlen(spec.name), a->key_len);
	return 0;
}

static vex_err ours_exactly(struct vex_engine *e, uint64_t node,
			    const struct attr_name *but, size_t *sum)
{
	AUTO_READER struct vex_reader *r = NULL;
	struct ours s = { .e = e, .but = but };
	vex_err err = vex_reader_get(e->store, &r);

	if (!err)
		err = vex_read_attaches(r, node, ours_add, &s);
	spaceset_free(&s.spaces);
	*sum = s.sum;
	return err;
}

/* Bytes of the backing file's list, hidden names and all. 0 where it has none, or no
 * xattrs at all. */
static size_t backing_bytes(const struct vex_obj *o)
{
	ssize_t n = listxattr(vex_procfd(o->fd).path, NULL, 0);

	return n > 0 ? (size_t)n : 0;
}

static size_t backing_exactly(const struct vex_obj *o)
{
	AUTO_FREE char *list = malloc(LIST_MAX);
	size_t sum = 0, len;
	ssize_t n;

	if (!list)
		return backing_bytes(o);
	n = listxattr(vex_procfd(o->fd).path, list, LIST_MAX);
	for (char *p = list; p < list + (n > 0 ? n : 0); p += len) {
		len = strlen(p) + 1;
		if (strncmp(p, VEX_XATTR_PREFIX, strlen(VEX_XATTR_PREFIX)))
			sum += len;
	}
	return sum;
}

/* ---- room -------------------------------------------------------------------- */

bool names_room_quick(struct vex_engine *e, const struct vex_obj *o, uint64_t node,
		      const struct attr_name *a)
{
	size_t add = names_bytes(a), sum;

	if (!sum_known(e, node, &sum) || backing_bytes(o) + sum + add > LIST_MAX)
		return false;
	sum_keep(e, node, sum + add);
	return true;
}

vex_err names_room(struct vex_engine *e, const struct vex_obj *o, uint64_t node,
		   const struct attr_name *a, bool fresh, size_t coming)
{
	size_t add = names_bytes(a), sum = 0;
	vex_err err;

	if (names_room_quick(e, o, node, a))
		return 0;
	if (!fresh) {
		err = ours_exactly(e, node, a, &sum);
		if (err)
			return err;
	}
	sum += coming;
	if (backing_bytes(o) + sum + add > LIST_MAX &&
	    backing_exactly(o) + sum + add > LIST_MAX)
		return -ENOSPC;
	sum_keep(e, node, sum + add);
	return 0;
}
