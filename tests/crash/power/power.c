/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store under a disk whose power goes (powerloss.sh).
 *
 *	power write DIR ACKS SEED   puts, deletes, moves and syncs until it is killed;
 *after each sync ACKS says what each node held at that time power check DIR ACKS opens
 *what is left: each node holds what was synced, or something later, whole; nothing is
 *damaged
 *
 * A row carries its node and a number that rises, so what is read says when it was put.
 */
#include <fcntl.h>
#include <stdio.h>
#include <vexfs/store.h>

#define NODES 64u
#define DIM 64u
#define REMOVED 8u /* nodes below are removed at times; the others never */
#define SYNC_EVERY 400u

struct acks {
	uint64_t node[NODES];
	uint64_t value[NODES]; /* as of the last sync; 0: nothing was there */
	uint64_t sum;
};

static void fill(float *row, uint64_t value, unsigned n)
{
	row[0] = (float)value;
	row[1] = (float)(n + 1);
	for (unsigned k = 2; k < DIM; k++)
		row[k] = (float)((value * 31 + n * 7 + k * 3) % 100003) + 1;
}

/* The number in a row, 0 where it is not a whole row of that node. */
static uint64_t value_of(const float *row, unsigned n)
{
	uint64_t value = row[0] >= 1 && row[0] < 16777216.0f ? (uint64_t)row[0] : 0;
	float want[DIM];

	fill(want, value, n);
	return memcmp(want, row, sizeof(want)) ? 0 : value;
}

static int fail(const char *what, int err)
{
	printf("%s: %s\n", what, strerror(-err));
	return 1;
}

static vex_err open_store(const char *dir, struct vex_store **s)
{
	struct vex_store_opts o = { .sync_interval_ms = 100000 };
	struct vex_problem p = { "" };
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	vex_err err = fd < 0 ? -errno : vex_store_open(fd, &o, s, &p);

	if (*p.text)
		printf("open: %s\n", p.text);
	return err ? err : *p.text ? -EUCLEAN : 0;
}

/* ---- writing --------------------------------------------------------------------- */

static vex_err make_nodes(struct vex_store *s, struct acks *a, struct vex_space **sp)
{
	struct vex_space_spec spec = { .name = "w", .metric = 1, .dim = DIM };
	struct vex_change c = { .kind = VEX_SPACE_NEW, .spec = &spec };
	vex_err err = vex_store_commit(s, &c, 1, NULL);

	*sp = c.space;
	for (unsigned i = 0; !err && i < NODES; i++) {
		struct vex_node n = { .id = vex_store_new_node(s) };

		c = (struct vex_change){ .kind = VEX_NODE_NEW, .node_in = &n };
		a->node[i] = n.id;
		err = vex_store_commit(s, &c, 1, NULL);
	}
	return err;
}

static vex_err put(struct vex_store *s, struct vex_space *sp, uint64_t node,
		   uint64_t value, unsigned n)
{
	struct vex_change c = {
		.kind = VEX_PUT, .node = node, .space = sp, .key = "", .rows = 1
	};
	float row[DIM];
	vex_err err;

	fill(row, value, n);
	err = vex_slots_write(sp, row, 1, &c.slot);
	return err ? err : vex_store_commit(s, &c, 1, NULL);
}

static vex_err delete (struct vex_store *s, struct vex_space *sp, uint64_t node)
{
	struct vex_change c = {
		.kind = VEX_DELETE, .node = node, .space = sp, .key = ""
	};
	vex_err err = vex_store_commit(s, &c, 1, NULL);

	return err == -ENODATA ? 0 : err;
}

/* One change in 400 is a sync, one in 300 a step of compaction. A removal is not
 * acknowledged as such: what was there before it may come back. */
static vex_err work(struct vex_store *s, struct vex_space *sp, struct acks *a, int acks,
		    uint64_t x)
{
	uint64_t now[NODES] = { 0 }, moved, held;
	vex_err err = 0;

	for (uint64_t i = 1; !err && i < 16000000; i++) {
		unsigned n;

		x = vex_sum64(x, &i, sizeof(i));
		n = (unsigned)(x % NODES);
		if (n < REMOVED && (x >> 16) % 4 == 0) {
			err = delete (s, sp, a->node[n]);
			now[n] = 0;
		} else {
			err = put(s, sp, a->node[n], i, n);
			now[n] = i;
		}
		if (!err && (x >> 24) % 300 == 0)
			err = vex_space_pack(sp, 16, &moved);
		if (err || (x >> 32) % SYNC_EVERY)
			continue;
		err = vex_store_sync(s, (x >> 40) % 3 == 0);
		vex_space_trim(sp, &held);
		memcpy(a->value, now, sizeof(now));
		a->sum = vex_sum64(0, a, offsetof(struct acks, sum));
		if (!err && pwrite(acks, a, sizeof(*a), 0) != sizeof(*a))
			err = -errno;
	}
	return err;
}

static int write_main(const char *dir, const char *name, uint64_t seed)
{
	int acks = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct acks a = { .sum = 0 };
	struct vex_space *sp;
	struct vex_store *s;
	vex_err err = acks < 0 ? -errno : open_store(dir, &s);

	if (!err)
		err = make_nodes(s, &a, &sp);
	return fail("write", err ? err : work(s, sp, &a, acks, seed));
}

/* ---- checking -------------------------------------------------------------------- */

struct seen {
	unsigned bad, later;
};

static void check_node(struct vex_store *s, struct vex_reader *r, struct vex_space *sp,
		       const struct acks *a, unsigned n, struct seen *x)
{
	struct vex_attach at;
	float row[DIM];
	uint64_t value = 0;
	vex_err err = vex_read_attach(r, a->node[n], vex_space_id(sp), "", 0, false, &at);

	if (!err)
		err = vex_read_rows(s, &at, row);
	if (!err)
		value = value_of(row, n);
	/* Removed later than the sync is no loss; never put before it, neither. */
	if (err == -ENODATA && (n < REMOVED || !a->value[n]))
		return;
	if (err || !value || value < a->value[n]) {
		printf("node %u: synced %llu, has %llu: %s\n", n,
		       (unsigned long long)a->value[n], (unsigned long long)value,
		       strerror(-err));
		x->bad++;
	}
	x->later += value > a->value[n];
}

static vex_err finding(void *bad, const struct vex_finding *f)
{
	printf("fsck: %s\n", f->text);
	++*(unsigned *)bad;
	return 0;
}

static unsigned fsck(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vex_check_counts n;
	struct vex_problem p;
	struct vex_check *c;
	unsigned bad = 0;
	vex_err err = vex_check_open(fd, &c, &p);

	if (err)
		return (unsigned)fail(p.text, err);
	err = vex_check_run(c, finding, &bad, &n);
	vex_check_close(c);
	return bad + (err != 0);
}

static int check_store(struct vex_store *s, const struct acks *a, struct seen *x)
{
	struct vex_space_counts n;
	struct vex_reader *r;
	struct vex_space *sp;
	vex_err err = vex_space_find(s, "w", &sp);

	if (!err)
		err = vex_reader_get(s, &r);
	if (err)
		return fail("the space", err);
	for (unsigned i = 0; i < NODES; i++)
		check_node(s, r, sp, a, i, x);
	vex_space_counts(sp, &n);
	x->bad += n.damaged != 0;
	vex_reader_put(r);
	vex_space_unref(sp);
	return 0;
}

static int check_main(const char *dir, const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct seen x = { .bad = 0 };
	struct vex_store *s;
	struct acks a;
	vex_err err = open_store(dir, &s);

	if (err)
		return fail("open", err);
	/* The power went before the first sync: that it opens is all there is to ask. */
	if (fd < 0 || pread(fd, &a, sizeof(a), 0) != sizeof(a) ||
	    a.sum != vex_sum64(0, &a, offsetof(struct acks, sum)))
		a.sum = 0;
	else if (check_store(s, &a, &x))
		x.bad++;
	vex_store_close(s);
	x.bad += fsck(dir);
	printf("checked: %s, %u later than the sync, %u bad\n",
	       a.sum ? "acks" : "no acks", x.later, x.bad);
	return x.bad != 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 5 && !strcmp(argv[1], "write"))
		return write_main(argv[2], argv[3], strtoull(argv[4], NULL, 0));
	if (argc == 4 && !strcmp(argv[1], "check"))
		return check_main(argv[2], argv[3]);
	fputs("usage: power write DIR ACKS SEED | check DIR ACKS\n", stderr);
	return 2;
}
