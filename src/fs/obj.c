/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engine is told of an inode: a descriptor, the handle, where it was last found.
 * The place is a hint, which engine verifies; without one it looks for itself.
 */
#include "fs_i.h"

vex_err obj_get(struct vex_fs *fs, struct inode *i, int fd, struct objref *o)
{
	vex_err err = 0;

	o->fs = fs;
	if (fd < 0) {
		err = fd_get(fs, i, &o->self);
		fd = o->self.fd;
	}
	if (err)
		return err;
	o->obj.fd = fd;
	o->obj.node = &i->node;
	inode_fh(i, &o->obj.fh);
	if (!inode_place(fs, i, &o->parent, o->name))
		return 0;
	if (!fd_get(fs, o->parent, &o->dir)) {
		o->obj.dirfd = o->dir.fd;
		o->obj.name = o->name;
	}
	return 0;
}

void obj_put(struct objref *o)
{
	fd_put(&o->self);
	fd_put(&o->dir);
	if (o->parent)
		inode_unref(o->fs, o->parent, 1);
}
