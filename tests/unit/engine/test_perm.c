/* SPDX-License-Identifier: Apache-2.0 */
/* perm.c, acl.c: pure tests of the rules, then the kernel itself as the oracle. */
#include <endian.h>
#include "names_fixture.h"

TestSuite(perm, .init = nf_up, .fini = nf_down, .timeout = 60);

struct ace {
	uint16_t tag, perm;
	uint32_t id;
};
#define U_OBJ 1
#define U_ 2
#define G_OBJ 4
#define G_ 8
#define MASK_ 0x10
#define O_ 0x20

static size_t blob(const struct ace *v, size_t n, uint8_t *out)
{
	uint32_t version = htole32(2);

	memcpy(out, &version, 4);
	for (size_t i = 0; i < n; i++) {
		struct ace a = { htole16(v[i].tag), htole16(v[i].perm),
				 htole32(v[i].id) };

		memcpy(out + 4 + i * 8, &a, 8);
	}
	return 4 + n * 8;
}

static const struct stat st640 = { .st_mode = S_IFREG | 0640,
				   .st_uid = 10,
				   .st_gid = 20 };

Test(perm, mode_bits)
{
	struct vex_cred owner = { .uid = 10, .gid = 99, .groups_known = true };
	struct vex_cred group = { .uid = 11, .gid = 20, .groups_known = true };
	uint32_t gs[] = { 7, 20 };
	struct vex_cred supp = {
		.uid = 11, .gid = 99, .ngroups = 2, .groups = gs, .groups_known = true
	};
	struct vex_cred other = { .uid = 11, .gid = 99, .groups_known = true };
	struct vex_cred root = { .groups_known = true };

	cr_expect_eq(perm_bits(&owner, &st640, NULL, 0, R_OK | W_OK), 0);
	cr_expect_eq(perm_bits(&owner, &st640, NULL, 0, X_OK), -EACCES);
	cr_expect_eq(perm_bits(&group, &st640, NULL, 0, R_OK), 0);
	cr_expect_eq(perm_bits(&group, &st640, NULL, 0, W_OK), -EACCES);
	cr_expect_eq(perm_bits(&supp, &st640, NULL, 0, R_OK), 0);
	cr_expect_eq(perm_bits(&other, &st640, NULL, 0, R_OK), -EACCES);
	cr_expect_eq(perm_bits(&root, &st640, NULL, 0, R_OK | W_OK | X_OK), 0);
}

Test(perm, owner_is_judged_by_the_owners_bits_alone)
{
	struct stat st = { .st_mode = S_IFREG | 0077, .st_uid = 10, .st_gid = 20 };
	struct vex_cred owner = { .uid = 10, .gid = 20, .groups_known = true };

	cr_expect_eq(perm_bits(&owner, &st, NULL, 0, R_OK), -EACCES);
}

Test(perm, unknown_groups_grant_nothing_and_may_take_away)
{
	struct vex_cred c = { .uid = 11, .gid = 99, .groups_known = false };
	struct stat takes = { .st_mode = S_IFREG | 0604, .st_uid = 10, .st_gid = 20 };
	struct stat plain = { .st_mode = S_IFREG | 0644, .st_uid = 10, .st_gid = 20 };

	cr_expect_eq(perm_bits(&c, &st640, NULL, 0, R_OK), -EACCES);
	cr_expect_eq(perm_bits(&c, &takes, NULL, 0, R_OK), -EACCES);
	cr_expect_eq(perm_bits(&c, &plain, NULL, 0, R_OK), 0);
}

Test(perm, acl_entries)
{
	struct stat st = { .st_mode = S_IFREG | 0640, .st_uid = 10, .st_gid = 20 };
	struct ace v[] = { { U_OBJ, 6, 0 }, { U_, 7, 30 },   { G_OBJ, 0, 0 },
			   { G_, 4, 40 },   { MASK_, 4, 0 }, { O_, 0, 0 } };
	uint8_t b[64];
	size_t n = blob(v, 6, b);
	struct vex_cred user = { .uid = 30, .gid = 99, .groups_known = true };
	struct vex_cred group = { .uid = 11, .gid = 40, .groups_known = true };
	struct vex_cred owning = { .uid = 11, .gid = 20, .groups_known = true };
	struct vex_cred other = { .uid = 11, .gid = 99, .groups_known = true };

	cr_expect_eq(perm_bits(&user, &st, b, n, R_OK), 0);
	cr_expect_eq(perm_bits(&user, &st, b, n, W_OK), -EACCES, "masked");
	cr_expect_eq(perm_bits(&group, &st, b, n, R_OK), 0);
	cr_expect_eq(perm_bits(&owning, &st, b, n, R_OK), -EACCES);
	cr_expect_eq(perm_bits(&other, &st, b, n, R_OK), -EACCES);
	st.st_mode =
	    S_IFREG | 0604; /* group bits clear: the kernel passes the ACL over */
	cr_expect_eq(perm_bits(&user, &st, b, n, R_OK), 0, "by others' bits");
}

Test(perm, acl_with_unknown_groups)
{
	struct stat st = { .st_mode = S_IFREG | 0664, .st_uid = 10, .st_gid = 20 };
	struct ace deny[] = { { U_OBJ, 6, 0 },
			      { G_OBJ, 4, 0 },
			      { G_, 0, 40 },
			      { MASK_, 6, 0 },
			      { O_, 4, 0 } };
	struct ace grant[] = { { U_OBJ, 6, 0 },
			       { G_OBJ, 4, 0 },
			       { G_, 4, 40 },
			       { MASK_, 6, 0 },
			       { O_, 4, 0 } };
	struct vex_cred c = { .uid = 11, .gid = 99, .groups_known = false };
	struct vex_cred in = { .uid = 11, .gid = 20, .groups_known = false };
	uint8_t b[64];
	size_t n = blob(deny, 5, b);

	cr_expect_eq(perm_bits(&c, &st, b, n, R_OK), -EACCES, "group 40 would refuse");
	cr_expect_eq(perm_bits(&in, &st, b, n, R_OK), 0, "a known group grants");
	n = blob(grant, 5, b);
	cr_expect_eq(perm_bits(&c, &st, b, n, R_OK), 0, "all of them grant");
	cr_expect_eq(perm_bits(&c, &st, b, n, W_OK), -EACCES);
}

Test(perm, malformed_acls_refuse)
{
	struct stat st = { .st_mode = S_IFREG | 0777, .st_uid = 10, .st_gid = 20 };
	struct vex_cred c = { .uid = 11, .gid = 99, .groups_known = true };
	uint8_t b[32] = { 3 };

	cr_expect_eq(perm_bits(&c, &st, b, 12, R_OK), -EACCES, "version 3");
	b[0] = 2;
	cr_expect_eq(perm_bits(&c, &st, b, 13, R_OK), -EACCES, "odd length");
	cr_expect_eq(perm_bits(&c, &st, b, 2, R_OK), -EACCES, "short");
}

/* ---- the kernel as the oracle
 * ---------------------------------------------------------- */

static size_t random_acl(uint64_t *seed, struct ace *v)
{
	size_t n = 0;
	unsigned users = (unsigned)(af_next(seed) % 3), groups = af_next(seed) % 3;

	v[n++] = (struct ace){ U_OBJ, af_next(seed) % 8, ~0u };
	for (unsigned i = 0; i < users; i++)
		v[n++] = (struct ace){ U_, af_next(seed) % 8, 1001 + i };
	v[n++] = (struct ace){ G_OBJ, af_next(seed) % 8, ~0u };
	for (unsigned i = 0; i < groups; i++)
		v[n++] = (struct ace){ G_, af_next(seed) % 8, 2001 + i };
	if (users || groups)
		v[n++] = (struct ace){ MASK_, af_next(seed) % 8, ~0u };
	v[n++] = (struct ace){ O_, af_next(seed) % 8, ~0u };
	return n;
}

static bool kernel_says(const struct vex_cred *c, int want)
{
	AUTO_AS_USER struct as_user u = { 0 };
	int fd, flags = want == R_OK ? O_RDONLY : want == W_OK ? O_WRONLY : O_RDWR;

	cr_assert_eq(cred_enter(c, &u), 0);
	fd = openat(af_root, "f", flags | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

Test(perm, agrees_with_the_kernel)
{
	uint64_t seed = af_seed();
	struct stat st;

	NEEDS_ROOT();
	af_write("f", "x");
	for (int i = 0; i < 3000; i++) {
		uint32_t gs[3] = { 2001 + (uint32_t)(af_next(&seed) % 4),
				   2000 + (uint32_t)(af_next(&seed) % 4) };
		struct vex_cred c = { .uid = 1000 + (uint32_t)(af_next(&seed) % 4),
				      .gid = 2000 + (uint32_t)(af_next(&seed) % 4),
				      .groups = gs,
				      .ngroups = (uint32_t)(af_next(&seed) % 3),
				      .groups_known = true };
		int wants[] = { R_OK, W_OK, R_OK | W_OK };
		int want = wants[af_next(&seed) % 3];
		struct ace v[8];
		uint8_t b[128];
		char path[128];

		snprintf(path, sizeof(path), "%s/f", af_dir);
		cr_assert_eq(
		    removexattr(path, "system.posix_acl_access") && errno != ENODATA, 0);
		cr_assert_eq(fchmodat(af_root, "f", (mode_t)(af_next(&seed) & 0666), 0),
			     0);
		if (af_next(&seed) % 4) {
			size_t n = blob(v, random_acl(&seed, v), b);

			cr_assert_eq(setxattr(path, "system.posix_acl_access", b, n, 0),
				     0, "%s", strerror(errno));
		}
		cr_assert_eq(fchownat(af_root, "f", 1000, 2000, 0), 0);
		cr_assert_eq(fstatat(af_root, "f", &st, 0), 0);
		cr_assert_eq(!perm_check(&c, af_root, "f", &st, want),
			     kernel_says(&c, want),
			     "round %d uid %u gid %u mode %o want %d", i, c.uid, c.gid,
			     st.st_mode & 0777, want);
	}
}

Test(perm, every_directory_above_counts)
{
	struct vex_cred c = { .uid = 65534, .gid = 65534, .groups_known = true };
	int dir;

	nf_sh("mkdir -p a/b/c; chmod 755 . a a/b a/b/c");
	dir = openat(af_root, "a/b/c", O_PATH | O_DIRECTORY);
	cr_expect_eq(perm_search(eng, &c, dir), 0);
	nf_sh("chmod 700 a");
	cr_expect_eq(perm_search(eng, &c, dir), -EACCES);
	cr_expect_eq(perm_search(eng, &af_uid0, dir), 0);
	nf_sh("chmod 711 a; chmod 700 .");
	cr_expect_eq(perm_search(eng, &c, dir), -EACCES, "the root of the store too");
	nf_sh("setfacl -m u:65534:x . 2>/dev/null || chmod 711 .");
	cr_expect_eq(perm_search(eng, &c, dir), 0);
	close(dir);
	dir = open("/", O_PATH | O_DIRECTORY);
	cr_expect_eq(perm_search(eng, &c, dir), -EACCES, "not below the store");
	close(dir);
}

Test(perm, big_acl)
{
	struct vex_cred c = { .uid = 5000, .gid = 65534, .groups_known = true };
	struct ace v[200];
	uint8_t b[4 + 200 * 8];
	struct stat st;
	char path[128];
	size_t n = 0;

	af_write("f", "x");
	v[n++] = (struct ace){ U_OBJ, 6, ~0u };
	for (uint32_t i = 0; i < 120; i++)
		v[n++] = (struct ace){ U_, 4, 4900 + i };
	v[n++] = (struct ace){ G_OBJ, 4, ~0u };
	v[n++] = (struct ace){ MASK_, 4, ~0u };
	v[n++] = (struct ace){ O_, 0, ~0u };
	snprintf(path, sizeof(path), "%s/f", af_dir);
	cr_assert_eq(setxattr(path, "system.posix_acl_access", b, blob(v, n, b), 0), 0,
		     "%s", strerror(errno));
	cr_assert_eq(fstatat(af_root, "f", &st, 0), 0);
	cr_expect_eq(perm_check(&c, af_root, "f", &st, R_OK), 0);
	cr_expect_eq(perm_check(&c, af_root, "f", &st, W_OK), -EACCES);
	c.uid = 6000;
	cr_expect_eq(perm_check(&c, af_root, "f", &st, R_OK), -EACCES);
}
