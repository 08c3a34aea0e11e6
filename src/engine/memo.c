/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one search has found out about files and directories, by (device, inode) or by
 * (0, node): open addressing. It lives no longer than the search, so nothing in it has
 * to be invalidated; past its bound it stops learning, which costs time only.
 */
#include "names_i.h"

#define MEMO_MAX ((size_t)1 << 22)

struct memo_entry {
	uint64_t a, b;
	int answer; /* -1: empty */
};

void memo_free(struct memo *m)
{
	free(m->v);
	*m = (struct memo){ 0 };
}

static struct memo_entry *at(const struct memo *m, uint64_t a, uint64_t b)
{
	uint64_t h = (b ^ a << 48) * 0x9e3779b97f4a7c15ull;
	size_t i = (size_t)(h >> 24) & (m->size - 1);

	while (m->v[i].answer >= 0 && (m->v[i].a != a || m->v[i].b != b))
		i = (i + 1) & (m->size - 1);
	return &m->v[i];
}

int memo_get(const struct memo *m, uint64_t a, uint64_t b)
{
	return m && m->size ? at(m, a, b)->answer : -1;
}

static bool grow(struct memo *m)
{
	struct memo n = { .n = m->n, .size = m->size ? m->size * 2 : 64 };

	n.v = n.size <= MEMO_MAX ? malloc(n.size * sizeof(*n.v)) : NULL;
	if (!n.v)
		return false;
	for (size_t i = 0; i < n.size; i++)
		n.v[i].answer = -1;
	for (size_t i = 0; i < m->size; i++)
		if (m->v[i].answer >= 0)
			*at(&n, m->v[i].a, m->v[i].b) = m->v[i];
	free(m->v);
	*m = n;
	return true;
}

void memo_put(struct memo *m, uint64_t a, uint64_t b, int answer)
{
	struct memo_entry *e;

	if (!m || (m->n * 4 >= m->size * 3 && !grow(m)))
		return;
	e = at(m, a, b);
	m->n += e->answer < 0;
	*e = (struct memo_entry){ .a = a, .b = b, .answer = answer };
}
