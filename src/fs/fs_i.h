/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to fs: the inode table, descriptors, handles, and what its files offer
 * each other.
 *
 * Shape. A FUSE node id is the address of a struct inode; the kernel's lookups keep
 * it alive. An inode remembers who it is (device, inode number, file handle) but owns
 * no descriptor for good: fd_get() finds or reopens one. Each callback (the table is in
 * fs.c) finds its inodes, works through them by descriptor, and replies once.
 *
 * Lifetime. The kernel holds an inode or a handle while a request on it is unanswered,
 * and not an instant longer: a FORGET or RELEASE may run while the thread that
 * replied still cleans up. So what is put back after a reply holds a reference (struct
 * fdref does), and nothing else touches inodes or handles after it. The request itself
 * is gone after it, too.
 *
 * Locks, in this order, each held for a few instructions and never over a system
 * call that can block: a shard of the inode table; the descriptor cache. A directory
 * handle's lock is taken first and held over getdents.
 *
 * Locks of files (flock, fcntl, OFD) are left to the kernel: this mount is where all
 * its clients meet, so the kernel's own table is the whole truth; forwarding them
 * would cost a blocked thread for each waiter.
 */
#ifndef VEXFS_FS_I_H
#define VEXFS_FS_I_H

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <vexfs/fs.h>

/* How long the kernel may believe a name or attributes: bounds how late a change made
 * behind the mount is seen. Where such a change is told to it (watch.c): much longer.
 * Names that do not exist are never remembered. */
#define KEEP_SECONDS 1.0
#define WATCHED_SECONDS 60.0

#define SHARDS 64u
#define HIDDEN_NAME ".vexfs"

/* ---- inodes --------------------------------------------------------------------- */

enum inode_kind {
	I_BACKED,  /* an object of STORE */
	I_CTLDIR,  /* MOUNT/.vexfs */
	I_CTLFILE, /* a file in it */
	I_VIRT,    /* below .vexfs/near and .vexfs/search: virt.c; name is its key */
};

/* How a node id is made of a file handle: nodeid.c. */
enum packing {
	PACK_NONE,    /* it is not: an address */
	PACK_INO_GEN, /* two words: ext4, xfs, f2fs */
	PACK_GEN_INO, /* three, the last 0: tmpfs */
};

/*
 * 120 bytes, and the name on the heap: what that is in all is measured by
 * tests/bench/inodes (docs/PERFORMANCE.md).
 */
struct inode {
	struct inode *next;    /* shard: hash chain */
	uint64_t id, dev, ino; /* fixed, as kind, type, gen, packing, fh_* */
	/* The kernel's lookups, children's parent pointers, handles, descriptors in use.
	 * Leaves 0 never; reaches 0 only under the shard lock. */
	_Atomic uint64_t refs;
	_Atomic uint64_t node;    /* engine's memory: vex_obj.node */
	_Atomic int64_t ctime_ns; /* of the last open: same now, pages may stay */
	_Atomic uint32_t capless; /* no security.capability, seen at, ms; 0: unknown */
	_Atomic uint32_t
	    listed; /* a directory: last listed whole, begun at, ms; 0: not */
	_Atomic uint32_t watched; /* a directory: in which vex_fs.generation; watch.c */
	_Atomic uint32_t watched_at; /* clock_ms */
	_Atomic uint32_t nwrite;     /* handles by which the kernel writes itself */
	_Atomic uint32_t nquiet;     /* handles that write and are not told at close */
	_Atomic uint8_t lookups; /* a directory: names found in it, up to LOOKUPS_WATCH */
	_Atomic bool ignored;    /* changes of content are not told */
	_Atomic bool sxid;       /* seen with setuid or setgid */
	_Atomic bool mapped; /* the backing file may be mapped to write, by the kernel */
	_Atomic uint32_t backing; /* shard to write: pass-through id; 0: plain */
	_Atomic uint32_t nrdwr;   /* shard to write: handles that may map it to write */
	_Atomic uint32_t nexec;   /* handles that run it */
	/* shard: where it was last found; NULL: unknown. Holds a reference. */
	struct inode *parent;
	char *name;
	/* fds.lock: */
	struct inode *lru_prev, *lru_next; /* idle: in the list of unused descriptors */
	int fd;                            /* -1: none */
	uint32_t fd_users;
	uint32_t kept;     /* a pass-through id that waits for the next open; 0: none */
	uid_t kept_uid;    /* made with whose rights */
	uint64_t fd_since; /* fdcache.opened when fd was opened */
	bool pinned;       /* cannot be reopened: keeps fd */
	/* shard; not in one word with `pinned`: gcc reads neighbouring flags at once */
	uint32_t nopen;   /* open handles */
	uint32_t nio;     /* of these, of content: backing is decided while above 0 */
	uint16_t leaving; /* requests under way that may take its last name */
	bool nameless;    /* its last name is gone: no longer found */
	bool unnamed;     /* O_TMPFILE: it has no name yet */
	uid_t io_uid;     /* backing: see struct inode_io */
	uint8_t kind;     /* enum inode_kind */
	uint32_t gen;     /* of ids that are addresses: these come back, this does not */
	uint16_t type;    /* S_IFMT bits */
	uint8_t packing;  /* enum packing; where not NONE the handle is in the id */
	uint8_t fh_len;
	int32_t fh_type; /* control files: their id */
	uint8_t fh_bytes[];
};

struct shard {
	pthread_mutex_t lock;
	struct inode **bucket;
	size_t nbuckets, n; /* a power of two */
};

/* Descriptors of inodes: fdcache.c. */
struct fdcache {
	pthread_mutex_t lock;
	struct inode *newest, *oldest; /* of the idle */
	unsigned count, cap;           /* open ones, not counting pinned */
	unsigned pinned;
	_Atomic uint64_t reopened;
	_Atomic uint64_t opened; /* so many were ever taken in */
	struct vex_relief relief;
};

struct vex_fs {
	int rootfd;
	uint64_t root_dev;
	uint64_t hidden_dev, hidden_ino; /* STORE/.vexfs */
	struct vex_engine *engine;
	struct vex_control *control;
	struct fuse_session *session;
	char *mountpoint, *source, *mount_opts;
	bool debug, single_threaded;
	int stop_fd;     /* eventfd: vex_fs_stop */
	bool handles;    /* open_by_handle_at works for us on rootfd */
	bool privileged; /* we may act as other users */
	uid_t uid;       /* ours */
	gid_t gid;
	struct __user_cap_data_struct caps[2]; /* what we act with */
	struct __user_cap_data_struct less[2]; /* without CAP_FSETID: cred.c */
	bool may_pass;    /* pass-through of data: wanted, and we have the right */
	bool stacked;     /* STORE is on a filesystem that stands on another */
	bool close_tells; /* close(2) of a backing file can have news */
	bool passthrough, killpriv;      /* agreed with the kernel: wire.c */
	uint64_t offered, init_unique;   /* INIT: flags, request to answer */
	_Atomic int hope;                /* that what is looked up is held: lookup.c */
	_Atomic uint64_t through, plain; /* opens of content, so and so */
	struct watch *watch;             /* NULL: not possible here */
	_Atomic uint32_t generation;
	_Atomic bool no_path_ids; /* O_PATH descriptors make no pass-through ids */
	time_t started;
	struct shard shards[SHARDS];
	struct fdcache fds;
	struct inode *root, *ctldir;
	struct linkcache *links;
	struct inode **ctlfiles;
	size_t nctlfiles;
	_Atomic uint32_t gen;
	enum packing packing; /* of the root: where ids hold handles */
	uint64_t id_key[2];
	_Atomic uint64_t inodes;
	_Atomic uint32_t forgotten; /* since the start */
	pthread_mutex_t poll_lock;  /* leaf: pollhandles of control files */
	pthread_mutex_t handles_lock;
	struct handle *open; /* list */
	uint64_t nopen;
	pthread_mutex_t devs_lock;
	uint64_t devs[255]; /* filesystems mounted below STORE, as met */
	unsigned ndevs;
};

/* itable.c */
vex_err itable_init(struct vex_fs *fs) VEX_CHECKED;
void itable_destroy(struct vex_fs *fs);
/* The inode of an object, made where it is new; one reference more. */
vex_err inode_get(struct vex_fs *fs, const struct stat *st, const struct vex_fh *fh,
		  struct inode **out) VEX_CHECKED;
/* The same if it is there, else NULL. */
struct inode *inode_find(struct vex_fs *fs, const struct stat *st,
			 const struct vex_fh *fh);
/* One more; the caller knows that there is one. */
void inode_ref(struct inode *i);
void inode_unref(struct vex_fs *fs, struct inode *i, uint64_t n);
/* The same for an I_VIRT inode; one that is made takes `name` (heap), else it is freed.
 */
vex_err inode_get_virt(struct vex_fs *fs, const struct stat *st, const struct vex_fh *fh,
		       char *name, struct inode **out) VEX_CHECKED;
struct inode *inode_new(struct vex_fs *fs, enum inode_kind kind, const struct stat *st,
			const struct vex_fh *fh);
void inode_name(struct vex_fs *fs, struct inode *i, struct inode *parent,
		const char *name);
/* Forgets that it was at (parent, name), if it was. */
void inode_unname(struct vex_fs *fs, struct inode *i, struct inode *parent,
		  const char *name);
/* Parent (one reference more) and name of an inode: false where unknown. */
bool inode_place(struct vex_fs *fs, struct inode *i, struct inode **parent,
		 char name[NAME_MAX + 1]);
void inode_opened(struct vex_fs *fs, struct inode *i);
/*
 * A handle of content begins. The kernel wants all open handles of a file to be passed
 * through by one id, or none: the first decides. inode_io_join: true where that is done.
 * Else the caller makes an id, or not, and inode_io_begin takes the decision: what `io`
 * holds then holds, which may be another thread's. inode_io_end: the id that nobody uses
 * any more, or 0.
 */
struct inode_io {
	uint32_t id; /* 0: plain */
	uid_t uid;   /* with whose rights the kernel writes */
};
bool inode_io_join(struct vex_fs *fs, struct inode *i, bool rdwr, struct inode_io *io);
void inode_io_begin(struct vex_fs *fs, struct inode *i, bool rdwr, struct inode_io *io);
struct inode_io inode_io_end(struct vex_fs *fs, struct inode *i, bool rdwr);
/* It was made without a name, which a link may give it. */
void inode_unnamed(struct vex_fs *fs, struct inode *i);
/* True if that was the last handle of an inode without names. */
bool inode_closed(struct vex_fs *fs, struct inode *i);
/* Its last name is gone. True while handles are open. */
bool inode_nameless(struct vex_fs *fs, struct inode *i);
/* Around a request that may take its last name: until inode_nameless is called, or the
 * request ends, a missing name is our own doing. */
void inode_leaving(struct vex_fs *fs, struct inode *i, bool starts);
/* It has no name, and no handle whose close would say so. */
bool inode_lost(struct vex_fs *fs, struct inode *i);
/* No handle is open, and we did not take its last name. */
bool inode_unused(struct vex_fs *fs, struct inode *i);
void inode_fh(const struct inode *i, struct vex_fh *fh);
static inline bool inode_has_fh(const struct inode *i)
{
	return i->packing || i->fh_len;
}
/* Of a packed id; NULL: unknown. `ref`: one reference more. */
struct inode *inode_by_id(struct vex_fs *fs, uint64_t id, bool ref);

/* Whether the directory it was last found in is watched. */
bool inode_in_watched(struct vex_fs *fs, struct inode *i);
/* What the kernel knows, of one shard: heap, names too; name NULL: unknown. */
struct inode_at {
	uint64_t parent, id;
	char *name;
};
size_t itable_shard(struct vex_fs *fs, unsigned k, struct inode_at **out);

/* ---- directories that are watched: watch.c ----------------------------------------- */

/* So many names looked up in a directory say that more will be. */
#define LOOKUPS_WATCH 64
void watch_start(struct vex_fs *fs);
void watch_stop(struct vex_fs *fs);
/* From now on, if it can be. */
void watch_dir(struct vex_fs *fs, struct inode *i);
bool watched(const struct vex_fs *fs, const struct inode *dir);
/* Long enough that no look at the directory from before is still under way. */
bool watched_long(const struct vex_fs *fs, const struct inode *dir);
/* The last handle that writes by pass-through ends; fd: any descriptor of it. */
void watch_closed(struct vex_fs *fs, struct inode *i, int fd);
uint32_t watch_marks(struct vex_fs *fs);

/* ---- node ids: nodeid.c ----------------------------------------------------------- */

/* After the root is known. */
void nodeid_init(struct vex_fs *fs);
/* The id of an object by its handle, where ids are made of those. */
enum packing nodeid_pack(const struct vex_fs *fs, const struct stat *st,
			 const struct vex_fh *fh, uint64_t *id);
void nodeid_unpack(uint64_t id, enum packing p, struct vex_fh *fh);
uint64_t nodeid_of_address(const struct inode *i);
uint64_t nodeid_sip(const uint64_t key[2], uint64_t word64);
/* What the kernel is told beside the id. */
uint32_t nodeid_generation(const struct vex_fs *fs, const struct inode *i);
/* The inode of an id the kernel holds. */
struct inode *nodeid_inode(struct vex_fs *fs, uint64_t id);
/* The entry of "." or (up) "..", asked for by one who has a handle. */
vex_err nodeid_lookup(struct vex_fs *fs, uint64_t id, bool up,
		      struct fuse_entry_param *e) VEX_CHECKED;
static inline struct vex_fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct inode *inode_of(fuse_req_t req, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? fs_of(req)->root : nodeid_inode(fs_of(req), ino);
}

/* ---- descriptors: fdcache.c, reopen.c ------------------------------------------- */

/* A descriptor in use, with a reference to its inode: put back by fd_put (AUTO_FD). */
struct fdref {
	struct vex_fs *fs;
	struct inode *inode;
	int fd;
};
#define FDREF_INIT                                                                       \
	{                                                                                \
		.fd = -1                                                                 \
	}

void fdcache_init(struct vex_fs *fs, unsigned cap);
void fdcache_destroy(struct vex_fs *fs);
/* O_PATH (the root: O_RDONLY). -ESTALE where the object is gone. */
vex_err fd_get(struct vex_fs *fs, struct inode *i, struct fdref *out) VEX_CHECKED;
/*
 * The inode of an object that was just found by name, one reference more, if a descriptor
 * of it has been open since before that: since then its number cannot have passed to
 * another object, so the number identifies it. since: fd_clock, taken before the look.
 */
struct inode *inode_held(struct vex_fs *fs, const struct stat *st, uint64_t since);
uint64_t fd_clock(struct vex_fs *fs);
bool fd_open_since(struct vex_fs *fs, const struct inode *i, uint64_t since);
/* As fd_get, but only if it is open already. */
bool fd_try(struct vex_fs *fs, struct inode *i, struct fdref *out);
/* Hands over a descriptor just opened (closed if there is one), and uses it. */
void fd_give(struct vex_fs *fs, struct inode *i, int fd, struct fdref *out);
void fd_put(struct fdref *r);
#define AUTO_FD __attribute__((cleanup(fd_put)))
/* Keeps the descriptor in use by `r` until unpinned or freed. */
void fd_pin(struct fdref *r);
void fd_unpin(struct vex_fs *fs, struct inode *i);
/*
 * A pass-through id made of the descriptor is kept beside it after the last handle is
 * closed, and ends with it: true where it was taken. fd_take_backing: one made for that
 * user, or 0. Of another's it rids us.
 */
bool fd_keep_backing(struct vex_fs *fs, struct inode *i, uint32_t id, uid_t uid);
uint32_t fd_take_backing(struct vex_fs *fs, struct inode *i, uid_t uid);
/* Closes it; nobody uses it any more. */
void fd_drop(struct vex_fs *fs, struct inode *i);
/* Closes idle descriptors after EMFILE; false where there were none. */
bool fd_relieve(struct vex_fs *fs);
/* reopen.c */
vex_err inode_reopen(struct vex_fs *fs, struct inode *i, int *fd) VEX_CHECKED;
/* Identity of an open object. */
vex_err identify(int fd, struct stat *st, struct vex_fh *fh) VEX_CHECKED;

/* ---- engine's view of an inode: obj.c ------------------------------------------- */

struct objref {
	struct vex_obj obj;
	struct fdref self, dir;
	struct inode *parent;
	struct vex_fs *fs;
	char name[NAME_MAX + 1];
};
#define OBJREF_INIT                                                                      \
	{                                                                                \
		.self = FDREF_INIT, .dir = FDREF_INIT, .obj = {.dirfd = -1 }             \
	}
/* fd: a descriptor of it, borrowed; -1: from the cache. */
vex_err obj_get(struct vex_fs *fs, struct inode *i, int fd, struct objref *o) VEX_CHECKED;
void obj_put(struct objref *o);
#define AUTO_OBJ __attribute__((cleanup(obj_put)))
static inline bool may_have_attachments(const struct inode *i)
{
	return atomic_load_explicit(&i->node, memory_order_relaxed) != VEX_NODE_NONE;
}

/* ---- handles
 * --------------------------------------------------------------------------- */

/* Directory entries read ahead, for one open directory: dir.c. */
struct dirbuf {
	pthread_mutex_t lock;
	int fd;           /* -1: not read yet */
	uint32_t started; /* clock_ms of the reading from the start */
	size_t pos, len;  /* of what getdents64 gave: next entry, end */
	off_t next;       /* where the entry at pos begins, as the kernel knows it */
	char data[32768];
};
void dirbuf_free(struct dirbuf *d);

/* What fi->fh points to: an open file, directory or control file. */
struct handle {
	struct handle *prev, *next; /* fs->handles_lock: all there are */
	struct inode *inode;        /* kept alive by the kernel's open */
	_Atomic int fd; /* -1: directories, control files; not wanted yet: handle_fd */
	_Atomic bool dirty; /* content changed since the last flush */
	bool io;            /* counted in inode->nio */
	bool rdwr;          /* and in inode->nrdwr */
	bool exec;          /* counted in inode->nexec */
	bool quiet;         /* may have written, and no FLUSH says so: RELEASE does */
	bool through;       /* the kernel writes itself: see `size` and `mtime_ns` */
	_Atomic int64_t size, mtime_ns; /* as the last flush (the open) saw it */
	struct vex_session *session;    /* of a control file */
	struct dirbuf *dir;             /* of a directory; made by its first READDIR */
	struct links *links;            /* of a query directory: what opendir found */
	struct fuse_pollhandle *ph;     /* fs->poll_lock: who polls a control file */
	struct vex_fs *fs;
	struct fdref ref; /* where fd is not wanted yet */
};

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* Takes the descriptor, also on failure. */
vex_err handle_new(struct vex_fs *fs, struct inode *i, int fd,
		   struct handle **out) VEX_CHECKED;
/* The descriptor of an open file, opened now where it had not been wanted: one that reads
 * by pass-through. Lives as long as the handle. -EBADF: it is no file of STORE. */
vex_err handle_fd(struct vex_fs *fs, struct handle *h, int *fd) VEX_CHECKED;
/* Whether close(2) of the handle of a CREATE has nothing to say, and need not ask us. */
bool handle_made_quiet(struct vex_fs *fs, struct handle *h);
/* What such writers wrote is noticed, if they have closed: waits a moment for that. */
void quiet_settle(struct vex_fs *fs, struct inode *i);
/* Whether a handle of these flags can do without a descriptor. */
bool handle_needs_no_fd(struct vex_fs *fs, struct inode *i, int flags,
			const struct stat *st);
/* The name it was last found by ends with .vec. */
bool named_vec(struct vex_fs *fs, struct inode *i);
/* Decides how the content of a handle just opened moves, and says so to the kernel with
 * the reply (e NULL: to OPEN, else to CREATE). st: as it is now. As wire_reply_open, what
 * the reply came to. */
int handle_reply(fuse_req_t req, struct handle *h, struct fuse_entry_param *e,
		 struct fuse_file_info *fi, const struct stat *st);
/* vex_engine_on_stamp, arg: fs. Pages of a mapping that are dirty already would take more
 * stores without moving the time. */
bool through_settle(void *arg, const struct stat *st, const struct vex_fh *fh);
/* Sets `dirty` if the kernel has written by itself since the last look. */
void handle_look(struct vex_fs *fs, struct handle *h);
/* Its part in the pass-through ends. */
void handle_io_end(struct vex_fs *fs, struct handle *h);
/* Ends it: what was written is told to the engine, everything is closed. */
void handle_close(struct vex_fs *fs, struct handle *h);
/* After the last request: handles the kernel will not release any more. */
void handles_close_all(struct vex_fs *fs);
/* If content changed since the last time: tells the engine, gives its answer. */
vex_err handle_written(struct vex_fs *fs, struct handle *h) VEX_CHECKED;

/* ---- callers: cred.c
 * ---------------------------------------------------------------------- */

#define CRED_GROUPS 64
struct caller {
	struct vex_cred cred;
	gid_t groups[CRED_GROUPS];
};
/* How many groups that process has, at most `max` of them in out; negative errno. */
int caller_groups(pid_t pid, gid_t *out, unsigned max);
/* Who asks, with groups (none for root, who needs none). */
void caller_get(fuse_req_t req, struct caller *c);
bool caller_in_group(fuse_req_t req, gid_t gid);

vex_err cred_init(struct vex_fs *fs) VEX_CHECKED;
/* Whether the kernel would let us pass files through. */
bool cred_may_pass(const struct vex_fs *fs);
enum act_as {
	ACT_CREATE, /* what is made belongs to the caller */
	ACT_CHANGE, /* as the caller: setuid and setgid bits go */
	ACT_KEEP,   /* as the caller, but they stay */
};
struct acting {
	struct vex_fs *fs; /* NULL: nothing to undo */
	bool pays;         /* the user id alone */
	bool clears;       /* setuid and setgid may have gone */
};
/* Until acting_end, this thread's file operations count as the caller's. */
vex_err acting_begin(fuse_req_t req, enum act_as how, struct acting *a) VEX_CHECKED;
/* The content or owner of `i` is about to change (fd: any descriptor of it): what goes
 * with it of setuid and setgid goes as it would for the caller. */
vex_err acting_on_content(fuse_req_t req, struct inode *i, int fd,
			  struct acting *a) VEX_CHECKED;
/* And the space it takes is the caller's. By descriptor only: the rights to open what
 * the caller may not are gone. */
void acting_pays(fuse_req_t req, struct acting *a);
/* Ends it; the kernel hears of a mode that may have changed. */
void acting_content_end(fuse_req_t req, struct inode *i, struct acting *a);
/* Whether it has no file capabilities: the kernel asks before the first write of each
 * file. Remembered as long as attributes are. */
void inode_capless(struct inode *i);
void inode_maybe_capable(struct inode *i);
bool inode_is_capless(const struct inode *i);
/* Milliseconds, never 0; they come round in 49 days. */
uint32_t clock_ms(void);
/* What was seen of an inode: keeps `sxid`. */
void inode_seen(struct inode *i, const struct stat *st);
/* How long attributes of it may be believed; st: as the backing filesystem gave it; told:
 * whether its directory was watched before that (for a directory: not asked). */
double inode_attr_keep(struct vex_fs *fs, struct inode *i, const struct stat *st,
		       bool told);
void acting_end(struct acting *a);
#define AUTO_ACTING __attribute__((cleanup(acting_end)))

/* ---- shared by callbacks
 * ---------------------------------------------------------------------- */

/* lookup.c: the entry of (parent, name), counted as a lookup. */
vex_err entry_lookup(struct vex_fs *fs, struct inode *parent, const char *name,
		     struct fuse_entry_param *e) VEX_CHECKED;
/* The same for a listing of `parent`, cheaper; an object of STORE. */
vex_err entry_listed(struct vex_fs *fs, struct inode *parent, const char *name,
		     struct fuse_entry_param *e) VEX_CHECKED;
/* For an object just opened as O_PATH; takes the descriptor. parent NULL: unknown;
 * name NULL: it has none; told: parent was watched before the name was looked up. */
vex_err entry_from_fd(struct vex_fs *fs, struct inode *parent, const char *name, int fd,
		      bool told, struct fuse_entry_param *e) VEX_CHECKED;
/* The same of a file just made, by the descriptor it was made with, which stays the
 * caller's. */
vex_err entry_of_made(struct vex_fs *fs, struct inode *parent, const char *name, int fd,
		      struct fuse_entry_param *e) VEX_CHECKED;
void reply_entry(fuse_req_t req, vex_err err, const struct fuse_entry_param *e);
void reply_err(fuse_req_t req, vex_err err);
/* st_ino as the mount shows it: inode numbers of filesystems mounted below STORE are
 * moved aside, so that no two files look like links of each other. */
void stat_show(struct vex_fs *fs, struct stat *st);
vex_err inode_stat(struct vex_fs *fs, struct inode *i, struct stat *st) VEX_CHECKED;
/* Attributes or xattrs of a file were changed: for searches. */
void attrs_changed(struct vex_fs *fs, struct inode *i);
bool is_hidden(const struct vex_fs *fs, const struct stat *st);
/* Whether (parent, name) is the place of the control directory. */
static inline bool is_control_name(const struct vex_fs *fs, const struct inode *parent,
				   const char *name)
{
	return parent == fs->root && !strcmp(name, HIDDEN_NAME);
}
static inline bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}
/* 0, or why nothing may be made, moved or removed there. */
static inline vex_err may_change(const struct vex_fs *fs, const struct inode *parent,
				 const char *name)
{
	if (parent->kind != I_BACKED || is_control_name(fs, parent, name))
		return -EPERM;
	return 0;
}

/* remove.c: an object whose name is about to go or to change. */
struct victim {
	struct vex_fs *fs;
	struct inode *inode; /* counted; NULL: the kernel does not know it */
	struct fdref ref;
	struct stat st; /* st_nlink 0: there is none */
};
#define VICTIM_INIT                                                                      \
	{                                                                                \
		.ref = FDREF_INIT                                                        \
	}
vex_err victim_open(struct vex_fs *fs, int dirfd, const char *name,
		    struct victim *v) VEX_CHECKED;
/* Its name (parent, name) is gone. If that was the last: remembers `node` and keeps a
 * descriptor. True if it is nameless and open. */
bool victim_gone(struct victim *v, struct inode *parent, const char *name, uint64_t node);
void victim_put(struct victim *v);
#define AUTO_VICTIM __attribute__((cleanup(victim_put)))

/* dir.c: a descriptor to list by. */
vex_err dir_to_list(struct vex_fs *fs, struct inode *i, int *fd) VEX_CHECKED;
/* flags.c: an ioctl about flags, answered; false: it is no such one. */
bool flags_op(fuse_req_t req, struct handle *h, unsigned cmd, const void *in,
	      size_t in_size, size_t out_size);

/* ctl.c: the control directory. */
vex_err ctl_init(struct vex_fs *fs) VEX_CHECKED;
void ctl_destroy(struct vex_fs *fs);
void ctl_stat(struct vex_fs *fs, const struct inode *i, struct stat *st);
/* name NULL: the directory itself. */
vex_err ctl_lookup(struct vex_fs *fs, const char *name,
		   struct fuse_entry_param *e) VEX_CHECKED;
/* A control file is closed: nobody polls it any more. */
void ctl_closed(struct handle *h);
void ctl_open(fuse_req_t req, struct inode *i, struct fuse_file_info *fi);
void ctl_read(fuse_req_t req, struct handle *h, size_t size, off_t off);
void ctl_write(fuse_req_t req, struct handle *h, struct fuse_bufvec *in);
void ctl_readdir(fuse_req_t req, size_t size, off_t off, bool plus);

/* ---- query directories: links.c, virt.c ------------------------------------------- */

/* What a search found, as links: fixed once made, counted. */
struct link_at {
	char *name, *target;
};
struct links {
	_Atomic unsigned refs;
	size_t n;
	struct link_at *v;
};
vex_err links_new(const struct vex_result *r, unsigned depth,
		  struct links **out) VEX_CHECKED;
void links_put(struct links *l);
/* NULL where there is none of that name. */
const char *links_target(const struct links *l, const char *name);

/* The last ones shown, by directory and caller, for the lookups that follow. */
vex_err linkcache_new(struct linkcache **out) VEX_CHECKED;
void linkcache_free(struct linkcache *c);
/* Counted, or NULL. */
struct links *linkcache_get(struct linkcache *c, const char *key,
			    const struct vex_cred *cred);
void linkcache_put(struct linkcache *c, const char *key, const struct vex_cred *cred,
		   struct links *l);
void linkcache_drop(struct linkcache *c, const char *key);

/* Whether (control directory, name) is one of ours; then its entry. */
bool virt_is_root(const char *name);
vex_err virt_root(struct vex_fs *fs, const char *name,
		  struct fuse_entry_param *e) VEX_CHECKED;
void virt_stat(struct vex_fs *fs, const struct inode *i, struct stat *st);
void virt_lookup(fuse_req_t req, struct inode *dir, const char *name);
void virt_opendir(fuse_req_t req, struct inode *i, struct fuse_file_info *fi);
void virt_readdir(fuse_req_t req, struct handle *h, size_t size, off_t off, bool plus);
void virt_readlink(fuse_req_t req, struct inode *i);
void virt_mkdir(fuse_req_t req, struct inode *dir, const char *name);
void virt_rmdir(fuse_req_t req, struct inode *dir, const char *name);
/* Xattrs: of a saved search, its request. */
vex_err virt_xattr_set(fuse_req_t req, struct inode *i, const char *name,
		       const char *value, size_t size, int flags) VEX_CHECKED;
vex_err virt_xattr_remove(fuse_req_t req, struct inode *i, const char *name) VEX_CHECKED;
vex_err virt_xattr_get(struct vex_fs *fs, struct inode *i, const char *name,
		       struct vex_buf *out) VEX_CHECKED;
vex_err virt_xattr_list(struct vex_fs *fs, struct inode *i,
			struct vex_buf *out) VEX_CHECKED;

/* wire.c: what libfuse does not know of the protocol. */
vex_err wire_start(struct vex_fs *fs) VEX_CHECKED;
/* Between INIT and its reply: what is offered and we want. */
void wire_decide(struct vex_fs *fs);
/* An id by which the kernel reads and writes the file behind `fd` (O_PATH is enough since
 * Linux 6.15, else -EBADF) itself, with the rights this thread has now. */
vex_err wire_backing_open(struct vex_fs *fs, int fd, uint32_t *id) VEX_CHECKED;
void wire_backing_close(struct vex_fs *fs, uint32_t id);
/* fuse_reply_open, or with `e` fuse_reply_create; backing 0: plain. */
int wire_reply_open(fuse_req_t req, const struct fuse_entry_param *e,
		    const struct fuse_file_info *fi, uint32_t backing);
/* Whether this GETATTR is a STATX, which wants wire_reply_statx. */
bool wire_is_statx(void);
void wire_reply_statx(fuse_req_t req, const struct stat *st,
		      const struct statx_timestamp *birth, double valid);

/* ---- the callbacks, by file
 * ----------------------------------------------------------------------- */

/* lookup.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f);
/* attr.c */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
		struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
/* create.c */
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
/* remove.c */
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
/* rename.c */
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned flags);
/* open.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* data.c */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		  struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	      struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			struct fuse_file_info *fi_out, size_t len, int flags);
/* dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* xattr.c */
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		 size_t size, int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
/* ctl.c */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
	      struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
	      size_t out_size);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	     struct fuse_pollhandle *ph);

/* count.c: the error this thread's request is answered with; the table, counted. */
void count_error(vex_err err);
void count_ops(struct fuse_lowlevel_ops *out);

/* fs.c: the table of callbacks, and what we ask of the kernel. */
extern const struct fuse_lowlevel_ops fs_ops;

#endif
