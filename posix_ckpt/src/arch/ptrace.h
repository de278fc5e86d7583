/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stopped tracee's registers, for programs with libc.  The tracee was seized with
 * PTRACE_O_TRACESYSGOOD:
 *
 *   arch_find_syscall(pid, code, len)         a system call instruction in [code, code + len), or 0
 *   arch_remote_syscall(tracee, insn, nr, …)  one system call in the tracee
 *   arch_remote_call(tracee, ip, stack, done) run the function at ip on another stack until it makes the
 *                                             system call `done`: that call's first argument
 *   arch_repeat_call(pid)                     a system call that failed with EINTR is made again
 *   arch_position(pid, ret_ip, ret_sp)        where it stands, and its stack
 *   arch_thread_pointer(pid, ret)
 *   arch_enter(pid, ip, arg, stack)           let it go on at ip(arg) on another stack
 *   ARCH_TASK_SIZE                            end of user addresses
 *
 * The remote ones leave the registers as they were, and the tracee at the end of a system call.
 */
#ifndef CKPT_ARCH_PTRACE_H
#define CKPT_ARCH_PTRACE_H

struct arch_tracee {
	int tid;
	/* Wait until it stands; 0 or -errno: it has ended. */
	int (*wait)(int tid, int *ret_status);
	int late; /* SIGSTOP, which cannot be kept away, has come, and the tracee has not had it; 0: no */
};

#if defined(__x86_64__)
#include "arch/x86_64/ptrace.h"
#endif

#endif
