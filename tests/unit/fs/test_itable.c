/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "fs_i.h"

static struct vex_fs fs;

static void up(void)
{
	memset(&fs, 0, sizeof(fs));
	fdcache_init(&fs, 8);
	cr_assert_eq(itable_init(&fs), 0);
}

static void down(void)
{
	itable_destroy(&fs);
}

static struct stat object(uint64_t ino)
{
	return (struct stat){ .st_dev = 1, .st_ino = ino, .st_mode = S_IFREG };
}

static struct vex_fh handle(uint8_t generation)
{
	return (struct vex_fh){ .type = 1, .len = 2, .bytes = { 7, generation } };
}

static struct inode *get(uint64_t ino, uint8_t generation)
{
	struct stat st = object(ino);
	struct vex_fh fh = handle(generation);
	struct inode *i = NULL;

	cr_assert_eq(inode_get(&fs, &st, &fh, &i), 0);
	return i;
}

#define ITEST(name) Test(itable, name, .init = up, .fini = down)

ITEST(same_object_is_one_inode)
{
	struct inode *a = get(5, 1), *b = get(5, 1);

	cr_expect_eq(a, b);
	cr_expect_eq(atomic_load(&a->refs), 2);
	cr_expect_eq(atomic_load(&fs.inodes), 1);
	inode_unref(&fs, a, 2);
	cr_expect_eq(atomic_load(&fs.inodes), 0);
}

ITEST(generations_of_a_number_are_apart)
{
	struct inode *a = get(5, 1), *b = get(5, 2);

	cr_expect_neq(a, b);
	cr_expect_neq(a->gen, b->gen);
	inode_unref(&fs, a, 1);
	cr_expect_eq(get(5, 2), b);
	inode_unref(&fs, b, 2);
}

ITEST(without_names_it_is_not_found)
{
	struct stat st = object(5);
	struct vex_fh fh = { .len = 0 };
	struct inode *a, *b;

	cr_assert_eq(inode_get(&fs, &st, &fh, &a), 0);
	inode_opened(&fs, a);
	cr_expect(inode_nameless(&fs, a));
	cr_expect(inode_find(&fs, &st, &fh) == NULL);
	cr_assert_eq(inode_get(&fs, &st, &fh, &b), 0);
	cr_expect_neq(a, b);
	cr_expect(inode_closed(&fs, a));
	inode_unref(&fs, a, 1);
	inode_unref(&fs, b, 1);
}

/* Exactly one of the two learns that the file is both closed and gone. */
ITEST(last_close_and_last_name)
{
	struct inode *a = get(1, 1);

	inode_opened(&fs, a);
	cr_expect_not(inode_closed(&fs, a));
	cr_expect_not(inode_nameless(&fs, a));
	inode_unref(&fs, a, 1);
	a = get(1, 2);
	inode_opened(&fs, a);
	inode_opened(&fs, a);
	cr_expect(inode_nameless(&fs, a));
	cr_expect_not(inode_closed(&fs, a));
	cr_expect(inode_closed(&fs, a));
	inode_unref(&fs, a, 1);
}

ITEST(places_follow_names)
{
	struct inode *dir = get(1, 1), *other = get(2, 1), *a = get(3, 1), *found;
	char name[NAME_MAX + 1];

	cr_expect_not(inode_place(&fs, a, &found, name));
	inode_name(&fs, a, dir, "one");
	inode_name(&fs, a, other, "two");
	inode_unname(&fs, a, dir, "one"); /* not its name any more */
	cr_assert(inode_place(&fs, a, &found, name));
	cr_expect_eq(found, other);
	cr_expect_str_eq(name, "two");
	inode_unref(&fs, found, 1);
	inode_unname(&fs, a, other, "two");
	cr_expect_not(inode_place(&fs, a, &found, name));
	cr_expect_eq(atomic_load(&dir->refs), 1);
	cr_expect_eq(atomic_load(&other->refs), 1);
	inode_unref(&fs, a, 1);
	inode_unref(&fs, dir, 1);
	inode_unref(&fs, other, 1);
}

/* The last child frees a chain of directories, however long. */
ITEST(long_chains_are_freed_without_recursion)
{
	struct inode *at = get(1, 1);

	for (uint64_t k = 2; k < 300000; k++) {
		struct inode *child = get(k, 1);

		inode_name(&fs, child, at, "d");
		inode_unref(&fs, at, 1);
		at = child;
	}
	cr_expect_eq(atomic_load(&fs.inodes), 299999);
	inode_unref(&fs, at, 1);
	cr_expect_eq(atomic_load(&fs.inodes), 0);
}

struct churn {
	uint64_t seed;
	unsigned found;
};

static void *churn(void *arg)
{
	struct churn *c = arg;

	for (int k = 0; k < 20000; k++) {
		c->seed = c->seed * 6364136223846793005ull + 1;
		struct inode *a = get(c->seed >> 60, 1), *b = get(c->seed >> 56 & 15, 1);

		inode_name(&fs, a, b, (c->seed >> 40 & 1) ? "x" : "y");
		inode_unref(&fs, b, 1);
		c->found += atomic_load(&a->refs) > 1;
		inode_unname(&fs, a, b, "x");
		inode_unname(&fs, a, b, "y");
		inode_unref(&fs, a, 1);
	}
	return NULL;
}

ITEST(threads_looking_up_and_forgetting)
{
	struct churn c[4];
	pthread_t t[4];

	for (unsigned k = 0; k < 4; k++) {
		c[k] = (struct churn){ .seed = k + 1 };
		cr_assert_eq(pthread_create(&t[k], NULL, churn, &c[k]), 0);
	}
	for (unsigned k = 0; k < 4; k++)
		pthread_join(t[k], NULL);
	/* Cycles of parents may keep some; never more than there are numbers. */
	cr_expect_leq(atomic_load(&fs.inodes), 16);
}

/* ---- node ids --------------------------------------------------------------------- */

static struct vex_fh words(unsigned n, uint32_t a, uint32_t b, uint32_t c)
{
	struct vex_fh fh = { .type = 1, .len = (uint8_t)(4 * n) };

	memcpy(fh.bytes, (uint32_t[]){ a, b, c }, sizeof(a) * 3);
	return fh;
}

ITEST(ids_are_made_of_handles_and_back)
{
	struct stat st = object(0x7ffffff0);
	struct vex_fh ext4 = words(2, 0x7ffffff0, 0xfedcba98, 0);
	struct vex_fh tmpfs = words(3, 0xfedcba98, 0x7ffffff0, 0), back;
	uint64_t id = 0;

	fs.root_dev = 1;
	ext4.bytes[8] = tmpfs.bytes[12] = 0;
	cr_assert_eq(nodeid_pack(&fs, &st, &ext4, &id), PACK_INO_GEN);
	cr_expect_eq(id, 0xfedcba987ffffff0ull);
	nodeid_unpack(id, PACK_INO_GEN, &back);
	cr_expect(vex_fh_equal(&back, &ext4));
	cr_assert_eq(nodeid_pack(&fs, &st, &tmpfs, &id), PACK_GEN_INO);
	cr_expect_eq(id, 0xfedcba987ffffff0ull);
	nodeid_unpack(id, PACK_GEN_INO, &back);
	cr_expect(vex_fh_equal(&back, &tmpfs));
}

/* What is not so is known by its address. */
ITEST(other_handles_are_not)
{
	struct stat st = object(50);
	struct vex_fh fh = words(2, 50, 1, 0), wide = words(3, 1, 50, 9);
	struct vex_fh alien = words(2, 51, 1, 0);
	uint64_t id;

	fs.root_dev = 1;
	cr_expect_eq(nodeid_pack(&fs, &st, &wide, &id), PACK_NONE);
	cr_expect_eq(nodeid_pack(&fs, &st, &alien, &id), PACK_NONE);
	fh.type = 0x4d;
	cr_expect_eq(nodeid_pack(&fs, &st, &fh, &id), PACK_NONE);
	fh.type = 1;
	st.st_dev = 2; /* mounted below */
	cr_expect_eq(nodeid_pack(&fs, &st, &fh, &id), PACK_NONE);
	st.st_dev = 1;
	st.st_ino = 0x80000032;
	fh = words(2, 0x80000032, 1, 0);
	cr_expect_eq(nodeid_pack(&fs, &st, &fh, &id), PACK_NONE);
}

ITEST(inodes_are_found_by_id)
{
	struct inode *a[200], *plain = get(5, 1);

	fs.root_dev = 1;
	for (uint32_t k = 0; k < 200; k++) {
		struct stat st = object(100 + k / 2);
		struct vex_fh fh = words(2, 100 + k / 2, k, 0);

		cr_assert_eq(inode_get(&fs, &st, &fh, &a[k]), 0);
	}
	for (uint32_t k = 0; k < 200; k++) {
		struct vex_fh fh, want = words(2, 100 + k / 2, k, 0);

		cr_expect_eq(nodeid_inode(&fs, a[k]->id), a[k]);
		inode_fh(a[k], &fh);
		cr_expect(vex_fh_equal(&fh, &want));
		cr_expect(inode_has_fh(a[k]));
		inode_nameless(&fs, a[k]);
		cr_expect_eq(nodeid_inode(&fs, a[k]->id), a[k]);
	}
	cr_expect_eq(nodeid_inode(&fs, plain->id), plain);
	cr_expect(inode_by_id(&fs, 0x500000005, false) == NULL);
	for (uint32_t k = 0; k < 200; k++)
		inode_unref(&fs, a[k], 1);
	inode_unref(&fs, plain, 1);
	cr_expect_eq(atomic_load(&fs.inodes), 0);
}

/* The vector for the eight bytes 00 .. 07 in the authors' reference code. */
ITEST(siphash)
{
	const uint64_t key[2] = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };

	cr_expect_eq(nodeid_sip(key, 0x0706050403020100ull), 0x93f5f5799a932462ull);
}
