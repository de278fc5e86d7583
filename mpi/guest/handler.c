/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel calls in place of the application's handlers, and what its libc calls in place of the
 * kernel to set them: see signal.c.  Freestanding.
 */
#include "guest/guest_private.h"

#include <signal.h>

uintptr_t guest_signal_back;
static uintptr_t handlers[65];

static void run_handler(int sig, void *info, void *context)
{
	uintptr_t handler = __atomic_load_n(&handlers[sig], __ATOMIC_ACQUIRE);
	struct ckpti_guest_thread *thread;
	uint64_t fs = ckpti_fs_get();

	if (!ckpti_guest_has_addr(fs)) {
		((void (*)(int, void *, void *))handler)(sig, info, context);
		return;
	}
	thread = guest_thread_of(fs);
	if (!thread)
		return; /* a guest's own thread: it has blocked all signals */
	ckpti_fs_set(thread->app_fs);
	((void (*)(int, void *, void *))handler)(sig, info, context);
	ckpti_fs_set(fs);
}

long ckpti_guest_app_sigaction(int sig, const struct guest_sigaction *act,
			       struct guest_sigaction *old, size_t size)
{
	const uintptr_t ours = (uintptr_t)run_handler;
	const struct guest_sigaction *use = act;
	struct guest_sigaction changed;
	uintptr_t before = 0;
	bool valid = sig > 0 && sig <= 64;
	long r;

	if (valid)
		before = __atomic_load_n(&handlers[sig], __ATOMIC_ACQUIRE);
	if (valid && act && act->handler != (uintptr_t)SIG_DFL &&
	    act->handler != (uintptr_t)SIG_IGN && act->handler != ours) {
		changed = *act;
		changed.handler = ours;
		__atomic_store_n(&handlers[sig], act->handler, __ATOMIC_RELEASE);
		use = &changed;
	}
	r = raw(SYS_rt_sigaction, sig, use, old, size, 0, 0);
	if (r < 0 && use == &changed)
		__atomic_store_n(&handlers[sig], before, __ATOMIC_RELEASE);
	if (r == 0 && old && old->handler == ours)
		old->handler = before;
	return r;
}

uint64_t ckpti_guest_signals_block(void)
{
	uint64_t all = ~0ULL, old = 0;

	(void)raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all), 0, 0);
	return old;
}

void ckpti_guest_signals_restore(uint64_t old)
{
	(void)raw(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old), 0, 0);
}
