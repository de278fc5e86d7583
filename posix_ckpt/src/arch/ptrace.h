/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stopped tracee's registers, for programs with libc:
 *
 *   arch_remote_syscall(pid, code, len, nr, a …)  one system call in the tracee, through a syscall
 *                                                 instruction found in [code, code + len)
 *   arch_enter(pid, ip, arg, stack)               let it go on at ip(arg) on another stack
 *   ARCH_TASK_SIZE                                end of user addresses
 */
#ifndef CKPT_ARCH_PTRACE_H
#define CKPT_ARCH_PTRACE_H

#if defined(__x86_64__)
#include "arch/x86_64/ptrace.h"
#endif

#endif
