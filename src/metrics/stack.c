/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How deep a call goes. Before it the stack below is painted with a pattern, after it
 * the deepest word that changed tells how far the call, and all it called, reached. The
 * figure is a lower bound by at most one frame's unused room, and by nothing else:
 * a word that was written with the pattern itself is one in 2^64.
 *
 * The span lies in the frame of who measures: from its address the depth is counted.
 * Begin and end write and read below their own frames. Nothing lives there but what a
 * signal would put (these threads take none), and a region that does not fit the
 * thread's stack is not painted at all. Both are leaves: their own locals stay within
 * GAP of the frame they measure from.
 *
 * Painting 12 KiB costs some 300 ns; done for one call in 64 that is noise (see
 * docs/PERFORMANCE.md). Sanitizers keep frames elsewhere: not measured there.
 */
#include "metrics_i.h"

#define PAINT ((uintptr_t)12288)
#define GAP ((uintptr_t)256)
#define SPARE ((uintptr_t)4096) /* left alone at the end of the stack */
#define COLOUR UINT64_C(0xa5c3961e0f87d2b4)

_Atomic uint32_t metrics_stack[VEX_OP_COUNT];
static _Atomic uint32_t every = 64;

void vex_stack_every(uint32_t n)
{
	atomic_store(&every, n);
}

static void note(enum vex_op op, uint32_t bytes)
{
	uint32_t was = atomic_load_explicit(&metrics_stack[op], memory_order_relaxed);

	while (was < bytes &&
	       !atomic_compare_exchange_weak(&metrics_stack[op], &was, bytes))
		;
	if (vex_limit_get(VEX_LIMIT_STACK) && bytes > vex_limit_get(VEX_LIMIT_STACK))
		vex_limit_crossed(VEX_LIMIT_STACK, bytes);
	else if (vex_limit_get(VEX_LIMIT_STACK_WARN) &&
		 bytes > vex_limit_get(VEX_LIMIT_STACK_WARN))
		vex_limit_crossed(VEX_LIMIT_STACK_WARN, bytes);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

void vex_stack_begin(struct vex_span *s)
{
	s->low = 0;
}

void vex_stack_end(struct vex_span *s, enum vex_op op)
{
	(void)s;
	(void)op;
	(void)note;
}

#else

/* Where this thread's stack ends; asked once. */
static uintptr_t stack_low(void)
{
	static _Thread_local uintptr_t low;
	pthread_attr_t a;
	void *base = NULL;
	size_t size = 0;

	if (low)
		return low;
	low = UINTPTR_MAX; /* unknown: never painted */
	if (pthread_getattr_np(pthread_self(), &a))
		return low;
	if (!pthread_attr_getstack(&a, &base, &size))
		low = (uintptr_t)base;
	pthread_attr_destroy(&a);
	return low;
}

static bool wanted(void)
{
	static _Thread_local uint32_t calls;
	uint32_t n = atomic_load_explicit(&every, memory_order_relaxed);

	return n && calls++ % n == 0;
}

/* Volatile, so that no call to memset lies in the way of the paint. */
static __attribute__((noinline)) void paint(struct vex_span *s)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	s->top = (uintptr_t)(s + 1);
	s->low = (here - PAINT) & ~(uintptr_t)7;
	for (uintptr_t p = s->low; p < here - GAP; p += 8)
		*(volatile uint64_t *)p = COLOUR;
}

static __attribute__((noinline)) uintptr_t deepest(const struct vex_span *s)
{
	uintptr_t p = s->low, here = (uintptr_t)__builtin_frame_address(0);

	while (p < here - GAP && *(const volatile uint64_t *)p == COLOUR)
		p += 8;
	return p;
}

void vex_stack_begin(struct vex_span *s)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	s->low = 0;
	if (wanted() && here > stack_low() && here - stack_low() > PAINT + SPARE)
		paint(s);
}

void vex_stack_end(struct vex_span *s, enum vex_op op)
{
	if (s->low)
		note(op, (uint32_t)(s->top - deepest(s)));
}

#endif

void vex_span_begin(struct vex_span *s)
{
	vex_stack_begin(s);
	s->start = vex_now_mono();
}

bool vex_span_end(struct vex_span *s, enum vex_op op, vex_err err)
{
	uint64_t ns = vex_now_mono() - s->start;

	vex_stack_end(s, op);
	return vex_op_done(op, ns, err);
}
