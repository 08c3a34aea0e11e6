/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill DIR N DIM: makes a store below DIR with N attachments of DIM floats in space "t",
 * each of a file of its own: node with mark and handle, name, log row, as an import makes
 * them, but straight through the store's door and without the files. For what depends
 * on the catalog's size alone: mounting it, and its bytes. Prints attachments a second.
 */
#include <fcntl.h>
#include <stdio.h>
#include <vexfs/store.h>

#define BATCH 1000u

static void fill_row(float *row, uint32_t dim, uint64_t i)
{
	for (uint32_t k = 0; k < dim; k++) {
		i = i * 6364136223846793005ull + 1442695040888963407ull;
		row[k] = (float)(int32_t)(i >> 32) / 2147483648.0f;
	}
}

struct batch {
	struct vex_change c[3 * BATCH];
	struct vex_node node[BATCH];
	char name[BATCH][24], path[BATCH][32];
};

static void one_file(struct batch *b, struct vex_store *s, unsigned i, uint64_t n,
		     struct vex_space *sp, uint64_t slot)
{
	struct vex_node *node = &b->node[i];

	*node = (struct vex_node){ .id = vex_store_new_node(s),
				   .has_mark = true,
				   .ino = 1000000 + n,
				   .size = 4096,
				   .mtime_ns = 1760000000000000000 + (int64_t)n * 1000 };
	node->fh.len = 8;
	node->fh.type = 1;
	memcpy(node->fh.bytes, &node->ino, 4);
	memcpy(node->mark, &(uint64_t[2]){ vex_sum64(1, &n, 8), vex_sum64(2, &n, 8) },
	       16);
	memcpy(node->fh.bytes + 4, node->mark, 4);
	b->c[3 * i] = (struct vex_change){ .kind = VEX_NODE_NEW, .node_in = node };
	b->c[3 * i + 1] = (struct vex_change){
		.kind = VEX_NAME_ADD, .node = node->id, .parent = 1, .name = b->name[i]
	};
	b->c[3 * i + 1].name_len = (uint32_t)snprintf(b->name[i], sizeof(b->name[i]),
						      "%07llu", (unsigned long long)n);
	snprintf(b->path[i], sizeof(b->path[i]), "words/%s", b->name[i]);
	b->c[3 * i + 2] = (struct vex_change){ .kind = VEX_PUT,
					       .node = node->id,
					       .space = sp,
					       .key = "",
					       .slot = slot + i,
					       .rows = 1,
					       .stamp = { .size = node->size,
							  .mtime_ns = node->mtime_ns },
					       .path = b->path[i] };
}

static vex_err fill(struct vex_store *s, uint64_t n, uint32_t dim)
{
	AUTO_FREE struct batch *b = calloc(1, sizeof(*b));
	AUTO_FREE float *rows = calloc(BATCH, dim * sizeof(float));
	struct vex_space_spec spec = { .name = "t", .metric = 0, .dim = dim };
	struct vex_change c = { .kind = VEX_SPACE_NEW, .spec = &spec };
	vex_err err = b && rows ? vex_store_commit(s, &c, 1, NULL) : -ENOMEM;

	for (uint64_t at = 0; !err && at < n; at += BATCH) {
		unsigned m = (unsigned)vex_min64(BATCH, n - at);
		uint64_t slot;

		for (unsigned i = 0; i < m; i++)
			fill_row(rows + (size_t)i * dim, dim, at + i);
		err = vex_slots_write(c.space, rows, m, &slot);
		for (unsigned i = 0; !err && i < m; i++)
			one_file(b, s, i, at + i, c.space, slot);
		if (!err)
			err = vex_store_commit(s, b->c, 3 * (size_t)m, NULL);
	}
	if (c.space)
		vex_space_unref(c.space);
	return err;
}

int main(int argc, char **argv)
{
	struct vex_store_opts o = { .sync_interval_ms = 2000 };
	struct vex_problem p = { "" };
	struct vex_store *s;
	uint64_t start, n;
	vex_err err;
	int fd;

	if (argc != 4 || strtoul(argv[3], NULL, 10) - 1 > 16383) {
		fputs("usage: fill DIR N DIM\n", stderr);
		return 2;
	}
	n = strtoull(argv[2], NULL, 10);
	fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 ? -errno : vex_store_open(fd, &o, &s, &p);
	start = vex_now_mono();
	if (!err)
		err = fill(s, n, (uint32_t)strtoul(argv[3], NULL, 10));
	if (err) {
		fprintf(stderr, "fill: %s: %s\n", p.text, strerror(-err));
		return 1;
	}
	printf("%.0f\n", (double)n / ((double)(vex_now_mono() - start) * 1e-9));
	vex_store_close(s);
	return 0;
}
