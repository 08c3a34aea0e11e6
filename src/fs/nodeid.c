/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Node ids: the numbers the kernel calls inodes by, and finding an object by one.
 *
 * Most filesystems make file handles of an inode number and its generation, 32 bits
 * each (ext4, xfs, f2fs; tmpfs in another order). Of such an object the node id is just
 * these 64 bits: it is the same in every mount, no two objects ever share it, and
 * the handle can be made from it again. So a handle that was taken through the mount
 * (name_to_handle_at, NFS) works after the kernel forgot the inode, and after a new
 * mount: the kernel asks LOOKUP of "." for the id. Where handles are longer, on
 * filesystems mounted below STORE and for numbers of 2^31 and more, the id is the address
 * of the inode in memory (bit 31 is set) and ends with the kernel's memory of the object.
 *
 * Whoever can open by handle can make handles up, and one may name any object of
 * the filesystem that holds STORE. A directory is climbed from, up to STORE. A file has
 * no way up: what the kernel compares for us is the generation, which is told only to
 * those who could look the object up: SipHash-2-4 of the id, by the store's uuid,
 * which nobody but the owner of STORE can read.
 */
#include "fs_i.h"

#define BY_ADDRESS 0x80000000u
#define CLIMB_MAX 65536

/* ---- ids ------------------------------------------------------------------------ */

static uint32_t word(const struct vex_fh *fh, unsigned k)
{
	uint32_t w;

	memcpy(&w, fh->bytes + 4 * k, 4);
	return w;
}

/* What the words of a handle mean, by what they are for this very object. */
static enum packing packing_of(const struct stat *st, const struct vex_fh *fh)
{
	if (fh->type != 1 || st->st_ino < 2 || st->st_ino >= BY_ADDRESS)
		return PACK_NONE;
	if (fh->len == 8 && word(fh, 0) == st->st_ino)
		return PACK_INO_GEN;
	if (fh->len == 12 && word(fh, 1) == st->st_ino && !word(fh, 2))
		return PACK_GEN_INO;
	return PACK_NONE;
}

enum packing nodeid_pack(const struct vex_fs *fs, const struct stat *st,
			 const struct vex_fh *fh, uint64_t *id)
{
	enum packing p = st->st_dev == fs->root_dev ? packing_of(st, fh) : PACK_NONE;

	if (p != PACK_NONE)
		*id = (uint64_t)word(fh, p == PACK_INO_GEN) << 32 | st->st_ino;
	return p;
}

void nodeid_unpack(uint64_t id, enum packing p, struct vex_fh *fh)
{
	uint32_t ino = (uint32_t)id, gen = (uint32_t)(id >> 32);

	memset(fh, 0, sizeof(*fh));
	fh->type = 1;
	fh->len = p == PACK_INO_GEN ? 8 : 12;
	memcpy(fh->bytes, p == PACK_INO_GEN ? &ino : &gen, 4);
	memcpy(fh->bytes + 4, p == PACK_INO_GEN ? &gen : &ino, 4);
}

/* Addresses have 47 bits; malloc's last four are 0. */
uint64_t nodeid_of_address(const struct inode *i)
{
	uint64_t a = (uint64_t)(uintptr_t)i >> 4;

	return (a >> 31) << 32 | BY_ADDRESS | (a & (BY_ADDRESS - 1));
}

static struct inode *address_of(uint64_t id)
{
	uint64_t a = (id >> 32) << 31 | (id & (BY_ADDRESS - 1));

	return (struct inode *)(uintptr_t)(a << 4);
}

struct inode *nodeid_inode(struct vex_fs *fs, uint64_t id)
{
	return id & BY_ADDRESS ? address_of(id) : inode_by_id(fs, id, false);
}

/* ---- generations ------------------------------------------------------------------ */

static uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static void sip_rounds(uint64_t v[4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[0] = rotl(v[0], 32);
		v[2] += v[3];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[2] = rotl(v[2], 32);
	}
}

/* SipHash-2-4 of eight bytes. */
uint64_t nodeid_sip(const uint64_t key[2], uint64_t word64)
{
	const uint64_t last = (uint64_t)8 << 56;
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
			  key[0] ^ 0x6c7967656e657261ull,
			  key[1] ^ 0x7465646279746573ull };

	v[3] ^= word64;
	sip_rounds(v, 2);
	v[0] ^= word64;
	v[3] ^= last;
	sip_rounds(v, 2);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t nodeid_generation(const struct vex_fs *fs, const struct inode *i)
{
	return i->packing ? (uint32_t)nodeid_sip(fs->id_key, i->id) : i->gen;
}

void nodeid_init(struct vex_fs *fs)
{
	vex_store_uuid(vex_engine_store(fs->engine), (uint8_t *)fs->id_key);
	fs->packing = fs->handles ? fs->root->packing : PACK_NONE;
}

/* ---- LOOKUP of "." and ".." ---------------------------------------------------------
 */

/* Whether the directory is STORE's root or below it, and not in the hidden one.
 * Takes the descriptor. */
static vex_err below_store(struct vex_fs *fs, int fd)
{
	AUTO_CLOSE int at = fd;
	uint64_t was = 0;
	struct stat st;

	for (int k = 0; k < CLIMB_MAX; k++) {
		if (fstatat(at, "", &st, AT_EMPTY_PATH))
			return -errno;
		if (st.st_ino == fs->root->ino && st.st_dev == fs->root_dev)
			return 0;
		if (is_hidden(fs, &st) || (k && st.st_ino == was))
			return -ESTALE;
		was = st.st_ino;
		int up = vex_openat(at, "..", O_PATH | O_DIRECTORY, 0);
		if (up < 0)
			return -errno;
		close(at);
		at = up;
	}
	return -ESTALE;
}

static vex_err check_place(struct vex_fs *fs, int fd)
{
	struct stat st;
	int copy;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH))
		return -errno;
	if (!st.st_nlink)
		return -ESTALE;
	if (!S_ISDIR(st.st_mode))
		return 0;
	vex_err err = vex_dup(fd, &copy);
	return err ? err : below_store(fs, copy);
}

/* By the handle that the id stands for. */
static vex_err open_by_id(struct vex_fs *fs, uint64_t id, int *fd)
{
	struct vex_fh fh;

	if (id & BY_ADDRESS || fs->packing == PACK_NONE)
		return -ESTALE;
	nodeid_unpack(id, fs->packing, &fh);
	return vex_fh_open(fs->rootfd, &fh, O_PATH | O_NOFOLLOW, fd);
}

static vex_err open_again(struct vex_fs *fs, uint64_t id, int *fd)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	struct inode *i = id == FUSE_ROOT_ID ? fs->root
			  : id & BY_ADDRESS  ? NULL
					     : inode_by_id(fs, id, true);

	if (!i)
		return open_by_id(fs, id, fd);
	if (i == fs->root)
		inode_ref(i);
	vex_err err = fd_get(fs, i, &ref);
	inode_unref(fs, i, 1);
	return err ? err : vex_dup(ref.fd, fd);
}

static vex_err open_parent(struct vex_fs *fs, uint64_t id, int *fd)
{
	AUTO_FD struct fdref ref = FDREF_INIT;
	struct inode *i = id == FUSE_ROOT_ID ? fs->root : nodeid_inode(fs, id);

	if (!i)
		return -ESTALE;
	if (i->kind != I_BACKED)
		return i == fs->ctldir ? vex_dup(fs->rootfd, fd) : -ESTALE;
	vex_err err = fd_get(fs, i, &ref);
	if (err)
		return err;
	if (i == fs->root)
		return vex_dup(ref.fd, fd);
	*fd = vex_openat(ref.fd, "..", O_PATH | O_DIRECTORY, 0);
	return *fd < 0 ? -errno : 0;
}

vex_err nodeid_lookup(struct vex_fs *fs, uint64_t id, bool up, struct fuse_entry_param *e)
{
	AUTO_CLOSE int fd = -1;

	vex_err err = up ? open_parent(fs, id, &fd) : open_again(fs, id, &fd);
	if (!err)
		err = check_place(fs, fd);
	if (err)
		return err;
	return entry_from_fd(fs, NULL, NULL, take_fd(&fd), false, e);
}
