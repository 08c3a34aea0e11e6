/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs: the FUSE front: inodes, file data, xattrs, the control directory. Alone knows
 * libfuse. main gives it an open engine and control; it mounts and serves.
 */
#ifndef VEXFS_FS_H
#define VEXFS_FS_H

#include <vexfs/control.h>
#include <vexfs/engine.h>

struct vex_fs;

struct vex_fs_opts {
	int rootfd; /* borrowed: O_RDONLY | O_DIRECTORY of STORE */
	struct vex_engine *engine;
	struct vex_control *control;
	const char *store;      /* shown as the source of the mount */
	const char *mountpoint; /* absolute */
	const char
	    *mount_opts; /* what goes to the kernel: "allow_other,ro,..."; may be NULL */
	bool debug, single_threaded;
	bool no_passthrough; /* file data goes through us, also where it need not */
	unsigned max_fds;    /* descriptors the caches may hold; 0: by RLIMIT_NOFILE */
};

/* Opens STORE (O_RDONLY | O_DIRECTORY) if it may be shown at MOUNTPOINT; both
 * absolute. `problem` says why not, with the path at fault. */
vex_err vex_fs_open_store(const char *store, const char *mountpoint, int *rootfd,
			  struct vex_problem *problem) VEX_CHECKED;

vex_err vex_fs_new(const struct vex_fs_opts *o, struct vex_fs **out) VEX_CHECKED;
/* control is made after fs (it wants fs's status lines), so it is set here. */
void vex_fs_set_control(struct vex_fs *f, struct vex_control *c);
vex_err vex_fs_mount(struct vex_fs *f, struct vex_problem *problem) VEX_CHECKED;
/* Serves until unmounted or told to stop. */
vex_err vex_fs_serve(struct vex_fs *f) VEX_CHECKED;
/* Ends vex_fs_serve, now or as soon as it begins. From any thread. */
void vex_fs_stop(struct vex_fs *f);
void vex_fs_unmount(struct vex_fs *f);
void vex_fs_free(struct vex_fs *f);
/* `"key": value` lines for status: inodes, open descriptors, pass-through ... */
void vex_fs_status(struct vex_fs *f, struct vex_buf *out);

#endif
