/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: the files of MOUNT/.vexfs/, without libfuse: the ioctl table, sessions,
 * staged queries, unread hits, the text of `status`. fs hands bytes in and out.
 *
 * A session may be used by one thread at a time; control locks it all the same, so
 * that a misbehaving client harms only itself.
 */
#ifndef VEXFS_CONTROL_H
#define VEXFS_CONTROL_H

#include <vexfs/engine.h>

struct vex_control;
struct vex_session;

struct vex_control_opts {
	struct vex_engine *engine;      /* borrowed */
	const char *mountpoint, *store; /* for status; copied */
	const char *options;            /* options in force, for status; copied */
	/* Extra `"key": value` lines fs adds to status (its own caches); may be NULL. */
	void (*status_extra)(void *arg, struct vex_buf *out);
	void *arg;
};
vex_err vex_control_new(const struct vex_control_opts *o,
			struct vex_control **out) VEX_CHECKED;
void vex_control_free(struct vex_control *c);

/* The files of the control directory: fixed, in this order. */
struct vex_control_file {
	const char *name;
	uint32_t mode; /* permission bits */
	int id;
};
const struct vex_control_file *vex_control_files(size_t *n);

/* Opens file `id` (flags as open(2)). Generated files take their content here. */
vex_err vex_session_open(struct vex_control *c, int id, int flags,
			 const struct vex_cred *cred,
			 struct vex_session **out) VEX_CHECKED;
void vex_session_close(struct vex_session *s);

/* As a stream: `off` is ignored for control, respected for generated files. *n bytes
 * are appended to nothing: they are copied to buf. */
vex_err vex_session_read(struct vex_session *s, const struct vex_cred *cred, void *buf,
			 size_t size, int64_t off, size_t *n) VEX_CHECKED;
vex_err vex_session_write(struct vex_session *s, const struct vex_cred *cred,
			  const void *buf, size_t size, size_t *n) VEX_CHECKED;
/*
 * in, in_size: the caller's struct (as many bytes as the command encodes); out: room
 * for out_size bytes, as many as the caller can take back. *n: bytes to return.
 * -ENOTTY for unknown commands and files that have none.
 */
vex_err vex_session_ioctl(struct vex_session *s, const struct vex_cred *cred,
			  uint32_t cmd, const void *in, size_t in_size, void *out,
			  size_t out_size, size_t *n) VEX_CHECKED;
/* poll(2) events now. */
uint32_t vex_session_poll(struct vex_session *s);
/* To be told, from a thread of control's, when they may have changed by themselves: a
 * live query has news. Before the session is used; not called once it is closed. */
void vex_session_on_ready(struct vex_session *s, void (*wake)(void *arg), void *arg);

/*
 * Saved searches, by name: a request in JSON, at most VEX_VALUE_MAX bytes, none at
 * first. -ENOENT: there is no such search; -EINVAL: a name that begins with a dot, a
 * request that makes no sense or has several queries; -EEXIST; -ENOSPC past 4096.
 * Whether the caller may is for who calls: a search belongs to the owner in its stat.
 */
#define VEX_SAVED_HITS 1000u
vex_err vex_saved_make(struct vex_control *c, const struct vex_cred *cred,
		       const char *name) VEX_CHECKED;
vex_err vex_saved_remove(struct vex_control *c, const char *name) VEX_CHECKED;
vex_err vex_saved_stat(struct vex_control *c, const char *name,
		       struct stat *st) VEX_CHECKED;
/* Appends the request. */
vex_err vex_saved_get(struct vex_control *c, const char *name,
		      struct vex_buf *out) VEX_CHECKED;
vex_err vex_saved_set(struct vex_control *c, const struct vex_cred *cred,
		      const char *name, const void *json, size_t len) VEX_CHECKED;
vex_err vex_saved_list(struct vex_control *c, vex_err (*fn)(void *arg, const char *name),
		       void *arg) VEX_CHECKED;
/* Runs it as the caller: at most VEX_SAVED_HITS hits are of use. *out NULL: it has no
 * request yet. Errors as vex_engine_search. */
vex_err vex_saved_run(struct vex_control *c, const struct vex_cred *cred,
		      const char *name, struct vex_result **out) VEX_CHECKED;

#endif
