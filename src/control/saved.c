/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved searches: MOUNT/.vexfs/search/NAME, each a file STORE/.vexfs/search/NAME that
 * holds the JSON of a request as it was given, empty until one was. Its owner is the
 * user who made it, its times are its own, so there is no format beside JSON, and cp -a
 * of a store takes it along.
 *
 * Here they are kept and run; what becomes of hits is fs's business. A search is run
 * with the rights of who looks, never of who saved it.
 *
 * Must stay true: a file is whole, old or new (written beside, flushed, renamed). No
 * locks: the directory is the truth and rename(2) the commit.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include "query_i.h"

#define DIR_NAME "search"
#define FRESH_NAME DIR_NAME "/.new"
#define SAVED_MAX 4096u /* searches in all */

struct saved_path {
	char path[sizeof(DIR_NAME) + NAME_MAX + 1];
};

/* Names that begin with a dot are ours. */
static vex_err path_of(const char *name, struct saved_path *p)
{
	if (!*name || *name == '.' || strlen(name) > NAME_MAX || strchr(name, '/'))
		return -EINVAL;
	strcpy(stpcpy(p->path, DIR_NAME "/"), name);
	return 0;
}

static int home(struct vex_control *c)
{
	return vex_store_dirfd(vex_engine_store(c->engine));
}

vex_err vex_saved_list(struct vex_control *c, vex_err (*fn)(void *arg, const char *name),
		       void *arg)
{
	int fd = vex_openat(home(c), DIR_NAME, O_RDONLY | O_DIRECTORY, 0);
	struct dirent *d;
	vex_err err = 0;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close(fd);
		return err;
	}
	while (!err && (d = readdir(dir)))
		if (*d->d_name != '.')
			err = fn(arg, d->d_name);
	closedir(dir);
	return err;
}

static vex_err count(void *arg, const char *name)
{
	unsigned *n = arg;

	(void)name;
	return ++*n < SAVED_MAX ? 0 : -ENOSPC;
}

static vex_err sync_dir(struct vex_control *c)
{
	AUTO_CLOSE int fd = vex_openat(home(c), DIR_NAME, O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

/* A daemon without the right to give files away keeps them. */
static vex_err give(int fd, uint32_t uid, uint32_t gid)
{
	return fchown(fd, uid, gid) && errno != EPERM ? -errno : 0;
}

vex_err vex_saved_make(struct vex_control *c, const struct vex_cred *cred,
		       const char *name)
{
	struct saved_path p;
	unsigned n = 0;
	vex_err err = path_of(name, &p);

	if (!err)
		err = vex_saved_list(c, count, &n);
	if (err)
		return err;
	if (mkdirat(home(c), DIR_NAME, 0700) && errno != EEXIST)
		return -errno;
	AUTO_CLOSE int fd =
	    vex_openat(home(c), p.path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -errno;
	err = give(fd, cred->uid, cred->gid);
	return err ? err : sync_dir(c);
}

vex_err vex_saved_remove(struct vex_control *c, const char *name)
{
	struct saved_path p;
	vex_err err = path_of(name, &p);

	if (err)
		return err == -EINVAL ? -ENOENT : err;
	return unlinkat(home(c), p.path, 0) ? -errno : sync_dir(c);
}

vex_err vex_saved_stat(struct vex_control *c, const char *name, struct stat *st)
{
	struct saved_path p;

	if (path_of(name, &p))
		return -ENOENT;
	return fstatat(home(c), p.path, st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

vex_err vex_saved_get(struct vex_control *c, const char *name, struct vex_buf *out)
{
	struct saved_path p;
	ssize_t n = 1;

	if (path_of(name, &p))
		return -ENOENT;
	AUTO_CLOSE int fd = vex_openat(home(c), p.path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return -errno;
	while (n > 0 && out->len < VEX_VALUE_MAX) {
		char piece[512];

		n = read(fd, piece, sizeof(piece));
		if (n > 0)
			vex_buf_add(out, piece, (size_t)n);
	}
	return n < 0 ? -errno : out->err;
}

/* ---- running ----------------------------------------------------------------------- */

struct running {
	struct vex_session *s;
	struct vex_buf data;
};

static void running_end(struct running *r)
{
	vex_buf_free(&r->data);
	if (r->s)
		vex_session_close(r->s);
}
#define AUTO_RUNNING __attribute__((cleanup(running_end)))

/* What a directory of links cannot show is refused when it is saved. */
static vex_err parse(struct vex_control *c, const struct vex_cred *cred, const char *json,
		     size_t len, struct running *r)
{
	struct call call = { .cred = cred };
	struct vexfs_search *h;
	vex_err err = vex_session_open(c, FILE_QUERY, O_RDWR, cred, &r->s);

	if (err)
		return err;
	call.s = r->s;
	call.engine = c->engine;
	call.head = h = r->s->head;
	err = query_parse(&call, json, len, &r->data);
	if (!err && (h->queries > 1 || r->s->query.live))
		err = -EINVAL;
	if (!err && (h->k > VEX_SAVED_HITS || h->flags & VEXFS_SEARCH_RANGE)) {
		h->flags &= ~(uint32_t)VEXFS_SEARCH_RANGE;
		h->k = VEX_SAVED_HITS;
	}
	return err;
}

struct saved_search {
	struct vex_control *c;
	const struct vex_cred *cred;
	const char *name;
	struct vex_result **out;
};

/* A lookup that leads here has used much of its stack already. */
static VEX_APART vex_err run_saved(void *arg)
{
	struct saved_search *j = arg;
	AUTO_RUNNING struct running r = { 0 };
	AUTO_BUF struct vex_buf json = { 0 };
	struct call call = { .cred = j->cred, .in_size = sizeof(struct vexfs_search) };
	vex_err err;

	vex_deep_only();
	err = vex_saved_get(j->c, j->name, &json);
	if (err || !json.len)
		return err;
	err = parse(j->c, j->cred, json.data, json.len, &r);
	if (err)
		return err;
	call.s = r.s;
	call.engine = j->c->engine;
	call.head = r.s->head;
	call.data = (const uint8_t *)r.data.data;
	call.data_len = r.data.len;
	err = search_find(&call, r.s->head, j->out);
	free(call.copy);
	return err;
}

vex_err vex_saved_run(struct vex_control *c, const struct vex_cred *cred,
		      const char *name, struct vex_result **out)
{
	struct saved_search j = { .c = c, .cred = cred, .name = name, .out = out };

	*out = NULL;
	return vex_pool_call(c->pool, run_saved, &j);
}

/* ---- the request of one ------------------------------------------------------------ */

static vex_err write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

static vex_err replace(struct vex_control *c, const struct saved_path *p,
		       const struct stat *was, const void *json, size_t len)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER; /* there is one .new */
	SCOPED_LOCK(&one);
	AUTO_CLOSE int fd =
	    vex_openat(home(c), FRESH_NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	vex_err err = fd < 0 ? -errno : give(fd, was->st_uid, was->st_gid);

	if (!err)
		err = write_all(fd, json, len);
	if (!err && renameat(home(c), FRESH_NAME, home(c), p->path))
		err = -errno;
	if (err)
		unlinkat(home(c), FRESH_NAME, 0);
	return err ? err : sync_dir(c);
}

vex_err vex_saved_set(struct vex_control *c, const struct vex_cred *cred,
		      const char *name, const void *json, size_t len)
{
	AUTO_RUNNING struct running r = { 0 };
	struct saved_path p;
	struct stat was;
	vex_err err = vex_saved_stat(c, name, &was);

	if (!err)
		err = path_of(name, &p);
	if (!err && len > VEX_VALUE_MAX)
		err = -E2BIG;
	if (!err && len)
		err = parse(c, cred, json, len, &r);
	return err ? err : replace(c, &p, &was, json, len);
}
