/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vex_topk: the best hits of one query: a bounded max-heap by (distance, slot), beside a
 * hash of how many hits each group has. A group is a file, with a share of per_file hits;
 * where any number of rows of a file may be hits, it is the slot, with a share of one,
 * for several rows of one query may offer the same slot. So new groups cost nothing. A
 * group that has its share gives up its own worst hit, found by a scan of the heap: rare,
 * for it takes a group that fills its share and then improves on it.
 *
 * Storage grows by doubling up to k, so a range search (k of a million) that finds
 * little stays small.
 */
#include <math.h>
#include <vexfs/index.h>

struct count {
	uint64_t group;
	uint32_t n; /* 0: free place */
};

struct vex_topk {
	uint32_t k, share;
	bool by_slot;
	float max_distance;
	struct vex_hit *heap; /* worst first */
	bool sorted;          /* nearest first instead, and not in counts */
	size_t n, cap;
	struct count *counts; /* open addressing */
	size_t ncounts;       /* a power of two, at least twice the groups in it */
	size_t groups;
};

static uint64_t group_of(const struct vex_topk *t, const struct vex_hit *h)
{
	return t->by_slot ? h->slot : h->file;
}

static bool worse(const struct vex_hit *a, const struct vex_hit *b)
{
	return a->distance > b->distance ||
	       (a->distance == b->distance && a->slot > b->slot);
}

vex_err vex_topk_new(uint32_t k, uint32_t per_file, float max_distance,
		     struct vex_topk **out)
{
	struct vex_topk *t;

	if (!k || isnan(max_distance))
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->k = k;
	t->by_slot = !per_file;
	t->share = per_file ? per_file : 1;
	t->max_distance = max_distance;
	*out = t;
	return 0;
}

void vex_topk_free(struct vex_topk *t)
{
	if (!t)
		return;
	free(t->heap);
	free(t->counts);
	free(t);
}

size_t vex_topk_count(const struct vex_topk *t)
{
	return t->n;
}

float vex_topk_limit(const struct vex_topk *t)
{
	if (t->n < t->k)
		return t->max_distance;
	return t->heap[t->sorted ? t->n - 1 : 0].distance;
}

/* ---- counts by group ------------------------------------------------------------ */

static size_t place_of(const struct vex_topk *t, uint64_t group)
{
	uint64_t h = vex_sum64(0, &group, sizeof(group));
	size_t mask = t->ncounts - 1, i = (size_t)h & mask;

	while (t->counts[i].n && t->counts[i].group != group)
		i = (i + 1) & mask;
	return i;
}

static uint32_t count_of(const struct vex_topk *t, uint64_t group)
{
	return t->ncounts ? t->counts[place_of(t, group)].n : 0;
}

static vex_err counts_grow(struct vex_topk *t)
{
	struct count *old = t->counts;
	size_t nold = t->ncounts, n = nold ? nold * 2 : 64;
	struct count *fresh = calloc(n, sizeof(*fresh));

	if (!fresh)
		return -ENOMEM;
	t->counts = fresh;
	t->ncounts = n;
	for (size_t i = 0; i < nold; i++)
		if (old[i].n)
			fresh[place_of(t, old[i].group)] = old[i];
	free(old);
	return 0;
}

/* Room in counts has been made before. */
static void count_up(struct vex_topk *t, uint64_t group)
{
	struct count *c = &t->counts[place_of(t, group)];

	if (!c->n++) {
		c->group = group;
		t->groups++;
	}
}

/* Removing from open addressing: the run behind the hole moves up. */
static void count_remove(struct vex_topk *t, size_t hole)
{
	size_t mask = t->ncounts - 1, i = hole;

	for (;;) {
		size_t home;

		i = (i + 1) & mask;
		if (!t->counts[i].n)
			break;
		home = (size_t)vex_sum64(0, &t->counts[i].group, sizeof(uint64_t)) & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			t->counts[hole] = t->counts[i];
			hole = i;
		}
	}
	t->counts[hole].n = 0;
}

static void count_down(struct vex_topk *t, uint64_t group)
{
	size_t i = place_of(t, group);

	if (--t->counts[i].n == 0) {
		t->groups--;
		count_remove(t, i);
	}
}

/* ---- the heap ------------------------------------------------------------------- */

static void sift_up(struct vex_topk *t, size_t i)
{
	struct vex_hit h = t->heap[i];

	while (i && worse(&h, &t->heap[(i - 1) / 2])) {
		t->heap[i] = t->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	t->heap[i] = h;
}

static void sift_down(struct vex_hit *heap, size_t n, size_t i)
{
	struct vex_hit h = heap[i];

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= n)
			break;
		if (c + 1 < n && worse(&heap[c + 1], &heap[c]))
			c++;
		if (!worse(&heap[c], &h))
			break;
		heap[i] = heap[c];
		i = c;
	}
	heap[i] = h;
}

/* Puts h in place of heap[i]. */
static void replace(struct vex_topk *t, size_t i, const struct vex_hit *h)
{
	bool up = worse(h, &t->heap[i]);

	t->heap[i] = *h;
	if (up)
		sift_up(t, i);
	else
		sift_down(t->heap, t->n, i);
}

static vex_err reserve(struct vex_topk *t)
{
	size_t cap = t->cap ? t->cap * 2 : 32;
	struct vex_hit *heap;

	if (t->groups * 2 + 2 > t->ncounts) {
		vex_err err = counts_grow(t);

		if (err)
			return err;
	}
	if (t->n < t->cap || t->n == t->k)
		return 0;
	if (cap > t->k)
		cap = t->k;
	heap = realloc(t->heap, cap * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	t->heap = heap;
	t->cap = cap;
	return 0;
}

/* Index of the worst hit of h's group, or of the hit with that very slot. n: none. */
static size_t worst_of(const struct vex_topk *t, const struct vex_hit *h, bool *same)
{
	size_t worst = t->n;

	*same = false;
	for (size_t i = 0; i < t->n; i++) {
		if (t->heap[i].slot == h->slot) {
			*same = true;
			return i;
		}
		if (t->heap[i].file == h->file &&
		    (worst == t->n || worse(&t->heap[i], &t->heap[worst])))
			worst = i;
	}
	return worst;
}

static bool fits(const struct vex_topk *t, const struct vex_hit *h)
{
	if (!(h->distance <= t->max_distance))
		return false;
	return t->n < t->k || worse(&t->heap[t->sorted ? t->n - 1 : 0], h);
}

bool vex_topk_fits(const struct vex_topk *t, float distance, uint64_t slot)
{
	struct vex_hit h = { .distance = distance, .slot = slot };

	return fits(t, &h);
}

bool vex_topk_wants(const struct vex_topk *t, float distance, uint64_t slot,
		    uint64_t file)
{
	struct vex_hit h = { .distance = distance, .slot = slot, .file = file };
	bool same;

	if (!fits(t, &h))
		return false;
	/* Not counted yet; vex_topk_add will see. */
	if (t->sorted)
		return true;
	if (count_of(t, group_of(t, &h)) < t->share)
		return true;
	return worse(&t->heap[worst_of(t, &h, &same)], &h);
}

/* A group that has its share, or a slot that is there already: the better one stays. */
static bool replaced_own(struct vex_topk *t, const struct vex_hit *h)
{
	uint32_t count = count_of(t, group_of(t, h));
	bool same;
	size_t i;

	if (!count)
		return false;
	i = worst_of(t, h, &same);
	if (count < t->share && !same)
		return false;
	if (worse(&t->heap[i], h))
		replace(t, i, h);
	return true;
}

/* What was taken in order becomes a heap, which the reverse of that order is. */
static vex_err heapify(struct vex_topk *t)
{
	if (!t->sorted)
		return 0;
	while (t->n * 2 + 2 > t->ncounts) {
		vex_err err = counts_grow(t);

		if (err)
			return err;
	}
	t->sorted = false;
	for (size_t i = 0; i < t->n / 2; i++) {
		struct vex_hit h = t->heap[i];

		t->heap[i] = t->heap[t->n - 1 - i];
		t->heap[t->n - 1 - i] = h;
	}
	for (size_t i = 0; i < t->n; i++)
		count_up(t, group_of(t, &t->heap[i]));
	return 0;
}

/* Equal ones by slot, as a heap would give them. */
static void place_last(struct vex_hit *v, size_t n)
{
	struct vex_hit h = v[n - 1];
	size_t i = n - 1;

	for (; i && worse(&v[i - 1], &h); i--)
		v[i] = v[i - 1];
	v[i] = h;
}

static vex_err add_all(struct vex_topk *t, const float *distance, const uint32_t *slot,
		       size_t n)
{
	vex_err err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = vex_topk_add(t, distance[i], slot[i], slot[i]);
	return err;
}

vex_err vex_topk_fill(struct vex_topk *t, const float *distance, const uint32_t *slot,
		      size_t n)
{
	if (t->n || !t->by_slot || n > t->k)
		return add_all(t, distance, slot, n);
	while (n && !(distance[n - 1] <= t->max_distance))
		n--;
	if (!n)
		return 0;
	t->heap = malloc(n * sizeof(*t->heap));
	if (!t->heap)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		t->heap[i] = (struct vex_hit){ distance[i], slot[i], slot[i] };
		place_last(t->heap, i + 1);
	}
	t->n = t->cap = n;
	t->sorted = true;
	return 0;
}

vex_err vex_topk_add(struct vex_topk *t, float distance, uint64_t slot, uint64_t file)
{
	struct vex_hit h = { .distance = distance, .slot = slot, .file = file };
	vex_err err = heapify(t);

	if (err)
		return err;
	if (!fits(t, &h))
		return 0;
	if (replaced_own(t, &h))
		return 0;
	err = reserve(t);
	if (err)
		return err;
	count_up(t, group_of(t, &h));
	if (t->n < t->k) {
		t->heap[t->n++] = h;
		sift_up(t, t->n - 1);
	} else {
		count_down(t, group_of(t, &t->heap[0]));
		replace(t, 0, &h);
	}
	return 0;
}

/* Heapsort in place: the heap gives its worst first, so it ends nearest first. */
const struct vex_hit *vex_topk_sorted(struct vex_topk *t, size_t *n)
{
	for (size_t left = t->sorted ? 0 : t->n; left > 1; left--) {
		struct vex_hit h = t->heap[0];

		t->heap[0] = t->heap[left - 1];
		t->heap[left - 1] = h;
		sift_down(t->heap, left - 1, 0);
	}
	*n = t->n;
	return t->heap;
}
