/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VFS under SQLite: the stock "unix" one with three differences.
 *
 * No real paths. STORE may lie beneath our own mount, where its path leads back to
 * us; so the catalog is opened as /proc/self/fd/<.vexfs>/catalog.db, and that name
 * must not be resolved: xFullPathname gives it back as it is. The -wal and -shm files
 * are opened by the same prefix, hence by the same descriptor.
 *
 * Checked pages. SQLite leaves the last 8 bytes of each page to us. A page that is
 * written to the catalog itself gets its XXH3 there, seeded with its number, so a
 * page in the wrong place does not pass; a page that is read is checked. Pages in the
 * WAL have SQLite's own checksums.
 *
 * No -shm file. The wal-index is memory of this process: shm.c.
 *
 * A file belongs to one connection, and that to one thread at a time: no locks here.
 */
#include "format.h"
#include "shm.h"
#include "sql.h"

#define SUMMED (FMT_PAGE - FMT_PAGE_SUM)

struct vfile {
	sqlite3_file base;
	sqlite3_file *real; /* right behind this struct */
	uint8_t *copy;      /* a page to be written; set for the catalog alone */
	const char *name;   /* SQLite's, lives as long as the file */
	struct shm_link shm;
};

static sqlite3_vfs *unix_vfs;
static sqlite3_vfs vex_vfs;
static const sqlite3_io_methods methods;

static struct vfile *vf(sqlite3_file *f)
{
	return (struct vfile *)(void *)f;
}

static uint64_t page_sum(const void *page, sqlite3_int64 off)
{
	return vex_sum64((uint64_t)off / FMT_PAGE + 1, page, SUMMED);
}

static int bad_page(const struct vfile *f, sqlite3_int64 off)
{
	char dir[256] = "STORE/" FMT_DIR, proc[64];
	const char *slash = strrchr(f->name, '/');
	size_t n = slash ? (size_t)(slash - f->name) : 0;

	if (n && n < sizeof(proc)) {
		memcpy(proc, f->name, n);
		proc[n] = 0;
		ssize_t len = readlink(proc, dir, sizeof(dir) - 1);

		if (len > 0)
			dir[len] = 0;
	}
	vex_error("%s/" FMT_CATALOG ": page %lld does not match its checksum", dir,
		  off / FMT_PAGE + 1);
	return SQLITE_IOERR_DATA;
}

static int v_close(sqlite3_file *file)
{
	struct vfile *f = vf(file);

	shm_unmap(&f->shm);
	free(f->copy);
	f->copy = NULL;
	return f->real->pMethods->xClose(f->real);
}

static _Atomic bool lenient;

void vfs_lenient(bool on)
{
	lenient = on;
}

static int v_read(sqlite3_file *file, void *buf, int amt, sqlite3_int64 off)
{
	struct vfile *f = vf(file);
	int rc = f->real->pMethods->xRead(f->real, buf, amt, off);
	uint64_t sum;

	/* The first look at the header: 100 bytes, and later its change counter. */
	if (rc || !f->copy || amt <= 100)
		return rc;
	/* A damaged page size in the header leads here. */
	if (amt != FMT_PAGE || off % FMT_PAGE)
		return bad_page(f, 0);
	memcpy(&sum, (char *)buf + SUMMED, sizeof(sum));
	if (sum == page_sum(buf, off) || (lenient && off == 0))
		return SQLITE_OK;
	return bad_page(f, off);
}

static int v_write(sqlite3_file *file, const void *buf, int amt, sqlite3_int64 off)
{
	struct vfile *f = vf(file);
	uint64_t sum;

	if (!f->copy || amt != FMT_PAGE || off % FMT_PAGE)
		return f->real->pMethods->xWrite(f->real, buf, amt, off);
	sum = page_sum(buf, off);
	memcpy(f->copy, buf, SUMMED);
	memcpy(f->copy + SUMMED, &sum, sizeof(sum));
	return f->real->pMethods->xWrite(f->real, f->copy, amt, off);
}

static int v_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return vf(f)->real->pMethods->xTruncate(vf(f)->real, size);
}

static int v_sync(sqlite3_file *f, int flags)
{
	return vf(f)->real->pMethods->xSync(vf(f)->real, flags);
}

static int v_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return vf(f)->real->pMethods->xFileSize(vf(f)->real, size);
}

static int v_lock(sqlite3_file *f, int level)
{
	return vf(f)->real->pMethods->xLock(vf(f)->real, level);
}

static int v_unlock(sqlite3_file *f, int level)
{
	return vf(f)->real->pMethods->xUnlock(vf(f)->real, level);
}

static int v_reserved(sqlite3_file *f, int *out)
{
	return vf(f)->real->pMethods->xCheckReservedLock(vf(f)->real, out);
}

static int v_control(sqlite3_file *f, int op, void *arg)
{
	return vf(f)->real->pMethods->xFileControl(vf(f)->real, op, arg);
}

static int v_sector(sqlite3_file *f)
{
	return vf(f)->real->pMethods->xSectorSize(vf(f)->real);
}

static int v_traits(sqlite3_file *f)
{
	return vf(f)->real->pMethods->xDeviceCharacteristics(vf(f)->real);
}

static int v_shm_map(sqlite3_file *file, int region, int size, int extend,
		     void volatile **out)
{
	struct vfile *f = vf(file);

	return shm_map(&f->shm, f->name, region, size, extend, out);
}

static int v_shm_lock(sqlite3_file *f, int first, int n, int flags)
{
	return shm_lock(&vf(f)->shm, first, n, flags);
}

static void v_shm_barrier(sqlite3_file *f)
{
	(void)f;
	shm_barrier();
}

static int v_shm_unmap(sqlite3_file *f, int del)
{
	(void)del;
	shm_unmap(&vf(f)->shm);
	return SQLITE_OK;
}

/* Version 2: shared memory, but no xFetch: pages pass through xRead only. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = v_close,
	.xRead = v_read,
	.xWrite = v_write,
	.xTruncate = v_truncate,
	.xSync = v_sync,
	.xFileSize = v_size,
	.xLock = v_lock,
	.xUnlock = v_unlock,
	.xCheckReservedLock = v_reserved,
	.xFileControl = v_control,
	.xSectorSize = v_sector,
	.xDeviceCharacteristics = v_traits,
	.xShmMap = v_shm_map,
	.xShmLock = v_shm_lock,
	.xShmBarrier = v_shm_barrier,
	.xShmUnmap = v_shm_unmap,
};

static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		  int *out_flags)
{
	struct vfile *f = vf(file);
	int rc;

	(void)vfs;
	memset(f, 0, sizeof(*f));
	f->real = (sqlite3_file *)(f + 1);
	f->name = name ? name : "";
	if (flags & SQLITE_OPEN_MAIN_DB) {
		f->copy = malloc(FMT_PAGE);
		if (!f->copy)
			return SQLITE_NOMEM;
	}
	f->real->pMethods = NULL;
	do
		rc = unix_vfs->xOpen(unix_vfs, name, f->real, flags, out_flags);
	while (rc == SQLITE_CANTOPEN && vex_fds_short(errno));
	if (f->real->pMethods) {
		f->base.pMethods = &methods;
	} else {
		free(f->copy);
		f->copy = NULL;
	}
	return rc;
}

static int v_fullname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	size_t len = strlen(name);

	(void)vfs;
	if (len >= (size_t)size)
		return SQLITE_CANTOPEN;
	memcpy(out, name, len + 1);
	return SQLITE_OK;
}

static int registered = SQLITE_ERROR;

static void register_once(void)
{
	/* Nobody reads SQLite's memory statistics, and they cost a global lock at each
	 * allocation. Refused where SQLite is running already: no harm. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	unix_vfs = sqlite3_vfs_find("unix");
	if (!unix_vfs)
		return;
	vex_vfs = *unix_vfs;
	vex_vfs.pNext = NULL;
	vex_vfs.zName = VFS_NAME;
	vex_vfs.szOsFile = unix_vfs->szOsFile + (int)sizeof(struct vfile);
	vex_vfs.xOpen = v_open;
	vex_vfs.xFullPathname = v_fullname;
	registered = sqlite3_vfs_register(&vex_vfs, 0);
}

vex_err vfs_register(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_once);
	return registered ? -ENOSYS : 0;
}

vex_err vfs_check(sqlite3 *db, uint64_t limit, uint64_t *bad)
{
	AUTO_FREE char *page = malloc(FMT_PAGE);
	sqlite3_file *file = NULL;
	sqlite3_int64 size = 0;

	if (!page)
		return -ENOMEM;
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) || !file ||
	    v_size(file, &size))
		return -EIO;
	limit = vex_min64(limit, (uint64_t)size);
	for (uint64_t off = 0; off < limit; off += FMT_PAGE) {
		int rc;

		if (off == FMT_PENDING_BYTE)
			continue;
		rc = v_read(file, page, FMT_PAGE, (sqlite3_int64)off);
		if (!rc)
			continue;
		*bad = off / FMT_PAGE + 1;
		return rc == SQLITE_IOERR_DATA || rc == SQLITE_IOERR_SHORT_READ ? -EUCLEAN
										: -EIO;
	}
	return 0;
}
