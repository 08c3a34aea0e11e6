/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapped pages that cannot be read: a bad sector, a file cut short behind our back.
 * The kernel answers with SIGBUS. For an address inside a mapping of ours the handler
 * puts a page of zeros there and goes on: the row's checksum then fails, and the row
 * is damaged, not the daemon. Any other SIGBUS is what it was before.
 *
 * The handler may interrupt anything: it reads the table without locks. Entries are
 * written under a lock, blocks are never freed.
 */
#include <signal.h>
#include <sys/mman.h>
#include "store_i.h"

#define BLOCK 256u

struct range {
	_Atomic uintptr_t start; /* 0: unused */
	_Atomic uintptr_t end;
};

struct block {
	struct range r[BLOCK];
	_Atomic(struct block *) next;
};

static struct block first;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static long page_size;

static bool ours(uintptr_t a)
{
	for (struct block *b = &first; b; b = atomic_load(&b->next))
		for (unsigned i = 0; i < BLOCK; i++) {
			uintptr_t start = atomic_load(&b->r[i].start);

			if (start && a >= start && a < atomic_load(&b->r[i].end))
				return true;
		}
	return false;
}

/* Zeros in place of the page that cannot be read. */
static bool patch(uintptr_t a)
{
	void *page = (void *)(a & ~((uintptr_t)page_size - 1));
	void *zeros = mmap(page, (size_t)page_size, PROT_READ,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return zeros != MAP_FAILED;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t a = (uintptr_t)info->si_addr;
	int saved = errno;

	(void)context;
	if (!ours(a) || !patch(a))
		sigaction(sig, &before, NULL); /* and fault again */
	errno = saved;
}

static void install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	page_size = sysconf(_SC_PAGESIZE);
	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, &before);
}

/* A free entry; lock held. */
static struct range *entry(void)
{
	struct block *b = &first;

	for (;;) {
		struct block *next;

		for (unsigned i = 0; i < BLOCK; i++)
			if (!atomic_load(&b->r[i].start))
				return &b->r[i];
		next = atomic_load(&b->next);
		if (!next) {
			next = calloc(1, sizeof(*next));
			if (!next)
				return NULL;
			atomic_store(&b->next, next);
		}
		b = next;
	}
}

vex_err fault_map(int fd, uint64_t off, size_t len, void **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct range *r;
	void *p;

	pthread_once(&once, install);
	SCOPED_LOCK(&lock);
	r = entry();
	if (!r)
		return -ENOMEM;
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t)off);
	if (p == MAP_FAILED)
		return -errno;
	atomic_store(&r->end, (uintptr_t)p + len);
	atomic_store(&r->start, (uintptr_t)p);
	*out = p;
	return 0;
}

void fault_unmap(void *p, size_t len)
{
	SCOPED_LOCK(&lock);
	for (struct block *b = &first; b; b = atomic_load(&b->next))
		for (unsigned i = 0; i < BLOCK; i++)
			if (atomic_load(&b->r[i].start) == (uintptr_t)p)
				atomic_store(&b->r[i].start, 0);
	munmap(p, len);
}
