/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"
#include <ftw.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void fix_begin(struct fix *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/vexfs-store-XXXXXX");
	cr_assert(mkdtemp(f->dir), "mkdtemp: %s", strerror(errno));
	f->rootfd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(f->rootfd >= 0);
	f->opts.wait_ms = 200;
}

vex_err fix_try(struct fix *f)
{
	f->s = NULL;
	return vex_store_open(f->rootfd, &f->opts, &f->s, &f->problem);
}

void fix_open(struct fix *f)
{
	vex_err err = fix_try(f);

	cr_assert(!err, "open: %s: %s", strerror(-err), f->problem.text);
}

void fix_close(struct fix *f)
{
	vex_store_close(f->s);
	f->s = NULL;
}

void fix_end(struct fix *f)
{
	if (f->s)
		fix_close(f);
	close(f->rootfd);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct vex_space *new_space(struct fix *f, const char *name, uint32_t dim)
{
	struct vex_space_spec spec = { .metric = VEX_COSINE,
				       .type = VEX_F32,
				       .dim = dim,
				       .m = 16,
				       .ef_construction = 200,
				       .ef_search = 64 };
	struct vex_change c = { .kind = VEX_SPACE_NEW, .spec = &spec };
	vex_err err;

	snprintf(spec.name, sizeof(spec.name), "%s", name);
	err = vex_store_commit(f->s, &c, 1, NULL);
	cr_assert(!err, "space: %s", strerror(-err));
	cr_assert(c.space);
	return c.space;
}

struct vex_space *get_space(struct fix *f, const char *name)
{
	struct vex_space *sp = NULL;

	cr_assert_eq(vex_space_find(f->s, name, &sp), 0);
	return sp;
}

uint64_t new_file(struct fix *f)
{
	struct vex_node n = { .id = vex_store_new_node(f->s),
			      .has_mark = true,
			      .ino = 7 };
	char name[32];
	struct vex_change c[2] = {
		{ .kind = VEX_NODE_NEW, .node_in = &n },
		{ .kind = VEX_NAME_ADD, .node = n.id, .parent = 1, .name = name },
	};
	vex_err err;

	c[1].name_len =
	    (uint32_t)snprintf(name, sizeof(name), "file%llu", (unsigned long long)n.id);
	n.fh.len = 8;
	n.fh.type = 1;
	memcpy(n.fh.bytes, &n.id, 8);
	err = vex_store_commit(f->s, c, 2, NULL);
	cr_assert(!err, "node: %s", strerror(-err));
	return n.id;
}

void fill_row(float *row, uint32_t dim, uint64_t v, uint32_t i)
{
	for (uint32_t k = 0; k < dim; k++)
		row[k] = (float)((v * 31 + i * 7 + k * 3) % 1009) + 1.0f;
}

vex_err make_put(struct vex_change *c, struct vex_space *sp, uint64_t node,
		 const char *key, uint64_t v, uint32_t rows)
{
	uint32_t dim = vex_space_dim(sp);
	float *data = malloc((size_t)rows * dim * sizeof(float));
	vex_err err;

	if (!data)
		return -ENOMEM;
	for (uint32_t i = 0; i < rows; i++)
		fill_row(data + (size_t)i * dim, dim, v, i);
	*c = (struct vex_change){ .kind = VEX_PUT,
				  .node = node,
				  .space = sp,
				  .key = key,
				  .key_len = (uint32_t)strlen(key),
				  .rows = rows,
				  .stamp = { .size = 10, .mtime_ns = 20 },
				  .path = "a/b" };
	err = vex_slots_write(sp, data, rows, &c->slot);
	free(data);
	return err;
}

vex_err put_flags(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
		  uint64_t v, uint32_t rows, int flags)
{
	struct vex_change c;
	vex_err err = make_put(&c, sp, node, key, v, rows);

	if (err)
		return err;
	c.flags = flags;
	return vex_store_commit(f->s, &c, 1, NULL);
}

vex_err put(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
	    uint64_t v, uint32_t rows)
{
	return put_flags(f, sp, node, key, v, rows, 0);
}

vex_err delete (struct fix *f, struct vex_space *sp, uint64_t node, const char *key)
{
	struct vex_change c = { .kind = VEX_DELETE,
				.node = node,
				.space = sp,
				.key = key,
				.key_len = (uint32_t)strlen(key) };

	return vex_store_commit(f->s, &c, 1, NULL);
}

vex_err get(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
	    struct vex_attach *a)
{
	AUTO_READER struct vex_reader *r = NULL;
	vex_err err = vex_reader_get(f->s, &r);

	return err ? err
		   : vex_read_attach(r, node, vex_space_id(sp), key,
				     (uint32_t)strlen(key), false, a);
}

vex_err holds(struct fix *f, struct vex_space *sp, uint64_t node, const char *key,
	      uint64_t v, uint32_t rows)
{
	uint32_t dim = vex_space_dim(sp);
	AUTO_FREE float *want = malloc(dim * sizeof(float));
	AUTO_FREE float *data = NULL;
	struct vex_attach a;
	vex_err err = get(f, sp, node, key, &a);

	if (err)
		return err;
	if (a.rows != rows)
		return -EILSEQ;
	data = malloc((size_t)rows * dim * sizeof(float));
	err = vex_read_rows(f->s, &a, data);
	for (uint32_t i = 0; i < rows && !err; i++) {
		fill_row(want, dim, v, i);
		if (memcmp(want, data + (size_t)i * dim, dim * sizeof(float)) != 0)
			err = -EILSEQ;
	}
	return err;
}

static int open_in(struct fix *f, const char *name)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/.vexfs/%s", f->dir, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

long file_size(struct fix *f, const char *name)
{
	AUTO_CLOSE int fd = open_in(f, name);

	return lseek(fd, 0, SEEK_END);
}

void flip(struct fix *f, const char *name, long off)
{
	AUTO_CLOSE int fd = open_in(f, name);
	unsigned char b;

	if (off < 0)
		off += lseek(fd, 0, SEEK_END);
	cr_assert_eq(pread(fd, &b, 1, off), 1, "%s has no byte %ld", name, off);
	b ^= 4;
	cr_assert_eq(pwrite(fd, &b, 1, off), 1);
}

void cut(struct fix *f, const char *name, long size)
{
	AUTO_CLOSE int fd = open_in(f, name);

	cr_assert_eq(ftruncate(fd, size), 0);
}

void swap_files(struct fix *f, const char *a, const char *b)
{
	char pa[160], pb[160];

	snprintf(pa, sizeof(pa), "%s/.vexfs/%s", f->dir, a);
	snprintf(pb, sizeof(pb), "%s/.vexfs/%s", f->dir, b);
	cr_assert_eq(renameat2(AT_FDCWD, pa, AT_FDCWD, pb, RENAME_EXCHANGE), 0);
}

uint64_t seed_from_env(void)
{
	const char *s = getenv("VEX_SEED");
	uint64_t seed = s ? strtoull(s, NULL, 0) : vex_now_mono();

	fprintf(stderr, "seed: VEX_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

uint64_t rnd(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return vex_sum64(0, state, sizeof(*state));
}
