/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounds of scripts/stack-bounds, measured: each library function named there is
 * called with what takes it deepest, on a painted stack, and must stay within its bound;
 * one that is not measured here fails, too. The system calls' wrappers, which have no
 * frame worth the name, share two lines and are measured by some of them.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cblas.h>
#include <fuse3/fuse_lowlevel.h>
#include <xxhash.h>

#define FAR ((size_t)65536)
#define NEAR ((size_t)192)
#define COLOUR UINT64_C(0x5ac3169ef0782d4b)

typedef void (*call_fn)(void);

static __attribute__((noinline)) void paint(uintptr_t top)
{
	for (uintptr_t p = top - FAR; p < top - NEAR; p += 8)
		*(volatile uint64_t *)p = COLOUR;
}

static __attribute__((noinline)) size_t painted(uintptr_t top)
{
	uintptr_t p = top - FAR;

	while (p < top - NEAR && *(volatile uint64_t *)p == COLOUR)
		p += 8;
	return top - p;
}

/* Bytes below this frame; the second time, when what is bound late is bound. */
static __attribute__((noinline)) size_t depth(call_fn fn)
{
	uintptr_t top = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)7;

	fn();
	paint(top);
	fn();
	return painted(top);
}

/* ---- libc -------------------------------------------------------------------------- */

static char text[4096], name[] = "/tmp/vexfs-bounds.XXXXXX";
static volatile double number = 1.2345678e-38;
static volatile size_t count = 1;
static void *volatile keep;
static float *wide, *query, dots[256];
static int fd;

static void c_snprintf(void)
{
	snprintf(text, sizeof(text), "%s %.9g %.3f %llu %#x %o %5d", name, number,
		 number * 1e76, 1ull << 63, 4095u, 07777u, -5);
}

static void c_vsnprintf_to(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
}

static void c_vsnprintf(void)
{
	c_vsnprintf_to("%s %.9g %.3f %llu", name, number, number * 1e76, 1ull << 63);
}

static void c_asprintf(void)
{
	char *p = NULL;

	cr_assert(asprintf(&p, "%s/%s %u %llu", name, name, 7u, 1ull << 63) > 0);
	free(p);
}

/* Of a number nobody knows it prints: 4.5 KB; these come from the kernel. */
static void c_strerror(void)
{
	for (int e = 0; e < 134; e++)
		if (strerrordesc_np(e))
			keep = strerror(e);
}

static void c_desc(void)
{
	for (int e = 0; e < 140; e++)
		keep = (void *)(uintptr_t)strerrordesc_np(e);
}

static void sizes(void *(*get)(size_t))
{
	static const size_t sizes[] = { 1, 100, 1000, 30000, 200000, 40000000 };
	void *p[6];

	for (unsigned i = 0; i < 6; i++)
		cr_assert(p[i] = get(sizes[i] * count));
	for (unsigned i = 0; i < 6; i++)
		free(p[i]);
}

static void *zeroed(size_t n)
{
	return calloc(n, 1);
}

static void *grown(size_t n)
{
	void *p = realloc(NULL, n / 2 + 1);

	return realloc(p, n);
}

static void *grown_array(size_t n)
{
	return reallocarray(reallocarray(NULL, n / 2 + 1, 1), n, 1);
}

static void *aligned(size_t n)
{
	return aligned_alloc(64, (n + 63) & ~(size_t)63);
}

static void c_malloc(void)
{
	sizes(malloc);
}

static void c_calloc(void)
{
	sizes(zeroed);
}

static void c_realloc(void)
{
	sizes(grown);
}

static void c_reallocarray(void)
{
	sizes(grown_array);
}

static void c_aligned(void)
{
	sizes(aligned);
}

static void c_trim(void)
{
	c_malloc();
	malloc_trim(0);
}

static void c_strdup(void)
{
	free(strdup(name));
}

static void c_strndup(void)
{
	free(strndup(name, 5));
}

static void c_words(void)
{
	char *rest = strcpy(text, "one/two/three"), *word = strsep(&rest, "/");

	keep = strstr(name, "PATH");
	count = strspn(name, "/tmp") + strcspn(name, ".") + strlen(word);
	keep = strcasestr(name, "PATH");
	keep = strrchr(name, '/');
	keep = memrchr(name, '/', sizeof(name));
	count = count ? 1 : strtoul("4096", NULL, 10) + strtoull("77", NULL, 8);
	keep = getenv("VEXFS_NO_SUCH");
	stpncpy(stpcpy(text, name), name, 100);
	memmove(text + 1, text, 4000);
	memset(text, 0, sizeof(text));
}

static void c_lists(void)
{
	DIR *d = opendir("/");

	while (d && readdir(d))
		;
	closedir(d);
	d = fdopendir(open("/", O_RDONLY | O_DIRECTORY));
	closedir(d);
}

static void c_statvfs(void)
{
	static struct statvfs v;

	cr_assert(!fstatvfs(fd, &v));
}

static void c_calls(void)
{
	static struct statx x;
	static struct stat st;
	static int handle[40] = { 128 };

	cr_assert(!fstat(fd, &st));
	cr_assert(!fstatat(AT_FDCWD, name, &st, 0) &&
		  !statx(AT_FDCWD, name, 0, STATX_ALL, &x));
	(void)!name_to_handle_at(AT_FDCWD, name, (void *)handle, &(int){ 0 }, 0);
	(void)!fgetxattr(fd, "user.none", text, 10);
	(void)!getxattr(name, "user.none", text, 10);
	(void)!readlink(name, text, 10);
	(void)!pwrite(fd, text, 10, 0);
	(void)!fdatasync(fd);
	(void)!fcntl(fd, F_GETFD);
	close(openat(AT_FDCWD, name, O_RDONLY));
	getpid();
	usleep(0);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static _Atomic bool asleep, woken;

static void *waker(void *arg)
{
	while (!asleep)
		usleep(1000);
	pthread_mutex_lock(&mutex);
	woken = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void c_locks(void)
{
	pthread_mutex_t m;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;

	pthread_mutex_init(&m, NULL);
	pthread_mutex_lock(&m);
	pthread_mutex_unlock(&m);
	pthread_mutex_destroy(&m);
	pthread_rwlock_rdlock(&rwlock);
	pthread_rwlock_unlock(&rwlock);
	pthread_rwlock_wrlock(&rwlock);
	pthread_rwlock_unlock(&rwlock);
	pthread_cond_signal(&c);
	pthread_cond_broadcast(&c);
	pthread_cond_destroy(&c);
}

/* pthread_create on this stack comes before the paint. */
static void c_wait(void)
{
	pthread_mutex_lock(&mutex);
	asleep = true;
	while (!woken)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void *own_stack(void *arg)
{
	pthread_attr_t a;
	size_t size;
	void *p;

	(void)arg;
	if (pthread_getattr_np(pthread_self(), &a))
		return NULL;
	pthread_attr_getstack(&a, &p, &size);
	pthread_attr_destroy(&a);
	return NULL;
}

static void c_attr(void)
{
	own_stack(NULL);
}

static void nothing(void)
{
}

static void c_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, nothing);
}

static void c_numbers(void)
{
	static volatile float f = 1.5f;
	int e;

	number = powf(f, 0.3f) + sqrt(f) + nearbyint(f) + lrint(f) + ldexpf(f, 2) +
		 frexpf(f, &e) + lrintf(f) + sqrtf(f);
	number = 1.2345678e-38;
}

static void c_hash(void)
{
	count = XXH3_64bits_withSeed(wide, 100, 5) ? 1 : 2;
	count = XXH3_64bits_withSeed(wide, 200, 5) ? 1 : 2;
	count = XXH3_64bits_withSeed(wide, 60000, 5) ? 1 : 2;
}

/* A block of a scan as index/flat.c has it, and odd ones. */
static void c_sgemv(void)
{
	static const int dims[] = { 1, 3, 100, 384, 1000, 16384 };

	for (unsigned i = 0; i < 6; i++)
		for (int n = 1; n <= 64; n += 9)
			cblas_sgemv(CblasRowMajor, CblasNoTrans, n, dims[i], 1.0f, wide,
				    dims[i], query, 1, 0.0f, dots, 1);
}

/* ---- libfuse -------------------------------------------------------------------------
 */

/* A session whose requests and answers are ours: the callback calls what is measured. */
static struct fuse_session *session;
static void (*reply)(fuse_req_t req);
static size_t reply_depth;

static __attribute__((noinline)) void f_getattr(fuse_req_t req, fuse_ino_t ino,
						struct fuse_file_info *f)
{
	uintptr_t top = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)7;

	(void)ino;
	(void)f;
	paint(top);
	reply(req);
	reply_depth = painted(top);
}

static ssize_t f_writev(int to, struct iovec *iov, int n, void *data)
{
	ssize_t all = 0;

	(void)to;
	(void)data;
	for (int i = 0; i < n; i++)
		all += (ssize_t)iov[i].iov_len;
	return all;
}

static ssize_t f_read(int from, void *buf, size_t n, void *data)
{
	(void)data;
	return read(from, buf, n);
}

static void f_send(uint32_t opcode, const void *arg, size_t len)
{
	static _Alignas(8) char request[256];
	struct fuse_in_header *in = (void *)request;
	struct fuse_buf buf = { .mem = request, .size = sizeof(*in) + len };

	*in = (struct fuse_in_header){ .len = (uint32_t)buf.size,
				       .opcode = opcode,
				       .unique = 2,
				       .nodeid = 1,
				       .pid = (uint32_t)getpid() };
	memcpy(in + 1, arg, len);
	fuse_session_process_buf(session, &buf);
}

static size_t f_depth(void (*fn)(fuse_req_t))
{
	struct fuse_getattr_in arg = { 0 };

	reply = fn;
	f_send(FUSE_GETATTR, &arg, sizeof(arg));
	f_send(FUSE_GETATTR, &arg, sizeof(arg));
	return reply_depth;
}

static void f_start(void)
{
	static const struct fuse_lowlevel_ops ops = { .getattr = f_getattr };
	static const struct fuse_custom_io io = { .writev = f_writev, .read = f_read };
	static char *argv[] = { "test", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_init_in init = { .major = 7,
				     .minor = 36,
				     .max_readahead = 65536,
				     .flags = ~(uint32_t)FUSE_INIT_EXT };

	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	cr_assert(session);
	cr_assert(!fuse_session_custom_io(session, &io, fd));
	f_send(FUSE_INIT, &init, sizeof(init));
	fuse_opt_free_args(&args);
}

static struct fuse_entry_param entry;
static struct fuse_file_info info;
static struct stat attributes;
static struct statvfs filesystem;

static void f_err(fuse_req_t r)
{
	fuse_reply_err(r, ENOENT);
}

static void f_none(fuse_req_t r)
{
	fuse_reply_none(r);
}

static void f_attr(fuse_req_t r)
{
	fuse_reply_attr(r, &attributes, 1);
}

static void f_entry(fuse_req_t r)
{
	fuse_reply_entry(r, &entry);
}

static void f_create(fuse_req_t r)
{
	fuse_reply_create(r, &entry, &info);
}

static void f_open(fuse_req_t r)
{
	fuse_reply_open(r, &info);
}

static void f_buf(fuse_req_t r)
{
	fuse_reply_buf(r, text, sizeof(text));
}

static void f_data(fuse_req_t r)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(sizeof(text));

	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = fd;
	fuse_reply_data(r, &v, 0);
}

static void f_ioctl(fuse_req_t r)
{
	fuse_reply_ioctl(r, 0, text, 100);
}

static void f_lseek(fuse_req_t r)
{
	fuse_reply_lseek(r, 5);
}

static void f_poll(fuse_req_t r)
{
	fuse_reply_poll(r, 1);
}

static void f_readlink(fuse_req_t r)
{
	fuse_reply_readlink(r, name);
}

static void f_statfs(fuse_req_t r)
{
	fuse_reply_statfs(r, &filesystem);
}

static void f_write(fuse_req_t r)
{
	fuse_reply_write(r, 5);
}

static void f_xattr(fuse_req_t r)
{
	fuse_reply_xattr(r, 5);
}

static void f_names(fuse_req_t r)
{
	fuse_add_direntry(r, text, sizeof(text), name, &attributes, 5);
	fuse_add_direntry_plus(r, text, sizeof(text), name, &entry, 5);
	fuse_reply_none(r);
}

static void f_inval(fuse_req_t r)
{
	(void)!fuse_lowlevel_notify_inval_inode(session, 1, 0, 0);
	fuse_reply_none(r);
}

static void f_context(fuse_req_t r)
{
	keep = (void *)(uintptr_t)fuse_req_ctx(r);
	keep = fuse_req_userdata(r);
	count = fuse_session_fd(session) >= 0 ? 1 : 2;
	fuse_reply_none(r);
}

static void c_buf_copy(void)
{
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(sizeof(text));
	struct fuse_bufvec from = FUSE_BUFVEC_INIT(sizeof(text));

	from.buf[0].mem = text;
	to.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	to.buf[0].fd = fd;
	cr_assert(fuse_buf_copy(&to, &from, 0) > 0);
	to.off = from.off = 0;
	count = fuse_buf_size(&from) ? 1 : 2;
}

/* ---- the table ----------------------------------------------------------------------
 */

static const struct {
	const char *names;
	call_fn fn;
	void (*answer)(fuse_req_t);
} measured[] = {
	{ "__snprintf_chk", c_snprintf, NULL },
	{ "__vsnprintf_chk", c_vsnprintf, NULL },
	{ "__asprintf_chk", c_asprintf, NULL },
	{ "strerror", c_strerror, NULL },
	{ "strerrordesc_np", c_desc, NULL },
	{ "malloc free", c_malloc, NULL },
	{ "calloc", c_calloc, NULL },
	{ "realloc", c_realloc, NULL },
	{ "reallocarray", c_reallocarray, NULL },
	{ "aligned_alloc", c_aligned, NULL },
	{ "malloc_trim", c_trim, NULL },
	{ "strdup", c_strdup, NULL },
	{ "strndup", c_strndup, NULL },
	{ "strsep strstr strspn strcspn strcasestr strrchr strtoul strtoull getenv "
	  "stpncpy memmove "
	  "memset memrchr strlen",
	  c_words, NULL },
	{ "fdopendir readdir64 closedir", c_lists, NULL },
	{ "fstatvfs64", c_statvfs, NULL },
	{ "fstat64 fstatat64 statx name_to_handle_at fgetxattr getxattr readlink "
	  "pwrite64 fdatasync fcntl64 openat64 close getpid usleep",
	  c_calls, NULL },
	{ "pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock "
	  "pthread_mutex_destroy pthread_rwlock_rdlock pthread_rwlock_wrlock "
	  "pthread_rwlock_unlock pthread_cond_signal pthread_cond_broadcast "
	  "pthread_cond_destroy",
	  c_locks, NULL },
	{ "pthread_cond_wait", c_wait, NULL },
	{ "pthread_getattr_np pthread_attr_getstack pthread_attr_destroy pthread_self",
	  c_attr, NULL },
	{ "pthread_once", c_once, NULL },
	{ "powf sqrt nearbyint lrint ldexpf frexpf lrintf sqrtf", c_numbers, NULL },
	{ "XXH3_64bits_withSeed", c_hash, NULL },
	{ "cblas_sgemv", c_sgemv, NULL },
	{ "fuse_buf_copy fuse_buf_size", c_buf_copy, NULL },
	{ "fuse_reply_err", NULL, f_err },
	{ "fuse_reply_none", NULL, f_none },
	{ "fuse_reply_attr", NULL, f_attr },
	{ "fuse_reply_entry", NULL, f_entry },
	{ "fuse_reply_create", NULL, f_create },
	{ "fuse_reply_open", NULL, f_open },
	{ "fuse_reply_buf", NULL, f_buf },
	{ "fuse_reply_data", NULL, f_data },
	{ "fuse_reply_ioctl", NULL, f_ioctl },
	{ "fuse_reply_lseek", NULL, f_lseek },
	{ "fuse_reply_poll", NULL, f_poll },
	{ "fuse_reply_readlink", NULL, f_readlink },
	{ "fuse_reply_statfs", NULL, f_statfs },
	{ "fuse_reply_write", NULL, f_write },
	{ "fuse_reply_xattr", NULL, f_xattr },
	{ "fuse_add_direntry fuse_add_direntry_plus", NULL, f_names },
	{ "fuse_lowlevel_notify_inval_inode", NULL, f_inval },
	{ "fuse_req_ctx fuse_req_userdata fuse_session_fd", NULL, f_context },
};
#define MEASURED (sizeof(measured) / sizeof(*measured))

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; (p = strstr(p, word)); p++)
		if ((p == words || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

/* What was measured of a name, 0 where it was not. */
static size_t of_name(const size_t *depths, const char *word)
{
	for (size_t i = 0; i < MEASURED; i++)
		if (has_word(measured[i].names, word))
			return depths[i];
	return 0;
}

/* A line "BYTES NAME...": all within; at least one of them was measured. */
static void check_line(const size_t *depths, char *line)
{
	char *rest = line, *word = strsep(&rest, " \t");
	size_t bound = strtoul(word, NULL, 10), n = 0;
	const char *first = NULL;

	while ((word = strsep(&rest, " \t\n"))) {
		size_t got = *word ? of_name(depths, word) : 0;

		if (*word && !first)
			first = strdup(word);
		n += got > 0;
		cr_expect(got <= bound, "%s takes %zu, its bound is %zu", word, got,
			  bound);
	}
	cr_expect(n || !bound, "nothing of the line of %s is measured", first);
}

/* As requests are: on a thread that is not the first. */
static void *measure(void *arg)
{
	size_t *depths = arg;

	f_start();
	for (size_t i = 0; i < MEASURED; i++)
		depths[i] =
		    measured[i].fn ? depth(measured[i].fn) : f_depth(measured[i].answer);
	fuse_session_destroy(session);
	return NULL;
}

static void check_file(const size_t *depths)
{
	FILE *f = fopen("scripts/stack-bounds", "re");
	size_t lines = 0;
	char line[2048];

	cr_assert(f, "run from the top of the tree");
	while (fgets(line, sizeof(line), f))
		if (line[0] != '#' && line[0] != '\n') {
			check_line(depths, line);
			lines++;
		}
	fclose(f);
	cr_assert(lines > 10);
}

Test(stack_bounds, hold)
{
	static size_t depths[MEASURED];
	pthread_t thread, other;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	cr_skip("a sanitizer's own frames");
#endif
	fd = mkstemp(name);
	wide = calloc(64 * 16384, sizeof(*wide));
	query = calloc(16384, sizeof(*query));
	cr_assert(fd >= 0 && wide && query);
	cr_assert(write(fd, text, sizeof(text)) == sizeof(text));
	cr_assert(!pthread_create(&other, NULL, waker, NULL));
	cr_assert(!pthread_create(&thread, NULL, measure, depths));
	pthread_join(thread, NULL);
	pthread_join(other, NULL);
	unlink(name);
	for (size_t i = 0; i < MEASURED; i++)
		cr_log_info("%6zu %.60s", depths[i], measured[i].names);
	check_file(depths);
}
