/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small stacks and deep ones. Requests are served on stacks of 64 KB, of which each may
 * use 6 KB; SQLite, number parsing, sgemm and printing need more and run on threads of
 * their own. Which functions are for those alone is said in them, by vex_deep_only():
 * scripts/stack-check takes it for the end of a request's stack, and here it is seen to
 * be true. With VEXFS_STRICT set, as the tests have it, the daemon dies of a lie.
 */
#include <vexfs/base.h>

#define WAITING_MAX 256u

static _Thread_local bool small;
static struct vex_pool *deep;

void vex_stack_small(bool yes)
{
	small = yes;
}

bool vex_stack_is_small(void)
{
	return small;
}

vex_err vex_deep_start(void)
{
	return vex_pool_new(1, WAITING_MAX, "vexfs-deep", &deep);
}

void vex_deep_end(void)
{
	vex_pool_free(take_ptr(&deep));
}

vex_err vex_deep_call(vex_err (*fn)(void *), void *arg)
{
	if (!small)
		return fn(arg);
	return deep ? vex_pool_call(deep, fn, arg) : -ENOMEM;
}

static __attribute__((cold, noinline)) void told(const char *function)
{
	static _Atomic bool once;

	if (!atomic_exchange(&once, true))
		vex_error("%s ran on a small stack", function);
	if (getenv("VEXFS_STRICT"))
		abort();
}

void vex_deep_only_at(const char *function)
{
	if (small)
		told(function);
}
