/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of attachments: an engine on a temporary folder, files in it, and the
 * calls of the door by file name. No mount: "through the mount" is played by calling
 * what fs would call.
 */
#ifndef ATTACH_FIXTURE_H
#define ATTACH_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "attach_i.h"

extern struct vex_engine *eng;
extern struct vex_engine_opts af_opts; /* in force at the next af_up, af_again */
extern char af_dir[64];
extern int af_root;
extern const struct vex_cred af_uid0, af_nobody; /* nobody: uid 65534, no groups */

void af_up(void);
void af_down(void);
/* Closes the engine and opens it again. */
void af_again(void);

/* Writes a file as a program would (no engine call): content may be "". */
void af_write(const char *name, const char *content);
/* An object by name, as fs would hand it over: O_PATH, folder, handle unknown. */
struct af_obj {
	struct vex_obj o;
	_Atomic uint64_t node;
	char last[256];
};
void af_open(const char *name, struct af_obj *x);
void af_close(struct af_obj *x);
#define AUTO_OBJ __attribute__((cleanup(af_close)))

vex_err af_set(const char *name, const char *attr, const void *v, size_t size, int flags);
vex_err af_set_text(const char *name, const char *attr, const char *text);
/* The bytes are appended to out. */
vex_err af_get(const char *name, const char *attr, struct vex_buf *out);
vex_err af_remove(const char *name, const char *attr);
vex_err af_written(const char *name);
/* The attribute is there and is exactly this. */
void af_is(const char *name, const char *attr, const void *v, size_t size);
void af_is_text(const char *name, const char *attr, const char *text);
/* All names of the file, NULs turned into spaces: heap. */
char *af_list(const char *name);
/* _info, NUL-ended: heap. */
char *af_info(const char *name);
bool af_space(const char *name); /* exists */
/* Attachments and rows the catalog counts for a space; 0 where there is none. */
uint64_t af_attachments(const char *space);
uint64_t af_seed(void);
uint64_t af_next(uint64_t *x);

#endif
