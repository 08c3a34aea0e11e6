/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup: a mounted store into a directory, written by us, with our caller's rights.
 *
 *	DEST/manifest   what it is, and whether it is whole (manifest.h)
 *	DEST/store/     the catalog and slot files, as in STORE/.vexfs, of one moment
 *	DEST/tree/      the files, each as it was some time during the backup
 *
 * The store's moment comes first: a file that changed after it has vectors that are stale
 * in the restored store, which is true of them. A second backup into the same DEST
 * brings what has changed: slots by change number, files by size and time.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "backup.h"
#include "commands.h"
#include "manifest.h"
#include "progress.h"
#include "session.h"
#include "tree.h"

#define READ_SIZE ((size_t)1 << 20)

static const char help[] =
    "usage: vexctl backup DEST\n"
    "\n"
    "Copies the mounted store into the directory DEST, which is made, while it is in "
    "use:\n"
    "the vectors as of one moment, and the files. Run again with the same DEST, it "
    "copies\n"
    "what has changed since. 'vexctl restore DEST STORE' makes a store of it.\n"
    "\n"
    "  -q   no words about how much\n"
    "\n"
    "For root and the owner of the mount. Files they cannot read are told and left out\n"
    "(exit 2). Interrupted, DEST is no backup until the command has been run again.\n";

struct backup {
	struct mount mount;
	struct session session;
	const char *dest;
	int dir, store, spaces, tree;
	struct manifest m;
	struct vexfs_backup call;
	struct progress progress;
	uint64_t bytes; /* of the store, written */
	bool quiet;
};

static int dest_error(const struct backup *b, const char *what)
{
	return cli_error("%s%s%s: %s", b->dest, *what ? "/" : "", what, strerror(errno));
}

/* ---- DEST ------------------------------------------------------------------------ */

static int open_below(struct backup *b, int at, const char *name, int *out)
{
	if (mkdirat(at, name, 0700) && errno != EEXIST)
		return dest_error(b, name);
	*out = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *out < 0 ? dest_error(b, name) : 0;
}

static int check_dest(struct backup *b)
{
	struct stat st;

	if (fstat(b->dir, &st))
		return dest_error(b, "");
	if (st.st_dev == b->mount.dev)
		return cli_error("%s: lies in the mount itself", b->dest);
	if (flock(b->dir, LOCK_EX | LOCK_NB))
		return cli_error("%s: another backup is being written there", b->dest);
	if (manifest_read(b->dir, b->dest, &b->m))
		return CLI_ERROR;
	if (b->m.state == BACKUP_NONE && !dir_is_empty(b->dir))
		return cli_error("%s: is neither empty nor a backup", b->dest);
	return 0;
}

static int open_dest(struct backup *b)
{
	if (mkdir(b->dest, 0700) && errno != EEXIST)
		return dest_error(b, "");
	b->dir = open(b->dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->dir < 0)
		return dest_error(b, "");
	return check_dest(b);
}

static int open_parts(struct backup *b)
{
	if (open_below(b, b->dir, "store", &b->store) ||
	    open_below(b, b->store, "spaces", &b->spaces) ||
	    open_below(b, b->dir, "tree", &b->tree))
		return CLI_ERROR;
	return 0;
}

/* ---- the store ------------------------------------------------------------------- */

/* The files pieces go to; one stays open. */
struct sink {
	struct backup *b;
	uint32_t file, space;
	int fd;
};

static int sink_open(struct sink *s, const struct vexfs_piece *p)
{
	bool catalog = p->file == VEXFS_PIECE_CATALOG;
	char name[32] = "catalog.db";
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;

	if (s->fd >= 0 && s->file == p->file && s->space == p->space)
		return 0;
	if (s->fd >= 0)
		close(s->fd);
	if (!catalog)
		snprintf(name, sizeof(name), "%u.%s", p->space,
			 p->file == VEXFS_PIECE_ROWS ? "rows" : "recs");
	s->file = p->file;
	s->space = p->space;
	s->fd = openat(catalog ? s->b->store : s->b->spaces, name,
		       flags | (catalog && !p->off ? O_TRUNC : 0), 0600);
	return s->fd < 0 ? dest_error(s->b, name) : 0;
}

static int sink_write(struct sink *s, const struct vexfs_piece *p)
{
	const char *data = (const char *)(p + 1);

	if (p->file > VEXFS_PIECE_RECS)
		return cli_error("the daemon sends what this vexctl does not know");
	if (sink_open(s, p))
		return CLI_ERROR;
	for (uint32_t at = 0; at < p->len;) {
		ssize_t n = pwrite(s->fd, data + at, p->len - at, (off_t)(p->off + at));

		if (n < 0)
			return dest_error(s->b, "store");
		at += (uint32_t)n;
	}
	s->b->bytes += p->len;
	return 0;
}

/* 1: that was the end. */
static int take_pieces(struct sink *s, const char *buf, size_t n)
{
	for (size_t at = 0; at + sizeof(struct vexfs_piece) <= n;) {
		const struct vexfs_piece *p = (const void *)(buf + at);

		if (p->file == VEXFS_PIECE_END)
			return 1;
		if (p->size < sizeof(*p) || p->size > n - at ||
		    p->len > p->size - sizeof(*p))
			return cli_error("the daemon sends no whole pieces");
		if (sink_write(s, p))
			return CLI_ERROR;
		at += p->size;
	}
	return 0;
}

static int copy_store(struct backup *b)
{
	struct sink s = { .b = b, .fd = -1 };
	AUTO_FREE char *buf = cli_alloc(1, READ_SIZE);
	double total = (double)b->call.catalog_bytes + (double)b->call.row_bytes;
	int end = 0;

	progress_start(&b->progress, b->call.since ? 0 : total);
	while (!end) {
		size_t n;

		end = session_read(&b->session, buf, READ_SIZE, &n);
		if (!end && !n)
			end = cli_error("the daemon ended the backup early");
		if (!end)
			end = take_pieces(&s, buf, n);
		progress_at(&b->progress, b->bytes >> 10, (double)b->bytes);
	}
	progress_end(&b->progress);
	if (s.fd >= 0)
		close(s.fd);
	return end == 1 ? 0 : CLI_ERROR;
}

/* ---- all of it ------------------------------------------------------------------- */

static int copy_files(struct backup *b, struct tree *t)
{
	AUTO_CLOSE int root =
	    openat(b->mount.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat self;
	int err;

	if (root < 0)
		return cli_error("%s: %s", b->mount.path, strerror(errno));
	*t = (struct tree){
		.from = root, .to = b->tree, .to_name = b->dest, .progress = &b->progress
	};
	if (!fstatat(b->dir, MANIFEST, &self, AT_SYMLINK_NOFOLLOW))
		t->not_in = &self;
	progress_start(&b->progress, 0);
	err = tree_copy(t);
	progress_end(&b->progress);
	t->not_in = NULL;
	return err;
}

static void say(const struct backup *b, const struct tree *t)
{
	char text[3][32];

	if (b->quiet)
		return;
	cli_note("%s: %s files, %s of them copied, %s KiB of vectors and catalog%s",
		 b->dest, progress_count(t->files, text[0]),
		 progress_count(t->copied, text[1]),
		 progress_count(b->bytes >> 10, text[2]),
		 b->call.since ? ", what changed" : "");
}

static int run(struct backup *b)
{
	struct manifest done;
	struct tree t;
	int err;

	b->call.since = b->m.lsn;
	memcpy(b->call.uuid, b->m.uuid, sizeof(b->call.uuid));
	err = session_call(&b->session, VEXFS_IOC_BACKUP, &b->call);
	if (err)
		return session_error(&b->session, err, b->mount.path);
	done = (struct manifest){ .lsn = b->call.lsn, .time = time(NULL) };
	memcpy(done.uuid, b->call.uuid, sizeof(done.uuid));
	/* What is not of that store is of no use from now on. */
	if (!b->call.since)
		b->m.lsn = 0;
	memcpy(b->m.uuid, b->call.uuid, sizeof(b->m.uuid));
	b->m.state = BACKUP_RUNNING;
	if (manifest_write(b->dir, b->dest, &b->m) || open_parts(b) || copy_store(b) ||
	    copy_files(b, &t))
		return CLI_ERROR;
	done.state = t.failed ? BACKUP_PARTIAL : BACKUP_COMPLETE;
	done.files = t.files;
	done.unread = t.failed;
	if (syncfs(b->dir))
		return dest_error(b, "");
	if (manifest_write(b->dir, b->dest, &done))
		return CLI_ERROR;
	say(b, &t);
	return t.failed ? cli_error("%llu files could not be read: they are not in it",
				    (unsigned long long)t.failed)
			: CLI_OK;
}

static void end(struct backup *b)
{
	for (int *fd = (int[]){ b->tree, b->spaces, b->store, b->dir, -2 }; *fd != -2;
	     fd++)
		if (*fd >= 0)
			close(*fd);
	session_close(&b->session);
	mount_free(&b->mount);
}

int cmd_backup(struct invocation *in)
{
	struct backup b = { .mount = MOUNT_INIT,
			    .session = SESSION_INIT,
			    .dir = -1,
			    .store = -1,
			    .spaces = -1,
			    .tree = -1 };
	const struct opt opts[] = {
		{ NULL, 'q', OPT_FLAG, &b.quiet, 0, NULL },
		{ 0 },
	};
	int code = options_parse(in, opts, help);

	if (code >= 0)
		return code;
	if (in->nargs != 1)
		return cli_error("needs one DEST");
	b.dest = in->args[0];
	code = mount_find(in, NULL, &b.mount);
	if (!code)
		code = session_open(&b.mount, &b.session);
	if (!code)
		code = open_dest(&b);
	if (!code)
		code = run(&b);
	end(&b);
	return code;
}
