/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.c, walk.c, climb.c, dircache.c: where a node is now. Most of it twice: with
 * file handles, and without, as an unprivileged daemon has to.
 */
#include "names_fixture.h"

#include <dirent.h>
#include <sys/resource.h>

TestSuite(place, .init = nf_up, .fini = nf_down, .timeout = 60);

/* Lets what was cached a moment ago be looked at again. */
static void forget(void)
{
	atomic_fetch_add(&eng->moves, 1);
	for (uint64_t i = 0; i < 100; i++)
		dircache_regain(eng->dircache, i);
}

static void tree(void)
{
	nf_sh("mkdir -p a/b/c");
	nf_file("a/b/c/f", "f", 1);
	nf_file("a/b/g", "g", 2);
}

static void renames_through_us(void)
{
	tree();
	cr_assert_eq(nf_rename("a/b", "a/x", 0, false), 0);
	nf_finds(0, 9, "a/x/c/f a/x/g");
	cr_assert_eq(nf_rename("a", "z", 0, false), 0);
	nf_finds(0, 9, "z/x/c/f z/x/g");
	cr_assert_eq(nf_rename("z/x/c/f", "z/f", 0, false), 0);
	nf_finds(0, 9, "z/f z/x/g");
}

Test(place, renames_through_us)
{
	renames_through_us();
	af_again();
	nf_finds(0, 9, "z/f z/x/g");
}

Test(place, renames_through_us_without_handles)
{
	eng->handles = false;
	renames_through_us();
	af_again();
	eng->handles = false;
	forget();
	nf_finds(0, 9, "z/f z/x/g");
}

Test(place, directory_renamed_behind_us)
{
	NEEDS_HANDLES();
	tree();
	nf_sh("mv a/b y");
	nf_finds(0, 9, "y/c/f y/g");
	nf_sh("mv y a");
	forget();
	nf_finds(0, 9, "a/y/c/f a/y/g");
}

Test(place, moved_out_of_the_store_it_is_withheld)
{
	char out[128];

	NEEDS_HANDLES();
	tree();
	snprintf(out, sizeof(out), "%s-out", af_dir);
	nf_sh("mv a/b %s", out);
	forget();
	nf_finds(0, 9, "");
	nf_sh("mv %s a/b", out);
	forget();
	nf_finds(0, 9, "a/b/c/f a/b/g");
}

Test(place, without_handles_a_moved_directory_is_withheld_and_returns)
{
	eng->handles = false;
	tree();
	nf_sh("mv a/b y");
	forget();
	nf_finds(0, 9, "");
	nf_sh("mv y a/b");
	forget();
	nf_finds(0, 9, "a/b/c/f a/b/g");
	nf_sh("mv a/b y");
	forget();
	/* Seen under its new name, it is known there. */
	nf_attach("y/g", 2);
	nf_finds(2, 1, "y/g");
}

Test(place, without_handles_a_replaced_file_is_not_found)
{
	eng->handles = false;
	tree();
	nf_sh("rm a/b/g; echo g >a/b/g");
	nf_finds(0, 9, "a/b/c/f");
}

Test(place, without_handles_a_copy_is_told_from_its_original)
{
	eng->handles = false;
	tree();
	nf_sh("cp -a a/b/g a/copy");
	af_is_text("a/copy", "s", "2,0");
	cr_expect_neq(nf_node("a/copy"), nf_node("a/b/g"));
	nf_finds(2, 2, "a/b/g a/copy");
}

Test(place, renamed_within_its_directory_with_cold_caches)
{
	FILE *f;

	tree();
	nf_sh("mv a/b/g a/b/h");
	f = fopen("/proc/sys/vm/drop_caches", "w");
	if (f) {
		fputs("2", f);
		fclose(f);
	}
	nf_finds(2, 1, "a/b/h");
	nf_settle();
	cr_expect_geq(nf_names(nf_node("a/b/h")), 1);
	nf_finds(2, 1, "a/b/h");
	cr_expect_eq(nf_names(nf_node("a/b/h")), 1, "the name that failed is forgotten");
}

Test(place, lost_and_found)
{
	tree();
	nf_sh("mkdir k; mv a/b/g k/h; mv k/h a/b/g");
	nf_finds(2, 1, "a/b/g");
	nf_sh("rm a/b/g");
	nf_finds(2, 1, "a/b/c/f");
	nf_finds(2, 1, "a/b/c/f");
}

static vex_err find_job(void *arg)
{
	struct place *p = arg;
	struct vex_reader *r;
	vex_err err = vex_reader_get(eng->store, &r);

	cr_assert_eq(err, 0);
	err = place_find(eng, r, p->parent, p);
	vex_reader_put(r);
	return err;
}

Test(place, place_find_tells_directory_name_and_parent)
{
	AUTO_PLACE struct place p = PLACE_INIT;

	tree();
	p.parent = nf_node("a/b/g");
	cr_assert_eq(engine_deep(eng, find_job, &p), 0);
	cr_expect_str_eq(p.name, "g");
	cr_expect_eq(p.parent, nf_node("a/b"));
	cr_expect_eq(p.st.st_ino, nf_ino("a/b/g"));
	place_free(&p);
	p.parent = ROOT_NODE;
	cr_assert_eq(engine_deep(eng, find_job, &p), 0);
	cr_expect_str_eq(p.name, "");
	place_free(&p);
	p.parent = 99999;
	cr_expect_eq(engine_deep(eng, find_job, &p), -ENOENT);
}

static int deep_dir(int levels, char *name)
{
	int dir = dup(af_root);

	for (int i = 0; i < levels; i++) {
		int next;

		cr_assert_eq(mkdirat(dir, name, 0755), 0);
		next = openat(dir, name, O_PATH | O_DIRECTORY);
		cr_assert_geq(next, 0);
		close(dir);
		dir = next;
	}
	return dir;
}

/* A file below 6,000 bytes of path, attached to by descriptor. */
static void deeper_than_path_max(void)
{
	AUTO_FREE char *got = NULL;
	char name[201];
	struct vex_obj o = { .name = "f" };
	int fd;

	memset(name, 'n', 200);
	name[200] = '\0';
	o.dirfd = deep_dir(30, name);
	fd = openat(o.dirfd, "f", O_CREAT | O_RDWR, 0644);
	o.fd = fd;
	cr_assert_eq(vex_engine_xattr_set(eng, &o, "s", "1,0", 3, 0), 0);
	got = nf_near(0, 1, &af_uid0);
	cr_expect_eq(strlen(got), 30u * 201 + 1);
	cr_expect_eq(nf_nodes(), 32);
	close(fd);
	close(o.dirfd);
}

Test(place, deeper_than_path_max)
{
	NEEDS_HANDLES();
	deeper_than_path_max();
	nf_sh("mv n* m");
	forget();
	AUTO_FREE char *got = nf_near(0, 1, &af_uid0);
	cr_expect_eq(got[0], 'm');
	nf_sh("rm -rf m");
}

Test(place, deeper_than_path_max_without_handles)
{
	eng->handles = false;
	deeper_than_path_max();
	forget();
	AUTO_FREE char *got = nf_near(0, 1, &af_uid0);
	cr_expect_eq(got[0], 'n');
	nf_sh("rm -rf n*");
}

Test(place, names_of_all_bytes)
{
	nf_file("new\nline", "x", 1);
	nf_file("tab\there", "x", 2);
	nf_file("x (deleted)", "x", 3);
	nf_sh("mkdir 'd (deleted)'");
	nf_file("d (deleted)/f", "x", 4);
	nf_finds(0, 4, "new\nline tab\there x (deleted) d (deleted)/f");
}

Test(place, a_directory_on_another_filesystem)
{
	char line[256];

	nf_sh("mkdir m");
	snprintf(line, sizeof(line), "mount -t tmpfs vexfs-test %s/m 2>/dev/null",
		 af_dir);
	if (system(line))
		return; /* not allowed to mount */
	nf_sh("mkdir m/d");
	nf_file("m/d/f", "x", 1);
	nf_file("m/g", "x", 2);
	nf_finds(0, 9, "m/d/f m/g");
	cr_expect_eq(nf_rename("m/d", "m/e", 0, false), 0);
	nf_finds(0, 9, "m/e/f m/g");
	af_again();
	nf_finds(0, 9, "m/e/f m/g");
	af_is_text("m/g", "s", "2,0");
	cr_expect_eq(nf_unlink("m/g", false), 0);
	nf_finds(0, 9, "m/e/f");
	snprintf(line, sizeof(line), "umount -l %s/m", af_dir);
	cr_assert_eq(system(line), 0);
	forget();
	nf_finds(0, 9, "");
}

Test(place, dircache_keeps_what_is_fresh)
{
	struct dircache *d;
	int fd = -1;

	cr_assert_eq(dircache_new(&d), 0);
	cr_expect_eq(dircache_get(d, 5, 0, &fd), -ENOENT);
	for (uint64_t i = 1; i <= 1000; i++)
		dircache_put(d, i, 0, af_root);
	cr_assert_eq(dircache_get(d, 1000, 0, &fd), 0);
	close(fd);
	cr_expect_eq(dircache_get(d, 1000, 1, &fd), -ENOENT, "a directory has moved");
	dircache_drop(d, 1000);
	cr_expect_eq(dircache_get(d, 1000, 0, &fd), -ENOENT);
	dircache_lose(d, 7);
	cr_expect(dircache_lost(d, 7));
	cr_expect_not(dircache_lost(d, 8));
	dircache_regain(d, 7);
	cr_expect_not(dircache_lost(d, 7));
	dircache_free(d);
}

static int fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

Test(place, dircache_gives_way_when_descriptors_run_out)
{
	struct rlimit r;
	struct dircache *d;
	int before, fd, n = 0;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
	r.rlim_cur = 512;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
	cr_assert_eq(dircache_new(&d), 0);
	before = fds_open();
	for (uint64_t i = 1; i <= 1000; i++)
		dircache_put(d, i, 0, af_root);
	cr_expect_gt(fds_open(), before);
	cr_expect_leq(fds_open(), before + 512 / 16, "a part of what may be open");
	while (dup(0) >= 0)
		;
	while (n < 512 && !vex_dup(af_root, &fd))
		n++;
	cr_expect_gt(n, 0);
	cr_expect_eq(dircache_get(d, 1000, 0, &fd), -ENOENT, "all were given up");
	dircache_free(d);
}

Test(place, nodeset_against_a_model)
{
	uint64_t seed = af_seed(), model[512] = { 0 };
	struct nodeset *s;

	cr_assert_eq(nodeset_new(&s), 0);
	for (int i = 0; i < 200000; i++) {
		struct vex_fh fh = { .type = 1, .len = 8 };
		uint64_t key = af_next(&seed) % 512;

		memcpy(fh.bytes, &key, 8);
		switch (af_next(&seed) % 3) {
		case 0:
			nodeset_add(s, &fh, model[key] = 1 + af_next(&seed) % 9999);
			break;
		case 1:
			nodeset_del(s, &fh);
			model[key] = 0;
			break;
		default:
			cr_assert_eq(nodeset_get(s, &fh), model[key], "step %d", i);
		}
	}
	nodeset_free(s);
}
