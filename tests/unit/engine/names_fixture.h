/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of names, life and searches, on top of attach_fixture: the calls fs
 * makes around unlink, rename and link, plain system calls that play "behind our
 * back", and searches as lists of paths. All vectors lie in space "s", two columns,
 * l2, so distances can be read off.
 */
#ifndef NAMES_FIXTURE_H
#define NAMES_FIXTURE_H

#include "attach_fixture.h"
#include "names_i.h"
#include "life_i.h"

void nf_up(void);
void nf_down(void);

/* What only a daemon that can open files by handle can do; or only root. A skipped test
 * ends without its fini. */
#define NEEDS_(what, why)                                                                \
	do {                                                                             \
		if (what)                                                                \
			break;                                                           \
		nf_down();                                                               \
		cr_skip_test(why);                                                       \
	} while (0)
#define NEEDS_HANDLES() NEEDS_(eng->handles, "no open_by_handle_at here")
#define NEEDS_ROOT() NEEDS_(!geteuid(), "not root")

/* Waits until the graph of "s" has all that is acknowledged. */
void nf_ready(void);

/* A file with content, and a vector (x, 0) attached. */
void nf_file(const char *name, const char *content, float x);
void nf_attach(const char *name, float x);
void nf_dir(const char *name);

/* Through the engine, as fs would. The result of the system call, or of begin. */
vex_err nf_unlink(const char *name, bool open);
vex_err nf_rmdir(const char *name);
vex_err nf_rename(const char *from, const char *to, unsigned flags, bool open);
vex_err nf_link(const char *from, const char *to);

/* Behind our back: a shell command in the store's folder, which must succeed. */
void nf_sh(const char *fmt, ...) VEX_PRINTF(1, 2);

/* As fs tells it, after a system call that changed a file's attributes. */
void nf_told(const char *name);
/* In the store's folder; overwritten by the next call. */
const char *nf_path(const char *name);

/* Paths of the k nearest to (x, 0), joined by blanks, as `cred`: heap. */
char *nf_near(float x, uint32_t k, const struct vex_cred *cred);
/* They are these, as root, nearest first. */
void nf_finds(float x, uint32_t k, const char *paths);
void nf_finds_as(const struct vex_cred *cred, float x, uint32_t k, const char *paths);

uint64_t nf_node(const char *name); /* 0: none */
uint64_t nf_ino(const char *name);
/* Nodes, attachments in the catalog. */
uint64_t nf_nodes(void);
uint64_t nf_attachments(void);
/* Waits until later commits have been made. */
void nf_settle(void);
/* Whether the catalog has the row; its state. */
bool nf_row(uint64_t node, struct vex_node *n);
size_t nf_names(uint64_t node);
/* What `stale` lists, as "PATH:WHY" joined by blanks, is this. */
void nf_stale(const char *wanted);
void nf_stale_as(const struct vex_cred *cred, const char *wanted);
/* Rows of the space that users are told of. */
uint64_t nf_rows(void);

#endif
