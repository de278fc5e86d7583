/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the guest's patched system calls go.  Freestanding: see guest.h.
 */
#include "guest/guest_private.h"

#include <signal.h>

struct ckpti_guest_stats ckpti_guest_stats;
int guest_pid;
uint64_t guest_app_mask;

#define ALL_SIGNALS (~0ULL)

/*
 * The guest gets no handler and changes no disposition: they are the process's, hence the
 * application's.  It is told that it worked.
 */
static long sigaction_call(long *arg)
{
	if (guest_is_child())
		return raw(SYS_rt_sigaction, arg[0], arg[1], arg[2], arg[3], 0, 0);
	if (arg[1])
		ckpti_guest_stats.handlers_refused++;
	return raw(SYS_rt_sigaction, arg[0], 0, arg[2], arg[3], 0, 0);
}

/*
 * A thread of the application inside may change its mask; a guest's own never opens a signal.  libc
 * starts a thread with everything blocked and gives it its creator's mask then: by this call.
 */
static long sigprocmask_call(long *arg)
{
	bool free = guest_is_child() || guest_thread_of(ckpti_fs_get()) || arg[0] == SIG_BLOCK;

	return raw(SYS_rt_sigprocmask, arg[0], free ? arg[1] : 0, arg[2], arg[3], 0, 0);
}

/* The child of a fork during the load has the full mask of that time. */
static void before_exec(void)
{
	uint64_t mask = 0;

	if (!guest_is_child())
		return;
	guest_fd_before_exec();
	(void)raw(SYS_rt_sigprocmask, SIG_SETMASK, 0, &mask, sizeof(mask), 0, 0);
	mask |= 1ULL << (SIGKILL - 1) | 1ULL << (SIGSTOP - 1);
	if (mask == ALL_SIGNALS)
		(void)raw(SYS_rt_sigprocmask, SIG_SETMASK, &guest_app_mask, 0, sizeof(mask), 0, 0);
}

long ckpti_guest_hook(long *arg, long nr)
{
	switch (nr) {
	case SYS_mmap:
		return guest_mmap((uintptr_t)arg[0], (size_t)arg[1], (int)arg[2], (int)arg[3],
				  (int)arg[4], arg[5]);
	case SYS_munmap:
		return guest_munmap((uintptr_t)arg[0], (size_t)arg[1]);
	case SYS_mremap:
		return guest_mremap((uintptr_t)arg[0], (size_t)arg[1], (size_t)arg[2], (int)arg[3],
				    (uintptr_t)arg[4]);
	case SYS_brk:
		return guest_brk((uintptr_t)arg[0]);
	case SYS_shmat:
		return guest_shmat((int)arg[0], (uintptr_t)arg[1], (int)arg[2]);
	case SYS_shmdt:
		return guest_shmdt((uintptr_t)arg[0]);
	case SYS_rt_sigaction:
		return sigaction_call(arg);
	case SYS_rt_sigprocmask:
		return sigprocmask_call(arg);
	case SYS_execve:
	case SYS_execveat:
		before_exec();
		break;
	default:
		if (guest_fd_makes(nr))
			return guest_fd_call(nr, arg);
		break;
	}
	return raw(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
