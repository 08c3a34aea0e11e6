/* SPDX-License-Identifier: Apache-2.0 */
/* fsck: files moved, copied, restored and damaged behind the engine's back. */
#include "attach_fixture.h"
#include "names_i.h"
#include <vexfs/index.h>

static const float v2[2] = { 3, 4 };
static char said[8192];
static struct vex_fsck got;

static void put_it(const char *name, const char *attr, const char *text)
{
	cr_assert_eq(af_set_text(name, attr, text), 0);
}

/* d/a, d/b (text), c (binary), e/x (two rows); the engine is closed after it. */
static void shut(void)
{
	vex_engine_close(eng);
	eng = NULL;
}

static void up(void)
{
	vex_log_init(false, VEX_LOG_ERROR);
	af_up();
	mkdirat(af_root, "d", 0755);
	mkdirat(af_root, "e", 0755);
	af_write("d/a", "a");
	af_write("d/b", "bb");
	af_write("c", "ccc");
	af_write("e/x", "x");
	put_it("d/a", "w", "1,2");
	put_it("d/b", "w.k", "3,4");
	cr_assert_eq(af_set("c", "w", v2, sizeof(v2), 0), 0);
	put_it("e/x", "w", "[[5,6],[7,8]]");
	put_it("e", "w", "9,9");
	shut();
}

TestSuite(fsck, .init = up, .fini = af_down, .timeout = 60);

static void hear(void *arg, const char *line)
{
	(void)arg;
	strncat(said, line, sizeof(said) - strlen(said) - 2);
	strcat(said, "\n");
}

static void fsck(bool repair, unsigned fixed, unsigned left)
{
	struct vex_problem p;
	vex_err err;

	said[0] = '\0';
	got = (struct vex_fsck){ .say = hear };
	err = vex_engine_fsck(af_root, &af_opts, repair, NULL, &got, &p);
	cr_assert_eq(err, 0, "%s: %s", strerror(-err), p.text);
	cr_assert(got.fixed == fixed && got.left == left, "fixed %u, left %u: %s",
		  got.fixed, got.left, said);
}

/* Found, repaired whole, then nothing. */
static void heals(unsigned n)
{
	fsck(false, 0, n);
	fsck(true, n, 0);
	fsck(true, 0, 0);
	fsck(false, 0, 0);
}

static void reopen(void)
{
	struct vex_problem p;

	cr_assert_eq(vex_engine_open(af_root, &af_opts, &eng, &p), 0, "%s", p.text);
}

static void move(const char *from, const char *to)
{
	cr_assert_eq(renameat(af_root, from, af_root, to), 0);
}

static void copy(const char *from, const char *to)
{
	char line[512];

	snprintf(line, sizeof(line), "cp -a %s/%s %s/%s", af_dir, from, af_dir, to);
	cr_assert_eq(system(line), 0, "%s", line);
}

Test(fsck, nothing_to_say)
{
	fsck(false, 0, 0);
	cr_expect_str_eq(said, "");
	cr_expect_eq(got.counts.attachments, 5);
	cr_expect_eq(got.counts.rows, 6);
	fsck(true, 0, 0);
}

Test(fsck, a_file_moved)
{
	move("d/a", "moved");
	fsck(false, 0, 2);
	cr_expect(strstr(said, "moved: moved here behind VexFS") != NULL, "%s", said);
	cr_expect(strstr(said, "d/a: no longer a name") != NULL, "%s", said);
	heals(2);
	reopen();
	af_is_text("moved", "w", "1,2");
}

Test(fsck, directories_moved_into_each_other)
{
	move("d", "e/dd");
	move("e", "f");
	heals(4);
	reopen();
	af_is_text("f/dd/b", "w.k", "3,4");
	af_is_text("f", "w", "9,9");
	AUTO_READER struct vex_reader *r = NULL;
	AUTO_NAMES struct namelist names = { 0 };
	struct af_obj o;
	uint64_t id = 0;
	af_open("f/dd", &o);
	cr_assert_eq(vex_fh_get(o.o.fd, "", &o.o.fh, NULL), 0);
	struct vex_node n;
	cr_assert_eq(vex_reader_get(eng->store, &r), 0);
	if (o.o.fh.len && !vex_read_node_fh(r, &o.o.fh, &n))
		id = n.id;
	cr_assert_neq(id, 0);
	cr_assert_eq(namelist_read(r, id, &names), 0);
	cr_assert_eq(names.n, 1);
	cr_expect_str_eq(names.v[0].name, "dd");
	af_close(&o);
}

Test(fsck, a_copy_gets_its_own)
{
	copy("e", "copy");
	/* The directory, and the file in it. */
	heals(2);
	reopen();
	af_is_text("copy/x", "w", "[[5,6],[7,8]]");
	put_it("copy/x", "w", "0,1");
	af_is_text("e/x", "w", "[[5,6],[7,8]]");
	af_is_text("copy", "w", "9,9");
}

Test(fsck, another_inode_in_its_place)
{
	copy("d/b", "tmp");
	move("tmp", "d/b");
	heals(1);
	reopen();
	af_is_text("d/b", "w.k", "3,4");
}

Test(fsck, a_mark_lost_and_marks_of_nobody)
{
	struct af_obj o;
	struct mark m = { .id = 3 };

	af_open("d/a", &o);
	cr_assert_eq(removexattr(vex_procfd(o.o.fd).path, VEX_XATTR_MARK), 0);
	af_close(&o);
	af_write("n", "n");
	af_open("n", &o);
	memset(m.random, 7, sizeof(m.random));
	cr_assert_eq(mark_write(o.o.fd, &m), 0);
	af_close(&o);
	heals(2);
	af_open("n", &o);
	cr_expect_eq(mark_read(o.o.fd, &m), -ENODATA);
	af_close(&o);
	reopen();
	af_is_text("d/a", "w", "1,2");
}

Test(fsck, absent_is_not_deleted)
{
	move("d", ".vexfs/aside");
	fsck(false, 0, 0);
	cr_expect_eq(got.missing, 2);
	fsck(true, 0, 0);
	cr_expect_eq(got.missing, 2);
	move(".vexfs/aside", "d");
	fsck(false, 0, 0);
	cr_expect_eq(got.missing, 0);
	reopen();
	af_is_text("d/a", "w", "1,2");
}

static void spoil(long off)
{
	AUTO_CLOSE int fd = openat(af_root, ".vexfs/spaces/1.rows", O_RDWR);
	uint8_t b;

	cr_assert_eq(pread(fd, &b, 1, off), 1);
	b ^= 8;
	cr_assert_eq(pwrite(fd, &b, 1, off), 1);
}

Test(fsck, rows_are_computed_again_from_text)
{
	/* Slots 0, 1: d/a, d/b; 2: c; 3, 4: e/x. */
	spoil(4096 + 3);
	spoil(4096 + 8 * 3);
	spoil(4096 + 8 * 4 + 1);
	heals(2);
	reopen();
	af_is_text("e/x", "w", "[[5,6],[7,8]]");
	cr_expect_eq(af_attachments("w"), 5);
}

Test(fsck, a_binary_row_is_left_and_the_rest_served)
{
	AUTO_BUF struct vex_buf b = { 0 };

	spoil(4096 + 8 * 2);
	fsck(false, 0, 1);
	cr_expect(strstr(said, "slot 2 ") && strstr(said, ", c)"), "%s", said);
	move("c", "elsewhere");
	fsck(true, 2, 1);
	fsck(true, 0, 1);
	reopen();
	cr_expect_eq(af_get("elsewhere", "w", &b), -EIO);
	af_is_text("d/a", "w", "1,2");
}

Test(fsck, can_be_stopped)
{
	static const _Atomic bool yes = true;
	struct vex_problem p;

	got = (struct vex_fsck){ .say = hear };
	cr_expect_eq(vex_engine_fsck(af_root, &af_opts, true, &yes, &got, &p),
		     -ECANCELED);
	fsck(false, 0, 0);
}

/* A name whose directory no node is. */
Test(fsck, names_of_nothing_go)
{
	struct vex_change c = {
		.kind = VEX_NAME_ADD,
		.node = 2,
		.parent = 999999,
		.name = "ghost",
		.name_len = 5,
	};

	reopen();
	cr_assert_eq(vex_store_commit(eng->store, &c, 1, NULL), 0);
	shut();
	heals(1);
}

/* A rename drops the old name by a commit nobody waits for: a crash before it leaves a
 * candidate beside the name that holds. */
Test(fsck, a_name_that_a_crash_left_is_no_finding)
{
	struct vex_change c = {
		.kind = VEX_NAME_ADD,
		.parent = ROOT_NODE,
		.name = "old",
		.name_len = 3,
	};
	int fd = openat(af_root, "d/a", O_PATH | O_CLOEXEC);
	struct vex_obj o = { .fd = fd, .dirfd = -1 };

	cr_assert_geq(fd, 0);
	reopen();
	cr_assert_eq(node_identify(eng, &o, &c.node), 0);
	cr_assert_neq(c.node, 0);
	cr_assert_eq(vex_store_commit(eng->store, &c, 1, NULL), 0);
	shut();
	close(fd);
	fsck(false, 0, 0);
	cr_expect_str_eq(said, "");
	reopen();
	af_is_text("d/a", "w", "1,2");
}

/* ---- index files ----------------------------------------------------------------- */

/* .vexfs/index/ID.hnsw with a graph of a few rows. */
static void make_index(const char *id, uint32_t space, uint32_t dim)
{
	struct vex_hnsw_opts o = { .metric = VEX_L2, .dim = dim, .m = 8, .seed = 1 };
	struct vex_hnsw *h;
	char name[64];

	o.ef_construction = 40;
	cr_assert_eq(vex_hnsw_new(&o, &h), 0);
	for (uint32_t i = 0; i < 60; i++) {
		float row[8];

		for (uint32_t k = 0; k < 8; k++)
			row[k] = (float)((i * 37 + k * 11) % 64);
		cr_assert_eq(vex_hnsw_insert(h, i, row), 0);
	}
	mkdirat(af_root, ".vexfs/index", 0700);
	snprintf(name, sizeof(name), ".vexfs/index/%s.hnsw", id);
	AUTO_CLOSE int fd = openat(af_root, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	cr_assert_eq(vex_hnsw_save(h, fd, space, 1), 0);
	vex_hnsw_free(h);
}

static bool index_is_there(const char *id)
{
	char name[64];

	snprintf(name, sizeof(name), ".vexfs/index/%s.hnsw", id);
	return !faccessat(af_root, name, F_OK, 0);
}

static void index_heals(const char *id, const char *why)
{
	fsck(false, 0, 1);
	cr_expect(strstr(said, ".vexfs/index/"), "%s", said);
	cr_expect(strstr(said, id) && strstr(said, why), "%s", said);
	cr_expect(index_is_there(id), "a look changes nothing");
	fsck(true, 1, 0);
	cr_expect_not(index_is_there(id));
	fsck(true, 0, 0);
}

Test(fsck, an_index_file)
{
	make_index("1", 1, 2);
	fsck(false, 0, 0);
	fsck(true, 0, 0);
	cr_expect(index_is_there("1"), "a sound one stays");
}

Test(fsck, index_files_that_do_not_belong)
{
	make_index("1", 2, 2);
	index_heals("1", "is of another space");
	make_index("1", 1, 4);
	index_heals("1", "dimension");
	make_index("77", 77, 2);
	index_heals("77", "no space has it");
}

/* Any byte: of padding it may mean nothing, else it is told, and the file goes. */
Test(fsck, any_byte_of_an_index_file)
{
	unsigned found = 0;

	for (long at = 0; at < 24; at++) {
		char b;

		make_index("1", 1, 2);
		AUTO_CLOSE int fd = openat(af_root, ".vexfs/index/1.hnsw", O_RDWR);
		off_t size = lseek(fd, 0, SEEK_END),
		      off = at < 8 ? at * 25 : (size * (at - 8) / 16) + 3;
		cr_assert_eq(pread(fd, &b, 1, off), 1);
		b ^= 16;
		cr_assert_eq(pwrite(fd, &b, 1, off), 1);
		said[0] = '\0';
		struct vex_problem p;
		got = (struct vex_fsck){ .say = hear };
		cr_assert_eq(vex_engine_fsck(af_root, &af_opts, true, NULL, &got, &p), 0);
		found += got.fixed;
		cr_expect_eq(got.left, 0u);
		cr_expect_eq(index_is_there("1"), !got.fixed, "byte %ld", (long)off);
	}
	cr_expect_geq(found, 12u, "%u of 24", found);
}

Test(fsck, an_index_file_cut_short)
{
	make_index("1", 1, 2);
	AUTO_CLOSE int fd = openat(af_root, ".vexfs/index/1.hnsw", O_RDWR);
	cr_assert_eq(ftruncate(fd, lseek(fd, 0, SEEK_END) / 2), 0);
	index_heals("1", "damaged");
	make_index("1", 1, 2);
	AUTO_CLOSE int fd2 = openat(af_root, ".vexfs/index/1.hnsw", O_RDWR);
	cr_assert_eq(ftruncate(fd2, 0), 0);
	index_heals("1", "damaged");
}
